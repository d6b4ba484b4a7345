"""Which jobs a run has submitted: its pools, and what the jobs of each are to run.

    resources --pool()--> name of a pool --prepare(pool, n)--> batch, JobSpec, script (clerk)

A pool is the workers with one set of resources.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Mapping
from typing import Any

import clusterfutures
from clusterfutures.client.settings import Settings
from clusterfutures.client.surroundings import environment_text
from clusterfutures.schedulers.base import JobSpec, Scheduler
from clusterfutures.store import launch
from clusterfutures.store.run import RunDirectory

__all__ = ["Provision"]


class Provision:
    """The pools of one run, and the jobs for them.  Methods may be called from any thread."""

    def __init__(self, scheduler: Scheduler, settings: Settings) -> None:
        self._scheduler = scheduler
        self._settings = settings
        self._lock = threading.Lock()
        self._batches = itertools.count(1)
        self._pools: dict[tuple[Any, ...], str] = {}
        self._resources: dict[str, Mapping[str, Any]] = {}
        self.run: RunDirectory | None = None  # once it is made

    def pool(self, resources: Mapping[str, Any]) -> str:
        """The name of the pool of workers with these resources."""
        key = tuple(sorted((name, str(value)) for name, value in resources.items()))
        name = self._pools.get(key)
        if name is None:
            with self._lock:
                name = self._pools.setdefault(key, str(len(self._pools)))
                self._resources[name] = resources
        return name

    def prepare(self, pool: str, count: int) -> tuple[str, JobSpec, str]:
        """Batch, spec and script of the next submission; called by the clerk."""
        assert self.run is not None
        batch = f"{next(self._batches):04d}"
        spec = self._spec(self.run, pool, batch, self._resources[pool])
        return batch, spec, self.run.write_script(batch, self._scheduler.script(spec, count))

    def job_script(self, resources: Mapping[str, Any]) -> str:
        """The script that would be submitted for one job."""
        run = RunDirectory(os.path.join(self._settings.directory, "RUN"))
        return self._scheduler.script(self._spec(run, "0", "0001", resources), 1)

    def _spec(self, run: RunDirectory, pool: str, batch: str, resources: Mapping[str, Any]) -> JobSpec:
        """What the jobs of a pool run."""
        settings = self._settings
        package = os.path.dirname(os.path.dirname(os.path.abspath(clusterfutures.__file__)))
        environment_file = ""
        if not self._scheduler.exports_environment:
            environment_file = run.write_environment(environment_text()) if run is self.run else run.environment_path
        return JobSpec(
            name=f"{settings.name}-{os.path.basename(run.path).rpartition('-')[2]}-{batch}",
            command=launch.worker_command(settings.python, run, pool, batch, package),
            log=run.log_path(batch).removesuffix(".log"),
            cwd=os.getcwd(),
            resources=resources,
            check_in=launch.check_in_lines(run, batch),
            modules=settings.modules,
            setup=settings.setup,
            teardown=settings.teardown,
            env=settings.env,
            environment_file=environment_file,
            launcher=settings.launcher,
        )
