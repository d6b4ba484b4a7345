"""Open files: a supervisor has three for each of its processes, and they may be a thousand."""

from __future__ import annotations

import resource
import select
from collections.abc import Sequence

__all__ = ["raise_limit", "ready_among", "restore_limit"]


_before: list[tuple[int, int]] = []


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        _before.append((soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def restore_limit() -> None:
    """Make it what it was, in a process that runs calls."""
    if _before:
        resource.setrlimit(resource.RLIMIT_NOFILE, _before[0])


def ready_among(readable: Sequence[int], writable: Sequence[int], seconds: float) -> set[int]:
    """The descriptors that can be read or written without waiting, waiting up to ``seconds`` for the first.

    ``select`` waits to the microsecond, and takes no descriptor beyond 1023; ``poll`` to the millisecond.
    """
    try:
        found = select.select(readable, writable, [], seconds)
    except ValueError:
        poll = select.poll()
        for descriptor in readable:
            poll.register(descriptor, select.POLLIN)
        for descriptor in writable:
            poll.register(descriptor, select.POLLOUT)
        return {descriptor for descriptor, _ in poll.poll(1000 * seconds)}
    return {*found[0], *found[1]}
