"""Calls that another worker should run, or nobody: given back, or ended, at the client's request.

    client: somebody is idle --~hungry in the queue--> Rebalance --RETURNED--> client --> queue

Only when the client requests it: it alone knows who is idle, and it must be there to put the
calls in the queue again.  A listing shows whether it does, so that is looked for at two
moments only:

- after a group, when much is left of a bin: half of that goes;
- when a call takes long: all that waits behind it goes.  Short calls are handed over in small
  groups, so nearly all that waits is still in the supervisor's hands.

Calls that the client wants no longer:

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
import time
from collections.abc import Sequence

from clusterfutures.node.claims import Claim, ClaimTable
from clusterfutures.node.queue import LONGEST_LOOK_SECONDS, QueueClient
from clusterfutures.node.reporter import Reporter
from clusterfutures.node.slot import Slot, SlotState
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["SILENT_SECONDS", "KillRequests", "Rebalance"]

#: between two looks after groups
LOOK_SECONDS = 0.05
#: less work than this, in seconds, is not worth a journey
LEAST_SECONDS = 0.02
#: a call that takes so long holds up what waits behind it
SILENT_SECONDS = 0.03
#: the next look while a call runs comes after this share of the time that it has taken
PATIENCE = 0.1


class Rebalance:
    """What one worker gives back.  ``Slot.heard_at`` and ``share_at`` say when a slot was last
    heard of, and when to look for its sake."""

    def __init__(
        self, queue_client: QueueClient, slots: Sequence[Slot], claims: ClaimTable, reporter: Reporter
    ) -> None:
        self._queue_client = queue_client
        self._slots = slots
        self._claims = claims
        self._reporter = reporter
        self._look_at = 0.0

    def after_group(self, claim: Claim, now: float) -> None:
        """A process has finished its calls, and a part of its bin is left."""
        left = claim.stop - claim.handed
        if left < 2 or left * (claim.seconds_per_call or 0.0) < LEAST_SECONDS or now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        if self._queue_client.asked_to_share():
            self._claims.give_back(claim, claim.handed + left // 2)
            self._reporter.flush()

    def behind_long_calls(self, now: float) -> None:
        """Calls have been running for long, and others wait behind them."""
        slots = [slot for slot in self._slots if self._holds_up(slot) and now >= slot.share_at]
        if not slots:
            return
        asked = self._queue_client.asked_to_share()
        cost = time.monotonic() - now
        for slot in slots:
            claim = self._claims.claims[slot.number]
            slot.share_at = now + min(LONGEST_LOOK_SECONDS, max(10 * cost, PATIENCE * (now - slot.heard_at)))
            if asked:
                self._claims.give_back(claim, claim.handed)
        if asked:
            self._reporter.flush()

    def due(self) -> float:
        """When to come back at the latest (monotonic time)."""
        return min((slot.share_at for slot in self._slots if self._holds_up(slot)), default=math.inf)

    def _holds_up(self, slot: Slot) -> bool:
        claim = self._claims.claims.get(slot.number)
        return claim is not None and slot.state is SlotState.BUSY and claim.handed < claim.stop


LOOK_SECONDS = 1.0
#: how often to see whether it is the turn of a call that is to be ended
WATCH_SECONDS = 0.02


class KillRequests:
    """The supervisor's hand on calls that are to be ended."""

    def __init__(self, run: RunDirectory, worker: str, slots: Sequence[Slot], claims: ClaimTable) -> None:
        self._run = run
        self._worker = worker
        self._slots = slots
        self._claims = claims
        self._look_at = 0.0

    def due(self, now: float) -> float:
        """When to come back at the latest (monotonic time)."""
        if not self._claims.claims:
            return math.inf
        watching = any(claim.doomed for claim in self._claims.claims.values())
        return min(self._look_at, now + WATCH_SECONDS) if watching else self._look_at

    def carry_out(self, now: float) -> None:
        """End the calls that are to be ended and are running now."""
        claims = self._claims.claims
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
        for claim in self._claims.claims.values() if asked else ():
            left = range(claim.done, claim.stop)
            claim.doomed |= {call for bin_id, call in asked if bin_id == claim.bin_id and call in left}
