"""What has been read, gathered: many small files become few larger ones, so that files do not grow with calls.

    results/<segment> --read--> held --MOST_HELD, HELD_SECONDS--> read/gathered.<random>   then the segments go
    read/<bin> (calls failed) -----------------------^                  |
                                       16 of these, or 1 MB of them ----+--> one of them

A file holds (name, length) of every entry and then their bytes. It is published before what it replaces is
removed: a program that is killed in between leaves both, and who reads them takes each name once. A small file is
written again with what comes next, under a new name; so there is no file a second in a run with little to do.
"""

from __future__ import annotations

import math
import pickle
import secrets
from collections.abc import Iterator

from clusterfutures.store import names
from clusterfutures.store.frames import framed, unframed
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["LARGEST_ENTRY", "Gathered", "entries_of"]

#: what is larger stays a file of its own
LARGEST_ENTRY = 256 << 10
#: segments, and bytes of them, that wait in results/ after they were read; and for how long, in seconds
MOST_HELD = 16
MOST_HELD_BYTES = 1 << 20
HELD_SECONDS = 1.0
#: from this size on, a file is not written again with what comes next
FULL_BYTES = 64 << 10
#: so many files, or bytes in them, become one
MOST_FILES = 16
MOST_BYTES = 1 << 20

Entry = tuple[str, bytes]


class _File:
    """A gathered file that may still be merged with others."""

    def __init__(self, name: str, entries: list[Entry]) -> None:
        self.name = name
        self.entries = entries
        self.size = sum(len(content) for _, content in entries)


class Gathered:
    """What one program gathers in its run.  held: names of segments that were read and are still in results/."""

    def __init__(self, run: RunDirectory) -> None:
        self.held: set[str] = set()
        self._run = run
        self._waiting: list[Entry] = []
        self._bytes = 0
        self._since = math.inf
        self._files: list[_File] = []
        self._bins = False
        self._too_large: set[str] = set()

    def add(self, name: str, body: bytes, now: float) -> None:
        """A segment has been read."""
        if not self._waiting:
            self._since = now
        self.held.add(name)
        self._waiting.append((name, body))
        self._bytes += len(body)

    def expect_bins(self) -> None:
        """Calls have failed or went back: their worker keeps the bin's file."""
        self._bins = True

    def is_due(self, now: float) -> bool:
        """Whether to write now."""
        return bool(self._waiting) and (
            len(self._waiting) >= MOST_HELD or self._bytes >= MOST_HELD_BYTES or now - self._since >= HELD_SECONDS
        )

    def write(self) -> None:
        """Gather what waits.  Raises OSError when it cannot be written: then it stays where it is, for good."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        bins = self._kept_bins() if self._bins else []
        before = self._files.pop() if self._files and self._files[-1].size < FULL_BYTES else None
        try:
            made = self._publish([*(before.entries if before else ()), *waiting, *bins])
        except OSError:
            if before is not None:
                self._files.append(before)
            raise
        self._files.append(made)
        self._discard(names.RESULTS, [name for name, _ in waiting])
        self.held.difference_update(name for name, _ in waiting)
        self._discard(names.READ, [name for name, _ in bins] + ([before.name] if before is not None else []))
        if len(self._files) >= MOST_FILES or sum(file.size for file in self._files) >= MOST_BYTES:
            self._merge()

    def _merge(self) -> None:
        """Make one file of several, which is final."""
        files, self._files = self._files, []
        if len(files) > 1:
            self._publish([entry for file in files for entry in file.entries])
            self._discard(names.READ, [file.name for file in files])

    def _publish(self, entries: list[Entry]) -> _File:
        name = names.gathered_name(secrets.token_hex(8))
        index = pickle.dumps([(entry, len(content)) for entry, content in entries], 5)
        self._run.files.publish(
            f"{self._run.path}/{names.READ}", name, framed([index, b"".join([content for _, content in entries])])
        )
        return _File(name, entries)

    def _discard(self, place: str, found: list[str]) -> None:
        for name in found:
            self._run.files.discard(f"{self._run.path}/{place}/{name}")

    def _kept_bins(self) -> list[Entry]:
        """The bins that workers have kept, MOST_HELD of them at a time."""
        directory = f"{self._run.path}/{names.READ}"
        found = [n for n in self._run.files.listing(directory) if names.parse_bin(n) and n not in self._too_large]
        self._bins = bool(found)
        entries = []
        for name in found[: 2 * MOST_HELD]:
            content = self._run.files.read(f"{directory}/{name}")
            if len(content) > LARGEST_ENTRY:
                self._too_large.add(name)
            else:
                entries.append((name, content))
        return entries


def entries_of(content: bytes, path: str) -> Iterator[tuple[str, memoryview]]:
    """The names and contents in a gathered file.  Raises StoreError when it is damaged."""
    index, body = unframed(content, path)
    at = 0
    for name, length in pickle.loads(index):
        yield name, body[at : at + length]
        at += length
