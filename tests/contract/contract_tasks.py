"""What the contract tests have run on the nodes: small functions, and ways to wait.

Imported by the tests and, by name, by the nodes: so it imports little.  Tests and calls
talk through files: a call *touches* one, the other side waits for it, with a limit.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

#: longer than any test waits, short enough that a call which nobody releases ends
CALL_LIMIT = 60.0
#: tests wait so many times as long as they say (where the scheduler's commands fail: conftest.py)
PATIENCE = 1


def wait_until(condition: Callable[[], object], what: str, limit: float = 60.0) -> None:
    """Wait for a condition; fail, saying ``what`` did not come about, after ``limit`` seconds."""
    deadline = time.monotonic() + limit * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit} s: {what}"
        time.sleep(0.01)


def touch(path: str | Path, content: str = "") -> None:
    """Make a file, whole at once."""
    temporary = Path(f"{path}.{os.getpid()}.tmp")
    temporary.write_text(content)
    temporary.rename(path)


def await_file(path: str | Path, limit: float = CALL_LIMIT) -> str:
    """Wait for a file; its content."""
    wait_until(lambda: os.path.exists(path), f"file {path}", limit)
    return Path(path).read_text()


def collect(values: Iterable[Any], into: list[Any]) -> None:
    """Take what an iterator yields, keeping what came before an exception."""
    for value in values:
        into.append(value)


@contextlib.contextmanager
def in_one_go() -> Iterator[None]:
    """What the block submits is there when the client's thread next looks: it gets no turn in between."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(10.0)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


# -- calls ----------------------------------------------------------------------------


def add(a: Any, b: Any = 0) -> Any:
    return a + b


def double(x: int) -> int:
    return 2 * x


def keywords(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def block(started: str | Path, release: str | Path, result: Any = None) -> Any:
    """Say that it runs (and in which process), then wait to be released."""
    touch(started, str(os.getpid()))
    await_file(release)
    return result


def touch_and_return(path: str | Path, result: Any = None) -> Any:
    touch(path)
    return result


def begin(directory: str | Path, number: int, seconds: float) -> int:
    """Note that it has begun, in a file that all calls share, and take a while."""
    with open(Path(directory, "begun"), "a") as file:
        file.write(f"{number}\n")
    time.sleep(seconds)
    return number


def note_timeout(told: str | Path, release: str | Path) -> None:
    """What a call does when its time is nearly over: say so, and let itself end."""
    with open(told, "a") as file:
        file.write(f"{os.getpid()}\n")
    touch(release)


def knows_cloudpickle(_: object = None) -> bool:
    return "cloudpickle" in sys.modules


def pid(_argument: Any = None) -> int:
    return os.getpid()


def worker(_argument: Any = None) -> tuple[str, str, int]:
    """Which interpreter this is: job, host, and the process id of the supervisor."""
    return os.environ["CLUSTERFUTURES_JOB_ID"], os.uname().nodename, os.getppid()


def slow_worker(_argument: Any = None) -> tuple[str, str, int]:
    """As ``worker``, with enough to do for every worker to get some of it."""
    time.sleep(0.02)
    return worker()


def variable(name: str) -> str | None:
    return os.environ.get(name)


def variables(*names: str) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


def affinity(_argument: Any = None) -> list[int]:
    time.sleep(0.05)
    return sorted(os.sched_getaffinity(0))


def share(path: str | Path, count: int) -> tuple[int, list[int], dict[str, str | None]]:
    """What this process was given, told when ``count`` processes are here to be compared."""
    touch(f"{path}-{os.getpid()}")
    directory, name = os.path.split(path)
    wait_until(
        lambda: sum(found.startswith(name) and not found.endswith(".tmp") for found in os.listdir(directory)) >= count,
        f"{count} processes",
    )
    return os.getpid(), affinity(), variables("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def fail(error: BaseException) -> NoReturn:
    raise error


def fail_at(x: int, bad: int) -> int:
    if x == bad:
        raise ValueError(f"{x} is bad")
    return x


def die(how: str) -> None:
    """End this process in one of several ways."""
    print("last words", flush=True)
    if how == "exit":
        os._exit(7)
    os.kill(os.getpid(), signal.Signals[how])
    time.sleep(CALL_LIMIT)


def die_at(x: int, bad: int) -> int:
    if x == bad:
        die("SIGSEGV")
    return x


def touch_or_die_at(directory: str, x: int, bad: int) -> int:
    """``die_at``, leaving a file for each call that came to run."""
    touch(f"{directory}/{x}")
    return die_at(x, bad)


def write_everywhere(number: int) -> int:
    """Write to stdout and stderr as Python, as C, past both, and from a child."""
    print(f"python {number}")
    print(f"error {number}", file=sys.stderr)
    sys.stdout.write(f"no newline {number};")
    sys.stdout.flush()
    os.write(1, f"write {number}\n".encode())
    ctypes.CDLL(None).printf(b"printf %d\n", number)
    subprocess.run(["/bin/sh", "-c", f"echo child {number}; echo child error {number} >&2"], check=True)
    return number


def write_much(text: str, count: int) -> int:
    for _ in range(count):
        print(text)
    return count


def pause_and_add(seconds: float, a: Any, b: Any = 0) -> Any:
    time.sleep(seconds)
    return a + b


# -- objects that make trouble ----------------------------------------------------------


class CustomError(Exception):
    """An exception with fields of its own."""

    def __init__(self, code: int, *, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class TwoArgumentsError(Exception):
    """Unpickles by calling the class with one argument, which fails: the classic trap."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class UnpicklableError(Exception):
    """Cannot be pickled."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("no travel papers")


class Unpicklable:
    """Cannot be pickled."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("no travel papers")


class BreaksOnLoading:
    """Can be pickled; unpickling raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, ("cannot be unpacked",)


class DiesOnLoading:
    """Can be pickled; unpickling kills the process, save in the test's own."""

    def __init__(self) -> None:
        self.pid = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return _die_unless, (self.pid,)


def _refuse(why: str) -> NoReturn:
    raise RuntimeError(why)


def _die_unless(home: int) -> str:
    if os.getpid() != home:
        os._exit(3)
    return "home"


class Holder:
    """An object with something inside."""

    def __init__(self, value: Any) -> None:
        self.value = value


def held(holder: Holder) -> Any:
    return holder.value


def return_unpicklable() -> Any:
    return Unpicklable()


def return_what_breaks() -> Any:
    return BreaksOnLoading()


def raise_unpicklable() -> NoReturn:
    raise UnpicklableError("cannot travel")


def raise_two_arguments() -> NoReturn:
    raise TwoArgumentsError("one", "two")


def raise_custom() -> NoReturn:
    raise CustomError(42, detail="of its own")


# -- workers that remember ----------------------------------------------------------------

remembered: list[Any] = []


def remember(*values: Any) -> None:
    """An initializer."""
    remembered.append(values)


def what_is_remembered(_argument: Any = None) -> list[Any]:
    return remembered


def failing_initializer(path: str) -> None:
    touch(f"{path}-{os.getpid()}")
    raise RuntimeError("the initializer does not like it here")
