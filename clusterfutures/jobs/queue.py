"""The queue of a cluster: who has which jobs, from one cached question.

    Queue(user, partition) --listing()--> [kept for a few seconds] --> Scheduler.queue()
        .running .queued .completed .failed, [id], len, for ... in; wait; wait_to_submit

However many Queues a program has, one command every few seconds answers for all of them.
On this machine (``local``) they are the jobs of this user on this host, whichever program submitted them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from clusterfutures import config
from clusterfutures.errors import OptionError, SchedulerUnavailable
from clusterfutures.jobs.dependencies import OurJob
from clusterfutures.jobs.directories import jobs_directory, known_places
from clusterfutures.jobs.status import (
    ONE_AT_A_TIME,
    adapter,
    oldest,
    pauses,
    plain_id,
    say_why_waiting,
    submitted_since,
)
from clusterfutures.jobs.submission import PATIENCE_SECONDS
from clusterfutures.schedulers import find_scheduler
from clusterfutures.schedulers.base import QueuedJob, Scheduler, split_id
from clusterfutures.schedulers.inquiry import Inquiry
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.local import user_here

__all__ = ["Queue"]

log = logging.getLogger("clusterfutures")

_RUNNING = frozenset({JobState.RUNNING, JobState.SUSPENDED, JobState.ENDING})
_KINDS: dict[str, Callable[[JobState], bool]] = {
    "running": _RUNNING.__contains__,
    "queued": lambda state: state is JobState.PENDING,
    "completed": lambda state: state is JobState.COMPLETED,
    "failed": lambda state: state.is_final and state is not JobState.COMPLETED,
}


class _Listing:
    """The last answer of one scheduler; asked anew when it is too old."""

    def __init__(self, scheduler: Scheduler, clock: Callable[[], float] = time.monotonic) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: list[QueuedJob] = []
        self._asked_at = float("-inf")

    def know(self, places: set[str], perhaps: bool = False) -> None:
        """Have the jobs of these clusters and servers listed, too.  perhaps: when they answer."""
        with self._lock:
            if places and self._scheduler.know_places(places, perhaps):
                self._asked_at = float("-inf")

    def jobs(self, waited: float = 0.0) -> list[QueuedJob]:
        """The jobs as they were a few seconds ago at most; older ones do for who has waited long."""
        return self.answer(waited)[0]

    def answer(self, waited: float) -> tuple[list[QueuedJob], float]:
        """The jobs, and when (monotonic) the scheduler was asked for them."""
        with self._lock:  # during the command: other threads that come meanwhile use its answer
            asked_at = self._clock()
            if not self._scheduler.question_key() or asked_at - self._asked_at >= oldest(self._scheduler, waited):
                with ONE_AT_A_TIME:
                    self._jobs = self._scheduler.queue()
                self._asked_at = asked_at
            return self._jobs, self._asked_at


_listings: dict[Scheduler, _Listing] = {}


class Queue:
    """The jobs of a user, or of all, as the scheduler lists them.

    user: a name, "self", or None for everybody's.  partition: only the jobs of that one.
    scheduler: its name; default the configured one, else that of this machine.
    max_jobs: what ``can_submit`` and ``wait_to_submit`` take for full; default the
        configured ``max_jobs``, else no limit.

    Every look is at an answer that is a few seconds old at most.  A job that has ended is
    listed for as long as the scheduler keeps it.  Raises SchedulerUnavailable when it
    does not answer.
    """

    def __init__(
        self, user: str | None = "self", partition: str | None = None, *,
        scheduler: str | None = None, max_jobs: int | None = None,
    ) -> None:  # fmt: skip
        settings = config.load().options()
        self.scheduler: str = scheduler or settings.get("scheduler") or find_scheduler().name
        self.user = user
        self.partition = partition
        self._max_jobs = settings.get("max_jobs") if max_jobs is None else max_jobs
        self._adapter = adapter(self.scheduler)
        self._listing = _listings.setdefault(self._adapter, _Listing(self._adapter))
        with contextlib.suppress(OptionError):  # there is no directory of jobs, so there are none
            self.know_places_of(jobs_directory())
        self._silence = ""  # why there was no answer, as told already
        self._waits_for: set[tuple[str, str]] = set()  # jobs, and what never comes, as told already
        self._over: dict[str, OurJob] = {}  # what has told its end itself; the scheduler's list may be older

    def know_places_of(self, directory: str) -> None:
        """List the jobs on clusters and servers that those of this directory of jobs were sent to by name."""
        self._listing.know(known_places(directory, self.scheduler), perhaps=True)

    def update(self) -> Queue:
        """Look again: the scheduler is asked, unless it was a few seconds ago.  Every other look does so by itself."""
        self._listing.answer(0.0)
        return self

    @property
    def jobs(self) -> list[QueuedJob]:
        """All of them, in the scheduler's order."""
        return self._chosen(self._listing.jobs())

    def those(self, *kinds: str) -> list[QueuedJob]:
        """The jobs that are of one of these kinds ("running", "queued", "completed", "failed"), at one moment."""
        tests = [_KINDS[kind] for kind in kinds]
        return self._chosen(self._listing.jobs(), lambda state: any(test(state) for test in tests))

    @property
    def running(self) -> list[QueuedJob]:
        """Those that hold nodes: running, suspended, or just ending."""
        return self.those("running")

    @property
    def queued(self) -> list[QueuedJob]:
        """Those that have not started."""
        return self.those("queued")

    @property
    def completed(self) -> list[QueuedJob]:
        """Those that have ended well."""
        return self.those("completed")

    @property
    def failed(self) -> list[QueuedJob]:
        """Those that have ended in any other way."""
        return self.those("failed")

    def _chosen(
        self, jobs: Iterable[QueuedJob], fits: Callable[[JobState], bool] = lambda state: True
    ) -> list[QueuedJob]:
        owners = {user_here(), str(os.getuid())} if self.user == "self" else {self.user}
        return [
            job
            for job in map(self._told, jobs)
            if (self.user is None or job.owner in owners)
            and (self.partition is None or self.partition in job.partition.split(","))
            and fits(job.status.state)
        ]

    def _told(self, listed: QueuedJob) -> QueuedJob:
        """The job as it is listed, or as it has told itself that it ended."""
        own = None if listed.state.is_final else self._over.get(listed.id)
        if own is None:
            return listed
        return replace(listed, status=replace(own.look(), job_id=listed.id), ended=own.ended)

    def __iter__(self) -> Iterator[QueuedJob]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    def __contains__(self, job: object) -> bool:
        return (_is_ours(job) or isinstance(job, str | int)) and any(_id(job) in _names_of(one.id) for one in self.jobs)

    def __getitem__(self, job: OurJob | str | int) -> QueuedJob:
        """The job with this id.  Raises KeyError."""
        for one in self.jobs:
            if one.id == _id(job):
                return one
        raise KeyError(f"job {_id(job)} is not in this queue: it was never there, or ended a while ago")

    def ids_of(self, job: OurJob | str | int) -> list[str]:
        """Return the listed ids, of any user, that this one names: a job, or an array with its elements."""
        return [one.id for one in self._listing.jobs() if _id(job) in _names_of(one.id)]

    def wait(self, jobs: Any = None, timeout: float | None = None) -> bool:
        """Wait until jobs have ended: these (a Job, an id, or several), or all that are here now.

        The id of an array stands for all of it.  Returns True.
        Raises TimeoutError after ``timeout`` seconds.
        """
        left = {one.id for one in self.jobs if not one.state.is_final} if jobs is None else {*map(_id, _several(jobs))}
        ours = {job.id: job for job in _several(jobs) if _is_ours(job)}
        begun, inquiry = time.monotonic(), Inquiry(self._explained)
        members: dict[str, set[str]] = {}  # what has been listed of each of the others: jobs, or elements of arrays
        for pause in pauses(timeout, f"{self!r}: not all of these jobs have ended"):
            over = {job_id for job_id in left & ours.keys() if ours[job_id].look(pause.waited).state.is_final}
            self._over.update((job_id, ours[job_id]) for job_id in over)
            left -= over
            if left - ours.keys():
                for one in left - ours.keys():
                    members.setdefault(one, set())
                left -= self._ended(pause.waited, begun, {one: members[one] for one in left - ours.keys()}, inquiry)
            if not left:
                return True
            time.sleep(pause.seconds)
        raise AssertionError("pauses end by an exception only")

    def _ended(self, waited: float, since: float, wanted: dict[str, set[str]], inquiry: Inquiry) -> set[str]:
        """Those of these jobs, of any user, that have ended by an answer from after ``since``.

        wanted: with what has been listed of each, which is added to.  It is said of those that can never start.
        """
        self._listing.know({split_id(job_id)[1] for job_id in wanted} - {""})
        try:
            jobs, asked_at = self._listing.answer(waited)
        except SchedulerUnavailable as error:
            self._not_told(error)
            return set()
        self._silence = ""
        for job in jobs:
            news = (job.id, job.status.reason)
            if job.status.never_starts and news not in self._waits_for and _names_of(job.id) & wanted.keys():
                self._waits_for.add(news)
                say_why_waiting(self.scheduler, job.status)
        if asked_at < since:
            return set()
        listed = {job.id: job.status for job in jobs}
        for job_id in listed:
            for name in _names_of(job_id) & wanted.keys():
                wanted[name].add(job_id)
        word = "" if self._adapter.question_key() else "GONE"  # where asking costs nothing, there is no doubt

        def is_over(job_id: str) -> bool:
            status = inquiry.believed(listed.get(job_id) or JobStatus(job_id, JobState.GONE, word), asked_at)
            return status is not None and status.state.is_final

        over = {name: [is_over(one) for one in _jobs_of(members) or [name]] for name, members in wanted.items()}
        return {name for name, ones in over.items() if all(ones)}

    def _explained(self, job_id: str) -> JobStatus | None:
        with ONE_AT_A_TIME:
            return self._adapter.explain(job_id)

    def can_submit(self, max_jobs: int | None = None) -> bool:
        """True while fewer than ``max_jobs`` of these jobs wait or run.

        What this program has submitted since the last answer is counted with them.
        """
        return self._has_room(max_jobs, 0.0)

    def _has_room(self, max_jobs: int | None, waited: float) -> bool:
        limit = self._max_jobs if max_jobs is None else max_jobs
        if limit is None:
            return True
        if limit < 1:
            raise OptionError(f"max_jobs={limit!r}: expected 1 or more, or None for no limit")
        jobs, asked_at = self._listing.answer(waited)
        unlisted = submitted_since(self.scheduler, asked_at) if self.user in ("self", None) else 0
        return len(self._chosen(jobs, lambda state: not state.is_final)) + unlisted < limit

    def wait_to_submit(self, max_jobs: int | None = None, timeout: float | None = None) -> None:
        """Wait until ``can_submit``.

        Raises TimeoutError after ``timeout`` seconds, SchedulerUnavailable when there was no answer for a minute.
        """
        was_told = False
        for pause in pauses(timeout, f"{self!r} has no room for another job"):
            try:
                if self._has_room(max_jobs, pause.waited):
                    return
                was_told = True
            except SchedulerUnavailable as error:
                if not was_told and pause.waited > PATIENCE_SECONDS:
                    raise
                self._not_told(error)
            time.sleep(pause.seconds)

    def _not_told(self, error: SchedulerUnavailable) -> None:
        """Say so, once for each reason: it is asked again every second."""
        if str(error) != self._silence:
            log.warning("the queue was not told, asking again: %s", error)
        self._silence = str(error)

    def __repr__(self) -> str:
        whose = {"self": "mine", None: "everybody's"}.get(self.user, f"{self.user}'s")
        return f"<Queue of {self.scheduler}: {whose}{f' in {self.partition}' if self.partition else ''}>"


def _is_ours(job: object) -> bool:
    return hasattr(job, "look")


def _several(jobs: Any) -> list[Any]:
    if jobs is None:
        return []
    return [jobs] if _is_ours(jobs) or isinstance(jobs, str | int) else list(jobs)


def _id(job: Any) -> str:
    if _is_ours(job):
        return str(job.id)
    if isinstance(job, bool) or not isinstance(job, str | int):
        raise OptionError(f"{job!r} is no job: give a Job or the id of one")
    return plain_id(str(job))


def _jobs_of(members: set[str]) -> list[str]:
    """Without the array itself, where its elements are listed as well."""
    return sorted(one for one in members if not (split_id(one)[0].endswith("[]") and len(members) > 1))


def _names_of(job_id: str) -> set[str]:
    """All by which a listed job may be meant: its id, and the ids of the array that it is an element of."""
    plain, _ = split_id(job_id)
    base = re.split(r"[_\[]", plain, maxsplit=1)[0]
    meant = [plain] if base == plain else [plain, base, f"{base}[]"]
    return {job_id.replace(plain, one, 1) for one in meant}
