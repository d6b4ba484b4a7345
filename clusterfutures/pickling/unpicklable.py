"""What keeps a value from being pickled, and the way to it: for errors only, so it is imported late.

    explain((args, kwargs), culprit, Root.CALL)  ->  "global 'conn' of function 'load' (fit.py:12) is a
                                                      sqlite3.Connection: open it inside the call, or in initializer="

The pickler knows the object at which it failed, but not where that stands.  So the value is searched for it, breadth
first: the shortest way is found, and the one that a person would name.
"""

from __future__ import annotations

import enum
import functools
import os
import types
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any, NamedTuple

from clusterfutures.pickling import by_value
from clusterfutures.pickling.fingerprints import ATOMS, global_names

__all__ = ["Root", "explain"]

#: objects that are looked at, at the most
_MOST_OBJECTS = 300_000
#: of a key in a dictionary, and of the name of a file
_LONGEST = 60


class Root(enum.Enum):
    """What was pickled."""

    FUNCTION = "the function"
    CALL = "(args, kwargs)"
    ROWS = "a list of args"
    INITIALIZER = "(initializer, initargs)"
    RESULT = "the result"


class _Place(NamedTuple):
    """An object and how it was come to: ``anchor`` is a noun, ``steps`` what stands behind it."""

    value: Any
    anchor: str
    steps: str
    before: _Place | None

    def step(self, value: Any, step: str) -> _Place:
        return _Place(value, self.anchor, self.steps + step, self)

    def start(self, value: Any, anchor: str) -> _Place:
        return _Place(value, anchor, "", self)

    def text(self) -> str:
        return _joined(self.anchor, self.steps)


def explain(value: Any, culprit: Any, root: Root, first: int = 0) -> str:
    """A sentence about what cannot be pickled and what to do; "" when the culprit is not found in ``value``.

    first: the number of the first of the ``Root.ROWS``.
    """
    if culprit is None:
        return ""
    try:
        place = _search(value, culprit, root, first)
    except Exception:  # attributes of a user's objects may raise anything; the error itself is told without the way
        return ""
    if place is None:
        return ""
    place = _outermost_holder(place)
    advice = _advice(place.value, "" if root is Root.RESULT else ", or in initializer=")
    within = _within(place)
    return f"{place.text()} is {_kind(place.value)}{f' ({within})' if within else ''}: {advice}"


def _joined(anchor: str, steps: str) -> str:
    if not steps:
        return anchor
    if not anchor.endswith("'") and anchor.startswith(
        ("argument ", "the result", "initargs", "the function", "the initializer")
    ):
        return f"{anchor}'s {steps}"
    return f"{steps} of {anchor}"


def _within(place: _Place) -> str:
    """Through which argument a function came, whose global or closure it is."""
    first = place
    while first.before is not None and first.before.anchor:
        first = first.before
    if first.anchor == place.anchor or first.anchor in ("the function", "the initializer", "the result"):
        return ""
    last = place  # the last place before another anchor began
    while last.before is not None and last.before.anchor != first.anchor:
        last = last.before
    return f"in {last.before.text() if last.before is not None else first.text()}"


def _outermost_holder(place: _Place) -> _Place:
    """A lock within a queue is no help: the queue is what the program knows."""
    found, at = place, place.before
    while at is not None and at.anchor:
        if _holder(at.value):
            found = at
        at = at.before
    return found


# -- the search ------------------------------------------------------------------------


def _search(value: Any, culprit: Any, root: Root, first: int) -> _Place | None:
    waiting = deque(_roots(value, root, first))
    seen = {id(place.value) for place in waiting}
    keep = [value]  # what is made on the way must not give its number to something else
    while waiting and len(seen) < _MOST_OBJECTS:
        place = waiting.popleft()
        if place.value is culprit:
            return place
        try:
            inner = list(_inner(place))
        except Exception:  # an attribute of the user's that raises: what is behind it is not searched
            continue
        for one in inner:
            if type(one.value) not in ATOMS and id(one.value) not in seen:
                seen.add(id(one.value))
                keep.append(one.value)
                waiting.append(one)
    return None


def _roots(value: Any, root: Root, first: int) -> Iterator[_Place]:
    top = _Place(None, "", "", None)
    if root is Root.CALL:
        args, kwargs = value
        for number, one in enumerate(args, 1):
            yield top.start(one, f"argument {number}")
        for name, one in kwargs.items():
            yield top.start(one, f"argument {name!r}")
    elif root is Root.ROWS:
        for row, args in enumerate(value, first):
            for number, one in enumerate(args, 1):
                yield top.start(one, f"argument {number} of call {row}")
    elif root is Root.INITIALIZER:
        yield top.start(value[0], "the initializer")
        for number, one in enumerate(value[1]):
            yield top.start(one, f"initargs[{number}]")
    else:
        yield top.start(value, root.value)


def _inner(place: _Place) -> Iterator[_Place]:
    """What an object takes along when it is pickled."""
    value = place.value
    if isinstance(value, types.FunctionType):
        yield from _of_function(place, value)
    elif isinstance(value, type):
        if by_value.is_by_value(value.__module__) or "<locals>" in value.__qualname__:
            for name, one in list(vars(value).items()):
                inner = getattr(one, "__func__", one)
                for found in (one.fget, one.fset) if isinstance(one, property) else (inner,):
                    yield place.start(found, f"attribute {name!r} of class {value.__qualname__!r}")
            for base in value.__bases__:
                yield place.start(base, f"class {base.__qualname__!r}")
    elif isinstance(value, types.ModuleType):
        if by_value.is_by_value(value.__name__):
            for name, one in list(vars(value).items()):
                if not name.startswith("__"):
                    yield place.start(one, f"global {name!r} of module {value.__name__!r}")
    elif isinstance(value, types.MethodType):
        yield place.start(value.__self__, f"the object of method {value.__qualname__!r}")
        yield place.step(value.__func__, ".__func__")
    elif isinstance(value, types.CellType):
        yield place.step(value.cell_contents, "")
    elif not _stops(value):
        yield from _of_object(place, value)


def _of_function(place: _Place, function: types.FunctionType) -> Iterator[_Place]:
    if "<locals>" not in function.__qualname__ and not by_value.is_by_value(function.__module__ or "__main__"):
        return  # it is imported there
    code = function.__code__
    name = f"function {function.__qualname__!r} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})"
    for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield place.start(cell.cell_contents, f"variable {variable!r} in the closure of {name}")
        except ValueError:  # empty
            continue
    positional = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    pairs = [*zip(positional[len(positional) - len(defaults) :], defaults, strict=False)]
    for argument, value in [*pairs, *(function.__kwdefaults__ or {}).items()]:
        yield place.start(value, f"default of argument {argument!r} of {name}")
    if by_value.is_by_value(function.__globals__.get("__name__", "__main__")):
        for variable in global_names(code):
            if variable in function.__globals__:
                yield place.start(function.__globals__[variable], f"global {variable!r} of {name}")
    for attribute, value in vars(function).items():
        yield place.start(value, f"attribute {attribute!r} of {name}")


def _stops(value: Any) -> bool:
    return isinstance(value, types.GeneratorType | types.CoroutineType | types.AsyncGeneratorType | types.FrameType)


def _of_object(place: _Place, value: Any) -> Iterator[_Place]:
    if isinstance(value, dict):
        for key, one in list(value.items()):
            yield place.step(one, f"[{_short(key)}]")
            yield place.step(key, f".{{key {_short(key)}}}")
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield place.step(one, f"[{number}]")
    elif isinstance(value, set | frozenset):
        for one in value:
            yield place.step(one, ".{an element}")
    for name, one in _attributes(value):
        yield place.step(one, f".{name}")
    if type(value) in (dict, list, tuple, set, frozenset, functools.partial):
        return
    yield from _of_reduced(place, value)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    yield from list(getattr(value, "__dict__", {}).items())
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            member = f"_{cls.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            if name not in ("__dict__", "__weakref__") and hasattr(value, member):
                yield name, getattr(value, member)
    if isinstance(value, functools.partial):
        yield from (("func", value.func), ("args", value.args), ("keywords", value.keywords))


def _of_reduced(place: _Place, value: Any) -> Iterator[_Place]:
    """What its ``__reduce_ex__`` says: of containers of other libraries, and of what is written in C."""
    try:
        reduced = value.__reduce_ex__(5)
    except Exception:  # this very object, or one like it, cannot be pickled
        return
    if not isinstance(reduced, tuple):
        return
    parts: list[Any] = [*reduced[1:], None, None, None, None]
    arguments, state, items, pairs = parts[:4]
    for number, one in enumerate(items or ()):
        yield place.step(one, f"[{number}]")
    for key, one in pairs or ():
        yield place.step(one, f"[{_short(key)}]")
    for one in arguments or ():
        if not isinstance(one, type):
            yield place.step(one, "")
    for one in state if isinstance(state, tuple) else (state,):
        if isinstance(one, dict):
            for name, attribute in one.items():
                yield place.step(attribute, f".{name}" if isinstance(name, str) else f"[{_short(name)}]")
        elif one is not None:
            yield place.step(one, "")


def _short(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


# -- what it is, and what to do --------------------------------------------------------

_MAKE = "make it inside the call"
_RESULTS = "return results instead: it reaches processes of one machine only"
_LOCK = "make it inside the call, or give a multiprocessing.Lock(), which holds for all processes"
#: module and name of a class among the bases -> is it what the program knows, and what to do;
#: a plus stands for ", or in initializer="
_KNOWN: dict[tuple[str, str], tuple[bool, str]] = {
    ("concurrent.futures._base", "Executor"): (True, "leave it out: a call may make one of its own"),
    ("io", "IOBase"): (True, "give its name, and open it inside the call"),
    ("_io", "_IOBase"): (True, "give its name, and open it inside the call"),
    ("tempfile", "_TemporaryFileWrapper"): (True, "give its name, and open it inside the call"),
    ("_socket", "socket"): (True, "open it inside the call+"),
    ("ssl", "SSLContext"): (True, _MAKE + "+"),
    ("_ssl", "_SSLContext"): (True, _MAKE + "+"),
    ("subprocess", "Popen"): (True, "start it inside the call"),
    ("threading", "Thread"): (True, "start it inside the call+"),
    ("queue", "Queue"): (True, "return results instead, or give a list"),
    ("_queue", "SimpleQueue"): (True, "return results instead, or give a list"),
    ("multiprocessing.queues", "Queue"): (True, _RESULTS),
    ("multiprocessing.queues", "SimpleQueue"): (True, _RESULTS),
    ("multiprocessing.queues", "JoinableQueue"): (True, _RESULTS),
    ("multiprocessing.pool", "Pool"): (True, "make it inside the call+"),
    ("multiprocessing.process", "BaseProcess"): (True, "start it inside the call"),
    ("multiprocessing.synchronize", "Barrier"): (True, "return results instead, or use a multiprocessing.Condition"),
    ("multiprocessing.connection", "_ConnectionBase"): (True, _RESULTS),
    ("multiprocessing.sharedctypes", "SynchronizedBase"): (True, _RESULTS),
    ("asyncio.events", "AbstractEventLoop"): (True, "use asyncio.run inside the call"),
    ("_asyncio", "Future"): (True, "await it, and give its result"),
    ("asyncio.futures", "Future"): (True, "await it, and give its result"),
    ("threading", "Condition"): (True, _MAKE + "+"),
    ("threading", "Event"): (True, _MAKE + "+"),
    ("threading", "Semaphore"): (True, _MAKE + "+"),
    ("threading", "Barrier"): (True, _MAKE + "+"),
    ("_thread", "lock"): (False, _LOCK),
    ("_thread", "RLock"): (False, _LOCK),
    ("threading", "_RLock"): (False, _LOCK),
    ("_thread", "_local"): (False, _MAKE),
    ("builtins", "generator"): (False, "give list(...) of it, or what it is made from"),
    ("builtins", "async_generator"): (False, "give a list of what it yields"),
    ("builtins", "coroutine"): (False, "give the function and its arguments, and use asyncio.run inside the call"),
    ("builtins", "frame"): (False, "give the values that the call needs"),
    ("builtins", "traceback"): (False, "give the text, by traceback.format_exc()"),
    ("builtins", "mappingproxy"): (False, "give dict(...) of it"),
    ("builtins", "dict_keys"): (False, "give list(...) of it"),
    ("builtins", "dict_values"): (False, "give list(...) of it"),
    ("builtins", "dict_items"): (False, "give list(...) of it"),
    ("builtins", "memoryview"): (False, "give bytes(...) of it"),
    ("builtins", "module"): (False, "import it inside the call"),
    ("builtins", "weakref"): (False, "give the object itself"),
}  # fmt: skip
_OPENED = ("Connection", "Cursor", "Session", "Engine", "Client", "Channel", "Database", "Dataset", "Handle", "File")


def _known(value: Any) -> tuple[bool, str] | None:
    for cls in type(value).__mro__:
        found = _KNOWN.get((cls.__module__, cls.__qualname__))
        if found is not None:
            return found
    return None


def _holder(value: Any) -> bool:
    known = _known(value)
    return isinstance(value, Executor) or (known is not None and known[0]) or _looks_opened(value)


def _looks_opened(value: Any) -> bool:
    kind = type(value)
    return kind.__qualname__.endswith(_OPENED) and not by_value.is_by_value(kind.__module__)


def _advice(value: Any, or_initializer: str) -> str:
    known = _known(value)
    if known is not None:
        advice = known[1]
        return advice.removesuffix("+") + (or_initializer if advice.endswith("+") else "")
    return ("open it inside the call" if _looks_opened(value) else _MAKE) + or_initializer


def _kind(value: Any) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, Executor):
        return (
            f"the executor itself, a {kind.__qualname__}"
            if by_value.is_by_value(kind.__module__)
            else f"an executor ({name})"
        )
    article = "an" if name[0] in "aeiouAEIOU" else "a"
    if any((cls.__module__, cls.__qualname__) in (("_io", "_IOBase"), ("io", "IOBase")) for cls in kind.__mro__):
        file = getattr(value, "name", "")
        return f"an open file ({name}{f' of {_short(file)}' if isinstance(file, str) and file else ''})"
    return f"{article} {name}"
