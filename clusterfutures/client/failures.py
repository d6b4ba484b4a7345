"""What is said when a job took calls with it: the facts, and what to try."""

from __future__ import annotations

import re

from clusterfutures.client.outcomes import Place
from clusterfutures.errors import JobFailed
from clusterfutures.schedulers.base import JobState, JobStatus

__all__ = ["job_failed", "last_lines"]

_TAIL_LINES = 10
#: what Slurm writes into the log of a job that it ends for its memory
_MEMORY = re.compile(r"exceeded (?:job )?memory limit|oom[-_ ]kill", re.IGNORECASE)

_ADVICE = {
    JobState.TIMEOUT: "it reached its time limit: ask for more time=, or make each call shorter",
    JobState.OUT_OF_MEMORY: "it ran out of memory: ask for more memory=",
    JobState.CANCELLED: "it was cancelled from outside (scancel, qdel, an administrator)",
    JobState.NODE_FAIL: "its node failed: submit the call again",
    JobState.PREEMPTED: "it was preempted: submit the call again, or choose another partition= or qos=",
    JobState.GONE: "the scheduler does not know it any more, and it left no result",
}


def job_failed(status: JobStatus, place: Place | None, call: str, log: str, tail: str, started: bool) -> JobFailed:
    """The exception of a call whose job ended.

    started: the worker had come up; else something in the job's set-up is wrong.
    """
    state = status.state
    if state is JobState.FAILED and _MEMORY.search(tail):
        state = JobState.OUT_OF_MEMORY
    advice = _ADVICE.get(state, "")
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


def last_lines(content: bytes) -> str:
    """The end of a log, as text."""
    return "\n".join(content[-4096:].decode("utf-8", "replace").splitlines()[-_TAIL_LINES:])
