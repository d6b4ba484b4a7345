"""loky and joblib: processes of one machine.

https://loky.readthedocs.io: ``get_reusable_executor``, with ``chunksize`` for maps.
https://joblib.readthedocs.io/en/stable/parallel.html: short calls are put into batches by
itself; large arrays are written once and mapped into memory by all; one ``Parallel`` in a
``with`` block for several maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from peers.base import Peer, Unsupported

__all__ = ["JoblibPeer", "LokyPeer"]


class LokyPeer(Peer):
    """As many processes as the others have slots."""

    def open(self) -> None:
        import loky

        self._executor = loky.get_reusable_executor(self.slots, timeout=None, kill_workers=True)

    def close(self) -> None:
        self._executor.shutdown(kill_workers=True)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._executor.submit(function, *args)

    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], chunksize: int | None = None
    ) -> Iterable[Any]:
        return self._executor.map(function, arguments, chunksize=chunksize or 1 + len(arguments) // (4 * self.slots))


class Done:
    """A result that is there."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def result(self) -> Any:
        return self._value


class JoblibPeer(Peer):
    """``Parallel(n_jobs=slots)``: it maps; single calls it has not."""

    def open(self) -> None:
        import joblib

        self._delayed = joblib.delayed
        self._parallel = joblib.Parallel(n_jobs=self.slots, temp_folder=str(self.directory))
        self._parallel.__enter__()

    def close(self) -> None:
        self._parallel.__exit__(None, None, None)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        (value,) = self._parallel([self._delayed(function)(*args)])
        return Done(value)

    def submit_many(self, function: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
        raise Unsupported("has no submit")

    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], chunksize: int | None = None
    ) -> Iterable[Any]:
        return iter(self._parallel(self._delayed(function)(argument) for argument in arguments))

    def shared(self, function: Callable[..., Any], array: Any, arguments: Sequence[Any]) -> Iterable[Any]:
        return iter(self._parallel(self._delayed(function)(array, argument) for argument in arguments))
