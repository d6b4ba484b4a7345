"""The manager: the thread that owns the dispatcher, and looks at what the workers report.

    take the event queue -> look at results/ -> feed the dispatcher -> carry out what it decides
         ^                                                          |
         +------------ sleep until the next look is due <-----------+

It holds no reference to the executor, so an executor that nobody uses any more can be
collected, which ends the run.  It ends when the phase is DRAINING and nothing is left;
whatever happens, its ``finally`` settles every future that is left.

How it looks, and how often, is ``reader.py``; how decisions leave the dispatcher, ``outward.py``.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from clusterfutures.client import failures
from clusterfutures.client.collector import ResultCollector
from clusterfutures.client.disk_space import DiskSpace
from clusterfutures.client.dispatcher import Dispatcher
from clusterfutures.client.effects import Effects, KillRequests
from clusterfutures.client.events import Cancelled, EventQueue, Held, Kill, Leave, Phase, Ready, Stop
from clusterfutures.client.results import Place
from clusterfutures.client.resume.history import RunHistory
from clusterfutures.client.resume.restore import Adoption
from clusterfutures.client.scheduler_thread import Explained, Refused, SchedulerThread, Seen, Submitted, Unanswered
from clusterfutures.client.state import Limits, Worker, WorkerState
from clusterfutures.client.tasks import Call, Chunk, QueueFile
from clusterfutures.client.worker_groups import WorkerGroups
from clusterfutures.client.workers import WorkerRegistry
from clusterfutures.errors import InitializerFailed, JobFailed
from clusterfutures.futures import ClusterFuture
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["ManagerThread"]

logger = logging.getLogger("clusterfutures")

#: how long workers may take to end by themselves when the run is closed
FAREWELL_SECONDS = 5.0
#: how long a program that leaves tries to have jobs submitted for its calls
LEAVING_SECONDS = 60.0


class ManagerThread:
    """The thread, and the owner of all that only it may touch.

    farewell: called last of all.
    """

    def __init__(
        self,
        run: RunDirectory,
        events: EventQueue,
        limits: Limits,
        scheduler_thread: SchedulerThread,
        provision: WorkerGroups,
        visibility_timeout: float,
        farewell: Callable[[], None],
    ) -> None:
        self._run = run
        self._events = events
        self._scheduler_thread = scheduler_thread
        self._farewell = farewell
        self._out = Effects(run, events, scheduler_thread, provision, visibility_timeout)
        self._dispatcher = Dispatcher(limits, self._out)
        self._registry = self._out.registry = WorkerRegistry(
            run, self._dispatcher, scheduler_thread, visibility_timeout, provision.hosts
        )
        self._kills = KillRequests(run, self._dispatcher, self._out)
        self._reader = ResultCollector(run, self._dispatcher, self._registry, self._break)
        self._space = DiskSpace(run)
        self._active = 0.0
        self._left_at: float | None = None
        self._held: set[ClusterFuture[Any]] = set()
        self._items: deque[Any] = deque()
        self.thread = threading.Thread(target=self._main, name="clusterfutures-manager", daemon=False)

    def watched(self) -> list[str]:
        """The ids of jobs that may still be there; called by the scheduler thread's thread."""
        return self._registry.watched()

    # -- the thread -------------------------------------------------------------

    def _main(self) -> None:
        cause: BaseException | None = None
        try:
            while self._goes_on():
                self._turn()
        except FileNotFoundError as error:
            cause = failures.gone(error, self._run.path)
            logger.error("clusterfutures: %s", cause)
        except BaseException as error:
            logger.exception("clusterfutures: the thread that collects results failed")
            cause = failures.executor_failed(error, self._run.path)
            self._run.be_patient(0.0)  # what lasts was waited for already
        finally:
            self._events.advance(Phase.CLOSED, cause)
            for step in (functools.partial(self._settle_all, cause), self._close, self._farewell):
                try:
                    step()
                except Exception:  # the next step must still come: threads, jobs and files end in it
                    logger.exception("clusterfutures: the end of a run failed")

    def adopt(self, past: RunHistory, program: int, owner: Any, resumed: bool) -> None:
        """Go on with what earlier programs of the run left; before the thread starts."""
        self._out.program = program
        Adoption(past, self._run, self._dispatcher, self._registry, self._out).carry_out(owner, resumed)

    def _goes_on(self) -> bool:
        """True until there is nothing left to do; for a program that leaves, nothing but to wait."""
        if self._events.phase is Phase.OPEN:
            return True
        if self._left_at is not None and self._events.empty:
            worker_groups = self._dispatcher.worker_groups.values()
            unsaid = any(p.pending or p.requested or (p.request_at is not None and not p.live()) for p in worker_groups)
            return unsaid and time.monotonic() < self._left_at + LEAVING_SECONDS
        return self._dispatcher.unsettled > 0 or self._something_comes()

    def _something_comes(self) -> bool:
        """True while accepted work waits in the event queue, or a submission has no answer."""
        if self._events.empty:
            self._scheduler_thread.hurry()  # nobody waits for the jobs that are being asked for
        return not self._events.empty or any(
            worker_group.requested for worker_group in self._dispatcher.worker_groups.values()
        )

    def _turn(self) -> None:
        now = time.monotonic()
        due = self._dispatcher.advance(now)
        if self._left_at is not None:
            due = min(due, now + 0.01)  # whether all is said is looked at between two turns
        self._items.extend(self._events.take(max(0.0, min(due, self._reader.due) - now)))
        if not all(map(_is_routine, self._items)):  # an answer to a routine question is no event
            self._active = time.monotonic()
            self._reader.stir(self._active)
        while self._items:  # an item leaves only when it has been handled: see _settle_all
            self._handle(self._items[0])
            self._items.popleft()
        now = time.monotonic()
        if self._registry.workers and now >= self._reader.due:
            self._reader.look(now)
            self._registry.advance(now)
            self._space.look(now)
        self._kills.advance()

    def _handle(self, item: Any) -> None:
        match item:
            case Call() | Chunk():
                self._accept(item)
            case Held(future):
                self._held.add(future)
                self._dispatcher.unsettled += 1
            case Ready(future, call):
                if self._let_go(future) and call is not None:
                    self._handle(call)
            case Cancelled(Call(future=future), None) if self._let_go(future):
                return
            case Cancelled(work, None):
                self._dispatcher.withdrawn(work)
            case Cancelled(file=QueueFile() as file):
                self._dispatcher.taken_back(file)
            case Submitted():
                self._registry.submitted(item)
            case Refused(worker_group, jobs, error):
                self._dispatcher.not_submitted(worker_group, jobs, error, self._active)
            case Unanswered(worker_group, batch, jobs):
                self._registry.may_come(worker_group, batch, jobs)
            case Seen(states, when):
                self._registry.seen(states, when)
            case Explained():
                if not item.doubted:
                    self._reader.hurry()
                self._registry.explained(item, time.monotonic())
            case Kill(call):
                self._kills.ask(call)
            case Stop(kill):
                self._stop(kill)
            case Leave():
                self._left_at = time.monotonic()
                self._dispatcher.limits.leaving = True

    def _let_go(self, future: ClusterFuture[Any]) -> bool:
        """A call waits for others no longer; False when it did not."""
        if future not in self._held:
            return False
        self._held.discard(future)
        self._dispatcher.unsettled -= 1
        return True

    def _accept(self, item: Call | Chunk) -> None:
        if (error := self._out.open_worker_group(item.worker_group)) is not None:
            item.fail(0, item.count, error)  # this call; when there is space again, the next one tries again
            return
        self._dispatcher.add(item, self._active)
        self._reader.hurry()

    # -- workers come and go ----------------------------------------------------

    def _break(self, text: str) -> None:
        """The initializer failed: nothing will work, so nothing is accepted any more."""
        logger.critical("clusterfutures: the initializer failed:\n%s", text)
        error = InitializerFailed(message=f"the initializer failed, so the executor cannot be used:\n{text}")
        self._events.advance(Phase.DRAINING, error)
        self._fail_everything(lambda _call: error)

    def _fail_everything(
        self,
        error: Callable[[str], BaseException],
        of_worker: Callable[[Worker], Callable[[str], BaseException]] | None = None,
    ) -> None:
        self._dispatcher.fail_everything(error, of_worker)
        for future in self._held:
            future.resolve(None, error("a call that waits for others"))
        self._dispatcher.unsettled -= len(self._held)
        self._held.clear()

    # -- the end ----------------------------------------------------------------

    def _stop(self, kill: str) -> None:
        """Cancel what has not begun; with ``kill``, end what is running too."""
        self._dispatcher.reruns.allowed = False
        for worker_group in self._dispatcher.worker_groups.values():
            for _, bin_slice in list(worker_group.waiting.values()):
                if bin_slice.file is not None and self._out.take_back(bin_slice.file):
                    self._cancel_file(bin_slice.file)
            self._dispatcher.cancel_pending(worker_group, self._out.withdraw)
        for future in list(self._held):
            future.cancel()
        if kill:
            self._fail_everything(
                functools.partial(_ended_by, kill, Place("", "")),
                lambda worker: functools.partial(_ended_by, kill, worker.place),
            )
            self._registry.revoke([w for w in self._registry.workers.values() if w.state is WorkerState.PENDING])
            self._scheduler_thread.cancel(self._registry.watched())

    def _cancel_file(self, file: QueueFile) -> None:
        state, _ = self._dispatcher.worker_groups[file.worker_group].waiting[file.name]
        for work in state.work:
            self._out.withdraw(work)
        self._dispatcher.taken_back(file)

    def _settle_all(self, cause: BaseException | None) -> None:
        """No future stays pending, whatever made the thread end."""
        error = failures.executor_failed(cause, self._run.path)
        if self._left_at is not None and cause is None:
            error = failures.left(self._run.path)
            for future in list(self._held):  # first: they would take over what those have that they wait for
                future.resolve(None, failures.not_made(self._run.path))
            self._dispatcher.let_go(error)
        items = [*self._items, *self._events.take(0)]
        self._items.clear()  # what could not be handled is not tried again
        for item in items:
            if isinstance(item, Call | Chunk):
                item.fail(0, item.count, error)
            elif isinstance(item, Held):
                item.future.resolve(None, error)
            elif isinstance(item, Submitted) and cause is not None:
                self._scheduler_thread.cancel(item.job_ids)
        if self._dispatcher.unsettled or cause is not None:
            self._fail_everything(lambda _call: error)

    def _close(self) -> None:
        """Let the workers end by themselves, then see to it that they have."""
        try:
            self._see_off()
        except OSError as error:
            logger.info("clusterfutures: the run directory cannot be used any more: %s", error)
        finally:
            if self._left_at is None:
                self._registry.end_jobs(list(self._registry.workers.values()))
                for holder in list(self._out.lazy):
                    self._fetch(holder)

    def _see_off(self) -> None:
        """Close the queues, and wait a while for the workers to end."""
        if self._left_at is None:
            self._registry.revoke([w for w in self._registry.workers.values() if w.state is WorkerState.PENDING])
        for worker_group in self._out.worker_groups:
            self._run.close_worker_group(worker_group)
        if self._left_at is not None:
            return  # the workers end when the queue is empty; who goes on with the run opens it again
        deadline = time.monotonic() + FAREWELL_SECONDS
        while self._registry.workers and time.monotonic() < deadline:
            self._reader.hurry(0.02)
            self._turn()

    def _fetch(self, holder: Any) -> None:
        """Have what would be read later read now, while its files are there; one that cannot be harms no other."""
        try:
            holder.fetch()
        except Exception as error:
            logger.warning("clusterfutures: what was to be read later cannot be had: %s", error)


def _is_routine(item: Any) -> bool:
    return isinstance(item, Seen) or (isinstance(item, Explained) and item.doubted)


def _ended_by(kill: str, place: Place, call: str) -> JobFailed:
    """What a call ends with that the program itself has ended with its job."""
    return JobFailed(job_id=place.job_id, state="CANCELLED", reason=kill, host=place.host, call=call)
