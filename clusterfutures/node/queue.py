"""When to look at the queue, and which bin to try for.

Looking: every ``LOOK_SECONDS`` (or ten times what a look costs) while there was work a
moment ago, ever more rarely when there was none, up to a second.

Trying: the oldest bin first.  Workers that look at the same moment would all try the same
one; so after a loss a worker tries further down, the further the more it has lost.  Where
bins appear in an empty queue and the workers are many, others have been waiting for them as
well: then it begins somewhere among the first.
"""

from __future__ import annotations

import time

import clusterfutures
from clusterfutures.node.disk_full import FULL_SECONDS, may_pass
from clusterfutures.store import names
from clusterfutures.store.bins import Bin
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["LONGEST_LOOK_SECONDS", "DamagedBin", "QueueClient"]

LOOK_SECONDS = 0.0005
LONGEST_LOOK_SECONDS = 1.0
_MOST_LOSSES = 1024
#: a worker that has waited with others begins among the oldest bins: one for so many workers,
_WORKERS_A_BIN = 16
#: at most so many
_MOST_REACH = 16


class DamagedBin(Exception):
    """A claimed bin cannot be read: its calls fail, the worker goes on."""

    def __init__(self, name: str, error: clusterfutures.StoreError) -> None:
        super().__init__(name, error)
        self.name = name
        self.error = error


class QueueClient:
    """One worker's eye on its worker group's queue.  workers: how many there may be."""

    def __init__(self, run: RunDirectory, worker_group: str, worker: str, workers: int = 1) -> None:
        self.closed = False
        self._run = run
        self._worker_group = worker_group
        self._worker = worker
        self._looked = time.monotonic()
        self._pause = LOOK_SECONDS
        self._losses = 0
        self._first_reach = min(_MOST_REACH, max(1, workers // _WORKERS_A_BIN))
        self._found = False  # there were bins at the last look
        self._crowded = False  # ... and none at the look before
        self._waiting: list[str] = []
        self._unable_since: float | None = None
        self.unable: OSError | None = None  # why nothing could be claimed for so long that it is given up

    @property
    def due(self) -> float:
        """When to look next (monotonic time)."""
        return self._looked + self._pause

    def hurry(self) -> None:
        """Look at once: a slot has become free."""
        self._pause = 0.0

    def look(self, worked: float) -> None:
        """List the queue.  worked: when this worker last had anything to do."""
        before = time.monotonic()
        found = self._run.queued(self._worker_group)
        self._looked = time.monotonic()
        self._crowded = not self._found
        self._waiting = [name for name in found if name[0] != names.SIGN]
        self._found = bool(self._waiting)
        self.closed = not self._waiting and names.CLOSED in found
        resting = (self._looked - worked) / 50
        self._pause = min(LONGEST_LOOK_SECONDS, max(LOOK_SECONDS, 10 * (self._looked - before), resting))

    def claim(self) -> tuple[str, Bin] | None:
        """Claim one of the bins that the last look showed; None when none could be had.

        Raises DamagedBin for one that was claimed and cannot be read.
        """
        while self._waiting:
            reach = min(len(self._waiting), 2 * self._losses + (self._first_reach if self._crowded else 1))
            name = self._waiting.pop(hash((self._worker, self._losses, self._waiting[0])) % reach)
            try:
                content = self._run.claim(self._worker_group, name, self._worker)
            except clusterfutures.StoreError as error:
                raise DamagedBin(name, error) from error
            except OSError as error:
                self._bear(error)
                return None
            self._unable_since = self.unable = None
            if content is not None:
                self._losses //= 2
                return name, content
            self._losses = min(2 * self._losses + 1, _MOST_LOSSES)
        return None

    def _bear(self, error: OSError) -> None:
        """Nothing can be claimed, for that is to write: look again in a while.  Raises what does not pass."""
        if not may_pass(error):
            raise error
        now = time.monotonic()
        if self._unable_since is None:
            self._unable_since = now
        self._pause = LONGEST_LOOK_SECONDS
        self.unable = error if now > self._unable_since + FULL_SECONDS else None

    def asked_to_share(self) -> bool:
        """True while the client knows of workers that have nothing to do."""
        return names.HUNGRY in self._run.queued(self._worker_group)
