"""A run directory with a name, which outlives its program: made, or found again.

    lasting_run --the directory is there--> Ownership.acquire --one program at a time--> furnish

Whatever a program that was killed has left undone, ``furnish`` does.
"""

from __future__ import annotations

from clusterfutures.errors import StoreError
from clusterfutures.store import names
from clusterfutures.store.late import cannot_make
from clusterfutures.store.run import DIRECTORIES, RunDirectory

__all__ = ["furnish", "lasting_run"]


def lasting_run(path: str, patience: float) -> RunDirectory:
    """The run directory at ``path``, made if there is none; ``furnish`` it once it is owned.

    Raises StoreError when it cannot be made, is not safe, or is something else.
    """
    run = RunDirectory(path)
    run.lasting = True
    run.be_patient(patience)
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
