"""A site answers ``squeue`` and ``qstat`` from a cache: what was submitted just now is unknown there for some time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Ground, SlurmGround

from clusterfutures import submit
from clusterfutures.jobs.queue import Queue

#: seconds for which a job is unknown
LAG = 6

_WRAPPER = """#!{python}
import json, os, re, subprocess, sys, time
real, name, book = {real!r}, {name!r}, {book!r}
born = dict(line.split() for line in open(book)) if os.path.exists(book) else {{}}
young = {{number for number, at in born.items() if time.time() - float(at) < {lag}}}
words = sys.argv[1:]
asked = [word for word in words if re.match(r"[0-9]+([_.\\[].*)?$", word)]
hidden = [word for word in asked if re.match("[0-9]+", word)[0] in young]
if name == "scontrol" and hidden:
    sys.exit("slurm_load_jobs error: Invalid job id specified")
if name == "qstat" and hidden:
    for word in hidden:
        print("qstat: Unknown Job Id", word, file=sys.stderr)
    words = [word for word in words if word not in hidden]
    if hidden == asked:
        sys.exit(153)
done = subprocess.run([real, *words], capture_output=True, text=True)
out = done.stdout
if name in ("sbatch", "qsub") and done.returncode == 0:
    with open(book, "a") as file:
        file.write(re.findall("[0-9]+", out)[0] + " " + str(time.time()) + "\\n")
elif name == "squeue":
    out = "".join(line for line in out.splitlines(True) if line.split("|")[0] not in young)
elif name == "qstat" and not asked and "json" in words:
    answer = json.loads(out)
    jobs = answer.get("Jobs", {{}})
    answer["Jobs"] = {{one: job for one, job in jobs.items() if re.match("[0-9]+", one)[0] not in young}}
    out = json.dumps(answer)
sys.stdout.write(out)
sys.stderr.write(done.stderr)
sys.exit(153 if name == "qstat" and hidden else done.returncode)
"""


@pytest.fixture
def cached(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that know a job only when it is ``LAG`` seconds old."""
    if isinstance(ground, SlurmGround):
        monkeypatch.setitem(ground.slurm.environment, "PATH", os.environ["PATH"])
    directory = ground.work / "commands"
    directory.mkdir()
    for name in ("sbatch", "squeue", "scontrol", "qsub", "qstat"):
        real = shutil.which(name)
        if real is not None:
            path = directory / name
            path.write_text(
                _WRAPPER.format(python=sys.executable, real=real, name=name, book=str(ground.work / "book"), lag=LAG)
            )
            path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.on("slurm", "pbs")
def test_nothing_is_given_up(ground: Ground, cached: None) -> None:
    """Calls, jobs, a job that depends on another, a queue that is waited for: unknown at first, until they end."""
    where = {"scheduler": ground.name, "directory": ground.work / "jobs"}
    began = time.monotonic()
    with ground.executor(max_workers=1) as ex, ThreadPoolExecutor() as waiting:
        future = ex.submit(time.sleep, LAG + 2)
        first = submit(f"sleep {LAG + 2}", **where)
        second = submit("echo second", dependencies=first, **where)
        listed = waiting.submit(Queue(scheduler=ground.name).wait, first.id, 60)
        program = subprocess.run(
            [sys.executable, "-m", "clusterfutures", "wait", second.path, "--timeout=60"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert listed.result(60)
        assert time.monotonic() > began + LAG + 2, "its jobs have ended by then"
        assert future.result(60) is None
        assert (first.wait(60).exit_code, second.wait(60).exit_code) == (0, 0)
        assert program.returncode == 0, program.stdout + program.stderr
    assert second.get(1)[1] == "second\n"
