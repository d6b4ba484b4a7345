"""A worker counts as over and lives: what it had not begun is done by others, and never by both."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground, OwnSlurm
from contract_tasks import wait_until

from clusterfutures.errors import JobFailed
from clusterfutures.executors import ClusterExecutor
from clusterfutures.schedulers import local
from clusterfutures.schedulers.job_state import JobState, JobStatus

CALLS = 60


class Work:
    """A map of one chunk whose calls note that they have begun.

    Its results are taken at the end: one that is an error cancels what waits.
    """

    def __init__(self, ex: ClusterExecutor, directory: Path, seconds: float) -> None:
        self._begun = directory / "begun"
        self._results = ex.map(tasks.begin, [directory] * CALLS, range(CALLS), [seconds] * CALLS, chunksize=CALLS)

    def error(self) -> BaseException | None:
        """What the map ended with."""
        try:
            assert list(self._results) == list(range(CALLS))
        except Exception as error:
            return error
        return None

    @property
    def begun(self) -> Counter[int]:
        """How often each call was begun."""
        return Counter(map(int, self._begun.read_text().split())) if self._begun.exists() else Counter()


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> dict[str, JobState]:
    """What the scheduler of this machine says of jobs, by their ids, whatever they do."""
    said: dict[str, JobState] = {}
    plain = local._Job.status

    def status(job: local._Job) -> JobStatus:
        state = said.get(job.job_id)
        return plain(job) if state is None else JobStatus(job.job_id, state, state.name)

    monkeypatch.setattr(local._Job, "status", status)
    return said


@pytest.mark.on("local")
def test_a_supervisor_that_stood_still(ground: Ground, tmp_path: Path, lost: dict[str, JobState]) -> None:
    """Its machine was suspended, say; when it goes on, others have done its work."""
    with ground.executor(max_workers=2) as ex:
        job_id, _, supervisor = ex.submit(tasks.worker).result(60)
        work = Work(ex, tmp_path, 0.05)
        wait_until(lambda: len(work.begun) > 5, "it works")
        os.kill(supervisor, signal.SIGSTOP)
        try:
            lost[job_id] = JobState.FAILED
            wait_until(lambda: CALLS - 1 in work.begun, "others have done the rest")
        finally:
            os.kill(supervisor, signal.SIGCONT)
        wait_until(lambda: _is_gone(supervisor), "it ends by itself")
        assert isinstance(work.error(), JobFailed)
        assert not [call for call, times in work.begun.items() if times > 1]
        assert ex.submit(tasks.double, 1).result(60) == 2


@pytest.mark.on("local")
def test_a_job_that_is_in_no_list_and_works(ground: Ground, tmp_path: Path, lost: dict[str, JobState]) -> None:
    """It is given up, so it is cancelled, for it may run; no call is begun twice meanwhile."""
    with ground.executor(max_workers=2) as ex:
        job_id, _, supervisor = ex.submit(tasks.worker).result(60)
        work = Work(ex, tmp_path, 0.05)
        wait_until(lambda: len(work.begun) > 5, "it works")
        lost[job_id] = JobState.GONE
        wait_until(lambda: _is_gone(supervisor), "it is cancelled")
        wait_until(lambda: CALLS - 1 in work.begun, "others have done the rest")
        assert not [call for call, times in work.begun.items() if times > 1]


@pytest.mark.on("local")
def test_a_directory_that_is_taken_away(ground: Ground, tmp_path: Path) -> None:
    """A worker of which nobody knows whom it works for ends by itself, and what it has begun ends well."""
    with ground.executor(max_workers=1) as ex:
        _, _, supervisor = ex.submit(tasks.worker).result(60)
        work = Work(ex, tmp_path, 0.05)
        wait_until(lambda: len(work.begun) > 5, "it works")
        run = ex._client.run
        run.fence(run.launched()[0])
        wait_until(lambda: _is_gone(supervisor), "it ends by itself")
        wait_until(lambda: CALLS - 1 in work.begun, "others have done the rest")
        assert work.error() is None, "it said what it had done, and went: nothing is lost"
        assert set(work.begun.values()) == {1}


def test_a_job_that_is_requeued_while_its_first_life_works(own_slurm: OwnSlurm, tmp_path: Path) -> None:
    """Its node does not answer any more, so Slurm runs the job elsewhere; the processes there know nothing of it."""
    ground = own_slurm(nodes=2)
    with ground.executor(max_workers=1) as ex:
        job_id, node, supervisor = ex.submit(_place).result(60)
        work = Work(ex, tmp_path, 0.2)
        wait_until(lambda: len(work.begun) > 3, "it works")
        ground.slurm.stop_node(node)
        answer = ground.slurm.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        assert answer.returncode == 0, answer.stderr
        ex._client._scheduler_thread.look_soon()
        wait_until(lambda: CALLS - 1 in work.begun, "the rest is done", 60)
        wait_until(lambda: _is_gone(supervisor), "the first life ends by itself")
        error = work.error()  # what the first life had begun it may have ended in time
        assert error is None or (isinstance(error, JobFailed) and error.job_id == job_id)
        assert not [call for call, times in work.begun.items() if times > 1]
        first, *others = sorted((ground.run_directory() / "claimed").iterdir())
        assert first.is_file(), "it was given up"
        assert others
        ground.slurm.start_node(node)
        with contextlib.suppress(AssertionError):
            ground.slurm.run("scontrol", "update", f"NodeName={node}", "State=RESUME")


def _place() -> tuple[str, str, int]:
    return os.environ["CLUSTERFUTURES_JOB_ID"], os.environ["SLURMD_NODENAME"], os.getppid()
