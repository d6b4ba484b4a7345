"""Adopt the calls of earlier programs into the dispatcher, and continue them.

    Past --workers that may live--> Registry        --calls without an outcome--> Dispatcher
            (asked about, if silent)                 in the queue, with a worker, or with nobody

*Attached* programs want every call of the past.  A *resumed* one makes its calls anew and
is given those that have a result or are running; so calls that have not begun are
taken out of the queue first, and comes back when it is made again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

from clusterfutures.client import results
from clusterfutures.client.dispatcher import Dispatcher
from clusterfutures.client.effects import Effects
from clusterfutures.client.results import Place
from clusterfutures.client.resume.history import Absent, Earlier, EarlierBin, LiveSlice, RunHistory
from clusterfutures.client.state import BinSlice, BinState, Work, Worker, WorkerState
from clusterfutures.client.tasks import Call, Chunk, QueueFile
from clusterfutures.client.workers import WorkerRegistry
from clusterfutures.errors import StoreError
from clusterfutures.futures import ClusterFuture
from clusterfutures.store import names, records
from clusterfutures.store.bins import CALLS
from clusterfutures.store.history import Submission
from clusterfutures.store.records import Record
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Adoption"]

logger = logging.getLogger("clusterfutures")


class Spread:
    """Where the outcomes of an adopted chunk go: a future for each call that had none.

    It is their owner, too: one call of a chunk cannot be taken back, nor killed.
    """

    def __init__(self, run: RunDirectory, name: str, wait: float) -> None:
        self.futures: dict[int, ClusterFuture[Any]] = {}
        self._run = run
        self._name = name
        self._wait = wait

    def deliver(self, _number: int, record: Record, place: Place, tried: str) -> None:
        """Calls have an outcome.  It is unpickled where it is asked for: that may be a user's code."""
        if record.kind == records.VALUES and record.flags & records.PLAIN:
            for index, value in enumerate(records.plain_values(record), record.first):
                self._complete(index, value, None, place)
            return
        for one in records.singly(record) if record.kind == records.VALUES else [record]:
            try:
                parts = results.fetch(one, self._run, self._wait) if one.kind in results.IN_FILES else None
            except StoreError as error:
                self._complete(one.first, None, error, place)
            else:
                self._complete_later(one, place, tried, parts)

    def take_back(self, _call: object) -> bool:
        """One call of a chunk stays in it."""
        return False

    def kill(self, _call: object) -> bool:
        """One call of a chunk goes on."""
        return False

    def refuse(self, _number: int, first: int, count: int, error: BaseException) -> None:
        """Calls will have none."""
        for index in range(first, first + count):
            self._complete(index, None, error, Place("", ""))

    def cancelled(self, _number: int) -> None:
        """The rest was cancelled."""
        for future in self.futures.values():
            future.withdrawn()

    def fetch(self) -> None:
        """Nothing is read later."""

    def _complete(self, index: int, value: Any, error: BaseException | None, place: Place) -> None:
        if (future := self._placed(index, place)) is not None:
            future.resolve(value, error)

    def _complete_later(self, record: Record, place: Place, tried: str, parts: list[memoryview] | None) -> None:
        kept = record._replace(body=memoryview(bytes(record.body)))

        def decoded() -> tuple[Any, BaseException | None]:
            value, error, *_ = results.decode(kept, self._run, place, self._name, self._wait, parts)
            return value, error and results.tried(error, tried)

        if (future := self._placed(record.first, place)) is not None:
            future.resolve_later(decoded, record.kind in records.FAILURES)

    def _placed(self, index: int, place: Place) -> ClusterFuture[Any] | None:
        future = self.futures.get(index)
        if future is not None:
            future.host, future.job_id = place.host, place.job_id
        return future


class Adoption:
    """Carried out once, before the manager's thread starts.  resumed: see the module."""

    def __init__(
        self, past: RunHistory, run: RunDirectory, dispatcher: Dispatcher, registry: WorkerRegistry, out: Effects
    ) -> None:
        self._past = past
        self._run = run
        self._dispatcher = dispatcher
        self._registry = registry
        self._out = out
        self._workers: dict[str, Worker] = {}
        self._chunks: dict[int, Chunk] = {}
        self._by_bin: dict[int, list[LiveSlice]] = {}
        self._owner: Any = None
        self._resumed = False

    def carry_out(self, owner: Any, resumed: bool) -> None:
        """Adopt workers and calls; owner: the client that can withdraw calls."""
        self._owner, self._resumed = owner, resumed
        self._dispatcher.start_after(self._past.last_bin)
        for worker_group in self._past.worker_groups:
            self._dispatcher.worker_group(worker_group)
            self._out.open_worker_group(worker_group)
        for submission in self._past.submissions:
            self._adopt_jobs(submission)
        for bin_slice in self._past.slices:
            if not self._given_up(bin_slice):
                self._by_bin.setdefault(bin_slice.where.bin_id, []).append(bin_slice)
        open_calls: dict[int, list[Earlier]] = {}
        for call in self._past.calls.values():
            if call.record is None or (not resumed and self._may_be_tried_again(call)):
                open_calls.setdefault(call.bin.bin_id, []).append(call)
        for bin_id, calls in open_calls.items():
            self._adopt_bin(self._past.bins[bin_id], calls)
        for worker in list(self._workers.values()):
            self._look_after(worker)

    def _look_after(self, worker: Worker) -> None:
        """A worker that is over already; of one that may live it is heard."""
        if worker.name in self._past.succeeded:
            self._registry.lose_to_requeue(worker)
        elif worker.last_words and self._dispatcher.unfinished(worker):
            self._registry.ask_how(worker)
        elif worker.last_words:
            self._dispatcher.ended(worker)
            self._registry.discharge(worker)

    def _given_up(self, bin_slice: LiveSlice) -> bool:
        """Whether a slice of the queue was taken out of it, to come back when its calls are made again."""
        return (
            self._resumed and not bin_slice.worker and self._run.take_back(bin_slice.where.worker_group, bin_slice.file)
        )

    # -- workers --------------------------------------------------------------------

    def _adopt_jobs(self, submission: Submission) -> None:
        """The jobs of a submission; one that was requeued has several workers, one after the other."""
        past, newest = self._past, []
        for index in range(submission.jobs):
            job_id = "".join((submission.job_ids or ())[index : index + 1])  # "": nobody knows it
            last = past.last_attempt(submission.batch, index)
            for attempt in range(last + 1):
                worker = self._worker(
                    names.worker_name(submission.batch, index, attempt), submission.worker_group, job_id
                )
                if attempt < last:
                    past.succeeded.add(worker.name)
            newest.append(worker)
        self._registry.adopt(submission.batch, newest, past.checked_in)

    def _worker(self, name: str, worker_group: str, job_id: str) -> Worker:
        started = self._past.started.get(name, {})
        worker = self._workers[name] = Worker(name, worker_group, job_id or started.get("job_id", ""), 0.0)
        worker.adopted = True
        worker.told_at = time.monotonic()  # its silence begins with this program
        worker.last_words = name in self._past.ended
        worker.host = started.get("host", "")
        if started:
            worker.state = WorkerState.RUNNING
        return worker

    # -- calls ----------------------------------------------------------------------

    def _may_be_tried_again(self, call: Earlier) -> bool:
        row = call.bin.rows[call.index] if call.bin.kind == CALLS else call.bin.rows[0]
        return row.retries is not None and not call.has_value and call.bin.content is not None

    def _adopt_bin(self, where: EarlierBin, calls: list[Earlier]) -> None:
        """The calls of a bin that have no outcome yet."""
        live = self._by_bin.get(where.bin_id, [])
        if self._resumed:  # a call that no worker has is made anew, if it is wanted
            calls = [call for call in calls if any(p.first <= call.index < p.stop for p in live)]
        if not calls:
            return
        if where.content is None:
            self._lose(calls)
            return
        state = BinState(where.bin_id, where.worker_group, self._work(where, calls))
        state.settled[:] = b"\x01" * len(state.settled)
        for call in calls:
            state.settled[call.index] = 0
        self._dispatcher.adopt(state, len(calls))
        for bin_slice in live:
            self._adopt_slice(state, bin_slice)
        for call in calls:
            if call.record is not None:
                self._hear_again(state, call, call.record)
        self._dispatcher.queue_again(state)

    def _lose(self, calls: Iterable[Earlier]) -> None:
        """Calls of which there is neither an outcome nor a file."""
        for call in calls:
            call.future = ClusterFuture()
            text = f"what {call.name} was called with is not in {self._run.path} any more: the call cannot be made"
            call.future.resolve(None, StoreError(message=text, path=self._run.path))

    def _work(self, where: EarlierBin, calls: list[Earlier]) -> list[Work]:
        """The calls of a bin as work, in the order of the bin."""
        content = where.content
        assert content is not None
        if where.kind != CALLS:
            return [self._chunk(where, calls)]
        work: list[Work] = []
        at = 0
        for row, head in zip(where.rows, content.heads, strict=True):
            data = bytes(memoryview(content.blob)[at : at + head.length])
            at += head.length
            call = Call(where.worker_group, ClusterFuture(), Absent(row.name), head.function, data, head.extras)  # type: ignore[arg-type]
            call.order, call.identity = row.orders[0], row.identities
            call.retries, call.resumed = row.retries, self._resumed
            if row.history:
                call.history(0).extend(row.history)
            call.future.belongs_to(self._owner, call)
            work.append(call)
        for earlier in calls:
            one = work[earlier.index]
            assert isinstance(one, Call)
            earlier.future = one.future
        return work

    def _chunk(self, where: EarlierBin, calls: list[Earlier]) -> Chunk:
        """The chunk that a bin is of; several bins may be of one."""
        (row,), content = where.rows, where.content
        assert content is not None
        chunk = self._chunks.get(row.orders[0])
        if chunk is None:
            head, function = content.heads[0], Absent(row.name)
            sink = Spread(self._run, row.name, self._registry.visibility_timeout)
            chunk = self._chunks[row.orders[0]] = Chunk(
                where.worker_group, sink, 0, function, head.function, bytes(content.blob), head.extras, len(row.orders)  # type: ignore[arg-type]
            )  # fmt: skip
            chunk.orders, chunk.identities, chunk.skip = row.orders, row.identities, row.skip
            chunk.retries, chunk.resumed = row.retries, self._resumed
            chunk.remember(row.history or {})
        assert isinstance(chunk.sink, Spread)
        for call in calls:
            call.future = chunk.sink.futures[call.index] = ClusterFuture()
            call.future.belongs_to(chunk.sink, None)
        return chunk

    def _adopt_slice(self, state: BinState, live: LiveSlice) -> None:
        left = state.settled[live.first : live.stop].count(0)
        if not left:
            return
        bin_slice = BinSlice(live.first, live.stop, live.note)
        bin_slice.left = left
        file = QueueFile(state.worker_group)
        file.name = live.file
        for work in state.work[live.first : live.stop] if state.kind == CALLS else state.work:
            work.file = file
        state.slices.append(bin_slice)
        worker = self._workers.get(live.worker)
        if worker is None:  # in the queue; or with a worker of which only its check-in is known
            bin_slice.file = file
            self._dispatcher.worker_group(state.worker_group).waiting[live.file] = (state, bin_slice)
        else:
            bin_slice.worker = worker
            worker.busy += 1
            self._dispatcher.has_begun(state, worker, bin_slice, live.begun)

    def _hear_again(self, state: BinState, call: Earlier, record: Record) -> None:
        """A call that failed, and may be tried again: as if that were heard now."""
        if state.slice_at(call.index) is None:
            state.slices.append(BinSlice(call.index, call.index + 1, 1))
        teller = Worker(call.worker, state.worker_group, call.place.job_id, 0.0)
        teller.host = call.place.host
        self._dispatcher.outcome(teller, record._replace(first=call.index, calls=1))
