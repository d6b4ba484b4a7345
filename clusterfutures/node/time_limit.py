"""The time that the job has left: whether another call fits, and telling a running one.

    the scheduler --SLURM_JOB_END_TIME, or start + limit--> script: CLUSTERFUTURES_JOB_END --> remaining_time()

The script of the job reads the clock of the node, so the clock of the client does not matter.

    |<--------- seconds until the job's time limit --------->|
    | the longest of the last calls, with some air | finishing |   fits: take more
                                        else: give back what has not begun, and end

A worker that has measured nothing yet takes what comes, or a call longer than half of the
limit would go from job to job and never be tried; unless it has been waiting for so long
that a fresh job has much more time to offer.

    Supervisor --Notices.give--> Slot.notify --NOTICE, a signal--> Notice, in the process:
                                                    the callback runs in the call, or
                                                    TimeLimitNear is raised in it

Only a running call gets the notice, once per process.  A notice that comes while no call is running (its
arguments are just being unpickled) waits for the call; one that comes too late is nothing.
The worker begins no other call at that time: ``reserve`` is what it must keep back.
"""

from __future__ import annotations

import functools
import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, Protocol

import clusterfutures
from clusterfutures.node.lazy_imports import late_imports

__all__ = ["FINISHING_SECONDS", "JOB_END", "NOTICE", "Notice", "Notices", "TimeBudget", "remaining_time"]

#: when the job ends, in seconds since the epoch; empty without a limit
JOB_END = "CLUSTERFUTURES_JOB_END"


def remaining_time() -> float:
    """Seconds until the time limit of the job in which this call runs; never negative.

    ``math.inf`` without a known limit, and outside of a job: so ``remaining_time() < 60``
    is always a fair question.  A few seconds may be missing: the scheduler's clock is not
    quite the node's, and what counts a job's time differs between schedulers.
    """
    try:
        end = float(os.environ.get(JOB_END, ""))
    except ValueError:
        return math.inf
    return max(0.0, end - time.time()) if math.isfinite(end) else math.inf


#: for the last results, and because the scheduler's clock is not quite the node's
FINISHING_SECONDS = 2.0
#: how much longer than those before the next call may take
_AIR = 1.25
#: how many of the last measurements count: one long call in the beginning is forgotten
_REMEMBERED = 16


class TimeBudget:
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


#: one that programs hardly use for themselves
NOTICE = signal.SIGRTMAX - 2


class Notified(Protocol):
    """A slot."""

    def notify(self) -> None: ...


class Notices:
    """The supervisor's side: when to tell, and whom."""

    def __init__(self, context: dict[str, Any]) -> None:
        #: seconds before the end of the job; 0 when no notice is wanted
        self.reserve: float = context["timeout_notice"] if context["on_timeout"] is not None else 0.0

    def give(self, slots: Iterable[Notified]) -> None:
        """Tell the calls that are running, if it is time."""
        if self.reserve and remaining_time() < self.reserve:
            for slot in slots:
                slot.notify()


class Notice:
    """The process's side: the signal's handler, and the calls it may reach."""

    def __init__(self, callback: Callable[[], object] | None) -> None:
        """callback: what to run in the call; None: TimeLimitNear is raised in it."""
        self._callback = callback or _raise
        self._inside = False
        self._due = False
        signal.signal(NOTICE, self._arrived)

    def _arrived(self, _number: int, _frame: object) -> None:
        if self._inside:
            self._callback()
        else:
            self._due = True

    def reaching(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the function of a call so that the call gets the notice while it runs, and only then."""

        @functools.wraps(function, assigned=(), updated=())
        def called(*args: Any, **kwargs: Any) -> Any:
            self._inside = True
            try:
                if self._due:
                    self._due = False
                    self._callback()
                return function(*args, **kwargs)
            finally:
                self._inside = False

        return called


def _raise() -> NoReturn:
    with late_imports():
        near = clusterfutures.TimeLimitNear(seconds=remaining_time())
    raise near
