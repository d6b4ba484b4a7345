"""Modules that a process imports late: most never need them, and a start takes a fifth longer with them.

    keep_path --the search path as it was--> [calls: sys.path.clear() ...] --late_imports--> it is still found

A call may change what belongs to its process; ours goes on as if nothing had happened.  Where processes
follow each other, the supervisor has these modules, for each that it forks.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

__all__ = ["keep_path", "late_imports", "load_for_others"]

#: an import has many frames; calls may have set a lower limit
_FRAMES = 1000
_path: list[str] = []


def keep_path() -> None:
    """What can be imported now can be imported later; called before any code of the user's runs."""
    _path[:] = sys.path


@contextlib.contextmanager
def late_imports() -> Iterator[None]:
    """Import our own modules, and cloudpickle, in here."""
    path, limit = sys.path, sys.getrecursionlimit()
    sys.path = [*_path] or path
    sys.setrecursionlimit(max(limit, _FRAMES))
    try:
        yield
    finally:
        sys.path = path
        with contextlib.suppress(RecursionError):  # we are deeper than that already
            sys.setrecursionlimit(limit)


def load_for_others() -> None:
    """In the supervisor, before it starts another process in the place of one: there may be one for each call."""
    with contextlib.suppress(ImportError):  # told by those who need it
        import cloudpickle  # noqa: F401

        import clusterfutures.errors  # noqa: F401
