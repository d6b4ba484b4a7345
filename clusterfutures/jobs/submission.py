"""One submission: the script written, the scheduler asked, and asked again when it gave no answer."""

from __future__ import annotations

from clusterfutures.errors import SchedulerUnavailable, SubmitError
from clusterfutures.jobs.files import JobFiles
from clusterfutures.jobs.watch import ONE_AT_A_TIME, note_submission
from clusterfutures.schedulers.base import JobSpec, Scheduler

__all__ = ["submitted"]


def submitted(
    scheduler: Scheduler, spec: JobSpec, files: JobFiles, count: int = 1, *, perhaps_there: bool = False
) -> list[str]:
    """Submit ``count`` jobs with one command; their ids.  Without an answer they are looked for by name.

    perhaps_there: an earlier submission under this name had no answer, so they are looked for first.

    Raises SubmitError when refused, SchedulerUnavailable when nobody knows.
    """
    files.write("script", scheduler.script(spec, count).encode("utf-8", "surrogateescape"))
    with ONE_AT_A_TIME:
        found = scheduler.find(spec.name, count) if perhaps_there else None
        ids = found or _answered(scheduler, spec, files.file("script"), count)
    for _ in ids:
        note_submission(scheduler.name)
    return ids


def _answered(scheduler: Scheduler, spec: JobSpec, path: str, count: int) -> list[str]:
    try:
        return scheduler.submit(spec, path, count)
    except SchedulerUnavailable as error:
        found = scheduler.find(spec.name, count)
        if found is None:
            raise SubmitError(message=str(error), advice="it was not submitted: try again") from error
        return found
