"""The run directory, or a part of it, is removed while the executor and its workers use it.

Every future ends, with a StoreError that says what happened, and so does every job.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

import contract_tasks as tasks
import pytest
from conftest import Ground
from contract_tasks import wait_until

from clusterfutures import ClusterExecutor
from clusterfutures.errors import ClusterError, JobFailed, StoreError
from clusterfutures.store import names

SAID = r"run directory \S+ was removed while the executor used it \(there is no \S+\).*make another one"


def remove(path: Path) -> None:
    """Until it is gone: a worker may be writing in it.

    What is open somewhere stays under a hidden name on a network file system, and its directories with it.
    """

    def left() -> list[str]:
        found = [name for _, _, files in os.walk(path) for name in files]
        return [name for name in found if not name.startswith((".nfs", ".fuse"))]

    deadline = time.monotonic() + 20
    while (path / names.RESULTS).exists() or left():
        assert time.monotonic() < deadline, left()
        shutil.rmtree(path, ignore_errors=True)


def assert_over(future: Any) -> None:
    """Done, with the error that says it all; nothing else."""
    error = future.exception(60)
    assert isinstance(error, StoreError), error
    assert "was removed while the executor used it" in str(error)


def refuses(ex: ClusterExecutor) -> bool:
    """Whether the executor takes no more calls."""
    try:
        future = ex.submit(tasks.double, 1)
    except StoreError as error:
        return "make another one" in str(error)
    assert_over(future)
    return False


def test_while_calls_run_and_wait(ground: Ground, tmp_path: Path) -> None:
    ex = ground.executor(max_workers=1, idle_timeout=60)
    known = ex.submit(tasks.double, 4)
    assert known.result(60) == 8
    running = ex.submit(tasks.block, tmp_path / "started", tmp_path / "never")
    tasks.await_file(tmp_path / "started")
    waiting = [ex.submit(tasks.double, n) for n in range(5)]
    depends = ex.submit(tasks.add, running, 1)
    values = ex.map(tasks.double, range(20))
    remove(ground.run_directory())
    for future in (running, *waiting, depends):
        assert_over(future)
    with pytest.raises(StoreError, match=SAID):
        list(values)
    with pytest.raises(StoreError, match=SAID):
        ex.submit(tasks.double, 1)
    ex.shutdown()
    wait_until(lambda: not ground.jobs() and not ground.processes(), "all jobs are ended", 30)


@pytest.mark.on("local", "slurm")
@pytest.mark.parametrize("workers", ["idle", "none"])
def test_while_nothing_is_done(ground: Ground, workers: str) -> None:
    """The next call hears of it: be it the first thing that is looked at, or the first written."""
    ex = ground.executor(max_workers=1, idle_timeout=60 if workers == "idle" else 0.1)
    assert ex.submit(tasks.double, 4).result(60) == 8
    if workers == "none":
        wait_until(lambda: not ground.jobs(), "the worker has ended", 30)
    remove(ground.run_directory())
    with pytest.raises(StoreError, match=SAID):
        ex.submit(tasks.double, bytes(2 << 20)).result(60)
    wait_until(lambda: refuses(ex), "with its next look the manager hears of it, too", 30)
    ex.shutdown()
    wait_until(lambda: not ground.jobs() and not ground.processes(), "all jobs are ended", 30)


@pytest.mark.on("local")
@pytest.mark.parametrize("part", ["queue", "claimed", "results", "read", "objects", "large", "logs", "scripts"])
def test_a_part_of_it(ground: Ground, tmp_path: Path, part: str) -> None:
    """A clean-up took one of its directories: calls have results or errors, and nothing hangs."""
    ex = ground.executor(max_workers=2, idle_timeout=0.3)
    object.__setattr__(ex._client.settings, "visibility_timeout", 1.0)
    first = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", 7)
    tasks.await_file(tmp_path / "started")
    shutil.rmtree(ground.run_directory() / part, ignore_errors=True)
    tasks.touch(tmp_path / "release")
    futures = [first]
    with contextlib.suppress(StoreError):  # the executor may have noticed
        futures += [ex.submit(tasks.double, n) for n in range(4)]
        futures += [ex.submit(bytes, 2 << 20), ex.submit(len, bytes(2 << 20))]
    for future in futures:
        error = future.exception(60)
        assert error is None or isinstance(error, ClusterError), error
    ex.shutdown()


@pytest.mark.on("local")
def test_jobs_without_a_place_for_their_logs(ground: Ground) -> None:
    """What a job could not be started for is told by its calls."""
    with ground.executor(max_workers=1, idle_timeout=0.1) as ex:
        assert ex.submit(tasks.double, 1).result(60) == 2
        wait_until(lambda: not ground.jobs(), "the worker has ended")
        shutil.rmtree(ground.run_directory() / "logs")
        error = ex.submit(tasks.double, 2).exception(60)
        assert isinstance(error, JobFailed), repr(error)
        assert "it could not be started: [Errno 2]" in str(error)


@pytest.mark.on("local", "slurm")
def test_under_workers_whose_program_is_gone(ground: Ground, tmp_path: Path) -> None:
    """A worker ends, idle or in the middle of a long call: its results have nowhere to go."""
    text = """
import sys, time
def long(path):
    open(path, "w").close()
    time.sleep(300)
ex = executor(idle_timeout=300)
assert ex.submit(abs, -1).result(60) == 1
ex.submit(long, sys.argv[1])
time.sleep(300)
"""
    program = ground.script(text, str(tmp_path / "started"), wait=False)
    try:
        tasks.await_file(tmp_path / "started")
    finally:
        program.kill()
        program.communicate()
    run = ground.run_directory()
    remove(run)
    wait_until(lambda: not ground.jobs() and not ground.processes(), "the workers have ended by themselves", 40)
    shutil.rmtree(run, ignore_errors=True)  # what was open until now
