"""clusterfutures as it is in this checkout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from clusterfutures import LocalExecutor, SlurmExecutor
from peers.base import Peer

__all__ = ["OurLocalPeer", "OurPeer"]


class OurPeer(Peer):
    """``SlurmExecutor`` with one worker for each slot."""

    executor_class: type[SlurmExecutor] | type[LocalExecutor] = SlurmExecutor

    def open(self) -> None:
        self.executor = self.executor_class(self.slots, directory=self.directory / "runs", idle_timeout=120)

    def close(self) -> None:
        self.executor.shutdown()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.executor.submit(function, *args)

    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], chunksize: int | None = None
    ) -> Iterable[Any]:
        return self.executor.map(function, arguments, chunksize=chunksize)


class OurLocalPeer(OurPeer):
    """``LocalExecutor``: the same without a scheduler."""

    executor_class = LocalExecutor
