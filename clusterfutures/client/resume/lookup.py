"""Calls that an earlier program made: found by what they are, given out once each.

    submit(f, x) --identity--> a call with a value? one that is being worked on? --> its future
                               one that failed, or that has not begun?          --> its place only

Used by any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from clusterfutures.client.resume.history import Earlier
from clusterfutures.client.resume.tokenize import Identities
from clusterfutures.futures import ClusterFuture
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Orders", "Recalled", "ResultCache"]


class Orders:
    """Numbers the calls of a run in the order in which they are made."""

    def __init__(self, first: int = 0) -> None:
        self._next = first
        self._lock = threading.Lock()

    def take(self, count: int = 1) -> int:
        """Return the first of ``count`` unused numbers."""
        with self._lock:
            first = self._next
            self._next += count
        return first


class Recalled:
    """What is known of a call that is made: its identity, its place, and the future of its
    earlier making, where that has a result or will have."""

    __slots__ = ("future", "identity", "order")

    def __init__(self, identity: bytes, order: int, future: ClusterFuture[Any] | None) -> None:
        self.identity = identity
        self.order = order
        self.future = future


class ResultCache:
    """Return the calls of earlier programs that were not requested yet."""

    def __init__(self, run: RunDirectory, orders: Orders, calls: Iterable[Earlier]) -> None:
        self._run = run
        self._orders = orders
        self._lock = threading.Lock()
        self._identities = Identities()
        self._known: dict[bytes, list[Earlier]] = {}
        for call in calls:
            if call.identity:
                self._known.setdefault(call.identity, []).append(call)
        for row in self._known.values():
            row.sort(key=lambda call: (call.has_value, call.future is not None, -call.order))

    def call(self, function: Callable[..., Any], key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recalled:
        """What is known of a call; key: under which its function is stored."""
        return self._found(self._identities.of(function, key, args, kwargs))

    def identity(self, function: Callable[..., Any], key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """The identity of a call that waits for the results of others."""
        return self._identities.of(function, key, args, kwargs)

    def call_with(self, identity: bytes, order: int, results: Iterable[Any]) -> Recalled:
        """What is known of such a call, now that they are there; order: of a new one."""
        return self._found(self._identities.with_results(identity, results), order)

    def _found(self, identity: bytes, order: int | None = None) -> Recalled:
        with self._lock:
            row = self._known.get(identity)
            earlier = row.pop() if row else None
        if earlier is None:
            return Recalled(identity, self._orders.take() if order is None else order, None)
        return Recalled(identity, earlier.order, self._future(earlier))

    def _future(self, earlier: Earlier) -> ClusterFuture[Any] | None:
        """The future of an earlier call that returned, or is being worked on."""
        if earlier.has_value:
            return earlier.recall(self._run)
        future = earlier.future
        if future is None or (future.done() and (future.cancelled() or future.exception() is not None)):
            return None  # it failed: it is made again
        return future
