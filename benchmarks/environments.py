"""Virtual environments below ``benchmarks/.env``: one for us, one for each peer.

Made with the Python that runs this, once; a later run uses what is there.
"""

from __future__ import annotations

import compileall
import importlib.util
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ROOT", "enter_own", "installed", "python_of"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STORE = HERE / ".env"
INSTALL_SECONDS = 600

OWN = "clusterfutures"
#: what this program and the driver for ourselves import
NEEDED = ("cloudpickle", "filelock", "numpy")


def enter_own(always: bool) -> None:
    """Run this program in its own environment, which is made when it is not there.

    always: also where the interpreter has all that is needed.  Replaces the process.
    """
    os.environ["PYTHONPATH"] = str(ROOT)
    sys.path.insert(1, str(ROOT))
    # As pip does when it installs: or, where $PYTHONDONTWRITEBYTECODE is set, we alone would be compiled anew at
    # every import, and starts be measured that no user sees.
    compileall.compile_dir(ROOT / OWN, quiet=1)
    have = all(importlib.util.find_spec(name) for name in NEEDED)
    if os.environ.get("BENCHMARK_ENVIRONMENT") == OWN or (have and not always):
        return
    python = python_of(OWN, NEEDED)
    os.environ["BENCHMARK_ENVIRONMENT"] = OWN
    os.execv(python, [python, *sys.argv])


def python_of(name: str, packages: Sequence[str]) -> str:
    """The interpreter of environment ``name``, which has ``packages``.

    Raises CalledProcessError with pip's words when they cannot be installed.
    """
    directory = STORE / name
    python = directory / "bin" / "python"
    done = directory / "installed"
    if not done.exists() or done.read_text() != "\n".join(packages):
        print(f"making an environment for {name}", file=sys.stderr, flush=True)
        venv.create(directory, clear=True, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages],
            check=True, timeout=INSTALL_SECONDS, stdin=subprocess.DEVNULL, stdout=sys.stderr,
        )  # fmt: skip
        done.write_text("\n".join(packages))
    return str(python)


def installed(python: str) -> dict[str, str]:
    """Version by package of an environment."""
    freeze = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(line.split("==", 1) for line in freeze.stdout.split() if "==" in line)
