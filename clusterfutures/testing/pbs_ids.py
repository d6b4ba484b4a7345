"""PBS job ids: ``1.vm``, ``25[].vm``, ``25[3].vm``, and what they mean.

"25[1-2]" --find()--> Found(job, [1, 2]) | raises Unknown, NoIndex, NoId
"""

from __future__ import annotations

import os
import re

from .state import PLAIN, Job, Run, State, Store

_ID = re.compile(r"(\d+)(\[(?:(\d+)(?:-(\d+))?)?\])?(?:\.[\w.-]+)?(?:@[\w.-]+)?")


class NoId(Exception):
    """Not a job id at all."""


class Unknown(Exception):
    """No such job."""


class NoIndex(Exception):
    """The array has no such element."""


class Found:
    """A job that was named: all of it (``indices`` None) or some elements."""

    def __init__(self, job: Job, indices: list[int] | None) -> None:
        self.job, self.indices = job, indices


def full(store: Store, text: str) -> str:
    """The id with the name of the server."""
    return text if "." in text else f"{text}.{store.config['server']}"


def job_id(store: Store, job: Job) -> str:
    """The id of a job or a whole array."""
    return element_id(store, job, None)


def element_id(store: Store, job: Job, index: int | None) -> str:
    """The id of an element; PLAIN for a job that is no array, None for all of an array."""
    inner = "" if not job.array else "[]" if index is None or index == PLAIN else f"[{index}]"
    return f"{job.id}{inner}.{store.config['server']}"


def find(state: State, text: str) -> Found:
    """What an id names; ``25`` does not name the array ``25[]``."""
    match = _ID.fullmatch(text)
    if match is None:
        raise NoId(text)
    job = state.jobs.get(int(match[1]))
    if job is None or job.array != bool(match[2]):
        raise Unknown(text)
    if not match[3]:
        return Found(job, None)
    wanted = range(int(match[3]), int(match[4] or match[3]) + 1)
    indices = [index for index in wanted if index in job.indices]
    if not indices:
        raise NoIndex(text)
    return Found(job, indices)


def ranges(indices: list[int]) -> str:
    """``0-3,7``; "-" for none."""
    parts: list[list[int]] = []
    for index in sorted(indices):
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts) or "-"


def destination(store: Store, job: Job, run: Run, letter: str, wanted: str | None = None) -> str:
    """Where the output of an element belongs."""
    path = job.x["out" if letter == "o" else "err"] if wanted is None else wanted
    torque = store.config["kind"] == "torque"
    index = "" if run.index == PLAIN else f"-{run.index}" if torque else f".{run.index}"
    if not path:
        return os.path.join(job.x["directory"], f"{job.name}.{letter}{job.id}{index}")
    if torque:
        path = os.path.join(path, f"{job.name}.{letter}{job.id}") if os.path.isdir(path) else path
        path = path.replace("$PBS_JOBID", element_id(store, job, run.index)).replace("$PBS_ARRAYID", str(run.index))
        return path if path == os.devnull else path + index
    if path.endswith("/") or os.path.isdir(path):
        suffix = "OU" if letter == "o" else "ER"
        return os.path.join(path, f"{element_id(store, job, run.index)}.{suffix}")
    return str(path).replace("^array_index^", str(run.index)) if job.array else str(path)
