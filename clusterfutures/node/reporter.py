"""What a worker has to report, gathered into segments.

    records --add--> Reporter --publish--> results/<worker>~<number>

A segment goes out at once when a process has nothing to do (somebody may be waiting for just
this result, to go on).  Otherwise records are gathered: for a few milliseconds at first, and
longer when many files have been made, so that over time there are no more than
``FILES_PER_SECOND``, however many calls there are: segments, and the bins that they answer.
But no result waits for longer than ``LONGEST_GATHER_SECONDS``.
"""

from __future__ import annotations

import pickle
import time
from typing import Any

from clusterfutures.node.disk_full import FULL_SECONDS, may_pass, patiently
from clusterfutures.store import names, records
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Reporter"]

GATHER_SECONDS = 0.002
FILES_PER_SECOND = 6.0
FILE_BURST = 1.0
LONGEST_GATHER_SECONDS = 0.3
#: how far bins and notes, which have to be, may use up what is left for segments
_MOST_DEBT = 1.0


class Reporter:
    """Records that wait for the next segment, and finished bins that wait for it too."""

    def __init__(self, run: RunDirectory, worker: str) -> None:
        self.segments = 0
        self.published_at = 0.0
        self._run = run
        self._worker = worker
        self._records: list[bytes] = []
        self._finished: list[tuple[str, bool]] = []
        self._tokens = FILE_BURST
        self._flushed = self._counted = self._waiting_since = time.monotonic()
        self._patience = FULL_SECONDS

    def add(self, record: bytes) -> None:
        """Report something."""
        if record:
            if not self._records:
                self._waiting_since = time.monotonic()
            self._records.append(record)

    def report(self, kind: int, body: dict[str, Any]) -> None:
        """Say something about the worker itself."""
        self.add(records.pack(kind, 0, 0, 0, pickle.dumps(body, 5)))

    def finish(self, name: str, keep: bool = False) -> None:
        """Forget a claimed bin, once the segment with its last result is out; keep: its file stays."""
        self._finished.append((name, keep))

    def due(self, busy: bool) -> float | None:
        """When to flush (monotonic time); None while there is nothing to say."""
        if not self._records:
            return None
        if not busy:
            return 0.0
        allowed = self._counted + (1.0 - self._tokens) / FILES_PER_SECOND
        return max(self._flushed + GATHER_SECONDS, min(allowed, self._waiting_since + LONGEST_GATHER_SECONDS))

    def made(self) -> None:
        """A file has been made for this worker, or by it."""
        now = time.monotonic()
        tokens = min(FILE_BURST, self._tokens + (now - self._counted) * FILES_PER_SECOND)
        self._tokens = max(-_MOST_DEBT, tokens - 1.0)
        self._counted = now

    def flush(self) -> None:
        """Publish what has been gathered as one segment, then forget finished bins."""
        if self._records:
            self.made()
            self._flushed = self._counted
            self._publish(names.segment_name(self._worker, self.segments), b"".join(self._records))
            self.segments += 1
            self.published_at = time.monotonic()
            self._records.clear()
        try:
            while self._finished:
                name, keep = self._finished[-1]
                (self._run.keep if keep else self._run.finish)(self._worker, name)
                self._finished.pop()
        except OSError as error:
            if not may_pass(error):
                raise  # else after the next segment: their results are out

    def _publish(self, name: str, body: bytes) -> None:
        """Publish a segment, when there is space for it.  Given up once, it is tried only one more time:
        at the worker's end."""
        try:
            patiently(lambda: self._run.publish_segment(name, body), self._patience)
        except OSError as error:
            if may_pass(error):
                self._patience = 0.0
            raise
