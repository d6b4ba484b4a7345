"""``retries=``: calls that died with their process or their job run again, as they were told, and no others."""

from __future__ import annotations

import os
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground
from contract_tasks import wait_until

from clusterfutures.errors import JobFailed, OptionError, WorkerDied


def attempts(path: str) -> int:
    """Count an attempt; how many there have been, this one included."""
    with open(path, "a") as file:
        file.write("x")
    return os.path.getsize(path)


def test_calls_run_again(ground: Ground, tmp_path: Path) -> None:
    """A crash is paid for, an exception is not, a map stays in order."""

    def dies(name: str, times: int) -> int:
        tried = attempts(f"{tmp_path}/{name}")
        if tried <= times:
            tasks.die("SIGSEGV")
        return tried

    def third_dies(number: int) -> int:
        if number == 3 and attempts(f"{tmp_path}/map") == 1:
            tasks.die("SIGSEGV")
        return number

    def raises() -> None:
        raise ValueError(attempts(f"{tmp_path}/raised"))

    with ground.executor(retries=1) as ex:
        once, twice = ex.submit(dies, "once", 1), ex.submit(dies, "twice", 2)
        never = ex.with_options(retries=0).submit(dies, "never", 1)
        values = ex.map(third_dies, range(8), bins=2)
        raised = ex.submit(raises)
        insisting = ex.with_options(retries={"exception": 2}).submit(raises)
        assert once.result(60) == once.attempts == 2
        error = twice.exception(60)
        assert isinstance(error, WorkerDied)
        assert "tried 2 times" in str(error)
        assert "(1) killed by SIGSEGV" in str(error)
        assert isinstance(never.exception(60), WorkerDied)
        assert never.attempts == 1
        assert list(values) == list(range(8))
        assert isinstance(raised.exception(60), ValueError)
        last = insisting.exception(60)
        assert isinstance(last, ValueError)
        assert "tried 3 times" in last.__notes__[0]
        with pytest.raises(OptionError, match="no cause"):
            ex.with_options(retries={"cash": 1})


def test_a_lost_job_and_more_memory(ground: Ground, tmp_path: Path) -> None:
    """The next attempt runs in another job, which has what the rule says."""

    def first_blocks(name: str) -> str:
        if attempts(f"{tmp_path}/{name}") == 1:
            tasks.block(f"{tmp_path}/{name}-started", f"{tmp_path}/release")
        return os.environ["CLUSTERFUTURES_JOB_ID"]

    rules = {"lost": {"memory": "x2"}}
    with ground.executor(max_workers=1, memory="100MB", retries=rules, keep=True) as ex:
        future = ex.submit(first_blocks, "call")
        tasks.await_file(tmp_path / "call-started")
        wait_until(lambda: future.job_id, "the future knows its job")
        lost = future.job_id
        ground.end_job(lost)
        assert future.result(60) != lost
        assert future.attempts == 2
        if ground.name == "slurm":
            scripts = [path.read_text() for path in (ground.run_directory() / "scripts").iterdir()]
            assert any("--mem=200M" in text for text in scripts)
        hopeless = ex.with_options(retries=0).submit(first_blocks, "other")
        tasks.await_file(tmp_path / "other-started")
        wait_until(lambda: hopeless.job_id, "the future knows its job")
        ground.end_job(hopeless.job_id)
        assert isinstance(hopeless.exception(60), JobFailed)
