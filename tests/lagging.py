"""A shared directory seen through caches that lag: what is new on one side shows late on the other.

                        <base>/store              the directory itself
                       /            \\
    bindfs, remembers 10 s           bindfs, remembers 10 s
    <base>/view, as the client       <base>/view, as the nodes
    sees it                          see it, in a mount namespace of their own

Both sides name the same path.  The kernel keeps for each what it found, and what it did not
find, for ``LAG_SECONDS``: attributes, names, and the absence of names.  The program that
calls ``LaggingDirectory`` becomes the client: it gets a mount namespace of its own for good.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clusterfutures.schedulers import local
from clusterfutures.testing.real_slurm import RealSlurm

LAG_SECONDS = 10
_CLONE_NEWNS = 0x00020000


class LaggingDirectory:
    """Two lagging views of one directory, until ``close``."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="lagging-"))
        self.store, self.view = self.base / "store", self.base / "view"
        self.store.mkdir()
        self.view.mkdir()
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "no mount namespace for the lagging directory: run as root")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        self._begin()
        (self.store / "there").touch()
        # One after the other: a namespace that is made later would have the client's mount in it.
        self._nodes = self._mount("unshare", "--mount")
        there = ["test", "-e", self.view / "there"]
        self._await(
            lambda: not subprocess.run(self.on_a_node(there), stderr=subprocess.DEVNULL).returncode, "nodes' view"
        )
        self._client = self._mount()
        self._await(lambda: (self.view / "there").exists(), "client's view")

    def on_a_node(self, argv: Sequence[Any]) -> list[str]:
        """The command line that runs ``argv`` where the nodes' view is."""
        return ["nsenter", f"--target={self._nodes.pid}", "--mount", f"--wdns={os.getcwd()}", *map(str, argv)]

    def runs(self) -> Path:
        """A new place for runs, not made yet."""
        return self.view / uuid.uuid4().hex

    def close(self) -> None:
        """End both views and remove the directory."""
        for daemon in (self._nodes, self._client):
            daemon.terminate()
            daemon.wait(10)
        subprocess.run(["umount", "--lazy", str(self.view)], check=False, capture_output=True)
        self._end()
        shutil.rmtree(self.base)

    def _begin(self) -> None:
        """What has to be there before the views."""

    def _end(self) -> None:
        """What ends after them."""

    def _mount(self, *prefix: str) -> subprocess.Popen[bytes]:
        options = ",".join(f"{kind}_timeout={LAG_SECONDS}" for kind in ("attr", "entry", "negative"))
        return subprocess.Popen(
            ["setpriv", "--pdeathsig=TERM", *prefix, "bindfs", "-f", "-o", options, str(self.store), str(self.view)],
            start_new_session=True,
        )

    def _await(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, f"{what} is not mounted"
            time.sleep(0.2)


class LaggingSlurm(RealSlurm):
    """A cluster whose nodes have the nodes' view."""

    def __init__(self, directory: LaggingDirectory) -> None:
        super().__init__()
        self._lagging = directory

    def _spawn(self, role: str, argv: list[str], env: dict[str, str]) -> None:
        super()._spawn(role, self._lagging.on_a_node(argv) if role in self.nodes else argv, env)


class LaggingSubprocess:
    """In place of ``subprocess`` for the local scheduler: its jobs have the nodes' view."""

    DEVNULL, TimeoutExpired = subprocess.DEVNULL, subprocess.TimeoutExpired

    def __init__(self, directory: LaggingDirectory) -> None:
        self._lagging = directory

    def Popen(self, argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._lagging.on_a_node(argv), **options)


#: where the local scheduler looks for it
LOCAL_SUBPROCESS = f"{local.__name__}.subprocess"
