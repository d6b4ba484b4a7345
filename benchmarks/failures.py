"""How soon a client knows that a call or its job has failed, and what the call then raises.

All contenders at the same time, each with two slots of a Slurm that has enough for all: most
of it is waiting.  A contender that is of no more use after a failure begins anew.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path

from cluster import CPUS, Cluster
from contenders import Contender
from results import Results
from session import PeerError, Session

__all__ = ["KINDS", "USABLE", "measure"]

#: kind of the driver's workload: figure
KINDS = {
    "raises": "failure: the call raises",
    "unpicklable": "failure: its result cannot be pickled",
    "exit": "failure: os._exit in the call",
    "segfault": "failure: segmentation fault",
    "scancel": "failure: scancel of its job",
    "supervisor": "failure: kill -9 of the job's first process",
}
USABLE = "failure: usable afterwards"
#: only of ours it is clear which process that is
OURS_ALONE = "supervisor"
SLOTS = CPUS
PATIENCE = 40.0


def measure(results: Results, scratch: Path, who: Sequence[Contender]) -> None:
    """All kinds, of all who can be asked."""
    on_cluster = sum(contender.row.on_cluster for contender in who)
    with Cluster(max(1, on_cluster)) as slurm:
        contests = [_Contest(results, scratch, contender) for contender in who]
        threads = [threading.Thread(target=contest.run, name=contest.contender.name) for contest in contests]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        slurm.clear()


class _Contest:
    """One contender's series of failures."""

    def __init__(self, results: Results, scratch: Path, contender: Contender) -> None:
        self.contender = contender
        self._results = results
        self._scratch = scratch / f"failures-{contender.name}"
        self._scratch.mkdir()
        self._lasting = True  # until a failure has shown otherwise

    def run(self) -> None:
        left = [kind for kind in KINDS if kind != OURS_ALONE or self.contender.name.startswith("ours")]
        while left:
            try:
                with self.contender.session(self._scratch, SLOTS) as session:
                    session.ask("prepare", 120, hold=0.0 if self.contender.row.job_per_call else 1.0)
                    while left and self._one(session, left.pop(0)):
                        pass
                    with contextlib.suppress(PeerError):  # its end is not asked about here
                        session.ask("finish", 20)
            except PeerError as error:
                for kind in left:
                    self._results.miss(KINDS[kind], self.contender.name, str(error))
                left = []
        self._results.add(USABLE, self.contender.name, float(self._lasting))

    def _one(self, session: Session, kind: str) -> bool:
        """False when the session is of no more use."""
        name = self.contender.name
        try:
            answer = session.ask("failure", PATIENCE + 60, kind=kind, patience=PATIENCE)
            self._results.add(KINDS[kind], name, answer["seconds"])
            self._results.facts[f"{KINDS[kind]}: {name}"] = answer["raised"]
        except PeerError as error:
            self._results.miss(KINDS[kind], name, str(error).removeprefix("TimeoutError: "))
            if "Unsupported" in str(error):
                return True
        try:
            lasting = bool(session.ask("usable", 60, patience=40.0)["usable"])
        except PeerError:
            lasting = False
        self._lasting = self._lasting and lasting
        return lasting
