"""Does the queue of one machine keep to its cores, and how well does it use them?

    python packing.py [--jobs 500] [--cores 2] [--seconds 0.1 0.4] [--seed 1]

Jobs of 1 to 4 cores sleep for a while and note when they began and ended, by the machine's own
clock and in their own words.  Told are the most cores that were ever taken at once, and how long
all of it took against what no order of the jobs could beat: their work, spread evenly.  A job's
work begins with its first shell, which is when the queue says that it has started; between that
and its own first word a busy machine takes its time.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clusterfutures import Queue, submit

__all__ = ["Stamp", "Told", "least_seconds", "most_at_once", "run", "seconds"]

#: bash has the time without starting a process that would be measured as well
_COMMAND = 'began=$EPOCHREALTIME; sleep {seconds}; echo "$began $EPOCHREALTIME $CLUSTERFUTURES_CORES" >>{stamps}'


class Stamp(NamedTuple):
    """What a job says of itself: seconds since the epoch, and the cores it was given."""

    began: float
    ended: float
    cores: int


class Told(NamedTuple):
    """Of all jobs: what they say themselves, and what the queue says."""

    stamps: list[Stamp]
    listed: list[Stamp]


def run(jobs: int, cores: int, seconds_each: tuple[float, float], seed: int, directory: Path) -> Told:
    """Submit jobs of 1 to 4 cores and wait for them."""
    source = random.Random(seed)
    stamps = directory / "stamps"
    os.environ["CLUSTERFUTURES_LOCAL_CORES"] = str(cores)
    submitted = [
        submit(
            _COMMAND.format(seconds=f"{source.uniform(*seconds_each):.3f}", stamps=stamps),
            cores=source.randint(1, 4), scheduler="local", directory=str(directory / "jobs"),
        )
        for _ in range(jobs)
    ]  # fmt: skip
    queue = Queue(scheduler="local")
    queue.wait(submitted, timeout=60 + 10 * jobs * seconds_each[1])
    assert {job.exitcode for job in submitted} == {0}
    lines = [line.split() for line in stamps.read_text().splitlines()]
    assert len(lines) == jobs
    listed = [Stamp(job.started, job.ended, job.cores) for job in queue]  # type: ignore[arg-type]
    return Told([Stamp(float(began), float(ended), int(given)) for began, ended, given in lines], listed)


def most_at_once(stamps: Iterable[Stamp]) -> int:
    """The most cores that were taken at one moment."""
    changes = sorted(itertools.chain.from_iterable(((one.ended, -one.cores), (one.began, one.cores)) for one in stamps))
    return max(itertools.accumulate(change for _, change in changes))


def seconds(stamps: list[Stamp]) -> float:
    """From the first beginning to the last end."""
    return max(one.ended for one in stamps) - min(one.began for one in stamps)


def least_seconds(stamps: Iterable[Stamp], cores: int) -> float:
    """What no order of the jobs could beat."""
    return sum(one.cores * (one.ended - one.began) for one in stamps) / cores


def main() -> int:
    """Run, and tell; 1 when cores were given away twice or a tenth was wasted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seconds", type=float, nargs=2, default=(0.1, 0.4), help="shortest and longest job")
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.environ["XDG_STATE_HOME"] = os.path.join(directory, "state")
        stamps, listed = run(told.jobs, told.cores, tuple(told.seconds), told.seed, Path(directory))
    most, took, least = most_at_once(stamps), seconds(listed), least_seconds(listed, told.cores)
    print(f"{len(stamps)} jobs of 1-4 cores on {told.cores}: at most {most} cores taken at once")
    print(f"{took:.2f} s, no order could take less than {least:.2f} s: {took / least:.3f} of that")
    own = least_seconds(stamps, told.cores)
    print(f"without the shells around each job {own:.2f} s: {seconds(stamps) / own:.3f} of that")
    return int(most > told.cores or took > 1.1 * least)


if __name__ == "__main__":
    sys.exit(main())
