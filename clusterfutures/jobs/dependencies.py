"""What a job waits for: read from what the user gave, in words of the scheduler where it can be.

    a Job, an id, a future, a list of them      ──┐
    {"ok": ..., "any": ..., "notok": ...}       ──┴─> Awaited: ids for the scheduler, futures for us

A future is a call of an executor: the scheduler knows nothing of it, so it is waited for here,
before the job is submitted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, NamedTuple

from clusterfutures.errors import OptionError
from clusterfutures.schedulers.base import AFTER, Dependency

if TYPE_CHECKING:
    from clusterfutures.jobs.job import Job

__all__ = ["Awaited", "awaited", "several"]


class Awaited(NamedTuple):
    """Jobs, and futures with how they have to end."""

    jobs: list[Dependency]
    futures: list[tuple[Future[Any], str]]

    def refusal(self) -> str:
        """Wait for the futures; why the job may not start, "" when it may."""
        wait([future for future, _ in self.futures])
        for future, kind in self.futures:
            error = "cancelled" if future.cancelled() else future.exception()
            if (kind == "ok" and error) or (kind == "notok" and not error):
                how = f"raised {error!r}" if isinstance(error, BaseException) else error or "ended well"
                return f"a call that it depends on did not end so ({kind}): it {how}"
        return ""


def several(jobs: Any) -> list[Any]:
    """One or several things as a list."""
    if jobs is None:
        return []
    return [jobs] if hasattr(jobs, "id") or isinstance(jobs, str | int | float | Future) else list(jobs)


def awaited(given: Any) -> Awaited:
    """Read ``dependencies=``.  Raises OptionError for what cannot be waited for."""
    table = given if isinstance(given, Mapping) else {"ok": given}
    found = Awaited([], [])
    for kind, jobs in table.items():
        if kind not in AFTER:
            raise OptionError(f"a dependency is one of {', '.join(AFTER)}, not {kind!r}")
        elements: dict[str, list[Job]] = {}
        for one in several(jobs):
            if isinstance(one, Future):
                found.futures.append((one, kind))
            elif getattr(one, "array_size", 0) and (base := re.fullmatch(r"(\d+)_\d+", one.id)):
                elements.setdefault(base[1], []).append(one)
            else:
                found.jobs.append(Dependency(_id(one), kind))
        for array, members in elements.items():
            is_all = len({member.id for member in members}) == members[0].array_size
            ids = [array] if is_all else [member.id for member in members]
            found.jobs.extend(Dependency(job_id, kind) for job_id in ids)
    return found


def _id(one: Any) -> str:
    if isinstance(one, bool) or not (hasattr(one, "submitted") or isinstance(one, str | int)):
        raise OptionError(f"{one!r} is no job: give a Job, the id of one, or a future")
    job_id = str(one.id if hasattr(one, "submitted") else one)
    if not job_id:
        raise OptionError(f"{one!r} has no id to depend on: submit() it first")
    return job_id
