"""What was measured: samples by figure and contender, and what could not be measured, and why.

results.add("warm call", "ours", 0.0011)
results.miss("cold map 1,000", "submitit", "not done after 60 s")

Results of an earlier run can be loaded and gone on with: what is measured again replaces
what was there of the same contender.
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
        self._fresh: set[tuple[str, str]] = set()

    def add(self, figure: str, who: str, value: float) -> None:
        """One sample."""
        self._begin(figure, who)
        self.samples[figure][who].append(value)

    def miss(self, figure: str, who: str, why: str) -> None:
        """There is no sample, for this reason; those of this run stay."""
        self._begin(figure, who)
        self.misses[figure][who] = why

    def _begin(self, figure: str, who: str) -> None:
        if (figure, who) not in self._fresh:
            self._fresh.add((figure, who))
            self.samples[figure].pop(who, None)
            self.misses[figure].pop(who, None)

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
        samples = {
            figure: {who: [float(f"{value:.6g}") for value in values] for who, values in contenders.items()}
            for figure, contenders in self.samples.items()
        }
        text = json.dumps({"samples": samples, "misses": self.misses, "facts": self.facts}, indent=None)
        new = path.with_suffix(".new")
        new.write_text(text.replace('}, "', '},\n"') + "\n")
        new.replace(path)

    @classmethod
    def load(cls, path: Path) -> Results:
        found, results = json.loads(path.read_text()), cls()
        for figure, contenders in found["samples"].items():
            results.samples[figure].update(contenders)
        for figure, reasons in found["misses"].items():
            results.misses[figure].update(reasons)
        results.facts.update(found["facts"])
        return results
