"""Whether a worker has the time to take more.  Pure: no clock.

    left = seconds until the job's time limit

    |<------------------------ left ------------------------>|
    | the longest of the last calls, with some air | finishing |   fits: take more
                                        else: give back what has not begun, and end

A worker that has measured nothing yet takes what comes, or a call longer than half of the
limit would go from job to job and never be tried; unless it has been waiting for so long
that a fresh job has much more time to offer.
"""

from __future__ import annotations

from collections import deque

__all__ = ["FINISHING_SECONDS", "Pace"]

#: for the last results, and because the scheduler's clock is not quite the node's
FINISHING_SECONDS = 2.0
#: how much longer than those before the next call may take
_AIR = 1.25
#: how many of the last measurements count: one long call in the beginning is forgotten
_REMEMBERED = 16


class Pace:
    """The durations that one worker has measured."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_REMEMBERED)
        self._whole: float | None = None

    def measured(self, seconds: float) -> None:
        """One more call took so long."""
        self._recent.append(seconds)

    def fits(self, left: float) -> bool:
        """True when more calls may be begun with ``left`` seconds to go (``inf``: no limit)."""
        if self._whole is None:
            self._whole = left
        if not self._recent:
            return left >= self._whole / 2
        return left > _AIR * max(self._recent) + FINISHING_SECONDS
