"""Calls that are to be ended: ``kill()`` of their futures, carried out by the pump.

    kill() --Kill(call)--> in the queue: taken out of it again
                           claimed: wait until its worker is known --> a sign for that worker
                                                       ... KILLED, or the result that was faster

A call is *doomed* from then on: it never goes back to the queue and is not run again,
whatever becomes of its worker.  If nothing else is heard of it, what its worker's end brings
is the end of the call, too (``Call.fail``).
"""

from __future__ import annotations

import logging
import time
from typing import Protocol

from clusterfutures.client.ledger import Ledger
from clusterfutures.client.state import Work
from clusterfutures.client.work import Call, QueueFile
from clusterfutures.store import names
from clusterfutures.store.run import RunDirectory

__all__ = ["Kills"]

logger = logging.getLogger("clusterfutures")

#: how long to wait before a sign that could not be written is tried again
RETRY_SECONDS = 1.0


class Hand(Protocol):
    """What the pump can do about a call that is not running."""

    def take_back(self, file: QueueFile) -> bool:
        """Take a bin's file out of the queue; False when a worker was first."""

    def withdraw(self, work: Work) -> bool:
        """Cancel work that no worker can have; False when that had been done before."""


class Kills:
    """Calls to kill that their workers do not know of yet.  Owned by the pump thread."""

    def __init__(self, run: RunDirectory, ledger: Ledger, hand: Hand) -> None:
        self._run = run
        self._ledger = ledger
        self._hand = hand
        self._untold: list[Call] = []
        self._retry_at = 0.0

    def ask(self, call: Call) -> None:
        """A call is to be ended."""
        if call.doomed or call.future.done():
            return
        call.doomed = True
        file = call.file
        if file is not None and not self._hand.take_back(file):
            self._untold.append(call)
        elif self._hand.withdraw(call) and file is None:
            self._ledger.withdrawn(call)
        elif file is not None:
            self._ledger.taken_back(file)

    def advance(self) -> None:
        """Tell the workers that are known by now."""
        if self._untold and time.monotonic() >= self._retry_at:
            self._untold = [call for call in self._untold if not self._tell(call)]

    def _tell(self, call: Call) -> bool:
        """Ask the worker of a call to end it; False: it is too early for that."""
        if call.file is None or call.future.done():
            return True  # it has left its bin and does not come back: no worker has it
        parsed = names.parse_bin(call.file.name)
        state = self._ledger.bin(parsed.bin_id) if parsed is not None else None
        if state is None:
            return True
        index = state.work.index(call)
        piece = state.piece_at(index)
        if state.settled[index] or piece is None:
            return True
        if piece.worker is None:
            return False
        try:
            self._run.ask_to_kill(piece.worker.name, state.bin_id, index)
        except FileNotFoundError:
            raise  # the run directory is gone
        except NotADirectoryError:
            return True  # its worker has been given up, and the call ends with that
        except OSError as error:
            logger.warning("clusterfutures: %s cannot be killed for now: %s", call.name, error)
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return False
        return True
