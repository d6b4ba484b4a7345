"""The peers: who there is, what to install for each, and where its class stands.

A row here and a file beside it make a new one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from peers.base import Peer

__all__ = ["ALSO", "PEERS", "REFERENCES", "PeerRow", "peer_class"]


class PeerRow(NamedTuple):
    """module, attribute: its class.  packages: what pip installs.  shown: its name in tables.
    imports: what a program that uses it has on top.

    on_cluster: its calls run as Slurm jobs.  job_per_call: each in a job of its own, which
    the scheduler starts one after the other, so large workloads are given less of them.
    """

    module: str
    attribute: str
    packages: tuple[str, ...]
    shown: str
    imports: str
    on_cluster: bool = True
    job_per_call: bool = False


#: measured in every run: we ourselves, and the standard library
REFERENCES = {
    "ours": PeerRow("peers.ours", "OurPeer", (), "clusterfutures", "from clusterfutures import SlurmExecutor"),
    "ours-local": PeerRow(
        "peers.ours",
        "OurLocalPeer",
        (),
        "clusterfutures, LocalExecutor",
        "from clusterfutures import LocalExecutor",
        on_cluster=False,
    ),
    "pool": PeerRow(
        "peers.pool", "PoolPeer", (), "ProcessPoolExecutor", "import concurrent.futures.process", on_cluster=False
    ),
}

#: what ``--peers`` may name
PEERS = {
    "submitit": PeerRow(
        "peers.submitit", "SubmititPeer", ("submitit",), "submitit", "import submitit", job_per_call=True
    ),
    "executorlib": PeerRow(
        "peers.executorlib",
        "JobPerCallPeer",
        ("executorlib[cluster]",),
        "executorlib, a job a call",
        "from executorlib import SlurmClusterExecutor",
        job_per_call=True,
    ),
    "executorlib-block": PeerRow(
        "peers.executorlib",
        "BlockPeer",
        ("executorlib[cluster]",),
        "executorlib, block",
        "from executorlib import SlurmClusterExecutor",
    ),
    "dask-jobqueue": PeerRow(
        "peers.dask_jobqueue", "DaskPeer", ("dask-jobqueue",), "dask-jobqueue", "import dask.distributed, dask_jobqueue"
    ),
    "parsl": PeerRow(
        "peers.parsl", "ParslPeer", ("parsl",), "Parsl", "import parsl.concurrent, parsl.executors, parsl.providers"
    ),
    "ipyparallel": PeerRow(
        "peers.ipyparallel", "IpyparallelPeer", ("ipyparallel",), "ipyparallel", "import ipyparallel"
    ),
    "clusterfutures-0.5": PeerRow(
        "peers.cfut", "CfutPeer", ("clusterfutures==0.5",), "clusterfutures 0.5", "import cfut", job_per_call=True
    ),
    "loky": PeerRow("peers.one_machine", "LokyPeer", ("loky",), "loky", "import loky", on_cluster=False),
    "joblib": PeerRow("peers.one_machine", "JoblibPeer", ("joblib",), "joblib", "import joblib", on_cluster=False),
}

#: what every peer's environment has besides: the large arrays are numpy's
ALSO = ("numpy",)


def peer_class(name: str) -> type[Peer]:
    """The class of the peer called ``name``; imports its packages."""
    row = {**REFERENCES, **PEERS}[name]
    found: type[Peer] = getattr(importlib.import_module(row.module), row.attribute)
    return found
