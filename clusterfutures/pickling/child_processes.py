"""The program's definitions for processes that calls start by spawn or forkserver: where they are left, and found.

    a call: multiprocessing reads the name of __main__.__spec__ --MainSpec--> the definitions, in a file in memory
    the child: multiprocessing runs the module of that name, ``spawned_main.py`` <--parents_definitions--'

A process that ``multiprocessing`` starts so has nothing of its parent.  Elsewhere it runs the program's script again,
which a node need not have, which text from ``-c``, stdin or a notebook is not, and which would submit all its calls a
second time where ``if __name__ == "__main__"`` is missing.  Here it gets the definitions that the node got: the child
finds functions and classes in ``__main__`` as its parent does, and the values that the program gave to globals.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from collections.abc import Callable
from typing import Any

__all__ = ["MainSpec", "parents_definitions"]

#: where the definitions are: a file of the process that made the call, which goes with it
VARIABLE = "CLUSTERFUTURES_MAIN"
#: how long a file may be in the middle of a change
_CHANGE_SECONDS = 10.0
_DIGEST = 16


class MainSpec:
    """What stands as ``__spec__`` in the ``__main__`` of a node: who reads its name is about to start a process.

    content: returns the definitions as bytes.
    """

    parent = ""
    origin = loader = submodule_search_locations = cached = None
    has_location = False

    def __init__(self, content: Callable[[], bytes]) -> None:
        self._content = content
        self._file: int | None = None
        self._pid = 0
        self._written = b""

    @property
    def name(self) -> str:
        """The module that the process is to run; the definitions are there for it."""
        if self._pid != os.getpid():
            self._file, self._pid, self._written = os.memfd_create("clusterfutures"), os.getpid(), b""
        assert self._file is not None
        content = self._content()
        digest = hashlib.blake2b(content, digest_size=_DIGEST).digest()
        if digest != self._written:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, digest + content, 0)
            self._written = digest
        os.environ[VARIABLE] = f"/proc/{self._pid}/fd/{self._file}"
        return "clusterfutures.pickling.spawned_main"


def parents_definitions() -> Any:
    """In a child: what its parent's ``MainSpec`` has left.  Raises RuntimeError when it is gone."""
    path, late = os.environ.get(VARIABLE, ""), time.monotonic() + _CHANGE_SECONDS
    while True:
        try:
            with open(path, "rb") as file:
                digest, content = file.read(_DIGEST), file.read()
        except OSError as error:
            raise RuntimeError(
                "what the program defines is not there any more: the process whose call started this one has ended"
            ) from error
        if hashlib.blake2b(content, digest_size=_DIGEST).digest() == digest:
            break
        if time.monotonic() > late:
            raise RuntimeError(f"{path} does not hold what the program defines")
        time.sleep(0.01)
    return pickle.loads(content)
