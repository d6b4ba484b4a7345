"""The file that holds all jobs of the queue: SQLite, one row each.

    column              written by
    state ... ended     the keeper alone; a submission says "pending"
    ending              "" | "cancel" | "kill" by the program that ends the job, "time" by the keeper
    the rest            the submission, and never changed; ``environment`` is emptied at the end

A transaction is whole or not there, even if its process is killed.  Ids count up from 1 and are
never used twice.  ``VERSION`` is that of the columns: an older file is brought up to it, a
newer one is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from clusterfutures.errors import SchedulerUnavailable, StoreError
from clusterfutures.schedulers.base import Dependency
from clusterfutures.schedulers.job_state import JobState

__all__ = ["KEEP_JOBS", "KEEP_SECONDS", "VERSION", "Ending", "Row", "Table"]

VERSION = 2
#: how long jobs that have ended are listed, in seconds, and how many of them at most
KEEP_SECONDS = 7 * 86400.0
KEEP_JOBS = 10_000

_BUSY_SECONDS = 60.0
#: the most ids in one question: an old SQLite takes 999
_AT_ONCE = 500
_SCHEMA = """
create table job (
    id integer primary key autoincrement, name text not null, cores integer not null, memory integer, time real,
    script text not null, shell text not null, log text not null, place integer not null, umask integer not null,
    environment text not null, after text not null, submitted real not null,
    state text not null, ending text not null default '', given integer, attempt integer not null default 0,
    boot text not null default '', started real, deadline real, ended real,
    exit_code integer, signal integer, reason text not null default '', local_cores integer);
create index job_by_name on job (name);
create index job_open on job (id) where ended is null;
create index job_ended on job (ended);
"""


class Row(NamedTuple):
    """One job.  The columns of the table, in order, as Python has them."""

    id: int
    name: str
    cores: int  # asked for
    memory: int | None
    time: float | None
    script: str
    shell: str
    log: str  # the path, whole
    place: int  # its index in the array
    umask: int
    environment: str  # of the submitter, as JSON; "{}" when the job has ended; "" where it was not asked for
    after: tuple[Dependency, ...]
    submitted: float
    state: JobState
    ending: str
    given: int | None  # cores that it runs on
    attempt: int
    boot: str  # of the machine, when it started
    started: float | None
    deadline: float | None  # monotonic, of that boot
    ended: float | None
    exit_code: int | None
    signal: int | None
    reason: str
    local_cores: int | None  # what it and others that say so may have together


class Ending(NamedTuple):
    """How a job has ended."""

    job_id: int
    state: JobState
    ended: float
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""


class Table:
    """The jobs in ``directory``.  Raises StoreError when the file cannot be used."""

    def __init__(self, directory: str) -> None:
        self.path = os.path.join(directory, "queue.db")
        with self._explained():
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            os.close(descriptor)
            self._db = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._db.execute("pragma synchronous = normal")
                self._bring_up()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _bring_up(self) -> None:
        """Make the tables, or refuse those of a newer version."""
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version == VERSION:
            return
        if version > VERSION:
            raise StoreError(
                message=f"{self.path} is of a newer clusterfutures (version {version} of the file, here {VERSION}): "
                "use that one, or set XDG_STATE_HOME to another directory",
                path=self.path,
            )
        with _alone(os.path.dirname(self.path)):
            self._db.execute("pragma journal_mode = wal")
            (version,) = self._db.execute("pragma user_version").fetchone()
            if version == 0:
                with self._transaction():
                    for statement in _SCHEMA.split(";")[:-1]:
                        self._db.execute(statement)
                    self._db.execute(f"pragma user_version = {VERSION}")
            elif version == 1:
                with self._transaction():
                    self._db.execute("alter table job add column local_cores integer")
                    self._db.execute(f"pragma user_version = {VERSION}")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                raise SchedulerUnavailable(message=f"{self.path} was in use for {_BUSY_SECONDS:g} s") from error
            raise StoreError(
                message=f"the queue of this machine, {self.path}, cannot be used: {error}. Is there space left? Can "
                "files be locked there? Else set XDG_STATE_HOME to a directory on a local disk. If it is damaged, move "
                "its directory away: running jobs go on, what waited has to be submitted again",
                path=self.path,
            ) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            self._db.execute("begin immediate")
            try:
                yield self._db
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise

    # ------------------------------------------------------------------ for programs

    def add(self, rows: Sequence[dict[str, Any]], after: Sequence[Dependency]) -> list[int]:
        """Submit jobs that all wait for ``after``; their ids.  Raises KeyError for a dependency that is not here."""
        with self._transaction() as db:
            for one in after:
                if (
                    not one.job_id.isdecimal()
                    or not db.execute("select 1 from job where id = ?", [one.job_id]).fetchone()
                ):
                    raise KeyError(one.job_id)
            return [self._insert(row | {"after": json.dumps(after), "state": JobState.PENDING.value}) for row in rows]

    def _insert(self, values: dict[str, Any]) -> int:
        marks = ", ".join("?" * len(values))
        done = self._db.execute(f"insert into job ({', '.join(values)}) values ({marks})", [*values.values()])
        assert done.lastrowid is not None
        return done.lastrowid

    def ask_to_end(self, ids: Iterable[int], ending: str) -> bool:
        """Note that jobs are to end: "cancel", or "kill", which is stronger.  False when all have ended."""
        with self._transaction() as db:
            changed = db.executemany(
                "update job set ending = ? where id = ? and ended is null and ending in ('', 'cancel')",
                [(ending, job_id) for job_id in ids],
            )  # fmt: skip
        return changed.rowcount > 0

    def jobs(self, where: str = "1", values: Sequence[Any] = (), *, environment: bool = False) -> list[Row]:
        """The jobs for which a condition of SQL holds, in order.  environment: with that, which is large."""
        columns = ", ".join(name if environment or name != "environment" else "''" for name in Row._fields)
        with self._explained():
            return [
                _row(one) for one in self._db.execute(f"select {columns} from job where {where} order by id", values)
            ]

    def with_ids(self, ids: Iterable[int], *, environment: bool = False) -> list[Row]:
        """The jobs with these ids, of those that are here."""
        wanted = sorted(set(ids))
        found: list[Row] = []
        for begin in range(0, len(wanted), _AT_ONCE):
            some = wanted[begin : begin + _AT_ONCE]
            found += self.jobs(f"id in ({', '.join('?' * len(some))})", some, environment=environment)
        return found

    def has_open_jobs(self) -> bool:
        """True when a job waits or runs."""
        with self._explained():
            return self._db.execute("select 1 from job where ended is null limit 1").fetchone() is not None

    # ---------------------------------------------------------------- for the keeper

    def change_count(self) -> int:
        """A number that changes when another process has changed the file."""
        with self._explained():
            return int(self._db.execute("pragma data_version").fetchone()[0])

    def begin(self, given: dict[int, int], boot: str, started: float, monotonic: float) -> list[Row]:
        """Note that jobs start now, on so many cores each; those that were not called off in the meantime."""
        with self._transaction() as db:
            db.executemany(
                "update job set state = 'running', given = ?, boot = ?, started = ?, deadline = ? + time, "
                "attempt = attempt + 1 where id = ? and state = 'pending' and ending = ''",
                [(cores, boot, started, monotonic, job_id) for job_id, cores in given.items()],
            )  # fmt: skip
        return [row for row in self.with_ids(given, environment=True) if row.state is JobState.RUNNING]

    def take_back(self, job_id: int) -> None:
        """A job that was noted as started was not: it waits again."""
        with self._transaction() as db:
            db.execute("update job set state = 'pending', started = null, deadline = null where id = ?", [job_id])

    def end(self, endings: Iterable[Ending]) -> None:
        """Note how jobs have ended."""
        with self._transaction() as db:
            db.executemany(
                "update job set state = ?, ended = ?, exit_code = ?, signal = ?, reason = ?, environment = '{}' "
                "where id = ? and ended is null",
                [(one.state.value, one.ended, one.exit_code, one.signal, one.reason, one.job_id) for one in endings],
            )  # fmt: skip

    def prune(self, now: float) -> None:
        """Forget jobs that have ended long ago, and the oldest when there are too many; not what others wait for."""
        old = "select id from job where ended < ?"
        many = "select id from job where ended is not null order by ended desc, id desc limit -1 offset ?"
        with self._transaction() as db:
            waited_for = {int(one.job_id) for row in self.jobs("ended is null") for one in row.after}
            found = db.execute(f"{old} union select id from ({many})", [now - KEEP_SECONDS, KEEP_JOBS]).fetchall()
            db.executemany("delete from job where id = ?", [one for one in found if one[0] not in waited_for])


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """One process at a time: two that make the same file disturb each other."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _row(values: tuple[Any, ...]) -> Row:
    row = Row._make(values)
    return row._replace(
        after=tuple(Dependency(*pair) for pair in json.loads(values[11])),
        state=JobState(values[13]),
    )
