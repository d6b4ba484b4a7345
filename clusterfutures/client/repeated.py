"""Large buffers that come again: found by comparing them with what was written.

    buffer --length and both ends--> candidate --all of it is equal--> its key

The same array in a thousand calls is the same bytes every time, unless the program has
changed it in between.  Comparing it with the object's file, which is in the page cache,
answers that in a seventh of the time of hashing it again.
"""

from __future__ import annotations

import logging

from clusterfutures.errors import StoreError
from clusterfutures.store.run import RunDirectory

__all__ = ["Repeated"]

logger = logging.getLogger("clusterfutures")

_MOST_KEPT = 8
_END = 64
_WORD = 8


class Repeated:
    """The last few buffers that were stored.  Used by any thread: single steps on a dict."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._kept: dict[tuple[int, bytes, bytes], tuple[str, memoryview]] = {}

    def find(self, buffer: memoryview) -> str | None:
        """The key of the object that holds just these bytes; None when that is not known."""
        key, written = self._kept.get(_ends(buffer), ("", None))
        return key if written is not None and _equal(buffer, written) else None

    def keep(self, buffer: memoryview, key: str) -> None:
        """These bytes have been stored under ``key``."""
        try:
            (written,) = self._run.map_object(key, 0.0, checked=True)
        except (OSError, StoreError) as error:  # it is hashed again when it comes again
            logger.debug("clusterfutures: a stored buffer cannot be compared with: %s", error)
            return
        self._kept[_ends(buffer)] = (key, written)
        while len(self._kept) > _MOST_KEPT:
            self._kept.pop(next(iter(self._kept)), None)

    def forget(self) -> None:
        """Close the files: the run directory is about to be removed."""
        self._kept.clear()


def _ends(buffer: memoryview) -> tuple[int, bytes, bytes]:
    return len(buffer), bytes(buffer[:_END]), bytes(buffer[-_END:])


def _equal(one: memoryview, other: memoryview) -> bool:
    """Compare word by word, which is several times as fast as byte by byte."""
    whole = len(one) - len(one) % _WORD
    return one[:whole].cast("Q") == other[:whole].cast("Q") and one[whole:] == other[whole:]
