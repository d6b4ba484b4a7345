"""The whole queue of a PBS: one record of qstat to one QueuedJob, pure."""

from __future__ import annotations

import re
import time

from clusterfutures.schedulers.base import QueuedJob
from clusterfutures.schedulers.job_state import JobStatus
from clusterfutures.schedulers.pbs.parse import Record

__all__ = ["job_of", "seconds_since_epoch"]

#: not those of strptime, which reads the language of the program
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def job_of(status: JobStatus, record: Record) -> QueuedJob:
    """Return the job of ``record``, after its status was read."""
    return QueuedJob(
        status,
        name=record.get("job_name", ""),
        owner=record.get("job_owner", "").partition("@")[0],
        partition=record.get("queue", ""),
        nodes=_hosts(record.get("exec_host", "")),
        cores=_cores(record),
        memory=_mebibytes(record.get("resource_list.mem", "")),
        submitted=seconds_since_epoch(record.get("ctime", "")),
        started=seconds_since_epoch(record.get("stime", "") or record.get("start_time", "")),
        ended=seconds_since_epoch(record.get("obittime", "") or record.get("comp_time", "") or record.get("mtime", ""))
        if status.state.is_final
        else None,
    )


def _hosts(exec_host: str) -> tuple[str, ...]:
    """``a/0*2+b/1`` (PBS Pro), ``a/0-1+b/0`` (Torque): each host once, in order."""
    return tuple(dict.fromkeys(part.partition("/")[0] for part in exec_host.split("+") if part))


def _cores(record: Record) -> int | None:
    cores = record.get("resource_list.ncpus", "")
    if cores.isdigit():
        return int(cores)
    nodes = re.match(r"(\d+)(?:.*?:ppn=(\d+))?", record.get("resource_list.nodes", ""))
    return int(nodes[1]) * int(nodes[2] or 1) if nodes else None


def _mebibytes(text: str) -> int | None:
    match = re.fullmatch(r"(\d+)([kmgt]?)b?", text.lower())
    return int(match[1]) * 1024 ** (" kmgt".index(match[2] or " ")) // 1024**2 if match else None


def seconds_since_epoch(text: str) -> float | None:
    """Torque writes seconds since the epoch, PBS Pro a date in words."""
    if text.isdigit():
        return float(text)
    match = re.fullmatch(r"\w+ (\w+) +(\d+) (\d+):(\d+):(\d+) (\d+)", text)
    if match is None or match[1] not in _MONTHS:
        return None
    day, hour, minute, second, year = (int(number) for number in match.groups()[1:])
    return time.mktime((year, _MONTHS.index(match[1]) + 1, day, hour, minute, second, 0, 0, -1))
