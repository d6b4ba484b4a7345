"""Which of the calls are to run here: limit, bins, and what is done already."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from clusterfutures.binning import dealt, hashed
from clusterfutures.cluf.outputs import settled
from clusterfutures.cluf.worker import text_of
from clusterfutures.errors import OptionError
from clusterfutures.pickling.arguments import Arguments

__all__ = ["bin_of", "chosen"]


def chosen(iterable: Iterable[Any], settings: SimpleNamespace, done: dict[int, str]) -> Iterator[tuple[int, Any]]:
    """The calls to run, each with its position among all arguments."""
    calls = enumerate(itertools.islice(iterable, settings.limit))
    if settings.bins is not None:
        wanted, count = settings.bins
        place, here = bin_of(settings, count), frozenset(wanted)
        calls = (call for call in calls if place(*call) in here)  # type: ignore[assignment]
    if not done:
        return calls
    return (call for call in calls if not _is_done(call, done, settings.output))


def _is_done(call: tuple[int, Any], done: dict[int, str], output: str) -> bool:
    index, given = call
    before = done.get(index)
    if before is None:
        return False
    now = settled(text_of(given))
    if before != now:
        raise OptionError(
            f"{output} holds the result of call {index} with {before}, but now call {index} is {now}: the arguments "
            "are not those of the run that is to be resumed. Remove the file, or make args yield them as before."
        )
    return True


def bin_of(settings: SimpleNamespace, count: int) -> Callable[[int, Any], int]:
    """The function from (position, argument) to the bin, one of ``count``."""
    if settings.hash is not None:
        keys = settings.hash

        def by_hash(index: int, given: Any) -> int:
            arguments = Arguments.of(given)
            return hashed([_hashable(index, given, key) for key in keys if _is_there(index, arguments, key)], count)

        return by_hash
    if settings.key is not None:
        (key,) = settings.key
        return lambda index, given: _keyed(index, given, key, count)
    return lambda index, given: dealt(index, count)


def _is_there(index: int, arguments: Arguments, key: int | str) -> bool:
    """False for a position beyond the call's arguments; a name that a call does not have is misspelt."""
    if key not in arguments and isinstance(key, str):
        names = ", ".join(arguments.kwargs) or "no arguments by name"
        raise OptionError(
            f"call {index}, {arguments}: it has no argument {key!r}, which --hash names. It has {names}: correct the "
            "name, or give the argument's position"
        )
    return key in arguments


def _hashable(index: int, given: Any, key: int | str) -> str:
    """The text of an argument by which its bin is chosen: the same in every process.  Raises OptionError."""
    value = Arguments.of(given)[key]
    if isinstance(value, set | frozenset):  # their order is another one in each process
        text = f"{type(value).__name__}({', '.join(sorted(map(str, value)))})"
    else:
        text = str(value)
    if not isinstance(value, str | bytes) and settled(text) != text:
        raise OptionError(
            f"call {index}, {text_of(given)}: the text of its argument {key!r} holds an address in memory, which "
            "differs in every bin, so --hash would lose calls and do others twice. Give its class a __repr__ of what "
            "it holds, or choose another argument"
        )
    return text


def _keyed(index: int, given: Any, key: int | str, count: int) -> int:
    arguments = Arguments.of(given)
    where = f"call {index}, {text_of(given)}: its argument {key!r}"
    if key not in arguments:
        raise OptionError(f"{where}, which --key takes as the number of its bin, is missing")
    try:
        found = operator.index(arguments[key])
    except TypeError:
        found = -1
    if not 0 <= found < count or isinstance(arguments[key], bool):
        raise OptionError(
            f"{where} is {arguments[key]!r}; --key needs a bin there, a whole number from 0 to {count - 1}"
        )
    return found
