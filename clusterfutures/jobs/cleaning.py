"""Removing the files of jobs: only what a job of ours wrote, only once it has ended.

A directory is a job's when its ``job.json`` says so, never by its name.  Files of others in
it stay, and the directory with them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from clusterfutures.errors import SchedulerUnavailable, StoreError
from clusterfutures.jobs.directories import jobs_directory
from clusterfutures.jobs.job import Job, jobs_in
from clusterfutures.jobs.status import ask_about
from clusterfutures.schedulers.job_state import JobStatus

__all__ = ["clean", "clean_dir", "ended_in"]

log = logging.getLogger("clusterfutures")


def clean(jobs: Job | Iterable[Job], delete_outputs: bool = False, *, remember: bool = True) -> None:
    """Remove the files of these jobs.  Raises RuntimeError at the first that has not ended.

    delete_outputs: also what they wrote to ``outfile`` and ``errfile``.
    remember: what they printed and returned, and how they ended, these Jobs still know.
    """
    for job in [jobs] if isinstance(jobs, Job) else jobs:
        job.clean(delete_outputs, remember=remember)


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
    clean(jobs, delete_outputs, remember=False)
    return [job.path for job in jobs]


def ended_in(directory: str, suffix: str = "", scheduler: str | None = None) -> list[Job]:
    """The jobs in ``directory`` that have ended."""
    jobs = [
        job
        for job in jobs_in(directory)
        if scheduler in (None, job.scheduler) and suffix in ("", job.record.get("suffix"))
    ]
    heard = {job: _heard(job) for job in jobs}
    silent = [job for job, ended in heard.items() if ended is False]
    for name in {job.scheduler for job in silent}:
        ask_about(name, [job.id for job in silent if job.scheduler == name])
    over = {job for job in silent if _is_over(job, Job.look)}  # the last words of all are waited for together
    over |= {job for job in silent if job not in over and _is_over(job, Job.update)}
    return [job for job, ended in heard.items() if ended or job in over]


def _heard(job: Job) -> bool | None:
    """Whether its files say that it has ended; None where there is nothing to ask about, or they cannot be read."""
    try:
        if job.record.get("never"):
            return True
        return job.ended is not None if job.id else None
    except (StoreError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is left alone: %s", job.path, error)
        return None


def _is_over(job: Job, look: Callable[[Job], JobStatus]) -> bool:
    try:
        return look(job).state.is_final
    except (StoreError, SchedulerUnavailable, ValueError, KeyError, TypeError) as error:
        log.warning("%s is left alone: %s", job.path, error)
        return False


def _agreed(jobs: list[Job]) -> bool:
    for job in jobs:
        print(f"{job.path}  ({job.name}, {job.id})")
    try:
        return input(f"Remove the files of these {len(jobs)} jobs? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
