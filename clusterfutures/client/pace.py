"""How long the calls of each function take, when that has been measured.

    results --learn--> Pace --seconds--> the sizes of the next bins

The pump learns; threads that submit read.  A dictionary's single steps need no lock.
"""

from __future__ import annotations

import math

__all__ = ["Pace"]

#: how many of the last calls count: what came before them is forgotten, a little with each
_REMEMBERED = 32
#: what is slower than that holds up others; less is within what a busy node does to any call
_LONG_SECONDS = 0.1
_UNKNOWN = (0.0, 0.0, 0)


class Pace:
    """Seconds per call, their variance, and the number of calls that says so, by the function's key."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, float, int]] = {}

    def seconds(self, function: str) -> float | None:
        """What a call of it takes, roughly; None while that is unknown."""
        known = self._known.get(function)
        return None if known is None else known[0]

    def slow(self, function: str) -> float | None:
        """What one of its slower calls takes, where that is long; otherwise as ``seconds``."""
        mean, variance, _ = self._known.get(function, _UNKNOWN)
        slow = mean + 2 * math.sqrt(variance)
        return slow if slow > _LONG_SECONDS else self.seconds(function)

    def measured(self, function: str) -> int:
        """How many of its calls have been measured."""
        return self._known.get(function, _UNKNOWN)[2]

    def learn(self, function: str, seconds: float, calls: int = 1) -> None:
        """So many calls of it took so long each."""
        known, variance, measured = self._known.get(function, _UNKNOWN)
        measured += calls
        news = calls / min(measured, max(calls, _REMEMBERED))
        off = seconds - known
        self._known[function] = (known + news * off, (1 - news) * (variance + news * off * off), measured)
