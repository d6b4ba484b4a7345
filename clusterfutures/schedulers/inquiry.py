"""What is believed of jobs, for somebody who looks at a scheduler's list again and again.

    list --job is there--> as it says
      `--- job is missing --> asked about alone --named--> as that says, at once
                                  `-- not named --> None: it may live, until ``absence.py`` says that it has ended

Executors do the same without waiting for the answers: ``client/workers.py``.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from clusterfutures.errors import SchedulerUnavailable
from clusterfutures.schedulers import absence
from clusterfutures.schedulers.absence import MOST_QUESTIONS, Absences
from clusterfutures.schedulers.job_state import JobStatus

__all__ = ["Inquiry"]

log = logging.getLogger("clusterfutures")


class Inquiry:
    """Which of a scheduler's answers are believed.  explain: a question about one job alone."""

    def __init__(self, explain: Callable[[str], JobStatus | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._explain = explain
        self._clock = clock
        self._absences = Absences()
        self._told: dict[str, JobStatus] = {}  # of missing jobs, what was said when they were asked about alone
        self._ask_at: dict[str, float] = {}
        self._asked_at: deque[float] = deque(maxlen=MOST_QUESTIONS)

    def believed(self, status: JobStatus, asked_at: float) -> JobStatus | None:
        """The state of a job by an answer that was asked for at ``asked_at``; None while nothing is sure."""
        job_id = status.job_id
        if self._absences.ended(status, asked_at) or not status.is_missing:
            self._told.pop(job_id, None)
            self._ask_at.pop(job_id, None)
            return status
        told = self._told.get(job_id)
        if (told is not None and told.state.is_final) or not self._may_ask(job_id):
            return told
        self._told.pop(job_id, None)
        asked_at = self._clock()
        try:
            told = self._explain(job_id)
        except SchedulerUnavailable as error:
            log.info("job %s is missing in an answer, and nothing is said of it alone: %s", job_id, error)
            return None
        if told is None or (not self._absences.ended(told, asked_at) and told.is_missing):
            return None
        self._told[job_id] = told
        return told

    def _may_ask(self, job_id: str) -> bool:
        now = self._clock()
        if now < self._ask_at.get(job_id, now):
            return False
        if len(self._asked_at) == MOST_QUESTIONS and now < self._asked_at[0] + absence.UNKNOWN_SECONDS:
            return False
        self._ask_at[job_id] = now + absence.UNKNOWN_SECONDS
        self._asked_at.append(now)
        return True
