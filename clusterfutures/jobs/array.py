"""One job for each of many inputs, submitted together as arrays of the scheduler.

command or function, inputs --> <base>/<name>-<token>/   array.json, script, log-<i>.log
                                    0/ 1/ 2/ ...         a directory of a job each
                                --submit()--> ids --> Job each
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from clusterfutures.errors import ArrayTooLarge, ClusterError, OptionError
from clusterfutures.jobs.files import JobFiles
from clusterfutures.jobs.job import Job, cancel_all
from clusterfutures.jobs.request import Command, Request, label, spec_of
from clusterfutures.jobs.status import ONE_AT_A_TIME, adapter
from clusterfutures.jobs.submission import submitted
from clusterfutures.schedulers.base import JobSpec

__all__ = ["script_of", "submit_array", "write_array"]

log = logging.getLogger("clusterfutures")


def submit_array(
    command: Command,
    items: Iterable[Any],
    *,
    name: str = "",
    dependencies: Any = None,
    scheduler: str | None = None,
    profile: str | None = None,
    directory: str | None = None,
    **options: Any,
) -> list[Job]:
    """Submit one job for each of ``items``, together, and return them in this order.

    command: shell text, in which ``{}`` is the item, quoted for the shell (``{.}`` without its
        ending, ``{/}`` its name alone, ``{//}`` its directory, ``{#}`` its number from 1 on); a
        command without any of them gets the item as an argument, see ``Job``.  A tuple is several
        words.  A function is called with the
        item, a tuple as its arguments.
    The rest is as for ``Job``.

    Raises as ``Job.submit``; what was submitted by then is cancelled, the rest removed.
    """
    written = write_array(
        command, items, name=name, dependencies=dependencies, scheduler=scheduler, profile=profile,
        directory=directory, **options,
    )  # fmt: skip
    if not written:
        return []
    try:
        if refusal := written[0].refusal():
            for job in written:
                job.never(refusal)
            return written
        written[0].wait_for_room()
        done = 0
        while done < len(written):
            done += _submit_some(written[done:])
    except BaseException:
        _undo(written)
        raise
    return written


def _undo(jobs: Sequence[Job]) -> None:
    """Cancel what was submitted, remove what was not."""
    for job in jobs:
        if not job.id:
            job.clean()
    try:
        cancel_all([job for job in jobs if job.id])
    except ClusterError as error:
        log.warning("jobs in %s could not be cancelled: %s", os.path.dirname(jobs[0].path), error)


def write_array(command: Command, items: Iterable[Any], **options: Any) -> list[Job]:
    """As ``submit_array``, without submitting: jobs that are written only."""
    several = list(items)
    first = Job(command, **options)
    request = first.request
    above = JobFiles.make(request.directory, label(first.name), request.suffix)
    above.write("array.json", json.dumps({"count": len(several)}).encode())
    made: list[Job] = []
    try:
        for number, item in enumerate(several):
            made.append(_written(above, request, item, number))
    except BaseException:
        for job in made:
            job.clean()
        above.remove()
        raise
    if not several:
        os.unlink(above.file("array.json"))
        os.rmdir(above.path)
    return made


def _written(above: JobFiles, request: Request, item: Any, number: int) -> Job:
    files = JobFiles(above.file(str(number)))
    os.mkdir(files.path, 0o700)
    one = request.item(item, number)
    record = one.record() | {"array": 0}
    for field in ("outfile", "errfile"):
        record[field] = record[field].replace("{#}", str(number + 1))
    try:
        one.write(files, record)
        files.write_record(record)
    except BaseException:
        files.remove()
        raise
    job = Job.attach(files.path)
    job.requested(one)
    return job


def _submit_some(jobs: Sequence[Job]) -> int:
    """Submit as many as one array may have here; how many that were."""
    scheduler = adapter(jobs[0].scheduler)
    count = min(len(jobs), max(1, scheduler.array_limit()))
    while True:
        spec = _spec(jobs[:count])
        try:
            ids = submitted(scheduler, spec, JobFiles(os.path.dirname(jobs[0].path)), count)
            break
        except ArrayTooLarge as error:
            if count == 1:
                raise
            log.info("an array of %d is too large here, trying half of it: %s", count, error)
            count //= 2
    now = time.time()
    try:
        for place, (job, job_id) in enumerate(zip(jobs, ids, strict=False)):
            job.was_submitted(job_id, now, array=count, log=spec.log_of(place))
    except BaseException:  # nobody else knows the ids
        with ONE_AT_A_TIME:
            scheduler.cancel(ids)
        raise
    return count


def script_of(jobs: Sequence[Job]) -> str:
    """The text that the scheduler would be given for these jobs of ``write_array``."""
    return adapter(jobs[0].scheduler).script(_spec(jobs), len(jobs))


def _spec(jobs: Sequence[Job]) -> JobSpec:
    """The array as one job of the scheduler: each element runs the script of its own directory."""
    above = os.path.dirname(jobs[0].path)
    first = int(os.path.basename(jobs[0].path))
    spec = spec_of(JobFiles(jobs[0].path), jobs[0].record)
    shell = spec.command[0]
    text = f'exec {shell} {shlex.quote(above)}/"$(({first} + CLUSTERFUTURES_INDEX))"/run.sh'
    name = os.path.basename(above) + (f"-{first}" if first else "")
    if "\n" in above:
        raise OptionError(f"the directory of the jobs has a line break in its name: {above!r}")
    return replace(spec, name=name, command=[shell, "-c", text], log=os.path.join(above, "log"), cwd=above)
