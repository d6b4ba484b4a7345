"""What a job is doing, in one vocabulary for all schedulers, and an answer that tells it of many."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Answer", "JobState", "JobStatus"]


class JobState(enum.Enum):
    """What a job is doing, in one vocabulary for all schedulers."""

    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    ENDING = "ending"  # COMPLETING, exiting: over, but how is not known yet
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out of memory"
    NODE_FAIL = "node failed"
    PREEMPTED = "preempted"
    GONE = "gone"  # in no list of the scheduler's: ended, nobody knows how
    UNKNOWN = "unknown"  # a word that we do not know: treated as still running

    @property
    def is_final(self) -> bool:
        """True when the job has ended (a requeue may still revive it)."""
        return self in _FINAL


_FINAL = frozenset(
    {
        JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.TIMEOUT,
        JobState.OUT_OF_MEMORY, JobState.NODE_FAIL, JobState.PREEMPTED, JobState.GONE,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job as the scheduler sees it.

    ``word`` and ``reason`` are the scheduler's own; ``never_starts`` says that the job is
    pending for a reason that does not clear by itself; ``unknown`` that the scheduler said
    "unknown job id", which is more than that the job is not listed.
    """

    job_id: str
    state: JobState
    word: str = ""
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    host: str = ""
    restarts: int = 0
    never_starts: bool = False
    unknown: bool = False

    @property
    def is_missing(self) -> bool:
        """True when the scheduler names no state of the job: it is not listed, or its id is unknown."""
        return self.state is JobState.GONE and not self.word


class Answer(NamedTuple):
    """States of jobs, when they were asked for, and before when there is no newer answer (monotonic)."""

    states: dict[str, JobStatus]
    asked_at: float
    again_at: float = 0.0
