"""What the dispatcher decides is carried out here, in the manager's thread.

    Dispatcher --publish, take_back--> queue/    --request, revoke--> scheduler thread, registry
               --settle--> the future, or the ``map``, that waits for an outcome

Where a call is (here, or in which bin) changes under the event queue's lock, because ``cancel``
may come from any thread at any moment.

Calls that are to be ended by ``kill()`` of their futures:

    kill() --Kill(call)--> in the queue: taken out of it again
                           claimed: wait until its worker is known --> a sign for that worker
                                                       ... KILLED, or the result that was faster

A call is *doomed* from then on: it never goes back to the queue and is not run again,
whatever becomes of its worker.  If nothing else is heard of it, what its worker's end brings
is the end of the call, too (``Call.fail``).
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from clusterfutures.client import bin_meta, failures
from clusterfutures.client.dispatcher import Dispatcher
from clusterfutures.client.events import EventQueue
from clusterfutures.client.scheduler_thread import SchedulerThread
from clusterfutures.client.state import BinSlice, BinState, Work, Worker
from clusterfutures.client.tasks import Call, Chunk, QueueFile
from clusterfutures.client.worker_groups import WorkerGroups
from clusterfutures.client.workers import WorkerRegistry
from clusterfutures.errors import StoreError
from clusterfutures.store import names, records
from clusterfutures.store.bins import CALLS, Bin
from clusterfutures.store.records import CallInfo, Record
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Effects", "KillRequests"]

logger = logging.getLogger("clusterfutures")

#: how long to wait before a sign that could not be written is tried again
RETRY_SECONDS = 1.0


class Hand(Protocol):
    """What the manager can do about a call that is not running."""

    def take_back(self, file: QueueFile) -> bool:
        """Take a bin's file out of the queue; False when a worker was first."""

    def withdraw(self, work: Work) -> bool:
        """Cancel work that no worker can have; False when that had been done before."""


class KillRequests:
    """Calls to kill that their workers do not know of yet.  Owned by the manager thread."""

    def __init__(self, run: RunDirectory, dispatcher: Dispatcher, hand: Hand) -> None:
        self._run = run
        self._dispatcher = dispatcher
        self._hand = hand
        self._untold: list[Call] = []
        self._retry_at = 0.0

    def ask(self, call: Call) -> None:
        """A call is to be ended."""
        if call.doomed or call.future.done():
            return
        call.doomed = True
        file = call.file
        if file is not None and not self._hand.take_back(file):
            self._untold.append(call)
        elif self._hand.withdraw(call) and file is None:
            self._dispatcher.withdrawn(call)
        elif file is not None:
            self._dispatcher.taken_back(file)

    def advance(self) -> None:
        """Tell the workers that are known by now."""
        if self._untold and time.monotonic() >= self._retry_at:
            self._untold = [call for call in self._untold if not self._tell(call)]

    def _tell(self, call: Call) -> bool:
        """Ask the worker of a call to end it; False: it is too early for that."""
        if call.file is None or call.future.done():
            return True  # it has left its bin and does not come back: no worker has it
        parsed = names.parse_bin(call.file.name)
        state = self._dispatcher.bin(parsed.bin_id) if parsed is not None else None
        if state is None:
            return True
        index = state.work.index(call)
        bin_slice = state.slice_at(index)
        if state.settled[index] or bin_slice is None:
            return True
        if bin_slice.worker is None:
            return False
        try:
            self._run.ask_to_kill(bin_slice.worker.name, state.bin_id, index)
        except FileNotFoundError:
            raise  # the run directory is gone
        except NotADirectoryError:
            return True  # its worker has been given up, and the call ends with that
        except OSError as error:
            logger.warning("clusterfutures: %s cannot be killed for now: %s", call.name, error)
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return False
        return True


class Effects:
    """The dispatcher's ``Out``.  ``registry`` is set by the manager; ``program``: which one of the run's this is.

    wait: seconds that a large result may be late.
    """

    registry: WorkerRegistry

    def __init__(
        self,
        run: RunDirectory,
        events: EventQueue,
        scheduler_thread: SchedulerThread,
        provision: WorkerGroups,
        wait: float,
    ) -> None:
        self.worker_groups: set[str] = set()
        self.program = 1
        self.lazy: weakref.WeakSet[Any] = weakref.WeakSet()  # what reads files when it is asked
        self._run = run
        self._events = events
        self._scheduler_thread = scheduler_thread
        self._provision = provision
        self._wait = wait

    def open_worker_group(self, worker_group: str) -> StoreError | None:
        """Make the queue of a worker group, where there is none; what kept us from it."""
        if worker_group not in self.worker_groups:
            try:
                self._provision.note(worker_group)
                self._run.open_worker_group(worker_group)
            except StoreError as error:
                return error
            self.worker_groups.add(worker_group)
        return None

    def publish(self, state: BinState, bin_slice: BinSlice) -> str:
        """Write a bin's file; see ``state.Out``."""
        file = bin_slice.file
        assert file is not None
        file.name = names.bin_name(state.bin_id, bin_slice.first, bin_slice.stop)
        try:
            return self._run.publish_bin(state.worker_group, self._content(state, bin_slice))
        finally:
            file.lock.release()

    def _content(self, state: BinState, bin_slice: BinSlice) -> Bin:
        works = state.work[bin_slice.first : bin_slice.stop] if state.kind == CALLS else state.work
        return Bin(
            state.bin_id,
            bin_slice.first,
            bin_slice.stop,
            state.kind,
            bin_slice.note,
            [work.head() for work in works],
            b"".join([work.data for work in works]),
            bin_meta.pack(state.kind, state.worker_group, self.program, [work.row() for work in works]),
            bin_slice.seconds,
        )

    def place_work(self, work: Sequence[Work], file: QueueFile) -> list[Work]:
        """Mark work as being in ``file``, which is locked until it is written."""
        with self._events.lock:
            wanted = [item for item in work if not item.withdrawn]
            if len(wanted) == len(work):
                file.lock.acquire()
                for item in work:
                    item.file = file
        return wanted

    def unplace(self, work: Work) -> bool:
        """Work is in no file any more; False when it was withdrawn with its file, or nobody wants it."""
        with self._events.lock:
            work.file = None
            wanted = not work.withdrawn
        if wanted and work.doomed:
            self.withdraw(work)
        return wanted and not work.doomed

    def take_back(self, file: QueueFile) -> bool:
        """Take a bin's file out of the queue."""
        with file.lock:
            return file.take_back(self._run)

    def withdraw(self, work: Work) -> bool:
        """Cancel work that no worker can have; False when that had been done before."""
        with self._events.lock:
            fresh = not work.withdrawn
            work.withdrawn = True
        if fresh:
            work.cancel()
        return fresh

    def worker_group_for(self, resources: Mapping[str, Any]) -> str | None:
        """Return the worker group with these resources, after making its queue."""
        worker_group = self._provision.find(resources)
        return worker_group if self.open_worker_group(worker_group) is None else None

    def request(self, worker_group: str, count: int) -> None:
        """Have jobs submitted."""
        self._scheduler_thread.submit(worker_group, count)

    def revoke(self, workers: Sequence[Worker]) -> None:
        """End workers that have not started."""
        self.registry.revoke(workers)

    def set_hungry(self, worker_group: str, hungry: bool) -> None:
        """Ask busy workers to share; without space for the question, they do not."""
        try:
            self._run.set_hungry(worker_group, hungry)
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
            self.lazy.add(work.sink)
        elif isinstance(work, Call) and work.future.is_lazy:
            self.lazy.add(work.future)
        return info
