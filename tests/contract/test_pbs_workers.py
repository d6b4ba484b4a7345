"""Workers on a PBS that remembers no job that has ended, its default: what is known of their end all the same."""

from __future__ import annotations

import time

import pytest
from conftest import StandInGround
from contract_tasks import wait_until

from clusterfutures import submit
from clusterfutures.errors import JobFailed, SubmitError
from clusterfutures.schedulers import absence

pytestmark = [pytest.mark.on("pbs", "torque"), pytest.mark.steady("it is about what is told, and when")]


@pytest.fixture(autouse=True)
def forgetful(ground: StandInGround) -> None:
    if ground.name == "pbs":
        ground.standin.configure(history=False, young_seconds=0.0)
    else:
        ground.standin.configure(keep_completed=0.0)


def test_a_time_limit(ground: StandInGround) -> None:
    with ground.executor(max_workers=1, time="3s") as ex:
        call = ex.submit(time.sleep, 60)
        with pytest.raises(JobFailed, match="ask for more time=") as caught:
            call.result(60)
    assert caught.value.fields["state"] == "TIMEOUT"


@pytest.fixture
def soon_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is missing counts as ended after seconds."""
    monkeypatch.setattr(absence, "UNKNOWN_SECONDS", 0.5)
    monkeypatch.setattr(absence, "MISSING_SECONDS", 2.0)


@pytest.mark.usefixtures("soon_believed")
def test_a_job_that_vanishes_before_its_time_limit(ground: StandInGround) -> None:
    with ground.executor(max_workers=1, time="1h", memory="500MB") as ex:
        call = ex.submit(time.sleep, 60)
        wait_until(call.running, "it runs")
        ground.standin.forget(call.job_id or "")  # killed, and nobody knows it any more
        with pytest.raises(JobFailed) as caught:
            call.result(60)
    assert caught.value.fields["state"] not in ("TIMEOUT", "OUT_OF_MEMORY")


def _fill(megabytes: int) -> None:
    kept = b"x" * (megabytes * 2**20)
    time.sleep(60)
    del kept


@pytest.mark.usefixtures("soon_believed")
def test_a_memory_limit(ground: StandInGround) -> None:
    """The worker has said that it was near."""
    with ground.executor(max_workers=1, memory="150MB") as ex:
        call = ex.submit(_fill, 200)
        wait_until(call.running, "it runs")
        workers = ex._client._manager._registry.workers
        wait_until(lambda: any(worker.memory for worker in workers.values()), "it has said so")
        ground.standin.forget(call.job_id or "")
        with pytest.raises(JobFailed, match="MB of the 150 MB that it had asked for") as caught:
            call.result(60)
    assert caught.value.fields["state"] == "OUT_OF_MEMORY"
    assert "ask for more memory=" in str(caught.value)


def test_the_cause_of_retries(ground: StandInGround) -> None:
    with ground.executor(max_workers=1, time="3s", retries={"timeout": 1}) as ex:
        call = ex.submit(time.sleep, 60)
        with pytest.raises(JobFailed):
            call.result(90)
    assert call.attempts == 2


@pytest.mark.parametrize("kind", ["ok", "any", "notok"])
def test_a_dependency_on_a_job_that_nobody_knows(ground: StandInGround, kind: str) -> None:
    """PBS would take the job, and end it without a word."""
    with pytest.raises(SubmitError, match="job 99999 is not known to pbs, so nothing can depend on it"):
        submit("true", scheduler="pbs", directory=str(ground.work / "jobs"), dependencies={kind: "99999"})
    assert ground.standin.calls("qsub") == 0
    known = submit("sleep 1", scheduler="pbs", directory=str(ground.work / "jobs"))
    later = submit("echo ran", scheduler="pbs", directory=str(ground.work / "jobs"), dependencies={"any": known.id})
    assert later.get(30) == (0, "ran\n", "")
