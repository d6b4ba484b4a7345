"""``concurrent.futures`` for the batch cluster that you already have.

    from clusterfutures import SlurmExecutor

    with SlurmExecutor() as ex:
        results = list(ex.map(f, args))

The public names are imported when they are first used, because a node imports this
package too, and must start fast.  Modules that are imported late are of the version that the program began
with, or are not imported (``_OneVersion``).
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

__version__ = "1.0.0.dev0"

_HOME = {
    "Arguments": "pickling.arguments",
    "IterableQueue": "cluf.iterable_queue",
    "RC_PARAMS": "cluf.rcfile",
    "ClusterExecutor": "executors",
    "LocalExecutor": "executors",
    "PBSExecutor": "executors",
    "SlurmExecutor": "executors",
    "ClusterFuture": "futures",
    "Usage": "futures",
    "CallKilled": "errors",
    "ClusterError": "errors",
    "InitializerFailed": "errors",
    "JobFailed": "errors",
    "OptionError": "errors",
    "RemoteTraceback": "errors",
    "SchedulerUnavailable": "errors",
    "StoreError": "errors",
    "SubmitError": "errors",
    "TimeLimitNear": "errors",
    "TransferError": "errors",
    "WorkerDied": "errors",
    "Job": "jobs.job",
    "JobState": "schedulers.job_state",
    "Queue": "jobs.queue",
    "clean": "jobs.cleaning",
    "clean_dir": "jobs.cleaning",
    "option_help": "options.table",
    "option_table": "options.table",
    "remaining_time": "node.time_limit",
    "make_job_file": "jobs.scripts",
    "submit": "jobs.job",
    "submit_array": "jobs.array",
    "submit_file": "jobs.scripts",
    "AttachedRun": "stored_runs",
    "attach": "stored_runs",
    "RunInfo": "stored_runs",
    "remove_run": "stored_runs",
    "runs": "stored_runs",
}

# RC_PARAMS is not among them: "import *" must not read a file of the user's
__all__ = [
    "Arguments",
    "AttachedRun",
    "CallKilled",
    "ClusterError",
    "ClusterExecutor",
    "ClusterFuture",
    "InitializerFailed",
    "IterableQueue",
    "Job",
    "JobFailed",
    "JobState",
    "LocalExecutor",
    "OptionError",
    "PBSExecutor",
    "Queue",
    "RemoteTraceback",
    "RunInfo",
    "SchedulerUnavailable",
    "SlurmExecutor",
    "StoreError",
    "SubmitError",
    "TimeLimitNear",
    "TransferError",
    "Usage",
    "WorkerDied",
    "attach",
    "clean",
    "clean_dir",
    "make_job_file",
    "option_help",
    "option_table",
    "remaining_time",
    "remove_run",
    "runs",
    "submit",
    "submit_array",
    "submit_file",
]

if TYPE_CHECKING:
    from clusterfutures.cluf.iterable_queue import IterableQueue
    from clusterfutures.cluf.rcfile import RC_PARAMS as RC_PARAMS
    from clusterfutures.errors import (
        CallKilled,
        ClusterError,
        InitializerFailed,
        JobFailed,
        OptionError,
        RemoteTraceback,
        SchedulerUnavailable,
        StoreError,
        SubmitError,
        TimeLimitNear,
        TransferError,
        WorkerDied,
    )
    from clusterfutures.executors import ClusterExecutor, LocalExecutor, PBSExecutor, SlurmExecutor
    from clusterfutures.futures import ClusterFuture, Usage
    from clusterfutures.jobs.array import submit_array
    from clusterfutures.jobs.cleaning import clean, clean_dir
    from clusterfutures.jobs.job import Job, submit
    from clusterfutures.jobs.queue import Queue
    from clusterfutures.jobs.scripts import make_job_file, submit_file
    from clusterfutures.node.time_limit import remaining_time
    from clusterfutures.options.table import option_help, option_table
    from clusterfutures.pickling.arguments import Arguments
    from clusterfutures.schedulers.job_state import JobState
    from clusterfutures.stored_runs import AttachedRun, RunInfo, attach, remove_run, runs


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])


class _OneVersion:
    """The first finder of modules: refuses those of this package when it was replaced since the program began.

    In a shared environment somebody may install another version while programs and jobs run; half of each would
    fail in ways that nobody understands.
    """

    def __init__(self) -> None:
        self._began = _stamp()

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name.startswith(f"{__name__}.") and _stamp() != self._began:
            raise ImportError(
                f"clusterfutures was replaced or removed in {os.path.dirname(__file__)} while this program ran, which "
                f"began with version {__version__}: start the program again, so that all of it is of one version",
                name=name,
            )


def _stamp() -> tuple[int, int] | None:
    try:
        found = os.stat(__file__)
    except OSError:  # in an archive, or removed
        return None
    return found.st_mtime_ns, found.st_size


sys.meta_path.insert(0, _OneVersion())
