"""The registry: what it makes of the scheduler's answers, of old ones and of those that come again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clusterfutures.client.failures import job_failed
from clusterfutures.client.scheduler_thread import Explained, Submitted
from clusterfutures.client.state import WorkerState
from clusterfutures.client.workers import WorkerRegistry
from clusterfutures.schedulers.base import EXIT_NO_LOG, NO_LOG
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.store.bootstrap import EXIT_NO_CHECK_IN
from clusterfutures.store.run_directory import RunDirectory


class Office:
    """A registry with what it asks of others."""

    def __init__(self, directory: Path) -> None:
        self.explained: list[tuple[str, str]] = []
        self.cancelled: list[str] = []
        scheduler_thread = SimpleNamespace(
            explain=lambda worker, job_id, *_, **_more: self.explained.append((worker, job_id)),
            look_soon=lambda: None,
            cancel=self.cancelled.extend,
            jobs_to_watch=lambda: None,
        )
        dispatcher: Any = SimpleNamespace(
            submitted=lambda *_: None, ended=lambda _worker: None, failed_to_start=lambda *_: self.dismiss(),
            lost=lambda *_: None,
        )  # fmt: skip
        self.registry = WorkerRegistry(RunDirectory.create(str(directory / "run")), dispatcher, scheduler_thread, 1.0)  # type: ignore[arg-type]

    def explain(self, worker: Any, status: JobStatus | None, when: float = 0.0, doubted: bool = False) -> None:
        """The scheduler was asked about one job."""
        self.registry.explained(Explained(worker.name, status, when, doubted), 0.0)

    def dismiss(self) -> None:
        """What the dispatcher does when it gives up a worker group."""
        self.registry.revoke(list(self.registry.workers.values()))

    def job(self, batch: str, job_id: str) -> Any:
        """A worker that was submitted just now."""
        self.registry.submitted(Submitted("0", batch, [job_id], 1))
        return self.registry.workers[f"{batch}-0-0"]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_an_answer_from_before_its_submission_says_nothing_of_a_job(office: Office) -> None:
    """The scheduler begins anew with its ids: the answer is of the job that had this one before."""
    worker = office.job("0001", "5")
    over = {"5": JobStatus("5", JobState.COMPLETED)}
    office.registry.seen(over, worker.since - 0.1)
    assert office.explained == []
    office.registry.seen(over, worker.since + 0.1)
    assert office.explained == [(worker.name, "5")]


def test_a_job_that_had_started_and_waits_again(office: Office) -> None:
    """Its node was lost without a word: its calls have their end now, not when it is run once more."""
    worker = office.job("0001", "5")
    waits = {"5": JobStatus("5", JobState.PENDING, reason="BeginTime")}
    office.registry.seen(waits, worker.since + 100)
    assert office.explained == [], "it has not started yet"
    worker.state = WorkerState.RUNNING
    office.registry.heard_of(worker)
    office.registry.seen(waits, worker.heard_at + 0.5)
    assert office.explained == [], "told before that was known everywhere"
    office.registry.seen({"5": JobStatus("5", JobState.RUNNING)}, worker.heard_at + 5)
    assert office.explained == []
    office.registry.seen(waits, worker.heard_at + 5)
    assert office.explained == [(worker.name, "5")]


def test_a_job_id_that_comes_again_is_that_of_the_new_worker(office: Office) -> None:
    old = office.job("0001", "5")
    new = office.job("0002", "5")
    office.registry.discharge(old)
    assert office.registry.watched() == ["5"]
    office.registry.seen({"5": JobStatus("5", JobState.FAILED)}, new.since + 0.1)
    assert office.explained == [(new.name, "5")]


def test_jobs_that_are_given_up_while_one_after_the_other_is_lost(office: Office) -> None:
    workers = [office.job(f"000{n}", str(n)) for n in range(3)]
    for worker in workers:
        office.explain(worker, JobStatus(worker.job_id, JobState.CANCELLED))
    office.registry.advance(10.0)
    assert office.registry.workers == {}
    assert office.cancelled == [], "their jobs are over"
    for worker in workers:
        assert not office.registry._run.revoke(worker.name), "none of them ever comes"


def test_what_a_job_says_after_it_was_given_up_is_heard(office: Office) -> None:
    """Its first words were late: it had started all the same."""
    worker = office.job("0001", "5")
    office.explain(worker, JobStatus("5", JobState.COMPLETED))
    office.registry.advance(10.0)
    assert office.registry.workers == {}
    late = office.registry.worker(worker.name)
    assert late is not None
    assert (late.name, late.job_id, office.registry.watched()) == (worker.name, "5", ["5"])
    assert office.registry.worker("0001-0-1") is not late
    assert office.registry.worker("0007-0-0") is None


def test_jobs_of_a_submission_that_was_given_up_are_known_if_they_come(office: Office) -> None:
    """The scheduler had taken them, and was silent for too long."""
    assert not office.registry.knows_batch("0003-1-0")
    office.registry.may_come("0", "0003", 2)
    assert office.registry.workers == {}
    assert office.registry.knows_batch("0003-1-0")
    worker = office.registry.worker("0003-1-0")
    assert worker is not None
    worker.job_id = "17"  # as its first words say
    office.registry.heard_of(worker)
    office.registry.advance(1e9)
    assert (office.registry.watched(), list(office.registry.workers)) == (["17"], ["0003-1-0"])


def test_a_reason_is_told_once(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    for batch, job_id in (("0001", "5"), ("0002", "6")):
        worker = office.job(batch, job_id)
        for reason in ("JobHeldUser", "JobHeldUser", "PartitionTimeLimit"):
            status = JobStatus(job_id, JobState.PENDING, reason=reason, never_starts=True)
            office.registry.seen({job_id: status}, worker.since + 1)
    assert [line.count("JobHeldUser") for line in caplog.messages] == [1, 0]


@pytest.mark.parametrize(
    "status",
    [
        JobStatus("5", JobState.FAILED, exit_code=EXIT_NO_CHECK_IN),
        JobStatus("5", JobState.FAILED, exit_code=EXIT_NO_LOG),
        JobStatus("5", JobState.FAILED, reason=f"{NO_LOG}: (0:53)"),
    ],
)
def test_a_node_that_does_not_see_the_directory(status: JobStatus) -> None:
    assert "does not see the run directory" in str(job_failed(status, None, "f", "/log", "", started=False))


def test_a_job_that_ended_well_and_told_nothing() -> None:
    """A controller that crashed may start a job anew that runs: the second one finds its place taken, and ends."""
    text = str(job_failed(JobStatus("5", JobState.COMPLETED, exit_code=0), None, "f", "/log", "", started=True))
    assert "submit the call again" in text


def _started(office: Office) -> Any:
    worker = office.job("0001", "5")
    worker.state = WorkerState.RUNNING
    office.registry.heard_of(worker)
    return worker


@pytest.mark.parametrize(
    "alone",
    [
        None,
        JobStatus("5", JobState.GONE, unknown=True),
        JobStatus("5", JobState.UNKNOWN, word="ended"),  # no answer
        JobStatus("5", JobState.PENDING),  # from a cache, from before its start
        JobStatus("5", JobState.RUNNING, restarts=1),
    ],
)
@pytest.mark.parametrize("listed", [JobStatus("5", JobState.GONE), JobStatus("5", JobState.PENDING)])
def test_an_answer_without_a_job_ends_it_not(office: Office, listed: JobStatus, alone: JobStatus | None) -> None:
    worker = _started(office)
    begun = worker.heard_at
    for moment in (2.0, 10.0, 60.0, 91.0):
        office.registry.seen({"5": listed}, begun + moment)
        office.explain(worker, alone, begun + 2.5, doubted=True)
    office.registry.advance(begun + 91.0)
    assert list(office.registry.workers) == [worker.name]
    assert office.cancelled == []
    office.registry.seen({"5": listed}, begun + 92.0)
    if not (lives := alone is not None and alone.state is JobState.RUNNING):
        office.explain(worker, None, begun + 92.0)
    office.registry.advance(begun + 1e6)
    assert list(office.registry.workers) == ([worker.name] if lives else [])


@pytest.mark.parametrize(
    ("alone", "cancelled"),
    [(JobStatus("5", JobState.NODE_FAIL, "NODE_FAIL"), []), (JobStatus("5", JobState.PENDING, restarts=1), ["5"])],
)
def test_what_the_scheduler_names_is_believed_at_once(office: Office, alone: JobStatus, cancelled: list[str]) -> None:
    worker = _started(office)
    office.registry.seen({"5": JobStatus("5", JobState.GONE)}, worker.heard_at + 2.0)
    assert office.explained == [(worker.name, "5")]
    office.explain(worker, alone, worker.heard_at + 2.5, doubted=True)
    office.registry.advance(1e9)
    assert office.registry.workers == {}
    assert office.cancelled == cancelled


def test_a_worker_that_beats_lives(office: Office, tmp_path: Path) -> None:
    """However long the scheduler does not list its job."""
    worker = _started(office)
    own = tmp_path / "run" / "claimed" / worker.name
    own.mkdir()
    begun = worker.heard_at
    for number in range(1, 5):
        (own / f"~beat.{number}").touch()
        office.registry.seen({"5": JobStatus("5", JobState.GONE)}, begun + 100.0 * number)
    office.registry.advance(begun + 1e6)
    assert office.registry.workers


def test_few_questions_when_a_list_is_empty(office: Office) -> None:
    workers = [office.job(f"{n:04d}", str(n)) for n in range(100)]
    office.registry.seen({w.job_id: JobStatus(w.job_id, JobState.GONE) for w in workers}, workers[-1].since + 1)
    office.registry.advance(workers[-1].since + 1)
    assert len(office.explained) == 8
