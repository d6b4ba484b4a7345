"""Calls of a bin that has vanished: its file is nowhere, and no worker will report it.

    queue/<pool>/ --claimed--> claimed/<worker>/ --results are out--> removed
          |                          |                                    |
          +---- in none of them, and no result: what can be wrong?  <-----+

The segment that told it was damaged, or somebody removed the file: by hand, or a clean-up of old
files.  Workers would look for it in vain, and new ones be asked for, for ever.  So when a bin that
counts as waiting is not taken though a worker is idle, the directories are listed once in a while.
What is in none of them for as long as anything may be late is lost.
"""

from __future__ import annotations

import functools
import math

from clusterfutures.client.ledger import Ledger
from clusterfutures.client.state import Pool, Worker, WorkerState
from clusterfutures.errors import StoreError
from clusterfutures.store import names
from clusterfutures.store.run import RunDirectory

__all__ = ["Vanished"]

#: between two looks, in seconds
LOOK_SECONDS = 1.0
#: how long a bin is missing before the workers' directories are looked at: most are being claimed
SUSPICIOUS_SECONDS = 5.0
#: how long a bin has to be missing when a segment of its pool was damaged: that tells why
BLAMED_SECONDS = 2.0


class Vanished:
    """The reader's care for them.  wait: seconds that a file may be late."""

    def __init__(self, run: RunDirectory, ledger: Ledger, wait: float) -> None:
        self._run = run
        self._ledger = ledger
        self._wait = wait
        self._due = -math.inf
        self._missing: dict[str, float] = {}  # the file's name -> since when
        self._blamed: dict[str, StoreError] = {}

    def blame(self, pool: str, error: StoreError) -> None:
        """A segment of one of the pool's workers cannot be read: what it told is lost."""
        self._blamed[pool] = error

    def look(self, now: float) -> None:
        """Fail the calls that are lost.  Everything that there was in results/ has been read."""
        if now < self._due:
            return
        self._due = now + LOOK_SECONDS
        missing: dict[str, float] = {}
        for pool in self._ledger.pools.values():
            if not pool.waiting:
                self._blamed.pop(pool.name, None)
            elif pool.name in self._blamed or any(self._is_idle(worker) for worker in pool.live()):
                missing |= self._missing_of(pool, now)
        self._missing = missing

    def _is_idle(self, worker: Worker) -> bool:
        return worker.state is WorkerState.RUNNING and not worker.busy and not worker.retiring

    def _missing_of(self, pool: Pool, now: float) -> dict[str, float]:
        """What waits and is not in the queue, and since when.  The directories of the workers, of which there
        may be thousands, are looked at when that is no news any more."""
        blamed = self._blamed.get(pool.name)
        wait = self._wait if blamed is None else BLAMED_SECONDS
        gone = set(pool.waiting).difference(self._run.queued(pool.name))
        missing = {name: self._missing.get(name, now) for name in gone}
        old = {name for name, since in missing.items() if now - since > min(wait, SUSPICIOUS_SECONDS)}
        for name in self._claimed() & old if old else ():
            missing[name] = now  # a worker has it, and will say so
        for name in [name for name in pool.waiting if name in old and now - missing[name] > wait]:
            text = (
                f"the file {name} has vanished from the queue in {self._run.path}, and nobody has reported its calls: "
            )
            text += "was it removed by hand, or by a clean-up of old files? Submit the call again"
            error = blamed or StoreError(message=text, path=self._run.path)
            self._ledger.lose_file(pool, name, functools.partial(_as_it_is, error))
        return missing

    def _claimed(self) -> set[str]:
        claimed = [claimed for worker in self._run.launched() for claimed in self._run.claimed_bins(worker)]
        claimed += [taken for _worker, taken in self._run.taken_bins()]
        return {names.bin_name(*one[:3]) for one in claimed}


def _as_it_is(error: StoreError, _call: str) -> StoreError:
    return error
