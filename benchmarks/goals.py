"""The goals: each a ratio or a count, from samples of the same run.

A row says what is compared, what it has to be, and how to compute it from ``Results``.  A
row without samples says so and is not left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from results import Results

__all__ = ["GOALS", "Goal", "Verdict", "judge"]


class Goal(NamedTuple):
    """what, of: the two things compared.  value: computes the figure.  limit: what it may
    be; above it when ``at_least``, else below.  show: format of the figure."""

    what: str
    of: str
    value: Callable[[Results], float]
    limit: float
    at_least: bool = False
    show: str = "{:.2f}"


class Verdict(NamedTuple):
    """A goal with what was measured; ``measured`` is text, ``met`` None when nothing was."""

    goal: Goal
    measured: str
    wanted: str
    met: bool | None


def _ratio(figure: str, of: str) -> Callable[[Results], float]:
    return lambda results: results.median(figure, "ours") / results.median(figure, of)


def _best_pool(results: Results) -> float:
    pools = [name for name in results.samples["warm map 1,000"] if name.startswith("pool")]
    return min(results.median("warm map 1,000", name) for name in pools)


def _submits_per_second(results: Results) -> float:
    return int(results.facts["submits"]) / results.median("warm submits", "ours")


def _cold_naps(results: Results) -> float:
    """What a cold run takes beyond the ideal, in starts of an array."""
    beyond = results.median("cold naps", "ours") - float(results.facts["naps ideal"])
    return beyond / results.median("cold map 1,000", "limit")


def _worst(figure: str, *without: str) -> Callable[[Results], float]:
    def worst(results: Results) -> float:
        names = [name for name in results.samples[figure] if name not in without]
        return max(results.median(figure, name) for name in names)

    return worst


def _least(figure: str) -> Callable[[Results], float]:
    return lambda results: min(results.median(figure, name) for name in results.samples[figure])


def _ours(figure: str, who: str = "ours", scale: float = 1.0) -> Callable[[Results], float]:
    return lambda results: scale * results.median(figure, who)


ONE_BY_ONE = "ours, 50 calls, one after the other"

GOALS = (
    Goal("cold `map` of 1,000 trivial calls, 8 slots", "bare array of 8 that starts Python",
         _ratio("cold map 1,000", "limit"), 1.3),
    Goal("one cold call", "one bare job that starts Python and writes a file", _ratio("cold call", "limit"), 1.25),
    Goal("one warm call", "ms", _ours("warm call", scale=1e3), 1.5),
    Goal("warm `map` of 1,000", "ProcessPoolExecutor with the best chunksize",
         lambda r: r.median("warm map 1,000", "ours") / _best_pool(r), 1.0),
    Goal("warm submits a second", "ProcessPoolExecutor", lambda r: 1 / _ratio("warm submits", "pool")(r), 3.0, True),
    Goal("warm submits a second", "calls/s", _submits_per_second, 30_000, True, "{:,.0f}"),
    Goal("`map` of 1,000,000, 8 slots", "ProcessPoolExecutor(chunksize=same)",
         _ratio("warm map 1,000,000", "pool"), 1.5),
    Goal("client memory over its arguments, `map` of 1,000,000", "MB",
         _ours("memory of map 1,000,000", scale=1e-6), 150, show="{:.0f}"),
    Goal("16 MB array in 64 calls: bytes written (worst of partial, argument, submit)", "its size",
         _worst("large argument, written"), 1.1),
    Goal("long calls on 8 slots, warm: ideal", "actual time", _ours("warm naps"), 0.99, True, "{:.3f}"),
    Goal("the same, cold: what it takes beyond the ideal", "one start of a bare array", _cold_naps, 1.0),
    Goal("uneven calls: best possible schedule", "actual time (the worse of map and submit)",
         _least("uneven"), 0.95, True, "{:.3f}"),
    Goal("8 long calls after 1,000 short ones by submit: ideal", "actual time", _ours("long after short"), 0.95, True,
         "{:.3f}"),
    Goal("files created (worst of several streams)", "1 per 100 ms and worker, and 10",
         _worst("files, share of allowed", ONE_BY_ONE), 1.0),
    Goal("idle client, 10,000 futures", "of a core", _ours("idle client, share of a core", scale=100), 1.0,
         show="{:.2f} %"),
    Goal("idle client, 10,000 futures", "directory operations/s", _ours("idle client, operations/s"), 2.0),
    Goal("node start: supervisor's first claim", "`python -c 'import cloudpickle'`",
         lambda r: r.median("node start", "ours") / r.median("import", "cloudpickle"), 1.5),
    Goal("import of an executor", "importing concurrent.futures.process and cloudpickle",
         lambda r: r.median("import", "ours") / r.median("import", "process and cloudpickle"), 1.5),
    Goal("1,000 workers waiting on one queue", "directory operations a claim", _ours("operations a claim"), 3.0),
    Goal("the same, where every operation takes 1 ms", "directory operations a claim",
         _ours("operations a claim", "ours, 1 ms an operation"), 3.0),
)  # fmt: skip


def judge(goal: Goal, results: Results) -> Verdict:
    """What was measured against what is wanted."""
    wanted = ("≥ " if goal.at_least else "≤ ") + goal.show.format(goal.limit)
    try:
        value = goal.value(results)
    except (KeyError, ValueError) as missing:
        return Verdict(goal, f"not measured ({missing})", wanted, None)
    met = value >= goal.limit if goal.at_least else value <= goal.limit
    return Verdict(goal, goal.show.format(value), wanted, met)
