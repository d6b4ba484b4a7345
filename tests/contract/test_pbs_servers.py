"""Jobs on another PBS server than the usual one: asked for, cancelled and waited for where they are."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import StandInGround
from contract_tasks import wait_until

from clusterfutures.errors import JobFailed
from clusterfutures.jobs import status
from clusterfutures.jobs.array import submit_array
from clusterfutures.jobs.job import Job, find, submit, with_id
from clusterfutures.jobs.queue import Queue
from clusterfutures.schedulers.job_state import JobState
from clusterfutures.testing import FakePBS

pytestmark = [pytest.mark.on("pbs"), pytest.mark.steady("its servers have commands of their own")]

#: sends each command to the server that it names; the queue "route" is one that moves its jobs to the other server
_ROUTER = r"""#!{python}
import json, os, re, subprocess, sys
name, servers, book = {name!r}, {servers!r}, {book!r}
words, where = sys.argv[1:], "vm"
moved = json.load(open(book))
if name in ("qsub", "qselect") and "-q" in words:
    at = words.index("-q") + 1
    queue, _, where = words[at].partition("@")
    is_routed, where = queue == "route", where or ("other.site" if queue == "route" else "vm")
    words[at - 1 : at + 1] = ["-q", "workq"] if name == "qsub" else []
    done = subprocess.run([os.path.join(servers[where], name), *words], capture_output=True, text=True)
    if is_routed and done.returncode == 0:
        number = done.stdout.partition(".")[0]
        json.dump([*moved, number], open(book, "w"))
        done.stdout = number + ".vm\n"
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    sys.exit(done.returncode)
ids, options = [], []
for word in words:
    found = re.fullmatch(r"(\d+(?:\[[\d-]*\])?)?(?:\.([a-z.]+))?(?:@([a-z.]+))?", word)
    (ids if found and word else options).append((word, found))
groups = {{}}
for word, found in ids:
    number, home, there = found.groups()
    groups.setdefault((there or home or "vm", home or "vm"), []).append(number)
if not groups:
    os.execv(os.path.join(servers["vm"], name), [name, *words])
code = 0
for (where, home), numbers in groups.items():
    flags = [word for word, _ in options]
    if name == "qstat" and where == "vm" and set(numbers) & set(moved):
        jobs = {{f"{{n}}.vm": {{"Job_Name": "x", "job_state": "M", "queue": "workq@other.site"}} for n in numbers}}
        print(json.dumps({{"timestamp": 1, "pbs_version": "23.06.06", "pbs_server": "vm", "Jobs": jobs}}))
        continue
    numbers = [f"{{n}}.{{where}}" for n in numbers if n]
    done = subprocess.run([os.path.join(servers[where], name), *flags, *numbers], capture_output=True, text=True)
    sys.stdout.write(done.stdout.replace("." + where, "." + home) if where != home else done.stdout)
    sys.stderr.write(done.stderr)
    code = done.returncode or code
sys.exit(code)
"""
_COMMANDS = ("qsub", "qstat", "qdel", "qselect")


class Servers(NamedTuple):
    """The usual server, ``vm``, and another one, whose jobs have the same numbers."""

    ground: StandInGround
    other: FakePBS

    def submit(self, *arguments: Any, queue: str = "workq@other.site", **options: Any) -> Job:
        return submit(
            *arguments, scheduler="pbs", directory=str(self.ground.work / "jobs"), extra=["-q", queue], **options
        )

    def neighbour(self) -> str:
        """A job of the usual server, which has the number of the next one on the other; its id."""
        done = self.ground.standin.run("qsub", "--", "/bin/sleep", "100")
        assert done.returncode == 0, done.stderr
        return done.stdout.partition(".")[0]

    def asked(self, command: str) -> list[list[str]]:
        return self.other.call_list(command)


@pytest.fixture
def servers(ground: StandInGround, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    monkeypatch.setattr(status, "FIRST_SPACING", 0.3)
    with FakePBS(tmp_path / "other", server="other.site") as other:
        homes = {"vm": str(ground.standin.directory / "bin"), "other.site": str(other.directory / "bin")}
        book = tmp_path / "moved.json"
        book.write_text("[]")
        bin_directory = tmp_path / "router"
        bin_directory.mkdir()
        for name in _COMMANDS:
            path = bin_directory / name
            path.write_text(_ROUTER.format(python=sys.executable, name=name, servers=homes, book=str(book)))
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{bin_directory}:/usr/bin:/bin")
        yield Servers(ground, other)
        for job_id in ground.jobs():
            ground.end_job(job_id)
        assert other.errors() == ""


def test_an_executor_on_another_server(servers: Servers) -> None:
    """Its jobs are told from those of the usual server that have the same number."""
    neighbour = servers.neighbour()
    with servers.ground.executor(max_workers=2, extra=["-q", "workq@other.site"]) as ex:
        first = ex.submit(pow, 2, 3)
        assert first.result(60) == 8
        assert first.job_id.endswith(".other.site")
        late = ex.submit(time.sleep, 60)
        wait_until(late.running, "it runs")
        ex.terminate_workers()
        with pytest.raises(Exception, match=r"\d+(\[\d\])?\.other\.site"):
            late.result(60)
    wait_until(servers.other.idle, "the jobs there are cancelled")
    assert neighbour in servers.ground.jobs()


def test_a_worker_that_is_ended_there(servers: Servers) -> None:
    neighbour = servers.neighbour()
    with servers.ground.executor(max_workers=1, extra=["-q", "workq@other.site"]) as ex:
        call = ex.submit(time.sleep, 60)
        wait_until(call.running, "it runs")
        servers.other.run("qdel", call.job_id or "")
        with pytest.raises(JobFailed, match="cancelled"):
            call.result(60)
    assert neighbour in servers.ground.jobs()


def test_a_job_on_another_server(servers: Servers) -> None:
    neighbour = servers.neighbour()
    job = servers.submit("sleep 1; echo $CLUSTERFUTURES_JOB_ID")
    assert job.id == f"{neighbour}.other.site"
    assert job.get(30) == (0, f"{job.id}\n", "")
    assert with_id(job.id, str(servers.ground.work / "jobs")).path == job.path
    assert find([job.id], str(servers.ground.work / "jobs"), "pbs")[0].path == job.path  # type: ignore[union-attr]
    long = servers.submit("sleep 60")
    wait_until(lambda: long.started is not None, "it runs")
    assert long.state is JobState.RUNNING
    assert long.cancel()
    assert long.wait(30).state is JobState.CANCELLED
    wait_until(servers.other.idle, "it is cancelled there")
    assert neighbour in servers.ground.jobs()


def test_the_usual_server_by_its_name(servers: Servers) -> None:
    job = servers.submit("true", queue="workq@vm")
    assert job.id.isdigit()
    assert job.get(30)[0] == 0
    assert find([f"{job.id}.vm"], str(servers.ground.work / "jobs"), "pbs")[0].path == job.path  # type: ignore[union-attr]
    assert find([f"{job.id}.other.site"], str(servers.ground.work / "jobs"), "pbs") == [f"{job.id}.other.site"]


def test_dependencies_there(servers: Servers) -> None:
    first = servers.submit("sleep 0.5; exit 0")
    second = servers.submit("echo ran", dependencies=first)
    assert second.get(30) == (0, "ran\n", "")
    here = submit("sleep 5", scheduler="pbs", directory=str(servers.ground.work / "jobs"))
    servers.submit("true", dependencies=here)
    depend = [word for word in servers.asked("qsub")[-1] if word.startswith("depend=")]
    assert depend == [f"depend=afterok:{here.id}.vm"], "another server would take a bare number for its own"
    here.cancel()


def test_an_array_there(servers: Servers) -> None:
    jobs = submit_array("exit {}", ["0", "3"], scheduler="pbs", directory=str(servers.ground.work / "jobs"),
                        extra=["-q", "workq@other.site"])  # fmt: skip
    assert [job.id.partition("[")[2] for job in jobs] == ["0].other.site", "1].other.site"]
    later = servers.submit("echo ran", dependencies={"notok": jobs[1]})
    assert [job.get(30)[0] for job in jobs] == [0, 3]
    assert later.get(30) == (0, "ran\n", "")


def test_a_queue_that_is_told_of_such_a_job(servers: Servers) -> None:
    job = servers.submit("sleep 60")
    status._kept.cache_clear()  # as in another program
    queue = Queue(scheduler="pbs")
    with pytest.raises(TimeoutError):
        queue.wait(job.id, timeout=2)
    job.cancel()
    assert queue.wait(job.id, timeout=60)


def test_a_queue_of_another_program(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where jobs were sent to by name is noted beside them; a server that is away takes no other along."""
    here, there = servers.neighbour(), servers.submit("sleep 60")
    monkeypatch.setenv("HOME", str(servers.ground.work))
    status._kept.cache_clear()
    queue = Queue(scheduler="pbs")
    assert {job.id for job in queue.jobs} == {here}, "it looks into the usual directory of jobs"
    queue.know_places_of(str(servers.ground.work / "jobs"))
    assert {job.id for job in queue.jobs} == {here, there.id}
    assert there in queue
    assert queue[there].state is JobState.RUNNING
    servers.other.down()
    status._kept.cache_clear()
    queue = Queue(scheduler="pbs")
    queue.know_places_of(str(servers.ground.work / "jobs"))
    assert [job.id for job in queue.jobs] == [here]
    servers.other.up()
    there.cancel()


@pytest.mark.parametrize("ended", [False, True], ids=["runs on", "cancelled"])
def test_a_job_that_is_moved(servers: Servers, ended: bool) -> None:
    go = servers.ground.work / "go"
    waits = f"until [ -e {go} ]; do sleep 0.05; done; echo there"
    job = servers.submit("sleep 60" if ended else waits, queue="route")
    assert job.id.isdigit()
    wait_until(lambda: job.state is JobState.RUNNING and job.started is not None, "it runs")
    if ended:
        assert job.cancel()
        wait_until(servers.other.idle, "it is cancelled there")
        assert job.wait(30).state is JobState.CANCELLED
    else:
        go.touch()
        assert job.get(30) == (0, "there\n", "")


def test_a_worker_that_is_moved(servers: Servers) -> None:
    with servers.ground.executor(max_workers=1, extra=["-q", "route"]) as ex:
        call = ex.submit(time.sleep, 60)
        wait_until(call.running, "it runs")
        servers.other.run("qdel", f"{call.job_id}.other.site")
        with pytest.raises(JobFailed, match="cancelled"):
            call.result(60)
    wait_until(servers.other.idle, "nothing is left there")
