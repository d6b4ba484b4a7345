"""Calls that misbehave, for ``test_bad_calls.py``; imported by the nodes, so it imports little."""

from __future__ import annotations

import contextlib
import locale
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

chain: Any = None
kept: list[Any] = []


def memory_is_limited(tight: bool) -> None:
    """Allocate until there is no more; ``tight``: not even for the exception."""
    resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
    try:
        while True:
            kept.append(bytearray(1 << 20))
    except MemoryError:
        if tight:
            _fill_the_rest()
        raise


def _fill_the_rest() -> None:
    """Ever smaller objects, in a chain, which needs no large block to grow."""
    global chain
    for size in (4000, 500, 100, 1):
        with contextlib.suppress(MemoryError):
            while True:
                chain = (chain, bytes(size))


def write_megabytes(count: int) -> int:
    block = (b"x" * 99 + b"\n") * 10_000
    os.write(1, b"the first\n")
    for _ in range(count):
        os.write(1, block)
    print("the last")
    return count


def close_what_it_did_not_open(path: str) -> str:
    """And open files of its own, which get the lowest numbers there are; wait until they have been seen."""
    os.closerange(0, 4096)
    files = [open(f"{path}/{number}", "wb", buffering=0) for number in range(20)]  # noqa: SIM115
    before = supervisor_seconds()
    time.sleep(0.5)
    for file in files:
        file.write(b"mine")
    files[0].write(b" %f" % (supervisor_seconds() - before))
    kept.extend(files)
    return "done"


def supervisor_seconds() -> float:
    """CPU time of the process that supervises this one."""
    user, system = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def close_the_standard_ones() -> str:
    print("before")
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    sys.stdin = sys.stdout = sys.stderr = sys.__stdout__ = None  # type: ignore[assignment, misc]
    return "closed"


def replace_the_standard_ones() -> str:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    sys.stdout = sys.stderr = object()  # type: ignore[assignment]
    return "replaced"


def leave_a_daemon(path: str) -> str:
    """As daemons are made: forked twice, in a session of its own, with nothing open."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 4096)
            Path(path).write_text(str(os.getpid()))
            time.sleep(60)
        os._exit(0)
    os.wait()
    while not os.path.exists(path) or not Path(path).read_text():
        time.sleep(0.01)
    return "daemon"


def leave_threads() -> int:
    """That never end, and that the interpreter would wait for."""
    for daemon in (True, False):
        threading.Thread(target=time.sleep, args=(1e6,), daemon=daemon).start()
    return threading.active_count()


def change_everything() -> None:
    """All that belongs to the process and outlives a call."""
    gone = tempfile.mkdtemp()
    os.chdir(gone)
    os.rmdir(gone)
    os.umask(0o777)
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    os.environ.clear()
    locale.setlocale(locale.LC_ALL, "C")
    sys.path.clear()
    sys.setrecursionlimit(60)
    kept.append("changed")


def what_it_sees() -> dict[str, Any]:
    """What a later call finds changed."""
    try:
        directory = os.getcwd()
    except FileNotFoundError:
        directory = "gone"
    umask = os.umask(0)
    os.umask(umask)
    return {
        "directory": directory,
        "umask": umask,
        "ignored": signal.getsignal(signal.SIGTERM) is signal.SIG_IGN,
        "environment": len(os.environ),
        "path": len(sys.path),
        "limit": sys.getrecursionlimit(),
        "kept": list(kept),
        "standard": (sys.stdout.fileno(), os.isatty(1)),
    }


def end_by(how: str) -> NoReturn:
    """End, or have the supervisor ended."""
    if how == "kill the group":
        os.killpg(0, signal.SIGKILL)
    elif how == "exec":
        os.execv("/bin/true", ["true"])
    elif how == "exit well":
        os._exit(0)
    elif how == "kill the supervisor":
        os.kill(os.getppid(), signal.SIGKILL)
    elif how == "thread":
        threading.Timer(0.1, os._exit, [5]).start()
    time.sleep(20)
    raise AssertionError("it lives")


class Loads:
    """Unpickling it does something, save in the process that made it."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self.what, os.getpid())


class LoadsError(Exception):
    """The same, as an exception."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self.what, os.getpid())


def _load(what: str, home: int) -> str:
    if os.getpid() != home:
        if what == "exit":
            raise SystemExit(3)
        if what == "interrupt":
            raise KeyboardInterrupt("by hand")
        if what == "recursion":
            return _load(what, home)
        while not os.path.exists(what):
            time.sleep(0.01)
    return what


def return_what_loads(what: str) -> Loads:
    return Loads(what)


def raise_what_loads(what: str) -> NoReturn:
    raise LoadsError(what)


def nested(depth: int) -> list[Any]:
    """A list in a list in a list ... too deep to be pickled."""
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def take(_argument: Any) -> str:
    return "taken"


class TextlessError(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise SystemExit("no text")

    __repr__ = __str__


def raise_without_text(as_reason: bool) -> NoReturn:
    if as_reason:
        raise ValueError("the call's own") from TextlessError()
    raise TextlessError()


def raise_large(size: int) -> NoReturn:
    raise ValueError("x" * size)


def megabytes(count: int) -> bytes:
    return bytes(count << 20)


def executor_inside(directory: str) -> list[int]:
    """A call that runs an executor, in whose calls there is another one."""
    from clusterfutures import LocalExecutor

    with LocalExecutor(max_workers=1, directory=directory) as ex:
        return list(ex.map(abs, [-1, -2]))


def make_lambda() -> Any:
    return lambda: "made"
