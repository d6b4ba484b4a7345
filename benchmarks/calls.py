"""The functions that are called: importable where the calls run, and cheap to check.

Each returns something that the driver can compute without it, so that every result of
every run is compared.
"""

from __future__ import annotations

import os
import time
from typing import Any


def increment(number: int) -> int:
    """The trivial call."""
    return number + 1


def hold(seconds: float) -> tuple[str, int]:
    """Keep a slot busy; tells which process it was."""
    time.sleep(seconds)
    return os.uname().nodename, os.getpid()


def nap(pair: tuple[int, float]) -> int:
    """A call that lasts ``pair[1]`` seconds and uses no processor."""
    time.sleep(pair[1])
    return pair[0]


def noted_nap(log: str, number: int, pair: tuple[int, float]) -> int:
    """``nap`` by a call that notes in a file that it has begun."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{number}\n".encode())
    os.close(descriptor)
    return nap(pair)


def doze(pair: tuple[int, float]) -> int:
    """``nap`` under another name: a function of calls that all last as long, and of which it is known."""
    return nap(pair)


def element(array: Any, index: int) -> float:
    """One number out of a large array."""
    return float(array[index])


def large(index: int) -> Any:
    """A result of 16 MB."""
    import numpy

    return numpy.full(LARGE_NUMBERS, float(index))


def die(path: str) -> None:
    """Takes its process with it."""
    note(path)
    os._exit(1)


def crash(path: str) -> None:
    """Is killed as by a segmentation fault."""
    import signal

    note(path)
    os.kill(os.getpid(), signal.SIGSEGV)


def fail(path: str) -> None:
    """Raises."""
    note(path)
    raise ValueError("as it should")


def unpicklable(path: str) -> Any:
    """Returns what cannot travel."""
    import threading

    note(path)
    return threading.Lock()


def job_id_then_hold(path: str) -> str:
    """Stay, until somebody ends it; when it is run again, return at once."""
    if not note(path):
        return "when it ran again"
    time.sleep(600)
    return "in peace"


def unlucky(number: int) -> int:
    """One in a hundred kills its process, one in a hundred raises, the others return."""
    if number % 100 == 1:
        os.kill(os.getpid(), 9)
    if number % 100 == 2:
        raise ValueError(number)
    return number


def note(path: str) -> bool:
    """Write the moment, the job and the process that started this one; False when that was
    done before."""
    if os.path.exists(path):
        return False
    job = os.environ.get("SLURM_ARRAY_JOB_ID", "")
    job = f"{job}_{os.environ['SLURM_ARRAY_TASK_ID']}" if job else os.environ.get("SLURM_JOB_ID", "")
    with open(path + ".new", "w") as file:
        file.write(f"{time.time()},{job},{os.getppid()}")
    os.rename(path + ".new", path)
    return True


#: 16 MB of float64
LARGE_NUMBERS = 2_000_000
