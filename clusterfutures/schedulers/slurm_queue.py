"""The whole queue of a Slurm, from one squeue: pure functions of its text.

    FORMAT --squeue--> lines --parse_jobs()--> QueuedJob each
    "n[001-003,7]" --expand()--> n001 n002 n003 n7

The name, which may contain anything, is asked for last.
"""

from __future__ import annotations

import re
import time

from clusterfutures.schedulers.base import JobStatus, QueuedJob
from clusterfutures.schedulers.slurm_parse import parse_queue

__all__ = ["FORMAT", "expand", "parse_jobs"]

#: what ``parse_queue`` reads, less its reason: owner, partition, cores, memory, nodes,
#: submitted, started, ended, reason, name
FORMAT = "%F|%K|%A|%T|%u|%P|%C|%m|%D|%N|%V|%S|%e|%r|%j"
_FIELDS = 15
_MIB = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}


def parse_jobs(stdout: str) -> list[QueuedJob]:
    """Every job of an answer in FORMAT."""
    jobs = []
    for line in stdout.split("\n"):
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
