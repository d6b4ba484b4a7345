"""What a worker reports: records, packed one after the other into a segment.

Pure functions of bytes.  A record says something about calls ``first`` up to
``first + count`` of one bin (or about the worker itself: bin 0):

    kind (1 byte) | flags (1) | bin id (8) | first (4) | count (4) | length (8) | body

    STARTED   the worker is up; body: pickled dict (host, pid, job id, slots, versions)
    BEGUN     these calls have been handed to a process; body: slot number
    VALUE     this call returned; body: its pickle
    VALUES    these calls returned; body: their pickles, one after the other, then the
              length of each (4 bytes); with the flag PLAIN they are not pickled but
              marshalled
    ERROR     this call raised; body: pickled (exception or None, text, traceback, ...)
    LARGE_ERROR  the same, its body in a file; body: the file's name
    LARGE     this call returned; body: name of the file that holds the pickle
    DIED      this call killed its process; body: pickled dict of WorkerDied's fields
    RETURNED  these calls have not begun and are given back
    PACE      ``count`` calls of a function took so long; body: seconds per call (a double), its key
    ENDED     the worker's last word; body: pickled dict (why, signal, ...)
    KILLED    this call was ended, or not begun, because its program asked for that; body: its last
              lines of output
    RETIRING  the worker takes no more; it ends when its processes have finished
    BIN       a bin is done with, and its file gone; body: the tag of its file
    MEMORY    the worker is near its memory limit; body: pickled dict (used, limit), in bytes

With the flag INFO the body of VALUE, ERROR, LARGE, DIED or KILLED starts with a ``CallInfo``:
when, how long, how much memory, and the call's own output, or where it stands.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = [
    "CallInfo", "Record", "any_failed", "bin_of", "first_call", "pack", "pack_info", "pack_pace", "pieces_from",
    "pieces_upto",
    "plain_values", "records", "singly", "split_info", "unpack_pace",
]  # fmt: skip

STARTED, BEGUN, VALUE, VALUES, ERROR, LARGE, LARGE_ERROR, DIED, RETURNED, ENDED, RETIRING, PACE, KILLED, BIN = range(
    1, 15
)
MEMORY = 15
INFO, PLAIN = 1, 2
FAILURES = frozenset({ERROR, LARGE_ERROR, DIED, KILLED})
OUTCOMES = FAILURES | {VALUE, VALUES, LARGE}

#: What may be in a row of plain values: whole in itself, and the same on both sides.
#: Such values are many (a number is what most calls return), and pickling each alone, as
#: it must be to survive a crash in the next call, costs several times as much.
PLAIN_TYPES = frozenset({int, float, complex, bool, type(None), str, bytes})
#: the oldest format that has floats in binary: without references between values
PLAIN_FORMAT = 2

HEADER = struct.Struct("<BBQIIQ")
_INFO = struct.Struct("<dddQIQQI")
_PACE = struct.Struct("<d")


class Record(NamedTuple):
    """One record; ``body`` is a view into the segment."""

    kind: int
    flags: int
    bin_id: int
    first: int
    calls: int
    body: memoryview


class CallInfo(NamedTuple):
    """What is known of one call besides its outcome.

    Times are seconds (``started`` since the epoch), ``memory`` is the peak in bytes,
    ``slot`` names the log that bytes ``out_start`` to ``out_stop`` belong to; ``output``
    is a copy of them when they are few.
    """

    started: float
    wall: float
    cpu: float
    memory: int
    slot: int
    out_start: int
    out_stop: int
    output: bytes


def pack(kind: int, bin_id: int, first: int, count: int, body: bytes = b"", flags: int = 0) -> bytes:
    """One record as bytes."""
    return HEADER.pack(kind, flags, bin_id, first, count, len(body)) + body


def pack_info(info: CallInfo) -> bytes:
    """Return the call's info as bytes, to be put before the body."""
    return _INFO.pack(*info[:7], len(info.output)) + info.output


def split_info(body: memoryview) -> tuple[CallInfo, memoryview]:
    """The info and the rest of a body that was packed with the flag INFO."""
    started, wall, cpu, memory, slot, out_start, out_stop, length = _INFO.unpack_from(body)
    rest = _INFO.size + length
    output = bytes(body[_INFO.size : rest])
    return CallInfo(started, wall, cpu, memory, slot, out_start, out_stop, output), body[rest:]


def pack_pace(function: str, seconds: float, calls: int) -> bytes:
    """What each of ``calls`` calls of a function took, as a record."""
    return pack(PACE, 0, 0, calls, _PACE.pack(seconds) + function.encode())


def unpack_pace(record: Record) -> tuple[str, float]:
    """The function and the seconds of such a record."""
    return bytes(record.body[_PACE.size :]).decode(), float(_PACE.unpack_from(record.body)[0])


def any_failed(segment: bytes) -> bool:
    """Whether a record says that a call failed."""
    return any(record.kind in FAILURES for record in records(memoryview(segment)))


def bin_of(segment: bytes) -> int:
    """The bin that the first record of a segment is about."""
    return int(HEADER.unpack_from(segment)[2])


def first_call(segment: bytes) -> int:
    """The first call that the first record of a segment is about."""
    return int(HEADER.unpack_from(segment)[3])


def pieces_from(segment: bytes, start: int) -> bytes:
    """The records of a segment without what is about calls before ``start``."""
    kept = []
    for record in records(memoryview(segment)):
        if record.first >= start:
            kept.append(pack(record.kind, record.bin_id, record.first, record.calls, bytes(record.body), record.flags))
        elif record.kind == VALUES and record.first + record.calls > start:
            kept.append(_row_from(record, start))
    return b"".join(kept)


def pieces_upto(segment: bytes, stop: int) -> bytes:
    """The records of a segment, none of them about calls from ``stop`` on.  Rows of values are not divided."""
    kept = [
        pack(r.kind, r.bin_id, r.first, min(r.calls, stop - r.first), bytes(r.body), r.flags)
        for r in records(memoryview(segment))
        if r.first < stop
    ]
    return b"".join(kept)


def _row_from(record: Record, start: int) -> bytes:
    """The part of a row of values that begins with call ``start``."""
    skipped, left = start - record.first, record.first + record.calls - start
    at = len(record.body) - 4 * record.calls
    lengths = record.body[at:].cast("I")
    body = bytes(record.body[sum(lengths[:skipped]) : at]) + bytes(lengths[skipped:])
    return pack(VALUES, record.bin_id, start, left, body, record.flags)


def singly(record: Record) -> Iterator[Record]:
    """A row of pickled values as a record for each."""
    at = 0
    for number, length in enumerate(record.body[len(record.body) - 4 * record.calls :].cast("I")):
        yield Record(VALUE, 0, record.bin_id, record.first + number, 1, record.body[at : at + length])
        at += length


def plain_values(record: Record) -> list[Any]:
    """All values of a row of plain values: one after the other they are what is inside a
    marshalled list."""
    values: list[Any] = marshal.loads(b"[" + record.calls.to_bytes(4, "little") + record.body)
    return values


def records(segment: memoryview) -> Iterator[Record]:
    """The records of a segment, in the order in which they were written."""
    at, end, size = 0, len(segment), HEADER.size
    while at < end:
        kind, flags, bin_id, first, count, length = HEADER.unpack_from(segment, at)
        at += size
        yield Record(kind, flags, bin_id, first, count, segment[at : at + length])
        at += length
