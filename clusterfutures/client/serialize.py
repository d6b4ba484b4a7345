"""Calls to bytes: functions once each, arguments at once, large buffers by content.

    submit(f, x)  -> function key, pickle of ((x,), {}), keys of large buffers, futures
    map(f, xs)    -> function key, one pickle for a list of argument tuples

What is pickled is pickled in the caller's thread and at once: a later change to an
argument does not leak in.  Buffers of ``LARGE_BYTES`` and more (NumPy arrays, by pickle
protocol 5) go to ``objects/`` under the hash of their bytes, so one that is used a
thousand times is written once.  A future among the arguments, however deep, is replaced
by a reference to its result.

May the pickle of a function be used again?  Only while all it depends on is the same.  A function
that can be imported is pickled as its name, which never changes.  Another one (of the main program,
a lambda, a closure) is pickled by value: its code, its defaults, the variables of its closure and
the globals that it names.  A ``FunctionSnapshot`` remembers these, and ``holds`` compares them by
identity: cheap enough for every ``submit``.  What may change without becoming another object (a
list, an instance, a class that holds one) has no snapshot: such a function is pickled every time.
A class of plain functions and values has one.

Large buffers that come again are found by comparing them with what was written:

    buffer --length and both ends--> candidate --all of it is equal--> its key

The same array in a thousand calls is the same bytes every time, unless the program has
changed it in between.  Comparing it with the object's file, which is in the page cache,
answers that in a seventh of the time of hashing it again.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
import sys
import threading
import types
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from clusterfutures.client import failures
from clusterfutures.client.tasks import name_of
from clusterfutures.errors import StoreError, TransferError
from clusterfutures.options.places import current_directory
from clusterfutures.pickling import by_value
from clusterfutures.pickling.by_value import is_by_value
from clusterfutures.pickling.fingerprints import ATOMS, FunctionPart, Part, global_names, looks_up, parts_of
from clusterfutures.store import references
from clusterfutures.store.bins import Extras
from clusterfutures.store.frames import Bytes
from clusterfutures.store.run_directory import LARGE_BYTES, RunDirectory

__all__ = ["BufferCache", "FunctionSnapshot", "Pickled", "Pickler", "is_importable"]

logger = logging.getLogger("clusterfutures")

_MOST_KEPT = 8
_END = 64
_WORD = 8


class BufferCache:
    """The last few buffers that were stored.  Used by any thread: single steps on a dict."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._kept: dict[tuple[int, bytes, bytes], tuple[str, memoryview]] = {}

    def find(self, buffer: memoryview) -> str | None:
        """The key of the object that holds just these bytes; None when that is not known."""
        key, written = self._kept.get(_ends(buffer), ("", None))
        return key if written is not None and _equal(buffer, written) else None

    def keep(self, buffer: memoryview, key: str) -> None:
        """These bytes have been stored under ``key``."""
        try:
            (written,) = self._run.map_object(key, 0.0, checked=True)
        except (OSError, StoreError) as error:  # it is hashed again when it comes again
            logger.debug("clusterfutures: a stored buffer cannot be compared with: %s", error)
            return
        self._kept[_ends(buffer)] = (key, written)
        while len(self._kept) > _MOST_KEPT:
            self._kept.pop(next(iter(self._kept)), None)

    def forget(self) -> None:
        """Close the files: the run directory is about to be removed."""
        self._kept.clear()


def _ends(buffer: memoryview) -> tuple[int, bytes, bytes]:
    return len(buffer), bytes(buffer[:_END]), bytes(buffer[-_END:])


def _equal(one: memoryview, other: memoryview) -> bool:
    """Compare word by word, which is several times as fast as byte by byte."""
    whole = len(one) - len(one) % _WORD
    return one[:whole].cast("Q") == other[:whole].cast("Q") and one[whole:] == other[whole:]


_MISSING = object()


class FunctionSnapshot:
    """What a function's pickle depends on, as it was."""

    __slots__ = ("_cells", "_classes", "_functions", "_globals")

    def __init__(self) -> None:
        self._functions: list[tuple[types.FunctionType, Any, Any, Any]] = []
        self._globals: list[tuple[dict[str, Any], str, Any]] = []
        self._cells: list[tuple[types.CellType, Any]] = []
        self._classes: list[Part] = []

    @classmethod
    def of(cls, function: Any) -> FunctionSnapshot | None:
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


_MOST_KNOWN = 1000
#: objects in a directory: what comes after that many goes into another
_MOST_IN_DIRECTORY = 2000
#: what every pickler writes in the same way, and that refers to nothing
_A_RESULT = "a result that is an argument of "
_PLAIN = frozenset({int, float, complex, bool, type(None), str, bytes})


class Pickled(NamedTuple):
    """A pickle and what it refers to: ``extras`` when anything stands outside it."""

    data: bytes
    extras: Extras | None
    futures: tuple[Future[Any], ...]


class _ArgumentPickler(by_value.Pickler):
    """cloudpickle, which in addition writes a reference in the place of a future."""

    def __init__(self, file: io.BytesIO, keep: Callable[[pickle.PickleBuffer], bool]) -> None:
        super().__init__(file, 5, buffer_callback=keep)
        self.futures: list[Future[Any]] = []

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Future):
            self.futures.append(obj)
            return references.result, (len(self.futures) - 1,)
        return super().reducer_override(obj)


class Pickler:
    """Pickles for one run.  Used by any thread."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        references.client_run = run.path
        self._lock = threading.Lock()
        self._written: dict[str, str] = {}  # digest -> key
        self._repeated = BufferCache(run)
        self._path = list(sys.path)
        self._new_path: list[str] = []
        self._directory = current_directory()
        self._new_directory = ""  # "": that of the run's begin
        self._known: dict[int, tuple[Any, str, FunctionSnapshot]] = {}
        self._rest = ""
        self._rest_names: list[tuple[str, int]] = []

    def arguments(self, value: Any, function: Callable[..., Any], first: int = 0) -> Pickled:
        """Pickle arguments of ``function``: (args, kwargs), or a list of args from the ``first`` call of a map on.

        Raises TransferError when they cannot be; StoreError or OSError when a large buffer cannot be written.
        """
        buffers: list[pickle.PickleBuffer] = []
        file = io.BytesIO()
        pickler = _ArgumentPickler(file, _keeper(buffers))
        _dump(pickler, value, "an argument of ", function, first)
        data = file.getvalue()
        if not buffers and len(data) <= LARGE_BYTES:
            return Pickled(data, None, tuple(pickler.futures))
        keys = self._store_buffers(buffers)
        if len(data) <= LARGE_BYTES:
            return Pickled(data, Extras("", keys, ()), tuple(pickler.futures))
        stored = self._store([data, pickle.dumps((keys, self._new_path, ""), 5)])
        return Pickled(b"", Extras(stored, (), ()), tuple(pickler.futures))

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], function: Callable[..., Any]) -> Pickled:
        """Pickle the arguments of one call; see ``arguments``."""
        if not kwargs and _PLAIN.issuperset(
            map(type, args)
        ):  # nothing here is for cloudpickle, which takes ten times as long
            data = pickle.dumps((args, kwargs), 5)
            if len(data) <= LARGE_BYTES:
                return Pickled(data, None, ())
        return self.arguments((args, kwargs), function)

    def result(self, value: Any, function: Callable[..., Any]) -> tuple[bytes, tuple[str, ...]]:
        """Pickle the result that another call waits for: its pickle and its buffers."""
        buffers: list[pickle.PickleBuffer] = []
        file = io.BytesIO()
        _dump(by_value.Pickler(file, 5, buffer_callback=_keeper(buffers)), value, _A_RESULT, function)
        return file.getvalue(), self._store_buffers(buffers)

    def initializer(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], what: str = "the initializer"
    ) -> Extras:
        """Store an initializer with its arguments; errors call it ``what``."""
        return Extras(self._stored((function, arguments), f"{what} ", function, by_value.StatePickler), (), ())

    def _stored(
        self, value: Any, what: str, function: Callable[..., Any], kind: type[by_value.Pickler] = by_value.Pickler
    ) -> str:
        buffers: list[pickle.PickleBuffer] = []
        file = io.BytesIO()
        pickler = kind(file, 5, buffer_callback=_keeper(buffers), rest=self._rest_of_program)
        _dump(pickler, value, what, function)
        keys = self._store_buffers(buffers)
        return self._store([file.getvalue(), pickle.dumps((keys, self._new_path, self._new_directory), 5)])

    def _rest_of_program(self) -> str:
        """The key of what the program defines besides; stored when a name is new or means something else.

        Data counts by its name: a loop at the top of a program must not store it anew each time.
        """
        main = sys.modules["__main__"]
        names = [
            (name, id(value) if isinstance(value, types.FunctionType | type) else 0)
            for name, value in list(vars(main).items())
        ]
        if names != self._rest_names:
            content = by_value.everything(main.__name__ if main.__name__ in sys.modules else "__main__")
            self._rest = f"{os.path.basename(self._run.path)} {self._store([content, pickle.dumps(((), (), ''), 5)])}"
            self._rest_names = names
        return self._rest

    def _path_changed(self) -> None:
        """``sys.path`` is not what it was when the run began: functions take along what is
        new, because the modules they need may be there."""
        self._new_path += [os.path.abspath(entry) for entry in sys.path if entry not in self._path]
        self._path = list(sys.path)
        self._known.clear()

    def _directory_changed(self, directory: str) -> None:
        """The program has gone to another directory: functions take along where their calls run."""
        self._directory = self._new_directory = directory
        if "" in sys.path and directory not in self._new_path:  # modules are looked for in the directory of now
            self._new_path.append(directory)
        self._known.clear()

    def function(self, function: Callable[..., Any]) -> str:
        """The key under which ``function`` is stored; stores it when it is new, or when
        anything that its pickle depends on may have changed (``snapshot.py``)."""
        if sys.path != self._path:
            self._path_changed()
        if (directory := current_directory()) != self._directory and directory:
            self._directory_changed(directory)
        known = self._known.get(id(function))
        if known is not None and known[0] is function and known[2].holds():
            return known[1]
        key = self._stored(function, "the function ", function)
        snapshot = FunctionSnapshot.of(function)
        if len(self._known) >= _MOST_KNOWN:  # a new lambda each time: not one of them comes again
            self._known.clear()
        if snapshot is not None:
            self._known[id(function)] = (function, key, snapshot)
        return key

    def forget(self) -> None:
        """Nothing more will be pickled: close the files that buffers are compared with."""
        self._repeated.forget()

    def _store_buffers(self, buffers: Sequence[pickle.PickleBuffer]) -> tuple[str, ...]:
        keys = []
        for buffer in buffers:
            raw = buffer.raw()
            key = self._repeated.find(raw)
            if key is None:
                key = self._store([raw])
                self._repeated.keep(raw, key)
            keys.append(key)
        return tuple(keys)

    def _store(self, pieces: Sequence[Bytes]) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for piece in pieces:
            digest.update(piece)
        name = digest.hexdigest()
        with self._lock:
            key = self._written.get(name)
            if key is None:
                part = len(self._written) // _MOST_IN_DIRECTORY
                key = f"{part}/{name}" if part else name
                try:
                    self._run.write_object(key, pieces)
                except FileNotFoundError as error:
                    raise failures.gone(error, self._run.path) from error
                self._written[name] = key
        return key


def _keeper(buffers: list[pickle.PickleBuffer]) -> Callable[[pickle.PickleBuffer], bool]:
    """A buffer callback that takes large buffers out of the pickle."""

    def keep(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < LARGE_BYTES:
            return True
        buffers.append(buffer)
        return False

    return keep


def _dump(pickler: Any, value: Any, what: str, function: Callable[..., Any], first: int = 0) -> None:
    try:
        pickler.dump(value)
    except Exception as error:
        said = _explained(value, pickler.culprit, what, first) if not isinstance(error, RecursionError) else ""
        cause = f"{type(error).__name__}: {error}"
        text = f"{said} ({cause})" if said else f"{cause}; {_ADVICE}"
        raise TransferError(message=f"{what}{name_of(function)} cannot be pickled: {text}") from error


_ADVICE = "open files, locks, sockets and running generators cannot travel: make them inside the call"


def _explained(value: Any, culprit: Any, what: str, first: int) -> str:
    from clusterfutures.pickling import unpicklable

    if what == "the function ":
        root = unpicklable.Root.FUNCTION
    elif what == _A_RESULT:
        root = unpicklable.Root.RESULT
    elif what != "an argument of ":
        root = unpicklable.Root.INITIALIZER
    else:
        root = unpicklable.Root.ROWS if isinstance(value, list) else unpicklable.Root.CALL
    return unpicklable.explain(value, culprit, root, first)
