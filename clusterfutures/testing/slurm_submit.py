"""``sbatch``: what is refused, what is accepted and never starts, and the job of the rest.

argv --slurm_options--> {option: text} --build()--> Job --> queue, "2" on stdout
"""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import sys
import time

from . import runner
from . import slurm_options as so
from .dialect import Call, Refused
from .processes import MARK
from .state import PLAIN, Job, State, now

_DEPENDENCIES = ("after", "afterany", "afterok", "afternotok", "aftercorr")


def sbatch(call: Call) -> None:
    """The whole command."""
    if call.argv and call.argv[0] in ("-V", "--version"):
        call.out(f"slurm {call.config['version']}")
        return
    options, words = so.parse(call.argv)
    options = {**so.from_variables(os.environ), **options}
    script, name = read_script(options, words)
    options = {**so.directives(script.decode("utf-8", "surrogateescape"), name), **options}
    job = build(call, options, name, words[1:])
    environment = exported(call, options)
    with call.store.locked() as state:
        call.dialect.purge(call.store, state, now())
        check(call, state, job, options)
        job.id = state.take_number()
        if "test-only" in options:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
            where = f"nodes {call.config['node']} in partition {job.x['partition']}"
            call.err(f"sbatch: Job {job.id} to start at {stamp} using {job.cpus} processors on {where}")
            return
        call.store.keep(job.id, "script", script, 0o700)
        call.store.keep(job.id, "env", json.dumps(environment))
        state.add(job)
        runner.start_due(call.store, call.dialect, state)
    cluster = ";" + call.config["cluster"] if "clusters" in options else ""
    call.out(f"{job.id}{cluster}" if "parsable" in options else f"Submitted batch job {job.id}")
    if "wait" in options:
        _wait(call, job.id)


def read_script(options: dict[str, str], words: list[str]) -> tuple[bytes, str]:
    """The script and its name: from --wrap, a file, or standard input."""
    if "wrap" in options:
        if words:
            raise so.error(1, "Script arguments not permitted with --wrap option")
        return f"#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{options['wrap']}\n".encode(), "wrap"
    if words:
        try:
            with open(words[0], "rb") as file:
                script = file.read()
        except OSError:
            raise so.error(1, f"Unable to open file {words[0]}") from None
    else:
        script = sys.stdin.buffer.read()
    if not script:
        raise so.error(1, "Batch script is empty!")
    if not script.startswith(b"#!"):
        raise so.error(
            1,
            "This does not look like a batch script.  The first",
            "line must start with #! followed by the path to an interpreter.",
            "For instance: #!/bin/sh",
        )
    if b"\r\n" in script:
        raise so.error(
            1,
            "Batch script contains DOS line breaks (\\r\\n)",
            "instead of expected UNIX line breaks (\\n).",
        )
    if len(script) >= 4 * 1024 * 1024:
        raise so.failed("Pathname of a file, directory or other parameter too long")
    return script, os.path.basename(words[0]) if words else "sbatch"


def build(call: Call, options: dict[str, str], name: str, arguments: list[str]) -> Job:
    """Return the job, with the checks that sbatch itself makes."""
    config = call.config
    limit = so.minutes(options["time"]) if "time" in options else 0
    cpus = so.number(options.get("cpus-per-task", "1"), "cpus-per-task")
    tasks = so.number(options.get("ntasks", "1"), "ntasks")
    nodes = so.number(options.get("nodes", "1").partition("-")[0], "nodes")
    memory = {key: so.megabytes(options[key], key) for key in ("mem", "mem-per-cpu") if key in options}
    job = Job(submitted=now(), name=options.get("job-name", name), cpus=cpus * tasks)
    job.walltime = limit * config["minute"]
    job.hold = "u" if "hold" in options else ""
    job.begin = _begin(options["begin"]) if "begin" in options else 0.0
    job.rerunnable = "requeue" in options or ("no-requeue" not in options and config["job_requeue"])
    chdir = os.path.join(os.getcwd(), options.get("chdir", ""))
    job.x.update(
        user=pwd.getpwuid(os.getuid()).pw_name,
        uid=os.getuid(),
        gid=os.getgid(),
        partition=options.get("partition", config["partitions"][0]).partition(",")[0],
        directory=chdir.rstrip("/") or "/",
        submit_dir=os.getcwd(),
        output=options.get("output", ""),
        error=options.get("error", ""),
        append=options.get("open-mode", "").startswith("a"),
        comment=options.get("comment", ""),
        account=options.get("account", "(null)"),
        qos=options.get("qos", "(null)"),
        kill_invalid=options.get("kill-on-invalid-dep", "no") == "yes",
        arguments=arguments,
        umask=_umask(),
        minutes=limit,
        tasks=tasks if "ntasks" in options else 0,
        cpus_per_task=cpus if "cpus-per-task" in options else 0,
        nodes=nodes,
        memory=memory,
        command=name,
        warning=_warning(call, options.get("signal", "")),
        dependency=options.get("dependency", ""),
    )
    return job


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _warning(call: Call, text: str) -> tuple[int, float] | None:
    """``--signal=B:USR1@30``: only the form with ``B:`` reaches a job without steps."""
    if not text:
        return None
    match = re.fullmatch(r"(?:([BR]+):)?([A-Za-z0-9]+)(?:@(\d+))?", text)
    numbers = {name.removeprefix("SIG"): int(value) for name, value in signal.Signals.__members__.items()}
    word = match[2].upper().removeprefix("SIG") if match else ""
    if match is None or not (word in numbers or word.isdigit()):
        raise so.error(255, "Invalid --signal specification")
    seconds = int(match[3] or 60) * call.config["minute"] / 60
    return (numbers.get(word) or int(word), seconds) if "B" in (match[1] or "") else None


def _begin(text: str) -> float:
    """``--begin``: ``now``, ``now+1hour``, a date."""
    match = re.fullmatch(r"now(?:\+(\d+)(seconds?|minutes?|hours?|days?|)?)?", text)
    if match:
        unit = (match[2] or "s")[0]
        return now() + int(match[1] or 0) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    for form in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d", "%H:%M"):
        try:
            return time.mktime(time.strptime(text, form))
        except ValueError:
            continue
    start = re.sub(r"^[\d:T-]+", "", text)
    raise Refused(
        255,
        f"Invalid time specification (pos={len(text) - len(start)}): {text}\n"
        "sbatch: error: Invalid --begin specification",
    )


def check(call: Call, state: State, job: Job, options: dict[str, str]) -> None:
    """What the controller says to the job; it accepts much that can never start."""
    config, x = call.config, job.x
    if options.get("array"):
        job.indices, job.limit = so.array(options["array"], config["max_array_size"])
        job.array, job.waiting = True, list(job.indices)
        job.x["request"] = options["array"]
    if x["partition"] not in config["partitions"]:
        why = f"invalid partition specified: {x['partition']}"
        raise so.failed("Invalid partition name specified", why)
    limit = config["submit_limit"]
    if limit is not None and state.live() + len(job.indices) > limit:
        why = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
        raise so.failed(why, "AssocMaxSubmitJobLimit")
    if x["memory"].get("mem", 0) > config["memory"]:
        raise so.failed("Requested node configuration is not available", "Memory specification can not be satisfied")
    for option, text in (
        ("nodelist", "Invalid node name specified"),
        ("constraint", "Invalid feature specification"),
        ("gres", "Invalid generic resource (gres) specification"),
        ("gpus", "Invalid generic resource (gres) specification"),
        ("licenses", "Invalid license specification"),
    ):
        if options.get(option) and not (option == "nodelist" and options[option] == config["node"]):
            raise so.failed(text)
    if len(os.fsencode(job.name)) > 1024:
        raise so.failed("Pathname of a file, directory or other parameter too long")
    _set_dependency(job, options.get("dependency", ""))
    if job.cpus > config["cpus"] or x["nodes"] > 1:
        x["blocked"] = "PartitionConfig"


def _set_dependency(job: Job, text: str) -> None:
    """``afterok:1:2_3,afterany:4``; unknown jobs count as done."""
    for clause in filter(None, text.replace("?", ",").split(",")):
        kind, *ids = clause.split(":")
        if kind == "singleton":
            continue
        if kind not in _DEPENDENCIES or not ids:
            raise so.failed("Job dependency problem")
        for one in ids:
            match = re.fullmatch(r"(\d+)(?:_(\d+|\*))?(?:\+\d+)?", one)
            if match is None:
                raise so.failed("Job dependency problem")
            index = int(match[2]) if match[2] and match[2] != "*" else PLAIN
            job.depend.append(("afterok" if kind == "aftercorr" else kind, int(match[1]), index))


def exported(call: Call, options: dict[str, str]) -> dict[str, str]:
    """The environment that the job gets from sbatch's."""
    mine = {name: value for name, value in os.environ.items() if name != MARK}
    everything, extra = so.exports(options.get("export", "ALL"), mine)
    if everything:
        return {**mine, **extra}
    user = pwd.getpwuid(os.getuid()).pw_name
    login = {
        "HOME": mine.get("HOME", "/"),
        "LOGNAME": user,
        "MAIL": f"/var/mail/{user}",
        "PATH": f"{call.store.bin}:/usr/local/bin:/usr/bin:/bin",
        "SHELL": mine.get("SHELL", "/bin/sh"),
        "USER": user,
        "SLURM_EXPORT_ENV": options["export"],
        "SLURM_GET_USER_ENV": "1",
    }
    return {**login, **{k: v for k, v in mine.items() if k.startswith("SLURM_")}, **extra}


def _wait(call: Call, number: int) -> None:
    """``--wait``: the highest exit code; 1 for a signal."""
    sys.stdout.write("".join(call.stdout))
    sys.stdout.flush()
    call.stdout.clear()
    while (job := call.store.read().jobs.get(number)) is not None and not job.ended:
        time.sleep(0.05)
    if job is not None:
        call.code = max(run.code or int(run.failed) for run in job.runs.values())
