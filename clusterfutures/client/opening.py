"""How a run is begun, or gone on with: its directory, who owns it, what was in it.

no name    --> a new directory                          removed at the end
run=       --> a new one, or the one of earlier programs   it stays
attach     --> one that is there                           it stays
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from typing import Any, NamedTuple

from clusterfutures.client import surroundings
from clusterfutures.client.past import Past
from clusterfutures.client.settings import Settings
from clusterfutures.errors import StoreError
from clusterfutures.places import own_interpreter
from clusterfutures.schedulers.base import Scheduler
from clusterfutures.store.faults import advice
from clusterfutures.store.history import History
from clusterfutures.store.lasting import furnish, lasting_run
from clusterfutures.store.owner import Ownership
from clusterfutures.store.run import RunDirectory

__all__ = ["Opened", "open_run"]

#: how long the opening of a run repeats what fails with an error that may pass: somebody waits for the first call
START_SECONDS = 5.0


class Opened(NamedTuple):
    """A run that is owned; program: which one of its programs this is, from 1 on."""

    run: RunDirectory
    ownership: Ownership
    program: int
    past: Past


def open_run(settings: Settings, scheduler: Scheduler) -> Opened:
    """Make a run, or take over one that its program has left.

    Raises StoreError when that cannot be done: because another program owns it, say.  Raises
    OptionError when it is not known what its jobs are to run.
    """
    if settings.python == sys.executable:
        own_interpreter()  # raises where that is the program: each job would start it, and submit a job
    patience = min(settings.visibility_timeout, START_SECONDS)
    try:
        opened = (_lasting if settings.run else _new)(settings, scheduler, patience)
    except FileNotFoundError:
        raise
    except OSError as error:
        path = os.path.join(settings.directory, settings.run)
        raise StoreError(message=f"no run can be opened in {path}: {error}; {advice(error)}", path=path) from error
    opened.run.be_patient(settings.visibility_timeout)
    return opened


def _new(settings: Settings, scheduler: Scheduler, patience: float) -> Opened:
    run = RunDirectory.create(os.path.join(settings.directory, _new_name(settings.name)), patience=patience)
    ownership = Ownership(run)
    try:
        ownership.acquire_new()
        run.write_run_file(surroundings.run_fields(settings, scheduler.name, 1))
    except BaseException:
        ownership.remove_run()
        raise
    return Opened(run, ownership, 1, Past())


def _lasting(settings: Settings, scheduler: Scheduler, patience: float) -> Opened:
    run = lasting_run(os.path.join(settings.directory, settings.run), patience)
    ownership = Ownership(run)
    ownership.acquire()
    try:
        furnish(run)
        before = _run_fields(run)
        if before and before.get("scheduler") != scheduler.name:
            raise StoreError(
                message=f"{run.path} is a run on {before.get('scheduler')}, not on {scheduler.name}: "
                "use its executor, or choose another run= name",
                path=run.path,
            )
        program = int(before.get("program", 0)) + 1
        past = _past(run, scheduler) if before else Past()
        if past.pieces and scheduler.name == "local" and before.get("host") != os.uname().nodename:
            raise StoreError(
                message=f"{run.path} is a run of {before.get('host')}, where its jobs may run: go on with it there",
                path=run.path,
            )
        run.write_run_file(surroundings.run_fields(settings, scheduler.name, program))
    except BaseException:
        ownership.release()
        raise
    return Opened(run, ownership, program, past)


def _run_fields(run: RunDirectory) -> dict[str, Any]:
    """What its last program said of itself; nothing, when that was killed before it did."""
    try:
        return run.read_run_file()
    except (FileNotFoundError, ValueError):
        return {}


def _past(run: RunDirectory, scheduler: Scheduler) -> Past:
    """Read its past; look for the jobs of submissions without an answer."""
    past = Past.read(History(run))
    past.submissions = [
        known if known.job_ids is not None else known._replace(job_ids=scheduler.find(known.name, known.jobs))
        for known in past.submissions
    ]
    return past


def _new_name(name: str) -> str:
    """A name that no other run has: what, when, and eight random digits."""
    return f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
