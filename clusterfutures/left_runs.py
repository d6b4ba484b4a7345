"""The runs that programs left behind: a list, and their removal.

    for run in clusterfutures.runs():
        if run.state == "left":
            clusterfutures.remove_run(run.path)

A run is *owned* while the program that made it lives, *left* afterwards, and *unknown*
where the file system has no locks to tell by.
"""

from __future__ import annotations

import logging
import os
from typing import NamedTuple

from clusterfutures.client.settings import run_directory_base
from clusterfutures.errors import StoreError
from clusterfutures.store.owner import Ownership
from clusterfutures.store.run import RunDirectory

__all__ = ["RunInfo", "remove_run", "runs"]

logger = logging.getLogger("clusterfutures")


class RunInfo(NamedTuple):
    """A run directory: ``state`` is "owned", "left" or "unknown"; ``started`` is in seconds
    since the epoch, by the clock of ``host``."""

    path: str
    name: str
    scheduler: str
    host: str
    pid: int
    started: float
    state: str


def runs(directory: str | os.PathLike[str] | None = None) -> list[RunInfo]:
    """Return the runs in ``directory`` (default: where executors put them), the oldest first.

    Changes nothing.  What is not a run of yours is left out; what looks like one and cannot
    be trusted (another owner, writable by others, a link) is left out with a warning.
    """
    base = run_directory_base(directory)
    found = []
    for path in RunDirectory.below(base):
        try:
            found.append(_info(path))
        except (FileNotFoundError, NotADirectoryError):
            continue  # no run, or removed just now
        except (StoreError, OSError, ValueError) as error:
            logger.warning("clusterfutures: not listed: %s", error)
    return sorted(found, key=lambda run: run.started)


def remove_run(run: str | os.PathLike[str], directory: str | os.PathLike[str] | None = None) -> None:
    """Remove a run that its program has left, with all that is in it.

    run: its path, or its directory's name in ``directory`` (default: where executors put
        them).  Cancel its jobs before, if some still work.

    Raises StoreError when there is none, when it is no run directory, when it is not yours,
    or when its program lives (or may: where the file system has no locks).
    """
    path = os.path.abspath(os.path.join(run_directory_base(directory), os.path.expanduser(os.fspath(run))))
    opened = RunDirectory.open(path)
    try:
        opened.read_run_file()
    except (FileNotFoundError, ValueError):
        raise StoreError(
            message=f"{path} is no run directory, for it has no readable run.json: nothing was removed", path=path
        ) from None
    ownership = Ownership(opened)
    ownership.acquire()
    ownership.remove_run()
    if RunDirectory.exists(path):
        raise StoreError(message=f"{path} could not be removed entirely: remove the rest by hand", path=path)


def _info(path: str) -> RunInfo:
    fields = RunDirectory(path).read_run_file()  # first: what has none is no run, which needs no warning
    run = RunDirectory.open(path)
    return RunInfo(
        path,
        str(fields.get("name", "")),
        str(fields.get("scheduler", "")),
        str(fields.get("host", "")),
        int(fields.get("pid", 0)),
        float(fields.get("started", 0)),
        _state(run),
    )


def _state(run: RunDirectory) -> str:
    return {True: "owned", False: "left", None: "unknown"}[Ownership(run).taken()]
