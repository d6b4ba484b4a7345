"""One question for all programs: the states of jobs, shared by a user's programs on a host.

    program --recent_states(ids, max_age)--> [lock] --old--> scheduler.states(everybody's ids)
       ^                                       |                        |
       +------ what is there, and its time ----+<----- published -------+

Each program says which jobs it wants to know about.  The program that finds the last answer older
than ``max_age`` requests the jobs of all of them, with one command, and leaves the answer
in a file for the others.  An id that the last answer does not hold is left out of the
reply and is in the next question, so that a new program costs no command of its own.  The
reply carries the time of its question (monotonic, the same for all programs of a host): a
job submitted after it must not be judged by it.  A failure is shared like an answer.

Nor may all of them ask too often: the file holds a ``Budget`` of questions as well
(``rhythm.py``).  When it is used up the last answer must do, and the reply says from when on
there may be another.

The file lives in ``<temporary directory>/clusterfutures-<uid>`` or ``$CLUSTERFUTURES_CACHE``,
which must be ours alone (0700), else it is not used and each program sends its own requests; one file
for each cluster and each boot of the host.  The program that makes a new one removes those that no program
has used for a week.  The lock is the kernel's (``flock``): it goes with a program that is
killed.  One that is suspended with it holds up the others for ``STUCK_SECONDS`` at most.

Users of the cached question: ``Scheduler.recent_states``; nobody else calls this module.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from clusterfutures.errors import SchedulerUnavailable
from clusterfutures.schedulers.job_state import Answer, JobState, JobStatus
from clusterfutures.schedulers.polling import Budget

__all__ = ["STUCK_SECONDS", "recent_array_limit", "recent_states"]

log = logging.getLogger("clusterfutures")

#: how long to wait for another program that is asking
LOCK_SECONDS = 5.0
#: the age of an answer from which on a lock that is held is no reason to wait
STUCK_SECONDS = 90.0
#: who comes a moment too early, by the rounding of its clock, does not wait for another round
ROUNDING_SECONDS = 0.01
#: how long jobs stay in the question without anybody wanting to know
INTEREST_SECONDS = 600.0
#: how long an answer about the site's limits is used
LIMIT_SECONDS = 3600.0
#: how long files stay that nobody uses
KEEP_SECONDS = 7 * 24 * 3600.0


class Source(Protocol):
    """What is asked: a scheduler."""

    attempts: int

    def question_key(self) -> str: ...
    def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]: ...
    def array_limit(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _Record:
    """The file's content.  ``wanted``: id -> when somebody last wanted to know."""

    asked_at: float = float("-inf")
    error: str = ""
    states: dict[str, JobStatus] = field(default_factory=dict)
    wanted: dict[str, float] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    array_limit: int = 0
    limit_at: float = float("-inf")


def recent_states(
    scheduler: Source,
    job_ids: Iterable[str],
    max_age: float,
    clock: Callable[[], float] = time.monotonic,
    urgent: bool = False,
) -> Answer:
    """The states of ``job_ids`` from an answer of at most ``max_age`` seconds, or the last one
    that the budget allows; with ``urgent`` it allows more.

    Raises SchedulerUnavailable when the scheduler does not answer, or did not answer
    another program just now.
    """
    ids = list(job_ids)
    path = _path(scheduler.question_key())
    if path is None:
        asked_at = clock()
        return Answer(scheduler.states(ids), asked_at)
    with _locked(path) as mine:
        record = _read(path, clock())
        if not mine and clock() - record.asked_at < STUCK_SECONDS:
            return _reply(record, ids, 0.0)  # somebody is asking just now: the last answer must do
        record = replace(record, wanted=_still_wanted(record, ids, clock()), budget=record.budget.later(clock()))
        if clock() - record.asked_at >= max_age - ROUNDING_SECONDS and not record.budget.wait(urgent):
            record = _ask(scheduler, record, clock)
        _write(path, record)
    return _reply(record, ids, clock() + record.budget.wait(urgent=False))


def recent_array_limit(scheduler: Source, clock: Callable[[], float] = time.monotonic) -> int:
    """``scheduler.array_limit()``, asked once an hour by all programs."""
    path = _path(scheduler.question_key())
    if path is None:
        return scheduler.array_limit()
    with _locked(path):
        record = _read(path, clock())
    if record.array_limit and clock() - record.limit_at < LIMIT_SECONDS:
        return record.array_limit
    limit = scheduler.array_limit()
    with _locked(path):
        _write(path, replace(_read(path, clock()), array_limit=limit, limit_at=clock()))
    return limit


def _still_wanted(record: _Record, ids: Iterable[str], now: float) -> dict[str, float]:
    recent = {job_id: at for job_id, at in record.wanted.items() if now - at < INTEREST_SECONDS}
    return recent | dict.fromkeys(ids, now)


def _ask(scheduler: Source, record: _Record, clock: Callable[[], float]) -> _Record:
    """A question that failed is not repeated at once while the one before has failed too."""
    asked_at, tries = clock(), scheduler.attempts
    scheduler.attempts = 1 if record.error else tries
    try:
        states = scheduler.states(record.wanted)
    except SchedulerUnavailable as error:
        cost = record.budget.spend(scheduler.attempts)
        return replace(record, asked_at=asked_at, error=str(error), budget=cost)
    finally:
        scheduler.attempts = tries
    return replace(record, asked_at=asked_at, error="", states=states, budget=record.budget.spend(1))


def _reply(record: _Record, ids: Iterable[str], again_at: float) -> Answer:
    if record.error:
        raise SchedulerUnavailable(message=record.error)
    found = {job_id: record.states[job_id] for job_id in ids if job_id in record.states}
    return Answer(found, record.asked_at, again_at)


# ----------------------------------------------------------------------------- the file


def _path(key: str) -> str | None:
    """The file of this cluster; None when there is no directory that can be trusted."""
    directory = os.environ.get("CLUSTERFUTURES_CACHE") or os.path.join(
        tempfile.gettempdir(), f"clusterfutures-{os.getuid()}"
    )
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        found, above = os.lstat(directory), os.stat(os.path.dirname(os.path.abspath(directory)))
    except OSError as error:
        log.info("%s cannot be used, this program asks the scheduler for itself: %s", directory, error)
        return None
    is_open = above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX
    if is_open or not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        log.info("%s is not ours alone: this program asks the scheduler for itself", directory)
        return None
    with open("/proc/sys/kernel/random/boot_id") as boot:
        name = hashlib.sha256(f"{boot.read()}{key}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return os.path.join(directory, name)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[bool]:
    """Yields False when another program has held the lock for too long.

    Where the file system has no locks, or no space for one, it goes on without: what is written is replaced in one
    step, so two programs at a time ask twice, and nothing else.
    """
    descriptor = None if path in _without_locks else _open_lock(path)
    if descriptor is None:
        yield True
        return
    try:
        yield _lock(path, descriptor)
    finally:
        os.close(descriptor)


#: files without working locks
_without_locks: set[str] = set()


def _open_lock(path: str) -> int | None:
    """Return the open file to lock; None when there can be none."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(f"{path}.lock", flags, 0o600)
    except OSError as error:
        _go_without(path, error)
        return None


def _lock(path: str, descriptor: int) -> bool:
    """Lock an open file, for as long as it is open; False when another program keeps its lock for too long."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            if time.monotonic() > deadline:
                log.info("another program is asking the scheduler, and has been for %g s", LOCK_SECONDS)
                return False
            time.sleep(0.01)
        except OSError as error:
            _go_without(path, error)
            return True
        else:
            return True


def _go_without(path: str, error: OSError) -> None:
    """Locks do not work here: say it once, and try none again, unless only the descriptors were used up."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        log.info("%s cannot be locked for now: %s", path, error)
        return
    _without_locks.add(path)
    log.warning(
        "clusterfutures: %s cannot be locked (%s): this program asks the scheduler without waiting for others. Set "
        "CLUSTERFUTURES_CACHE to a directory of yours on a file system with locks",
        path,
        error.strerror,
    )


def _read(path: str, now: float) -> _Record:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            content: dict[str, Any] = json.load(file)
        states = {
            job_id: JobStatus(**fields | {"state": JobState(fields["state"])})
            for job_id, fields in content.pop("states").items()
        }
        record = _Record(states=states, budget=Budget(*content.pop("budget")), **content)
    except FileNotFoundError:
        _sweep(os.path.dirname(path))
        return _Record()
    except (OSError, ValueError, TypeError, KeyError) as error:  # of another version, or damaged
        log.info("%s cannot be read, the scheduler is asked anew: %s", path, error)
        return _Record()
    return record if record.asked_at <= now else _Record()


def _sweep(directory: str) -> None:
    """Remove old files: of clusters, boots and programs that no longer exist."""
    oldest = time.time() - KEEP_SECONDS
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime < oldest:
                    os.unlink(entry.path)


def _write(path: str, record: _Record) -> None:
    states = {job_id: asdict(status) | {"state": status.state.value} for job_id, status in record.states.items()}
    content = {
        name: getattr(record, name) for name in ("asked_at", "error", "wanted", "budget", "array_limit", "limit_at")
    }
    content["states"] = states
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(path), delete=False, encoding="utf-8",
                                         errors="surrogateescape") as file:  # fmt: skip
            temporary = file.name
            json.dump(content, file)
        os.replace(temporary, path)
    except OSError as error:  # no space, most likely: each program sends its own requests, then
        log.info("%s cannot be written: %s", path, error)
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
