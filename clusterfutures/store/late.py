"""The store's error, made when it is needed.

``clusterfutures.errors`` brings ``concurrent.futures`` and ``logging`` along, a sixth of what a
worker's start takes; and on a way that goes well nothing of it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusterfutures.store.faults import TRANSIENT, advice

if TYPE_CHECKING:
    from clusterfutures.errors import StoreError

__all__ = ["cannot_make", "store_error"]

_DIRECTORY = "give directory= or set CLUSTERFUTURES_DIR to a directory that this machine and the nodes share"


def store_error(message: str, path: str) -> StoreError:
    """A StoreError; path: what is wrong."""
    from clusterfutures.errors import StoreError

    return StoreError(message=message, path=path)


def cannot_make(path: str, error: OSError) -> StoreError:
    """What is raised when there can be no run directory at ``path``."""
    what = advice(error) if error.errno in TRANSIENT else _DIRECTORY
    return store_error(
        f"cannot make the run directory {path}: {error.strerror}; {what}",
        path,
    )
