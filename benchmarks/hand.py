"""A scheduler that does nothing by itself: the benchmark plays the jobs.

    client --submit--> HandScheduler.submitted: (spec, count) --> started by the benchmark

For what a real scheduler would blur: how long a worker takes from its first instruction to
its first claim, and what the client pays for a thousand workers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import calls

from clusterfutures.client.client import Client
from clusterfutures.options.settings import Settings
from clusterfutures.schedulers.base import JobSpec, QueuedJob, Scheduler
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.store import names

__all__ = ["HandScheduler", "hand_client", "node_start"]


class HandScheduler(Scheduler):
    """Takes submissions and says of every job that it runs."""

    name = "hand"

    def __init__(self) -> None:
        self.submitted: list[tuple[JobSpec, int]] = []
        self.arrived = threading.Semaphore(0)

    @classmethod
    def is_here(cls) -> bool:
        return True

    def script(self, spec: JobSpec, count: int) -> str:
        return ""

    def submit(self, spec: JobSpec, path: str, count: int) -> list[str]:
        number = len(self.submitted)
        self.submitted.append((spec, count))
        self.arrived.release()
        return [f"{number}_{index}" for index in range(count)]

    def find(self, name: str, count: int) -> list[str] | None:
        return None

    def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        return {job_id: JobStatus(job_id, JobState.RUNNING) for job_id in job_ids}

    def queue(self) -> list[QueuedJob]:
        return []

    def cancel(self, job_ids: Sequence[str]) -> None:
        """The workers see by themselves that the run is over."""


@contextmanager
def hand_client(workers: int) -> Iterator[tuple[Client, HandScheduler]]:
    """A client on such a scheduler, and the latter."""
    directory = tempfile.mkdtemp()
    scheduler = HandScheduler()
    client = Client(
        scheduler, Settings(max_workers=workers, directory=directory, idle_timeout=600.0, python=sys.executable)
    )
    try:
        yield client, scheduler
    finally:
        client.shutdown(True, True, "the measurement is over")
        shutil.rmtree(directory, ignore_errors=True)


def node_start() -> dict[str, float]:
    """Seconds from starting a worker's command to its first claim of a bin that waits."""
    with hand_client(1) as (client, scheduler):
        future = client.submit(client.target({}, None), calls.increment, (1,), {})
        if not scheduler.arrived.acquire(timeout=10):
            raise TimeoutError("the client asked for no worker")
        spec, _ = scheduler.submitted[0]
        run = client.run
        while not run.queued("0"):
            time.sleep(0.001)
        batch = spec.command[-2]
        claimed = Path(run.check_in_path(names.worker_name(batch, 0, 0)))
        claimed.mkdir(mode=0o700)
        environment = {**os.environ, "CLUSTERFUTURES_INDEX": "0", "CLUSTERFUTURES_ATTEMPT": "0"}
        begun = time.perf_counter()
        worker = subprocess.Popen(spec.command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        while not os.listdir(claimed):
            if worker.poll() is not None or time.perf_counter() - begun > 30:
                raise RuntimeError("the worker claimed nothing")
            time.sleep(0.0002)
        seconds = time.perf_counter() - begun
        if future.result(30) != 2:
            raise RuntimeError("the worker gave a wrong result")
        client.shutdown(True, False)
        worker.wait(30)
    return {"seconds": seconds}
