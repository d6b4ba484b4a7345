"""ipyparallel: engines in a job of Slurm, a controller beside the client.

https://ipyparallel.readthedocs.io/en/latest/reference/mpi.html and tutorial/task.html: a
load-balanced view for calls, whose ``map`` takes a ``chunksize``; large data by ``push`` to
all engines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ipyparallel

from peers.base import Peer

__all__ = ["IpyparallelPeer"]


class IpyparallelPeer(Peer):
    """An engine for each slot."""

    def open(self) -> None:
        self._cluster = ipyparallel.Cluster(
            engines="slurm",
            n=self.slots,
            profile_dir=str(self.fresh_directory()),
            log_level=40,
            delay=0,
            send_engines_connection_env=True,
        )
        self._client = self._cluster.start_and_connect_sync()
        self._view = self._client.load_balanced_view()

    def close(self) -> None:
        self._client.close()
        self._cluster.stop_cluster_sync()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._view.apply_async(function, *args)

    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], chunksize: int | None = None
    ) -> Iterable[Any]:
        several = chunksize or 1 + len(arguments) // (4 * self.slots)
        return iter(self._view.map_async(function, list(arguments), chunksize=several, ordered=True))

    def shared(self, function: Callable[..., Any], array: Any, arguments: Sequence[Any]) -> Iterable[Any]:
        self._client[:].push({"shared_array": array}, block=True)
        calls = [(function, argument) for argument in arguments]
        return iter(self._view.map_async(_with_pushed, calls, chunksize=1, ordered=True))


def _with_pushed(call: tuple[Callable[..., Any], Any]) -> Any:
    """Runs in an engine: ``call`` with the array that was pushed to it."""
    import __main__

    function, argument = call
    return function(__main__.shared_array, argument)
