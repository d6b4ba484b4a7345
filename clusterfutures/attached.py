"""``attach``: the futures of calls that another program made.

    with clusterfutures.attach("fit") as run:
        for future in run.futures:
            print(future.result())

While the program that made the run lives, no other may open it.  Afterwards the jobs go on
by themselves; an attached program does the rest, as the first program would have.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, overload

from clusterfutures.client.client import Client
from clusterfutures.client.past import Earlier
from clusterfutures.client.settings import Settings, run_directory_base
from clusterfutures.errors import StoreError
from clusterfutures.executors import make_scheduler
from clusterfutures.futures import ClusterFuture
from clusterfutures.schedulers import by_name
from clusterfutures.store.run import RunDirectory

__all__ = ["AttachedRun", "attach"]


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
