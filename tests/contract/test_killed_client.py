"""The client is killed with -9 before each of its operations on the shared directory, in turn.

    a small program, killed before its n-th operation --> its jobs end by themselves
      --> attached to (every second time), and run again: every result, every call made once

All n are tried with ``KILL_EVERY=1 TEST_TIME_LIMIT=300`` in the environment; otherwise every ``KILL_EVERY``-th, another
row of them each day.
"""

from __future__ import annotations

import datetime
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Ground
from contract_tasks import wait_until

from clusterfutures import attach

KILL_EVERY = int(os.environ.get("KILL_EVERY", "17"))
AT_A_TIME = 4

PROGRAM = """
import signal, sys
from clusterfutures.store import filesystem as files
from clusterfutures.schedulers import local

log, left = sys.argv[1], int(sys.argv[2])
begin_with = left

def count():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

class Killing:
    '''In place of a module: each use of these verbs counts.'''
    def __init__(self, module, *verbs):
        self.module, self.verbs = module, verbs
    def __getattr__(self, name):
        found = getattr(self.module, name)
        if name not in self.verbs:
            return found
        def counted(*arguments, **options):
            if name != "open" or arguments[1] & os.O_CREAT:
                count()
            return found(*arguments, **options)
        return counted

files.os = Killing(os, "open", "rename", "unlink", "mkdir", "chmod", "writev")
local.subprocess = Killing(local.subprocess, "Popen")

def noted(n):
    with open(log, "a") as file:
        file.write(f"{n}\\n")
    return bytes(n << 20) if n == 2 else n

with executor(run="fit", max_workers=1, idle_timeout=0.3) as ex:
    futures = [ex.submit(noted, n) for n in range(3)]
    mapped = ex.map(noted, range(10, 14), chunksize=2)
    total = ex.submit(max, [futures[0], 5, futures[1]])
    print([futures[0].result(), futures[1].result(), len(futures[2].result()), *mapped, total.result()], flush=True)
print(begin_with - left, flush=True)
"""
RESULTS = "[0, 1, 2097152, 10, 11, 12, 13, 5]"
NEVER = 1 << 30


class Place:
    """Where one of the programs runs: a directory of runs, and a log, of its own."""

    def __init__(self, ground: Ground, name: str) -> None:
        self._ground = ground
        self.runs = ground.directory / f"runs-{name}"
        self.log = ground.directory / f"log-{name}"
        self.log.touch()

    def program(self, operations: int) -> tuple[int, list[str]]:
        text = f"os.environ['CONTRACT_RUNS'] = {str(self.runs)!r}\n{PROGRAM}"
        program = self._ground.script(text, str(self.log), str(operations), wait=False)
        said, complaint = program.communicate(timeout=90)
        assert program.returncode in (0, -9), complaint
        assert "Traceback" not in complaint, complaint
        return program.returncode, said.splitlines()

    def made(self) -> list[int]:
        return sorted(map(int, self.log.read_text().split()))


def survive(ground: Ground, operation: int, most: int) -> None:
    """Of ``most`` operations the program is killed before this one; at another speed it may have no more than half."""
    place = Place(ground, str(operation))
    status, _ = place.program(operation)
    assert status == -9 or operation > most / 2
    if operation % 2 and (place.runs / "fit" / "run.json").exists():
        with attach("fit", place.runs) as run:
            for name, future in zip(run.names, run.futures, strict=True):
                assert future.exception(60) is None, name
    status, said = place.program(NEVER)
    assert (status, said[0]) == (0, RESULTS)
    assert place.made() == [0, 1, 2, 10, 11, 12, 13]


def told(ground: Ground, operation: int, most: int) -> str:
    """What went wrong; nothing, most likely."""
    try:
        survive(ground, operation, most)
    except Exception as error:
        return f"killed before operation {operation}: {type(error).__name__} {error}"
    return ""


@pytest.mark.on("local")
def test_killed_before_every_operation(ground: Ground) -> None:
    status, said = Place(ground, "well").program(NEVER)
    assert (status, said[0]) == (0, RESULTS)
    operations = int(said[1]) - 15  # how many there are depends on how fast things go
    assert operations > 30
    today = datetime.date.today().toordinal() % KILL_EVERY
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        problems = list(
            filter(None, pool.map(lambda n: told(ground, n, operations), range(today, operations, KILL_EVERY)))
        )
    assert not problems, "\n".join(problems)
    wait_until(lambda: not ground.processes(), "all jobs have ended by themselves", 30)
