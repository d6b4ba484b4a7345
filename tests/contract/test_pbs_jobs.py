"""Jobs on PBS, whose answers come late, are wrong of arrays, and forget what has ended where no history is kept."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import StandInGround
from contract_tasks import wait_until

from clusterfutures.errors import JobFailed
from clusterfutures.jobs import status as jobs_status
from clusterfutures.jobs.array import submit_array
from clusterfutures.jobs.job import Job, submit
from clusterfutures.jobs.scripts import make_job_file, submit_file
from clusterfutures.schedulers.job_state import JobState

pytestmark = [pytest.mark.on("pbs"), pytest.mark.steady("it is about when something is told")]
Start = Callable[..., Job]


@pytest.fixture
def start(ground: StandInGround, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setattr(jobs_status, "FIRST_SPACING", 0.5)  # tests ask more often than a user
    monkeypatch.setattr(jobs_status, "_LATE_SECONDS", 1.0)  # and their files are never late

    def submitted(*args: Any, **options: Any) -> Job:
        return submit(*args, scheduler="pbs", directory=str(ground.work / "jobs"), **options)

    return submitted


@pytest.fixture(params=["history", "no history"])
def history(ground: StandInGround, request: pytest.FixtureRequest) -> bool:
    ground.standin.configure(history=request.param == "history")
    return bool(request.param == "history")


def running(job: Job) -> Job:
    wait_until(lambda: job.started is not None, "it runs")
    return job


# -- how a job has ended -----------------------------------------------------------------


#: what is ended by a signal: one says nothing of it, one says so itself
COMMANDS = ("sleep 60", "trap 'exit 143' TERM; sleep 60 & wait; exit 143")


def test_cancelled_jobs(start: Start, history: bool) -> None:
    for job in [running(start(command)) for command in COMMANDS]:
        assert job.cancel()
        assert (job.wait(30).state, job.exitcode) == (JobState.CANCELLED, None)
        with pytest.raises(JobFailed, match="cancelled"):
            job.get(30)
        assert "143" not in str(job)


def test_a_job_that_qdel_ends(start: Start, ground: StandInGround, history: bool) -> None:
    """It is over when PBS still calls it running: its comment tells, also where nothing is remembered."""
    ground.standin.configure(young_seconds=3.0)
    job = running(start("sleep 60"))
    ground.end_job(job.id)
    assert (job.wait(30).state, job.exitcode) == (JobState.CANCELLED, None)


def test_jobs_that_their_time_limit_ends(start: Start, history: bool) -> None:
    for job in [start(command, time="2s") for command in COMMANDS]:
        assert (job.wait(80).state, job.exitcode) == (JobState.TIMEOUT, None)
        with pytest.raises(JobFailed, match="timeout"):
            job.get(30)


def test_a_job_that_ends_itself_by_a_signal(start: Start, history: bool) -> None:
    """Nobody has cancelled it: what it says of itself is true."""
    jobs = [start("kill -TERM $$"), start("exit 137")]
    assert [job.get(40)[0] for job in jobs] == [143, 137]


# -- an answer that is slow --------------------------------------------------------------


def test_the_jobs_own_files_need_no_answer(start: Start, ground: StandInGround) -> None:
    job = start("sleep 1; echo done")
    ground.standin.slow("qstat", 15.0)
    began = time.monotonic()
    assert job.get(30) == (0, "done\n", "")
    assert time.monotonic() - began < 10
    ground.standin.slow("qstat", 0)


def test_a_timeout_needs_no_answer_either(start: Start, ground: StandInGround) -> None:
    job = start("sleep 60")
    ground.standin.slow("qstat", 15.0)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        job.wait(1.0)
    assert time.monotonic() - began < 5
    ground.standin.slow("qstat", 0)
    ground.end_job(job.id)


# -- what is said of jobs that wait ------------------------------------------------------


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "does not come by itself" in record.getMessage()]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cores": 100}, "Can Never Run"),
        ({"extra": ["-h"]}, "held"),
        ({}, "Queue not started"),
    ],
    ids=["never", "held", "stopped"],
)
def test_what_never_comes_is_said_once(
    start: Start, ground: StandInGround, caplog: pytest.LogCaptureFixture, options: dict[str, Any], reason: str
) -> None:
    caplog.set_level(logging.WARNING, "clusterfutures")
    if not options:
        ground.standin.configure(stopped_queues=["workq"])
    jobs = [start("true", **options) for _ in range(2)]
    for job in jobs:
        with pytest.raises(TimeoutError):
            job.wait(0.8)
    (line,) = told(caplog)
    assert jobs[0].id in line
    assert reason in line
    for job in jobs:
        job.cancel()


def test_no_answer_is_said_once_of_many_jobs(
    start: Start, ground: StandInGround, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "clusterfutures")
    jobs = [start("sleep 60") for _ in range(3)]
    ground.standin.fail_next("qstat", 1000, text="qstat: cannot connect to server vm (errno=15010)", code=255)
    for job in jobs:
        with pytest.raises(TimeoutError):
            job.wait(1.0)
    assert len([record for record in caplog.records if "no answer about job" in record.getMessage()]) == 1
    for job in jobs:
        ground.end_job(job.id)


def _command(*words: str, home: Path) -> subprocess.Popen[str]:
    (home / "home").mkdir(exist_ok=True)
    environment = {**os.environ, "HOME": str(home / "home"), "CLUSTERFUTURES_SCHEDULER": "pbs"}
    return subprocess.Popen(
        [sys.executable, "-m", "clusterfutures", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip


@pytest.mark.parametrize("words", [["run", "--cores=100", "true"], ["submit", "--cores=100", "true"], ["wait"]])
def test_commands_say_what_never_comes(ground: StandInGround, tmp_path: Path, words: list[str]) -> None:
    if words == ["wait"]:
        assert ground.standin.run("qsub", "-l", "ncpus=100", "--", "/bin/true").returncode == 0
    program = _command(*words, home=tmp_path)
    assert program.stderr is not None
    line = program.stderr.readline()
    assert "does not come by itself" in line
    assert "Can Never Run" in line
    if words[0] != "submit":
        program.send_signal(signal.SIGINT)
    program.communicate(timeout=60)
    for job_id in ground.jobs():
        ground.end_job(job_id)


# -- what depends on arrays --------------------------------------------------------------


@pytest.fixture
def arrays(ground: StandInGround, start: Start) -> tuple[list[Job], list[Job], Callable[[], None]]:
    """An array whose first element fails and whose last to end does not; one the other way round; what lets them go."""
    base = str(ground.work / "jobs")
    command = f"while [ ! -e {ground.work}/{{}} ]; do sleep 0.05; done; case {{}} in *bad) exit 3;; esac"
    one = submit_array(command, ["one-bad", "one-good"], scheduler="pbs", directory=base)
    other = submit_array(command, ["other-good", "other-bad"], scheduler="pbs", directory=base)

    def go() -> None:
        for jobs, names in ((one, ["one-bad", "one-good"]), (other, ["other-good", "other-bad"])):
            for job, name in zip(jobs, names, strict=True):
                (ground.work / name).touch()
                job.wait(30)
                wait_until(lambda job=job: job.id not in ground.jobs(), "PBS knows that it has ended")

    return one, other, go


def test_what_depends_on_an_array(
    start: Start, ground: StandInGround, arrays: tuple[list[Job], list[Job], Callable[[], None]]
) -> None:
    """PBS itself goes by the element that ends last."""
    one, other, go = arrays
    hopeless = [start("echo ran", dependencies=array) for array in (one, other)]
    repairs = [start("echo ran", dependencies={"notok": array}) for array in (one, other)]
    anyway = [start("echo ran", dependencies={"any": array}) for array in (one, other)]
    of_one = start("echo ran", dependencies=one[1])
    of_bad = start("echo ran", dependencies=one[0])
    by_id = start("echo ran", dependencies=f"{one[0].id.partition('[')[0]}[]")
    script = make_job_file("echo ran", scheduler="pbs", directory=str(ground.work / "jobs"))
    of_file = submit_file(script, dependencies=one)
    go()
    for job in (*repairs, *anyway, of_one):
        assert job.get(30) == (0, "ran\n", "")
    for job in (*hopeless, of_bad, by_id, of_file):
        status = job.wait(30)
        assert (status.state, status.exit_code) == (JobState.FAILED, None)
        assert re.search(r"a job that it depends on did not end so: \d+\[\d\] \(ok\)", status.reason)
        assert job.started is None
        with pytest.raises(JobFailed, match="depends on"):
            job.get(30)
    assert hopeless[0].resubmit().get(30) == (0, "ran\n", ""), "dependencies are not waited for again"
    late = start("echo ran", dependencies=one)
    assert late.wait(30).state is JobState.FAILED


def test_an_element_that_is_killed_has_not_ended_well(
    start: Start, ground: StandInGround, arrays: tuple[list[Job], list[Job], Callable[[], None]]
) -> None:
    one, _, go = arrays
    later = start("echo ran", dependencies=one[1])
    repair = start("echo ran", dependencies={"notok": one[1]})
    running(one[1])
    one[1].cancel()
    go()
    assert later.wait(30).state is JobState.FAILED
    assert repair.get(30) == (0, "ran\n", "")
