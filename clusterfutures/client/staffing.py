"""How many workers a pool should have, and whether they should share.  Pure.

    missing = what waits - processes that are free, or are on their way; at most max_workers

Requests are gathered for a moment, so that calls submitted in a loop share one ``sbatch``;
the moment grows with every request, up to a second, so that a slow stream of calls does
not become a stream of commands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from clusterfutures.client.state import BinState, Limits, Out, Pool, Worker, WorkerState

__all__ = ["Staffing"]

LONGEST_GATHER_SECONDS = 1.0
#: idle workers have been idle so long before busy ones are asked to share
HUNGRY_SECONDS = 0.01


class Staffing:
    """Decisions about the number of workers; the ledger's pools hold its state."""

    def __init__(self, limits: Limits, out: Out) -> None:
        self._limits = limits
        self._out = out

    def ask_for_workers(self, pool: Pool, now: float) -> float:
        """Request the workers that are missing, send away those not needed; when to come back."""
        live = pool.live()
        processes = self._limits.processes
        free = sum(worker.free(processes) for worker in live) + processes * pool.requested
        backlog = pool.backlog
        most = self._limits.max_workers - len(live) - pool.requested
        missing = min(most, math.ceil((backlog - free) / processes))
        if not backlog:
            self.dismiss_pending(live)
        if missing <= 0 or not backlog:
            pool.request_at = None
            if not live and not pool.requested:
                pool.gather = self._limits.gather
            return now + 60.0
        if pool.request_at is None:
            pool.request_at = now + pool.gather
        if now < pool.request_at:
            return pool.request_at
        pool.requested += missing
        pool.request_at = None
        pool.gather = min(LONGEST_GATHER_SECONDS, max(4 * pool.gather, self._limits.gather))
        self._out.request(pool.name, missing)
        return now + 60.0

    def dismiss_pending(self, live: Iterable[Worker]) -> None:
        """Jobs that have not started are not wanted any more: everything is taken."""
        pending = [worker for worker in live if worker.state is WorkerState.PENDING and not worker.revoked]
        if pending:
            self._out.revoke(pending)

    def share(self, pool: Pool, bins: Iterable[BinState], now: float) -> float:
        """Ask busy workers for calls that wait in their bins, while others are idle."""
        hungry = self._idle(pool) > pool.backlog and self._someone_rich(pool, bins)
        if not hungry:
            pool.hungry_since = None
        elif pool.hungry_since is None:
            pool.hungry_since = now
        due = hungry and now >= (pool.hungry_since or 0.0) + HUNGRY_SECONDS
        if due != pool.hungry:
            pool.hungry = due
            self._out.set_hungry(pool.name, due)
        return now + HUNGRY_SECONDS if hungry and not due else now + 60.0

    def _idle(self, pool: Pool) -> int:
        """Processes that have nothing to do."""
        running = [worker for worker in pool.workers.values() if worker.state is WorkerState.RUNNING]
        return sum(worker.free(self._limits.processes) for worker in running)

    def _someone_rich(self, pool: Pool, bins: Iterable[BinState]) -> bool:
        return any(
            piece.worker is not None and piece.left > 1
            for state in bins
            if state.pool == pool.name
            for piece in state.pieces
        )
