"""The directories above ours: who may write there could put another directory in the place of ours.

    everybody may, and nothing hinders them (no sticky bit)  --refuse_open--> StoreError, before anything is made
    the group may (a project's directory)                    --Held: ours is kept open, and compared before it is used

What is unpickled, and the scripts of jobs, would run as the user who finds them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from clusterfutures.store.frames import store_error

__all__ = ["Held", "refuse_open"]


def refuse_open(path: str) -> None:
    """Raise StoreError when everybody may put something else in the place of ``path``, or of a directory above it."""
    for above in _above(path):
        try:
            mode = os.stat(above).st_mode
        except OSError:
            continue  # it is not there yet, or nobody may look: what needs it will say so
        if stat.S_ISDIR(mode) and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise store_error(
                f"{above} may be written by everybody (mode {stat.S_IMODE(mode):o}): refused, for anybody could put "
                f"something else in the place of {path} and have it run as you. Forbid it (chmod o-w {above}), or let "
                f"everybody there remove only what is theirs (chmod +t {above}), or name another directory",
                above,
            )


def _above(path: str) -> Iterator[str]:
    """The directories above, as they are named and as links lead to them."""
    seen: set[str] = set()
    for start in (os.path.abspath(path), os.path.realpath(path)):
        above = os.path.dirname(start)
        while above not in seen:
            seen.add(above)
            yield above
            above = os.path.dirname(above)


class Held:
    """A directory of ours that is kept open where others might move it away."""

    def __init__(self, path: str) -> None:
        """Hold it if its group, or others, may write above it.  It is there, and was found to be ours."""
        self._path = path
        self._descriptor: int | None = None
        try:
            if os.stat(os.path.dirname(path) or ".").st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return  # without a free descriptor, say: it is used without

    def check(self) -> None:
        """Raise StoreError when another directory is in its place, or when others may write in it by now."""
        if self._descriptor is None:
            return
        try:
            held, found = os.fstat(self._descriptor), os.lstat(self._path)
        except OSError:
            return  # it is gone: who uses it will say so
        if (held.st_dev, held.st_ino) != (found.st_dev, found.st_ino):
            raise store_error(
                f"{self._path} is not the directory that this program made or opened: somebody has put another one in "
                "its place, so no job is submitted from it. Who may write in the directory above it?",
                self._path,
            )
        if held.st_uid != os.geteuid() or held.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise store_error(
                f"{self._path} may be written by others by now (mode {stat.S_IMODE(held.st_mode):o}): no job is "
                "submitted from it; chmod go-w it",
                self._path,
            )

    def release(self) -> None:
        """Close it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
