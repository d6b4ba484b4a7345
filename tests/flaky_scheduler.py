"""A scheduler whose commands each fail one time in three, and take up to five seconds.

    PATH: <directory>/sbatch --wait--> fails, or the real sbatch, or both

Wrappers stand in front of the real commands.  What each call does comes from the seed, the
command's name and how often it has been called, so that a run can be repeated.  Half of the
submissions that fail have been carried out all the same: only their answer is lost.  Most
calls are quick, as on a busy system, a few take all of the five seconds.

Run as a program it is the body of a wrapper: ``seed directory command argument...``.
"""

import fcntl
import os
import random
import shlex
import shutil
import subprocess
import sys
import time

LONGEST_SECONDS = 5.0
FAILING = 1 / 3
COMMANDS = ("sbatch", "squeue", "scancel", "sacct", "scontrol", "qsub", "qstat", "qselect", "qdel", "qmgr")
WORDS = "{name}: error: Unable to contact slurm controller (connect failure)"
PBS_WORDS = "Connection refused\n{name}: cannot connect to server pbs (errno=111)"


def install(directory: str, seed: int) -> str:
    """Put wrappers of the commands that are on the PATH into ``directory``; the PATH that finds them first."""
    os.mkdir(directory)
    for name in COMMANDS:
        real = shutil.which(name)
        if real is not None:
            words = [sys.executable, "-IS", os.path.abspath(__file__), str(seed), directory, real]
            path = os.path.join(directory, name)
            with open(path, "w") as wrapper:
                wrapper.write(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            os.chmod(path, 0o755)
    return os.pathsep.join([directory, os.environ.get("PATH", os.defpath)])


def _count(path: str) -> int:
    """How often this has been called with ``path``."""
    with open(path, "ab") as calls:
        fcntl.flock(calls, fcntl.LOCK_EX)
        calls.write(b".")
        calls.flush()
        return os.fstat(calls.fileno()).st_size


def _wrapper(seed: str, directory: str, real: str, *arguments: str) -> None:
    name = os.path.basename(real)
    chance = random.Random(f"{seed} {name} {_count(os.path.join(directory, name + '.calls'))}")
    time.sleep(LONGEST_SECONDS * chance.random() ** 3)
    if chance.random() >= FAILING:
        os.execv(real, [real, *arguments])
    if name in ("sbatch", "qsub") and chance.random() < 0.5:
        subprocess.run([real, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    sys.exit((PBS_WORDS if name.startswith("q") else WORDS).format(name=name))


if __name__ == "__main__":
    _wrapper(*sys.argv[1:])
