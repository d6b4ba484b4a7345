"""The queue of every scheduler, with jobs of ours in it."""

from __future__ import annotations

import os

from clusterfutures.jobs.job import submit
from clusterfutures.jobs.queue import Queue
from clusterfutures.schedulers.base import JobState
from tests.conftest import Ground


def test_queue(ground: Ground) -> None:
    name = {"torque": "pbs"}.get(ground.name, ground.name)
    where = {"scheduler": name, "directory": str(ground.work / "jobs")}
    go = ground.work / "go"
    first = submit(f"while [ ! -e {go} ]; do sleep 0.1; done", memory="100MB", **where)
    second = submit("exit 4", dependencies=first, **where)
    queue = Queue(scheduler=name)
    listed = {job.id for job in queue.queued + queue.running}
    assert {first.id, second.id} <= listed
    first_seen, second_seen = queue[first], queue[second.id]
    assert second_seen.state is JobState.PENDING
    assert first_seen.cores == 1
    assert first_seen.word
    assert os.path.basename(first.path).startswith(first_seen.name[:3])
    assert not queue.can_submit(2)
    assert queue.can_submit(3)
    go.touch()
    queue.wait([first, second.id], timeout=45)
    assert (first.exitcode, second.exitcode) == (0, 4)
