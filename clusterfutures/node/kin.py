"""Who dies with whom: nothing of a worker outlives it.

Linux lets a process be killed when its parent dies, and lets a process adopt what its
descendants leave behind.  With both, the processes of a supervisor that was killed end
at once, and a supervisor that ends can find and end every process that its calls left,
also those that moved to a session of their own.  Where the kernel refuses, the job's end
does what it did before: the scheduler cleans up what it can find.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Container

__all__ = ["adopt_orphans", "die_with_parent", "end_orphans", "reap_orphans"]

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
