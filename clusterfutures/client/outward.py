"""The ledger's way out: what it decides is carried out here, in the pump's thread.

    Ledger --publish, take_back--> queue/       --request, revoke--> clerk, roster
           --settle--> the future, or the ``map``, that waits for an outcome

Where a call is (here, or in which bin) changes under the inbox's lock, because ``cancel``
may come from any thread at any moment.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from clusterfutures.client import failures, tags
from clusterfutures.client.clerk import Clerk
from clusterfutures.client.inbox import Inbox
from clusterfutures.client.provision import Provision
from clusterfutures.client.roster import Roster
from clusterfutures.client.state import BinState, Piece, Work, Worker
from clusterfutures.client.work import Call, Chunk, QueueFile
from clusterfutures.errors import StoreError
from clusterfutures.store import names, records
from clusterfutures.store.bins import CALLS, Bin
from clusterfutures.store.records import CallInfo, Record
from clusterfutures.store.run import RunDirectory

__all__ = ["Outward"]

logger = logging.getLogger("clusterfutures")


class Outward:
    """The ledger's ``Out``.  ``roster`` is set by the pump; ``program``: which one of the run's this is.

    wait: seconds that a large result may be late.
    """

    roster: Roster

    def __init__(self, run: RunDirectory, inbox: Inbox, clerk: Clerk, provision: Provision, wait: float) -> None:
        self.pools: set[str] = set()
        self.program = 1
        self.lazy: weakref.WeakSet[Any] = weakref.WeakSet()  # what reads files when it is asked
        self._run = run
        self._inbox = inbox
        self._clerk = clerk
        self._provision = provision
        self._wait = wait

    def open_pool(self, pool: str) -> StoreError | None:
        """Make the queue of a pool, where there is none; what kept us from it."""
        if pool not in self.pools:
            try:
                self._provision.note(pool)
                self._run.open_pool(pool)
            except StoreError as error:
                return error
            self.pools.add(pool)
        return None

    def publish(self, state: BinState, piece: Piece) -> str:
        """Write a bin's file; see ``state.Out``."""
        file = piece.file
        assert file is not None
        file.name = names.bin_name(state.bin_id, piece.first, piece.stop)
        try:
            return self._run.publish_bin(state.pool, self._content(state, piece))
        finally:
            file.lock.release()

    def _content(self, state: BinState, piece: Piece) -> Bin:
        pieces = state.work[piece.first : piece.stop] if state.kind == CALLS else state.work
        return Bin(
            state.bin_id,
            piece.first,
            piece.stop,
            state.kind,
            piece.note,
            [work.head() for work in pieces],
            b"".join([work.data for work in pieces]),
            tags.pack(state.kind, state.pool, self.program, [work.row() for work in pieces]),
            piece.seconds,
        )

    def place_work(self, work: Sequence[Work], file: QueueFile) -> list[Work]:
        """Mark work as being in ``file``, which is locked until it is written."""
        with self._inbox.lock:
            wanted = [item for item in work if not item.withdrawn]
            if len(wanted) == len(work):
                file.lock.acquire()
                for item in work:
                    item.file = file
        return wanted

    def unplace(self, work: Work) -> bool:
        """Work is in no file any more; False when it was withdrawn with its file, or nobody wants it."""
        with self._inbox.lock:
            work.file = None
            wanted = not work.withdrawn
        if wanted and work.doomed:
            self.withdraw(work)
        return wanted and not work.doomed

    def take_back(self, file: QueueFile) -> bool:
        """Take a bin's file out of the queue."""
        with file.lock:
            return file.take_back(self._run)

    def withdraw(self, work: Work) -> bool:
        """Cancel work that no worker can have; False when that had been done before."""
        with self._inbox.lock:
            fresh = not work.withdrawn
            work.withdrawn = True
        if fresh:
            work.cancel()
        return fresh

    def pool_for(self, resources: Mapping[str, Any]) -> str | None:
        """Return the pool with these resources, after making its queue."""
        pool = self._provision.find(resources)
        return pool if self.open_pool(pool) is None else None

    def request(self, pool: str, count: int) -> None:
        """Have jobs submitted."""
        self._clerk.submit(pool, count)

    def revoke(self, workers: Sequence[Worker]) -> None:
        """End workers that have not started."""
        self.roster.revoke(workers)

    def set_hungry(self, pool: str, hungry: bool) -> None:
        """Ask busy workers to share; without space for the question, they do not."""
        try:
            self._run.set_hungry(pool, hungry)
        except FileNotFoundError:
            raise  # the run directory is gone
        except OSError as error:
            logger.warning("clusterfutures: cannot ask the workers to share: %s", error)

    def settle(self, work: Work, record: Record, worker: Worker) -> CallInfo | None:
        """Pass an outcome on to its future or its map."""
        try:
            info = work.settle(record, self._run, worker.place, worker.name, self._wait)
        except Exception as error:  # a defect of ours must not cost the other calls their results
            logger.exception("clusterfutures: a result could not be read")
            work.fail(record.first, record.calls, failures.unreadable(work.name, error))
            return None
        if isinstance(work, Chunk) and record.kind in (records.LARGE, records.LARGE_ERROR):
            self.lazy.add(work.sink)
        elif isinstance(work, Call) and work.future.is_lazy:
            self.lazy.add(work.future)
        return info
