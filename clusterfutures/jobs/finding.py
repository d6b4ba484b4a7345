"""Jobs of ours on disk: which directories are jobs', and which job has this id."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator

from clusterfutures import config
from clusterfutures.errors import OptionError, StoreError
from clusterfutures.jobs.job import Job
from clusterfutures.jobs.request import DIRECTORY, NO_PLACE
from clusterfutures.jobs.watch import ONE_AT_A_TIME, adapter
from clusterfutures.places import absolute
from clusterfutures.schedulers import by_name, find_scheduler
from clusterfutures.schedulers.base import split_id

__all__ = ["find", "job_directories", "jobs_directory", "jobs_in", "plain_id", "scheduler_name", "with_id"]

log = logging.getLogger("clusterfutures")


def jobs_directory(directory: str | None = None, profile: str | None = None) -> str:
    """The one that is named, else the configured one, else the usual one."""
    found = directory or config.load().options(profile).get("jobs_directory") or DIRECTORY
    return absolute(found, NO_PLACE)


def scheduler_name(name: str | None = None, profile: str | None = None) -> str:
    """The scheduler that is named, else the configured one, else the one that is here."""
    return str(name or config.load().options(profile).get("scheduler") or find_scheduler().name)


def job_directories(directory: str) -> Iterator[str]:
    """The directories in ``directory`` that hold a ``job.json``, those of arrays among them, by name."""
    entries = os.scandir(directory) if os.path.isdir(directory) else ()
    for entry in sorted(entries, key=lambda one: (len(one.name) if one.name.isdigit() else 0, one.name)):
        if not entry.is_dir(follow_symlinks=False):
            continue
        if os.path.isfile(os.path.join(entry.path, "job.json")):
            yield entry.path
        elif os.path.isfile(os.path.join(entry.path, "array.json")):
            yield from job_directories(entry.path)


def jobs_in(directory: str) -> Iterator[Job]:
    """Return the jobs that have directories; what cannot be read is left out, with a warning."""
    for path in job_directories(directory):
        try:
            yield Job.attach(path)
        except (StoreError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is left alone: %s", path, error)


def plain_id(text: str) -> str:
    """An id as we have it, of one as qsub (``25[].server``) or sbatch (``25;cluster``) prints it."""
    with_cluster = re.sub(r"^(\d+(?:_\d+)?);(.+)", r"\1@\2", text)
    if re.fullmatch(r"\d+(?:\[\d*\])?\..*", with_cluster) is None:
        return with_cluster
    if not by_name("pbs").is_here():
        return with_cluster.partition(".")[0]
    with ONE_AT_A_TIME:
        return adapter("pbs").usual_id(with_cluster)


def find(words: Iterable[str], directory: str, scheduler: str) -> list[Job | str]:
    """The jobs that are meant: by a path of theirs, or by their id; an id that is none of ours stays one.

    An id is one of ``scheduler``, and of jobs that had the same that of the last; the id of an array
    stands for all jobs of it that are ours.
    """
    found: list[Job | str] = []
    known: dict[str, list[Job]] | None = None
    for word in words:
        if os.sep in word:
            path = os.path.abspath(os.path.expanduser(word))
            several = list(job_directories(path))
            if not several and not os.path.isfile(os.path.join(path, "job.json")):
                raise OptionError(f"{word} is no directory of a job: there is no job.json")
            found += [Job.attach(each) for each in several or [path]]
            continue
        if known is None:
            known = _by_id(directory, scheduler)
        found += known.get(word) or known.get(plain_id(word)) or [plain_id(word)]
    return found


def with_id(job_id: str, directory: str | None = None) -> Job:
    """The job with this id; of several schedulers' the one submitted last.  Raises StoreError when there is none."""
    where = jobs_directory(directory)
    found = [job for job in jobs_in(where) if job.id in (job_id, plain_id(job_id))]
    if not found:
        raise StoreError(
            message=f"there is no job {job_id} of yours in {where}: was it made in another directory=, or cleaned up?",
            path=where,
        )
    return max(found, key=lambda job: job.submitted or 0.0)


def _by_id(directory: str, scheduler: str) -> dict[str, list[Job]]:
    whole: dict[str, dict[str, list[Job]]] = {}
    short: dict[str, dict[str, list[Job]]] = {}  # by ids without the cluster or server that theirs have
    for job in jobs_in(directory):
        if not job.id or job.scheduler != scheduler:
            continue
        plain, _ = split_id(job.id)
        base = plain.partition("_")[0].partition("[")[0]
        bases = [base, f"{base}[]"] if job.array_size else []
        for meant, group in [(plain, job.path), *((one, os.path.dirname(job.path)) for one in bases)]:
            key = job.id.replace(plain, meant, 1)
            whole.setdefault(key, {}).setdefault(group, []).append(job)
            if key != meant:
                short.setdefault(meant, {}).setdefault(group, []).append(job)
    return {
        key: max(groups.values(), key=lambda jobs: jobs[0].submitted or 0.0)
        for key, groups in [*short.items(), *whole.items()]
    }
