"""What is believed of a job, and how often the scheduler is asked for it."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from clusterfutures.errors import SchedulerUnavailable, SubmitError
from clusterfutures.jobs import job, submission
from clusterfutures.jobs import status as jobs_status
from clusterfutures.jobs.files import JobFiles
from clusterfutures.schedulers import status_cache
from clusterfutures.schedulers.base import Dependency
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.local import LocalScheduler

GONE = JobState.GONE


class Asked(LocalScheduler):
    """A cluster that tells what ``told`` says, and counts the questions."""

    poll_seconds = (1.0, 30.0)

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.told = JobState.RUNNING
        self.questions = 0
        self.fails = False
        self.reason = ""

    def question_key(self) -> str:
        return self.key

    def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        self.questions += 1
        if self.fails:
            raise SchedulerUnavailable(message="no answer")
        return {job_id: JobStatus(job_id, self.told, "WORD", self.reason) for job_id in job_ids}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked(str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(jobs_status, "adapter", lambda name: made)
    monkeypatch.setattr(job, "adapter", lambda name: made)
    monkeypatch.setattr(submission, "PATIENCE_SECONDS", 0.0)
    return made


def test_many_jobs_that_wait_cost_one_question(cluster: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_status, "FIRST_SPACING", 1000.0)
    cluster.poll_seconds = (1.0, 1000.0)
    watches = [jobs_status.Watch(JobFiles.make(str(tmp_path / "jobs"), "j"), str(n), "slurm", []) for n in range(50)]

    def wait(one: jobs_status.Watch) -> None:
        for waited in (0.0, 0.5, 1.0):
            one.look(waited)

    threads = [threading.Thread(target=wait, args=[one]) for one in watches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # a job that is new to the question is in the next one, which is not asked before its time
    assert cluster.questions == 1
    assert all(one.look().state in (JobState.PENDING, JobState.RUNNING) for one in watches)


def test_answers_may_be_older_for_who_has_waited_long(cluster: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [jobs_status.oldest(cluster, waited) for waited in (0, 12, 60, 1000)] == [3, 3, 15, 30]
    monkeypatch.setenv("CLUSTERFUTURES_POLL", "60")
    assert jobs_status.oldest(cluster, 0) == 60


def test_the_jobs_own_word_goes_first(cluster: Asked, tmp_path: Path) -> None:
    files = JobFiles.make(str(tmp_path / "jobs"), "j")
    cluster.told = GONE
    files.write("started", b"1 n1\n")
    files.write("exit", b"3 2\n")
    status = jobs_status.Watch(files, "1", "slurm", []).look()
    assert (status.state, status.exit_code, status.host) == (JobState.FAILED, 3, "n1")
    assert cluster.questions == 0


def test_one_that_ended_by_itself_is_waited_for(cluster: Asked, tmp_path: Path) -> None:
    """On a directory that lags half a minute."""
    clock = Clock()
    cluster.key = ""
    cluster.told = JobState.COMPLETED
    files = JobFiles.make(str(tmp_path / "jobs"), "j")
    one = jobs_status.Watch(files, "1", "slurm", [], clock)
    for moment in (0.0, 10.0, 31.0):
        clock.now = moment
        assert one.look().state is JobState.ENDING
    files.write("started", b"1 n1\n")
    files.write("exit", b"0 2\n")
    status = one.look()
    assert (status.state, status.exit_code, status.host) == (JobState.COMPLETED, 0, "n1")


def test_what_is_not_listed_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system would remember that it is not there; and what is listed may be late for an open."""
    files = JobFiles.make(str(tmp_path / "jobs"), "j")
    opened: list[str] = []
    late = [1, 2, 3]

    def opening(path: str, mode: str) -> object:
        opened.append(path)
        if late:
            late.pop()
            raise FileNotFoundError(path)
        return open(path, mode)

    monkeypatch.setattr("clusterfutures.jobs.files.open", opening, raising=False)
    assert files.read("result") is None
    assert opened == []
    Path(files.path, "result").write_bytes(b"value")
    Path(files.path, "result").chmod(0o600)
    assert files.read("result") == b"value"
    assert len(opened) == 4


def test_one_error_of_a_jobs_directory_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = JobFiles.make(str(tmp_path / "jobs"), "j")
    for number in (errno.ESTALE, errno.EIO, errno.EMFILE):
        for verb in ("listdir", "open", "replace", "fstat"):
            original, left = getattr(os, verb), [1]

            def failing(*arguments: object, _original=original, _left=left, _number=number) -> object:  # type: ignore[no-untyped-def]
                if _left:
                    _left.pop()
                    raise OSError(_number, os.strerror(_number))
                return _original(*arguments)

            with monkeypatch.context() as patch:
                patch.setattr(os, verb, failing)
                files.write("call", b"content")
                assert files.read("call") == b"content"
            assert not left, verb


def test_a_job_that_is_over_may_still_tell_how(cluster: Asked, tmp_path: Path) -> None:
    clock = Clock()
    cluster.key = ""  # every look is a question
    cluster.told = GONE
    files = JobFiles.make(str(tmp_path / "jobs"), "j")
    files.write("started", b"1 n1\n")
    one = jobs_status.Watch(files, "1", "slurm", [], clock)
    assert one.look().state is JobState.ENDING
    clock.now = 4.0
    assert one.look().state is JobState.ENDING
    clock.now = 6.0
    assert one.look().state is GONE
    files.write("exit", b"0 2\n")
    assert one.look().state is JobState.COMPLETED


def test_an_answer_from_before_the_job_does_not_end_it(cluster: Asked, tmp_path: Path) -> None:
    cluster.told = GONE
    files = JobFiles.make(str(tmp_path / "jobs"), "j")
    jobs_status.Watch(files, "1", "slurm", []).look()
    assert jobs_status.Watch(files, "1", "slurm", []).look().state is JobState.PENDING
    assert cluster.questions == 1


def test_never_started_after_another_is_a_failure_with_that_reason(cluster: Asked, tmp_path: Path) -> None:
    clock = Clock()
    cluster.key, cluster.told = "", JobState.CANCELLED
    one = jobs_status.Watch(JobFiles.make(str(tmp_path / "jobs"), "j"), "2", "slurm", [Dependency("1")], clock)
    one.look()
    clock.now = 1.0
    status = one.look()
    assert status.state is JobState.FAILED
    assert status.reason == "a job that it depends on did not end so: 1 (ok)"


def test_no_answer_is_told_or_waited_out(cluster: Asked, tmp_path: Path) -> None:
    cluster.fails = True
    one = jobs_status.Watch(JobFiles.make(str(tmp_path / "jobs"), "j"), "2", "slurm", [])
    with pytest.raises(SchedulerUnavailable, match="no answer"):
        one.look()
    assert one.look_patiently(0.0).state is JobState.UNKNOWN


def test_a_refused_submission_leaves_nothing(cluster: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> list[str]:
        raise SubmitError(message="no")

    monkeypatch.setattr(cluster, "submit", refuse)
    with pytest.raises(SubmitError, match="no"):
        job.submit("true", scheduler="local", directory=str(tmp_path / "jobs"))
    assert list((tmp_path / "jobs").iterdir()) == []


def test_without_an_answer_the_job_is_looked_for(
    cluster: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unanswered(*_args: object) -> list[str]:
        raise SchedulerUnavailable(message="timed out")

    monkeypatch.setattr(cluster, "submit", unanswered)
    with pytest.raises(SubmitError, match="not submitted"):
        job.submit("true", scheduler="local", directory=str(tmp_path / "jobs"))
    assert list((tmp_path / "jobs").iterdir()) == []
    monkeypatch.setattr(cluster, "find", lambda name, count: ["77"])
    assert job.submit("true", scheduler="local", directory=str(tmp_path / "jobs")).id == "77"


def test_a_job_that_the_scheduler_is_ending_is_not_waited_for(
    cluster: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node may be unable to end it for days."""
    cluster.told = JobState.ENDING
    monkeypatch.setattr(cluster, "submit", lambda *_args: ["5"])
    one = job.submit("true", scheduler="slurm", directory=str(tmp_path / "jobs"))
    monkeypatch.setattr(job.time, "sleep", lambda _seconds: pytest.fail("it waits"))
    assert one.state is JobState.ENDING


@pytest.mark.parametrize(
    ("told", "reason"), [(JobState.FAILED, "the log file could not be opened"), (JobState.CANCELLED, "Dependency")]
)
def test_not_everything_is_the_fault_of_a_dependency(
    cluster: Asked, tmp_path: Path, told: JobState, reason: str
) -> None:
    clock = Clock()
    cluster.key, cluster.told, cluster.reason = "", told, reason
    one = jobs_status.Watch(JobFiles.make(str(tmp_path / "jobs"), "j"), "2", "slurm", [Dependency("1")], clock)
    one.look()
    clock.now = 1.0
    assert (one.look().state, one.look().reason) == (told, reason)


def test_who_has_no_time_looks_all_the_same(tmp_path: Path) -> None:
    clock = Clock()
    seen = []

    def wait() -> None:
        for pause in jobs_status.pauses(2.0, "it has not ended", clock):
            seen.append(pause.waited)
            clock.now += pause.seconds

    with pytest.raises(TimeoutError, match="it has not ended after 2 s"):
        wait()
    assert seen[-1] == pytest.approx(2.0), "and when the time is over"
    assert next(jobs_status.pauses(0.0, "", clock)).seconds == 0.0


def test_a_job_that_has_ended_needs_no_time(cluster: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "submit", lambda *_args: ["5"])
    one = job.submit("true", scheduler="slurm", directory=str(tmp_path / "jobs"))
    with pytest.raises(TimeoutError, match="has not ended after 0 s"):
        one.get(timeout=0)
    JobFiles(one.path).write("exit", b"0 2\n")
    assert one.get(timeout=0) == (0, "", "")


def test_silence_is_told_once(cluster: Asked, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cluster.key, cluster.fails = "", True
    one = jobs_status.Watch(JobFiles.make(str(tmp_path / "jobs"), "j"), "2", "slurm", [])
    for _ in range(3):
        one.look_patiently(0.0)
    assert len([record for record in caplog.records if "no answer about job 2" in record.message]) == 1


def test_a_program_looks_at_the_shared_answer_once_for_all_its_jobs(
    cluster: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look reads and writes a file that holds all of them."""
    looks: list[set[str]] = []
    recent = status_cache.recent_states
    monkeypatch.setattr(
        status_cache, "recent_states", lambda *args, **more: looks.append(set(args[1])) or recent(*args, **more)
    )
    monkeypatch.setattr(jobs_status, "FIRST_SPACING", 30.0)
    watches = [jobs_status.Watch(JobFiles.make(str(tmp_path / "jobs"), "j"), str(n), "slurm", []) for n in range(30)]
    jobs_status.ask_about("slurm", [str(n) for n in range(30)])
    assert [one.look().state for one in watches] == [JobState.RUNNING] * 30
    assert looks == [{str(n) for n in range(30)}]
    monkeypatch.setattr(jobs_status, "FIRST_SPACING", 0.0)  # what was told is too old for everybody
    monkeypatch.setattr(jobs_status, "_GLANCE_SECONDS", 0.0)
    watches[0].look()
    monkeypatch.setattr(jobs_status, "_GLANCE_SECONDS", 1000.0)
    for one in watches:
        one.look()
    assert len(looks) == 2
    cluster.fails = True
    jobs_status.Watch(JobFiles.make(str(tmp_path / "jobs"), "j"), "new", "slurm", []).look_patiently(0.0)
    assert looks[2] == {*(str(n) for n in range(30)), "new"}
