"""A lock of multiprocessing holds across all processes and jobs of a run."""

from __future__ import annotations

import os
import threading
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from conftest import Ground

from clusterfutures.errors import WorkerDied

#: its locks need no helper process, which would count as left behind
multiprocessing = get_context("fork")
lock: Any = None


def keep(given: Any, _more: Any = None) -> None:
    global lock
    lock = given


def add_one(path: Path) -> tuple[str, int]:
    with lock:
        value = int(path.read_text())
        time.sleep(0.01)
        path.write_text(str(value + 1))
    return os.environ.get("SLURMD_NODENAME", ""), os.getpid()


def die_with(given: Any) -> None:
    given.acquire()
    os._exit(3)


def is_free(given: Any) -> bool:
    got: bool = given.acquire(timeout=60)
    given.release()
    return got


def give(given: Any) -> None:
    given.release()


def compare(first: Any, second: Any) -> bool:
    return first is second and first is lock


def same(given: Any) -> Any:
    return given


def wait_for(event: Any) -> bool:
    found: bool = event.wait(60)
    return found


def wait_in(condition: Any, path: Path) -> bool:
    with condition:
        path.touch()
        found: bool = condition.wait(60)
    return found


def notify(condition: Any, path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)
    with condition:
        condition.notify_all()


@pytest.mark.on("local", "slurm")
@pytest.mark.parametrize("kind", ["Lock", "RLock", "BoundedSemaphore"])
def test_a_lock_of_all_processes(ground: Ground, tmp_path: Path, kind: str) -> None:
    count = ground.work / "count"
    count.write_text("0")
    given = getattr(multiprocessing, kind)()
    with ground.executor(max_workers=2, processes=2, initializer=keep, initargs=(given,)) as ex:
        ran, calls = set(), 0
        while len(ran) < 2:  # one process may have been faster than the start of all others
            assert calls < 100_000, "no other process took part"
            ran.update(ex.map(add_one, [count] * 16, chunksize=1))
            calls += 16
        assert ex.submit(compare, given, given).result()
        assert ex.submit(same, given).result() is given
    assert count.read_text() == str(calls)


@pytest.mark.on("local")
def test_a_process_that_dies_gives_its_lock_back(ground: Ground) -> None:
    given = multiprocessing.Lock()
    with ground.executor(max_workers=2) as ex:
        assert isinstance(ex.submit(die_with, given).exception(), WorkerDied)
        assert ex.submit(is_free, given).result()


@pytest.mark.on("local")
def test_events_conditions_and_signals_between_jobs(ground: Ground) -> None:
    event, condition, given = multiprocessing.Event(), multiprocessing.Condition(), multiprocessing.Semaphore(0)
    with ground.executor(max_workers=2, processes=2) as ex:
        waiting = ex.submit(wait_for, event)
        ex.submit(event.set).result()
        assert waiting.result()
        waiting = ex.submit(wait_in, condition, ground.work / "waits")
        ex.submit(notify, condition, ground.work / "waits").result()
        assert waiting.result()
        got = ex.submit(is_free, given)
        ex.submit(give, given).result()
        assert got.result()


@pytest.mark.on("local")
def test_locks_of_threads_among_initargs_are_new_ones(ground: Ground) -> None:
    """As a fork gives them to the processes of a pool; the lock that tqdm has by default holds both kinds."""
    given = [multiprocessing.RLock(), threading.RLock(), threading.Lock()]
    with ground.executor(max_workers=1, initializer=keep, initargs=(given[0], given)) as ex:
        assert ex.submit(is_free, given[0]).result()
