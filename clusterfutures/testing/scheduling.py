"""Which element starts next: decisions only, no file, process or clock.

    (State, cpus, time) --> next_due() --> (job, index) | None
                            settle()   --> jobs with a dependency that can never come true
                            next_wake()--> when to look again although nothing happens

Jobs start in the order of their numbers: a job that has to wait for a slot holds up those
behind it.  A job that requests more than the cluster has never starts and delays no other job.
"""

from __future__ import annotations

from .state import DONE, PENDING, PLAIN, RUNNING, Job, Run, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

GO, WAIT, NEVER = "go", "wait", "never"


def verdict(state: State, job: Job, unknown: str) -> str:
    """Whether what ``job`` depends on came true: GO, WAIT or NEVER.

    unknown: the answer for a job that is not known (PBS: NEVER, Slurm: GO).
    """
    answers = [_one_verdict(state.jobs.get(parent), kind, index, unknown) for kind, parent, index in job.depend]
    if NEVER in answers:
        return NEVER
    return WAIT if WAIT in answers else GO


def _one_verdict(parent: Job | None, kind: str, index: int, unknown: str) -> str:
    if parent is None or (index != PLAIN and index not in parent.indices):
        return unknown
    if index != PLAIN:
        runs = [parent.runs[index]] if index in parent.runs else []
        over = bool(runs) and runs[0].phase == DONE
    else:
        runs, over = list(parent.runs.values()), parent.done
    if unknown == NEVER and any(run.cause == "dependency" for run in runs):
        return NEVER  # PBS deletes the whole chain, "afterany" included
    if kind == "after":
        return GO if runs and all(run.started or run.phase == DONE for run in runs) else WAIT
    failed = any(run.failed for run in runs)
    if index == PLAIN and parent.x.get("judged_by_last"):
        failed = over and parent.failed  # nobody knows before which element will be the last
    if kind == "afterok":
        return NEVER if failed else GO if over else WAIT
    if not over:
        return WAIT
    return GO if kind == "afterany" or failed else NEVER


def used_cpus(state: State) -> int:
    """How many slots are taken."""
    return sum(
        job.cpus
        for job in state.jobs.values()
        if not job.ended
        for run in job.runs.values()
        if run.phase not in (PENDING, DONE)
    )


def next_due(
    state: State, cpus: int, now: float, unknown: str, stopped_queues: Sequence[str] = ()
) -> tuple[Job, int] | None:
    """The element to start now, if there is one and a slot for it."""
    if state.stopped or state.down:
        return None
    free = cpus - used_cpus(state)
    for job in sorted(state.jobs.values(), key=lambda job: job.id):
        if job.ended or job.cpus > cpus or blocked(job, stopped_queues):
            continue
        index = _startable(job, now)
        if index is None or verdict(state, job, unknown) != GO:
            continue
        return (job, index) if job.cpus <= free else None
    return None


def blocked(job: Job, stopped_queues: Sequence[str] = ()) -> bool:
    """True when the job waits for something that only a person changes."""
    return bool(job.hold or job.x.get("blocked") or job.x.get("queue") in stopped_queues)


def _startable(job: Job, now: float) -> int | None:
    if job.begin > now:
        return None
    running = sum(run.phase not in (PENDING, DONE) for run in job.runs.values())
    if job.limit and running >= job.limit:
        return None
    for run in job.runs.values():
        if run.phase == PENDING and run.begin <= now and not run.hold:
            return run.index
    return job.waiting[0] if job.waiting else None


def start(job: Job, index: int, now: float) -> Run:
    """Note that an element starts."""
    run = job.run(index)
    run.phase, run.started, run.ended, run.cause, run.pid = RUNNING, now, 0.0, "", 0
    run.code = run.signal = 0
    run.attempts += 1
    return run


def impossible(state: State, unknown: str) -> list[Job]:
    """Return the queued jobs with a dependency that can never come true."""
    return [
        job
        for job in state.jobs.values()
        if job.depend and not job.ended and not job.runs and verdict(state, job, unknown) == NEVER
    ]


def next_wake(state: State, now: float) -> float:
    """When something starts by the clock alone; 0.0 for never."""
    times = [job.begin for job in state.jobs.values() if not job.ended]
    times += [
        run.begin for job in state.jobs.values() if not job.ended for run in job.runs.values() if run.phase == PENDING
    ]
    return min((time for time in times if time > now), default=0.0)
