"""The two kinds of work: a call from ``submit``, a chunk of a ``map``.

The dispatcher moves them about without knowing which is which; what happens to them they
pass on to a future, or to the ``map`` that waits for them.

    Work.begin(first, count, ...)    these calls have been handed to a process
    Work.settle(record, ...)         these calls have an outcome
    Work.fail(first, count, error)   these calls never will
"""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any, Protocol

from clusterfutures.client import results
from clusterfutures.client.bin_meta import Row
from clusterfutures.client.results import Place
from clusterfutures.errors import CallKilled, StoreError
from clusterfutures.futures import ClusterFuture, Usage
from clusterfutures.options.retries import Attempt, Retries, told
from clusterfutures.pickling.arguments import shown
from clusterfutures.store import records
from clusterfutures.store.bins import CALLS, CHUNK, CallHead, Extras
from clusterfutures.store.records import CallInfo, Record
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Call", "Chunk", "QueueFile", "Sink", "name_of"]

logger = logging.getLogger("clusterfutures")


def name_of(function: Callable[..., Any]) -> str:
    """How errors name a call."""
    try:
        inner = getattr(function, "func", function)
        name = getattr(inner, "__qualname__", None) or type(function).__qualname__
        return f"{getattr(inner, '__module__', None) or '?'}.{name}"
    except Exception:  # a ``__getattr__`` of the user's that knows no AttributeError
        return f"{type(function).__module__}.{type(function).__qualname__}"


class QueueFile:
    """A bin's file in the queue.  ``lock`` is held while it is written or taken back, so
    that a ``cancel`` which comes too early waits for it instead of missing it.  It is re-entrant, as
    the event queue's: a ``map`` that is collected as garbage while its chunk is written takes that back."""

    __slots__ = ("lock", "name", "taken", "worker_group")

    def __init__(self, worker_group: str) -> None:
        self.worker_group = worker_group
        self.name = ""
        self.taken = False
        self.lock = threading.RLock()

    def take_back(self, run: RunDirectory) -> bool:
        """Take it out of the queue, with the lock held; False when a worker was first, or while it is being written."""
        if not self.taken and self.name:
            self.taken = run.take_back(self.worker_group, self.name)
        return self.taken


class Call:
    """One call of ``submit``.

    ``file`` and ``withdrawn`` say where it is; both are read and written under the
    event queue's lock, everything else belongs to the manager: ``queued`` while it is in its
    worker group's row of pending work, ``counted`` while it is so and known to be withdrawn,
    ``doomed`` when it is to be ended (``kills.py``).
    """

    __slots__ = (
        "_history",
        "callable",
        "counted",
        "data",
        "doomed",
        "extras",
        "file",
        "function",
        "future",
        "identity",
        "order",
        "queued",
        "resumed",
        "retries",
        "withdrawn",
        "worker_group",
    )  # fmt: skip

    kind = CALLS
    count = left = 1

    def __init__(
        self,
        worker_group: str,
        future: ClusterFuture[Any],
        called: Callable[..., Any],
        function: str,
        data: bytes,
        extras: Extras | None,
    ) -> None:
        self.worker_group = worker_group
        self.future = future
        self.callable = called
        self.function = function
        self.data = data
        self.extras = extras
        self.file: QueueFile | None = None
        self.withdrawn = False
        self.queued = False
        self.counted = False
        self.doomed = False
        self.order = 0  # its place among all calls of the run
        self.identity = b""
        self.resumed = False  # an earlier program made it, and this one would have made it again
        self.retries: Retries | None = None
        self._history: Sequence[Attempt] = ()

    def history(self, _index: int) -> list[Attempt]:
        """Its attempts that were followed by another."""
        if not isinstance(self._history, list):
            self._history = []  # made late: most calls never need it, and there are many
        return self._history

    def wait_again(self, worker_group: str) -> None:
        """Run it again, in this worker group."""
        self.worker_group = worker_group
        self.future.requeue()

    @property
    def name(self) -> str:
        """How errors name it."""
        return name_of(self.callable)

    def head(self) -> CallHead:
        """What the bin's file says of it."""
        return CallHead(self.function, len(self.data), self.extras)

    def row(self) -> Row:
        """What the bin's tag says of it."""
        return Row((self.order,), self.name, self.identity, b"", self.retries, self._history or None)

    def begin(self, _first: int, _count: int, place: Place) -> None:
        """Its job took it."""
        self.future.host, self.future.job_id = place.host, place.job_id
        self.future.attempts = len(self._history) + 1
        self.future.begin()

    def settle(self, record: Record, run: RunDirectory, place: Place, slot_log: str, wait: float) -> CallInfo | None:
        """Complete the future; what is known of the call besides its outcome."""
        future = self.future
        info, record = results.apart(record)
        future.host, future.job_id = place.host, place.job_id
        future.attempts = len(self._history) + 1
        if info is not None:
            if info.wall >= 0:
                future.started = info.started
                future.usage = Usage(info.wall, info.cpu, info.memory)
            if info.output:
                future.set_output(info.output)
            elif info.out_stop > info.out_start:
                log = f"{slot_log}.{info.slot}"
                future.set_output(lambda: run.read_log(log, info.out_start, info.out_stop))
        self._settle(record, run, place, wait)
        return info if info is not None and info.wall >= 0 else None

    def _settle(self, record: Record, run: RunDirectory, place: Place, wait: float) -> None:
        """Complete the future.  What may run code of the user's is left to those who ask for the result:
        it may do anything, and must not keep other calls from theirs."""
        plain = not results.runs_code(record)
        if plain and record.kind == records.VALUE and self._take(record):
            return
        future, name, history = self.future, self.name, self._history
        if plain:
            value, error, *_ = results.decode(record, run, place, name, wait)
            future.resolve(value, error if error is None else results.tried(error, told(history)))
            return
        try:
            parts = results.fetch(record, run, wait) if record.kind in results.IN_FILES else None
        except StoreError as reason:
            future.resolve(None, results.tried(reason, told(history)))
            return
        kept = record._replace(body=memoryview(bytes(record.body)))

        def decoded() -> tuple[Any, BaseException | None]:
            value, error, *_ = results.decode(kept, run, place, name, wait, parts)
            return value, error if error is None else results.tried(error, told(history))

        future.resolve_later(decoded, record.kind in records.FAILURES)

    def _take(self, record: Record) -> bool:
        """Complete the future with a plain value; False when it cannot be unpickled; another method reports that."""
        try:
            value = pickle.loads(record.body)
        except Exception:
            return False
        self.future.resolve(value, None)
        return True

    def fail(self, _first: int, _count: int, error: BaseException) -> None:
        """It will have no result."""
        if self.doomed:
            error = self._killed(str(error).partition("\n")[0])
        self.future.resolve(None, results.tried(error, told(self._history)))

    def _killed(self, reason: str) -> CallKilled:
        return CallKilled(call=self.name, host=self.future.host, job_id=self.future.job_id, reason=reason)

    def cancel(self) -> None:
        """It has been taken out of the queue for good."""
        self.future.belongs_to(None, None)
        if not self.future.withdrawn():  # begun before, and waiting to run again
            tries = told(self._history)
            self.future.resolve(None, self._killed(tries) if self.doomed else CancelledError(tries))


class Sink(Protocol):
    """Where the outcomes of a ``map``'s chunks go; see ``mapping.py``."""

    def deliver(self, number: int, record: Record, place: Place, tried: str) -> None:
        """Calls of chunk ``number`` have an outcome; ``tried`` is for the text of an error."""

    def refuse(self, number: int, first: int, count: int, error: BaseException) -> None:
        """Calls of chunk ``number`` will have none."""

    def cancelled(self, number: int) -> None:
        """What has no outcome yet of chunk ``number`` was cancelled."""


class Chunk:
    """A slice of a ``map``: ``count`` calls of one function, pickled in one go."""

    __slots__ = (
        "_histories",
        "begin_at",
        "callable",
        "count",
        "counted",
        "data",
        "extras",
        "file",
        "function",
        "identities",
        "number",
        "orders",
        "queued",
        "resumed",
        "retries",
        "sink",
        "skip",
        "withdrawn",
        "worker_group",
    )  # fmt: skip

    kind = CHUNK
    doomed = False

    def __init__(
        self,
        worker_group: str,
        sink: Sink,
        number: int,
        called: Callable[..., Any],
        function: str,
        data: bytes,
        extras: Extras | None,
        count: int,
    ) -> None:
        self.worker_group = worker_group
        self.sink = sink
        self.number = number
        self.callable = called
        self.function = function
        self.data = data
        self.extras = extras
        self.count = count
        self.file: QueueFile | None = None
        self.withdrawn = False
        self.queued = False
        self.counted = False
        self.orders: Sequence[int] = ()  # their places among all calls of the run
        self.identities = b""
        self.skip = b""  # a byte for each call: 1 for one that an earlier program made
        self.resumed = False
        self.retries: Retries | None = None
        self._histories: dict[int, list[Attempt]] = {}
        self.begin_at = 0  # of its first call, among all of the map

    @property
    def left(self) -> int:
        """How many of its calls are to be made."""
        return self.count - self.skip.count(1)

    def row(self) -> Row:
        """What the bin's tag says of it."""
        name = name_of(self.callable)
        return Row(self.orders, name, self.identities, self.skip, self.retries, self._histories or None)

    def history(self, index: int) -> list[Attempt]:
        """The attempts of one call that were followed by another."""
        return self._histories.setdefault(index, [])

    def remember(self, histories: Mapping[int, list[Attempt]]) -> None:
        """Take over what an earlier program knew of calls that have failed."""
        self._histories.update(histories)

    def wait_again(self, worker_group: str) -> None:
        """Some of its calls are to run again: a ``map`` ignores that."""

    @property
    def name(self) -> str:
        """How errors name one of its calls."""
        return f"{name_of(self.callable)} (in a map)"

    def said_of(self, index: int, arguments: str = "") -> str:
        """Which of the map's calls this one is, for its errors; arguments: as the node has shortened them."""
        if not arguments and self.extras is None:
            try:
                arguments = shown(pickle.loads(self.data)[index])
            except Exception as error:  # a class of the user's that does not unpickle
                logger.debug("clusterfutures: arguments cannot be shown: %s", error)
        return f"call {self.begin_at + index} of a map: {name_of(self.callable)}({arguments or '...'})"

    def head(self) -> CallHead:
        """What the bin's file says of it."""
        return CallHead(self.function, len(self.data), self.extras)

    def begin(self, first: int, count: int, place: Place) -> None:
        """Its job took these calls: a ``map`` does not care."""

    def settle(self, record: Record, _run: RunDirectory, place: Place, _slot_log: str, _wait: float) -> None:
        """Pass the record on, undecoded: the ``map``'s consumer decodes it in its thread."""
        history = self._histories.get(record.first, ())
        self.sink.deliver(self.number, record, place, told(history))

    def fail(self, first: int, count: int, error: BaseException) -> None:
        """These calls, if they were made, will have no result."""
        if not self._histories and not self.skip:
            self.sink.refuse(self.number, first, count, error)
            return
        for index in range(first, first + count):
            if not (self.skip and self.skip[index]):
                self.sink.refuse(self.number, index, 1, results.tried(error, told(self._histories.get(index, ()))))

    def cancel(self) -> None:
        """It has been taken out of the queue for good."""
        self.sink.cancelled(self.number)
