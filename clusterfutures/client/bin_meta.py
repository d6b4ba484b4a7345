"""The tag of a bin: what another program that comes back to the run has to know of its calls.

    Call.row(), Chunk.row() --pack--> the bin's file, or a BIN record --unpack--> Tag, Row

A row is one call, or all calls of a chunk.  Nodes carry tags and do not look into them.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from clusterfutures.options.retries import Retries

__all__ = ["BinMeta", "Row", "pack", "unpack"]


class Row(NamedTuple):
    """A call, or the calls of a chunk.

    orders: each one's place among all calls of the run.  identities: 16 bytes each, or none.
    skip: of a chunk, a byte for each call: 1 for one that is not made, for an earlier
        program made it.
    retries, history: if they have some; a chunk has a history for each index.
    """

    orders: Sequence[int]
    name: str
    identities: bytes = b""
    skip: bytes = b""
    retries: Retries | None = None
    history: Any = None


class BinMeta(NamedTuple):
    """All of a bin; kind: as ``store/bins.py`` has it; program: which one of the run's made it."""

    kind: int
    worker_group: str
    program: int
    rows: list[Row]


class _Unpickler(pickle.Unpickler):
    """Finds what earlier versions of this package kept elsewhere."""

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(
            "clusterfutures.options.retries" if module == "clusterfutures.retries" else module, name
        )


def pack(kind: int, worker_group: str, program: int, rows: Iterable[Row]) -> bytes:
    """The tag as bytes."""
    return pickle.dumps((kind, worker_group, program, [tuple(row) for row in rows]), 5)


def unpack(tag: bytes | memoryview) -> BinMeta:
    """What ``pack`` packed."""
    kind, worker_group, program, rows = _Unpickler(io.BytesIO(tag)).load()
    return BinMeta(kind, worker_group, program, [Row(*row) for row in rows])
