#!/usr/bin/env python3
"""Measures clusterfutures beside the bare scheduler and the standard library, on a real Slurm.

    python3 benchmarks/run.py            many repetitions: prints every goal, some minutes
    python3 benchmarks/run.py --quick    few of them: about a minute

    run.py -> environments -> cluster (the Slurm of the tests)
           -> pairs (we, the limit, the standard library, in turns) -> goals -> text

It makes its own environment below ``benchmarks/.env``; the packages slurm-wlm and munge
must be there (``sh tests/run.sh`` installs them).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import environments


def main() -> None:
    """See the module's docstring."""
    options = _parsed()
    environments.enter_own(always=not (options.quick or options.smallest))
    import pairs
    from cluster import Cluster
    from results import Results

    results = Results()
    sizes = pairs.SMALLEST if options.smallest else pairs.QUICK if options.quick else pairs.FULL
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cfbench-") as scratch, Cluster() as cluster:
        pairs.measure(results, cluster, Path(scratch), sizes)
    if options.save:
        results.save(options.save)
    _print_goals(results)
    print(f"\n{time.monotonic() - begun:.0f} s", file=sys.stderr)


def _print_goals(results: object) -> None:
    from goals import GOALS, judge

    for goal in GOALS:
        verdict = judge(goal, results)  # type: ignore[arg-type]
        word = {True: "met", False: "MISSED", None: "-"}[verdict.met]
        print(f"{verdict.measured:>10}  {verdict.wanted:>9}  {word:7} {goal.what} / {goal.of}")


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="ratios against the limit only, under a minute")
    parser.add_argument("--smallest", action="store_true", help="as small as it gets: a check, no figures")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write all samples there, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
