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
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any, NamedTuple, Protocol

from clusterfutures.errors import OptionError, SchedulerUnavailable, StoreError, SubmitError
from clusterfutures.schedulers import by_name
from clusterfutures.schedulers.base import AFTER, Dependency, Scheduler
from clusterfutures.schedulers.job_state import JobState, JobStatus

__all__ = ["EXIT_UNMET", "Awaited", "Find", "OurJob", "awaited", "several", "unmet", "unmet_of"]

log = logging.getLogger("clusterfutures")

#: from how long after its end on a scheduler may have forgotten a job, in seconds: less than any site's MinJobAge
_FORGOTTEN_SECONDS = 30.0


class OurJob(Protocol):
    """What is asked of a Job."""

    id: str
    name: str
    scheduler: str
    record: dict[str, Any]

    @property
    def path(self) -> str: ...
    @property
    def array_size(self) -> int: ...
    @property
    def ended(self) -> float | None: ...
    @property
    def exitcode(self) -> int | None: ...
    def look(self, waited: float = 0.0) -> JobStatus: ...


#: (ids, directory, scheduler) -> our jobs that have them, and the ids of others
Find = Callable[[Iterable[str], str, str], Sequence[Any]]


class Awaited(NamedTuple):
    """Jobs, futures with how they have to end, and jobs that have ended in another way.

    named: of the jobs those of which only the id was given.
    """

    jobs: list[Dependency]
    futures: list[tuple[Future[Any], str]]
    failed: list[Dependency]
    named: list[str]
    #: arrays that PBS would misjudge: how they have to end, directories, what to call them
    checks: list[tuple[str, list[str], str]]

    def must_be_known(self, scheduler: Scheduler) -> None:
        """A scheduler that takes a job it does not know for one that has ended well, or that drops what waits for it,
        is asked about ids that were written by hand.  Raises SubmitError."""
        if not self.named or not (scheduler.takes_unknown_for_done or scheduler.drops_after_unknown):
            return
        try:
            states = scheduler.states(self.named)
            unknown = [one for one in self.named if (status := states.get(one)) and status.state is JobState.GONE]
            unknown = [one for one in unknown if (known := scheduler.explain(one)) is None or known.is_missing]
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

    def script(self) -> str:
        """What the job checks itself before it starts, as shell text; "" when there is nothing to check."""
        if not self.checks:
            return ""
        lines = [_CHECK]
        for kind, paths, name in self.checks:
            word = shlex.quote(f"{name} ({kind})")
            lines += [f"well {shlex.quote(path)} {word}" for path in paths] if kind == "ok" else [
                f"if {' && '.join(f'ended_well {shlex.quote(path)}' for path in paths)}; then unmet={word}; fi"
            ]  # fmt: skip
        return "\n".join([*lines, _REFUSED])


#: what a job ends with, by its own check, that waited for others in vain
EXIT_UNMET = 69
_CHECK = """\
# PBS judges an array by the element that ended last, whatever the others did: their own files tell.
unmet= late=15
ended_well() {  # an element that was killed has no exit code; one that was not may be seen late
    while :; do
        ls "$1" >/dev/null 2>&1
        if [ -r "$1/exit" ] && read -r code rest <"$1/exit"; then
            [ "$code" = 0 ] && [ ! -e "$1/cancelled" ]
            return
        fi
        if [ -e "$1/cancelled" ] || [ "$late" -le 0 ]; then return 1; fi
        late=$((late - 1)); sleep 1
    done
}
well() { if [ ! "$unmet" ] && ! ended_well "$1"; then unmet=$2; fi; }
"""
_REFUSED = f"""\
if [ "$unmet" ]; then
    echo "$unmet" >unmet
    echo "{EXIT_UNMET} $(date +%s)" >exit.new && mv exit.new exit
    exit {EXIT_UNMET}
fi
"""


def unmet(after: Iterable[Dependency]) -> str:
    """The reason of a job that never started."""
    return unmet_of(", ".join(f"{one.job_id} ({one.kind})" for one in after))


def unmet_of(which: str) -> str:
    """The same, of what a job has found itself."""
    return f"a job that it depends on did not end so: {which}"


def several(jobs: Any) -> list[Any]:
    """One or several things as a list."""
    if jobs is None:
        return []
    return [jobs] if hasattr(jobs, "id") or isinstance(jobs, str | int | float | Future) else list(jobs)


def awaited(given: Any, directory: str, find: Find) -> Awaited:
    """Read ``dependencies=``.  Raises OptionError for what cannot be waited for.

    directory: where the jobs are looked for that an id of an array of PBS means; find: how.
    """
    table = given if isinstance(given, Mapping) else {"ok": given}
    found = Awaited([], [], [], [], [])
    for kind, jobs in table.items():
        if kind not in AFTER:
            raise OptionError(f"a dependency is one of {', '.join(AFTER)}, not {kind!r}")
        elements: dict[str, list[OurJob]] = {}
        of_pbs: dict[str, list[OurJob]] = {}
        for one in _each(several(jobs), kind, directory, find):
            if isinstance(one, Future):
                found.futures.append((one, kind))
            elif getattr(one, "array_size", 0) and (base := re.fullmatch(r"(\d+)\[\d+\](.*)", one.id)):
                of_pbs.setdefault(f"{base[1]}[]{base[2]}", []).append(one)
            elif getattr(one, "array_size", 0) and (base := re.fullmatch(r"(\d+)_\d+", one.id)):
                elements.setdefault(base[1], []).append(one)
            else:
                _add(found, kind, [one], [one])
        for array, members in elements.items():
            is_all = len({member.id for member in members}) == members[0].array_size
            _add(found, kind, members, [array] if is_all else members)
        for array, members in of_pbs.items():
            _add_array_of_pbs(found, kind, array, members)
    return found


def _each(jobs: Iterable[Any], kind: str, directory: str, find: Find) -> Iterable[Any]:
    """The same, with our own jobs in place of the id of an array of PBS."""
    for one in jobs:
        if not isinstance(one, str) or not re.fullmatch(r"\d+\[\d*\](\.\S+)?", one):
            yield one
            continue
        ours = find([one], directory, "pbs") if directory else [one]
        if kind != "any" and one in ours:
            log.warning(
                "%s: PBS judges an array by the element that ends last, and this one is not of this program's user or "
                "directory: check in the job how the others have ended, or wait for them with kind 'any'", one,
            )  # fmt: skip
        yield from ours


def _add_array_of_pbs(found: Awaited, kind: str, array: str, members: Sequence[OurJob]) -> None:
    """Have PBS wait for the whole array, however it ends, and the job look how ``members`` have ended."""
    over = [_came_true(member, "ok") for member in members]
    if None in over or (kind == "any" and not all(_came_true(member, "any") for member in members)):
        found.jobs.append(Dependency(array, "any"))
        if kind == "ok":
            found.checks.extend((kind, [member.path], member.id) for member in members)
        elif kind == "notok":
            found.checks.append((kind, [member.path for member in members], array))
    elif kind == "ok":
        found.failed.extend(Dependency(job.id, kind) for job, well in zip(members, over, strict=True) if not well)
    elif kind == "notok" and all(over):
        found.failed.append(Dependency(array, kind))


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


def _is_forgotten(job: OurJob) -> bool:
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
