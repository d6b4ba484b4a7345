"""Which jobs a run has submitted: its worker groups, and what the jobs of each are to run.

    resources --worker_group()--> name of a group --prepare(group, n)--> batch, JobSpec, script (scheduler thread)

A worker group is the workers with one set of resources.  Executors name theirs before there is a
run; in a run that earlier programs have used, such a name is mapped to a group of theirs if its
jobs are the same (``real``), so that jobs which still wait in the scheduler's queue serve
this program, too.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import clusterfutures
from clusterfutures.client.resume.history import RunHistory
from clusterfutures.client.resume.tokenize import digest_of
from clusterfutures.client.startup import environment_text
from clusterfutures.client.workers import Hosts
from clusterfutures.errors import StoreError
from clusterfutures.options.places import current_directory
from clusterfutures.options.settings import Settings
from clusterfutures.schedulers.base import JobSpec, Scheduler
from clusterfutures.schedulers.variables import past_shell
from clusterfutures.store import bootstrap, names
from clusterfutures.store.faults import explained
from clusterfutures.store.history import History, Submission
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["WorkerGroups"]

logger = logging.getLogger("clusterfutures")

#: what the context says of the program: workers may serve another one, and its pickles repeat it
_OF_A_PROGRAM = ("told", "program")


class WorkerGroups:
    """The worker groups of one run, and the jobs for them.  Methods may be called from any thread."""

    def __init__(self, scheduler: Scheduler, settings: Settings) -> None:
        self.hosts = Hosts(scheduler.excludes_hosts)
        self._scheduler = scheduler
        self._settings = settings
        self._lock = threading.Lock()
        self._batches = itertools.count(1)
        self._worker_groups: dict[tuple[Any, ...], str] = {}
        self._resources: dict[str, Mapping[str, Any]] = {}
        self._real: dict[str, str] = {}
        self._run: RunDirectory | None = None  # once it is made
        self._program = 1
        self._context: Mapping[str, Any] = {}
        self._earlier: dict[str, bytes] = {}

    def worker_group(self, resources: Mapping[str, Any]) -> str:
        """The name of the worker group of workers with these resources."""
        key = tuple(sorted((name, str(value)) for name, value in resources.items()))
        name = self._worker_groups.get(key)
        if name is None:
            with self._lock:
                name = str(len(self._worker_groups))
                if key not in self._worker_groups:
                    self._resources[name] = resources  # first: code that sees the name looks for these
                name = self._worker_groups.setdefault(key, name)
        return name

    def open(self, run: RunDirectory, program: int, past: RunHistory, context: Mapping[str, Any]) -> None:
        """The run exists; ``context`` is what this program sends to its workers."""
        self._run, self._program = run, program
        self._context = {name: value for name, value in context.items() if name not in _OF_A_PROGRAM}
        self._earlier = {worker_group: noted["likeness"] for worker_group, noted in past.worker_groups.items()}
        self._resources |= {
            _KEPT + worker_group: noted["resources"] for worker_group, noted in past.worker_groups.items()
        }
        last = max((int(submission.batch) for submission in past.submissions), default=0)
        self._batches = itertools.count(last + 1)

    def real(self, worker_group: str) -> str:
        """The worker group of the run that ``worker group`` stands for."""
        name = self._real.get(worker_group)
        if name is None:
            likeness = self._likeness(self._resources[worker_group])
            alike = [earlier for earlier, known in self._earlier.items() if known == likeness]
            name = alike[-1] if alike else names.worker_group_name(self._program, int(worker_group))
            with self._lock:
                self._resources.setdefault(_KEPT + name, self._resources[worker_group])
                name = self._real.setdefault(worker_group, name)
        return name

    def find(self, resources: Mapping[str, Any]) -> str:
        """The worker group of the run for these resources."""
        return self.real(self.worker_group(resources))

    def note(self, worker_group: str) -> None:
        """Remember what a worker group's jobs are like, for a program that comes later.  Raises StoreError."""
        if worker_group in self._earlier:
            return
        assert self._run is not None
        resources = dict(self._resources[_KEPT + worker_group])
        fields = {"resources": resources, "likeness": self._likeness(resources)}
        try:
            History(self._run).note_worker_group(worker_group, fields)
        except FileNotFoundError:
            raise  # the run directory is gone
        except OSError as error:
            text = f"a queue could not be made in {self._run.path}: {explained(error)}"
            raise StoreError(message=text, path=self._run.path) from error

    def _likeness(self, resources: Mapping[str, Any]) -> bytes:
        """A digest of all that makes jobs different."""
        settings = self._settings
        told = (settings.python, settings.modules, settings.setup, settings.teardown, settings.env, settings.launcher)
        return digest_of((dict(resources), self._context, told))

    # -- jobs -----------------------------------------------------------------------

    def prepare(self, worker_group: str, count: int) -> tuple[str, JobSpec, str]:
        """Batch, spec and script of the next submission; called by the scheduler thread."""
        assert self._run is not None
        batch = f"{next(self._batches):04d}"
        spec = self._spec(self._run, worker_group, batch, self._resources[_KEPT + worker_group])
        History(self._run).note_submission(Submission(worker_group, batch, spec.name, count))
        path = self._run.write_script(batch, self._scheduler.script(spec, count))
        self._run.check_place()
        return batch, spec, path

    def answered(self, batch: str, job_ids: Sequence[str]) -> None:
        """Remember which jobs a submission became; called by the scheduler thread."""
        assert self._run is not None
        try:
            History(self._run).note_answer(batch, job_ids)
        except OSError as error:
            logger.info("clusterfutures: the ids of jobs could not be noted: %s", error)

    def job_script(self, resources: Mapping[str, Any]) -> str:
        """The script that would be submitted for one job."""
        run = RunDirectory(os.path.join(self._settings.directory, self._settings.run or "RUN"))
        return self._scheduler.script(self._spec(run, "0", "0001", resources), 1)

    def _spec(self, run: RunDirectory, worker_group: str, batch: str, resources: Mapping[str, Any]) -> JobSpec:
        """What the jobs of a worker group run."""
        settings = self._settings
        package = os.path.dirname(os.path.dirname(os.path.abspath(clusterfutures.__file__)))
        cwd = str(self._context.get("cwd") or current_directory())
        environment_file = ""
        if not self._scheduler.exports_environment:
            environment_file = run.write_environment(environment_text()) if run is self._run else run.environment_path
        return JobSpec(
            name=f"{settings.name}-{_short(run.path)}-{batch}",
            command=bootstrap.worker_command(settings.python, run, worker_group, batch, package),
            log=run.log_path(batch).removesuffix(".log"),
            cwd=cwd or run.path,
            cwd_else=run.path if self._scheduler.name == "local" or not os.path.isdir(cwd) else "",
            resources=resources,
            check_in=bootstrap.check_in_lines(run, batch),
            modules=settings.modules,
            setup=settings.setup,
            teardown=settings.teardown,
            env=settings.env,
            environment_file=environment_file,
            past_shell=past_shell(os.environ),
            launcher=settings.launcher,
            avoid=self.hosts.avoided,
        )


#: in front of the name of a worker group of the run, where that of an executor's worker group might stand
_KEPT = "run:"


def _short(path: str) -> str:
    """What tells the jobs of a run from those of others: its random digits, or a hash of its path."""
    last = os.path.basename(path).rpartition("-")[2]
    return (
        last if re.fullmatch("[0-9a-f]{8}|RUN", last) else hashlib.blake2b(os.fsencode(path), digest_size=4).hexdigest()
    )
