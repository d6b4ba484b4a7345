"""How a job is doing: its own files first, then the question that all programs share.

    look() --exit--> ended                       the job's own word: nobody is asked
       \\--no word--> recent_states --not final--> as the scheduler says
                            |------- final -----> ENDING, while last words may be under way
                            |                     through the file system; then the verdict
                            `---- not known ----> started? RUNNING : PENDING
                            `----- missing -----> the same, until that has lasted (``absence.py``), or the scheduler,
                                                  asked about this job alone, names a state

One scheduler command every few seconds answers for all jobs of all programs of a user on a
host, and the answers may be the older the longer somebody has waited.
"""

from __future__ import annotations

import collections
import functools
import logging
import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from clusterfutures.errors import SchedulerUnavailable
from clusterfutures.jobs.dependencies import EXIT_UNMET, unmet, unmet_of
from clusterfutures.jobs.files import VISIBILITY_SECONDS, JobFiles
from clusterfutures.schedulers import by_name
from clusterfutures.schedulers.absence import UNKNOWN_SECONDS
from clusterfutures.schedulers.base import Dependency, Scheduler
from clusterfutures.schedulers.inquiry import Inquiry
from clusterfutures.schedulers.job_state import Answer, JobState, JobStatus
from clusterfutures.schedulers.polling import smallest_spacing

__all__ = [
    "ONE_AT_A_TIME", "Pause", "Watch", "adapter", "ask_about", "note_submission", "oldest", "pauses", "say_why_waiting",
    "submitted_since",
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
#: how often the job's own files are looked at while the scheduler is asked, and for how long somebody waits for its
#: answer who looks again, in seconds
_FILES_SECONDS = 0.05
_ANSWER_SECONDS = 1.0
#: for how long it is not said of another job that it waits for the same, in seconds
_SAME_NEWS_SECONDS = 60.0
#: exit codes that a signal makes, which may be that of a cancellation or of a limit
_OF_SIGNALS = frozenset({128 + signal.SIGTERM, 128 + signal.SIGKILL})
#: ends that the scheduler tells better than the exit code that they have made
_BY_SCHEDULER = frozenset(
    {JobState.CANCELLED, JobState.TIMEOUT, JobState.OUT_OF_MEMORY, JobState.PREEMPTED, JobState.NODE_FAIL}
)
_INTEREST_SECONDS = 120.0
#: how a job ends that can never start because of its dependencies
_CALLED_OFF = frozenset({JobState.CANCELLED, JobState.GONE})
#: the reason, Slurm's, of a job that somebody has cancelled before that was known
_STILL_WAITED = "Dependency"
_TIME_LIMIT = "it reached its time limit"
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
os.register_at_fork(after_in_child=ONE_AT_A_TIME._at_fork_reinit)  # type: ignore[attr-defined]
#: when (monotonic) this program submitted its last jobs, by scheduler
_submissions: dict[str, collections.deque[float]] = {}


def note_submission(scheduler: str) -> None:
    """A job was submitted just now."""
    _submissions.setdefault(scheduler, collections.deque(maxlen=10_000)).append(time.monotonic())


def submitted_since(scheduler: str, moment: float) -> int:
    """How many jobs this program has submitted after ``moment``."""
    return sum(at > moment for at in _submissions.get(scheduler, ()))


class _Told:
    """What this program knows of its jobs: one look at the shared answer serves all that it waits for.

    The scheduler is asked in a thread of its own, so that somebody who waits for a job hears what the job's own
    files say meanwhile.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._guard = threading.Lock()
        self._wanted: dict[str, float] = {}  # when (monotonic) somebody last wanted to know
        self._asked_for: frozenset[str] = frozenset()
        self._looked_at = float("-inf")
        self._answer = Answer({}, float("-inf"))
        self._silence: Exception | None = None
        self._asking: threading.Thread | None = None
        self.silence_told = ""  # why there was no answer, as said already
        self._waits_told: dict[str, float] = {}  # what jobs wait for, and when (monotonic) that was said

    def answer(self, job_id: str, max_age: float, is_enough: Callable[[], bool]) -> Answer | None:
        """An answer of at most ``max_age`` seconds, or the last one there is; None when ``is_enough`` comes first.

        Raises SchedulerUnavailable.
        """
        now = time.monotonic()
        with self._guard:
            self._wanted[job_id] = now
        is_known = job_id in self._answer.states and now - self._answer.asked_at < max_age
        if not is_known and (job_id not in self._asked_for or now - self._looked_at >= _GLANCE_SECONDS):
            for _ in range(2):  # a question that others have begun may be without this job
                if not self._look_beside(max_age, is_enough):
                    return None
                if job_id in self._asked_for:
                    break
        if isinstance(self._silence, SchedulerUnavailable):
            raise SchedulerUnavailable(**self._silence.fields)
        if self._silence is not None:
            raise self._silence
        self.silence_told = ""
        return self._answer

    def is_news(self, reason: str) -> bool:
        """True when it was not said lately that a job waits for this: it is said once of many jobs."""
        now = time.monotonic()
        said_at, self._waits_told[reason] = self._waits_told.get(reason, float("-inf")), now
        return now - said_at > _SAME_NEWS_SECONDS

    def _look_beside(self, max_age: float, is_enough: Callable[[], bool]) -> bool:
        """Have a thread look, and wait for it; False when ``is_enough`` comes first."""
        with self._guard:
            if self._asking is None or not self._asking.is_alive():
                self._asking = threading.Thread(
                    target=self._look_alone, args=(max_age,), name="clusterfutures-question", daemon=True
                )
                self._asking.start()
            asking = self._asking
        pause = 0.002
        while True:
            asking.join(pause)
            if not asking.is_alive():
                return True
            if is_enough():
                return False
            pause = min(_FILES_SECONDS, 2 * pause)

    def _look_alone(self, max_age: float) -> None:
        with ONE_AT_A_TIME:
            self.look([], max_age)

    def look(self, job_ids: Iterable[str], max_age: float) -> None:
        """Look for these jobs as well as for all others."""
        with self._guard:
            self._looked_at = now = time.monotonic()
            self._wanted |= dict.fromkeys(job_ids, now)
            self._wanted = {job_id: at for job_id, at in self._wanted.items() if now - at < _INTEREST_SECONDS}
            self._asked_for = asked_for = frozenset(self._wanted)
        try:
            self._answer, self._silence = self._scheduler.recent_states(asked_for, max_age), None
        except Exception as error:  # raised where somebody waits for the answer
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
        clock: Callable[[], float] = time.monotonic, limit: float = 0.0,
    ) -> None:  # fmt: skip
        self._files = files
        self._job_id = job_id
        self._scheduler = scheduler
        self._after = after
        self._clock = clock
        self._limit = limit  # how long it may run, in seconds; 0: unknown
        self._since = clock()
        self._last: tuple[JobStatus, float] | None = None
        self._over_at: float | None = None
        self._doubted_at: float | None = None
        self._ending: JobStatus | None = None  # as it was seen last while it was being ended
        self._waits_for = ""  # what never comes, as told already
        self._inquiry = Inquiry(self._explained)

    def look(self, waited: float = 0.0, patience: float = math.inf) -> JobStatus:
        """The job's state now.  Raises SchedulerUnavailable when only the scheduler could tell, and did not.

        patience: how long to wait for the scheduler's answer, in seconds; the job's own files are enough without one.
        """
        ended = self.ended()
        if ended is not None:
            return self._checked(ended, waited, patience) if ended.exit_code in _OF_SIGNALS else ended
        status = self._asked(waited, patience)
        if status is not None and status.is_missing and (status := self._believed(status)) is None:
            self._over_at = None
        if status is None:
            return self.ended() or self._as_its_files_say()
        if not status.state.is_final:
            self._over_at = None
            return status
        if self._may_still_tell(status):
            return replace(status, state=JobState.ENDING)
        return self.ended() or self._verdict(status)

    def _believed(self, status: JobStatus) -> JobStatus | None:
        """The state of a job that is missing in the scheduler's answer; None while it may live."""
        assert self._last is not None
        believed = self._inquiry.believed(*self._last)
        if believed is None and (self._files.read("cancelled") is not None or self._limit_passed(UNKNOWN_SECONDS)):
            return status
        if believed is None and self._ending is not None and adapter(self._scheduler).last_seen(self._ending):
            return status
        return believed

    def _explained(self, job_id: str) -> JobStatus | None:
        with ONE_AT_A_TIME:
            return adapter(self._scheduler).explain(job_id)

    def _as_its_files_say(self) -> JobStatus:
        started = self._files.numbers("started")
        return JobStatus(self._job_id, JobState.RUNNING if started else JobState.PENDING, host="".join(started[1:2]))

    def _checked(self, ended: JobStatus, waited: float, patience: float) -> JobStatus:
        """An end by a signal, of the job itself or from outside: the scheduler knows which.

        It may take a while to say so: ENDING until then, but not for long.
        """
        if self._limit_passed():
            return replace(ended, state=JobState.TIMEOUT, exit_code=None, reason=_TIME_LIMIT)
        if self._doubted_at is None:
            self._doubted_at = self._clock()
        late = self._clock() - self._doubted_at >= adapter(self._scheduler).settle_seconds
        try:
            status = self._asked(waited, patience, enough=late)
        except SchedulerUnavailable:
            return ended
        if status is not None and status.state in _BY_SCHEDULER:
            return replace(status, exit_code=None, host=status.host or ended.host)
        if status is not None and status.state is JobState.GONE and self._ending is not None:
            return replace(adapter(self._scheduler).last_seen(self._ending) or ended, exit_code=None)
        if late or (status is not None and status.state.is_final):
            return ended
        self._over_at = self._doubted_at
        return replace(ended, state=JobState.ENDING, exit_code=None)

    def _asked(self, waited: float, patience: float, enough: bool = False) -> JobStatus | None:
        scheduler = adapter(self._scheduler)
        max_age = oldest(scheduler, waited)
        if self._last is None or self._clock() - self._last[1] >= max_age:
            answer: Answer | None
            if scheduler.question_key():
                began, had_ended = time.monotonic(), self._files.numbers("exit")

                def is_enough() -> bool:
                    if enough or time.monotonic() - began >= patience:
                        return True
                    return not had_ended and bool(self._files.numbers("exit"))

                answer = _told(scheduler).answer(self._job_id, max_age, is_enough)
            else:  # asking costs nothing
                with ONE_AT_A_TIME:
                    answer = scheduler.recent_states([self._job_id], max_age)
                _told(scheduler).silence_told = ""
            status = answer.states.get(self._job_id) if answer is not None else None
            if answer is None or status is None or (status.state.is_final and answer.asked_at < self._since):
                return None
            self._last = status, answer.asked_at
            if not status.is_missing:
                self._inquiry.believed(status, answer.asked_at)  # it is listed
            if status.state is JobState.ENDING:
                self._ending = status
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
            by_signal = status.state is JobState.FAILED and (status.signal or status.exit_code in _OF_SIGNALS)
            is_so = status.state is JobState.GONE or by_signal
            return replace(status, state=JobState.CANCELLED, exit_code=None) if is_so else status
        is_hopeless = self._after and status.state in _CALLED_OFF and status.reason != _STILL_WAITED
        if is_hopeless and not self._files.numbers("started"):
            return replace(status, state=JobState.FAILED, reason=unmet(self._after))
        if status.state is JobState.GONE and self._ending is not None:
            status = adapter(self._scheduler).last_seen(self._ending) or status
        if status.state is JobState.GONE and self._limit_passed():
            return replace(status, state=JobState.TIMEOUT, reason=_TIME_LIMIT)
        return replace(status, reason=status.reason or _UNSAID.get(status.state, ""))

    def _limit_passed(self, late: float = 0.0) -> bool:
        """True when it has run for as long as it may: by its own words, else up to now."""
        started, words = self._files.numbers("started"), self._files.numbers("exit")
        if not self._limit or not started:
            return False
        return (float(words[1]) if words[1:] else time.time()) >= float(started[0]) + self._limit + late

    def ended(self) -> JobStatus | None:
        """How the job says that it has ended; None when it has not said so."""
        words = self._files.numbers("exit")
        if not words:
            return None
        code = int(words[0])
        host = (self._files.numbers("started") or ["", ""])[1]
        if code == EXIT_UNMET and (unmet_ones := self._files.text("unmet").strip()):
            return JobStatus(self._job_id, JobState.FAILED, reason=unmet_of(unmet_ones))
        if code and self._files.read("cancelled") is not None:  # the code is what the signal has made of it
            return JobStatus(self._job_id, JobState.CANCELLED, host=host)
        return JobStatus(self._job_id, JobState.FAILED if code else JobState.COMPLETED, exit_code=code, host=host)

    def look_patiently(self, waited: float) -> JobStatus:
        """As ``look``, for somebody who looks again: a scheduler that does not answer may do so later.

        What executors say of jobs that wait is said here: once that one never starts, and why; once that the
        scheduler gives no answer.
        """
        try:
            status = self.look(waited, _ANSWER_SECONDS)
        except SchedulerUnavailable as error:
            told = _told(adapter(self._scheduler))
            if str(error) != told.silence_told:
                log.warning("no answer about job %s, asking again: %s", self._job_id, error)
            told.silence_told = str(error)
            return JobStatus(self._job_id, JobState.UNKNOWN, reason=str(error))
        if status.never_starts and status.reason != self._waits_for:
            self._waits_for = status.reason
            say_why_waiting(self._scheduler, status)
        return status


def say_why_waiting(scheduler: str, status: JobStatus) -> None:
    """Say that a job is waiting for something that does not come by itself, unless that was said of another."""
    if not _told(adapter(scheduler)).is_news(status.reason):
        return
    log.warning(
        "job %s is waiting for something that does not come by itself: %s. Release a job that is held (scontrol "
        "release, qrls), else cancel it and ask for what there is", status.job_id, status.reason.rstrip("."),
    )  # fmt: skip


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


def plain_id(text: str) -> str:
    """An id as we have it, of one as qsub (``25[].server``) or sbatch (``25;cluster``) prints it."""
    with_cluster = re.sub(r"^(\d+(?:_\d+)?);(.+)", r"\1@\2", text)
    if re.fullmatch(r"\d+(?:\[\d*\])?\..*", with_cluster) is None:
        return with_cluster
    if not by_name("pbs").is_here():
        return with_cluster.partition(".")[0]
    with ONE_AT_A_TIME:
        return adapter("pbs").usual_id(with_cluster)
