"""The ledger's second hand: calls that have failed, for good or to be run again.

    lost, DIED, ERROR --> which of these calls may run again? --no--> their error
                                  |yes: as ``retries.py`` says
                                  v
             pending again (calls), or a bin of its own (part of a chunk), in the pool
             with the resources that the next attempt needs

A call that runs again leaves its bin: what its old job may still say of it is about a bin
that nobody knows any more, so no result is delivered twice.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from clusterfutures.client import failures
from clusterfutures.client.state import BinState, Out, Piece, Worker, gaps
from clusterfutures.retries import OF_JOBS, RESUMED, Attempt, Failure
from clusterfutures.store.bins import CALLS
from clusterfutures.store.records import Record

if TYPE_CHECKING:
    from clusterfutures.client.ledger import Ledger

__all__ = ["Reruns"]

logger = logging.getLogger("clusterfutures")


class Reruns:
    """What a ledger does with calls that failed.  ``allowed``: False from when the rest is cancelled."""

    def __init__(self, ledger: Ledger, out: Out) -> None:
        self.allowed = True
        self._ledger = ledger
        self._out = out

    def fail_range(
        self, state: BinState, first: int, stop: int, error: Callable[[str], BaseException], failure: Failure | None
    ) -> bool:
        """Calls have no outcome and will have none from this attempt; True when any runs again."""
        ledger, again = self._ledger, False
        for start, end in gaps(state.settled, first, stop):
            state.settled[start:end] = b"\x01" * (end - start)
            for low, high, pool in self._divided(state, start, end, failure):
                if pool is not None:
                    self._run_again(state, low, high, pool)
                    again = True
                    continue
                ledger.unsettled -= high - low
                if state.kind == CALLS:
                    for index in range(low, high):
                        state.work[index].fail(index, 1, error(state.work[index].name))
                else:
                    state.work[0].fail(low, high - low, error(state.work[0].name))
        ledger.drop_if_done(state)
        return again

    def settle(self, state: BinState, worker: Worker, record: Record) -> None:
        """Calls have an outcome; those that failed and run again do not hear of it."""
        failure = failures.of_record(record, worker.place)
        for low, high, pool in self._divided(state, record.first, record.first + record.calls, failure):
            if pool is None:
                self._ledger.settle(state, worker, record._replace(first=low, calls=high - low))
            else:
                self._run_again(state, low, high, pool)

    def _divided(
        self, state: BinState, first: int, stop: int, failure: Failure | None
    ) -> Iterator[tuple[int, int, str | None]]:
        """Rows of calls, each with the pool in which they run again; None: they do not."""
        work = state.item(first)
        if failure is None or not self.allowed or (work.retries is None and not work.resumed):
            yield first, stop, None
            return
        chosen = ((index, self._pool_for(state, index, failure)) for index in range(first, stop))
        for pool, row in itertools.groupby(chosen, key=lambda pair: pair[1]):
            indices = [index for index, _ in row]
            yield indices[0], indices[-1] + 1, pool

    def _pool_for(self, state: BinState, index: int, failure: Failure) -> str | None:
        """Where a failed call runs again; its history says from then on that it does."""
        work = state.item(index)
        retries, history = work.retries, work.history(index)
        wanted = not (work.withdrawn or work.doomed)
        if work.resumed and wanted and failure.cause in OF_JOBS and all(a.paid_by != RESUMED for a in history):
            history.append(Attempt(RESUMED, failure.how))
            return state.pool
        paid_by = retries.charge(history, failure.cause) if retries is not None and wanted else None
        if retries is None or paid_by is None:
            return None
        attempt = Attempt(paid_by, failure.how)
        pool = self._out.pool_for(retries.resources([*history, attempt]))
        if pool is not None:
            history.append(attempt)
            logger.info("clusterfutures: %s is run again: its attempt %d: %s", work.name, len(history), failure.how)
        return pool

    def _run_again(self, state: BinState, first: int, stop: int, pool_name: str) -> None:
        ledger = self._ledger
        pool = ledger.pool(pool_name)
        if state.kind == CALLS:
            calls = [state.work[index] for index in range(first, stop)]
            wanted = [call for call in calls if self._out.unplace(call)]
            ledger.unsettled -= len(calls) - len(wanted)
            for call in wanted:
                call.wait_again(pool_name)
            pool.put_back(wanted)
            return
        part = ledger.split_off(state, first, stop, pool_name)
        piece = Piece(first, stop, 1)
        part.pieces.append(piece)
        ledger.publishing.publish(pool, part, piece)
