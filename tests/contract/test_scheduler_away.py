"""A scheduler that is away for a while, at every moment of a run, and what is told when it stays away.

One absence serves all moments: each has an executor of its own, brought to that moment before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground, OwnSlurm, SlurmGround, StandInGround
from contract_tasks import wait_until

from clusterfutures.client import manager, scheduler_thread
from clusterfutures.errors import JobFailed
from clusterfutures.executors import ClusterExecutor
from clusterfutures.futures import ClusterFuture

#: how long it is away, at least
AWAY = 3.0
#: Slurm's commands give up after a second, not after nine
IMPATIENT = "MessageTimeout=1"
#: how long the end of a run may take while nobody answers
END = 2.0
#: how long workers may take to end by themselves
FAREWELL = 4.0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter pauses, for a shorter absence."""
    monkeypatch.setattr(scheduler_thread, "END_SECONDS", END)
    monkeypatch.setattr(scheduler_thread, "LONGEST_RETRY_SECONDS", 1.0)
    monkeypatch.setattr(scheduler_thread, "EXPLAIN_PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(manager, "FAREWELL_SECONDS", FAREWELL)


def _once(directory: str, number: int) -> int:
    """Raises when it is run a second time."""
    with open(f"{directory}/ran-{number}", "x"):
        time.sleep(0.05)
    return number


@contextlib.contextmanager
def _away(ground: Ground) -> Iterator[None]:
    """The scheduler is away while the block runs, and for ``AWAY`` seconds at least."""
    if isinstance(ground, SlurmGround):
        stop, start = ground.slurm.stop_controller, ground.slurm.start_controller
    else:
        assert isinstance(ground, StandInGround)
        stop, start = ground.standin.down, ground.standin.up
    stop()
    back = time.monotonic() + AWAY
    try:
        yield
        time.sleep(max(0.0, back - time.monotonic()))
    finally:
        start()


def _hold(ground: Ground) -> dict[str, list[str]]:
    """Options for jobs that stay pending until ``_release``."""
    return {"extra": ["--hold"] if ground.name == "slurm" else ["-h"]}


def _release(ground: Ground, job_id: str) -> None:
    if isinstance(ground, SlurmGround):
        ground.slurm.run("scontrol", "release", job_id)
    else:
        ground.standin.release(job_id)  # type: ignore[attr-defined]


def _running(path: Path, **executors: ClusterExecutor) -> list[ClusterFuture[str]]:
    """A call on each that runs until ``path/<name>-release`` is there."""
    futures = [ex.submit(tasks.block, path / name, path / f"{name}-release", name) for name, ex in executors.items()]
    for name in executors:
        tasks.await_file(path / name)
    return futures


def _new_job(ground: Ground, before: set[str]) -> str:
    wait_until(lambda: ground.jobs() - before, "a job is in the queue")
    (job_id,) = ground.jobs() - before
    return job_id


def _farewells(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "before the end" in record.getMessage()]


def _unanswered(caplog: pytest.LogCaptureFixture) -> set[str]:
    found = [re.search("no answer to the submission of (\\S+),", record.getMessage()) for record in caplog.records]
    return {match[1] for match in found if match}


def _at_every_moment(ground: Ground, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing fails that is not cancelled, nothing runs twice, and nobody waits for long at the end."""
    caplog.set_level(logging.WARNING, "clusterfutures")
    unsent = ground.executor(max_workers=1)
    lives_long = {"max_workers": 1, "idle_timeout": 40.0}
    fresh = ground.executor(max_workers=1)
    works, last, ending, ended = (ground.executor(**lives_long) for _ in range(4))
    running = _running(path, works=works, last=last, ending=ending, ended=ended)
    pending, asked, cancelled = (ground.executor(max_workers=1, **_hold(ground)) for _ in range(3))
    there = ground.jobs()
    unwanted = [cancelled.submit(_once, str(path), number) for number in (90, 91)]
    unwanted_job = _new_job(ground, there)
    waits = asked.submit(_once, str(path), 80)
    waits_job = _new_job(ground, there | {unwanted_job})
    time.sleep(1.2)  # it has been asked about
    late = pending.submit(_once, str(path), 81)
    late_job = _new_job(ground, there | {unwanted_job, waits_job})
    shutdown = threading.Thread(target=ending.shutdown)
    shutdown.start()
    with _away(ground):
        first = [fresh.submit(_once, str(path), number) for number in range(20)]
        dropped = [unsent.submit(_once, str(path), number) for number in (92, 93)]
        tasks.touch(path / "works-release")
        tasks.touch(path / "last-release")
        assert running[0].result(60) == "works"
        assert list(works.map(_once, [str(path)] * 20, range(20, 40), timeout=60)) == list(range(20, 40))
        assert running[1].result(60) == "last"
        last.shutdown()
        tasks.touch(path / "ending-release")
        shutdown.join(20)
        assert running[2].result(0) == "ending"
        assert not _farewells(caplog), "workers that end by themselves need no scheduler"

        wait_until(lambda: len(_unanswered(caplog)) == 2, "the submissions of both get no answer", 30)
        began = time.monotonic()
        ended.terminate_workers()
        assert "terminate_workers() was called" in str(running[3].exception(60))
        ends = [threading.Thread(target=ex.shutdown, args=(True,), kwargs={"cancel_futures": True})
                for ex in (unsent, ended, cancelled)]  # fmt: skip
        for end in ends:
            end.start()
        for end in ends:
            end.join(40)
        assert time.monotonic() - began < FAREWELL + 2 * END + 12, "bounded, and short"
        assert all(future.cancelled() for future in unwanted + dropped)
        assert not any(future.done() for future in [*first, waits, late])
    assert [future.result(60) for future in first] == list(range(20))
    for job_id in (waits_job, late_job):
        _release(ground, job_id)
    assert [waits.result(60), late.result(60)] == [80, 81]
    assert list(works.map(_once, [str(path)] * 5, range(40, 45), timeout=60)) == list(range(40, 45))
    told = _farewells(caplog)
    assert len(told) == 3, "one line for each run that left jobs behind"
    assert sum(f"jobs {unwanted_job} could not" in line for line in told) == 1
    for line in told:
        command = line.partition("answers again: ")[2].partition(" (it said")[0]
        done = subprocess.run(["sh", "-c", command], check=False, capture_output=True, text=True)
        assert done.returncode == 0 or "has finished" in done.stderr, done.stderr  # one had the time to end by itself
    tasks.touch(path / "ended-release")
    wait_until(lambda: unwanted_job not in ground.jobs(), "what was told to type ends the job")


def test_a_controller_that_is_away_at_every_moment(
    own_slurm: OwnSlurm, tmp_path: Path, caplog: pytest.LogCaptureFixture, impatient: None
) -> None:
    _at_every_moment(own_slurm(cpus=4, extra_conf=IMPATIENT), tmp_path, caplog)


@pytest.mark.steady("commands fail by order here")
@pytest.mark.on("pbs")
def test_a_server_that_is_away_at_every_moment(
    ground: Ground, tmp_path: Path, caplog: pytest.LogCaptureFixture, impatient: None
) -> None:
    _at_every_moment(ground, tmp_path, caplog)


@pytest.mark.steady("commands fail by order here")
@pytest.mark.on("pbs")
def test_a_job_that_ends_while_nobody_can_say_how(ground: StandInGround, tmp_path: Path, impatient: None) -> None:
    """The call fails when its job has said its last word, and the error says who gave no answer."""
    with ground.executor(max_workers=1) as ex:
        future = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        supervisor = ex.submit(tasks.worker)  # behind it
        tasks.await_file(tmp_path / "started")
        (job_id,) = ground.jobs()
        process = int(tasks.await_file(tmp_path / "started"))
        parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        with _away(ground):
            os.kill(parent, signal.SIGTERM)
            error = future.exception(60)
        assert isinstance(error, JobFailed)
        for text in (job_id, "gave no answer when it was asked how", "Connection refused", "submit the call again"):
            assert text in str(error)
        assert supervisor.result(60)[0] != job_id, "what had not begun runs elsewhere"
