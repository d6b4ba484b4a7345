"""A file system that is nearly full: said once, before it is full."""

from __future__ import annotations

import logging

from clusterfutures.store.run_directory import RunDirectory

__all__ = ["DiskSpace"]

logger = logging.getLogger("clusterfutures")

#: between two looks, in seconds
LOOK_SECONDS = 30.0
#: nearly full: less than this share is free, and less than so many bytes, or files
SHARE = 0.05
FEW_BYTES = 2 << 30
FEW_FILES = 50_000


class DiskSpace:
    """Looks at the space that a run's file system has left."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._due = 0.0
        self._told = False

    def look(self, now: float) -> None:
        """Warn when little is left.  An error is no reason to stop: who writes there will meet it."""
        if self._told or now < self._due:
            return
        self._due = now + LOOK_SECONDS
        try:
            free, size, free_files, files = self._run.files.free(self._run.path)
        except OSError as error:
            logger.info("clusterfutures: how much space is left in %s cannot be seen: %s", self._run.path, error)
            return
        left = ""
        if size and free < min(SHARE * size, FEW_BYTES):
            left = f"{free / (1 << 20):.0f} MB of {size / (1 << 20):.0f} MB"
        elif files and free_files < min(SHARE * files, FEW_FILES):
            left = f"{free_files} files (inodes) of {files}"
        if left:
            self._told = True
            logger.warning(
                "clusterfutures: the file system of %s is nearly full, %s are free: free some space there, or choose "
                "another directory=. Calls fail when it is full",
                self._run.path,
                left,
            )
