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
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:  # inherited: exit codes would be lost
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _prepare_streams()
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
        _write_no_more()
        return 1
    except OSError as error:
        _write_no_more()
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGTERM, before)


def _prepare_streams() -> None:
    """Do not fail when stdout or stderr was closed, or when a file name is not valid text."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (as long as the program)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="surrogateescape")


def _write_no_more() -> None:
    """Where stdout takes nothing any more: or the interpreter complains when it flushes."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
