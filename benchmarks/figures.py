"""Numbers: median and spread of samples, and what a perfect schedule would take.

Pure functions.
"""

from __future__ import annotations

import heapq
import random
import statistics
from collections.abc import Sequence

__all__ = ["best_schedule", "duration", "in_order_schedule", "median", "spread", "uneven_durations"]


def median(samples: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(samples)


def spread(samples: Sequence[float]) -> tuple[float, float]:
    """The quartiles; of few samples, the smallest and the largest."""
    if len(samples) < 4:
        return min(samples), max(samples)
    low, _, high = statistics.quantiles(samples, n=4)
    return low, high


def in_order_schedule(durations: Sequence[float], slots: int) -> float:
    """How long ``slots`` take when each call goes, in order, to the first free one."""
    free = [0.0] * slots
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def best_schedule(durations: Sequence[float], slots: int) -> float:
    """The same for one who knows all durations beforehand (longest first), never below
    what the sum allows."""
    return in_order_schedule(sorted(durations, reverse=True), slots)


def uneven_durations(count: int, slots: int) -> list[float]:
    """Nine calls in ten of 10 ms, one of 1 s, in a random order in which the best schedule
    can be had without foresight: taking them one by one comes within 1 % of it."""
    durations = [1.0 if number % 10 == 0 else 0.01 for number in range(count)]
    best = best_schedule(durations, slots)
    for seed in range(100_000):
        random.Random(seed).shuffle(shuffled := list(durations))
        if in_order_schedule(shuffled, slots) <= 1.01 * best:
            return shuffled
    raise ValueError(f"no such order of {count} calls on {slots} slots: take a count that fills the slots evenly")


def duration(seconds: float) -> str:
    """As a person says it: "14 ms", "2.3 s", "17 min"."""
    if seconds >= 100:
        return f"{seconds / 60:.0f} min"
    if seconds >= 10:
        return f"{seconds:.0f} s"
    if seconds >= 1:
        return f"{seconds:.1f} s"
    if seconds >= 0.01:
        return f"{1e3 * seconds:.0f} ms"
    return f"{1e3 * seconds:.1f} ms"
