"""Many workers in one process: each claims and answers as a supervisor does.

    python simulate.py RUN POOL BATCH COUNT      be the workers of one submission; in the
                                                 end prints their directory operations

Each worker is a thread with the node's own eye on the queue (``QueueClient``) and reporter, over
the store as it is; only the forked processes are left out, the calls run right here.  So a
thousand fit on one machine, and what they do to the shared directory is what real ones
would.
"""

from __future__ import annotations

import pickle
import sys
import threading
import time

from calls import increment
from counting import counted

from clusterfutures.node.queue import QueueClient
from clusterfutures.node.reporter import Reporter
from clusterfutures.store import bins, names, records
from clusterfutures.store.bins import Bin
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Worker"]


class Worker:
    """A worker without processes.  ``turn`` does what is due; True when it had work."""

    def __init__(self, run: RunDirectory, pool: str, name: str, workers: int) -> None:
        self.name = name
        self.queue_client = QueueClient(run, pool, name, workers)
        self.reporter = Reporter(run, name)
        self.claimed: list[str] = []
        self.worked = time.monotonic()

    def report_start(self) -> None:
        body = {"host": "simulated", "pid": 0, "job_id": self.name, "processes": 1, "time": time.time()}
        self.reporter.report(records.STARTED, body)

    def report_end(self) -> None:
        body = {"why": "CLOSED", "signals": [], "text": ""}
        self.reporter.report(records.ENDED, body)
        self.reporter.flush()

    def turn(self) -> bool:
        self.queue_client.look(self.worked)
        found = self.queue_client.claim()
        if found is None:
            return False
        name, content = found
        self.claimed.append(name)
        self.reporter.add(_answered(content))
        self.reporter.finish(name)
        self.worked = time.monotonic()
        self.queue_client.hurry()
        return True


def _answered(content: Bin) -> bytes:
    """The record with the values of a bin's calls, which are all ``calls.increment``."""
    blob = memoryview(content.blob)
    if content.kind == bins.CHUNK:
        numbers = [arguments[0] for arguments in pickle.loads(blob)]
    else:
        numbers, at = [], 0
        for head in content.heads:
            (number,), _ = pickle.loads(blob[at : at + head.length])
            numbers.append(number)
            at += head.length
    pickles = [pickle.dumps(increment(number), 5) for number in numbers]
    lengths = memoryview(b"".join(len(value).to_bytes(4, sys.byteorder) for value in pickles))
    body = b"".join(pickles) + bytes(lengths)
    return records.pack(records.VALUES, content.bin_id, content.first, len(numbers), body)


def serve(path: str, pool: str, batch: str, count: int) -> None:
    """Be ``count`` workers of a run until it is closed."""
    run = RunDirectory.open(path)
    threads = [
        threading.Thread(target=_serve_one, args=(run, pool, names.worker_name(batch, number, 0), count))
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _serve_one(run: RunDirectory, pool: str, name: str, count: int) -> None:
    try:
        if not run.revoke(name):
            return  # the client was first: this worker is not wanted
        worker = Worker(run, pool, name, count)
        worker.report_start()
        while not worker.queue_client.closed:
            busy = worker.turn()
            due = worker.reporter.due(busy)
            if due is not None and time.monotonic() >= due:
                worker.reporter.flush()
            if not busy:
                time.sleep(max(0.0, worker.queue_client.due - time.monotonic()))
        worker.report_end()
    except FileNotFoundError:
        return  # the run is over


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    with counted() as counting:
        serve(*sys.argv[1:4], int(sys.argv[4]))
        print(counting.total)
