"""dask-jobqueue: workers of dask.distributed as jobs, a scheduler in the client's process.

https://jobqueue.dask.org: jobs as large as a node, with a process for each core.
https://docs.dask.org/en/stable/best-practices.html, "Avoid Very Large Graphs": many short
calls go into few tasks, which is what ``dask.bag`` does; "Load Data with Dask": large
arguments by ``scatter``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import dask.bag
from dask.distributed import Client
from dask_jobqueue import SLURMCluster

from peers.base import Peer

__all__ = ["DaskPeer"]

CORES_OF_A_NODE = 2
#: from so many calls on, a bag; below, a task for each
MANY = 500


class DaskPeer(Peer):
    """A process for each slot, of one thread each."""

    def open(self) -> None:
        self._cluster = SLURMCluster(
            cores=CORES_OF_A_NODE,
            processes=CORES_OF_A_NODE,
            memory="1GB",
            walltime="00:20:00",
            interface="lo",
            log_directory=str(self.directory),
            local_directory=str(self.directory),
            job_directives_skip=["--mem"],
            scheduler_options={"dashboard": False},
        )
        self._cluster.scale(jobs=self.slots // CORES_OF_A_NODE)
        self._client = Client(self._cluster)

    def close(self) -> None:
        self._client.close()
        self._cluster.close()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._client.submit(function, *args, pure=False)

    def submit_many(self, function: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
        return [self._client.submit(function, argument, pure=False) for argument in arguments]

    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], chunksize: int | None = None
    ) -> Iterable[Any]:
        if len(arguments) >= MANY:
            bag = dask.bag.from_sequence(arguments, npartitions=4 * self.slots).map(function)
            return iter(self._client.compute(bag).result())
        return (future.result() for future in self._client.map(function, arguments, pure=False))

    def shared(self, function: Callable[..., Any], array: Any, arguments: Sequence[Any]) -> Iterable[Any]:
        there = self._client.scatter(array, broadcast=True)
        futures = [self._client.submit(function, there, argument, pure=False) for argument in arguments]
        return self._client.gather(futures)
