"""The clusters and servers that jobs were sent to by name, so that a later program lists their jobs as well.

One line each in a file beside the directories of jobs: ``slurm north``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from clusterfutures.schedulers.base import split_id

__all__ = ["known_places", "note_places"]

log = logging.getLogger("clusterfutures")

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
