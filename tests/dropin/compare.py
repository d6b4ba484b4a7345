"""Run scripts with ``ProcessPoolExecutor`` and with an executor of ours, and compare what they print.

    python tests/dropin/compare.py LocalExecutor [script ...]

The scripts are in ``scripts/``, in one folder per kind.  A script is a plain program: it takes its executor class from
``under_test``, prints, and exits.  Comment lines at its head say how it is to be judged:

    # needs: numpy          it runs only where this module is installed
    # python: 3.12          it runs only on this version and newer
    # only: local           it runs only on these grounds (executors, in lower case, without "Executor")
    # status: 3             ProcessPoolExecutor's exit status, where it is not 0
    # better: REASON        ProcessPoolExecutor fails, ours must exit 0: the script checks itself
    # differs: REASON       the outputs differ, and must; docs/reference/differences.md has the reason
"""

from __future__ import annotations

import concurrent.futures
import functools
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE / "scripts"
#: seconds for one run of one script
LIMIT = 100


class Script(NamedTuple):
    """A script and the comments at its head."""

    name: str
    path: Path
    marks: Mapping[str, str]

    def runs_with(self, executor: str) -> bool:
        """True when this interpreter, and this executor, can run it."""
        version = tuple(int(part) for part in self.marks.get("python", "3.0").split("."))
        if sys.version_info[: len(version)] < version:
            return False
        grounds = self.marks.get("only", "").split()
        if grounds and executor.removesuffix("Executor").lower() not in grounds:
            return False
        return all(importlib.util.find_spec(name) for name in self.marks.get("needs", "").split())


class Outcome(NamedTuple):
    """What a script printed, how it exited, and what it said on stderr (which is not compared)."""

    stdout: str
    status: int
    stderr: str

    def same(self, other: Outcome) -> bool:
        return self.stdout == other.stdout and self.status == other.status

    def __str__(self) -> str:
        return f"exit status {self.status}\n{self.stdout}{self.stderr[-3000:] if self.status else ''}".rstrip()


def scripts(folder: str = "") -> list[Script]:
    """All scripts, or those of one folder."""
    found = []
    for path in sorted(SCRIPTS.glob(f"{folder or '*'}/*.py")):
        marks = dict(re.findall(r"^# (needs|python|only|status|better|differs): (.*)$", path.read_text(), re.MULTILINE))
        found.append(Script(f"{path.parent.name}/{path.stem}", path, marks))
    return found


def run(script: Script, executor: str) -> Outcome:
    """Run a script once, in a directory of its own."""
    root = str(HERE.parents[1])
    path = os.pathsep.join(part for part in (root, str(HERE), os.environ.get("PYTHONPATH", "")) if part)
    with tempfile.TemporaryDirectory(prefix="dropin-") as directory:
        environment = {"CLUSTERFUTURES_DIR": os.path.join(directory, "runs"), **os.environ}
        environment |= {"DROPIN_EXECUTOR": executor, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
        command = [sys.executable, str(script.path), "--size", "3", "word"]
        try:
            done = subprocess.run(
                command, env=environment, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=LIMIT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            return Outcome(_text(error.stdout), -1, f"{_text(error.stderr)}\nnot done after {LIMIT} s")
        return Outcome(done.stdout.replace(directory, "<directory>"), done.returncode, done.stderr)


def _text(output: bytes | str | None) -> str:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else output or ""


@functools.cache
def _standard(name: str) -> Outcome:
    (script,) = (one for one in scripts() if one.name == name)
    return run(script, "ProcessPoolExecutor")


def difference(script: Script, executor: str) -> str:
    """Why a script fails its test with this executor; empty when it passes."""
    standard, ours = _standard(script.name), run(script, executor)
    both = f"--- ProcessPoolExecutor: {standard}\n--- {executor}: {ours}"
    if "better" in script.marks:
        if ours.status:
            return f"it has to exit 0:\n{both}"
        return f"ProcessPoolExecutor runs it as well: take out '# better:'\n{both}" if ours.same(standard) else ""
    if standard.status != int(script.marks.get("status", 0)):
        return f"ProcessPoolExecutor has to exit {script.marks.get('status', 0)}:\n{both}"
    if "differs" in script.marks:
        return f"nothing differs: take out '# differs:'\n{both}" if ours.same(standard) else ""
    return "" if ours.same(standard) else both


def differences(wanted: Iterable[Script], executor: str, at_once: int = 4) -> dict[str, str]:
    """Scripts that fail, and why."""
    chosen = [script for script in wanted if script.runs_with(executor)]
    with concurrent.futures.ThreadPoolExecutor(at_once) as threads:
        said = threads.map(lambda script: difference(script, executor), chosen)
        return {script.name: text for script, text in zip(chosen, said, strict=True) if text}


def main(executor: str, *names: str) -> int:
    chosen = [one for one in scripts() if not names or any(name in one.name for name in names)]
    failed = differences(chosen, executor, at_once=2)
    for name, text in failed.items():
        print(f"{name}\n{text}\n")
    print(f"{len(failed)} of {len(chosen)} differ: {' '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
