"""Who owns a run, and runs with a name, which outlive their program.

    program A --acquire--> owner.lock (held while A lives)  <--acquire-- program B: refused

The lock is the kernel's, on an open file: it goes when the program ends, however it ends,
``kill -9`` included, and needs no clock.  ``run.json`` names the holder, for the text
of the refusal.

    lasting_run --the directory is there--> Ownership.acquire --one program at a time--> furnish

Whatever a program that was killed has left undone, ``furnish`` does.
"""

from __future__ import annotations

import logging
import time

from clusterfutures.errors import StoreError
from clusterfutures.store import names
from clusterfutures.store.frames import cannot_make
from clusterfutures.store.parents import refuse_open
from clusterfutures.store.run_directory import DIRECTORIES, RunDirectory

__all__ = ["Ownership", "furnish", "lasting_run"]

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
        self._run.hold()

    def acquire_new(self) -> None:
        """Become the owner of a run that was just made: without locks it goes on, and says so."""
        try:
            self.acquire()
        except StoreError as error:
            logger.warning("clusterfutures: %s; runs() cannot tell whether this program lives", error)
            self._run.hold()

    def release(self) -> None:
        """Own it no longer; nothing when it was not owned."""
        self._run.let_go()
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


def lasting_run(path: str, patience: float) -> RunDirectory:
    """The run directory at ``path``, made if there is none; ``furnish`` it once it is owned.

    Raises StoreError when it cannot be made, is not safe, or is something else.
    """
    run = RunDirectory(path)
    run.lasting = True
    run.be_patient(patience)
    refuse_open(path)
    try:
        run.files.make_parents(path)
        if not run.files.make_directory(path):
            run.files.check_directory(path)
            found = run.files.listing(path)
            if found and names.OWNER_LOCK not in found:
                raise StoreError(message=f"{path} is there and is no run: choose another run= name", path=path)
    except OSError as error:
        raise cannot_make(path, error) from error
    return run


def furnish(run: RunDirectory) -> None:
    """Make the directories that are missing in a run; refuse those that are not safe.  Raises StoreError."""
    try:
        for name in DIRECTORIES:
            run.files.make_directory(f"{run.path}/{name}")
            run.files.check_directory(f"{run.path}/{name}")
    except OSError as error:
        message = f"cannot make a directory in the run directory {run.path}: {error.strerror}"
        raise StoreError(message=message, path=run.path) from error
