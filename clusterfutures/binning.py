"""How calls are grouped into bins: pure functions of numbers.

map       knows its length   -> ``map_sizes``: a few bins a slot, smaller at the end
submit    a stream           -> ``stream_size``: one call a bin until calls prove short
"""

from __future__ import annotations

import math

__all__ = ["BIN_SECONDS", "BINS_PER_SLOT", "map_sizes", "stream_size"]

#: work in a bin of short calls, in seconds
BIN_SECONDS = 0.1
#: bins for each process slot, when ``map`` may choose
BINS_PER_SLOT = 4


def map_sizes(count: int, slots: int, bins: int | None = None, chunksize: int | None = None) -> list[int]:
    """Sizes of the bins that ``count`` calls are divided into, in order.

    slots: processes that will work on them.  bins: exactly so many, of equal size.
    chunksize: so many calls in each.  Neither: ``BINS_PER_SLOT`` for each slot.
    """
    if count <= 0:
        return []
    if chunksize is not None:
        full, rest = divmod(count, chunksize)
        return [chunksize] * full + ([rest] if rest else [])
    wanted = min(count, bins if bins is not None else BINS_PER_SLOT * max(1, slots))
    small, larger = divmod(count, wanted)
    return [small + 1] * larger + [small] * (wanted - larger)


def stream_size(waiting: int, seconds_per_call: float | None, slots: int) -> int:
    """How many of ``waiting`` calls to put into the next bin.

    Unknown calls go one by one.  Short ones are spread over the slots, in bins of at
    most ``BIN_SECONDS`` of work, and of no less than a twentieth of that.
    """
    if seconds_per_call is None or seconds_per_call >= BIN_SECONDS:
        return 1
    most = max(1, int(BIN_SECONDS / max(seconds_per_call, 1e-7)))
    least = max(1, most // 20)
    return max(1, min(most, waiting, max(least, math.ceil(waiting / max(1, slots)))))
