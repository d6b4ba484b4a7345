"""One question for all programs of a user on a host, counted over an hour of a fast clock."""

from __future__ import annotations

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
from clusterfutures.schedulers import shared
from clusterfutures.schedulers.base import JobSpec, JobState, JobStatus, QueuedJob, Scheduler
from clusterfutures.schedulers.rhythm import Rhythm, smallest_spacing

FASTER = 900.0  # an hour in four seconds
processes = multiprocessing.get_context("fork")


class Counted(Scheduler):
    """Answers RUNNING for every job, and notes each question in a file."""

    name = "counted"

    def __init__(self, notes: Path) -> None:
        self.notes = notes
        self.failing = False

    def question_key(self) -> str:
        return str(self.notes)

    def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        with open(self.notes, "a") as notes:
            notes.write(" ".join(job_ids) + "\n")
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
    return Counted(tmp_path / "notes")


def cache(tmp_path: Path) -> Path:
    return tmp_path / f"clusterfutures-{os.getuid()}"


def test_the_second_program_is_answered_by_the_first_ones_question(scheduler: Counted) -> None:
    first = shared.recent_states(scheduler, ["1", "2"], 10)
    assert shared.recent_states(scheduler, ["1", "2"], 10) == first
    assert first.states["1"] == JobStatus("1", JobState.RUNNING, reason="ünd\udce9", exit_code=3)
    assert len(scheduler.questions()) == 1


def test_a_job_that_was_not_asked_about_is_not_judged_and_is_in_the_next_question(scheduler: Counted) -> None:
    shared.recent_states(scheduler, ["1"], 10)
    assert shared.recent_states(scheduler, ["2"], 10).states == {}
    assert set(shared.recent_states(scheduler, ["1"], 0).states) == {"1"}
    assert scheduler.questions()[-1] == ["1", "2"]
    assert set(shared.recent_states(scheduler, ["2"], 10).states) == {"2"}


def test_the_time_of_an_answer_is_that_of_its_question(scheduler: Counted) -> None:
    before = time.monotonic()
    asked_at = shared.recent_states(scheduler, ["1"], 10).asked_at
    submitted = time.monotonic()
    assert before <= asked_at == shared.recent_states(scheduler, ["1"], 10).asked_at < submitted


def test_a_failure_is_shared_like_an_answer(scheduler: Counted) -> None:
    scheduler.failing = True
    for _ in range(3):
        with pytest.raises(SchedulerUnavailable, match="no answer"):
            shared.recent_states(scheduler, ["1"], 10)
    assert len(scheduler.questions()) == 1


def test_jobs_that_nobody_asks_about_leave_the_question(scheduler: Counted) -> None:
    now = time.monotonic()
    shared.recent_states(scheduler, ["1"], 10, lambda: now)
    shared.recent_states(scheduler, ["2"], 10, lambda: now + shared.INTEREST_SECONDS + 1)
    assert scheduler.questions()[-1] == ["2"]


def test_the_directory_is_ours_alone(scheduler: Counted, tmp_path: Path) -> None:
    shared.recent_states(scheduler, ["1"], 10)
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
        assert set(shared.recent_states(scheduler, ["1"], 10).states) == {"1"}
    assert len(scheduler.questions()) == 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_not_used(scheduler: Counted, tmp_path: Path) -> None:
    cache(tmp_path).mkdir(mode=0o700)
    os.chown(cache(tmp_path), 12345, -1)
    for _ in range(2):
        shared.recent_states(scheduler, ["1"], 10)
    assert len(scheduler.questions()) == 2
    assert not list(cache(tmp_path).iterdir())


def test_a_damaged_file_is_asked_anew(scheduler: Counted, tmp_path: Path) -> None:
    shared.recent_states(scheduler, ["1"], 10)
    (file,) = (path for path in cache(tmp_path).iterdir() if path.suffix != ".lock")
    for content in ("{", "[]", '{"states": {"1": {}}}', "\xff"):
        file.write_text(content)
        assert set(shared.recent_states(scheduler, ["1"], 10).states) == {"1"}


def holding_the_lock(path: str, told: Callable[[], None]) -> None:
    with shared._locked(path):
        told()
        signal.pause()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_program_that_holds_the_lock_stops_nobody(
    scheduler: Counted, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    """Killed, it has let go; suspended, the others ask without it when the answer is old."""
    monkeypatch.setattr(shared, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(shared, "STUCK_SECONDS", 0.0)
    holds = processes.Event()
    path = shared._path(scheduler.question_key())
    assert path is not None
    holder = processes.Process(target=holding_the_lock, args=(path, holds.set))
    holder.start()
    try:
        assert holds.wait(10)
        assert holder.pid is not None
        os.kill(holder.pid, end)
        if end == signal.SIGKILL:
            holder.join(10)
        assert set(shared.recent_states(scheduler, ["1"], 10).states) == {"1"}
    finally:
        holder.kill()
        holder.join(10)


def wait_for_an_hour(scheduler: Counted, job_id: str, start: float) -> None:
    """What a clerk does while its jobs are pending."""

    def clock() -> float:
        return start + (time.monotonic() - start) * FASTER

    rhythm = Rhythm(*scheduler.poll_seconds)
    rhythm.restart(clock())
    while rhythm.due is not None and rhythm.due < start + 3600:
        time.sleep(max(0.0, rhythm.due - clock()) / FASTER)
        states, asked_at = shared.recent_states(scheduler, [job_id], rhythm.max_age, clock)
        rhythm.answered(asked_at, clock(), bool(states))


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
    assert 60 < len(questions) < 150
    assert max(map(len, questions)) == 12  # everybody's jobs


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
