"""The schedulers: one adapter each behind the interface of ``base``, found by name or by sight.

Adapters are imported when they are asked for: a program that uses one pays for one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from clusterfutures.errors import OptionError

if TYPE_CHECKING:
    from clusterfutures.schedulers.base import Scheduler

__all__ = ["NAMES", "by_name", "find_scheduler"]

#: name -> module and class, in the order in which they are looked for; "local" is last
#: because it is everywhere
_ADAPTERS = {
    "slurm": ("clusterfutures.schedulers.slurm.adapter", "SlurmScheduler"),
    "pbs": ("clusterfutures.schedulers.pbs.adapter", "PBSScheduler"),
    "local": ("clusterfutures.schedulers.local", "LocalScheduler"),
}

#: where jobs that outlive the program go elsewhere than the workers of its executors
_FOR_JOBS = {"local": ("clusterfutures.schedulers.local_queue.adapter", "LocalQueue")}

NAMES = tuple(_ADAPTERS)


def by_name(name: str, *, for_jobs: bool = False) -> type[Scheduler]:
    """The adapter called ``name``, for workers of an executor or for jobs that outlive the program.

    OptionError when there is none.
    """
    try:
        module, attribute = (_ADAPTERS | _FOR_JOBS if for_jobs else _ADAPTERS)[name]
    except KeyError:
        raise OptionError(f"there is no scheduler {name!r}: choose from {', '.join(NAMES)}") from None
    adapter: type[Scheduler] = getattr(importlib.import_module(module), attribute)
    return adapter


def find_scheduler() -> type[Scheduler]:
    """The adapter for the scheduler of this machine: Slurm, else PBS, else the local one."""
    *batch, last = NAMES
    for name in batch:
        adapter = by_name(name)
        if adapter.is_here():
            return adapter
    return by_name(last)
