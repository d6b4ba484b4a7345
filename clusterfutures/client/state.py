"""What the dispatcher keeps: workers, bins and their slices, worker groups; and its way out.

A bin is a row of calls, cut into *slices* as it moves about.  A slice is in exactly one
place; its calls are handed to processes in order, so one number says which have begun:

    WAITING (a file in the queue) --BEGUN--> with a worker --all settled--> gone
        ^                                        |
        +------ given back / job lost -----------+   calls that have not begun;
                                                     begun ones fail with their job

A worker: PENDING --STARTED--> RUNNING --ENDED--> over; lost at any moment.

How long calls take, when that has been measured:

    results --learn--> DurationEstimate --seconds--> the sizes of the next bins

The manager learns; threads that submit read.  A dictionary's single steps need no lock.
"""

from __future__ import annotations

import enum
import math
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from clusterfutures import binning
from clusterfutures.client.results import Place
from clusterfutures.client.tasks import Call, Chunk, QueueFile
from clusterfutures.store.bins import CALLS
from clusterfutures.store.records import CallInfo, Record

__all__ = [
    "MOST_WAITING",
    "BinSlice",
    "BinState",
    "DurationEstimate",
    "Limits",
    "Out",
    "Work",
    "Worker",
    "WorkerGroup",
    "WorkerState",
    "gaps",
]

#: how many of the last calls count: what came before them is forgotten, a little with each
_REMEMBERED = 32
#: what is slower than that holds up others; less is within what a busy node does to any call
_LONG_SECONDS = 0.1
_UNKNOWN = (0.0, 0.0, 0)


class DurationEstimate:
    """Seconds per call, their variance, and the number of calls that says so, by the function's key."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, float, int]] = {}

    def seconds(self, function: str) -> float | None:
        """What a call of it takes, roughly; None while that is unknown."""
        known = self._known.get(function)
        return None if known is None else known[0]

    def slow(self, function: str) -> float | None:
        """What one of its slower calls takes, where that is long; otherwise as ``seconds``."""
        mean, variance, _ = self._known.get(function, _UNKNOWN)
        slow = mean + 2 * math.sqrt(variance)
        return slow if slow > _LONG_SECONDS else self.seconds(function)

    def measured(self, function: str) -> int:
        """How many of its calls have been measured."""
        return self._known.get(function, _UNKNOWN)[2]

    def learn(self, function: str, seconds: float, calls: int = 1) -> None:
        """So many calls of it took so long each."""
        known, variance, measured = self._known.get(function, _UNKNOWN)
        measured += calls
        news = calls / min(measured, max(calls, _REMEMBERED))
        off = seconds - known
        self._known[function] = (known + news * off, (1 - news) * (variance + news * off * off), measured)


Work = Call | Chunk

#: the most bins of long calls that lie in the queue at a time
MOST_WAITING = 1000


class WorkerState(enum.Enum):
    """Where a worker's life is."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"


class Worker:
    """One job of ours, from its submission to its end."""

    __slots__ = (
        "adopted",
        "alive_at",
        "busy",
        "ended_at",
        "heard_at",
        "host",
        "job_id",
        "last_words",
        "launched_at",
        "limit_at",
        "memory",
        "name",
        "node",
        "retiring",
        "revoked",
        "since",
        "state",
        "told_at",
        "worker_group",
    )  # fmt: skip

    def __init__(self, name: str, worker_group: str, job_id: str, now: float) -> None:
        self.name = name
        self.worker_group = worker_group
        self.job_id = job_id
        self.host = ""
        self.node = ""  # the host, as the scheduler calls it
        self.state = WorkerState.PENDING
        self.adopted = False  # another program submitted it
        self.last_words = False  # nothing more will come from it
        self.ended_at: float | None = None  # when that was heard
        self.limit_at = math.inf  # when the time limit of its job is over, by our clock
        self.memory: tuple[int, int] | None = None  # what it used and what it may use, in bytes, when that was near
        self.launched_at: float | None = None
        self.revoked = False
        self.retiring = False  # it takes no more, and ends when it has finished
        self.busy = 0  # slices that it works on
        self.since = now
        self.heard_at = now  # of the last time it told us that it has started
        self.alive_at = now  # of its last sign of life
        self.told_at = now  # of the last answer of the scheduler about its job

    def heard_limit(self, now: float, left: float | None) -> None:
        """It has started, and its job has so many seconds left, as it said a moment ago; None without a limit."""
        self.limit_at = math.inf if left is None else now + left

    def free(self, processes: int) -> int:
        """How many slices more it can work on, with so many processes."""
        return 0 if self.retiring else max(0, processes - self.busy)

    @property
    def place(self) -> Place:
        """What the errors of its calls say."""
        return Place(self.host, self.job_id)


class BinSlice:
    """Calls ``first`` up to ``stop`` of a bin, in one place; before ``begun`` they have begun."""

    __slots__ = ("begun", "file", "first", "left", "note", "seconds", "stop", "worker")

    def __init__(self, first: int, stop: int, note: int, seconds: float | None = None) -> None:
        self.first = first
        self.stop = stop
        self.begun = first
        self.left = stop - first
        self.note = note  # how many of them count as begun once the file is claimed
        self.seconds = seconds  # what one of them takes, where that is known
        self.file: QueueFile | None = None
        self.worker: Worker | None = None


class BinState:
    """A bin that has calls without an outcome."""

    __slots__ = ("bin_id", "kind", "settled", "slices", "work", "worker_group")

    def __init__(self, bin_id: int, worker_group: str, work: list[Work]) -> None:
        self.bin_id = bin_id
        self.worker_group = worker_group
        self.work = work
        self.kind = work[0].kind
        self.settled = bytearray(len(work)) if isinstance(work[0], Call) else bytearray(work[0].skip or work[0].count)
        self.slices: list[BinSlice] = []

    def item(self, index: int) -> Work:
        """The work that call ``index`` belongs to."""
        return self.work[index] if self.kind == CALLS else self.work[0]

    def slice_at(self, index: int) -> BinSlice | None:
        """The slice that call ``index`` is in."""
        for bin_slice in self.slices:
            if bin_slice.first <= index < bin_slice.stop:
                return bin_slice
        return None


class WorkerGroup:
    """The workers with one set of resources, and what waits for them."""

    def __init__(self, name: str, gather: float) -> None:
        self.name = name
        self.pending: deque[Work] = deque()
        self.withdrawn = 0
        self.waiting: dict[str, tuple[BinState, BinSlice]] = {}
        self.workers: dict[str, Worker] = {}
        self.requested = 0
        self.request_at: float | None = None
        self.gather = gather
        self.last_submit = 0.0
        self.hungry = False
        self.hungry_since: float | None = None
        self.ever_started = False
        self.failed_starts = 0
        self.losses = 0

    def live(self) -> list[Worker]:
        """Workers that are pending or running."""
        return [w for w in self.workers.values() if w.state is not WorkerState.ENDED]

    def append(self, work: Work) -> None:
        """Make this the last of what is pending."""
        work.queued = True
        self.pending.append(work)

    def put_back(self, works: Sequence[Work]) -> None:
        """Make these the first of what is pending."""
        for work in reversed(works):
            work.queued = True
            self.pending.appendleft(work)

    def next_pending(self) -> Work:
        """Take the first of what is pending."""
        work = self.pending.popleft()
        work.queued = False
        if work.counted:
            work.counted = False
            self.withdrawn -= 1
        return work

    @property
    def backlog(self) -> int:
        """Pieces of work that no worker has taken, published or not."""
        return len(self.waiting) + len(self.pending) - self.withdrawn


class Limits:
    """The numbers that the decisions depend on."""

    def __init__(self, max_workers: int, processes: int, bins_per_job: int | None, gather: float) -> None:
        self.max_workers = max_workers
        self.processes = processes
        self.bins_per_job = bins_per_job
        self.gather = gather
        self.pace = DurationEstimate()
        self.leaving = False  # the program goes: all that waits is published, however much there is

    @property
    def slots(self) -> int:
        """Processes that work at the same time, at most."""
        return self.max_workers * self.processes

    def room(self, estimate: float | None, quiet: bool) -> int:
        """How many bins may lie in the queue.

        Calls of unknown length are held back while more of them are coming in: in a
        moment the first results may show that they are short, and belong together.
        """
        if self.leaving:
            return sys.maxsize
        if estimate is None and not quiet:
            return 2 * self.slots
        if estimate is not None and estimate < binning.BIN_SECONDS:
            return 4 * self.slots
        return MOST_WAITING


class Out(Protocol):
    """How decisions leave the dispatcher."""

    def publish(self, state: BinState, bin_slice: BinSlice) -> str:
        """Write the bin's file; returns its name."""

    def take_back(self, file: QueueFile) -> bool:
        """Take a bin's file out of the queue; False when a worker was first."""

    def request(self, worker_group: str, count: int) -> None:
        """Have ``count`` more workers submitted."""

    def worker_group_for(self, resources: Mapping[str, Any]) -> str | None:
        """Return the worker group with these resources; None when it cannot be made now."""

    def revoke(self, workers: Sequence[Worker]) -> None:
        """End workers that have not started."""

    def set_hungry(self, worker_group: str, hungry: bool) -> None:
        """Ask busy workers to share, or stop asking."""

    def place_work(self, work: Sequence[Work], file: QueueFile) -> list[Work]:
        """Mark work as being in ``file``; returns what has not been withdrawn."""

    def unplace(self, work: Work) -> bool:
        """Mark work as being in no file any more; False when it has been withdrawn."""

    def settle(self, work: Work, record: Record, worker: Worker) -> CallInfo | None:
        """Pass an outcome on."""


def gaps(settled: bytearray, first: int, stop: int) -> list[tuple[int, int]]:
    """The rows of calls in ``first`` up to ``stop`` that have no outcome."""
    gaps = []
    start = settled.find(0, first, stop)
    while start >= 0:
        end = settled.find(1, start, stop)
        end = stop if end < 0 else end
        gaps.append((start, end))
        start = settled.find(0, end, stop)
    return gaps
