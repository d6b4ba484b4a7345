"""``map``: chunks of arguments out, values in, one record of bookkeeping per chunk.

    iterables --> chunks (one pickle each) --> the manager --> ... workers
    consumer <-- values, decoded one by one <-- records <-- the manager (``deliver``)

The records stay undecoded until the consumer comes to them, in its own thread: the manager
does not unpickle, and a value lives no longer than the consumer holds it.  A chunk's
records may come in any order and in parts (its bin may have been divided among several
workers); each says which calls it is about.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any

from clusterfutures import binning
from clusterfutures.client import failures, results
from clusterfutures.client.results import Place
from clusterfutures.client.tasks import Chunk
from clusterfutures.errors import StoreError
from clusterfutures.futures import ClusterFuture
from clusterfutures.store import records
from clusterfutures.store.records import Record
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["MapResults", "Plan", "chunked"]


class Arrived:
    """An outcome that waits for the consumer: a record, or an error for ``count`` calls."""

    __slots__ = ("count", "error", "future", "parts", "place", "record", "tried")

    def __init__(self, count: int, record: Record | None, place: Place | None, error: BaseException | None) -> None:
        self.count = count
        self.record = record
        self.place = place
        self.error = error
        self.parts: list[memoryview] | None = None  # of a large result, once fetched
        self.future: ClusterFuture[Any] | None = None  # of a call that an earlier program made
        self.tried = ""  # how often the call was, for its error


class Plan:
    """How the arguments are divided.

    slots: processes that will work on them.  chunksize, bins: as ``binning.map_sizes``.
    buffersize: the most calls that may be out and not yet yielded; None: all.
    seconds_per_call: how long one takes, where that is known.
    """

    def __init__(self, slots: int, chunksize: int | None, bins: int | None, buffersize: int | None) -> None:
        self.slots = slots
        self.chunksize = chunksize
        self.bins = bins
        self.buffersize = buffersize
        self.seconds_per_call: float | None = None

    def sizes(self, count: int | None) -> Iterator[int]:
        """The sizes of the chunks for ``count`` arguments; for ever when that is unknown."""
        if self.buffersize is None and count is not None:
            return iter(binning.map_sizes(count, self.slots, self.bins, self.chunksize, self.seconds_per_call))
        buffer = self.buffersize or binning.BINS_PER_SLOT * self.slots
        size = self.chunksize or max(1, buffer // (2 * max(1, self.slots)))
        return itertools.repeat(min(size, buffer))


def chunked(iterables: tuple[Iterable[Any], ...], plan: Plan, star: bool) -> Iterator[list[tuple[Any, ...]]]:
    """The arguments as lists of tuples, divided as ``plan`` says.

    Without ``buffersize`` the length decides how they are divided, so iterables that do
    not know theirs are read first.  It decides that alone: where a length is a guess (of a progress
    bar around a generator), what comes beyond it is not left out.
    """
    rows: Iterable[tuple[Any, ...]] = map(tuple, iterables[0]) if star else zip(*iterables, strict=False)
    count: int | None = None
    if plan.buffersize is None and (count := _length(iterables)) is None:
        rows = list(rows)
        count = len(rows)
    rows = iter(rows)
    size = 1
    for size in plan.sizes(count):
        chunk = list(itertools.islice(rows, size))
        if not chunk:
            return
        yield chunk
    while chunk := list(itertools.islice(rows, size)):
        yield chunk


def _length(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """How many rows they make, if they say so."""
    try:
        return min((len(iterable) for iterable in iterables), default=0)  # type: ignore[arg-type]
    except Exception:  # no length; or one that only seemed to be there: it is a user's code
        return None


def _result_of(future: ClusterFuture[Any], call: Callable[[], str]) -> Any:
    error = future.exception()
    if error is not None:
        place = Place(future.host, future.job_id)
        raise results.noted(error, call(), place, failures.last_lines(future.output().encode()))
    return future.result()


class MapResults:
    """One ``map``: the sink of its chunks, and the iterator over its values.

    send: publishes a list of argument tuples as the chunk with this number; cancel:
    takes a chunk back.  ``deliver`` and ``refuse`` are called by the manager.
    """

    def __init__(
        self,
        chunks: Iterator[list[tuple[Any, ...]]],
        send: Callable[[MapResults, int, list[tuple[Any, ...]]], Chunk],
        cancel: Callable[[Chunk], None],
        run: RunDirectory,
        wait: float,
        buffersize: int | None,
    ) -> None:
        self._chunks = chunks
        self._send = send
        self._cancel = cancel
        self._run = run
        self._wait = wait
        self._buffersize = buffersize
        self._lock = threading.Condition()
        self._reading = threading.Lock()  # a large result's file is read once: by the consumer, or before it goes
        self._out: dict[int, Chunk] = {}
        self._arrived: dict[int, dict[int, Arrived]] = {}
        self._ready: deque[tuple[int, int, Arrived]] = deque()
        self._cancelled: set[int] = set()
        self._next = 0
        self.sent = 0  # calls of the chunks so far
        self._in_flight = 0
        self._largest = 0
        self._exhausted = False
        self._broken: Exception | None = None
        try:
            self.fill()
        except BaseException:  # one chunk cannot be pickled: nobody will ask for the others
            self.abandon()
            raise

    # -- chunks out -------------------------------------------------------------

    def fill(self) -> None:
        """Send chunks: all of them, or as many as the buffer allows."""
        while not self._exhausted and self._has_room():
            arguments = next(self._chunks, None)
            if arguments is None:
                self._exhausted = True
                return
            number = self._next
            self._next += 1
            self._in_flight += len(arguments)
            self._largest = max(self._largest, len(arguments))
            with self._lock:
                self._arrived[number] = {}
            chunk = self._out[number] = self._send(self, number, arguments)
            chunk.begin_at = self.sent
            self.sent += len(arguments)

    def _has_room(self) -> bool:
        if self._buffersize is None or not self._in_flight:
            return True
        return self._in_flight + self._largest <= self._buffersize

    def abandon(self) -> None:
        """Nobody wants the rest: take back what has not begun."""
        self._exhausted = True
        for chunk in list(self._out.values()):
            self._cancel(chunk)

    # -- outcomes in (manager) -----------------------------------------------------

    def deliver(self, number: int, record: Record, place: Place, tried: str = "") -> None:
        """Calls of a chunk have an outcome."""
        arrived = Arrived(record.calls, record, place, None)
        arrived.tried = tried
        self._arrive(number, record.first, arrived)

    def refuse(self, number: int, first: int, count: int, error: BaseException) -> None:
        """Calls of a chunk will have none."""
        self._arrive(number, first, Arrived(count, None, None, error))

    def cancelled(self, number: int) -> None:
        """Of a chunk, what has no outcome yet will have none: it was cancelled."""
        with self._lock:
            self._cancelled.add(number)
            self._ready.append((number, 0, Arrived(1, None, None, CancelledError())))
            self._lock.notify_all()

    def borrow(self, number: int, index: int, future: ClusterFuture[Any]) -> None:
        """A call of a chunk was made by an earlier program: its outcome is this future's."""
        arrived = Arrived(1, None, None, None)
        arrived.future = future
        future.add_done_callback(lambda _future: self._arrive(number, index, arrived))

    def _arrive(self, number: int, first: int, arrived: Arrived) -> None:
        with self._lock:
            waiting = self._arrived.get(number)
            if waiting is not None:
                waiting.setdefault(first, arrived)
                self._ready.append((number, first, arrived))
                self._lock.notify_all()

    def fetch(self) -> None:
        """Read the large results that were not read yet: their files are about to be removed."""
        with self._lock:
            left = [arrived for waiting in self._arrived.values() for arrived in waiting.values()]
            left += [arrived for *_, arrived in self._ready]
        for arrived in left:
            with self._reading:
                self._fetch(arrived)

    def _fetch(self, arrived: Arrived) -> None:
        """Read the file of a large result, once; that it cannot be read is its outcome."""
        record = arrived.record
        if record is None or record.kind not in results.IN_FILES or arrived.parts is not None:
            return
        try:
            arrived.parts = results.fetch(record, self._run, self._wait)
        except (OSError, StoreError) as error:
            arrived.record, arrived.error = None, results.tried(error, arrived.tried)

    def _taken(self, arrived: Arrived) -> tuple[Record | None, list[memoryview] | None]:
        """The record that the consumer has come to, and the large result that it announces; kept no longer."""
        with self._reading:
            self._fetch(arrived)
            record, parts = arrived.record, arrived.parts
            arrived.record = arrived.parts = None
        return record, parts

    # -- values out (consumer) --------------------------------------------------

    def values(self, ordered: bool, timeout: float | None) -> Iterator[Any]:
        """The values, in the order of the arguments or as they come.

        timeout: seconds from now until TimeoutError.  The first call that failed ends
        the iteration with its exception, as in the standard library.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        return self._iterate(self._in_order(deadline) if ordered else self._as_they_come(deadline))

    def _iterate(self, arrivals: Iterator[tuple[int, int, Arrived]]) -> Iterator[Any]:
        try:
            for number, first, arrived in arrivals:
                yield from self._decoded(arrived, self._out[number], first)
                if self._broken is not None:
                    raise self._broken
        finally:
            self.abandon()
            with self._lock:  # nobody will ask for what is left
                self._arrived.clear()
                self._ready.clear()

    def _decoded(self, arrived: Arrived, chunk: Chunk, first: int) -> Iterator[Any]:
        """The values of an outcome, which is about the chunk's calls from ``first`` on."""
        call, place = chunk.name, arrived.place
        record, parts = self._taken(arrived)
        if arrived.future is not None:
            self._make_room()
            yield _result_of(arrived.future, lambda: chunk.said_of(first))
        elif record is None or place is None:
            refused = arrived.error or CancelledError()
            if arrived.count > 1 or isinstance(refused, CancelledError):  # it is of no one call
                raise refused
            raise results.noted(refused, chunk.said_of(first))
        elif record.kind == records.VALUES:
            values = results.decode_values(record, call)
            yield from values if self._buffersize is None else self._buffered(values)
        else:
            box = [results.decode(record, self._run, place, call, self._wait, parts)]
            del parts
            if (error := box[0].error) is not None:
                arguments, output = box[0].context
                error = results.tried(error, arrived.tried)
                raise results.noted(error, chunk.said_of(first, arguments), place, output)
            self._make_room()
            yield box.pop().value  # popped: the consumer's reference is the only one

    def _buffered(self, values: Iterator[Any]) -> Iterator[Any]:
        for value in values:
            box = [value]
            del value
            self._make_room()
            yield box.pop()  # popped: the consumer's reference is the only one

    def _make_room(self) -> None:
        """A value is handed out next: first send what the buffer has room for, which runs while the value is used.

        What the user's iterable raises is raised when the next value is asked for: this one is there.
        """
        if self._buffersize is not None and self._broken is None:
            self._in_flight -= 1
            try:
                self.fill()
            except Exception as error:
                self._broken = error

    def _in_order(self, deadline: float | None) -> Iterator[tuple[int, int, Arrived]]:
        number = 0
        while True:
            if number not in self._out:
                self.fill()
                if number not in self._out:
                    return
            index, count = 0, self._out[number].count
            while index < count:
                arrived = self._await(number, index, deadline)
                yield number, index, arrived
                index += arrived.count
            self._forget(number)
            number += 1

    def _forget(self, number: int) -> None:
        with self._lock:
            del self._arrived[number]
            self._ready.clear()
        del self._out[number]

    def _await(self, number: int, index: int, deadline: float | None) -> Arrived:
        with self._lock:
            self._ready.clear()
            while index not in self._arrived[number]:
                if number in self._cancelled:
                    raise CancelledError()
                self._sleep(deadline)
            return self._arrived[number].pop(index)

    def _as_they_come(self, deadline: float | None) -> Iterator[tuple[int, int, Arrived]]:
        left: dict[int, int] = {}
        while self._out or not self._exhausted:
            self.fill()
            if not self._out:
                return
            with self._lock:
                while not self._ready:
                    self._sleep(deadline)
                number, first, arrived = self._ready.popleft()
            yield number, first, arrived
            left[number] = left.get(number, self._out[number].count) - arrived.count
            if not left[number]:
                with self._lock:
                    del self._arrived[number]
                del self._out[number]

    def _sleep(self, deadline: float | None) -> None:
        if deadline is None:
            self._lock.wait()
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError()
        self._lock.wait(left)
