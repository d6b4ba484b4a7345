"""What was measured: samples by figure and contender, and what could not be measured, and why.

results.add("warm call", "ours", 0.0011)
results.miss("cold map 1,000", "submitit", "not done after 60 s")
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import figures

__all__ = ["Results"]


class Results:
    """Samples and misses; written to and read from a JSON file."""

    def __init__(self) -> None:
        self.samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.misses: dict[str, dict[str, str]] = defaultdict(dict)
        self.facts: dict[str, str] = {}

    def add(self, figure: str, who: str, value: float) -> None:
        """One sample."""
        self.samples[figure][who].append(value)

    def miss(self, figure: str, who: str, why: str) -> None:
        """There is no sample, for this reason."""
        self.misses[figure][who] = why

    def has(self, figure: str, who: str) -> bool:
        return bool(self.samples.get(figure, {}).get(who))

    def median(self, figure: str, who: str) -> float:
        """KeyError when nothing was measured."""
        if not self.has(figure, who):
            raise KeyError(f"{figure} of {who}")
        return figures.median(self.samples[figure][who])

    def least(self, figure: str) -> float:
        """The best median of all who are in this figure."""
        return min(figures.median(samples) for samples in self.samples[figure].values())

    def save(self, path: Path) -> None:
        path.write_text(json.dumps({"samples": self.samples, "misses": self.misses, "facts": self.facts}, indent=1))

    @classmethod
    def load(cls, path: Path) -> Results:
        found, results = json.loads(path.read_text()), cls()
        for figure, contenders in found["samples"].items():
            results.samples[figure].update(contenders)
        results.misses.update(found["misses"])
        results.facts.update(found["facts"])
        return results
