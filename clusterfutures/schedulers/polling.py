"""When to ask for the states of jobs: 1, 2, 4 ... 30 seconds apart, and how often in all.  Pure: time is an argument.

Each executor has its ``Rhythm``, which begins anew with every submission; all programs of a user
on a host have one ``Budget``, so that many short executors ask no more than one that waits.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import NamedTuple

from clusterfutures.errors import OptionError

__all__ = ["Budget", "Rhythm", "smallest_spacing"]


#: questions that may be asked one after the other; after how many seconds there is one more; and
#: how many are kept for when something is wrong.  In an hour: 25 + 3600 / 30 = 145
BURST = 25
REFILL_SECONDS = 30.0
RESERVE = 10
#: a part of a question that is missing by the rounding of times only
_ROUNDING = 0.001


class Budget(NamedTuple):
    """The questions that may still be asked at a moment."""

    left: float = float(BURST)
    at: float = 0.0

    def later(self, now: float) -> Budget:
        """The same at ``now``, grown meanwhile."""
        return Budget(min(float(BURST), self.left + max(0.0, now - self.at) / REFILL_SECONDS), now)

    def spend(self, questions: int) -> Budget:
        """What is left after these; not less than nothing."""
        return self._replace(left=max(0.0, self.left - questions))

    def wait(self, urgent: bool) -> float:
        """Seconds until a question may be asked."""
        missing = (1 if urgent else 1 + RESERVE) - self.left
        return missing * REFILL_SECONDS if missing > _ROUNDING else 0.0


class Rhythm:
    """The pauses between questions.  first, longest: in seconds."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = max(first, longest)
        self._pause = first
        self.due: float | None = None

    @property
    def max_age(self) -> float:
        """How old an answer may be that is used now."""
        return self._pause

    def restart(self, now: float) -> None:
        """Something has changed: short pauses again."""
        self._pause = self._first
        self.due = now + self._first

    def begin(self, now: float) -> None:
        """There is something to ask about."""
        if self.due is None:
            self.due = now + self._pause

    def rest(self) -> None:
        """There is nothing to ask about."""
        self.due = None

    def answered(self, asked_at: float, now: float, complete: bool, again_at: float = 0.0) -> None:
        """There was an answer, of a question asked at ``asked_at``; none at all: ``now``.

        complete: it had all that was wanted; otherwise the next pause is no longer.
        again_at: there will be no other answer before.
        """
        if complete:
            self._pause = min(self._longest, 2 * self._pause)
        self.due = max(asked_at + self._pause, now + 0.05 * self._pause, again_at)


def smallest_spacing(environ: Mapping[str, str] | None = None) -> float:
    """Return the least seconds between two requests, from ``$CLUSTERFUTURES_POLL``, or 0."""
    text = (os.environ if environ is None else environ).get("CLUSTERFUTURES_POLL", "")
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise OptionError(f"CLUSTERFUTURES_POLL={text!r}: expected a number of seconds, as in CLUSTERFUTURES_POLL=60")
    return seconds
