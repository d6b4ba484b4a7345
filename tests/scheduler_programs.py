"""What the tests of the schedulers share: programs in place of a scheduler's commands, and a place for stand-ins."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from clusterfutures.schedulers import command


def until(condition: Callable[[], object], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def a_place_of_its_own(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with some scripts to submit, and a home beside it."""
    work, home = directory / "work", directory / "home"
    work.mkdir()
    home.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    without_scheduler_variables(monkeypatch)
    (work / "ok.sh").write_text("#!/bin/sh\necho hello\n")
    (work / "exit.sh").write_text("#!/bin/sh\nexit $R\n")
    (work / "sleep.sh").write_text("#!/bin/sh\nexec sleep 60\n")
    return work


def without_scheduler_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if outside any job, and without a user's defaults."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "PBS_", "SGE_")):
            monkeypatch.delenv(name)


class Programs:
    """A directory of programs that say what they are told to, and note how they were called."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()

    def answer(self, program: str, stdout: str = "", stderr: str = "", code: int = 0, first: str = "") -> None:
        path = self.directory / program
        path.write_text(
            f'#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done >>{self.directory}/{program}.argv\n'
            f"echo --- >>{self.directory}/{program}.argv\nenv >{self.directory}/{program}.env\n{first}\n"
            f"printf %s {shlex.quote(stdout)}\nprintf %s {shlex.quote(stderr)} >&2\nexit {code}\n"
        )
        path.chmod(0o700)

    def calls(self, program: str) -> list[list[str]]:
        path = self.directory / f"{program}.argv"
        if not path.exists():
            return []
        return [call.split("\n")[:-1] for call in path.read_text().split("---\n")[:-1]]

    def environment(self, program: str) -> list[str]:
        return (self.directory / f"{program}.env").read_text().splitlines()


def programs_in_place_of(names: Iterable[str], directory: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """The only programs of these names in the PATH; a real one is never called."""
    made = Programs(directory)
    monkeypatch.setenv("PATH", f"{made.directory}:/usr/bin:/bin")
    monkeypatch.setattr(command, "_FIRST_PAUSE", 0.001)
    without_scheduler_variables(monkeypatch)
    for program in names:
        made.answer(program, stderr="not prepared", code=99)
    return made
