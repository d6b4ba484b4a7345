"""Runs that were left behind: who owns them, their list, their removal."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clusterfutures import LocalExecutor, StoreError, remove_run, runs
from clusterfutures.store.ownership import Ownership
from clusterfutures.store.run_directory import RunDirectory

PROGRAM = """
import sys, time
from clusterfutures import LocalExecutor
ex = LocalExecutor(1, directory=sys.argv[1], name="victim", idle_timeout=0.5)
print(ex.submit(abs, -7).result(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def left(base: Path) -> Path:
    """A run whose program is gone."""
    run = RunDirectory.create(str(base / "old"))
    run.write_run_file({"name": "old", "scheduler": "slurm", "host": "login-1", "pid": 123, "started": 5.0})
    ownership = Ownership(run)
    ownership.acquire()
    ownership.release()
    return base / "old"


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "did not happen within 20 s"
        time.sleep(0.02)


def test_the_lock_goes_with_a_program_that_is_killed(base: Path) -> None:
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, str(base)], stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "7\n"
        (run,) = runs(base)
        assert (run.name, run.scheduler, run.state, run.pid) == ("victim", "local", "owned", program.pid)
        with pytest.raises(StoreError, match=f"owned by process {program.pid} on {os.uname().nodename}"):
            remove_run(run.path)
        assert Path(run.path, "run.json").exists()
        program.send_signal(signal.SIGKILL)
        program.wait(20)
        until(lambda: runs(base)[0].state == "left")
        until(lambda: not _processes_that_name(run.path))  # its worker ends by itself
    finally:
        program.kill()
        program.communicate()
    remove_run(run.path)
    assert runs(base) == []


def test_a_forked_child_does_not_hold_its_parents_lock(left: Path) -> None:
    text = """
import os, sys, time
from clusterfutures.store.ownership import Ownership
from clusterfutures.store.run_directory import RunDirectory
for _ in range(2):  # and what was given back once is not closed twice
    ownership = Ownership(RunDirectory(sys.argv[1]))
    ownership.acquire()
    if _ == 0:
        ownership.release()
child = os.fork()
if not child:
    ownership.release()
    time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""
    program = subprocess.Popen([sys.executable, "-c", text, str(left)], stdout=subprocess.PIPE, text=True)
    child = 0
    try:
        assert program.stdout is not None
        child = int(program.stdout.readline())
        assert [run.state for run in runs(left.parent)] == ["owned"]
        program.send_signal(signal.SIGKILL)
        program.wait(20)
        until(lambda: [run.state for run in runs(left.parent)] == ["left"])  # the child may have just been born
        os.kill(child, 0)
    finally:
        program.kill()
        if child:
            os.kill(child, signal.SIGKILL)
        program.communicate()


def _processes_that_name(path: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.fsencode(path) in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
                    found.append(entry.name)
            except OSError:
                continue
    return found


def test_a_run_of_this_program_is_owned_until_it_ends(base: Path) -> None:
    with LocalExecutor(1, directory=base, keep=True) as ex:
        assert ex.submit(abs, -1).result() == 1
        assert [run.state for run in runs(base)] == ["owned"]
    assert [run.state for run in runs(base)] == ["left"]


def test_a_second_owner_is_refused_and_told_of_the_first(left: Path) -> None:
    first, second = Ownership(RunDirectory(str(left))), Ownership(RunDirectory(str(left)))
    first.acquire()
    with pytest.raises(StoreError, match="owned by process 123 on login-1"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_asking_leaves_no_trace(left: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in left.rglob("*"))
    assert [run.state for run in runs(left.parent)] == ["left"]
    assert sorted((path, path.stat().st_mtime_ns) for path in left.rglob("*")) == before


def test_removed_by_name(left: Path) -> None:
    remove_run("old", left.parent)
    assert not left.exists()


def test_what_is_no_run_is_left_alone(base: Path) -> None:
    other = base / "thesis"
    other.mkdir(parents=True)
    (other / "chapter").write_text("1")
    other.chmod(0o700)
    assert runs(base) == []
    with pytest.raises(StoreError, match="is no run directory"):
        remove_run(other)
    with pytest.raises(StoreError, match="there is no run directory"):
        remove_run("nothing", base)
    assert (other / "chapter").read_text() == "1"


def test_no_directory_no_runs(tmp_path: Path) -> None:
    assert runs(tmp_path / "none") == []


@pytest.mark.parametrize("fault", ["directory", "file", "link", "link to the directory"])
def test_what_others_could_have_made_is_refused(left: Path, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    named = left
    if fault == "directory":
        left.chmod(0o770)
    elif fault == "file":
        (left / "run.json").chmod(0o666)
    elif fault == "link":
        (left / "run.json").rename(left.parent / "elsewhere.json")
        (left / "run.json").symlink_to(left.parent / "elsewhere.json")
    else:
        named = left.rename(left.parent.parent / "moved").parent / "runs" / "old"
        named.symlink_to(left.parent.parent / "moved")
    with caplog.at_level(logging.WARNING, "clusterfutures"):
        assert runs(named.parent) == []
    assert "refused" in caplog.text
    with pytest.raises(StoreError, match="refused"):
        remove_run(named)
    assert (named / "queue").exists()


def test_without_a_lock_nobody_can_tell(left: Path) -> None:
    (left / "owner.lock").unlink()
    assert [run.state for run in runs(left.parent)] == ["unknown"]
