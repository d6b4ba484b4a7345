"""Is a function or class what it was when it was pickled last?

    parts_of(value) --> its functions, and the class around them --holds()--> the pickle may be used again

Compared by identity: cheap enough for every ``submit``.  What may change without becoming another object
(a list among a class's attributes, a closure) has no parts: it is pickled each time.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import Any

__all__ = [
    "ATOMS",
    "DESCRIPTORS",
    "ClassPart",
    "FunctionPart",
    "Part",
    "global_names",
    "is_note",
    "looks_up",
    "parts_of",
]

ATOMS = (int, float, complex, bool, type(None), str, bytes)
DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType)
#: a function that calls one of these may use any global
_LOOKS_UP = frozenset({"globals", "eval", "exec", "vars"})
_MISSING = object()


def is_note(name: str, value: Any) -> bool:
    """True for what Python itself notes in a class: copyreg its slots, Python 3.11 that it has no annotations, 3.14
    what they are.

    Pickling an instance makes such a note. The program has changed nothing, so it is neither compared nor sent.
    """
    return name in ("__slotnames__", "__annotations_cache__") or (name == "__annotations__" and not value)


class FunctionPart:
    """A function that is its code and plain values, as it was."""

    __slots__ = ("_code", "_defaults", "function")

    def __init__(self, function: types.FunctionType) -> None:
        self.function = function
        self._code, self._defaults = function.__code__, function.__defaults__

    def holds(self) -> bool:
        """True while the function is the same."""
        function = self.function
        same = function.__code__ is self._code and function.__defaults__ is self._defaults
        return same and not function.__dict__ and not function.__kwdefaults__

    def names(self) -> tuple[str, ...]:
        """The globals that it names."""
        return global_names(self._code)


class ClassPart:
    """A class without its functions, as it was.  Nothing in it can change without becoming another object."""

    __slots__ = ("_attributes", "_bases", "cls")

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self._attributes = _own(cls)
        self._bases = cls.__bases__

    def holds(self) -> bool:
        """True while the class is the same."""
        saved, now = self._attributes, _own(self.cls)
        if len(now) != len(saved) or self.cls.__bases__ != self._bases:
            return False
        return all(saved.get(name, _MISSING) is value for name, value in now.items())

    def names(self) -> tuple[str, ...]:
        """Its functions name globals; the class itself does not."""
        return ()


def _own(cls: type) -> dict[str, Any]:
    return {name: value for name, value in vars(cls).items() if not is_note(name, value)}


Part = FunctionPart | ClassPart


def parts_of(value: Any) -> list[Part] | None:
    """What the definition of a function or class depends on; None when any of it may change unseen."""
    if isinstance(value, types.FunctionType):
        return [FunctionPart(value)] if _is_simple(value) else None
    if type(value) is not type:
        return None
    parts: list[Part] = [ClassPart(value)]
    for name, attribute in _own(value).items():
        if name == "__annotations__":  # as the class statement made it
            continue
        functions = _functions_in(attribute)
        if functions is None or not all(map(_is_simple, functions)):
            return None
        parts += map(FunctionPart, functions)
    return parts


def _functions_in(attribute: Any) -> list[types.FunctionType] | None:
    """The functions that an attribute of a class consists of; None when it may change unseen."""
    if type(attribute) in ATOMS or isinstance(attribute, DESCRIPTORS):
        return []
    if isinstance(attribute, tuple):
        return [] if all(type(item) in ATOMS for item in attribute) else None
    found = [attribute]
    if type(attribute) is property:
        found = [one for one in (attribute.fget, attribute.fset, attribute.fdel) if one is not None]
    elif type(attribute) in (staticmethod, classmethod):
        found = [attribute.__func__]
    return found if all(isinstance(one, types.FunctionType) for one in found) else None


def _is_simple(function: types.FunctionType) -> bool:
    """True when a function is its code and plain values: its pickle is the same as long as they are."""
    return (
        function.__closure__ is None
        and not function.__kwdefaults__
        and not function.__dict__
        and all(type(value) in ATOMS for value in function.__defaults__ or ())
        and not _has_annotations(function)
        and not looks_up(function.__code__)
    )


def looks_up(code: types.CodeType) -> bool:
    """True when code may use any global of its module, by a name that it makes."""
    return not _LOOKS_UP.isdisjoint(global_names(code))


def _has_annotations(function: types.FunctionType) -> bool:
    if sys.version_info >= (3, 14):
        return function.__annotate__ is not None
    return bool(function.__annotations__)


_GLOBAL_OPERATIONS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"})


@functools.lru_cache(maxsize=10_000)
def global_names(code: types.CodeType) -> tuple[str, ...]:
    """The names of the globals that code uses, the code inside it too.  ``co_names`` has attributes as well."""
    import dis  # late: many programs never ask

    names = dict.fromkeys(str(i.argval) for i in dis.get_instructions(code) if i.opname in _GLOBAL_OPERATIONS)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= dict.fromkeys(global_names(constant))
    return tuple(names)
