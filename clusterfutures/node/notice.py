"""Telling a running call that its job's time limit is near.

    Supervisor --Notices.give--> Slot.notify --NOTICE, a signal--> Notice, in the process:
                                                    the callback runs in the call, or
                                                    TimeLimitNear is raised in it

Only a running call gets the notice, once per process.  A notice that comes while no call is running (its
arguments are just being unpickled) waits for the call; one that comes too late is nothing.
The worker begins no other call at that time: ``reserve`` is what it must keep back.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import clusterfutures
from clusterfutures.node.late import late_imports
from clusterfutures.node.limit import remaining_time

if TYPE_CHECKING:
    from clusterfutures.node.slot import Slot

__all__ = ["NOTICE", "Notice", "Notices"]

#: one that programs hardly use for themselves
NOTICE = signal.SIGRTMAX - 2


class Notices:
    """The supervisor's side: when to tell, and whom."""

    def __init__(self, context: dict[str, Any]) -> None:
        #: seconds before the end of the job; 0 when no notice is wanted
        self.reserve: float = context["timeout_notice"] if context["on_timeout"] is not None else 0.0

    def give(self, slots: Iterable[Slot]) -> None:
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
