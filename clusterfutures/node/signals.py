"""Signals as something to wait for, beside the pipes.

    scancel, time limit, Ctrl-C ... --> \
    a process of ours has ended     -->  a pipe that ``select`` can wait on --> ``take``

The handlers do nothing: what arrives is read from the pipe, in the supervisor's loop, at
a moment when it can be handled.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

from clusterfutures.node.descriptors import ready_among

__all__ = ["ENDS", "Signals", "killed_from_outside", "signal_name"]

#: signals that mean the end of the job
ENDS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
#: how long our own signal may come after that of a process
OWN_SIGNAL_SECONDS = 0.1


class Signals:
    """The signals of a supervisor; ``descriptor`` becomes readable when one arrives."""

    def __init__(self) -> None:
        self.ends: set[int] = set()
        self.descriptor, self._wakeup = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._wakeup, False)

    def listen(self) -> None:
        """From now on, catch them, also those that the program which started the job has blocked."""
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *ENDS):
            signal.signal(number, lambda _number, _frame: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def take(self) -> set[int]:
        """The signals that have arrived; those that end the job are also kept in ``ends``."""
        try:
            caught = set(os.read(self.descriptor, 4096))
        except BlockingIOError:
            return set()
        self.ends |= caught & ENDS
        return caught

    def wait(self, seconds: float) -> set[int]:
        """``take``, waiting up to ``seconds`` for one to arrive."""
        ready_among([self.descriptor], [], seconds)
        return self.take()

    def own_turn_comes(self, processes: Iterable[int]) -> bool:
        """A scheduler that ends the job signals every process of it, in any order: before a
        call is blamed for the death of one of these, see whether our turn comes too."""
        if any(killed_from_outside(pid) for pid in processes):
            deadline = time.monotonic() + OWN_SIGNAL_SECONDS
            while not self.ends and (left := deadline - time.monotonic()) > 0:
                self.wait(left)  # which the death of the next process may end
        return bool(self.ends)

    def leave(self) -> None:
        """In a new process: signals are its own again, as Python starts with them."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *ENDS):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(self.descriptor)
        os.close(self._wakeup)


def signal_name(number: int | None) -> str:
    """SIGTERM for 15; '' for none."""
    if not number:
        return ""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def killed_from_outside(pid: int) -> bool:
    """True when a child has ended by a signal that schedulers send; it is not reaped."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None and found.si_code == os.CLD_KILLED and found.si_status in (signal.SIGTERM, signal.SIGKILL)
