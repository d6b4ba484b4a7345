"""What the manager has to know, and the queue in which every thread leaves it.

    submit, cancel, kill, shutdown, scheduler thread, timers --append--> EventQueue --take--> manager

The queue's lock is the client's one lock, and excludes:

- two threads that append at the same time;
- ``submit`` against ``shutdown``: the phase is checked and the event appended as one
  step, so an event that was accepted is handled before the manager ends; one that comes
  later is refused with an error;
- ``cancel`` against publishing: where a call is (here, or in which bin) is read and
  changed under it (``dispatcher.py``).

It is never held over I/O, pickling or a future's callbacks.  It is re-entrant: the finalizer of an
executor, or of a ``map``, runs wherever garbage is collected, in here too.
"""

from __future__ import annotations

import enum
import threading
from typing import Any, NamedTuple

from clusterfutures.client.state import Work
from clusterfutures.client.tasks import Call, QueueFile
from clusterfutures.futures import ClusterFuture

__all__ = ["Cancelled", "EventQueue", "Held", "Kill", "Leave", "Phase", "Ready", "Stop"]


class Held(NamedTuple):
    """A call was submitted that waits for the results of others."""

    future: ClusterFuture[Any]


class Ready(NamedTuple):
    """A held call can go (or, without work, never will)."""

    future: ClusterFuture[Any]
    work: Call | None


class Cancelled(NamedTuple):
    """A call was cancelled: its file was taken back, or it was in no file yet."""

    work: Work
    file: QueueFile | None


class Kill(NamedTuple):
    """A call is to be ended, wherever it is."""

    call: Call


class Leave(NamedTuple):
    """The program goes, its jobs stay: publish what waits, and end without waiting for results."""


class Stop(NamedTuple):
    """Cancel what has not begun; ``kill``: end what is running as well, because of it."""

    kill: str


class Phase(enum.Enum):
    """Is anything accepted, and is anything still to be done?"""

    OPEN = "open"
    DRAINING = "draining"  # nothing new; what was accepted is carried out
    CLOSED = "closed"


class EventQueue:
    """A list with a lock, a phase and a sleeping reader."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.phase = Phase.OPEN
        self.cause: BaseException | None = None
        self._items: list[Any] = []
        self._arrived = threading.Condition(self.lock)
        self._asleep = False
        self._advanced = False  # the phase has changed, and the reader has not looked since

    def submit(self, item: Any) -> bool:
        """Append a new piece of work; False when none is accepted any more."""
        with self.lock:
            if self.phase is not Phase.OPEN:
                return False
            self._append(item)
            return True

    def post(self, item: Any) -> None:
        """Append news about work that was accepted before; allowed in every phase."""
        with self.lock:
            self._append(item)

    def _append(self, item: Any) -> None:
        self._items.append(item)
        self._wake()

    def _wake(self) -> None:
        if self._asleep:
            self._asleep = False
            self._arrived.notify()

    def advance(self, phase: Phase, cause: BaseException | None = None) -> None:
        """Go on to ``phase``; a phase is never left backwards."""
        order = list(Phase)
        with self.lock:
            if order.index(phase) > order.index(self.phase):
                self.phase = phase
            self.cause = self.cause or cause
            self._advanced = True
            self._wake()

    def disown(self) -> None:
        """This process is a fork of the one that reads here; another thread may have had the lock then."""
        self.lock = threading.RLock()
        self._arrived = threading.Condition(self.lock)
        self._items = []
        self.phase = Phase.CLOSED
        self.cause = RuntimeError(
            "this executor is of the process that this one was forked from: make one here, after the fork"
        )

    @property
    def empty(self) -> bool:
        """True when nothing waits to be taken."""
        with self.lock:
            return not self._items

    def take(self, timeout: float | None) -> list[Any]:
        """All items, waiting up to ``timeout`` seconds for a first one, or for another phase.

        A phase that has changed since the last time is no reason to wait: the reader may have
        looked at it just before.
        """
        with self.lock:
            self._asleep = True
            if not self._items and not self._advanced and (timeout is None or timeout > 0):
                self._arrived.wait(timeout)
            self._asleep = False
            self._advanced = False
            items, self._items = self._items, []
            return items
