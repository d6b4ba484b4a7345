"""One question for all programs of a user on a host, counted over an hour of a fast clock."""

from __future__ import annotations

import contextlib
import errno
import itertools
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from clusterfutures.errors import OptionError, SchedulerUnavailable
from clusterfutures.schedulers import status_cache
from clusterfutures.schedulers.base import JobSpec, QueuedJob, Scheduler
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.polling import Rhythm, smallest_spacing

# pytest and its plugins have threads, so Python warns; the children take no lock of theirs
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

FASTER = 900.0  # an hour in four seconds
processes = multiprocessing.get_context("fork")


class Counted(Scheduler):
    """Answers RUNNING for every job, and notes each question in a file."""

    name = "counted"

    def __init__(self, notes: Path) -> None:
        self.notes = notes
        self.failing = False
        self.limits_told = 0
        self.count = 0

    def array_limit(self) -> int:
        self.limits_told += 1
        return 77

    def question_key(self) -> str:
        return str(self.notes)

    def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        with open(self.notes, "a") as notes:
            times = self.attempts if self.failing else 1
            notes.write((" ".join(job_ids) + "\n") * times)
            self.count += times
        if self.failing:
            raise SchedulerUnavailable(message="no answer")
        return {job_id: JobStatus(job_id, JobState.RUNNING, reason="ünd\udce9", exit_code=3) for job_id in job_ids}

    def questions(self) -> list[list[str]]:
        return [line.split() for line in self.notes.read_text().splitlines()] if self.notes.exists() else []

    @classmethod
    def is_here(cls) -> bool:
        return True

    def script(self, spec: JobSpec, count: int) -> str:
        raise NotImplementedError

    def submit(self, spec: JobSpec, path: str, count: int) -> list[str]:
        raise NotImplementedError

    def find(self, name: str, count: int) -> list[str] | None:
        raise NotImplementedError

    def cancel(self, job_ids: Sequence[str]) -> None:
        raise NotImplementedError

    def queue(self) -> list[QueuedJob]:
        raise NotImplementedError


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("CLUSTERFUTURES_CACHE")  # the session's own
    return Counted(tmp_path / "notes")


def cache(tmp_path: Path) -> Path:
    return tmp_path / f"clusterfutures-{os.getuid()}"


def test_the_second_program_is_answered_by_the_first_ones_question(scheduler: Counted) -> None:
    first = status_cache.recent_states(scheduler, ["1", "2"], 10)
    assert status_cache.recent_states(scheduler, ["1", "2"], 10)[:2] == first[:2]
    assert first.states["1"] == JobStatus("1", JobState.RUNNING, reason="ünd\udce9", exit_code=3)
    assert len(scheduler.questions()) == 1


def test_a_job_that_was_not_asked_about_is_not_judged_and_is_in_the_next_question(scheduler: Counted) -> None:
    status_cache.recent_states(scheduler, ["1"], 10)
    assert status_cache.recent_states(scheduler, ["2"], 10).states == {}
    assert set(status_cache.recent_states(scheduler, ["1"], 0).states) == {"1"}
    assert scheduler.questions()[-1] == ["1", "2"]
    assert set(status_cache.recent_states(scheduler, ["2"], 10).states) == {"2"}


def test_the_time_of_an_answer_is_that_of_its_question(scheduler: Counted) -> None:
    before = time.monotonic()
    asked_at = status_cache.recent_states(scheduler, ["1"], 10).asked_at
    submitted = time.monotonic()
    assert before <= asked_at == status_cache.recent_states(scheduler, ["1"], 10).asked_at < submitted


def test_a_failure_is_shared_like_an_answer(scheduler: Counted) -> None:
    scheduler.failing = True
    for _ in range(3):
        with pytest.raises(SchedulerUnavailable, match="no answer"):
            status_cache.recent_states(scheduler, ["1"], 10)
    assert len(scheduler.questions()) == scheduler.attempts, "it was one question"


def test_jobs_that_nobody_asks_about_leave_the_question(scheduler: Counted) -> None:
    now = time.monotonic()
    status_cache.recent_states(scheduler, ["1"], 10, lambda: now)
    status_cache.recent_states(scheduler, ["2"], 10, lambda: now + status_cache.INTEREST_SECONDS + 1)
    assert scheduler.questions()[-1] == ["2"]


def test_the_directory_is_ours_alone(scheduler: Counted, tmp_path: Path) -> None:
    status_cache.recent_states(scheduler, ["1"], 10)
    assert cache(tmp_path).stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o077 for file in cache(tmp_path).iterdir()} == {0}


@pytest.mark.parametrize("wrong", ["open to others", "symlink", "file"])
def test_a_directory_that_others_may_write_is_not_used(scheduler: Counted, tmp_path: Path, wrong: str) -> None:
    if wrong == "symlink":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        cache(tmp_path).symlink_to(tmp_path / "elsewhere")
    elif wrong == "file":
        cache(tmp_path).touch(0o600)
    else:
        cache(tmp_path).mkdir()
        cache(tmp_path).chmod(0o777)
    for _ in range(2):
        assert set(status_cache.recent_states(scheduler, ["1"], 10).states) == {"1"}
    assert len(scheduler.questions()) == 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_not_used(scheduler: Counted, tmp_path: Path) -> None:
    cache(tmp_path).mkdir(mode=0o700)
    os.chown(cache(tmp_path), 12345, -1)
    for _ in range(2):
        status_cache.recent_states(scheduler, ["1"], 10)
    assert len(scheduler.questions()) == 2
    assert not list(cache(tmp_path).iterdir())


def test_a_damaged_file_is_asked_anew(scheduler: Counted, tmp_path: Path) -> None:
    status_cache.recent_states(scheduler, ["1"], 10)
    (file,) = (path for path in cache(tmp_path).iterdir() if path.suffix != ".lock")
    for content in ("{", "[]", '{"states": {"1": {}}}', "\xff"):
        file.write_text(content)
        assert set(status_cache.recent_states(scheduler, ["1"], 10).states) == {"1"}


def holding_the_lock(path: str, told: Callable[[], None]) -> None:
    with status_cache._locked(path):
        told()
        signal.pause()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_program_that_holds_the_lock_stops_nobody(
    scheduler: Counted, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    """Killed, it has let go; suspended, the others ask without it when the answer is old."""
    monkeypatch.setattr(status_cache, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(status_cache, "STUCK_SECONDS", 0.0)
    holds = processes.Event()
    path = status_cache._path(scheduler.question_key())
    assert path is not None
    holder = processes.Process(target=holding_the_lock, args=(path, holds.set))
    holder.start()
    try:
        assert holds.wait(10)
        assert holder.pid is not None
        os.kill(holder.pid, end)
        if end == signal.SIGKILL:
            holder.join(10)
        assert set(status_cache.recent_states(scheduler, ["1"], 10).states) == {"1"}
    finally:
        holder.kill()
        holder.join(10)


def wait_for_an_hour(scheduler: Counted, job_id: str, start: float) -> None:
    """What a scheduler thread does while its jobs are pending."""

    def clock() -> float:
        return start + (time.monotonic() - start) * FASTER

    rhythm = Rhythm(*scheduler.poll_seconds)
    rhythm.restart(clock())
    while rhythm.due is not None and rhythm.due < start + 3600:
        time.sleep(max(0.0, rhythm.due - clock()) / FASTER)
        states, asked_at, again_at = status_cache.recent_states(scheduler, [job_id], rhythm.max_age, clock)
        rhythm.answered(asked_at, clock(), bool(states), again_at)


def several_executors(scheduler: Counted, program: int, start: float) -> None:
    threads = [
        threading.Thread(target=wait_for_an_hour, args=(scheduler, f"{program}_{executor}", start))
        for executor in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_an_hour_of_waiting(scheduler: Counted) -> None:
    start = time.monotonic()
    programs = [processes.Process(target=several_executors, args=(scheduler, n, start)) for n in range(4)]
    for program in programs:
        program.start()
    for program in programs:
        program.join(30)
    assert [program.exitcode for program in programs] == [0] * 4
    questions = scheduler.questions()
    assert 15 < len(questions) < 150, "on a busy machine the pauses are longer: a second of it is a quarter of an hour"
    assert max(map(len, questions)) == 12  # everybody's jobs


# -- how often all programs of a user may ask ---------------------------------------------


class Hour:
    """Executors one after the other, each with one job, on a clock that jumps to what is due next."""

    def __init__(self, scheduler: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
        file = [status_cache._Record()]  # in memory, for there are many looks
        monkeypatch.setattr(status_cache, "_locked", lambda _path: contextlib.nullcontext(True))
        monkeypatch.setattr(status_cache, "_read", lambda _path, _now: file[0])
        monkeypatch.setattr(status_cache, "_write", lambda _path, record: file.__setitem__(0, record))
        self.scheduler = scheduler
        self.now = time.monotonic()
        self.asked_at: list[float] = []

    def clock(self) -> float:
        return self.now

    def executor(self, number: int, seconds: float) -> None:
        """Submits a job that is over, or known to be, after so many seconds."""
        rhythm, end, known = Rhythm(*self.scheduler.poll_seconds), self.now + seconds, self.scheduler.count
        rhythm.restart(self.now)
        while rhythm.due is not None and rhythm.due < end:
            self.now = max(self.now, rhythm.due)
            try:
                found, asked_at, again_at = status_cache.recent_states(
                    self.scheduler, [f"{number}"], rhythm.max_age, self.clock
                )
                rhythm.answered(asked_at, self.now, bool(found), again_at)
            except SchedulerUnavailable:
                rhythm.answered(self.now, self.now, complete=True)
            if self.scheduler.count > known:
                known = self.scheduler.count
                self.asked_at.append(self.now)
        self.now = end


@pytest.mark.parametrize("seconds", [4.0, 20.0, 90.0])
@pytest.mark.parametrize("failing", [False, True])
def test_an_hour_of_submissions(
    scheduler: Counted, monkeypatch: pytest.MonkeyPatch, seconds: float, failing: bool
) -> None:
    """However short they are: fewer than 150 questions, and no pause of much more than half a minute."""
    hour, scheduler.failing = Hour(scheduler, monkeypatch), failing
    start = hour.now
    for number in range(int(3600 / seconds)):
        hour.executor(number, seconds)
    assert 60 < len(scheduler.questions()) < 150
    first = [at - start for at in hour.asked_at[:3]]
    assert first == pytest.approx([1, 3, 5] if seconds == 4.0 else [1, 3, 7]) or failing, "short pauses at first"
    pauses = [later - before for before, later in itertools.pairwise(hour.asked_at)]
    assert max(pauses) < 30 + min(seconds, 5) + 1


def test_after_a_while_without_questions_pauses_are_short_again(
    scheduler: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour = Hour(scheduler, monkeypatch)
    for number in range(60):
        hour.executor(number, 5)
    hour.now += 600
    before = len(hour.asked_at)
    start = hour.now
    hour.executor(99, 10)
    assert [at - start for at in hour.asked_at[before:]] == pytest.approx([1, 3, 7])


def test_something_is_kept_for_when_something_is_wrong(scheduler: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    hour = Hour(scheduler, monkeypatch)
    for number in range(60):
        hour.executor(number, 5)
    asked = len(scheduler.questions())
    for _ in range(5):
        hour.now += 0.1
        status_cache.recent_states(scheduler, ["1"], 0.0, hour.clock)
    assert len(scheduler.questions()) <= asked + 1, "the last answer must do"
    asked = len(scheduler.questions())
    for _ in range(5):
        hour.now += 0.1
        status_cache.recent_states(scheduler, ["1"], 0.0, hour.clock, urgent=True)
    assert len(scheduler.questions()) == asked + 5


def test_the_array_limit_is_asked_once_an_hour(scheduler: Counted) -> None:
    now = time.monotonic()
    for passed in range(0, 3500, 500):
        assert status_cache.recent_array_limit(scheduler, lambda later=passed: now + later) == 77  # type: ignore[misc]
    status_cache.recent_states(scheduler, ["1"], 0.0, lambda: now + 3500)
    assert scheduler.limits_told == 1
    status_cache.recent_array_limit(scheduler, lambda: now + 3601)
    assert scheduler.limits_told == 2


# -- the directory ------------------------------------------------------------------------


def test_what_nobody_has_used_for_a_week_is_removed(scheduler: Counted, tmp_path: Path) -> None:
    status_cache.recent_states(scheduler, ["1"], 10)
    old, recent = cache(tmp_path) / "old.lock", cache(tmp_path) / "recent"
    for file, age in ((old, 8), (recent, 6)):
        file.touch()
        os.utime(file, (time.time() - age * 86400,) * 2)
    status_cache.recent_states(Counted(tmp_path / "another cluster"), ["1"], 10)
    assert not old.exists()
    assert recent.exists()


def test_a_directory_of_ones_choice(scheduler: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERFUTURES_CACHE", str(tmp_path / "my" / "cache"))
    for _ in range(2):
        status_cache.recent_states(scheduler, ["1"], 10)
    assert len(scheduler.questions()) == 1
    assert (tmp_path / "my" / "cache").stat().st_mode & 0o777 == 0o700
    assert not cache(tmp_path).exists()


def test_without_a_directory_everybody_asks(
    scheduler: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLUSTERFUTURES_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert set(status_cache.recent_states(scheduler, ["1"], 10).states) == {"1"}
    assert len(scheduler.questions()) == 2


def test_a_disk_without_space_is_no_reason_not_to_answer(scheduler: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    assert set(status_cache.recent_states(scheduler, ["1"], 10).states) == {"1"}


def test_pauses_grow() -> None:
    rhythm = Rhythm(1.0, 30.0)
    rhythm.restart(0.0)
    due = []
    while len(due) < 7 and rhythm.due is not None:
        due.append(rhythm.due)
        rhythm.answered(rhythm.due, rhythm.due, complete=True)
    assert due == [1, 3, 7, 15, 31, 61, 91]


def test_the_smallest_spacing() -> None:
    assert smallest_spacing({"CLUSTERFUTURES_POLL": "60"}) == 60
    assert smallest_spacing({}) == 0
    for wrong in ("often", "-1", "nan", "inf"):
        with pytest.raises(OptionError, match="CLUSTERFUTURES_POLL"):
            smallest_spacing({"CLUSTERFUTURES_POLL": wrong})


def test_an_answer_that_cannot_be_written_leaves_nothing(
    scheduler: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(status_cache.json, "dump", full)
    assert set(status_cache.recent_states(scheduler, ["1"], 10).states) == {"1"}
    assert [path.suffix for path in cache(tmp_path).iterdir()] == [".lock"]
