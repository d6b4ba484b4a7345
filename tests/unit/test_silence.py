"""Workers of which nothing is heard: neither an answer of the scheduler about their jobs, nor a sign of life."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from clusterfutures import SlurmExecutor
from clusterfutures.client import silence as silence_module
from clusterfutures.client.silence import SILENCE_SECONDS, Silence
from clusterfutures.client.state import Worker
from clusterfutures.errors import SchedulerUnavailable
from clusterfutures.store.run_directory import RunDirectory
from clusterfutures.testing import FakeSlurm

NAME = "0001-0-0"


@pytest.fixture
def worker() -> Worker:
    return Worker(NAME, "0", "5", 0.0)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory.create(str(tmp_path / "run"))
    made.files.make_directory(made.check_in_path(NAME))
    return made


def given_up_at(silence: Silence, worker: Worker, first: float, stop: float) -> float | None:
    """When the worker is given up, with a turn every five seconds; None: it is not."""
    for now in range(int(first), int(stop), 5):
        if silence.lasts_too_long([worker], float(now)):
            return float(now)
    return None


def test_a_quarter_of_an_hour(run: RunDirectory, worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    silence = Silence(run, 0.0)
    assert given_up_at(silence, worker, 1, 840) is None
    assert caplog.messages == []
    ended = given_up_at(silence, worker, 840, 2000)
    assert ended is not None
    assert SILENCE_SECONDS <= ended <= SILENCE_SECONDS + 30
    (told,) = caplog.messages
    assert "about job 5" in told
    assert "another minute" in told


def test_answers_and_beats_and_time_that_does_not_count(run: RunDirectory, worker: Worker) -> None:
    silence = Silence(run, 0.0)
    assert given_up_at(silence, worker, 1, 800) is None
    worker.told_at = 800.0
    assert given_up_at(silence, worker, 800, 1600) is None
    for number in range(4):
        run.give_beat(NAME, number)
        assert given_up_at(silence, worker, 1600 + 800 * number, 2400 + 800 * number) is None
    assert given_up_at(silence, worker, 40_000, 40_100) is None, "the program was stopped for hours"
    assert given_up_at(silence, worker, 40_100, 42_000) is not None


def test_a_call_ends_and_the_worker_that_beats_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The scheduler is silent from the start of the job on; its worker is killed without a word."""
    monkeypatch.setattr(silence_module, "SILENCE_SECONDS", 3.0)
    monkeypatch.setattr(silence_module, "WARNING_SECONDS", 1.0)
    with FakeSlurm(cpus=2) as slurm:
        monkeypatch.setenv("PATH", slurm.environment["PATH"])
        for name, value in slurm.environment.items():
            monkeypatch.setenv(name, value)
        with SlurmExecutor(max_workers=1, directory=tmp_path / "runs") as ex:
            future = ex.submit(time.sleep, 60)
            while not future.running():
                time.sleep(0.05)
            for name in ("squeue", "scontrol", "sacct"):
                command = slurm.directory / "bin" / name
                command.unlink()
                command.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Socket timed out' >&2\nexit 1\n")
                command.chmod(0o755)
            error = future.exception(60)
    assert isinstance(error, SchedulerUnavailable)
    assert "neither an answer" in str(error)
