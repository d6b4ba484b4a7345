"""Annotations of functions and classes that travel: as values, as text, or evaluated on demand (Python 3.14).

An annotation that is text names globals, which ``typing.get_type_hints`` looks for where the function or class
is then: so they travel as well (``names``).

Since 3.14 an annotation is evaluated on demand.  Three things follow, which cloudpickle (3.1.3) does not handle:

- A name that is not known yet becomes a ``ForwardRef`` (a dataclass that names itself has
  one in its fields).  It refers to all globals of its module, so these would travel along.
- A name that exists for type checkers only raises NameError.  Then the annotations travel
  with a ``ForwardRef`` for that name.
- A class keeps a function that evaluates its annotations, which cannot travel.  The
  annotations travel in its place.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

__all__ = ["can_evaluate", "evaluated", "names", "reduced", "with_annotations"]

#: what a class of 3.14 keeps for its annotations, in the order in which it looks there
_LAZY = ("__annotate_func__", "__annotate__", "__annotations_cache__")


def names(obj: Any) -> Iterator[str]:
    """The names in those annotations of a function or class that are text."""
    if sys.version_info >= (3, 14):
        found = _annotations(obj) if isinstance(obj, type) or obj.__annotate__ is not None else {}
    else:
        found = obj.__annotations__ if not isinstance(obj, type) else vars(obj).get("__annotations__", {})
    for annotation in list(found.values()) if isinstance(found, dict) else ():
        yield from _named_in(annotation)


def _named_in(annotation: Any) -> Iterator[str]:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", None)
    if isinstance(text, str):
        yield from _named_in_text(text)
    elif type(annotation) is not type:
        arguments = getattr(annotation, "__args__", ())
        for argument in arguments if isinstance(arguments, tuple) else ():
            yield from _named_in(argument)


@functools.lru_cache(maxsize=10_000)
def _named_in_text(text: str) -> tuple[str, ...]:
    import ast  # late: few programs have such annotations

    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError):  # any text is an annotation
        return ()
    found = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    inner = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return tuple(dict.fromkeys([*found, *(name for one in inner if one != text for name in _named_in_text(one))]))


def reduced(reference: Any) -> tuple[Any, ...]:
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


def can_evaluate(obj: Any) -> bool:
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


def evaluated(function: types.FunctionType) -> types.FunctionType:
    """The same function, with annotations that can be had."""
    same = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    same.__annotations__ = _annotations(function)
    same.__kwdefaults__ = function.__kwdefaults__
    same.__module__, same.__qualname__, same.__doc__ = function.__module__, function.__qualname__, function.__doc__
    same.__dict__.update(function.__dict__)
    return same


def with_annotations(kind: type, reduced: Any) -> Any:
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
