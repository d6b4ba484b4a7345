"""The program ends, or forks: what becomes of the runs that it has.

the interpreter ends --drain--> what was submitted is carried out, as by the standard library's executors
... after Ctrl-C     --drain--> it is ended
a fork             --disown--> the child has none of them: their threads and files are its parent's
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

from clusterfutures.client.inbox import Phase
from clusterfutures.client.messages import Leave

if TYPE_CHECKING:
    from clusterfutures.client.client import Client

__all__ = ["begun", "ended", "leave", "refuse_if_exiting"]

_clients: weakref.WeakSet[Client] = weakref.WeakSet()
_exiting = False


def begun(client: Client) -> None:
    """A client is about to start its threads.

    Raises RuntimeError when the interpreter is ending.  That is looked at when the client is known
    already: either the end finds it, or it finds the end.
    """
    _clients.add(client)
    refuse_if_exiting()


def ended(client: Client) -> None:
    """Its threads are over, or have never begun."""
    _clients.discard(client)


def refuse_if_exiting() -> None:
    """In the standard library's words."""
    if _exiting:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")


def leave(clients: Iterable[Client]) -> None:
    """End clients, and wait for that; clients with jobs that may stay do not wait for results."""
    clients = list(clients)
    for client in clients:
        if client.leaves:
            client.inbox.post(Leave())
        client.inbox.advance(Phase.DRAINING)
    for client in clients:
        client.join()


def _drain_all() -> None:
    """Carry out what was submitted, unless the program is ending because of Ctrl-C, or has said
    that its jobs may stay."""
    global _exiting
    _exiting = True
    interrupted = issubclass(getattr(sys, "last_type", None) or Exception, KeyboardInterrupt)
    clients = list(_clients)
    for client in clients:
        if interrupted and not client.leaves:
            client.shutdown(wait=False, cancel=True, kill="the program was interrupted")
    leave(clients)


def _disown_all() -> None:
    """In a child that was forked."""
    for client in list(_clients):
        client.inbox.disown()
    _clients.clear()


# Before threads are joined, as the standard library's executors do it; and now, not with the
# first call: an executor that had none must refuse calls too once the interpreter is ending.
threading._register_atexit(_drain_all)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_disown_all)
