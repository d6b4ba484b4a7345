"""The other commands of PBS Pro: qdel, qselect, qhold, qrls, qrerun, qsig, qmgr, pbsnodes.

ids --each()--> one job at a time: the good ones are done whatever is wrong with the
others, and the exit code is that of the last complaint
"""

from __future__ import annotations

import json
import re
import signal

from . import control, pbs_ids, pbs_qstat, pbs_records, pbs_submit, processes, runner, scheduling
from .dialect import Call, Refused, remove_places
from .pbs_options import attribute_list, split_options
from .state import DONE, PENDING, RUNNING, State, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def options_of(call: Call, letters: str) -> tuple[dict[str, str], list[str]]:
    """The options of a command other than qsub."""
    try:
        pairs, rest = split_options(call.argv, letters)
    except Refused as refusal:
        raise Refused(2, refusal.text.splitlines()[0].replace("qsub:", f"{call.name}:")) from None
    return dict(pairs), rest


def each(call: Call, ids: list[str], act: Callable[[State, pbs_ids.Found, str], None]) -> None:
    """Do something to each job named, under the lock."""
    if not ids:
        raise Refused(2, f"usage: {call.name} job_identifier...")
    with call.store.locked() as state:
        call.dialect.purge(call.store, state, now())
        for text in ids:
            full = pbs_ids.full(call.store, text)
            try:
                act(state, pbs_ids.find(state, text), full)
            except pbs_ids.NoId:
                call.err(f"{call.name}: illegally formed job identifier: {text}", 1)
            except pbs_ids.Unknown:
                call.err(f"{call.name}: Unknown Job Id {full}", 153)
            except pbs_ids.NoIndex:
                call.err(f"{call.name}: Invalid request {full}", 156)
            except Refused as refusal:
                call.err(refusal.text, refusal.code)
        runner.start_due(call.store, call.dialect, state)


def ended(call: Call, full: str) -> Refused:
    """The answer to a wish that comes too late."""
    if call.config["kind"] == "torque":
        text = f"{call.name}: Request invalid for state of job MSG=invalid state for job - COMPLETE {full}"
        return Refused(170, text)
    return Refused(35, f"{call.name}: Job has finished {full}")


def qdel(call: Call) -> None:
    """End jobs, or with -x also delete what is known of them."""
    options, ids = options_of(call, "xW:")
    force = options.get("W", "") == "force"
    if options.get("W") not in (None, "force"):
        attribute_list(options["W"])

    def act(state: State, found: pbs_ids.Found, full: str) -> None:
        job = found.job
        if job.ended and "x" in options:
            del state.jobs[job.id]
            remove_places(call.store, [job.id])
            return
        if job.ended:
            raise ended(call, full)
        for index in job.indices if found.indices is None else found.indices:
            run = job.runs.get(index)
            if run is not None and run.phase == RUNNING and run.cause and not force:
                continue  # it is being ended already
            if run is not None and run.phase == DONE:
                if found.indices is not None and len(found.indices) == 1:
                    raise Refused(55, f"qdel: Request invalid for finished array subjob {full}")
                if found.indices is None:
                    run.synthetic = True  # the sweep replaces what was known of it
                continue
            if job.array and (run is None or run.phase == PENDING):
                job.run(index).synthetic = True
            elif not job.array and run is None:
                job.x["comment"] = pbs_records.parent(call.store, state, job).get("comment", "")
            runner.end(job, index, "forced" if force else "cancel")
        if found.indices is None:
            job.x["deleted"] = True

    each(call, ids, act)


def qhold(call: Call) -> None:
    """Hold queued jobs."""
    _, ids = options_of(call, "h:")

    def act(state: State, found: pbs_ids.Found, full: str) -> None:
        job = found.job
        if job.ended:
            raise _too_late(call, full)
        running = [run for run in job.runs.values() if run.phase == RUNNING]
        if running and not job.array and call.config["kind"] == "pbs":
            running[0].held = now()  # it runs on, and only its comment tells
        else:
            job.hold = "u"

    each(call, ids, act)


def qrls(call: Call) -> None:
    """Release held jobs."""
    _, ids = options_of(call, "h:")

    def act(state: State, found: pbs_ids.Found, full: str) -> None:
        if found.job.ended:
            raise _too_late(call, full)
        found.job.hold = ""
        for run in found.job.runs.values():
            run.held = 0.0

    each(call, ids, act)


def _too_late(call: Call, full: str) -> Refused:
    """As ``ended``; PBS Pro names no job here."""
    refusal = ended(call, full)
    return refusal if call.config["kind"] == "torque" else Refused(refusal.code, f"{call.name}: Job has finished")


def qrerun(call: Call) -> None:
    """Stop running jobs and queue them again."""
    _, ids = options_of(call, "W:")

    def act(state: State, found: pbs_ids.Found, full: str) -> None:
        job = found.job
        if call.config["kind"] == "pbs":  # for managers and operators only; ``StandIn.requeue`` is one
            raise Refused(159, f"qrerun: Unauthorized Request  {full}")
        indices = job.indices if found.indices is None else found.indices
        running = [index for index in indices if index in job.runs and job.runs[index].phase == RUNNING]
        if not job.rerunnable:
            raise Refused(167, f"qrerun: Job is not rerunnable {full}")
        if not running:
            raise Refused(170, f"qrerun: Request invalid for state of job {full}")
        for index in running:
            control.end_running(job, index, "requeue", 0.0)

    each(call, ids, act)


def qsig(call: Call) -> None:
    """Signal running jobs."""
    options, ids = options_of(call, "s:")
    name = options.get("s", "SIGTERM")
    try:
        number = int(name) if name.isdigit() else int(signal.Signals["SIG" + name.removeprefix("SIG")])
    except KeyError:
        raise Refused(167, "qsig: Unknown/illegal signal name") from None

    def act(state: State, found: pbs_ids.Found, full: str) -> None:
        job = found.job
        indices = job.indices if found.indices is None else found.indices
        running = [run for index in indices if (run := job.runs.get(index)) and run.phase == RUNNING]
        if not running:
            raise Refused(170, f"qsig: Request invalid for state of job {full}")
        for run in running:
            processes.send(run.pid, number)

    each(call, ids, act)


def qselect(call: Call) -> None:
    """The ids of jobs by user, name and state, one a line."""
    options, _ = options_of(call, "xu:N:s:q:HJTh:tc:a:A:l:p:P:r:")
    for letter, pattern in (("N", pbs_submit.NAME), ("s", re.compile("[BEFHMQRSTUWX]+"))):
        if letter in options and not pattern.fullmatch(options[letter]):
            raise Refused(2, f"qselect: illegal -{letter} value")
    state = call.store.read()
    call.dialect.purge(call.store, state, now())
    for job in state.jobs.values():
        shown = bool(job.ended) if "H" in options else "x" in options or not job.ended
        wanted = (
            ("u" in options and job.x["user"] not in options["u"].split(","))
            or ("N" in options and job.name != options["N"])
            or ("q" in options and job.x["queue"] != options["q"])
            or ("J" in options and not job.array)
        )
        if not shown or wanted:
            continue
        letters = options.get("s", "")
        if not letters or pbs_records.state_letter(state, job) in letters:
            call.out(pbs_ids.job_id(call.store, job))
        if "T" in options and job.array:
            for index in job.indices:
                run = job.runs.get(index)
                if not letters or (pbs_records.element_letter(job, run) if run else "Q") in letters:
                    call.out(pbs_ids.element_id(call.store, job, index))


_QMGR_OBJECTS = ("server", "s", "queue", "q", "node", "n", "sched", "hook", "h", "resource", "r")


def qmgr(call: Call) -> None:
    """``-c 'list server [attribute]'`` and ``print server``: enough to read limits."""
    options, _ = options_of(call, "c:aenz")
    words = options.get("c", "").replace(",", " ").split()
    attributes = pbs_qstat.server_attributes(call)
    match words:
        case ["list" | "l", "server" | "s", *names]:
            unknown = [name for name in names if name not in attributes]
            call.out(f"Server {call.config['server']}")
            for name in names or attributes:
                if name in attributes:
                    call.out(f"    {name} = {attributes[name]}")
            call.out("")
            for name in unknown:
                call.err(f"qmgr obj={call.config['server']} svr=default: Undefined attribute  {name}", 1)
        case ["print" | "p", "server" | "s", *_]:
            for name, value in attributes.items():
                call.out(f"set server {name} = {value}")
        case ["list" | "l", "queue" | "q", *_]:
            for queue in call.config["queues"]:
                call.out("\n".join([f"Queue {queue}", *pbs_qstat.queue_attributes(call, queue), ""]))
        case ["set" | "s" | "create" | "c" | "delete" | "d" | "unset" | "u" | "import" | "export", kind, *_] if (
            kind in _QMGR_OBJECTS
        ):
            server = call.config["server"]
            raise Refused(159, f"qmgr obj={'' if kind in ('s', 'server') else ' '.join(words[2:3])} svr={server}: "
                          f"Unauthorized Request \nqmgr: Error (15007) returned from server")  # fmt: skip
        case _:
            raise Refused(1, f"qmgr: Syntax error\nqmgr: {' '.join(words)}")


def pbsnodes(call: Call) -> None:
    """The one node."""
    if "--version" in call.argv:
        call.out(f"pbs_version = {call.config['version']}")
        return
    state = call.store.read()
    used, total = scheduling.used_cpus(state), call.config["cpus"]
    name = call.config["server"]
    node = {
        "Mom": name,
        "ntype": "PBS",
        "state": "free" if used < total else "job-busy",
        "pcpus": total,
        "resources_available": {"host": name, "ncpus": total, "vnode": name},
        "resources_assigned": {"ncpus": used},
    }
    if "json" in call.argv:
        head = {"timestamp": int(now()), "pbs_version": call.config["version"], "pbs_server": name}
        call.out(json.dumps({**head, "nodes": {name: node}}))
        return
    call.out(name)
    for key, value in pbs_qstat.flat({**node, "Variable_List": {}}):
        if key != "Variable_List":
            call.out(f"     {key} = {value}")
    call.out("")


COMMANDS = {
    "qdel": qdel,
    "qhold": qhold,
    "qrls": qrls,
    "qrerun": qrerun,
    "qsig": qsig,
    "qselect": qselect,
    "qmgr": qmgr,
    "pbsnodes": pbsnodes,
}
