"""Jobs on every scheduler: commands, functions, dependencies, and another program that attaches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clusterfutures.errors import JobFailed, OptionError, StoreError
from clusterfutures.jobs.job import Job, submit
from clusterfutures.schedulers.job_state import JobState
from tests.conftest import Ground


@pytest.fixture
def start(ground: Ground) -> Callable[..., Job]:
    name = {"torque": "pbs"}.get(ground.name, ground.name)

    def submitted(*args: Any, **options: Any) -> Job:
        return submit(*args, scheduler=name, directory=str(ground.work / "jobs"), **options)

    return submitted


def test_a_command(start: Callable[..., Job], ground: Ground) -> None:
    job = start('echo "$1 $PWD"; echo oops >&2; exit 3', ["a  b"])
    assert job.get(40) == (3, f"a  b {ground.work}\n", "oops\n")
    assert (job.state, job.exitcode) == (JobState.FAILED, 3)
    job.clean()
    assert list((ground.work / "jobs").iterdir()) == []


@pytest.mark.parametrize("option", [{"modules": ["nosuch"]}, {"setup": ["echo looking >&2; false"]}])
def test_a_command_that_never_started_says_why(start: Callable[..., Job], option: dict[str, Any]) -> None:
    job = start("echo hi", **option)
    with pytest.raises(JobFailed, match=r"not started: .*(module load nosuch|in the setup: false)"):
        job.get(40)
    assert "not started" in job.log


def test_a_function(start: Callable[..., Job]) -> None:
    offset = 5
    assert start(lambda x, y=0: x + y + offset, [1], {"y": 2}).get(40) == 8
    job = start(lambda: {}["missing"])
    with pytest.raises(KeyError, match="missing"):
        job.get(40)
    assert job.state is JobState.FAILED


@pytest.mark.on("local")
def test_modules_in_the_jobs_directory_are_found_and_hide_none(start: Callable[..., Job], tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('this is no part of the standard library')\n")
    (tmp_path / "only_here.py").write_text("answer = 42\n")

    def numbers() -> tuple[int, bool]:
        import random

        import only_here  # type: ignore[import-not-found]

        return only_here.answer, random.random() < 1

    assert start(numbers, cwd=str(tmp_path)).get(40) == (42, True)


def test_a_dependant_of_a_failed_job_fails_with_that_reason(start: Callable[..., Job], ground: Ground) -> None:
    bad = start(f"while [ ! -e {ground.work}/go ]; do sleep 0.05; done; exit 1")
    next_one = start("true", dependencies=bad)
    repair = start("true", dependencies={"notok": bad})
    (ground.work / "go").touch()
    with pytest.raises(JobFailed, match=f"depends on did not end so: .*{bad.id}"):
        next_one.get(40)
    assert next_one.state is JobState.FAILED
    assert repair.get(40)[0] == 0


def test_cancel(start: Callable[..., Job]) -> None:
    job = start("sleep 50")
    job.cancel()
    assert job.wait(40).state in (JobState.CANCELLED, JobState.GONE)


def test_another_program_attaches(start: Callable[..., Job]) -> None:
    first = start(pow, [2, 10])
    second = start("echo done", dependencies=[first])
    base = os.path.dirname(second.path)
    code = (
        "from clusterfutures.jobs.job import Job\n"
        f"print(Job.attach({first.path!r}).get(40), Job.attach({second.id!r}, {base!r}).get(40))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout == "1024 (0, 'done\\n', '')\n"


@pytest.mark.on("local")
def test_by_id(start: Callable[..., Job], ground: Ground) -> None:
    where = str(ground.work / "jobs")
    first, second = start("true"), start("exit 3")
    assert Job.attach(int(second.id), where).get(40)[0] == 3
    assert Job.attach(first.id, where).path == first.path
    with pytest.raises(StoreError, match="no job 99 of yours in "):
        Job.attach(99, where)
    old = Path(second.path, "job.json")
    old.write_text(json.dumps(json.loads(old.read_text()) | {"id": first.id, "submitted": 5.0}))
    assert Job.attach(first.id, where).path == first.path, "one of another scheduler, long ago"


@pytest.mark.on("local")
def test_what_is_no_job_is_refused(start: Callable[..., Job]) -> None:
    with pytest.raises(OptionError, match="is no job"):
        start("true", dependencies=[3.5])
    with pytest.raises(OptionError, match="one of ok, any, notok"):
        start("true", dependencies={"later": 3})
