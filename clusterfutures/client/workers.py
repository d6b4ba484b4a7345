"""Which job is which worker, and what became of it: lost jobs are noticed here.

    scheduler's ids  --submitted-->  Worker PENDING  --its own records-->  RUNNING, ENDED
    check-ins, states of jobs, silence  --> asked how it ended --> lost, or never started

What a job wrote itself is the truth; the scheduler explains an absence.  A job that was
requeued comes back under the same id as another attempt: another worker.

A job that is missing in an answer may live:

    list without the job --> Doubts --explain--> named as ended, or requeued --> over, at once
                                |  `----------- named as alive --> no doubt any more
                                |-- missing for long enough (``schedulers/absence.py``) --> over
                                `-- a beat, or a segment --> it counts anew

A job that had started and is listed as waiting is missing as well, until the scheduler says that it
was requeued: the list may be older than the start.

The verdict may be wrong: the scheduler, or a node that cannot be reached, does not know what still
runs there.  So a worker is given up in this order: verdict; fence (``store/run_directory.py``), after
which it begins nothing more; what it had published is read for a while; its calls fail, or go to
others.  Its job is cancelled, in case it runs.

A host that ends every worker at once takes jobs faster than any other, so it would end them all:

    died(node) --2 within a minute--> avoided: sbatch --exclude; elsewhere a worker that starts there leaves
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from clusterfutures.client import failures
from clusterfutures.client.dispatcher import Dispatcher
from clusterfutures.client.scheduler_thread import Explained, SchedulerThread, Submitted
from clusterfutures.client.silence import Silence, unavailable
from clusterfutures.client.state import Worker, WorkerState
from clusterfutures.schedulers import absence
from clusterfutures.schedulers.absence import MOST_QUESTIONS, Absences
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.store import names
from clusterfutures.store.faults import explained
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Doubts", "Hosts", "WorkerRegistry"]

logger = logging.getLogger("clusterfutures")

#: so many workers of one host that die within so many seconds tell of the host
_DEATHS = 2
_WITHIN_SECONDS = 60.0
#: where workers leave by themselves: after so many there is nowhere else to go
_MOST_LEAVES = 5


class Hosts:
    """The hosts of a run's workers, as these name them.  Methods may be called from any thread.

    can_exclude: the scheduler can leave hosts out; where it cannot, one is avoided only once there is another.
    """

    def __init__(self, can_exclude: bool = False) -> None:
        self._can_exclude = can_exclude
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._deaths: dict[str, list[float]] = {}
        self._avoided: dict[str, int] = {}  # -> workers that have left it

    @property
    def avoided(self) -> tuple[str, ...]:
        """The hosts that later jobs are not to run on."""
        with self._lock:
            return tuple(sorted(self._avoided))

    def started(self, host: str) -> None:
        """A worker has started there.  On a host that is avoided it has left again."""
        with self._lock:
            self._seen.add(host)
            if host not in self._avoided:
                return
            self._avoided[host] += 1
            if self._avoided[host] < _MOST_LEAVES:
                return
            del self._avoided[host]
            self._deaths.pop(host, None)
        logger.warning("clusterfutures: the scheduler has no other host for the jobs: %s is used again", host)

    def died(self, host: str, now: float) -> None:
        """A worker there is over without its last word, and nobody had ended it."""
        with self._lock:
            recent = [at for at in self._deaths.get(host, ()) if now - at < _WITHIN_SECONDS] + [now]
            self._deaths[host] = recent
            is_alone = not self._can_exclude and not self._seen - {host, *self._avoided}
            if not host or host in self._avoided or len(recent) < _DEATHS or is_alone:
                return
            self._avoided[host] = 0
        logger.warning(
            "clusterfutures: %d workers died on host %s within a minute: later jobs do not use it. Have it looked at",
            len(recent), host,
        )  # fmt: skip


#: a scheduler may still call a job pending that has started so lately
REQUEUE_SECONDS = 1.0


@dataclass(slots=True)
class _Doubt:
    """One job that is missing."""

    worker: Worker
    beat: int  # the number of its last beat when it was first missing
    ask_at: float = 0.0  # when to ask about it alone, the next time


def _is_requeued(worker: Worker, status: JobStatus) -> bool:
    """True when the job of a worker that had started waits, or runs, again."""
    parsed = names.parse_worker(worker.name)
    return parsed is not None and worker.state is WorkerState.RUNNING and status.restarts > parsed[2]


class Doubts:
    """Which answers are believed.  Owned by the manager thread."""

    def __init__(self, run: RunDirectory, scheduler_thread: SchedulerThread) -> None:
        self._run = run
        self._scheduler_thread = scheduler_thread
        self._absences = Absences()
        self._doubts: dict[str, _Doubt] = {}
        self._asked_at: deque[float] = deque(maxlen=MOST_QUESTIONS)

    def is_over(self, worker: Worker, status: JobStatus, asked_at: float) -> bool:
        """Whether the job has ended, as told by the scheduler's list, or when it was asked about this one."""
        if status.state is JobState.PENDING and worker.state is WorkerState.RUNNING:
            if _is_requeued(worker, status):
                return True
            if asked_at <= worker.heard_at + REQUEUE_SECONDS:
                return False
            status = JobStatus(worker.job_id, JobState.GONE)
        if not status.is_missing:
            self._doubts.pop(worker.name, None)
            return self._absences.ended(status, asked_at)
        is_over = self._absences.ended(status, asked_at, worker.alive_at)
        if is_over and self._beats(worker):
            is_over = self._absences.ended(status, asked_at, worker.alive_at)
        if not self._absences.is_suspect(worker.job_id):
            self._doubts.pop(worker.name, None)
        elif worker.name not in self._doubts:
            logger.info("clusterfutures: job %s is missing in an answer of the scheduler", worker.job_id)
            self._doubts[worker.name] = _Doubt(worker, self._run.beat(worker.name))
            self._scheduler_thread.look_soon()
        return is_over

    def _beats(self, worker: Worker) -> bool:
        """True when the worker has said that it lives since it was first missing."""
        doubt = self._doubts.get(worker.name)
        if doubt is None or self._run.beat(worker.name) <= doubt.beat:
            return False
        worker.alive_at = time.monotonic()
        return True

    def ask(self, now: float) -> None:
        """Have the scheduler asked about missing jobs one by one: not about many at a time."""
        for doubt in self._doubts.values():
            if now < doubt.ask_at:
                continue
            if len(self._asked_at) == MOST_QUESTIONS and now < self._asked_at[0] + absence.UNKNOWN_SECONDS:
                return
            doubt.ask_at = now + absence.UNKNOWN_SECONDS
            self._asked_at.append(now)
            self._scheduler_thread.explain(doubt.worker.name, doubt.worker.job_id, over=False, doubted=True)

    def explained(self, worker: Worker, status: JobStatus | None, asked_at: float) -> bool:
        """The scheduler was asked about one job: whether it has ended."""
        if status is None or status.state is JobState.UNKNOWN:  # it is not known there, or there was no answer
            return False
        return asked_at > worker.since and self.is_over(worker, status, asked_at)

    def forget(self, worker: Worker) -> None:
        """Its job has ended."""
        self._doubts.pop(worker.name, None)
        self._absences.forget(worker.job_id)


#: how long what a lost worker had published may take to be seen here, in seconds
LATE_SECONDS = 0.5
#: how often the check-ins of jobs that have not reported yet are looked at
LAUNCH_LOOK_SECONDS = 0.5

#: ends that neither a person, a limit nor the scheduler has chosen
_OF_THE_HOST = frozenset({JobState.FAILED, JobState.NODE_FAIL, JobState.COMPLETED, JobState.GONE})

#: a job with such a state may still run
_NOT_SURE = frozenset({JobState.GONE, JobState.UNKNOWN})


class WorkerRegistry:
    """The workers that are not over yet.  Owned by the manager thread."""

    def __init__(
        self,
        run: RunDirectory,
        dispatcher: Dispatcher,
        scheduler_thread: SchedulerThread,
        visibility_timeout: float,
        hosts: Hosts | None = None,
    ) -> None:
        self.workers: dict[str, Worker] = {}
        self._hosts = hosts or Hosts()
        self._run = run
        self._dispatcher = dispatcher
        self._scheduler_thread = scheduler_thread
        self.visibility_timeout = visibility_timeout
        self._by_job: dict[str, Worker] = {}
        self._batches: set[str] = set()
        self._asked: dict[str, tuple[JobStatus | None, bool]] = {}  # (their jobs' ends, as listed; had they said it?)
        self._doubts = Doubts(run, scheduler_thread)
        self._silence = Silence(run, time.monotonic())
        self._told: set[tuple[str, str]] = set()
        self._jobs: dict[tuple[str, int], tuple[str, str]] = {}  # (batch, index) -> worker group, job id
        self._unlikely: dict[str, Worker] = {}
        self._doomed: dict[str, tuple[float, JobStatus | None]] = {}
        self._given_up: set[str] = set()  # of the doomed: those that are fenced
        self._over: dict[str, Worker] = {}  # lost: what it says of calls that have no outcome yet is heard
        self._launch_look = 0.0

    def watched(self) -> list[str]:
        """The ids of jobs that may still be there; called by the scheduler thread's thread."""
        return list(self._by_job)

    def worker(self, name: str) -> Worker | None:
        """The worker of a segment; a job that was requeued comes back under a new attempt."""
        worker = self.workers.get(name) or self._over.get(name)
        parsed = names.parse_worker(name)
        if worker is not None or parsed is None:
            return worker
        if (worker := self._unlikely.pop(name, None)) is not None:
            self._dispatcher.submitted(worker.worker_group, [worker], 0)
            self._enlist([worker])
            self._scheduler_thread.jobs_to_watch()
            return worker
        batch, index, attempt = parsed
        for earlier in range(attempt - 1, -1, -1):
            before = self.workers.get(names.worker_name(batch, index, earlier))
            if before is not None:
                self._give_up(before, _requeued(before), time.monotonic() + LATE_SECONDS)
        return self._next_attempt(name, *self._jobs[batch, index]) if attempt else None

    def knows_batch(self, name: str) -> bool:
        """False while the submission that a worker came from has not been answered."""
        parsed = names.parse_worker(name)
        return parsed is None or parsed[0] in self._batches

    def lose_to_requeue(self, before: Worker) -> None:
        """The job of a worker has another one by now."""
        self.lose(before, _requeued(before))

    def _give_up(self, worker: Worker, status: JobStatus | None, deadline: float) -> None:
        """A worker counts as over: it begins nothing any more, and what it had published is read until ``deadline``."""
        if worker.name not in self._given_up:
            self._given_up.add(worker.name)
            self._doomed[worker.name] = (deadline, status)
            self._fence(worker)

    def _fence(self, worker: Worker) -> list[names.Claimed]:
        """See to it that a worker begins nothing any more; the bins that it had, when they are known."""
        try:
            return self._run.fence(worker.name)
        except FileNotFoundError:
            raise  # the run directory is gone
        except OSError as error:
            logger.warning(
                "clusterfutures: worker %s, which is given up, cannot be kept from beginning more calls, so all that "
                "it may have begun fail: %s",
                worker.name,
                explained(error),
            )
            return []

    def _next_attempt(self, name: str, worker_group: str, job_id: str) -> Worker:
        worker = Worker(name, worker_group, job_id, time.monotonic())
        self._enlist([worker])
        self._dispatcher.submitted(worker.worker_group, [worker], 0)
        return worker

    def submitted(self, answer: Submitted) -> None:
        """The scheduler took jobs."""
        self._batches.add(answer.batch)
        now = time.monotonic()
        workers = [
            Worker(names.worker_name(answer.batch, index, 0), answer.worker_group, job_id, now)
            for index, job_id in enumerate(answer.job_ids)
        ]
        for index, job_id in enumerate(answer.job_ids):
            self._jobs[answer.batch, index] = (answer.worker_group, job_id)
        self._enlist(workers)
        self._scheduler_thread.jobs_to_watch()
        self._dispatcher.submitted(answer.worker_group, workers, answer.asked)

    def adopt(self, batch: str, workers: Sequence[Worker], checked_in: Collection[str]) -> None:
        """The jobs of a submission that another program made, by index.

        Those that have neither an id nor checked in were never submitted, most likely: nobody
        counts on them, but they are known if they come.
        """
        self._batches.add(batch)
        for index, worker in enumerate(workers):
            self._jobs[batch, index] = (worker.worker_group, worker.job_id)
            if worker.job_id or worker.name in checked_in:
                self._dispatcher.submitted(worker.worker_group, [worker], 0)
                self._enlist([worker])
            else:
                self._unlikely[worker.name] = worker
        self._scheduler_thread.jobs_to_watch()

    def may_come(self, worker_group: str, batch: str, jobs: int) -> None:
        """Jobs of a submission that was given up without an answer: they are not counted on, either."""
        self._batches.add(batch)
        for index in range(jobs):
            name = names.worker_name(batch, index, 0)
            self._jobs[batch, index] = (worker_group, "")
            self._unlikely[name] = Worker(name, worker_group, "", time.monotonic())

    def _enlist(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            self.workers[worker.name] = worker
            if worker.job_id:
                self._by_job[worker.job_id] = worker
            else:  # nobody can be asked about it: it says who it is, or it is not there
                self._doomed[worker.name] = (time.monotonic() + self.visibility_timeout, None)

    def heard_of(self, worker: Worker) -> None:
        """A worker has started: its job is known now."""
        worker.heard_at = time.monotonic()
        self._hosts.started(worker.node)
        if worker.job_id and worker.job_id not in self._by_job:
            self._enlist([worker])
            self._doomed.pop(worker.name, None)

    def discharge(self, worker: Worker) -> None:
        """Strike a worker that is over off the registry."""
        self._doomed.pop(worker.name, None)
        self._given_up.discard(worker.name)
        self.workers.pop(worker.name, None)
        if self._by_job.get(worker.job_id) is worker:
            self._by_job.pop(worker.job_id, None)
        self._asked.pop(worker.name, None)
        self._doubts.forget(worker)
        self._silence.forget(worker)

    def advance(self, now: float) -> None:
        """Give up the workers that have used up their time; look for jobs that start and say nothing."""
        for name, (deadline, status) in list(self._doomed.items()):
            if now >= deadline and name in self._doomed:  # the loss of one may have called off others
                self.lose(self.workers[name], status)
        self._doubts.ask(now)
        for worker in self._silence.lasts_too_long(self.workers.values(), now):
            if worker.name in self.workers and worker.job_id:  # the loss of one may have called off others
                self.lose(worker, JobStatus(worker.job_id, JobState.UNKNOWN), is_silent=True)
        self._look_at_launches(now)

    def _look_at_launches(self, now: float) -> None:
        """Jobs that have checked in and then say nothing: have the scheduler asked."""
        silent = [w for w in self.workers.values() if w.state is WorkerState.PENDING and not w.revoked]
        if not silent or now < self._launch_look + LAUNCH_LOOK_SECONDS:
            return
        self._launch_look = now
        launched = set(self._run.launched())
        for worker in silent:
            if worker.name in launched:
                if worker.launched_at is None:
                    worker.launched_at = worker.alive_at = now
                elif now - worker.launched_at > LAUNCH_LOOK_SECONDS:
                    worker.launched_at = now + LAUNCH_LOOK_SECONDS
                    self._scheduler_thread.look_soon()

    def seen(self, states: dict[str, JobStatus], when: float) -> None:
        """The scheduler told the states of jobs, as they were at ``when``."""
        for job_id, status in states.items():
            worker = self._by_job.get(job_id)
            if worker is None or when <= worker.since:
                continue
            worker.told_at = max(worker.told_at, when)
            if self._doubts.is_over(worker, status, when):
                self.ask_how(worker, status)
            elif status.never_starts and worker.state is WorkerState.PENDING:
                self._say_why_waiting(worker, status)
        self._doubts.ask(time.monotonic())

    def _say_why_waiting(self, worker: Worker, status: JobStatus) -> None:
        if (worker.worker_group, status.reason) not in self._told:
            self._told.add((worker.worker_group, status.reason))
            logger.warning(
                "clusterfutures: job %s is waiting for something that does not come by itself: %s. Its calls wait with "
                "it: release a job that is held (scontrol release, qrls), else cancel them and ask for what there is",
                status.job_id,
                status.reason.rstrip("."),
            )

    def ask_how(self, worker: Worker, told: JobStatus | None = None) -> None:
        """The job is over, by the worker's last word or as ``told``: find out how it ended."""
        if worker.revoked:
            self._dispatcher.ended(worker)
            self.discharge(worker)
        elif worker.name not in self._asked:
            self._asked[worker.name] = told, worker.last_words
            self._scheduler_thread.explain(worker.name, worker.job_id, worker.last_words)

    def explained(self, answer: Explained, now: float) -> None:
        """How a job ended, or whether it did."""
        worker, status = self.workers.get(answer.worker), answer.status
        if worker is None:
            return
        told, had_last_words = self._asked.get(worker.name, (None, False))
        if answer.doubted:
            if worker.name not in self._asked and self._doubts.explained(worker, status, answer.time):
                self._asked[worker.name] = None, worker.last_words
                self._has_ended(worker, status, now)
            return
        if status is not None and self._lives(worker, status):
            self._asked.pop(worker.name, None)
            self._doubts.forget(worker)
            worker.since = now  # what was asked for before does not count any more
            return
        if worker.last_words and not had_last_words:  # it has ended meanwhile, and not by itself for its scheduler
            self._asked.pop(worker.name, None)
            self.ask_how(worker, told)
            return
        has_no_answer = status is None or status.is_missing or status.state is JobState.UNKNOWN
        self._has_ended(worker, told if has_no_answer and told is not None and not told.is_missing else status, now)

    def _has_ended(self, worker: Worker, status: JobStatus | None, now: float) -> None:
        """The job has ended.  What it published before that may still be on its way here: surely so, when it ended
        well."""
        if status is not None and status.state is JobState.PENDING:
            status = self._requeued(worker, status)
        if worker.last_words:
            self.lose(worker, status)
        else:
            well = status is not None and status.state is JobState.COMPLETED and worker.state is WorkerState.RUNNING
            self._give_up(worker, status, now + (self.visibility_timeout if well else LATE_SECONDS))

    def _lives(self, worker: Worker, status: JobStatus) -> bool:
        """True when the scheduler, asked about this job alone, says that it has not ended: its list was wrong.

        A job that waits although its worker had started was requeued: its list has said so for long.
        """
        if worker.last_words or (status.state is JobState.PENDING and worker.state is WorkerState.RUNNING):
            return False
        no_answer = status.state is JobState.UNKNOWN and status.word == "ended"
        return not status.state.is_final and not no_answer

    def _requeued(self, worker: Worker, status: JobStatus) -> JobStatus:
        """The job of a worker that is over waits to be run again: others do its work."""
        parsed = names.parse_worker(worker.name)
        if parsed is not None:
            batch, index, attempt = parsed
            self._check_in_for(names.worker_name(batch, index, attempt + 1))
        self._scheduler_thread.cancel([worker.job_id])
        return replace(
            status, state=JobState.PREEMPTED, word="REQUEUED", reason="the scheduler put it back in the queue"
        )

    def lose(self, worker: Worker, status: JobStatus | None, is_silent: bool = False) -> None:
        """The worker is over, without its last word or with calls unfinished."""
        self.discharge(worker)
        self._over[worker.name] = worker
        claimed = self._fence(worker)
        log = self._run.log_path(_log_name(worker.name))
        tail = failures.last_lines(self._run.read_log(_log_name(worker.name), 0))
        started = worker.state is WorkerState.RUNNING
        status = status or JobStatus(worker.job_id, JobState.GONE)
        if worker.job_id and not worker.last_words and status.state in _NOT_SURE:
            self._scheduler_thread.cancel([worker.job_id])
        status = failures.as_its_worker_tells(status, worker, time.monotonic())
        if started and not worker.last_words and status.state in _OF_THE_HOST:
            self._hosts.died(worker.node, time.monotonic())

        def error(call: str) -> BaseException:
            if is_silent:
                return unavailable(worker, call)
            return failures.job_failed(status, worker.place, call, log, tail, started)

        if started or claimed:
            self._dispatcher.lost(worker, claimed, error, failures.of_job(status, worker.place, tail))
        elif worker.adopted:  # nobody knows when it ended, and why: that it is not there is all there is to say
            self._dispatcher.ended(worker)
        else:  # as this program sees it: what it still says is heard
            self._over.pop(worker.name)
            self._unlikely[worker.name] = Worker(worker.name, worker.worker_group, worker.job_id, worker.since)
            self._dispatcher.failed_to_start(worker, error)

    def end_jobs(self, workers: Sequence[Worker]) -> None:
        """Have jobs cancelled and forget them."""
        job_ids = [worker.job_id for worker in workers]
        for worker in workers:
            self._dispatcher.ended(worker)
            self.discharge(worker)
        if job_ids:
            self._scheduler_thread.cancel(job_ids)

    def revoke(self, workers: Sequence[Worker]) -> None:
        """Check in for workers that have not started, and take their jobs out of the queue."""
        revoked = []
        for worker in workers:
            if not worker.revoked and self._check_in_for(worker.name):
                worker.revoked = True
                revoked.append(worker)
        self.end_jobs(revoked)

    def _check_in_for(self, name: str) -> bool:
        """Take a worker's place, so that it never comes; False when it has come, or still may."""
        try:
            return self._run.revoke(name)
        except FileNotFoundError:
            raise  # the run directory is gone
        except OSError as error:  # full, or read-only: the job starts, finds no work and ends
            if (name, "check-in") not in self._told:
                self._told.add((name, "check-in"))
                logger.warning("clusterfutures: worker %s cannot be called off: %s", name, error)
            return False


def _requeued(before: Worker) -> JobStatus:
    return JobStatus(before.job_id, JobState.PREEMPTED, "REQUEUED", "the scheduler runs the job again")


def _log_name(worker: str) -> str:
    """The log of a worker's job: all attempts of a job write to one."""
    return worker.rpartition("-")[0]
