"""How cost grows: with the number of calls, with that of workers, and on a slow directory.

calls:     10^2 to 10^6 by map, to 10^5 by submit, on warm slots
workers:   1 to 1,000 simulated ones (simulate.py) for one client
directory: the same calls where every operation takes 1 ms, and none at all
trouble:   100,000 calls, of which 1 % kill their process and 1 % raise
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import calls
import environments
import slow_directory
from cluster import SLOTS, Cluster
from counting import counted
from environments import HERE, ROOT
from hand import hand_client
from pairs import prepared
from results import Results
from session import PeerError, Session

from clusterfutures.client.map import Plan

__all__ = ["CALLS", "DELAYS", "WORKERS", "by_calls", "by_workers", "slow", "trouble"]

CALLS = (100, 1000, 10_000, 100_000, 1_000_000)
MOST_SUBMITS = 100_000
WORKERS = (1, 10, 100, 1000)
CALLS_OF_A_WORKER = 100
DELAYS = {"0 ms": 0.0, "1 ms": 0.001}
UNLUCKY = 100_000

Save = Callable[[], None]


def by_calls(results: Results, scratch: Path, save: Save) -> None:
    """Seconds, the client's CPU and its directory operations, three times each."""
    with prepared("ours", scratch) as ours:
        for _ in range(3):
            for count in CALLS:
                for way in ("map", "submit"):
                    if way == "submit" and count > MOST_SUBMITS:
                        continue
                    found = ours.ask("operations", 60, count=count, by_submit=way == "submit")
                    for name in ("seconds", "cpu", "operations"):
                        results.add(f"growth: {way}, {name}", f"{count:,}", found[name])
            save()


def by_workers(results: Results, save: Save) -> None:
    """What 100 calls for each of so many workers cost the client and the directory."""
    for workers in WORKERS:
        count = workers * CALLS_OF_A_WORKER
        with hand_client(workers) as (client, scheduler), counted() as counting:
            begun, cpu = time.perf_counter(), time.process_time()
            plan = Plan(workers, CALLS_OF_A_WORKER, None, None)
            values = client.map(client.target({}, None), calls.increment, (range(count),), plan, False)
            if not scheduler.arrived.acquire(timeout=20):
                raise TimeoutError("the client asked for no worker")
            spec, asked = scheduler.submitted[0]
            crowd = subprocess.Popen(
                [sys.executable, str(HERE / "simulate.py"), client.run.path, "0", spec.command[-2], str(asked)],
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            if list(values.values(True, 60.0)) != list(range(1, count + 1)):
                raise RuntimeError("the simulated workers gave wrong results")
            who = f"{workers:,}"
            results.add("workers: seconds", who, time.perf_counter() - begun)
            results.add("workers: client's CPU", who, time.process_time() - cpu)
            client.shutdown(True, False)
            theirs, _ = crowd.communicate(timeout=60)
            results.add("workers: client's operations", who, counting.total)
            results.add("workers: their operations", who, int(theirs) / workers)
        save()


def slow(results: Results, slurm: Cluster, save: Save) -> None:
    """Workloads on a directory of FUSE, with and without a delay; operations of all sides."""
    python = environments.python_of("slow-directory", slow_directory.PACKAGES)
    for name, delay in DELAYS.items():
        with slow_directory.slow_directory(python, delay) as directory:
            environment = {"PYTHONPATH": str(ROOT)}
            with Session("ours", sys.executable, directory.path / "ours", SLOTS, environment) as ours:
                _on(results, directory, ours, name)
            slurm.clear()  # while its jobs still have their directory
        save()


def _on(results: Results, directory: slow_directory.SlowDirectory, ours: Session, name: str) -> None:
    def take(figure: str, calls_: int, workload: str, **parameters: object) -> None:
        before = directory.total()
        seconds = ours.ask(workload, 120, **parameters)["seconds"]
        results.add(f"slow: {figure}", name, seconds)
        results.add(f"slow: {figure}, operations", name, (directory.total() - before) / calls_)

    for _ in range(3):
        take("one call, cold", 1, "cold_call")
    ours.ask("prepare", 60, hold=1.0)
    for _ in range(3):
        take("one call", 30, "warm_call", repeat=30)
        take("`map` of 1,000", 1000, "warm_map", count=1000)
        take("20,000 `submit`s", 20_000, "warm_submits", count=20_000)
        take("`map` of 1,000,000", 1_000_000, "warm_map", count=1_000_000)
    ours.ask("finish", 60)


def trouble(results: Results, scratch: Path) -> None:
    """98 % have their results, 2 % the right errors; anything else is a miss."""
    with prepared("ours", scratch) as ours:
        try:
            found = ours.ask("unlucky", 240, count=UNLUCKY)
        except PeerError as error:
            results.miss("trouble: seconds", "ours", str(error))
            return
        for name in ("seconds", "right", "died", "raised"):
            results.add(f"trouble: {name}", "ours", found[name])
