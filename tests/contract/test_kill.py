"""``future.kill()``: one call ends, whatever it does and wherever it is, and no other call with it."""

from __future__ import annotations

import concurrent.futures as cf
import os
import signal
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground, SlurmGround
from contract_tasks import wait_until

from clusterfutures import attach, remove_run
from clusterfutures.errors import CallKilled, JobFailed
from clusterfutures.futures import ClusterFuture


def _stubborn(started: str, how: str) -> None:
    """A call that does not end by itself, and does not mind signals."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print("it was here")
    tasks.touch(started, str(os.getppid()))
    if how == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        os.getpid()


def _running(future: ClusterFuture[None], started: Path) -> int:
    """The call is running, and known to; the process id of its supervisor."""
    supervisor = int(tasks.await_file(started))
    wait_until(lambda: future.job_id, "the future knows its job")
    return supervisor


@pytest.mark.on("local", "slurm")
def test_a_running_call_ends_and_no_other(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1, retries=5) as ex:
        finished = ex.submit(tasks.double, 1)
        call = ex.submit(_stubborn, f"{tmp_path}/started", "stopped")
        behind, unwanted = ex.submit(tasks.double, 2), ex.submit(tasks.double, 3)
        _running(call, tmp_path / "started")
        assert call.kill()
        assert call.kill(), "it may be said twice"
        assert unwanted.kill()
        error = call.exception(60)
        assert isinstance(error, CallKilled)
        for text in ("_stubborn", "kill()", error.host, error.job_id, "it was here"):
            assert text
            assert text in str(error)
        assert error.job_id == call.job_id
        assert call.output() == "it was here\n"
        assert call.attempts == 1
        assert behind.result(60) == 4
        assert unwanted.cancelled()
        assert not call.kill()
        assert not finished.kill()
        assert finished.result(0) == 2


def _wait_at(directory: str, number: int, bad: int) -> int:
    """Leaves a file for each call that came to run; one of them waits."""
    tasks.touch(f"{directory}/{number}")
    if number == bad:
        tasks.await_file(f"{directory}/release")
    return number


def _claimed(ground: Ground) -> list[str]:
    return [path.name for path in ground.run_directory().glob("claimed/*/0*")]


@pytest.mark.on("local")
def test_calls_of_a_bin(ground: Ground, tmp_path: Path) -> None:
    """One is running, one comes after it in the same bin: they end, the others of the bin do not."""
    with ground.executor(max_workers=1) as ex:
        for future in [ex.submit(_wait_at, str(tmp_path), -1, 0) for _ in range(50)]:
            future.result(60)
        futures = [ex.submit(_wait_at, str(tmp_path), n, 57) for n in range(100)]
        wait_until(lambda: (tmp_path / "57").exists(), "the call runs")
        wait_until(lambda: len(_claimed(ground)) == 1, "the bins before are done with")
        (claimed,) = _claimed(ground)
        wait_until(futures[57].running, "the client knows")
        assert futures[57].kill()
        assert futures[59].kill()
        assert isinstance(futures[57].exception(60), CallKilled)
        cf.wait(futures, 30)
        left = [n for n in range(100) if n not in (57, 59)]
        assert [futures[n].result(0) for n in left] == left
        assert futures[59].cancelled() or isinstance(futures[59].exception(0), CallKilled)
        assert not (tmp_path / "59").exists(), f"it never ran; it was in {claimed}"


@pytest.mark.on("slurm")
def test_in_a_job_that_is_suspended(ground: SlurmGround, tmp_path: Path) -> None:
    """It is carried out when the job goes on."""
    with ground.executor(max_workers=1) as ex:
        call = ex.submit(_stubborn, f"{tmp_path}/started", "busy")
        _running(call, tmp_path / "started")
        assert ground.slurm.run("scontrol", "suspend", call.job_id).returncode == 0
        try:
            assert call.kill()
            assert not cf.wait([call], 1.5).done
        finally:
            assert ground.slurm.run("scontrol", "resume", call.job_id).returncode == 0
        assert isinstance(call.exception(60), CallKilled)


@pytest.mark.on("local")
def test_in_a_job_that_is_lost(ground: Ground, tmp_path: Path) -> None:
    """That is the end of the call too, whatever may be retried."""
    with ground.executor(max_workers=1, retries=5) as ex:
        call = ex.submit(_stubborn, f"{tmp_path}/call", "busy")
        supervisor = _running(call, tmp_path / "call")
        os.kill(supervisor, signal.SIGSTOP)
        assert call.kill()
        os.kill(supervisor, signal.SIGKILL)
        error = call.exception(60)
        assert isinstance(error, CallKilled)
        assert f"at the same time: job {call.job_id}" in str(error)
        assert call.attempts == 1
        assert ex.submit(tasks.double, 1).result(60) == 2


PROGRAM = """
import sys, time
def forever(path):
    open(path, "w").close()
    while True:
        time.sleep(0.01)
ex = executor(run="fit", max_workers=2, idle_timeout=1.0)
one = ex.submit(forever, sys.argv[1] + "/one")
values = ex.map(forever, [sys.argv[1] + "/two"])
next(values)
"""


@pytest.mark.on("local")
def test_in_a_run_that_was_attached_to(ground: Ground, tmp_path: Path) -> None:
    """A call of submit ends; one of a map stays what it is."""
    program = ground.script(PROGRAM, str(tmp_path), wait=False)
    try:
        for name in ("one", "two"):
            tasks.await_file(tmp_path / name)
    finally:
        program.kill()
        program.communicate()
    with attach("fit", ground.runs) as run:
        one, two = run.futures
        assert one.kill()
        assert isinstance(one.exception(60), CallKilled)
        assert not two.kill()
        assert not two.cancel()
        assert not two.done()
        for job_id in ground.jobs():
            ground.end_job(job_id)
        assert isinstance(two.exception(60), JobFailed)
    wait_until(lambda: not ground.jobs(), "the jobs have ended")
    remove_run("fit", ground.runs)
