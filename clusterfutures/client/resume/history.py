"""What earlier programs left in a run: every call, where it is, and what became of it.

    History --bins--> Earlier calls by their order; of each the bin it was in last
            --records--> outcomes, what has begun, what went back, which workers are over

Read once, before a program goes on with the run; nothing is decided here.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

from clusterfutures.client import bin_meta
from clusterfutures.client.bin_meta import Row
from clusterfutures.client.results import Place
from clusterfutures.client.tasks import Call
from clusterfutures.futures import ClusterFuture
from clusterfutures.store import names, records
from clusterfutures.store.bins import CALLS, CHUNK, Bin
from clusterfutures.store.history import Found, History, Submission
from clusterfutures.store.records import Record
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Absent", "Earlier", "EarlierBin", "LiveSlice", "RunHistory"]


class Absent:
    """Stands for a function of which the name alone is known."""

    def __init__(self, name: str) -> None:
        self.__module__, _, self.__qualname__ = name.partition(".")


class EarlierBin:
    """A bin of an earlier program; content: its file, if there is one.

    A tag is of a whole chunk.  ``spans``: which calls of it files of this bin held: the others are in other bins.
    """

    __slots__ = ("_apart", "bin_id", "content", "kind", "program", "rows", "spans", "worker_group")

    def __init__(self, bin_id: int, tag: bin_meta.BinMeta) -> None:
        self.bin_id = bin_id
        self.kind = tag.kind
        self.worker_group = tag.worker_group
        self.program = tag.program
        self.rows = tag.rows
        self.content: Bin | None = None
        self.spans: set[tuple[int, int]] = set()
        self._apart: tuple[Record, list[Any]] | None = None

    def calls(self) -> list[tuple[int, Row, int]]:
        """(index, row, order) of the calls that it was to make."""
        if self.kind == CALLS:
            return [(index, row, row.orders[0]) for index, row in enumerate(self.rows)]
        (row,) = self.rows
        return [(i, row, order) for i, order in enumerate(row.orders) if not (row.skip and row.skip[i])]

    def held(self, index: int) -> bool:
        """True when a file of this bin held call ``index``."""
        return self.kind == CALLS or any(first <= index < stop for first, stop in self.spans)

    def apart(self, record: Record) -> list[Any]:
        """A row of values taken apart: plain values themselves, a record for each of the others.

        Once: its calls are asked for one after the other, and they may be thousands.
        """
        known = self._apart
        if known is None or known[0] is not record:
            plain = record.flags & records.PLAIN
            known = self._apart = record, records.plain_values(record) if plain else [*records.singly(record)]
        return known[1]


class Earlier:
    """A call of an earlier program: in ``bin`` at ``index``; ``record``: its outcome, if it has one."""

    __slots__ = ("bin", "future", "identity", "index", "name", "order", "place", "record", "worker")

    def __init__(self, order: int, row: Row, where: EarlierBin, index: int) -> None:
        self.order = order
        self.name = row.name
        self.bin = where
        self.index = index
        at = index * 16 if where.kind == CHUNK else 0
        self.identity = row.identities[at : at + 16]
        self.record: Record | None = None
        self.worker = ""
        self.place = Place("", "")
        self.future: ClusterFuture[Any] | None = None

    @property
    def has_value(self) -> bool:
        """True when it returned."""
        return self.record is not None and self.record.kind not in records.FAILURES

    def recall(self, run: RunDirectory) -> ClusterFuture[Any]:
        """The future of a call that has its outcome; made when it is first asked for."""
        record = self.record
        if self.future is None and record is not None:
            future = ClusterFuture[Any]()
            future.host, future.job_id = self.place.host, self.place.job_id
            found = record
            if record.kind == records.VALUES:
                found = self.bin.apart(record)[self.index - record.first]
            if record.kind == records.VALUES and record.flags & records.PLAIN:
                future.resolve(found, None)
            else:
                call = Call(self.bin.worker_group, future, Absent(self.name), "", b"", None)  # type: ignore[arg-type]
                call.settle(found, run, self.place, self.worker, 0.0)
            self.future = future
        assert self.future is not None
        return self.future


class LiveSlice(NamedTuple):
    """Calls ``first`` up to ``stop`` of a bin, in a file of the queue or with a worker."""

    where: EarlierBin
    first: int
    stop: int
    begun: int
    note: int
    worker: str
    file: str


class RunHistory:
    """All of it.  calls: by order.  workers: what each said of itself (``started``), and who is over."""

    def __init__(self) -> None:
        self.calls: dict[int, Earlier] = {}
        self.bins: dict[int, EarlierBin] = {}
        self.slices: list[LiveSlice] = []
        self.started: dict[str, dict[str, Any]] = {}
        self.ended: set[str] = set()
        self.succeeded: set[str] = set()  # by another attempt of their job
        self.checked_in: list[str] = []
        self.submissions: list[Submission] = []
        self.worker_groups: dict[str, dict[str, Any]] = {}
        self._outcomes: dict[int, list[tuple[Record, str]]] = {}
        self._begun: dict[tuple[str, int], int] = {}
        self._returned: dict[tuple[str, int], list[int]] = {}

    @classmethod
    def read(cls, history: History) -> RunHistory:
        """Read it all, in the order in which a bin travels."""
        past = cls()
        past.worker_groups = history.worker_groups()
        past.submissions = history.submissions()
        live = [*history.queued(), *history.claimed()]
        past.checked_in = history.checked_in()
        for found in live:
            past._know(found)
        for worker, body in history.segments():
            for record in records.records(body):
                past._hear(worker, record)
        for found in history.kept():
            past._know(found)
        past._place_calls()
        past._place_pieces(live)
        return past

    @property
    def last_bin(self) -> int:
        """The highest number of a bin."""
        return max([*self.bins, *self._outcomes], default=0)

    @property
    def last_order(self) -> int:
        """The highest order of a call; -1 without any."""
        return max(self.calls, default=-1)

    def last_attempt(self, batch: str, index: int) -> int:
        """Return how often the scheduler is known to have begun a job again."""
        seen = [parsed for name in self.checked_in if (parsed := names.parse_worker(name))]
        return max([attempt for b, i, attempt in seen if (b, i) == (batch, index)], default=0)

    def place_of(self, worker: str) -> Place:
        """Where a worker was."""
        fields = self.started.get(worker, {})
        return Place(fields.get("host", ""), fields.get("job_id", ""))

    def _know(self, found: Found) -> None:
        content = found.content
        where = self.bins.get(content.bin_id)
        if where is None and content.tag:
            where = self.bins[content.bin_id] = EarlierBin(content.bin_id, bin_meta.unpack(content.tag))
        if where is not None:
            where.content = content
            where.spans.add((content.first, content.stop))

    def _hear(self, worker: str, record: Record) -> None:
        if record.kind == records.STARTED:
            self.started[worker] = pickle.loads(record.body)
        elif record.kind == records.ENDED:
            self.ended.add(worker)
        elif record.kind == records.BIN:
            if record.bin_id not in self.bins:
                self.bins[record.bin_id] = EarlierBin(record.bin_id, bin_meta.unpack(record.body))
            self.bins[record.bin_id].spans.add((record.first, record.first + record.calls))
        elif record.kind == records.BEGUN:
            key, stop = (worker, record.bin_id), record.first + record.calls
            self._begun[key] = max(stop, self._begun.get(key, 0))
        elif record.kind == records.RETURNED:
            self._returned.setdefault((worker, record.bin_id), []).append(record.first)
        elif record.kind in records.OUTCOMES:
            self._outcomes.setdefault(record.bin_id, []).append((record, worker))

    def _place_calls(self) -> None:
        """A call that was tried again is in several bins: the last one counts."""
        for _, where in sorted(self.bins.items()):
            at: dict[int, Earlier] = {}
            for index, row, order in where.calls():
                before = self.calls.get(order)
                if before is None or (where.held(index) and not before.has_value):
                    at[index] = self.calls[order] = Earlier(order, row, where, index)
            for record, worker in self._outcomes.get(where.bin_id, ()):
                for index in range(record.first, record.first + record.calls):
                    call = at.get(index)
                    if call is not None and call.record is None:
                        call.record, call.worker, call.place = record, worker, self.place_of(worker)

    def _place_pieces(self, live: Sequence[Found]) -> None:
        """What is still in the queue, or with a worker; one that was claimed meanwhile is with that."""
        claimed = {found.name for found in live if found.worker}
        for found in live:
            where = self.bins.get(found.content.bin_id)
            if where is None or (not found.worker and found.name in claimed):
                continue
            content = found.content
            key = (found.worker, content.bin_id)
            stop = min([content.stop, *(at for at in self._returned.get(key, ()) if content.first <= at)])
            noted = max(found.begun, content.first + content.begun) if found.worker else content.first
            begun = min(stop, max(noted, self._begun.get(key, 0)))
            if content.first < stop:
                note = min(content.begun, stop - content.first)
                self.slices.append(LiveSlice(where, content.first, stop, begun, note, found.worker, found.name))
