"""The queue as its user sees it, on a cluster of which the test says what it tells."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusterfutures.errors import OptionError, SchedulerUnavailable
from clusterfutures.jobs import queue, status
from clusterfutures.jobs.job import Job
from clusterfutures.jobs.queue import Queue
from clusterfutures.schedulers import absence
from clusterfutures.schedulers.base import QueuedJob
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.local import LocalScheduler

ME = getpass.getuser()


def listed(job_id: str, state: JobState, owner: str = ME, partition: str = "main") -> QueuedJob:
    return QueuedJob(JobStatus(job_id, state, "WORD", exit_code=2), owner=owner, partition=partition)


class Told(LocalScheduler):
    poll_seconds = (1.0, 30.0)

    def __init__(self) -> None:
        super().__init__()
        self.questions = 0
        self.jobs = [
            listed("1", JobState.RUNNING), listed("2", JobState.PENDING, partition="long"),
            listed("3", JobState.COMPLETED), listed("4", JobState.TIMEOUT),
            listed("5", JobState.RUNNING, owner="ann"), listed("6", JobState.SUSPENDED),
        ]  # fmt: skip
        self.failures = 0

    def question_key(self) -> str:
        return "told"

    def queue(self) -> list[QueuedJob]:
        self.questions += 1
        if self.questions <= self.failures:
            raise SchedulerUnavailable(message="no answer")
        return self.jobs

    def explain(self, job_id: str) -> JobStatus | None:
        return None


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Told:
    made = Told()
    monkeypatch.setattr(queue, "adapter", lambda name: made)
    return made


@pytest.fixture
def always_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "oldest", lambda scheduler, waited: 0.0)


def ids(jobs: list[QueuedJob]) -> list[str]:
    return [job.id for job in jobs]


def test_jobs_by_state_owner_and_partition(cluster: Told) -> None:
    q = Queue(scheduler="local")
    assert ids(q.jobs) == ["1", "2", "3", "4", "6"] == ids(list(q))
    assert len(q) == 5
    assert (ids(q.running), ids(q.queued)) == (["1", "6"], ["2"])
    assert (ids(q.completed), ids(q.failed)) == (["3"], ["4"])
    assert ids(Queue("ann", scheduler="local").jobs) == ["5"]
    assert len(Queue(None, scheduler="local")) == 6
    assert ids(Queue(partition="long", scheduler="local").jobs) == ["2"]
    assert (q[4].state, q["4"].word, q["4"].exitcode) == (JobState.TIMEOUT, "WORD", 2)
    assert 4 in q
    assert "5" not in q
    with pytest.raises(KeyError, match="job 5 is not in this queue"):
        q[5]
    assert cluster.questions == 1


def test_one_question_for_all_threads(cluster: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "oldest", lambda scheduler, waited: 1000.0)
    queues = [Queue(scheduler="local") for _ in range(20)]
    threads = [threading.Thread(target=lambda q=q: [len(q) for _ in range(50)]) for q in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert cluster.questions == 1


def test_room_for_more(cluster: Told) -> None:
    q = Queue(scheduler="local", max_jobs=4)
    assert q.can_submit()
    assert not q.can_submit(3)
    q.wait_to_submit()
    with pytest.raises(TimeoutError, match="Queue of local"):
        q.wait_to_submit(3, timeout=0.1)
    status.note_submission("local")  # not listed yet, and counted
    assert not q.can_submit()
    assert Queue(scheduler="local").can_submit()
    with pytest.raises(OptionError, match="max_jobs=0"):
        q.can_submit(0)


def _later(change: Callable[[], None]) -> None:
    threading.Timer(0.2, change).start()


def test_wait(cluster: Told, always_ask: None, monkeypatch: pytest.MonkeyPatch) -> None:
    q = Queue(scheduler="local")
    q.wait(["3", 4], timeout=5)
    with pytest.raises(TimeoutError):
        q.wait("1", timeout=0.2)
    _later(lambda: setattr(cluster, "jobs", cluster.jobs[1:]))
    with pytest.raises(TimeoutError):  # one answer without it, or some, tell nothing
        q.wait("1", timeout=1.0)
    monkeypatch.setattr(absence, "MISSING_SECONDS", 0.2)
    q.wait("1", timeout=60)
    assert "1" not in q
    _later(cluster.jobs.clear)
    q.wait(timeout=60)


def test_an_answer_from_before_does_not_end_a_job(cluster: Told) -> None:
    q = Queue(scheduler="local")
    assert len(q) == 5
    with pytest.raises(TimeoutError):
        q.wait("99", timeout=0.2)  # submitted after the answer, for all that is known


def test_a_wait_survives_a_question_without_answer(cluster: Told, always_ask: None) -> None:
    cluster.failures = 2
    Queue(scheduler="local").wait("3", timeout=60)
    assert cluster.questions == 3


def test_jobs_of_ours_are_known_by_their_files(cluster: Told, tmp_path: Path) -> None:
    from clusterfutures.jobs.job import submit

    job = submit("exit 3", scheduler="local", directory=str(tmp_path / "jobs"))
    Queue(scheduler="local").wait([job], timeout=60)
    assert cluster.questions == 0
    assert Job.attach(job.path).exitcode == 3


def test_an_array_by_its_id(cluster: Told, always_ask: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As sbatch and qsub print it: it is not in the list, its elements are."""
    cluster.jobs = [listed(f"50_{n}", JobState.RUNNING) for n in range(2)] + [listed("7[3]", JobState.PENDING)]
    q = Queue(scheduler="local")
    for named in ("50", "50_1", "7[]", "7[].server", "7[3].server.org"):
        assert named in q
        with pytest.raises(TimeoutError, match=r"not all of these jobs have ended after 0\.1 s"):
            q.wait(named, timeout=0.1)
    assert (q.ids_of(50), q.ids_of("7[]"), q.ids_of("5")) == (["50_0", "50_1"], ["7[3]"], [])
    assert q["7[3].server"].id == "7[3]"
    _later(lambda: setattr(cluster, "jobs", [listed("50_1", JobState.COMPLETED)]))
    with pytest.raises(TimeoutError):  # what has become of the others is not known
        q.wait("50", timeout=1.0)
    monkeypatch.setattr(absence, "MISSING_SECONDS", 0.2)
    q.wait(["50", "7[]"], timeout=60)


def test_room_is_waited_for_while_the_scheduler_is_away(
    cluster: Told, always_ask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = Queue(scheduler="local")
    cluster.failures = 1
    with monkeypatch.context() as impatient:
        impatient.setattr(queue, "PATIENCE_SECONDS", -1.0)
        with pytest.raises(SchedulerUnavailable):
            q.wait_to_submit(1, timeout=5)

    class Away(list[QueuedJob]):
        """A full queue once, then no answer twice, then an empty queue."""

        def __iter__(self) -> Iterator[QueuedJob]:
            if 2 < cluster.questions < 5:
                raise SchedulerUnavailable(message="no answer")
            return iter(full if cluster.questions == 2 else [])

    full, cluster.jobs = cluster.jobs, Away()
    q.wait_to_submit(1, timeout=20)
    assert cluster.questions == 5


def test_a_job_that_may_run_in_several_partitions(cluster: Told) -> None:
    cluster.jobs.append(listed("9", JobState.PENDING, partition="short,main"))
    assert ids(Queue(partition="short", scheduler="local").jobs) == ["9"]


def test_a_job_that_was_waited_for_has_ended_also_where_the_list_is_older(
    cluster: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job tells its end itself, and may be faster than what the scheduler tells."""
    over = JobStatus("", JobState.FAILED, exit_code=7)
    monkeypatch.setattr(Job, "ended", 1234.5)
    monkeypatch.setattr(Job, "look", lambda self, waited=0.0: over)
    job = Job.__new__(Job)
    job.id = "1"
    q = Queue(scheduler="local")
    q.wait(job, timeout=0)
    assert (q[1].state, q[1].exitcode, q[1].ended, q[1].owner) == (JobState.FAILED, 7, 1234.5, ME)
    assert ids(q.failed) == ["1", "4"]
    assert Queue(scheduler="local")[1].state is JobState.RUNNING
