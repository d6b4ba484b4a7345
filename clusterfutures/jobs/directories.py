"""Where the directories of jobs are, and on which other clusters such jobs run.

    directory=, configuration, ~/.clusterfutures/jobs --jobs_directory()--> <name>-<token>/job.json ...
                                                                             .elsewhere: ``slurm north``

Clusters and servers that jobs were sent to by name are noted beside the directories of jobs, a line each, so that a
later program lists their jobs as well.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator

from clusterfutures import config
from clusterfutures.options.places import absolute
from clusterfutures.schedulers import find_scheduler
from clusterfutures.schedulers.base import split_id

__all__ = [
    "DIRECTORY",
    "NO_PLACE",
    "job_directories",
    "jobs_directory",
    "known_places",
    "note_places",
    "scheduler_name",
]

log = logging.getLogger("clusterfutures")

#: where the directories of jobs are made
DIRECTORY = "~/.clusterfutures/jobs"
#: what to do when that is no place
NO_PLACE = "Give directory= (--directory) or set jobs_directory: an absolute path that the nodes see too."
_NAME = ".elsewhere"
#: no line is longer
_LONGEST = 1000


def note_places(directory: str, scheduler: str, job_ids: Iterable[str]) -> None:
    """Note the clusters or servers that these ids name.  directory: that of jobs."""
    places = {split_id(job_id)[1] for job_id in job_ids} - {""}
    if not places or not (fresh := places - known_places(directory, scheduler)):
        return
    try:
        with open(os.path.join(directory, _NAME), "a", encoding="utf-8") as file:
            file.write("".join(f"{scheduler} {place}\n" for place in sorted(fresh) if len(place) < _LONGEST))
    except OSError as error:
        log.info("that jobs are on %s could not be noted: %s", ", ".join(sorted(fresh)), error)


def known_places(directory: str, scheduler: str) -> set[str]:
    """The clusters or servers of ``scheduler`` that were noted; none where nothing can be read."""
    try:
        with open(os.path.join(directory, _NAME), encoding="utf-8", errors="replace") as file:
            lines = [line.rstrip("\n").partition(" ") for line in file]
    except OSError:
        return set()
    return {place for name, _, place in lines if name == scheduler and place and place.isprintable()}


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
