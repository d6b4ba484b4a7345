"""The whole queue of a Slurm, from one squeue: pure functions of its text.

    FORMAT --squeue--> lines --parse_jobs()--> QueuedJob each
    EXITS  --squeue--> columns --parse_exits()--> exit code and signal, where a job has failed
    "n[001-003,7]" --expand()--> n001 n002 n003 n7

The name, which may contain anything, line ends among it, is asked for last, and each row begins with a mark that
is made for the one question.  Only the longer form of squeue has exit
codes, and only in columns that may cut off what is wider: a question of its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace

from clusterfutures.schedulers.base import QueuedJob
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.slurm.parse import parse_queue, rows_of

__all__ = ["EXITS", "FORMAT", "expand", "parse_exits", "parse_jobs", "with_exits"]

#: what ``parse_queue`` reads, less its reason: owner, partition, cores, memory, nodes,
#: submitted, started, ended, reason, name
FORMAT = "%F|%K|%A|%T|%u|%P|%C|%m|%D|%N|%V|%S|%e|%r|%j"
_FIELDS = 15
#: the arguments for exit codes: of jobs that can have another one than 0
EXITS = ["-t", "FAILED,CANCELLED,TIMEOUT,OUT_OF_MEMORY", "-O", "ArrayJobID:20,ArrayTaskID:20,exit_code:20"]
_MIB = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}


def parse_jobs(stdout: str, mark: str = "") -> list[QueuedJob]:
    """Every job of an answer in FORMAT, whose rows begin with ``mark``."""
    jobs = []
    for line in rows_of(stdout, mark):
        fields = line.split("|", _FIELDS - 1)
        if len(fields) != _FIELDS or not fields[0].isdigit():
            continue  # a line of somebody's own
        base, index, number, word, owner, partition, cores, memory, nodes, hosts, *times, reason, name = fields
        names = expand(hosts)
        summary = "|".join([base, index, number, word, names[0] if names else "", "", "", "", reason])
        (status,) = parse_queue(summary).values()
        jobs.append(_job(status, name, owner, partition, names, (cores, memory, nodes), times))
    return jobs


def _job(
    status: JobStatus, name: str, owner: str, partition: str, names: list[str], sizes: tuple[str, str, str],
    times: list[str],
) -> QueuedJob:  # fmt: skip
    cores, memory, nodes = sizes
    submitted, started, ended = (_seconds(text) for text in times)
    per_node = _mebibytes(memory)
    count = int(nodes) if nodes.isdigit() else 1
    now = time.time()
    return QueuedJob(
        status,
        name=name,
        owner=owner,
        partition=partition,
        nodes=tuple(names),
        cores=int(cores) if cores.isdigit() else None,
        memory=None if per_node is None else per_node * count,
        submitted=submitted,
        started=started if names and started is not None and started <= now else None,  # else an estimate
        ended=ended if status.state.is_final else None,  # else when its time will be up
    )


def parse_exits(stdout: str) -> dict[str, tuple[int, int]]:
    """Exit code and signal of every job of an answer to EXITS: ``3:0``, or as ``wait`` has it (22.05: 768)."""
    found = {}
    for line in stdout.split("\n"):
        match = re.fullmatch(r"(\d+)\s+(\S+)\s+(\d+)(?::(\d+))?\s*", line)
        if match is not None:
            base, index, first, second = match.groups()
            job_id = f"{base}_{index}" if index.isdigit() else base
            found[job_id] = (int(first), int(second)) if second else (int(first) >> 8, int(first) & 127)
    return found


def with_exits(jobs: list[QueuedJob], exits: Mapping[str, tuple[int, int]]) -> list[QueuedJob]:
    """The jobs with what is known of how they ended; one that never ran has no exit code."""
    return [replace(job, status=_with_exit(job.status, exits)) if job.nodes else job for job in jobs]


def _with_exit(status: JobStatus, exits: Mapping[str, tuple[int, int]]) -> JobStatus:
    if status.state is JobState.COMPLETED:
        return replace(status, exit_code=0)
    if not status.state.is_final or status.job_id not in exits:
        return status
    code, signal = exits[status.job_id]
    return replace(status, exit_code=None if signal else code, signal=signal or None)


def _seconds(text: str) -> float | None:
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None  # N/A


def _mebibytes(text: str) -> int | None:
    match = re.fullmatch(r"([0-9.]+)([KMGT]?)", text)
    return round(float(match[1]) * _MIB[match[2] or "M"]) if match and float(match[1]) else None


def expand(hosts: str) -> list[str]:
    """The hosts of a list in Slurm's short form, leading zeros kept: ``n[001-003,7],x``.

    Several brackets in one name multiply, the last runs fastest: ``r[1-2]n[1-2]``.
    """
    found: list[str] = []
    for part in re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", hosts):
        names = [""]
        for text, ranges in re.findall(r"([^\[\]]+)|\[([^\]]*)\]", part):
            names = [name + end for name in names for end in ([text] if text else _range(ranges))]
        found += names
    return found


def _range(ranges: str) -> list[str]:
    numbers: list[str] = []
    for part in ranges.split(","):
        first, dash, last = part.partition("-")
        if dash and first.isdigit() and last.isdigit():
            numbers += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
        else:
            numbers.append(part)
    return numbers
