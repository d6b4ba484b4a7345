"""``qsub`` of PBS Pro: what it refuses, and the job it makes of the rest.

argv --pbs_options.read()--> Options --build()--> Job --> queue, "25[].vm" on stdout
"""

from __future__ import annotations

import os
import re
import time

from . import pbs_options as po
from . import runner
from .dialect import Call, Refused
from .state import DONE, PENDING, PLAIN, Job, State, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LETTERS = "a:A:c:C:e:fGhIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xxz"
NAME = re.compile(r"[A-Za-z0-9_\-+.]+")
_RANGE = re.compile(r"(\d+)-(\d+)(?::(\d+))?(?:%(\d+))?")
W_NAMES = (
    "depend", "umask", "block", "group_list", "stagein", "stageout", "sandbox", "run_count", "pwd",
    "max_run_subjobs", "release_nodes_on_stageout", "tolerate_node_failures", "create_resv_from_job", "cred",
)  # fmt: skip
_PLACES = (
    "free", "pack", "scatter", "vscatter", "excl", "exclhost", "shared",
)  # fmt: skip
_DEPEND = ("after", "afterok", "afternotok", "afterany")


def qsub(call: Call) -> None:
    """The whole command."""
    if call.argv[:1] == ["--version"]:
        call.out(f"pbs_version = {call.config['version']}")
        return
    options, script = po.read(call.argv, LETTERS)
    job, environment = build(call, options)
    with call.store.locked() as state:
        call.dialect.purge(call.store, state, now())
        job.id = state.take_number()  # burnt even when the server refuses
        refusal = server_refuses(call, state, job, options)
        if refusal is None:
            submit(call, state, job, environment, script)
    if refusal is not None:
        raise refusal
    text = f"{job.id}{'[]' if job.array else ''}.{call.config['server']}"
    if "z" not in options.values:
        call.out(text)
    if options.attributes.get("block") == "true":
        _wait(call, job.id)


def submit(call: Call, state: State, job: Job, environment: dict[str, str], script: bytes) -> None:
    """Keep what the job needs, and put it into the queue."""
    import json

    if not job.x["argv"]:
        call.store.keep(job.id, "script", script, 0o700)
    call.store.keep(job.id, "env", json.dumps(environment))
    if not job.name:
        job.name = "STDIN"
    state.add(job)
    runner.start_due(call.store, call.dialect, state)


def build(call: Call, options: po.Options) -> tuple[Job, dict[str, str]]:
    """Return the job, with the checks that qsub itself makes, and its variables."""
    values = options.values
    job = Job(submitted=now(), name=_name(options), walltime=0.0)
    if "I" in values:
        raise Refused(1, "qsub: interactive jobs are not supported by this stand-in")
    _set_array(job, values)
    _set_attributes(job, options)
    directory = os.environ.get("PWD") or os.getcwd()
    directory = directory if os.path.realpath(directory) == os.path.realpath(os.getcwd()) else os.getcwd()
    for letter in ("o", "e"):
        if letter in values and (not values[letter] or not values[letter].isascii()):
            raise po.illegal(letter)
    if not re.fullmatch(r"n|[abejs]+", values.get("m", "a")):
        raise po.illegal("m")
    if not re.fullmatch(r"[+-]?\d+", priority := values.get("p") or "0") or not -1024 <= int(priority) <= 1023:
        raise po.illegal("p")
    if values.get("j", "n") not in ("oe", "eo", "n") or values.get("r", "y") not in ("y", "n"):
        raise po.illegal("j" if "r" not in values or values["r"] in "yn" else "r")
    if not re.fullmatch(r"n|[oed]+", values.get("k", "n")) or not re.fullmatch(r"[oe]+", values.get("R", "oe")):
        raise po.illegal("k")
    variables = environment(call, values, directory)
    job.hold = "u" if "h" in values else ""
    job.begin = begin(values["a"]) if "a" in values else 0.0
    job.rerunnable = values.get("r", "y") == "y"
    job.x.update(
        user=variables["PBS_O_LOGNAME"],
        directory=directory,
        out=_output_path(call, values.get("o"), directory),
        err=_output_path(call, values.get("e"), directory),
        join=values.get("j", "n"),
        keep=values.get("k", "n"),
        remove=values.get("R", ""),
        shell=values.get("S", ""),
        argv=options.command,
        queue=values.get("q", "").partition("@")[0] or call.config["queues"][0],
        project=values.get("P", "_pbs_project_default"),
        account=values.get("A", ""),
        priority=int(priority),
        mail=values.get("m", "a"),
        judged_by_last=job.array,
        submit_arguments=" ".join(call.argv),
        resources=options.resources,
    )
    return job, variables


def _name(options: po.Options) -> str:
    name = options.values.get("N")
    if name is None:
        name = os.path.basename(options.script) if options.script not in (None, "-") else "STDIN"
    if len(name) > 230:
        raise Refused(2, "qsub: Job name is too long ")
    if not NAME.fullmatch(name):
        raise po.illegal("N")
    return name


def _set_array(job: Job, values: dict[str, str]) -> None:
    if "J" not in values:
        return
    match = _RANGE.fullmatch(values["J"])
    if match is None:
        raise po.illegal("J")
    first, last, step, limit = (int(text or 0) for text in match.groups())
    if first >= last or match[3] == "0" or match[4] == "0":
        raise po.illegal("J")
    if values.get("r") == "n":
        raise Refused(2, f"qsub: cannot submit non-rerunable Array Job\n{po.USAGE}")
    job.array, job.limit = True, limit
    job.indices = list(range(first, last + 1, step or 1))
    job.waiting = list(job.indices)
    job.x["submitted_indices"] = values["J"].partition("%")[0]


def _set_attributes(job: Job, options: po.Options) -> None:
    attributes = options.attributes
    text = attributes.get("umask", "077")
    # 999 is taken as well, for the 666 of its lowest bits
    job.x["umask"] = sum((int(digit) & 7) << 3 * at for at, digit in enumerate(reversed(text[-3:])) if digit.isdigit())
    job.limit = int(attributes.get("max_run_subjobs", job.limit))
    job.x["depend"] = []
    for clause in filter(None, attributes.get("depend", "").split(",")):
        kind, *ids = clause.split(":")
        if kind not in _DEPEND or not ids:
            raise po.illegal("W")
        for text in ids:
            if not re.fullmatch(r"\d+(\[\])?(\.[\w.-]+)?(@[\w.-]+)?", text):
                raise po.illegal("W")  # the id of a subjob, too
            job.x["depend"].append((kind, text.partition(".")[0]))


def environment(call: Call, values: dict[str, str], directory: str) -> dict[str, str]:
    """Variable_List: the variables of qsub itself, and those that -v and -V pass on."""
    import pwd

    mine = os.environ
    user = mine.get("LOGNAME") or pwd.getpwuid(os.getuid()).pw_name
    own = {
        "PBS_O_HOME": mine.get("HOME", "/"),
        "PBS_O_LOGNAME": user,
        "PBS_O_PATH": mine.get("PATH", ""),
        "PBS_O_MAIL": mine.get("MAIL", f"/var/mail/{user}"),
        "PBS_O_SHELL": mine.get("SHELL", "/bin/sh"),
        "PBS_O_WORKDIR": directory,
        "PBS_O_SYSTEM": "Linux",
        "PBS_O_QUEUE": values.get("q", "").partition("@")[0] or call.config["queues"][0],
        "PBS_O_HOST": call.config["submit_host"],
    }
    passed = {k: v for k, v in mine.items() if not k.startswith("CLUSTERFUTURES_STANDIN")} if "V" in values else {}
    strict = call.config["kind"] == "pbs"
    return {**own, **passed, **po.variables(values.get("v", ""), mine, strict)}


def _output_path(call: Call, path: str | None, directory: str) -> str:
    return "" if path is None else po.absolute(path, directory)


def begin(text: str) -> float:
    """``-a [[CC]YY]MMDDhhmm[.SS]``, or with fewer parts: the next such time."""
    digits, _, second = text.partition(".")
    if not re.fullmatch(r"(\d\d){2,6}", digits) or not re.fullmatch(r"\d{0,2}", second):
        raise po.illegal("a")
    today = time.localtime()
    months, days, hours, minutes = (int(digits.zfill(12)[at : at + 2]) for at in (4, 6, 8, 10))
    if (
        hours > 23
        or minutes > 59
        or (len(digits) > 4 and not 1 <= days <= 31)
        or (len(digits) > 6 and not 0 < months < 13)
    ):
        raise po.illegal("a")
    parts = [today.tm_year, today.tm_mon, today.tm_mday]
    *date, hour, minute = [digits[at : at + 2] for at in range(0, len(digits), 2)]
    if len(date) == 4:
        date = [date[0] + date[1], *date[2:]]
    elif len(date) == 3:
        date = ["20" + date[0], *date[1:]]
    if date:
        parts[3 - len(date) :] = [int(part) for part in date]
    return time.mktime((*parts, int(hour), int(minute), int(second or 0), 0, 0, -1))  # type: ignore[arg-type]


def server_refuses(call: Call, state: State, job: Job, options: po.Options) -> Refused | None:
    """What the server says to the job, None when it takes it."""
    queue, _, server = options.values.get("q", "").partition("@")
    if server and server != call.config["server"]:
        return Refused(160, f"Unknown Host.\nqsub: cannot connect to server {server_name(call)} (errno=15008)")
    if queue and queue not in call.config["queues"]:
        return Refused(170, "qsub: Unknown queue")
    if job.x["queue"] in call.config["closed_queues"]:
        return Refused(159, "qsub: Unauthorized Request ")
    if job.x["queue"] in call.config["disabled_queues"]:
        return Refused(173, "qsub: Queue is not enabled")
    if any(name not in W_NAMES for name in options.attributes):
        return Refused(154, "qsub: Error (15002) submitting job")
    if options.attributes.get("group_list", "") not in ("", *_groups()):
        return Refused(197, "qsub: Bad GID for job execution")
    try:
        job.x["resources"] = resources(options.resources, call.config["resources"])
    except Refused as refusal:
        return refusal
    job.cpus = job.x["resources"]["ncpus"]
    job.walltime = po.seconds(job.x["resources"].get("walltime", "0"))
    if len(job.indices) > call.config["max_array_size"]:
        return Refused(3, "qsub: Array job exceeds server or queue size limit")
    if over := _over_limits(call.config, state, job):
        return over
    job.depend = [parent(state, kind, text) for kind, text in job.x["depend"]]
    return None


def _over_limits(config: dict[str, Any], state: State, job: Job) -> Refused | None:
    """The limits of a queue: for one job, for all jobs of a user, for those of them that wait."""
    asked, queue = job.x["resources"], job.x["queue"]
    for name, largest in config["queue_limits"].items():
        if name in asked and po.amount(str(asked[name])) > po.amount(str(largest)):
            return Refused(188, "qsub: Job violates queue and/or server resource limits")
    limit, more = config["submit_limit"], len(job.indices)
    if limit is not None and state.live() + more > limit:
        return Refused(38, f"qsub: would exceed queue {queue}'s per-user limit")
    limit = config["queued_threshold"]
    waiting = sum(len(one.waiting) + sum(run.phase == PENDING for run in one.runs.values())
                  for one in state.jobs.values() if not one.ended)  # fmt: skip
    if limit is not None and waiting + more > limit:
        return Refused(38, f"qsub: would exceed queue {queue}'s per-user limit of jobs in 'Q' state")
    for name, largest in config["max_queued_res"].items():
        live = [(one.x["resources"], len(one.waiting) + sum(run.phase != DONE for run in one.runs.values()))
                for one in state.jobs.values() if not one.ended]  # fmt: skip
        total = sum(count * po.amount(str(their.get(name, 0))) for their, count in [*live, (asked, more)])
        if total > po.amount(str(largest)):
            return Refused(39, f"qsub: would exceed per-user limit on resource {name} in queue {queue}")
    return None


def server_name(call: Call) -> str:
    """The name of the server."""
    return str(call.config["server"])


def _groups() -> list[str]:
    import grp

    names = []
    for number in {*os.getgroups(), os.getgid()}:
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return names


def parent(state: State, kind: str, text: str) -> tuple[str, int, int]:
    """A dependency; ``25`` does not name the array ``25[]``."""
    number = int(text.removesuffix("[]"))
    parent = state.jobs.get(number)
    if parent is not None and parent.array != text.endswith("[]"):
        number = -1
    return kind, number, PLAIN


def resources(wanted: dict[str, str], extra: list[str]) -> dict[str, Any]:
    """Resource_List of a job, as the server completes it."""
    for name, value in wanted.items():
        if name not in po.RESOURCES and name not in extra:
            raise Refused(187, f"qsub: Unknown resource Resource_List.{name}")
        if name in po.RESOURCES:
            po.check_value(name, value, f"Resource_List.{name}")
    wanted = dict(wanted)
    if "place" in wanted and not {"select", "nodes"} & wanted.keys():
        raise Refused(7, 'qsub: Cannot have "place" without "select"')
    if not all(word in _PLACES or word.startswith("group=") for word in wanted.get("place", "pack").split(":")):
        raise Refused(166, "qsub: Illegal attribute or resource value Resource_List.place")
    if "select" in wanted and "nodes" in wanted:
        raise Refused(6, "qsub: Cannot be used with select or place: nodes")
    by_nodes = "nodes" in wanted
    if by_nodes:
        count, *rest = wanted.pop("nodes").split(":")
        ppn = next((part[4:] for part in rest if part.startswith("ppn=")), "1")
        memory = f":mem={wanted['mem']}" if "mem" in wanted else ""
        wanted["select"] = f"{count}:ncpus={ppn}:mpiprocs={ppn}{memory}"
    if "select" not in wanted:
        memory = f":mem={wanted['mem']}" if "mem" in wanted else ""
        wanted["select"] = f"1:ncpus={wanted.get('ncpus', '1')}{memory}"
    elif not by_nodes:
        for name in ("ncpus", "mem", "vmem", "mpiprocs"):
            if name in wanted:
                raise Refused(5, f'qsub: "-lresource=" cannot be used with "select" or "place", resource is: {name}')
    chunks, cpus, memory = select(wanted["select"], extra)
    full: dict[str, Any] = {**wanted, "ncpus": cpus, "nodect": chunks, "place": wanted.get("place", "pack")}
    if memory:
        full["mem"] = memory
    for name in ("walltime", "cput"):
        if name in full:
            full[name] = po.clock(po.seconds(full[name]))
    return dict(sorted(full.items()))


def select(text: str, extra: list[str]) -> tuple[int, int, str]:
    """``select=``: number of chunks, all their ncpus, memory of the last."""
    chunks = cpus = 0
    memory = ""
    for chunk in text.split("+"):
        first, *rest = chunk.split(":")
        count = int(first) if first.isdigit() else 1
        if not count:
            raise Refused(166, "qsub: Illegal attribute or resource value Resource_List.select")
        rest = rest if first.isdigit() else [first, *rest]
        ncpus = 1
        for part in rest:
            name, _, value = part.partition("=")
            if name not in po.RESOURCES and name not in extra:
                raise Refused(187, f"qsub: Unknown resource: {name}")
            if name in po.RESOURCES:
                po.check_value(name, value, f"select.{name}")
            ncpus = int(value) if name == "ncpus" else ncpus
            memory = value if name == "mem" else memory
        chunks, cpus = chunks + count, cpus + count * ncpus
    return chunks, cpus, memory


def _wait(call: Call, number: int) -> None:
    """``-W block=true``: the id is printed at once, the exit code is the job's."""
    import sys

    sys.stdout.write("".join(call.stdout))
    sys.stdout.flush()
    call.stdout.clear()
    while True:
        job = call.store.read().jobs.get(number)
        if job is None or job.ended:
            break
        time.sleep(0.05)
    if job is not None:
        call.code = int(job.failed) if job.array else job.runs[PLAIN].code
