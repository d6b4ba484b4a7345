"""One submission: the script written, the scheduler asked, and asked again when it gave no answer.

submit --no answer--> find, by name --there--> its ids
   ^                    |  '--no answer--> again, until PATIENCE_SECONDS are over
   '---- not there -----'
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Iterator

from clusterfutures.errors import SchedulerUnavailable, SubmitError
from clusterfutures.jobs.directories import note_places
from clusterfutures.jobs.files import JobFiles
from clusterfutures.jobs.status import ONE_AT_A_TIME, note_submission
from clusterfutures.schedulers.base import JobSpec, Scheduler

__all__ = ["PATIENCE_SECONDS", "submitted"]

log = logging.getLogger("clusterfutures")

#: how long a scheduler that gives no answer is asked again
PATIENCE_SECONDS = 60.0
_PAUSES = (1.0, 2.0, 4.0, 8.0)


def submitted(
    scheduler: Scheduler, spec: JobSpec, files: JobFiles, count: int = 1, *, perhaps_there: bool = False
) -> list[str]:
    """Submit ``count`` jobs with one command; their ids.  Without an answer they are looked for by name,
    and submitted again when they are not there.

    perhaps_there: an earlier submission under this name had no answer, so they are looked for first.

    Raises SubmitError when refused, or when the scheduler took nothing for a minute,
    SchedulerUnavailable when nobody knows.
    """
    files.write("script", scheduler.script(spec, count).encode("utf-8", "surrogateescape"))
    files.check_place()
    deadline = time.monotonic() + PATIENCE_SECONDS
    found = _found(scheduler, spec.name, count, deadline) if perhaps_there else None
    ids = found or _answered(scheduler, spec, files.file("script"), count, deadline)
    for _ in ids:
        note_submission(scheduler.name)
    note_places(os.path.dirname(os.path.dirname(files.file("script"))), scheduler.name, ids)
    return ids


def _answered(scheduler: Scheduler, spec: JobSpec, path: str, count: int, deadline: float) -> list[str]:
    for is_last in _tries(deadline):
        try:
            with ONE_AT_A_TIME:
                return scheduler.submit(spec, path, count)
        except SchedulerUnavailable as error:
            found = _found(scheduler, spec.name, count, deadline)
            if found is not None:
                return found
            if is_last:
                raise SubmitError(message=str(error), advice="it was not submitted: try again") from error
            log.warning("no answer to the submission of %s, and it is not there: trying again: %s", spec.name, error)
    raise AssertionError("the last try returns or raises")


def _found(scheduler: Scheduler, name: str, count: int, deadline: float) -> list[str] | None:
    """The ids of jobs that were submitted under this name; None when there are none."""
    for is_last in _tries(deadline):
        try:
            with ONE_AT_A_TIME:
                return scheduler.find(name, count)
        except SchedulerUnavailable as error:
            if is_last:
                raise
            log.info("whether %s was submitted is not told, asking again: %s", name, error)
    raise AssertionError("the last try returns or raises")


def _tries(deadline: float) -> Iterator[bool]:
    """For each try: is it the last one?  There are pauses between them, in which others may ask the scheduler."""
    for pause in itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1])):
        yield time.monotonic() + pause > deadline
        time.sleep(pause)
