"""``cluf`` as jobs: the scripts, PBS in both dialects, a real Slurm, Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from cluf_user import SCRIPT, User

from clusterfutures.cluf.outputs import records
from clusterfutures.testing import FakePBS, FakeTorque
from clusterfutures.testing.real_slurm import RealSlurm


@pytest.mark.parametrize(
    ("dialect", "fake", "resources"),
    [("pbs", FakePBS, "select=1:ncpus=4:ngpus=2"), ("torque", FakeTorque, "nodes=1:ppn=4:gpus=2")],
)
def test_pbs(tmp_path: Path, dialect: str, fake: type[FakePBS], resources: str) -> None:
    with fake(tmp_path / "standin", cpus=8) as pbs:
        user = User(tmp_path, pbs.environment)
        with (user.here / "my_script.py").open("a") as script:
            script.write("cluf_options = {'pbs_options': {'ppn': 4, 'gpus': 2, 'walltime': '1:00:00'}}\n")
        user.cluf("my_script", "--nodes=10", "--env=MYENV=foo OTHER_ENV=bar", "-j", "jobs")
        jobs = user.here / "jobs"
        lines = (jobs / "my_script-7-10.pbs").read_text().splitlines()
        wanted = [
            "#!/bin/bash", "#PBS -N my_script-7-10", f"#PBS -o {jobs}/my_script-7-10.stdout",
            f"#PBS -e {jobs}/my_script-7-10.stderr", f"#PBS -l {resources}", "#PBS -l walltime=01:00:00", "",
        ]  # fmt: skip
        assert sorted(lines[:7]) == sorted(wanted)
        (command,) = [line for line in lines if line.startswith("MYENV")]
        assert command.startswith(f"MYENV=foo OTHER_ENV=bar cluf {user.here}/my_script.py -m direct -b 7/10 ")
        done = subprocess.run(["bash", str(jobs / "my_script-7-10.pbs")], capture_output=True, text=True, timeout=60)
        assert "finished 2 calls" in done.stderr
        (user.here / "my_script.py").write_text(SCRIPT)
        out, _ = user.cluf("my_script", "--nodes=3", "--wait", "-j", "jobs2", "-o", "all.jsonl")
        assert "as one array" in out
        assert sorted(r["value"] for r in records(str(user.here / "all.jsonl"))) == list(range(24))


def test_slurm(tmp_path: Path, real_slurm_cluster: RealSlurm) -> None:
    user = User(tmp_path, real_slurm_cluster.environment)
    out, err = user.cluf("my_script", "-i", "9", "--wait", "-j", "jobs", "-o", "all.csv", "-x", "0")
    assert "submitted 3 bins as one array" in out, err
    assert sorted(int(r["value"]) for r in records(str(user.here / "all.csv"))) == list(range(24))
    out, err = user.cluf("my_script", "-a", "bad", "-n", "2", "--wait", "-j", "jobs3", status=1)
    assert "finished 3 calls, 1 of them failed; 1 of 2 bins failed, 1 ended well" in out
    assert "ValueError: it fails" in err


def test_interrupted_it_leaves_no_job(tmp_path: Path, real_slurm_cluster: RealSlurm) -> None:
    user = User(tmp_path, real_slurm_cluster.environment)
    process = user.start(["my_script", "-t", "wait", "-n", "2", "--wait", "-j", "jobs"])
    end = time.monotonic() + 30
    while not list((user.here).glob("jobs/*.stdout")) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cancelled 2 jobs; 0 of 2 bins had finished" in err
    while (left := real_slurm_cluster.run("squeue", "-h").stdout) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left


def test_env_arrives_intact(user: User) -> None:
    value = "a 'b' \"c\" $HOME"
    (user.here / "shows.py").write_text(
        f"import os\nargs = [1]\ncluf_options = {{'env': {{'V': {value!r}}}}}\ndef target(x): print(os.environ['V'])\n"
    )
    user.cluf("shows", "-n", "1")
    (script,) = user.here.glob("shows-0-1.*")
    assert subprocess.run(["bash", script], capture_output=True, text=True, timeout=60).stdout == value + "\n"
