"""The promise of the README's first line: a script runs on ours as it does on ``ProcessPoolExecutor``.

``compare.py`` says how scripts are run and marked.  Local and Slurm are tested; ``--dropin-grounds=pbs,torque``
names others.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import compare
import pytest
from known import KNOWN

FOLDERS = sorted(path.name for path in compare.SCRIPTS.iterdir() if path.is_dir())
#: scripts in all, at least
MOST_OF_WHAT_PEOPLE_WRITE = 80


@pytest.mark.on("dropin")
@pytest.mark.parametrize("folder", FOLDERS)
def test_scripts_do_as_on_process_pool_executor(
    folder: str, ground, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("CLUSTERFUTURES_DIR", str(ground.runs))
    base = tmp_path_factory.getbasetemp()
    kept = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "standard"  # of all processes of pytest
    kept.mkdir(exist_ok=True)
    scripts = compare.scripts(folder)
    failed = compare.differences(scripts, ground.executor_name, kept)
    ran = {script.name for script in scripts if script.runs_with(ground.executor_name)}
    agree = sorted((KNOWN.keys() & ran) - failed.keys())
    assert not agree, f"these agree now: take them out of tests/dropin/known.py: {agree}"
    wrong = {name: text for name, text in failed.items() if name not in KNOWN}
    assert not wrong, "\n\n".join(f"{name}\n{text}" for name, text in wrong.items())


def test_there_are_many_scripts_and_their_marks_are_true() -> None:
    names = {script.name for script in compare.scripts()}
    assert len(names) >= MOST_OF_WHAT_PEOPLE_WRITE
    assert set(KNOWN) <= names


def test_what_must_differ_is_in_the_table_of_the_docs() -> None:
    text = Path(compare.HERE.parents[1], "docs", "reference", "differences.md").read_text()
    documented = set(re.findall(r"`(\w+/\w+)`", text))
    assert documented == {script.name for script in compare.scripts() if "differs" in script.marks}
