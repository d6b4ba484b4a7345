"""The package is replaced on disk while a program and its jobs run: an upgrade in an environment that several share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Ground

import clusterfutures

pytestmark = pytest.mark.on("local", "slurm")

PROGRAM = """
import os, pathlib, sys, time
import clusterfutures
assert clusterfutures.__file__.startswith(sys.argv[1]), clusterfutures.__file__
from clusterfutures import {executor}

def upgraded():
    init = pathlib.Path(clusterfutures.__file__)
    text = init.read_text().replace('__version__ = "', '__version__ = "9.')
    init.with_suffix(".new").write_text(text)
    os.replace(init.with_suffix(".new"), init)

def where(_):
    return os.getpid()

with {executor}(max_workers=2, processes=1, idle_timeout=60, directory={directory!r}) as ex:
    first = ex.submit(where, 1).result(60)
    upgraded()
    assert ex.submit(where, 1).result(60) == first  # what runs goes on
    calls = [ex.submit(time.sleep, 5), ex.submit(time.sleep, 5)]
    errors = [call.exception(90) for call in calls]
    print([type(error).__name__ for error in errors if error])
try:
    clusterfutures.clean_dir
except ImportError as error:
    print(error)
with {executor}(max_workers=1, directory={directory!r}) as ex:
    try:
        print(ex.submit(where, 1).result(60))
    except Exception as error:
        print(error)
"""


def test_what_runs_goes_on_and_what_begins_is_told(ground: Ground, tmp_path: Path) -> None:
    package = tmp_path / "shared" / "clusterfutures"
    shutil.copytree(Path(clusterfutures.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    text = PROGRAM.format(executor=ground.executor_name, directory=str(ground.runs))
    (tmp_path / "program.py").write_text(text)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py", str(package.parent)],
        env={**os.environ, "PYTHONPATH": str(package.parent)}, capture_output=True, text=True, timeout=250,
        cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    began = clusterfutures.__version__
    assert f"clusterfutures was replaced or removed in {package} while this program ran" in done.stdout, done.stderr
    assert f"but {began} where the program runs" in done.stdout, done.stdout
    assert f"clusterfutures 9.{began} on " in done.stdout
