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
import traceback
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
    """Measure these steps and write the files.  A step that fails is reported, and the others go on."""
    if set(steps) <= {"report"}:
        report.write(Results.load(SAVED), HERE)
        return
    with tempfile.TemporaryDirectory(prefix="cfbench-") as directory:
        _Run(Path(directory), peers, steps).all()


class _Run:
    """One full run; after every step and workload the three files are written."""

    def __init__(self, scratch: Path, peers: Sequence[str], steps: Collection[str]) -> None:
        self._results = Results.load(SAVED) if SAVED.exists() else Results()
        self._scratch = scratch
        self._steps = steps
        _describe(self._results)
        self._who = contenders.contenders(peers, self._results)

    def all(self) -> None:
        results, scratch = self._results, self._scratch
        if set(self._steps) - {"failures", "report"}:
            with Cluster() as slurm:
                nodes = f"{cluster.NODES} nodes of {cluster.CPUS} CPUs, all on this machine, no accounting"
                results.facts["Slurm"] = f"{cluster.slurm_version()}, {nodes}"
                pairs.measure(results, slurm, scratch, pairs.FULL, self._steps, self._done)
                self._on(slurm)
        self._take("failures", lambda: failures.measure(results, scratch, self._who))
        self._save()
        print_goals(results)

    def _on(self, slurm: Cluster) -> None:
        results, scratch, save = self._results, self._scratch, self._save
        contest = rivals.Rivals(results, slurm, scratch, self._who, save)
        takes: list[tuple[str, Callable[[], None]]] = [
            ("rivals-cold", lambda: contest.cold(rivals.COLD, ROUNDS)),
            ("rivals-warm", lambda: contest.warm(rivals.WARM, ROUNDS)),
            ("rivals-long", lambda: contest.warm(rivals.LONG, 1)),
            ("rivals-long", lambda: contest.cold(rivals.COLD_LONG, 1, bare=False)),
            ("costs", lambda: costs.measure(results, slurm, scratch, self._who, save)),
            ("growth", lambda: growth.by_workers(results, save)),
            ("growth", lambda: growth.by_calls(results, scratch, save)),
            ("trouble", lambda: growth.trouble(results, scratch)),
            ("slow-directory", lambda: growth.slow(results, slurm, save)),
        ]
        for name, take in takes:
            slurm.clear()
            self._take(name, take)

    def _take(self, name: str, step: Callable[[], None]) -> None:
        """Do it when it is asked for."""
        if name not in self._steps:
            return
        begun, failed = time.monotonic(), None
        try:
            step()
        except Exception as error:
            failed = error
        print(f"  {name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        self._done(name, failed)

    def _done(self, name: str, failed: Exception | None) -> None:
        if failed is not None:
            print(f"  {name} FAILED: {type(failed).__name__}: {failed}", file=sys.stderr, flush=True)
            traceback.print_exception(failed)
        self._save()

    def _save(self) -> None:
        self._results.save(SAVED)
        report.write(self._results, HERE)


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
        "directory": tempfile.gettempdir(),
    })  # fmt: skip


def print_goals(results: Results) -> None:
    """A line for each goal."""
    for goal in GOALS:
        verdict = judge(goal, results)
        word = {True: "met", False: "MISSED", None: "-"}[verdict.met]
        print(f"{verdict.measured:>10}  {verdict.wanted:>9}  {word:7} {goal.what} / {goal.of}")
