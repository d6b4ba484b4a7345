"""A pipeline of many jobs in layers, some of which fail: does every job end as it has to?

    python pipeline.py submit DIRECTORY SCHEDULER JOBS FAILURES [--layers 5]   and leaves
    python pipeline.py attach DIRECTORY                                       another program: waits, compares

Every job but those of the first layer needs one to three jobs of the layer above, most of them to
have ended well, some not to have, some just to have ended.  ``expected`` says, by these words
alone, which have to end well and which never start; each job that starts leaves its number.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clusterfutures import Job, JobState, Queue, submit
from clusterfutures.jobs.job import jobs_in

__all__ = ["Planned", "attach", "expected", "plan", "submit_all"]

_SEED = 10


class Planned(NamedTuple):
    """A job before it is submitted.  needs: kind of dependency -> numbers of jobs."""

    number: int
    fails: bool
    needs: dict[str, list[int]]


def plan(jobs: int, failures: int, layers: int = 5) -> list[Planned]:
    """Layers of equal size; the failures are anywhere."""
    source = random.Random(_SEED)
    width = jobs // layers
    failing = set(source.sample(range(jobs), failures))
    planned = []
    for number in range(jobs):
        layer = min(number // width, layers - 1)
        needs: dict[str, list[int]] = {}
        if layer:
            above = range((layer - 1) * width, layer * width)
            for other in source.sample(above, min(width, source.randint(1, 3))):
                kinds = ["notok", "any"] if other in failing else ["ok"] * 9 + ["any"]
                needs.setdefault(source.choice(["ok", *kinds]), []).append(other)
        planned.append(Planned(number, number in failing, needs))
    return planned


def expected(planned: list[Planned], scheduler: str) -> dict[int, str]:
    """How each job ends: "completed", "failed", or "never", which is a failure without a start.

    PBS takes out with a job that can never start all that depends on it, however it does.
    """
    ends: dict[int, str] = {}
    for job in planned:
        wanted = {"ok": lambda end: end == "completed", "notok": lambda end: end != "completed", "any": bool}
        starts = all(
            wanted[kind](ends[other]) and not (scheduler == "pbs" and ends[other] == "never")
            for kind, others in job.needs.items()
            for other in others
        )
        ends[job.number] = "never" if not starts else "failed" if job.fails else "completed"
    return ends


def submit_all(directory: Path, scheduler: str, planned: list[Planned]) -> list[Job]:
    """Submit all of it and note the ids, for another program."""
    jobs: list[Job] = []
    for one in planned:
        needs = {kind: [jobs[other] for other in others] for kind, others in one.needs.items()}
        jobs.append(
            submit(
                f"echo {one.number} >>{directory}/started; exit {3 * one.fails}", dependencies=needs, memory="50MB",
                name=f"step{one.number}", scheduler=scheduler, directory=str(directory / "jobs"),
            )
        )  # fmt: skip
    (directory / "pipeline.json").write_text(json.dumps([planned, [job.id for job in jobs], scheduler]))
    return jobs


def attach(directory: Path, timeout: float) -> Counter[str]:
    """Find the jobs by their ids, wait for them, and count how they ended.  Raises AssertionError at a wrong one."""
    content, ids, scheduler = json.loads((directory / "pipeline.json").read_text())
    planned = [Planned(*one) for one in content]
    known = {job.id: job for job in jobs_in(str(directory / "jobs"))}
    jobs = [known[job_id] for job_id in ids]
    Queue(scheduler=scheduler).wait(jobs, timeout)
    ends = {}
    for number, job in enumerate(jobs):
        assert job.state in (JobState.COMPLETED, JobState.FAILED), str(job)
        ends[number] = job.state.value if job.started is not None else "never"
        assert job.exitcode == {"completed": 0, "failed": 3, "never": None}[ends[number]], str(job)
    right = expected(planned, scheduler)
    wrong = [f"{jobs[at]}\n  {planned[at]}, not {end}" for at, end in right.items() if ends[at] != end]
    assert not wrong, "\n".join(wrong)
    started = sorted(map(int, (directory / "started").read_text().split()))
    assert started == [number for number, end in ends.items() if end != "never"]
    return Counter(ends.values())


def main() -> int:
    """Submit, or attach."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["submit", "attach"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("scheduler", nargs="?")
    parser.add_argument("jobs", type=int, nargs="?", default=200)
    parser.add_argument("failures", type=int, nargs="?", default=10)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=1200)
    told = parser.parse_args()
    before = time.monotonic()
    if told.what == "submit":
        told.directory.mkdir(exist_ok=True)
        jobs = submit_all(told.directory, told.scheduler, plan(told.jobs, told.failures, told.layers))
        print(f"{len(jobs)} jobs submitted to {told.scheduler} in {time.monotonic() - before:.1f} s")
        return 0
    counted = attach(told.directory, told.timeout)
    print(f"{sum(counted.values())} jobs ended as they had to, after {time.monotonic() - before:.1f} s more:", end=" ")
    print(", ".join(f"{number} {end}" for end, number in sorted(counted.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
