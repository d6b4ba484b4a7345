"""Our executors, with what CPython's tests take for granted of a process pool.

The tests reach for a pool's private parts mostly to count its processes, or to wait until
all of it has ended.  Here those names lead to what ours offers for the same question: the
jobs that its calls ran in, and whether any thread or file is left.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor
from typing import Any

from test import support

import clusterfutures

__all__ = ["adapted"]


def take_key(key: bytes) -> None:
    """The initializer of executors that have none."""
    multiprocessing.current_process().authkey = key


class Remains:
    """Stands for the processes, the manager thread and the call queue of one executor.

    It holds no reference to the executor, which shall end when nobody else does.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._before = set(threading.enumerate())
        self.jobs: set[str] = set()

    def __len__(self) -> int:
        return len(self.jobs)

    def values(self) -> list[Remains]:
        return [self]

    def is_alive(self) -> bool:
        return bool(self._left())

    def join(self, _timeout: float | None = None) -> None:
        """Wait until no thread, child process or file of the executor is left."""
        deadline = time.monotonic() + support.SHORT_TIMEOUT
        while left := self._left():
            if time.monotonic() > deadline:
                raise AssertionError(f"left by an executor that has been shut down: {left}")
            time.sleep(0.01)

    join_thread = join

    def _left(self) -> list[object]:
        return [*set(threading.enumerate()) - self._before, *os.listdir(self._directory)]


class _Adapted(Executor):
    """In front of one of ours: the arguments and the private names of a process pool."""

    def __init__(self, max_workers: int | None = None, mp_context: object = None, **options: Any) -> None:
        directory = tempfile.mkdtemp(dir=os.environ["CLUSTERFUTURES_DIR"])
        self._processes = self._executor_manager_thread = self._call_queue = Remains(directory)
        # The children of a process pool inherit the key that a manager asks for; ours are told.
        key = bytes(multiprocessing.current_process().authkey)
        options = {"initializer": take_key, "initargs": (key,)} | options
        super().__init__(max_workers, directory=directory, **options)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        future: Any = super().submit(fn, *args, **kwargs)
        jobs = self._processes.jobs
        future.add_done_callback(lambda done: jobs.add(done.job_id))
        return future

    @property
    def _broken(self) -> bool:
        try:
            self.submit(int)
        except BrokenExecutor:
            return True
        return False


def adapted(name: str) -> type[Executor]:
    """The executor of this name of ours; its name and all it does stay what they are."""
    return type(name, (_Adapted, getattr(clusterfutures, name)), {})
