"""Enumerations by value, as they are: with aliases, with what ``__new__`` and ``__init__`` gave their members.

    class --reduced()--> name: what its builtin type was made from, and value --make()--> the class and its members
          and attributes of members --set_state()--> the members have them

The code of the program that made the members ran when the program defined the class; it does not run again.
"""

from __future__ import annotations

import enum
import functools
import types
from collections.abc import Callable
from typing import Any

__all__ = ["by_name", "make", "reduced", "set_state"]

_SIMPLE = (object, int, str, float, bytes, complex, tuple)
#: what ``enum`` itself keeps in a member
_INTERNAL = ("_value_", "_name_", "_sort_order_", "_inverted_", "__objclass__")
_MEMBERS = "<members>"


def _given(cls: type[enum.Enum]) -> dict[str, tuple[Any, Any]] | None:
    """What each name was made from; None where the members have a type that has to be made by its own code."""
    kind = cls._member_type_  # type: ignore[attr-defined]
    base = next(
        (base for base in kind.__mro__ if isinstance(vars(base).get("__new__"), types.BuiltinFunctionType)), None
    )
    if base not in _SIMPLE:
        return None
    return {
        name: (() if base is object else base.__getnewargs__(member), member._value_)
        for name, member in cls.__members__.items()
    }


def _with_members(cls: type[enum.Enum], attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of the class without its members, and what else the members have."""
    more = {}
    for name, member in cls._member_map_.items():
        own = {key: value for key, value in vars(member).items() if key not in _INTERNAL}
        if own and name == member._name_:
            more[name] = own
    rest = {name: value for name, value in attributes.items() if name not in cls._member_map_}
    return rest | {_MEMBERS: more} if more else rest


class _Given:
    """Stands for a member in the body of a class."""

    def __init__(self, arguments: Any, value: Any) -> None:
        self.arguments = arguments
        self.value = value


def _new_member(cls: Any, given: _Given) -> Any:
    kind = cls._member_type_
    new = next(base.__new__ for base in kind.__mro__ if type(base.__new__) is types.BuiltinFunctionType)
    member = new(cls, *given.arguments)
    member._value_ = given.value
    return member


def _nothing(_member: Any, _given: Any) -> None:
    """Stands for ``__init__``: what it did comes with the members."""


def make(
    kind: type, name: str, bases: tuple[Any, ...], members: dict[str, tuple[Any, Any]], first: dict[str, Any]
) -> Any:
    """Make the class; first: ``__module__`` and the like, and ``_boundary_`` of flags."""
    body: Any = kind.__prepare__(name, bases)
    boundary = first.pop("_boundary_", None)
    for key, value in first.items():
        body[key] = value
    body["__new__"], body["__init__"] = _new_member, _nothing
    for key, value in members.items():
        body[key] = _Given(*value)
    made: Any = enum.EnumType.__new__(kind, name, bases, body, boundary=boundary)
    for key in ("__init__", "__new_member__"):
        if key in vars(made):
            type.__delattr__(made, key)
    return made


def reduced(cls: Any, attributes: dict[str, Any], setter: Any) -> tuple[Any, ...] | None:
    """How to make the class, its attributes, and what sets them; None: as cloudpickle does."""
    members = _given(cls)
    if members is None:
        return None
    first = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    if isinstance(cls, enum.EnumType) and issubclass(cls, enum.Flag):
        first["_boundary_"] = cls._boundary_  # type: ignore[attr-defined]
    arguments = (type(cls), cls.__name__, cls.__bases__, members, first)
    return make, arguments, _with_members(cls, attributes), functools.partial(set_state, setter)


def set_state(setter: Callable[[Any, Any], Any], cls: Any, state: Any) -> None:
    """Set attributes, also those of members."""
    attributes, slots = state
    more = attributes.pop(_MEMBERS, {})
    setter(cls, (attributes, slots))
    for name, own in more.items():
        vars(cls._member_map_[name]).update(own)


def by_name(member: enum.Enum) -> Any:
    """How to pickle a member; one with a value that may not be equal to its copy, by its name."""
    found = member.__reduce_ex__(5)
    is_own = getattr(type(member), "_member_map_", {}).get(member._name_) is member
    if is_own and isinstance(member._value_, types.FunctionType | functools.partial):
        return getattr, (type(member), member._name_)
    return found
