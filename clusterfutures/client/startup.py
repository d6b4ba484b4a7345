"""How a run is begun, or gone on with, and what its jobs find of the program on their nodes.

no name    --> a new directory                          removed at the end
run=       --> a new one, or the one of earlier programs   it stays
attach     --> one that is there                           it stays

sys.path, directory, initializer, numbers --context()--> ``context``      (every worker)
environment variables            --environment_text()--> ``environment.sh`` (where jobs get none)
who, where, when                      --run_fields()--> ``run.json``       (people, ``attach``)
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
import uuid
from typing import Any, NamedTuple

import cloudpickle

import clusterfutures
from clusterfutures.client.resume.history import RunHistory
from clusterfutures.client.serialize import Pickler
from clusterfutures.errors import StoreError
from clusterfutures.options.places import current_directory, own_interpreter
from clusterfutures.options.settings import Settings
from clusterfutures.pickling import definitions
from clusterfutures.schedulers.base import Scheduler
from clusterfutures.schedulers.variables import is_plain
from clusterfutures.store.bins import CallHead
from clusterfutures.store.faults import advice
from clusterfutures.store.history import History
from clusterfutures.store.ownership import Ownership, furnish, lasting_run
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Opened", "context", "environment_text", "open_run", "run_fields"]

logger = logging.getLogger("clusterfutures")

#: variables that describe the machine or the session the program runs in, not the program
_OWN_TO_A_HOST = (
    "HOSTNAME", "HOST", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_", "DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR",
    "XDG_SESSION_ID", "SSH_AUTH_SOCK", "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY", "TERM", "STY", "TMUX", "ENVIRONMENT",
    "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
)  # fmt: skip
_OWN_TO_A_JOB = ("SLURM", "SBATCH", "PBS_", "PMI", "PMIX", "CLUSTERFUTURES_")


def context(settings: Settings, pickler: Pickler) -> dict[str, Any]:
    """What every worker has to know, once per run."""
    directory = current_directory()
    if not directory:
        logger.warning(
            "clusterfutures: the working directory of this program was removed; its calls run in the run directory, "
            "which is removed at the end"
        )
    initializer = None
    if settings.initializer is not None:
        extras = pickler.initializer(settings.initializer, settings.initargs)
        initializer = CallHead("", 0, extras)
    on_timeout: CallHead | str | None = None
    if callable(settings.on_timeout):
        on_timeout = CallHead("", 0, pickler.initializer(settings.on_timeout, (), "on_timeout"))
    else:
        on_timeout = settings.on_timeout
    return {
        "program": program(),
        "python": sys.version_info[:2],
        "cloudpickle": cloudpickle.__version__,
        "clusterfutures": clusterfutures.__version__,
        "sys_path": [os.path.abspath(entry) for entry in sys.path if directory or os.path.isabs(entry)],
        "prefixes": [sys.prefix, sys.base_prefix],
        "cwd": directory,
        "told": sorted(set(os.environ) | set(settings.env)),
        "initializer": initializer,
        "on_timeout": on_timeout,
        "timeout_notice": settings.timeout_notice,
        "processes": settings.processes,
        "max_workers": settings.max_workers,
        "idle_timeout": settings.idle_timeout,
        "bins_per_job": settings.bins_per_job,
        "max_tasks_per_child": settings.max_tasks_per_child,
        "visibility_timeout": settings.visibility_timeout,
    }


def program() -> tuple[str, dict[str, Any]]:
    """The token of the program, and what its ``__main__`` says of itself."""
    main = vars(sys.modules["__main__"])
    said = {name: main[name] for name in ("__file__", "__doc__", "__package__") if isinstance(main.get(name), str)}
    return definitions.current_token(), {**said, "__name__": "__main__", "__argv__": sys.argv}


def run_fields(settings: Settings, scheduler: str, program: int) -> dict[str, Any]:
    """Return the fields of run.json; program: the number of this program in the run."""
    return {
        "version": clusterfutures.__version__,
        "scheduler": scheduler,
        "name": settings.name,
        "host": os.uname().nodename,
        "pid": os.getpid(),
        "started": time.time(),
        "argv": sys.argv,
        "program": program,
        "settings": settings.plain(),
    }


def environment_text() -> str:
    """The program's environment as shell lines, without what belongs to this host, job or shell."""
    lines = []
    for name, value in sorted(os.environ.items()):
        if name in _OWN_TO_A_HOST or name.startswith(_OWN_TO_A_JOB) or not is_plain(name):
            continue
        lines.append(f"export {name}={shlex.quote(value)}")
    return "\n".join(lines) + "\n"


#: how long the opening of a run repeats what fails with an error that may pass: somebody waits for the first call
START_SECONDS = 5.0


class Opened(NamedTuple):
    """A run that is owned; program: which one of its programs this is, from 1 on."""

    run: RunDirectory
    ownership: Ownership
    program: int
    past: RunHistory


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
        run.write_run_file(run_fields(settings, scheduler.name, 1))
    except BaseException:
        ownership.remove_run()
        raise
    return Opened(run, ownership, 1, RunHistory())


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
        past = _past(run, scheduler) if before else RunHistory()
        if past.slices and scheduler.name == "local" and before.get("host") != os.uname().nodename:
            raise StoreError(
                message=f"{run.path} is a run of {before.get('host')}, where its jobs may run: go on with it there",
                path=run.path,
            )
        run.write_run_file(run_fields(settings, scheduler.name, program))
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


def _past(run: RunDirectory, scheduler: Scheduler) -> RunHistory:
    """Read its past; look for the jobs of submissions without an answer."""
    past = RunHistory.read(History(run))
    past.submissions = [
        known if known.job_ids is not None else known._replace(job_ids=scheduler.find(known.name, known.jobs))
        for known in past.submissions
    ]
    return past


def _new_name(name: str) -> str:
    """A name that no other run has: what, when, and eight random digits."""
    return f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
