"""What the scheduler still owes the clerk: jobs to be cancelled, answers to submissions.

A cancellation that failed is a debt.  It is asked for again when the scheduler answers, and
at the end of the run; one line of the log then names the rest, and the command to type.
Owned by the clerk's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from clusterfutures.schedulers.base import Scheduler

__all__ = ["Debts"]

logger = logging.getLogger("clusterfutures")

#: between two attempts to cancel what could not be cancelled, in seconds
AGAIN_SECONDS = 60.0


class Debts:
    """Jobs to be cancelled, and submissions (name -> number of jobs) of which nobody knows."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.unanswered: dict[str, int] = {}
        self._scheduler = scheduler
        self._jobs: dict[str, None] = {}
        self._due = float("inf")
        self._why: Exception | None = None

    @property
    def job_ids(self) -> list[str]:
        """Jobs that are still to be cancelled, in the order in which they came."""
        return list(self._jobs)

    def add(self, job_ids: Iterable[str]) -> None:
        """These are to be cancelled."""
        self._jobs.update(dict.fromkeys(job_ids))

    def paid(self) -> None:
        """All have been cancelled."""
        self._jobs.clear()
        self._due = float("inf")

    def not_paid(self, why: Exception, now: float) -> None:
        """The scheduler did not do it."""
        self._due = now + AGAIN_SECONDS
        self._why = why
        logger.info("clusterfutures: could not cancel jobs %s for now: %s", ", ".join(self._jobs), why)

    def are_due(self, now: float) -> bool:
        """True when it is time to ask again."""
        return now >= self._due

    def answered(self, name: str) -> None:
        """It is known what became of this submission."""
        self.unanswered.pop(name, None)

    def tell(self) -> None:
        """Name what is left at the end, and say what to do."""
        parts, commands = [], []
        if self._jobs:
            parts.append(f"jobs {', '.join(self._jobs)} could not be cancelled")
            commands.append(self._scheduler.cancel_command(self.job_ids))
        if self.unanswered:
            parts.append(f"nobody knows whether jobs called {', '.join(self.unanswered)} were submitted")
            commands += map(self._scheduler.cancel_by_name_command, self.unanswered)
        if parts:
            logger.warning(
                "clusterfutures: the scheduler did not answer before the end: %s. A job that starts now ends at once; "
                "to end them all when it answers again: %s%s",
                " and ".join(parts),
                "; ".join(commands),
                f" (it said: {self._why})" if self._why else "",
            )
