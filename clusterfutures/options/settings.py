"""The options of an executor, checked once: all but the resources of its jobs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from clusterfutures.errors import OptionError
from clusterfutures.options.places import absolute

__all__ = ["Settings", "run_directory_base"]

#: what to do when there is no place for runs
_PLACE = "Give directory= or set CLUSTERFUTURES_DIR: the absolute path of a directory that the nodes see too."
#: how many jobs there may be at most, where the user names no number
MOST_WORKERS = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of an executor; ``executors.py`` documents them."""

    max_workers: int
    processes: int = 1
    bins_per_job: int | None = None
    max_tasks_per_child: int | None = None
    initializer: Callable[..., Any] | None = None
    initargs: tuple[Any, ...] = ()
    idle_timeout: float = 60.0
    on_timeout: Callable[[], object] | str | None = None
    timeout_notice: float = 30.0
    directory: str = ""
    name: str = "clusterfutures"
    python: str = ""
    setup: Sequence[str] = ()
    teardown: Sequence[str] = ()
    modules: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    launcher: Sequence[str] = ()
    keep: bool = False
    run: str = ""
    visibility_timeout: float = 60.0

    def __post_init__(self) -> None:
        _positive("max_workers", self.max_workers)
        _positive("processes", self.processes)
        if self.bins_per_job is not None:
            _positive("bins_per_job", self.bins_per_job)
        if self.max_tasks_per_child is not None:
            if not isinstance(self.max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if self.max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        if self.initializer is not None and not callable(self.initializer):
            raise TypeError("initializer must be a callable")
        if self.on_timeout not in (None, "raise") and not callable(self.on_timeout):
            raise OptionError(f"on_timeout={self.on_timeout!r}: expected a function without arguments, or 'raise'")
        if not 0 < self.timeout_notice < float("inf"):
            raise ValueError("timeout_notice must be greater than 0: seconds before the job's time limit")
        if not re.fullmatch(r"[A-Za-z0-9_.+-]{1,100}", self.name):
            raise OptionError(
                f"name={self.name!r}: a name is 1 to 100 letters, digits, '_', '.', '+' or '-', as in 'fit-2'"
            )
        if self.run and not re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,99}", self.run):
            raise OptionError(f"run={self.run!r}: a run's name is letters, digits, '_', '.', '+' or '-', as in 'fit-2'")
        if not self.idle_timeout >= 0:  # nan, too
            raise ValueError("idle_timeout must not be negative: it is in seconds")
        for what in (self.directory, self.python):
            if "\n" in what or "\0" in what:
                raise OptionError(f"{what!r}: a path with a line break cannot be used in a job script")

    def plain(self) -> dict[str, Any]:
        """What another program needs to go on with the run: all but functions and places."""
        left_out = ("initializer", "initargs", "on_timeout", "directory", "run")
        return {row.name: getattr(self, row.name) for row in fields(self) if row.name not in left_out}


def _positive(name: str, value: Any) -> None:
    """The standard library's words for a number that is not positive."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}: write {name}=4, say")
    if value <= 0:
        raise ValueError(f"{name} must be greater than 0")


def run_directory_base(directory: str | os.PathLike[str] | None) -> str:
    """Where runs live: the argument, ``$CLUSTERFUTURES_DIR``, or the home directory."""
    if directory is not None:
        return absolute(os.fspath(directory), _PLACE)
    configured = os.environ.get("CLUSTERFUTURES_DIR")
    if configured:
        return absolute(configured, _PLACE)
    return absolute("~/.clusterfutures/runs", _PLACE)
