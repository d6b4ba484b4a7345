"""``qstat`` of Torque: a table, ``-f`` text, ``-x`` XML; no JSON, no history.

    ids --> elements shown --attributes()--> XML (times in seconds) | text | table

Without ``-t`` an array is one line, with it one per element; an element that has ended is
shown as C until keep_completed is over, then nobody knows it.
"""

from __future__ import annotations

import time

from . import pbs_ids, pbs_qstat, scheduling
from .dialect import Call, Refused
from .pbs_commands import options_of
from .pbs_ids import destination
from .pbs_options import clock
from .state import DONE, ENDING, PENDING, PLAIN, RUNNING, Job, Run, State, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

LETTERS = "f1xtu:ainrsGMqBQeEcCRW:l"
_TIMES = ("ctime", "mtime", "qtime", "etime", "start_time", "comp_time")
_ENDS = {"cancel": 271, "forced": 265, "walltime": -11, "memory": -10, "node": 271, "preempt": 271, "requeue": 271}


def qstat(call: Call) -> None:
    """The whole command."""
    options, ids = options_of(call, LETTERS)
    if "B" in options or "Q" in options:
        lines = [f"    {name} = {value}" for name, value in server_attributes(call).items()]
        call.out("\n".join([f"Server: {call.config['server']}", *lines, ""]))
        return
    state = call.store.read()
    call.dialect.purge(call.store, state, now())
    records = chosen(call, state, options, ids)
    if not records:
        return
    if "x" in options:
        call.out(as_xml(records))
    elif "f" in options:
        for name, record in records.items():
            shown = {key: _human(key, value) for key, value in record.items() if key != "Job_Id"}
            call.out(pbs_qstat.as_text(name, shown, "1" in options))
    else:
        call.out(pbs_qstat.as_table(records))


def chosen(call: Call, state: State, options: dict[str, str], ids: list[str]) -> dict[str, Record]:
    """The jobs to show; what is wrong with the others goes to stderr."""
    records: dict[str, Record] = {}
    if not ids:
        for job in state.jobs.values():
            if "u" not in options or job.x["user"] in options["u"].split(","):
                records.update(_rows(call, state, job, None, "t" in options))
        return records
    for text in ids:
        full = pbs_ids.full(call.store, text)
        try:
            found = pbs_ids.find(state, text)
            if found.indices is not None and not set(found.indices) & set(found.job.x["shown"]):
                raise pbs_ids.Unknown(text)
            records.update(_rows(call, state, found.job, found.indices, "t" in options))
        except pbs_ids.NoId:
            call.err(f"qstat: Unknown queue destination {text}", 172)
        except (pbs_ids.Unknown, pbs_ids.NoIndex):
            call.err(f"qstat: Unknown Job Id {full}", 153)
        except Refused as refusal:
            call.err(refusal.text, refusal.code)
    return records


def _rows(call: Call, state: State, job: Job, indices: list[int] | None, expand: bool) -> dict[str, Record]:
    if indices is None and job.array and not expand:
        return {pbs_ids.job_id(call.store, job): attributes(call, state, job, _summary(job))}
    wanted = job.indices if indices is None else indices
    shown = set(job.x["shown"])
    return {
        pbs_ids.element_id(call.store, job, index): attributes(
            call, state, job, job.runs.get(index) or Run(index=index)
        )
        for index in wanted
        if index in shown
    }


def _summary(job: Job) -> Run:
    """A run that stands for the whole array."""
    started = [run for run in job.runs.values() if run.phase in (RUNNING, ENDING)]
    phase = DONE if job.ended else RUNNING if started else PENDING
    return Run(index=PLAIN, phase=phase, ended=job.ended, code=int(job.failed))


def letter(state: State, job: Job, run: Run) -> str:
    """job_state."""
    if run.phase == PENDING:
        waits = bool(job.depend) and scheduling.verdict(state, job, "never") != scheduling.GO
        return "H" if job.hold or waits else "W" if job.begin > now() else "Q"
    return {RUNNING: "R", ENDING: "E", DONE: "C"}[run.phase]


def exit_status(run: Run) -> int | None:
    """exit_status of an ended element, None for one that never started."""
    if run.phase != DONE or (run.cause and not run.started):
        return None
    if run.cause in _ENDS:
        return _ENDS[run.cause]
    return 256 + run.signal if run.signal else run.code


def attributes(call: Call, state: State, job: Job, run: Run) -> Record:
    """Return all that qstat -f prints of one job or element."""
    x, host, store = job.x, call.config["submit_host"], call.store
    record: Record = {
        "Job_Id": pbs_ids.element_id(store, job, run.index if run.index != PLAIN else None),
        "Job_Name": job.name + (f"-{run.index}" if run.index != PLAIN else ""),
        "Job_Owner": f"{x['user']}@{host}",
        "job_state": letter(state, job, run),
        "queue": x["queue"],
        "server": call.config["server"],
        "Checkpoint": "u",
        "ctime": int(job.submitted),
        "Error_Path": f"{host}:{destination(store, job, run, 'e')}",
        "Hold_Types": "u" if job.hold else "n",
        "Join_Path": x["join"],
        "Keep_Files": x["keep"],
        "Mail_Points": "a",
        "mtime": int(run.ended or run.started or job.submitted),
        "Output_Path": f"{host}:{destination(store, job, run, 'o')}",
        "Priority": x["priority"],
        "qtime": int(job.submitted),
        "Rerunable": str(job.rerunnable),
        "Resource_List": x["resources"],
        "Variable_List": store.kept(job.id, "env"),
        "euser": x["user"],
        "etime": int(job.submitted),
        "submit_args": x["submit_arguments"],
        "submit_host": host,
        "init_work_dir": x["cwd"] or x["directory"],
    }
    _add_run(record, call, job, run)
    return record


def _add_run(record: Record, call: Call, job: Job, run: Run) -> None:
    """What is known of an element, the more the further it came."""
    if run.index != PLAIN:
        record["job_array_id"] = run.index
    if job.array:
        record["job_array_request"] = job.x["request"]
    if run.started:
        record.update(
            exec_host=f"{call.config['server']}/0", session_id=run.session, start_time=int(run.started),
            start_count=run.attempts,
        )  # fmt: skip
    if run.phase == DONE:
        record["comp_time"] = int(run.ended)
        if (status := exit_status(run)) is not None:
            used = clock(run.ended - run.started if run.started else 0)
            record["resources_used"] = {"cput": "00:00:00", "mem": "0kb", "vmem": "0kb", "walltime": used}
            record["exit_status"] = status


def as_xml(records: dict[str, Record]) -> str:
    """One line of XML."""
    jobs = "".join(f"<Job>{''.join(_tag(*item) for item in record.items())}</Job>" for record in records.values())
    return f"<Data>{jobs}</Data>"


def _tag(name: str, value: object) -> str:
    if name == "Variable_List" and isinstance(value, dict):
        value = ",".join(f"{key}={inner}" for key, inner in value.items())
    if isinstance(value, dict):
        return f"<{name}>{''.join(_tag(*item) for item in value.items())}</{name}>"
    # Nothing but these three is escaped: control characters make the XML ill-formed.
    text = str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<{name}>{text}</{name}>"


def _human(name: str, value: object) -> object:
    if name in _TIMES and isinstance(value, int):
        return time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(value))
    return value


def server_attributes(call: Call) -> dict[str, str]:
    """What qmgr and ``qstat -Bf`` tell of the server."""
    return {
        "server_state": "Active",
        "server_host": call.config["server"],
        "default_queue": call.config["queues"][0],
        "keep_completed": str(int(call.config["keep_completed"])),
        "max_job_array_size": str(call.config["max_job_array_size"]),
        "pbs_version": call.config["version"],
    }
