"""Removing the files of jobs: only what a job of ours wrote, only once it has ended.

A directory is a job's when its ``job.json`` says so, never by its name.  Files of others in
it stay, and the directory with them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from clusterfutures.errors import SchedulerUnavailable, StoreError
from clusterfutures.jobs.finding import jobs_directory, jobs_in
from clusterfutures.jobs.job import Job

__all__ = ["clean", "clean_dir", "ended_in"]

log = logging.getLogger("clusterfutures")


def clean(jobs: Job | Iterable[Job], delete_outputs: bool = False) -> None:
    """Remove the files of these jobs.  Raises RuntimeError at the first that has not ended.

    delete_outputs: also what they wrote to ``outfile`` and ``errfile``.
    """
    for job in [jobs] if isinstance(jobs, Job) else jobs:
        job.clean(delete_outputs)


def clean_dir(
    directory: str | None = None, *, suffix: str = "", scheduler: str | None = None, confirm: bool = True,
    delete_outputs: bool = False,
) -> list[str]:  # fmt: skip
    """Remove the files, output included, of all jobs in ``directory`` that have ended.

    directory: default the configured one, else ``~/.clusterfutures/jobs``.
    suffix, scheduler: only jobs that were made with this ``suffix=``, or on this scheduler.
    confirm: list the jobs and ask before anything is removed; no answer is a no.
    delete_outputs: also what they wrote to ``outfile`` and ``errfile``.

    Returns the directories of the jobs that were removed.
    """
    jobs = ended_in(jobs_directory(directory), suffix, scheduler)
    if confirm and jobs and not _agreed(jobs):
        return []
    clean(jobs, delete_outputs)
    return [job.path for job in jobs]


def ended_in(directory: str, suffix: str = "", scheduler: str | None = None) -> list[Job]:
    """The jobs in ``directory`` that have ended."""
    found = []
    for job in jobs_in(directory):
        if scheduler not in (None, job.scheduler) or not (not suffix or job.record.get("suffix") == suffix):
            continue
        try:
            if (job.id and (job.ended is not None or job.update().state.is_final)) or job.record.get("never"):
                found.append(job)
        except (StoreError, SchedulerUnavailable, ValueError, KeyError, TypeError) as error:
            log.warning("%s is left alone: %s", job.path, error)
    return found


def _agreed(jobs: list[Job]) -> bool:
    for job in jobs:
        print(f"{job.path}  ({job.name}, {job.id})")
    try:
        return input(f"Remove the files of these {len(jobs)} jobs? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
