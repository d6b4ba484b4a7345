"""Types of ctypes that travel by value: structures and unions of the program, and what ctypes makes of types.

    POINTER(T), T * n, CFUNCTYPE(...)   --> made again by the same call
    class S(Structure): _fields_ = ...  --> the class first, then its fields: they may point to the class itself

Only for a program that has imported ctypes.
"""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable
from typing import Any

__all__ = ["made_again", "set_state", "without_fields"]

_ROOTS: tuple[Any, ...] = (
    ctypes.Structure, ctypes.Union, ctypes.c_int.__mro__[1], ctypes.Array, ctypes.POINTER(ctypes.c_int).__mro__[1],
    ctypes.CFUNCTYPE(None).__mro__[1],
)  # fmt: skip
_POINTER, _FUNCTION = _ROOTS[4], _ROOTS[5]
#: what has to be there before the fields are
_FIRST = ("_align_", "_anonymous_", "_layout_", "_pack_", "_swappedbytes_")
#: what ctypes makes of a simple type itself
_ORDERS = ("__ctype_be__", "__ctype_le__")


def made_again(cls: type) -> tuple[Any, ...] | None:
    """How a type that ctypes made is pickled; None for another type."""
    for root in _ROOTS:
        if cls is type(root):  # a metaclass, which has no name to import it by
            return type, (root,)
    made: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
    if not isinstance(cls, tuple(map(type, _ROOTS))) or cls in _ROOTS:
        return None
    named: Any = cls
    if issubclass(cls, _ROOTS[2]) and cls.__name__.endswith(
        ("_be", "_le")
    ):  # the type of a field of the other byte order
        usual, order = vars(ctypes).get(cls.__name__[:-3]), f"__ctype{cls.__name__[-3:]}__"
        return (getattr, (usual, order)) if getattr(usual, order, None) is cls else None
    if issubclass(cls, _POINTER) and hasattr(cls, "_type_"):
        made = ctypes.POINTER, (named._type_,)
    elif issubclass(cls, ctypes.Array):
        made = operator.mul, (named._type_, named._length_)
    elif issubclass(cls, _FUNCTION) and hasattr(cls, "_argtypes_"):
        arguments = (named._restype_, *named._argtypes_)
        made = (ctypes.PYFUNCTYPE if named._flags_ & 4 else ctypes.CFUNCTYPE), arguments
    return made if made is not None and made[0](*made[1]) is cls else None


def without_fields(cls: type, first: dict[str, Any], attributes: dict[str, Any]) -> dict[str, Any] | None:
    """The attributes to set after a structure or union was made, its fields before all others; None for another class.

    first: what it is made with; what has to be there before the fields is added to it.
    """
    if issubclass(cls, _ROOTS[2]):
        return {n: v for n, v in attributes.items() if n not in _ORDERS}
    if not issubclass(cls, ctypes.Structure | ctypes.Union):
        return None
    first.update((name, attributes[name]) for name in _FIRST if name in attributes)
    return {n: v for n, v in attributes.items() if n not in _FIRST and type(v).__name__ != "CField"}


def set_state(setter: Callable[[Any, Any], Any], cls: Any, state: tuple[dict[str, Any], Any]) -> None:
    """Set the fields, once, then what is left."""
    attributes, slots = state
    attributes = dict(attributes)
    fields = attributes.pop("_fields_", None)
    if fields is not None and "_fields_" not in vars(cls):
        cls._fields_ = fields
    setter(cls, (attributes, slots))
