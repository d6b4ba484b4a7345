"""Where the queue of this machine lives: a directory of the user's alone, for this host alone.

    $XDG_STATE_HOME/clusterfutures/local-<host>/        (~/.local/state where it is not set)
        queue.db       every job: ``table``
        runs/          what the minder of each job writes: ``minder``
        lock, wake     the keeper's: its lock, and a pipe by which it is woken
        keeper.log     what the keeper has to complain about

The home directory may be shared by many hosts, hence the host's name in it.
"""

from __future__ import annotations

import os
import stat

from clusterfutures.errors import StoreError
from clusterfutures.options.places import absolute

__all__ = ["state_directory"]


def state_directory() -> str:
    """The directory of this user's queue on this host, made when it is not there.

    Raises StoreError when it cannot be made, or is not ours alone.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):
        base = absolute("~/.local/state", "Set XDG_STATE_HOME to the absolute path of a directory of yours.")
    host = os.uname().nodename.replace("/", "_")
    path = os.path.join(base, "clusterfutures", f"local-{host}")
    try:
        for directory in (base, os.path.dirname(path), path, os.path.join(path, "runs")):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        found = os.lstat(path)
    except OSError as error:
        raise StoreError(
            message=f"the queue of this machine has no place: {error}. Set XDG_STATE_HOME to a directory of yours",
            path=path,
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise StoreError(
            message=f"{path} is not yours alone (mode {stat.S_IMODE(found.st_mode):o}, owner {found.st_uid}), and the "
            "environment of jobs is kept there. Make it so (chmod 700), or move it away",
            path=path,
        )
    return path
