"""What a worker's processes have in memory, against what its job has asked for.

Where the scheduler ends a job for its memory and keeps no account of it, the worker's own word is all
there is: it is given while the worker lives, for it may be killed without any warning.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterable

from clusterfutures.node.reporter import Reporter
from clusterfutures.store import records

__all__ = ["MEMORY", "Memory"]

#: what the job has asked for on its node, in MiB; empty without a limit
MEMORY = "CLUSTERFUTURES_MEMORY"
#: from which part of the limit on it is said, and how much more is said again
NEAR, STEP = 0.9, 0.05
LOOK_SECONDS = 0.5
_MIB = 2**20


class Memory:
    """Tells the program when the limit is near.  Without a limit it looks at nothing."""

    def __init__(self, reporter: Reporter) -> None:
        given = os.environ.get(MEMORY, "")
        self._limit = int(given) * _MIB if given.isdigit() else 0
        self._reporter = reporter
        self._told = 0.0  # the part of the limit in the last message
        self.due = 0.0 if self._limit else math.inf

    def look(self, now: float, processes: Iterable[int]) -> None:
        """Add up what these processes, and this one, have in memory now."""
        if now >= self.due:
            self.due = now + LOOK_SECONDS
            self.used(sum(map(_resident, (os.getpid(), *processes))))

    def used(self, amount: int) -> None:
        """So many bytes were in use at once."""
        part = amount / self._limit if self._limit else 0.0
        if part < NEAR or part < self._told + STEP:
            return
        self._told = part
        self._reporter.report(records.MEMORY, {"used": amount, "limit": self._limit})
        self._reporter.flush()


def _resident(pid: int) -> int:
    """The bytes of a process that are in memory; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            return int(file.read(256).split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0
