"""A pipeline of jobs in five layers with failures among them, submitted by a program that leaves.

``pytest --pipeline 200`` takes so many jobs on every scheduler, with a failure in twenty.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Ground

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import pipeline  # noqa: E402

#: what each scheduler does in a few seconds
JOBS = {"local": 200, "slurm": 25, "pbs": 25, "torque": 25}


def test_a_pipeline_of_a_program_that_leaves(ground: Ground, request: pytest.FixtureRequest) -> None:
    jobs = request.config.getoption("pipeline") or JOBS[ground.name]
    name = {"torque": "pbs"}.get(ground.name, ground.name)
    directory = ground.work / "pipeline"
    failures = max(2, jobs // 20)
    argv = [sys.executable, str(BENCHMARKS / "pipeline.py"), "submit", str(directory), name, str(jobs), str(failures)]
    subprocess.run(argv, check=True)
    counted = pipeline.attach(directory, timeout=50 + 2 * jobs)
    print(f"{ground.name}: {dict(counted)}")
    assert counted.total() == jobs
    assert {"completed", "failed", "never"} == set(counted)


def test_what_is_expected_of_a_pipeline() -> None:
    """By hand: 0 and 1 are needed by 2 to 5, and 1 fails."""
    needs = [{}, {}, {"ok": [0]}, {"ok": [0, 1]}, {"notok": [1], "any": [0]}, {"notok": [0]}]
    planned = [pipeline.Planned(number, number == 1, each) for number, each in enumerate(needs)]
    ends = ["completed", "failed", "completed", "never", "completed", "never", "completed"]
    planned.append(pipeline.Planned(6, False, {"any": [3]}))
    assert list(pipeline.expected(planned, "slurm").values()) == ends
    assert list(pipeline.expected(planned, "pbs").values()) == [*ends[:-1], "never"]
