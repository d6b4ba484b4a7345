"""Functions and arguments, from what the client pickled.

A function is read and unpickled once per process and kept; arguments are unpickled for
every call.  Large buffers stand in files of their own and are mapped, privately and
writable: each call gets fresh memory that it may change, and the page cache holds the
bytes once for all processes of a node.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

from clusterfutures.store import references
from clusterfutures.store.bins import CallHead
from clusterfutures.store.frames import Bytes
from clusterfutures.store.run import RunDirectory

__all__ = ["Loader"]


class Loader:
    """Reads what calls are made of.  ``wait`` bounds, in seconds, how late a file may be."""

    def __init__(self, run: RunDirectory, wait: float) -> None:
        self._run = run
        self._wait = wait
        self._functions: dict[str, Callable[..., Any]] = {}
        self._checked: set[str] = set()

    def function(self, key: str) -> Callable[..., Any]:
        """The function stored under ``key``; raises what its unpickling raises."""
        try:
            return self._functions[key]
        except KeyError:
            function: Callable[..., Any] = self._stored(key)
            self._functions[key] = function
            return function

    def arguments(self, head: CallHead, data: Bytes) -> Any:
        """What the client pickled for a call or a chunk; raises what unpickling raises."""
        extras = head.extras
        if extras is None:
            return pickle.loads(data)
        references.results[:] = [
            pickle.loads(result, buffers=self._buffers(keys)) for result, keys in extras.dependencies
        ]
        try:
            if extras.stored:
                return self._stored(extras.stored)
            return pickle.loads(data, buffers=self._buffers(extras.buffers))
        finally:
            references.results.clear()

    def _stored(self, key: str) -> Any:
        data, keys = self._object(key)
        return pickle.loads(data, buffers=self._buffers(pickle.loads(keys)))

    def _buffers(self, keys: Sequence[str]) -> list[memoryview]:
        return [self._object(key)[0] for key in keys]

    def _object(self, key: str) -> list[memoryview]:
        frames = self._run.map_object(key, self._wait, checked=key in self._checked)
        self._checked.add(key)
        return frames
