"""Every decision about calls, bins and workers.  Pure: no file, no process, no clock.

The pump feeds events in (calls submitted, records read, jobs lost) with the time as an
argument, and hands over an ``Out`` through which the decisions leave: publish this bin,
ask for so many workers, cancel these.  A test's ``Out`` records, and proves that nothing
else was asked for.

What it keeps, and how pieces of bins move, is in ``state.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from clusterfutures.client.publishing import Publishing
from clusterfutures.client.reruns import Reruns
from clusterfutures.client.staffing import Staffing
from clusterfutures.client.state import BinState, Limits, Out, Piece, Pool, Work, Worker, WorkerState, gaps
from clusterfutures.client.work import QueueFile
from clusterfutures.retries import Failure
from clusterfutures.store.bins import CALLS
from clusterfutures.store.names import Claimed
from clusterfutures.store.records import Record

__all__ = ["Ledger"]

#: after the site's submit limit was met, the next try comes so much later
LIMIT_RETRY_SECONDS = 15.0
#: workers lost one after the other, without any result in between, before we give up
MOST_LOSSES = 5


class Ledger:
    """All calls, bins and workers of a run.  Owned by the pump thread."""

    def __init__(self, limits: Limits, out: Out) -> None:
        self.limits = limits
        self.pools: dict[str, Pool] = {}
        self.unsettled = 0
        self._out = out
        self._staffing = Staffing(limits, out)
        self._bins: dict[int, BinState] = {}
        self._next_bin = 1
        self.publishing = Publishing(self, limits, out)
        self.reruns = Reruns(self, out)

    # -- work comes in ----------------------------------------------------------

    def add(self, work: Work, now: float) -> None:
        """A call or a chunk has been submitted."""
        pool = self.pool(work.pool)
        pool.append(work)
        pool.last_submit = now
        self.unsettled += work.left

    def pool(self, name: str) -> Pool:
        """The pool of this name."""
        pool = self.pools.get(name)
        if pool is None:
            pool = self.pools[name] = Pool(name, self.limits.gather)
        return pool

    def withdrawn(self, work: Work) -> None:
        """Work that had not been published was cancelled; it is dropped when its turn
        comes, unless that has been before we heard of it."""
        if work.queued and not work.counted:
            work.counted = True
            self.pool(work.pool).withdrawn += 1

    def cancel_pending(self, pool: Pool, withdraw: Callable[[Work], bool]) -> None:
        """Cancel everything that has not been published; ``withdraw``: False when that
        had been done before."""
        while pool.pending:
            work = pool.next_pending()
            withdraw(work)
            self.unsettled -= work.left

    def taken_back(self, file: QueueFile) -> None:
        """A cancel took a file out of the queue: what else was in it goes back."""
        found = self.pools[file.pool].waiting.pop(file.name, None)
        if found is None:
            return
        state, piece = found
        state.pieces.remove(piece)
        self._requeue(state, piece.first, piece.stop)

    def _requeue(self, state: BinState, first: int, stop: int, anew: bool = False) -> None:
        """Calls go back to the front: as work (calls), or as a piece of their chunk; anew: as another bin."""
        pool = self.pools[state.pool]
        if state.kind == CALLS:
            again = [state.work[i] for i in range(first, stop) if not state.settled[i]]
            for index in range(first, stop):
                state.settled[index] = 1
            wanted = [work for work in again if self._out.unplace(work)]
            self.unsettled -= len(again) - len(wanted)
            pool.put_back(wanted)
            self.drop_if_done(state)
            return
        if state.work[0].withdrawn:
            self.forget(state, first, stop)
            return
        for start, end in gaps(state.settled, first, stop):
            part = self.split_off(state, start, end) if anew else state
            self.publishing.publish_again(pool, part, start, end)
        self.drop_if_done(state)

    def split_off(self, state: BinState, first: int, stop: int, pool: str = "") -> BinState:
        """Calls of a chunk as a bin of their own: what is still told of the old one is not about them."""
        part = BinState(self.new_bin_id(), pool or state.pool, state.work)
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
        for pool in self.pools.values():
            due = min(due, self.publishing.advance(pool, now))
            due = min(due, self._staffing.ask_for_workers(pool, now))
            due = min(due, self._staffing.share(pool, self._bins.values(), now))
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
        """A bin of which ``count`` calls have no outcome; its pieces are added by the caller."""
        self.pool(state.pool)
        self._bins[state.bin_id] = state
        self.unsettled += count

    def has_begun(self, state: BinState, worker: Worker, piece: Piece, upto: int) -> None:
        """Of a piece that a worker has, the calls before ``upto`` have been handed to a process."""
        piece.begun = upto
        for first, stop in gaps(state.settled, piece.first, upto):
            self._begin(state, worker, first, stop)

    def queue_again(self, state: BinState) -> None:
        """Those calls of a bin that are nowhere wait to be published."""
        pool = self.pool(state.pool)
        for first, stop in gaps(state.settled, 0, len(state.settled)):
            for index in range(first, stop):
                if state.piece_at(index) is not None:
                    continue
                if state.kind == CALLS:
                    state.settled[index] = 1
                    pool.append(state.work[index])
                else:
                    piece = Piece(index, index + 1, 1)
                    state.pieces.append(piece)
                    self.publishing.publish(pool, state, piece)
        self.drop_if_done(state)

    # -- workers ----------------------------------------------------------------

    def submitted(self, pool_name: str, workers: Iterable[Worker], asked: int) -> None:
        """The scheduler took jobs; ``asked`` of the requested ones are answered."""
        pool = self.pool(pool_name)
        pool.requested -= asked
        for worker in workers:
            pool.workers[worker.name] = worker

    # -- records come in --------------------------------------------------------

    def started(self, worker: Worker, host: str, job_id: str) -> None:
        """The worker is up."""
        pool = self.pools[worker.pool]
        worker.state = WorkerState.RUNNING
        worker.host = host
        worker.job_id = worker.job_id or job_id
        pool.ever_started = True
        pool.failed_starts = 0

    def begun(self, worker: Worker, record: Record) -> float:
        """Calls have been handed to a process; the file they were in is the worker's.
        Returns the seconds that they should take; 0 where that is not known."""
        state = self._bins.get(record.bin_id)
        piece = state.piece_at(record.first) if state else None
        if state is None or piece is None:
            return 0.0
        self._claimed(worker, state, piece)
        piece.begun = max(piece.begun, record.first + record.calls)
        self._begin(state, worker, record.first, record.first + record.calls)
        return record.calls * (self.limits.pace.seconds(state.item(record.first).function) or 0.0)

    def _claimed(self, worker: Worker, state: BinState, piece: Piece) -> None:
        if piece.file is not None:
            self.pools[state.pool].waiting.pop(piece.file.name, None)
            piece.file = None
            piece.worker = worker
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
        piece = state.piece_at(record.first) if state else None
        if state is None or piece is None:
            return
        self._claimed(worker, state, piece)
        stop = record.first + record.calls
        if state.settled.find(1, record.first, stop) >= 0:
            return
        state.settled[record.first : stop] = b"\x01" * record.calls
        self.pools[state.pool].losses = 0
        if state.item(record.first).retries is None:
            self.settle(state, worker, record)
        else:
            self.reruns.settle(state, worker, record)
        self._piece_progress(state, piece, record.calls)

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

    def _piece_progress(self, state: BinState, piece: Piece, count: int) -> None:
        piece.left -= count
        if piece.left <= 0:
            self._release(state, piece)
            self.drop_if_done(state)

    def _release(self, state: BinState, piece: Piece) -> None:
        state.pieces.remove(piece)
        if piece.worker is not None:
            piece.worker.busy -= 1

    def drop_if_done(self, state: BinState) -> None:
        """Forget a bin when all its calls are settled."""
        if state.settled.find(0) < 0:
            self._bins.pop(state.bin_id, None)

    def returned(self, worker: Worker, record: Record) -> None:
        """A worker gives back calls that never ran."""
        state = self._bins.get(record.bin_id)
        piece = state.piece_at(record.first) if state else None
        if state is None or piece is None:
            return
        self._claimed(worker, state, piece)
        stop = piece.stop
        piece.left -= state.settled[record.first : stop].count(0)
        piece.stop = record.first
        piece.begun = min(piece.begun, record.first)
        if piece.left <= 0:
            self._release(state, piece)
        self._requeue(state, record.first, stop)

    # -- workers go -------------------------------------------------------------

    def ended(self, worker: Worker) -> None:
        """The worker is over, and nothing more will come from it."""
        worker.state = WorkerState.ENDED
        self.pools[worker.pool].workers.pop(worker.name, None)

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
        for state, piece in self._pieces_of(worker, claimed):
            state.pieces.remove(piece)
            begun = piece.begun if (state.bin_id, piece.first) in taken else piece.stop
            again = self.reruns.fail_range(state, piece.first, begun, error, failure) or again
            self._requeue(state, begun, piece.stop, anew=True)
        pool = self.pools[worker.pool]
        pool.losses += not again  # what is paid for ends by itself
        if pool.losses >= MOST_LOSSES:
            self.fail_waiting(pool, error)

    def distrust(self, worker: Worker, claimed: Sequence[Claimed], error: Callable[[str], BaseException]) -> None:
        """A part of what a worker told is lost, and it works on.  Nobody knows which of the calls that it has
        have begun, so all of them fail, and none runs again.  claimed: as in ``lost``."""
        for state, piece in self._pieces_of(worker, claimed):
            self._release(state, piece)
            self.reruns.fail_range(state, piece.first, piece.stop, error, None)

    def _pieces_of(self, worker: Worker, claimed: Sequence[Claimed]) -> list[tuple[BinState, Piece]]:
        """What a worker has, what it has not told of included."""
        for bin_id, first, _stop, begun in claimed:
            state = self._bins.get(bin_id)
            piece = state.piece_at(first) if state else None
            if state is None or piece is None:
                continue
            if piece.worker is None:
                self._claimed(worker, state, piece)
                begun = max(begun, piece.first + piece.note)
            if piece.worker is worker and piece.begun < (upto := min(begun, piece.stop)):
                self.has_begun(state, worker, piece, upto)
        return [(state, piece) for state in self._bins.values() for piece in state.pieces if piece.worker is worker]

    def failed_to_start(self, worker: Worker, error: Callable[[str], BaseException]) -> None:
        """The job ended and never became a worker.

        One bad node is no reason to give up while others may start; but when nothing has
        ever started, the second failure tells enough, and so does the last job there is.
        """
        self.ended(worker)
        pool = self.pools[worker.pool]
        pool.failed_starts += 1
        none_left = not pool.live() and not pool.requested
        if none_left or (not pool.ever_started and pool.failed_starts > 1):
            self.fail_waiting(pool, error)
            self._staffing.dismiss_pending(pool.live())

    def not_submitted(self, pool_name: str, count: int, error: BaseException | None, now: float) -> None:
        """The scheduler refused ``count`` jobs; None: only for now, others do the work."""
        pool = self.pools[pool_name]
        pool.requested -= count
        pool.request_at = now + LIMIT_RETRY_SECONDS
        if error is not None and not pool.live():
            self.fail_waiting(pool, lambda _call: error)

    def fail_waiting(self, pool: Pool, error: Callable[[str], BaseException]) -> None:
        """Fail everything in a pool that no worker has taken."""
        pool.losses = 0
        for name, (_, piece) in list(pool.waiting.items()):
            if piece.file is not None and self._out.take_back(piece.file):
                self.lose_file(pool, name, error)
        while pool.pending:
            work = pool.next_pending()
            self.unsettled -= work.left
            if not work.withdrawn:
                work.fail(0, work.count, error(work.name))

    def lose_file(self, pool: Pool, name: str, error: Callable[[str], BaseException]) -> None:
        """Fail the calls of a bin that is in the queue no longer, and with no worker."""
        state, piece = pool.waiting.pop(name)
        state.pieces.remove(piece)
        self.reruns.fail_range(state, piece.first, piece.stop, error, None)

    def let_go(self, error: BaseException) -> None:
        """The calls go on without this program: its futures have ``error``, and nothing is taken back."""
        for state in self._bins.values():
            for first, stop in gaps(state.settled, 0, len(state.settled)):
                for index in range(first, stop):
                    state.item(index).fail(index, 1, error)
        self._bins.clear()
        for pool in self.pools.values():
            pool.waiting.clear()
            while pool.pending:
                work = pool.next_pending()
                work.fail(0, work.count, error)
        self.unsettled = 0

    def fail_everything(
        self,
        error: Callable[[str], BaseException],
        of_worker: Callable[[Worker], Callable[[str], BaseException]] | None = None,
    ) -> None:
        """Nothing will have a result any more; of_worker: the errors of what a worker has, where they differ."""
        for pool in self.pools.values():
            self.fail_waiting(pool, error)
        for state in list(self._bins.values()):
            for piece in state.pieces:
                if piece.worker is not None:
                    piece.worker.busy -= 1
                    its_own = error if of_worker is None else of_worker(piece.worker)
                    self.reruns.fail_range(state, piece.first, piece.stop, its_own, None)
            self.reruns.fail_range(state, 0, len(state.settled), error, None)
        for pool in self.pools.values():
            pool.waiting.clear()
        self._bins.clear()
