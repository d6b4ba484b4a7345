"""Memory shared by a process and its supervisor, which survives the process.

A call may kill its process at any moment.  What the earlier calls of the same group
returned must not be lost with it, and the supervisor must know which call it was.  So
the process builds its records in anonymous shared memory: after the death, the
supervisor reads there what had not been sent, and whose turn it was.

    words    0 current   index of the call whose turn it is, or NOBODY
             1 loading   1 while a chunk's arguments are being unpickled
             2 bin       id of the bin that the records belong to
             3 end       bytes of complete records
             4 first     open row of values: index of its first call, or NOBODY
             5 stop      ... where its bytes end
             6 output    where the output of the running call starts in the log
             7 version   odd while records or the row are being changed
    lengths  of the open row's pickles, four bytes each
    bytes    records, then the open row's pickles (after room for its header)

A row of plain values is one VALUES record whose header and lengths are put in place when
the row is closed: a call that returns something small costs one copy and three stores.
An open row has the calls from ``first`` up to ``current``.  The stores are in program
order (bytes, length, stop, current), so a reader never sees a call counted whose bytes
are not there.  The supervisor reads after the writer's death, or while it lives: then it
compares the version before and after (a call that waits for another one's result must
not keep back what its process has finished).
"""

from __future__ import annotations

import functools
import mmap
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from clusterfutures.store import records

__all__ = ["ARENA_BYTES", "NOBODY", "Arena"]

ARENA_BYTES = 3 << 20
NOBODY = (1 << 64) - 1

CURRENT, LOADING, BIN, END, FIRST, STOP, OUTPUT, VERSION = range(8)
_WORDS = 64
# More calls than a process can run before it reports, however short they are.
_ROW_CALLS = 1 << 17
_DATA = _WORDS + 4 * _ROW_CALLS


P = ParamSpec("P")
R = TypeVar("R")


def _changing(change: Callable[P, R]) -> Callable[P, R]:
    """A change that a reader must not see half of."""

    @functools.wraps(change)
    def changed(*args: P.args, **kwargs: P.kwargs) -> R:
        words = args[0].words  # type: ignore[attr-defined]
        words[VERSION] += 1
        try:
            return change(*args, **kwargs)
        finally:
            words[VERSION] += 1

    return changed


class Arena:
    """The shared memory of one slot; made before the fork, used on both sides."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, ARENA_BYTES)
        self.bytes = memoryview(self._memory)
        self.words = self.bytes[:_WORDS].cast("Q")
        self.lengths = self.bytes[_WORDS:_DATA].cast("I")
        self.write = self._memory.write
        self.reset()

    @_changing
    def reset(self) -> None:
        """Forget everything: a new process, or records that have been sent."""
        words = self.words
        words[END] = words[STOP] = _DATA
        words[LOADING] = 0
        words[FIRST] = words[CURRENT] = NOBODY

    # -- the process's side -----------------------------------------------------

    def room(self) -> int:
        """Bytes that another record may take."""
        return ARENA_BYTES - max(self.words[END], self.words[STOP]) - 2 * records.HEADER.size

    @_changing
    def open_row(self, first: int) -> int:
        """Start a row of values at call ``first``, whose turn it is; where its bytes start.

        The pickles are then written with ``write``, one after the other, and the length
        of each is noted in ``lengths``.
        """
        words = self.words
        words[CURRENT] = words[FIRST] = first
        at = words[STOP] = words[END] + records.HEADER.size
        self._memory.seek(at)
        return at

    @_changing
    def close_row(self) -> None:
        """Write the header of the open row, if it has any calls."""
        words = self.words
        first, end = words[FIRST], words[END]
        count = words[CURRENT] - first if first != NOBODY else 0
        if count:
            self._write_lengths(count)
            length = words[STOP] - end - records.HEADER.size
            records.HEADER.pack_into(
                self.bytes, end, records.VALUES, 0, words[BIN], first, count, length
            )  # fmt: skip
            words[END] = words[STOP]
        words[STOP] = words[END]
        words[FIRST] = NOBODY

    def _write_lengths(self, count: int) -> None:
        stop = self.words[STOP]
        end = stop + 4 * count
        self.bytes[stop:end] = self.bytes[_WORDS : _WORDS + 4 * count]
        self.words[STOP] = end

    @_changing
    def add(self, record: bytes) -> None:
        """Add a complete record; no row may be open."""
        end = self.words[END]
        stop = end + len(record)
        self.bytes[end:stop] = record
        self.words[END] = self.words[STOP] = stop

    def pending(self) -> memoryview:
        """The complete records, as a view: sent by the caller, then ``reset``."""
        return self.bytes[_DATA : self.words[END]]

    # -- the supervisor's side --------------------------------------------------

    def remains(self) -> bytes:
        """The records that a dead process had not sent."""
        self.close_row()
        return bytes(self.pending())

    def glance(self) -> bytes:
        """The records that a living process has not sent; nothing while it changes them."""
        words = self.words
        version = words[VERSION]
        found = bytes(self.pending()) + self._open_row()
        return found if version % 2 == 0 and words[VERSION] == version else b""

    def _open_row(self) -> bytes:
        words = self.words
        first, count = words[FIRST], words[CURRENT] - words[FIRST]
        if first == NOBODY or not 0 < count <= _ROW_CALLS:
            return b""
        lengths = self.lengths[:count]
        start = words[END] + records.HEADER.size
        body = bytes(self.bytes[start : start + sum(lengths)]) + bytes(lengths)
        return records.pack(records.VALUES, words[BIN], first, count, body)
