"""May the pickle of a function be used again?  Only while all it depends on is the same.

A function that can be imported is pickled as its name, which never changes.  Another one
(of the main program, a lambda, a closure) is pickled by value: its code, its defaults,
the variables of its closure and the globals that it names.  A ``Snapshot`` remembers
these, and ``holds`` compares them by identity: cheap enough for every ``submit``.  What
may change without becoming another object (a list, an instance, a class that holds one) has
no snapshot: such a function is pickled every time.  A class of plain functions and values has one.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from clusterfutures.by_value import is_by_value
from clusterfutures.store.fingerprints import ATOMS, FunctionPart, Part, global_names, looks_up, parts_of

__all__ = ["Snapshot", "is_importable"]

_MISSING = object()


class Snapshot:
    """What a function's pickle depends on, as it was."""

    __slots__ = ("_cells", "_classes", "_functions", "_globals")

    def __init__(self) -> None:
        self._functions: list[tuple[types.FunctionType, Any, Any, Any]] = []
        self._globals: list[tuple[dict[str, Any], str, Any]] = []
        self._cells: list[tuple[types.CellType, Any]] = []
        self._classes: list[Part] = []

    @classmethod
    def of(cls, function: Any) -> Snapshot | None:
        """A snapshot of ``function``; None when it may change unseen."""
        snapshot = cls()
        if is_importable(function):
            return snapshot
        return snapshot if isinstance(function, types.FunctionType) and snapshot._add(function, set()) else None

    def holds(self) -> bool:
        """True while everything is as it was."""
        for function, code, defaults, keywords in self._functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not keywords
                or function.__dict__
            ):
                return False
        for variables, name, value in self._globals:
            if variables.get(name, _MISSING) is not value:
                return False
        if not all(part.holds() for part in self._classes):
            return False
        if not self._cells:
            return True
        try:
            return all(cell.cell_contents is value for cell, value in self._cells)
        except ValueError:  # emptied since
            return False

    def _add(self, function: types.FunctionType, seen: set[int]) -> bool:
        """Add all that ``function`` depends on; False when something may change unseen."""
        if id(function) in seen:
            return True
        seen.add(id(function))
        keywords = function.__kwdefaults__
        self._functions.append((function, function.__code__, function.__defaults__, keywords))
        values = [*(function.__defaults__ or ())]
        for cell in function.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:  # empty: filled later
                return False
            self._cells.append((cell, value))
            values.append(value)
        for name in global_names(function.__code__):
            value = function.__globals__.get(name, _MISSING)
            self._globals.append((function.__globals__, name, value))
            if value is not _MISSING:
                values.append(value)
        if keywords or function.__dict__ or looks_up(function.__code__):
            return False
        return all(self._is_steady(value, seen) for value in values)

    def _is_steady(self, value: Any, seen: set[int]) -> bool:
        if isinstance(value, types.ModuleType):
            return _is_importable_module(value)
        if type(value) in ATOMS or is_importable(value):
            return True
        if isinstance(value, type):
            return self._add_class(value, seen)
        return isinstance(value, types.FunctionType) and self._add(value, seen)

    def _add_class(self, cls: type, seen: set[int]) -> bool:
        if id(cls) in seen:
            return True
        seen.add(id(cls))
        parts = parts_of(cls)
        if parts is None:
            return False
        self._classes.append(parts[0])
        functions = [part.function for part in parts if isinstance(part, FunctionPart)]
        return all(self._add(function, seen) for function in functions) and all(
            self._is_steady(base, seen) for base in cls.__bases__
        )


def _is_importable_module(module: types.ModuleType) -> bool:
    """True when a module is pickled as its name."""
    return sys.modules.get(module.__name__) is module and not is_by_value(module.__name__)


def is_importable(obj: Any) -> bool:
    """True when ``obj`` is pickled as a name to import."""
    if not isinstance(obj, types.FunctionType | types.BuiltinFunctionType | type):
        return False  # and no attribute of it is asked for: it may be a user's object, with a ``__getattr__``
    module = getattr(obj, "__module__", None)
    name = getattr(obj, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or is_by_value(module):
        return False
    found: Any = sys.modules.get(module)
    if found is None:
        return False
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is obj
