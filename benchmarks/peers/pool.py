"""The standard library's ProcessPoolExecutor: one machine, the yardstick for warm calls.

https://docs.python.org/3/library/concurrent.futures.html: "For very long iterables, using
a large value for chunksize can significantly improve performance".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from peers.base import Peer

__all__ = ["PoolPeer"]


class PoolPeer(Peer):
    """As many processes as the others have slots."""

    def open(self) -> None:
        self._pool = ProcessPoolExecutor(self.slots)

    def close(self) -> None:
        self._pool.shutdown()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._pool.submit(function, *args)

    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], chunksize: int | None = None
    ) -> Iterable[Any]:
        return self._pool.map(function, arguments, chunksize=chunksize or 1 + len(arguments) // (4 * self.slots))
