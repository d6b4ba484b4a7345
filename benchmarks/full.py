"""The full run: every step, with all contenders, into results.json, RESULTS.md and speed.svg.

    results.json --load--> Results --steps--> Results --after every workload--> the three files

A run that was broken off, or one step that was noisy, is measured again with ``--only``: what
is new replaces what was there of the same figure and contender.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import cluster
import contenders
import costs
import failures
import growth
import pairs
import report
import rivals
from cluster import Cluster
from environments import HERE
from goals import GOALS, judge
from peers import PEERS
from results import Results

__all__ = ["STEPS", "peers_of", "print_goals", "run", "steps_of"]

SAVED = HERE / "results.json"
ROUNDS = 2

RIVALS = ("rivals-cold", "rivals-warm", "rivals-long")
STEPS = (*pairs.STEPS, *RIVALS, "costs", "growth", "slow-directory", "trouble", "failures")


def peers_of(asked: str) -> list[str]:
    """The value of ``--peers``; ends the program for a name that is not known."""
    if asked == "none":
        return []
    try:
        return contenders.names_of(",".join(PEERS) if asked == "all" else asked)
    except ValueError as error:
        raise SystemExit(f"--peers: {error}") from None


def steps_of(asked: str | None) -> list[str]:
    """The value of ``--only``; nothing of STEPS for "report"."""
    if asked is None:
        return list(STEPS)
    steps = [name.strip() for name in asked.split(",")]
    unknown = [name for name in steps if name not in (*STEPS, "report")]
    if unknown:
        raise SystemExit(f"--only: there is no step {unknown[0]!r}; there are {', '.join(STEPS)}, report")
    return steps


def run(peers: Sequence[str], steps: Collection[str]) -> None:
    """Measure these steps and write the files."""
    results = Results.load(SAVED) if SAVED.exists() else Results()

    def save() -> None:
        results.save(SAVED)
        report.write(results, HERE)

    if set(steps) <= {"report"}:
        report.write(results, HERE)
        return
    _describe(results)
    who = contenders.contenders(peers, results)
    with tempfile.TemporaryDirectory(prefix="cfbench-") as directory:
        scratch = Path(directory)
        if set(steps) - {"failures", "report"}:
            with Cluster() as slurm:
                nodes = f"{cluster.NODES} nodes of {cluster.CPUS} CPUs, all on this machine, no accounting"
                results.facts["Slurm"] = f"{cluster.slurm_version()}, {nodes}"
                pairs.measure(results, slurm, scratch, pairs.FULL, steps, save)
                _rivals(rivals.Rivals(results, slurm, scratch, who, save), steps)
                _take("costs", steps, lambda: costs.measure(results, slurm, scratch, who, save))
                _take("growth", steps, lambda: growth.by_workers(results, save))
                _take("growth", steps, lambda: growth.by_calls(results, scratch, save))
                _take("trouble", steps, lambda: growth.trouble(results, scratch))
                _take("slow-directory", steps, lambda: growth.slow(results, slurm, save))
        _take("failures", steps, lambda: failures.measure(results, scratch, who))
    save()
    print_goals(results)


def _rivals(contest: rivals.Rivals, steps: Collection[str]) -> None:
    takes: dict[str, Callable[[], None]] = {
        "rivals-cold": lambda: contest.cold(rivals.COLD, ROUNDS),
        "rivals-warm": lambda: contest.warm(rivals.WARM, ROUNDS),
        "rivals-long": lambda: (contest.warm(rivals.LONG, 1), contest.cold(rivals.COLD_LONG, 1, bare=False))[0],
    }
    for name, take in takes.items():
        _take(name, steps, take)


def _take(name: str, steps: Collection[str], step: Callable[[], None]) -> None:
    """Do it when it is asked for."""
    if name in steps:
        begun = time.monotonic()
        step()
        print(f"  {name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


def _describe(results: Results) -> None:
    """Which machine, which versions, which day."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    results.facts.update({
        "machine": f"{os.cpu_count()} cores ({model[0].partition(':')[2].strip() if model else platform.machine()}), "
                   f"{memory:.0f} GB, Linux {platform.release()}",
        "Python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
        "load before": f"{os.getloadavg()[0]:.1f}",
    })  # fmt: skip


def print_goals(results: Results) -> None:
    """A line for each goal."""
    for goal in GOALS:
        verdict = judge(goal, results)
        word = {True: "met", False: "MISSED", None: "-"}[verdict.met]
        print(f"{verdict.measured:>10}  {verdict.wanted:>9}  {word:7} {goal.what} / {goal.of}")
