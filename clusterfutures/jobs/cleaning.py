"""Removing the files of jobs: only what a job of ours wrote, only once it has ended.

A directory is a job's when its ``job.json`` says so, never by its name.  Files of others in
it stay, and the directory with them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator

from clusterfutures.errors import SchedulerUnavailable, StoreError
from clusterfutures.jobs.job import Job
from clusterfutures.jobs.request import DIRECTORY

__all__ = ["clean", "clean_dir"]

log = logging.getLogger("clusterfutures")


def clean(jobs: Job | Iterable[Job]) -> None:
    """Remove the files of these jobs.  Raises RuntimeError at the first that has not ended."""
    for job in [jobs] if isinstance(jobs, Job) else jobs:
        job.clean()


def clean_dir(directory: str = DIRECTORY, *, confirm: bool = True) -> list[str]:
    """Remove the files, output included, of all jobs in ``directory`` that have ended.

    confirm: list the jobs and ask before anything is removed; no answer is a no.

    Returns the directories of the jobs that were removed.
    """
    jobs = list(_ended(os.path.abspath(os.path.expanduser(directory))))
    if confirm and jobs and not _agreed(jobs):
        return []
    for job in jobs:
        job.clean()
    return [job.path for job in jobs]


def _ended(directory: str) -> Iterator[Job]:
    for entry in sorted(os.scandir(directory), key=lambda one: one.name) if os.path.isdir(directory) else ():
        if not entry.is_dir(follow_symlinks=False) or not os.path.isfile(os.path.join(entry.path, "job.json")):
            continue
        try:
            job = Job.attach(entry.path)
            if job.id and (job.ended is not None or job.update().state.is_final):
                yield job
        except (StoreError, SchedulerUnavailable, ValueError, KeyError, TypeError) as error:
            log.warning("%s is left alone: %s", entry.path, error)


def _agreed(jobs: list[Job]) -> bool:
    for job in jobs:
        print(f"{job.path}  ({job.name}, {job.id})")
    try:
        return input(f"Remove the files of these {len(jobs)} jobs? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
