"""Which objects of a program lead to which?

A global refers to another one by its name only where no way leads back: each has to be whole before the other.
In a circle they travel together, and so remain one circle.  A class that has a name is no part of one: it can be
named before it is whole.
"""

from __future__ import annotations

import gc
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from clusterfutures.pickling.fingerprints import ATOMS

__all__ = ["may_be_named"]

#: objects that are looked at, at the most
_MOST = 2000


def may_be_named(obj: Any, holder: Any, names: Mapping[int, str], by_value: Callable[[str], bool]) -> bool:
    """True when the pickle of ``holder`` may name ``obj``: it is in no circle, and leads to none of globals.

    names: globals by the identity of their values.  by_value: tells of a module whether its classes travel.
    """
    found = _reached(obj, names, by_value)
    if found is None or id(obj) in found or (id(holder) in found and not _is_named(holder, names)):
        return False
    for number, other in found.items():
        if number in names and not isinstance(other, types.FunctionType | types.ModuleType | type):
            further = _reached(other, names, by_value)
            if further is None or number in further:
                return False
    return True


def _is_named(found: Any, names: Mapping[int, str]) -> bool:
    return id(found) in names and isinstance(found, types.FunctionType | type)


def _reached(start: Any, names: Mapping[int, str], by_value: Callable[[str], bool]) -> dict[int, Any] | None:
    """What a pickle of ``start`` may come to, by identity; None when that is much."""
    seen: dict[int, Any] = {}
    todo = _parts(start, names, by_value)
    while todo:
        found = todo.pop()
        if id(found) not in seen and type(found) not in ATOMS:
            if len(seen) > _MOST:
                return None
            seen[id(found)] = found
            todo += _parts(found, names, by_value)
    return seen


def _parts(found: Any, names: Mapping[int, str], by_value: Callable[[str], bool]) -> list[Any]:
    if isinstance(found, types.ModuleType) or _is_named(found, names):
        return []
    if isinstance(found, types.FunctionType):
        return [found.__closure__, found.__defaults__, found.__kwdefaults__, found.__dict__]
    if isinstance(found, type):
        module = found.__module__
        return [*vars(found).values(), *found.__bases__] if isinstance(module, str) and by_value(module) else []
    if isinstance(found, weakref.ReferenceType):
        return [found()]
    return gc.get_referents(found)
