"""The shell around each job: it says that the job has begun, and how it ended, even if no other process lives.

    keeper --start()--> minder (sh), leader of a session of its own --> the job's script
                          |  "pid"  first of all, in runs/<id>.<attempt>, made by it alone
                          `- "exit code" behind it, last of all

The first to make the file decides: a minder that finds it there does not begin, so a keeper
that takes over and finds no file makes it ("0"), and may start the job anew without fear of a second
one.  A minder lives for as long as its process does and has the file's path on its command line:
the number of a process may belong to another one by now, with that path it does not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Container, Mapping
from typing import NamedTuple

__all__ = ["Minder", "Said", "forbid", "forget", "read", "start", "sweep"]

#: how long a minder may take to say who it is, once it has made its file
_BEGIN_SECONDS = 5.0
#: the age of a file that no minder can be about to look for
_STALE_SECONDS = 3600.0
#: what a keeper's file says: no process has this number
_FORBIDDEN = "0\n"
#: $1 the file; the rest runs the job.  A signal for the whole job ends the job; the minder waits for it.
#: Where there is no space to say how it ended, it waits a minute for that.
_TEXT = """\
(set -C; echo "$$" >"$1") 2>/dev/null || exit 0
trap : HUP INT TERM USR1 USR2
"$2" "$3"
code=$? tries=0
while [ -e "$1" ] && ! echo "exit $code" >>"$1" && [ "$tries" -lt 300 ]; do
    tries=$((tries + 1))
    sleep 0.2
done 2>/dev/null
"""


class Said(NamedTuple):
    """What a minder has written.  pid: 0 while it has not said so.  at: when, in seconds since the epoch."""

    pid: int
    exit_code: int | None
    at: float


class Minder:
    """The process of one minder; ``descriptor`` becomes readable when it ends, where the kernel can do that.

    pid: 0 where only its file is known.
    """

    def __init__(self, path: str, pid: int = 0, process: subprocess.Popen[bytes] | None = None) -> None:
        self.path = path
        self._pid = 0
        self._process = process
        self._since = time.monotonic()
        self.descriptor = -1
        self._know(pid)

    def has_ended(self) -> bool:
        """True once it is over; what the job has left running in its session is ended then, as on a cluster."""
        if not self._pid:
            said = read(self.path)
            self._know(0 if said is None else said.pid)
            if not self._pid:
                return time.monotonic() - self._since > _BEGIN_SECONDS
        if self._lives():
            return False
        if self.descriptor >= 0 or self._process is not None:  # watched all the time: the number is still its own
            self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        return True

    def signal(self, number: int) -> None:
        """Send a signal to the whole job."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, number)

    def _know(self, pid: int) -> None:
        self._pid = pid
        if pid and self._lives():
            with contextlib.suppress(OSError, AttributeError):
                self.descriptor = os.pidfd_open(pid)

    def _lives(self) -> bool:
        if self._process is not None:  # not reaped, so that its number stays its own
            return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        try:
            with open(f"/proc/{self._pid}/cmdline", "rb") as file:
                return os.fsencode(self.path) in file.read().split(b"\0")
        except OSError:
            return False


def start(
    path: str, shell: str, script: str, log: str, environment: Mapping[str, str], umask: int
) -> Minder:  # fmt: skip
    """Start a minder that runs ``script``; its output goes to ``log``.  Raises OSError."""
    with open(log, "ab", opener=_private) as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _TEXT, "clusterfutures-job", path, shell, script],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", umask=umask,
            env=dict(environment), start_new_session=True,
        )  # fmt: skip
    return Minder(path, process.pid, process)


def _private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)  # under any umask
    return descriptor


def forbid(path: str) -> bool:
    """Keep a minder that may still come from beginning; False when it has begun.

    The file appears with what it says, so that of a keeper that was killed the next one knows
    that it had forbidden this, and need not ask whether an empty file is that of a minder.
    """
    own = f"{path}.{os.getpid()}"
    with open(own, "w", encoding="ascii", opener=_private) as file:
        file.write(_FORBIDDEN)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(own, path)
    finally:
        os.unlink(own)
    with open(path, encoding="utf-8") as file:
        return file.read(len(_FORBIDDEN)) == _FORBIDDEN


def read(path: str) -> Said | None:
    """What the minder of ``path`` has said; None when there is no file."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read(200).split("\n")
            at = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    whole = lines[:-1]  # the last one is empty, or not whole yet
    pid = int(whole[0]) if whole else 0
    return Said(pid, int(whole[1].removeprefix("exit ")) if len(whole) > 1 else None, at)


def forget(path: str) -> None:
    """Remove the file: all is known."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def sweep(directory: str, keep: Container[str]) -> None:
    """Remove files without a write for an hour, except those of minders that are known."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.path not in keep and time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE_SECONDS:
                forget(entry.path)
