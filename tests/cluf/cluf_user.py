"""Someone who uses ``cluf``: a home, a directory, and a script with several functions and iterables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys
from clusterfutures import Arguments
def target(x, y=0, z=0, *more, my_kwarg=None):
    if x == "fail":
        raise ValueError("it fails")
    return x
args = [(i, i % 3, i % 12) for i in range(24)]
def my_iterable():
    return (Arguments(i, 1, 2, my_kwarg=i) for i in range(24))
def words():
    return sys.argv[1:]
def bad():
    return ["a", "fail", "b"]
def wait(x):
    import os, time
    os.write(1, f"{os.getpid()}\\n".encode())  # in one piece
    time.sleep(600)
"""


class User:
    """Someone with an empty home, a script, and a directory."""

    def __init__(self, directory: Path, variables: dict[str, str]) -> None:
        self.here = directory / "here"
        self.here.mkdir()
        (self.here / "my_script.py").write_text(SCRIPT)
        (directory / "home").mkdir()
        self.home = directory / "home"
        self.variables = {**os.environ, **variables, "HOME": str(self.home), "PYTHONPATH": str(ROOT)}

    def start(self, words: Sequence[str], program: str = "main") -> subprocess.Popen[str]:
        code = f"import sys; from clusterfutures.cluf.main import {program}; sys.exit({program}())"
        return subprocess.Popen(
            [sys.executable, "-c", code, *words], cwd=self.here, env=self.variables, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def cluf(self, *words: str, status: int = 0, program: str = "main") -> tuple[str, str]:
        with self.start(words, program) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == status, out + err
        return out, err

    def ran(self, *words: str, program: str = "main") -> set[object]:
        """The first arguments of the calls that ran."""
        found = self.returned(*words, program=program)
        assert len(found) == len(set(found))
        return set(found)

    def returned(self, *words: str, program: str = "main") -> list[object]:
        """What the calls returned."""
        output = self.here / "r.jsonl"
        self.cluf(words[0], "-o", str(output), *words[1:], program=program)
        found = [json.loads(line)["value"] for line in output.read_text().splitlines()]
        output.unlink()
        return found
