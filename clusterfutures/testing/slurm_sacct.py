"""``sacct``: the records that outlive the controller's memory, if the site keeps any.

    ids, names, users --> rows, and without -X one more per started job: ``.batch``

Its words differ from squeue's: ``CANCELLED by 1001``, exit codes from 128 on are cut, and
an element that was cancelled before it started has no row.
"""

from __future__ import annotations

import re

from .dialect import Call, Refused
from .slurm_squeue import options_of
from .slurm_words import Row, rows, span, stamp
from .state import DONE

_LONG = {
    "allocations": "X", "noheader": "n", "parsable2": "P", "parsable": "p", "jobs": "j", "format": "o",
    "starttime": "S", "endtime": "E", "user": "u", "uid": "u", "name": "N", "duplicates": "D", "state": "s",
    "allusers": "a", "delimiter": "d", "units": "U", "clusters": "M", "version": "V", "noconvert": "C",
}  # fmt: skip
_TAKES = "joSEuNsdUM"
_DEFAULT = "JobID,JobName,Partition,Account,AllocCPUS,State,ExitCode"
_FIELDS = (
    "JobID", "JobIDRaw", "JobName", "Partition", "Account", "AllocCPUS", "State", "ExitCode", "Reason", "Elapsed",
    "ElapsedRaw", "Start", "End", "Submit", "NodeList", "User", "UID", "DerivedExitCode", "MaxRSS", "NNodes", "NCPUS",
    "ReqMem", "Timelimit", "TimelimitRaw", "QOS", "Comment", "Cluster", "WorkDir", "Restarts",
)  # fmt: skip


def sacct(call: Call) -> None:
    """The whole command."""
    if "--array" in call.argv:
        raise Refused(1, "sacct: unrecognized option '--array'")
    options, _ = options_of(call, _LONG, _TAKES)
    if "V" in options:
        call.out(f"slurm {call.config['version']}")
        return
    if not call.config["accounting"]:
        raise Refused(1, "Slurm accounting storage is disabled")
    names = [_field_name(text) for text in options.get("o", _DEFAULT).split(",") if text]
    wanted = _ids(options["j"]) if "j" in options else None
    table = [names] if "n" not in options else []
    state = call.store.read()
    for job in state.jobs.values():
        if ("N" in options and job.name not in options["N"].split(",")) or (
            "u" in options and not {job.x["user"], str(job.x["uid"])} & set(options["u"].split(","))
        ):
            continue
        for row in rows(call, state, job, False):
            if wanted is None or any(_matches(row, one) for one in wanted):
                table.append([_value(row, name, False) for name in names])
                if "X" not in options and row.started and row.node:
                    table.append([_value(row, name, True) for name in names])
    _print(call, options, table)


def _field_name(text: str) -> str:
    word = text.partition("%")[0]
    for name in _FIELDS:
        if name.lower() == word.lower():
            return name
    raise Refused(1, f'Invalid field requested: "{word}"')


def _ids(text: str) -> list[tuple[int, str]]:
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:_(\d+))?(?:\.\w+)?", part)
        if match is None:
            raise Refused(1, f"sacct: fatal: Bad job/step specified: {part}")
        found.append((int(match[1]), match[2] or ""))
    return found


def _matches(row: Row, one: tuple[int, str]) -> bool:
    number, index = one
    if not index:
        return number in (row.job.id, row.raw)
    return number == row.job.id and row.indices is None and row.index == int(index)


def _state(row: Row, batch: bool) -> str:
    if row.state == "CANCELLED" and row.run is not None:
        if row.run.cause == "dependency":
            return "CANCELLED"
        return "CANCELLED" if batch else f"CANCELLED by {row.job.x['uid']}"
    if row.run is not None and row.run.phase == DONE and batch and row.run.signal:
        return "CANCELLED"
    return "RUNNING" if row.state == "COMPLETING" else row.state


def _exit_code(row: Row, batch: bool) -> str:
    if not batch and row.state in ("CANCELLED", "TIMEOUT", "PREEMPTED", "NODE_FAIL"):
        return "0:0"
    code, _, number = row.exit_code.partition(":")
    # A code from 128 on is taken for a signal's and cut.
    return f"{int(code) - 128 if int(code) >= 128 else code}:{number}"


def _value(row: Row, name: str, batch: bool) -> str:
    job, x = row.job, row.job.x
    suffix = ".batch" if batch else ""
    values = {
        "JobID": row.name + suffix, "JobIDRaw": f"{row.raw}{suffix}", "JobName": "batch" if batch else job.name,
        "Partition": "" if batch else x["partition"], "Account": x["account"].replace("(null)", ""),
        "AllocCPUS": str(job.cpus), "NCPUS": str(job.cpus), "State": _state(row, batch),
        "ExitCode": _exit_code(row, batch), "Reason": "" if batch else "None", "Elapsed": span(row.elapsed, False),
        "ElapsedRaw": str(int(row.elapsed)), "Start": stamp(row.started, "None" if row.ended else "Unknown"),
        "End": stamp(row.ended if row.run is not None and row.run.phase == DONE else 0.0, "Unknown"),
        "Submit": stamp(job.submitted), "NodeList": row.node or "None assigned", "User": "" if batch else x["user"],
        "UID": "" if batch else str(x["uid"]), "DerivedExitCode": "" if batch else "0:0",
        "MaxRSS": "1024K" if batch else "", "NNodes": "1", "ReqMem": f"{x['memory'].get('mem', 0)}M",
        "Timelimit": "" if batch else span(x["minutes"] * 60, False) if x["minutes"] else "UNLIMITED",
        "TimelimitRaw": "" if batch else str(x["minutes"] or "UNLIMITED"), "QOS": "" if batch else "normal",
        "Comment": "" if batch else x["comment"], "Cluster": row.call.config["cluster"],
        "WorkDir": "" if batch else x["directory"], "Restarts": str(row.restarts),
    }  # fmt: skip
    return str(values[name])


def _print(call: Call, options: dict[str, str], table: list[list[str]]) -> None:
    if "P" in options or "p" in options:
        mark = options.get("d", "|")
        for line in table:
            call.out(mark.join(line) + (mark if "p" in options else ""))
        return
    for number, line in enumerate(table):
        # Too long is cut, with a plus: CANCELLED+
        call.out(" ".join((text if len(text) <= 10 else text[:9] + "+").rjust(10) for text in line) + " ")
        if number == 0 and "n" not in options:
            call.out(" ".join(["-" * 10] * len(line)) + " ")
