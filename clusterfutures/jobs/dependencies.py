"""What a job waits for: read from what the user gave, in words of the scheduler where it can be.

    a Job, an id, a future, a list of them      ──┐
    {"ok": ..., "any": ..., "notok": ...}       ──┴─> Awaited: ids for the scheduler, futures for us

A future is a call of an executor: the scheduler knows nothing of it, so it is waited for here,
before the job is submitted.  Nor need it know any more of a job that has ended: how that was,
the job's own files tell.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, NamedTuple

from clusterfutures.errors import OptionError, SchedulerUnavailable, StoreError, SubmitError
from clusterfutures.schedulers import by_name
from clusterfutures.schedulers.base import AFTER, Dependency, JobState, Scheduler

if TYPE_CHECKING:
    from clusterfutures.jobs.job import Job

__all__ = ["Awaited", "awaited", "several", "unmet"]

log = logging.getLogger("clusterfutures")

#: from how long after its end on a scheduler may have forgotten a job, in seconds: less than any site's MinJobAge
_FORGOTTEN_SECONDS = 30.0


class Awaited(NamedTuple):
    """Jobs, futures with how they have to end, and jobs that have ended in another way.

    named: of the jobs those of which only the id was given.
    """

    jobs: list[Dependency]
    futures: list[tuple[Future[Any], str]]
    failed: list[Dependency]
    named: list[str]

    def must_be_known(self, scheduler: Scheduler) -> None:
        """A scheduler that takes a job it does not know for one that has ended well is asked about ids that
        were written by hand.  Raises SubmitError."""
        if not self.named or not scheduler.takes_unknown_for_done:
            return
        try:
            states = scheduler.states(self.named)
            unknown = [one for one in self.named if (status := states.get(one)) and status.state is JobState.GONE]
            unknown = [one for one in unknown if scheduler.explain(one) is None]
        except SchedulerUnavailable as error:
            log.info("whether the jobs %s are there is not known now: %s", ", ".join(self.named), error)
            return
        if unknown:
            raise SubmitError(
                message=f"job {', '.join(unknown)} is not known to {scheduler.name}, so nothing can depend on it",
                advice="was it submitted to another scheduler or cluster? If it ended long ago and is forgotten, leave "
                "it out",
            )

    def refusal(self) -> str:
        """Wait for the futures; why the job may not start, "" when it may."""
        if self.failed:
            return unmet(self.failed)
        wait([future for future, _ in self.futures])
        for future, kind in self.futures:
            error = "cancelled" if future.cancelled() else future.exception()
            if (kind == "ok" and error) or (kind == "notok" and not error):
                how = f"raised {error!r}" if isinstance(error, BaseException) else error or "ended well"
                return f"a call that it depends on did not end so ({kind}): it {how}"
        return ""


def unmet(after: Iterable[Dependency]) -> str:
    """The reason of a job that never started."""
    return f"a job that it depends on did not end so: {', '.join(f'{one.job_id} ({one.kind})' for one in after)}"


def several(jobs: Any) -> list[Any]:
    """One or several things as a list."""
    if jobs is None:
        return []
    return [jobs] if hasattr(jobs, "id") or isinstance(jobs, str | int | float | Future) else list(jobs)


def awaited(given: Any) -> Awaited:
    """Read ``dependencies=``.  Raises OptionError for what cannot be waited for."""
    table = given if isinstance(given, Mapping) else {"ok": given}
    found = Awaited([], [], [], [])
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
                _add(found, kind, [one], [one])
        for array, members in elements.items():
            is_all = len({member.id for member in members}) == members[0].array_size
            _add(found, kind, members, [array] if is_all else members)
    return found


def _add(found: Awaited, kind: str, jobs: Sequence[Any], named: Sequence[Any]) -> None:
    """Have the scheduler wait for ``jobs``, as ``named``; not for what is known to have come true."""
    came_true = [_came_true(job, kind) for job in jobs]
    if all(came_true):
        return
    if kind != "notok" or len(jobs) == 1:  # of an array any element may be the one that fails
        pairs = zip(jobs, came_true, strict=True)
        found.failed.extend(
            Dependency(job.id or repr(job.name), kind) for job, so in pairs if so is False and _is_forgotten(job)
        )
    if not found.failed:
        found.jobs.extend(Dependency(_id(one), kind) for one in named)
        found.named.extend(_id(one) for one in jobs if not hasattr(one, "submitted"))


def _came_true(job: Any, kind: str) -> bool | None:
    """What the files of a job of ours say; None when they do not."""
    record = getattr(job, "record", {})
    if record.get("never"):
        return kind != "ok"
    try:
        if not record.get("id") or job.ended is None:
            return None
        return kind == "any" or (kind == "ok") is (job.exitcode == 0)
    except StoreError:  # somebody has cleaned it
        return None


def _is_forgotten(job: Job) -> bool:
    """True for a job that has ended, when its scheduler would take it for one that has ended well."""
    if job.record.get("never"):
        return True
    trusts = by_name(job.scheduler).takes_unknown_for_done
    return trusts and job.ended is not None and time.time() - job.ended > _FORGOTTEN_SECONDS


def _id(one: Any) -> str:
    if isinstance(one, bool) or not (hasattr(one, "submitted") or isinstance(one, str | int)):
        raise OptionError(f"{one!r} is no job: give a Job, the id of one, or a future")
    job_id = str(one.id if hasattr(one, "submitted") else one)
    if not job_id:
        raise OptionError(f"{one!r} has no id to depend on: submit() it first")
    return job_id
