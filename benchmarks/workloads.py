"""The workloads, as functions of a peer: each checks every result and returns seconds.

They run in the driver, in the peer's environment (``driver.py``), and are asked for by
name from outside:

    cold_*   on an executor of their own, opened and closed within the measurement
    warm_*   on the executor that ``prepare`` opened and filled with work once

A wrong result raises ``WrongResult``: a fast wrong answer is no figure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import calls
from peers.base import Peer

__all__ = ["WORKLOADS", "WrongResult"]

Figures = dict[str, float]

WORKLOADS: dict[str, Callable[..., Figures]] = {}


class WrongResult(Exception):
    """A peer returned something else than the function does."""


def workload(function: Callable[..., Figures]) -> Callable[..., Figures]:
    """Let ``function`` be asked for by its name."""
    WORKLOADS[function.__name__] = function
    return function


def check(values: Iterable[Any], expected: Iterable[Any]) -> None:
    """Compare results with what they have to be."""
    found, right = list(values), list(expected)
    if found != right:
        wrong = [(mine, its) for mine, its in zip(found, right, strict=False) if mine != its][:3]
        raise WrongResult(f"{len(found)} results for {len(right)} calls, the first wrong ones (is, should be): {wrong}")


class Timer:
    """Wall and processor time of the client since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def figures(self) -> Figures:
        return {"seconds": time.perf_counter() - self._wall, "cpu": time.process_time() - self._cpu}


# -- one executor for several workloads ---------------------------------------------------


@workload
def prepare(peer: Peer, hold: float = 1.0, patience: float = 60.0) -> Figures:
    """Open the executor and keep every slot busy once, so that all are up.

    hold: seconds that a slot is kept busy, at first; 0: where a slot is up for one call only.
    """
    timer = Timer()
    peer.open()
    if not hold:
        return timer.figures()
    deadline = time.monotonic() + patience
    seen: set[Any] = set()
    while len(seen) < peer.slots:
        if time.monotonic() > deadline:
            raise WrongResult(f"only {len(seen)} of {peer.slots} slots came up within {patience:g} s")
        seen |= {tuple(place) for place in peer.map(calls.hold, [hold] * peer.slots, 1)}
        hold = min(2 * hold, 4.0)
    return timer.figures()


@workload
def finish(peer: Peer) -> Figures:
    """Close what ``prepare`` opened."""
    timer = Timer()
    peer.close()
    return timer.figures()


# -- cold -----------------------------------------------------------------------------------


@workload
def cold_call(peer: Peer) -> Figures:
    """From nothing to the result of one call."""
    timer = Timer()
    peer.open()
    value = peer.submit(calls.increment, 1).result()
    figures = timer.figures()
    peer.close()
    check([value], [2])
    return figures | {"closed": timer.figures()["seconds"]}


@workload
def cold_map(peer: Peer, count: int, chunksize: int | None = None) -> Figures:
    """From nothing to the results of ``count`` calls."""
    timer = Timer()
    peer.open()
    values = list(peer.map(calls.increment, range(count), chunksize))
    figures = timer.figures()
    peer.close()
    check(values, range(1, count + 1))
    return figures | {"closed": timer.figures()["seconds"]}


@workload
def cold_naps(peer: Peer, count: int, seconds: float) -> Figures:
    """``count`` calls of ``seconds`` each, from nothing."""
    timer = Timer()
    peer.open()
    values = list(peer.map(calls.nap, [(number, seconds) for number in range(count)], 1))
    figures = timer.figures()
    peer.close()
    check(values, range(count))
    return figures


# -- warm -----------------------------------------------------------------------------------


@workload
def warm_call(peer: Peer, repeat: int) -> Figures:
    """One call at a time; the median of ``repeat``, and the slowest."""
    samples = []
    for number in range(repeat):
        begun = time.perf_counter()
        value = peer.submit(calls.increment, number).result()
        samples.append(time.perf_counter() - begun)
        check([value], [number + 1])
    samples.sort()
    return {"seconds": samples[len(samples) // 2], "slowest": samples[-1]}


@workload
def warm_map(peer: Peer, count: int, chunksize: int | None = None) -> Figures:
    """``count`` trivial calls by ``map``."""
    timer = Timer()
    values = list(peer.map(calls.increment, range(count), chunksize))
    figures = timer.figures()
    check(values, range(1, count + 1))
    return figures


@workload
def warm_submits(peer: Peer, count: int) -> Figures:
    """``count`` calls given one by one.  blocked: until the client could go on."""
    timer = Timer()
    futures = peer.submit_many(calls.increment, range(count))
    blocked = timer.figures()["seconds"]
    values = [future.result() for future in futures]
    figures = timer.figures()
    check(values, range(1, count + 1))
    return figures | {"blocked": blocked}


@workload
def warm_naps(
    peer: Peer, durations: Sequence[float], by_submit: bool = False, singly: bool | None = None, function: str = "nap"
) -> Figures:
    """Calls of a function (``nap``, ``doze``) that last so long each.

    singly: whether map has to send them one by one; None: only if all are long.
    """
    called = getattr(calls, function)
    pairs = list(enumerate(durations))
    timer = Timer()
    if by_submit:
        values = [future.result() for future in peer.submit_many(called, pairs)]
    else:
        one_by_one = min(durations) >= 0.1 if singly is None else singly
        values = list(peer.map(called, pairs, 1 if one_by_one else None))
    figures = timer.figures()
    check(values, range(len(pairs)))
    return figures


@workload
def warm_shared(peer: Peer, count: int, way: str) -> Figures:
    """``count`` calls with the same new array of 16 MB.

    way: "best" (the peer's own), "partial", "argument" (of ``map``), or "submit".
    written: bytes that the client wrote or sent through the loopback meanwhile.
    """
    import numpy

    array = numpy.random.default_rng(time.monotonic_ns()).random(calls.LARGE_NUMBERS)
    before = written()
    timer = Timer()
    if way == "submit":
        values = [future.result() for future in [peer.submit(calls.element, array, n) for n in range(count)]]
    elif way == "argument":
        values = list(peer.map(_element_of_pair, [(array, number) for number in range(count)]))
    else:
        values = list(peer.shared(calls.element, array, range(count)))
    figures = timer.figures()
    check(values, [float(array[number]) for number in range(count)])
    return figures | {"written": written() - before, "size": array.nbytes}


def _element_of_pair(pair: tuple[Any, int]) -> float:
    return calls.element(*pair)


@workload
def warm_large_results(peer: Peer, count: int) -> Figures:
    """``count`` results of 16 MB, taken one by one and dropped."""
    timer = Timer()
    found = [(len(value), float(value[0]), float(value[-1])) for value in peer.map(calls.large, range(count), 1)]
    figures = timer.figures()
    check(found, [(calls.LARGE_NUMBERS, float(n), float(n)) for n in range(count)])
    return figures


@workload
def warm_memory(peer: Peer, count: int, chunksize: int | None = None) -> Figures:
    """How much larger the client gets while it consumes a ``map`` of ``count`` calls."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark so far
    before = status_bytes("VmRSS")
    timer = Timer()
    right = sum(value == number for number, value in enumerate(peer.map(calls.increment, range(count), chunksize), 1))
    figures = timer.figures()
    if right != count:
        raise WrongResult(f"{count - right} of {count} results are wrong")
    return figures | {"memory": status_bytes("VmHWM") - before}


# -- what the client used ---------------------------------------------------------------------


def status_bytes(field: str) -> int:
    """A size of this process, by its name in /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def written() -> int:
    """Bytes that this process has written into files and pipes, and all of this machine
    through its loopback."""
    mine = int(Path("/proc/self/io").read_text().split("wchar:")[1].split()[0])
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return mine + int(numbers.split()[8])
    return mine
