"""The ledger's first hand: calls that wait become bins in the queue.  Pure.

Pool.pending --how many belong together?--> BinState, Piece --Out.publish--> queue/<pool>/
     ^                                                            |
     +-------- cancelled while their bin was being made <---------+
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from clusterfutures import binning
from clusterfutures.client import state as kept
from clusterfutures.client.state import BinState, Limits, Out, Piece, Pool, Work, gaps
from clusterfutures.client.work import QueueFile
from clusterfutures.errors import StoreError
from clusterfutures.store.bins import CALLS

if TYPE_CHECKING:
    from clusterfutures.client.ledger import Ledger

__all__ = ["QUIET_SECONDS", "Publishing"]

#: after so long without another submit, calls of unknown length are published
QUIET_SECONDS = 0.2
#: how much is written when calls of a chunk that came back are divided among several workers
_MOST_BYTES_AGAIN = 4 << 20


class Publishing:
    """What a ledger does with calls that no worker has."""

    def __init__(self, ledger: Ledger, limits: Limits, out: Out) -> None:
        self._ledger = ledger
        self._limits = limits
        self._out = out

    def advance(self, pool: Pool, now: float) -> float:
        """Publish what is due of a pool; returns when to come back at the latest."""
        quiet_at = pool.last_submit + QUIET_SECONDS
        while pool.pending:
            head = pool.pending[0]
            if head.withdrawn:
                self._ledger.unsettled -= pool.next_pending().left
                continue
            estimate = self._limits.pace.seconds(head.function)
            if head.kind == CALLS:
                if len(pool.waiting) >= self._limits.room(estimate, now >= quiet_at):
                    break
                measured = self._limits.pace.measured(head.function)
                slow = self._limits.pace.slow(head.function)  # nothing shall wait behind such a one
                size = binning.stream_size(len(pool.pending), slow, self._limits.slots, measured)
                if estimate is None and now >= quiet_at:
                    size = max(size, math.ceil(len(pool.pending) / kept.MOST_WAITING))
                if self._limits.bins_per_job == 1:
                    size = 1  # one job for each call is what was asked for
                work = self._next_calls(pool, size)
                note = len(work) if estimate is not None and len(work) > 1 else 1
            else:
                if len(pool.waiting) >= kept.MOST_WAITING and not self._limits.leaving:
                    break
                work, note = [pool.next_pending()], binning.noted(head.count, estimate)
            if work:
                self._publish_new(pool, work, note, estimate)
        else:
            return now + 60.0
        return quiet_at if now < quiet_at else now + 60.0

    def _next_calls(self, pool: Pool, size: int) -> list[Work]:
        """Up to ``size`` calls from the front that have not been withdrawn."""
        work: list[Work] = []
        while pool.pending and len(work) < size and pool.pending[0].kind == CALLS:
            call = pool.next_pending()
            if call.withdrawn:
                self._ledger.unsettled -= call.left
            else:
                work.append(call)
        return work

    def _publish_new(self, pool: Pool, work: list[Work], note: int, estimate: float | None) -> None:
        state = BinState(self._ledger.new_bin_id(), pool.name, work)
        for first, stop in gaps(state.settled, 0, len(state.settled)):
            self._publish_piece(pool, state, Piece(first, stop, min(note, stop - first), estimate))

    def publish_again(self, pool: Pool, state: BinState, first: int, stop: int) -> None:
        """Calls of a chunk have come back: publish them in as many pieces as their length requires."""
        estimate = self._limits.pace.seconds(state.work[0].function)
        sizes = [stop - first]
        if estimate is not None:
            sizes = binning.map_sizes(stop - first, self._limits.slots, seconds_per_call=estimate)
        most = max(1, _MOST_BYTES_AGAIN // max(1, len(state.work[0].data)))  # each has the whole chunk's arguments
        if len(sizes) > most:
            sizes = binning.map_sizes(stop - first, self._limits.slots, bins=most)
        for size in sizes:
            self._publish_piece(pool, state, Piece(first, first + size, binning.noted(size, estimate), estimate))
            first += size

    def _publish_piece(self, pool: Pool, state: BinState, piece: Piece) -> None:
        state.pieces.append(piece)
        self.publish(pool, state, piece)

    def publish(self, pool: Pool, state: BinState, piece: Piece) -> bool:
        """Put a piece in the queue; False when some of its work was cancelled meanwhile."""
        file = QueueFile(pool.name)
        wanted = self._out.place_work(state.work, file)
        if len(wanted) < len(state.work):
            return self._without_withdrawn(pool, state, piece, wanted)
        piece.file = file
        self._ledger.keep(state)
        try:
            file.name = self._out.publish(state, piece)
        except StoreError as error:
            reason = error
            state.pieces.remove(piece)
            self._ledger.reruns.fail_range(state, piece.first, piece.stop, lambda _call: reason, None)
            return True
        pool.waiting[file.name] = (state, piece)
        return True

    def _without_withdrawn(self, pool: Pool, state: BinState, piece: Piece, wanted: list[Work]) -> bool:
        """Some calls were cancelled while their bin was being made: make it without them."""
        if state.kind == CALLS:
            self._ledger.unsettled -= len(state.work) - len(wanted)
            pool.put_back(wanted)
        else:  # perhaps a part of its chunk only
            state.pieces.remove(piece)
            self._ledger.forget(state, piece.first, piece.stop)
        return False
