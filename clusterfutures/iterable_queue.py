"""``IterableQueue``: a queue between processes that knows when no more will come.

    producers --put--> items --iterate--> consumers       all of one machine
                        |
        endpoints: who may still put, who may still take, which process holds each

Everything is in one SQLite database in a temporary directory: its transactions survive
the death of any process at any moment, where a lock or a pipe shared by all would not.
Who waits looks again after a few milliseconds, and now and then looks whether the
processes that hold the other endpoints still live: the dead are counted out.

The process that uses an endpoint first holds it.  One that died before its first use is
known by three signs: nobody holds the endpoint, its maker has let go of it, and its maker
has no child left that could still be the holder.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import util
from queue import Empty, Full
from typing import Any, ClassVar

import cloudpickle

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

_SCHEMA = """
create table item (id integer primary key autoincrement, value blob not null);
create table endpoint (id integer primary key, kind text, pid int, start int, open int, released int);
create table queue (maxsize int, closed int, pid int, start int);
"""
_LOOK_SECONDS = (0.0005, 0.02)
_DEAD_SECONDS = 0.2
_BUSY_SECONDS = 60.0


class IterableQueueException(Exception):
    """Base of what goes wrong with an IterableQueue."""


class ProducerQueueClosedException(IterableQueueException):
    """The producer endpoint was used after it was closed."""


class ConsumerQueueClosedException(IterableQueueException):
    """The consumer endpoint was used after it was closed."""


class IterableQueueIllegalStateException(IterableQueueException):
    """Endpoints were asked of a queue that is closed."""


class Done(IterableQueueException):
    """The queue is empty, and no more will come."""


# ------------------------------------------------------------------------ processes


def _start_of(pid: int) -> int | None:
    """When a process started, in the kernel's ticks; None when it does not live."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _lives(pid: int, start: int) -> bool:
    return _start_of(pid) == start


def _children(parent: int) -> set[int]:
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if b"multiprocessing.resource_tracker" in file.read():
                    continue  # multiprocessing's own, it holds nothing
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] not in (b"Z", b"X"):
            found.add(int(name))
    return found


# ------------------------------------------------------------------------- database


class _Shared:
    """The database, opened anew in every process and thread."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Shared, (self.directory,)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one process at a time."""
        connection = self._connection()
        connection.execute("begin immediate")
        try:
            yield connection
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")

    def _connection(self) -> sqlite3.Connection:
        if getattr(self._local, "pid", None) != os.getpid():  # a connection must not cross a fork
            self._local.inherited = getattr(self._local, "connection", None)
            path = os.path.join(self.directory, "queue.db")
            if not os.path.exists(path):
                raise IterableQueueIllegalStateException("the process that made this queue has ended, and the queue")
            self._local.connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._local.connection.execute("pragma synchronous=off")
            self._local.pid = os.getpid()
        connection: sqlite3.Connection = self._local.connection
        return connection

    def create(self, maxsize: int) -> None:
        path = os.path.join(self.directory, "queue.db")
        with sqlite3.connect(path) as connection:
            connection.execute("pragma journal_mode=wal")
            connection.executescript(_SCHEMA)
            values = (maxsize, 0, os.getpid(), _start_of(os.getpid()))
            connection.execute("insert into queue values (?, ?, ?, ?)", values)
        connection.close()

    def add(self, kind: str) -> int:
        with self.transaction() as db:
            if db.execute("select closed from queue").fetchone()[0]:
                raise IterableQueueIllegalStateException(
                    f"no {kind} can be had from a closed queue: ask for all endpoints, then call close()"
                )
            made = db.execute("insert into endpoint (kind, open, released) values (?, 1, 0)", (kind,))
            return int(made.lastrowid or 0)

    def hold(self, endpoint: int) -> None:
        """This process is the one that uses ``endpoint``."""
        with self.transaction() as db:
            (pid, start) = db.execute("select pid, start from endpoint where id=?", (endpoint,)).fetchone()
            if pid is None or not _lives(pid, start):
                values = (os.getpid(), _start_of(os.getpid()), endpoint)
                db.execute("update endpoint set pid=?, start=? where id=?", values)

    def set(self, endpoint: int, column: str, value: int) -> None:
        with self.transaction() as db:
            db.execute(f"update endpoint set {column}=? where id=?", (value, endpoint))

    def close(self) -> None:
        with self.transaction() as db:
            db.execute("update queue set closed=1")

    def size(self) -> int:
        return int(self._connection().execute("select count(*) from item").fetchone()[0])

    def maxsize(self) -> int:
        return int(self._connection().execute("select maxsize from queue").fetchone()[0])

    def put(self, value: bytes) -> bool:
        """False when the queue is full.  Nobody left to take it: dropped."""
        with self.transaction() as db:
            maxsize, closed = db.execute("select maxsize, closed from queue").fetchone()
            if closed and not _open(db, "consumer"):
                return True
            if maxsize > 0 and db.execute("select count(*) from item").fetchone()[0] >= maxsize:
                return False
            db.execute("insert into item (value) values (?)", (value,))
        return True

    def take(self) -> bytes | None:
        """The oldest item; None when there is none now.  Raises Done."""
        with self.transaction() as db:
            row = db.execute("select id, value from item order by id limit 1").fetchone()
            if row is None:
                if db.execute("select closed from queue").fetchone()[0] and not _open(db, "producer"):
                    raise Done("the queue is empty, and no producer is left")
                return None
            db.execute("delete from item where id=?", (row[0],))
        return bytes(row[1])

    def count_out_the_dead(self) -> None:
        with self.transaction() as db:
            maker, start = db.execute("select pid, start from queue").fetchone()
            maker_lives = _lives(maker, start)
            if not maker_lives:
                db.execute("update queue set closed=1")
            rows = db.execute("select id, pid, start, released from endpoint where open").fetchall()
            held = {pid for _, pid, _, _ in rows if pid is not None}
            possible = _children(maker) - held if maker_lives and len(held) < len(rows) else set()
            for number, pid, began, released in rows:
                nobody = pid is None and not possible and (released or not maker_lives)
                if nobody or (pid is not None and not _lives(pid, began)):
                    db.execute("update endpoint set open=0 where id=?", (number,))


def _open(db: sqlite3.Connection, kind: str) -> int:
    return int(db.execute("select count(*) from endpoint where open and kind=?", (kind,)).fetchone()[0])


# ------------------------------------------------------------------------ endpoints


class _Endpoint:
    """What producers' and consumers' ends have in common."""

    _closed_exception: ClassVar[type[IterableQueueException]]

    def __init__(self, shared: _Shared, number: int) -> None:
        self._shared = shared
        self._number = number
        self._maker = os.getpid()
        self._holder = 0
        self._closed = False

    def __getstate__(self) -> dict[str, Any]:
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
            value = cloudpickle.dumps(item)
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
        self._shared = _Shared(directory)
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
