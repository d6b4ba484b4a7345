"""The short form of the benchmark, as small as it gets, gives a figure for every goal.

Whether a goal is met is not asked here: this machine may be busy with other things.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clusterfutures.testing import real_slurm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import figures  # noqa: E402
from goals import GOALS, Goal, judge  # noqa: E402
from results import Results  # noqa: E402


def test_the_smallest_form_measures_every_goal(tmp_path: Path) -> None:
    if real_slurm.missing():
        pytest.fail(real_slurm.INSTALL_HINT)
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--smallest", "--save", str(tmp_path / "results.json")],
        env={**os.environ, "HOME": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if re.search(r" (met|MISSED) ", line)]
    assert len(rows) == len(GOALS), done.stdout
    results = Results.load(tmp_path / "results.json")
    assert [judge(goal, results).met for goal in GOALS] == [" met " in row for row in rows]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json"]


def test_a_goal_is_judged_by_the_medians_of_its_samples() -> None:
    results = Results()
    for ours, theirs in ((3.0, 1.0), (1.0, 2.0), (1.2, 9.0)):
        results.add("cold", "ours", ours)
        results.add("cold", "limit", theirs)
    most = Goal("cold", "limit", lambda r: r.median("cold", "ours") / r.median("cold", "limit"), 0.5)
    least = most._replace(limit=0.61, at_least=True)
    assert [judge(goal, results).met for goal in (most, least, most._replace(limit=0.6))] == [False, False, True]
    absent = most._replace(value=lambda r: r.median("warm", "ours"))
    assert judge(absent, results).met is None
    assert "warm of ours" in judge(absent, results).measured


def test_the_best_schedule_of_uneven_calls_can_be_had_without_foresight() -> None:
    durations = figures.uneven_durations(160, 8)
    assert sorted(set(durations)) == [0.01, 1.0]
    assert durations.count(1.0) == 16
    best = figures.best_schedule(durations, 8)
    assert best == pytest.approx(sum(durations) / 8)
    assert figures.in_order_schedule(durations, 8) <= 1.01 * best
