"""Every decision about calls, bins and workers.  Pure: no file, no process, no clock.

    events --> Dispatcher --publish, request, revoke, settle--> effects (``effects.py``)

The manager feeds events in (calls submitted, records read, jobs lost) with the time as an
argument, and hands over an ``Out`` through which the decisions leave.  A test's ``Out`` records
them, and proves that nothing else was asked for.  What is kept, and how bins move, is in ``state.py``.

Calls that wait become bins:

    WorkerGroup.pending --how many belong together?--> BinState, BinSlice --Out.publish--> queue/<worker group>/
         ^                                                                 |
         +------------- cancelled while their bin was being made <---------+

Calls that have failed have failed for good, or run again:

    lost, DIED, ERROR --> which of these calls may run again? --no--> their error
                                  |yes: as ``options/retries.py`` says
                                  v
             pending again (calls), or a bin of its own (part of a chunk), in the worker group
             with the resources that the next attempt needs

A call that runs again leaves its bin: what its old job may still say of it is about a bin
that nobody knows any more, so no result is delivered twice.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from clusterfutures import binning
from clusterfutures.client import failures
from clusterfutures.client import state as kept
from clusterfutures.client.scaling import Scaling
from clusterfutures.client.state import BinSlice, BinState, Limits, Out, Work, Worker, WorkerGroup, WorkerState, gaps
from clusterfutures.client.tasks import QueueFile
from clusterfutures.errors import StoreError
from clusterfutures.options.retries import OF_JOBS, RESUMED, Attempt, Failure
from clusterfutures.store.bins import CALLS
from clusterfutures.store.names import Claimed
from clusterfutures.store.records import Record

__all__ = ["QUIET_SECONDS", "Dispatcher", "Publishing", "Reruns"]

logger = logging.getLogger("clusterfutures")

#: after the site's submit limit was met, the next try comes so much later
LIMIT_RETRY_SECONDS = 15.0
#: workers lost one after the other, without any result in between, before we give up
MOST_LOSSES = 5


class Dispatcher:
    """All calls, bins and workers of a run.  Owned by the manager thread."""

    def __init__(self, limits: Limits, out: Out) -> None:
        self.limits = limits
        self.worker_groups: dict[str, WorkerGroup] = {}
        self.unsettled = 0
        self._out = out
        self._staffing = Scaling(limits, out)
        self._bins: dict[int, BinState] = {}
        self._next_bin = 1
        self.publishing = Publishing(self, limits, out)
        self.reruns = Reruns(self, out)

    # -- work comes in ----------------------------------------------------------

    def add(self, work: Work, now: float) -> None:
        """A call or a chunk has been submitted."""
        worker_group = self.worker_group(work.worker_group)
        worker_group.append(work)
        worker_group.last_submit = now
        self.unsettled += work.left

    def worker_group(self, name: str) -> WorkerGroup:
        """The worker group of this name."""
        worker_group = self.worker_groups.get(name)
        if worker_group is None:
            worker_group = self.worker_groups[name] = WorkerGroup(name, self.limits.gather)
        return worker_group

    def withdrawn(self, work: Work) -> None:
        """Work that had not been published was cancelled; it is dropped when its turn
        comes, unless that has been before we heard of it."""
        if work.queued and not work.counted:
            work.counted = True
            self.worker_group(work.worker_group).withdrawn += 1

    def cancel_pending(self, worker_group: WorkerGroup, withdraw: Callable[[Work], bool]) -> None:
        """Cancel everything that has not been published; ``withdraw``: False when that
        had been done before."""
        while worker_group.pending:
            work = worker_group.next_pending()
            withdraw(work)
            self.unsettled -= work.left

    def taken_back(self, file: QueueFile) -> None:
        """A cancel took a file out of the queue: what else was in it goes back."""
        found = self.worker_groups[file.worker_group].waiting.pop(file.name, None)
        if found is None:
            return
        state, bin_slice = found
        state.slices.remove(bin_slice)
        self._requeue(state, bin_slice.first, bin_slice.stop)

    def _requeue(self, state: BinState, first: int, stop: int, anew: bool = False) -> None:
        """Calls go back to the front: as work (calls), or as a slice of their chunk; anew: as another bin."""
        worker_group = self.worker_groups[state.worker_group]
        if state.kind == CALLS:
            again = [state.work[i] for i in range(first, stop) if not state.settled[i]]
            for index in range(first, stop):
                state.settled[index] = 1
            wanted = [work for work in again if self._out.unplace(work)]
            self.unsettled -= len(again) - len(wanted)
            worker_group.put_back(wanted)
            self.drop_if_done(state)
            return
        if state.work[0].withdrawn:
            self.forget(state, first, stop)
            return
        for start, end in gaps(state.settled, first, stop):
            part = self.split_off(state, start, end) if anew else state
            self.publishing.publish_again(worker_group, part, start, end)
        self.drop_if_done(state)

    def split_off(self, state: BinState, first: int, stop: int, worker_group: str = "") -> BinState:
        """Calls of a chunk as a bin of their own: what is still told of the old one is not about them."""
        part = BinState(self.new_bin_id(), worker_group or state.worker_group, state.work)
        part.settled = bytearray(b"\x01" * len(state.settled))
        part.settled[first:stop] = bytes(stop - first)
        state.settled[first:stop] = b"\x01" * (stop - first)
        return part

    def forget(self, state: BinState, first: int, stop: int) -> None:
        """Calls that nobody wants any more."""
        left = state.settled[first:stop].count(0)
        state.settled[first:stop] = b"\x01" * (stop - first)
        self.unsettled -= left
        self.drop_if_done(state)

    # -- bins go out ------------------------------------------------------------

    def advance(self, now: float) -> float:
        """Carry out what is due; returns when to come back at the latest."""
        due = now + 60.0
        for worker_group in self.worker_groups.values():
            due = min(due, self.publishing.advance(worker_group, now))
            due = min(due, self._staffing.ask_for_workers(worker_group, now))
            due = min(due, self._staffing.share(worker_group, self._bins.values(), now))
        return due

    def new_bin_id(self) -> int:
        """A number that no bin has had."""
        self._next_bin += 1
        return self._next_bin - 1

    def keep(self, state: BinState) -> None:
        """A bin has been made, or is about to be."""
        self._bins[state.bin_id] = state

    def bin(self, bin_id: int) -> BinState | None:
        """The bin of this number, while it has calls without an outcome."""
        return self._bins.get(bin_id)

    # -- what another program left ------------------------------------------------

    def start_after(self, bin_id: int) -> None:
        """Bins up to this number are another program's."""
        self._next_bin = max(self._next_bin, bin_id + 1)

    def adopt(self, state: BinState, count: int) -> None:
        """A bin of which ``count`` calls have no outcome; its slices are added by the caller."""
        self.worker_group(state.worker_group)
        self._bins[state.bin_id] = state
        self.unsettled += count

    def has_begun(self, state: BinState, worker: Worker, bin_slice: BinSlice, upto: int) -> None:
        """Of a slice that a worker has, the calls before ``upto`` have been handed to a process."""
        bin_slice.begun = upto
        for first, stop in gaps(state.settled, bin_slice.first, upto):
            self._begin(state, worker, first, stop)

    def queue_again(self, state: BinState) -> None:
        """Those calls of a bin that are nowhere wait to be published."""
        worker_group = self.worker_group(state.worker_group)
        for first, stop in gaps(state.settled, 0, len(state.settled)):
            for index in range(first, stop):
                if state.slice_at(index) is not None:
                    continue
                if state.kind == CALLS:
                    state.settled[index] = 1
                    worker_group.append(state.work[index])
                else:
                    bin_slice = BinSlice(index, index + 1, 1)
                    state.slices.append(bin_slice)
                    self.publishing.publish(worker_group, state, bin_slice)
        self.drop_if_done(state)

    # -- workers ----------------------------------------------------------------

    def submitted(self, worker_group_name: str, workers: Iterable[Worker], asked: int) -> None:
        """The scheduler took jobs; ``asked`` of the requested ones are answered."""
        worker_group = self.worker_group(worker_group_name)
        worker_group.requested -= asked
        for worker in workers:
            worker_group.workers[worker.name] = worker

    # -- records come in --------------------------------------------------------

    def started(self, worker: Worker, host: str, job_id: str) -> None:
        """The worker is up."""
        worker_group = self.worker_groups[worker.worker_group]
        worker.state = WorkerState.RUNNING
        worker.host = host
        worker.job_id = worker.job_id or job_id
        worker_group.ever_started = True
        worker_group.failed_starts = 0

    def begun(self, worker: Worker, record: Record) -> float:
        """Calls have been handed to a process; the file they were in is the worker's.
        Returns the seconds that they should take; 0 where that is not known."""
        state = self._bins.get(record.bin_id)
        bin_slice = state.slice_at(record.first) if state else None
        if state is None or bin_slice is None:
            return 0.0
        self._claimed(worker, state, bin_slice)
        bin_slice.begun = max(bin_slice.begun, record.first + record.calls)
        self._begin(state, worker, record.first, record.first + record.calls)
        return record.calls * (self.limits.pace.seconds(state.item(record.first).function) or 0.0)

    def _claimed(self, worker: Worker, state: BinState, bin_slice: BinSlice) -> None:
        if bin_slice.file is not None:
            self.worker_groups[state.worker_group].waiting.pop(bin_slice.file.name, None)
            bin_slice.file = None
            bin_slice.worker = worker
            worker.busy += 1

    def _begin(self, state: BinState, worker: Worker, first: int, stop: int) -> None:
        if state.kind == CALLS:
            for index in range(first, stop):
                state.work[index].begin(index, 1, worker.place)
        else:
            state.work[0].begin(first, stop - first, worker.place)

    def outcome(self, worker: Worker, record: Record) -> None:
        """Calls have an outcome.  One that is reported twice counts once."""
        state = self._bins.get(record.bin_id)
        bin_slice = state.slice_at(record.first) if state else None
        if state is None or bin_slice is None:
            return
        self._claimed(worker, state, bin_slice)
        stop = record.first + record.calls
        if state.settled.find(1, record.first, stop) >= 0:
            return
        state.settled[record.first : stop] = b"\x01" * record.calls
        self.worker_groups[state.worker_group].losses = 0
        if state.item(record.first).retries is None:
            self.settle(state, worker, record)
        else:
            self.reruns.settle(state, worker, record)
        self._slice_progress(state, bin_slice, record.calls)

    def settle(self, state: BinState, worker: Worker, record: Record) -> None:
        """Pass outcomes on."""
        self.unsettled -= record.calls
        work = state.item(record.first)
        if state.kind == CALLS and record.calls > 1:
            for index in range(record.first, record.first + record.calls):
                self._out.settle(state.work[index], record, worker)
        else:
            info = self._out.settle(work, record, worker)
            if info is not None:
                self.limits.pace.learn(work.function, info.wall)

    def _slice_progress(self, state: BinState, bin_slice: BinSlice, count: int) -> None:
        bin_slice.left -= count
        if bin_slice.left <= 0:
            self._release(state, bin_slice)
            self.drop_if_done(state)

    def _release(self, state: BinState, bin_slice: BinSlice) -> None:
        state.slices.remove(bin_slice)
        if bin_slice.worker is not None:
            bin_slice.worker.busy -= 1

    def drop_if_done(self, state: BinState) -> None:
        """Forget a bin when all its calls are settled."""
        if state.settled.find(0) < 0:
            self._bins.pop(state.bin_id, None)

    def returned(self, worker: Worker, record: Record) -> None:
        """A worker gives back calls that never ran."""
        state = self._bins.get(record.bin_id)
        bin_slice = state.slice_at(record.first) if state else None
        if state is None or bin_slice is None:
            return
        self._claimed(worker, state, bin_slice)
        stop = bin_slice.stop
        bin_slice.left -= state.settled[record.first : stop].count(0)
        bin_slice.stop = record.first
        bin_slice.begun = min(bin_slice.begun, record.first)
        if bin_slice.left <= 0:
            self._release(state, bin_slice)
        self._requeue(state, record.first, stop)

    # -- workers go -------------------------------------------------------------

    def ended(self, worker: Worker) -> None:
        """The worker is over, and nothing more will come from it."""
        worker.state = WorkerState.ENDED
        self.worker_groups[worker.worker_group].workers.pop(worker.name, None)

    def unfinished(self, worker: Worker) -> bool:
        """True when the worker holds calls that have begun and have no outcome."""
        return worker.busy > 0

    def lost(
        self,
        worker: Worker,
        claimed: Sequence[Claimed],
        error: Callable[[str], BaseException],
        failure: Failure | None = None,
    ) -> None:
        """The worker's job is over without its last word, or with calls unfinished.

        claimed: the files that were taken from it.  Calls that had begun fail with ``error(their name)``, or
        run again, where ``failure`` says why they ended and their retries cover that; the others go back to
        the queue, in other bins.  All calls of a bin without such a file may have begun.
        """
        self.ended(worker)
        again = False
        taken = {(found.bin_id, found.first) for found in claimed}
        for state, bin_slice in self._slices_of(worker, claimed):
            state.slices.remove(bin_slice)
            begun = bin_slice.begun if (state.bin_id, bin_slice.first) in taken else bin_slice.stop
            again = self.reruns.fail_range(state, bin_slice.first, begun, error, failure) or again
            self._requeue(state, begun, bin_slice.stop, anew=True)
        worker_group = self.worker_groups[worker.worker_group]
        worker_group.losses += not again  # what is paid for ends by itself
        if worker_group.losses >= MOST_LOSSES:
            self.fail_waiting(worker_group, error)

    def distrust(self, worker: Worker, claimed: Sequence[Claimed], error: Callable[[str], BaseException]) -> None:
        """A part of what a worker told is lost, and it works on.  Nobody knows which of the calls that it has
        have begun, so all of them fail, and none runs again.  claimed: as in ``lost``."""
        for state, bin_slice in self._slices_of(worker, claimed):
            self._release(state, bin_slice)
            self.reruns.fail_range(state, bin_slice.first, bin_slice.stop, error, None)

    def _slices_of(self, worker: Worker, claimed: Sequence[Claimed]) -> list[tuple[BinState, BinSlice]]:
        """What a worker has, what it has not told of included."""
        for bin_id, first, _stop, begun in claimed:
            state = self._bins.get(bin_id)
            bin_slice = state.slice_at(first) if state else None
            if state is None or bin_slice is None:
                continue
            if bin_slice.worker is None:
                self._claimed(worker, state, bin_slice)
                begun = max(begun, bin_slice.first + bin_slice.note)
            if bin_slice.worker is worker and bin_slice.begun < (upto := min(begun, bin_slice.stop)):
                self.has_begun(state, worker, bin_slice, upto)
        slices = ((state, bin_slice) for state in self._bins.values() for bin_slice in state.slices)
        return [(state, bin_slice) for state, bin_slice in slices if bin_slice.worker is worker]

    def failed_to_start(self, worker: Worker, error: Callable[[str], BaseException]) -> None:
        """The job ended and never became a worker.

        One bad node is no reason to give up while others may start; but when nothing has
        ever started, the second failure tells enough, and so does the last job there is.
        """
        self.ended(worker)
        worker_group = self.worker_groups[worker.worker_group]
        worker_group.failed_starts += 1
        none_left = not worker_group.live() and not worker_group.requested
        if none_left or (not worker_group.ever_started and worker_group.failed_starts > 1):
            self.fail_waiting(worker_group, error)
            self._staffing.dismiss_pending(worker_group.live())

    def not_submitted(self, worker_group_name: str, count: int, error: BaseException | None, now: float) -> None:
        """The scheduler refused ``count`` jobs; None: only for now, others do the work."""
        worker_group = self.worker_groups[worker_group_name]
        worker_group.requested -= count
        worker_group.request_at = now + LIMIT_RETRY_SECONDS
        if error is not None and not worker_group.live():
            self.fail_waiting(worker_group, lambda _call: error)

    def fail_waiting(self, worker_group: WorkerGroup, error: Callable[[str], BaseException]) -> None:
        """Fail everything in a worker group that no worker has taken."""
        worker_group.losses = 0
        for name, (_, bin_slice) in list(worker_group.waiting.items()):
            if bin_slice.file is not None and self._out.take_back(bin_slice.file):
                self.lose_file(worker_group, name, error)
        while worker_group.pending:
            work = worker_group.next_pending()
            self.unsettled -= work.left
            if not work.withdrawn:
                work.fail(0, work.count, error(work.name))

    def lose_file(self, worker_group: WorkerGroup, name: str, error: Callable[[str], BaseException]) -> None:
        """Fail the calls of a bin that is in the queue no longer, and with no worker."""
        state, bin_slice = worker_group.waiting.pop(name)
        state.slices.remove(bin_slice)
        self.reruns.fail_range(state, bin_slice.first, bin_slice.stop, error, None)

    def let_go(self, error: BaseException) -> None:
        """The calls go on without this program: its futures have ``error``, and nothing is taken back."""
        for state in self._bins.values():
            for first, stop in gaps(state.settled, 0, len(state.settled)):
                for index in range(first, stop):
                    state.item(index).fail(index, 1, error)
        self._bins.clear()
        for worker_group in self.worker_groups.values():
            worker_group.waiting.clear()
            while worker_group.pending:
                work = worker_group.next_pending()
                work.fail(0, work.count, error)
        self.unsettled = 0

    def fail_everything(
        self,
        error: Callable[[str], BaseException],
        of_worker: Callable[[Worker], Callable[[str], BaseException]] | None = None,
    ) -> None:
        """Nothing will have a result any more; of_worker: the errors of what a worker has, where they differ."""
        for worker_group in self.worker_groups.values():
            self.fail_waiting(worker_group, error)
        for state in list(self._bins.values()):
            for bin_slice in state.slices:
                if bin_slice.worker is not None:
                    bin_slice.worker.busy -= 1
                    its_own = error if of_worker is None else of_worker(bin_slice.worker)
                    self.reruns.fail_range(state, bin_slice.first, bin_slice.stop, its_own, None)
            self.reruns.fail_range(state, 0, len(state.settled), error, None)
        for worker_group in self.worker_groups.values():
            worker_group.waiting.clear()
        self._bins.clear()


#: after so long without another submit, calls of unknown length are published
QUIET_SECONDS = 0.2
#: how much is written when calls of a chunk that came back are divided among several workers
_MOST_BYTES_AGAIN = 4 << 20


class Publishing:
    """What a dispatcher does with calls that no worker has."""

    def __init__(self, dispatcher: Dispatcher, limits: Limits, out: Out) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self._out = out

    def advance(self, worker_group: WorkerGroup, now: float) -> float:
        """Publish what is due of a worker group; returns when to come back at the latest."""
        quiet_at = worker_group.last_submit + QUIET_SECONDS
        while worker_group.pending:
            head = worker_group.pending[0]
            if head.withdrawn:
                self._dispatcher.unsettled -= worker_group.next_pending().left
                continue
            estimate = self._limits.pace.seconds(head.function)
            if head.kind == CALLS:
                if len(worker_group.waiting) >= self._limits.room(estimate, now >= quiet_at):
                    break
                measured = self._limits.pace.measured(head.function)
                slow = self._limits.pace.slow(head.function)  # nothing shall wait behind such a one
                size = binning.stream_size(len(worker_group.pending), slow, self._limits.slots, measured)
                if estimate is None and now >= quiet_at:
                    size = max(size, math.ceil(len(worker_group.pending) / kept.MOST_WAITING))
                if self._limits.bins_per_job == 1:
                    size = 1  # one job for each call is what was asked for
                work = self._next_calls(worker_group, size)
                note = len(work) if estimate is not None and len(work) > 1 else 1
            else:
                if len(worker_group.waiting) >= kept.MOST_WAITING and not self._limits.leaving:
                    break
                work, note = [worker_group.next_pending()], binning.noted(head.count, estimate)
            if work:
                self._publish_new(worker_group, work, note, estimate)
        else:
            return now + 60.0
        return quiet_at if now < quiet_at else now + 60.0

    def _next_calls(self, worker_group: WorkerGroup, size: int) -> list[Work]:
        """Up to ``size`` calls from the front that have not been withdrawn."""
        work: list[Work] = []
        while worker_group.pending and len(work) < size and worker_group.pending[0].kind == CALLS:
            call = worker_group.next_pending()
            if call.withdrawn:
                self._dispatcher.unsettled -= call.left
            else:
                work.append(call)
        return work

    def _publish_new(self, worker_group: WorkerGroup, work: list[Work], note: int, estimate: float | None) -> None:
        state = BinState(self._dispatcher.new_bin_id(), worker_group.name, work)
        for first, stop in gaps(state.settled, 0, len(state.settled)):
            self._publish_piece(worker_group, state, BinSlice(first, stop, min(note, stop - first), estimate))

    def publish_again(self, worker_group: WorkerGroup, state: BinState, first: int, stop: int) -> None:
        """Calls of a chunk have come back: publish them in as many slices as their length requires."""
        estimate = self._limits.pace.seconds(state.work[0].function)
        sizes = [stop - first]
        if estimate is not None:
            sizes = binning.map_sizes(stop - first, self._limits.slots, seconds_per_call=estimate)
        most = max(1, _MOST_BYTES_AGAIN // max(1, len(state.work[0].data)))  # each has the whole chunk's arguments
        if len(sizes) > most:
            sizes = binning.map_sizes(stop - first, self._limits.slots, bins=most)
        for size in sizes:
            self._publish_piece(
                worker_group, state, BinSlice(first, first + size, binning.noted(size, estimate), estimate)
            )
            first += size

    def _publish_piece(self, worker_group: WorkerGroup, state: BinState, bin_slice: BinSlice) -> None:
        state.slices.append(bin_slice)
        self.publish(worker_group, state, bin_slice)

    def publish(self, worker_group: WorkerGroup, state: BinState, bin_slice: BinSlice) -> bool:
        """Put a slice in the queue; False when some of its work was cancelled meanwhile."""
        file = QueueFile(worker_group.name)
        wanted = self._out.place_work(state.work, file)
        if len(wanted) < len(state.work):
            return self._without_withdrawn(worker_group, state, bin_slice, wanted)
        bin_slice.file = file
        self._dispatcher.keep(state)
        try:
            file.name = self._out.publish(state, bin_slice)
        except StoreError as error:
            reason = error
            state.slices.remove(bin_slice)
            self._dispatcher.reruns.fail_range(state, bin_slice.first, bin_slice.stop, lambda _call: reason, None)
            return True
        worker_group.waiting[file.name] = (state, bin_slice)
        return True

    def _without_withdrawn(
        self, worker_group: WorkerGroup, state: BinState, bin_slice: BinSlice, wanted: list[Work]
    ) -> bool:
        """Some calls were cancelled while their bin was being made: make it without them."""
        if state.kind == CALLS:
            self._dispatcher.unsettled -= len(state.work) - len(wanted)
            worker_group.put_back(wanted)
        else:  # perhaps a part of its chunk only
            state.slices.remove(bin_slice)
            self._dispatcher.forget(state, bin_slice.first, bin_slice.stop)
        return False


class Reruns:
    """What a dispatcher does with calls that failed.  ``allowed``: False from when the rest is cancelled."""

    def __init__(self, dispatcher: Dispatcher, out: Out) -> None:
        self.allowed = True
        self._dispatcher = dispatcher
        self._out = out

    def fail_range(
        self, state: BinState, first: int, stop: int, error: Callable[[str], BaseException], failure: Failure | None
    ) -> bool:
        """Calls have no outcome and will have none from this attempt; True when any runs again."""
        dispatcher, again = self._dispatcher, False
        for start, end in gaps(state.settled, first, stop):
            state.settled[start:end] = b"\x01" * (end - start)
            for low, high, worker_group in self._divided(state, start, end, failure):
                if worker_group is not None:
                    self._run_again(state, low, high, worker_group)
                    again = True
                    continue
                dispatcher.unsettled -= high - low
                if state.kind == CALLS:
                    for index in range(low, high):
                        state.work[index].fail(index, 1, error(state.work[index].name))
                else:
                    state.work[0].fail(low, high - low, error(state.work[0].name))
        dispatcher.drop_if_done(state)
        return again

    def settle(self, state: BinState, worker: Worker, record: Record) -> None:
        """Calls have an outcome; those that failed and run again do not hear of it."""
        failure = failures.of_record(record, worker.place)
        for low, high, worker_group in self._divided(state, record.first, record.first + record.calls, failure):
            if worker_group is None:
                self._dispatcher.settle(state, worker, record._replace(first=low, calls=high - low))
            else:
                self._run_again(state, low, high, worker_group)

    def _divided(
        self, state: BinState, first: int, stop: int, failure: Failure | None
    ) -> Iterator[tuple[int, int, str | None]]:
        """Rows of calls, each with the worker group in which they run again; None: they do not."""
        work = state.item(first)
        if failure is None or not self.allowed or (work.retries is None and not work.resumed):
            yield first, stop, None
            return
        chosen = ((index, self._worker_group_for(state, index, failure)) for index in range(first, stop))
        for worker_group, row in itertools.groupby(chosen, key=lambda pair: pair[1]):
            indices = [index for index, _ in row]
            yield indices[0], indices[-1] + 1, worker_group

    def _worker_group_for(self, state: BinState, index: int, failure: Failure) -> str | None:
        """Where a failed call runs again; its history says from then on that it does."""
        work = state.item(index)
        retries, history = work.retries, work.history(index)
        wanted = not (work.withdrawn or work.doomed)
        if work.resumed and wanted and failure.cause in OF_JOBS and all(a.paid_by != RESUMED for a in history):
            history.append(Attempt(RESUMED, failure.how))
            return state.worker_group
        paid_by = retries.charge(history, failure.cause) if retries is not None and wanted else None
        if retries is None or paid_by is None:
            return None
        attempt = Attempt(paid_by, failure.how)
        worker_group = self._out.worker_group_for(retries.resources([*history, attempt]))
        if worker_group is not None:
            history.append(attempt)
            logger.info("clusterfutures: %s is run again: its attempt %d: %s", work.name, len(history), failure.how)
        return worker_group

    def _run_again(self, state: BinState, first: int, stop: int, worker_group_name: str) -> None:
        dispatcher = self._dispatcher
        worker_group = dispatcher.worker_group(worker_group_name)
        if state.kind == CALLS:
            calls = [state.work[index] for index in range(first, stop)]
            wanted = [call for call in calls if self._out.unplace(call)]
            dispatcher.unsettled -= len(calls) - len(wanted)
            for call in wanted:
                call.wait_again(worker_group_name)
            worker_group.put_back(wanted)
            return
        part = dispatcher.split_off(state, first, stop, worker_group_name)
        bin_slice = BinSlice(first, stop, 1)
        part.slices.append(bin_slice)
        dispatcher.publishing.publish(worker_group, part, bin_slice)
