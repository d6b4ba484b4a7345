"""A shared directory on a real network file system: GlusterFS, on this machine.

    <base>/store, the brick  <--  glusterfsd (posix, locks, server on 127.0.0.1)
                                  /                        \\
    glusterfs, caches what it saw                           glusterfs, caches what it saw
    <base>/view, as the client                              <base>/view, as the nodes
    sees it                                                 see it, in a mount namespace of their own

Each side has a FUSE client of its own with write-behind, io-cache, quick-read and md-cache, as a volume has them by
default: data is written later, read from memory, and what is known of a file is a second old.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from lagging import LaggingDirectory

__all__ = ["PACKAGES", "GlusterDirectory", "missing"]

#: Debian's name of what has to be installed: the server is in a package that it brings along
PACKAGES = ("glusterfs-client",)
_SERVER = """\
volume posix
  type storage/posix
  option directory {store}
end-volume
volume locks
  type features/locks
  subvolumes posix
end-volume
volume server
  type protocol/server
  option transport-type tcp
  option transport.socket.bind-address 127.0.0.1
  option transport.socket.listen-port {port}
  option auth.addr.locks.allow 127.0.0.1
  subvolumes locks
end-volume
"""
_CLIENT = """\
volume remote
  type protocol/client
  option transport-type tcp
  option remote-host 127.0.0.1
  option remote-port {port}
  option remote-subvolume locks
end-volume
volume write-behind
  type performance/write-behind
  subvolumes remote
end-volume
volume io-cache
  type performance/io-cache
  subvolumes write-behind
end-volume
volume quick-read
  type performance/quick-read
  subvolumes io-cache
end-volume
volume md-cache
  type performance/md-cache
  subvolumes quick-read
end-volume
"""


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in ("glusterfsd", "glusterfs") if _program(name) is None]


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


class GlusterDirectory(LaggingDirectory):
    """Two views of one directory through a server, until ``close``."""

    def _begin(self) -> None:
        assert not missing(), f"install {' '.join(PACKAGES)} (Debian's names)"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (self.base / "server.vol").write_text(_SERVER.format(store=self.store, port=port))
        (self.base / "client.vol").write_text(_CLIENT.format(port=port))
        self._clients = 0
        self._server = self._start("server", "glusterfsd", "--volfile", self.base / "server.vol")
        self._await(lambda: _listens(port), "the server")

    def _mount(self, *prefix: str) -> subprocess.Popen[bytes]:
        self._clients += 1
        volume = self.base / "client.vol"
        return self._start(f"client{self._clients}", "glusterfs", "--volfile", volume, self.view, prefix=prefix)

    def _start(
        self, log: str, program: str, *arguments: str | Path, prefix: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig=TERM", *prefix, str(_program(program)), "--no-daemon",
             f"--log-file={self.base / log}.log", *map(str, arguments)],
            start_new_session=True,
        )  # fmt: skip

    def _end(self) -> None:
        self._server.terminate()
        self._server.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
