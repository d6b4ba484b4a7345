"""What each contender costs besides time: the client's processor and memory, files, bytes,
commands to the scheduler, the import, and what is installed with it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import limit
from cluster import SLOTS, Cluster, CommandLog
from contenders import Contender
from results import Results
from session import PeerError
from watch import Watch

__all__ = ["measure"]

CALLS, HOLD = 100, 5.0
STARTS = 5
FIGURES = {"cpu": "cost: client's CPU", "memory": "cost: client's memory", "written": "cost: bytes written"}


def measure(
    results: Results, cluster: Cluster, scratch: Path, who: Sequence[Contender], save: Callable[[], None]
) -> None:
    """For ``CALLS`` trivial calls and then one of ``HOLD`` seconds; the imports in turns."""
    results.facts["cost: hold"] = f"{HOLD:g}"
    for _ in range(STARTS):
        results.add("cost: import", "limit", limit.python_start("pass")["seconds"])
        for contender in who:
            taken = limit.python_start(contender.row.imports, contender.python)["seconds"]
            results.add("cost: import", contender.name, taken)
    for contender in who:
        cluster.clear()
        _one(results, scratch, contender)
        save()


def _one(results: Results, scratch: Path, contender: Contender) -> None:
    commands = CommandLog(Path(tempfile.mkdtemp(dir=scratch)) / "commands")
    try:
        with contender.session(scratch, SLOTS, commands.environment) as session:
            with Watch(session.directory) as watch:
                found = session.ask("cost", 90, count=CALLS, hold=HOLD)
            for name, figure in FIGURES.items():
                results.add(figure, contender.name, found[name])
            results.add("cost: files", contender.name, watch.files)
            results.add("cost: commands", contender.name, commands.counts().total())
    except PeerError as error:
        for figure in (*FIGURES.values(), "cost: files", "cost: commands"):
            results.miss(figure, contender.name, str(error))
    finally:
        shutil.rmtree(commands.directory.parent, ignore_errors=True)
