"""Scripts that are files already, and files made to be submitted later.

make_job_file(command, ...) --> .../NAME-token/script --submit_file(), sbatch, qsub--> the job
a script with #SBATCH or #PBS lines --submit_file()--> a Job with the resources that they name
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from clusterfutures import config
from clusterfutures.errors import OptionError
from clusterfutures.jobs import directives
from clusterfutures.jobs.dependencies import awaited
from clusterfutures.jobs.files import ID_FIELD
from clusterfutures.jobs.job import Job, find
from clusterfutures.jobs.request import Command
from clusterfutures.jobs.status import ONE_AT_A_TIME, adapter
from clusterfutures.schedulers import find_scheduler

__all__ = ["make_job_file", "of_file", "submit_file"]


def make_job_file(
    command: Command,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> str:
    """Write the directory of a job; the path of its script, for ``submit_file``, sbatch or qsub.

    Arguments as for ``Job``, but no futures: a file cannot wait for them.
    """
    job = Job(command, args, kwargs, **options)
    if job.request.awaited.futures:
        raise OptionError("a file cannot wait for a future: give it to submit_file(path, dependencies=...)")
    return os.path.join(job.write().path, "script")


def submit_file(path: str | os.PathLike[str], args: Sequence[Any] | None = None, **options: Any) -> Job:
    """Submit a script as a job.

    args: what the script gets as ``$1``, ``$2`` ...
    The script is copied, as sbatch and qsub do; its ``#SBATCH`` or ``#PBS`` lines hold where the
    options (those of ``Job``) say nothing.  One that ``make_job_file`` wrote is submitted as it is.

    Raises OptionError for a script that cannot be read, or requests an array of jobs.
    """
    return of_file(path, args, **options).submit()


def of_file(path: str | os.PathLike[str], args: Sequence[Any] | None = None, **options: Any) -> Job:
    """As ``submit_file``, without submitting."""
    path = os.path.abspath(os.path.expanduser(os.fspath(path)))
    above = os.path.dirname(path)
    if os.path.basename(path) == "script" and os.path.isfile(os.path.join(above, "job.json")):
        return _written(above, path, args, options)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError as error:
        raise OptionError(f"{path}: the script cannot be read: {error.strerror}") from None
    if not text.strip() or "\0" in text:
        raise OptionError(f"{path} is no script: it is {'empty' if not text.strip() else 'a program'}")
    settings = config.load().options(options.get("profile"))
    scheduler = options.get("scheduler") or settings.get("scheduler") or find_scheduler().name
    profile = options.pop("profile", None)
    said = directives.read(text, scheduler)
    wanted = directives.wanted(said, options | {"scheduler": scheduler})
    wanted.setdefault("name", os.path.splitext(os.path.basename(path))[0])
    for output in {"outfile", "errfile"} & said.keywords.keys():
        if scheduler == "slurm" and wanted.get(output) == said.keywords[output]:
            wanted[output] = wanted[output].replace("%x", wanted["name"]).replace("%A", ID_FIELD)
    job = Job(text, args, profile=profile, **wanted)
    job.request.is_file = True
    return job


def _written(directory: str, path: str, args: Sequence[Any] | None, options: dict[str, Any]) -> Job:
    """A job of ours that was written, and not yet submitted."""
    after = options.pop("dependencies", ())
    if args or options:
        raise OptionError(f"{path} was written by make_job_file: give {', '.join(options) or 'arguments'} there")
    job = Job.attach(directory)
    waits = awaited(after, os.path.dirname(directory), find)
    with ONE_AT_A_TIME:
        waits.must_be_known(adapter(job.scheduler))
    if reason := waits.refusal():
        job.never(reason)
    job.record["after"] = [*job.record["after"], *waits.jobs]
    if checks := waits.script():
        job.wait_for_arrays(checks)
    return job
