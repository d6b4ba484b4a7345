"""The thread that runs the scheduler's commands, one at a time.

    manager --submit, cancel, watch--> SchedulerThread --one command at a time--> scheduler
    manager <--Submitted, Refused, Unanswered, Seen, Explained-- SchedulerThread

A slow ``sbatch`` delays no result, because this thread waits for it and the manager does not.
Questions for the states of jobs are one command for all of them, shared with the user's
other programs (``Scheduler.recent_states``), at first after a second, then ever more
rarely (``schedulers/polling.py``); what a job wrote itself makes most of them unnecessary.  A
submission without an answer is looked up by its unique name before it is tried again, or
it would run twice.

A scheduler that does not answer is asked again for minutes, for as long as somebody waits
for what it would do.  When nobody does (``hurry``, ``stop``) it gets ``END_SECONDS`` more.
A cancellation that failed is asked for again when the scheduler answers, and at the end of the
run; one line of the log then names the rest, and the command to type (``PendingCommands``).
"""

from __future__ import annotations

import importlib
import itertools
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from clusterfutures.client.events import EventQueue, Phase
from clusterfutures.errors import ArrayTooLarge, ClusterError, SchedulerUnavailable, SubmitError, SubmitLimitReached
from clusterfutures.schedulers.base import JobSpec, Scheduler
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.polling import Rhythm, smallest_spacing

__all__ = ["Explained", "PendingCommands", "Refused", "SchedulerThread", "Seen", "Submitted", "Unanswered"]

logger = logging.getLogger("clusterfutures")

#: between two attempts to cancel what could not be cancelled, in seconds
AGAIN_SECONDS = 60.0


class PendingCommands:
    """Jobs to be cancelled, and submissions (name -> number of jobs) of which nobody knows."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.unanswered: dict[str, int] = {}
        self._scheduler = scheduler
        self._jobs: dict[str, None] = {}
        self._due = float("inf")
        self._why: Exception | None = None

    @property
    def job_ids(self) -> list[str]:
        """Jobs that are still to be cancelled, in the order in which they came."""
        return list(self._jobs)

    def add(self, job_ids: Iterable[str]) -> None:
        """These are to be cancelled."""
        self._jobs.update(dict.fromkeys(job_ids))

    def paid(self) -> None:
        """All have been cancelled."""
        self._jobs.clear()
        self._due = float("inf")

    def not_paid(self, why: Exception, now: float) -> None:
        """The scheduler did not do it."""
        self._due = now + AGAIN_SECONDS
        self._why = why
        logger.info("clusterfutures: could not cancel jobs %s for now: %s", ", ".join(self._jobs), why)

    def are_due(self, now: float) -> bool:
        """True when it is time to ask again."""
        return now >= self._due

    def answered(self, name: str) -> None:
        """It is known what became of this submission."""
        self.unanswered.pop(name, None)

    def tell(self) -> None:
        """Name what is left at the end, and say what to do."""
        parts, commands = [], []
        if self._jobs:
            parts.append(f"jobs {', '.join(self._jobs)} could not be cancelled")
            commands.append(self._scheduler.cancel_command(self.job_ids))
        if self.unanswered:
            parts.append(f"nobody knows whether jobs called {', '.join(self.unanswered)} were submitted")
            commands += map(self._scheduler.cancel_by_name_command, self.unanswered)
        if parts:
            logger.warning(
                "clusterfutures: the scheduler did not answer before the end: %s. A job that starts now ends at once; "
                "to end them all when it answers again: %s%s",
                " and ".join(parts),
                "; ".join(commands),
                f" (it said: {self._why})" if self._why else "",
            )


#: how long an unreachable scheduler is asked again, in seconds
PATIENCE_SECONDS = 900.0
#: two questions without an answer and so little between them are one silence
SILENCE_GAP_SECONDS = 120.0
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0
#: how long an unreachable scheduler is asked again to cancel jobs, and how a job ended
CANCEL_PATIENCE_SECONDS = 60.0
#: and how long, once nobody waits for anything but the end
END_SECONDS = 10.0
EXPLAIN_PATIENCE_SECONDS = 15.0
#: between two questions how a job that is over has ended, at first and at most, in seconds
SETTLE_PAUSES = (0.25, 2.0)


class Submitted(NamedTuple):
    """Jobs that the scheduler took, by index; ``asked`` were requested."""

    worker_group: str
    batch: str
    job_ids: Sequence[str]
    asked: int


class Refused(NamedTuple):
    """``jobs`` requested jobs that will not come; error None: only for now."""

    worker_group: str
    jobs: int
    error: BaseException | None


class Unanswered(NamedTuple):
    """``jobs`` requested jobs that were given up and may still start."""

    worker_group: str
    batch: str
    jobs: int


class Seen(NamedTuple):
    """States of jobs, as the scheduler told them at ``time`` (monotonic)."""

    states: dict[str, JobStatus]
    time: float


class Explained(NamedTuple):
    """All that is to be known of how a worker's job ended, as asked at ``time`` (monotonic); doubted: if it did."""

    worker: str
    status: JobStatus | None
    time: float = 0.0
    doubted: bool = False


T = TypeVar("T")
Prepare = Callable[[str, int], tuple[str, JobSpec, str]]


class SchedulerThread:
    """Owns the adapter.  Every method may be called from any thread and returns at once.

    prepare: makes batch name, spec and script path for (worker group, count).
    """

    def __init__(self, scheduler: Scheduler, events: EventQueue, prepare: Prepare) -> None:
        self._scheduler = scheduler
        self._events = events
        self._prepare = prepare
        self._watched: Callable[[], Sequence[str]] = list
        self._note: Callable[[str, Sequence[str]], None] = lambda _batch, _job_ids: None
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._hurried = threading.Event()
        self._ends_at = math.inf
        self._silent = (0.0, 0.0)  # since when, and until when at least, there has been no answer about states
        self._pending_commands = PendingCommands(scheduler)
        self._kills = False
        self._array_limit: int | None = None
        self._warned = False
        self._ending: dict[str, JobStatus] = {}  # as they were seen last, of jobs that were being ended then
        first, longest = scheduler.poll_seconds
        self._rhythm = Rhythm(max(first, smallest_spacing() if scheduler.question_key() else 0.0), longest)
        self.thread = threading.Thread(target=self._run, name="clusterfutures-scheduler thread", daemon=False)

    def note_answers(self, note: Callable[[str, Sequence[str]], None]) -> None:
        """Set the callback that receives (batch, job_ids) first.  Call before the thread starts."""
        self._note = note

    def watch(self, watched: Callable[[], Sequence[str]]) -> None:
        """Set the callback that returns the ids of the jobs to watch.  Call before the thread starts."""
        self._watched = watched

    def submit(self, worker_group: str, count: int) -> None:
        """Submit ``count`` jobs for ``worker group``."""
        self._tasks.put(lambda: self._submit_all(worker_group, count))

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End jobs."""
        self._tasks.put(lambda: self._cancel(list(job_ids)))

    def kill_from_now(self) -> None:
        """Whatever is cancelled from now on gets no time to end by itself."""
        self._kills = True

    def jobs_to_watch(self) -> None:
        """Watch the jobs from now on: they may have come while nothing was watched."""
        self._tasks.put(lambda: self._rhythm.begin(time.monotonic()))

    def look_soon(self) -> None:
        """Something was noticed: ask for the states of jobs now, then at growing distance."""
        self._tasks.put(self._poll_from_start)

    def explain(self, worker: str, job_id: str, over: bool = True, doubted: bool = False) -> None:
        """Find out how a job ended; over: its worker has said so, and the job gets the time to reach a final state;
        doubted: whether it has ended at all is asked."""
        self._tasks.put(lambda: self._explain(worker, job_id, over, doubted))

    def stop(self) -> None:
        """Carry out what has been asked for, but for submissions, then end the thread."""
        self.hurry()
        self._tasks.put(None)

    def hurry(self) -> None:
        """Nobody waits for jobs any more: submit none, and wait no longer for a scheduler that does not answer."""
        if not self._hurried.is_set():
            self._hurry(END_SECONDS)

    def _hurry(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._scheduler.hurry(seconds)
        self._hurried.set()

    # -- the thread -------------------------------------------------------------

    def _run(self) -> None:
        try:
            for number in itertools.count():
                task = self._next_task()
                if task is None:
                    self._carry_out(self._settle_pending_commands)
                    return
                self._carry_out(task)
                if not number:
                    self._carry_out(_import_late)
        finally:
            self._scheduler.close()

    def _carry_out(self, task: Callable[[], None]) -> None:
        try:
            task()
        except Exception:  # a defect of ours, or of an adapter: say so, and go on
            logger.exception("clusterfutures: a scheduler command failed in a way that was not expected")

    def _next_task(self) -> Callable[[], None] | None:
        now = time.monotonic()
        if self._rhythm.due is None and self._watched():
            self._rhythm.begin(now)
        timeout = None if self._rhythm.due is None else max(0.0, self._rhythm.due - now)
        try:
            return self._tasks.get(timeout=timeout)
        except queue.Empty:
            return self._poll

    # -- states -----------------------------------------------------------------

    def _poll_from_start(self) -> None:
        self._rhythm.restart(time.monotonic())
        self._poll(urgent=True)

    def _poll(self, urgent: bool = False) -> None:
        """Ask for the states of all jobs of interest, and post the answer."""
        job_ids = self._watched()
        if not job_ids:
            self._rhythm.rest()
            return
        asked_at, complete, again_at = time.monotonic(), True, 0.0
        try:
            states, asked_at, again_at = self._scheduler.recent_states(job_ids, self._rhythm.max_age, urgent)
            self._silent = 0.0, 0.0
            complete = len(states) == len(set(job_ids))
            self._ending |= {one: status for one, status in states.items() if status.state is JobState.ENDING}
            self._events.post(Seen(states, asked_at))
            if self._pending_commands.are_due(time.monotonic()):
                self._cancel([])
        except ClusterError as error:
            logger.info("clusterfutures: the scheduler does not answer: %s", error)
            now, (since, until) = time.monotonic(), self._silent
            self._silent = (since if now - until < SILENCE_GAP_SECONDS else asked_at), now
        except Exception:  # as in _carry_out; and the next question comes when it is due, not at once
            logger.exception("clusterfutures: the states of jobs could not be read")
        self._rhythm.answered(asked_at, time.monotonic(), complete, again_at)

    def _explain(self, worker: str, job_id: str, over: bool, doubted: bool) -> None:
        """Wait shortly for the job to reach a final state, then ask for all details."""
        deadline = time.monotonic() + self._scheduler.settle_seconds
        pause, longest = SETTLE_PAUSES
        patience = time.monotonic() + EXPLAIN_PATIENCE_SECONDS
        status: JobStatus | None = None
        while True:
            asked_at = time.monotonic()
            try:
                status = self._insist(lambda: self._scheduler.explain(job_id), asked_at if doubted else patience)
            except Exception as error:  # whatever it is: somebody waits for an answer
                known = isinstance(error, ClusterError)
                logger.log(
                    logging.INFO if known else logging.ERROR,
                    "clusterfutures: the scheduler cannot say how job %s ended: %s", job_id, error, exc_info=not known,
                )  # fmt: skip
                reason = f"and the scheduler gave no answer when it was asked how: {error}"
                status = JobStatus(job_id, JobState.UNKNOWN, word="ended", reason=reason)
                break
            if status is None or status.state.is_final or time.monotonic() > deadline:
                break
            if status.state is JobState.PENDING:  # it was requeued, or never left the queue
                break
            if not over and status.state is not JobState.ENDING:  # it lives: the list was wrong
                break
            if self._hurried.wait(pause):
                break
            pause = min(longest, 1.5 * pause)
        if job_id in self._ending and (status is None or status.state is JobState.GONE):
            status = self._scheduler.last_seen(self._ending[job_id]) or status
        self._events.post(Explained(worker, status, asked_at, doubted))

    def _cancel(self, job_ids: Sequence[str]) -> None:
        """End jobs, and those that could not be ended before."""
        self._pending_commands.add(job_ids)
        end = self._scheduler.kill if self._kills else self._scheduler.cancel
        try:
            self._insist(lambda: end(self._pending_commands.job_ids), time.monotonic() + CANCEL_PATIENCE_SECONDS)
        except ClusterError as error:
            self._pending_commands.not_paid(error, time.monotonic())
        else:
            self._pending_commands.paid()

    def _settle_pending_commands(self) -> None:
        """At the end: what the scheduler would not do before, or had no time for."""
        self._hurry(END_SECONDS / 2)
        for name, count in list(self._pending_commands.unanswered.items()):
            try:
                found = self._look_up(name, count, math.inf)
            except ClusterError as error:
                logger.info("clusterfutures: no answer about the jobs called %s: %s", name, error)
                break
            self._pending_commands.answered(name)
            self._pending_commands.add(found or [])
        if self._pending_commands.job_ids:
            self._cancel([])
        self._pending_commands.tell()

    # -- submitting -------------------------------------------------------------

    def _submit_all(self, worker_group: str, count: int) -> None:
        """Submit ``count`` jobs in as few arrays as the site allows."""
        left = count
        try:
            while left and not self._hurried.is_set():
                taken = self._submit_some(worker_group, left)
                if not taken:
                    break
                left -= taken
        except Exception as error:
            self._events.post(Refused(worker_group, left, error))
            return
        if left:
            self._events.post(Refused(worker_group, left, None))
        self._rhythm.restart(time.monotonic())

    def _submit_some(self, worker_group: str, count: int) -> int:
        """Submit one array of at most ``count`` jobs; returns how many the site took.

        A limit of the site halves the array; 0 when not even one job is taken now.
        """
        if count > 1:
            count = min(count, self._known_array_limit() or count)
        while True:
            batch, spec, path = self._prepared(worker_group, count)
            try:
                job_ids = self._submit_once(spec, path, count)
            except (SubmitLimitReached, ArrayTooLarge) as error:
                self._say_once(error)
                if count == 1:
                    return self._over_the_limit(error)
                count //= 2
                if isinstance(error, ArrayTooLarge):
                    self._array_limit = count
                continue
            except SchedulerUnavailable:
                self._events.post(Unanswered(worker_group, batch, count))
                raise
            self._note(batch, job_ids)
            self._events.post(Submitted(worker_group, batch, job_ids, count))
            if self._events.phase is Phase.CLOSED and self._events.cause is not None:
                self._pending_commands.add(job_ids)  # the manager has failed, and may not have heard of them
            return count

    def _known_array_limit(self) -> int | None:
        """None while nobody says it: then a submission that is too large will tell."""
        if self._array_limit is None:
            try:
                self._array_limit = self._scheduler.recent_array_limit()
            except SchedulerUnavailable as error:
                logger.info("clusterfutures: the largest array that the site takes is not known: %s", error)
        return self._array_limit

    def _over_the_limit(self, error: SubmitError) -> int:
        if isinstance(error, ArrayTooLarge):
            raise error
        return 0

    def _say_once(self, error: SubmitError) -> None:
        if isinstance(error, SubmitLimitReached) and not self._warned:
            self._warned = True
            logger.warning("clusterfutures: the site's submit limit is reached, fewer jobs do the work: %s", error)

    def _submit_once(self, spec: JobSpec, path: str, count: int) -> list[str]:
        """One submission, tried until the scheduler says yes or no.

        The time counts in which it has given no answer about other jobs.
        """
        now, (since, until) = time.monotonic(), self._silent
        began = since if now - until < SILENCE_GAP_SECONDS else now
        deadline = max(began + PATIENCE_SECONDS, now + FIRST_RETRY_SECONDS)
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                return self._scheduler.submit(spec, path, count)
            except SchedulerUnavailable as error:
                logger.warning("clusterfutures: no answer to the submission of %s, trying again: %s", spec.name, error)
                self._pending_commands.unanswered[spec.name] = count
                try:
                    found = self._look_up(spec.name, count, deadline)
                except SchedulerUnavailable as silence:
                    raise self._gave_up(spec.name, silence) from error
                self._pending_commands.answered(spec.name)
                if found is not None:
                    return found
                if time.monotonic() > deadline or self._hurried.is_set():
                    raise self._gave_up("", error) from error
                self._rest(pause)
                pause = min(LONGEST_RETRY_SECONDS, 2 * pause)

    def _gave_up(self, name: str, error: SchedulerUnavailable) -> SchedulerUnavailable:
        """Return the error for calls without a job; ``name``: for jobs that may exist nevertheless."""
        perhaps = ""
        if name:
            command = self._scheduler.cancel_by_name_command(name)
            perhaps = f"Nobody knows whether jobs called {name} were submitted; this ends them: {command}\n"
        return SchedulerUnavailable(
            message=f"no answer from the scheduler, though it was asked again for minutes: {error}\n{perhaps}"
            "The call did not run: submit it again when the scheduler answers",
            command=error.command,
        )

    def _look_up(self, name: str, count: int, deadline: float) -> list[str] | None:
        """Return the jobs of a submission that got no answer; None when it did not happen."""
        return self._insist(lambda: self._scheduler.find(name, count), deadline)

    def _prepared(self, worker_group: str, count: int) -> tuple[str, JobSpec, str]:
        """Batch, spec and script; what the script must say may be for the scheduler to tell."""
        try:
            return self._prepare(worker_group, count)
        except SchedulerUnavailable as error:
            logger.warning("clusterfutures: the scheduler does not answer, submitting when it does: %s", error)
            return self._insist(lambda: self._prepare(worker_group, count), time.monotonic() + PATIENCE_SECONDS)

    def _insist(self, ask: Callable[[], T], deadline: float) -> T:
        """Carry out what may be done twice, again and again until there is an answer."""
        pause = FIRST_RETRY_SECONDS
        first: SchedulerUnavailable | None = None
        while True:
            try:
                return ask()
            except SchedulerUnavailable as error:
                first = first or error  # a later one may say no more than that there was no time left
                if time.monotonic() + pause > min(deadline, self._ends_at):
                    raise first from None
                self._rest(pause)
                pause = min(LONGEST_RETRY_SECONDS, 2 * pause)

    def _rest(self, seconds: float) -> None:
        """Before the next attempt; when somebody has said to hurry, not for long."""
        if self._hurried.wait(seconds):
            time.sleep(min(seconds, FIRST_RETRY_SECONDS))


#: what a program imports when it needs it, and could not any more after somebody has replaced this package
_LATE = (
    "schedulers.status_cache", "schedulers.misspelt", "pickling.unpicklable", "pickling.locks",
    "pickling.child_processes",
)  # fmt: skip


def _import_late() -> None:
    """A run that has begun goes on: after the first submission there is time to import the rest."""
    for name in _LATE:
        importlib.import_module(f"clusterfutures.{name}")
