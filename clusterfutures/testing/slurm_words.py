"""Slurm's words for what a job does: state, reason, exit code, ids.

    Job, Run | None --Row--> state "COMPLETING", reason "TimeLimit", exit code "0:15", ...

One ``Row`` is what one line of squeue, one record of scontrol and one row of sacct show:
a job, an element, or all elements of an array that have not started.
"""

from __future__ import annotations

import re
import time

from . import scheduling
from .dialect import Call
from .pbs_ids import ranges
from .state import DONE, ENDING, PENDING, PLAIN, RUNNING, Job, Run, State, Store, now

SHORT = {
    "PENDING": "PD", "RUNNING": "R", "SUSPENDED": "S", "COMPLETING": "CG", "COMPLETED": "CD", "FAILED": "F",
    "CANCELLED": "CA", "TIMEOUT": "TO", "NODE_FAIL": "NF", "PREEMPTED": "PR", "OUT_OF_MEMORY": "OOM",
    "CONFIGURING": "CF", "BOOT_FAIL": "BF", "DEADLINE": "DL", "REQUEUED": "RQ", "REVOKED": "RV", "STOPPED": "ST",
    "SPECIAL_EXIT": "SE", "REQUEUE_HOLD": "RH", "SIGNALING": "SI", "STAGE_OUT": "SO", "RESIZING": "RS",
}  # fmt: skip


class Row:
    """A job or element, or with ``indices`` the elements of an array that wait."""

    def __init__(self, call: Call, state: State, job: Job, run: Run | None, indices: list[int] | None = None) -> None:
        self.call, self.all, self.job, self.run = call, state, job, run
        self.indices = indices
        self.index = run.index if run is not None else PLAIN

    @property
    def state(self) -> str:
        """The state, in its long form."""
        run = self.run
        if run is None or run.phase == PENDING:
            return "PENDING"
        if run.phase == ENDING or (run.phase == RUNNING and run.cause):
            return "COMPLETING"
        if run.phase == RUNNING:
            return "RUNNING"
        words = {
            "cancel": "CANCELLED", "forced": "CANCELLED", "walltime": "TIMEOUT", "node": "NODE_FAIL",
            "preempt": "PREEMPTED", "dependency": "CANCELLED", "launch": "FAILED", "requeue": "CANCELLED",
            "memory": self.call.config["oom_state"],
        }  # fmt: skip
        return str(words.get(run.cause) or ("FAILED" if run.failed else "COMPLETED"))

    @property
    def reason(self) -> str:
        """Why it waits, or how it ended."""
        run = self.run
        if run is None or run.phase == PENDING or (run.phase == DONE and not run.started):
            return self._pending_reason()
        if run.cause == "walltime":
            return "TimeLimit"
        if run.phase != DONE or run.cause in ("cancel", "forced", "preempt", "requeue"):
            return "None"
        if run.cause == "node":
            return "NodeDown"
        if run.cause == "memory":
            return "OutOfMemory" if self.state == "OUT_OF_MEMORY" else "JobLaunchFailure"
        if run.cause == "launch" or run.signal:
            return "JobLaunchFailure"
        return "NonZeroExitCode" if run.code else "None"

    def _pending_reason(self) -> str:
        job, run = self.job, self.run
        if job.x.get("blocked"):
            return str(job.x["blocked"])
        if job.hold:
            return "JobHeldUser"
        if run is not None and run.hold == "requeued":
            return "job requeued in held state"
        if run is not None and run.cause == "dependency":
            return "DependencyNeverSatisfied"
        if max(job.begin, run.begin if run is not None else 0.0) > now():
            return "BeginTime"
        answer = scheduling.verdict(self.all, job, "go")
        if answer != scheduling.GO:
            return "DependencyNeverSatisfied" if answer == scheduling.NEVER else "Dependency"
        if job.limit and sum(other.phase in (RUNNING, ENDING) for other in job.runs.values()) >= job.limit:
            return "JobArrayTaskLimit"
        if now() - job.submitted < 0.3:
            return "None"  # the scheduler has not looked at it yet
        waiting = [other.id for other in self.all.jobs.values() if not other.ended and not scheduling.blocked(other)]
        first = next((number for number in waiting if self.all.jobs[number].waiting), job.id)
        return "Resources" if first == job.id else "Priority"

    @property
    def exit_code(self) -> str:
        """``code:signal``, as squeue and scontrol know it."""
        run = self.run
        if run is None or run.phase != DONE or not run.started or run.cause in ("node", "dependency"):
            return "0:0"
        if run.cause == "launch":
            return "0:53"
        if run.cause == "preempt":
            return "15:0"
        if run.cause == "memory":
            return "0:125" if self.state == "OUT_OF_MEMORY" else "0:9"
        return f"{run.code}:{run.signal}"

    @property
    def raw(self) -> int:
        """JobId: each element that has started has one of its own."""
        return (self.run.number if self.run is not None else 0) or self.job.id

    @property
    def tasks(self) -> str:
        """The index, or the indices that wait with their limit."""
        if self.indices is None:
            return str(self.index)
        return ranges(self.indices) + (f"%{self.job.limit}" if self.job.limit else "")

    @property
    def name(self) -> str:
        """The id as users write it."""
        if not self.job.array:
            return str(self.job.id)
        return f"{self.job.id}_[{self.tasks}]" if self.indices is not None else f"{self.job.id}_{self.index}"

    @property
    def started(self) -> float:
        """When it started, 0.0 if it did not."""
        if self.run is None or self.run.phase == PENDING:
            return max(self.run.begin, self.job.begin) if self.run is not None else self.job.begin
        return self.run.started

    @property
    def ended(self) -> float:
        """When it ended or has to end, 0.0 if nobody knows."""
        if self.run is not None and self.run.phase == DONE:
            return self.run.ended
        running = self.run is not None and self.run.phase != PENDING
        return self.started + self.job.walltime if running and self.job.walltime else 0.0

    @property
    def elapsed(self) -> float:
        """How many seconds it ran."""
        if self.run is None or self.run.phase == PENDING or not self.run.started:
            return 0.0
        return (self.run.ended if self.run.phase == DONE else now()) - self.run.started

    @property
    def node(self) -> str:
        """Where it runs or ran."""
        ran = self.run is not None and self.run.phase != PENDING and self.run.started
        return str(self.call.config["node"]) if ran else ""

    @property
    def restarts(self) -> int:
        """How many times it was requeued."""
        run = self.run
        if run is None or not run.attempts:
            return 0
        return run.attempts if run.phase == PENDING else run.attempts - 1


def rows(call: Call, state: State, job: Job, each: bool) -> list[Row]:
    """All rows of a job; without ``each`` the elements that wait share one."""
    if not job.array:
        return [Row(call, state, job, job.runs.get(PLAIN))]
    found = []
    together = sorted([*job.waiting, *(run.index for run in job.runs.values() if _never_ran(run))])
    if together and not each:
        ended = bool(job.ended) or not job.waiting
        run = job.runs.get(together[0]) if ended else None
        found.append(Row(call, state, job, run, together))
    for index in job.indices:
        if each or index not in together:
            found.append(Row(call, state, job, job.runs.get(index) or Run(index=index)))
    return found


def _never_ran(run: Run) -> bool:
    return run.phase == DONE and not run.started


def stamp(seconds: float, unknown: str = "N/A") -> str:
    """A time as Slurm prints it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds)) if seconds else unknown


def span(seconds: float, short: bool = True) -> str:
    """A duration: ``M:SS``, ``H:MM:SS``, ``D-HH:MM:SS``; long: always ``HH:MM:SS``."""
    whole = int(seconds)
    days, hours, minutes, rest = whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{rest:02}"
    if short and not hours:
        return f"{minutes}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if short else f"{hours:02}:{minutes:02}:{rest:02}"


def fill(store: Store, job: Job, run: Run, pattern: str) -> str:
    """Replace %j %A %a %x ...; a backslash vanishes and switches that off."""
    if "\\" in pattern:
        return pattern.replace("\\", "", 1)
    number = str(run.number or job.id)
    values = {
        "A": str(job.id), "a": str(max(run.index, 0)) if job.array else "4294967294", "j": number, "J": number,
        "N": store.config["node"], "n": "0", "t": "0", "s": "batch", "u": job.x["user"], "x": job.name, "%": "%",
    }  # fmt: skip

    def one(match: re.Match[str]) -> str:
        value: str | None = values.get(match[2])
        if value is None:
            return match[0]
        return value.zfill(int(match[1] or 0)) if match[2] in "AajJnt" else value

    return re.sub(r"%(\d{0,2})(.)", one, pattern, flags=re.DOTALL)
