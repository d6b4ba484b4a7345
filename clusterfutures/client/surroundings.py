"""What surrounds the program, and its jobs are to find again on their nodes.

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
from typing import Any

import cloudpickle

import clusterfutures
from clusterfutures.client.pickling import Pickler
from clusterfutures.client.settings import Settings
from clusterfutures.places import current_directory
from clusterfutures.schedulers.variables import is_plain
from clusterfutures.store import definitions
from clusterfutures.store.bins import CallHead

__all__ = ["context", "environment_text", "run_fields"]

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
