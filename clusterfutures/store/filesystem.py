"""The file system's verbs, made safe for NFS and Lustre: the only module to call ``os``.

    publish   write to a temporary name, close, rename: a file is whole or not there
    listing   the names in a directory, opened afresh: never a cached "not there"
    read      open without following links, check owner and kind on the descriptor
    take      rename a file to a name of one's own: the only arbiter there is
    discard   remove, without minding that it has gone already

Rules (docs/explanation/architecture.md, "The shared directory"): a published file never changes; discovery is
by listing; a rename that reports an error may still have happened.  Nothing is
``fsync``ed: closing before the rename is what NFS needs, and a node that crashes loses
its job anyway.  An error that passes by itself (``faults.py``) costs a repetition, for as long as ``patience``.
Tests replace ``Files`` by one that lies: late listings, torn frames, renames that fail but happen.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
from collections.abc import Callable, Sequence
from typing import TypeVar

from clusterfutures.store.faults import TRANSIENT, again
from clusterfutures.store.frames import Bytes, store_error
from clusterfutures.store.names import TEMPORARY

__all__ = ["Files"]

T = TypeVar("T")

_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a named pipe in its place is not waited for
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_LOG_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


#: the locks that this process holds
_locks: set[int] = set()


def _forget_locks() -> None:
    """In a child that was forked: the lock is its parent's, and goes with that one."""
    for lock in _locks:
        os.close(lock)
    _locks.clear()


os.register_at_fork(after_in_child=_forget_locks)


class Files:
    """The verbs.  Two threads may use one instance at the same time.

    patience: seconds for which a verb is repeated that fails with an error that may pass.
    """

    patience = 60.0

    def _again(self, attempt: Callable[..., T], *arguments: object) -> T:
        try:
            return attempt(*arguments)
        except OSError as error:
            if error.errno not in TRANSIENT:
                raise
            return again(error, self.patience, attempt, arguments)

    def publish(self, directory: str, name: str, pieces: Sequence[Bytes]) -> None:
        """Make ``directory/name`` with ``pieces`` as content, all of it or nothing.

        Raises OSError (ENOSPC, EDQUOT, EROFS ...) when it cannot be written; the
        temporary file is removed then, if that is possible.
        """
        temporary = f"{directory}/{TEMPORARY}{name}"
        try:
            self._again(self._write, temporary, pieces)
            self._again(self._put_in_place, directory, name)
        except OSError as error:
            try:
                _unlink(temporary)
            except OSError as second:  # the first error is the one to tell
                error.add_note(f"{temporary} could not be removed: {second.strerror}")
            raise

    def _put_in_place(self, directory: str, name: str) -> None:
        """Rename what was written.

        An error may hide a rename that happened (a repeated NFS request, a server that was restarted). The
        temporary file tells: it is still there, or the new name is, and may have been taken already.
        """
        temporary = f"{TEMPORARY}{name}"
        try:
            os.rename(f"{directory}/{temporary}", f"{directory}/{name}")
        except OSError as error:
            if error.errno != errno.ENOENT and error.errno not in TRANSIENT:
                raise
            if temporary in self._again(os.listdir, directory):
                raise

    def write(self, path: str, pieces: Sequence[Bytes]) -> None:
        """Write a file of mode 0600 under any umask, without making it known."""
        self._again(self._write, path, pieces)

    def _write(self, path: str, pieces: Sequence[Bytes]) -> None:
        descriptor = os.open(path, _WRITE_FLAGS, _FILE_MODE)
        try:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) != _FILE_MODE:  # to change it is to write
                os.fchmod(descriptor, _FILE_MODE)
            for start in range(0, len(pieces), 512):  # writev takes at most 1024 pieces
                _write_all(descriptor, list(pieces[start : start + 512]))
        finally:
            os.close(descriptor)

    def listing(self, directory: str) -> list[str]:
        """The names in ``directory``, sorted, signs included; files that are being written are left out."""
        return sorted(name for name in self._again(os.listdir, directory) if name[0] != TEMPORARY)

    def unfinished(self, directory: str) -> list[str]:
        """The names in ``directory`` that ``listing`` leaves out."""
        return [name for name in self._again(os.listdir, directory) if name[0] == TEMPORARY]

    def read(self, path: str) -> bytes:
        """The content of a file of ours.

        Raises FileNotFoundError when it is not there (late, or gone), StoreError when it
        is not ours, or others may write it, or it is no plain file.
        """
        return self._again(self._read, path)

    def _read(self, path: str) -> bytes:
        descriptor = self._open_ours(path)
        try:
            size = os.fstat(descriptor).st_size
            content = os.read(descriptor, size + 1)
            while len(content) < size:  # large files come in several reads
                piece = os.read(descriptor, size - len(content))
                if not piece:
                    break
                content += piece
            return content
        finally:
            os.close(descriptor)

    def map(self, path: str) -> memoryview:
        """A private, writable view of a file of ours; changes to it stay in memory.

        Raises as ``read`` does.
        """
        return self._again(self._map, path)

    def _map(self, path: str) -> memoryview:
        descriptor = self._open_ours(path)
        try:
            if os.fstat(descriptor).st_size == 0:
                return memoryview(bytearray())
            return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
        finally:
            os.close(descriptor)

    def take(self, source: str, target: str) -> bool:
        """Rename ``source`` to ``target``, a name that only the caller uses.

        Returns False when somebody else was first.  An error may hide a rename that
        happened (a repeated NFS request), so the target directory is listed before the
        answer is "no".
        """
        return self._again(self._take, source, target)

    def _take(self, source: str, target: str) -> bool:
        try:
            os.rename(source, target)
        except OSError as error:
            if self._is_there(target):
                return True
            if error.errno == errno.ENOENT:
                return False
            if error.errno in TRANSIENT and not self._is_there(source):
                return self._is_there(target)  # it has gone: to us, a moment ago, or to somebody else
            raise
        return True

    def _is_there(self, path: str) -> bool:
        directory, name = os.path.split(path)
        return name in self._again(os.listdir, directory)

    def reserve(self, spare: list[int], count: int) -> None:
        """Keep ``count`` descriptors in ``spare``, until ``release``."""
        try:
            while len(spare) < count:
                spare.append(self._again(os.open, "/", os.O_PATH | os.O_CLOEXEC))
        except OSError:
            self.release(spare)
            raise

    def release(self, spare: list[int]) -> None:
        """Close the descriptors in ``spare``."""
        while spare:
            os.close(spare.pop())

    def free(self, path: str) -> tuple[int, int, int, int]:
        """Free bytes and all bytes, free files and all files of the file system; 0 of all: it does not say."""
        found = self._again(os.statvfs, path)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, found.f_favail, found.f_files

    def open_log(self, path: str) -> int:
        """A descriptor for a log of mode 0600 under any umask, made when it is missing; what is written is appended."""
        descriptor = self._again(os.open, path, _LOG_FLAGS, _FILE_MODE)
        os.fchmod(descriptor, _FILE_MODE)
        return descriptor

    def lock(self, path: str) -> int | None:
        """Lock a file, made when it is missing; None when a program holds its lock.

        What is returned is for ``unlock``; when the process ends, the lock goes as well.
        """
        return self._again(self._lock, path)

    def _lock(self, path: str) -> int | None:
        import fcntl  # late: a node has no use for it

        descriptor = os.open(path, _LOCK_FLAGS, _FILE_MODE)
        try:
            _check(os.fstat(descriptor), path, stat.S_ISREG, "plain file")
            os.fchmod(descriptor, _FILE_MODE)  # whatever the umask
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        _locks.add(descriptor)
        return descriptor

    def unlock(self, lock: int) -> None:
        """Give back what ``lock`` returned."""
        if lock in _locks:  # in a forked child it is not
            _locks.discard(lock)
            os.close(lock)

    def locked(self, path: str) -> bool | None:
        """Whether a program holds the lock of a file of ours; None when that is unknown.

        Uses a shared lock, so programs that look at the same time do not see each other.
        """
        import fcntl  # late: a node has no use for it

        try:
            descriptor = self._again(self._open_ours, path)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return False

    def discard(self, path: str) -> None:
        """Remove a file; one that has gone already is no error."""
        self._again(_unlink, path)

    def make_directory(self, path: str, alone: bool = False) -> bool:
        """Make a directory of mode 0700; False when it was there already.

        alone: nobody else makes this one, so one that is there after an error is ours.
        """
        try:
            os.mkdir(path, _DIRECTORY_MODE)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in TRANSIENT:
                raise
            made = again(error, self.patience, _mkdir, (path,))
            if not made:
                return alone
        self._again(os.chmod, path, _DIRECTORY_MODE)
        return True

    def make_file(self, path: str) -> bool:
        """Make an empty file of mode 0600; False when there is anything at ``path``."""
        try:
            os.close(self._again(os.open, path, _NEW_FLAGS, _FILE_MODE))
        except FileExistsError:
            return False
        return True

    def remove_directory(self, path: str) -> bool:
        """Remove an empty directory, or see that it has gone; False when there is something in it."""
        try:
            self._again(os.rmdir, path)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        return True

    def make_parents(self, path: str) -> None:
        """Make the directories above ``path`` that are missing, each of mode 0700 under any umask."""
        parent = os.path.dirname(path)
        if parent and parent != path and not os.path.isdir(parent):
            self.make_parents(parent)
            self.make_directory(parent)

    def check_directory(self, path: str) -> None:
        """Refuse a directory that is not ours or that others may write, and a link to one.

        Raises FileNotFoundError when it is not there, StoreError when it is refused.
        """
        self._again(self._check_directory, path)

    def _check_directory(self, path: str) -> None:
        try:
            descriptor = os.open(path, _DIRECTORY_FLAGS)
        except NotADirectoryError:  # a symbolic link, too: the system looks at the kind first
            kind = "symbolic link" if os.path.islink(path) else "file"
            raise store_error(f"{path} is a {kind}, not a directory: refused; remove it", path) from None
        try:
            _check(os.fstat(descriptor), path, stat.S_ISDIR, "directory")
        finally:
            os.close(descriptor)

    def _open_ours(self, path: str) -> int:
        try:
            descriptor = os.open(path, _READ_FLAGS)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise store_error(f"{path} is a symbolic link: refused; remove it", path) from None
            raise
        try:
            _check(os.fstat(descriptor), path, stat.S_ISREG, "plain file")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _mkdir(path: str) -> bool:
    try:
        os.mkdir(path, _DIRECTORY_MODE)
    except FileExistsError:
        return False
    return True


def _check(found: os.stat_result, path: str, is_kind: Callable[[int], bool], kind: str) -> None:
    """Refuse what could have been put there by somebody else: unpickling runs code."""
    if not is_kind(found.st_mode):
        raise store_error(f"{path} is not a {kind}: refused; remove it", path)
    if found.st_uid != os.geteuid():
        raise store_error(f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()}): refused", path)
    if found.st_mode & 0o022:
        raise store_error(
            f"{path} may be written by others (mode {stat.S_IMODE(found.st_mode):o}): refused; chmod go-w it",
            path,
        )


def _write_all(descriptor: int, pieces: list[Bytes]) -> None:
    """Write every piece, however often the system writes less than it was given."""
    views = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
    while views:
        written = os.writev(descriptor, views)
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if written:
            views[0] = views[0][written:]
