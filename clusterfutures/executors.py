"""The executors: what users import.

All are ``concurrent.futures.Executor``s with one behaviour; they differ in the scheduler
that runs their jobs.

    with SlurmExecutor(max_workers=8, memory="4GB", time="1:00:00") as ex:
        results = list(ex.map(f, args))
        future = ex.with_options(memory="64GB").submit(g, x)

``with_options`` gives a view of the same executor: its calls run in jobs with other
resources: no keyword of a user's function is ever taken for an option.
"""

from __future__ import annotations

import logging
import os
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from types import ModuleType
from typing import Any, ClassVar, TypeVar

from clusterfutures import config
from clusterfutures.client.client import Client, Target
from clusterfutures.client.map import Plan
from clusterfutures.errors import OptionError
from clusterfutures.futures import ClusterFuture
from clusterfutures.options import table
from clusterfutures.options.places import own_interpreter
from clusterfutures.options.settings import MOST_WORKERS, Settings, run_directory_base
from clusterfutures.options.table import script_parts
from clusterfutures.pickling.by_value import ask_for
from clusterfutures.schedulers import by_name, find_scheduler, options
from clusterfutures.schedulers.base import Scheduler

__all__ = ["ClusterExecutor", "LocalExecutor", "PBSExecutor", "SlurmExecutor"]

logger = logging.getLogger("clusterfutures")

T = TypeVar("T")

#: all that an executor takes besides resources
_SETTINGS = (
    "max_workers", "mp_context", "initializer", "initargs", "processes", "bins_per_job", "max_tasks_per_child",
    "idle_timeout", "on_timeout", "timeout_notice", "directory", "name", "python", "setup", "teardown", "modules",
    "env", "launcher", "keep", "scheduler", "profile", "retries", "run", "by_value",
)  # fmt: skip
#: of these, what is read as a configuration's values are; the others have words of the standard library's, or their own
_READ = frozenset(
    {"timeout_notice", "directory", "name", "python", "setup", "teardown", "modules", "env", "launcher", "keep"}
)


class _Calls(Executor):
    """What an executor and its ``with_options`` views have in common: making calls."""

    _client: Client
    _resources: Mapping[str, Any]
    _target: Target
    _retries: Any

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> ClusterFuture[T]:
        """Schedule ``fn(*args, **kwargs)`` and return its future.

        fn: any callable; functions of the program and lambdas too.
        args, kwargs: its arguments.  A future among them, however deep, is replaced by its
            result before the call runs.

        The call is pickled at once, so a later change of an argument has no effect on it.
        Returns a ClusterFuture.  A call that cannot be pickled fails its own future with
        TransferError.  Raises RuntimeError after ``shutdown``.
        """
        return self._client.submit(self._target, fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        bins: int | None = None,
        ordered: bool = True,
    ) -> Iterator[T]:
        """Call ``fn`` with the items of the iterables, as ``map`` does, and return an iterator over the results.

        timeout: seconds from now until the iterator raises TimeoutError; None: no limit.
        chunksize: number of calls in each bin.
        bins: number of bins, of equal size.  Without both there are a few bins for each process.
        buffersize: the most calls that are sent and not yet yielded; the iterables may be
            infinite then.
        ordered: yield in the order of the arguments; False: as results come.

        A result is yielded before its bin is complete.  If a call raised, the iterator raises
        the same exception when it reaches this call, and the calls that have not begun are
        cancelled.  Raises ValueError for numbers below 1, TypeError for other types,
        RuntimeError after ``shutdown``.
        """
        return self._map(fn, iterables, False, timeout, chunksize, buffersize, bins, ordered)

    def starmap(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        bins: int | None = None,
        ordered: bool = True,
    ) -> Iterator[T]:
        """Call ``fn(*args)`` for each ``args`` of the iterable; otherwise as ``map``."""
        return self._map(fn, (iterable,), True, timeout, chunksize, buffersize, bins, ordered)

    def _map(
        self,
        fn: Callable[..., T],
        iterables: tuple[Iterable[Any], ...],
        star: bool,
        timeout: float | None,
        chunksize: int | None,
        buffersize: int | None,
        bins: int | None,
        ordered: bool,
    ) -> Iterator[T]:
        chunksize, buffersize, bins = map(options.plain_number, (chunksize, buffersize, bins))
        for name, value in (("chunksize", chunksize), ("buffersize", buffersize), ("bins", bins)):
            if value is not None and not isinstance(value, int):
                raise TypeError(f"{name} must be an integer or None")
            if value is not None and value < 1:
                raise ValueError("chunksize must be >= 1." if name == "chunksize" else f"{name} must be None or > 0")
        if bins is not None and (chunksize is not None or buffersize is not None):
            raise ValueError("bins cannot be combined with chunksize or buffersize: it needs the whole length")
        plan = Plan(self._client.settings.max_workers * self._client.settings.processes, chunksize, bins, buffersize)
        return self._client.map(self._target, fn, iterables, plan, star).values(ordered, timeout)

    def with_options(self, **resources: Any) -> _Options:
        """Return a view of this executor with other resources for its calls.

        resources: resources of the jobs (``memory="64GB"``), and ``retries``.  All that are not
            named stay as they are.

        The view has ``submit``, ``map`` and ``starmap``.  Raises OptionError.
        """
        retries = options.plain_number(resources.pop("retries", self._retries))
        for name in resources:
            if name in _SETTINGS:
                raise OptionError(
                    f"with_options has no {name}=: it holds for the whole executor. {_another(self, name)}"
                )
        return _Options(self, {**self._resources, **options.normalise(resources, ("retries",))}, retries)

    def __setattr__(self, name: str, value: Any) -> None:
        """As usual, but an option is not changed by assigning it: nobody would look there."""
        if type(self).__module__ == __name__ and not name.startswith("_") and (name in _SETTINGS or options.find(name)):
            raise AttributeError(
                f"{name} of an executor cannot be changed. {_another(self, name)}", name=name, obj=self
            )
        super().__setattr__(name, value)

    def __reduce__(self) -> Any:
        """An executor stays in its program."""
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def job_script(self) -> str:
        """Return the text of the script for one job; submit nothing."""
        return self._client.job_script(self._resources)


def _another(executor: _Calls, name: str) -> str:
    """What to do about an option that cannot be changed."""
    if name == "retries" or options.find(name) is not None:
        return f"Make calls through executor.with_options({name}=...), which gives a view of it"
    kind = type(executor._owner if isinstance(executor, _Options) else executor).__name__
    return f"Make another one: {kind}({name}=...)"


class _Options(_Calls):
    """An executor seen through other resources; see ``with_options``."""

    def __init__(self, owner: _Calls, resources: Mapping[str, Any], retries: Any) -> None:
        self._owner = owner  # kept alive: the executor ends when nobody uses it any more
        self._client = owner._client
        self._resources = resources
        self._retries = retries
        self._target = self._client.target(resources, retries)
        self._max_workers = self._client.settings.max_workers * self._client.settings.processes

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the executor down that this is a view of."""
        self._owner.shutdown(wait, cancel_futures=cancel_futures)


class ClusterExecutor(_Calls):
    """Run calls as jobs of the scheduler that this machine has: Slurm, else PBS, else
    this machine itself.  ``executor.scheduler`` is its name.

    max_workers: the most jobs at once; None: one per bin, at most 64 (on this machine:
        its cores).
    processes: processes in each job.  bins_per_job: bins that a job takes before it ends
        (1: one job per bin); None: as many as there are.
    max_tasks_per_child, initializer, initargs: as in ``ProcessPoolExecutor``.
    mp_context: accepted, as there; processes on the nodes start in their own way.
    idle_timeout: seconds that a worker waits for more before it gives its node back.
    on_timeout: called without arguments in the process of a running call (in its main
        thread, as a signal handler is), ``timeout_notice`` seconds before the job's time
        limit; what it raises is raised in the call.  "raise": TimeLimitNear is.  The job
        begins no other call then.
    directory: where the run lives, on a file system that the nodes share; default
        ``$CLUSTERFUTURES_DIR`` or ``~/.clusterfutures/runs``.  keep: leave it there.
    name: what the jobs are called in the queue.
    python: interpreter on the nodes.  launcher: command put in front of it
        (``"apptainer exec image.sif"``).  modules: names to ``module load``, or commands of
        ``module`` (``["purge", "use /my/modules", "gcc/12"]``).
        setup, teardown: shell lines before and after.  env: variables for the jobs: text, numbers and paths.
    scheduler: "slurm", "pbs" or "local", to name one.
    profile: name of a profile of the configuration (``clusterfutures.config``); its
        settings hold where the call says nothing; None: $CLUSTERFUTURES_PROFILE or "default".
    retries: how often a call that had begun is run again when its process dies or its job
        is lost: a number, or by cause, as in ``{"oom": {"memory": "x2", "max": 2},
        "timeout": {"time": "x2"}, "crash": 1, "exception": 0, "lost": 1}``; None: never.

    run: a name for the run: its directory stays, and a program that is run again with the
        same name makes only the calls that have no result yet (same function, same
        arguments); ``shutdown(wait=False)`` leaves the jobs to do their work without it.
    by_value: modules, or their names, that the nodes cannot import or have in another version: what
        they define travels with the calls, as what the program itself defines does.  It holds for all executors.

    Everything else is a resource of the jobs (``cores``, ``memory``, ``time``,
    ``partition``, ...): ``clusterfutures.option_help()`` lists them, with their synonyms.

    Raises OptionError for an option that does not exist or a value that cannot be read.
    Follows https://docs.python.org/3/library/concurrent.futures.html.
    """

    _scheduler_name: ClassVar[str | None] = None

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        processes: int | None = None,
        bins_per_job: int | None = None,
        max_tasks_per_child: int | None = None,
        idle_timeout: float | None = None,
        on_timeout: Callable[[], object] | str | None = None,
        timeout_notice: float | None = None,
        directory: str | os.PathLike[str] | None = None,
        name: str | None = None,
        python: str | None = None,
        setup: str | Sequence[str] | None = None,
        teardown: str | Sequence[str] | None = None,
        modules: str | Sequence[str] | None = None,
        env: Mapping[str, str | float | os.PathLike[str]] | None = None,
        launcher: str | Sequence[str] | None = None,
        keep: bool | None = None,
        scheduler: str | None = None,
        profile: str | None = None,
        retries: Any = None,
        run: str | None = None,
        by_value: Iterable[ModuleType | str] | ModuleType | str = (),
        **resources: Any,
    ) -> None:
        ask_for(by_value)
        told = {
            "max_workers": max_workers, "processes": processes, "bins_per_job": bins_per_job,
            "max_tasks_per_child": max_tasks_per_child, "idle_timeout": idle_timeout, "directory": directory,
            "name": name, "python": python, "setup": setup, "teardown": teardown, "modules": modules, "env": env,
            "launcher": launcher, "keep": keep, "scheduler": scheduler, "on_timeout": on_timeout,
            "timeout_notice": timeout_notice, "retries": retries,
            "run": run,
        }  # fmt: skip
        told = {option: options.plain_number(value) for option, value in told.items()}
        given, self._resources = _layered(told, resources, profile)
        wanted = self._scheduler_name or given.get("scheduler")
        adapter = by_name(wanted) if wanted else find_scheduler()
        self._scheduler = adapter.name
        if given.get("processes", 1) != 1 and "cores" not in self._resources:
            self._resources["cores"] = given["processes"]
        settings = _settings(adapter, given, initializer, initargs)
        self._max_workers = settings.max_workers * settings.processes
        self._client = Client(make_scheduler(adapter, given.get("max_workers"), self._resources), settings)
        self._retries = given.get("retries")
        self._target = self._client.target(self._resources, self._retries)
        self._client.job_script(self._resources)  # what cannot be expressed is said now
        self._finalizer = weakref.finalize(self, self._client.shutdown, False, False)
        self._finalizer.atexit = False
        if wanted is None:
            logger.info("clusterfutures: using the %s scheduler", self.scheduler)

    @property
    def scheduler(self) -> str:
        """The scheduler of its jobs: "slurm", "pbs" or "local"."""
        return self._scheduler

    @property
    def max_workers(self) -> int:
        """The most jobs at once."""
        return self._client.settings.max_workers

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls; see ``concurrent.futures.Executor.shutdown``.

        With ``wait``, returns when every call is done and no job, process, thread or file
        is left.  cancel_futures: cancel the calls that have not begun.  Without ``wait``, the
        program does not wait at its end either if the run has a name: its jobs go on.
        """
        if not wait and self._client.settings.run:
            self._client.leave()
        self._client.shutdown(wait, cancel_futures)

    def terminate_workers(self) -> None:
        """End the workers' jobs now, and shut down without waiting.

        Calls that run fail with JobFailed, all others are cancelled.  As in Python 3.14's
        ``ProcessPoolExecutor``: for when a normal ``shutdown`` would take too long.
        Returns at once, whether the scheduler answers or not; a ``shutdown`` after it
        waits until the jobs got their signal and the run directory is removed.
        """
        self._client.shutdown(False, True, "terminate_workers() was called")

    def kill_workers(self) -> None:
        """As ``terminate_workers``, but the jobs get SIGKILL and no time to end by themselves.

        On PBS and Torque the two are the same: ``qdel``.
        """
        self._client.shutdown(False, True, "kill_workers() was called", hard=True)

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> bool | None:
        """Wait for all calls; but when the block is left by an exception, cancel what has
        not begun and end what is running."""
        reason = "" if exc_type is None else f"the block of the executor was left by {exc_type.__name__}"
        self._client.shutdown(True, bool(reason), reason)
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.scheduler}, up to {self._max_workers} processes>"


class SlurmExecutor(ClusterExecutor):
    """Run calls as Slurm jobs; options as ``ClusterExecutor``."""

    _scheduler_name = "slurm"


class PBSExecutor(ClusterExecutor):
    """Run calls as jobs of PBS Pro, OpenPBS or Torque; options as ``ClusterExecutor``."""

    _scheduler_name = "pbs"


class LocalExecutor(ClusterExecutor):
    """Run calls as jobs of this machine; options as ``ClusterExecutor``."""

    _scheduler_name = "local"


def _layered(
    told: Mapping[str, Any], resources: Mapping[str, Any], profile: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and normalised resources: the configuration's, and over them the call's own."""
    configured = config.load().options(profile)
    own = options.normalise(resources, _SETTINGS)
    below = options.normalise({name: value for name, value in configured.items() if name not in config.SETTINGS})
    # a resource that the call sets to None (or False, or 0 GPUs) is not asked for, whatever is configured
    named = {row.name for name in resources if (row := options.find(name)) is not None}
    merged = {name: value for name, value in below.items() if name not in named} | own
    given = {name: value for name, value in configured.items() if name in config.SETTINGS}
    return given | {name: _read(name, value) for name, value in told.items() if value is not None}, merged


def _read(name: str, value: Any) -> Any:
    """The value of a setting as it is kept.  Raises OptionError."""
    if name == "idle_timeout" and not isinstance(value, int | float):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise OptionError(f"idle_timeout={value!r} cannot be used: give a number of seconds, as 60") from None
    return table.read(config.SETTINGS[name], name, value) if name in _READ else value


def _settings(
    adapter: type[Scheduler], given: Mapping[str, Any], initializer: Callable[..., Any] | None, initargs: Iterable[Any]
) -> Settings:
    processes = given.get("processes", 1)
    if not isinstance(initargs, Iterable):
        raise TypeError(f"initargs must be a tuple, not {type(initargs).__name__}: write initargs=({initargs!r},)")
    return Settings(
        max_workers=given["max_workers"] if "max_workers" in given else _default_workers(adapter, processes),
        processes=processes,
        bins_per_job=given.get("bins_per_job"),
        max_tasks_per_child=given.get("max_tasks_per_child"),
        initializer=initializer,
        initargs=tuple(initargs),
        idle_timeout=float(given.get("idle_timeout", 60.0)),
        on_timeout=given.get("on_timeout"),
        timeout_notice=float(given.get("timeout_notice", 30.0)),
        directory=run_directory_base(given.get("directory")),
        name=given.get("name", "clusterfutures"),
        python=given.get("python") or sys.executable or own_interpreter(),
        **script_parts(given),
        keep=given.get("keep", False),
        run=given.get("run", ""),
    )


def _default_workers(adapter: type[Scheduler], processes: int) -> int:
    if adapter.name != "local":
        return MOST_WORKERS
    from clusterfutures.schedulers.local import cores_here

    return max(1, cores_here() // max(1, processes))


def make_scheduler(adapter: type[Scheduler], max_workers: int | None, resources: Mapping[str, Any]) -> Scheduler:
    """The adapter's instance; the local one honours a number of workers that was asked for."""
    if adapter.name != "local":
        return adapter()
    from clusterfutures.schedulers.local import LocalScheduler, cores_here

    wanted = None if max_workers is None else max(cores_here(), max_workers * int(resources.get("cores", 1)))
    scheduler = LocalScheduler(wanted)
    scheduler.say_unused(resources)
    return scheduler
