"""A scheduler that does not answer: what its thread tries again, for how long, and what it says at last."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from clusterfutures.client import scheduler_thread as scheduler_threads
from clusterfutures.client.events import EventQueue, Phase
from clusterfutures.client.scheduler_thread import Explained, Refused, SchedulerThread, Submitted, Unanswered
from clusterfutures.errors import SchedulerUnavailable, SubmitLimitReached
from clusterfutures.schedulers.base import JobSpec, QueuedJob, Scheduler
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.polling import Rhythm

SPEC = JobSpec("name", ["true"], "/log", "/")
#: far less than any patience with a scheduler that somebody waits for, and time enough on a busy machine
SOON = 8.0


class Scripted(Scheduler):
    """Answers, says nothing (``silent`` names the commands), or takes until it is given up."""

    name = "scripted"

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.hanging: set[str] = set()
        self.called: list[str] = []
        self.cancelled: list[str] = []
        self.submitted: list[str] = []
        self.full = False
        self.slow = 0.0

    def _answer(self, command: str) -> None:
        self.called.append(command)
        if time.monotonic() + self.slow > self.gives_up_at:
            raise SchedulerUnavailable(message=f"{command} was not run")
        while command in self.hanging and time.monotonic() < self.gives_up_at:
            time.sleep(0.01)
        if command in self.silent | self.hanging:
            raise SchedulerUnavailable(message=f"{command}: connection refused", command=command)

    @classmethod
    def is_here(cls) -> bool:
        return True

    def script(self, spec: JobSpec, count: int) -> str:
        raise NotImplementedError

    def submit(self, spec: JobSpec, path: str, count: int) -> list[str]:
        if self.full:
            raise SubmitLimitReached(message="no more", command="submit", advice="later")
        self._answer("submit")
        self.submitted = [f"1_{index}" for index in range(count)]
        return self.submitted

    def find(self, name: str, count: int) -> list[str] | None:
        self._answer("find")
        return self.submitted or None

    def array_limit(self) -> int:
        self._answer("array_limit")
        return 10

    def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        self._answer("states")
        return {job_id: JobStatus(job_id, JobState.RUNNING) for job_id in job_ids}

    def explain(self, job_id: str) -> JobStatus | None:
        self._answer("explain")
        return None

    def queue(self) -> list[QueuedJob]:
        raise NotImplementedError

    def cancel(self, job_ids: Sequence[str]) -> None:
        self._answer("cancel")
        self.cancelled += job_ids


class Desk:
    """A scheduler thread at work, and what it told."""

    def __init__(self, scheduler: Scripted) -> None:
        self.scheduler = scheduler
        self.events = EventQueue()
        self.told: list[Any] = []
        self.scheduler_thread = SchedulerThread(
            scheduler, self.events, lambda _worker_group, _count: ("0001", SPEC, "/script")
        )
        self.scheduler_thread.thread.start()

    def answer(self, kind: type, limit: float = 20.0) -> Any:
        """The next thing of this kind that the scheduler thread tells."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            self.told += self.events.take(0.05)
            for item in self.told:
                if isinstance(item, kind):
                    self.told.remove(item)
                    return item
        raise AssertionError(f"no {kind.__name__} within {limit} s, but {self.told}")

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20.0
        while not condition():
            assert time.monotonic() < deadline, "not within 20 s"
            time.sleep(0.005)

    def end(self, limit: float) -> float:
        """Stop it; how long that took."""
        began = time.monotonic()
        self.scheduler_thread.stop()
        self.scheduler_thread.thread.join(limit)
        assert not self.scheduler_thread.thread.is_alive(), f"not over after {limit} s"
        return time.monotonic() - began


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Desk]:
    for name, seconds in {"FIRST_RETRY_SECONDS": 0.02, "LONGEST_RETRY_SECONDS": 0.05, "END_SECONDS": 0.3}.items():
        monkeypatch.setattr(scheduler_threads, name, seconds)
    caplog.set_level(logging.INFO, "clusterfutures")
    desk = Desk(Scripted())
    yield desk
    desk.scheduler.silent.clear()
    desk.scheduler.hanging.clear()
    desk.end(20)


def farewells(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "before the end" in record.getMessage()]


# -- the end, while nobody answers -------------------------------------------------------


def test_jobs_that_cannot_be_cancelled_are_named_in_one_line(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.scheduler.silent = {"cancel"}
    desk.scheduler_thread.cancel(["1_0", "1_1"])
    desk.scheduler_thread.cancel(["7"])
    assert desk.end(20) < SOON
    (line,) = farewells(caplog)
    for text in ("1_0, 1_1, 7", "could not be cancelled", "end jobs 1_0 1_1 7", "connection refused"):
        assert text in line
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


def test_a_submission_without_an_answer_is_named_too(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.scheduler.silent = {"submit", "find"}
    desk.scheduler_thread.submit("0", 1)
    desk.until(lambda: "find" in desk.scheduler.called)
    assert desk.end(20) < SOON
    (line,) = farewells(caplog)
    assert "whether jobs called name were submitted" in line
    assert "end the jobs called name" in line


def test_one_whose_jobs_are_found_at_the_end_is_cancelled(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.scheduler.silent = {"submit", "find"}
    desk.scheduler_thread.submit("0", 2)
    desk.until(lambda: "find" in desk.scheduler.called)
    desk.scheduler.submitted = ["1_0", "1_1"]
    desk.scheduler_thread.hurry()
    assert isinstance(desk.answer(Refused).error, SchedulerUnavailable)
    desk.scheduler.silent.clear()
    desk.end(20)
    assert desk.scheduler.cancelled == ["1_0", "1_1"]
    assert not farewells(caplog)


@pytest.mark.parametrize("command", ["submit", "find", "states", "explain", "cancel"])
def test_a_command_that_hangs_does_not_hold_up_the_end(desk: Desk, command: str) -> None:
    desk.scheduler.hanging = {command}
    desk.scheduler.silent = {"submit"} if command == "find" else set()
    for act in (
        lambda: desk.scheduler_thread.submit("0", 1),
        lambda: desk.scheduler_thread.explain("worker", "1"),
        lambda: desk.scheduler_thread.cancel(["1"]),
        desk.scheduler_thread.look_soon,
    ):
        act()
    desk.scheduler_thread.watch(lambda: ["1"])
    desk.until(lambda: command in desk.scheduler.called)
    assert desk.end(20) < SOON


def test_a_question_that_hangs_leaves_time_to_cancel(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_threads, "END_SECONDS", 2.0)
    desk.scheduler.hanging = {"states"}
    desk.scheduler_thread.watch(lambda: ["1"])
    desk.scheduler_thread.look_soon()
    desk.until(lambda: "states" in desk.scheduler.called)
    desk.scheduler_thread.cancel(["1"])
    desk.scheduler.slow = 0.05
    desk.end(20)
    assert desk.scheduler.cancelled == ["1"]
    assert not farewells(caplog)


def test_what_is_asked_for_before_the_end_is_done_when_the_scheduler_answers(desk: Desk) -> None:
    desk.scheduler.silent = {"cancel"}
    desk.scheduler_thread.cancel(["1"])
    desk.until(lambda: "cancel" in desk.scheduler.called)
    desk.scheduler_thread.stop()
    desk.scheduler.silent.clear()
    desk.scheduler_thread.thread.join(20)
    assert desk.scheduler.cancelled == ["1"]


def test_no_jobs_are_submitted_when_nobody_waits_for_them(desk: Desk) -> None:
    desk.scheduler_thread.hurry()
    desk.scheduler_thread.submit("0", 3)
    assert desk.answer(Refused) == Refused("0", 3, None)
    assert "submit" not in desk.scheduler.called


# -- while somebody waits ----------------------------------------------------------------


def test_a_cancellation_that_failed_is_repeated_when_the_scheduler_answers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_threads, "CANCEL_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("clusterfutures.client.scheduler_thread.AGAIN_SECONDS", 0.0)
    desk.scheduler.silent = {"cancel"}
    desk.scheduler_thread.cancel(["1"])
    desk.until(lambda: "cancel" in desk.scheduler.called)
    desk.scheduler.silent.clear()
    desk.scheduler_thread.watch(lambda: ["2"])
    desk.scheduler_thread.look_soon()
    desk.until(lambda: desk.scheduler.cancelled == ["1"])
    desk.scheduler_thread.look_soon()
    desk.end(20)
    assert desk.scheduler.cancelled == ["1"], "once"


def test_a_submission_is_tried_until_there_is_an_answer(desk: Desk) -> None:
    desk.scheduler.silent = {"submit", "find"}
    desk.scheduler_thread.submit("0", 1)
    desk.until(lambda: desk.scheduler.called.count("find") > 3)
    assert desk.scheduler.called.count("submit") == 1, "not again before it is known that there are no jobs"
    desk.scheduler.silent = {"submit"}
    desk.until(lambda: desk.scheduler.called.count("submit") > 3)
    desk.scheduler.silent = set()
    assert desk.answer(Submitted).job_ids == ["1_0"]


@pytest.mark.parametrize("silent", [{"submit"}, {"submit", "find"}])
def test_after_minutes_it_is_given_up_and_the_error_says_all(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, silent: set[str]
) -> None:
    monkeypatch.setattr(scheduler_threads, "PATIENCE_SECONDS", 0.1)
    desk.scheduler.silent = silent
    desk.scheduler_thread.submit("0", 1)
    error = desk.answer(Refused).error
    assert isinstance(error, SchedulerUnavailable)
    for text in ("connection refused", "asked again for minutes", "submit it again"):
        assert text in str(error)
    assert ("end the jobs called name" in str(error)) == ("find" in silent)
    assert desk.answer(Unanswered) == Unanswered("0", "0001", 1), "they are known if they come all the same"


def test_how_a_job_ended_when_the_scheduler_does_not_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_threads, "EXPLAIN_PATIENCE_SECONDS", 0.1)
    desk.scheduler.silent = {"explain"}
    desk.scheduler_thread.explain("worker", "1")
    status = desk.answer(Explained).status
    assert status.state is JobState.UNKNOWN
    assert "connection refused" in status.reason


def test_an_adapter_that_fails_otherwise_is_asked_no_more_often_and_somebody_gets_an_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No space in /tmp, a text that its parser does not know."""
    asked = list[int]()

    def explain(_job_id: str) -> Any:
        raise OSError("No space left on device")

    def states(_ids: object) -> Any:
        asked.append(1)
        explain("")

    monkeypatch.setattr(desk.scheduler, "states", states)
    monkeypatch.setattr(desk.scheduler, "explain", explain)
    desk.scheduler_thread.watch(lambda: ["1"])
    desk.scheduler_thread._rhythm = Rhythm(0.05, 1.0)
    desk.scheduler_thread.look_soon()
    desk.until(lambda: len(asked) > 2)
    time.sleep(0.3)
    assert len(asked) < 10, "each time after twice as long"
    desk.scheduler_thread.explain("worker", "1")
    status = desk.answer(Explained).status
    assert status.state is JobState.UNKNOWN
    assert "No space left" in status.reason
    assert "Traceback" in caplog.text


def test_jobs_that_a_manager_which_has_failed_does_not_hear_of_are_cancelled(desk: Desk) -> None:
    desk.events.advance(Phase.CLOSED, RuntimeError("a defect"))
    desk.scheduler_thread.submit("0", 2)
    desk.answer(Submitted)
    desk.end(5)
    assert desk.scheduler.cancelled == ["1_0", "1_1"]


def test_a_submit_limit_is_told_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.scheduler.full = True
    for _ in range(3):
        desk.scheduler_thread.submit("0", 4)
        assert desk.answer(Refused) == Refused("0", 4, None)
    desk.scheduler.full = False
    desk.scheduler_thread.submit("0", 4)
    assert len(desk.answer(Submitted).job_ids) == 4
    assert sum("submit limit" in record.getMessage() for record in caplog.records) == 1


def test_hurry_reaches_a_scheduler_thread_that_rests(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_threads, "FIRST_RETRY_SECONDS", 30.0)
    desk.scheduler.silent = {"submit"}
    desk.scheduler_thread.submit("0", 1)
    desk.until(lambda: "find" in desk.scheduler.called)
    monkeypatch.setattr(scheduler_threads, "FIRST_RETRY_SECONDS", 0.02)
    threading.Timer(0.05, desk.scheduler_thread.hurry).start()
    assert isinstance(desk.answer(Refused, 15).error, SchedulerUnavailable)


# -- an array whose largest size nobody tells ---------------------------------------------


def test_a_submission_does_not_wait_for_the_largest_array(desk: Desk) -> None:
    desk.scheduler.silent = {"array_limit"}
    desk.scheduler_thread.submit("0", 12)
    assert len(desk.answer(Submitted).job_ids) == 12
    desk.scheduler.silent.clear()
    desk.scheduler_thread.submit("0", 12)
    assert [len(desk.answer(Submitted).job_ids) for _ in range(2)] == [10, 2], "asked again, and told"
