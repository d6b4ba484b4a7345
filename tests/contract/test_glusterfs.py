"""The runs are on a real network file system, GlusterFS, mounted once for the client and once for the nodes: a chosen
few of the contract tests, in a session of its own.  All of them: ``pytest --glusterfs tests/contract``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
#: claiming, files of their own, nested runs, losing a process, failing calls, a run that is come back to
CHOSEN = (
    "test_calls.py::test_large_arguments_and_results",
    "test_calls.py::test_a_call_may_use_an_executor_itself",
    "test_failures.py::test_one_of_a_bin_kills_its_process",
)


def test_chosen_contract_tests_on_a_network_file_system() -> None:
    chosen = [f"{HERE / test}[{ground}]" for test in CHOSEN for ground in ("local", "slurm")]
    session = subprocess.run(
        [sys.executable, "-m", "pytest", "--glusterfs", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *chosen],
        capture_output=True, text=True, timeout=240, cwd=HERE.parents[1],
    )  # fmt: skip
    assert session.returncode == 0, session.stdout[-8000:] + session.stderr[-2000:]
    assert f"{len(chosen)} passed" in session.stdout
