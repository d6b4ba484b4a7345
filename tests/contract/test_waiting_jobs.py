"""Jobs that wait: for what never comes, until somebody ends them, for their next bin; and nodes that see nothing."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cloudpickle
import contract_tasks as tasks
import filelock
import other_slurm
import pytest
from conftest import MARK, Ground, SlurmGround, StandInGround
from contract_tasks import wait_until

import clusterfutures
from clusterfutures.errors import JobFailed
from clusterfutures.executors import ClusterExecutor
from clusterfutures.futures import ClusterFuture
from clusterfutures.testing.real_slurm import RealSlurm

AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount something on a node")


def _held(ground: Ground, **options: Any) -> ClusterExecutor:
    return ground.executor(extra=["--hold"] if ground.name == "slurm" else ["-h"], **options)


def _release(ground: Ground, job_id: str) -> None:
    if isinstance(ground, SlurmGround):
        ground.slurm.run("scontrol", "release", job_id)
    else:
        ground.standin.release(job_id)  # type: ignore[attr-defined]


def _pending(ground: Ground, ex: ClusterExecutor) -> tuple[ClusterFuture[Any], str]:
    """A call whose job waits, and the job."""
    before = ground.jobs()
    future = ex.submit(tasks.worker)
    wait_until(lambda: ground.jobs() - before, "its job is in the queue")
    (job_id,) = ground.jobs() - before
    return future, job_id


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "does not come by itself" in record.getMessage()]


@pytest.mark.on("slurm")
def test_what_never_comes_is_told_once_with_slurms_reason(
    ground: SlurmGround, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Waiting goes on, and ends where what kept it does."""
    caplog.set_level(logging.WARNING, "clusterfutures")
    failed = ground.slurm.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=false").stdout.strip()
    options: dict[str, dict[str, Any]] = {
        "PartitionTimeLimit": {"partition": "short", "time": "2h"},
        "PartitionConfig": {"cores": 64},
        "DependencyNeverSatisfied": {"extra": [f"--dependency=afterok:{failed}"]},
        "JobHeldUser": {"extra": ["--hold"]},
        "JobHeldAdmin": {"extra": ["--begin=now+1hour"]},
    }
    if other_slurm.installed() == "24.11":  # before and after, a job that no node can hold waits
        refused = ground.executor(max_workers=1, **options.pop("PartitionConfig")).submit(tasks.worker)
        assert "CPU count per node can not be satisfied" in str(refused.exception(60))
    futures, jobs = {}, {}
    for reason, asked in options.items():
        futures[reason], jobs[reason] = _pending(ground, ground.executor(max_workers=1, **asked))
    ground.slurm.run("scontrol", "hold", jobs["JobHeldAdmin"])
    wait_until(lambda: len(_told(caplog)) == len(options), "all are told", 30)
    for reason, job_id in jobs.items():
        (line,) = [line for line in _told(caplog) if f"job {job_id} " in line]
        assert reason in line
        assert "scontrol release" in line
    assert not any(future.done() for future in futures.values())
    ground.slurm.run("scontrol", "update", f"JobId={jobs['JobHeldAdmin']}", "StartTime=now")
    for reason in ("JobHeldUser", "JobHeldAdmin"):
        _release(ground, jobs[reason])
        assert futures[reason].result(60)[0] == jobs[reason]
    ground.slurm.run("scontrol", "update", f"JobId={jobs['PartitionTimeLimit']}", "TimeLimit=1")
    assert futures["PartitionTimeLimit"].result(60)[0] == jobs["PartitionTimeLimit"]
    for reason in {"PartitionConfig", "DependencyNeverSatisfied"} & set(futures):
        assert futures[reason].cancel()
    assert len(_told(caplog)) == len(options), "once each"


@pytest.mark.steady("it is about when something is told")
@pytest.mark.on("pbs")
def test_a_held_job_is_told_once_and_waits(ground: StandInGround, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "clusterfutures")
    future, job_id = _pending(ground, _held(ground, max_workers=1))
    wait_until(lambda: _told(caplog), "it is told", 20)
    questions = ground.standin.calls("qstat")
    wait_until(lambda: ground.standin.calls("qstat") > questions, "it is asked about again")
    assert len(_told(caplog)) == 1
    assert f"job {job_id} " in _told(caplog)[0]
    _release(ground, job_id)
    assert future.result(60)[0] == job_id


@pytest.mark.steady("jobs that are ended before their submission has an answer are submitted again, and held again")
@pytest.mark.on("slurm", "pbs", "torque")
@pytest.mark.parametrize("count", [1, 2], ids=["job", "array"])
def test_a_pending_job_that_is_cancelled_from_outside(ground: Ground, count: int) -> None:
    """Its calls fail with it, the executor lives on: otherwise it would be submitted again for ever."""
    ex = _held(ground, max_workers=count)
    futures = [ex.submit(tasks.double, n) for n in range(3)]
    wait_until(lambda: len(ground.jobs()) == count, "the jobs are in the queue")
    jobs = ground.jobs()
    for job_id in jobs:
        ground.end_job(job_id)
    for future in futures:
        error = future.exception(60)
        assert isinstance(error, JobFailed)
        assert error.job_id in jobs
        assert error.job_id in str(error)
        assert "cancelled" in str(error)
    again = ex.submit(tasks.worker)
    wait_until(lambda: _released(ground, jobs) and again.done(), "another job takes it")
    assert again.result(0)[0] not in jobs


def _released(ground: Ground, former: set[str]) -> bool:
    """Release all other jobs; one may have been submitted for the calls that have failed, and is called off now."""
    for job_id in ground.jobs() - former:
        with contextlib.suppress(ValueError):
            _release(ground, job_id)
    return True


def test_a_worker_that_is_ended_between_two_bins(ground: Ground) -> None:
    """It had nothing to do: no call is lost, and the next one finds another job."""
    with ground.executor(max_workers=1, idle_timeout=30.0) as ex:
        first = ex.submit(tasks.worker).result(60)
        ground.end_job(first[0])
        error = ex.submit(tasks.worker).exception(60)  # perhaps before the worker has heard of its end
        assert error is None or isinstance(error, JobFailed)
        wait_until(lambda: first[0] not in ground.jobs(), "the job is over")
        second = ex.submit(tasks.worker).result(60)
        ground.end_job(second[0])
        wait_until(lambda: second[0] not in ground.jobs(), "the job is over")
        assert ex.submit(tasks.worker).result(60)[0] != second[0]


_OF_ANOTHER_USER = """
import os, sys, time
from clusterfutures import SlurmExecutor

def hold(started):
    open(started, "w").close()
    time.sleep(30)

with SlurmExecutor(max_workers=1, directory=sys.argv[1] + "/runs") as ex:
    future, other = ex.submit(hold, sys.argv[1] + "/started"), ex.submit(os.getuid)
    print(future.exception(60), other.result(60), sep="\\n")
"""


def _as_nobody(directory: Path) -> list[str]:
    """The command line of a Python that another user may run, with what it needs in ``directory``."""
    for package in (clusterfutures, cloudpickle, filelock):
        source = Path(package.__file__ or "").parent
        shutil.copytree(source, directory / "packages" / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a+rwX,+t", str(directory)], check=True)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    found = [f"/usr/bin/python3.{sys.version_info.minor}", sys.executable]
    usable = [path for path in found if subprocess.run([*user, path, "-c", ""], capture_output=True).returncode == 0]
    assert usable, f"none of {found} can be run by another user: a test of root's needs one"
    return [*user, usable[0], "-c", _OF_ANOTHER_USER, str(directory)]


@AS_ROOT
@pytest.mark.on("slurm")
def test_a_job_that_an_administrator_ends(ground: SlurmGround) -> None:
    """The program and its job are those of another user."""
    with tempfile.TemporaryDirectory(prefix="nobody-") as name:
        command = _as_nobody(Path(name))
        environment = {"PYTHONPATH": f"{name}/packages", "HOME": name, "CLUSTERFUTURES_CACHE": f"{name}/cache"}
        program = subprocess.Popen(
            command, env={**os.environ, **environment}, cwd=name, stdout=subprocess.PIPE, text=True
        )
        tasks.await_file(f"{name}/started")
        (job_id,) = ground.jobs()
        ground.end_job(job_id)
        said = program.communicate(timeout=60)[0]
    assert f"job {job_id} on " in said
    assert "CANCELLED" in said
    assert "an administrator" in said
    assert said.endswith("65534\n"), "what had not begun runs in another job"


# -- a node that does not see the run directory ----------------------------------------------


def _blind(argv: list[str], hidden: Path) -> list[str]:
    """The command line that runs ``argv`` where ``hidden`` is another, empty directory."""
    return ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(hidden), *argv]


class _BlindSlurm(RealSlurm):
    """A cluster whose nodes do not see a directory."""

    hidden = Path("/")

    def _spawn(self, role: str, argv: list[str], env: dict[str, str]) -> None:
        super()._spawn(role, _blind(argv, self.hidden) if role in self.nodes else argv, env)


@AS_ROOT
def test_a_directory_that_nodes_do_not_see(time_limit: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_BlindSlurm, "hidden", tmp_path / "runs")
    (tmp_path / "runs").mkdir()
    with _BlindSlurm(nodes=1) as cluster:
        for variable, value in cluster.environment.items():
            monkeypatch.setenv(variable, value)
        ground = SlurmGround(tmp_path, cluster, None)
        monkeypatch.setenv(MARK, ground.mark)
        ex = ground.executor()
        began = time.monotonic()
        futures = [ex.submit(tasks.double, n) for n in range(4)]
        for future in futures:
            error = future.exception(60)
            assert isinstance(error, JobFailed)
            for text in (error.job_id, "does not see the run directory", "directory=", str(ground.runs)):
                assert text in str(error)
        assert time.monotonic() - began < ground.start_seconds + 20
        assert not ground.close()
