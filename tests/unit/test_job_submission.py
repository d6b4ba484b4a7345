"""Jobs on their way to a scheduler of which the test says what it answers, and what comes back of them."""

from __future__ import annotations

import concurrent.futures as cf
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from clusterfutures import Job, JobFailed, OptionError, make_job_file, submit_array, submit_file
from clusterfutures.errors import SchedulerUnavailable, StoreError, SubmitError, TransferError
from clusterfutures.jobs import array, function, job, submission
from clusterfutures.jobs.array import write_array
from clusterfutures.jobs.files import JobFiles
from clusterfutures.jobs.request import spec_of
from clusterfutures.schedulers.base import Dependency, JobSpec
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.local import LocalScheduler


class Site(LocalScheduler):
    """Gives ids to what is submitted, and runs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.specs: list[JobSpec] = []
        self.answer: Callable[[], None] = lambda: None
        self.found: Callable[[], list[str] | None] = lambda: None
        self.cancelled: list[list[str]] = []
        self.limit = 1000

    def array_limit(self) -> int:
        return self.limit

    def submit(self, spec: JobSpec, path: str, count: int) -> list[str]:
        self.specs.append(spec)
        self.answer()
        number = 100 * len(self.specs)
        return [str(number)] if count == 1 else [f"{number}_{index}" for index in range(count)]

    def find(self, name: str, count: int) -> list[str] | None:
        return self.found()

    def cancel(self, job_ids: Sequence[str]) -> None:
        self.cancelled.append(list(job_ids))


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site()
    for module in (job, array):
        monkeypatch.setattr(module, "adapter", lambda name: made)
    monkeypatch.setattr(submission, "PATIENCE_SECONDS", 0.0)
    return made


@pytest.fixture
def where(tmp_path: Path) -> dict[str, Any]:
    return {"scheduler": "slurm", "directory": str(tmp_path / "jobs")}


def no_answer() -> None:
    raise SchedulerUnavailable(message="Socket timed out")


def ended(one: Job, code: int, ago: float = 0.0) -> Job:
    JobFiles(one.path).write("exit", f"{code} {int(time.time() - ago)}\n".encode())
    return one


# ---------------------------------------------------------------------------- no job twice


def test_what_may_have_been_submitted_is_looked_for_before_it_is_submitted_again(
    site: Site, where: dict[str, Any]
) -> None:
    site.answer = site.found = no_answer  # type: ignore[assignment]
    one, other = Job("true", **where), Job("true", **where)
    for each in (one, other):
        with pytest.raises(SchedulerUnavailable, match=r"nobody knows whether .* was submitted"):
            each.submit()
    site.found = lambda: ["7"]
    assert one.submit().id == "7"
    assert submit_file(os.path.join(other.path, "script")).id == "7", "another program does it"
    assert len(site.specs) == 2, "and each was submitted once"
    assert Job.attach(one.path).id == "7"
    site.found, third = no_answer, Job("true", **where)  # type: ignore[assignment]
    with pytest.raises(SchedulerUnavailable):
        third.submit()
    JobFiles(third.path).write("started", b"5 n1 9_3\n")
    site.found = lambda: None
    assert (third.submit().id, third.submitted) == ("9_3", 5.0), "it has begun, and the scheduler has forgotten it"
    ended(one, 0)
    site.answer, site.found = lambda: None, no_answer  # type: ignore[assignment]
    assert one.resubmit().id == "400", "of this nobody can have heard yet"


def test_a_scheduler_that_fails_for_a_while_is_asked_again(
    site: Site, where: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not there is submitted again; nothing is, while nobody knows."""
    monkeypatch.setattr(submission, "PATIENCE_SECONDS", 30.0)
    monkeypatch.setattr(submission, "_PAUSES", (0.01,))
    asked: list[str] = []

    def answer() -> None:
        asked.append("submit")
        if asked.count("submit") < 3:
            no_answer()

    def found() -> None:
        asked.append("find")
        if asked.count("find") == 1:
            no_answer()

    site.answer, site.found = answer, found  # type: ignore[assignment]
    assert Job("true", **where).submit().id
    assert asked == ["submit", "find", "find", "submit", "find", "submit"]


def test_a_queue_that_gives_no_answer_leaves_nothing(
    site: Site, where: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was submitted then: there is nothing that nobody knows."""
    monkeypatch.setattr(Job, "wait_for_room", lambda self, max_jobs=None: no_answer())
    with pytest.raises(SchedulerUnavailable) as caught:
        Job("true", **where).submit()
    assert "nobody knows" not in str(caught.value)
    assert os.listdir(where["directory"]) == []


def test_elements_of_arrays_have_names_of_their_own(site: Site, where: dict[str, Any]) -> None:
    """By which they are looked for when they are submitted again."""
    pairs = [submit_array("true", "ab", **where) for _ in range(2)]
    for jobs in pairs:
        ended(jobs[1], 1).resubmit()
    first, second = (spec.name for spec in site.specs[2:])
    assert first != second
    assert first.startswith(os.path.basename(os.path.dirname(pairs[0][1].path)))
    assert spec_of(JobFiles(pairs[0][0].path), pairs[0][0].record).name != first


# -------------------------------------------------------------------------- dependencies


def failed_call() -> cf.Future[None]:
    future: cf.Future[None] = cf.Future()
    future.set_exception(ValueError("it fails"))
    return future


def test_a_written_job_is_not_submitted_after_a_call_that_failed(site: Site, where: dict[str, Any]) -> None:
    script = make_job_file("true", **where)
    refused = submit_file(script, dependencies=failed_call())
    assert (refused.id, site.specs) == ("", [])
    assert refused.state is JobState.FAILED
    with pytest.raises(JobFailed, match="it fails"):
        refused.get(0)
    assert Job.attach(refused.path).submit().state is JobState.FAILED, "once more"
    assert site.specs == []
    with pytest.raises(OptionError, match="a file cannot wait for a future"):
        make_job_file("true", dependencies=failed_call(), **where)


def test_the_scheduler_need_not_remember_what_has_ended_well(site: Site, where: dict[str, Any]) -> None:
    """PBS without a history takes a job out that waits for one that it does not know."""
    good, bad, open_one = (Job("true", **where).submit() for _ in range(3))
    ended(good, 0)
    ended(bad, 3)
    for given, left in [
        (good, []), ([good, open_one], [Dependency("300", "ok")]), ({"any": [good, bad]}, []), ({"notok": bad}, []),
        (bad, [Dependency("200", "ok")]), ({"notok": good}, [Dependency("100", "notok")]),
        ([good.id, 77], [Dependency("100", "ok"), Dependency("77", "ok")]),
    ]:  # fmt: skip
        Job("true", dependencies=given, **where).submit()
        assert list(site.specs[-1].dependencies) == left


def test_of_an_array_all_or_nothing_is_known(site: Site, where: dict[str, Any]) -> None:
    jobs = submit_array("true", "abc", **where)
    ended(jobs[0], 0)
    for given, left in [(jobs, "100"), (jobs[:1], None), (jobs[1:], "100_1")]:
        after = Job("true", dependencies=given, **where).record["after"]
        assert [one.job_id for one in after][:1] == ([left] if left else [])
    ended(jobs[1], 0)
    ended(jobs[2], 0)
    assert Job("true", dependencies=jobs, **where).record["after"] == []


def test_slurm_has_forgotten_a_failure_and_we_have_not(site: Site, where: dict[str, Any]) -> None:
    """It would start a job that waits for one that it does not know any more."""
    bad = ended(Job("true", **where).submit(), 3, ago=600)
    late = Job("true", dependencies=bad, **where).submit()
    assert (late.id, len(site.specs)) == ("", 1)
    with pytest.raises(JobFailed, match=r"depends on did not end so: 100 \(ok\)"):
        late.get(0)
    chained = Job("true", dependencies=late, **where).submit()
    assert chained.state is JobState.FAILED
    assert "did not end so: 'job' (ok)" in str(chained)
    after = Job("true", dependencies={"any": late, "notok": [bad, chained]}, **where).submit()
    assert (after.id, list(site.specs[-1].dependencies)) == ("200", [])
    local = Job("true", dependencies=bad, **where | {"scheduler": "local"})
    bad.record["scheduler"] = bad.scheduler = "local"
    assert Job("true", dependencies=bad, **where | {"scheduler": "local"}).submit().id, "that one remembers"
    assert local.request.awaited.refusal()


# -------------------------------------------------------------------------------- arrays


def test_what_was_submitted_is_cancelled_with_one_command(site: Site, where: dict[str, Any]) -> None:
    site.limit = 2

    def refuse() -> None:
        if len(site.specs) == 3:
            raise SubmitError(message="no more")

    site.answer = refuse
    with pytest.raises(SubmitError, match="no more"):
        submit_array("true", range(6), **where)
    assert site.cancelled == [["100_0", "100_1", "200_0", "200_1"]]
    above = Path(where["directory"], os.listdir(where["directory"])[0])
    assert {path.name for path in above.iterdir() if path.is_dir()} == {"0", "1", "2", "3"}


def test_interrupted_while_ids_are_noted_no_job_is_left(
    site: Site, where: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = Job.was_submitted

    def interrupted(self: Job, job_id: str, *more: Any, **options: Any) -> None:
        if job_id == "100_1":
            raise KeyboardInterrupt
        noted(self, job_id, *more, **options)

    monkeypatch.setattr(Job, "was_submitted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        submit_array("true", range(3), **where)
    assert site.cancelled[0] == ["100_0", "100_1", "100_2"]


def test_an_element_that_never_began_shows_its_log(site: Site, where: dict[str, Any]) -> None:
    site.limit = 2
    jobs = submit_array("true", range(3), **where)
    for number, name in [(1, "log-1.log"), (2, "log-0.log")]:
        above = os.path.dirname(jobs[0].path)
        Path(above, name).write_text(f"module load {number} failed\n")
        os.chmod(os.path.join(above, name), 0o664)  # as the node's umask has it
        with pytest.raises(JobFailed, match=f"module load {number} failed"):
            Job.attach(jobs[number].path)._outcome(JobStatus(jobs[number].id, JobState.FAILED))
    assert write_array("true", [], **where) == []


def test_how_a_job_has_failed_is_asked_where_the_list_does_not_tell(
    site: Site, where: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm's says of whatever dies of a signal that it was not launched."""
    one = Job("true", **where).submit()
    status = JobStatus(one.id, JobState.FAILED, reason="JobLaunchFailure")
    for known, told in [
        (JobStatus(one.id, JobState.FAILED, signal=9, host="n1"), "job 100 on n1 failed, signal 9 while"),
        (JobStatus(one.id, JobState.OUT_OF_MEMORY, "OOM"), "job 100 out of memory while"),
        (JobStatus(one.id, JobState.PENDING), "job 100 failed, JobLaunchFailure while"),
        (None, "job 100 failed, JobLaunchFailure while"),
    ]:
        monkeypatch.setattr(site, "explain", lambda job_id, known=known: known)
        with pytest.raises(JobFailed, match=told):
            one._outcome(status)
    monkeypatch.setattr(site, "explain", lambda job_id: no_answer())
    with pytest.raises(JobFailed, match="JobLaunchFailure"):
        one._outcome(status)


# ---------------------------------------------------------------------- what comes back


class Stubborn(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class Withdrawn:
    """Pickles, and does not come back."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def test_what_cannot_come_back_is_told(
    site: Site, where: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def stubborn() -> None:
        raise Stubborn(1, 2)

    for called, code, told in [
        (stubborn, 1, r"raised .*Stubborn: 1 and 2, which cannot be unpickled here: TypeError"),
        (Withdrawn, 0, r"returned a .*Withdrawn, which cannot be unpickled here: ValueError"),
        (threading.Lock, 1, r"returned a _thread\.lock, which cannot be pickled: TypeError"),
    ]:
        one = Job(called, **where).submit()
        monkeypatch.setattr(sys, "argv", ["function", one.path])
        monkeypatch.setattr(sys, "path", list(sys.path))
        assert function.main() == code
        ended(one, code)
        assert one.out is None
        with pytest.raises(TransferError, match=told) as caught:
            one.get(0)
        if called is stubborn:
            assert "in stubborn" in str(caught.value.__cause__)
    assert "Stubborn: 1 and 2" in capfd.readouterr().err


def test_a_directory_that_somebody_has_cleaned(site: Site, where: dict[str, Any]) -> None:
    one = Job("true", **where).submit()
    other = Job.attach(one.path)
    ended(one, 0).clean()
    assert one.get() == (0, "", "")
    with pytest.raises(StoreError, match="is gone: was it cleaned"):
        other.wait(1)


def test_an_earlier_run_says_nothing_while_another_one_goes_on(tmp_path: Path) -> None:
    """A scheduler may run a job again that has ended."""
    files = JobFiles.make(str(tmp_path), "j")
    files.write_run(["sh", "-c", f"test ! -e {files.file('exit')}"], str(tmp_path))
    for _ in range(2):
        subprocess.run(["sh", files.file("run.sh")], check=True, timeout=60)
    assert files.numbers("exit")[0] == "0"


def test_a_command_has_the_time_that_the_scheduler_gives(tmp_path: Path) -> None:
    """Its shell is told to end at the same moment, and waits for it; then it ends as one does that was told to."""
    files = JobFiles.make(str(tmp_path), "j")
    command = "trap 'sleep 0.2; echo saved; exit 0' TERM; echo ready; while :; do sleep 0.02; done"
    files.write_run(["sh", "-c", command], str(tmp_path))
    shell = subprocess.Popen(["sh", files.file("run.sh")], start_new_session=True)
    deadline = time.monotonic() + 10
    while files.text("out") != "ready\n":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(shell.pid, signal.SIGTERM)
    assert shell.wait(10) == -signal.SIGTERM
    assert files.text("out") == "ready\nsaved\n"
    assert files.numbers("exit") == [], "how it has ended says the scheduler"
