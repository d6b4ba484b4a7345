"""A run directory on a file system that fills up while a run goes on, and is freed again.

A small tmpfs is mounted where the ground has its runs; the test fills it from the client's side.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground

from clusterfutures.errors import StoreError


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
