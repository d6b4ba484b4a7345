"""A bin as bytes: what the client publishes in ``queue/`` and a worker claims.

Pure functions.  A bin is of one of two kinds:

    CALLS   calls from ``submit``: each with its own function and its own pickle
    CHUNK   a slice of a ``map``: one function, one pickle of the list of argument tuples

The file holds two frames: the head (a pickled tuple, below) and the blob (the calls'
pickles one after the other, or the chunk's one pickle).  Buffers over about 1 MB are not
in the blob but in ``objects/``, by content; the extras name them.
"""

from __future__ import annotations

import pickle
from typing import NamedTuple

from clusterfutures.store.frames import Bytes, framed, unframed

__all__ = ["CALLS", "CHUNK", "Bin", "CallHead", "Extras", "pack_bin", "unpack_bin"]

CALLS, CHUNK = 0, 1


class Extras(NamedTuple):
    """What few calls have: the parts of a pickle that are not in the blob.

    stored: key of the object that holds the pickle itself, when it is large.
    buffers: keys of the objects that hold its out-of-band buffers.
    dependencies: results of other calls that it refers to, as (pickle, buffer keys).
    """

    stored: str
    buffers: tuple[str, ...]
    dependencies: tuple[tuple[bytes, tuple[str, ...]], ...]


class CallHead(NamedTuple):
    """One call of a CALLS bin, or all of a CHUNK: its function and its share of the blob."""

    function: str
    length: int
    extras: Extras | None


class Bin(NamedTuple):
    """Calls ``first`` up to ``stop`` of bin ``bin_id``.

    begun: how many of them count as begun as soon as a worker has claimed the bin: the
    claim is their note.  tag: what the client wants to know of the bin when another program
    needs it.  seconds: what one of them takes, where that is known.
    """

    bin_id: int
    first: int
    stop: int
    kind: int
    begun: int
    heads: list[CallHead]
    blob: Bytes
    tag: bytes = b""
    seconds: float | None = None


def pack_bin(content: Bin) -> list[Bytes]:
    """The pieces of the bin's file."""
    heads = [(h.function, h.length, None if h.extras is None else tuple(h.extras)) for h in content.heads]
    return framed([pickle.dumps((*content[:5], content.seconds, heads, content.tag), 5), content.blob])


def unpack_bin(file: Bytes, path: str) -> Bin:
    """A bin from its file's bytes.  Raises StoreError when the file is damaged."""
    head, blob = unframed(file, path)
    *fields, seconds, heads, tag = pickle.loads(head)
    calls = [CallHead(f, n, None if e is None else Extras(*e)) for f, n, e in heads]
    return Bin._make((*fields, calls, blob, tag, seconds))
