"""RESULTS.md out of results: the goals, then tables of the contenders.  Pure, but for ``write``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import costs
import failures
import figures
import growth
import picture
from goals import GOALS, judge
from peers import PEERS, REFERENCES
from results import Results

__all__ = ["text", "write"]

Format = Callable[[float], str]


class Column(NamedTuple):
    """head: its title.  figure: what of the results.  show: a value as text."""

    head: str
    figure: str
    show: Format


class Table(NamedTuple):
    """title, what has to be said of it, and its columns; a row is a contender, or one of
    ``rows``.  corner: what the rows are."""

    title: str
    said: str
    columns: Sequence[Column]
    rows: Sequence[str] | None = None
    corner: str = ""


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _size(value: float) -> str:
    return f"{value / 1e6:,.0f} MB" if value >= 1e6 else f"{value / 1e3:,.0f} kB"


def _number(value: float) -> str:
    return f"{value:,.0f}"


TABLES = (
    Table(
        "From nothing",
        "A fresh executor, no job there; until the last result is in. The `map` of 100 is "
        "for those that take a job for each call. The bare scheduler: one job, and an array of 8, "
        "whose elements start Python and write a file.",
        (
            Column("one call", "cold: one call", figures.duration),
            Column("`map` of 100", "cold: map of 100", figures.duration),
            Column("`map` of 1,000", "cold: map of 1,000", figures.duration),
            Column("`map` of 1,000,000", "cold: map of 1,000,000", figures.duration),
        ),
    ),
    Table(
        "With workers that are up",
        "Trivial calls, 8 slots.",
        (
            Column("one call", "warm: one call", figures.duration),
            Column("`map` of 1,000", "warm: map of 1,000", figures.duration),
            Column("`map` of 1,000,000", "warm: map of 1,000,000", figures.duration),
            Column("100 `submit`s", "warm: 100 submits", figures.duration),
            Column("20,000 `submit`s", "warm: 20,000 submits", figures.duration),
        ),
    ),
    Table(
        "Efficiency: ideal time / actual time",
        "Calls that sleep: 4,000 of 1 ms, 800 of 10 ms, 80 of 100 ms, 16 of 2 s; uneven: 160, of which one in ten "
        "takes 1 s and the others 10 ms. All but those of 1 ms are sent one by one. The ideal is a "
        "perfect schedule on 8 slots.",
        (
            Column("1 ms", "efficiency: 1 ms", _percent),
            Column("10 ms", "efficiency: 10 ms", _percent),
            Column("100 ms", "efficiency: 100 ms", _percent),
            Column("2 s", "efficiency: 2 s", _percent),
            Column("uneven", "efficiency: uneven", _percent),
        ),
    ),
    Table(
        "Large data",
        "An array of 16 MB in 64 calls: the best way that each has, and as an argument of 64 `submit`s; written: what "
        "the client wrote into files, pipes and sockets for it. And 64 results of 16 MB.",
        (
            Column("best way", "large: 16 MB for 64 calls", figures.duration),
            Column("written", "large: 16 MB for 64 calls, written", _size),
            Column("client's CPU", "large: 16 MB for 64 calls, cpu", figures.duration),
            Column("64 `submit`s", "large: 16 MB, 64 submits", figures.duration),
            Column("written", "large: 16 MB, 64 submits, written", _size),
            Column("64 results", "large: 64 results of 16 MB", figures.duration),
        ),
    ),
)


COSTS = Table(
    "What it costs",
    f"For {costs.CALLS} trivial calls and then one of {{hold}} s, from nothing to the end. CPU and memory are "
    "those of the client and of its helper processes (the largest of them); written goes to files, pipes and sockets. "
    "Packages: what an environment gets.",
    (
        Column("client's CPU", "cost: client's CPU", figures.duration),
        Column("memory", "cost: client's memory", _size),
        Column("files made", "cost: files", _number),
        Column("written", "cost: bytes written", _size),
        Column("scheduler commands", "cost: commands", _number),
        Column("import", "cost: import", figures.duration),
        Column("packages", "packages", _number),
    ),
)
FAILURES = Table(
    "When something fails",
    "Seconds from the failure until the call's future ends, and what it raises; this Slurm keeps no accounting. "
    "Usable: whether the same executor took calls after each of them.",
    (
        *(Column(f"{figure.partition(': ')[2]}", figure, figures.duration) for figure in failures.KINDS.values()),
        Column("usable afterwards", failures.USABLE, lambda value: "yes" if value else "no"),
    ),
)

GROWTH = (
    Table(
        "Growth with the number of calls",
        "Trivial calls on 8 warm slots: seconds, the client's CPU, and what the client does to the shared directory "
        "(listings, and files made, renamed and removed).",
        (
            Column("`map`", "growth: map, seconds", figures.duration),
            Column("CPU", "growth: map, cpu", figures.duration),
            Column("directory operations", "growth: map, operations", _number),
            Column("`submit`", "growth: submit, seconds", figures.duration),
            Column("CPU", "growth: submit, cpu", figures.duration),
            Column("directory operations", "growth: submit, operations", _number),
        ),
        [f"{count:,}" for count in growth.CALLS],
        "calls",
    ),
    Table(
        "Growth with the number of workers",
        f"One client, and workers that are simulated in one process on this machine, {growth.CALLS_OF_A_WORKER} "
        "trivial calls in one bin for each; they look, claim and answer as real ones do.",
        (
            Column("seconds", "workers: seconds", figures.duration),
            Column("client's CPU", "workers: client's CPU", figures.duration),
            Column("client's directory operations", "workers: client's operations", _number),
            Column("directory operations of a worker", "workers: their operations", _number),
        ),
        [f"{count:,}" for count in growth.WORKERS],
        "workers",
    ),
)
SLOW_KINDS = ("one call, cold", "one call", "`map` of 1,000", "20,000 `submit`s", "`map` of 1,000,000")
SLOW = tuple(
    Table(
        title,
        said,
        tuple(Column(kind, f"slow: {kind}{suffix}", show) for kind in SLOW_KINDS),
        list(growth.DELAYS),
        "each operation takes",
    )
    for title, said, suffix, show in (
        (
            "A slow directory",
            "The shared directory is a file system (FUSE, in Python) that holds up every operation; 8 slots on Slurm, "
            "warm but for the first column.",
            "",
            figures.duration,
        ),
        (
            "What it is asked",
            "Operations on names for each call, as the file system sees them from all sides: client, workers that "
            "work, and workers that wait. The kernel's own look-ups are among them.",
            ", operations",
            lambda value: f"{value:.3g}",
        ),
    )
)


def text(results: Results) -> str:
    """All of RESULTS.md."""
    parts = [_head(results), _goals(results)]
    for table in (*TABLES, COSTS, FAILURES, *GROWTH, *SLOW):
        lines = _table(results, table)
        if lines:
            said = table.said.replace("{hold}", results.facts.get("cost: hold", "?"))
            parts.append(f"## {table.title}\n\n{said}\n\n" + "\n".join(lines))
    parts.extend(_trouble(results))
    return "\n\n".join(parts) + "\n"


def write(results: Results, directory: Path) -> None:
    """RESULTS.md and speed.svg there."""
    (directory / "RESULTS.md").write_text(text(results))
    drawn = picture.draw(results)
    if drawn:
        (directory / "speed.svg").write_text(drawn)


def shown_name(who: str) -> str:
    """A contender as the tables call it."""
    if who == "limit":
        return "*bare scheduler*"
    rows = {**REFERENCES, **PEERS}
    return rows[who].shown if who in rows else who


def _head(results: Results) -> str:
    facts = results.facts
    versions = ", ".join(
        f"{name.removesuffix('-0.5')} {facts[f'version of {name}']}"
        for name in PEERS
        if f"version of {name}" in facts and not name.endswith("-block")
    )
    return (
        "# Results\n\n"
        "Written by `python3 benchmarks/run.py`; all samples are in `results.json`. Medians, and in brackets the "
        "quartiles (of fewer than four samples: the smallest and the largest). Every result of every call was compared "
        'with what it has to be. "About" stands where it was not begun, because fewer calls took too long already.\n\n'
        f"- {facts.get('machine', '?')}; load when it began: {facts.get('load before', '?')}\n"
        f"- {facts.get('Slurm', '?')}; runs in {facts.get('directory', '?')}\n"
        f"- Python {facts.get('Python', '?')}; {facts.get('date', '?')}\n"
        f"- {versions}\n\n"
        "One machine plays the cluster, so seconds mean little beside another machine's; ratios do."
    )


def _goals(results: Results) -> str:
    lines = ["| what | beside | wanted | measured | |", "|---|---|---|---|---|"]
    for goal in GOALS:
        verdict = judge(goal, results)
        word = {True: "met", False: "**missed**", None: "-"}[verdict.met]
        lines.append(f"| {goal.what} | {goal.of} | {verdict.wanted} | {verdict.measured} | {word} |")
    return "## Goals\n\n" + "\n".join(lines)


def _trouble(results: Results) -> list[str]:
    if not results.has("trouble: seconds", "ours"):
        return []
    seconds, right, died, raised = (
        results.median(f"trouble: {n}", "ours") for n in ("seconds", "right", "died", "raised")
    )
    return [
        "## 100,000 calls, of which one in a hundred kills its process and one in a hundred raises\n\n"
        f"{right:,.0f} results, {died:,.0f} `WorkerDied` and {raised:,.0f} `ValueError`, each for the right call, in "
        f"{figures.duration(seconds)}."
    ]


def _table(results: Results, table: Table) -> list[str]:
    """Its lines: those who have at least one figure or miss in it."""
    who = table.rows or ["limit", *REFERENCES, *PEERS]
    figures_ = [column.figure for column in table.columns]
    rows = [
        name for name in who
        if any(results.has(figure, name) or name in results.misses.get(figure, {}) for figure in figures_)
    ]  # fmt: skip
    if not rows:
        return []
    lines = [
        f"| {table.corner} | " + " | ".join(column.head for column in table.columns) + " |",
        "|---" * (len(figures_) + 1) + "|",
    ]
    for name in rows:
        cells = [_cell(results, column, name) for column in table.columns]
        lines.append(f"| {shown_name(name)} | " + " | ".join(cells) + " |")
    return lines


def _cell(results: Results, column: Column, who: str) -> str:
    if results.has(column.figure, who):
        samples = results.samples[column.figure][who]
        middle = column.show(figures.median(samples))
        low, high = (column.show(value) for value in figures.spread(samples))
        with_spread = middle if low == high else f"{middle} ({low} to {high})"
        raised = results.facts.get(f"{column.figure}: {who}")
        return f"{with_spread}, {raised}" if raised else with_spread
    why = results.misses.get(column.figure, {}).get(who, "")
    return why.removeprefix("Unsupported: ").replace("|", "/")[:80]
