"""Every command of every stand-in starts here; the launchers in ``bin/`` call ``main``.

    bin/qsub -l ... --> main(directory, "qsub", argv)
        note the call --> faults that were asked for --> Dialect.commands["qsub"] --> answer

The calls are kept as lines of ``calls``, the faults in ``faults.json``: written by
``standin.StandIn``, counted down here.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib

from .dialect import Call, Dialect, Refused
from .state import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: commands that put jobs into the queue
SUBMIT = frozenset(("qsub", "sbatch"))


def load(kind: str) -> Dialect:
    """The dialect of a stand-in; only its own modules are imported."""
    if kind == "slurm":
        from .slurm import SlurmDialect

        return SlurmDialect()
    if kind == "torque":
        from .torque import TorqueDialect

        return TorqueDialect()
    from .pbs import PBSDialect

    return PBSDialect()


def main(directory: str, name: str, argv: list[str]) -> int:
    """Run one command and write its answer; returns the exit code."""
    store = Store(directory)
    call = Call(store, load(store.config["kind"]), name, argv)
    if name == "control":
        _control(call)
        return _answer(call)
    _note(store, name, argv)
    faults = Faults(store)
    faults.before(call)
    if not faults.instead(call):
        _run(call)
    if name in SUBMIT and faults.hangs(call):
        return 1
    return _answer(call)


def _run(call: Call) -> None:
    try:
        if call.store.read().down:
            call.dialect.down(call)
        else:
            call.dialect.commands[call.name](call)
    except Refused as refusal:
        call.err(refusal.text, refusal.code)


def _control(call: Call) -> None:
    """What ``StandIn`` wants done: here, because here jobs may be started."""
    from . import control

    control.act(call)


def _note(store: Store, name: str, argv: list[str]) -> None:
    line = json.dumps([name, *argv]) + "\n"
    file = os.open(store.path("calls"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def _answer(call: Call) -> int:
    for stream, lines in ((sys.stdout, call.stdout), (sys.stderr, call.stderr)):
        try:
            stream.write("".join(lines))
            stream.flush()
        except BrokenPipeError:
            return 1
    return call.code


class Faults:
    """The faults that were asked for; reading them costs one failed open when there are none."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.data: dict[str, Any] = {}
        if os.path.exists(store.path("faults.json")):
            with store.locked():  # guards faults.json as well
                self.data = read_faults(store)

    def before(self, call: Call) -> None:
        """Sleep, until ``slow`` is ended if that is sooner, and say what a chatty site says."""
        began = time.monotonic()
        while (left := began + self.data.get("slow", {}).get(call.name, 0.0) - time.monotonic()) > 0:
            wait(self.store, min(left, 0.2))
            if not os.path.isdir(self.store.directory):
                break
            with self.store.locked():
                self.data = read_faults(self.store)
        if self.data.get("banner"):
            call.out(self.data["banner"])

    def instead(self, call: Call) -> bool:
        """Return True when the command failed on request."""
        fault = self._take_next(call.name) or self._take_flaky(call.name)
        if fault is None:
            return False
        call.err(fault["text"], fault["code"])
        return True

    def hangs(self, call: Call) -> bool:
        """Keep the caller waiting for the answer to a submission that was carried out."""
        if call.code or not self.data.get("timeouts"):
            return False
        with self.store.locked():
            data = read_faults(self.store)
            left = data.get("timeouts", 0)
            data["timeouts"] = max(0, left - 1)
            write_faults(self.store, data)
        if not left:
            return False
        wait(self.store, self.data["timeout_seconds"])
        call.stdout.clear()
        call.dialect.timed_out(call)
        _answer(call)
        return True

    def _take_next(self, name: str) -> dict[str, Any] | None:
        if not self.data.get("fail", {}).get(name):
            return None
        with self.store.locked():
            data = read_faults(self.store)
            queue: list[dict[str, Any]] = data["fail"].get(name, [])
            if not queue:
                return None
            fault = queue[0]
            fault["n"] -= 1
            if fault["n"] <= 0:
                queue.pop(0)
            write_faults(self.store, data)
            return fault

    def _take_flaky(self, name: str) -> dict[str, Any] | None:
        if name not in self.data.get("flaky", {}):
            return None
        with self.store.locked():
            data = read_faults(self.store)
            fault: dict[str, Any] | None = data["flaky"].get(name)
            if fault is None:
                return None
            fault["count"] += 1
            write_faults(self.store, data)
        # A sequence that depends on the seed alone, without the cost of importing random.
        draw = zlib.crc32(f"{fault['seed']}:{name}:{fault['count']}".encode()) / 2**32
        return fault if draw < fault["probability"] else None


def read_faults(store: Store) -> dict[str, Any]:
    """faults.json, empty when there is none."""
    try:
        with open(store.path("faults.json"), encoding="utf-8") as file:
            data: dict[str, Any] = json.load(file)
            return data
    except FileNotFoundError:
        return {}


def write_faults(store: Store, data: dict[str, Any]) -> None:
    """Replace faults.json; call it under the lock."""
    with open(store.path("faults.tmp"), "w", encoding="utf-8") as file:
        json.dump(data, file)
    os.replace(store.path("faults.tmp"), store.path("faults.json"))


def wait(store: Store, seconds: float) -> None:
    """Sleep, but no longer than the stand-in lives."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and os.path.isdir(store.directory):
        time.sleep(min(left, 0.2))
