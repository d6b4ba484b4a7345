"""A client that is stopped for a while, one whose clock is wrong, one that just ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Ground
from contract_tasks import wait_until

from clusterfutures import attach, remove_run

#: how long at least; a minute was tried by hand
STOPPED_SECONDS = float(os.environ.get("STOPPED_SECONDS", "0.5"))

STOPPED = """
import sys, time
def noted(n):
    with open(sys.argv[1], "a") as file:
        file.write(f"{n}\\n")
    time.sleep(0.1)
    return n
ex = executor(idle_timeout=0.3)
print("ready", flush=True)
futures = [ex.submit(noted, n) for n in range(12)]
mapped = ex.map(noted, range(100, 108))
print("submitted", flush=True)
print([f.result(60) for f in futures] == [*range(12)], list(mapped) == [*range(100, 108)], flush=True)
print(ex.submit(noted, 200).result(60), flush=True)
ex.shutdown()
"""


@pytest.mark.on("local", "slurm")
def test_stopped_and_continued(ground: Ground, tmp_path: Path) -> None:
    """Once while it submits, once while its calls run: its jobs do what they find, and end."""
    log = tmp_path / "log"
    log.touch()
    program = ground.script(STOPPED.replace("sys.argv[1]", repr(str(log))), wait=False)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        _stop_for_a_while(ground, program)
        assert program.stdout.readline() == "submitted\n"
        wait_until(lambda: len(log.read_text().split()) > 2, "some calls have begun", 20)
        _stop_for_a_while(ground, program)
        said, complaint = program.communicate(timeout=50)
    finally:
        program.kill()
        program.communicate()
    assert said.splitlines() == ["True True", "200"], complaint
    assert sorted(map(int, log.read_text().split())) == [*range(12), *range(100, 108), 200]


def _stop_for_a_while(ground: Ground, program: subprocess.Popen[str]) -> None:
    program.send_signal(signal.SIGSTOP)
    until = time.monotonic() + STOPPED_SECONDS
    wait_until(lambda: not _jobs_but(ground, program.pid), "its jobs have ended", 20)
    wait_until(lambda: time.monotonic() > until, "it was stopped for long enough", 100)
    program.send_signal(signal.SIGCONT)


def _jobs_but(ground: Ground, pid: int) -> bool:
    """Whether there are jobs, or (where the scheduler is a part of the program) processes of them."""
    if ground.name == "slurm":
        return bool(ground.jobs())
    return any(str(pid) != str(other) and "node.main" in line for other, line in ground.processes().items())


@pytest.mark.on("slurm")
@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_wrong(ground: Ground, hours: int) -> None:
    """By an hour, against nodes and directory: nothing that counts goes by the client's clock."""
    text = f"""
import time
right = time.time
time.time = lambda: right() + {hours * 3600}
time.time_ns = lambda: int(time.time() * 1e9)
from clusterfutures import remaining_time
def check(n):
    return remaining_time() if n == 0 else n
with executor(run="fit", time="10:00") as ex:
    left, *others = ex.map(check, range(20))
    started = ex.submit(abs, -1)
    assert started.result() == 1
    print(left, abs(started.started - right()) < 60, others == [*range(1, 20)])
"""
    said = ground.script(text).said.split()  # type: ignore[attr-defined]
    assert said[1:] == ["True", "True"]
    assert 500 < float(said[0]) <= 600
    with attach("fit", ground.runs) as run:
        assert len(run.futures) == 21
        assert run.futures[-1].result(60) == 1
    remove_run("fit", ground.runs)


@pytest.mark.on("slurm")
def test_the_end_of_the_interpreter_with_a_named_run(ground: Ground) -> None:
    """Nobody called ``shutdown``: what was submitted is carried out, as without a name, and stays."""
    ground.script("ex = executor(run='fit')\nfutures = [ex.submit(pow, n, 2) for n in range(9)]\n")
    wait_until(lambda: not ground.jobs(), "no job is left", 20)
    with attach("fit", ground.runs) as run:
        assert [future.result(0) for future in run.futures] == [n * n for n in range(9)]
    remove_run("fit", ground.runs)
