"""Workers of which nothing is heard: no answer of the scheduler about their jobs, and no sign of life.

    silent for SILENCE_SECONDS - WARNING_SECONDS --> a warning --> silent for SILENCE_SECONDS --> given up

A worker that beats goes on, however long the scheduler is silent; a job that the scheduler speaks of does so, too.
Time in which this program did not run (it was stopped, say) does not count.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from clusterfutures.client.state import Worker
from clusterfutures.errors import SchedulerUnavailable
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["SILENCE_SECONDS", "Silence", "unavailable"]

logger = logging.getLogger("clusterfutures")

#: how long a worker counts as alive without a word of it, or about its job
SILENCE_SECONDS = 900.0
#: how long before that it is said
WARNING_SECONDS = 60.0
#: between two looks for beats, in seconds, and from how much silence on there are any
LOOK_SECONDS = 30.0
#: between two turns of a program that runs, at most
_LONGEST_TURN = 10.0


class Silence:
    """How long nothing has been heard of workers.  Owned by the manager thread."""

    def __init__(self, run: RunDirectory, began: float) -> None:
        self._run = run
        self._turned_at = began
        self._look_at = 0.0
        self._beats: dict[str, int] = {}
        self._warned: set[str] = set()

    def lasts_too_long(self, workers: Iterable[Worker], now: float) -> list[Worker]:
        """Those of the workers that are to be given up, by now."""
        lost = now - self._turned_at - _LONGEST_TURN
        self._turned_at = now
        if lost > 0:
            for worker in workers:
                worker.told_at += lost
                worker.alive_at += lost
        if now < self._look_at:
            return []
        self._look_at = now + min(LOOK_SECONDS, SILENCE_SECONDS / 30)
        return [worker for worker in workers if self._is_silent(worker, now)]

    def _is_silent(self, worker: Worker, now: float) -> bool:
        since = max(worker.told_at, worker.alive_at)
        if now < since + min(LOOK_SECONDS, SILENCE_SECONDS / 30):
            self._warned.discard(worker.name)
            return False
        beat = self._run.beat(worker.name)
        if beat > self._beats.get(worker.name, 0):
            self._beats[worker.name] = beat
            worker.alive_at = now
            return False
        if now >= since + SILENCE_SECONDS - WARNING_SECONDS and worker.name not in self._warned:
            self._warned.add(worker.name)
            logger.warning(
                "clusterfutures: for %.0f s there has been neither an answer of the scheduler about job %s nor a sign "
                "of life of its worker: if that lasts for another minute its calls end",
                now - since, worker.job_id,
            )  # fmt: skip
        return now >= since + SILENCE_SECONDS

    def forget(self, worker: Worker) -> None:
        """It is over."""
        self._beats.pop(worker.name, None)
        self._warned.discard(worker.name)


def unavailable(worker: Worker, call: str) -> SchedulerUnavailable:
    """What a call ends with whose worker was given up."""
    return SchedulerUnavailable(
        message=f"{call}: for a quarter of an hour there was neither an answer of the scheduler about job "
        f"{worker.job_id} nor a sign of life of its worker; ask the scheduler when it answers again, "
        "and submit the call again"
    )
