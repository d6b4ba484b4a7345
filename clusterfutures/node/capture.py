"""What each call wrote to stdout and stderr: bytes of its process's own log.

Every process has its own log file, opened before the fork and put in the place of file
descriptors 1 and 2: so what C code and child processes write is caught as well.  A
call's output is what the file grew by while it ran.  Python's and C's buffers are
flushed after every call, or a call's last words would be counted as the next one's.
Of a call that writes without end, the first and the last bytes are kept.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["INLINE_BYTES", "MOST_BYTES", "Capture", "shorten", "tail"]

#: a call's output up to this size travels with its result
INLINE_BYTES = 1 << 16

#: of what a call writes, no more is kept than this
MOST_BYTES = 32 << 20
_LEFT_OUT = b"\n[clusterfutures: the middle of this output is left out, for it is longer than 32 MB]\n"

_TAIL_BYTES = 4096
_TAIL_LINES = 10


class Capture:
    """Stdout and stderr of this process, going to one log."""

    def __init__(self, log: int) -> None:
        self._log = log
        #: tells whose turn it is; and who wrote last, from where on in the log
        self.turn: Callable[[], object] = lambda: None
        self._writer: object = None
        self._written_from = 0
        self._log_status = os.fstat(log)
        libc = ctypes.CDLL(None)
        self._fflush = libc.fflush
        self._c_streams = [ctypes.c_void_p.in_dll(libc, name) for name in ("stdout", "stderr")]
        self.install()

    def install(self) -> None:
        """Put the log in the place of stdout and stderr, whatever a call did to them."""
        os.dup2(self._log, 1)
        os.dup2(self._log, 2)
        self.stdout = _text_stream(1, self)
        self.stderr = _text_stream(2, self)
        sys.stdout = sys.__stdout__ = self.stdout  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.stderr  # type: ignore[misc]

    def note_writer(self) -> None:
        """Somebody writes: note from where on, when it is another call than before."""
        turn = self.turn()
        if turn != self._writer:
            self._writer, self._written_from = turn, self.position()

    def last_lines(self, start: int | None) -> str:
        """The last lines that the call wrote whose turn it is; start: where they begin at the earliest, if known."""
        self.settle()
        if self._writer == self.turn():
            start = self._written_from
        return "" if start is None else tail(self._log, start)

    def position(self) -> int:
        """How many bytes the log has."""
        return os.lseek(self._log, 0, os.SEEK_END)

    def settle(self, start: int | None = None) -> None:
        """Flush what Python and C hold back; undo what a call did to the streams.

        start: where the output of what has run starts, of which not too much is to be kept.
        """
        intact = sys.stdout is self.stdout and sys.stderr is self.stderr
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except Exception:  # closed, detached, or replaced by something without flush: put ours back
            intact = False
        for stream in self._c_streams:
            self._fflush(stream)
        if not (intact and self._goes_to_log(1) and self._goes_to_log(2)):
            self._restore()
        if start is not None:
            shorten(self._log, start)

    def _goes_to_log(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._log_status)
        except OSError:  # closed
            return False

    def read(self, start: int, stop: int) -> bytes:
        """These bytes of the log, when they are few; else nothing."""
        return os.pread(self._log, stop - start, start) if 0 < stop - start <= INLINE_BYTES else b""

    def _restore(self) -> None:
        for stream in (self.stdout, self.stderr):
            with contextlib.suppress(Exception):  # closed, detached, or its descriptor gone: nothing to save
                stream.flush()
        self.install()


class _Noting(io.FileIO):
    """A file that says when something is written."""

    def __init__(self, descriptor: int, capture: Capture) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._capture = capture

    def write(self, data: Any, /) -> int:
        """As documented."""
        self._capture.note_writer()
        return super().write(data)


def _text_stream(descriptor: int, capture: Capture) -> io.TextIOWrapper:
    """A text stream that does not close the descriptor when it is collected."""
    raw = io.BufferedWriter(_Noting(descriptor, capture))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def shorten(log: int, start: int) -> None:
    """Leave out the middle of what a log has from ``start`` on, when it is more than ``MOST_BYTES``."""
    size = os.lseek(log, 0, os.SEEK_END)
    if size - start <= MOST_BYTES:
        return
    end = os.pread(log, MOST_BYTES // 4, size - MOST_BYTES // 4)
    with contextlib.suppress(OSError):  # read-only: it stays as it is; no space: the end is left out as well
        os.ftruncate(log, start + MOST_BYTES // 2)
        os.write(log, _LEFT_OUT)
        os.write(log, end)


def tail(log: int, start: int) -> str:
    """The last lines of a log from ``start`` on."""
    size = os.lseek(log, 0, os.SEEK_END)
    start = max(start, size - _TAIL_BYTES)
    text = os.pread(log, size - start, start).decode("utf-8", "replace")
    return "\n".join(text.splitlines()[-_TAIL_LINES:])
