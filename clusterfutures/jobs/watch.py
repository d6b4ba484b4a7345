"""How a job is doing: its own files first, then the question that all programs share.

    look() --exit--> ended                       the job's own word: nobody is asked
       \\--no word--> recent_states --not final--> as the scheduler says
                            |------- final -----> ENDING, while last words may be under way
                            |                     through the file system; then the verdict
                            `---- not known ----> started? RUNNING : PENDING

One scheduler command every few seconds answers for all jobs of all programs of a user on a
host, and the answers may be the older the longer somebody has waited.
"""

from __future__ import annotations

import collections
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from clusterfutures.errors import SchedulerUnavailable
from clusterfutures.jobs.dependencies import unmet
from clusterfutures.jobs.files import VISIBILITY_SECONDS, JobFiles
from clusterfutures.schedulers import by_name
from clusterfutures.schedulers.base import Answer, Dependency, JobState, JobStatus, Scheduler
from clusterfutures.schedulers.rhythm import smallest_spacing

__all__ = [
    "ONE_AT_A_TIME", "Pause", "Watch", "adapter", "ask_about", "note_submission", "oldest", "pauses", "submitted_since",
]  # fmt: skip

log = logging.getLogger("clusterfutures")

#: seconds between two questions to a scheduler, at first
FIRST_SPACING = 3.0
#: seconds that the last words of a job may take to be seen through the file system
_LATE_SECONDS = 5.0
#: the same for a job of which no start was seen, or that was cancelled
_LATE_START_SECONDS = 0.5
_PAUSES = (0.05, 1.0)
#: how often this program looks whether there is a newer answer, and how long a job stays in its question, in seconds
_GLANCE_SECONDS = 0.5
_INTEREST_SECONDS = 120.0
#: how a job ends that can never start because of its dependencies
_CALLED_OFF = frozenset({JobState.CANCELLED, JobState.GONE})
#: the reason, Slurm's, of a job that somebody has cancelled before that was known
_STILL_WAITED = "Dependency"
#: what there is to say of a job that has not said how it ended, where its scheduler says no more
_UNSAID = {
    JobState.GONE: "its scheduler does not know it any more, and it has not said how it ended",
    JobState.COMPLETED: "it has not said how it ended: could it write into its directory?",
}


def adapter(name: str) -> Scheduler:
    """The one adapter of this program for the cluster that its environment names now."""
    return _kept(name, by_name(name, for_jobs=True)().question_key())


@functools.cache
def _kept(name: str, cluster: str) -> Scheduler:
    return by_name(name, for_jobs=True)()


def oldest(scheduler: Scheduler, waited: float) -> float:
    """The age in seconds that an answer may have for somebody who has waited so long."""
    longest = scheduler.poll_seconds[1]
    return max(min(longest, max(FIRST_SPACING, waited / 4)), smallest_spacing())


#: an adapter serves one thread at a time
ONE_AT_A_TIME = threading.RLock()
#: when (monotonic) this program submitted its last jobs, by scheduler
_submissions: dict[str, collections.deque[float]] = {}


def note_submission(scheduler: str) -> None:
    """A job was submitted just now."""
    _submissions.setdefault(scheduler, collections.deque(maxlen=10_000)).append(time.monotonic())


def submitted_since(scheduler: str, moment: float) -> int:
    """How many jobs this program has submitted after ``moment``."""
    return sum(at > moment for at in _submissions.get(scheduler, ()))


class _Told:
    """What this program was told of its jobs: one look at the shared answer serves all that it waits for."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._wanted: dict[str, float] = {}  # when (monotonic) somebody last wanted to know
        self._asked_for: frozenset[str] = frozenset()
        self._looked_at = float("-inf")
        self._answer = Answer({}, float("-inf"))
        self._silence: SchedulerUnavailable | None = None

    def answer(self, job_id: str, max_age: float) -> Answer:
        """An answer of at most ``max_age`` seconds, or the last one there is.  Raises SchedulerUnavailable."""
        now = time.monotonic()
        self._wanted[job_id] = now
        is_known = job_id in self._answer.states and now - self._answer.asked_at < max_age
        if not is_known and (job_id not in self._asked_for or now - self._looked_at >= _GLANCE_SECONDS):
            self.look([], max_age)
        if self._silence is not None:
            raise SchedulerUnavailable(**self._silence.fields)
        return self._answer

    def look(self, job_ids: Iterable[str], max_age: float) -> None:
        """Look for these jobs as well as for all others."""
        self._looked_at = now = time.monotonic()
        self._wanted |= dict.fromkeys(job_ids, now)
        self._wanted = {job_id: at for job_id, at in self._wanted.items() if now - at < _INTEREST_SECONDS}
        self._asked_for = frozenset(self._wanted)
        try:
            self._answer, self._silence = self._scheduler.recent_states(self._asked_for, max_age), None
        except SchedulerUnavailable as error:
            self._silence = error


@functools.cache
def _told(scheduler: Scheduler) -> _Told:
    return _Told(scheduler)


def ask_about(scheduler: str, job_ids: Iterable[str]) -> None:
    """One question for all of these jobs, which are looked at next."""
    asked = adapter(scheduler)
    if asked.question_key():
        with ONE_AT_A_TIME:
            _told(asked).look(job_ids, 0.0)


class Pause(NamedTuple):
    """How long somebody has waited, and for how long to wait now, in seconds."""

    waited: float
    seconds: float


class Watch:
    """One job that was submitted before this was made: an older answer cannot tell its end."""

    def __init__(
        self, files: JobFiles, job_id: str, scheduler: str, after: Sequence[Dependency],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._files = files
        self._job_id = job_id
        self._scheduler = scheduler
        self._after = after
        self._clock = clock
        self._since = clock()
        self._last: tuple[JobStatus, float] | None = None
        self._over_at: float | None = None
        self._silence = ""  # why there was no answer, as told already

    def look(self, waited: float = 0.0) -> JobStatus:
        """The job's state now.  Raises SchedulerUnavailable when only the scheduler could tell, and did not."""
        ended = self.ended()
        if ended is not None:
            return ended
        status = self._asked(waited)
        if status is None:
            started = self._files.numbers("started")
            return JobStatus(
                self._job_id, JobState.RUNNING if started else JobState.PENDING, host="".join(started[1:2])
            )
        if not status.state.is_final:
            self._over_at = None
            return status
        if self._may_still_tell(status):
            return replace(status, state=JobState.ENDING)
        return self.ended() or self._verdict(status)

    def _asked(self, waited: float) -> JobStatus | None:
        scheduler = adapter(self._scheduler)
        max_age = oldest(scheduler, waited)
        if self._last is None or self._clock() - self._last[1] >= max_age:
            with ONE_AT_A_TIME:
                if scheduler.question_key():
                    answer = _told(scheduler).answer(self._job_id, max_age)
                else:  # asking costs nothing
                    answer = scheduler.recent_states([self._job_id], max_age)
            status = answer.states.get(self._job_id)
            if status is None or (status.state.is_final and answer.asked_at < self._since):
                return None
            self._last = status, answer.asked_at
        return self._last[0]

    @property
    def is_settling(self) -> bool:
        """True when the last look was ENDING because of last words that may come, not as the scheduler has it."""
        return self._over_at is not None

    def _may_still_tell(self, status: JobStatus) -> bool:
        """True while the job is over for the scheduler and its last words may be under way.

        One that ended by itself has written them: they may be as late as any file.
        """
        if adapter(self._scheduler).shows_files_at_once:
            return False
        now = self._clock()
        if self._over_at is None:
            self._over_at = now
        speaks = self._files.numbers("started") and self._files.read("cancelled") is None  # what is ended says nothing
        late = _LATE_SECONDS if speaks else _LATE_START_SECONDS
        if self._files.read("cancelled") is None and (
            status.state is JobState.COMPLETED or (speaks and status.state is JobState.FAILED and status.exit_code)
        ):
            late = VISIBILITY_SECONDS
        return now - self._over_at < late

    def _verdict(self, status: JobStatus) -> JobStatus:
        if self._files.read("cancelled") is not None:
            return replace(status, state=JobState.CANCELLED) if status.state is JobState.GONE else status
        is_hopeless = self._after and status.state in _CALLED_OFF and status.reason != _STILL_WAITED
        if is_hopeless and not self._files.numbers("started"):
            return replace(status, state=JobState.FAILED, reason=unmet(self._after))
        return replace(status, reason=status.reason or _UNSAID.get(status.state, ""))

    def ended(self) -> JobStatus | None:
        """How the job says that it has ended; None when it has not said so."""
        words = self._files.numbers("exit")
        if not words:
            return None
        code = int(words[0])
        host = (self._files.numbers("started") or ["", ""])[1]
        return JobStatus(self._job_id, JobState.FAILED if code else JobState.COMPLETED, exit_code=code, host=host)

    def look_patiently(self, waited: float) -> JobStatus:
        """As ``look``, for somebody who looks again: a scheduler that does not answer may do so later."""
        try:
            status = self.look(waited)
        except SchedulerUnavailable as error:
            if str(error) != self._silence:
                log.warning("no answer about job %s, asking again: %s", self._job_id, error)
            self._silence = str(error)
            return JobStatus(self._job_id, JobState.UNKNOWN, reason=str(error))
        self._silence = ""
        return status


def pauses(timeout: float | None, late: str, clock: Callable[[], float] = time.monotonic) -> Iterator[Pause]:
    """Growing pauses for somebody who looks before each of them, and once when ``timeout`` seconds are over.

    Raises TimeoutError then, which says ``late``.
    """
    begun, pause = clock(), _PAUSES[0]
    while True:
        waited = clock() - begun
        yield Pause(waited, pause if timeout is None else max(0.0, min(pause, timeout - waited)))
        if timeout is not None and waited >= timeout:
            raise TimeoutError(f"{late} after {timeout:g} s")
        pause = min(_PAUSES[1], 1.3 * pause)
