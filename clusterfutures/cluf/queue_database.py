"""The database of one ``IterableQueue``: items, and who holds which endpoint.

    put, take --> item                                        one transaction each
    hold, set --> endpoint <-- count_out_the_dead: do the processes that hold them still live?

Its transactions survive the death of any process at any moment.  A process that died
before the first use of its endpoint is known by three signs: nobody holds the endpoint, its
maker has let go of it, and its maker has no child left that could still be the holder: one
that is younger than the endpoint, or any, when the endpoint was sent to one (of a pool, say).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "ConsumerQueueClosedException",
    "Database",
    "Done",
    "IterableQueueException",
    "IterableQueueIllegalStateException",
]

_SCHEMA = """
create table item (id integer primary key autoincrement, value blob not null);
create table endpoint
    (id integer primary key, kind text, made int, pid int, start int, open int, released int, sent int);
create table queue (maxsize int, closed int, pid int, start int);
"""
_BUSY_SECONDS = 60.0

#: held while SQLite works: a child that another thread forks in the middle of that would wait for it for ever
_at_work = threading.RLock()
os.register_at_fork(before=_at_work.acquire, after_in_parent=_at_work.release, after_in_child=_at_work.release)


class IterableQueueException(Exception):
    """Base of what goes wrong with an IterableQueue."""


class IterableQueueIllegalStateException(IterableQueueException):
    """Endpoints were asked of a queue that is closed."""


class ConsumerQueueClosedException(IterableQueueException):
    """The consumer endpoint was used after it was closed."""


class Done(ConsumerQueueClosedException):
    """The queue is empty, and no more will come."""


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


def _now() -> int:
    """The time on the clock of ``_start_of``."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def _children(parent: int) -> dict[int, int]:
    """The living children of a process that may hold an endpoint, and when each started; those of its fork
    server are its own.  That server and the resource tracker are multiprocessing's, and hold nothing."""
    started: dict[int, int] = {}
    parents: dict[int, int] = {}
    servers = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            with open(f"/proc/{name}/cmdline", "rb") as file:
                line = file.read()
        except OSError:
            continue
        if fields[0] in (b"Z", b"X") or b"multiprocessing.resource_tracker" in line:
            continue
        started[int(name)], parents[int(name)] = int(fields[19]), int(fields[1])
        if b"multiprocessing.forkserver" in line and int(fields[1]) == parent:
            servers.add(int(name))
    above = {parent, *servers}
    return {pid: start for pid, start in started.items() if parents[pid] in above and pid not in servers}


class _Connection(sqlite3.Connection):
    """Closes itself when it is dropped, where Python 3.13 and later warn of one that was left open."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._opened_by = os.getpid()

    def __del__(self) -> None:
        if self._opened_by == os.getpid():  # a forked child closes nothing of its parent's
            with _at_work:  # SQLite works here as well, in whichever thread drops the connection
                self.close()


class Database:
    """The database, opened anew in every process and thread."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return Database, (self.directory,)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one process at a time."""
        with _at_work:
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
            self._local.connection = sqlite3.connect(
                path,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,  # one thread uses it, but another one may drop it
                factory=_Connection,
            )
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
            values = (kind, _now())
            made = db.execute("insert into endpoint (kind, made, open, released, sent) values (?, ?, 1, 0, 0)", values)
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
        return self._number("select count(*) from item")

    def maxsize(self) -> int:
        return self._number("select maxsize from queue")

    def _number(self, question: str) -> int:
        with _at_work:
            return int(self._connection().execute(question).fetchone()[0])

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
            rows = db.execute("select id, made, pid, start, released, sent from endpoint where open").fetchall()
            held = {pid for _, _, pid, _, _, _ in rows if pid is not None}
            children = _children(maker) if maker_lives and len(held) < len(rows) else {}
            free = [began for child, began in children.items() if child not in held]
            for number, made, pid, began, released, sent in rows:
                if pid is not None:
                    dead = not _lives(pid, began)
                else:
                    dead = (released or not maker_lives) and not any(sent or start >= made for start in free)
                if dead:
                    db.execute("update endpoint set open=0 where id=?", (number,))


def _open(db: sqlite3.Connection, kind: str) -> int:
    return int(db.execute("select count(*) from endpoint where open and kind=?", (kind,)).fetchone()[0])
