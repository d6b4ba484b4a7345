"""The queue of every scheduler, with jobs of ours in all states."""

from __future__ import annotations

import os
import time

import pytest

from clusterfutures.jobs.job import submit
from clusterfutures.jobs.queue import Queue
from clusterfutures.schedulers.job_state import JobState
from tests.conftest import Ground


def ids(jobs: object) -> set[str]:
    return {job.id for job in jobs}  # type: ignore[attr-defined]


def test_queue(ground: Ground) -> None:
    name = {"torque": "pbs"}.get(ground.name, ground.name)
    where = {"scheduler": name, "directory": str(ground.work / "jobs"), "memory": "100MB"}
    go = ground.work / "go"
    before = time.time()
    good, bad = submit("true", **where), submit("exit 4", **where)
    running = submit(f"touch {ground.work}/begun; while [ ! -e {go} ]; do sleep 0.05; done", **where)
    waiting = submit("exit 3", dependencies=running, **where)
    all_ids = {good.id, bad.id, running.id, waiting.id}
    queue = Queue(scheduler=name)
    queue.wait([good, bad.id], timeout=40)
    deadline = time.monotonic() + 20
    while not {good.id} <= ids(queue.completed) or not {running.id} <= ids(queue.running):
        assert time.monotonic() < deadline, [job.state for job in queue]
        time.sleep(0.1)  # the answer may be a few seconds old

    assert (ids(queue.running), ids(queue.queued)) == ({running.id}, {waiting.id})
    assert good.id in ids(queue.completed)
    assert bad.id in ids(queue.failed)
    assert all_ids & ids(queue.completed) == {good.id}
    assert all_ids & ids(queue.failed) == {bad.id}
    assert all_ids <= ids(queue) == ids(queue.jobs) == ids(Queue(None, scheduler=name))
    assert len(queue) == len(list(queue)) == len(queue.jobs)
    assert running in queue
    assert good.id in queue
    assert "no such job" not in queue
    assert len(Queue("nobody", scheduler=name)) == 0

    one, other = queue[running], queue[waiting.id]
    assert (one.state, other.state) == (JobState.RUNNING, JobState.PENDING)
    assert one.word
    assert (one.cores, one.memory, other.memory) == (1, 100, 100)
    assert len(one.nodes) == 1
    assert other.nodes == ()
    assert os.path.basename(running.path).startswith(one.name[:3])
    assert (queue[good].exitcode, queue[bad].exitcode, one.exitcode) == (0, 4, None)
    assert one.ended is other.started is None
    ended = queue[good]
    assert ended.submitted is not None
    assert ended.started is not None
    assert ended.ended is not None
    assert before - 2 <= ended.submitted <= ended.started + 1 <= ended.ended + 2

    assert not queue.can_submit(2)
    assert queue.can_submit(3)
    with pytest.raises(TimeoutError):
        queue.wait_to_submit(1, timeout=0.2)
    with pytest.raises(TimeoutError):
        queue.wait([running, waiting], timeout=0.2)
    go.touch()
    queue.wait_to_submit(1, timeout=40)
    queue.wait(timeout=40)
    assert (running.exitcode, waiting.exitcode) == (0, 3)
