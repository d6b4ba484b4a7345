"""What the store does to directories, counted."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from clusterfutures.store import filesystem

__all__ = ["CountingOs", "counted"]


class CountingOs:
    """``os`` for the store: counts directory operations, after each of which it calls ``then``.

    Operations on directories are listings and what changes one: making, renaming and
    removing files.  Opening a file to read it is counted apart ("read").
    """

    CHANGES = ("listdir", "rename", "unlink", "mkdir")

    def __init__(self, then: Callable[[], None] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._then = then
        self._lock = threading.Lock()
        for name in self.CHANGES:
            setattr(self, name, self._counting(name))

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        self._count("create" if flags & os.O_CREAT else "read")
        try:
            return os.open(path, flags, mode)
        finally:
            self._pause()

    def _counting(self, name: str) -> Any:
        function = getattr(os, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            self._count(name)
            try:
                return function(*args, **kwargs)
            finally:
                self._pause()

        return counting

    def _count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    def _pause(self) -> None:
        if self._then is not None:
            self._then()

    @property
    def total(self) -> int:
        """All operations on directories so far."""
        with self._lock:
            return sum(count for name, count in self.counts.items() if name != "read")


@contextmanager
def counted(then: Callable[[], None] | None = None) -> Iterator[CountingOs]:
    """Count the directory operations of this process's store inside the block."""
    counting = CountingOs(then)
    filesystem.os = counting  # type: ignore[assignment]
    try:
        yield counting
    finally:
        filesystem.os = os
