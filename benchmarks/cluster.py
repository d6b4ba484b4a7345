"""The Slurm of the tests for as long as a measurement takes, and quiet moments on it.

``counting`` puts wrappers of the scheduler's commands in front of the PATH, each of which
notes its name before it becomes the real one.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Self

from clusterfutures.testing.real_slurm import RealSlurm

__all__ = ["SLOTS", "Cluster", "CommandLog"]

NODES, CPUS = 4, 2
SLOTS = NODES * CPUS

#: Slurm's sched_interval on the cluster of the tests
_RHYTHM_SECONDS = 1.0
_COMMANDS = ("sbatch", "squeue", "scancel", "sacct", "scontrol", "sinfo", "srun", "salloc")
_WRAPPER = """#!/bin/sh
echo {name} >> '{log}'
exec {real} "$@"
"""


class Cluster:
    """A context manager: a Slurm of ``SLOTS`` places, or of more nodes; ``environment`` leads
    to it."""

    def __init__(self, nodes: int = NODES) -> None:
        self._slurm = RealSlurm(nodes=nodes, cpus=CPUS)
        self.environment = self._slurm.environment

    def __enter__(self) -> Self:
        self._slurm.start()
        os.environ.update(self.environment)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._slurm.stop()

    def clear(self) -> None:
        """Cancel whatever a peer left behind, and wait until it is gone."""
        if self._jobs():
            self._slurm.run("scancel", "-u", str(os.getuid()))
        self.wait_until_empty()

    def quiet(self, moment: float | None = None) -> None:
        """Wait until no job is there; then until a moment of Slurm's rhythm.

        Slurm looks for work once a second, beginning with the end of what ran before, so who
        always comes after a short job starts always late (0.5 s against 0.15 s).  moment: from
        0 to 1, to be spread evenly over the rounds; without it, a random one.
        """
        self.wait_until_empty()
        time.sleep(_RHYTHM_SECONDS * (random.random() if moment is None else moment))

    def wait_until_empty(self, limit: float = 60.0) -> None:
        deadline = time.monotonic() + limit
        while self._jobs():
            if time.monotonic() > deadline:
                raise TimeoutError(f"jobs are still there after {limit:g} s: {self._jobs()}")
            time.sleep(0.05)

    def _jobs(self) -> list[str]:
        return self._slurm.run("squeue", "-h", "-o", "%i").stdout.split()


class CommandLog:
    """Wrappers in ``directory``: put it in front of the PATH, then ask ``counts``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log = directory / "log"
        directory.mkdir(parents=True)
        self._log.touch()
        for name in _COMMANDS:
            real = shutil.which(name)
            if real is not None:
                path = directory / name
                path.write_text(_WRAPPER.format(name=name, log=self._log, real=real))
                path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables for the process that has its commands counted."""
        return {"PATH": f"{self.directory}{os.pathsep}{os.environ['PATH']}"}

    def counts(self) -> Counter[str]:
        """How often each command was given."""
        return Counter(self._log.read_text().split())


def slurm_version() -> str:
    """As it says itself."""
    return subprocess.run(["sinfo", "--version"], capture_output=True, text=True, check=True).stdout.strip()
