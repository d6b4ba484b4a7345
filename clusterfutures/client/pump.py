"""The pump: the thread that owns the ledger, and looks at what the workers report.

    take the inbox -> look at results/ -> feed the ledger -> carry out what it decides
         ^                                                          |
         +------------ sleep until the next look is due <-----------+

It holds no reference to the executor, so an executor that nobody uses any more can be
collected, which ends the run.  It ends when the phase is DRAINING and nothing is left;
whatever happens, its ``finally`` settles every future that is left.

How often it looks: every ``LOOK_SECONDS`` (or ten times what a look costs) while things
happen, ever more rarely when nothing does, up to a second; not at all while no call is
out.  One look serves all futures.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from clusterfutures.client import failures
from clusterfutures.client.clerk import Clerk, Explained, Refused, Seen, Submitted
from clusterfutures.client.inbox import Inbox, Phase
from clusterfutures.client.ledger import BinState, Ledger, Limits, Piece, Worker, WorkerState
from clusterfutures.client.work import Call, Chunk, QueueFile
from clusterfutures.errors import InitializerFailed, StoreError
from clusterfutures.futures import ClusterFuture
from clusterfutures.schedulers.base import JobState, JobStatus
from clusterfutures.store import names, records
from clusterfutures.store.bins import CALLS, Bin
from clusterfutures.store.records import CallInfo, Record
from clusterfutures.store.run import RunDirectory

__all__ = ["Cancelled", "Held", "NewWork", "Pump", "Ready", "Stop"]

logger = logging.getLogger("clusterfutures")

LOOK_SECONDS = 0.0005
LONGEST_LOOK_SECONDS = 1.0
#: how often the check-ins of jobs that have not reported yet are looked at
LAUNCH_LOOK_SECONDS = 0.5
#: how long workers may take to end by themselves when the run is closed
FAREWELL_SECONDS = 5.0

Work = Call | Chunk


class NewWork(NamedTuple):
    """Work was submitted."""

    pool: str
    work: Work


class Held(NamedTuple):
    """A call was submitted that waits for the results of others."""

    future: ClusterFuture[Any]


class Ready(NamedTuple):
    """A held call can go (or, without work, never will)."""

    pool: str
    future: ClusterFuture[Any]
    work: Call | None


class Cancelled(NamedTuple):
    """A call was cancelled: its file was taken back, or it was in no file yet."""

    pool: str
    work: Work
    file: QueueFile | None


class Stop(NamedTuple):
    """Cancel what has not begun; ``kill``: end what is running as well, because of it."""

    kill: str


class Pump:
    """The thread and the ledger's ``Out`` in one: decisions are carried out here."""

    def __init__(
        self, run: RunDirectory, inbox: Inbox, limits: Limits, visibility_timeout: float, farewell: Callable[[], None]
    ) -> None:
        self._run = run
        self._inbox = inbox
        self._wait = visibility_timeout
        self._farewell = farewell
        self._ledger = Ledger(limits, self)
        self._workers: dict[str, Worker] = {}
        self._by_job: dict[str, Worker] = {}
        self._outputs: weakref.WeakSet[Any] = weakref.WeakSet()
        self._active = self._looked = self._launch_look = 0.0
        self._look_pause = LOOK_SECONDS
        self._asked: set[str] = set()
        self._held: set[ClusterFuture[Any]] = set()
        self._unread: dict[str, float] = {}
        self.clerk: Clerk
        self.thread = threading.Thread(target=self._main, name="clusterfutures-pump", daemon=False)

    def watched(self) -> list[str]:
        """The ids of jobs that may still be there; called by the clerk's thread."""
        return list(self._by_job)

    # -- the thread -------------------------------------------------------------

    def _main(self) -> None:
        cause: BaseException | None = None
        try:
            while self._inbox.phase is Phase.OPEN or self._ledger.unsettled or self._requested():
                self._turn()
        except BaseException as error:
            logger.exception("clusterfutures: the thread that collects results failed")
            cause = error
        finally:
            self._inbox.advance(Phase.CLOSED, cause)
            try:
                self._settle_all(cause)
                self._close()
            finally:
                self._farewell()

    def _requested(self) -> bool:
        return any(pool.requested for pool in self._ledger.pools.values())

    def _turn(self) -> None:
        now = time.monotonic()
        due = self._ledger.advance(now)
        items = self._inbox.take(max(0.0, min(due, self._look_due()) - now))
        if items:
            self._active = time.monotonic()
            for item in items:
                self._handle(item)
        now = time.monotonic()
        if self._workers and now >= self._look_due():
            self._look(now)
            self._look_at_launches(now)

    def _look_due(self) -> float:
        return self._looked + self._look_pause if self._workers else time.monotonic() + 60.0

    def _handle(self, item: Any) -> None:
        match item:
            case NewWork(pool, work):
                if pool not in self._ledger.pools:
                    self._run.open_pool(pool)
                self._ledger.add(pool, work, self._active)
                self._look_pause = LOOK_SECONDS
            case Held(future):
                self._held.add(future)
                self._ledger.unsettled += 1
            case Ready(pool, future, call):
                self._held.discard(future)
                self._ledger.unsettled -= 1
                if call is not None:
                    self._handle(NewWork(pool, call))
            case Cancelled(pool, work, None):
                self._ledger.withdrawn(pool, work)
            case Cancelled(_, _, file):
                self._ledger.taken_back(file)
            case Submitted():
                self._submitted(item)
            case Refused(pool, count, error):
                self._ledger.not_submitted(pool, count, error)
            case Seen(states, when):
                self._seen(states, when)
            case Explained(name, status):
                self._explained(name, status)
            case Stop(kill):
                self._stop(kill)

    # -- looking at results -----------------------------------------------------

    def _look(self, now: float) -> None:
        found = self._run.new_segments()
        for name in found:
            self._read(name, now)
        self._looked = time.monotonic()
        cost = (self._looked - now) if not found else LOOK_SECONDS / 10
        if found:
            self._active = self._looked
        resting = (self._looked - self._active) / 20
        self._look_pause = min(LONGEST_LOOK_SECONDS, max(LOOK_SECONDS, 10 * cost, resting))

    def _read(self, name: str, now: float) -> None:
        """Feed one segment to the ledger and set it aside."""
        parsed = names.parse_segment(name)
        if parsed is None:
            return
        try:
            body = self._run.read_segment(name)
        except FileNotFoundError:
            return  # listed and not there yet: the next look has it
        except StoreError as error:
            if self._unread.setdefault(name, now) + 1.0 < now:  # it stays as it is: not late, but damaged
                self._damaged(name, parsed.worker, error)
            return
        worker = self._worker(parsed.worker)
        if worker is not None:
            for record in records.records(body):
                self._feed(worker, record)
        self._run.set_aside(name)

    def _worker(self, name: str) -> Worker | None:
        """The worker of a segment; a job that was requeued comes back under a new attempt."""
        worker = self._workers.get(name)
        parsed = names.parse_worker(name)
        if worker is not None or parsed is None:
            return worker
        batch, index, attempt = parsed
        for earlier in range(attempt - 1, -1, -1):
            before = self._workers.get(names.worker_name(batch, index, earlier))
            if before is not None:
                return self._next_attempt(before, name)
        return None

    def _next_attempt(self, before: Worker, name: str) -> Worker:
        status = JobStatus(before.job_id, JobState.PREEMPTED, "REQUEUED", "the scheduler runs the job again")
        worker = Worker(name, before.pool, before.job_id, time.monotonic())
        self._lose(before, status)
        self._enlist([worker])
        self._ledger.submitted(worker.pool, [worker], 0)
        return worker

    def _feed(self, worker: Worker, record: Record) -> None:
        match record.kind:
            case records.STARTED:
                fields = pickle.loads(record.body)
                self._ledger.started(worker, fields["host"], fields["job_id"])
            case records.BEGUN:
                self._ledger.begun(worker, record)
            case records.RETURNED:
                self._ledger.returned(worker, record)
            case records.ENDED:
                self._ended(worker, pickle.loads(record.body))
            case _:
                self._ledger.outcome(worker, record)

    def _damaged(self, name: str, worker_name: str, error: StoreError) -> None:
        """A segment cannot be read: the calls that its worker has not reported otherwise
        will never have a result."""
        logger.error("clusterfutures: %s", error)
        self._run.set_aside(name)
        worker = self._worker(worker_name)
        if worker is not None:
            self._ledger.lost(worker, [], lambda _call: error)
            self._discharge(worker)

    # -- workers come and go ----------------------------------------------------

    def _submitted(self, answer: Submitted) -> None:
        now = time.monotonic()
        workers = [
            Worker(names.worker_name(answer.batch, index, 0), answer.pool, job_id, now)
            for index, job_id in enumerate(answer.job_ids)
        ]
        self._enlist(workers)
        self._ledger.submitted(answer.pool, workers, answer.asked)

    def _enlist(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            self._workers[worker.name] = worker
            self._by_job[worker.job_id] = worker
        self._active = time.monotonic()

    def _discharge(self, worker: Worker) -> None:
        self._workers.pop(worker.name, None)
        if self._by_job.get(worker.job_id) is worker:
            self._by_job.pop(worker.job_id, None)
        self._asked.discard(worker.name)

    def _look_at_launches(self, now: float) -> None:
        """Jobs that have checked in and then say nothing: have the scheduler asked."""
        silent = [w for w in self._workers.values() if w.state is WorkerState.PENDING and not w.revoked]
        if not silent or now < self._launch_look + LAUNCH_LOOK_SECONDS:
            return
        self._launch_look = now
        launched = set(self._run.launched())
        for worker in silent:
            if worker.name in launched:
                if worker.launched and now - worker.since > LAUNCH_LOOK_SECONDS:
                    worker.since = now + LAUNCH_LOOK_SECONDS
                    self.clerk.look_soon()
                elif not worker.launched:
                    worker.launched, worker.since = True, now

    def _ended(self, worker: Worker, words: dict[str, Any]) -> None:
        """The worker's last word.  Calls it had begun and could not finish went with its job."""
        if words["why"] == "INITIALIZER":
            self._break(words["text"])
        if self._ledger.unfinished(worker):
            self._ask_how(worker)
            return
        self._ledger.ended(worker)
        self._discharge(worker)

    def _seen(self, states: dict[str, JobStatus], when: float) -> None:
        for job_id, status in states.items():
            worker = self._by_job.get(job_id)
            if worker is not None and status.state.is_final and when > worker.since:
                self._ask_how(worker)
            elif worker is not None and status.never_starts and worker.state is WorkerState.PENDING:
                self._say_why_waiting(worker, status)

    def _say_why_waiting(self, worker: Worker, status: JobStatus) -> None:
        if worker.name not in self._asked:
            self._asked.add(worker.name)
            logger.warning(
                "clusterfutures: job %s is waiting for something that does not come by itself: %s",
                status.job_id,
                status.reason,
            )

    def _ask_how(self, worker: Worker) -> None:
        """The job is over without the worker's last word: find out how it ended."""
        if worker.revoked:
            self._ledger.ended(worker)
            self._discharge(worker)
        elif worker.name not in self._asked:
            self._asked.add(worker.name)
            self.clerk.explain(worker.name, worker.job_id)

    def _explained(self, name: str, status: JobStatus | None) -> None:
        worker = self._workers.get(name)
        if worker is None:
            return
        self._look(time.monotonic())  # what it published before it ended comes first
        if name in self._workers and (worker.state is not WorkerState.ENDED):
            self._lose(worker, status)

    def _lose(self, worker: Worker, status: JobStatus | None) -> None:
        self._discharge(worker)
        log = self._run.log_path(_log_name(worker.name))
        tail = failures.last_lines(self._run.read_log(_log_name(worker.name), 0))
        started = worker.state is WorkerState.RUNNING
        status = status or JobStatus(worker.job_id, JobState.GONE)

        def error(call: str) -> BaseException:
            return failures.job_failed(status, worker.place, call, log, tail, started)

        if started or worker.launched and self._run.claimed_bins(worker.name):
            claimed = [tuple(name) for name in self._run.claimed_bins(worker.name)]
            self._ledger.lost(worker, claimed, error)  # type: ignore[arg-type]
        else:
            self._ledger.failed_to_start(worker, error)

    def _break(self, text: str) -> None:
        """The initializer failed: nothing will work, so nothing is accepted any more."""
        logger.critical("clusterfutures: the initializer failed:\n%s", text)
        error = InitializerFailed(message=f"the initializer failed, so the executor cannot be used:\n{text}")
        self._inbox.advance(Phase.DRAINING, error)
        self._ledger.fail_everything(lambda _call: error)

    # -- the end ----------------------------------------------------------------

    def _stop(self, kill: str) -> None:
        """Cancel what has not begun; with ``kill``, end what is running too."""
        for pool in self._ledger.pools.values():
            for _, piece in list(pool.waiting.values()):
                if piece.file is not None and self.take_back(piece.file):
                    self._cancel_file(piece.file)
            self._cancel_pending(pool.pending)
        for future in list(self._held):
            future.cancel()
        if kill:
            running = [w for w in self._workers.values() if w.state is WorkerState.RUNNING]
            status = JobStatus("", JobState.CANCELLED, "CANCELLED", kill)
            self._ledger.fail_everything(
                lambda call: failures.job_failed(status, running[0].place if running else None, call, "", "", True)
            )
            self._end_jobs(list(self._workers.values()))

    def _cancel_file(self, file: QueueFile) -> None:
        state, _ = self._ledger.pools[file.pool].waiting[file.name]
        for work in state.work:
            self._cancel_work(work)
        self._ledger.taken_back(file)

    def _cancel_pending(self, pending: Sequence[Work]) -> None:
        for work in list(pending):
            with self._inbox.lock:
                fresh = not work.withdrawn
                work.withdrawn = True
            if fresh:
                work.cancel()
                self._ledger.unsettled -= work.count
        pending.clear()  # type: ignore[attr-defined]

    def _cancel_work(self, work: Work) -> None:
        with self._inbox.lock:
            work.withdrawn = True
        work.cancel()

    def _settle_all(self, cause: BaseException | None) -> None:
        """No future stays pending, whatever made the thread end."""
        for item in self._inbox.take(0):
            if isinstance(item, NewWork):
                self._ledger.add(item.pool, item.work, time.monotonic())
        if self._ledger.unsettled or cause is not None:
            error = StoreError(message=f"the executor failed: {cause!r}; this call has no result")
            error.__cause__ = cause
            self._ledger.fail_everything(lambda _call: error)
            for future in self._held:
                future._complete(None, error)

    def _close(self) -> None:
        """Let the workers end by themselves, then see to it that they have."""
        pending = [w for w in self._workers.values() if w.state is WorkerState.PENDING]
        self.revoke(pending)
        try:
            for pool in self._ledger.pools:
                self._run.close_pool(pool)
            deadline = time.monotonic() + FAREWELL_SECONDS
            while self._workers and time.monotonic() < deadline:
                self._look_pause = min(self._look_pause, 0.02)
                self._turn()
        except OSError as error:
            logger.info("clusterfutures: the run directory cannot be used any more: %s", error)
        self._end_jobs(list(self._workers.values()))
        for future in list(self._outputs):
            future.output()  # while the log is there

    def _end_jobs(self, workers: Sequence[Worker]) -> None:
        job_ids = [worker.job_id for worker in workers]
        for worker in workers:
            self._ledger.ended(worker)
            self._discharge(worker)
        if job_ids:
            self.clerk.cancel(job_ids)

    # -- the ledger's way out ---------------------------------------------------

    def publish(self, state: BinState, piece: Piece) -> str:
        """Write a bin's file; see ``ledger.Out``."""
        pieces = state.work[piece.first : piece.stop] if state.kind == CALLS else state.work
        content = Bin(
            state.bin_id,
            piece.first,
            piece.stop,
            state.kind,
            piece.note,
            [work.head() for work in pieces],
            b"".join([work.data for work in pieces]),
        )
        file = piece.file
        assert file is not None
        file.name = names.bin_name(state.bin_id, piece.first, piece.stop)
        try:
            return self._run.publish_bin(state.pool, content)
        finally:
            file.lock.release()

    def place_work(self, work: Sequence[Work], file: QueueFile) -> list[Work]:
        """Mark work as being in ``file``, which is locked until it is written."""
        with self._inbox.lock:
            wanted = [item for item in work if not item.withdrawn]
            if len(wanted) == len(work):
                file.lock.acquire()
                for item in work:
                    item.file = file
        return wanted

    def take_back(self, file: QueueFile) -> bool:
        """Take a bin's file out of the queue."""
        with file.lock:
            if not file.taken:
                file.taken = self._run.take_back(file.pool, file.name)
            return file.taken

    def request(self, pool: str, count: int) -> None:
        """Have jobs submitted."""
        self.clerk.submit(pool, count)

    def revoke(self, workers: Sequence[Worker]) -> None:
        """Check in for workers that have not started, and take their jobs out of the queue."""
        revoked = []
        for worker in workers:
            if not worker.revoked and self._run.revoke(worker.name):
                worker.revoked = True
                revoked.append(worker)
        self._end_jobs(revoked)

    def set_hungry(self, pool: str, hungry: bool) -> None:
        """Ask busy workers to share."""
        self._run.set_hungry(pool, hungry)

    def settle(self, work: Work, record: Record, worker: Worker) -> CallInfo | None:
        """Pass an outcome on to its future or its map."""
        info = work.settle(record, self._run, worker.place, worker.name, self._wait)
        if info is not None and isinstance(work, Call) and not info.output and info.out_stop > info.out_start:
            self._outputs.add(work.future)
        return info


def _log_name(worker: str) -> str:
    """The log of a worker's job: all attempts of a job write to one."""
    return worker.rpartition("-")[0]
