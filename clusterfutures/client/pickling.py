"""Calls to bytes: functions once each, arguments at once, large buffers by content.

    submit(f, x)  -> function key, pickle of ((x,), {}), keys of large buffers, futures
    map(f, xs)    -> function key, one pickle for a list of argument tuples

What is pickled is pickled in the caller's thread and at once: a later change to an
argument does not leak in.  Buffers of ``LARGE_BYTES`` and more (NumPy arrays, by pickle
protocol 5) go to ``objects/`` under the hash of their bytes, so one that is used a
thousand times is written once.  A future among the arguments, however deep, is replaced
by a reference to its result.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import sys
import threading
import types
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import cloudpickle

from clusterfutures.errors import TransferError
from clusterfutures.store import references
from clusterfutures.store.bins import Extras
from clusterfutures.store.frames import Bytes
from clusterfutures.store.run import LARGE_BYTES, RunDirectory

__all__ = ["Pickled", "Pickler"]


class Pickled(NamedTuple):
    """A pickle and what it refers to: ``extras`` when anything stands outside it."""

    data: bytes
    extras: Extras | None
    futures: tuple[Future[Any], ...]


class _ArgumentPickler(cloudpickle.Pickler):  # type: ignore[misc]
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
        self._lock = threading.Lock()
        self._written: set[str] = set()
        self._known: dict[int, tuple[Any, str, Any]] = {}

    def arguments(self, value: Any, what: str) -> Pickled:
        """Pickle arguments.  Raises TransferError when they cannot be; StoreError or
        OSError when a large buffer cannot be written."""
        buffers: list[pickle.PickleBuffer] = []
        file = io.BytesIO()
        pickler = _ArgumentPickler(file, _keeper(buffers))
        _dump(pickler, value, what)
        data = file.getvalue()
        if not buffers and len(data) <= LARGE_BYTES:
            return Pickled(data, None, tuple(pickler.futures))
        keys = tuple(self._store([buffer.raw()]) for buffer in buffers)
        if len(data) <= LARGE_BYTES:
            return Pickled(data, Extras("", keys, ()), tuple(pickler.futures))
        stored = self._store([data, pickle.dumps(keys, 5)])
        return Pickled(b"", Extras(stored, (), ()), tuple(pickler.futures))

    def result(self, value: Any, what: str) -> tuple[bytes, tuple[str, ...]]:
        """Pickle the result that another call waits for: its pickle and its buffers."""
        buffers: list[pickle.PickleBuffer] = []
        file = io.BytesIO()
        _dump(cloudpickle.Pickler(file, 5, buffer_callback=_keeper(buffers)), value, what)
        return file.getvalue(), tuple(self._store([buffer.raw()]) for buffer in buffers)

    def stored(self, value: Any, what: str) -> Extras:
        """Store a pickle as an object of its own, whatever its size."""
        return Extras(self._stored(value, what), (), ())

    def _stored(self, value: Any, what: str) -> str:
        buffers: list[pickle.PickleBuffer] = []
        file = io.BytesIO()
        _dump(cloudpickle.Pickler(file, 5, buffer_callback=_keeper(buffers)), value, what)
        keys = tuple(self._store([buffer.raw()]) for buffer in buffers)
        return self._store([file.getvalue(), pickle.dumps(keys, 5)])

    def function(self, function: Callable[..., Any]) -> str:
        """The key under which ``function`` is stored; stores it when it is new.

        A function that is pickled by reference never changes, so its key is remembered.
        One that is pickled by value is pickled again whenever anything that it refers to
        may have changed since.
        """
        known = self._known.get(id(function))
        if known is not None and (known[2] is None or _fingerprint(function) == known[2]):
            return known[1]
        key = self._stored(function, "the function of this call")
        fingerprint = None if _is_importable(function) else _fingerprint(function)
        if fingerprint != ():
            self._known[id(function)] = (function, key, fingerprint)
        return key

    def _store(self, pieces: Sequence[Bytes]) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for piece in pieces:
            digest.update(piece)
        key = digest.hexdigest()
        with self._lock:
            if key not in self._written:
                self._run.write_object(key, pieces)
                self._written.add(key)
        return key


def _keeper(buffers: list[pickle.PickleBuffer]) -> Callable[[pickle.PickleBuffer], bool]:
    """A buffer callback that takes large buffers out of the pickle."""

    def keep(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < LARGE_BYTES:
            return True
        buffers.append(buffer)
        return False

    return keep


def _dump(pickler: Any, value: Any, what: str) -> None:
    try:
        pickler.dump(value)
    except Exception as error:
        raise TransferError(
            message=f"{what} cannot be pickled: {type(error).__name__}: {error}; "
            "open files, locks, sockets and running generators cannot travel: make them inside the call"
        ) from error


# -- may a function's pickle be used again? ---------------------------------------------

_ATOMS = (int, float, complex, str, bytes, bool, type(None), types.ModuleType, types.BuiltinFunctionType)


def _is_importable(obj: Any) -> bool:
    """True when ``obj`` is pickled as a name to import."""
    module = getattr(obj, "__module__", None)
    name = getattr(obj, "__qualname__", None)
    if module is None or name is None or module == "__main__" or isinstance(obj, functools.partial):
        return False
    if not isinstance(obj, (types.FunctionType, types.BuiltinFunctionType, type)):
        return False
    found: Any = sys.modules.get(module)
    if found is None or module in cloudpickle.list_registry_pickle_by_value():
        return False
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is obj


def _fingerprint(function: Any) -> tuple[Any, ...]:
    """What a function pickled by value refers to, as identities; () when that can change
    without our seeing it (a list, an object, a class of the main program)."""
    seen: dict[int, Any] = {}
    if not isinstance(function, types.FunctionType) or not _collect(function, seen):
        return ()
    # The objects themselves, not their ids: kept alive, they cannot be mistaken for others.
    return tuple(_Same(value) for value in seen.values())


class _Same:
    """Equal to another when both hold the very same object."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    __hash__ = None  # type: ignore[assignment]


def _collect(function: types.FunctionType, seen: dict[int, Any]) -> bool:
    """Add everything that ``function`` refers to; False when something may change unseen."""
    if id(function) in seen:
        return True
    seen[id(function)] = function
    seen[id(function.__code__)] = function.__code__
    if function.__dict__:
        return False
    values = list(function.__defaults__ or ()) + list((function.__kwdefaults__ or {}).values())
    try:
        values += [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # an empty cell: filled later
        return False
    values += [function.__globals__[name] for name in sorted(_names(function.__code__)) if name in function.__globals__]
    for value in values:
        if isinstance(value, _ATOMS) or _is_importable(value):
            # numbered by place, so that the same value twice is two entries
            seen[-len(seen)] = value
        elif not isinstance(value, types.FunctionType) or not _collect(value, seen):
            return False
    return True


def _names(code: types.CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found
