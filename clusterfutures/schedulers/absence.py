"""When a job that its scheduler does not list any more counts as ended.  Pure: time is an argument.

"Not in the answer" is not "ended": a site may answer from a cache that is a minute old, and one answer
may be empty by mistake.  Names of states are believed at once; an absence has to last:

    state         scheduler says              counts as ended
    ------------  --------------------------  -----------------------------------------------------
    named         COMPLETED, FAILED ...       at once
    unknown id    "unknown job id", for a     after a second such answer ``UNKNOWN_SECONDS`` later
                  job that it listed before
    missing       nothing, or it never        after a second such answer ``MISSING_SECONDS`` later
                  listed the job

A sign of life of the job between the two answers makes the count begin anew.
"""

from __future__ import annotations

import math

from clusterfutures.schedulers.job_state import JobStatus

__all__ = ["MOST_QUESTIONS", "Absences"]

#: seconds between two answers "unknown job id" that together mean: ended
UNKNOWN_SECONDS = 15.0
#: seconds between two answers without a job that together mean: ended; longer than the cache of any site
MISSING_SECONDS = 90.0
#: questions about single jobs that are missing, in ``UNKNOWN_SECONDS``
MOST_QUESTIONS = 8


class Absences:
    """Which jobs an observer has seen in the scheduler's answers, and since when they are missing there."""

    def __init__(self) -> None:
        self._listed: set[str] = set()
        self._missing: dict[str, float] = {}  # when the first of the answers was asked for that had no such job
        self._unknown: dict[str, float] = {}  # the same for answers that said: unknown job id

    def ended(self, status: JobStatus, asked_at: float, alive_at: float = -math.inf) -> bool:
        """Whether the job has ended, as told by an answer that was asked for at ``asked_at``.

        alive_at: when the job itself last gave a sign of life.
        """
        job_id = status.job_id
        if not status.is_missing:
            self._listed.add(job_id)
            self._missing.pop(job_id, None)
            self._unknown.pop(job_id, None)
            return status.state.is_final
        for since in (self._missing, self._unknown):
            if since.get(job_id, math.inf) <= alive_at:
                del since[job_id]
        if asked_at <= alive_at:
            return False
        first = self._missing.setdefault(job_id, asked_at)
        if asked_at - first >= MISSING_SECONDS:
            return True
        if not status.unknown or job_id not in self._listed:
            return False  # a list without the job does not contradict that its id is unknown
        return asked_at - self._unknown.setdefault(job_id, asked_at) >= UNKNOWN_SECONDS

    @property
    def suspects(self) -> int:
        """How many jobs are missing in the answers."""
        return len(self._missing)

    def is_suspect(self, job_id: str) -> bool:
        """True while the job is missing in the answers and does not count as ended yet."""
        return job_id in self._missing

    def lives(self, job_id: str) -> None:
        """Another answer of the scheduler says that the job has not ended."""
        self._listed.add(job_id)
        self._missing.pop(job_id, None)
        self._unknown.pop(job_id, None)

    def forget(self, job_id: str) -> None:
        """The job is watched no longer."""
        self.lives(job_id)
        self._listed.discard(job_id)
