"""Is this the call that an earlier program made?  The same function, the same arguments.

    function --code, defaults, closure, globals it names--> digest --+
    arguments --what is in them, part by part------------> digest ---+--> identity (16 bytes)

A pickle will not do: it holds line numbers, paths and made-up names, tells equal strings
from one string twice, and has sets in any order.  So values are taken apart by type, and
what cannot be is by what its ``__reduce_ex__`` says.  A function that is imported counts
by its name and its own code; what that calls in turn is not looked at.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import logging
import marshal
import os
import pickle
import types
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from clusterfutures.client.serialize import is_importable
from clusterfutures.pickling import by_value
from clusterfutures.pickling.fingerprints import global_names

__all__ = ["SIZE", "Identities", "digest_of"]

logger = logging.getLogger("clusterfutures")

#: bytes in an identity
SIZE = 16
_ATOMS = frozenset({int, float, complex, bool, type(None), str, bytes})
#: the oldest format with binary floats: it has no references between equal values
_PLAIN = 2
_BUILTIN = (
    types.BuiltinFunctionType, types.GetSetDescriptorType, types.MemberDescriptorType, types.ClassMethodDescriptorType,
    types.MethodDescriptorType, types.WrapperDescriptorType, types.MethodWrapperType,
)  # fmt: skip
_CACHED = type(functools.lru_cache(int))
#: of a class: what differs between programs, or says nothing of what it does
_NOT_COMPARED = frozenset(
    {"__dict__", "__weakref__", "__module__", "__firstlineno__", "__static_attributes__", "__annotations__", "__doc__"}
    | {"__annotate_func__", "__annotations_cache__"}  # since 3.14
)


class Identities:
    """Identities of calls.  Used by any thread."""

    def __init__(self) -> None:
        self._functions: dict[str, bytes] = {}
        self._told = False

    def of(self, function: Callable[..., Any], key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """The identity of a call; key: under which the function is stored (by content).

        A call that cannot be identified gets an identity that no other has: it is made, and not known again.
        """
        try:
            known = self._functions.get(key)
            if known is None:
                known = self._functions[key] = _Digest().of(function)
            return _digest(b"call", known, _Digest().of((args, kwargs)))
        except Exception as error:  # RecursionError too; what user objects raise is theirs
            return self._unknown(error)

    def _unknown(self, error: Exception) -> bytes:
        if not self._told:
            self._told = True
            logger.warning(
                "clusterfutures: a call cannot be identified (%s: %s): it is made each time that the program is run. "
                "Pass plain values to have its result kept.", type(error).__name__, error,
            )  # fmt: skip
        return os.urandom(SIZE)

    def with_results(self, identity: bytes, results: Iterable[Any]) -> bytes:
        """The identity of a call once the results of others, which it needs, are there."""
        try:
            return _digest(b"with", identity, *[_Digest().of(result) for result in results])
        except Exception as error:
            return self._unknown(error)


def digest_of(value: Any) -> bytes:
    """The same bytes for equal values, in every program."""
    return _Digest().of(value)


class _Digest:
    """Digests of values.  A value within itself counts by its distance."""

    def __init__(self) -> None:
        self._above: list[int] = []
        self._known: dict[int, tuple[Any, bytes]] = {}
        self._futures = 0

    def of(self, value: Any) -> bytes:
        if type(value) in _ATOMS:
            return marshal.dumps(value, _PLAIN)
        number = id(value)
        if number in self._above:
            return _digest(b"above", str(len(self._above) - self._above.index(number)).encode())
        known = self._known.get(number)
        if known is not None:
            return known[1]
        self._above.append(number)
        try:
            found = self._taken_apart(value)
        finally:
            self._above.pop()
        self._known[number] = (value, found)  # the value too: another one must not get its number
        return found

    def _taken_apart(self, value: Any) -> bytes:
        kind = type(value)
        if kind in (tuple, list):
            if _ATOMS.issuperset(map(type, value)):
                return _digest(kind.__name__.encode(), marshal.dumps(value, _PLAIN))
            return self._row(kind.__name__, value)
        if kind is dict:
            return self._set("dict", (self._row("item", item) for item in value.items()))
        if kind in (set, frozenset):
            return self._set(kind.__name__, map(self.of, value))
        if kind in (bytearray, memoryview, pickle.PickleBuffer):
            return _digest(b"buffer", memoryview(value).cast("B") if memoryview(value).contiguous else bytes(value))
        if isinstance(value, Future):
            self._futures += 1
            return _digest(b"future", str(self._futures).encode())
        if isinstance(value, types.ModuleType):
            return _digest(b"module", value.__name__.encode())
        if isinstance(value, types.CodeType):
            return self._code(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, _CACHED):  # what it has cached says nothing of what it does
            return self._row("cached", (value.__wrapped__, sorted(value.cache_parameters().items())))
        if isinstance(value, types.MethodType):
            return self._row("method", (value.__self__, value.__func__))
        if isinstance(value, types.CellType):
            return self._cell(value)
        if isinstance(value, type):
            return self._class(value)
        if kind.__module__ == "multiprocessing.synchronize":  # a lock says nothing of what is done with it
            return _digest(b"lock", kind.__name__.encode())
        return self._reduced(value)

    def _row(self, kind: str, parts: Iterable[Any]) -> bytes:
        return _digest(kind.encode(), *map(self.of, parts))

    def _set(self, kind: str, digests: Iterable[bytes]) -> bytes:
        return _digest(kind.encode(), *sorted(digests))

    # -- functions and classes ------------------------------------------------------

    def _function(self, function: types.FunctionType) -> bytes:
        if is_importable(function):
            return _digest(b"imported", _name(function), self.of(function.__code__))
        names = sorted(global_names(function.__code__))
        used = [(name, function.__globals__[name]) for name in names if name in function.__globals__]
        parts = (
            function.__code__, function.__defaults__, function.__kwdefaults__, function.__closure__, used,
            {name: value for name, value in vars(function).items() if name != "__wrapped__"},
        )  # fmt: skip
        return self._row("function", parts)

    def _code(self, code: types.CodeType) -> bytes:
        """What code does, without where it stands."""
        parts = (
            code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
            code.co_flags, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_exceptiontable,
            code.co_qualname,
        )  # fmt: skip
        return self._row("code", parts)

    def _cell(self, cell: types.CellType) -> bytes:
        try:
            return self._row("cell", (cell.cell_contents,))
        except ValueError:
            return _digest(b"empty cell")

    def _class(self, cls: type) -> bytes:
        if is_importable(cls):
            return _digest(b"class", _name(cls))
        contents = {n: v for n, v in vars(cls).items() if n not in _NOT_COMPARED and not n.startswith("_abc_")}
        return self._row("own class", (cls.__qualname__, cls.__bases__, contents))

    # -- everything else ------------------------------------------------------------

    def _reduced(self, value: Any) -> bytes:
        """By what pickling it would say."""
        kind = type(value)
        if isinstance(value, _BUILTIN):
            return _digest(b"builtin", _name(value))
        reducer = by_value.Pickler.dispatch_table.get(kind) or copyreg.dispatch_table.get(kind)
        try:
            reduced = reducer(value) if reducer is not None else value.__reduce_ex__(5)
        except Exception:  # user objects: what they raise is theirs, and the pickle itself serves
            return _digest(b"pickled", by_value.dumps(value))
        if isinstance(reduced, str):
            return _digest(b"named", (getattr(value, "__module__", None) or "").encode(), reduced.encode())
        make, arguments, *rest = reduced
        state, items, pairs = [*rest, None, None, None][:3]
        parts = (make, arguments, state, list(items or ()), list(pairs or ()))
        return self._row("object", parts)


def _name(value: Any) -> bytes:
    module = getattr(value, "__module__", None) or getattr(getattr(value, "__self__", None), "__name__", "")
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    return f"{module}.{name}".encode()


def _digest(kind: bytes, *parts: bytes | memoryview) -> bytes:
    digest = hashlib.blake2b(digest_size=SIZE)
    for part in (kind, *parts):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
