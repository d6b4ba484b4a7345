"""What goes wrong in a soak: faults of every kind, at random, and a look for what is left.

Only processes that carry the path of one of the soak's own runs in their command line, and
daemons of its own Slurm, are ever touched.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from clusterfutures.testing.real_slurm import RealSlurm

__all__ = ["Havoc", "Liar", "left_behind"]

#: seconds between two faults, at least and at most
PAUSE = (0.3, 4.0)
#: and that a node or a disk is out of order
OUTAGE = (1.0, 8.0)


#: how long squeue lies, in seconds
LIE_SECONDS = 12.0

_SQUEUE = """#!/bin/sh
if [ -e {here}/silent ]; then exit 0; fi
answer={here}/answer.$(echo "$*" | cksum | cut -d" " -f1)
if [ -e {here}/old ] && [ -e "$answer" ]; then exec cat "$answer"; fi
{real} "$@" >"$answer.$$"
status=$?
cat "$answer.$$"
mv "$answer.$$" "$answer"
exit $status
"""


class Liar:
    """A ``squeue`` in front of the real one; ``silent``, ``old``: what it does instead of asking."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()
        command = directory / "squeue"
        command.write_text(_SQUEUE.format(here=directory, real=shutil.which("squeue")))
        command.chmod(0o755)
        os.environ["PATH"] = f"{directory}{os.pathsep}{os.environ['PATH']}"

    def begin(self, how: str) -> None:
        """From now on it lies."""
        (self._directory / how).touch()

    def end(self, how: str) -> None:
        """It does not any more."""
        (self._directory / how).unlink()


class Process(NamedTuple):
    """One process of a worker.  The supervisor is the one without a parent among them."""

    pid: int
    parent: int


class Havoc(threading.Thread):
    """Does harm until ``over``; then everything is in order again.  done: how often what."""

    def __init__(
        self, slurm: RealSlurm, runs: Sequence[Path], disk: Path, seed: int, over: threading.Event, liar: Liar
    ) -> None:
        super().__init__(name="havoc")
        self._liar = liar
        self.done: Counter[str] = Counter()
        self._slurm = slurm
        self._runs = runs
        self._disk = disk
        self._chance = random.Random(seed)
        self._over = over
        self._kinds: list[tuple[Callable[[], bool], str, int]] = [
            (self._kill_process, "processes killed", 5),
            (self._kill_supervisor, "supervisors killed", 3),
            (self._cancel_job, "jobs cancelled", 3),
            (self._kill_slurmd, "slurmd killed", 1),
            (self._lose_node, "nodes lost with their jobs", 1),
            (self._fill_disk, "times the disk was full", 2),
            (lambda: self._lie("silent"), "times squeue said nothing for 12 s", 1),
            (lambda: self._lie("old"), "times squeue said what it had said before", 1),
            (self._stop_supervisor, "supervisors that stood still", 2),
            (self._two_lives, "nodes DOWN whose jobs lived on", 2),
        ]

    def run(self) -> None:
        while not self._over.wait(self._chance.uniform(*PAUSE)):
            ((fault, name, _),) = self._chance.choices(self._kinds, [weight for *_, weight in self._kinds])
            if fault():
                self.done[name] += 1

    def _outage(self) -> None:
        self._over.wait(self._chance.uniform(*OUTAGE))

    def _kill_process(self) -> bool:
        found = processes(self._runs)
        pids = {process.pid for process in found}
        return self._kill([process.pid for process in found if process.parent in pids])

    def _kill_supervisor(self) -> bool:
        found = processes(self._runs)
        pids = {process.pid for process in found}
        return self._kill([process.pid for process in found if process.parent not in pids])

    def _kill(self, pids: Sequence[int]) -> bool:
        if not pids:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._chance.choice(sorted(pids)), signal.SIGKILL)
            return True
        return False

    def _lie(self, how: str) -> bool:
        self._liar.begin(how)
        self._over.wait(LIE_SECONDS)
        self._liar.end(how)
        return True

    def _stop_supervisor(self) -> bool:
        found = processes(self._runs)
        pids = {process.pid for process in found}
        supervisors = sorted(process.pid for process in found if process.parent not in pids)
        if not supervisors:
            return False
        pid = self._chance.choice(supervisors)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self._outage()
            os.kill(pid, signal.SIGCONT)
            return True
        return False

    def _two_lives(self) -> bool:
        """The controller takes a node for lost and runs its jobs elsewhere; there they go on."""
        name = self._chance.choice(self._slurm.nodes)
        self._slurm.stop_node(name)
        self._slurm.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=soak")
        self._outage()
        self._slurm.start_node(name)
        self._slurm.run("scontrol", "update", f"NodeName={name}", "State=RESUME")
        return True

    def _cancel_job(self) -> bool:
        jobs = self._slurm.run("squeue", "-h", "-r", "-o", "%i").stdout.split()
        return bool(jobs) and self._slurm.run("scancel", self._chance.choice(jobs)).returncode == 0

    def _kill_slurmd(self, jobs: bool = False) -> bool:
        name = self._chance.choice(self._slurm.nodes)
        self._slurm.stop_node(name, jobs=jobs)
        self._outage()
        self._slurm.start_node(name)
        return True

    def _lose_node(self) -> bool:
        return self._kill_slurmd(jobs=True)

    def _fill_disk(self) -> bool:
        filler = self._disk / "filler"
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass
        self._outage()
        filler.unlink()
        return True


def processes(runs: Sequence[Path]) -> list[Process]:
    """All that work for one of these runs."""
    marks = [str(path).encode() for path in runs]
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        if int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = Path("/proc", name, "cmdline").read_bytes()
            if b"clusterfutures" in command and any(mark in command for mark in marks):
                parent = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1]
                found.append(Process(int(name), int(parent)))
    return found


def left_behind(slurm: RealSlurm, runs: Sequence[Path], patience: float) -> list[str]:
    """Jobs, processes and files that are still there after ``patience`` seconds."""

    def look() -> list[str]:
        left = [f"job {job}" for job in slurm.run("squeue", "-h", "-r", "-o", "%i").stdout.split()]
        left += [f"process {process.pid}" for process in processes(runs)]
        return left + [f"file {path}" for directory in runs if directory.exists() for path in directory.iterdir()]

    deadline = time.monotonic() + patience
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left
