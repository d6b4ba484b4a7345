"""Which jobs start now: in order, as many as fit, small ones past a large one for a while.

    add() --dependencies came true--> ready --start()--> running --end()--> gone
      |                                                              |
      `-- hopeless: a dependency can no longer come true <-----------'

The first job that is ready and does not fit is passed by later ones that do, but by
``PASSES`` of them at most; then cores that come free are kept for it.  So cores are seldom idle,
and nobody waits for ever.  A job that requests more cores than there are gets all of them.

No file, process or clock is seen here.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from clusterfutures.schedulers.base import Dependency

__all__ = ["PASSES", "Hopeless", "Packing"]

#: how many later jobs may start before one that is ready and does not fit
PASSES = 8


class Hopeless(NamedTuple):
    """A job that can no longer start, and the dependency that did not come true."""

    job_id: int
    needed: Dependency


class Packing:
    """The jobs of one machine that wait or run.  capacity: its cores.

    A job may have a limit: the cores that all jobs with limits may have together, for it to start.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._asked: dict[int, int] = {}
        self._running: dict[int, int] = {}
        self._waiting_for: dict[int, set[int]] = {}
        self._dependants: dict[int, list[tuple[int, Dependency]]] = {}
        self._ready: dict[tuple[int, int | None], list[int]] = {}  # cores asked for, limit -> heap of ids
        self._limits: dict[int, int] = {}  # of those that have one
        self._passes: dict[int, int] = {}

    def add(
        self, job_id: int, cores: int, after: Sequence[Dependency] = (), ended: Mapping[int, bool] | None = None,
        limit: int | None = None,
    ) -> list[Hopeless]:  # fmt: skip
        """A job that waits.  ended: of the jobs in ``after`` those that have ended, and whether well.

        Returns it, with all that depend on it, when it can never start.
        """
        known = ended or {}
        wrong = [one for one in after if int(one.job_id) in known and not _holds(one.kind, known[int(one.job_id)])]
        if wrong:
            return [Hopeless(job_id, wrong[0]), *self.end(job_id, False)]
        self._asked[job_id] = cores
        if limit is not None:
            self._limits[job_id] = limit
        open_ones = [one for one in after if int(one.job_id) not in known]
        for one in open_ones:
            self._dependants.setdefault(int(one.job_id), []).append((job_id, one))
        self._waiting_for[job_id] = {int(one.job_id) for one in open_ones}
        if not open_ones:
            self._make_ready(job_id)
        return []

    def resume(self, job_id: int, cores: int, limit: int | None = None) -> None:
        """A job that runs already, on so many cores."""
        self._running[job_id] = cores
        if limit is not None:
            self._limits[job_id] = limit

    def start(self) -> dict[int, int]:
        """The jobs to be started now, in order, and the cores that each is given."""
        started: dict[int, int] = {}
        while (job_id := self._next()) is not None:
            cores = min(self._asked.pop(job_id), self._limits.get(job_id, self.capacity))
            del self._waiting_for[job_id]
            self._passes.pop(job_id, None)
            self._running[job_id] = started[job_id] = cores
        return started

    def end(self, job_id: int, well: bool) -> list[Hopeless]:
        """A job has ended, or was called off before it began.  Returns those that can never start now."""
        self._forget(job_id)
        hopeless: list[Hopeless] = []
        ended = [(job_id, well)]
        while ended:
            other, how = ended.pop()
            for dependant, dependency in self._dependants.pop(other, ()):
                if dependant not in self._asked:
                    continue
                if not _holds(dependency.kind, how):
                    self._forget(dependant)
                    hopeless.append(Hopeless(dependant, dependency))
                    ended.append((dependant, False))
                    continue
                self._waiting_for[dependant].discard(other)
                if not self._waiting_for[dependant]:
                    self._make_ready(dependant)
        return hopeless

    @property
    def is_empty(self) -> bool:
        """True when nothing waits or runs."""
        return not self._asked and not self._running

    @property
    def waiting(self) -> Iterable[int]:
        """The ids of jobs that have not started."""
        return self._asked.keys()

    def _forget(self, job_id: int) -> None:
        self._asked.pop(job_id, None)
        self._running.pop(job_id, None)
        self._waiting_for.pop(job_id, None)
        self._passes.pop(job_id, None)
        self._limits.pop(job_id, None)

    def _make_ready(self, job_id: int) -> None:
        heapq.heappush(self._ready.setdefault((self._asked[job_id], self._limits.get(job_id)), []), job_id)

    def _next(self) -> int | None:
        heads = self._heads()
        used = sum(self._running.values())
        limited = sum(cores for job_id, cores in self._running.items() if job_id in self._limits)
        for chosen in sorted(heads):
            cores, limit = heads[chosen]
            if not self._fits(cores, limit, used, limited):
                continue
            # one that waits for its own limit keeps only others with a limit waiting
            first = next(
                (one for one in sorted(heads) if limit is not None or not self._is_over_limit(*heads[one], limited)),
                chosen,
            )
            if first >= chosen or self._passes.get(first, 0) < PASSES:
                if first < chosen:
                    self._passes[first] = self._passes.get(first, 0) + 1
                heapq.heappop(self._ready[self._asked[chosen], limit])
                return chosen
        return None

    def _fits(self, cores: int, limit: int | None, used: int, limited: int) -> bool:
        """A limit may also be larger than the machine: then it is what jobs may have that ask for it."""
        room = self.capacity if limit is None else max(self.capacity, limit)
        return cores <= room - used and not self._is_over_limit(cores, limit, limited)

    @staticmethod
    def _is_over_limit(cores: int, limit: int | None, limited: int) -> bool:
        return limit is not None and cores > limit - limited

    def _heads(self) -> dict[int, tuple[int, int | None]]:
        """The first ready job of each size and limit, the cores that it would get, and its limit."""
        found: dict[tuple[int, int | None], int] = {}
        for (cores, limit), heap in self._ready.items():
            while heap and heap[0] not in self._asked:
                heapq.heappop(heap)  # called off
            if heap:
                size = min(cores, self.capacity if limit is None else limit), limit
                found[size] = min(heap[0], found.get(size, heap[0]))  # of sizes that become one, the first
        return {job_id: size for size, job_id in found.items()}


def _holds(kind: str, well: bool) -> bool:
    return {"ok": well, "notok": not well, "any": True}[kind]
