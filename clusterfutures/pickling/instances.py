"""Classes that hold instances of themselves: singletons, caches of instances, named constants.

    class --state()--> its functions first | what may hold instances --> set_attributes(), then set_class_state()
    instance --reduced()--> make_instance(): without the program's ``__new__`` while the class is not whole

An instance among the attributes of its class is made before the class is whole.  It needs the methods of the class
(``__hash__``, ``__setstate__``), and cannot use a ``__new__`` that looks for it in the class.
"""

from __future__ import annotations

import copyreg
import types
from collections.abc import Callable
from typing import Any

from clusterfutures.pickling import definitions
from clusterfutures.pickling.calls import Call
from clusterfutures.pickling.fingerprints import ATOMS

__all__ = ["only", "reduced", "slots_of", "state"]

_CODE = (
    types.FunctionType,
    staticmethod,
    classmethod,
    property,
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
)


def state(cls: type, setter: Callable[[Any, Any], Any], attributes: dict[str, Any], slots: Any) -> Any:
    """What ``setter`` takes: the attributes that may hold instances.  In front of it, the pickle sets the others."""
    data = {name: value for name, value in attributes.items() if not _is_first(name, value)}
    if not data:
        return None, (attributes, slots)
    first = {name: value for name, value in attributes.items() if name not in data}
    return Call(definitions.set_attributes, cls, setter, (first, {})), (data, slots)


def _is_first(name: str, value: Any) -> bool:
    return isinstance(value, _CODE) or type(value) in ATOMS or (name.startswith("__") and name.endswith("__"))


def reduced(obj: Any, found: Any = None) -> Any:
    """How to pickle an instance of a class with a ``__new__`` of its own; found: what its ``__reduce_ex__`` says."""
    found = obj.__reduce_ex__(5) if found is None else found
    if not isinstance(found, tuple) or type(type(obj).__new__) is not types.FunctionType:
        return found
    make, arguments, *more = found
    if make is copyreg.__newobj__:  # type: ignore[attr-defined]
        cls, *given = arguments
        return definitions.make_instance, (cls, tuple(given), {}), *more
    if make is copyreg.__newobj_ex__:  # type: ignore[attr-defined]
        return definitions.make_instance, arguments, *more
    return found


def only(obj: Any) -> Any:
    """How to pickle the one object that a name stands for, where the name is defined."""
    slots = {name: getattr(obj, name) for name in copyreg._slotnames(type(obj)) if hasattr(obj, name)}  # type: ignore[attr-defined]
    content = getattr(obj, "__dict__", None)
    return definitions.make_only, (type(obj),), (content, slots) if slots else content


def slots_of(cls: type) -> Any:
    """The ``__slots__`` of a class, also where they were given as an iterator."""
    slots = vars(cls)["__slots__"]
    if isinstance(slots, str | tuple | list | dict):
        return slots
    return tuple(name for name, value in vars(cls).items() if isinstance(value, types.MemberDescriptorType))
