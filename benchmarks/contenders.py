"""Who takes part: the references and the peers that were asked for, each with its environment.

contender.session(scratch, slots) -> a driver process in the contender's own environment
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import environments
from environments import HERE, ROOT
from peers import ALSO, PEERS, REFERENCES, PeerRow
from results import Results
from session import Session

__all__ = ["Contender", "contenders", "names_of"]

#: an option of ``--peers`` that is several ways of using one package
FAMILIES = {"executorlib": ("executorlib", "executorlib-block")}


@dataclass(frozen=True)
class Contender:
    """name: as in the tables of ``peers``.  python: interpreter of its environment."""

    name: str
    row: PeerRow
    python: str

    def session(self, scratch: Path, slots: int, environment: Mapping[str, str] | None = None) -> Session:
        """A driver of its own, with a new directory below ``scratch``."""
        number = len(list(scratch.iterdir()))
        given = dict(environment or {})
        path = given.pop("PATH", os.environ["PATH"])
        paths = [str(HERE)] if self.row.packages else [str(HERE), str(ROOT)]
        needed = {
            "PYTHONPATH": os.pathsep.join(paths),
            "PATH": os.pathsep.join([str(Path(self.python).parent), path]),
        }
        return Session(self.name, self.python, scratch / f"{self.name}-{number}", slots, {**given, **needed})


def names_of(asked: str) -> list[str]:
    """The peers that ``--peers`` names, separated by commas; ValueError for one that is not there."""
    wanted = [name.strip() for name in asked.split(",") if name.strip()]
    for name in wanted:
        if name not in PEERS:
            raise ValueError(f"there is no peer called {name!r}; there are {', '.join(PEERS)}")
    return list(dict.fromkeys(member for name in wanted for member in FAMILIES.get(name, (name,))))


def contenders(asked: Sequence[str], results: Results) -> list[Contender]:
    """The references, and those of ``asked`` that can be installed; ``results`` gets the versions."""
    found = [Contender(name, row, sys.executable) for name, row in REFERENCES.items()]
    for name in asked:
        row = PEERS[name]
        packages = (*row.packages, *ALSO)
        try:
            python = environments.python_of(name.removesuffix("-block"), packages)
        except (subprocess.SubprocessError, OSError) as error:
            print(f"{name} is left out, it cannot be installed: {error}", file=sys.stderr)
            results.miss("version", name, "cannot be installed here")
            continue
        versions = environments.installed(python)
        plain = row.packages[0].partition("[")[0].partition("==")[0]
        results.facts[f"version of {name}"] = versions.get(plain, "?")
        results.add("packages", name, len(versions) - len({"pip", "setuptools", *ALSO} & set(versions)))
        found.append(Contender(name, row, python))
    return found
