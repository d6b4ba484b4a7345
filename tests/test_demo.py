"""The demo as a user starts it: on this machine and on a real Slurm."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from clusterfutures import LocalExecutor, demo
from clusterfutures.testing import FakePBS
from clusterfutures.testing.real_slurm import RealSlurm

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120


class Demo:
    """Starts the demo with an empty home, which must be as empty afterwards."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.variables = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)}
        self.variables.pop("CLUSTERFUTURES_DIR", None)

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "clusterfutures.demo", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*words), env=self.variables, cwd=self.home, capture_output=True, text=True, timeout=SECONDS
        )
        assert self.files() == []
        return done

    def files(self) -> list[Path]:
        runs = self.home / ".clusterfutures" / "runs"
        return list(runs.iterdir()) if runs.exists() else []


@pytest.fixture
def started(tmp_path: Path) -> Demo:
    return Demo(tmp_path)


@pytest.fixture
def on_slurm(started: Demo, real_slurm_cluster: RealSlurm) -> Demo:
    started.variables.update(real_slurm_cluster.environment)
    return started


def check_report(text: str, files: int, top: int) -> None:
    """The report adds up: calls over places, lines of the ranking, both times."""
    tables = re.findall(r"^-+(?:  -+)+\n((?:\S.*\n)+)", text, re.MULTILINE)
    places, ranking = ([line.split() for line in table.splitlines()] for table in tables)
    assert sum(int(row[3].replace(",", "")) for row in places) == files
    assert all(int(row[2]) > 0 for row in places)
    assert sum(float(row[4]) for row in places) > 0  # a place that had one small module shows 0.00
    assert [row[0] for row in ranking] == [str(rank) for rank in range(1, top + 1)]
    assert ranking[0][1] == "self"
    assert re.search(rf"^{files:,} modules, [\d,]+ identifiers, [\d,]+ different ones\.$", text, re.MULTILINE)
    assert re.search(r"^Time: [\d.]+ s, the first result after [\d.]+ s\.$", text, re.MULTILINE)
    assert re.search(r"^One process: about [\d.]+ s of computing", text, re.MULTILINE)


def test_on_this_machine(started: Demo) -> None:
    words = ["--option", "name=mine", "--option", "processes=2"]
    done = started.run("--scheduler", "local", "--files", "40", "--top", "7", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Scheduler: local" in done.stdout
    check_report(done.stdout, 40, 7)


def test_on_slurm(on_slurm: Demo) -> None:
    done = on_slurm.run("--scheduler", "slurm", "--files", "40", "--workers", "4", "--option", "memory=200MB")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Scheduler: slurm, up to 4 processes" in done.stdout
    check_report(done.stdout, 40, 10)
    assert re.search(r"^c[1-4]\s+\d+_?\d*\s", done.stdout, re.MULTILINE)


def test_on_pbs(started: Demo, tmp_path: Path) -> None:
    pbs = FakePBS(tmp_path / "pbs")
    pbs.start()
    try:
        started.variables.update(pbs.environment)
        done = started.run("--scheduler", "pbs", "--files", "40", "--workers", "2")
    finally:
        pbs.stop()
    assert (done.returncode, done.stderr) == (0, "")
    check_report(done.stdout, 40, 10)


def test_finds_the_scheduler(on_slurm: Demo) -> None:
    done = on_slurm.run("--files", "8")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Scheduler: slurm" in done.stdout


def test_counts_are_those_of_one_process() -> None:
    paths = demo.modules(Path(os.__file__).parent, 300)
    alone: Counter[str] = Counter()
    for path in paths:
        alone.update(demo.count(path).names)
    with LocalExecutor(max_workers=4) as executor:
        outcome = demo.compute(executor, paths, lambda: None)
    assert sorted(tally.path for tally in outcome.tallies) == sorted(paths)
    assert sum((tally.names for tally in outcome.tallies), Counter()) == alone


def test_files_that_cannot_be_parsed_are_said(tmp_path: Path) -> None:
    for name, text in {"good.py": "spam = eggs", "bad.py": "print 'no'", "null.py": "a\0b", "tab.py": "\xff"}.items():
        (tmp_path / name).write_text(text, encoding="latin-1")
    tallies = [demo.count(path) for path in demo.modules(tmp_path, None)]
    tallies.append(demo.count(str(tmp_path / "missing.py")))
    assert [Path(tally.path).name for tally in tallies if not tally.problem] == ["good.py"]
    text = demo.report(demo.Outcome(tallies, 0.1, 0.2), tmp_path, 5)
    assert "4 modules could not be parsed" in text
    assert "one is bad.py:\n    SyntaxError: Missing parentheses" in text
    assert "2 identifiers, 2 different ones" in text


def test_modules_are_spread_and_leave_out_what_was_installed(tmp_path: Path) -> None:
    for name in ("a.py", "b.py", "site-packages/c.py", "d/e.py", "f.py", "g.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [os.path.relpath(path, tmp_path) for path in demo.modules(tmp_path, None)]
    assert found == ["a.py", "b.py", "d/e.py", "f.py"]
    assert [os.path.relpath(path, tmp_path) for path in demo.modules(tmp_path, 2)] == ["a.py", "d/e.py"]


@pytest.mark.parametrize(
    ("scheduler", "product", "commands"), [("slurm", "Slurm", "sbatch and squeue"), ("pbs", "PBS", "qsub and qstat")]
)
def test_a_scheduler_that_is_not_here(started: Demo, scheduler: str, product: str, commands: str) -> None:
    started.variables["PATH"] = str(started.home)
    done = started.run("--scheduler", scheduler)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"demo: there is no {product} here: {commands} are missing or not set up; try --scheduler local\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scheduler", "lsf"], "invalid choice: 'lsf'"),
        (["--files", "0"], "'0' is not a whole number from 1 on"),
        (["--workers", "many"], "'many' is not a whole number from 1 on"),
        (["--option", "memory"], "'memory' is not NAME=VALUE"),
        (["--scheduler", "local", "--option", "memroy=1GB"], "write memory='4GB', not memroy"),
        (["--scheduler", "local", "--option", "time=5"], "a unit is needed"),
        (["--option", "processes=no"], "processes = 'no' cannot be used"),
        (["--option", "scheduler=local"], "say --scheduler=local"),
    ],
)
def test_what_cannot_be_asked_for(started: Demo, words: list[str], said: str) -> None:
    done = started.run(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_what_slurm_refuses(on_slurm: Demo) -> None:
    done = on_slurm.run("--scheduler", "slurm", "--files", "4", "--option", "partition=nowhere")
    assert done.returncode == 1
    assert re.fullmatch(r"demo: .*invalid partition.*\n", done.stderr)


@pytest.mark.parametrize("with_rich", [True, False])
def test_progress_on_a_terminal(started: Demo, with_rich: bool) -> None:
    if with_rich:
        pytest.importorskip("rich")
    else:
        (started.home / "rich.py").write_text("raise ImportError('no rich here')")
    terminal, theirs = pty.openpty()
    program = subprocess.Popen(
        started.argv("--scheduler", "local", "--files", "30"),
        env={**started.variables, "TERM": "xterm"}, cwd=started.home, stdout=subprocess.DEVNULL, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while True:
        assert select.select([terminal], [], [], SECONDS)[0], "nothing more was said"
        try:
            said += os.read(terminal, 4096)
        except OSError:  # what a terminal says when its other end is closed
            break
    os.close(terminal)
    assert program.wait() == 0
    assert (b"30/30" if with_rich else b"30 of 30 modules counted") in said


@pytest.mark.parametrize("scheduler", ["local", "slurm"])
def test_interrupt_leaves_nothing(request: pytest.FixtureRequest, scheduler: str) -> None:
    started: Demo = request.getfixturevalue("on_slurm" if scheduler == "slurm" else "started")
    program = subprocess.Popen(
        started.argv("--scheduler", scheduler), env=started.variables, cwd=started.home, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + SECONDS
    while not list(started.home.glob(".clusterfutures/runs/*/read/*")):  # until something has come back
        assert program.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(program.pid, signal.SIGINT)
    said, complaint = program.communicate(timeout=SECONDS)
    assert program.returncode == 130, said + complaint
    assert complaint == "demo: interrupted; its jobs are cancelled and its files removed\n"
    assert started.files() == []
    while workers_of(started.home):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(home: Path) -> list[str]:
    """Processes that work for a run below ``home``."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path("/proc", pid, "cmdline").read_bytes()
        except OSError:
            continue
        if f"{home}/.clusterfutures".encode() in command:
            found.append(pid)
    return found
