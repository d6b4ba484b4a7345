"""The processes of a job: who belongs to it, and how they are signalled.

Where there is a /proc, a job is its whole session, as batch systems see it, and a stand-in
that closes finds everything it ever started by a variable in the environment, daemons
included.  Elsewhere (macOS) it is the process group of the job.
"""

from __future__ import annotations

import os
import signal

#: set for every process that a stand-in starts, to the directory of the stand-in
MARK = "CLUSTERFUTURES_STANDIN_PROCESS"


def _table() -> list[tuple[int, int, int, str]]:
    """(pid, parent, session, state) of every process, empty without /proc."""
    table = []
    try:
        names = os.listdir("/proc")
    except FileNotFoundError:
        return []
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    text = file.read()
            except OSError:
                continue  # it ended meanwhile
            fields = text[text.rindex(b")") + 2 :].split()
            table.append((int(name), int(fields[1]), int(fields[3]), fields[0].decode()))
    return table


def members(leader: int, descendants: bool = False) -> list[int]:
    """The living processes of a session; with ``descendants`` also those that left it but
    descend from it (Slurm's view)."""
    if not leader:
        return []
    table = [row for row in _table() if row[3] not in "ZX"]
    found = {row[0] for row in table if row[2] == leader}
    grown = bool(descendants)
    while grown:
        more = {row[0] for row in table if row[1] in found} - found
        found |= more
        grown = bool(more)
    return sorted(found)


def send(leader: int, number: int, descendants: bool = False) -> None:
    """Signal all processes of a job."""
    if not leader:
        return
    targets = members(leader, descendants)
    try:
        if not targets and not os.path.isdir("/proc"):
            os.killpg(leader, number)
        if leader not in targets:
            os.kill(leader, number)  # forked a moment ago: not yet in its own session
    except (ProcessLookupError, PermissionError):
        pass
    for pid in targets:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass


def marked(directory: str) -> list[int]:
    """Every process that the stand-in in ``directory`` started, by its environment."""
    mark = f"{MARK}={directory}".encode("utf-8", "surrogateescape")
    found = []
    for pid, _, _, state in _table():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if state not in "ZX" and pid != os.getpid() and mark in file.read().split(b"\0"):
                    found.append(pid)
        except OSError:
            continue
    return found


def kill(pids: list[int]) -> None:
    """SIGKILL each of ``pids`` that still is."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
