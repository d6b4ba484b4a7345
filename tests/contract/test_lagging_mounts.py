"""Client and nodes see the shared directory through caches that lag ten seconds: a chosen few of the
contract tests, in a session of its own.  All of them: ``pytest --lagging tests/contract``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
#: what depends most on what the other side sees: claiming, files of their own, sharing, losing, removing
CHOSEN = (
    "test_calls.py::test_large_arguments_and_results",
    "test_calls.py::test_a_call_may_use_an_executor_itself",
    "test_calls.py::test_workers_that_went_home_are_replaced",
    "test_failures.py::test_one_of_a_bin_kills_its_process",
)


def test_chosen_contract_tests_through_lagging_mounts() -> None:
    chosen = [f"{HERE / test}[{ground}]" for test in CHOSEN for ground in ("local", "slurm")]
    session = subprocess.run(
        [sys.executable, "-m", "pytest", "--lagging", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *chosen],
        capture_output=True, text=True, timeout=240, cwd=HERE.parents[1],
    )  # fmt: skip
    assert session.returncode == 0, session.stdout[-8000:] + session.stderr[-2000:]
    assert f"{len(chosen)} passed" in session.stdout
