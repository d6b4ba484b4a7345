#!/usr/bin/env python3
"""Measures clusterfutures beside the bare scheduler, the standard library and its rivals, on a real Slurm.

    python3 benchmarks/run.py                 all of it, about 25 minutes: RESULTS.md, results.json, speed.svg
    python3 benchmarks/run.py --peers none    the same without the rivals
    python3 benchmarks/run.py --only failures,growth      these steps again; the others' results stay
    python3 benchmarks/run.py --quick         the goals only, few repetitions: about a minute

    run.py -> environments -> cluster (the Slurm of the tests)
           -> pairs (we, the limit, the standard library, in turns)     --quick ends here
           -> rivals, costs, failures, growth                           (full.py)
           -> goals, report, picture

It makes its own environments below ``benchmarks/.env``, one for each peer, and uses them
again; the packages slurm-wlm and munge must be there (``sh tests/run.sh`` installs them).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import environments
from peers import PEERS


def main() -> None:
    """See the module's docstring."""
    options = _parsed()
    short = options.quick or options.smallest
    environments.enter_own(always=not short)
    import full

    begun = time.monotonic()
    if not short:
        full.run(full.peers_of(options.peers), full.steps_of(options.only))
    else:
        import pairs
        from cluster import Cluster
        from results import Results

        results = Results()
        sizes = pairs.SMALLEST if options.smallest else pairs.QUICK
        with tempfile.TemporaryDirectory(prefix="cfbench-") as scratch, Cluster() as cluster:
            pairs.measure(results, cluster, Path(scratch), sizes, pairs.STEPS)
        if options.save:
            results.save(options.save)
        full.print_goals(results)
    print(f"\n{time.monotonic() - begun:.0f} s", file=sys.stderr)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="ratios against the limit only, about a minute")
    parser.add_argument("--smallest", action="store_true", help="as small as it gets: a check, no figures")
    parser.add_argument("--save", type=Path, metavar="FILE", help="of these two: write all samples there, as JSON")
    parser.add_argument(
        "--peers", default="all", metavar="NAME,...", help=f"all, none, or some of: {', '.join(PEERS)}; default: all"
    )
    parser.add_argument("--only", metavar="STEP,...", help="steps to measure (again); 'report' writes the files anew")
    return parser.parse_args()


if __name__ == "__main__":
    main()
