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


def element(array: Any, index: int) -> float:
    """One number out of a large array."""
    return float(array[index])


def large(index: int) -> Any:
    """A result of 16 MB."""
    import numpy

    return numpy.full(LARGE_NUMBERS, float(index))


def die(_: Any) -> None:
    """Takes its process with it."""
    os._exit(1)


def crash(_: Any) -> None:
    """Is killed as by a segmentation fault."""
    import signal

    os.kill(os.getpid(), signal.SIGSEGV)


def fail(_: Any) -> None:
    """Raises."""
    raise ValueError("as it should")


def unpicklable(_: Any) -> Any:
    """Returns what cannot travel."""
    import threading

    return threading.Lock()


def job_id_then_hold(path: str) -> None:
    """Say in ``path`` which job this is and which process started it, then stay."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID", "")
    job = f"{job}_{os.environ['SLURM_ARRAY_TASK_ID']}" if job else os.environ.get("SLURM_JOB_ID", "")
    with open(path + ".new", "w") as file:
        file.write(f"{job} {os.getppid()}")
    os.rename(path + ".new", path)
    time.sleep(600)


#: 16 MB of float64
LARGE_NUMBERS = 2_000_000
