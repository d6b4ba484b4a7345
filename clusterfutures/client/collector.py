"""What workers report: segments are looked for, read once, fed to the dispatcher and set aside.

    results/<segment> --listed--> read --records--> Dispatcher
                                   |---last words--> WorkerRegistry
                                   +--gathered--> read/gathered...   a large one: --renamed--> read/<segment>

How often it looks: every ``LOOK_SECONDS`` (or ten times what a look costs) while things
happen or are expected to happen, ever more rarely when nothing does, up to a second; not at
all while no worker is out.  One look serves all futures.

A bin's file may be lost, so that no worker will report it:

    queue/<worker group>/ --claimed--> claimed/<worker>/ --results are out--> removed
          |                                 |                                    |
          +---- in none of them, and no result: what can be wrong?  <-----------+

The segment that told it was damaged, or somebody removed the file: by hand, or a clean-up of old
files.  Workers would look for it in vain, and new ones be asked for, for ever.  So when a bin that
counts as waiting is not taken though a worker is idle, the directories are listed once in a while.
What is in none of them for as long as anything may be late is lost.
"""

from __future__ import annotations

import functools
import heapq
import logging
import math
import pickle
import time
from collections.abc import Callable
from typing import Any

from clusterfutures.client.dispatcher import Dispatcher
from clusterfutures.client.state import Worker, WorkerGroup, WorkerState
from clusterfutures.client.workers import WorkerRegistry
from clusterfutures.errors import StoreError
from clusterfutures.store import names, records
from clusterfutures.store.gathered import LARGEST_ENTRY, Gathered
from clusterfutures.store.records import Record
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["LostBinDetector", "ResultCollector"]

logger = logging.getLogger("clusterfutures")

#: between two looks, in seconds
LOOK_SECONDS = 1.0
#: how long a bin is missing before the workers' directories are looked at: most are being claimed
SUSPICIOUS_SECONDS = 5.0
#: how long a bin has to be missing when a segment of its worker group was damaged: that tells why
BLAMED_SECONDS = 2.0


class LostBinDetector:
    """The reader's care for them.  wait: seconds that a file may be late."""

    def __init__(self, run: RunDirectory, dispatcher: Dispatcher, wait: float) -> None:
        self._run = run
        self._dispatcher = dispatcher
        self._wait = wait
        self._due = -math.inf
        self._missing: dict[str, float] = {}  # the file's name -> since when
        self._blamed: dict[str, StoreError] = {}

    def blame(self, worker_group: str, error: StoreError) -> None:
        """A segment of one of the worker group's workers cannot be read: what it told is lost."""
        self._blamed[worker_group] = error

    def look(self, now: float) -> None:
        """Fail the calls that are lost.  Everything that there was in results/ has been read."""
        if now < self._due:
            return
        self._due = now + LOOK_SECONDS
        missing: dict[str, float] = {}
        for worker_group in self._dispatcher.worker_groups.values():
            if not worker_group.waiting:
                self._blamed.pop(worker_group.name, None)
            elif worker_group.name in self._blamed or any(self._is_idle(worker) for worker in worker_group.live()):
                missing |= self._missing_of(worker_group, now)
        self._missing = missing

    def _is_idle(self, worker: Worker) -> bool:
        return worker.state is WorkerState.RUNNING and not worker.busy and not worker.retiring

    def _missing_of(self, worker_group: WorkerGroup, now: float) -> dict[str, float]:
        """What waits and is not in the queue, and since when.  The directories of the workers, of which there
        may be thousands, are looked at when that is no news any more."""
        blamed = self._blamed.get(worker_group.name)
        wait = self._wait if blamed is None else BLAMED_SECONDS
        gone = set(worker_group.waiting).difference(self._run.queued(worker_group.name))
        missing = {name: self._missing.get(name, now) for name in gone}
        old = {name for name, since in missing.items() if now - since > min(wait, SUSPICIOUS_SECONDS)}
        for name in self._claimed() & old if old else ():
            missing[name] = now  # a worker has it, and will say so
        for name in [name for name in worker_group.waiting if name in old and now - missing[name] > wait]:
            text = (
                f"the file {name} has vanished from the queue in {self._run.path}, and nobody has reported its calls: "
            )
            text += "was it removed by hand, or by a clean-up of old files? Submit the call again"
            error = blamed or StoreError(message=text, path=self._run.path)
            self._dispatcher.lose_file(worker_group, name, functools.partial(_as_it_is, error))
        return missing

    def _claimed(self) -> set[str]:
        claimed = [claimed for worker in self._run.launched() for claimed in self._run.claimed_bins(worker)]
        claimed += [taken for _worker, taken in self._run.taken_bins()]
        return {names.bin_name(*one[:3]) for one in claimed}


def _as_it_is(error: StoreError, _call: str) -> StoreError:
    return error


LOOK_SECONDS = 0.0003
LONGEST_LOOK_SECONDS = 1.0
#: a pause is this share of the time to the nearest event, so that a result of a call of
#: seconds is hardly late; a larger one when there has been nothing for longer
_SHARE = 1 / 100
_SHARE_OF_SQUARE = 1 / 150
#: calls that end sooner are not waited for: results of others come all the time
_LONG_CALL_SECONDS = 0.05
#: how long a segment may be unreadable before it counts as damaged; one that is not whole yet is late for longer
_LATE_SECONDS = 1.0

#: what is heard of a worker that was given up
_OF_CALLS = frozenset({records.BEGUN, records.RETURNED, *records.OUTCOMES})


class ResultCollector:
    """The manager's eye on ``results/``.  broken: told the text of an initializer's failure."""

    def __init__(
        self, run: RunDirectory, dispatcher: Dispatcher, registry: WorkerRegistry, broken: Callable[[str], None]
    ) -> None:
        self._run = run
        self._dispatcher = dispatcher
        self._registry = registry
        self._broken = broken
        self._active = self._looked = 0.0
        self._since = 0.0  # what is new has happened after this
        self._pause = LOOK_SECONDS
        self._expected: list[float] = []  # when long calls that run should end: a heap
        self._vanished = LostBinDetector(run, dispatcher, registry.visibility_timeout)
        self._unread: dict[str, float] = {}
        self._read_in_place: set[str] = set()
        self._gathered = Gathered(run)

    @property
    def due(self) -> float:
        """When to look next (monotonic time)."""
        return self._looked + self._pause if self._registry.workers else time.monotonic() + 60.0

    def hurry(self, pause: float = LOOK_SECONDS) -> None:
        """Something is about to come: look after ``pause`` seconds at the latest."""
        self._pause = min(self._pause, pause)

    def stir(self, now: float) -> None:
        """Something has happened: what is long ago is measured from now."""
        self._active = now

    def look(self, now: float) -> None:
        """Read what is new."""
        self._since = max(self._looked, now - LONGEST_LOOK_SECONDS)
        in_place, held = self._read_in_place, self._gathered.held
        found = [name for name in self._run.new_segments() if name not in held and name not in in_place]
        late: set[str] = set()  # workers of whom a segment has to wait: what they told after that waits as well
        for name in found:
            parsed = names.parse_segment(name)
            if parsed is not None and parsed.worker not in late and not self._read(name, parsed.worker, now):
                late.add(parsed.worker)
        if not late:
            self._vanished.look(now)
        if self._gathered.is_due(now):
            self._gather()
        self._looked = time.monotonic()
        cost = (self._looked - now) if not found else LOOK_SECONDS / 10
        if found:
            self._active = self._looked
        self._pause = min(LONGEST_LOOK_SECONDS, max(LOOK_SECONDS, 10 * cost, self._rest(self._looked)))

    def _rest(self, now: float) -> float:
        """How long nobody misses a look: a share of the time since the last event, or to or
        since an expected one, whichever is nearest."""
        while self._expected and self._expected[0] <= now:
            self._active = max(self._active, heapq.heappop(self._expected))
        nearest = now - self._active
        if self._expected:
            nearest = min(nearest, self._expected[0] - now)
        return max(_SHARE * nearest, _SHARE_OF_SQUARE * nearest * nearest)

    def _expect(self, seconds: float) -> None:
        """A call has begun, since the last look, that should take so long."""
        if seconds >= _LONG_CALL_SECONDS:
            heapq.heappush(self._expected, self._since + seconds)

    def _read(self, name: str, worker_name: str, now: float) -> bool:
        """Feed one segment to the dispatcher and set it aside; False when it has to wait."""
        if not self._registry.knows_batch(worker_name):
            return False  # the job was faster than the answer of its submission: a later look has it
        try:
            body = self._run.read_segment(name)
        except FileNotFoundError:
            return False  # listed and not there yet: the next look has it
        except StoreError as error:
            wait = self._registry.visibility_timeout if error.short else _LATE_SECONDS
            if self._unread.setdefault(name, now) + wait >= now:
                return False
            self._damaged(name, worker_name, error)  # it stays as it is: not late, but damaged
            return True
        worker = self._registry.worker(worker_name)
        if worker is not None:
            worker.alive_at = time.monotonic()
            for record in records.records(body):
                if worker.state is not WorkerState.ENDED or record.kind in _OF_CALLS:
                    self._feed(worker, record)
        if body.nbytes > LARGEST_ENTRY:
            self._set_aside(name)
        else:
            self._gathered.add(name, bytes(body), now)
        return True

    def _gather(self) -> None:
        """Small segments that were read become one file; where it cannot be written, they are remembered instead."""
        held = set(self._gathered.held)
        try:
            self._gathered.write()
        except FileNotFoundError:
            raise  # the run directory is gone
        except OSError as error:
            logger.warning("clusterfutures: %s cannot be moved out of results/: %s", ", ".join(sorted(held)), error)
            self._read_in_place |= held
            self._gathered.held.clear()

    def _set_aside(self, name: str) -> None:
        """A segment is read once; where it cannot be moved away, it is remembered instead."""
        try:
            self._run.set_aside(name)
        except FileNotFoundError:
            raise  # the run directory is gone
        except OSError as error:
            logger.warning("clusterfutures: %s cannot be moved out of results/: %s", name, error)
            self._read_in_place.add(name)

    def _feed(self, worker: Worker, record: Record) -> None:
        match record.kind:
            case records.STARTED:
                fields = pickle.loads(record.body)
                self._dispatcher.started(worker, fields["host"], fields["job_id"])
                worker.node = fields.get("node", "")  # a worker of an older version does not tell
                worker.heard_limit(time.monotonic(), fields.get("left"))
                self._registry.heard_of(worker)
            case records.BEGUN:
                self._expect(self._dispatcher.begun(worker, record))
            case records.PACE:
                self._dispatcher.limits.pace.learn(*records.unpack_pace(record), record.calls)
            case records.RETURNED:
                self._gathered.expect_bins()
                self._dispatcher.returned(worker, record)
            case records.MEMORY:
                fields = pickle.loads(record.body)
                worker.memory = fields["used"], fields["limit"]
            case records.RETIRING:
                worker.retiring = True
            case records.BIN:
                return  # for another program that may come back to the run
            case records.ENDED:
                self._ended(worker, pickle.loads(record.body))
            case _:
                if record.kind in records.FAILURES:
                    self._gathered.expect_bins()
                self._dispatcher.outcome(worker, record)

    def _ended(self, worker: Worker, words: dict[str, Any]) -> None:
        """The worker's last word.  Calls it had begun and could not finish went with its job."""
        worker.last_words = True
        worker.ended_at = time.monotonic()
        if words["why"] == "INITIALIZER":
            self._broken(words["text"])
        if words["why"] in ("FAULT", "SIGNAL", "GONE") or self._dispatcher.unfinished(worker):
            self._registry.ask_how(worker)
            return
        self._dispatcher.ended(worker)
        self._registry.discharge(worker)

    def _damaged(self, name: str, worker_name: str, error: StoreError) -> None:
        """A segment cannot be read: the calls that its worker has not reported otherwise
        will never have a result.  The worker lives on."""
        logger.error("clusterfutures: %s", error)
        self._set_aside(name)
        worker = self._registry.worker(worker_name)
        if worker is not None:
            claimed = self._run.claimed_bins(worker.name)
            self._dispatcher.distrust(worker, claimed, lambda _call: error)
            self._vanished.blame(worker.worker_group, error)
