"""What ``StandIn`` does to jobs, run as a command of its own: ``control preempt 3.vm``.

It runs in a small process because a change may start jobs, that is, fork: a program under
test, with its threads, must not.
"""

from __future__ import annotations

import json

from . import runner
from .dialect import Call, Refused, remove_places
from .state import DONE, PENDING, Job, State, now

#: words of StandIn --> cause of the end
_CAUSES = {
    "preempt": "preempt",
    "requeue": "requeue",
    "requeuehold": "requeuehold",
    "kill_node": "node",
    "out_of_memory": "memory",
}


def act(call: Call) -> None:
    """Carry out one word of ``StandIn``."""
    word, *arguments = call.argv
    with call.store.locked() as state:
        if word == "state":
            pass
        elif word in ("down", "up"):
            state.down = word == "down"
        elif word == "block":
            state.stopped = True
        else:
            job, indices = find(call, state, arguments[0])
            _act_on(call, state, word, job, indices)
        call.dialect.purge(call.store, state, now())
        runner.start_due(call.store, call.dialect, state)
    if word == "state":
        call.out(json.dumps(sorted(state.jobs)))


def find(call: Call, state: State, text: str) -> tuple[Job, list[int]]:
    """The job that is meant, and its elements."""
    number, index = call.dialect.parse_id(text)
    job = state.jobs.get(number)
    if job is None or (index is not None and index not in job.indices):
        raise Refused(1, f"no such job: {text}")
    return job, list(job.indices) if index is None else [index]


def _act_on(call: Call, state: State, word: str, job: Job, indices: list[int]) -> None:
    if word == "forget":
        for run in job.runs.values():
            runner.wake(run)  # its runner finds no record, and ends it
        del state.jobs[job.id]
        remove_places(call.store, [job.id])
    elif word == "hold":
        job.hold = "u"
    elif word == "release":
        job.hold = ""
        for run in job.runs.values():
            run.hold = ""
    else:
        for index in indices:
            end_running(job, index, _CAUSES[word], call.config["requeue_delay"])


def end_running(job: Job, index: int, cause: str, delay: float) -> None:
    """End or requeue an element that has started; one that ended may only be requeued."""
    run = job.runs.get(index)
    if run is None or run.phase == PENDING:
        return
    if run.phase != DONE:
        run.cause = cause
        runner.wake(run)
    elif cause.startswith("requeue"):
        run.phase, run.cause, run.begin = PENDING, "", now() + float(delay)
        run.hold = "requeued" if cause == "requeuehold" else ""
        job.ended = 0.0
