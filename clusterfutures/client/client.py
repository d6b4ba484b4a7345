"""One run, from its start to its removal: ties event queue, manager, scheduler thread and directory together.

    executor --submit, map, shutdown--> Client --> EventQueue --> ManagerThread <--> SchedulerThread
                                          |
                                          +--> RunDirectory (made at the first call)

Threads and directory are made when the first call comes, so an executor that is not used
costs nothing and leaves nothing.

The program may end, or fork:

    the interpreter ends --drain--> what was submitted is carried out, as by the standard library's executors
    ... after Ctrl-C     --drain--> it is ended
    a fork               --disown--> the child has none of them: their threads and files are its parent's
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
import weakref
from array import array
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, NamedTuple

from clusterfutures.client import results as client_results
from clusterfutures.client import startup
from clusterfutures.client.events import Cancelled, EventQueue, Held, Kill, Leave, Phase, Ready, Stop
from clusterfutures.client.manager import ManagerThread
from clusterfutures.client.map import MapResults as MapRun
from clusterfutures.client.map import Plan, chunked
from clusterfutures.client.resume.history import RunHistory
from clusterfutures.client.resume.lookup import Orders, ResultCache
from clusterfutures.client.scheduler_thread import SchedulerThread
from clusterfutures.client.serialize import Pickled, Pickler
from clusterfutures.client.startup import Opened, open_run
from clusterfutures.client.state import Limits
from clusterfutures.client.tasks import Call, Chunk
from clusterfutures.client.worker_groups import WorkerGroups
from clusterfutures.errors import OptionError, StoreError
from clusterfutures.futures import ClusterFuture
from clusterfutures.options.retries import Retries, read
from clusterfutures.options.settings import Settings
from clusterfutures.pickling import definitions
from clusterfutures.schedulers.base import Scheduler
from clusterfutures.store import names
from clusterfutures.store.bins import Extras
from clusterfutures.store.ownership import Ownership
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Client", "Target", "begun", "ended", "leave", "refuse_if_exiting"]

logger = logging.getLogger("clusterfutures")

_clients: weakref.WeakSet[Client] = weakref.WeakSet()
_exiting = False


def begun(client: Client) -> None:
    """A client is about to start its threads.

    Raises RuntimeError when the interpreter is ending.  That is looked at when the client is known
    already: either the end finds it, or it finds the end.
    """
    _clients.add(client)
    refuse_if_exiting()


def ended(client: Client) -> None:
    """Its threads are over, or have never begun."""
    _clients.discard(client)


def refuse_if_exiting() -> None:
    """In the standard library's words."""
    if _exiting:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")


def leave(clients: Iterable[Client]) -> None:
    """End clients, and wait for that; clients with jobs that may stay do not wait for results."""
    clients = list(clients)
    for client in clients:
        if client.leaves:
            client.events.post(Leave())
        client.events.advance(Phase.DRAINING)
    for client in clients:
        client.join()


def _drain_all() -> None:
    """Carry out what was submitted, unless the program is ending because of Ctrl-C, or has said
    that its jobs may stay."""
    global _exiting
    _exiting = True
    interrupted = issubclass(getattr(sys, "last_type", None) or Exception, KeyboardInterrupt)
    clients = list(_clients)
    for client in clients:
        if interrupted and not client.leaves:
            client.shutdown(wait=False, cancel=True, kill="the program was interrupted")
    leave(clients)


def _disown_all() -> None:
    """In a child that was forked."""
    for client in list(_clients):
        client.events.disown()
    _clients.clear()


# Before threads are joined, as the standard library's executors do it; and now, not with the
# first call: an executor that had none must refuse calls too once the interpreter is ending.
threading._register_atexit(_drain_all)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_disown_all)


class Target(NamedTuple):
    """What the calls of an executor, or of a view of it, have in common."""

    worker_group: str
    retries: Retries | None


class Client:
    """The client's side of a run.  Methods may be called from any thread."""

    def __init__(self, scheduler: Scheduler, settings: Settings, attached: bool = False) -> None:
        self.settings = settings
        self.past = RunHistory()
        self._attached = attached  # to a run of other programs: all their calls are wanted
        self._scheduler = scheduler
        self._start_lock = threading.Lock()
        self._started = False
        self._provision = WorkerGroups(scheduler, settings)
        self.events = EventQueue()
        self.run: RunDirectory
        self._ownership: Ownership
        self._pickler: Pickler
        self._limits: Limits
        self._manager: ManagerThread
        self._scheduler_thread: SchedulerThread
        self._orders = Orders()
        self._recall: ResultCache | None = None  # of a run with a name
        self.leaves = attached  # this program does not wait, at its end, for what its jobs do

    # -- calls ------------------------------------------------------------------

    def submit(
        self, target: Target, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ClusterFuture[Any]:
        """Accept one call; see ``Executor.submit``."""
        self._check_open()
        future: ClusterFuture[Any] = ClusterFuture()
        try:
            key = self._pickler.function(function)
            pickled = self._pickler.call(args, kwargs, function)
        except Exception as error:
            if isinstance(error, StoreError):
                self._check_open()  # as in map
            future.resolve(None, error)
            return future
        call = Call(self._provision.real(target.worker_group), future, function, key, pickled.data, pickled.extras)
        call.retries = target.retries
        if self._recall is None:
            call.order = self._orders.take()
        elif pickled.futures:
            call.order = self._orders.take()
            call.identity = self._recall.identity(function, key, args, kwargs)
        elif (earlier := self._recall.call(function, key, args, kwargs)).future is not None:
            return earlier.future
        else:
            call.order, call.identity = earlier.order, earlier.identity
        accepted = self._hold(call, pickled) if pickled.futures else self._send(call)
        if not accepted:
            self._check_open()
        return future

    def map(
        self,
        target: Target,
        function: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        plan: Plan,
        star: bool,
    ) -> MapRun:
        """Send the arguments of a ``map``; see ``Executor.map``."""
        self._check_open()
        try:
            key = self._pickler.function(function)
            worker_group = self._provision.real(target.worker_group)
            plan.seconds_per_call = self._limits.pace.seconds(key)

            def send(sink: MapRun, number: int, arguments: list[tuple[Any, ...]]) -> Chunk:
                pickled = self._pickler.arguments(arguments, function, sink.sent)
                if pickled.futures:
                    raise OptionError("a future cannot be an argument of map: use submit, which waits for its result")
                chunk = Chunk(worker_group, sink, number, function, key, pickled.data, pickled.extras, len(arguments))
                chunk.retries = target.retries
                if self._recall is None:
                    first = self._orders.take(chunk.count)
                    chunk.orders = range(first, first + chunk.count)
                else:
                    _recall_chunk(self._recall, chunk, sink, arguments)
                if chunk.left and not self.events.submit(chunk):
                    self._check_open()
                return chunk

            return MapRun(
                chunked(iterables, plan, star),
                send,
                self._abandon,
                self.run,
                self.settings.visibility_timeout,
                plan.buffersize,
            )
        except StoreError:
            self._check_open()  # the directory may have gone with the run, which has ended in between
            raise

    def _send(self, call: Call) -> bool:
        call.future.belongs_to(self, call)
        return self.events.submit(call)

    def _hold(self, call: Call, pickled: Pickled) -> bool:
        """Accept a call that needs the results of others, and let it go when they are there."""
        call.future.belongs_to(self, call)  # who cancels it now withdraws it: it is not let go
        if not self.events.submit(Held(call.future)):
            return False
        missing = itertools.count(len(pickled.futures) - 1, -1)

        def one_is_done(_done: Future[Any]) -> None:
            if next(missing) == 0:
                self._release_aside(call, pickled)

        for needed in pickled.futures:
            needed.add_done_callback(one_is_done)
        return True

    def _release_aside(self, call: Call, pickled: Pickled) -> None:
        """``_release``, in a thread of its own where results have to be unpickled for it: that may
        run code of the user's, which may never return, and this is the manager's thread."""
        if all(needed.is_decoded for needed in pickled.futures if isinstance(needed, ClusterFuture)):
            self._release(call, pickled)
            return
        aside = threading.Thread(target=self._release, args=(call, pickled), name="clusterfutures-release", daemon=True)
        try:
            aside.start()
        except RuntimeError:  # the interpreter is ending
            self._release(call, pickled)

    def _release(self, call: Call, pickled: Pickled) -> None:
        """All results that a held call needs are there, or will never be.

        Whatever comes of it, be it a SystemExit that a call raised, is the outcome of this one, and
        nothing in the thread that happens to be here.
        """
        extras = pickled.extras or Extras("", (), ())
        try:
            if call.future.cancelled():
                return  # the manager knows
            if (failed := _failure_among(pickled.futures, call)) is not None:
                self._give_up_call(call, failed)
                return
            values = [needed.result() for needed in pickled.futures]
            if self._recall is not None:
                earlier = self._recall.call_with(call.identity, call.order, values)
                call.order, call.identity = earlier.order, earlier.identity
                if earlier.future is not None:
                    earlier.future.add_done_callback(call.future.follow)
                    self.events.post(Ready(call.future, None))
                    return
            results = tuple(self._pickler.result(value, call.callable) for value in values)
        except BaseException as error:
            self._give_up_call(call, error)
            client_results.let_interrupts_through(error)
            return
        call.extras = extras._replace(dependencies=results)
        self.events.post(Ready(call.future, None if call.future.cancelled() else call))

    def _give_up_call(self, call: Call, error: BaseException) -> None:
        """A held call will not be made."""
        call.future.resolve(None, error)
        self.events.post(Ready(call.future, None))

    def take_back(self, call: Call | Chunk) -> bool:
        """Withdraw a call that has not begun; runs in the thread that cancels."""
        if self.events.phase is Phase.CLOSED:
            return False  # nobody would hear of it: the run is over, or another process's
        while True:
            with self.events.lock:
                file = call.file
                if file is None:
                    call.withdrawn = True
            if file is None:
                break
            with file.lock:
                if not file.take_back(self.run):
                    return False
                with self.events.lock:
                    # Another cancel may have taken the file, and the manager have put this
                    # call elsewhere since: then look there.
                    still_there = call.file is file
                    call.withdrawn = call.withdrawn or still_there
            if still_there:
                break
        self.events.post(Cancelled(call, file))
        return True

    def kill(self, call: Call) -> bool:
        """Have a call ended that a worker has."""
        self.events.post(Kill(call))
        return True

    def _abandon(self, chunk: Chunk) -> None:
        if not chunk.withdrawn:
            self.take_back(chunk)

    def _check_open(self) -> None:
        """Start the run, or say why nothing is accepted."""
        if self.events.phase is not Phase.OPEN:
            if self.events.cause is not None:
                raise self.events.cause.with_traceback(None)  # of this time, not of all times before as well
            raise RuntimeError("cannot schedule new futures after shutdown")
        refuse_if_exiting()
        if not self._started:
            self._start()

    # -- worker groups ------------------------------------------------------------------

    def target(self, resources: Mapping[str, Any], retries: Any) -> Target:
        """Where calls go that are to have these resources, and ``retries`` as the user
        wrote it.  Raises OptionError."""
        policy = read(retries, resources)
        for changed in policy.changed() if policy is not None else ():
            self.job_script(changed)  # what cannot be expressed is said now
        return Target(self._provision.worker_group(resources), policy)

    def job_script(self, resources: Mapping[str, Any]) -> str:
        """The script that would be submitted for one job."""
        return self._provision.job_script(resources)

    # -- start and end ----------------------------------------------------------

    def _start(self) -> None:
        with self._start_lock:
            if self._started:
                return
            opened = open_run(self.settings, self._scheduler)
            self.run, self._ownership, self.past = opened.run, opened.ownership, opened.past
            try:
                self._get_ready(opened)
            except BaseException:
                self._leave_run()
                raise
            opened.run.drop_spare()
            try:
                begun(self)
                self._scheduler_thread.thread.start()
                self._manager.thread.start()
            except BaseException:  # no more threads for this process, or the interpreter is ending
                self._give_up()
                raise
            self._started = True

    def _get_ready(self, opened: Opened) -> None:
        """All that stands between a run and its threads."""
        settings, run = self.settings, opened.run
        self._pickler = Pickler(run)
        definitions.readers[os.path.basename(run.path)] = lambda key: bytes(run.map_object(key, 0.0)[0])
        context = self._context(opened)
        run.write_context(context, names.worker_group_name(opened.program, 0))
        self._provision.open(run, opened.program, opened.past, context)
        self._limits = limits = Limits(
            settings.max_workers, settings.processes, settings.bins_per_job, self._scheduler.gather_seconds
        )
        self._scheduler_thread = SchedulerThread(self._scheduler, self.events, self._provision.prepare)
        self._scheduler_thread.note_answers(self._provision.answered)
        self._manager = ManagerThread(
            run,
            self.events,
            limits,
            self._scheduler_thread,
            self._provision,
            settings.visibility_timeout,
            self._farewell,
        )
        self._scheduler_thread.watch(self._manager.watched)
        self._manager.adopt(opened.past, opened.program, self, resumed=not self._attached)
        self._orders = Orders(opened.past.last_order + 1)
        if run.lasting:
            self._recall = ResultCache(run, self._orders, opened.past.calls.values())

    def _context(self, opened: Opened) -> dict[str, Any]:
        """Return the context of workers: an attached program keeps that of the run's last program."""
        if self._attached:
            try:
                return opened.run.read_context(names.worker_group_name(opened.program - 1, 0), 0.0)
            except StoreError:
                logger.info("clusterfutures: the run's last program was killed before it had begun")
        return startup.context(self.settings, self._pickler)

    def _give_up(self) -> None:
        """Undo a start that failed."""
        if self._scheduler_thread.thread.is_alive():
            self._scheduler_thread.stop()
            self._scheduler_thread.thread.join()
        self._leave_run()
        ended(self)

    def _leave_run(self) -> None:
        """The end of the run: nothing of it stays, unless it is to last."""
        if self.settings.keep or self.run.lasting:
            self._ownership.release()
        else:
            definitions.readers.pop(os.path.basename(self.run.path), None)
            self._ownership.remove_run()

    def start(self) -> None:
        """Begin, or go on with, the run now, not with the first call.  Raises StoreError."""
        self._check_open()

    def leave(self, wait: bool = False) -> None:
        """Let the jobs of a run that lasts do their work without this program: it does not wait
        for them, at its end (or with ``wait``: now)."""
        self.leaves = True
        if wait:
            leave([self])

    def shutdown(self, wait: bool, cancel: bool, kill: str = "", hard: bool = False) -> None:
        """Accept nothing more; with ``wait``, return when the run has been removed.

        cancel: cancel calls that have not begun.  kill: end running ones too, and say
        this as their reason.  hard: without the time to end by themselves.
        """
        if self._started and hard:
            self._scheduler_thread.kill_from_now()
        self.events.advance(Phase.DRAINING)  # first: what comes after Stop would be neither cancelled nor submitted
        if self._started and (cancel or kill):
            self.events.post(Stop(kill))
        if kill and self._started:
            self._scheduler_thread.hurry()
        if wait:
            self.join()

    def join(self) -> None:
        """Wait for the end of the run, once it has begun to end; in its own threads (a callback's): do not."""
        if self._started and threading.current_thread() not in (self._manager.thread, self._scheduler_thread.thread):
            self._manager.thread.join()

    def _farewell(self) -> None:
        """The manager's last step: end the scheduler thread, remove the directory."""
        self._scheduler_thread.stop()
        self._scheduler_thread.thread.join()
        self._pickler.forget()
        self._leave_run()
        ended(self)


def _failure_among(needed: Iterable[Future[Any]], call: Call) -> BaseException | None:
    """Why a call cannot have the results that it needs; None when all are there."""
    for one in needed:
        if one.cancelled():
            return CancelledError(f"a call that {call.name} needs the result of was cancelled")
        if (error := one.exception()) is not None:
            return error
    return None


def _recall_chunk(recall: ResultCache, chunk: Chunk, sink: MapRun, arguments: list[tuple[Any, ...]]) -> None:
    """Of a chunk, what an earlier program made is not made again."""
    found = [recall.call(chunk.callable, chunk.function, args, {}) for args in arguments]
    chunk.orders = array("Q", [one.order for one in found])
    chunk.identities = b"".join([one.identity for one in found])
    if any(one.future for one in found):
        chunk.skip = bytes(one.future is not None for one in found)
    for index, one in enumerate(found):
        if one.future is not None:
            sink.borrow(chunk.number, index, one.future)
