"""What happens to calls when a job dies, never starts, or is refused: the design's table, continued."""

from __future__ import annotations

import concurrent.futures as cf
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import contract_tasks as tasks
import pytest
from conftest import Ground
from contract_tasks import touch, wait_until

from clusterfutures.client.workers import WorkerRegistry
from clusterfutures.errors import InitializerFailed, JobFailed, SubmitError
from clusterfutures.schedulers import script

# -- the job dies -----------------------------------------------------------------------


def _check_job_failed(error: BaseException | None, job_id: str, ground: Ground) -> None:
    assert isinstance(error, JobFailed)
    assert isinstance(error, cf.BrokenExecutor)
    assert error.job_id == job_id
    assert error.host
    assert error.state
    assert error.log.startswith(str(ground.runs))
    for part in (job_id, error.host, error.state, error.log, "block"):
        assert part in str(error)


def test_a_job_ended_from_outside(ground: Ground, tmp_path: Path) -> None:
    """The running call fails with its job; what had not begun is done by another."""
    with ground.executor(max_workers=1) as ex:
        future = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        tasks.await_file(tmp_path / "started")
        waiting = [ex.submit(tasks.worker) for _ in range(3)]
        wait_until(lambda: future.job_id, "the future knows its job")
        job_id = future.job_id
        ground.end_job(job_id)
        _check_job_failed(future.exception(60), job_id, ground)
        assert all(other.result(60)[0] != job_id for other in waiting)


def test_a_supervisor_that_is_killed(ground: Ground, tmp_path: Path) -> None:
    """A job that cannot say its last word: the scheduler's answer has to do."""

    def started(path: str, release: str) -> None:
        touch(path, str(os.getppid()))
        tasks.await_file(release)

    def block_too(path: str, release: str) -> None:
        started(path, release)

    with ground.executor(max_workers=1) as ex:
        finished = ex.submit(tasks.double, 4)
        assert finished.result(60) == 8
        future = ex.submit(block_too, f"{tmp_path}/started", f"{tmp_path}/release")
        supervisor = int(tasks.await_file(tmp_path / "started"))
        waiting = [ex.submit(tasks.worker) for _ in range(3)]
        wait_until(lambda: future.job_id, "the future knows its job")
        job_id = future.job_id
        os.kill(supervisor, signal.SIGKILL)
        _check_job_failed(future.exception(60), job_id, ground)
        assert all(other.result(60)[0] != job_id for other in waiting)


def test_the_bin_of_a_job_that_is_killed(ground: Ground, tmp_path: Path) -> None:
    """Of a map's bin: what was reported stays, what had begun fails, the rest runs elsewhere."""

    def step(number: int) -> int:
        if number == 2 and not os.path.exists(f"{tmp_path}/started"):
            tasks.block(f"{tmp_path}/started", f"{tmp_path}/release")
        touch(f"{tmp_path}/ran-{number}")
        time.sleep(0.15)  # long enough to be handed over one by one
        return number

    with ground.executor(max_workers=1) as ex:
        values = ex.map(step, range(6), bins=1, ordered=False)
        tasks.await_file(tmp_path / "started")
        (job_id,) = ground.jobs()
        ground.end_job(job_id)
        assert sorted([next(values), next(values)]) == [0, 1]
        left: list[int] = []
        with pytest.raises(JobFailed):
            tasks.collect(values, left)
        assert set(left) <= {3, 4, 5}
        assert ex.submit(tasks.double, 1).result(60) == 2


def test_a_call_is_never_run_twice(ground: Ground, tmp_path: Path) -> None:
    """Jobs die under a stream of calls: each call that has a result ran once, no other more."""

    def once(number: int) -> int:
        with open(f"{tmp_path}/ran-{number}", "x"):
            time.sleep(0.01)
        return number

    with ground.executor() as ex:
        futures = [ex.submit(once, n) for n in range(150)]
        cf.wait(futures[:20], 30, return_when=cf.FIRST_COMPLETED)
        for job_id in ground.jobs():
            ground.end_job(job_id)
        done, _ = cf.wait(futures, 50)
        assert len(done) == 150
        errors = [future.exception() for future in futures if future.exception() is not None]
        assert all(isinstance(error, JobFailed) for error in errors), errors
        assert len(errors) < 50


@pytest.mark.on("local", "pbs", "torque")
def test_a_time_limit(ground: Ground, tmp_path: Path) -> None:
    """Not on Slurm, which counts limits in minutes and looks at them twice a minute."""
    with ground.executor(max_workers=1, time="2s") as ex:
        error = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release").exception(60)
        assert isinstance(error, JobFailed)
        assert "time=" in str(error), "what to try is said"
        assert ex.with_options(time="5m").submit(tasks.double, 1).result(60) == 2


# -- the job never starts properly ---------------------------------------------------------


def _fails_to_start(ground: Ground, *texts: str, **options: object) -> None:
    with ground.executor(**options) as ex:
        futures = [ex.submit(tasks.double, n) for n in range(5)]
        began = time.monotonic()
        errors = [future.exception(60) for future in futures]
        assert time.monotonic() - began < ground.start_seconds + 20 + ground.slack, "at one of the first questions"
        for error in errors:
            assert isinstance(error, JobFailed)
            assert error.job_id
            assert error.log
            for text in texts:
                assert text in str(error)


def test_an_interpreter_that_is_not_there(ground: Ground) -> None:
    _fails_to_start(ground, "/no/such/python", "python=", python="/no/such/python")


def test_it_is_tried_anew_for_later_calls(ground: Ground, tmp_path: Path) -> None:
    """A node that was broken may work again: an executor is not given up for ever."""
    with ground.executor(max_workers=1, setup=f"[ -e {tmp_path}/repaired ]") as ex:
        assert isinstance(ex.submit(tasks.double, 1).exception(60), JobFailed)
        touch(tmp_path / "repaired")
        assert ex.submit(tasks.double, 1).result(60) == 2


def test_a_setup_that_fails(ground: Ground) -> None:
    _fails_to_start(ground, "in the setup", "exit code 9", setup=["true", "(exit 9)", "echo not reached"])


def test_an_environment_module_that_is_not_there(ground: Ground) -> None:
    _fails_to_start(ground, "nosuch", modules=["nosuch"])


@pytest.mark.on("local")
def test_jobs_that_fail_before_the_client_knows_them(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client was slow to note a job, and nothing was watched by then: it is watched all the same."""
    plain = WorkerRegistry.submitted

    def slow(registry: WorkerRegistry, answer: Any) -> None:
        rhythm = registry._scheduler_thread._rhythm
        wait_until(lambda: rhythm.due is not None, "the scheduler thread plans its first question")
        wait_until(lambda: rhythm.due is None, "the scheduler thread finds nothing to ask about")
        plain(registry, answer)

    monkeypatch.setattr(WorkerRegistry, "submitted", slow)
    monkeypatch.setattr(script, "interpreter", lambda _spec: "/bin/false")  # does not even check in
    with ground.executor(max_workers=1) as ex:
        assert isinstance(ex.submit(tasks.double, 1).exception(60), JobFailed)


def test_an_interpreter_of_another_version(ground: Ground, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho this python is none\nexit 5\n")
    fake.chmod(0o755)
    _fails_to_start(ground, "this python is none", "exit code 5", python=str(fake))


def test_a_launcher_that_fails(ground: Ground) -> None:
    _fails_to_start(ground, "exit code 1", launcher="false")


def test_calls_of_other_jobs_go_on_when_one_kind_never_starts(ground: Ground, tmp_path: Path) -> None:
    """One job of two finds a broken node: the other does all the work."""
    lock = tmp_path / "lock"
    with ground.executor(setup=f"mkdir {lock} || (exit 3)") as ex:
        assert list(ex.map(tasks.double, range(40))) == [2 * n for n in range(40)]


# -- the initializer ------------------------------------------------------------------------


def test_an_initializer_that_raises_breaks_the_executor(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(initializer=tasks.failing_initializer, initargs=(tmp_path / "tried",)) as ex:
        futures = [ex.submit(tasks.double, n) for n in range(4)]
        for future in futures:
            error = future.exception(60)
            assert isinstance(error, InitializerFailed)
            assert isinstance(error, cf.BrokenExecutor)
            assert "does not like it here" in str(error)
        with pytest.raises(cf.BrokenExecutor):
            ex.submit(tasks.double, 1)
        with pytest.raises(cf.BrokenExecutor):
            ex.map(tasks.double, [1])


@pytest.mark.parametrize("how", ["exit", "SIGSEGV"])
def test_an_initializer_that_kills_breaks_it_too(ground: Ground, how: str) -> None:
    with ground.executor(initializer=tasks.die, initargs=(how,)) as ex:
        error = ex.submit(tasks.double, 1).exception(60)
        assert isinstance(error, cf.BrokenExecutor)
        assert "initializer" in str(error)


# -- the scheduler refuses ---------------------------------------------------------------------


@pytest.mark.on("slurm", "pbs", "torque")
def test_the_schedulers_own_words(ground: Ground) -> None:
    words = {"slurm": "invalid partition", "pbs": "Unknown queue", "torque": "Unknown queue"}[ground.name]
    with ground.executor() as ex:
        began = time.monotonic()
        future = ex.with_options(partition="nosuch").submit(tasks.double, 1)
        error = future.exception(60)
        assert time.monotonic() - began < 15 + ground.slack, "it is not asked again for minutes"
        assert isinstance(error, SubmitError)
        assert words in str(error)
        assert "nosuch" in str(error), "the command is told"
        values = ex.with_options(partition="nosuch").map(tasks.double, [1, 2])
        with pytest.raises(SubmitError, match=words):
            next(values)
        assert ex.submit(tasks.double, 1).result(60) == 2, "others are not concerned"


@pytest.mark.on("local")
def test_more_cores_than_there_are(ground: Ground) -> None:
    with ground.executor(max_workers=None, cores=4096) as ex:
        error = ex.submit(tasks.double, 1).exception(60)
        assert isinstance(error, SubmitError)
        assert "4096" in str(error)


@pytest.mark.on("pbs", "torque")
def test_a_submit_limit_means_fewer_workers(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    ground.standin.submit_limit(2)  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, "clusterfutures"), ground.executor(max_workers=8) as ex:
        assert len(set(ex.map(tasks.slow_worker, range(64)))) <= 2
    assert sum("submit limit" in record.message for record in caplog.records) == 1


def test_a_directory_that_cannot_be_made(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        ground.executor(directory=tmp_path / "file" / "runs") as ex,
        pytest.raises(cf.BrokenExecutor, match="directory="),
    ):
        ex.submit(tasks.double, 1)
