"""The scheduler of one machine, by itself: jobs are small shell scripts that talk through files."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusterfutures.errors import SubmitError
from clusterfutures.schedulers import local
from clusterfutures.schedulers.base import JobSpec
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.local import LocalScheduler

LIMIT = 30.0
#: a job that ends when the file ``release`` is there, or by itself
UNTIL_RELEASED = "i=0; while [ ! -e release ] && [ $i -lt 3000 ]; do sleep 0.01; i=$((i + 1)); done"


class Site:
    """A local scheduler in a directory, and the jobs that a test gives it."""

    def __init__(self, directory: Path, capacity: int) -> None:
        self.directory = directory
        self.scheduler = LocalScheduler(capacity)
        self.submitted: list[str] = []

    def submit(self, command: str, count: int = 1, name: str = "job", **resources: Any) -> list[str]:
        spec = JobSpec(name, ["sh", "-c", command], str(self.directory / name), str(self.directory), resources)
        path = self.directory / f"{name}.sh"
        path.write_text(self.scheduler.script(spec, count))
        found = self.scheduler.submit(spec, str(path), count)
        self.submitted += found
        return found

    def status(self, job_id: str) -> JobStatus:
        return self.scheduler.states([job_id])[job_id]

    def states(self, job_ids: list[str]) -> list[JobState]:
        found = self.scheduler.states(job_ids)
        return [found[job_id].state for job_id in job_ids]

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, looking at the jobs as the scheduler thread does."""
        deadline = time.monotonic() + LIMIT
        while not condition():
            self.scheduler.states(self.submitted)
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def until_state(self, job_id: str, state: JobState) -> JobStatus:
        self.until(lambda: self.status(job_id).state is state)
        return self.status(job_id)

    def wrote(self, name: str) -> Path:
        """Wait for a file of a job's."""
        self.until((self.directory / name).exists)
        return self.directory / name

    def release(self) -> None:
        (self.directory / "release").touch()


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Site]]:
    monkeypatch.setattr(local, "KILL_DELAY_SECONDS", 1.0)
    made: list[Site] = []

    def site(capacity: int) -> Site:
        made.append(Site(tmp_path, capacity))
        return made[-1]

    yield site
    for each in made:
        each.release()
        each.scheduler.cancel(each.submitted)
        each.scheduler.close()


@pytest.fixture
def site(make: Callable[[int], Site]) -> Site:
    return make(2)


def test_a_job_that_ends_well(site: Site) -> None:
    (job_id,) = site.submit("echo said; echo complained >&2")
    status = site.until_state(job_id, JobState.COMPLETED)
    assert (status.exit_code, status.signal, status.host) == (0, None, os.uname().nodename)
    assert (site.directory / "job-0.log").read_text() == "said\ncomplained\n"


def test_a_job_that_fails(site: Site) -> None:
    failed, killed = site.submit("exit 3")[0], site.submit("kill -SEGV $$", name="other")[0]
    assert site.until_state(failed, JobState.FAILED).exit_code == 3
    status = site.until_state(killed, JobState.FAILED)
    assert (status.exit_code, status.signal) == (None, signal.SIGSEGV)


def test_a_job_that_cannot_be_started(site: Site) -> None:
    (site.directory / "job-0.log").mkdir()
    bad, good = site.submit("true", 2)
    assert "it could not be started: " in site.until_state(bad, JobState.FAILED).reason
    site.until_state(good, JobState.COMPLETED)
    site.scheduler.cancel([bad])
    assert site.status(bad).state is JobState.FAILED


def test_what_a_job_is_told(site: Site) -> None:
    """Its index, its id as ``states`` reports it, and the cores it was given."""
    jobs = site.submit('echo "$CLUSTERFUTURES_INDEX $CLUSTERFUTURES_JOB_ID $CLUSTERFUTURES_CORES"', 2, cores=1)
    for index, job_id in enumerate(jobs):
        site.until_state(job_id, JobState.COMPLETED)
        assert (site.directory / f"job-{index}.log").read_text().split() == [str(index), job_id, "1"]


def test_the_environment_of_an_outer_job_does_not_leak_in(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("CLUSTERFUTURES_INDEX", "5")
    (job_id,) = site.submit('echo "${SLURM_JOB_ID-none} $CLUSTERFUTURES_INDEX"')
    site.until_state(job_id, JobState.COMPLETED)
    assert (site.directory / "job-0.log").read_text().split() == ["none", "0"]


def test_no_more_jobs_than_there_is_room_for(site: Site) -> None:
    jobs = site.submit(UNTIL_RELEASED, 5)
    assert site.states(jobs) == [JobState.RUNNING] * 2 + [JobState.PENDING] * 3
    site.scheduler.cancel(jobs[:1])
    site.until_state(jobs[2], JobState.RUNNING)
    assert site.states(jobs[1:]) == [JobState.RUNNING] * 2 + [JobState.PENDING] * 2
    site.release()
    site.until(lambda: site.states(jobs[1:]) == [JobState.COMPLETED] * 4)


def test_jobs_start_in_order(make: Callable[[int], Site]) -> None:
    site = make(1)
    jobs = site.submit('echo "$CLUSTERFUTURES_INDEX" >> order', 6)
    site.until_state(jobs[-1], JobState.COMPLETED)
    assert (site.directory / "order").read_text().split() == list("012345")


def test_a_large_job_is_not_overtaken(make: Callable[[int], Site]) -> None:
    """Else small ones could keep it waiting for ever."""
    site = make(3)
    first = site.submit(UNTIL_RELEASED, name="first", cores=2)
    large = site.submit(UNTIL_RELEASED, name="large", cores=3)
    small = site.submit(UNTIL_RELEASED, name="small", cores=1)
    assert site.states([*first, *large, *small]) == [JobState.RUNNING, JobState.PENDING, JobState.PENDING]
    site.release()
    site.until_state(small[0], JobState.COMPLETED)


def test_what_would_never_fit_is_refused(site: Site) -> None:
    with pytest.raises(SubmitError, match="asks for 3 cores, but this machine has 2") as caught:
        site.submit("true", cores=3)
    assert "cores=2" in str(caught.value)
    assert site.scheduler.find("job", 1) is None


def test_jobs_are_found_by_name(site: Site) -> None:
    one, other = site.submit("true", 3, name="one"), site.submit("true", 2, name="other")
    assert site.scheduler.find("one", 3) == one
    assert site.scheduler.find("other", 2) == other
    assert site.scheduler.find("none", 1) is None
    assert len({*one, *other}) == 5


def test_ids_are_not_those_of_another_scheduler(make: Callable[[int], Site]) -> None:
    first, second = make(1), make(1)
    (known,) = first.submit("true")
    assert second.status(known).state is JobState.GONE or second.submit("true", name="x") != [known]


def test_unknown_jobs_are_gone(site: Site) -> None:
    assert site.status("local-0-1").state is JobState.GONE
    site.scheduler.cancel(["local-0-1"])


def test_a_pending_job_is_cancelled(make: Callable[[int], Site]) -> None:
    site = make(1)
    running, pending, last = site.submit(f"touch ran-$CLUSTERFUTURES_INDEX; {UNTIL_RELEASED}", 3)
    site.scheduler.cancel([pending])
    assert site.states([running, pending, last]) == [JobState.RUNNING, JobState.CANCELLED, JobState.PENDING]
    site.release()
    site.until_state(last, JobState.COMPLETED)
    assert not (site.directory / "ran-1").exists()


def test_a_running_job_is_cancelled(site: Site) -> None:
    (job_id,) = site.submit(f"trap 'touch told; exit 4' TERM; touch ready; {UNTIL_RELEASED}")
    site.wrote("ready")
    site.scheduler.cancel([job_id])
    status = site.until_state(job_id, JobState.CANCELLED)
    assert status.exit_code == 4
    assert (site.directory / "told").exists()


def test_a_job_that_does_not_listen_is_killed(site: Site) -> None:
    (job_id,) = site.submit(f"trap '' TERM; touch ready; {UNTIL_RELEASED}")
    site.wrote("ready")
    site.scheduler.cancel([job_id])
    assert site.status(job_id).state is JobState.RUNNING
    assert site.until_state(job_id, JobState.CANCELLED).signal == signal.SIGKILL


def test_the_whole_job_is_told(site: Site) -> None:
    """Also what the job started: it would go on in its place."""
    (job_id,) = site.submit(f"sh -c 'echo $$ > child; {UNTIL_RELEASED}' & wait")
    child = site.wrote("child")
    site.until(lambda: child.read_text().endswith("\n"))
    site.scheduler.cancel([job_id])
    site.until_state(job_id, JobState.CANCELLED)
    site.until(lambda: not _is_alive(int(child.read_text())))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_cancelling_again_changes_nothing(site: Site) -> None:
    (job_id,) = site.submit(f"trap 'echo told >> told' TERM; touch ready; while :; do {UNTIL_RELEASED}; done")
    site.wrote("ready")
    for _ in range(3):
        site.scheduler.cancel([job_id])
    site.until_state(job_id, JobState.CANCELLED)
    assert (site.directory / "told").read_text() == "told\n"


@pytest.mark.parametrize(("command", "state"), [("true", JobState.COMPLETED), ("exit 3", JobState.FAILED)])
def test_a_job_that_has_ended_is_not_cancelled(site: Site, command: str, state: JobState) -> None:
    (job_id,) = site.submit(command, time=2)
    before = site.until_state(job_id, state)
    site.scheduler.cancel([job_id])
    assert site.status(job_id) == before


def test_a_time_limit(site: Site) -> None:
    (job_id,) = site.submit(f"touch ready; {UNTIL_RELEASED}", time=1.5)
    site.wrote("ready")
    assert site.status(job_id).state is JobState.RUNNING
    status = site.until_state(job_id, JobState.TIMEOUT)
    assert status.signal == signal.SIGTERM


def test_a_job_that_ends_in_time_is_no_timeout(site: Site) -> None:
    (job_id,) = site.submit("true", time=1.5)
    site.until_state(job_id, JobState.COMPLETED)
    deadline = time.monotonic() + 1.6
    site.until(lambda: time.monotonic() > deadline)
    assert site.status(job_id).state is JobState.COMPLETED


def test_closing_ends_and_reaps_what_was_told_to_end(site: Site) -> None:
    jobs = site.submit(f"trap '' TERM; echo $$ > pid-$CLUSTERFUTURES_INDEX; {UNTIL_RELEASED}", 2)
    pids = [site.wrote(f"pid-{index}") for index in range(2)]
    site.until(lambda: all(pid.read_text().endswith("\n") for pid in pids))
    site.scheduler.cancel(jobs)
    before = time.monotonic()
    site.scheduler.close()
    assert time.monotonic() - before < LIMIT / 2
    assert site.states(jobs) == [JobState.CANCELLED] * 2
    assert not any(Path("/proc", pid.read_text().strip()).exists() for pid in pids), "not even zombies"


def test_closing_leaves_other_jobs_to_their_work(site: Site) -> None:
    (job_id,) = site.submit(f"echo $$ > pid; {UNTIL_RELEASED}; touch done")
    pid = site.wrote("pid")
    site.until(lambda: pid.read_text().endswith("\n"))
    site.scheduler.close()
    assert _is_alive(int(pid.read_text()))
    site.release()
    site.wrote("done")
    os.waitpid(int(pid.read_text()), 0)
    assert job_id


def test_logs_are_private(site: Site) -> None:
    before = os.umask(0)
    try:
        (job_id,) = site.submit("umask")
    finally:
        os.umask(before)
    site.until_state(job_id, JobState.COMPLETED)
    assert (site.directory / "job-0.log").stat().st_mode & 0o777 == 0o600
