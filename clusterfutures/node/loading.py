"""Functions and arguments, from what the client pickled.

A function is read and unpickled once per process and kept, until many others, or large ones,
have been used since; arguments are unpickled for every call.  What is pickled by value brings a
namespace of its own, so the globals that an initializer sets are put into those of the functions
of its module.

Large buffers stand in files of their own and are mapped, privately and writable: each
call gets fresh memory that it may change, and the page cache holds the bytes once for
all processes of a node.
"""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

from clusterfutures.node.late import late_imports
from clusterfutures.node.notice import Notice
from clusterfutures.store import references
from clusterfutures.store.bins import CallHead
from clusterfutures.store.frames import Bytes
from clusterfutures.store.run import RunDirectory

__all__ = ["Loader"]


#: functions that a process keeps, and bytes of their pickles: a closure may hold much data, and be used once
_MOST_FUNCTIONS = 1000
_MOST_BYTES = 100 << 20


class Loader:
    """Reads what calls are made of.  ``wait`` bounds, in seconds, how late a file may be."""

    def __init__(self, run: RunDirectory, wait: float) -> None:
        self._run = run
        self._wait = wait
        self._functions: dict[str, tuple[Callable[..., Any], int]] = {}  # and its size; used last, stands last
        self._bytes = 0
        self._checked: set[str] = set()
        self._initialised: dict[str, Any] = {}
        self._initialised_module: Any = None
        self._notice: Notice | None = None

    def function(self, key: str) -> Callable[..., Any]:
        """The function stored under ``key``; raises what its unpickling raises."""
        known = self._functions.pop(key, None) or self._load(key)
        self._functions[key] = known
        return known[0]

    def _load(self, key: str) -> tuple[Callable[..., Any], int]:
        function, size = self._stored(key)
        namespace = _namespace(function)
        if self._initialised and namespace.get("__name__") == self._initialised_module:
            namespace.update(self._initialised)
        if self._notice is not None:
            function = self._notice.reaching(function)
        self._bytes += size
        while self._functions and (self._bytes > _MOST_BYTES or len(self._functions) >= _MOST_FUNCTIONS):
            _, forgotten = self._functions.pop(next(iter(self._functions)))
            self._bytes -= forgotten
        return function, size

    def prepare(self, initializer: CallHead | None, on_timeout: CallHead | str | None) -> None:
        """What is to be done before the first call; raises what its unpickling or running raises."""
        if isinstance(on_timeout, CallHead):
            self._notice = Notice(self.arguments(on_timeout, b"")[0])
        elif on_timeout is not None:
            self._notice = Notice(None)
        if initializer is not None:
            self._initialise(*self.arguments(initializer, b""))

    def _initialise(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Run the initializer, and remember the globals that it sets."""
        namespace = _namespace(function)
        before = dict(namespace)
        function(*arguments)
        if namespace is not sys.modules.get(namespace.get("__name__", ""), sys).__dict__:
            self._initialised_module = namespace.get("__name__")
            self._initialised = {n: v for n, v in namespace.items() if n not in before or before[n] is not v}

    def arguments(self, head: CallHead, data: Bytes) -> Any:
        """What the client pickled for a call or a chunk; raises what unpickling raises."""
        extras = head.extras
        if extras is None:
            return _loads(data)
        references.results[:] = [_loads(result, self._buffers(keys)) for result, keys in extras.dependencies]
        try:
            if extras.stored:
                return self._stored(extras.stored)[0]
            return _loads(data, self._buffers(extras.buffers))
        finally:
            references.results.clear()

    def _stored(self, key: str) -> tuple[Any, int]:
        """What is pickled under a key, and how large that is."""
        data, head = self._object(key)
        keys, new_path = pickle.loads(head)
        sys.path += [entry for entry in new_path if entry not in sys.path]
        return _loads(data, self._buffers(keys)), len(data)

    def _buffers(self, keys: Sequence[str]) -> list[memoryview]:
        return [self._object(key)[0] for key in keys]

    def _object(self, key: str) -> list[memoryview]:
        frames = self._run.map_object(key, self._wait, checked=key in self._checked)
        self._checked.add(key)
        return frames


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


def _namespace(function: Any) -> dict[str, Any]:
    """The globals of a function, also inside a partial, a method or a callable object."""
    while isinstance(function, functools.partial):  # not whatever has a ``func``: some objects have any attribute
        function = function.func
    if not hasattr(function, "__globals__") and not hasattr(function, "__func__"):
        function = getattr(type(function), "__call__", function)  # noqa: B004 - it is looked into, not tested
    found = getattr(getattr(function, "__func__", function), "__globals__", {})
    return found if isinstance(found, dict) else {}
