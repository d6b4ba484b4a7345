"""The end of a job's time: what is begun before it, what is left to the next job.

A limit of seconds is told to a worker by its set-up, so that these tests do not depend on how
a scheduler counts; the local one also enforces it.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground

from clusterfutures.errors import OptionError, TimeLimitNear


def limit(seconds: float) -> list[str]:
    """The set-up of a job that ends in so many seconds, as far as it knows."""
    return [f"export CLUSTERFUTURES_JOB_END=$(($(date +%s%N) / 1000000 + {int(seconds * 1000)}))e-3"]


def begun(directory: Path) -> list[str]:
    """The calls that were begun: one line for each time."""
    return sorted((directory / "begun").read_text().split(), key=int)


@pytest.mark.on("local", "slurm")
@pytest.mark.parametrize("how", ["map", "submit"])
def test_many_bins_in_short_jobs(ground: Ground, tmp_path: Path, how: str) -> None:
    """Every job has time for a few calls only; no call fails, and none runs twice."""
    with ground.executor(max_workers=1, setup=limit(2.6), keep=True) as ex:
        if how == "map":
            assert list(ex.starmap(tasks.begin, [(tmp_path, n, 0.15) for n in range(12)], bins=2)) == list(range(12))
        else:
            futures = [ex.submit(tasks.begin, tmp_path, n, 0.15) for n in range(12)]
            assert [future.result(60) for future in futures] == list(range(12))
        assert ground.batches() > 1
    assert begun(tmp_path) == [str(n) for n in range(12)]


@pytest.mark.on("local")
def test_a_limit_that_is_enforced(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=2, time="0:00:04", keep=True) as ex:
        assert list(ex.starmap(tasks.begin, [(tmp_path, n, 0.2) for n in range(40)], bins=4)) == list(range(40))
        assert ground.batches() > 1
    assert begun(tmp_path) == [str(n) for n in range(40)]


@pytest.mark.on("local", "slurm")
def test_calls_longer_than_any_job_has_left_are_tried_once(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1, setup=limit(0.2), keep=True) as ex:
        assert list(ex.starmap(tasks.begin, [(tmp_path, n, 0.3) for n in range(3)], bins=1)) == [0, 1, 2]
        assert ground.batches() == 3, "one call for each job"
    assert begun(tmp_path) == ["0", "1", "2"]


@pytest.mark.on("local", "slurm")
def test_a_process_that_is_busy_keeps_no_other_calls(ground: Ground, tmp_path: Path) -> None:
    """A worker of two processes has one that is busy to the end: others take its calls meanwhile."""
    with ground.executor(max_workers=2, processes=2, cores=1, setup=limit(3)) as ex:
        blocked = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        tasks.await_file(tmp_path / "started")
        first = ex.submit(tasks.worker).result(60)
        deadline = time.monotonic() + 20
        while ex.submit(tasks.worker).result(60) == first:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        tasks.touch(tmp_path / "release")
        assert blocked.result(60) is None


# -- a call that is told -------------------------------------------------------------------


@pytest.mark.on("local", "slurm")
def test_a_call_is_raised_out_of(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1, setup=limit(8), on_timeout="raise", timeout_notice=5) as ex:
        error = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release").exception(60)
        assert isinstance(error, TimeLimitNear)
        assert 2 < error.seconds <= 5
        assert "time=" in str(error)
        assert "node/time_limit.py" not in str(error.__cause__).partition("await_file")[0]
        assert ex.submit(tasks.double, 1).result(60) == 2, "by the next job"


@pytest.mark.on("local", "slurm")
def test_a_callback_runs_in_the_call(ground: Ground, tmp_path: Path) -> None:
    """Only in what runs: neither between calls, nor in what has ended; and the call goes on."""
    with ground.executor(
        max_workers=1, processes=2, cores=1, setup=limit(6),
        on_timeout=partial(tasks.note_timeout, tmp_path / "told", tmp_path / "release"), timeout_notice=3,
    ) as ex:  # fmt: skip
        ended = ex.submit(tasks.pid)
        running = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", "done")
        assert running.result(60) == "done"
        assert (tmp_path / "told").read_text().split() == [(tmp_path / "started").read_text()]
        assert ended.result(0)


@pytest.mark.on("local")
def test_without_a_limit_nobody_is_told(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1, on_timeout="raise", timeout_notice=1e6) as ex:
        assert list(ex.map(tasks.double, range(100))) == [2 * n for n in range(100)]


@pytest.mark.on("local")
def test_what_is_no_callback(ground: Ground) -> None:
    with pytest.raises(OptionError, match="'raise'"):
        ground.executor(on_timeout="rise")
    with pytest.raises(ValueError, match="timeout_notice"):
        ground.executor(timeout_notice=0)
