"""submitit: each call is a job.

https://github.com/facebookincubator/submitit, docs/examples.md, "Job arrays": many calls go
into one array, by ``map_array`` or ``with executor.batch()``.  Without ``srun`` a job starts
sooner (``slurm_use_srun``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from submitit import AutoExecutor

from peers.base import Peer

__all__ = ["SubmititPeer"]


class SubmititPeer(Peer):
    """``AutoExecutor`` on Slurm."""

    def open(self) -> None:
        self._executor = AutoExecutor(folder=self.fresh_directory(), cluster="slurm")
        self._executor.update_parameters(timeout_min=10, slurm_array_parallelism=256, slurm_use_srun=False)

    def close(self) -> None:
        """There is nothing to end: a job ends with its call."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._executor.submit(function, *args)

    def submit_many(self, function: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
        with self._executor.batch():
            return [self._executor.submit(function, argument) for argument in arguments]

    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], chunksize: int | None = None
    ) -> Iterable[Any]:
        return (job.result() for job in self._executor.map_array(function, arguments))
