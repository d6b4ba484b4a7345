"""The life of a Job step by step, on every scheduler."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from clusterfutures import Job, OptionError, SubmitError, submit
from tests.conftest import Ground

pytestmark = pytest.mark.steady("a submission that fails is told at once, and not repeated")


def where(ground: Ground) -> dict[str, Any]:
    return {"scheduler": {"torque": "pbs"}.get(ground.name, ground.name), "directory": str(ground.work / "jobs")}


def test_step_by_step(ground: Ground) -> None:
    count = ground.work / "count"
    job = Job(f"echo x >>{count}; cat {count}; exit $(wc -l <{count})", name="count me", **where(ground))
    assert str(job).startswith("job (not submitted) 'count me' on ")
    with pytest.raises(RuntimeError, match=r"submit\(\) it"):
        job.wait()
    job.write()
    assert job.submission == Path(job.path, "script").read_text()
    assert "run.sh" in job.submission
    assert (job.id, job.submitted, job.started, job.runtime, job.nodes) == ("", None, None, None, [])
    with pytest.raises(RuntimeError, match="not submitted"):
        _ = job.state
    before = time.time()
    assert job.submit() is job
    with pytest.raises(RuntimeError, match="resubmit"):
        job.submit()
    first = job.id
    assert job.get(40) == (1, "x\n", "")
    assert job.submitted is not None
    assert job.started is not None
    assert job.ended is not None
    assert int(before) <= job.started <= job.ended
    assert job.runtime == job.ended - job.started
    assert len(job.nodes) == 1
    assert os.path.join(job.path, "exit") in job.files
    assert job.out == "x\n"
    told = str(job)
    assert f"job {first} 'count me'" in told
    assert "failed, exit code 1" in told
    assert job.path in told
    assert job.resubmit().get(40) == (2, "x\nx\n", "")
    assert job.id != first
    assert Job.attach(job.path).id == job.id
    job.clean()
    assert list((ground.work / "jobs").iterdir()) == []


def test_await(ground: Ground) -> None:
    async def both() -> list[Any]:
        return await asyncio.gather(submit(pow, [2, 5], **where(ground)), submit("echo hi", **where(ground)))

    assert asyncio.run(asyncio.wait_for(both(), 45)) == [32, (0, "hi\n", "")]


def test_what_a_function_returned(ground: Ground) -> None:
    job = submit(dict, (), {"a": 1}, **where(ground))
    job.wait(40)
    assert job.out == {"a": 1} == job.get()


@pytest.mark.on("local")
def test_what_cannot_be_run_is_refused(ground: Ground) -> None:
    for given, words in [
        ({"command": " "}, "shell text"),
        ({"command": "true", "kwargs": {"a": 1}}, "no keyword arguments"),
    ]:
        with pytest.raises(OptionError, match=words):
            Job(**given, **where(ground))
    with pytest.raises(OptionError, match="no id to depend on"):
        Job("true", dependencies=Job("true", **where(ground)), **where(ground))
    job = Job("true", dependencies="10000", **where(ground))
    with pytest.raises(SubmitError, match="job 10000 is not in the queue of this machine"):
        job.submit()
    assert list((ground.work / "jobs").iterdir()) == []
    job.write()
    with pytest.raises(SubmitError):
        job.submit()
    assert os.path.exists(job.path)
    job.clean()
