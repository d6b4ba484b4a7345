"""Bytes in frames: every piece of a file carries its length and a checksum.

Pure functions of bytes.  A file is a row of frames; reading checks each one, so that a
torn, truncated or damaged file is an error that names the file, never a wrong result.
A file that is shorter than its frames say may be on its way: its error is marked ``short``.

    frame = magic (2 bytes) | frames that follow (2) | checksum (4) | length (8) | payload

The error is made when it is needed: ``clusterfutures.errors`` brings ``concurrent.futures`` and
``logging`` along, a sixth of what a worker's start takes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING
from zlib import crc32

from clusterfutures.store.faults import TRANSIENT, advice

if TYPE_CHECKING:
    from clusterfutures.errors import StoreError

__all__ = ["cannot_make", "framed", "store_error", "unframed"]

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


Bytes = bytes | bytearray | memoryview

_MAGIC = 0x4643  # "CF"
_MOST = 0xFFFF  # "so many, or more"
_HEADER = struct.Struct("<HHIQ")


def framed(payloads: Iterable[Bytes]) -> list[Bytes]:
    """The pieces to write, in order, so that ``unframed`` gives ``payloads`` back."""
    pieces: list[Bytes] = []
    payloads = list(payloads)
    for left, payload in zip(range(len(payloads) - 1, -1, -1), payloads, strict=True):
        pieces.append(_HEADER.pack(_MAGIC, min(left, _MOST), crc32(payload), memoryview(payload).nbytes))
        pieces.append(payload)
    return pieces


def unframed(content: Bytes, path: str, check: bool = True) -> list[memoryview]:
    """The payloads of ``content``, as views into it; ``path`` is for the error's text.

    check: compare the checksums (not needed for a file that has been checked before).
    Raises StoreError when a frame is torn or its checksum is wrong; ``short`` says that bytes are missing.
    """
    view = memoryview(content)
    payloads: list[memoryview] = []
    following: list[int] = []
    at = 0
    while at < len(view):
        if at + _HEADER.size > len(view):
            raise _damaged(path, f"ends inside a frame header at byte {len(view)}", short=True)
        magic, follow, checksum, length = _HEADER.unpack_from(view, at)
        at += _HEADER.size
        if magic != _MAGIC:
            raise _damaged(path, f"has no frame at byte {at - _HEADER.size}")
        payload = view[at : at + length]
        if len(payload) < length:
            raise _damaged(path, f"is truncated: {len(payload)} of {length} bytes at byte {at}", short=True)
        if check and crc32(payload) != checksum:
            raise _damaged(path, f"has a wrong checksum at byte {at}")
        payloads.append(payload)
        following.append(follow)
        at += length
    if following != [min(left, _MOST) for left in range(len(payloads) - 1, -1, -1)] or not payloads:
        short = not following or following[-1] > 0
        raise _damaged(path, f"ends after {len(payloads)} frames, which are not all that were written", short)
    return payloads


def _damaged(path: str, what: str, short: bool = False) -> StoreError:
    error = store_error(f"{path} {what}: the file is damaged (disk full, or the file system lost data)", path)
    error.short = short
    return error
