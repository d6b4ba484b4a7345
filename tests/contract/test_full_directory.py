"""A run directory on a file system that fills up while a run goes on, and is freed again.

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
        assert ex.submit(tasks.double, 1).result(30) == 2
        too_large = ex.submit(len, bytes(16 << 20))
        error = too_large.exception(30)
        assert isinstance(error, StoreError)
        assert str(ground.run_directory()) in str(error)
        assert "No space left" in str(error)
        assert "an object of" in str(error)
        assert ex.submit(tasks.double, 2).result(30) == 4
        assert ex.submit(len, bytes(2 << 20)).result(30) == 2 << 20


@pytest.mark.on("local", "slurm")
def test_results_wait_for_space(ground: Ground, small: Path, tmp_path: Path) -> None:
    """The first line of the job's log makes it a page long: what it says next has room there."""
    with ground.executor(max_workers=1, setup="echo the log") as ex:
        assert ex.submit(tasks.double, 0).result(30) == 0
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
        assert first.result(30) == 1
        assert list(values) == [2 * n for n in range(50)]
        assert large.result(30) == bytes(2 << 20)


def _waiting(run: Path) -> int:
    """How many calls lie in the queue."""
    bins = [names.parse_bin(path.name) for path in run.glob("queue/*/*")]
    return sum(found.stop - found.first for found in bins if found is not None)
