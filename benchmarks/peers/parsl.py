"""Parsl's HighThroughputExecutor: pools of workers in jobs, an interchange beside the client.

https://parsl.readthedocs.io/en/stable/userguide/configuration: a block for each node, all of
them from the start (``init_blocks``).  ``prefetch_capacity`` is for many short calls, to the
harm of few long ones, so it stays at its default of 0.  ParslPoolExecutor's ``map`` ignores
``chunksize``.
"""

from __future__ import annotations

from parsl import Config
from parsl.concurrent import ParslPoolExecutor
from parsl.executors import HighThroughputExecutor
from parsl.launchers import SimpleLauncher
from parsl.providers import SlurmProvider

from peers.base import ExecutorPeer

__all__ = ["ParslPeer"]

CORES_OF_A_NODE = 2


class ParslPeer(ExecutorPeer):
    """A worker for each slot."""

    def open(self) -> None:
        blocks = self.slots // CORES_OF_A_NODE
        provider = SlurmProvider(
            nodes_per_block=1,
            cores_per_node=CORES_OF_A_NODE,
            init_blocks=blocks,
            min_blocks=blocks,
            max_blocks=blocks,
            walltime="00:20:00",
            exclusive=False,
            launcher=SimpleLauncher(),
        )
        executor = HighThroughputExecutor(
            address="127.0.0.1",
            max_workers_per_node=CORES_OF_A_NODE,
            cores_per_worker=1,
            encrypted=False,
            provider=provider,
        )
        config = Config(
            executors=[executor],
            run_dir=str(self.fresh_directory()),
            strategy="none",
            strategy_period=0.5,
            initialize_logging=False,
        )
        self._executor = ParslPoolExecutor(config)
