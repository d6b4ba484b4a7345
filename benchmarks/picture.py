"""The picture for the README: bars on a logarithmic scale, as SVG made by hand.  Pure functions.

panel = one figure; a bar = one contender, the shorter the better
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import figures
from peers import PEERS, REFERENCES
from results import Results

__all__ = ["draw"]


class Panel(NamedTuple):
    """title; figure of the results."""

    title: str
    figure: str


PANELS = (
    Panel("One call, no job there yet", "cold: one call"),
    Panel("map of 1,000 calls, no job there yet", "cold: map of 1,000"),
    Panel("One call, workers are up", "warm: one call"),
    Panel("20,000 submits, workers are up", "warm: 20,000 submits"),
    Panel("A 16 MB array in 64 calls", "large: 16 MB for 64 calls"),
)
WIDTH, NAMES, BAR, GAP, TITLE, MARGIN = 760, 190, 14, 4, 30, 12
VALUES = 130  # room right of the longest bar
OURS, OTHERS, LIMIT, LOCAL = "#0b7285", "#adb5bd", "#495057", "#dee2e6"


def draw(results: Results) -> str:
    """The whole picture; empty when there is nothing to show."""
    y, parts = float(MARGIN), []
    for panel in PANELS:
        bars = _bars(results, panel)
        if len(bars) > 1:
            parts.append(_panel(panel.title, bars, y))
            y += TITLE + len(bars) * (BAR + GAP) + MARGIN
    if not parts:
        return ""
    legend = "Seconds, logarithmic; shorter is better. Light: one machine only. Slurm on one machine, 8 slots."
    parts.append(_label(MARGIN, y + 10, legend, "#868e96", 11))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 24:.0f}" width="{WIDTH}" '
        f'font-family="system-ui, sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts) + "\n</svg>\n"
    )  # fmt: skip


def _bars(results: Results, panel: Panel) -> list[tuple[str, float, str]]:
    """Name, seconds and colour of each, the fastest first."""
    rows = {**REFERENCES, **PEERS}
    found = []
    for who in ("limit", *rows):
        if results.has(panel.figure, who) and who != "ours-local":
            name = "bare scheduler" if who == "limit" else rows[who].shown
            colour = LIMIT if who == "limit" else OURS if who == "ours" else OTHERS if rows[who].on_cluster else LOCAL
            found.append((name, results.median(panel.figure, who), colour))
    return sorted(found, key=lambda bar: bar[1])


def _panel(title: str, bars: Sequence[tuple[str, float, str]], y: float) -> str:
    low = min(seconds for _, seconds, _ in bars) / 3
    span = math.log(max(seconds for _, seconds, _ in bars) / low)
    room = WIDTH - NAMES - VALUES - MARGIN
    parts = [_label(MARGIN, y + 16, title, "#212529", 14, "600")]
    y += TITLE
    for name, seconds, colour in bars:
        width = room * math.log(seconds / low) / span
        bold = "600" if colour == OURS else "400"
        parts.append(_label(NAMES - 8, y + 11, name, "#212529", 12, bold, "end"))
        parts.append(f'<rect x="{NAMES}" y="{y:.0f}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>')
        parts.append(_label(NAMES + width + 6, y + 11, figures.duration(seconds), "#495057", 12, bold))
        y += BAR + GAP
    return "\n".join(parts)


def _label(x: float, y: float, text: str, colour: str, size: int, weight: str = "400", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
