"""``scancel``, ``scontrol`` and ``sinfo``.

scancel ids -v--> runner.end() for each; silent about what is not there
scontrol show job --> one record per row of ``slurm_words.rows``
"""

from __future__ import annotations

import os
import re
import signal

from . import control, processes, runner, scheduling
from .dialect import Call, Refused
from .slurm_squeue import fill_line, options_of
from .slurm_words import Row, fill, rows, stamp
from .state import DONE, PENDING, Job, Run, State, now

_SCANCEL = {
    "name": "n", "jobname": "n", "user": "u", "me": "me", "state": "t", "signal": "s", "batch": "b", "full": "f",
    "quiet": "Q", "verbose": "v", "partition": "p", "version": "V", "interactive": "i", "hurry": "H", "ctld": "c",
}  # fmt: skip
_UNKNOWN = "slurm_load_jobs error: Invalid job id specified"


def scancel(call: Call) -> None:
    """End or signal jobs."""
    options, words = options_of(call, _SCANCEL, "nutsp")
    if "V" in options:
        call.out(f"slurm {call.config['version']}")
        return
    if not words and not options.keys() & {"n", "u", "me", "t", "p"}:
        raise Refused(1, "scancel: error: No job identification provided")
    ids = [_id(word) for word in _split(words)]
    with call.store.locked() as state:
        call.dialect.purge(call.store, state, now())
        for job, indices in _targets(state, options, ids):
            _cancel(call, job, indices, options)
        runner.start_due(call.store, call.dialect, state)


def _split(words: list[str]) -> list[str]:
    """Words, and comma lists outside brackets."""
    return [part for word in words for part in re.split(r",(?![^\[]*\])", word) if part]


def _id(text: str) -> tuple[int, list[int] | None]:
    """``25``, ``25_3``, ``25_[1-3,8]``."""
    match = re.fullmatch(r"(\d+)(?:_(?:(\d+)|\[([\d,-]+)\]))?", text)
    if match is None:
        raise Refused(1, f"scancel: error: Invalid job id {text}")
    if match[2]:
        return int(match[1]), [int(match[2])]
    if not match[3]:
        return int(match[1]), None
    indices: list[int] = []
    for part in match[3].split(","):
        low, _, high = part.partition("-")
        indices += range(int(low), int(high or low) + 1)
    return int(match[1]), indices


def _targets(
    state: State, options: dict[str, str], ids: list[tuple[int, list[int] | None]]
) -> list[tuple[Job, list[int] | None]]:
    """What is meant: (job, elements or None for all)."""
    found: list[tuple[Job, list[int] | None]] = []
    for number, indices in ids:
        for job in state.jobs.values():
            raw = [run.index for run in job.runs.values() if run.number == number]
            if job.id == number:
                found.append((job, indices))
            elif raw and indices is None:
                found.append((job, raw))
    if not ids:
        found = [(job, None) for job in state.jobs.values()]
    return [
        (job, indices)
        for job, indices in found
        if ("n" not in options or job.name in options["n"].split(","))
        and ("u" not in options or options["u"] in (job.x["user"], str(job.x["uid"])))
        and ("p" not in options or options["p"] == job.x["partition"])
    ]


def _cancel(call: Call, job: Job, indices: list[int] | None, options: dict[str, str]) -> None:
    word = options.get("s", "TERM").upper().removeprefix("SIG")
    ordinary = word in ("KILL", "9", "TERM", "15")  # SIGKILL too is an ordinary cancel
    states = [state.upper() for state in options["t"].split(",")] if "t" in options else []
    for index in list(job.indices) if indices is None else indices:
        if index not in job.indices:
            continue
        run = job.runs.get(index)
        pending = run is None or run.phase == PENDING
        if states and not {"PENDING", "PD"} & set(states) and pending:
            continue
        if states and not {"RUNNING", "R"} & set(states) and not pending:
            continue
        if run is not None and run.phase == DONE:
            if "v" in options:
                number = run.number or job.id
                call.err(f"scancel: error: Kill job error on job id {number}: Job/step already completing or completed")
        elif pending and indices is not None and job.array and run is None:
            job.waiting.remove(index)  # a lone element leaves no trace
            job.indices.remove(index)
            job.note_end(now())
        elif pending or ordinary:
            runner.end(job, index, "cancel")
        elif run is not None:
            _signal(run.pid, word, options)


def _signal(pid: int, word: str, options: dict[str, str]) -> None:
    """A signal reaches steps only, and a batch job has none, unless --batch or --full."""
    number = int(word) if word.isdigit() else int(signal.Signals[f"SIG{word}"])
    if not pid:
        return  # it is just being started; and 0 would be our own group
    if "b" in options:
        os.kill(pid, number)
    elif "f" in options:
        processes.send(pid, number)


def scontrol(call: Call) -> None:
    """show job/config/node/partition, hold, release, requeue, requeuehold, ping."""
    words = [word for word in call.argv if word not in ("-o", "--oneliner", "-d", "--details", "-Q")]
    state = call.store.read()
    call.dialect.purge(call.store, state, now())
    match words:
        case ["-V" | "--version" | "version", *_]:
            call.out(f"slurm {call.config['version']}")
        case ["ping"]:
            call.out(f"Slurmctld(primary) at {call.config['node']} is UP")
        case ["show", kind, *rest] if kind.startswith("job"):
            _show_jobs(call, state, rest)
        case ["show", kind, *_] if kind.startswith("conf"):
            for name, value in _config(call).items():
                call.out(f"{name:<24}= {value}")
        case ["show", kind, *_] if kind.startswith("node"):
            used = scheduling.used_cpus(state)
            call.out(
                f"NodeName={call.config['node']} CPUAlloc={used} CPUTot={call.config['cpus']} "
                f"RealMemory={call.config['memory']} State={'IDLE' if not used else 'MIXED'}"
            )
        case ["show", kind, *_] if kind.startswith("part"):
            for name in call.config["partitions"]:
                call.out(f"PartitionName={name} State=UP MaxTime=UNLIMITED TotalNodes=1 Nodes={call.config['node']}")
        case [("hold" | "release" | "requeue" | "requeuehold") as word, *ids]:
            _change(call, word, ids)
        case _:
            raise Refused(1, f"invalid keyword: {' '.join(words[:1])}")


def _config(call: Call) -> dict[str, str]:
    config = call.config
    return {
        "AccountingStorageType": "accounting_storage/" + ("slurmdbd" if config["accounting"] else "none"),
        "ClusterName": config["cluster"],
        "JobRequeue": str(int(config["job_requeue"])),
        "KillWait": f"{config['kill_delay']:.0f} sec",
        "MaxArraySize": str(config["max_array_size"]),
        "MaxJobCount": "10000",
        "MinJobAge": f"{config['min_job_age']:.0f} sec",
        "EnforcePartLimits": "NO",
        "SchedulerParameters": "(null)",
        "SLURM_VERSION": config["version"],
    }


def _show_jobs(call: Call, state: State, words: list[str]) -> None:
    known = [job for job in state.jobs.values() if not job.x.get("purged")]
    if not words:
        for job in known:
            for row in rows(call, state, job, False):
                call.out(record(row))
        if not known:
            call.out("No jobs in the system")
        return
    match = re.fullmatch(r"(\d+)(?:_(\d+))?", words[0])
    if match is None:
        raise Refused(1, f"scontrol_print_job error: {_UNKNOWN.partition(': ')[2]}" if "," in words[0] else _UNKNOWN)
    number = int(match[1])
    found = [job for job in known if job.id == number or any(run.number == number for run in job.runs.values())]
    if not found:
        raise Refused(1, _UNKNOWN)
    shown = [row for row in rows(call, state, found[0], False) if _wanted(row, number, match[2])]
    if not shown:
        call.out(f"Job {words[0]} not found")
        call.code = 1
    for row in shown:
        call.out(record(row))


def _wanted(row: Row, number: int, index: str | None) -> bool:
    if index is None:
        return number in (row.job.id, row.raw)
    return int(index) in row.indices if row.indices is not None else row.index == int(index)


def record(row: Row) -> str:
    """One line of ``scontrol -o show job``."""
    job, x = row.job, row.job.x
    array = f" ArrayJobId={job.id} ArrayTaskId={row.tasks}" if job.array else ""
    if job.array and job.limit:
        array += f" ArrayTaskThrottle={job.limit}"

    run = row.run or Run()
    pattern = x["output"] or ("slurm-%A_%a.out" if job.array else "slurm-%j.out")
    out = fill(row.call.store, job, run, pattern)
    limit = stamp(0.0) if not x["minutes"] else ""
    time_limit = (
        "UNLIMITED"
        if limit
        else f"{x['minutes'] // 1440}-" * (x["minutes"] >= 1440)
        + (f"{x['minutes'] // 60 % 24:02}:{x['minutes'] % 60:02}:00")
    )
    elapsed = int(row.elapsed)
    host = f" BatchHost={row.node}" if row.node else ""
    return (
        f"JobId={row.raw}{array} JobName={job.name} UserId={x['user']}({x['uid']}) GroupId=users({x['gid']}) "
        f"MCS_label=N/A Priority={0 if job.hold else 4294901760 - job.id} Nice=0 Account={x['account']} QOS={x['qos']} "
        f"JobState={row.state} Reason={row.reason.replace(' ', '_')} Dependency={x['dependency'] or '(null)'} "
        f"Requeue={int(job.rerunnable)} Restarts={row.restarts} BatchFlag=1 Reboot=0 ExitCode={row.exit_code} "
        f"RunTime={elapsed // 3600:02}:{elapsed // 60 % 60:02}:{elapsed % 60:02} TimeLimit={time_limit} "
        f"TimeMin=N/A SubmitTime={stamp(job.submitted)} EligibleTime={stamp(max(job.submitted, job.begin))} "
        f"StartTime={stamp(row.started, 'Unknown')} EndTime={stamp(row.ended, 'Unknown')} Deadline=N/A "
        f"Partition={x['partition']} NodeList={row.node or '(null)'}{host} NumNodes=1 NumCPUs={job.cpus} "
        f"NumTasks={x['tasks'] or 1} CPUs/Task={x['cpus_per_task'] or 'N/A'} "
        f"Command={x['command']} WorkDir={x['directory']} Comment={x['comment'] or '(null)'} "
        f"StdErr={x['directory']}/{out} StdIn=/dev/null StdOut={x['directory']}/{out}"
    )


def _change(call: Call, word: str, ids: list[str]) -> None:
    with call.store.locked() as state:
        call.dialect.purge(call.store, state, now())
        for text in [part for one in ids for part in one.split(",")]:
            number, index = call.dialect.parse_id(text)
            job = state.jobs.get(number)
            if job is None or (index is not None and index not in job.indices):
                call.err(f"Invalid job id specified for job {text}", 1)
            elif word == "hold":
                job.hold = "u"
            elif word == "release":
                job.hold = ""
                for run in job.runs.values():
                    run.hold = ""
            elif not job.rerunnable:
                call.err(f"Requested operation is presently disabled for job {text}", 1)
            else:
                for one in job.indices if index is None else [index]:
                    control.end_running(job, one, word, call.config["requeue_delay"])
        runner.start_due(call.store, call.dialect, state)


def sinfo(call: Call) -> None:
    """The partitions and the one node."""
    if "-V" in call.argv or "--version" in call.argv:
        call.out(f"slurm {call.config['version']}")
        return
    options, _ = options_of(call, {"noheader": "h", "format": "o", "partition": "p"}, "opn")
    used = scheduling.used_cpus(call.store.read())
    total = call.config["cpus"]
    word = "idle" if not used else "alloc" if used >= total else "mix"
    form = options.get("o", "%9P %5a %10l %6D %6t %N")
    titles = {
        "P": "PARTITION", "a": "AVAIL", "l": "TIMELIMIT", "D": "NODES", "t": "STATE", "N": "NODELIST", "c": "CPUS",
        "m": "MEMORY", "C": "CPUS(A/I/O/T)", "R": "PARTITION", "T": "STATE", "G": "GRES", "f": "AVAIL_FEATURES",
    }  # fmt: skip
    if "h" not in options:
        call.out(fill_line(form, lambda letter: titles.get(letter, "")))
    for number, name in enumerate(call.config["partitions"]):
        values = {
            "P": name + ("*" if number == 0 else ""), "R": name, "a": "up", "l": "infinite", "D": "1", "t": word,
            "T": word, "N": call.config["node"], "c": str(total), "m": str(call.config["memory"]),
            "C": f"{used}/{total - used}/0/{total}", "G": "(null)", "f": "(null)",
        }  # fmt: skip
        call.out(fill_line(form, lambda letter, values=values: values.get(letter, "")))  # type: ignore[misc]


COMMANDS = {"scancel": scancel, "scontrol": scontrol, "sinfo": sinfo}
