"""Who owns a run: one program at a time, told by a lock that its death takes away.

    program A --acquire--> owner.lock (held while A lives)  <--acquire-- program B: refused

The lock is the kernel's, on an open file: it goes when the program ends, however it ends,
``kill -9`` included, and needs no clock.  ``run.json`` names the holder, for the text
of the refusal.
"""

from __future__ import annotations

import logging
import time

from clusterfutures.errors import StoreError
from clusterfutures.store import names
from clusterfutures.store.run import RunDirectory

__all__ = ["Ownership"]

logger = logging.getLogger("clusterfutures")

#: seconds until a lock that is held counts as an owner's: a program that only looks holds it for a moment
_PATIENCE = 0.5


class Ownership:
    """The right to change a run, for as long as this object holds it.

    The lock is taken with the kernel's own call: a run's first call does not wait for the
    import of a library, and where there are no locks there is none, rather than a file that
    stays after a crash.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._lock: int | None = None

    def acquire(self) -> None:
        """Become the owner of the run.

        Raises StoreError when another program is, or when the file system has no locks.
        """
        path = f"{self._run.path}/{names.OWNER_LOCK}"
        deadline = time.monotonic() + _PATIENCE
        try:
            while (lock := self._run.files.lock(path)) is None:
                if time.monotonic() > deadline:
                    raise StoreError(message=f"{self._run.path} is owned by {self._owner()}: end that first", path=path)
                time.sleep(0.02)
        except OSError as error:
            raise StoreError(
                message=f"cannot lock {path}, so nobody can tell who owns it: {error}; "
                "choose a directory= on a file system with locks (Lustre: mounted with flock)",
                path=path,
            ) from error
        self._lock = lock

    def acquire_new(self) -> None:
        """Become the owner of a run that was just made: without locks it goes on, and says so."""
        try:
            self.acquire()
        except StoreError as error:
            logger.warning("clusterfutures: %s; runs() cannot tell whether this program lives", error)

    def release(self) -> None:
        """Own it no longer; nothing when it was not owned."""
        if self._lock is not None:
            self._run.files.unlock(self._lock)
            self._lock = None

    def remove_run(self) -> None:
        """Remove the run, and own it no longer.

        The lock is let go of when little is left: an open file stays on a network file system
        under another name, and its directory with it.
        """
        self._run.empty()
        self.release()
        self._run.remove()

    def taken(self) -> bool | None:
        """Whether a program owns the run, without owning it or leaving a trace; None: nobody can tell."""
        return self._run.files.locked(f"{self._run.path}/{names.OWNER_LOCK}")

    def _owner(self) -> str:
        try:
            fields = self._run.read_run_file()
        except (StoreError, OSError, ValueError):
            return "a program that is just starting or ending"
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(fields.get("started", 0))))
        return f"process {fields.get('pid')} on {fields.get('host')} since {since}"
