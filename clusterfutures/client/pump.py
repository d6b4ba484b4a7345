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

import functools
import logging
import pickle
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clusterfutures.client import failures
from clusterfutures.client.clerk import Clerk, Explained, Refused, Seen, Submitted
from clusterfutures.client.inbox import Inbox, Phase
from clusterfutures.client.ledger import Ledger
from clusterfutures.client.messages import Cancelled, Held, Ready, Stop
from clusterfutures.client.outcomes import Place
from clusterfutures.client.roster import Roster
from clusterfutures.client.state import BinState, Limits, Piece, Work, Worker, WorkerState
from clusterfutures.client.work import Call, Chunk, QueueFile
from clusterfutures.errors import InitializerFailed, JobFailed, StoreError
from clusterfutures.futures import ClusterFuture
from clusterfutures.schedulers.base import JobStatus
from clusterfutures.store import names, records
from clusterfutures.store.bins import CALLS, Bin
from clusterfutures.store.records import CallInfo, Record
from clusterfutures.store.run import RunDirectory

__all__ = ["Pump"]

logger = logging.getLogger("clusterfutures")

LOOK_SECONDS = 0.0005
LONGEST_LOOK_SECONDS = 1.0
#: how long workers may take to end by themselves when the run is closed
FAREWELL_SECONDS = 5.0


class Pump:
    """The thread and the ledger's ``Out`` in one: decisions are carried out here."""

    def __init__(
        self,
        run: RunDirectory,
        inbox: Inbox,
        limits: Limits,
        clerk: Clerk,
        visibility_timeout: float,
        farewell: Callable[[], None],
    ) -> None:
        self._run = run
        self._inbox = inbox
        self._clerk = clerk
        self._wait = visibility_timeout
        self.find_pool: Callable[[Mapping[str, Any]], str]
        self._farewell = farewell
        self._ledger = Ledger(limits, self)
        self._roster = Roster(run, self._ledger, clerk, visibility_timeout)
        self._lazy: weakref.WeakSet[Any] = weakref.WeakSet()  # what reads files when it is asked
        self._active = self._looked = 0.0
        self._look_pause = LOOK_SECONDS
        self._held: set[ClusterFuture[Any]] = set()
        self._items: deque[Any] = deque()
        self._pools: set[str] = set()
        self._unread: dict[str, float] = {}
        self._read_in_place: set[str] = set()
        self.thread = threading.Thread(target=self._main, name="clusterfutures-pump", daemon=False)

    def watched(self) -> list[str]:
        """The ids of jobs that may still be there; called by the clerk's thread."""
        return self._roster.watched()

    # -- the thread -------------------------------------------------------------

    def _main(self) -> None:
        cause: BaseException | None = None
        try:
            while self._inbox.phase is Phase.OPEN or self._ledger.unsettled or self._something_comes():
                self._turn()
        except BaseException as error:
            logger.exception("clusterfutures: the thread that collects results failed")
            cause = error
        finally:
            self._inbox.advance(Phase.CLOSED, cause)
            for step in (functools.partial(self._settle_all, cause), self._close, self._farewell):
                try:
                    step()
                except Exception:  # the next step must come all the same: threads, jobs and files end here
                    logger.exception("clusterfutures: the end of a run failed")

    def _something_comes(self) -> bool:
        """True while accepted work waits in the inbox, or a submission has no answer."""
        return not self._inbox.empty or any(pool.requested for pool in self._ledger.pools.values())

    def _turn(self) -> None:
        now = time.monotonic()
        due = self._ledger.advance(now)
        self._items.extend(self._inbox.take(max(0.0, min(due, self._look_due()) - now)))
        if not all(isinstance(item, Seen) for item in self._items):  # an answer to a routine question is no event
            self._active = time.monotonic()
        while self._items:  # an item leaves only when it has been handled: see _settle_all
            self._handle(self._items[0])
            self._items.popleft()
        now = time.monotonic()
        if self._roster.workers and now >= self._look_due():
            self._look(now)
            self._roster.advance(now)

    def _look_due(self) -> float:
        return self._looked + self._look_pause if self._roster.workers else time.monotonic() + 60.0

    def _handle(self, item: Any) -> None:
        match item:
            case Call() | Chunk():
                self._accept(item)
            case Held(future):
                self._held.add(future)
                self._ledger.unsettled += 1
            case Ready(future, call) if future in self._held:
                self._held.discard(future)
                self._ledger.unsettled -= 1
                if call is not None:
                    self._handle(call)
            case Cancelled(work, None):
                self._ledger.withdrawn(work)
            case Cancelled(file=QueueFile() as file):
                self._ledger.taken_back(file)
            case Submitted():
                self._roster.submitted(item)
            case Refused(pool, jobs, error):
                self._ledger.not_submitted(pool, jobs, error, self._active)
            case Seen(states, when):
                self._roster.seen(states, when)
            case Explained(name, status):
                self._explained(name, status)
            case Stop(kill):
                self._stop(kill)

    def _accept(self, item: Call | Chunk) -> None:
        if (error := self._open(item.pool)) is not None:
            item.fail(0, item.count, error)  # this call; when there is space again, the next one tries again
            return
        self._ledger.add(item, self._active)
        self._look_pause = LOOK_SECONDS

    def _open(self, pool: str) -> StoreError | None:
        """Make the queue of a pool, where there is none; what kept us from it."""
        if pool not in self._pools:
            try:
                self._run.open_pool(pool)
            except StoreError as error:
                return error
            self._pools.add(pool)
        return None

    # -- looking at results -----------------------------------------------------

    def _look(self, now: float) -> None:
        found = [name for name in self._run.new_segments() if name not in self._read_in_place]
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
        if not self._roster.knows_batch(parsed.worker):
            return  # the job was faster than the answer of its submission: the next look has it
        worker = self._roster.worker(parsed.worker)
        if worker is not None:
            for record in records.records(body):
                self._feed(worker, record)
        self._set_aside(name)

    def _set_aside(self, name: str) -> None:
        """A segment is read once; where it cannot be moved away, it is remembered instead."""
        try:
            self._run.set_aside(name)
        except FileNotFoundError:
            raise  # the run directory is gone
        except OSError as error:
            logger.warning("clusterfutures: %s cannot be moved out of results/: %s", name, error)
            self._read_in_place.add(name)

    def _feed(self, worker: Worker, record: Record) -> None:
        match record.kind:
            case records.STARTED:
                fields = pickle.loads(record.body)
                self._ledger.started(worker, fields["host"], fields["job_id"])
            case records.BEGUN:
                self._ledger.begun(worker, record)
            case records.PACE:
                self._ledger.limits.pace.learn(*records.unpack_pace(record))
            case records.RETURNED:
                self._ledger.returned(worker, record)
            case records.RETIRING:
                worker.retiring = True
            case records.ENDED:
                self._ended(worker, pickle.loads(record.body))
            case _:
                self._ledger.outcome(worker, record)

    def _damaged(self, name: str, worker_name: str, error: StoreError) -> None:
        """A segment cannot be read: the calls that its worker has not reported otherwise
        will never have a result."""
        logger.error("clusterfutures: %s", error)
        self._set_aside(name)
        worker = self._roster.worker(worker_name)
        if worker is not None:
            self._ledger.lost(worker, [], lambda _call: error)
            self._roster.discharge(worker)

    # -- workers come and go ----------------------------------------------------

    def _ended(self, worker: Worker, words: dict[str, Any]) -> None:
        """The worker's last word.  Calls it had begun and could not finish went with its job."""
        worker.last_words = True
        if words["why"] == "INITIALIZER":
            self._break(words["text"])
        if words["why"] in ("FAULT", "SIGNAL") or self._ledger.unfinished(worker):
            self._roster.ask_how(worker)
            return
        self._ledger.ended(worker)
        self._roster.discharge(worker)

    def _explained(self, name: str, status: JobStatus | None) -> None:
        self._look_pause = LOOK_SECONDS
        self._roster.explained(name, status, time.monotonic())

    def _break(self, text: str) -> None:
        """The initializer failed: nothing will work, so nothing is accepted any more."""
        logger.critical("clusterfutures: the initializer failed:\n%s", text)
        error = InitializerFailed(message=f"the initializer failed, so the executor cannot be used:\n{text}")
        self._inbox.advance(Phase.DRAINING, error)
        self._fail_everything(lambda _call: error)

    def _fail_everything(self, error: Callable[[str], BaseException]) -> None:
        self._ledger.fail_everything(error)
        for future in self._held:
            future._complete(None, error("a call that waits for others"))
        self._ledger.unsettled -= len(self._held)
        self._held.clear()

    # -- the end ----------------------------------------------------------------

    def _stop(self, kill: str) -> None:
        """Cancel what has not begun; with ``kill``, end what is running too."""
        self._ledger.reruns.allowed = False
        for pool in self._ledger.pools.values():
            for _, piece in list(pool.waiting.values()):
                if piece.file is not None and self.take_back(piece.file):
                    self._cancel_file(piece.file)
            self._ledger.cancel_pending(pool, self._withdraw)
        for future in list(self._held):
            future.cancel()
        if kill:
            running = [w for w in self._roster.workers.values() if w.state is WorkerState.RUNNING]
            place = running[0].place if running else Place("", "")
            self._fail_everything(
                lambda call: JobFailed(job_id=place.job_id, state="CANCELLED", reason=kill, host=place.host, call=call)
            )
            self._roster.revoke([w for w in self._roster.workers.values() if w.state is WorkerState.PENDING])
            self._clerk.cancel(self._roster.watched())

    def _cancel_file(self, file: QueueFile) -> None:
        state, _ = self._ledger.pools[file.pool].waiting[file.name]
        for work in state.work:
            self._withdraw(work)
        self._ledger.taken_back(file)

    def _withdraw(self, work: Work) -> bool:
        """Cancel work that no worker can have; False when that had been done before."""
        with self._inbox.lock:
            fresh = not work.withdrawn
            work.withdrawn = True
        if fresh:
            work.cancel()
        return fresh

    def _settle_all(self, cause: BaseException | None) -> None:
        """No future stays pending, whatever made the thread end."""
        error = failures.executor_failed(cause, self._run.path)
        for item in [*self._items, *self._inbox.take(0)]:
            if isinstance(item, Call | Chunk):
                item.fail(0, item.count, error)
            elif isinstance(item, Held):
                item.future._complete(None, error)
        if self._ledger.unsettled or cause is not None:
            self._fail_everything(lambda _call: error)

    def _close(self) -> None:
        """Let the workers end by themselves, then see to it that they have."""
        pending = [w for w in self._roster.workers.values() if w.state is WorkerState.PENDING]
        try:
            self._roster.revoke(pending)
            for pool in self._pools:
                self._run.close_pool(pool)
            deadline = time.monotonic() + FAREWELL_SECONDS
            while self._roster.workers and time.monotonic() < deadline:
                self._look_pause = min(self._look_pause, 0.02)
                self._turn()
        except OSError as error:
            logger.info("clusterfutures: the run directory cannot be used any more: %s", error)
        self._roster.end_jobs(list(self._roster.workers.values()))
        for holder in list(self._lazy):
            holder.fetch()  # while the files are there

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

    def unplace(self, work: Work) -> bool:
        """Work is in no file any more; False when it was withdrawn with its file."""
        with self._inbox.lock:
            work.file = None
            return not work.withdrawn

    def take_back(self, file: QueueFile) -> bool:
        """Take a bin's file out of the queue."""
        with file.lock:
            if not file.taken:
                file.taken = self._run.take_back(file.pool, file.name)
            return file.taken

    def pool_for(self, resources: Mapping[str, Any]) -> str | None:
        """The pool whose jobs have these resources, its queue made."""
        pool = self.find_pool(resources)
        return pool if self._open(pool) is None else None

    def request(self, pool: str, count: int) -> None:
        """Have jobs submitted."""
        self._clerk.submit(pool, count)

    def revoke(self, workers: Sequence[Worker]) -> None:
        """End workers that have not started."""
        self._roster.revoke(workers)

    def set_hungry(self, pool: str, hungry: bool) -> None:
        """Ask busy workers to share; without space for the question, they do not."""
        try:
            self._run.set_hungry(pool, hungry)
        except FileNotFoundError:
            raise  # the run directory is gone
        except OSError as error:
            logger.warning("clusterfutures: cannot ask the workers to share: %s", error)

    def settle(self, work: Work, record: Record, worker: Worker) -> CallInfo | None:
        """Pass an outcome on to its future or its map."""
        try:
            info = work.settle(record, self._run, worker.place, worker.name, self._wait)
        except Exception as error:  # a defect of ours must not cost the other calls their results
            logger.exception("clusterfutures: a result could not be read")
            work.fail(record.first, record.calls, failures.unreadable(work.name, error))
            return None
        if isinstance(work, Chunk) and record.kind in (records.LARGE, records.LARGE_ERROR):
            self._lazy.add(work.sink)
        elif isinstance(work, Call) and work.future.is_lazy:
            self._lazy.add(work.future)
        return info
