"""``pytest --slurm=26.05``: the same tests, with another Slurm than this machine's.

    pytest --slurm=V --> is Slurm V installed? --yes--> go on here
                                |no
                         roots/make_root.sh: the Debian release that has it
                                |
                         roots/enter_root.sh: a virtual environment, then pytest --slurm=V in there

The root is made once, and so is the virtual environment for each checkout; its Python is that
release's.  Needs root, debootstrap and a network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clusterfutures.testing.real_slurm import SEARCH_PATH

CHECKOUT = Path(__file__).resolve().parents[1]
ROOTS = CHECKOUT / "tests" / "roots"
#: version of Slurm -> release of Debian, its Python
RELEASES = {"22.05": ("bookworm", "3.11"), "24.11": ("trixie", "3.13"), "26.05": ("forky", "3.14")}
#: set in the root, which is not left for another one
INSIDE = "CLUSTERFUTURES_TESTS_IN_ROOT"
_SET_UP = """
set -e
venv=$1 stamp=$2 python=$3
shift 3
if [ ! -e "$venv/$stamp" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --root-user-action=ignore -e '.[test]'
    touch "$venv/$stamp"
fi
"$venv/bin/python" -m compileall -q clusterfutures
exec "$venv/bin/python" -m pytest "$@"
"""


def installed() -> str:
    """The version of the machine's Slurm, as ``22.05``; empty where there is none."""
    program = shutil.which("slurmctld", path=SEARCH_PATH)
    if program is None:
        return ""
    words = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stdout.split()
    return ".".join(words[-1].split(".")[:2]) if words else ""


def run(wanted: str, arguments: list[str], directory: Path) -> int | None:
    """Run pytest with these arguments where this Slurm is, and return its exit status; None: it is here."""
    here = installed()
    if here == wanted:
        return None
    if wanted not in RELEASES:
        raise pytest.UsageError(f"--slurm={wanted}: unknown; choose from {', '.join(RELEASES)}")
    release, python = RELEASES[wanted]
    if os.environ.get(INSIDE):
        raise pytest.UsageError(f"--slurm={wanted}: Debian {release} has Slurm {here or 'nowhere'} by now")
    made = subprocess.run(["sh", ROOTS / "make_root.sh", release], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode != 0:
        raise pytest.UsageError(f"--slurm={wanted}: no root with it, see above")
    project = (CHECKOUT / "pyproject.toml").read_bytes()
    venv = "/venvs/" + hashlib.sha256(f"{CHECKOUT} {python}".encode()).hexdigest()[:12]
    stamp = "of-" + hashlib.sha256(project).hexdigest()[:12]
    enter = ["sh", ROOTS / "enter_root.sh", made.stdout.strip(), "--bind", CHECKOUT]
    command = ["sh", "-c", _SET_UP, "sh", venv, stamp, f"python{python}", *arguments]
    sys.stdout.flush()
    return subprocess.run([*enter, *command], env=os.environ | {INSIDE: "1"}, cwd=directory, check=False).returncode
