"""clusterfutures 0.5, what this project was before: each call is a job.

https://github.com/sampsyo/clusterfutures: ``SlurmExecutor`` has ``submit`` and the standard
library's ``map``.
"""

from __future__ import annotations

import os

from cfut import SlurmExecutor

from peers.base import ExecutorPeer

__all__ = ["CfutPeer"]


class CfutPeer(ExecutorPeer):
    """It keeps its files in ``.cfut`` of the working directory."""

    def open(self) -> None:
        os.chdir(self.fresh_directory())
        os.mkdir(".cfut")
        self._executor = SlurmExecutor()
