"""CPython's own tests of executors pass on ours.

They come with an interpreter, so this test looks for one that has them: its own, else
another that is installed.  That interpreter runs each test class as a program (see
``cpython/``), once for each executor; what is left out, and why, is the table
``EXCLUDED`` in ``cpython/suite.py``.
"""

from __future__ import annotations

import functools
import glob
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from clusterfutures.testing.real_slurm import RealSlurm

CLASSES = (
    "ExecutorTest",
    "WaitTest",
    "AsCompletedTest",
    "InitializerTest",
    "FailingInitializerTest",
    "ShutdownTest",
    "DeadlockTest",
)
VERSIONS = ("3.15", "3.14", "3.13", "3.12", "3.11")
#: of the environment that runs this: what the other interpreter needs besides its own library
NEEDED = ("clusterfutures", "cloudpickle", "filelock")
PROBE = (
    "import test.test_concurrent_futures as t, test.support; print('package' if hasattr(t, '__path__') else 'module')"
)
INSTALL_HINT = (
    "no Python with CPython's own tests of concurrent.futures was found: install Python 3.13 with its test package "
    "(as `pyenv install 3.13` does), or on Debian and Ubuntu the tests of the system's Python, for example "
    "`apt-get install libpython3.11-testsuite`"
)


def candidates() -> Iterator[str]:
    """Interpreters that may have the tests, this one first."""
    yield sys.executable
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    for version in VERSIONS:
        on_path = shutil.which(f"python{version}")
        if on_path is not None:
            yield on_path
        yield from sorted(glob.glob(f"{pyenv}/versions/{version}*/bin/python"))


@functools.cache
def interpreter() -> str:
    """The interpreter to use: the tests in their present form if any has them, else older ones."""
    older: list[str] = []
    for python in candidates():
        done = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False)
        if done.stdout.strip() == "package":
            return python
        if done.stdout.strip() == "module":
            older.append(python)
    if not older:
        pytest.fail(INSTALL_HINT)
    return older[0]


@pytest.fixture(scope="session")
def search_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing but what the other interpreter needs: the packages of this
    environment may be compiled for another version."""
    directory = tmp_path_factory.mktemp("path")
    directory.joinpath("cpython").symlink_to(Path(__file__).with_name("cpython"))
    for name in NEEDED:
        found = importlib.util.find_spec(name)
        assert found is not None, name
        assert found.origin is not None, name
        directory.joinpath(name).symlink_to(Path(found.origin).parent)
    return directory


def run(executor: str, kind: str, search_path: Path, directory: Path, cluster: Mapping[str, str]) -> None:
    """Run a class; fails with all that the tests which did not pass have to say."""
    runs, report = directory / "runs", directory / "report"
    runs.mkdir()
    report.touch()
    done = subprocess.run(
        [interpreter(), "-m", "cpython", executor, kind, str(report)],
        env={**os.environ, **cluster, "PYTHONPATH": str(search_path), "CLUSTERFUTURES_DIR": str(runs)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    results = [json.loads(line) for line in report.read_text().splitlines()]
    wrong = [f"{test} {outcome}\n{text}" for test, outcome, text, _ in results if outcome != "passed"]
    if not results or results[-1][0] != "all":
        wrong.append(f"ended with status {done.returncode} after {[test for test, *_ in results]}")
    assert not wrong, "\n".join([*wrong, done.stderr])
    assert len(results) > 1, "no test was found"


@pytest.mark.parametrize("kind", CLASSES)
def test_local(kind: str, search_path: Path, tmp_path: Path) -> None:
    run("LocalExecutor", kind, search_path, tmp_path, {})


@pytest.mark.parametrize("kind", CLASSES)
def test_slurm(kind: str, search_path: Path, tmp_path: Path, real_slurm_cluster: RealSlurm) -> None:
    run("SlurmExecutor", kind, search_path, tmp_path, real_slurm_cluster.environment)


def test_without_any_interpreter_it_fails_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.candidates", lambda: iter(["/bin/false"]))
    with pytest.raises(pytest.fail.Exception, match="libpython3"):
        interpreter.__wrapped__()


def test_the_table_of_exclusions_names_tests_that_exist(search_path: Path) -> None:
    code = (
        "from cpython.suite import CLASSES, EXCLUDED\n"
        "names = [name.split('.') for name in EXCLUDED]\n"
        "print([name for name in names if not hasattr(CLASSES[name[0]], name[1])])\n"
        f"assert list(CLASSES) == {list(CLASSES)!r}"
    )
    done = subprocess.run(
        [interpreter(), "-c", code], env={**os.environ, "PYTHONPATH": str(search_path)}, capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr
