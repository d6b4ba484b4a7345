"""Workloads about failures and costs, for every peer: asked for by name like the others.

    call --notes the moment in a file, then fails--> ... --> the client's future ends

A peer that says nothing within its patience is a miss.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import calls
from peers.base import Peer, Unsupported
from workloads import Timer, check, written

__all__ = ["WORKLOADS"]

Answer = dict[str, Any]

#: what happens to a call: the function that does it to itself
KINDS: dict[str, Callable[[str], Any]] = {
    "raises": calls.fail,
    "unpicklable": calls.unpicklable,
    "exit": calls.die,
    "segfault": calls.crash,
    "scancel": calls.job_id_then_hold,
    "supervisor": calls.job_id_then_hold,
}
START_SECONDS = 40.0


def failure(peer: Peer, kind: str, patience: float) -> Answer:
    """Seconds from the failure of a call until its future ends, and what it raised.

    kind: of KINDS; "scancel": its job is cancelled, "supervisor": the process that started
    its process is killed.  patience: seconds until it counts as never.
    """
    path = Path(tempfile.mkdtemp(dir=peer.directory), "moment")
    ended: list[str] = []
    watcher = threading.Thread(target=lambda: ended.append(_outcome(peer, KINDS[kind], str(path))), daemon=True)
    watcher.start()
    deadline = time.monotonic() + START_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the call did not begin within {START_SECONDS:g} s")
        time.sleep(0.002)
    moment, job, parent = path.read_text().split(",")
    if kind == "scancel":
        if not job:
            raise Unsupported("no job")
        subprocess.run(["scancel", job], check=True)
        moment = str(time.time())
    elif kind == "supervisor":
        os.kill(int(parent), 9)
        moment = str(time.time())
    watcher.join(patience)
    if not ended:
        raise TimeoutError(f"nothing within {patience:g} s")
    return {"seconds": time.time() - float(moment), "raised": ended[0]}


def _outcome(peer: Peer, function: Callable[[Any], Any], argument: Any) -> str:
    """The name of what a call raises, or what it returned instead."""
    try:
        value = peer.submit(function, argument).result()
        return f"returned {value if isinstance(value, str | int) else type(value).__name__}"
    except BaseException as error:
        return type(error).__name__


def usable(peer: Peer, patience: float) -> Answer:
    """Whether the executor still takes calls."""
    ended: list[str] = []
    watcher = threading.Thread(target=lambda: ended.append(_outcome(peer, calls.increment, 1)), daemon=True)
    watcher.start()
    watcher.join(patience)
    return {"usable": float(ended == ["returned 2"])}


def cost(peer: Peer, count: int, hold: float) -> Answer:
    """What the client uses for ``count`` calls and then one that lasts ``hold`` seconds.

    cpu, memory: of this process, and of those that it started and has waited for.
    """
    before = written()
    timer = Timer()
    peer.open()
    values = list(peer.map(calls.increment, range(count)))
    peer.submit(calls.hold, hold).result()
    peer.close()
    figures = timer.figures()
    check(values, range(1, count + 1))
    mine, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "seconds": figures["seconds"],
        "cpu": mine.ru_utime + mine.ru_stime + children.ru_utime + children.ru_stime,
        "memory": 1024.0 * mine.ru_maxrss,
        "written": written() - before,
    }


WORKLOADS = {"failure": failure, "usable": usable, "cost": cost}
