"""A host on which workers die one after the other is left out of later submissions."""

from __future__ import annotations

import logging
import os
import signal

import pytest
from conftest import Ground, SlurmGround
from contract_tasks import wait_until

from clusterfutures.client import workers
from clusterfutures.client.workers import Hosts


def _die_on(node: str) -> str:
    """Kill the worker where it runs on ``node``; else the name of the node."""
    here = os.environ.get("SLURMD_NODENAME", "")
    if here == node:
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
    return here


@pytest.mark.on("slurm")
def test_later_jobs_do_not_go_there(ground: SlurmGround, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "clusterfutures"), ground.executor(max_workers=1, bins_per_job=1) as ex:
        first = ex.submit(_die_on, "").result(60)
        for _ in range(2):
            assert ex.submit(_die_on, first).exception(60) is not None
        after = {ex.submit(_die_on, "").result(60) for _ in range(2)}
    assert first not in after
    told = [record.getMessage() for record in caplog.records if "workers died on host" in record.getMessage()]
    assert len(told) == 1
    assert f"host {first} " in told[0]


@pytest.mark.on("local", "pbs")
def test_a_worker_that_comes_there_leaves(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the scheduler leaves no host out; and when it has no other, the host is used again."""
    monkeypatch.setattr(workers, "_MOST_LEAVES", 2)
    with ground.executor(max_workers=1, bins_per_job=1) as ex:
        assert ex.submit(abs, -1).result(60) == 1
        known: Hosts = ex._client._provision.hosts
        known.started("another")
        for _ in range(2):
            assert ex.submit(_die_on, "").exception(60) is not None
        assert known.avoided == (os.uname().nodename,)
        assert ex.submit(abs, -2).result(60) == 2
        wait_until(lambda: known.avoided == (), "the host is used again")


def test_what_tells_of_a_host(caplog: pytest.LogCaptureFixture) -> None:
    found = Hosts(can_exclude=True)
    found.died("a", 0.0)
    found.died("a", 61.0)
    found.died("b", 61.5)
    assert found.avoided == ()
    found.died("a", 62.0)
    found.died("a", 63.0)
    assert found.avoided == ("a",)
    assert sum("host a" in record.getMessage() for record in caplog.records) == 1
    alone = Hosts()
    alone.started("a")
    alone.died("a", 0.0)
    alone.died("a", 1.0)
    assert alone.avoided == ()
    alone.started("b")
    alone.died("a", 2.0)
    assert alone.avoided == ("a",)
