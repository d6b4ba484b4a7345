"""Jobs that are missing in an answer of the scheduler, and may live.

    list without the job --> Doubts --explain--> named as ended, or requeued --> over, at once
                                |  `----------- named as alive --> no doubt any more
                                |-- missing for long enough (``absence.py``) --> over
                                `-- a beat, or a segment --> it counts anew

A job that had started and is listed as waiting is missing as well, until the scheduler says that it
was requeued: the list may be older than the start.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass

from clusterfutures.client.clerk import Clerk
from clusterfutures.client.state import Worker, WorkerState
from clusterfutures.schedulers import absence
from clusterfutures.schedulers.absence import MOST_QUESTIONS, Absences
from clusterfutures.schedulers.base import JobState, JobStatus
from clusterfutures.store import names
from clusterfutures.store.run import RunDirectory

__all__ = ["Doubts"]

logger = logging.getLogger("clusterfutures")

#: a scheduler may still call a job pending that has started so lately
REQUEUE_SECONDS = 1.0


@dataclass(slots=True)
class _Doubt:
    """One job that is missing."""

    worker: Worker
    beat: int  # the number of its last beat when it was first missing
    ask_at: float = 0.0  # when to ask about it alone, the next time


def _is_requeued(worker: Worker, status: JobStatus) -> bool:
    """True when the job of a worker that had started waits, or runs, again."""
    parsed = names.parse_worker(worker.name)
    return parsed is not None and worker.state is WorkerState.RUNNING and status.restarts > parsed[2]


class Doubts:
    """Which answers are believed.  Owned by the pump thread."""

    def __init__(self, run: RunDirectory, clerk: Clerk) -> None:
        self._run = run
        self._clerk = clerk
        self._absences = Absences()
        self._doubts: dict[str, _Doubt] = {}
        self._asked_at: deque[float] = deque(maxlen=MOST_QUESTIONS)

    def is_over(self, worker: Worker, status: JobStatus, asked_at: float) -> bool:
        """Whether the job has ended, as told by the scheduler's list, or when it was asked about this one."""
        if status.state is JobState.PENDING and worker.state is WorkerState.RUNNING:
            if _is_requeued(worker, status):
                return True
            if asked_at <= worker.heard_at + REQUEUE_SECONDS:
                return False
            status = JobStatus(worker.job_id, JobState.GONE)
        if not status.is_missing:
            self._doubts.pop(worker.name, None)
            return self._absences.ended(status, asked_at)
        is_over = self._absences.ended(status, asked_at, worker.alive_at)
        if is_over and self._beats(worker):
            is_over = self._absences.ended(status, asked_at, worker.alive_at)
        if not self._absences.is_suspect(worker.job_id):
            self._doubts.pop(worker.name, None)
        elif worker.name not in self._doubts:
            logger.info("clusterfutures: job %s is missing in an answer of the scheduler", worker.job_id)
            self._doubts[worker.name] = _Doubt(worker, self._run.beat(worker.name))
            self._clerk.look_soon()
        return is_over

    def _beats(self, worker: Worker) -> bool:
        """True when the worker has said that it lives since it was first missing."""
        doubt = self._doubts.get(worker.name)
        if doubt is None or self._run.beat(worker.name) <= doubt.beat:
            return False
        worker.alive_at = time.monotonic()
        return True

    def ask(self, now: float) -> None:
        """Have the scheduler asked about missing jobs one by one: not about many at a time."""
        for doubt in self._doubts.values():
            if now < doubt.ask_at:
                continue
            if len(self._asked_at) == MOST_QUESTIONS and now < self._asked_at[0] + absence.UNKNOWN_SECONDS:
                return
            doubt.ask_at = now + absence.UNKNOWN_SECONDS
            self._asked_at.append(now)
            self._clerk.explain(doubt.worker.name, doubt.worker.job_id, over=False, doubted=True)

    def explained(self, worker: Worker, status: JobStatus | None, asked_at: float) -> bool:
        """The scheduler was asked about one job: whether it has ended."""
        if status is None or status.state is JobState.UNKNOWN:  # it is not known there, or there was no answer
            return False
        return asked_at > worker.since and self.is_over(worker, status, asked_at)

    def forget(self, worker: Worker) -> None:
        """Its job has ended."""
        self._doubts.pop(worker.name, None)
        self._absences.forget(worker.job_id)
