"""A directory like that of a busy file server: every operation takes a while, and is counted.

    python slow_directory.py MOUNT_POINT DELAY        in an environment that has mfusepy

A FUSE file system over a directory of its own.  ``slow_directory(delay)`` starts it and gives
a handle; ``handle.counts()`` reads what there was so far out of a file that only it knows of.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["PACKAGES", "SlowDirectory", "slow_directory"]

PACKAGES = ("mfusepy",)
COUNTS = ".operations"
MOUNT_SECONDS = 20.0
#: what makes, finds, changes or removes names; the others read and write
OF_DIRECTORIES = frozenset({"getattr", "readdir", "create", "rename", "unlink", "mkdir", "rmdir", "chmod", "utimens"})


class SlowDirectory:
    """A mounted one.  path: where it is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def counts(self) -> Counter[str]:
        """Operations since the beginning, by name."""
        return Counter(json.loads((self.path / COUNTS).read_text()))

    def total(self) -> int:
        """Operations on directories among them."""
        return sum(number for name, number in self.counts().items() if name in OF_DIRECTORIES)


@contextlib.contextmanager
def slow_directory(python: str, delay: float) -> Iterator[SlowDirectory]:
    """Mount one for the block; every operation takes ``delay`` seconds."""
    with tempfile.TemporaryDirectory(prefix="cfslow-") as place:
        path = Path(place, "mounted")
        path.mkdir()
        server = subprocess.Popen([python, __file__, str(path), str(delay)], stdin=subprocess.PIPE)
        try:
            deadline = time.monotonic() + MOUNT_SECONDS
            while not (path / COUNTS).exists():
                if server.poll() is not None or time.monotonic() > deadline:
                    raise OSError("the slow directory cannot be mounted: is there /dev/fuse, and libfuse?")
                time.sleep(0.02)
            yield SlowDirectory(path)
        finally:
            subprocess.run(["fusermount", "-u", "-z", str(path)], check=False, capture_output=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(5)
            server.kill()
            server.wait()


def serve(mount_point: str, delay: float) -> None:
    """Be the file system until it is unmounted, or until stdin ends: the program has gone."""
    import mfusepy

    with tempfile.TemporaryDirectory(prefix="cfslow-store-") as root:
        threading.Thread(target=_unmount_at_the_end, args=(mount_point,), daemon=True).start()
        operations = _operations(mfusepy, root, delay)
        mfusepy.FUSE(operations, mount_point, foreground=True, nothreads=False, default_permissions=True)


def _unmount_at_the_end(mount_point: str) -> None:
    sys.stdin.read()
    subprocess.run(["fusermount", "-u", "-z", mount_point], check=False, capture_output=True)


def _operations(mfusepy: Any, root: str, delay: float) -> Any:
    """What the kernel may ask for, each a system call below ``root``."""
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def real(path: str) -> str:
        return root + path

    class Operations(mfusepy.Operations):  # type: ignore[name-defined, misc]
        use_ns = True

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            found = os.lstat(real(path))
            return {
                **{
                    name: getattr(found, name)
                    for name in ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid", "st_ino")
                },
                **{name: getattr(found, f"{name}_ns") for name in ("st_atime", "st_mtime", "st_ctime")},
            }

        def readdir(self, path: str, fh: int) -> list[str]:
            return [".", "..", *os.listdir(real(path))]

        def create(self, path: str, mode: int, fi: Any = None) -> int:
            return os.open(real(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

        def open(self, path: str, flags: int) -> int:
            return os.open(real(path), flags & ~os.O_CREAT)

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return os.pread(fh, size, offset)

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            return os.pwrite(fh, data, offset)

        def release(self, path: str, fh: int) -> None:
            os.close(fh)

        def truncate(self, path: str, length: int, fh: int | None = None) -> None:
            os.truncate(real(path) if fh is None else fh, length)

        def rename(self, old: str, new: str) -> None:
            os.rename(real(old), real(new))

        def unlink(self, path: str) -> None:
            os.unlink(real(path))

        def mkdir(self, path: str, mode: int) -> None:
            os.mkdir(real(path), mode)

        def rmdir(self, path: str) -> None:
            os.rmdir(real(path))

        def chmod(self, path: str, mode: int) -> None:
            os.chmod(real(path), mode)

        def chown(self, path: str, uid: int, gid: int) -> None:
            os.chown(real(path), uid, gid)

        def utimens(self, path: str, times: Any = None) -> None:
            os.utime(real(path), ns=times)

        def link(self, target: str, source: str) -> None:
            os.link(real(source), real(target))

        def statfs(self, path: str) -> dict[str, int]:
            found = os.statvfs(real(path))
            return {name: getattr(found, name) for name in ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail")}

    def counting(operation: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, path: str, *arguments: Any) -> Any:
            if path == f"/{COUNTS}":
                return of_counts(operation, arguments)
            with lock:
                counts[operation] += 1
            time.sleep(delay)
            return function(self, path, *arguments)

        return call

    def of_counts(operation: str, arguments: tuple[Any, ...]) -> Any:
        with lock:
            text = json.dumps(counts).encode().ljust(4096)
        if operation == "getattr":
            return {"st_mode": 0o100400, "st_nlink": 1, "st_size": len(text), "st_uid": os.getuid()}
        if operation == "read":
            size, offset, _ = arguments
            return text[offset : offset + size]
        if operation in ("open", "release", "flush"):
            return 0
        raise OSError(errno.EACCES, COUNTS)

    for name, function in list(vars(Operations).items()):
        if inspect.isfunction(function) and not name.startswith("_"):
            setattr(Operations, name, counting(name, function))
    return Operations()


if __name__ == "__main__":
    serve(sys.argv[1], float(sys.argv[2]))
