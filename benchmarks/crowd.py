"""A thousand workers wait for one queue: what does a claim cost, and is each bin claimed once?

    python crowd.py WORKERS BINS DELAY HOLD       prints JSON

The workers are the node's own code over a real directory, in *virtual time*: each is a
thread, one of them runs at a time, and every operation on a directory takes ``DELAY``
seconds of a clock that belongs to us.  So their looks and claims overlap as they would on a
file server, on however slow and busy a machine.  A claimed bin keeps its worker busy for
``HOLD`` seconds.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import pickle
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable

import simulate
from counting import counted

from clusterfutures.node import queue as node_queue
from clusterfutures.store import bins, names
from clusterfutures.store.bins import Bin, CallHead
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["claims"]

POOL = "0"


class VirtualTime:
    """Stands for the module ``time``: a thread that sleeps lets the next one run, the one
    with the earliest wake-up time."""

    def __init__(self) -> None:
        self._now = 0.0
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, threading.Semaphore]] = []

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        turn = self._wait_for(seconds)
        self.next()
        turn.acquire()

    def start(self, function: Callable[[], None], delay: float) -> None:
        """Run ``function`` in a thread, from ``delay`` seconds on."""
        turn = self._wait_for(delay)

        def run() -> None:
            turn.acquire()
            function()

        threading.Thread(target=run, daemon=True).start()

    def next(self) -> None:
        """Run the thread with the earliest wake-up time."""
        self._now, _, turn = heapq.heappop(self._waiting)
        turn.release()

    def _wait_for(self, seconds: float) -> threading.Semaphore:
        turn = threading.Semaphore(0)
        heapq.heappush(self._waiting, (self._now + seconds, next(self._order), turn))
        return turn


def claims(workers: int, count: int, delay: float, hold: float) -> dict[str, float]:
    """``workers`` have waited for long, each at its pace of one look a second; then ``count``
    bins appear.  Figures up to the moment when all are claimed.

    The threads are left where they are: the caller ends the process.
    """
    clock = VirtualTime()
    over = threading.Event()
    chance = random.Random(workers)
    with tempfile.TemporaryDirectory() as directory, counted(lambda: clock.sleep(delay)) as counting:
        run = RunDirectory(f"{directory}/run")
        crowd = _crowd(run, workers, count)
        node_queue.time = simulate.time = clock  # type: ignore[assignment]
        left = itertools.count(count - 1, -1)

        def work(worker: simulate.Worker) -> None:
            while True:
                if not worker.turn():
                    clock.sleep(max(0.0, worker.queue_client.due - clock.monotonic()))
                elif next(left) == 0:
                    over.set()  # and nobody runs any more
                    return
                else:
                    clock.sleep(hold)

        for worker in crowd:
            clock.start(lambda worker=worker: work(worker), chance.uniform(0.0, 1.0))
        counting.counts.clear()
        clock.next()
        if not over.wait(100):
            raise TimeoutError(f"of {count} bins {sum(len(worker.claimed) for worker in crowd)} were claimed")
        claimed = Counter(name for worker in crowd for name in worker.claimed)
        return {
            "claims": len(claimed),
            "twice": sum(number > 1 for number in claimed.values()),
            "operations": counting.total / count,
            "reads": counting.counts["read"] / count,
            "seconds": clock.monotonic(),
        }


def _crowd(run: RunDirectory, workers: int, count: int) -> list[simulate.Worker]:
    """The workers, checked in, and ``count`` bins of one call in their queue."""
    os.makedirs(run.path)
    for name in (names.QUEUE, names.CLAIMED, names.RESULTS):
        os.mkdir(f"{run.path}/{name}")
    os.mkdir(f"{run.path}/{names.QUEUE}/{POOL}")
    crowd = [simulate.Worker(run, POOL, names.worker_name("0001", number, 0), workers) for number in range(workers)]
    for worker in crowd:
        worker.worked = -1000.0
        os.mkdir(run.check_in_path(worker.name), 0o700)
    for number in range(1, count + 1):
        call = pickle.dumps(((number,), {}), 5)
        content = Bin(number, 0, 1, bins.CALLS, 1, [CallHead("", len(call), None)], call)
        with open(f"{run.path}/{names.QUEUE}/{POOL}/{names.bin_name(number, 0, 1)}", "wb") as file:
            file.write(b"".join(bins.pack_bin(content)))
    return crowd


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    print(json.dumps(claims(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))), flush=True)
    os._exit(0)
