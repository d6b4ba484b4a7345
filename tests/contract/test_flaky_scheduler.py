"""A busy scheduler, whose commands each fail one time in three and take up to five seconds.

The whole suite runs so with ``--flaky-scheduler``; here is what matters most.
"""

from __future__ import annotations

from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground

pytestmark = [pytest.mark.flaky_scheduler, pytest.mark.on("slurm", "pbs")]


def _once(directory: str, number: int) -> int:
    """Raises when it is run a second time."""
    with open(f"{directory}/ran-{number}", "x"):
        return number


def test_every_call_runs_once_and_no_job_is_left(ground: Ground, tmp_path: Path) -> None:
    """Submissions whose answer was lost are found, not repeated; what is left would be told at the end."""
    with ground.executor() as ex:
        futures = [ex.submit(_once, str(tmp_path), n) for n in range(10)]
        mapped = ex.map(_once, [str(tmp_path)] * 20, range(10, 30))
        assert [future.result(60) for future in futures] == list(range(10))
        assert list(mapped) == list(range(10, 30))


def test_a_job_that_dies_and_jobs_that_are_not_wanted_any_more(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1) as ex:
        future = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        tasks.await_file(tmp_path / "started", 40)
        (job_id,) = ground.jobs()
        ground.end_job(job_id)
        assert job_id in str(future.exception(60))
        waiting = [ex.submit(tasks.block, tmp_path / f"{n}", tmp_path / "release") for n in range(5)]
        tasks.touch(tmp_path / "release")
        ex.shutdown(cancel_futures=True)
    assert all(other.done() for other in waiting)
    assert sum(other.cancelled() for other in waiting) >= 4
