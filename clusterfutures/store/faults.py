"""Errors of the file system: which of them pass, and what to do about those that stay.

    verb --ESTALE, EIO, ETIMEDOUT, EMFILE ...--> pause, the verb again ... --seconds--> the error itself
                                                                             advice(error) --> its message

A server that is restarted, a file handle that went stale, a process that has every descriptor in use: such an
error says nothing about the file.  The verbs of ``files.py`` repeat what failed with one of them.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["TRANSIENT", "advice", "again", "explained", "warn"]

T = TypeVar("T")

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
#: what a network file system reports while its server, or the way there, does not work
_NO_ANSWER = frozenset(
    {
        errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENOTCONN, errno.ESHUTDOWN, errno.EHOSTDOWN,
        errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ECONNRESET, errno.ECONNABORTED,
        errno.ECONNREFUSED,
    }
)  # fmt: skip
#: errors after which the same operation is worth repeating
TRANSIENT = _NO_ANSWER | _NO_DESCRIPTOR

_PAUSES = (0.001, 0.5)
#: how long an error lasts before a warning says so
_WARN_SECONDS = 2.0


def advice(error: OSError) -> str:
    """What the user can do about an error of the file system."""
    number = error.errno
    if number in _NO_SPACE:
        return "free some space there, or choose another directory="
    if number == errno.EMFILE:
        return "this process has too many files open: raise ulimit -n, or close some"
    if number == errno.ENFILE:
        return "this machine has too many files open: end some programs, or have fs.file-max raised"
    if number in _NO_ANSWER:
        return (
            "the file system does not answer as it should: look at its mount and its server, then try again, or "
            "choose another directory="
        )
    if number == errno.EROFS:
        return "have it mounted writable, or choose another directory="
    if number in (errno.EACCES, errno.EPERM):
        return "make it writable for you, or choose another directory="
    return "choose another directory="


def explained(error: OSError) -> str:
    """The error's own words and what to do about it."""
    return f"{error.strerror}; {advice(error)}"


def again(error: OSError, seconds: float, attempt: Callable[..., T], arguments: tuple[object, ...]) -> T:
    """Repeat ``attempt``, which failed with ``error``, until it works.

    Raises its last error after ``seconds``, and every error that is not TRANSIENT at once.
    """
    began = time.monotonic()
    pause, longest = _PAUSES
    told = False
    while error.errno in TRANSIENT:
        now = time.monotonic()
        if now + pause > began + seconds:
            break
        if not told and now - began > _WARN_SECONDS:
            told = True
            warn(f"{error}; trying again for up to {seconds:g} s: {advice(error)}")
        time.sleep(pause)
        pause = min(2 * pause, longest)
        try:
            return attempt(*arguments)
        except OSError as newer:
            error = newer
    raise error


def warn(text: str) -> None:
    """Log a warning.  Nothing is imported for it: that takes a descriptor, and a node starts without ``logging``."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("clusterfutures").warning("clusterfutures: %s", text)
        return
    with contextlib.suppress(OSError):
        print(f"clusterfutures: {text}", file=sys.stderr, flush=True)
