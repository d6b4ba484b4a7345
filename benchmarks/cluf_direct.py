"""``cluf`` in direct mode: what a call costs over calling the function in a loop, and memory.

    python3 benchmarks/cluf_direct.py [CALLS] [ROUNDS]

The arguments come from a generator.  Loop and ``cluf`` run in turns; the peaks of memory are
those of the dealer and of its largest worker, with a hundredth of the calls and with all.
"""

from __future__ import annotations

import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["main"]

PROCESSES = 2
GOAL_MICROSECONDS = 10.0
SCRIPT = """\
def target(x): pass
def args():
    for x in range({calls}):
        yield x
"""
LOOP = """
import time
began = time.perf_counter()
for x in args(): target(x)
print(time.perf_counter() - began)
"""


def main() -> None:
    calls, rounds = (int(word) for word in (*sys.argv[1:3], *("1000000", "5")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as name:
        few, many, loop = (Path(name) / script for script in ("few.py", "many.py", "loop.py"))
        few.write_text(SCRIPT.format(calls=max(1, calls // 100)))
        many.write_text(SCRIPT.format(calls=calls))
        loop.write_text(SCRIPT.format(calls=calls) + LOOP)
        small = peak_megabytes(few)
        costs = [(cluf_seconds(many) - loop_seconds(loop)) / calls * 1e6 for _ in range(rounds)]
        large = peak_megabytes(many)
    median = statistics.median(costs)
    verdict = "met" if median < GOAL_MICROSECONDS else "missed"
    print(
        f"{calls} calls, {PROCESSES} processes: {median:.2f} us a call over a loop ({min(costs):.2f} to "
        f"{max(costs):.2f}); goal < {GOAL_MICROSECONDS:g}: {verdict}\n"
        f"peak of memory: {small:.1f} MB with {max(1, calls // 100)} calls, {large:.1f} MB with {calls}"
    )


def loop_seconds(script: Path) -> float:
    return float(subprocess.run([sys.executable, script], check=True, capture_output=True, text=True).stdout)


def cluf_seconds(script: Path) -> float:
    """All of the command, from its start to its end."""
    began = time.perf_counter()
    run_cluf(script)
    return time.perf_counter() - began


def run_cluf(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clusterfutures.cluf", script, "-p", str(PROCESSES)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    if not re.search(r"finished \d+ calls? in", done.stderr):
        raise SystemExit(f"cluf_direct: cluf did not finish:\n{done.stderr}")


def peak_megabytes(script: Path) -> float:
    """The most that any process of the command had resident, asked in a process of its own."""
    code = f"import cluf_direct, pathlib; cluf_direct.print_peak(pathlib.Path({str(script)!r}))"
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=here)
    return float(done.stdout)


def print_peak(script: Path) -> None:
    run_cluf(script)
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
