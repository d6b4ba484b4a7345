"""What threads tell the pump, besides new work and the clerk's answers: see ``inbox.py``."""

from __future__ import annotations

from typing import Any, NamedTuple

from clusterfutures.client.state import Work
from clusterfutures.client.work import Call, QueueFile
from clusterfutures.futures import ClusterFuture

__all__ = ["Cancelled", "Held", "Kill", "Leave", "Ready", "Stop"]


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
