"""Answers: columns for people, JSON for programs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from clusterfutures.jobs.job import Job
from clusterfutures.schedulers.base import QueuedJob
from clusterfutures.schedulers.job_state import JobState, JobStatus

__all__ = ["HEAD", "as_json", "columns", "job_facts", "queued_facts", "queued_row", "shown_ids", "status_facts"]


def as_json(value: Any) -> None:
    """Print ``value``; names of files may be no text."""
    print(json.dumps(value, indent=1, default=str))


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def job_facts(job: Job) -> dict[str, Any]:
    """A job that was just submitted."""
    return {"id": job.id, "name": job.name, "scheduler": job.scheduler, "path": job.path}


def status_facts(job: Job, status: JobStatus) -> dict[str, Any]:
    """A job that has ended, or that one has stopped waiting for."""
    return job_facts(job) | {
        "state": status.state.value, "exitcode": status.exit_code, "reason": status.reason,
        "submitted": job.submitted, "started": job.started, "ended": job.ended, "nodes": job.nodes,
    }  # fmt: skip


def queued_facts(job: QueuedJob) -> dict[str, Any]:
    """A job as the scheduler lists it."""
    return {
        "id": job.id, "name": job.name, "owner": job.owner, "partition": job.partition, "state": job.state.value,
        "word": job.word, "nodes": list(job.nodes), "cores": job.cores, "memory": job.memory,
        "exitcode": job.exitcode, "submitted": job.submitted, "started": job.started, "ended": job.ended,
    }  # fmt: skip


def queued_row(job: QueuedJob, now: float) -> list[str]:
    """A job as a line of the table; see ``HEAD``."""
    nodes = ",".join(job.nodes[:3]) + (f",+{len(job.nodes) - 3}" if len(job.nodes) > 3 else "")
    until = job.ended if job.ended is not None else now
    ran = "" if job.started is None or job.state is JobState.PENDING else _length(until - job.started)
    return [
        job.id, re.sub(_TOKEN, "", job.name), job.owner, job.partition, job.state.value, ran, str(job.cores or ""),
        f"{job.memory} MB" if job.memory else "", nodes,
    ]  # fmt: skip


HEAD = ("ID", "NAME", "OWNER", "PARTITION", "STATE", "RAN", "CORES", "MEMORY", "NODES")


#: what makes the names of jobs of ours unique
_TOKEN = r"-[0-9a-f]{8}(\.[\w.+-]+)?(-\d+)?$"


def _length(seconds: float) -> str:
    seconds = max(0, round(seconds))
    days, clock = divmod(seconds, 86400)
    return (f"{days}-" if days else "") + time.strftime("%H:%M:%S", time.gmtime(clock))


def shown_ids(jobs: Sequence[Job]) -> list[str]:
    """Their ids; those of a whole array are one, by which all commands know them."""
    found: dict[str, None] = {}
    for job in jobs:
        base = re.fullmatch(r"(\d+)(?:_\d+|\[\d+(\]))([@.].*)?", job.id) if job.array_size > 1 else None
        found[f"{base[1]}{'[]' if base[2] else ''}{base[3] or ''}" if base else job.id] = None
    return list(found)
