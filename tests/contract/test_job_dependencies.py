"""Dependencies between jobs, and the queue that shows them, on every scheduler."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from clusterfutures.schedulers import by_name
from clusterfutures.schedulers.base import Dependency, JobSpec, Scheduler
from clusterfutures.schedulers.job_state import JobState, JobStatus
from tests.conftest import Ground

pytestmark = pytest.mark.steady("the adapter is asked without a scheduler thread, who would ask again")


@pytest.fixture
def scheduler(ground: Ground) -> Iterator[Scheduler]:
    made = by_name({"torque": "pbs"}.get(ground.name, ground.name), for_jobs=True)()
    yield made
    made.cancel([job.status.job_id for job in made.queue() if not job.status.state.is_final])
    made.close()


def submit(
    scheduler: Scheduler, ground: Ground, name: str, command: str, *after: Dependency, count: int = 1
) -> list[str]:
    spec = JobSpec(name, ["sh", "-c", command], str(ground.work / name), str(ground.work), dependencies=after)
    path = ground.work / f"{name}.sh"
    path.write_text(scheduler.script(spec, count))
    return scheduler.submit(spec, str(path), count)


def ended(scheduler: Scheduler, ids: list[str], seconds: float = 40) -> dict[str, JobStatus]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        states = scheduler.states(ids)
        if all(status.state.is_final for status in states.values()):
            return states
        time.sleep(0.1)
    raise AssertionError(f"not ended after {seconds} s: {scheduler.states(ids)}")


def test_jobs_start_after_those_they_depend_on(scheduler: Scheduler, ground: Ground) -> None:
    go = ground.work / "go"
    wait = f"while [ ! -e {go} ]; do sleep 0.05; done"
    (first,) = submit(scheduler, ground, "first", f"{wait}; exit 0")
    (bad,) = submit(scheduler, ground, "bad", f"{wait}; exit 3")
    (chained,) = submit(scheduler, ground, "chained", "touch chained", Dependency(first))
    (joined,) = submit(scheduler, ground, "joined", "touch joined", Dependency(first), Dependency(bad, "any"))
    (repair,) = submit(scheduler, ground, "repair", "touch repair", Dependency(bad, "notok"))
    (hopeless,) = submit(scheduler, ground, "hopeless", "touch hopeless", Dependency(bad))
    later = {chained, joined, repair, hopeless}
    assert {scheduler.states([one])[one].state for one in later} == {JobState.PENDING}
    shown = {job.status.job_id: job for job in scheduler.queue()}
    assert later <= set(shown)
    assert shown[chained].status.state is JobState.PENDING
    assert shown[chained].name == "chained"
    go.touch()
    states = ended(scheduler, [first, bad, *later])
    assert sorted(name for name in os.listdir(ground.work) if "." not in name) == ["chained", "go", "joined", "repair"]
    assert states[hopeless].state in (JobState.CANCELLED, JobState.GONE)


def test_a_job_waits_for_a_whole_array(scheduler: Scheduler, ground: Ground) -> None:
    elements = submit(scheduler, ground, "array", "sleep 0.3; touch e$CLUSTERFUTURES_INDEX", count=3)
    (last,) = submit(scheduler, ground, "last", "ls e0 e1 e2 >seen", *(Dependency(one) for one in elements))
    ended(scheduler, [*elements, last])
    assert (ground.work / "seen").read_text().split() == ["e0", "e1", "e2"]
