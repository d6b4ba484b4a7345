"""cloudpickle, with what tracebacks, child processes of multiprocessing and Python 3.14 need.

Code keeps the name and the lines of its file (``store/code_objects.py``).

Since 3.14 an annotation is evaluated when somebody asks for it.  Three things follow, which
cloudpickle (3.1.3) does not handle:

- A name that is not known yet becomes a ``ForwardRef`` (a dataclass that names itself has
  one in its fields).  It refers to all globals of its module, so these would travel along.
- A name that exists for type checkers only raises NameError.  Then the annotations travel
  with a ``ForwardRef`` for that name.
- A class keeps a function that evaluates its annotations, which cannot travel.  The
  annotations travel in its place.

Used in the program and on the node, for everything that plain pickle cannot do.
"""

from __future__ import annotations

import contextlib
import functools
import io
import pickle
import sys
import types
from collections import ChainMap
from collections.abc import Callable
from typing import Any, ClassVar

import cloudpickle

from clusterfutures.store import code_objects

__all__ = ["Pickler", "dumps"]

#: what a class of 3.14 keeps for its annotations, in the order in which it looks there
_LAZY = ("__annotate_func__", "__annotate__", "__annotations_cache__")


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's pickler, which has another ``dispatch_table`` here."""

    dispatch_table: ClassVar[ChainMap[Any, Any]] = ChainMap(
        {types.CodeType: code_objects.reduced}, cloudpickle.Pickler.dispatch_table
    )

    def __init__(
        self,
        file: Any,
        protocol: int | None = None,
        buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
    ) -> None:
        main = sys.modules.get("__mp_main__")
        if main is not None:  # so multiprocessing calls the program in a child process: no node can import that
            cloudpickle.register_pickle_by_value(main)
        super().__init__(file, protocol, buffer_callback)

    if sys.version_info >= (3, 14):
        from annotationlib import ForwardRef as _ForwardRef

        dispatch_table = dispatch_table.new_child({_ForwardRef: lambda ref: _reduced(ref)})

        def reducer_override(self, obj: Any) -> Any:
            """As documented for pickle: how to pickle a function or class, or NotImplemented."""
            try:
                reduced = super().reducer_override(obj)
            except Exception:
                if not isinstance(obj, types.FunctionType) or _can_evaluate(obj):
                    raise
                reduced = super().reducer_override(_evaluated(obj))
            return _with_annotations(obj, reduced) if isinstance(obj, type) else reduced


def dumps(
    value: Any, protocol: int | None = None, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None
) -> bytes:
    """As ``cloudpickle.dumps``."""
    file = io.BytesIO()
    Pickler(file, protocol, buffer_callback).dump(value)
    return file.getvalue()


def _reduced(reference: Any) -> tuple[Any, ...]:
    """A ForwardRef without the globals and the variables of closures in which it was made.

    Its owner leads to the globals where it arrives.  It is set afterwards: it may hold the reference itself.
    """
    kind: Any = type(reference)
    make = functools.partial(
        kind,
        module=reference.__forward_module__,
        is_argument=reference.__forward_is_argument__,
        is_class=reference.__forward_is_class__,
    )
    return make, (reference.__forward_arg__,), (None, {"__owner__": reference.__owner__})


def _can_evaluate(obj: Any) -> bool:
    try:
        return obj.__annotations__ is not None
    except Exception:  # not only NameError: an annotation is any expression
        return False


def _annotations(obj: Any) -> dict[str, Any]:
    """The annotations, with a ForwardRef in the place of what cannot be evaluated."""
    import annotationlib  # only 3.14 and later have it

    for format in (annotationlib.Format.VALUE, annotationlib.Format.FORWARDREF):
        with contextlib.suppress(Exception):  # an expression may be wrong in itself, as 1 / 0
            found: dict[str, Any] = annotationlib.get_annotations(obj, format=format)
            return found
    return {}


def _evaluated(function: types.FunctionType) -> types.FunctionType:
    """The same function, with annotations that can be had."""
    same = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    same.__annotations__ = _annotations(function)
    same.__kwdefaults__ = function.__kwdefaults__
    same.__module__, same.__qualname__, same.__doc__ = function.__module__, function.__qualname__, function.__doc__
    same.__dict__.update(function.__dict__)
    return same


def _with_annotations(kind: type, reduced: Any) -> Any:
    """What cloudpickle says of a class by value, with the annotations in what is set afterwards."""
    if not isinstance(reduced, tuple) or len(reduced) < 3 or not isinstance(reduced[2], tuple):
        return reduced
    attributes = reduced[2][0]
    if not isinstance(attributes, dict) or not any(name in vars(kind) for name in _LAZY):
        return reduced
    for name in _LAZY:
        attributes.pop(name, None)
    attributes["__annotations__"] = _annotations(kind)
    return reduced
