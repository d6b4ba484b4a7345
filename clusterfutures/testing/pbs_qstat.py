"""``qstat`` of PBS Pro: which jobs it shows, in which format, with which defects.

    ids --chosen()--> {id: attributes}, errors --> JSON | -f text | dsv | table

The defect that counts: with ``-f -F json`` and several ids only the first is printed, unless
``-E`` is given; with ``-E`` unknown ids are left out without a word.
"""

from __future__ import annotations

import json
import re

from . import pbs_ids
from .dialect import Call, Refused
from .pbs_options import split_options
from .pbs_records import rows
from .state import DONE, Job, State, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Records = dict[str, dict[str, Any]]

LETTERS = "fF:xtEwu:HD:BQJnsair1pGMT"
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


def qstat(call: Call) -> None:
    """The whole command."""
    if call.argv[:1] == ["--version"]:
        call.out(f"pbs_version = {call.config['version']}")
        return
    try:
        pairs, ids = split_options(call.argv, LETTERS)
    except Refused as refusal:
        raise Refused(2, refusal.text.splitlines()[0].replace("qsub:", "qstat:")) from None
    options = dict(pairs)
    if "u" in options and "f" in options:
        raise Refused(2, "qstat: conflicting options.")
    if "B" in options or "Q" in options:
        return _server(call, options)
    state = call.store.read()
    call.dialect.purge(call.store, state, now())
    records = chosen(call, state, options, ids)
    _print(call, options, records)


def chosen(call: Call, state: State, options: dict[str, str], ids: list[str]) -> Records:
    """The jobs to show; what is wrong with the others goes to stderr."""
    records: Records = {}
    expand = "t" in options
    if not ids:
        if ("x" in options or "H" in options) and not call.config["history"]:
            call.err("qstat: PBS is not configured to maintain job history")
            return {}
        for job in state.jobs.values():
            users = options["u"].split(",") if "u" in options else [job.x["user"]]
            shown = bool(job.ended) if "H" in options else "x" in options or not job.ended
            if shown and job.x["user"] in users:
                records.update(rows(call.store, state, job, None, expand))
        return records
    grouped = "E" in options
    for text in sorted(ids, key=_order) if grouped else ids:
        try:
            records.update(_one(call, state, options, text))
        except Refused as refusal:
            if grouped and refusal.code == 35:
                call.err(refusal.text, refusal.code)
                return {}
            if len(ids) == 1 or not (grouped and refusal.code in (153, 156)):
                call.err(refusal.text, refusal.code)
        if options.get("F") == "json" and not grouped and call.config["several_ids_bug"]:
            break
    return records


def _order(text: str) -> tuple[int, str]:
    digits = re.match(r"\d*", text)
    return int(digits[0] or 0) if digits else 0, text


def _one(call: Call, state: State, options: dict[str, str], text: str) -> Records:
    """The records of one id, or a refusal."""
    full = pbs_ids.full(call.store, text)
    if ("x" in options or "H" in options) and not call.config["history"]:
        raise Refused(0, f"qstat: PBS is not configured to maintain job history {full}")
    try:
        found = pbs_ids.find(state, text)
    except pbs_ids.NoId:
        raise Refused(170, f"qstat: Unknown queue destination {text}") from None
    except pbs_ids.Unknown:
        raise Refused(153, f"qstat: Unknown Job Id {full}") from None
    except pbs_ids.NoIndex:
        raise Refused(153, f"qstat: Unknown Job Id {full}") from None
    if found.job.ended and "x" not in options and "H" not in options:
        raise Refused(35, f"qstat: {full} Job has finished, use -x or -H to obtain historical job information")
    return rows(call.store, state, found.job, found.indices, "t" in options)


def _print(call: Call, options: dict[str, str], records: Records) -> None:
    form = options.get("F", "")
    if "f" in options and form == "json":
        call.out(as_json(call, records))
    elif "f" in options and form == "dsv":
        for name, record in records.items():
            parts = [f"Job Id: {name}", *(f"{key}={value}" for key, value in flat(record))]
            call.out(options.get("D", "|").join(parts))
    elif "f" in options and form in ("", "default"):
        for name, record in records.items():
            call.out(as_text(name, record, "w" in options))
    elif form:
        raise Refused(2, "qstat: illegal -F value")
    elif records:
        call.out(as_table(records))


def as_json(call: Call, records: Records) -> str:
    """``-F json``: values of variables are typed by their looks; no key "Jobs" without jobs."""
    answer: dict[str, Any] = {
        "timestamp": int(now()),
        "pbs_version": call.config["version"],
        "pbs_server": call.config["server"],
    }
    if records:
        answer["Jobs"] = {name: _typed_record(record) for name, record in records.items()}
    return json.dumps(answer, ensure_ascii=False)


def _typed_record(record: dict[str, Any]) -> dict[str, Any]:
    variables = {name: typed(value) for name, value in record["Variable_List"].items()}
    changed = {**record, "Variable_List": variables}
    for name in ("array_indices_remaining", "array_indices_submitted"):
        if name in record:
            changed[name] = typed(record[name])
    return changed


def typed(value: str) -> object:
    """A value as OpenPBS prints it: what looks like JSON is taken for JSON, and what is text
    is escaped once too often."""
    if _NUMBER.fullmatch(value):
        number = float(value)
        return int(number) if number.is_integer() else number
    if value in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[value]
    return value.replace("\\", "\\\\").replace('"', '\\"')


def flat(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Attributes as lines: ``Resource_List.ncpus = 1``."""
    lines = []
    for name, value in record.items():
        if name == "Variable_List":
            lines.append((name, ",".join(f"{k}={v}".replace(",", "\\,") for k, v in value.items())))
        elif isinstance(value, dict):
            lines += [(f"{name}.{key}", str(inner)) for key, inner in value.items()]
        else:
            lines.append((name, str(value)))
    return lines


def as_text(name: str, record: dict[str, Any], wide: bool) -> str:
    """``-f``: one attribute a line, long ones folded."""
    lines = [f"Job Id: {name}"]
    for key, value in flat(record):
        line = f"    {key} = {value}"
        while not wide and len(line) > 79:
            lines.append(line[:79])
            line = "\t" + line[79:]
        lines.append(line)
    return "\n".join([*lines, ""])


def as_table(records: Records) -> str:
    """The short form."""
    lines = [
        "Job id            Name             User              Time Use S Queue",
        "----------------  ---------------- ----------------  -------- - -----",
    ]
    for name, record in records.items():
        user = record["Job_Owner"].partition("@")[0]
        used = record.get("resources_used", {}).get("walltime", "0")
        lines.append(
            f"{name:17.17} {record['Job_Name']:16.16} {user:16.16}  "
            f"{used:>8} {record['job_state']} {record['queue']:16}"
        )
    return "\n".join(lines)


def _server(call: Call, options: dict[str, str]) -> None:
    """``-B`` and ``-Q``: what is worth knowing of the server and its queues."""
    config = call.config
    if "Q" in options:
        for queue in config["queues"]:
            call.out("\n".join([f"Queue: {queue}", *queue_attributes(call, queue), ""]))
        return
    call.out(f"Server: {config['server']}")
    for name, value in server_attributes(call).items():
        call.out(f"    {name} = {value}")
    call.out("")


def queue_attributes(call: Call, queue: str) -> list[str]:
    """The attributes of a queue that qmgr and ``qstat -Qf`` tell, a line each."""
    config = call.config
    limits = [f"    resources_max.{name} = {value}" for name, value in config["queue_limits"].items()]
    enabled, started = queue not in config["disabled_queues"], queue not in config["stopped_queues"]
    return ["    queue_type = Execution", *limits, f"    enabled = {enabled}", f"    started = {started}"]


def server_attributes(call: Call) -> dict[str, str]:
    """The attributes of the server that qmgr and ``qstat -Bf`` tell."""
    config = call.config
    return {
        "server_state": "Active",
        "server_host": config["server"],
        "scheduling": "True",
        "default_queue": config["queues"][0],
        "job_history_enable": str(bool(config["history"])),
        "max_array_size": str(config["max_array_size"]),
        "pbs_version": config["version"],
    }


def unfinished(job: Job) -> list[int]:
    """The elements that have not ended."""
    return [*job.waiting, *(run.index for run in job.runs.values() if run.phase != DONE)]
