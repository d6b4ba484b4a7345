"""Ending calls that the client wants no longer.

    claimed/<worker>/~kill.<bin>.<call> --look--> Claim.doomed --its turn--> Slot.end_call
                                                       |
                                                       +-- not handed over yet: it never is

A worker that is busy looks for such signs once a second, in a directory that is its own and
has few entries; one that is idle does not look at all.  From then on it watches, in the memory
it shares with its processes, for the turn of the call.  A call that ends by itself before that
has its result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from clusterfutures.node.books import Books
from clusterfutures.node.slot import Slot, SlotState
from clusterfutures.store.run import RunDirectory

__all__ = ["Kills"]

LOOK_SECONDS = 1.0
#: how often to see whether it is the turn of a call that is to be ended
WATCH_SECONDS = 0.02


class Kills:
    """The supervisor's hand on calls that are to be ended."""

    def __init__(self, run: RunDirectory, worker: str, slots: Sequence[Slot], books: Books) -> None:
        self._run = run
        self._worker = worker
        self._slots = slots
        self._books = books
        self._look_at = 0.0

    def due(self, now: float) -> float:
        """When to come back at the latest (monotonic time)."""
        if not self._books.claims:
            return math.inf
        watching = any(claim.doomed for claim in self._books.claims.values())
        return min(self._look_at, now + WATCH_SECONDS) if watching else self._look_at

    def carry_out(self, now: float) -> None:
        """End the calls that are to be ended and are running now."""
        claims = self._books.claims
        if not claims:
            self._look_at = now + LOOK_SECONDS  # a call that has just begun is not asked about
            return
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look()
        for slot in self._slots:
            claim = claims.get(slot.number)
            if claim is not None and claim.doomed and slot.state is SlotState.BUSY:
                slot.end_call(claim.bin_id, claim.doomed)

    def _look(self) -> None:
        asked = self._run.asked_to_kill(self._worker)
        for claim in self._books.claims.values() if asked else ():
            left = range(claim.done, claim.stop)
            claim.doomed |= {call for bin_id, call in asked if bin_id == claim.bin_id and call in left}
