"""We against the limit and against the standard library, in turns, on the same Slurm.

    cold:  ours, bare job, ours + map, bare array, ours ...       (each on a quiet Slurm)
    warm:  ours, pool, ours, pool ...                             (both alive, one at work)

Only a ratio of what was measured in turns means something on a machine that is busy with
other things.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import environments
import figures
import hand
import limit
from cluster import SLOTS, Cluster
from environments import HERE
from results import Results
from session import Session
from watch import Watch

__all__ = ["FULL", "QUICK", "SMALLEST", "STEPS", "Sizes", "measure"]

#: chunksizes among which the pool's best for 1,000 calls is looked for
CHUNKSIZES = (32, 63, 125, 250)
MANY = 1_000_000

Done = Callable[[str, Exception | None], None]


@dataclass(frozen=True)
class Sizes:
    """How much of each to do; see the functions that use them."""

    cold: int = 25
    warm: int = 15
    many: int = 5
    submits: int = 20_000
    calls: int = MANY
    naps: tuple[int, float] = (16, 2.0)
    naps_repeat: int = 3
    uneven: int = 400
    starts: int = 21
    idle: tuple[float, float] = (20.0, 10.0)
    waiting: int = 10_000
    workers: int = 1000
    large: int = 64


FULL = Sizes()
QUICK = Sizes(cold=3, warm=7, many=2, naps=(16, 0.5), naps_repeat=1, uneven=160, starts=5, idle=(10.0, 2.0))
SMALLEST = Sizes(
    cold=1, warm=1, many=1, submits=200, calls=2000, naps=(8, 0.1), naps_repeat=1, uneven=80, starts=1,
    idle=(0.2, 0.2), waiting=100, workers=20, large=8,
)  # fmt: skip


STEPS = ("starts", "claims", "cold", "warm", "large", "naps", "files", "idle")


def measure(
    results: Results, cluster: Cluster, scratch: Path, sizes: Sizes, only: Collection[str], done: Done | None = None
) -> None:
    """Those of ``STEPS`` that are in ``only``, into ``results``.

    done: called after each step with its name and what went wrong in it, if anything did;
    without it, that ends the measurement.
    """

    def take(step: Callable[..., None], *with_what: object) -> bool:
        name, begun, failed = step.__name__[1:], time.monotonic(), None
        if name not in only:
            return True
        try:
            step(results, *with_what, sizes)
        except Exception as error:
            if done is None:
                raise
            failed = error
        print(f"  {name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        if done:
            done(name, failed)
        return failed is None

    take(_starts)
    take(_claims)
    take(_cold, cluster, scratch)
    left: list[Callable[..., None]] = [step for step in _WITH_SLOTS if step.__name__[1:] in only]
    while left:
        cluster.clear()
        with prepared("ours", scratch) as ours:
            while left and take(left.pop(0), ours, scratch):
                pass


@contextmanager
def session(peer: str, scratch: Path) -> Iterator[Session]:
    """A driver of one of those that need no installation."""
    number = len(list(scratch.iterdir()))
    environment = {"PYTHONPATH": str(environments.ROOT)}
    with Session(peer, sys.executable, scratch / f"{peer}-{number}", SLOTS, environment) as opened:
        yield opened


@contextmanager
def prepared(peer: str, scratch: Path) -> Iterator[Session]:
    """The same, with all its slots up."""
    with session(peer, scratch) as opened:
        opened.ask("prepare", 60, hold=1.0 if peer == "ours" else 0.2)
        yield opened
        opened.ask("finish", 30)


def moments(rounds: int) -> list[float]:
    """Moments of Slurm's rhythm, one for each round."""
    return [(i + 0.5) / rounds for i in range(rounds)]


# -- without a scheduler ---------------------------------------------------------------------


def _starts(results: Results, sizes: Sizes) -> None:
    statements = {
        "python": "pass",
        "cloudpickle": "import cloudpickle",
        "process and cloudpickle": "import concurrent.futures.process, cloudpickle",
        "ours": "from clusterfutures import SlurmExecutor",
    }
    for _ in range(sizes.starts):
        results.add("node start", "ours", hand.node_start()["seconds"])
        for name, statement in statements.items():
            results.add("import", name, limit.python_start(statement)["seconds"])


def _claims(results: Results, sizes: Sizes) -> None:
    """A bin for each worker; each keeps it busy for a second, or for no time at all."""
    kinds = {"ours": (0.00002, 1.0), "ours, 1 ms an operation": (0.001, 1.0), "ours, calls of no length": (0.001, 0.0)}
    for name, (delay, hold) in kinds.items():
        done = subprocess.run(
            [sys.executable, str(HERE / "crowd.py"), *map(str, (sizes.workers, sizes.workers, delay, hold))],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        found = json.loads(done.stdout)
        if found["claims"] != sizes.workers or found["twice"]:
            raise RuntimeError(f"{sizes.workers} bins were not claimed once each: {found}")
        results.add("operations a claim", name, found["operations"])
        results.add("reads a claim", name, found["reads"])


# -- cold --------------------------------------------------------------------------------------


def _cold(results: Results, cluster: Cluster, scratch: Path, sizes: Sizes) -> None:
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(session("ours", scratch))

        def bare(figure: str, moment: float, count: int) -> None:
            cluster.quiet(moment)
            results.add(figure, "limit", limit.bare_array(count)["seconds"])

        def take(figure: str, moment: float, workload: str, **parameters: object) -> None:
            cluster.quiet(moment)
            results.add(figure, "ours", ours.ask(workload, 60, **parameters)["seconds"])

        for moment in moments(sizes.cold):
            take("cold call", moment, "cold_call")
            bare("cold call", moment, 1)
            take("cold map 1,000", moment, "cold_map", count=1000)
            bare("cold map 1,000", moment, SLOTS)
        count, seconds = sizes.naps
        for moment in moments(sizes.naps_repeat):
            take("cold naps", moment, "cold_naps", count=count, seconds=seconds)
    cluster.wait_until_empty()


# -- warm --------------------------------------------------------------------------------------


def _warm(results: Results, ours: Session, scratch: Path, sizes: Sizes) -> None:
    with prepared("pool", scratch) as pool:
        _warm_pair(results, ours, pool, sizes)


def _warm_pair(results: Results, ours: Session, pool: Session, sizes: Sizes) -> None:
    pair = {"ours": ours, "pool": pool}

    def both(figure: str, workload: str, **parameters: object) -> None:
        for name, contender in pair.items():
            results.add(figure, name, contender.ask(workload, 60, **parameters)["seconds"])

    for _ in range(sizes.warm):
        both("warm call", "warm_call", repeat=50)
        results.add("warm map 1,000", "ours", ours.ask("warm_map", 60, count=1000)["seconds"])
        for size in CHUNKSIZES:
            taken = pool.ask("warm_map", 60, count=1000, chunksize=size)["seconds"]
            results.add("warm map 1,000", f"pool, chunksize={size}", taken)
    for _ in range(sizes.many):
        both("warm submits", "warm_submits", count=sizes.submits)
        both("warm map 1,000,000", "warm_map", count=sizes.calls, chunksize=max(1, sizes.calls // (4 * SLOTS)))
    found = ours.ask("warm_memory", 60, count=sizes.calls)
    results.add("memory of map 1,000,000", "ours", found["memory"])
    results.facts["submits"] = str(sizes.submits)


def _large(results: Results, ours: Session, _scratch: Path, sizes: Sizes) -> None:
    for _ in range(sizes.many):
        for way in ("partial", "argument", "submit"):
            found = ours.ask("warm_shared", 60, count=sizes.large, way=way)
            results.add("large argument", f"ours, {way}", found["seconds"])
            results.add("large argument, written", f"ours, {way}", found["written"] / found["size"])


def _naps(results: Results, ours: Session, _scratch: Path, sizes: Sizes) -> None:
    count, seconds = sizes.naps
    uneven = figures.uneven_durations(sizes.uneven, SLOTS)
    best = figures.best_schedule(uneven, SLOTS)
    for _ in range(sizes.naps_repeat):
        taken = ours.ask("warm_naps", 60, durations=[seconds] * count)["seconds"]
        results.add("warm naps", "ours", figures.best_schedule([seconds] * count, SLOTS) / taken)
        results.add("uneven", "ours, map", best / ours.ask("warm_naps", 60, durations=uneven)["seconds"])
        taken = ours.ask("warm_naps", 60, durations=uneven, by_submit=True)["seconds"]
        results.add("uneven", "ours, submit", best / taken)
        ours.ask("warm_submits", 60, count=1000)
        taken = ours.ask("warm_naps", 60, durations=[seconds] * SLOTS, by_submit=True)["seconds"]
        results.add("long after short", "ours", seconds / taken)
    results.facts["naps ideal"] = str(figures.best_schedule([seconds] * count, SLOTS))


def _files(results: Results, ours: Session, _scratch: Path, sizes: Sizes) -> None:
    """Files made, as a share of what is allowed: 1 per 100 ms and worker, and 10."""
    naps = [0.01] * (100 * SLOTS)
    takes: dict[str, tuple[str, dict[str, object]]] = {
        "map of 1,000": ("warm_map", {"count": 1000}),
        "map of 1,000,000": ("warm_map", {"count": sizes.calls}),
        "20,000 submits": ("warm_submits", {"count": sizes.submits}),
        "map of 10 ms calls": ("warm_naps", {"durations": naps, "function": "doze"}),
        "submits of 10 ms calls": ("warm_naps", {"durations": naps, "by_submit": True, "function": "doze"}),
        "50 calls, one after the other": ("warm_call", {"repeat": 50}),
    }
    for name, (workload, parameters) in takes.items():
        with Watch(ours.directory) as watch:
            found = ours.ask(workload, 60, **parameters)
        seconds = found["seconds"] * (50 if workload == "warm_call" else 1)
        results.add("files", f"ours, {name}", watch.files)
        results.add("files, share of allowed", f"ours, {name}", watch.files / (seconds * 10 * SLOTS + 10))


def _idle(results: Results, ours: Session, _scratch: Path, sizes: Sizes) -> None:
    settle, seconds = sizes.idle
    found = ours.ask("idle", 120, futures=sizes.waiting, settle=settle, seconds=seconds)
    if found["waiting"] < sizes.waiting - SLOTS:
        raise RuntimeError("the client was not idle: some of the calls that should wait are done")
    results.add("idle client, share of a core", "ours", found["core"])
    results.add("idle client, operations/s", "ours", found["operations"])


#: steps on one executor of ours with all its slots up
_WITH_SLOTS = (_warm, _large, _naps, _files, _idle)
