"""Which files are made below a directory, as the kernel tells it (inotify).

    with Watch(directory) as watch:
        ...
    watch.files      names made meanwhile, temporary ones included; a rename makes none

A thread reads the events while the block runs.  Directories made meanwhile are watched
as well; what was put into them before we could is found by a listing.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from typing import Self

__all__ = ["Watch"]

IN_CREATE, IN_ISDIR, IN_NONBLOCK = 0x100, 0x40000000, 0o4000
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Counts files made below ``root``, which must be there."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.files = 0
        self.directories = 0
        self._paths: dict[int, str] = {}
        self._counted: set[str] = set()
        self._descriptor = _libc.inotify_init1(IN_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read_all, name="watch", daemon=True)
        self._add(os.fspath(root), False)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._read()
        os.close(self._descriptor)

    def _add(self, path: str, new: bool) -> None:
        number = _libc.inotify_add_watch(self._descriptor, os.fsencode(path), IN_CREATE)
        if number < 0:
            return  # it has gone already
        self._paths[number] = path
        try:
            entries = list(os.scandir(path))
        except OSError:
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                self._made(entry.path, True, new)
            elif new:
                self._made(entry.path, False, True)

    def _made(self, path: str, directory: bool, new: bool) -> None:
        if path in self._counted:
            return
        if directory:
            self._counted.add(path)
            self.directories += new
            self._add(path, new)
        elif new:
            self.files += 1

    def _read_all(self) -> None:
        while not self._stop.is_set():
            if select.select([self._descriptor], [], [], 0.05)[0]:
                self._read()

    def _read(self) -> None:
        try:
            events = os.read(self._descriptor, 1 << 20)
        except BlockingIOError:
            return
        at = 0
        while at < len(events):
            number, mask, _, length = _EVENT.unpack_from(events, at)
            name = events[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
            at += _EVENT.size + length
            if number in self._paths:
                self._made(os.path.join(self._paths[number], os.fsdecode(name)), bool(mask & IN_ISDIR), True)
