"""What only a real Slurm does to jobs: limits, lost nodes, requeues.

Tests that stop daemons or need another configuration have a cluster of their own
(``own_slurm``), the others share the session's.  Slow deaths share one test, in which
they happen at the same time.
"""

from __future__ import annotations

import concurrent.futures as cf
import logging
import os
import time
from pathlib import Path
from typing import Any

import contract_tasks as tasks
import pytest
from conftest import OwnSlurm, SlurmGround
from contract_tasks import wait_until

from clusterfutures.errors import JobFailed, WorkerDied
from clusterfutures.executors import ClusterExecutor
from clusterfutures.futures import ClusterFuture
from clusterfutures.node.time_limit import remaining_time
from clusterfutures.schedulers.slurm.adapter import SlurmScheduler

#: memory is given out, and looked at each second; a node that is silent is given up soon
WATCHFUL = """\
SelectTypeParameters=CR_Core_Memory
JobAcctGatherParams=OverMemoryKill
JobAcctGatherFrequency=1
SlurmdTimeout=5"""
#: jobs of the partition "low" give way to those of "high"
PREEMPTING = """
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=low Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9"""
#: how often the controller looks at time limits, with some room
TIME_LIMIT_LOOK = 45.0


def _first_blocks(path: str) -> tuple[float, str | None]:
    """The first attempt waits for its end; the next one tells how long its job may run, and on which node."""
    if os.path.exists(f"{path}-started"):
        return remaining_time(), tasks.variable("SLURMD_NODENAME")
    return tasks.block(f"{path}-started", f"{path}-release")  # type: ignore[no-any-return]


def _blocked(ex: ClusterExecutor, path: Path, retries: Any = None) -> tuple[ClusterFuture[Any], str]:
    """A call that runs until ``path`` + "-release" is there, and the id of its job; its later attempts do not wait."""
    if retries is None:
        future = ex.submit(tasks.block, f"{path}-started", f"{path}-release", path.name)
    else:
        future = ex.with_options(retries=retries).submit(_first_blocks, str(path))
    tasks.await_file(f"{path}-started")
    wait_until(lambda: future.job_id, "the future knows its job")
    return future, future.job_id


def _scontrol(ground: SlurmGround, *words: str) -> None:
    answer = ground.slurm.run("scontrol", *words)
    assert answer.returncode == 0, answer.stderr


def _queue(ground: SlurmGround, job_id: str, fields: str) -> str:
    return ground.slurm.run("squeue", "-h", "-r", "-t", "all", "-j", job_id, "-o", fields).stdout.strip()


def _check(error: BaseException | None, job_id: str, *texts: str) -> None:
    """The job took the call with it, and the message says what the user needs to know."""
    assert isinstance(error, JobFailed), repr(error)
    assert isinstance(error, cf.BrokenExecutor)
    assert error.job_id == job_id
    assert error.host
    for text in (job_id, error.host, *texts):
        assert text in str(error)


# -- jobs that Slurm ends ---------------------------------------------------------------


def _hoard(megabytes: int, enough: int = 1 << 30) -> int:
    """Use that much memory, for longer than it takes to be noticed, unless the job has ``enough``: then tell it."""
    if (mine := int(os.environ["SLURM_MEM_PER_NODE"])) >= enough:
        return mine
    hoard = bytearray(os.urandom(4096)) * (256 * megabytes)
    time.sleep(tasks.CALL_LIMIT)
    return len(hoard)


def test_time_memory_and_node_run_out(own_slurm: OwnSlurm, tmp_path: Path) -> None:
    """Four deaths at once, with a call in each that fails, and one that its ``retries`` bring back."""
    ground = own_slurm(nodes=5, extra_conf=WATCHFUL + PREEMPTING)
    timed = ground.executor(max_workers=2, time="10m", memory="300MB", extra=["--nodelist=c1"])
    greedy = ground.executor(max_workers=2, memory="60MB", extra=["--nodelist=c2", "--no-requeue"])
    pushed = ground.executor(max_workers=1, processes=2, partition="low", extra=["--nodelist=c5"])
    unlucky = ground.executor(max_workers=1, processes=2, extra=["--no-requeue", "--exclude=c1,c2,c5"])

    late, late_job = _blocked(timed, tmp_path / "late")
    late_again, late_again_job = _blocked(timed, tmp_path / "late-again", {"timeout": {"time": "x2"}})
    for job_id in (late_job, late_again_job):  # limits are in whole minutes otherwise
        update = ("scontrol", "update", f"JobId={job_id}", "EndTime=now")  # refused in the second in which it started
        wait_until(lambda update=update: not ground.slurm.run(*update).returncode, "its time is over")  # type: ignore[misc]
    large = greedy.submit(_hoard, 200)
    large_again = greedy.with_options(retries={"oom": {"memory": "x2", "max": 2}}).submit(_hoard, 200, 240)
    lost, lost_job = _blocked(unlucky, tmp_path / "lost")
    lost_again, _ = _blocked(unlucky, tmp_path / "lost-again", {"crash": 1})
    lost_node = _queue(ground, lost_job, "%N")
    ground.slurm.lose_node(lost_node)
    away, away_job = _blocked(pushed, tmp_path / "away")
    away_again, _ = _blocked(pushed, tmp_path / "away-again", {"crash": 1})
    ground.slurm.run("sbatch", "-p", "high", "-w", "c5", "-c", "2", "--output=/dev/null", "--wrap", "sleep 1")
    waiting = [ex.submit(tasks.worker) for ex in (timed, greedy, unlucky, pushed)]

    too_much = large.exception(60)
    assert isinstance(too_much, JobFailed | WorkerDied), repr(too_much)
    assert "_hoard" in str(too_much)
    assert "memory limit" in str(too_much), "what Slurm said of it"
    assert (large_again.result(60), large_again.attempts) == (240, 3)
    _check(away.exception(60), away_job, "PREEMPTED", "preempted", "contract_tasks.block")
    assert away_again.result(60)[1] == "c5"
    _check(late.exception(TIME_LIMIT_LOOK), late_job, "TIMEOUT", "time=", "contract_tasks.block")
    assert 1000 < late_again.result(TIME_LIMIT_LOOK)[0] <= 1200
    _check(lost.exception(TIME_LIMIT_LOOK), lost_job, "NODE_FAIL", "node failed", "contract_tasks.block")
    assert lost_again.result(60)[1] != lost_node
    assert [future.attempts for future in (late_again, lost_again, away_again)] == [2, 2, 2]
    homes = [future.result(60)[0] for future in waiting]
    assert not {late_job, late_again_job, lost_job, large.job_id, away_job} & set(homes)
    assert "memory=" in str(too_much), "what to try is said"


# -- jobs that Slurm starts anew --------------------------------------------------------


@pytest.mark.on("slurm")
def test_a_requeued_job(ground: SlurmGround, tmp_path: Path) -> None:
    """Its call fails, for it had begun; what waits goes on, and the job is not left in the queue."""
    with ground.executor(max_workers=1) as ex:
        future, job_id = _blocked(ex, tmp_path / "call")
        waiting = [ex.submit(tasks.worker) for _ in range(3)]
        began = time.monotonic()
        _scontrol(ground, "requeue", job_id)
        error = future.exception(60)
        assert time.monotonic() - began < 25
        _check(error, job_id, "contract_tasks.block", "DUE TO JOB REQUEUE")
        assert all(other.result(60)[0] for other in waiting), "two minutes earlier than the job could"
    wait_until(lambda: not ground.jobs(), "nothing is left in the queue", 20)
    assert isinstance(error, JobFailed)
    assert "PENDING" not in error.state, "of a job that ended"


@pytest.mark.on("slurm")
def test_a_requeued_job_that_is_back_at_once(ground: SlurmGround) -> None:
    """It had nothing to do when it was stopped.  If it comes back to work, its results count."""
    with ground.executor(max_workers=1, idle_timeout=30.0) as ex:
        job_id = ex.submit(tasks.worker).result(60)[0]
        _scontrol(ground, "requeue", job_id)
        wait_until(lambda: _queue(ground, job_id, "%T") != "RUNNING", "the job is stopped")
        wait_until(lambda: _queue(ground, job_id, "%T") != "COMPLETING", "the job is over")
        if _queue(ground, job_id, "%T") == "PENDING":  # not cancelled: then do not wait for two minutes
            ground.slurm.run("scontrol", "update", f"JobId={job_id}", "StartTime=now")  # or it is cancelled meanwhile
            wait_until(lambda: _queue(ground, job_id, "%T") != "PENDING", "the job runs again")
            time.sleep(1)  # and looks for work
        assert ex.submit(tasks.double, 1).result(60) == 2
    wait_until(lambda: not ground.jobs(), "nothing is left in the queue", 20)


# -- limits of the site -----------------------------------------------------------------


def test_more_workers_than_an_array_may_have(own_slurm: OwnSlurm, tmp_path: Path) -> None:
    ground = own_slurm(cpus=4, max_array_size=5)
    with ground.executor(max_workers=12) as ex:
        with tasks.in_one_go():
            futures = [ex.submit(tasks.block, tmp_path / f"{n}-started", tmp_path / "release", n) for n in range(12)]
        for number in range(12):
            tasks.await_file(tmp_path / f"{number}-started", 20)
        jobs = ground.jobs()
        tasks.touch(tmp_path / "release")
        assert [future.result(60) for future in futures] == list(range(12))
        assert len(jobs) == 12
        assert len({job_id.partition("_")[0] for job_id in jobs}) == 3, "as few arrays as possible"


@pytest.mark.on("slurm")
def test_jobs_that_can_never_run_are_told_once(
    ground: SlurmGround, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if "PartitionTimeLimit" in record.getMessage()]

    answers = []
    plain = SlurmScheduler.recent_states
    monkeypatch.setattr(SlurmScheduler, "recent_states", lambda *a: answers.append(plain(*a)) or answers[-1])

    with (
        caplog.at_level(logging.WARNING, "clusterfutures"),
        ground.executor(max_workers=3, partition="short", time="1:00:00") as ex,
    ):
        futures = [ex.submit(tasks.double, n) for n in range(6)]
        wait_until(told, "a warning", 20)
        told_at = len(answers)
        wait_until(lambda: len(answers) > told_at, "another answer of the scheduler", 15)
        assert all(future.cancel() for future in futures)
    assert len(told()) == 1, told()


# -- jobs that submit jobs --------------------------------------------------------------


def _nested(directory: str, here: str, count: int) -> tuple[list[int], str, dict[str, str | None]]:
    """Results, job and variables of an executor that is made inside a job, beside another one."""
    from clusterfutures import SlurmExecutor

    tasks.share(here, 2)
    with SlurmExecutor(max_workers=1, idle_timeout=2.0, directory=directory) as ex:
        doubled = list(ex.map(tasks.double, range(count)))
        names = ("SLURM_ARRAY_TASK_ID", "SLURM_MEM_PER_NODE")
        return doubled, ex.submit(tasks.worker).result(60)[0], ex.submit(tasks.variables, *names).result(60)


@pytest.mark.on("slurm")
def test_a_call_that_makes_an_executor(ground: SlurmGround, tmp_path: Path) -> None:
    """The outer jobs are elements of an array, with memory of their own: not so the inner ones."""
    with ground.executor(memory="500MB") as ex:
        with tasks.in_one_go():
            futures = [ex.submit(_nested, str(ground.runs), f"{tmp_path}/here", count) for count in (3, 8)]
        inner = [future.result(60) for future in futures]
        outer = {future.job_id for future in futures}
    assert all("_" in job_id for job_id in outer)
    assert [doubled for doubled, _, _ in inner] == [[2 * n for n in range(count)] for count in (3, 8)]
    assert len({*outer, *(job_id for _, job_id, _ in inner)}) == 4
    assert all(not any(variables.values()) for _, _, variables in inner)
