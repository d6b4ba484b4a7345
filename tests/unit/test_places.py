"""Programs whose working directory, home directory or interpreter is missing: what works, and what is said."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import filelock
import pytest

import clusterfutures
from clusterfutures import Job, LocalExecutor
from clusterfutures.errors import OptionError
from clusterfutures.options.places import absolute, own_interpreter
from clusterfutures.testing import FakeSlurm


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory of this program was removed."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()


def test_calls_run_though_the_working_directory_is_gone(nowhere: None, tmp_path: Path) -> None:
    with LocalExecutor(max_workers=1, directory=tmp_path / "runs") as ex:
        assert ex.submit(abs, -3).result(60) == 3
        assert Path(ex.submit(os.getcwd).result(60)).is_relative_to(tmp_path / "runs")


def test_a_later_job_finds_that_the_directory_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with LocalExecutor(max_workers=1, max_tasks_per_child=1, bins_per_job=1, directory=tmp_path / "runs") as ex:
        assert ex.submit(os.getcwd).result(60) == str(tmp_path / "work")
        shutil.rmtree(tmp_path / "work")
        assert ex.submit(abs, -2).result(60) == 2


def test_on_a_scheduler_a_directory_that_is_gone_is_left_out(nowhere: None, tmp_path: Path) -> None:
    with FakeSlurm(cpus=2), clusterfutures.SlurmExecutor(max_workers=1, directory=tmp_path / "runs") as ex:
        assert ex.submit(abs, -2).result(60) == 2


def test_what_needs_the_working_directory_says_so(nowhere: None, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"the working directory of this program was removed\..*absolute path"):
        LocalExecutor(max_workers=1, directory="runs")
    with pytest.raises(OptionError, match=r"was removed\. Give cwd="):
        Job("echo hello", scheduler="local", directory=str(tmp_path)).submit()


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nobody's home directory: HOME is not set, and the user is in no list."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_home_directory_one_sentence(homeless: Path) -> None:
    with pytest.raises(OptionError, match=r"HOME is not set.*Give directory= or set CLUSTERFUTURES_DIR"):
        LocalExecutor(max_workers=1)
    with pytest.raises(OptionError, match=r"HOME is not set.*Give directory= \(--directory\)"):
        Job("true", scheduler="local").submit()
    assert list(homeless.iterdir()) == []
    with LocalExecutor(max_workers=1, directory=homeless / "runs") as ex:
        assert ex.submit(abs, -3).result(60) == 3


@pytest.mark.parametrize("home", ["", "relative/home"])
def test_a_home_that_is_no_path(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    with pytest.raises(OptionError, match=r"is not an absolute path\. Do this\."):
        absolute("~/x", "Do this.")
    assert absolute("/x", "Do this.") == "/x"
    with pytest.raises(OptionError, match="no user 'nobody-here'"):
        absolute("~nobody-here/x", "Do this.")


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A directory that another user can work in, with the packages; those of pytest are closed to others."""
    with tempfile.TemporaryDirectory() as directory:
        for package in (clusterfutures, cloudpickle, filelock):
            source = Path(package.__file__ or "").parent
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, Path(directory, "packages", source.name), ignore=ignored)
        subprocess.run(["chmod", "-R", "a+rX", directory], check=True)
        Path(directory, "work").mkdir()
        os.chmod(os.path.join(directory, "work"), 0o777 | stat.S_ISVTX)
        yield Path(directory)


_AS_ANYBODY = """
import os, sys
import clusterfutures
from clusterfutures import LocalExecutor
os.chdir(sys.argv[1])
try:
    LocalExecutor(max_workers=1).submit(abs, -1)
except Exception as error:
    print(type(error).__name__, error)
with LocalExecutor(max_workers=1, directory=sys.argv[1] + "/runs") as ex:
    print(ex.submit(abs, -3).result(60), os.listdir(sys.argv[1]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("home", [None, "/root", "/proc/nothing", "/dev/null"], ids=str)
def test_a_user_that_nobody_knows(home: str | None, anybodys: Path) -> None:
    """As in a container: no entry in the list of users, a home directory that cannot be used."""
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "CLUSTERFUTURES_DIR")}
    environment |= {"PYTHONPATH": str(anybodys / "packages")} | ({"HOME": home} if home else {})
    anybody = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    found = [f"/usr/bin/python3.{sys.version_info.minor}", sys.executable]
    usable = [path for path in found if subprocess.run([*anybody, path, "-c", ""], capture_output=True).returncode == 0]
    assert usable, f"none of {found} can be run by another user: a test of root's needs one"
    done = subprocess.run(
        [*anybody, usable[0], "-c", _AS_ANYBODY, str(anybodys / "work")],
        capture_output=True, text=True, timeout=60, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused, worked = done.stdout.splitlines()
    assert ("directory=" in refused, "CLUSTERFUTURES_DIR" in refused) == (True, True), refused
    assert worked == "3 ['runs']", done.stderr


@pytest.mark.parametrize(
    ("executable", "frozen"), [(None, False), ("", False), ("/opt/app/app", False), (sys.executable, True)], ids=repr
)
def test_a_program_that_is_no_interpreter_is_not_started(
    executable: str | None, frozen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that starts the program would submit a job that starts the program."""
    interpreter = os.path.join(os.path.dirname(sys.executable), "python3")
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    with FakeSlurm(cpus=2) as slurm:
        with pytest.raises(OptionError, match="python="), contextlib.ExitStack() as stack:
            stack.enter_context(LocalExecutor(max_workers=1, directory=tmp_path)).submit(abs, -1)
        with pytest.raises(OptionError, match="python="), contextlib.ExitStack() as stack:
            stack.enter_context(clusterfutures.SlurmExecutor(max_workers=1, directory=tmp_path)).submit(abs, -1)
        with pytest.raises(OptionError, match="python="):
            Job(abs, [-1], scheduler="slurm", directory=str(tmp_path))
        with pytest.raises(OptionError, match="CLUSTERFUTURES_PYTHON"):
            Job("true", scheduler="local", directory=str(tmp_path)).submit()
        assert slurm.calls("sbatch") == 0
    with LocalExecutor(max_workers=1, directory=tmp_path, python=interpreter) as ex:
        assert ex.submit(abs, -3).result(60) == 3


def test_an_interpreter_under_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_interpreter() == sys.executable
    (tmp_path / "mine").symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "mine"))
    assert own_interpreter() == str(tmp_path / "mine")
    (tmp_path / "mine").unlink()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    with pytest.raises(OptionError, match="is not there any more"):
        own_interpreter()
