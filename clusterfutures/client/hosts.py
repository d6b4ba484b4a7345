"""Hosts on which workers die one after the other: later jobs are not to go there.

    died(node) --2 within a minute--> avoided: sbatch --exclude; elsewhere a worker that starts there leaves

A host that ends every worker at once takes jobs faster than any other, so it would end them all.
"""

from __future__ import annotations

import logging
import threading

__all__ = ["Hosts"]

logger = logging.getLogger("clusterfutures")

#: so many workers of one host that die within so many seconds tell of the host
_DEATHS = 2
_WITHIN_SECONDS = 60.0
#: where workers leave by themselves: after so many there is nowhere else to go
_MOST_LEAVES = 5


class Hosts:
    """The hosts of a run's workers, as these name them.  Methods may be called from any thread.

    can_exclude: the scheduler can leave hosts out; where it cannot, one is avoided only once there is another.
    """

    def __init__(self, can_exclude: bool = False) -> None:
        self._can_exclude = can_exclude
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._deaths: dict[str, list[float]] = {}
        self._avoided: dict[str, int] = {}  # -> workers that have left it

    @property
    def avoided(self) -> tuple[str, ...]:
        """The hosts that later jobs are not to run on."""
        with self._lock:
            return tuple(sorted(self._avoided))

    def started(self, host: str) -> None:
        """A worker has started there.  On a host that is avoided it has left again."""
        with self._lock:
            self._seen.add(host)
            if host not in self._avoided:
                return
            self._avoided[host] += 1
            if self._avoided[host] < _MOST_LEAVES:
                return
            del self._avoided[host]
            self._deaths.pop(host, None)
        logger.warning("clusterfutures: the scheduler has no other host for the jobs: %s is used again", host)

    def died(self, host: str, now: float) -> None:
        """A worker there is over without its last word, and nobody had ended it."""
        with self._lock:
            recent = [at for at in self._deaths.get(host, ()) if now - at < _WITHIN_SECONDS] + [now]
            self._deaths[host] = recent
            is_alone = not self._can_exclude and not self._seen - {host, *self._avoided}
            if not host or host in self._avoided or len(recent) < _DEATHS or is_alone:
                return
            self._avoided[host] = 0
        logger.warning(
            "clusterfutures: %d workers died on host %s within a minute: later jobs do not use it. Have it looked at",
            len(recent), host,
        )  # fmt: skip
