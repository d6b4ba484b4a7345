"""Runs that other programs made: ``attach`` to one, list them, remove them.

    with clusterfutures.attach("fit") as run:
        for future in run.futures:
            print(future.result())

While the program that made the run lives, no other may open it.  Afterwards the jobs go on
by themselves; an attached program does the rest, as the first program would have.

    for run in clusterfutures.runs():
        if run.state == "left":
            clusterfutures.remove_run(run.path)

A run is *owned* while the program that made it lives, *left* afterwards, and *unknown*
where the file system has no locks to tell by.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

from clusterfutures.client.client import Client
from clusterfutures.client.resume.history import Earlier
from clusterfutures.errors import StoreError
from clusterfutures.executors import make_scheduler
from clusterfutures.futures import ClusterFuture
from clusterfutures.options.settings import Settings, run_directory_base
from clusterfutures.schedulers import by_name
from clusterfutures.store.ownership import Ownership
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["AttachedRun", "RunInfo", "attach", "remove_run", "runs"]

logger = logging.getLogger("clusterfutures")


def attach(run: str | os.PathLike[str], directory: str | os.PathLike[str] | None = None) -> AttachedRun:
    """Open a run that its program has left: killed, ended without waiting, or kept.

    run: its path, or its directory's name in ``directory`` (default: where executors put
        them); ``clusterfutures.runs()`` lists them.

    Returns an AttachedRun.  Calls that still wait are run, by new jobs if necessary.  Raises
    StoreError when there is no such run, when it is not yours, or while another program owns it.
    """
    path = os.path.abspath(os.path.join(run_directory_base(directory), os.path.expanduser(os.fspath(run))))
    opened = RunDirectory.open(path)
    try:
        fields = opened.read_run_file()
        settings = Settings(**fields["settings"] | {"directory": os.path.dirname(path), "run": os.path.basename(path)})
        adapter = by_name(str(fields["scheduler"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            message=f"{path} cannot be attached to: its run.json does not say what it has to ({error!r}); "
            "was its program killed before it made a call, or is it of another version?",
            path=path,
        ) from None
    client = Client(make_scheduler(adapter, settings.max_workers, {}), settings, attached=True)
    client.start()
    return AttachedRun(client)


class AttachedRun:
    """A run opened by ``attach``.

    futures: of all calls, in the order in which they were made; those of a ``map`` are among
        them.  Each is a ClusterFuture.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._calls = [call for _, call in sorted(client.past.calls.items())]
        self.futures: Sequence[ClusterFuture[Any]] = _Futures(client, self._calls)

    @property
    def path(self) -> str:
        """Path of the run directory."""
        return self._client.run.path

    @property
    def names(self) -> list[str]:
        """Name of each call's function, with its module, in the order of ``futures``."""
        return [call.name for call in self._calls]

    def named(self, name: str) -> list[ClusterFuture[Any]]:
        """Return the futures of the calls of one function, in order.

        name: as in ``names``, or without the module.

        Raises KeyError when there is no such call.
        """
        found = [i for i, call in enumerate(self._calls) if name in (call.name, call.name.rpartition(".")[2])]
        if not found:
            known = ", ".join(sorted(set(self.names))) or "none at all"
            raise KeyError(f"no call of {name!r} in {self.path}; there are calls of: {known}")
        return [self.futures[index] for index in found]

    def close(self) -> None:
        """Leave the run: submit the calls that wait; the jobs go on, and another program may open it."""
        self._client.leave(wait=True)

    def __enter__(self) -> AttachedRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        done = sum(call.record is not None or (call.future is not None and call.future.done()) for call in self._calls)
        return f"<AttachedRun {self.path}: {done} of {len(self._calls)} calls done>"


class _Futures(Sequence[ClusterFuture[Any]]):
    """Results are read on demand: there may be many, and large ones."""

    def __init__(self, client: Client, calls: Sequence[Earlier]) -> None:
        self._client = client
        self._calls = calls

    def __len__(self) -> int:
        return len(self._calls)

    @overload
    def __getitem__(self, index: int) -> ClusterFuture[Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[ClusterFuture[Any]]: ...

    def __getitem__(self, index: int | slice) -> ClusterFuture[Any] | list[ClusterFuture[Any]]:
        if isinstance(index, slice):
            return [self._future(call) for call in self._calls[index]]
        return self._future(self._calls[index])

    def __iter__(self) -> Iterator[ClusterFuture[Any]]:
        return map(self._future, self._calls)

    def _future(self, call: Earlier) -> ClusterFuture[Any]:
        return call.future or call.recall(self._client.run)


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
