"""The short form of the benchmark, as small as it gets, gives a figure for every goal; what the
long form makes of its samples.

Whether a goal is met is not asked here: this machine may be busy with other things.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from clusterfutures.errors import JobFailed, StoreError
from clusterfutures.testing import real_slurm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import contenders  # noqa: E402
import figures  # noqa: E402
import full  # noqa: E402
import picture  # noqa: E402
import report  # noqa: E402
import soak  # noqa: E402
from goals import GOALS, Goal, judge  # noqa: E402
from results import Results  # noqa: E402


def test_the_smallest_form_measures_every_goal(tmp_path: Path) -> None:
    if real_slurm.missing():
        pytest.fail(real_slurm.INSTALL_HINT)
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--smallest", "--save", str(tmp_path / "results.json")],
        env={**os.environ, "HOME": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True, timeout=240,
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


def test_what_is_measured_again_replaces_what_was_loaded(tmp_path: Path) -> None:
    first = Results()
    for seconds in (1.0, 2.0, 3.0):
        first.add("cold: one call", "ours", seconds)
    first.add("cold: one call", "submitit", 4.0)
    first.miss("warm: one call", "submitit", "not done after 20 s")
    first.save(tmp_path / "results.json")
    again = Results.load(tmp_path / "results.json")
    for seconds in (0.5, 0.7):
        again.add("cold: one call", "ours", seconds)
    again.add("warm: one call", "submitit", 1.0)
    assert again.samples["cold: one call"] == {"ours": [0.5, 0.7], "submitit": [4.0]}
    assert "submitit" not in again.misses["warm: one call"]
    again.miss("cold: one call", "submitit", "ended")
    assert not again.has("cold: one call", "submitit")


def test_the_report_shows_medians_spread_and_why_a_figure_is_missing() -> None:
    results = Results()
    for seconds in (0.3, 0.1, 0.2):
        results.add("cold: one call", "ours", seconds)
    results.add("cold: one call", "limit", 0.19)
    results.miss("cold: one call", "parsl", "not done after 40 s")
    results.add("failure: scancel of its job", "ours", 0.5)
    results.facts["failure: scancel of its job: ours"] = "JobFailed"
    lines = report.text(results).splitlines()
    assert "| clusterfutures | 200 ms (100 ms to 300 ms) |  |  |  |" in lines
    assert "| *bare scheduler* | 190 ms |  |  |  |" in lines
    assert any(line.startswith("| Parsl | not done after 40 s |") for line in lines)
    assert any("500 ms, JobFailed" in line for line in lines)
    assert not any(line.startswith("## Growth") for line in lines)
    drawn = picture.draw(results)
    assert drawn.count("<rect") == 3  # the ground, and two bars
    assert "Parsl" not in drawn
    assert picture.draw(Results()) == ""


def test_unknown_peers_and_steps_are_told_with_those_there_are() -> None:
    assert contenders.names_of("executorlib, loky") == ["executorlib", "executorlib-block", "loky"]
    with pytest.raises(SystemExit, match=r"no peer called 'rai'.*submitit.*joblib"):
        full.peers_of("rai,loky")
    with pytest.raises(SystemExit, match=r"no step 'tepid'.*rivals-cold.*failures"):
        full.steps_of("cold,tepid")


def test_durations_are_said_as_people_say_them() -> None:
    said = [figures.duration(seconds) for seconds in (0.0014, 0.014, 2.34, 23.4, 1000.0)]
    assert said == ["1.4 ms", "14 ms", "2.3 s", "23 s", "17 min"]


def test_a_soak_blames_what_no_fault_explains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def judged(outcome: int | Exception) -> list[str]:
        tally = soak.Tally()
        future: Future[int] = Future()
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
        soak.Program("plain", tmp_path, tmp_path, tally, 1, threading.Event())._judge(future, (7, 0.0))
        assert tally.calls == 1
        return tally.wrong

    assert judged(7) == []
    assert judged(JobFailed(reason="its node was lost")) == []
    assert judged(8) == ["plain: (7, 0.0) gave 8"]
    assert len(judged(StoreError(message="the disk is full"))) == 1
    assert judged(ValueError("?")) == ["plain: ValueError: ?"]
