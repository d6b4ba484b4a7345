"""How long the calls of each function take, as far as that has been measured.

    results --learn--> Pace --seconds--> the sizes of the next bins

The pump learns; threads that submit read.  A dictionary's single steps need no lock.
"""

from __future__ import annotations

__all__ = ["Pace"]

#: the share of a new measurement in what is believed
_NEWS = 0.3


class Pace:
    """Seconds per call, by the function's key."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def seconds(self, function: str) -> float | None:
        """What a call of it takes, roughly; None while that is unknown."""
        return self._seconds.get(function)

    def learn(self, function: str, seconds: float) -> None:
        """Calls of it took so long each."""
        known = self._seconds.get(function)
        self._seconds[function] = seconds if known is None else (1 - _NEWS) * known + _NEWS * seconds
