"""When a job that the scheduler does not list any more counts as ended."""

from __future__ import annotations

import pytest

from clusterfutures.errors import SchedulerUnavailable
from clusterfutures.schedulers.absence import MOST_QUESTIONS, Absences
from clusterfutures.schedulers.inquiry import Inquiry
from clusterfutures.schedulers.job_state import JobState, JobStatus

RUNS = JobStatus("5", JobState.RUNNING, "R")
MISSING = JobStatus("5", JobState.GONE)
UNKNOWN = JobStatus("5", JobState.GONE, unknown=True)


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.CANCELLED, JobState.NODE_FAIL])
def test_a_state_that_is_named_is_believed_at_once(state: JobState) -> None:
    assert Absences().ended(JobStatus("5", state, "WORD"), 1.0)
    assert Absences().ended(JobStatus("5", JobState.GONE, "GONE"), 1.0), "a scheduler that is sure of it"


@pytest.mark.parametrize("second", [MISSING, UNKNOWN])
def test_two_answers_without_a_job_and_a_minute_and_a_half_between_them(second: JobStatus) -> None:
    absences = Absences()
    for moment in (100.0, 101.0, 130.0, 189.9):
        assert not absences.ended(second, moment), "a cache may be a minute old"
        assert absences.is_suspect("5")
    assert absences.ended(second, 190.0)


def test_an_unknown_id_of_a_job_that_was_listed_before() -> None:
    absences = Absences()
    absences.ended(RUNS, 90.0)
    assert not absences.ended(UNKNOWN, 100.0)
    assert not absences.ended(UNKNOWN, 114.9)
    assert absences.ended(UNKNOWN, 115.0)


def test_lists_without_the_job_between_two_answers_that_its_id_is_unknown() -> None:
    absences = Absences()
    absences.ended(RUNS, 90.0)
    assert not absences.ended(UNKNOWN, 100.0)
    assert not absences.ended(MISSING, 105.0)
    assert absences.ended(UNKNOWN, 116.0)


def test_a_job_that_is_listed_again_was_never_missing() -> None:
    absences = Absences()
    assert not absences.ended(MISSING, 100.0)
    assert not absences.ended(RUNS, 150.0)
    assert not absences.ended(MISSING, 200.0)
    assert absences.ended(MISSING, 290.0)


def test_signs_of_life() -> None:
    absences = Absences()
    absences.ended(RUNS, 0.0)
    for moment in (100.0, 130.0, 160.0, 190.0):
        assert not absences.ended(UNKNOWN, moment, alive_at=moment - 10)
    assert not absences.ended(UNKNOWN, 204.0, alive_at=180.0)
    assert absences.ended(UNKNOWN, 205.0, alive_at=180.0)
    assert not absences.ended(UNKNOWN, 300.0, alive_at=301.0), "asked before its last one"


class Alone:
    """What is said of a job that is asked about alone."""

    def __init__(self, said: JobStatus | None) -> None:
        self.now = 0.0
        self.said = said
        self.silent = False
        self.asked: list[float] = []
        self.inquiry = Inquiry(self.explain, lambda: self.now)

    def explain(self, job_id: str) -> JobStatus | None:
        self.asked.append(self.now)
        if self.silent:
            raise SchedulerUnavailable(message="no answer")
        return self.said

    def listed(self, status: JobStatus, now: float) -> JobStatus | None:
        self.now = now
        return self.inquiry.believed(status, now)


def test_a_missing_job_is_asked_about_alone() -> None:
    over = JobStatus("5", JobState.CANCELLED, "CANCELLED")
    one = Alone(over)
    assert one.listed(RUNS, 1.0) == RUNS
    assert one.listed(MISSING, 2.0) == over, "what is named is believed at once"
    assert one.listed(MISSING, 3.0) == over
    assert one.asked == [2.0]
    one = Alone(RUNS)
    assert [one.listed(MISSING, moment) for moment in (1.0, 2.0, 16.0, 100.0)] == [RUNS] * 4
    assert one.asked == [1.0, 16.0, 100.0]


def test_a_job_of_which_nothing_is_known_alone_either() -> None:
    one = Alone(None)
    assert one.listed(MISSING, 1.0) is None
    assert one.listed(RUNS, 2.0) == RUNS
    one.silent = True
    assert [one.listed(MISSING, moment) for moment in (10.0, 30.0, 99.0)] == [None] * 3
    assert one.listed(MISSING, 100.0) == MISSING
    one = Alone(UNKNOWN)
    one.listed(RUNS, 0.0)
    assert [one.listed(MISSING, moment) for moment in (1.0, 10.0)] == [None] * 2
    assert one.listed(MISSING, 16.0) == UNKNOWN


def test_a_list_that_is_empty_costs_few_questions() -> None:
    one = Alone(None)
    for number in range(1000):
        one.listed(JobStatus(str(number), JobState.GONE), 1.0)
    assert len(one.asked) == MOST_QUESTIONS
