"""Workloads for clusterfutures alone: what an idle client costs, which files it makes.

They look inside, so no rival has them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import calls
from counting import counted
from peers.ours import OurPeer
from workloads import Figures, Timer, check

__all__ = ["WORKLOADS"]

WORKLOADS: dict[str, Callable[..., Figures]] = {}


def workload(function: Callable[..., Figures]) -> Callable[..., Figures]:
    """Let ``function`` be asked for by its name."""
    WORKLOADS[function.__name__] = function
    return function


@workload
def idle(peer: OurPeer, futures: int, settle: float, seconds: float) -> Figures:
    """Measure the cost of a client while its calls run for long: every slot holds one, and many wait.

    settle: seconds that it may take to notice that nothing happens.
    """
    length = settle + seconds + 2.0
    busy = peer.submit_many(calls.hold, [length] * peer.slots)
    deadline = time.monotonic() + length
    while not all(future.running() for future in busy):
        if time.monotonic() > deadline:
            raise TimeoutError("not every slot has one of the long calls")
        time.sleep(0.01)
    waiting = peer.submit_many(calls.increment, range(futures - peer.slots))
    time.sleep(settle)
    with counted() as counting:
        timer = Timer()
        time.sleep(seconds)
        figures = timer.figures()
    unfinished = sum(not future.done() for future in waiting)
    check([len(future.result()) for future in busy], [2] * peer.slots)
    check([future.result() for future in waiting], range(1, futures - peer.slots + 1))
    return {
        "core": figures["cpu"] / figures["seconds"],
        "operations": counting.total / figures["seconds"],
        "waiting": unfinished,
    }


@workload
def operations(peer: OurPeer, count: int, by_submit: bool) -> Figures:
    """Directory operations of the client for ``count`` calls."""
    with counted() as counting:
        timer = Timer()
        if by_submit:
            values = [future.result() for future in peer.submit_many(calls.increment, range(count))]
        else:
            values = list(peer.map(calls.increment, range(count)))
        figures = timer.figures()
    check(values, range(1, count + 1))
    return figures | {"operations": counting.total}


@workload
def unlucky(peer: OurPeer, count: int) -> Figures:
    """``count`` calls, of which one in a hundred kills its process and one raises.

    right, died, raised: how many ended as they have to; check raises for all others.
    """
    timer = Timer()
    futures = peer.submit_many(calls.unlucky, range(count))
    outcomes = [_outcome(future) for future in futures]
    figures = timer.figures()
    check(outcomes, [{1: "WorkerDied", 2: "ValueError"}.get(number % 100, number) for number in range(count)])
    return figures | {
        "right": sum(isinstance(outcome, int) for outcome in outcomes),
        "died": outcomes.count("WorkerDied"),
        "raised": outcomes.count("ValueError"),
    }


def _outcome(future: Any) -> object:
    error = future.exception()
    return future.result() if error is None else type(error).__name__
