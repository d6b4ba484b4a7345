"""Signals as something to wait for, beside the pipes; and who dies with whom.

    scancel, time limit, Ctrl-C ... -->
    a process of ours has ended     -->  a pipe that ``select`` can wait on --> ``take``

The handlers do nothing: what arrives is read from the pipe, in the supervisor's loop, at
a moment when it can be handled.

Nothing of a worker outlives it.  Linux lets a process be killed when its parent dies, and lets a
process adopt what its descendants leave behind.  With both, the processes of a supervisor that was
killed end at once, and a supervisor that ends can find and end every process that its calls left,
also those that moved to a session of their own.  Where the kernel refuses, the job's end
does what it did before: the scheduler cleans up what it can find.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Container, Iterable

from clusterfutures.node.descriptors import ready_among

__all__ = [
    "ENDS",
    "Signals",
    "adopt_orphans",
    "die_with_parent",
    "end_orphans",
    "killed_from_outside",
    "reap_orphans",
    "signal_name",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent, ``parent``, dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants that lost their own parent."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans(own: Container[int]) -> None:
    """Reap the orphans that have ended, up to the first child of our ``own`` that has: a worker lives
    for long, and each would be a zombie until its end."""
    with contextlib.suppress(ChildProcessError):  # there is no child at all
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in own:
                return
            os.waitpid(ended.si_pid, 0)


def end_orphans(grace: float = 0.5, seconds: float = 1.0) -> None:
    """Reap every child that is left, and the children that these leave; kill those that
    do not end by themselves within ``grace`` seconds."""
    began = time.monotonic()
    while time.monotonic() < began + grace + seconds:
        for pid in _children() if time.monotonic() > began + grace else []:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue  # gone, or not ours to kill (setuid)
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            time.sleep(0.002)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []  # a kernel without it: nothing is known of them


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
