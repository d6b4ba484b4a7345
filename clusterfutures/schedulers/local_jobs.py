"""Jobs of this machine that another program started: which of them still run.

    job id --in the environment of a leader of a process group--> the job's process, or none

A job's first process leads a group of its own and carries the job's id in its environment,
for every reader.  What had not been started when its program ended never will be.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping

from clusterfutures.schedulers.job_state import JobState, JobStatus

__all__ = ["processes", "signal_all", "status"]

_VARIABLE = b"CLUSTERFUTURES_JOB_ID="


def processes(job_ids: Iterable[str]) -> dict[str, int]:
    """The process groups of those of these jobs that run."""
    wanted = {os.fsencode(job_id): job_id for job_id in job_ids}
    found: dict[str, int] = {}
    if not wanted:
        return found
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended, or is not ours
            if os.getpgid(int(name)) != int(name):
                continue
            with open(f"/proc/{name}/environ", "rb") as file:
                words = file.read().split(b"\0")
            job_id = next((word[len(_VARIABLE) :] for word in words if word.startswith(_VARIABLE)), b"")
            if job_id in wanted:
                found[wanted[job_id]] = int(name)
    return found


def status(job_id: str, running: Mapping[str, int]) -> JobStatus:
    """The state of a job of another program."""
    if job_id in running:
        return JobStatus(job_id, JobState.RUNNING, "RUNNING", host=os.uname().nodename)
    return JobStatus(job_id, JobState.GONE, "GONE")  # this machine's own processes: there is no doubt


def signal_all(job_ids: Iterable[str], number: int) -> None:
    """Send a signal to the jobs of other programs."""
    for group in processes(job_ids).values():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
