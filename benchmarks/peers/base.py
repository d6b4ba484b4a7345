"""What a peer is: one way to run calls on this machine's Slurm, or on the machine itself.

    open -> warm or cold calls by submit, map, shared -> close

One file each beside this one.  A peer is used as its own documentation says that it is
fastest; the docstring of its module says where.  It lives in a *driver* process
(``driver.py``) of an environment of its own, so it imports its packages at the top: what
an import costs is measured by itself.
"""

from __future__ import annotations

import functools
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["ExecutorPeer", "Peer", "Unsupported"]


class Unsupported(Exception):
    """The peer has no such thing; the text says what it has not."""


class Peer(ABC):
    """One executor at a time, with ``slots`` places for calls.

    directory: an empty one that all nodes see, for the peer's files.
    """

    def __init__(self, directory: Path, slots: int) -> None:
        self.directory = directory
        self.slots = slots

    def fresh_directory(self) -> Path:
        """A new one below ``directory``, for what one executor writes."""
        return Path(tempfile.mkdtemp(dir=self.directory))

    @abstractmethod
    def open(self) -> None:
        """Make the executor; returns as soon as calls can be given to it."""

    @abstractmethod
    def close(self) -> None:
        """End it, its jobs and its processes."""

    @abstractmethod
    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """One call; returns something with ``result()``."""

    def submit_many(self, function: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
        """One call for each argument, given one by one."""
        return [self.submit(function, argument) for argument in arguments]

    @abstractmethod
    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], chunksize: int | None = None
    ) -> Iterable[Any]:
        """``map`` as the peer does it best; chunksize: calls that travel together, where
        the peer lets one choose."""

    def shared(self, function: Callable[..., Any], array: Any, arguments: Sequence[Any]) -> Iterable[Any]:
        """``function(array, argument)`` for each argument, the best way there is."""
        return self.map(functools.partial(function, array), arguments)


class ExecutorPeer(Peer):
    """A peer whose ``open`` makes a ``concurrent.futures`` executor, with a ``map`` that takes no chunks."""

    _executor: Any

    def close(self) -> None:
        self._executor.shutdown()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._executor.submit(function, *args)

    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], chunksize: int | None = None
    ) -> Iterable[Any]:
        return self._executor.map(function, arguments)
