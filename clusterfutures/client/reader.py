"""What workers report: segments are looked for, read once, fed to the ledger and set aside.

    results/<segment> --listed--> read --records--> Ledger
                                   |---last words--> Roster
                                   +--gathered--> read/gathered...   a large one: --renamed--> read/<segment>

How often it looks: every ``LOOK_SECONDS`` (or ten times what a look costs) while things
happen or are expected to happen, ever more rarely when nothing does, up to a second; not at
all while no worker is out.  One look serves all futures.
"""

from __future__ import annotations

import heapq
import logging
import pickle
import time
from collections.abc import Callable
from typing import Any

from clusterfutures.client.ledger import Ledger
from clusterfutures.client.roster import Roster
from clusterfutures.client.state import Worker, WorkerState
from clusterfutures.client.vanished import Vanished
from clusterfutures.errors import StoreError
from clusterfutures.store import names, records
from clusterfutures.store.gathered import LARGEST_ENTRY, Gathered
from clusterfutures.store.records import Record
from clusterfutures.store.run import RunDirectory

__all__ = ["Reader"]

logger = logging.getLogger("clusterfutures")

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


class Reader:
    """The pump's eye on ``results/``.  broken: told the text of an initializer's failure."""

    def __init__(self, run: RunDirectory, ledger: Ledger, roster: Roster, broken: Callable[[str], None]) -> None:
        self._run = run
        self._ledger = ledger
        self._roster = roster
        self._broken = broken
        self._active = self._looked = 0.0
        self._since = 0.0  # what is new has happened after this
        self._pause = LOOK_SECONDS
        self._expected: list[float] = []  # when long calls that run should end: a heap
        self._vanished = Vanished(run, ledger, roster.visibility_timeout)
        self._unread: dict[str, float] = {}
        self._read_in_place: set[str] = set()
        self._gathered = Gathered(run)

    @property
    def due(self) -> float:
        """When to look next (monotonic time)."""
        return self._looked + self._pause if self._roster.workers else time.monotonic() + 60.0

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
        """Feed one segment to the ledger and set it aside; False when it has to wait."""
        if not self._roster.knows_batch(worker_name):
            return False  # the job was faster than the answer of its submission: a later look has it
        try:
            body = self._run.read_segment(name)
        except FileNotFoundError:
            return False  # listed and not there yet: the next look has it
        except StoreError as error:
            wait = self._roster.visibility_timeout if error.short else _LATE_SECONDS
            if self._unread.setdefault(name, now) + wait >= now:
                return False
            self._damaged(name, worker_name, error)  # it stays as it is: not late, but damaged
            return True
        worker = self._roster.worker(worker_name)
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
                self._ledger.started(worker, fields["host"], fields["job_id"])
                worker.node = fields.get("node", "")  # a worker of an older version does not tell
                worker.heard_limit(time.monotonic(), fields.get("left"))
                self._roster.heard_of(worker)
            case records.BEGUN:
                self._expect(self._ledger.begun(worker, record))
            case records.PACE:
                self._ledger.limits.pace.learn(*records.unpack_pace(record), record.calls)
            case records.RETURNED:
                self._gathered.expect_bins()
                self._ledger.returned(worker, record)
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
                self._ledger.outcome(worker, record)

    def _ended(self, worker: Worker, words: dict[str, Any]) -> None:
        """The worker's last word.  Calls it had begun and could not finish went with its job."""
        worker.last_words = True
        worker.ended_at = time.monotonic()
        if words["why"] == "INITIALIZER":
            self._broken(words["text"])
        if words["why"] in ("FAULT", "SIGNAL", "GONE") or self._ledger.unfinished(worker):
            self._roster.ask_how(worker)
            return
        self._ledger.ended(worker)
        self._roster.discharge(worker)

    def _damaged(self, name: str, worker_name: str, error: StoreError) -> None:
        """A segment cannot be read: the calls that its worker has not reported otherwise
        will never have a result.  The worker lives on."""
        logger.error("clusterfutures: %s", error)
        self._set_aside(name)
        worker = self._roster.worker(worker_name)
        if worker is not None:
            claimed = self._run.claimed_bins(worker.name)
            self._ledger.distrust(worker, claimed, lambda _call: error)
            self._vanished.blame(worker.pool, error)
