"""Giving back calls that wait here while other workers have nothing to do.

    client: somebody is idle --~hungry in the queue--> Sharing --RETURNED--> client --> queue

Only when the client requests it: it alone knows who is idle, and it must be there to put the
calls in the queue again.  A listing shows whether it does, so that is looked for at two
moments only:

- after a group, when much is left of a bin: half of that goes;
- when a call takes long: all that waits behind it goes.  Short calls are handed over in small
  groups, so nearly all that waits is still in the supervisor's hands.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from clusterfutures.node.books import Books
from clusterfutures.node.claim import Claim
from clusterfutures.node.lookout import LONGEST_LOOK_SECONDS, Lookout
from clusterfutures.node.outbox import Outbox
from clusterfutures.node.slot import Slot, SlotState

__all__ = ["SILENT_SECONDS", "Sharing"]

#: between two looks after groups
LOOK_SECONDS = 0.05
#: less work than this, in seconds, is not worth a journey
LEAST_SECONDS = 0.02
#: a call that takes so long holds up what waits behind it
SILENT_SECONDS = 0.03
#: the next look while a call runs comes after this share of the time that it has taken
PATIENCE = 0.1


class Sharing:
    """What one worker gives back.  ``Slot.heard_at`` and ``share_at`` say when a slot was last
    heard of, and when to look for its sake."""

    def __init__(self, lookout: Lookout, slots: Sequence[Slot], books: Books, outbox: Outbox) -> None:
        self._lookout = lookout
        self._slots = slots
        self._books = books
        self._outbox = outbox
        self._look_at = 0.0

    def after_group(self, claim: Claim, now: float) -> None:
        """A process has finished its calls, and a part of its bin is left."""
        left = claim.stop - claim.handed
        if left < 2 or left * (claim.seconds_per_call or 0.0) < LEAST_SECONDS or now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        if self._lookout.asked_to_share():
            self._books.give_back(claim, claim.handed + left // 2)
            self._outbox.flush()

    def behind_long_calls(self, now: float) -> None:
        """Calls have been running for long, and others wait behind them."""
        slots = [slot for slot in self._slots if self._holds_up(slot) and now >= slot.share_at]
        if not slots:
            return
        asked = self._lookout.asked_to_share()
        cost = time.monotonic() - now
        for slot in slots:
            claim = self._books.claims[slot.number]
            slot.share_at = now + min(LONGEST_LOOK_SECONDS, max(10 * cost, PATIENCE * (now - slot.heard_at)))
            if asked:
                self._books.give_back(claim, claim.handed)
        if asked:
            self._outbox.flush()

    def due(self) -> float:
        """When to come back at the latest (monotonic time)."""
        return min((slot.share_at for slot in self._slots if self._holds_up(slot)), default=math.inf)

    def _holds_up(self, slot: Slot) -> bool:
        claim = self._books.claims.get(slot.number)
        return claim is not None and slot.state is SlotState.BUSY and claim.handed < claim.stop
