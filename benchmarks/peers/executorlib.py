"""executorlib, in its two ways: a job for each call, and a block of workers that stay.

https://executorlib.readthedocs.io/en/latest/3-hpc-cluster.html and 1-single-node.html,
"Block Allocation": "to accelerate the submission of a series of Python functions with the
same resource requirements".  Its map takes one call at a time.
"""

from __future__ import annotations

from executorlib import SlurmClusterExecutor

from peers.base import ExecutorPeer

__all__ = ["BlockPeer", "JobPerCallPeer"]

#: it wants to be told; that of the tests' Slurm
PARTITION = "main"


class BlockPeer(ExecutorPeer):
    """``block_allocation=True``: one worker for each slot, over sockets."""

    block = True

    def open(self) -> None:
        # a directory for each executor: it is also a memory of results, and would answer from that
        self._executor = SlurmClusterExecutor(
            max_workers=self.slots if self.block else None,
            block_allocation=self.block,
            cache_directory=str(self.fresh_directory()),
            resource_dict={"cores": 1, "partition": PARTITION},
            hostname_localhost=True if self.block else None,
        )


class JobPerCallPeer(BlockPeer):
    """Its default: files, and a job for each call."""

    block = False
