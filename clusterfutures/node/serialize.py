"""What a call returned or raised, as bytes; and what to say when that cannot be.

Plain pickle first, cloudpickle for what that cannot do.  An exception travels with its
traceback as text, and with its own text for the case that it cannot come back itself.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from types import TracebackType
from typing import Any

import clusterfutures
from clusterfutures.node.lazy_imports import late_imports
from clusterfutures.pickling import definitions
from clusterfutures.store.faults import advice

__all__ = ["cannot_pickle", "cannot_unpickle", "cannot_write", "dumped", "packed_error", "shown", "traceback_of"]

_HERE = os.path.dirname(__file__)


def dumped(value: Any, keep: Callable[[pickle.PickleBuffer], bool], buffers: list[pickle.PickleBuffer]) -> bytes:
    """Plain pickle, and cloudpickle for what that cannot do.

    What names something of ``__main__`` is for the second, too: a program that attaches to the run has another one.
    """
    try:
        data = pickle.dumps(value, 5, buffer_callback=keep)
        if not any(name in data for name in definitions.module_names()):
            return data
    except Exception:
        pass  # no error is lost: what the second pickler cannot do either, it raises itself
    buffers.clear()
    with late_imports():
        from clusterfutures.pickling import by_value

    return by_value.dumps(value, 5, buffer_callback=keep, result=True)


def packed_error(error: BaseException, context: tuple[str, str] | None = None) -> bytes:
    """An exception as a record's body: itself, and what to say if it cannot come back.

    context: of a call of a map, its arguments and its last lines of output.
    """
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    try:
        text = traceback_of(error, _users_part(error))
    except BaseException as reason:  # it has attributes of its own, which do not work
        text = f"{name}: {_text_of(error)} (its traceback cannot be had: {type(reason).__name__})\n"
    why = ""
    pickled: bytes | None = None
    BaseException.with_traceback(error, None)  # an assignment may be refused, as by a frozen dataclass
    try:
        pickled = dumped(error, lambda _buffer: True, [])
    except BaseException as reason:
        why = f"{type(reason).__name__}: {reason}"
    return pickle.dumps((pickled, name, _text_of(error), text, why, context), 5)


def traceback_of(error: BaseException, place: TracebackType | None) -> str:
    """The traceback as text, from ``place`` on.

    ``traceback`` is imported for it: at the start of a node that takes 20 ms on Python 3.14.  Where no
    descriptor or memory is left for the import, the text has no lines of source.
    """
    try:
        with late_imports():
            import traceback
    except (OSError, ImportError, MemoryError):
        return _frames_of(error, place)
    return "".join(traceback.format_exception(type(error), error, place))


def shown(arguments: tuple[Any, ...]) -> str:
    """The arguments of a call, shortened."""
    with late_imports():
        from clusterfutures.pickling import arguments as kept
    return kept.shown(arguments)


def _frames_of(error: BaseException, place: TracebackType | None) -> str:
    lines = ["Traceback (most recent call last):"]
    while place is not None:
        code = place.tb_frame.f_code
        lines.append(f'  File "{code.co_filename}", line {place.tb_lineno}, in {code.co_name}')
        place = place.tb_next
    return "\n".join([*lines, f"{type(error).__qualname__}: {_text_of(error)}", ""])


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as reason:
        return f"(its text cannot be had: {type(reason).__name__})"


def _users_part(error: BaseException) -> TracebackType | None:
    """The traceback without our own frames at its top."""
    place = error.__traceback__
    while place is not None and os.path.dirname(place.tb_frame.f_code.co_filename) == _HERE:
        place = place.tb_next
    return place or error.__traceback__


def cannot_unpickle(what: str, error: BaseException) -> clusterfutures.TransferError:
    failed = _transfer_error(
        f"{what} could not be unpickled on {os.uname().nodename}: {type(error).__name__}: {_text_of(error)}; "
        "what a call uses must be importable there, or be pickled by value"
    )
    failed.__cause__ = error
    return failed


def cannot_pickle(what: str, value: Any, error: BaseException) -> clusterfutures.TransferError:
    said = ""
    if not isinstance(error, RecursionError | MemoryError):
        try:
            with late_imports():
                from clusterfutures.pickling import by_value, unpicklable
            said = unpicklable.explain(value, by_value.culprit(value), unpicklable.Root.RESULT)
        except Exception as reason:  # the error itself is told without the way to what it is about
            said = (
                f"it is a {type(value).__module__}.{type(value).__qualname__} (not searched: {type(reason).__name__})"
            )
    said = said or f"it is a {type(value).__module__}.{type(value).__qualname__}"
    failed = _transfer_error(f"{what} could not be pickled: {said} ({type(error).__name__}: {_text_of(error)})")
    failed.__cause__ = error
    return failed


def cannot_write(value: Any, error: OSError) -> clusterfutures.TransferError:
    return _transfer_error(
        f"the result of this call (a {type(value).__qualname__}) could not be written: {error.strerror}: "
        f"{error.filename}; {advice(error)}"
    )


def _transfer_error(message: str) -> clusterfutures.TransferError:
    with late_imports():
        return clusterfutures.TransferError(message=message)
