"""clusterfutures 0.5, what this project was before: each call is a job.

https://github.com/sampsyo/clusterfutures: ``SlurmExecutor`` has ``submit`` and the standard
library's ``map``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cfut import SlurmExecutor

from peers.base import Peer

__all__ = ["CfutPeer"]


class CfutPeer(Peer):
    """It keeps its files in ``.cfut`` of the working directory."""

    def open(self) -> None:
        os.chdir(self.fresh_directory())
        os.mkdir(".cfut")
        self._executor = SlurmExecutor()

    def close(self) -> None:
        self._executor.shutdown()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._executor.submit(function, *args)

    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], chunksize: int | None = None
    ) -> Iterable[Any]:
        return self._executor.map(function, arguments)
