"""All contenders in turns: the same workloads, each as its documentation says that it is fastest.

    for each round:  for each contender:  cold workloads, each from nothing
                                          open, fill all slots, warm workloads, close

One at a time has the Slurm.  The order turns from round to round.  A workload that fails or
is not done within its limit is a miss, with the reason, and what follows it begins anew.
What a smaller one has shown to take far beyond the limit is not begun: the miss says what it
would take.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import figures
import limit
from cluster import SLOTS, Cluster
from contenders import Contender
from results import Results
from session import PeerError, Session

__all__ = ["COLD", "COLD_LONG", "LONG", "WARM", "Rivals", "Workload"]

Parameters = Mapping[str, Any]

OPEN_SECONDS = 90.0
#: who took longer in one round does not take part in the next
PATIENCE = 15.0
#: a miss of one that runs each call as a job, where that makes no sense
A_JOB_A_CALL = "a job for each call"


class Like(NamedTuple):
    """A workload of the same kind, ``times`` smaller.  Where that is expected to take more
    than ``slack`` times the limit, the larger one is not begun."""

    figure: str
    times: float
    slack: float


class Workload(NamedTuple):
    """figure: its name in the results.  asks: the workload of the driver, with its parameters.

    limit: seconds.  repeat: how often in a round.  per_call: other parameters for those who
    run each call as a job; None: nothing for them.  ideal: seconds of a perfect schedule;
    the sample is then the efficiency.  keep: what else of the answer is kept.  small: not for
    those on the cluster who keep their workers, and for whom the next larger one tells more.
    """

    figure: str
    asks: str
    parameters: Parameters
    limit: float = 20.0
    repeat: int = 1
    per_call: Parameters | None = None
    ideal: float | None = None
    like: Like | None = None
    keep: Sequence[str] = ()
    small: bool = False


def _naps(figure: str, durations: Sequence[float], per_call: Parameters | None = None) -> Workload:
    ideal = figures.best_schedule(durations, SLOTS)
    singly = sum(durations) / len(durations) >= 0.01  # as their pages advise for calls that are not short
    parameters = {"durations": list(durations), "singly": singly}
    return Workload(figure, "warm_naps", parameters, 30.0, per_call=per_call, ideal=ideal)


COLD = (
    Workload("cold: one call", "cold_call", {}, 40.0, per_call={}),
    Workload("cold: map of 100", "cold_map", {"count": 100}, 40.0, per_call={}, small=True),
    Workload("cold: map of 1,000", "cold_map", {"count": 1000}, 40.0, per_call={},
             like=Like("cold: map of 100", 10, 2.0)),
)  # fmt: skip
WARM = (
    Workload("warm: one call", "warm_call", {"repeat": 30}, per_call={"repeat": 2}),
    Workload("warm: map of 1,000", "warm_map", {"count": 1000}, repeat=3),
    Workload(
        "warm: 100 submits",
        "warm_submits",
        {"count": 100},
        40.0,
        per_call={},
        keep=("blocked",),
        like=Like("cold: map of 100", 1, 0.75),
    ),
    _naps("efficiency: 1 ms", [0.001] * 4000),
    _naps("efficiency: 10 ms", [0.01] * 800),
    _naps("efficiency: 100 ms", [0.1] * 80),
)
#: in one round only, because they take long
LONG = (
    _naps("efficiency: 2 s", [2.0] * 16, per_call={}),
    _naps("efficiency: uneven", figures.uneven_durations(160, SLOTS)),
    Workload("large: 16 MB for 64 calls", "warm_shared", {"count": 64, "way": "best"}, 40.0, per_call={},
             keep=("written", "cpu"), like=Like("cold: map of 100", 0.64, 0.6)),
    Workload("large: 16 MB, 64 submits", "warm_shared", {"count": 64, "way": "submit"}, 40.0,
             keep=("written", "cpu")),
    Workload("large: 64 results of 16 MB", "warm_large_results", {"count": 64}, 40.0, per_call={},
             like=Like("cold: map of 100", 0.64, 0.6)),
    Workload("warm: 20,000 submits", "warm_submits", {"count": 20_000}, 25.0, keep=("blocked",),
             like=Like("warm: 100 submits", 200, 2.0)),
    Workload("warm: map of 1,000,000", "warm_map", {"count": 1_000_000}, 25.0,
             like=Like("warm: map of 1,000", 1000, 10.0)),
)  # fmt: skip
#: the same, each from nothing
COLD_LONG = (
    Workload("cold: map of 1,000,000", "cold_map", {"count": 1_000_000}, 40.0,
             like=Like("warm: map of 1,000", 1000, 7.0)),
)  # fmt: skip


class Rivals:
    """The contenders on one Slurm; ``save`` is called after every workload."""

    def __init__(
        self, results: Results, cluster: Cluster, scratch: Path, who: Sequence[Contender], save: Callable[[], None]
    ) -> None:
        self._results = results
        self._cluster = cluster
        self._scratch = scratch
        self._who = list(who)
        self._save = save

    def cold(self, workloads: Sequence[Workload], rounds: int, bare: bool = True) -> None:
        """Each workload from nothing; with the bare scheduler's own time in turn."""
        for contender in self._in_turns(rounds):
            if contender.name == "ours" and bare:
                self._bare()
            self._series(contender, workloads, warm=False)

    def warm(self, workloads: Sequence[Workload], rounds: int) -> None:
        """All workloads on an executor with all its slots up."""
        for contender in self._in_turns(rounds):
            self._series(contender, workloads, warm=True)

    def _in_turns(self, rounds: int) -> Iterator[Contender]:
        slow = set()
        for number in range(rounds):
            turn = number * len(self._who) // rounds
            for contender in self._who[turn:] + self._who[:turn]:
                if contender in slow:
                    continue
                begun = time.monotonic()
                yield contender
                taken = time.monotonic() - begun
                print(f"    {contender.name}: {taken:.0f} s", file=sys.stderr, flush=True)
                if taken > PATIENCE:
                    slow.add(contender)

    def _bare(self) -> None:
        for figure, count in (("cold: one call", 1), ("cold: map of 1,000", SLOTS)):
            self._cluster.quiet()
            self._results.add(figure, "limit", limit.bare_array(count)["seconds"])

    def _series(self, contender: Contender, workloads: Sequence[Workload], warm: bool) -> None:
        """Workload after workload in one session, and in a new one after each that broke it."""
        left = [workload for workload in workloads if self._makes_sense(contender, workload)]
        while left:
            self._cluster.clear()
            try:
                with contender.session(self._scratch, SLOTS) as session:
                    if warm:
                        self._prepare(contender, session)
                    while left:
                        if not warm:
                            self._cluster.quiet()
                        if not self._measure(contender, session, left.pop(0)):
                            break
                    if warm and not left:
                        with contextlib.suppress(PeerError):  # its end is no workload
                            session.ask("finish", 20)
            except PeerError as error:  # it does not even begin
                for workload in left:
                    self._results.miss(workload.figure, contender.name, str(error))
                left = []
        self._cluster.clear()
        self._save()

    def _prepare(self, contender: Contender, session: Session) -> None:
        hold = 0.0 if contender.row.job_per_call else 1.0 if contender.row.on_cluster else 0.2
        session.ask("prepare", OPEN_SECONDS, hold=hold)

    def _measure(self, contender: Contender, session: Session, workload: Workload) -> bool:
        """False when the session is of no more use."""
        parameters = dict(workload.parameters)
        if contender.row.job_per_call:
            parameters.update(workload.per_call or {})
        for _ in range(workload.repeat):
            try:
                answer = session.ask(workload.asks, workload.limit, **parameters)
            except PeerError as error:
                self._results.miss(workload.figure, contender.name, str(error))
                return "Unsupported" in str(error)
            seconds = answer["seconds"]
            value = seconds if workload.ideal is None else workload.ideal / seconds
            self._results.add(workload.figure, contender.name, value)
            for name in workload.keep:
                self._results.add(f"{workload.figure}, {name}", contender.name, answer[name])
        self._save()
        return True

    def _makes_sense(self, contender: Contender, workload: Workload) -> bool:
        """Else it is a miss that says why."""
        if workload.small and contender.row.on_cluster and not contender.row.job_per_call:
            return False
        if contender.row.job_per_call and workload.per_call is None:
            self._results.miss(workload.figure, contender.name, A_JOB_A_CALL)
            return False
        like = workload.like
        if like and self._results.has(like.figure, contender.name):
            expected = like.times * self._results.median(like.figure, contender.name)
            if expected > like.slack * workload.limit:
                self._results.miss(workload.figure, contender.name, f"about {figures.duration(expected)}")
                return False
        return True
