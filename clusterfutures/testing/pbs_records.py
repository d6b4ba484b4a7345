"""What PBS Pro says about a job: the attributes that ``qstat -f`` prints.

Job --parent()--> attributes of a job or array
Job, index --element()--> attributes of one subjob, a *synthetic* copy of its array when
                          the subjob never ran or was swept up by a qdel
"""

from __future__ import annotations

import time

from . import scheduling
from .pbs_ids import destination, element_id, job_id, ranges
from .state import DONE, ENDING, PENDING, PLAIN, RUNNING, Job, Run, State, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

#: cause of the end --> (substate, Exit_status, end of the comment)
_ENDS = {
    "cancel": (91, 256 + 15, " and terminated by {owner}"),
    "forced": (91, 256 + 9, " and terminated by {owner}"),
    "walltime": (93, -29, " and exceeded resource walltime"),
    "memory": (93, -27, " and exceeded resource mem"),
    "node": (91, -11, " and failed"),
    "preempt": (91, -11, " and failed"),
    "requeue": (91, 256 + 15, " and terminated by {owner}"),
}


def stamp(seconds: float) -> str:
    """A time as PBS prints it."""
    return time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(seconds))


def owner(store: Store, job: Job) -> str:
    """Job_Owner."""
    return f"{job.x['user']}@{store.config['submit_host']}"


def exit_status(job: Job, run: Run) -> int | None:
    """Exit_status of an element that has ended, None if it has none."""
    if run.cause == "dependency" or not run.started:
        return None
    if run.cause in _ENDS:
        return _ENDS[run.cause][1]
    return 256 + run.signal if run.signal else run.code


def state_letter(state: State, job: Job) -> str:
    """job_state of a job or array as a whole."""
    if job.ended:
        return "F"
    if job.array and any(run.attempts for run in job.runs.values()):
        return "B"
    if not job.array and PLAIN in job.runs and job.runs[PLAIN].phase != PENDING:
        return element_letter(job, job.runs[PLAIN])
    if job.hold or _waits(state, job):
        return "H"
    return "W" if job.begin > time.time() else "Q"


def _waits(state: State, job: Job) -> bool:
    return bool(job.depend) and scheduling.verdict(state, job, "never") != scheduling.GO


def element_letter(job: Job, run: Run) -> str:
    """job_state of one element."""
    if run.phase == DONE:
        return "F" if job.ended or not job.array else "X"
    return {PENDING: "Q", RUNNING: "R", ENDING: "E"}[run.phase]


def parent(store: Store, state: State, job: Job) -> Record:
    """A job, or an array as a whole."""
    letter = state_letter(state, job)
    record = _common(store, state, job)
    record["job_state"] = letter
    if letter not in "HW" and not job.ended:
        record["etime"] = stamp(job.submitted)
    run = job.runs.get(PLAIN)
    record["substate"] = {"Q": 10, "H": 22 if _waits(state, job) else 20, "W": 30, "B": 10}.get(letter, 10)
    if job.array:
        _add_array(record, store, state, job)
    elif run is not None:
        _add_run(record, store, job, run)
    elif letter == "Q" and _comment(store, state, job):
        record["comment"] = _comment(store, state, job)
    return record


def element(store: Store, array: Record, job: Job, index: int) -> Record:
    """One subjob of ``array``."""
    run = job.runs.get(index)
    record = dict(array)
    if run is not None and run.started and not run.synthetic:
        for name in ("array", "array_state_count", "array_indices_submitted", "array_indices_remaining",
                     "max_run_subjobs", "Exit_status", "comment"):  # fmt: skip
            record.pop(name, None)
        record["job_state"] = element_letter(job, run)
        record["array_id"], record["array_index"] = job_id(store, job), index
        for name in ("Output_Path", "Error_Path"):
            record[name] = record[name].replace("^array_index^", str(index))
        _add_run(record, store, job, run)
        return record
    # A synthetic record: a copy of the parent, its Exit_status included.
    for name in ("array", "array_state_count", "array_indices_submitted", "array_indices_remaining"):
        record.pop(name, None)
    record["job_state"] = "Q"
    if run is not None and run.phase == DONE:
        record.update(job_state=element_letter(job, run), substate=91, comment="Subjob finished")
    return record


def _common(store: Store, state: State, job: Job) -> Record:
    x, host = job.x, store.config["submit_host"]
    record: Record = {
        "Job_Name": job.name,
        "Job_Owner": owner(store, job),
        "job_state": "Q",
        "queue": x["queue"],
        "server": store.config["server"],
        "Checkpoint": "u",
        "ctime": stamp(job.submitted),
        "Error_Path": f"{host}:{_path(store, job, 'e')}",
        "Hold_Types": "u" if job.hold else "s" if _waits(state, job) else "n",
        "Join_Path": x["join"],
        "Keep_Files": x["keep"],
        "Mail_Points": x["mail"],
        "mtime": stamp(job.ended or job.submitted),
        "Output_Path": f"{host}:{_path(store, job, 'o')}",
        "Priority": x["priority"],
        "qtime": stamp(job.submitted),
        "Rerunable": "True" if job.rerunnable else "False",
        "Resource_List": x["resources"],
        "substate": 10,
        "Variable_List": store.kept(job.id, "env"),
        "Submit_arguments": x["submit_arguments"],
        "project": x["project"],
        "Submit_Host": host,
    }
    if x["account"]:
        record["Account_Name"] = x["account"]
    if depend := _depend(store, state, job):
        record["depend"] = depend
    return record


def _path(store: Store, job: Job, letter: str) -> str:

    if job.x["out" if letter == "o" else "err"]:
        return str(job.x["out" if letter == "o" else "err"])
    path = destination(store, job, Run(), letter)
    return path + ".^array_index^" if job.array else path


def _depend(store: Store, state: State, job: Job) -> str:
    """The dependencies still open, of this job and on this job."""
    server = store.config["server"]
    parts = []
    if job.depend and (_waits(state, job) or any(run.cause == "dependency" for run in job.runs.values())):
        parts += [f"{kind}:{text}.{server}@{server}" for kind, text in job.x["depend"]]
    before: dict[str, list[str]] = {}
    for other in state.jobs.values():
        for kind, number, _ in other.depend:
            if number == job.id and not other.ended and _waits(state, other):
                before.setdefault("before" + kind[5:], []).append(f"{job_id(store, other)}@{server}")
    parts += [":".join([kind, *ids]) for kind, ids in before.items()]
    return ",".join(parts)


def _comment(store: Store, state: State, job: Job) -> str:
    """Why a job waits."""
    if job.x["queue"] in store.config["stopped_queues"]:
        return "Not Running: Queue not started."
    total = store.config["cpus"]
    free = total - scheduling.used_cpus(state)
    if job.cpus > total:
        return f"Can Never Run: Insufficient amount of resource: ncpus (R: {job.cpus} A: {free} T: {total})"
    if job.cpus > free:
        return "Not Running: Not enough free nodes available"
    return ""  # the scheduler has not looked yet


def _add_array(record: Record, store: Store, state: State, job: Job) -> None:
    runs = job.runs.values()
    queued = [*job.waiting, *(run.index for run in runs if run.phase == PENDING)]
    counts = {
        "Queued": len(queued),
        "Running": sum(run.phase == RUNNING for run in runs),
        "Exiting": sum(run.phase == ENDING for run in runs),
        "Expired": sum(run.phase == DONE for run in runs),
    }
    record["array"] = "True"
    record["array_state_count"] = " ".join(f"{name}:{count}" for name, count in counts.items())
    record["array_indices_submitted"] = job.x["submitted_indices"]
    record["array_indices_remaining"] = ranges(queued)
    if job.limit:
        record["max_run_subjobs"] = job.limit
    first = min((run.started for run in runs if run.started), default=0.0)
    if first:
        record["stime"] = stamp(first)
        record["comment"] = time.strftime("Job Array Began at %a %b %d at %H:%M", time.localtime(first))
    elif not job.ended and (waits := _comment(store, state, job)):
        record["comment"] = waits
    # That of the element that ended last, whatever the others did.
    if job.last_ended.phase == DONE and exit_status(job, job.last_ended) is not None:
        record["Exit_status"] = int(job.last_ended.failed)
    if job.ended:
        record["substate"] = 91 if job.x.get("deleted") else 93 if record.get("Exit_status") else 92
        record["array_state_count"] = "Queued:0 Running:0 Exiting:0 Expired:0"
        if first:
            record["comment"] += {91: " and terminated", 93: " and failed", 92: " and finished"}[record["substate"]]
        record["obittime"], record["history_timestamp"] = stamp(job.ended), int(job.ended)


def _add_run(record: Record, store: Store, job: Job, run: Run) -> None:
    """What is known of an element that has started, or ended without that."""
    if run.phase == PENDING:
        if run.attempts:
            record.update(run_count=run.attempts, obittime=stamp(run.begin or run.started))
        return
    status = exit_status(job, run) if run.phase == DONE else None
    comment = ""
    if run.started:
        vnode = f"({store.config['server']}:ncpus={job.cpus})"
        comment = time.strftime(f"Job run at %a %b %d at %H:%M on {vnode}", time.localtime(run.started))
        record.update(
            exec_host=f"{store.config['server']}/0" + (f"*{job.cpus}" if job.cpus > 1 else ""),
            exec_vnode=vnode,
            stime=stamp(run.started),
            run_count=run.attempts,
            substate=51
            if run.phase == ENDING
            else 41
            if time.time() < run.started + store.config["young_seconds"]
            else 42,
            etime=stamp(job.submitted),
            jobdir=record["Variable_List"]["PBS_O_HOME"],
        )
        if run.session:
            record["session_id"] = run.session
        if run.held and run.phase != DONE:
            comment = f"Job held by {job.x['user']} on {stamp(run.held)}"
        if run.phase != DONE and run.cause in _ENDS:
            comment += _ENDS[run.cause][2].format(owner=owner(store, job))
        if run.attempts > 1:
            record["obittime"] = stamp(run.started)  # of the run before: stale
    if run.phase == DONE:
        substate, _, ending = _ENDS.get(
            run.cause, (93 if status else 92, 0, " and failed" if status else " and finished")
        )
        if run.cause == "dependency":
            substate, ending = 92, ""
        elif not run.started:
            ending = " and terminated" if run.cause == "cancel" and job.x.get("comment") else ""
            comment = job.x.get("comment", "")
        record["substate"] = substate
        record["Stageout_status"] = int(run.stageout)
        _add_end(record, job, run, status)
        comment += ending.format(owner=owner(store, job))
    record.pop("comment", None)
    if comment:
        record["comment"] = comment


def _add_end(record: Record, job: Job, run: Run, status: int | None) -> None:
    record["mtime"] = stamp(run.ended)
    if status is None:
        record.pop("Stageout_status")
    else:
        record["Exit_status"] = status
        used = int(run.ended - run.started)
        record["resources_used"] = {
            "cpupercent": 0,
            "cput": "00:00:00",
            "mem": "0kb",
            "ncpus": job.cpus,
            "vmem": "0kb",
            "walltime": f"{used // 3600:02}:{used // 60 % 60:02}:{used % 60:02}",
        }
        record["obittime"] = stamp(run.ended)
    record["history_timestamp"] = int(run.ended)


def rows(store: Store, state: State, job: Job, indices: list[int] | None, expand: bool) -> dict[str, Record]:
    """The records of a job by id: one, or with ``expand`` also one per element."""
    found = {}
    whole = parent(store, state, job)
    if indices is None:
        found[job_id(store, job)] = whole
        indices = job.indices if expand and job.array else []
    for index in indices:
        found[element_id(store, job, index)] = element(store, whole, job, index)
    return found
