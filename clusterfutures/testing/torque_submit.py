"""``qsub`` of Torque: ``-t`` arrays, ``-l nodes=``, ``-d``; no ``-J``, no ``select``.

argv --pbs_options.read()--> Options --> Job --> queue, "25[].vm" on stdout
"""

from __future__ import annotations

import os
import re

from . import pbs_options as po
from . import pbs_submit
from .dialect import Call, Refused
from .state import Job, State, now

LETTERS = "a:A:b:c:C:d:D:e:fhIj:k:l:m:M:nN:o:p:P:q:r:S:t:T:u:v:VW:w:xXz"
_NAME = re.compile(r"[A-Za-z][^\s/]*")
_PART = re.compile(r"(\d+)(?:-(\d+))?")
_NUMBER, _SIZE = po.RESOURCES["ncpus"], po.RESOURCES["mem"]
_KNOWN = {
    **{name: pattern for name, pattern in po.RESOURCES.items() if name not in ("select", "place", "vnode", "mpiprocs")},
    "procs": _NUMBER,
    "gpus": _NUMBER,
}


def qsub(call: Call) -> None:
    """The whole command."""
    options, script = po.read(call.argv, LETTERS)
    job, environment = build(call, options)
    with call.store.locked() as state:
        call.dialect.purge(call.store, state, now())
        job.id = state.take_number()
        refusal = server_refuses(call, state, job, options)
        if refusal is None:
            pbs_submit.submit(call, state, job, environment, script)
    if refusal is not None:
        raise refusal
    if "z" not in options.values:
        call.out(f"{job.id}{'[]' if job.array else ''}.{call.config['server']}")


def submit_error(code: int, text: str, more: str = "") -> Refused:
    """A refusal by the server."""
    return Refused(code, f"qsub: submit error ({text}{' MSG=' + more if more else ''})")


def build(call: Call, options: po.Options) -> tuple[Job, dict[str, str]]:
    """Return the job, with the checks that qsub itself makes, and its variables."""
    values = options.values
    name = values.get("N", os.path.basename(options.script)[:15] if options.script else "STDIN")
    if len(name) > 15 or not _NAME.fullmatch(name):
        raise po.illegal("N")
    for letter, allowed in (("j", ("oe", "eo", "n")), ("r", ("y", "n"))):
        if values.get(letter, allowed[0]) not in allowed:
            raise po.illegal(letter)
    umask = options.attributes.get("umask", "077")
    if not re.fullmatch(r"[0-7]{1,4}", umask):
        raise po.illegal("W")
    directory = os.getcwd()
    environment = pbs_submit.environment(call, values, directory)
    job = Job(submitted=now(), name=name, hold="u" if "h" in values else "", rerunnable=values.get("r", "y") == "y")
    job.begin = pbs_submit.begin(values["a"]) if "a" in values else 0.0
    job.x.update(
        user=environment["PBS_O_LOGNAME"],
        directory=directory,
        cwd=os.path.join(directory, values["d"]) if "d" in values else "",
        out=po.absolute(values["o"], directory) if "o" in values else "",
        err=po.absolute(values["e"], directory) if "e" in values else "",
        join=values.get("j", "n"),
        keep=values.get("k", "n"),
        remove="",
        shell=values.get("S", ""),
        argv=options.command,
        queue=values.get("q", "").partition("@")[0] or call.config["queues"][0],
        account=values.get("A", ""),
        priority=int(values.get("p", "0") or 0),
        submit_arguments=" ".join(call.argv),
        umask=int(umask, 8),
        depend=_depend(options.attributes.get("depend", "")),
    )
    return job, environment


def _depend(text: str) -> list[tuple[str, str]]:
    """``afterok:1:2`` and ``afterokarray:3[]``."""
    found = []
    for clause in filter(None, text.split(",")):
        kind, *ids = clause.split(":")
        if kind.removesuffix("array") not in ("after", "afterok", "afternotok", "afterany") or not ids:
            raise po.illegal("W")
        found += [(kind.removesuffix("array"), one.partition(".")[0].partition("@")[0]) for one in ids]
    return found


def server_refuses(call: Call, state: State, job: Job, options: po.Options) -> Refused | None:
    """What the server says to the job, None when it takes it."""
    if job.x["queue"] not in call.config["queues"]:
        return submit_error(172, "Unknown queue", "cannot locate queue")
    try:
        job.x["resources"] = resources(options.resources)
        _set_array(job, options.values, call.config["max_job_array_size"])
    except Refused as refusal:
        return refusal
    job.cpus = job.x.pop("cpus", 0) or _cpus(job.x["resources"])
    job.walltime = po.seconds(job.x["resources"].get("walltime", "0"))
    limit = call.config["submit_limit"]
    if limit is not None and state.live() + len(job.indices) > limit:
        who = f"{job.x['user']}@{call.config['submit_host']}"
        more = f"total number of current user's jobs exceeds the queue limit: user {who}, queue {job.x['queue']}"
        return submit_error(228, "Maximum number of jobs already in queue for user", more)
    job.depend = [pbs_submit.parent(state, kind, text) for kind, text in job.x["depend"]]
    return None


def _set_array(job: Job, values: dict[str, str], largest: int) -> None:
    if "t" not in values:
        return
    text, percent, limit = values["t"].partition("%")
    indices: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None or (match[2] is not None and int(match[2]) <= int(match[1])):
            raise submit_error(235, "Bad Job Array Request")  # "0-0" too: write "0"
        indices.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    if percent and not limit.isdigit():
        raise submit_error(235, "Bad Job Array Request")
    if len(indices) > largest:
        raise submit_error(235, "Bad Job Array Request", f"Requested array size too large, limit is {largest}")
    job.array, job.limit = True, int(limit or 0)
    job.indices = sorted(indices)
    job.waiting = list(job.indices)
    job.x["request"] = values["t"]


def resources(wanted: dict[str, str]) -> dict[str, str]:
    """Resource_List of a job."""
    for name, value in wanted.items():
        if name not in _KNOWN:
            raise submit_error(189, "Unknown resource type ", f"Resource_List.{name}")
        if not _KNOWN[name].fullmatch(value):
            raise submit_error(168, "Illegal attribute or resource value for ", f"Resource_List.{name}")
    nodes = wanted.get("nodes", "1")
    for part in nodes.split("+"):
        for word in part.split(":")[1:]:
            name, equals, value = word.partition("=")
            if equals and (name not in ("ppn", "gpus", "mics") or not value.isdigit()):
                # memory has no place between colons
                more = "cannot locate feasible nodes (nodes file is empty or all systems are busy)"
                raise submit_error(190, "Job exceeds queue resource limits", more)
    full = {**wanted, "nodes": nodes, "nodect": str(len(nodes.split("+")))}
    if "walltime" in full:
        full["walltime"] = po.clock(po.seconds(full["walltime"]))
    return dict(sorted(full.items()))


def _cpus(wanted: dict[str, str]) -> int:
    """How many slots the job takes."""
    total = 0
    for part in wanted["nodes"].split("+"):
        first, *rest = part.split(":")
        ppn = next((int(word[4:]) for word in rest if word.startswith("ppn=")), 1)
        total += (int(first) if first.isdigit() else 1) * ppn
    return max(total, int(wanted.get("procs", 0)), int(wanted.get("ncpus", 0)))
