"""One question for all programs: the states of jobs, shared by a user's programs on a host.

    program --recent_states(ids, max_age)--> [lock] --old--> scheduler.states(everybody's ids)
       ^                                       |                        |
       +------ what is there, and its time ----+<----- published -------+

Each program says which jobs it wants to know about.  Whoever finds the last answer older
than ``max_age`` asks for the jobs of all of them, with one command, and leaves the answer
in a file for the others.  An id that the last answer does not hold is left out of the
reply and is in the next question, so that a new program costs no command of its own.  The
reply carries the time of its question (monotonic, the same for all programs of a host): a
job submitted after it must not be judged by it.  A failure is shared like an answer.

The file lives in ``<temporary directory>/clusterfutures-<uid>``, which must be ours alone
(0700), else it is not used and everybody asks for himself; one file for each cluster and
each boot of the host.  The lock is the kernel's (``flock``): it goes with a program that is
killed.  One that is suspended with it holds up the others for ``STUCK_SECONDS`` at most.

Users of the cached question: ``Scheduler.recent_states``; nobody else calls this module.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from clusterfutures.errors import SchedulerUnavailable
from clusterfutures.schedulers.base import Answer, JobState, JobStatus, Scheduler

__all__ = ["STUCK_SECONDS", "recent_states"]

log = logging.getLogger("clusterfutures")

#: how long to wait for another program that is asking
LOCK_SECONDS = 5.0
#: the age of an answer from which on a lock that is held is no reason to wait
STUCK_SECONDS = 90.0
#: how long jobs stay in the question without anybody wanting to know
INTEREST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Record:
    """The file's content.  ``wanted``: id -> when somebody last wanted to know."""

    asked_at: float = float("-inf")
    error: str = ""
    states: dict[str, JobStatus] = field(default_factory=dict)
    wanted: dict[str, float] = field(default_factory=dict)


def recent_states(
    scheduler: Scheduler, job_ids: Iterable[str], max_age: float, clock: Callable[[], float] = time.monotonic
) -> Answer:
    """The states of ``job_ids`` from an answer of at most ``max_age`` seconds.

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
            return _reply(record, ids)  # somebody is asking just now: the last answer must do
        record = replace(record, wanted=_still_wanted(record, ids, clock()))
        if clock() - record.asked_at >= max_age:
            record = _ask(scheduler, record, clock)
        _write(path, record)
    return _reply(record, ids)


def _still_wanted(record: _Record, ids: Iterable[str], now: float) -> dict[str, float]:
    recent = {job_id: at for job_id, at in record.wanted.items() if now - at < INTEREST_SECONDS}
    return recent | dict.fromkeys(ids, now)


def _ask(scheduler: Scheduler, record: _Record, clock: Callable[[], float]) -> _Record:
    asked_at = clock()
    try:
        states = scheduler.states(record.wanted)
    except SchedulerUnavailable as error:
        return replace(record, asked_at=asked_at, error=str(error))
    return replace(record, asked_at=asked_at, error="", states=states)


def _reply(record: _Record, ids: Iterable[str]) -> Answer:
    if record.error:
        raise SchedulerUnavailable(message=record.error)
    return Answer({job_id: record.states[job_id] for job_id in ids if job_id in record.states}, record.asked_at)


# ----------------------------------------------------------------------------- the file


def _path(key: str) -> str | None:
    """The file of this cluster; None when there is no directory that can be trusted."""
    directory = os.path.join(tempfile.gettempdir(), f"clusterfutures-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        log.info("%s is not ours alone: this program asks the scheduler for itself", directory)
        return None
    with open("/proc/sys/kernel/random/boot_id") as boot:
        name = hashlib.sha256(f"{boot.read()}{key}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return os.path.join(directory, name)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[bool]:
    """Yields False when another program has held the lock for too long."""
    from filelock import FileLock, Timeout

    lock = FileLock(f"{path}.lock", timeout=LOCK_SECONDS, mode=0o600, poll_interval=0.01)
    try:
        lock.acquire()
    except Timeout:
        log.info("another program is asking the scheduler, and has been for %g s", LOCK_SECONDS)
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _read(path: str, now: float) -> _Record:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            content: dict[str, Any] = json.load(file)
        states = {
            job_id: JobStatus(**fields | {"state": JobState(fields["state"])})
            for job_id, fields in content.pop("states").items()
        }
        record = _Record(states=states, **content)
    except FileNotFoundError:
        return _Record()
    except (ValueError, TypeError, KeyError) as error:  # of another version, or damaged
        log.info("%s cannot be read, the scheduler is asked anew: %s", path, error)
        return _Record()
    return record if record.asked_at <= now else _Record()


def _write(path: str, record: _Record) -> None:
    states = {job_id: asdict(status) | {"state": status.state.value} for job_id, status in record.states.items()}
    content = {"asked_at": record.asked_at, "error": record.error, "states": states, "wanted": record.wanted}
    with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(path), delete=False, encoding="utf-8",
                                     errors="surrogateescape") as file:  # fmt: skip
        json.dump(content, file)
    os.replace(file.name, path)
