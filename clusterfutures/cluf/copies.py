"""Arguments as bytes: a generator may change one before it yields it again.

yielded --copied()--> itself, when nobody can change it; else a Copy --pickled()--> chunk --> the argument
"""

from __future__ import annotations

import pickle
from typing import Any

from clusterfutures.pickling import by_value
from clusterfutures.pickling.arguments import Arguments

__all__ = ["Copy", "copied", "pickled"]

_FIXED = frozenset({int, float, complex, bool, str, bytes, type(None)})


class Copy:
    """An argument as it was when it was yielded; pickled and unpickled it is that argument."""

    __slots__ = ("data", "given")

    def __init__(self, given: Any) -> None:
        self.given = given
        self.data = pickled(given)

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self.data,)

    def shown(self) -> Any:
        """The argument; as it is now, when it cannot be had as it was."""
        try:
            return pickle.loads(self.data)
        except Exception:
            return self.given


def copied(given: Any) -> Any:
    """``given``, or a copy where it might be changed."""
    if _is_fixed(given):
        return given
    try:
        return Copy(given)
    except Exception:
        return given  # the pickling of its chunk reports it


def _is_fixed(given: Any) -> bool:
    """True for what nobody can change afterwards."""
    kind = type(given)
    if kind in _FIXED:
        return True
    if kind is tuple:
        return all(map(_is_fixed, given))
    if kind is Arguments:
        return all(map(_is_fixed, (*given.args, *given.kwargs.values())))
    return kind.__name__ == "PosixPath"


def pickled(value: Any) -> bytes:
    """``value`` by pickle, or where that cannot by cloudpickle."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        return by_value.dumps(value)
