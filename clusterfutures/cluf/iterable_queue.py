"""``IterableQueue``: a queue between processes that knows when no more will come.

    producers --put--> items --iterate--> consumers       all of one machine
                        |
        endpoints: who may still put, who may still take, which process holds each

Everything is in one SQLite database in a temporary directory: its transactions survive
the death of any process at any moment, where a lock or a pipe shared by all would not.
A waiting process looks again after a few milliseconds, and from time to time checks whether the
processes that hold the other endpoints still live.  Dead ones are counted out.

The process that uses an endpoint first holds it.  ``queue_database.py`` finds the processes that have died.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import util
from multiprocessing.context import get_spawning_popen
from queue import Empty, Full
from typing import Any, ClassVar

from clusterfutures.cluf.queue_database import (
    ConsumerQueueClosedException,
    Database,
    Done,
    IterableQueueException,
    IterableQueueIllegalStateException,
)
from clusterfutures.pickling import by_value

__all__ = [
    "ConsumerQueue",
    "ConsumerQueueClosedException",
    "Done",
    "Empty",
    "Full",
    "IterableQueue",
    "IterableQueueException",
    "IterableQueueIllegalStateException",
    "ProducerQueue",
    "ProducerQueueClosedException",
]

_LOOK_SECONDS = (0.0005, 0.02)
_DEAD_SECONDS = 0.2


class ProducerQueueClosedException(IterableQueueException):
    """The producer endpoint was used after it was closed."""


class _Endpoint:
    """What producers' and consumers' ends have in common."""

    _closed_exception: ClassVar[type[IterableQueueException]]

    def __init__(self, shared: Database, number: int) -> None:
        self._shared = shared
        self._number = number
        self._maker = os.getpid()
        self._holder = 0
        self._closed = False

    def __getstate__(self) -> dict[str, Any]:
        if get_spawning_popen() is None:  # it is sent to a process that is there already
            self._shared.set(self._number, "sent", 1)
        return {**self.__dict__, "_holder": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if os.getpid() != self._maker:
            self._use()

    def __del__(self) -> None:
        if self._maker == os.getpid() and not self._holder and not self._closed:
            try:
                self._shared.set(self._number, "released", 1)
            except (sqlite3.Error, IterableQueueException):
                return  # the queue itself is gone

    def _use(self) -> None:
        if self._closed:
            raise self._closed_exception(f"this {type(self).__name__} was closed")
        if self._holder != os.getpid():
            self._shared.hold(self._number)
            self._holder = os.getpid()

    def qsize(self) -> int:
        """How many items wait."""
        self._use()
        return self._shared.size()

    def empty(self) -> bool:
        """True when no item waits now."""
        return self.qsize() == 0

    def full(self) -> bool:
        """True when ``maxsize`` items wait."""
        return 0 < self._shared.maxsize() <= self.qsize()

    def close(self) -> None:
        """This end will not be used any more; closing again does nothing."""
        if not self._closed:
            self._shared.set(self._number, "open", 0)
            self._closed = True

    def _looks(self, block: bool, timeout: float | None) -> Iterator[None]:
        """Once, then again and again until the time is over; the dead are counted out meanwhile."""
        end = None if timeout is None else time.monotonic() + max(0.0, timeout)
        pause, checked = _LOOK_SECONDS[0], 0.0
        while True:
            yield
            now = time.monotonic()
            if not block or (end is not None and now >= end):
                return
            if now - checked > _DEAD_SECONDS:
                self._shared.count_out_the_dead()
                checked = now
            time.sleep(pause if end is None else min(pause, end - now))
            pause = min(2 * pause, _LOOK_SECONDS[1])


class ProducerQueue(_Endpoint):
    """The end that items are put in at.  Call ``close()`` when there are no more."""

    _closed_exception = ProducerQueueClosedException

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put ``item`` in; waits ``timeout`` seconds for room, then raises Full.

        Once every consumer has ended, items are dropped: nobody could take them.
        """
        self._use()
        try:
            value = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        except Exception:
            value = by_value.dumps(item)
        for _ in self._looks(block, timeout):
            if self._shared.put(value):
                return
        raise Full(f"the queue holds {self._shared.maxsize()} items, its maxsize")

    def put_nowait(self, item: Any) -> None:
        """``put`` without waiting for room."""
        self.put(item, block=False)

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """Not here: only a ConsumerQueue can get."""
        raise NotImplementedError("a producer cannot get: ask the IterableQueue for get_consumer()")

    get_nowait = get


class ConsumerQueue(_Endpoint):
    """The end that items are taken from: iterate over it; it ends when no more can come."""

    _closed_exception = ConsumerQueueClosedException

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self.get()
        except Done:
            raise StopIteration from None

    def next(self, timeout: float | None = None) -> Any:
        """The next item; raises StopIteration at the end, Empty after ``timeout`` seconds."""
        try:
            return self.get(timeout=timeout)
        except Done:
            raise StopIteration from None

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next item.  Raises Empty when there is none for now, Done when none can come."""
        self._use()
        for _ in self._looks(block, timeout):
            value = self._shared.take()
            if value is not None:
                return pickle.loads(value)
        raise Empty("no item came in time")

    def get_nowait(self) -> Any:
        """``get`` without waiting."""
        return self.get(block=False)

    def put(self, *args: Any, **kwargs: Any) -> None:
        """Not here: only a ProducerQueue can put."""
        raise NotImplementedError("a consumer cannot put: ask the IterableQueue for get_producer()")

    put_nowait = put


class IterableQueue:
    """Makes the two kinds of ends of one queue; close it when all are made.

    maxsize: items that may wait at once; 0: any number.

        iq = IterableQueue()
        Process(target=produce, args=(iq.get_producer(),)).start()
        Process(target=consume, args=(iq.get_consumer(),)).start()
        iq.close()

    Processes that die are counted out; consumers may stop early.
    """

    def __init__(self, maxsize: int = 0) -> None:
        directory = tempfile.mkdtemp(prefix="clusterfutures-queue-")
        self._shared = Database(directory)
        self._shared.create(maxsize)
        self._maker = os.getpid()
        # priority below 0: after multiprocessing has joined the children, who still use it
        util.Finalize(None, shutil.rmtree, args=(directory, True), exitpriority=-100)

    def __del__(self) -> None:
        if getattr(self, "_maker", 0) == os.getpid():
            try:
                self._shared.close()
            except (sqlite3.Error, IterableQueueException):
                return  # removed already

    def get_producer(self) -> ProducerQueue:
        """A new end to put items in at, for one process."""
        return ProducerQueue(self._shared, self._shared.add("producer"))

    def get_consumer(self) -> ConsumerQueue:
        """A new end to take items from, for one process."""
        return ConsumerQueue(self._shared, self._shared.add("consumer"))

    def close(self) -> None:
        """No more ends will be asked for; without this, consumers wait for more producers."""
        self._shared.close()
