"""What is said when a job took calls with it: the facts, and what to try."""

from __future__ import annotations

import pickle
import re
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from clusterfutures.client.results import Place
from clusterfutures.errors import JobFailed, StoreError
from clusterfutures.options.retries import FREE, KILLED, Failure
from clusterfutures.schedulers.base import EXIT_NO_LOG, NO_LOG
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.store import records
from clusterfutures.store.bootstrap import EXIT_NO_CHECK_IN, EXIT_NO_SPACE
from clusterfutures.store.faults import advice
from clusterfutures.store.records import Record

if TYPE_CHECKING:
    from clusterfutures.client.state import Worker

__all__ = [
    "as_its_worker_tells", "executor_failed", "gone", "job_failed", "last_lines", "left", "not_made", "of_job",
    "of_record", "unreadable",
]  # fmt: skip

_TAIL_LINES = 10
#: what Slurm writes into the log of a job that it ends for its memory
_MEMORY = re.compile(r"exceeded (?:job )?memory limit|oom[-_ ]kill", re.IGNORECASE)

#: characters of an exception's text that are kept of an attempt that was followed by another
_LONGEST = 120
#: what a worker's start, and its end, may be seen late here by, in seconds
CLOCK_SECONDS = 1.0
#: how long after its last sign of life a worker may have died: it gives one every ten seconds
SIGN_SECONDS = 15.0
#: exit codes that the signals make with which a job is ended
_BY_SIGNAL = frozenset({128 + signal.SIGTERM, 128 + signal.SIGKILL})
_CAUSES = {
    JobState.TIMEOUT: "timeout",
    JobState.OUT_OF_MEMORY: "oom",
    JobState.NODE_FAIL: FREE,
    JobState.PREEMPTED: FREE,
}

_ADVICE = {
    JobState.TIMEOUT: "it reached its time limit: ask for more time=, or make each call shorter",
    JobState.OUT_OF_MEMORY: "it ran out of memory: ask for more memory=",
    JobState.CANCELLED: "it was cancelled from outside (scancel, qdel, an administrator)",
    JobState.NODE_FAIL: "its node failed: submit the call again",
    JobState.PREEMPTED: "it was preempted, or put back after its node was lost: submit the call again, or choose "
    "another partition= or qos=",
    JobState.GONE: "the scheduler does not know it any more, and it left no result: it may have been cancelled",
    JobState.UNKNOWN: "ask the scheduler about it when it answers again, and submit the call again",
}


def job_failed(status: JobStatus, place: Place | None, call: str, log: str, tail: str, started: bool) -> JobFailed:
    """Return the exception of a call after its job ended.

    started: the worker had come up; else something in the job's set-up is wrong.
    """
    state = _state(status, tail)
    advice = _ADVICE.get(state, "")
    if status.exit_code == EXIT_NO_SPACE:
        advice = "nothing could be written to the run directory for a minute (disk full, or read-only): free some "
        advice += "space there, or choose another directory="
    if status.exit_code in (EXIT_NO_CHECK_IN, EXIT_NO_LOG) or NO_LOG in status.reason:
        advice = "the node does not see the run directory, or may not write there: choose a directory= that all nodes "
        advice += "see under the same path"
    if started and state is JobState.COMPLETED:
        advice = (
            "it ended without the last word of its worker: the scheduler may have lost track of it, as after a crash "
        )
        advice += "of its own; submit the call again"
    if not started and not advice:
        advice = "it never started to work: see its log; is the interpreter (python=), and are clusterfutures and "
        advice += "cloudpickle, and the run directory there on the node?"
    return JobFailed(
        job_id=status.job_id or (place.job_id if place else ""),
        state=status.word or status.state.name,
        exit_code=status.exit_code,
        signal=status.signal,
        reason=status.reason,
        host=(place.host if place else "") or status.host,
        log=log,
        tail=tail,
        call=call,
        advice=advice,
    )


def as_its_worker_tells(status: JobStatus, worker: Worker, now: float) -> JobStatus:
    """How a job ended of which the scheduler does not tell it: a site may forget jobs at their end.

    Its time limit has passed by our clock, or its worker was near its memory limit.
    """
    ended_at = worker.ended_at or min(now, worker.alive_at + SIGN_SECONDS)
    if status.state is JobState.GONE and ended_at >= worker.limit_at - CLOCK_SECONDS:
        return replace(status, state=JobState.TIMEOUT, word="", reason="its time limit has passed")
    by_signal = status.state is JobState.FAILED and (status.signal or status.exit_code in _BY_SIGNAL)
    if worker.memory is None or not (status.state is JobState.GONE or by_signal):
        return status
    used, limit = (round(amount / 2**20) for amount in worker.memory)
    reason = f"it used {used} MB of the {limit} MB that it had asked for"
    return replace(status, state=JobState.OUT_OF_MEMORY, word="", reason=reason)


def _state(status: JobStatus, tail: str) -> JobState:
    """How the job ended, its own log considered."""
    if status.state is JobState.FAILED and _MEMORY.search(tail):
        return JobState.OUT_OF_MEMORY
    return status.state


def of_job(status: JobStatus, place: Place, tail: str) -> Failure:
    """Why an attempt ended that its job took with it."""
    how = f"job {status.job_id or place.job_id} {status.word or status.state.name}"
    return Failure(_CAUSES.get(_state(status, tail), "lost"), f"{how} on {place.host}" if place.host else how)


def of_record(record: Record, place: Place) -> Failure | None:
    """Why an attempt ended that its worker reported; None: it did not fail."""
    if record.kind == records.DIED:
        fields = pickle.loads(records.split_info(record.body)[1] if record.flags & records.INFO else record.body)
        how = f"killed by {fields['signal']}" if fields["signal"] else f"exit status {fields['exit_code']}"
        return Failure(KILLED if fields["signal"] == "SIGKILL" else "crash", f"{how}, job {place.job_id}")
    if record.kind == records.LARGE_ERROR:
        return Failure("exception", "a large exception")
    if record.kind == records.ERROR:
        body = records.split_info(record.body)[1] if record.flags & records.INFO else record.body
        _, name, text, *_ = pickle.loads(body)
        return Failure("exception", f"{name}: {text}"[:_LONGEST].splitlines()[0])
    return None


def last_lines(content: bytes) -> str:
    """The end of a log, as text."""
    return "\n".join(content[-4096:].decode("utf-8", "replace").splitlines()[-_TAIL_LINES:])


def unreadable(call: str, error: Exception) -> StoreError:
    """A defect of ours met a result."""
    text = f"the result of {call} could not be read: {type(error).__name__}: {error}"
    failed = StoreError(message=f"{text}; {advice(error)}" if isinstance(error, OSError) else text)
    failed.__cause__ = error
    return failed


def gone(cause: FileNotFoundError, path: str) -> StoreError:
    """What is said when somebody removes a run that is being used."""
    part = "" if cause.filename is None else f" (there is no {cause.filename})"
    text = f"the run directory {path} was removed while the executor used it{part}: by hand, or by a clean-up of old "
    text += "files? What had no result has none now, and the executor takes no more calls: make another one"
    error = StoreError(message=text, path=path)
    error.__cause__ = cause
    return error


def left(path: str) -> StoreError:
    """Why this program has no result of a call that goes on without it."""
    text = f"the program has left the run {path}; the call goes on: clusterfutures.attach({path!r}) gives its future"
    return StoreError(message=text, path=path)


def not_made(path: str) -> StoreError:
    """Why there will be no result of a call that still waited for those of others."""
    text = f"the program has left the run {path} before the results were there that this call needs: it was not made"
    return StoreError(message=f"{text}. Make it again when they are", path=path)


def executor_failed(cause: BaseException | None, path: str) -> StoreError:
    """Why nothing more can be had from this run."""
    if isinstance(cause, StoreError):
        return cause
    if isinstance(cause, FileNotFoundError):
        return gone(cause, path)
    if isinstance(cause, OSError):
        what = f"the run directory {path} cannot be used any more: {cause}; {advice(cause)}"
    else:
        what = f"the thread that collects results failed: {cause!r}"
    error = StoreError(message=f"{what}; this call has no result, and the executor takes no others", path=path)
    error.__cause__ = cause
    return error
