"""How many workers a worker group should have, and whether they should share.  Pure.

    missing = what waits - processes that are free, or are on their way; at most max_workers

Requests are gathered for a moment, so that calls submitted in a loop share one ``sbatch``;
the moment grows with every request, up to a second, so that a slow stream of calls does
not become a stream of commands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from clusterfutures.client.state import BinState, Limits, Out, Worker, WorkerGroup, WorkerState

__all__ = ["Scaling"]

LONGEST_GATHER_SECONDS = 1.0
#: idle workers have been idle so long before busy ones are asked to share
HUNGRY_SECONDS = 0.01


class Scaling:
    """Decisions about the number of workers; the dispatcher's worker groups hold its state."""

    def __init__(self, limits: Limits, out: Out) -> None:
        self._limits = limits
        self._out = out

    def ask_for_workers(self, worker_group: WorkerGroup, now: float) -> float:
        """Request the workers that are missing, send away those not needed; when to come back."""
        live = worker_group.live()
        processes = self._limits.processes
        free = sum(worker.free(processes) for worker in live) + processes * worker_group.requested
        backlog = worker_group.backlog
        most = self._limits.max_workers - len(live) - worker_group.requested
        missing = min(most, math.ceil((backlog - free) / processes))
        if not backlog:
            self.dismiss_pending(live)
        if missing <= 0 or not backlog:
            worker_group.request_at = None
            if not live and not worker_group.requested:
                worker_group.gather = self._limits.gather
            return now + 60.0
        if worker_group.request_at is None:
            worker_group.request_at = now + worker_group.gather
        if now < worker_group.request_at:
            return worker_group.request_at
        worker_group.requested += missing
        worker_group.request_at = None
        worker_group.gather = min(LONGEST_GATHER_SECONDS, max(4 * worker_group.gather, self._limits.gather))
        self._out.request(worker_group.name, missing)
        return now + 60.0

    def dismiss_pending(self, live: Iterable[Worker]) -> None:
        """Jobs that have not started are not wanted any more: everything is taken."""
        pending = [worker for worker in live if worker.state is WorkerState.PENDING and not worker.revoked]
        if pending:
            self._out.revoke(pending)

    def share(self, worker_group: WorkerGroup, bins: Iterable[BinState], now: float) -> float:
        """Ask busy workers for calls that wait in their bins, while others are idle."""
        hungry = self._idle(worker_group) > worker_group.backlog and self._someone_rich(worker_group, bins)
        if not hungry:
            worker_group.hungry_since = None
        elif worker_group.hungry_since is None:
            worker_group.hungry_since = now
        due = hungry and now >= (worker_group.hungry_since or 0.0) + HUNGRY_SECONDS
        if due != worker_group.hungry:
            worker_group.hungry = due
            self._out.set_hungry(worker_group.name, due)
        return now + HUNGRY_SECONDS if hungry and not due else now + 60.0

    def _idle(self, worker_group: WorkerGroup) -> int:
        """Processes that have nothing to do."""
        running = [worker for worker in worker_group.workers.values() if worker.state is WorkerState.RUNNING]
        return sum(worker.free(self._limits.processes) for worker in running)

    def _someone_rich(self, worker_group: WorkerGroup, bins: Iterable[BinState]) -> bool:
        return any(
            bin_slice.worker is not None and bin_slice.left > 1
            for state in bins
            if state.worker_group == worker_group.name
            for bin_slice in state.slices
        )
