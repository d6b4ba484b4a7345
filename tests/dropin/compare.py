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
    # alone: REASON         it needs an interpreter of its own: the others are forked from one (see ``starter.py``)
"""

from __future__ import annotations

import atexit
import concurrent.futures
import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import filelock
from starter import Starter

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE / "scripts"
#: seconds for one run of one script
LIMIT = 100
ARGUMENTS = ("--size", "3", "word")

_lock = threading.Lock()


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
        marks = dict(
            re.findall(r"^# (needs|python|only|status|better|differs|alone): (.*)$", path.read_text(), re.MULTILINE)
        )
        found.append(Script(f"{path.parent.name}/{path.stem}", path, marks))
    return found


def run(script: Script, executor: str) -> Outcome:
    """Run a script once, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="dropin-") as directory:
        environment = _environment() | {"DROPIN_EXECUTOR": executor}
        environment.setdefault("CLUSTERFUTURES_DIR", os.path.join(directory, "runs"))
        work, stdout, stderr = (os.path.join(directory, name) for name in ("work", "stdout", "stderr"))
        os.mkdir(work)
        if "alone" in script.marks:
            status = _run_alone(script, environment, work, stdout, stderr)
        else:
            status = _starter().run(
                LIMIT, path=str(script.path), arguments=ARGUMENTS, environment=environment, directory=work,
                stdout=stdout, stderr=stderr,
            )  # fmt: skip
        said, complaint = (Path(name).read_text("utf-8", "replace") for name in (stdout, stderr))
    if status is None:
        return Outcome(said, -1, f"{complaint}\nnot done after {LIMIT} s")
    return Outcome(said.replace(work, "<directory>"), status, complaint)


def _run_alone(script: Script, environment: Mapping[str, str], work: str, stdout: str, stderr: str) -> int | None:
    with open(stdout, "wb") as said, open(stderr, "wb") as complaint:
        try:
            return subprocess.run(
                [sys.executable, str(script.path), *ARGUMENTS],
                env=environment, cwd=work, stdin=subprocess.DEVNULL, stdout=said, stderr=complaint, timeout=LIMIT,
                check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return None


def _environment() -> dict[str, str]:
    root = str(HERE.parents[1])
    path = os.pathsep.join(part for part in (root, str(HERE), os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}


@functools.cache
def _started(_process: int) -> Starter:
    # The starter lives longer than a test: it has nothing of the test's by which what a test leaves is found.
    starter = Starter({name: value for name, value in _environment().items() if name != "CONTRACT_TEST"})
    atexit.register(starter.close)
    return starter


def _starter() -> Starter:
    with _lock:
        return _started(os.getpid())


def standard(script: Script, kept: Path | None) -> Outcome:
    """What the script does with ``ProcessPoolExecutor``; kept: where that is noted, for all who compare with it."""
    if kept is None:
        return run(script, "ProcessPoolExecutor")
    file = kept / script.name.replace("/", "-")
    with filelock.FileLock(f"{file}.lock"):
        if not file.exists():
            file.write_text(json.dumps(run(script, "ProcessPoolExecutor")))
        return Outcome(*json.loads(file.read_text()))


def difference(script: Script, executor: str, kept: Path | None = None) -> str:
    """Why a script fails its test with this executor; empty when it passes.  kept: as for ``standard``."""
    expected, ours = standard(script, kept), run(script, executor)
    both = f"--- ProcessPoolExecutor: {expected}\n--- {executor}: {ours}"
    if "better" in script.marks:
        if ours.status:
            return f"it has to exit 0:\n{both}"
        return f"ProcessPoolExecutor runs it as well: take out '# better:'\n{both}" if ours.same(expected) else ""
    if expected.status != int(script.marks.get("status", 0)):
        return f"ProcessPoolExecutor has to exit {script.marks.get('status', 0)}:\n{both}"
    if "differs" in script.marks:
        return f"nothing differs: take out '# differs:'\n{both}" if ours.same(expected) else ""
    return "" if ours.same(expected) else both


def differences(wanted: Iterable[Script], executor: str, kept: Path | None = None, at_once: int = 4) -> dict[str, str]:
    """Scripts that fail, and why.  kept: as for ``standard``."""
    chosen = [script for script in wanted if script.runs_with(executor)]
    with concurrent.futures.ThreadPoolExecutor(at_once) as threads:
        said = threads.map(lambda script: difference(script, executor, kept), chosen)
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
