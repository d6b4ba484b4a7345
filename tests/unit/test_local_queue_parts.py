"""The queue of one machine: a keeper that the test turns by hand, and the faults of what is around it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusterfutures.errors import SchedulerUnavailable, StoreError, SubmitError
from clusterfutures.schedulers.base import Dependency, JobSpec
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.local_queue import adapter, keeper, minder, table
from clusterfutures.schedulers.local_queue.adapter import LocalQueue
from clusterfutures.schedulers.local_queue.keeper import Keeper
from clusterfutures.schedulers.local_queue.packing import Packing
from clusterfutures.schedulers.local_queue.place import state_directory
from clusterfutures.schedulers.local_queue.table import Row, Table

# pytest and its plugins have threads, so Python warns; the children take no lock of theirs
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
    # a minder outlives the keeper that started it
    pytest.mark.filterwarnings("ignore:.*is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*Popen.__del__:pytest.PytestUnraisableExceptionWarning"),
]

LIMIT = 40.0
UNTIL_RELEASED = "i=0; while [ ! -e release ] && [ $i -lt 3000 ]; do sleep 0.01; i=$((i + 1)); done"


class Site:
    """The queue in a directory of the test's, on two cores, with a keeper that only looks when it is told to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.queue = LocalQueue()
        self.submitted: list[str] = []
        self._pipe = os.pipe2(os.O_NONBLOCK)
        self.keeper = self._made()

    def _made(self) -> Keeper:
        return Keeper(state_directory(), self._pipe[0])

    def submit(
        self, command: str, *after: Dependency, count: int = 1, name: str = "job", **resources: Any
    ) -> list[str]:
        spec = JobSpec(
            name, ["sh", "-c", command], str(self.directory / name), str(self.directory),
            {"local_cores": 2, "cores": 1} | resources, dependencies=after,
        )  # fmt: skip
        path = self.directory / f"{name}.sh"
        path.write_text(self.queue.script(spec, count))
        self.submitted += (ids := self.queue.submit(spec, str(path), count))
        return ids

    def another_keeper(self) -> None:
        """The one there was is gone without a word, its jobs are not."""
        self.keeper.close()
        self.keeper = self._made()

    def status(self, job_id: str) -> JobStatus:
        return self.queue.states([job_id])[job_id]

    def row(self, job_id: str) -> Row:
        with Table(state_directory()) as found:
            return found.with_ids([int(job_id)], environment=True)[0]

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + LIMIT
        while not condition():
            self.keeper.turn()
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def until_state(self, job_id: str, state: JobState) -> JobStatus:
        self.until(lambda: self.status(job_id).state is state)
        return self.status(job_id)

    def wrote(self, name: str) -> str:
        """What a job has written, once it is a whole line."""
        path = self.directory / name
        self.until(lambda: path.exists() and path.read_text().endswith("\n"))
        return path.read_text()

    def file_of(self, job_id: str) -> str:
        return os.path.join(state_directory(), "runs", f"{job_id}.{self.row(job_id).attempt}")

    def end(self) -> None:
        (self.directory / "release").touch()
        self.queue.kill(self.submitted)
        self.until(lambda: all(self.status(one).state.is_final for one in self.submitted))
        self.keeper.close()
        for descriptor in self._pipe:
            os.close(descriptor)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(adapter, "summon", lambda directory: None)
    monkeypatch.setattr(keeper, "KILL_DELAY_SECONDS", 1.0)
    made = Site(tmp_path)
    yield made
    made.end()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


# --------------------------------------------------------------------------- as it should be


def test_jobs_end_well_and_badly(site: Site) -> None:
    (good,) = site.submit("echo said; echo complained >&2")
    (bad,) = site.submit("exit 3", name="bad")
    (killed,) = site.submit("kill -SEGV $$", name="killed")
    assert (good, bad, killed) == ("1", "2", "3")
    status = site.until_state(good, JobState.COMPLETED)
    assert (status.exit_code, status.signal, status.host) == (0, None, os.uname().nodename)
    assert (site.directory / "job-0.log").read_text() == "said\ncomplained\n"
    assert (site.directory / "job-0.log").stat().st_mode & 0o777 == 0o600
    assert site.until_state(bad, JobState.FAILED).exit_code == 3
    assert site.until_state(killed, JobState.FAILED).signal == signal.SIGSEGV
    listed = {job.id: job for job in site.queue.queue()}
    assert (listed[good].name, listed[good].cores, listed[good].exitcode) == ("job", 1, 0)
    times = [listed[good].submitted, listed[good].started, listed[good].ended]
    assert times == sorted(times)
    assert os.listdir(os.path.join(state_directory(), "runs")) == []
    assert site.queue.find("bad", 1) == [bad]
    assert site.queue.find("none", 1) is None
    assert site.status("99").state is site.status("x").state is JobState.GONE


def test_no_more_cores_than_there_are(site: Site) -> None:
    jobs = site.submit(UNTIL_RELEASED, count=3)
    (large,) = site.submit("echo $CLUSTERFUTURES_CORES >given; " + UNTIL_RELEASED, name="large", cores=9)
    site.until_state(jobs[1], JobState.RUNNING)
    assert [site.status(one).state for one in [jobs[2], large]] == [JobState.PENDING] * 2
    (site.directory / "release").touch()
    site.until_state(large, JobState.COMPLETED)
    assert site.wrote("given") == "2\n"
    assert "on 2 cores of the 9" in site.status(large).reason


def test_a_limit_holds_for_the_jobs_that_ask_for_it(site: Site) -> None:
    """Others have the cores of the machine, before and after."""
    held = "while [ ! -e release ]; do sleep 0.01; done"
    (first,) = site.submit(held, local_cores=1, name="a")
    (second,) = site.submit(held, local_cores=1, name="b")
    (free,) = site.submit("true", local_cores=None, name="c")
    site.until_state(first, JobState.RUNNING)
    if len(os.sched_getaffinity(0)) > 1:
        site.until_state(free, JobState.COMPLETED)
    assert site.status(second).state is JobState.PENDING
    (site.directory / "release").touch()
    for job in (second, free):
        site.until_state(job, JobState.COMPLETED)


def test_a_file_of_the_version_before_is_brought_up(site: Site) -> None:
    (job,) = site.submit("true")
    site.until_state(job, JobState.COMPLETED)
    with Table(state_directory()) as found:
        found._db.execute("alter table job drop column local_cores")
        found._db.execute("pragma user_version = 1")
    with Table(state_directory()) as found:
        assert [row.local_cores for row in found.jobs()] == [None]


def test_a_job_has_the_environment_of_its_submitter(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSWER", "4\n2 \udcff")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    before = os.umask(0o027)
    try:
        (job,) = site.submit('printf "%s;%s" "$ANSWER" "${SLURM_JOB_ID-none}" >seen; umask >mask')
    finally:
        os.umask(before)
    monkeypatch.delenv("ANSWER")
    site.until_state(job, JobState.COMPLETED)
    assert (site.directory / "seen").read_bytes() == b"4\n2 \xff;none"
    assert site.wrote("mask") == "0027\n"
    assert site.row(job).environment == "{}", "secrets are not kept longer than needed"


def test_dependencies(site: Site) -> None:
    (first,) = site.submit(f"{UNTIL_RELEASED}; exit 1", name="first")
    (needs,) = site.submit("touch never", Dependency(first), name="needs")
    (after,) = site.submit("touch never", Dependency(needs), name="after")
    (repair,) = site.submit("true", Dependency(needs, "notok"), Dependency(first, "any"), name="repair")
    site.keeper.turn()
    site.another_keeper()
    assert [site.status(one).state for one in (needs, after, repair)] == [JobState.PENDING] * 3
    (site.directory / "release").touch()
    site.until_state(repair, JobState.COMPLETED)
    assert site.status(needs).reason == "job 1 did not end ok"
    assert [site.status(one).state for one in (needs, after)] == [JobState.CANCELLED] * 2
    (late,) = site.submit("touch never", Dependency(first), name="late")
    site.until_state(late, JobState.CANCELLED)
    assert not (site.directory / "never").exists()
    for wrong in ("99", "1.server"):
        with pytest.raises(SubmitError, match=f"job {wrong} is not in the queue"):
            site.submit("true", Dependency(wrong))


def test_one_look_serves_all_that_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jobs = site.submit("true", count=50)
    looks = []
    opened = Table.__init__

    def counted(self: Table, directory: str) -> None:
        looks.append(directory)
        opened(self, directory)

    with monkeypatch.context() as watched:
        watched.setattr(adapter, "_FRESH_SECONDS", 1000.0)
        watched.setattr(Table, "__init__", counted)
        assert {site.queue.recent_states([one], 1000.0).states[one].state for one in jobs} == {JobState.PENDING}
        first = len(looks)
        site.queue._answer = site.queue._answer._replace(asked_at=time.monotonic() - 1001)
        before = time.monotonic()
        for one in jobs:
            assert site.queue.recent_states([one], 1000.0).asked_at >= before
        assert len(looks) == first + 1
        watched.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
        assert site.queue.recent_states(jobs[:1], 1000.0).states[jobs[0]].state is JobState.GONE


# --------------------------------------------------------------------------------- ending jobs


def test_cancel(site: Site) -> None:
    (running,) = site.submit(f"trap 'echo told >told; exit 4' TERM; echo >ready; {UNTIL_RELEASED}", cores=2)
    (waiting,) = site.submit("touch never", name="waiting")
    (dependant,) = site.submit("touch never", Dependency(waiting), name="dependant")
    site.wrote("ready")
    site.queue.cancel([running, waiting, "99"])
    assert site.status(waiting).state is JobState.CANCELLED, "at once"
    assert site.until_state(running, JobState.CANCELLED).exit_code == 4
    assert site.wrote("told") == "told\n"
    site.until_state(dependant, JobState.CANCELLED)
    before = site.row(running)
    site.queue.cancel([running])
    site.keeper.turn()
    assert site.row(running) == before
    assert not (site.directory / "never").exists()


def test_a_job_that_does_not_listen_is_killed_with_all_it_started(site: Site) -> None:
    (job,) = site.submit(f"trap '' TERM; (echo $(exec sh -c 'echo $PPID') >child; {UNTIL_RELEASED}) & {UNTIL_RELEASED}")
    child = int(site.wrote("child"))
    site.queue.cancel([job])
    assert site.until_state(job, JobState.CANCELLED).signal == signal.SIGKILL
    site.until(lambda: not is_alive(child))


def test_kill_does_not_wait(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "KILL_DELAY_SECONDS", 1000.0)
    (job,) = site.submit(f"trap '' TERM; echo >ready; {UNTIL_RELEASED}")
    site.wrote("ready")
    site.queue.cancel([job])
    site.keeper.turn()
    site.queue.kill([job])
    assert site.until_state(job, JobState.CANCELLED).signal == signal.SIGKILL


def test_a_time_limit_holds_under_another_keeper_too(site: Site) -> None:
    (job,) = site.submit(f"echo >ready; {UNTIL_RELEASED}", time=1)
    (quick,) = site.submit("true", time=30, name="quick")
    site.wrote("ready")
    site.until_state(quick, JobState.COMPLETED)
    site.another_keeper()
    assert site.until_state(job, JobState.TIMEOUT).signal == signal.SIGTERM


def test_what_a_job_leaves_running_is_ended(site: Site) -> None:
    """Or its cores would not be free, though they are given away."""
    (job,) = site.submit("sleep 100 & echo $! >child")
    site.until_state(job, JobState.COMPLETED)
    child = int(site.wrote("child"))
    site.until(lambda: not is_alive(child))


# ------------------------------------------------------------------------------------- faults


def test_a_keeper_that_is_killed_loses_nothing(site: Site) -> None:
    (running,) = site.submit(f"echo >>ran; {UNTIL_RELEASED}; exit 5", cores=2)
    (waiting,) = site.submit("echo >>ran", Dependency(running, "any"), name="waiting")
    site.wrote("ran")
    site.another_keeper()
    site.keeper.turn()
    assert [site.status(one).state for one in (running, waiting)] == [JobState.RUNNING, JobState.PENDING]
    site.keeper.close()
    (site.directory / "release").touch()  # it ends while there is no keeper
    pid = minder.read(site.file_of(running)).pid  # type: ignore[union-attr]
    os.waitpid(pid, 0)
    ended_by = time.time()
    time.sleep(0.1)
    site.keeper = site._made()
    assert site.until_state(running, JobState.FAILED).exit_code == 5
    ended = site.row(running).ended
    assert ended is not None
    assert ended <= ended_by, "not when it was noticed"
    site.until_state(waiting, JobState.COMPLETED)
    assert (site.directory / "ran").read_text() == "\n\n"


def test_killed_between_noting_a_start_and_starting(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next keeper starts the job, and a minder that comes late does not."""
    (job,) = site.submit("echo >>ran")

    def killed(*_args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(minder, "start", killed)
        with pytest.raises(KeyboardInterrupt):
            site.keeper.turn()
    assert site.status(job).state is JobState.RUNNING
    first = site.file_of(job)
    site.another_keeper()
    site.keeper.turn()
    row = site.row(job)
    late = minder.start(first, row.shell, row.script, str(site.directory / "late.log"), dict(os.environ), 0o77)
    site.until_state(job, JobState.COMPLETED)
    site.until(late.has_ended)
    assert (site.directory / "ran").read_text() == "\n"
    assert site.row(job).attempt == 2


def test_killed_between_forbidding_a_minder_and_noting_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two keepers in a row: the third knows that no minder made the file."""
    (job,) = site.submit("echo >>ran")

    def killed(*_args: Any) -> None:
        raise KeyboardInterrupt

    for owner, verb in ((minder, "start"), (Table, "take_back")):
        with monkeypatch.context() as dying:
            dying.setattr(owner, verb, killed)
            with pytest.raises(KeyboardInterrupt):
                site.keeper.turn()
        site.another_keeper()
    site.keeper.turn()
    assert site.row(job).attempt == 2, "at once, not when a minder has been waited for"
    site.until_state(job, JobState.COMPLETED)
    assert (site.directory / "ran").read_text() == "\n"


def test_a_minder_that_is_just_beginning_is_waited_for(site: Site) -> None:
    """Its file is there, its number is not in it yet."""
    (job,) = site.submit(f"echo >ready; {UNTIL_RELEASED}; exit 6")
    site.wrote("ready")
    path = Path(site.file_of(job))
    said = path.read_text()
    path.write_text("")
    site.another_keeper()
    site.keeper.turn()
    assert site.status(job).state is JobState.RUNNING
    path.write_text(said)
    site.keeper.turn()
    (site.directory / "release").touch()
    os.waitpid(int(said), 0)
    assert site.until_state(job, JobState.FAILED).exit_code == 6


def test_a_minder_that_is_killed(site: Site) -> None:
    (job,) = site.submit(f"echo >ready; {UNTIL_RELEASED}")
    site.wrote("ready")
    os.kill(minder.read(site.file_of(job)).pid, signal.SIGKILL)  # type: ignore[union-attr]
    status = site.until_state(job, JobState.FAILED)
    assert "killed by somebody" in status.reason
    assert status.signal == signal.SIGKILL


def test_a_minder_waits_for_space_to_say_how_the_job_ended(site: Site) -> None:
    (job,) = site.submit(f"echo >ready; {UNTIL_RELEASED}; echo >ending; exit 5")
    site.wrote("ready")
    path = Path(site.file_of(job))
    said = path.read_text()
    path.unlink()
    path.symlink_to("/dev/full")
    (site.directory / "release").touch()
    site.wrote("ending")
    time.sleep(0.1)
    site.keeper.turn()
    assert site.status(job).state is JobState.RUNNING
    roomy = site.directory / "roomy"
    roomy.write_text(said)
    roomy.rename(path)
    assert site.until_state(job, JobState.FAILED).exit_code == 5


def test_the_number_of_a_minder_that_belongs_to_another_process_now(site: Site) -> None:
    (job,) = site.submit(f"echo >ready; {UNTIL_RELEASED}")
    site.wrote("ready")
    pid = minder.read(site.file_of(job)).pid  # type: ignore[union-attr]
    Path(site.file_of(job)).write_text(f"{os.getpid()}\n")
    site.another_keeper()
    site.until_state(job, JobState.FAILED)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_machine_that_was_started_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (lost,) = site.submit(f"echo >ready; {UNTIL_RELEASED}")
    (waiting,) = site.submit("true", Dependency(lost, "notok"), name="waiting")
    site.wrote("ready")
    pid = minder.read(site.file_of(lost)).pid  # type: ignore[union-attr]
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    monkeypatch.setattr(keeper, "_boot_id", lambda: "another")
    site.another_keeper()
    assert "started anew" in site.until_state(lost, JobState.NODE_FAIL).reason
    site.until_state(waiting, JobState.COMPLETED)


def test_a_kernel_that_does_not_tell_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuses)
    (job,) = site.submit(UNTIL_RELEASED)
    site.until_state(job, JobState.RUNNING)
    before = time.monotonic()
    site.keeper._sleep()
    assert time.monotonic() - before < 0.9
    (site.directory / "release").touch()
    site.until_state(job, JobState.COMPLETED)


def test_a_job_that_cannot_be_started(site: Site) -> None:
    (job,) = site.submit("true", name="job")
    (site.directory / "job-0.log").mkdir()
    assert "could not be started: " in site.until_state(job, JobState.FAILED).reason


def test_a_job_that_is_cancelled_between_being_chosen_and_started(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = site.submit("touch never")
    (other,) = site.submit("true", Dependency(job, "notok"), name="other")
    choose = Packing.start

    def choose_and_be_late(self: Packing) -> dict[int, int]:
        given = choose(self)
        site.queue.cancel([job])
        return given

    monkeypatch.setattr(Packing, "start", choose_and_be_late)
    site.until_state(other, JobState.COMPLETED)
    assert site.status(job).state is JobState.CANCELLED
    assert site.row(job).started is None
    assert not (site.directory / "never").exists()


@pytest.mark.parametrize("patience", [100.0, -1.0])
def test_a_keeper_tries_again_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, patience: float
) -> None:
    answers = [StoreError(message="no space"), StoreError(message="no space"), True, False]

    def keep(_directory: str) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, StoreError):
            raise answer
        return answer

    monkeypatch.setattr(keeper, "_keep", keep)
    monkeypatch.setattr(keeper, "_LOOK_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(keeper, "_PATIENCE_SECONDS", patience)
    monkeypatch.setattr(keeper.sys, "argv", ["keeper", str(tmp_path)])
    with open(tmp_path / "keeper.log", "w") as log, monkeypatch.context() as quiet:
        saved = os.dup(2)
        os.dup2(log.fileno(), 2)
        quiet.setattr(keeper.signal, "signal", lambda *_args: None)
        try:
            if patience > 0:
                assert keeper.main() == 0
                assert answers == []
            else:
                with pytest.raises(StoreError):
                    keeper.main()
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def test_a_job_that_is_submitted_while_the_keeper_leaves(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LINGER_SECONDS", -1.0)
    assert not keeper._keep(state_directory())
    with monkeypatch.context() as leaving:
        leaving.setattr(Keeper, "run", lambda self: site.submit("true"))
        assert keeper._keep(state_directory()), "it has to look again"
    site.until_state("1", JobState.COMPLETED)


def test_one_keeper_at_a_time(site: Site) -> None:
    assert not keeper.is_awake(state_directory())
    with keeper._alone(state_directory()) as first, keeper._alone(state_directory()) as second:
        assert first is not None
        assert second is None
        assert keeper.is_awake(state_directory())
    assert not keeper.is_awake(state_directory())


def test_a_keeper_that_does_not_come(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.touch()  # it is there, and cannot be started
    monkeypatch.setattr(keeper, "SUMMON_SECONDS", 0.1)
    monkeypatch.setattr(keeper.sys, "executable", str(broken))
    with pytest.raises(SchedulerUnavailable, match=rf"did not come up.*keeper\.log says: .*{broken}"):
        keeper.summon(state_directory())


# -------------------------------------------------------------------------------------- files


def test_old_jobs_are_forgotten_but_not_what_others_wait_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    for number in range(6):  # one after the other: they end in this order
        ended += site.submit("true", name=f"job{number}")
        site.until_state(ended[-1], JobState.COMPLETED)
    (held,) = site.submit(UNTIL_RELEASED, name="held")
    (waiting,) = site.submit("true", Dependency(ended[0]), Dependency(held), name="waiting")
    stale = Path(state_directory(), "runs", "1.1")
    stale.touch()
    os.utime(stale, (0, 0))
    with Table(state_directory()) as found:
        found.prune(time.time())
        assert len(found.jobs()) == 8
        monkeypatch.setattr(table, "KEEP_JOBS", 2)
        found.prune(time.time())
        assert [row.id for row in found.jobs()] == [1, 5, 6, 7, 8]
        monkeypatch.setattr(table, "KEEP_SECONDS", -1.0)
    site.keeper._prune()
    assert not stale.exists()
    assert {job.id for job in site.queue.queue()} == {ended[0], held, waiting}
    site.another_keeper()
    (site.directory / "release").touch()
    site.until_state(waiting, JobState.COMPLETED)
    assert site.submit("true", name="next") == ["9"], "ids are not used twice"


def test_a_newer_file_is_refused(site: Site) -> None:
    with sqlite3.connect(os.path.join(state_directory(), "queue.db")) as db:
        db.execute(f"pragma user_version = {table.VERSION + 1}")
    try:
        with pytest.raises(StoreError, match="of a newer clusterfutures"):
            site.queue.queue()
    finally:
        db.execute(f"pragma user_version = {table.VERSION}")
        db.close()


def test_a_directory_that_is_not_ours_alone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = state_directory()
    assert os.stat(path).st_mode & 0o777 == 0o700
    LocalQueue().queue()
    assert {entry.name: entry.stat().st_mode & 0o077 for entry in os.scandir(path)} == {"runs": 0, "queue.db": 0}
    os.chmod(path, 0o755)
    with pytest.raises(StoreError, match="not yours alone"):
        LocalQueue().queue()
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    with pytest.raises(StoreError, match="Set XDG_STATE_HOME"):
        LocalQueue().queue()


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Path(state_directory(), "queue.db").write_text("no database, and long enough to be looked at" * 100)
    with pytest.raises(StoreError, match=r"queue\.db, cannot be used: file is not a database"):
        LocalQueue().queue()


def test_a_keeper_goes_on_when_the_table_is_usable_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had begun to do when it failed is seen to by looking at the table anew."""
    (job,) = site.submit("echo >>ran")
    begin = Table.begin

    def no_space(self: Table, *args: Any) -> list[Row]:
        begin(self, *args)
        raise StoreError(message="no space")

    with monkeypatch.context() as full:
        full.setattr(Table, "begin", no_space)
        with pytest.raises(StoreError):
            site.keeper.turn()
    site.another_keeper()
    site.until_state(job, JobState.COMPLETED)
    assert (site.directory / "ran").read_text() == "\n"


def test_the_environment_is_json(site: Site) -> None:
    (job,) = site.submit("true")
    assert json.loads(site.row(job).environment)["PATH"] == os.environ["PATH"]
