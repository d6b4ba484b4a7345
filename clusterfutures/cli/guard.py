"""What a command's end says to the shell: 0 well, 1 something failed, 2 a mistake, 130 interrupted."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from clusterfutures.errors import ClusterError, OptionError

__all__ = ["guarded"]


class Terminated(KeyboardInterrupt):
    """SIGTERM: to be handled as a Ctrl-C is."""


def guarded(program: str, body: Callable[[], int]) -> int:
    """The exit status of ``body``; what a user can do wrong is one line on stderr."""
    before = signal.signal(signal.SIGTERM, _terminated)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files may be no text
    try:
        status = body()
        sys.stdout.flush()
        return status
    except (OptionError, ClusterError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter complains when it flushes
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
