"""The real Slurm that other tests rely on: it runs jobs, takes faults, and leaves nothing behind.

What is left is looked for without the help of the code under test: any process with the
cluster's directory in its command line or environment, and the directory itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusterfutures.testing import real_slurm
from clusterfutures.testing.real_slurm import RealSlurm, RealSlurmError

pytestmark = pytest.mark.skipif(bool(real_slurm.missing()), reason=real_slurm.INSTALL_HINT)
CLI = [sys.executable, "-m", "clusterfutures.testing.real_slurm"]


@pytest.fixture(scope="module")
def slurm() -> Iterator[RealSlurm]:
    with RealSlurm(nodes=2) as cluster:
        yield cluster


def wait_for(condition: Callable[[], object], what: str, limit: float = 15) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def leftovers(directory: Path) -> list[str]:
    """The live processes that know of the directory, this one and its kind (pytest) excepted."""
    found = [str(directory)] if directory.exists() else []
    needle = f"{directory}/".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path("/proc", pid, "cmdline").read_bytes()
            environ = Path("/proc", pid, "environ").read_bytes()
        except OSError:
            continue
        if int(pid) != os.getpid() and needle in (command + environ).replace(b":", b"/"):
            found.append(f"{pid}: {command!r}")
    return found


def submit(slurm: RealSlurm, *options: str) -> str:
    done = slurm.run("sbatch", "--parsable", "--output=/dev/null", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def states(slurm: RealSlurm, job: str) -> set[str]:
    return set(slurm.run("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%T").stdout.split())


def test_all_programs_are_found_and_missing_ones_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert real_slurm.missing() == []
    monkeypatch.setattr(real_slurm, "SEARCH_PATH", "/nowhere")
    assert set(real_slurm.missing()) == set(real_slurm.PROGRAMS)
    with pytest.raises(RealSlurmError, match=r"munged.*apt-get install slurm-wlm munge"):
        RealSlurm().start()


def test_an_array_of_eight_runs(slurm: RealSlurm, tmp_path: Path) -> None:
    job = submit(slurm, "--array=0-7", "--wrap", f"touch {tmp_path}/$SLURM_ARRAY_TASK_ID")
    wait_for(lambda: len(list(tmp_path.iterdir())) == 8, "all eight have run")
    wait_for(lambda: states(slurm, job) == {"COMPLETED"}, "all eight are completed")


def test_partitions_and_nodes(slurm: RealSlurm) -> None:
    lines = slurm.run("sinfo", "-h", "-o", "%P %a %l %D %c %m").stdout.splitlines()
    assert lines == ["main* up infinite 2 2 4000", "short up 5:00 2 2 4000", "down down infinite 2 2 4000"]
    assert slurm.run("srun", "-N2", "printenv", "SLURMD_NODENAME").stdout.split() in (["c1", "c2"], ["c2", "c1"])


def test_stop_leaves_nothing_even_of_jobs_that_hide(slurm: RealSlurm, tmp_path: Path) -> None:
    """Two clusters live at once; the one that stops ends its own jobs only."""
    hidden = "trap '' TERM; (setsid sleep 1001 &); env -i sleep 1002 & touch {}; wait"
    with RealSlurm(nodes=1, kill_wait=30, extra_conf="minjobage=77") as other:
        submit(other, "--wrap", hidden.format(tmp_path / "theirs"))
        ours = submit(slurm, "--wrap", hidden.format(tmp_path / "ours"))
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2, "both jobs run")
        assert slurm.run("sinfo", "-h", "-p", "main", "-o", "%D").stdout.strip() == "2"
        assert "MinJobAge               = 77 sec" in other.run("scontrol", "show", "config").stdout
        wait_for(lambda: len(other.processes()) >= 8, "all of its processes are seen")
        theirs = {process.pid for process in other.processes()}
        assert theirs.isdisjoint(process.pid for process in slurm.processes())
    assert leftovers(other.directory) == []
    for pid in theirs:  # env -i hides from leftovers()
        stat = Path(f"/proc/{pid}/stat")
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
    assert states(slurm, ours) == {"RUNNING"}
    slurm.run("scancel", ours)
    other.stop()  # again: nothing to do


def test_controller_and_node_can_be_stopped_and_started(slurm: RealSlurm, tmp_path: Path) -> None:
    held = submit(slurm, "--hold", "--wrap", "true")
    running = submit(slurm, "--no-requeue", "-w", "c2", "--wrap", f"touch {tmp_path}/on; exec sleep 1003")
    wait_for((tmp_path / "on").exists, "the job runs")
    slurm.stop_controller()
    assert "slurmctld" not in {process.role for process in slurm.processes()}
    slurm.start_controller()
    assert states(slurm, held) == {"PENDING"}
    assert states(slurm, running) == {"RUNNING"}

    assert "sleep" in {process.program for process in slurm.processes() if process.role == "c2"}
    slurm.stop_node("c2")
    assert "sleep" in {process.program for process in slurm.processes() if process.role == "c2"}
    slurm.stop_node("c2", jobs=True)
    assert {process.role for process in slurm.processes()} == {"munged", "slurmctld", "c1"}
    slurm.start_node("c2")
    assert slurm.run("srun", "-w", "c2", "printenv", "SLURMD_NODENAME").stdout == "c2\n"
    slurm.run("scancel", held, running)


def test_a_start_that_fails_says_why_and_leaves_nothing() -> None:
    cluster = RealSlurm(extra_conf="NoSuchSetting=1")
    with pytest.raises(RealSlurmError, match=r"slurmctld ended with status 1(.|\n)*NoSuchSetting"):
        cluster.start()
    assert leftovers(cluster.directory) == []


def test_the_directory_must_be_short_and_empty(tmp_path: Path) -> None:
    with pytest.raises(RealSlurmError, match="at most"):
        RealSlurm("/tmp/" + "x" * 60).start()
    with pytest.raises(RealSlurmError, match="not empty"):
        RealSlurm("/etc").start()
    with pytest.raises(RealSlurmError, match="no cluster was started"):
        RealSlurm.attach(tmp_path)


def test_run_command_line_has_the_status_of_its_command(tmp_path: Path) -> None:
    script = f'echo $SLURM_CONF > {tmp_path}/conf; sbatch --wrap "sleep 1004" -o /dev/null; exit 7'
    done = subprocess.run([*CLI, "run", "--nodes=1", "--", "sh", "-c", script], check=False, capture_output=True)
    assert done.returncode == 7, done.stderr
    assert leftovers(Path((tmp_path / "conf").read_text().strip()).parent) == []


def test_start_and_stop_command_lines() -> None:
    done = subprocess.run([*CLI, "start", "--nodes=1"], check=True, capture_output=True, text=True)
    prefix, _, conf = done.stdout.strip().partition("=")
    assert prefix == "export SLURM_CONF"
    directory = Path(conf).parent
    cluster = RealSlurm.attach(directory)
    assert cluster.nodes == ["c1"]
    assert cluster.run("scontrol", "ping").returncode == 0
    subprocess.run([*CLI, "stop", "--directory", str(directory)], check=True)
    assert leftovers(directory) == []
    assert subprocess.run([*CLI, "stop", "--directory", str(directory)], check=False).returncode == 1


def test_a_program_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    note = tmp_path / "directory"
    code = f"""
import os, pathlib, signal
from clusterfutures.testing.real_slurm import RealSlurm
cluster = RealSlurm(nodes=1)
cluster.start()
pathlib.Path({str(note)!r}).write_text(str(cluster.directory))
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    directory = Path(note.read_text())
    wait_for(lambda: not leftovers(directory), "the guard has cleaned up")
