"""Functions and arguments, from what the client pickled.

A function is read and unpickled once per process and kept, until many others, or large ones,
have been used since; arguments are unpickled for every call, and so are callables that may have a state (a bound
method, a partial, an instance with ``__call__``): what a call changes in it is not there for the next.  What a
function needs of its program is bound in the program's namespaces (``pickling/definitions.py``), again if another
version was bound since.

Large buffers are in files of their own and are mapped, privately and writable: each
call gets fresh memory that it may change, and the page cache holds the bytes once for
all processes of a node.
"""

from __future__ import annotations

import functools
import os
import pickle
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from clusterfutures.node.disk_full import say
from clusterfutures.node.lazy_imports import late_imports
from clusterfutures.node.time_limit import Notice
from clusterfutures.pickling import definitions
from clusterfutures.store import references
from clusterfutures.store.bins import CallHead
from clusterfutures.store.frames import Bytes
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Loader"]


#: functions that a process keeps, and bytes of their pickles: a closure may hold much data, and be used once
_MOST_FUNCTIONS = 1000
_MOST_BYTES = 100 << 20


class Loader:
    """Reads what calls are made of.  ``wait`` bounds, in seconds, how late a file may be."""

    def __init__(self, run: RunDirectory, wait: float) -> None:
        self._run = run
        references.node_run = run.path
        self._wait = wait
        self._functions: dict[str, _Function] = {}  # used last, stands last
        self._last = ""
        self._bytes = 0
        self._checked: set[str] = set()
        self._notice: Notice | None = None
        self._begin = self._directory = _current_directory()

    def function(self, key: str) -> Callable[..., Any]:
        """The function stored under ``key``; raises what its unpickling raises."""
        known = self._functions.pop(key, None)
        if known is not None and known.may_change and known.was_used:
            known = self._once_more(key, known)
        elif known is not None and key != self._last and not known.is_as_it_was():
            self._bytes -= known.size
            known = None
        self._functions[key] = known = known or self._load(key)
        known.was_used = True
        if key != self._last:
            self._enter(known.directory or self._begin)
            self._last = key
        return known.function

    def anew(self, key: str) -> Callable[[], Callable[..., Any]] | None:
        """For the function that was got last: what gets it as it was submitted, or None when no call can change it."""
        if not self._functions[key].may_change:
            return None
        self._functions[key].was_used = False  # by its first call

        def function() -> Callable[..., Any]:
            return self.function(key)

        return function

    def _once_more(self, key: str, known: _Function) -> _Function:
        if known.data is None:
            self._bytes -= known.size
            return self._load(key)
        known.function = self._reaching(_loads(known.data))
        return known

    def _reaching(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function if self._notice is None else self._notice.reaching(function)

    def _enter(self, directory: str) -> None:
        """Go where the program was when it submitted the call; not back from where a call has gone itself."""
        if directory == self._directory:
            return
        self._directory = directory
        try:
            os.chdir(directory)
        except OSError as error:
            say(f"cannot enter {directory}: {error.strerror}; calls go on in {_current_directory()}")

    def _load(self, key: str) -> _Function:
        data, buffers, directory = self._frames(key)
        function = _loads(data, buffers)
        may_change = not _is_constant(function)
        kept = bytes(data) if may_change and not buffers else None
        self._bytes += len(data)
        while self._functions and (self._bytes > _MOST_BYTES or len(self._functions) >= _MOST_FUNCTIONS):
            self._bytes -= self._functions.pop(next(iter(self._functions))).size
        return _Function(self._reaching(function), len(data), definitions.fields(data), directory, may_change, kept)

    def prepare(
        self,
        program: tuple[str, dict[str, Any]],
        initializer: CallHead | None,
        on_timeout: CallHead | str | None,
    ) -> None:
        """What is to be done before the first call; raises what its unpickling or running raises.

        program: its token, and attributes of its ``__main__``.
        """
        definitions.readers[os.path.basename(self._run.path)] = lambda key: bytes(self._object(key)[0])
        definitions.install(*program)
        if isinstance(on_timeout, CallHead):
            self._notice = Notice(self.arguments(on_timeout, b"")[0])
        elif on_timeout is not None:
            self._notice = Notice(None)
        if initializer is not None:
            function, arguments = self.arguments(initializer, b"")
            function(*arguments)

    def arguments(self, head: CallHead, data: Bytes) -> Any:
        """What the client pickled for a call or a chunk; raises what unpickling raises."""
        extras = head.extras
        if extras is None:
            return _loads(data)
        references.results[:] = [_loads(result, self._buffers(keys)) for result, keys in extras.dependencies]
        try:
            if extras.stored:
                return _loads(*self._frames(extras.stored)[:2])
            return _loads(data, self._buffers(extras.buffers))
        finally:
            references.results.clear()

    def _frames(self, key: str) -> tuple[Bytes, list[memoryview], str]:
        """What is pickled under a key, its buffers, and the directory that the program was in, if it has changed it."""
        data, head = self._object(key)
        keys, new_path, *directory = pickle.loads(head)  # a run of an earlier version has two of them
        sys.path += [entry for entry in new_path if entry not in sys.path]
        return data, self._buffers(keys), directory[0] if directory else ""

    def _buffers(self, keys: Sequence[str]) -> list[memoryview]:
        return [self._object(key)[0] for key in keys]

    def _object(self, key: str) -> list[memoryview]:
        frames = self._run.map_object(key, self._wait, checked=key in self._checked)
        self._checked.add(key)
        return frames


def _current_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # removed
        return "."


def _loads(data: Bytes, buffers: Sequence[memoryview] = ()) -> Any:
    """Unpickle; with cloudpickle's help, when it takes that, whatever calls have done to the search path."""
    try:
        return pickle.loads(data, buffers=buffers)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cloudpickle" or "cloudpickle" in sys.modules:
            raise
        with late_imports():
            import cloudpickle  # noqa: F401 - for those who name it in what follows
        return pickle.loads(data, buffers=buffers)


def _is_constant(function: Any) -> bool:
    """True for what pickle keeps as a name, or what the program's functions are: a call changes nothing in it."""
    kind = type(function)
    if kind is types.BuiltinFunctionType:  # else a method of an object, as [].append
        return function.__self__ is None or isinstance(function.__self__, types.ModuleType | type)
    return kind in _CONSTANT or issubclass(kind, type)


_CONSTANT = (
    types.FunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    type(functools.lru_cache(int)),
)


class _Function:
    """A function that was loaded, the size of its pickle, the definitions that it came with, and where it runs.

    may_change: a call may change it, so each gets it anew, from ``data`` where that is all.
    """

    __slots__ = ("data", "directory", "function", "may_change", "needs", "size", "was_used")

    def __init__(
        self, function: Callable[..., Any], size: int, needs: tuple[str, list[tuple[definitions.Key, bytes]]] | None,
        directory: str, may_change: bool, data: bytes | None,
    ) -> None:  # fmt: skip
        self.function = function
        self.size = size
        self.needs = needs
        self.directory = directory
        self.may_change = may_change
        self.data = data
        self.was_used = False

    def is_as_it_was(self) -> bool:
        """True while what it needs is what was bound last."""
        return self.needs is None or definitions.is_applied(*self.needs)
