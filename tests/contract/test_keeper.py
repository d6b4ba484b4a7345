"""The queue of one machine with its own keeper: programs that leave, and keepers that are killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clusterfutures import Job, JobState, Queue, submit, submit_array
from clusterfutures.schedulers.base import Scheduler
from clusterfutures.schedulers.local_queue import keeper
from clusterfutures.schedulers.local_queue.place import state_directory
from tests.conftest import Ground

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import packing

pytestmark = pytest.mark.on("local")


def keepers(ground: Ground) -> list[int]:
    """Those that are it: one of them that is just becoming a job still looks like it."""
    found = {pid for pid, command in ground.processes().items() if f"-m {keeper.__name__}" in command}
    return [pid for pid in found if _parent(pid) not in found]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def until(condition: object, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_cores_are_never_given_away_twice(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the jobs' own clock; ``benchmarks/packing.py`` does it with 500."""
    monkeypatch.setenv("CLUSTERFUTURES_LOCAL_CORES", "2")
    stamps, listed = packing.run(20, 2, (0.01, 0.06), 1, ground.work)
    assert packing.most_at_once(listed) == 2
    assert packing.most_at_once(stamps) == 2
    assert {one.cores for one in stamps} == {1, 2}


def test_many_programs_submit_at_once(ground: Ground) -> None:
    """One keeper, every job once, and each program sees all of them."""
    code = (
        "from clusterfutures import Queue, submit\n"
        f"jobs = [submit('echo >>{ground.work}/ran', scheduler='local', directory={str(ground.work)!r} + '/jobs')"
        " for _ in range(4)]\n"
        "queue = Queue(scheduler='local'); queue.wait(jobs, timeout=40)\n"
        "print(*{queue[job].state.value for job in jobs})"
    )
    programs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(5)]
    assert [program.communicate()[0] for program in programs] == ["completed\n"] * 5
    assert (ground.work / "ran").read_text() == 20 * "\n"
    assert sorted(int(job.id) for job in Queue(scheduler="local")) == list(range(1, 21))
    until(lambda: not keepers(ground))


def test_a_program_leaves_and_its_keeper_is_killed(ground: Ground) -> None:
    """Jobs go on without both; whatever asks next brings a keeper, and what waited starts."""
    go = ground.work / "go"
    ground.script(
        "from clusterfutures import submit\n"
        f"where = dict(scheduler='local', directory={str(ground.work)!r} + '/jobs')\n"
        f"first = submit('while [ ! -e {go} ]; do sleep 0.02; done; echo $HERE; exit 3', cores=99, **where)\n"
        "submit('echo >>ran', dependencies={'notok': first}, **where)\n"
        "submit('echo >>ran', dependencies=first, **where)\n"
    )
    (pid,) = keepers(ground)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not keepers(ground))
    go.touch()
    jobs = sorted((Job.attach(str(path)) for path in (ground.work / "jobs").iterdir()), key=lambda job: int(job.id))
    until(lambda: jobs[0].ended is not None)
    assert keepers(ground) == []
    queue = Queue(scheduler="local")
    queue.wait(timeout=60)
    assert [queue[job].state for job in jobs] == [JobState.FAILED, JobState.COMPLETED, JobState.CANCELLED]
    assert [queue[job].exitcode for job in jobs] == [3, 0, None]
    assert [job.state for job in jobs] == [JobState.FAILED, JobState.COMPLETED, JobState.FAILED]
    assert (ground.work / "ran").read_text() == "\n"


def test_keepers_that_are_killed_again_and_again(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever moment: every job runs once."""
    monkeypatch.setenv("CLUSTERFUTURES_LOCAL_CORES", "2")
    where = {"scheduler": "local", "directory": str(ground.work / "jobs")}
    jobs = [submit(f"echo {number} >>ran; sleep 0.05", **where) for number in range(20)]
    queue = Queue(scheduler="local")
    killed = 0
    while len([job for job in queue if job.state.is_final]) < len(jobs) or killed < 4:
        if len(jobs) == len([job for job in queue if job.state.is_final]):  # they were quicker than this loop
            jobs.append(submit(f"echo {len(jobs)} >>ran; sleep 0.2", **where))
        for pid in keepers(ground) if killed < 8 else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        time.sleep(0.02 * (killed % 4))
    assert sorted(map(int, (ground.work / "ran").read_text().split())) == list(range(len(jobs)))
    assert {job.state for job in queue} == {JobState.COMPLETED}


def test_nobody_is_left_when_nothing_is_left_to_do(ground: Ground) -> None:
    job = submit("grep SigIgn /proc/self/status", scheduler="local", directory=str(ground.work / "jobs"))
    assert int(job.get(20)[1].split()[1], 16) & 0b110 == 0, "a job can be interrupted"
    until(lambda: not keepers(ground), keeper.LINGER_SECONDS + 10)
    with open(os.path.join(state_directory(), "lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # soon: what a process had open outlives the rest of it by a moment
    assert Queue(scheduler="local")[job].exitcode == 0
    assert keepers(ground) == [], "there is nothing to do for one"


def test_every_element_of_an_array_is_its_own(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs read their script when they start: what has one script is submitted together, however many there are."""
    monkeypatch.setattr(Scheduler, "array_limit", lambda self: 2)
    where = {"scheduler": "local", "directory": str(ground.work / "jobs")}
    jobs = submit_array("sleep 0.1; echo {}", "abcdef", **where)
    assert [job.get(20)[1] for job in jobs] == [f"{item}\n" for item in "abcdef"]
