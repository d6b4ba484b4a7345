"""Memory shared by a process and its supervisor, which survives the process.

A call may kill its process at any moment.  What the earlier calls of the same group
returned must not be lost with it, and the supervisor must know which call it was.  So
the process builds its records in anonymous shared memory: after the death, the
supervisor reads from it what had not been sent, and which call was running.

    words    0 current   index of the running call, or NOBODY
             1 loading   1 while a chunk's arguments are being unpickled
             2 bin       id of the bin that the records belong to
             3 end       where the complete records end
             4 row       where the pickles of the open row start; open while that is just
                         behind ``end`` and room for a header
             5 first     index of the open row's first call
             6 output    where the output of the running call starts in the log
             7 version   counts changes that make what was read before invalid
             8 plain     1 while the open row holds plain values (``records.PLAIN``)
             9 cut off   1 when the process could not go on: its descriptors were closed
    lengths  of the open row's pickles, four bytes each
    bytes    records, then the open row's pickles

A row of plain values is one VALUES record; its header and lengths are put in place when
the row is closed: a call that returns something small costs one copy and two stores.  An
open row has the calls from ``first`` up to ``current``.

Every change is committed by one store, after the bytes it is about: ``current`` adds a
call to the row, ``end`` adds a record (and closes the row, which then no longer stands
behind it).  So whenever the process dies, what can be read is right.  The supervisor
also reads while the process lives (a call that waits for another one's result must not
keep back what its process has finished): then it compares ``version`` before and after.
"""

from __future__ import annotations

import mmap

from clusterfutures.store import records

__all__ = ["ARENA_BYTES", "CUT_OFF", "NOBODY", "ROW_STOP", "SharedMemory"]

ARENA_BYTES = 4 << 20
NOBODY = (1 << 64) - 1

CURRENT, LOADING, BIN, END, ROW, FIRST, OUTPUT, VERSION, _PLAIN, CUT_OFF = range(10)
_WORDS = 128
# More calls than a process can run before it reports, however short they are.
_ROW_CALLS = 1 << 18
_DATA = _WORDS + 4 * _ROW_CALLS
#: no open row may reach beyond this; there is room for its lengths behind it
ROW_STOP = _DATA + (1 << 19)


class SharedMemory:
    """The shared memory of one slot; made before the fork, used on both sides."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, ARENA_BYTES)
        self.bytes = memoryview(self._memory)
        self.words = self.bytes[:_WORDS].cast("Q")
        self.lengths = self.bytes[_WORDS:_DATA].cast("I")
        self.write = self._memory.write
        self.clear()

    def clear(self) -> None:
        """A new process: nobody's turn, no records."""
        self.forget()
        self.words[LOADING] = self.words[CUT_OFF] = 0
        self.words[CURRENT] = NOBODY

    def forget(self) -> None:
        """Forget the records, which have been sent."""
        words = self.words
        words[VERSION] += 1
        words[ROW] = 0
        words[END] = _DATA

    # -- the process's side -----------------------------------------------------

    def room(self) -> int:
        """Bytes that another record may take, and leave what a row begins with; no row may be open."""
        return ARENA_BYTES - self.words[END] - records.HEADER.size

    def open_row(self, first: int, plain: bool = True) -> int:
        """Start a row of values at the running call ``first``; return where its bytes start.

        The pickles are then written with ``write``, one after the other, the length of
        each is noted in ``lengths``, and ``current`` goes on to the next call.
        """
        words = self.words
        words[VERSION] += 1
        words[FIRST] = first
        words[CURRENT] = first
        words[_PLAIN] = plain
        at = words[ROW] = words[END] + records.HEADER.size
        self._memory.seek(at)
        return at

    def close_row(self) -> None:
        """Make the open row, if it has any calls, a complete record."""
        row = self._open_row()
        if row is not None:
            first, count, size = row
            words = self.words
            start = words[ROW]
            end = start + size + 4 * count
            self.bytes[start + size : end] = self.bytes[_WORDS : _WORDS + 4 * count]
            header = (records.VALUES, self._row_flags(), words[BIN], first, count, size + 4 * count)
            records.HEADER.pack_into(self.bytes, words[END], *header)
            words[END] = end

    def add(self, record: bytes) -> None:
        """Add a complete record; no row may be open."""
        end = self.words[END]
        stop = end + len(record)
        self.bytes[end:stop] = record
        self.words[END] = stop

    def pending(self) -> memoryview:
        """The complete records, as a view: sent by the caller, then ``forget``."""
        return self.bytes[_DATA : self.words[END]]

    # -- both sides -------------------------------------------------------------

    def _open_row(self) -> tuple[int, int, int] | None:
        """First call, calls and bytes of the open row; None when there is none."""
        words = self.words
        first, count = words[FIRST], words[CURRENT] - words[FIRST]
        if words[ROW] != words[END] + records.HEADER.size or not 0 < count <= _ROW_CALLS:
            return None
        return first, count, sum(self.lengths[:count])

    def _row_flags(self) -> int:
        return records.PLAIN if self.words[_PLAIN] else 0

    # -- the supervisor's side --------------------------------------------------

    def remains(self) -> bytes:
        """The records that a dead process had not sent."""
        found = bytes(self.pending())
        row = self._open_row()
        if row is None:
            return found
        first, count, size = row
        start = self.words[ROW]
        body = bytes(self.bytes[start : start + size]) + bytes(self.lengths[:count])
        return found + records.pack(records.VALUES, self.words[BIN], first, count, body, self._row_flags())

    def glance(self) -> bytes:
        """The records that a living process has not sent; nothing when it changed them
        in the meantime."""
        version = self.words[VERSION]
        found = self.remains()
        return found if self.words[VERSION] == version else b""
