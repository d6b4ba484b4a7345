"""How calls are grouped into bins: pure functions of numbers.

map       knows its length   -> ``map_sizes``: a few bins a slot, smaller at the end
submit    a stream           -> ``stream_size``: one call a bin until calls prove short
cluf      a number of bins   -> ``dealt`` by position, ``hashed`` by arguments; ``ranges`` reads "0-2,5"
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable

__all__ = [
    "BINS_PER_SLOT",
    "BIN_SECONDS",
    "dealt",
    "hashed",
    "map_sizes",
    "noted",
    "ranges",
    "stream_size",
]  # fmt: skip

#: work in a bin of short calls, in seconds: a worker and its bins shall make no more than ten
#: files a second, and half of them may be needed for results
BIN_SECONDS = 0.3
#: what a bin of a stream holds at least, in seconds, while there is so much
_LEAST_SECONDS = 0.02
#: the same for a ``map`` that has bins for all slots: its tail need not be cut any finer
_LEAST_TAIL_SECONDS = 0.05
#: what another bin costs the client and the worker that takes it, roughly
BIN_COST_SECONDS = 0.002
#: bins for each process slot, when ``map`` may choose and nothing is known of its calls
BINS_PER_SLOT = 4
#: the same where all of it is known to be short: the first results come while the rest is worked on
_MOST_SHORT_BINS_PER_SLOT = 2
#: bins of long calls that ``map`` makes at most, where that is more than the above
MOST_BINS = 1000


def map_sizes(
    count: int,
    slots: int,
    bins: int | None = None,
    chunksize: int | None = None,
    seconds_per_call: float | None = None,
) -> list[int]:
    """Sizes of the bins that ``count`` calls are divided into, in order.

    slots: processes that will work on them.  bins: exactly so many, of equal size.
    chunksize: so many calls in each.  Neither: ``BINS_PER_SLOT`` for each slot; fewer
    where the whole work is known to be so little that more bins would cost more than they
    gain; where it is known to be more than that, bins of ``BIN_SECONDS``, smaller at the end.
    """
    if count <= 0:
        return []
    if chunksize is not None:
        full, rest = divmod(count, chunksize)
        return [chunksize] * full + ([rest] if rest else [])
    if bins is None and seconds_per_call is not None and count > slots * _together(seconds_per_call):
        return _ever_smaller(count, slots, seconds_per_call)
    wanted = min(count, _wanted(count, slots, seconds_per_call) if bins is None else bins)
    small, larger = divmod(count, wanted)
    return [small + 1] * larger + [small] * (wanted - larger)


def _wanted(count: int, slots: int, seconds_per_call: float | None) -> int:
    """With n bins the work takes about ``work / n + n * BIN_COST_SECONDS``: least at the root."""
    slots = max(1, slots)
    if seconds_per_call is None:
        return BINS_PER_SLOT * slots
    cheapest = math.ceil(math.sqrt(count * seconds_per_call / BIN_COST_SECONDS))
    return max(1, min(_MOST_SHORT_BINS_PER_SLOT * slots, cheapest))


def _ever_smaller(count: int, slots: int, seconds_per_call: float) -> list[int]:
    """Bins of ``BIN_SECONDS`` of work, or more where that would be too many of them, and
    smaller ones at the end, so that all slots end at the same time."""
    least = max(math.ceil(count / MOST_BINS), _calls_in(_LEAST_TAIL_SECONDS, seconds_per_call))
    sizes = []
    while count:
        sizes.append(min(count, max(least, _next_size(count, seconds_per_call, slots))))
        count -= sizes[-1]
    return sizes


def _together(seconds_per_call: float) -> int:
    """Calls that make up ``BIN_SECONDS`` of work; one of longer calls."""
    return max(1, _calls_in(BIN_SECONDS, seconds_per_call))


def _calls_in(seconds: float, seconds_per_call: float) -> int:
    return int(seconds / max(seconds_per_call, 1e-7) + 1e-6)


def stream_size(waiting: int, seconds_per_call: float | None, slots: int, measured: int) -> int:
    """How many of ``waiting`` calls to put into the next bin.

    Unknown calls go one by one.  Short ones go together, in bins of ``BIN_SECONDS`` of work
    while many wait, and of ever less towards the end.
    measured: how many calls the estimate is from.  The first to come back are the short ones
    of a mixture, so few of them are no reason to put many together.
    """
    if seconds_per_call is None or seconds_per_call >= BIN_SECONDS:
        return 1
    return max(1, min(_next_size(waiting, seconds_per_call, slots), measured // 8))


def _next_size(waiting: int, seconds_per_call: float, slots: int) -> int:
    """The share of a slot, but no more than ``BIN_SECONDS`` of work, and no less than is worth a bin."""
    least = max(1, _calls_in(_LEAST_SECONDS, seconds_per_call))
    return min(_together(seconds_per_call), waiting, max(least, math.ceil(waiting / max(1, slots))))


def noted(count: int, seconds_per_call: float | None) -> int:
    """How many of a chunk's ``count`` calls begin with its claim: one while nothing is
    known of them, a bin's worth of short ones."""
    if seconds_per_call is None:
        return 1
    return min(count, _together(seconds_per_call))


# ----------------------------------------------------- which bin a call belongs to


def dealt(index: int, bins: int) -> int:
    """The bin of the call at ``index``, dealt out like playing cards."""
    return index % bins


def hashed(texts: Iterable[str], bins: int) -> int:
    """The bin of a call with these arguments; the same in every process and Python."""
    digest = hashlib.sha1("".join(texts).encode("utf-8", "surrogatepass"), usedforsecurity=False)
    return int(digest.hexdigest(), 16) % bins


def ranges(text: str) -> list[int | str]:
    """What ``0-2,7,my_kwarg`` lists: [0, 1, 2, 7, "my_kwarg"].

    ``,`` or ``;`` separate, ``-`` or ``:`` make ranges that include their end, a third
    number is the step.  Words that are no numbers stay words.
    """
    found: list[int | str] = []
    for word in re.split(r"[,;]", text):
        word = word.strip()
        numbers = [int(part) for part in re.split(r"[-:]", word)] if re.fullmatch(r"\d+([-:]\d+){0,2}", word) else []
        if not numbers:
            found.append(word)
            continue
        start, stop, step = [*numbers, numbers[0], 1][:3] if len(numbers) == 1 else [*numbers, 1][:3]
        if stop < start or step < 1:
            raise ValueError(f"the range {word!r} is empty")
        found.extend(range(start, stop + 1, step))
    return found
