"""A run directory on a file system that fills up while a run goes on, and is freed again; or is read-only for a while.

A small tmpfs is mounted where the ground has its runs; the test fills it from the client's side.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground

from clusterfutures.errors import StoreError
from clusterfutures.store import names


@pytest.fixture
def small(ground: Ground) -> Iterator[Path]:
    """The ground's runs on a file system of 8 MB."""
    ground.runs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(ground.runs)], check=True)
    try:
        yield ground.runs
    finally:
        for executor in ground._executors:
            executor.shutdown(wait=True, cancel_futures=True)
        subprocess.run(["umount", "--lazy", str(ground.runs)], check=True)


@pytest.mark.on("local", "slurm")
@pytest.mark.own_directory
def test_what_has_no_space_fails_alone(ground: Ground, small: Path) -> None:
    with ground.executor() as ex:
        assert ex.submit(tasks.double, 1).result(60) == 2
        too_large = ex.submit(len, bytes(16 << 20))
        error = too_large.exception(60)
        assert isinstance(error, StoreError)
        assert str(ground.run_directory()) in str(error)
        assert "No space left" in str(error)
        assert "an object of" in str(error)
        assert ex.submit(tasks.double, 2).result(60) == 4
        assert ex.submit(len, bytes(2 << 20)).result(60) == 2 << 20


@pytest.mark.on("local", "slurm")
@pytest.mark.own_directory
def test_results_wait_for_space(ground: Ground, small: Path, tmp_path: Path) -> None:
    """The first line of the job's log makes it a page long: what it says next has room there."""
    with ground.executor(max_workers=1, setup="echo the log") as ex:
        assert ex.submit(tasks.double, 0).result(60) == 0
        run = ground.run_directory()
        first = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", 1)
        tasks.await_file(tmp_path / "started")
        values = ex.map(tasks.double, range(50), bins=5)
        large = ex.submit(bytes, 2 << 20)
        tasks.wait_until(lambda: _waiting(run) == 51, "all calls are in the queue")
        with open(small / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(bytes(1 << 12)):
                pass
        tasks.touch(tmp_path / "release")
        log = run / "logs" / "0001-0.log"
        tasks.wait_until(lambda: "waiting for space" in log.read_text(), "the worker finds no space")
        (small / "filler").unlink()
        assert first.result(60) == 1
        assert list(values) == [2 * n for n in range(50)]
        assert large.result(60) == bytes(2 << 20)


@contextlib.contextmanager
def _read_only(directory: Path) -> Iterator[None]:
    """What opens files there from now on finds a read-only file system; files that are open stay as they are."""
    subprocess.run(["mount", "--bind", str(directory), str(directory)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(directory)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.mark.on("local", "slurm")
@pytest.mark.own_directory
def test_a_directory_that_is_read_only_for_a_while(ground: Ground, tmp_path: Path) -> None:
    """What runs keeps its results, small and large, until they can be written; what is in the queue stays there."""
    with ground.executor(max_workers=1, processes=2, cores=1, idle_timeout=30.0) as ex:
        assert ex.submit(tasks.double, 0).result(60) == 0
        run = ground.run_directory()
        small = ex.submit(tasks.block, tmp_path / "small", tmp_path / "release", 1)
        large = ex.submit(tasks.block, tmp_path / "large", tmp_path / "release", bytes(2 << 20))
        for name in ("small", "large"):
            tasks.await_file(tmp_path / name)
        queued = ex.submit(tasks.double, 1)
        tasks.wait_until(lambda: _waiting(run) == 1, "a call is in the queue")
        with _read_only(run):
            refused = ex.submit(tasks.double, 2).exception(60)
            assert isinstance(refused, StoreError)
            assert "Read-only" in str(refused)
            tasks.touch(tmp_path / "release")
            logs = [run / "logs" / name for name in ("0001-0.log", "0001-0-0.0.log", "0001-0-0.1.log")]
            tasks.wait_until(lambda: _says(logs, "waiting for it to be writable"), "the worker waits")
            assert not small.done()
            assert not large.done()
        assert small.result(60) == 1
        assert large.result(60) == bytes(2 << 20)
        assert queued.result(60) == 2
        assert len(ground.jobs()) == 1, "the same one all the time"
        assert ex.submit(tasks.double, 3).result(60) == 6


def _says(logs: list[Path], text: str) -> bool:
    return any(text in log.read_text() for log in logs)


def _waiting(run: Path) -> int:
    """How many calls lie in the queue."""
    bins = [names.parse_bin(path.name) for path in run.glob("queue/*/*")]
    return sum(found.stop - found.first for found in bins if found is not None)
