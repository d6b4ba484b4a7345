"""Records back to values and exceptions.

Everything that user code can do to an unpickler ends here, in an exception for the one
call: a class that cannot be imported, a ``__setstate__`` that raises, a damaged file.
"""

from __future__ import annotations

import io
import logging
import pickle
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from clusterfutures.errors import CallKilled, ClusterError, RemoteTraceback, StoreError, TransferError, WorkerDied
from clusterfutures.pickling import definitions
from clusterfutures.store import records
from clusterfutures.store.frames import Bytes
from clusterfutures.store.records import CallInfo, Record
from clusterfutures.store.run_directory import RunDirectory

__all__ = [
    "IN_FILES", "Outcome", "Place", "apart", "decode", "decode_values", "fetch", "let_interrupts_through",
    "noted", "runs_code", "tried",
]  # fmt: skip

logger = logging.getLogger("clusterfutures")

#: kinds of records with their outcome in a file of its own
IN_FILES = (records.LARGE, records.LARGE_ERROR)


#: the opcodes by which a pickle names something (and, by chance, other bytes)
_NAMES = re.compile(rb"[\x82-\x84\x93]")


class Outcome(NamedTuple):
    """A value, or an error; and what else is known of the call."""

    value: Any
    error: BaseException | None
    info: CallInfo | None
    context: tuple[str, str] = ("", "")  # of a call of a map that raised: its arguments, and what it printed last


class Place(NamedTuple):
    """Where a call ran, for the text of its errors."""

    host: str
    job_id: str


def tried(error: BaseException, text: str) -> BaseException:
    """The error, its text saying how often the call was tried; ``text`` "": as it is."""
    if not text:
        return error
    if isinstance(error, ClusterError):
        return error.with_attempts(text)
    error.add_note(text)
    return error


def fetch(record: Record, run: RunDirectory, wait: float) -> list[memoryview]:
    """The pickle and the buffers of a large result; its file is removed.

    wait: seconds that the file may be late.  Raises StoreError, OSError.
    """
    body = records.split_info(record.body)[1] if record.flags & records.INFO else record.body
    return run.read_large(bytes(body).decode(), wait)


def apart(record: Record) -> tuple[CallInfo | None, Record]:
    """What is known of the call besides its outcome, and the record without that."""
    if not record.flags & records.INFO:
        return None, record
    info, body = records.split_info(record.body)
    return info, Record(record.kind, record.flags & ~records.INFO, record.bin_id, record.first, record.calls, body)


def runs_code(record: Record) -> bool:
    """True when decoding it may run code of the user's, which may do anything, or never return.

    A pickle that names no class or function is made of plain values.
    """
    if record.kind == records.VALUE:
        return _NAMES.search(apart(record)[1].body) is not None
    return record.kind == records.ERROR or record.kind in IN_FILES


def decode(
    record: Record, run: RunDirectory, place: Place, call: str, wait: float, parts: list[memoryview] | None = None
) -> Outcome:
    """The outcome of the one call that ``record`` is about.

    call: how to name it in an error.  wait: seconds that a large result may be late.
    parts: the large result, where it has been fetched before.
    """
    body, info = record.body, None
    if record.flags & records.INFO:
        info, body = records.split_info(body)
    if record.kind == records.ERROR:
        return _raised(body, info)
    if record.kind == records.DIED:
        return Outcome(None, _death(body, place, call), info)
    if record.kind == records.KILLED:
        tail = bytes(body).decode("utf-8", "replace")
        return Outcome(None, CallKilled(call=call, host=place.host, job_id=place.job_id, tail=tail), info)
    try:
        if record.kind == records.LARGE_ERROR:
            (large,) = parts or run.read_large(bytes(body).decode(), wait)
            return _raised(large, info)
        if record.kind == records.LARGE:
            data, *buffers = parts or run.read_large(bytes(body).decode(), wait)
            return Outcome(_loads(data, buffers), None, info)
        return Outcome(_loads(body), None, info)
    except StoreError as error:
        return Outcome(None, error, info)
    except BaseException as error:
        let_interrupts_through(error)
        return Outcome(None, _cannot_unpickle(call, error), info)


def decode_values(record: Record, call: str) -> Iterator[Any]:
    """The values of a row, one by one: each is unpickled when it is asked for, and not
    held on to.

    Raises TransferError at the first that cannot be unpickled.
    """
    if record.flags & records.PLAIN:
        yield from _plain_values(record, call)
        return
    # Each value was pickled alone: one unpickler for all would take what it has memorised
    # from one value for parts of the next, and keep it alive.
    body, at, loads = record.body, 0, _loads
    try:
        for length in body[len(body) - 4 * record.calls :].cast("I"):
            stop = at + length
            yield loads(body[at:stop])
            at = stop
    except GeneratorExit:
        raise
    except BaseException as error:
        let_interrupts_through(error)
        raise _cannot_unpickle(call, error) from error


def _plain_values(record: Record, call: str) -> Iterator[Any]:
    try:
        values = records.plain_values(record)
    except (ValueError, EOFError, TypeError) as error:
        raise _cannot_unpickle(call, error) from error
    values.reverse()
    while values:
        yield values.pop()


def noted(error: BaseException, call: str, place: Place | None = None, output: str = "") -> BaseException:
    """The exception with notes: which call raised it, where, and what that printed last."""
    where = f", job {place.job_id} on {place.host}" if place is not None and place.job_id else ""
    notes = [f"clusterfutures: raised by {call}{where}"]
    if output and not isinstance(error, ClusterError):  # those have it in their text
        notes.append("its last lines of output:\n" + "\n".join(f"    {line}" for line in output.splitlines()))
    had = getattr(error, "__notes__", None)
    had = list(had) if isinstance(had, list | tuple) else []
    if not any(str(note).startswith("clusterfutures: raised by ") for note in had):
        try:
            BaseException.__setattr__(error, "__notes__", had + notes)  # also in a frozen dataclass
        except Exception as reason:  # it has slots, or a property of that name
            logger.debug("clusterfutures: %s takes no notes: %s", type(error).__qualname__, reason)
    return error


def _raised(body: memoryview, info: CallInfo | None) -> Outcome:
    pickled, name, text, trace, why, *context = pickle.loads(body)
    return Outcome(None, _exception(pickled, name, text, trace, why), info, *[one for one in context if one])


def _exception(pickled: bytes | None, name: str, text: str, trace: str, why: str) -> BaseException:
    """The exception that the call raised, with the remote traceback as its cause."""
    if pickled is not None:
        try:
            error = _loads(pickled)
            if isinstance(error, BaseException):
                BaseException.__setattr__(error, "__cause__", RemoteTraceback(trace))  # also in a frozen dataclass
                return error
            why = f"it unpickles as a {type(error).__name__}, which is no exception"
        except BaseException as reason:
            let_interrupts_through(reason)
            why = f"{type(reason).__name__}: {reason}"
    failed = TransferError(
        message=f"the call raised {name}: {text}; the exception itself could not be brought back ({why})"
    )
    failed.__cause__ = RemoteTraceback(trace)
    return failed


def _death(body: memoryview, place: Place, call: str) -> WorkerDied:
    fields = pickle.loads(body)
    if fields.pop("loading"):
        call += " (while its arguments were unpickled)"
    advice = ""
    if fields.pop("cut_off"):
        advice = "it closed file descriptors that it had not opened, those of its own process: close only your own"
    if fields["signal"] == "SIGKILL":
        advice = "SIGKILL from outside is most often the kernel, out of memory: try a larger memory="
    return WorkerDied(call=call, host=place.host, job_id=place.job_id, advice=advice, **fields)


class _Unpickler(pickle.Unpickler):
    """Finds also what only the program that made the call has: its definitions are stored in the run."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (AttributeError, ImportError):
            return definitions.find(module, name)


def _loads(data: Bytes, buffers: Sequence[Bytes] = ()) -> Any:
    """Unpickle; names that this program does not have are those of the program that made the call."""
    try:
        return pickle.loads(data, buffers=buffers)
    except (AttributeError, ImportError):
        return _Unpickler(io.BytesIO(data), buffers=buffers).load()


def let_interrupts_through(error: BaseException) -> None:
    """Ctrl-C, while the program's own thread unpickles, is no property of what it unpickles."""
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        raise error


def _cannot_unpickle(call: str, error: BaseException) -> TransferError:
    failed = TransferError(
        message=f"the result of {call} could not be unpickled here: {type(error).__name__}: {error}; "
        "its class must be importable in this program"
    )
    failed.__cause__ = error
    return failed
