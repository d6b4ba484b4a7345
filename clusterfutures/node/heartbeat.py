"""A worker says that it lives: the client looks for that when the scheduler does not list its job.

    claimed/<worker>/~beat.<n> --rename, every BEAT_SECONDS--> ~beat.<n + 1>

A listing shows it, no clock is compared, and the number of files does not grow.  A segment tells as much, so a worker
that publishes results gives no beat besides.
"""

from __future__ import annotations

import time

from clusterfutures.node.disk_full import say
from clusterfutures.node.reporter import Reporter
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["BEAT_SECONDS", "Heartbeat"]

#: a beat is due at least every 30 s (``schedulers/absence.py`` counts on it), and may be late
BEAT_SECONDS = 10.0


class Heartbeat:
    """The beats of one worker."""

    def __init__(self, run: RunDirectory, worker: str, reporter: Reporter) -> None:
        self._run = run
        self._worker = worker
        self._reporter = reporter
        self._number = 0
        self._given_at = time.monotonic()
        self._is_said = False

    @property
    def due(self) -> float:
        """When to come back at the latest (monotonic time)."""
        return max(self._given_at, self._reporter.published_at) + BEAT_SECONDS

    def give(self, now: float) -> None:
        """Give a beat if one is due.  Raises GivenUp, FileNotFoundError: nobody counts on this worker."""
        if now < self.due:
            return
        self._given_at = now
        try:
            self._run.give_beat(self._worker, self._number)
            self._number += 1
        except FileNotFoundError:
            raise
        except OSError as error:  # the next one may do
            if not self._is_said:
                say(f"a sign of life of this worker cannot be given: {error}")
            self._is_said = True
