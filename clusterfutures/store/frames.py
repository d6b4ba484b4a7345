"""Bytes in frames: every piece of a file carries its length and a checksum.

Pure functions of bytes.  A file is a row of frames; reading checks each one, so that a
torn, truncated or damaged file is an error that names the file, never a wrong result.

    frame = magic (4 bytes) | checksum (4) | length (8) | payload
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from zlib import crc32

from clusterfutures.errors import StoreError

__all__ = ["framed", "unframed"]

Bytes = bytes | bytearray | memoryview

_MAGIC = 0x31464643  # "CFF1"
_HEADER = struct.Struct("<IIQ")


def framed(payloads: Iterable[Bytes]) -> list[Bytes]:
    """The pieces to write, in order, so that ``unframed`` gives ``payloads`` back."""
    pieces: list[Bytes] = []
    for payload in payloads:
        pieces.append(_HEADER.pack(_MAGIC, crc32(payload), memoryview(payload).nbytes))
        pieces.append(payload)
    return pieces


def unframed(content: Bytes, path: str, check: bool = True) -> list[memoryview]:
    """The payloads of ``content``, as views into it; ``path`` is for the error's text.

    check: compare the checksums (not needed for a file that has been checked before).
    Raises StoreError when a frame is torn or its checksum is wrong.
    """
    view = memoryview(content)
    payloads: list[memoryview] = []
    at = 0
    while at < len(view):
        if at + _HEADER.size > len(view):
            raise _damaged(path, f"ends inside a frame header at byte {len(view)}")
        magic, checksum, length = _HEADER.unpack_from(view, at)
        at += _HEADER.size
        if magic != _MAGIC:
            raise _damaged(path, f"has no frame at byte {at - _HEADER.size}")
        payload = view[at : at + length]
        if len(payload) < length:
            raise _damaged(path, f"is truncated: {len(payload)} of {length} bytes at byte {at}")
        if check and crc32(payload) != checksum:
            raise _damaged(path, f"has a wrong checksum at byte {at}")
        payloads.append(payload)
        at += length
    return payloads


def _damaged(path: str, what: str) -> StoreError:
    return StoreError(
        message=f"{path} {what}: the file is damaged (disk full, or the file system lost data)", path=path
    )
