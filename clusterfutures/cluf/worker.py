"""A worker: a forked process that calls the function on the arguments it is sent.

    connection <-- (indexes, arguments)      one chunk
    connection --> ("row", bytes)            a call's record, when results are kept
               --> ("failed", index, ...)    a call that raised
               --> ("done", seconds)         the chunk is finished
               --> ("unread", error)         the chunk cannot be unpickled

``begun[slot]`` is the index of the call that runs now, in memory shared with the parent,
who can so name the call that killed its process.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NamedTuple

from clusterfutures.cluf.outputs import render
from clusterfutures.cluf.telling import in_one_line, with_traceback
from clusterfutures.pickling.arguments import Arguments

__all__ = ["Work", "work"]


class Work(NamedTuple):
    """What all workers do: the function, the kind of output ("" for none), the time limit."""

    target: Callable[..., Any]
    output: str
    timeout: float | None


class TimeLimit(BaseException):
    """The call took longer than --timeout; no ``except Exception`` of the user's stops it."""


def _time_is_up(_number: int, _frame: FrameType | None) -> None:
    raise TimeLimit


def work(work: Work, connection: Connection, begun: memoryview, slot: int) -> None:
    """Serve chunks until the parent closes the connection; never returns."""
    status = 0
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGALRM, _time_is_up)
        while True:
            received = connection.recv_bytes()
            try:
                indexes, arguments = pickle.loads(received)
            except Exception as error:
                connection.send(("unread", in_one_line(error)))
                continue
            began = time.perf_counter()
            _chunk(work, connection, begun, slot, indexes, arguments)
            _flush()
            connection.send(("done", time.perf_counter() - began))
            begun[slot] = -1  # not before: who cannot say "done", for a call has closed the connection, is to blame
    except (EOFError, BrokenPipeError, ConnectionResetError):
        status = 0  # the parent is done with us, or gone
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
        status = 70
    finally:
        _flush()
        os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # closed by the reader of a pipe, or by the script


def _chunk(
    work: Work, connection: Connection, begun: memoryview, slot: int, indexes: list[int], arguments: list[Any]
) -> None:
    if work.output or work.timeout:
        for index, given in zip(indexes, arguments, strict=True):
            begun[slot] = index
            _recorded(work, connection, index, given)
        return
    target = work.target
    for index, given in zip(indexes, arguments, strict=True):
        begun[slot] = index
        try:
            if type(given) is tuple:
                target(*given)
            elif isinstance(given, Arguments):
                given.call(target)
            else:
                target(given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            connection.send(_failure(index, given, error))


def _recorded(work: Work, connection: Connection, index: int, given: Any) -> None:
    value, failure = None, None
    began = time.perf_counter()
    try:
        signal.setitimer(signal.ITIMER_REAL, work.timeout or 0)
        try:
            value = Arguments.of(given).call(work.target)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        raise
    except TimeLimit:
        failure = ("failed", index, text_of(given), f"took longer than --timeout={work.timeout:g} s", "")
    except BaseException as error:
        failure = _failure(index, given, error)
    seconds = time.perf_counter() - began
    if work.output:
        try:
            connection.send(("row", index, render(record(index, given, value, failure, seconds), work.output)))
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            failure = _failure(index, given, TypeError(f"its result cannot be kept: {error}"))
            connection.send(("row", index, render(record(index, given, None, failure, seconds), work.output)))
    if failure is not None:
        connection.send(failure)


def record(index: int, given: Any, value: Any, failure: tuple[Any, ...] | None, seconds: float) -> dict[str, Any]:
    """One call, as it is kept in the file of results."""
    return {
        "index": index,
        "args": text_of(given),
        "value": value,
        "error": failure[3] if failure else None,
        "traceback": failure[4] if failure else None,
        "host": os.uname().nodename,
        "seconds": round(seconds, 6),
    }


def text_of(given: Any) -> str:
    """The arguments as they would be written; a repr may fail like any code of the user's."""
    try:
        return str(Arguments.of(given))
    except Exception as error:
        return f"(arguments whose repr raises {type(error).__name__})"


def _failure(index: int, given: Any, error: BaseException) -> tuple[Any, ...]:
    return ("failed", index, text_of(given), in_one_line(error), with_traceback(error))
