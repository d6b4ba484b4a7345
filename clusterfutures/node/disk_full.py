"""A disk that is full may be freed again, a read-only one be mounted anew: what is to be
written waits for that, a while.

    write --ENOSPC, EDQUOT, EROFS--> pause, write again ... --FULL_SECONDS--> the error itself

What waits is in memory, so nothing is lost while it does.  Nothing new is begun meanwhile:
the supervisor does nothing else, and its processes stop when their pipes are full.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import time
from collections.abc import Callable

__all__ = ["FULL_SECONDS", "may_pass", "patiently", "say"]

#: how long a full or read-only disk is waited for
FULL_SECONDS = 60.0
_PAUSES = (0.05, 1.0)


def may_pass(error: OSError) -> bool:
    """True for an error that goes away when somebody deletes files, or mounts the disk as it was."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def say(text: str) -> None:
    """Say something in the log, which may be on the disk that is full."""
    with contextlib.suppress(OSError):
        print(f"clusterfutures: {text}", file=sys.stderr, flush=True)


def patiently(write: Callable[[], None], seconds: float = FULL_SECONDS) -> None:
    """Call ``write`` until there is space for it; raises its OSError after ``seconds``."""
    deadline = time.monotonic() + seconds
    pause, longest = _PAUSES
    while True:
        try:
            return write()
        except OSError as error:
            if not may_pass(error) or time.monotonic() + pause > deadline:
                raise
            if pause == _PAUSES[0]:
                say(f"{error}; waiting {'for it to be writable' if error.errno == errno.EROFS else 'for space'}")
        time.sleep(pause)
        pause = min(longest, 2 * pause)
