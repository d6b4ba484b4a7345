"""A run and a job that an earlier version left behind are still read.

The archive was written by the version before modules were moved; what it holds:

    ex.submit(operator.add, 1, 2), ex.map(operator.mul, range(100), range(100)),
    ex.submit(operator.truediv, 1, 0), ex.submit(math.sqrt, 16) with retries=1, and a job add(3, 4)
"""

from __future__ import annotations

import math
import operator
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

import clusterfutures
from clusterfutures import Job, LocalExecutor

#: Python 3.11.3 and earlier have no filters
SAFELY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
ARCHIVE = Path(__file__).with_name("recorded_run.tar.gz")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, **SAFELY)
    for path in [tmp_path, *tmp_path.rglob("*")]:
        if path.is_dir():
            os.chmod(path, 0o700)
    return tmp_path


def test_the_run_is_attached(recorded: Path) -> None:
    with clusterfutures.attach("recorded", directory=recorded) as run:
        futures = list(run.futures)
        assert futures[0].result(60) == 3
        assert [future.result(60) for future in futures[1:101]] == [n * n for n in range(100)]
        assert isinstance(futures[101].exception(60), ZeroDivisionError)
        assert futures[102].result(60) == 4.0


def test_the_run_is_gone_on_with(recorded: Path) -> None:
    """Calls that the archive has are not made again: no worker is started for them."""
    with LocalExecutor(max_workers=1, run="recorded", directory=recorded, keep=True, retries=2) as ex:
        assert ex.submit(operator.add, 1, 2).result(60) == 3
        assert ex.with_options(retries=1).submit(math.sqrt, 16).result(60) == 4.0
    assert sorted(path.name for path in (recorded / "recorded" / "scripts").iterdir()) == ["0001.sh", "0002.sh"]


def test_the_job_is_read(recorded: Path) -> None:
    (path,) = (recorded / "jobs").iterdir()
    assert Job.attach(str(path)).get(30) == 7
