"""Locks of ``multiprocessing`` in calls: they hold across all processes and nodes of a run.

    program: multiprocessing.Lock() --reduced()--> (kind, number) --shared()--> node: Lock, made of a file

A lock of ``multiprocessing`` is memory of one machine.  In the processes of a run another object with the same methods
stands for it, made of a lock on a file in the run directory.  The kernel gives such a lock back when its process ends:
a killed job leaves nothing locked.  The program itself takes no part: it has the lock that it made.

Counts and flags are names in a directory: a listing is what a network file system does not keep for long.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import tempfile
import threading
import time
import types
import uuid
import weakref
from collections.abc import Callable
from typing import Any

from clusterfutures.store import references

__all__ = ["BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore", "reduced", "register", "shared"]

logger = logging.getLogger("clusterfutures")

#: seconds between two looks, at first and at most
_PAUSES = (0.001, 0.03)
#: what a file system says that has no locks
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_TOO_MANY = "semaphore or lock released too many times"


def _until(attempt: Callable[[], bool], block: bool = True, timeout: float | None = None) -> bool:
    """Try until it succeeds; False when it does not in time."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause, longest = _PAUSES
    while not attempt():
        left = longest if deadline is None else deadline - time.monotonic()
        if not block or left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(1.5 * pause, longest)
    return True


class _Shared:
    """What all kinds have: a number, and the directory where their files are."""

    def __init__(self, number: str, place: str, *_state: Any) -> None:
        self.number = number
        self.place = place
        self._directory = ""

    def _path(self, name: str = "") -> str:
        """A file of this lock; its directory is made when it is first needed."""
        if not self._directory:
            directory = os.path.join(_place_of(self.place), self.number)
            os.makedirs(directory, mode=0o700, exist_ok=True)
            self._directory = directory
        return os.path.join(self._directory, name)

    def _names(self, prefix: str) -> list[str]:
        return sorted(name for name in os.listdir(self._path()) if name.startswith(prefix))

    def _state(self) -> tuple[Any, ...]:
        return ()

    def __reduce__(self) -> Any:
        return shared, (type(self).__name__, self.number, self.place, *self._state())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of clusterfutures, {self.number[:8]}>"


class Lock(_Shared):
    """As ``multiprocessing.Lock``; only the process that has it may release it."""

    def __init__(self, number: str, place: str) -> None:
        super().__init__(number, place)
        self._guard = threading.Lock()  # some file systems know processes only
        self._file: Any = None

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """As documented for ``multiprocessing``."""
        return _until(self._try, block, timeout)

    def _try(self) -> bool:
        if not self._guard.acquire(blocking=False):
            return False
        got = False
        try:
            got = self._try_file()
        finally:
            if not got:
                self._guard.release()
        return got

    def _try_file(self) -> bool:
        from filelock import FileLock, Timeout  # late: a node starts without

        if self._file is None:
            self._file = FileLock(self._path("lock"), thread_local=False)
        try:
            self._file.acquire(timeout=0, poll_interval=0.001)
        except Timeout:
            return False
        except (NotImplementedError, OSError) as error:
            passes = isinstance(error, OSError) and error.errno not in _NO_LOCKS
            if passes or not _stay_here(self.place, str(error)):
                raise
            self._directory, self._file = "", None
            return self._try_file()
        return True

    def release(self) -> None:
        """As documented for ``multiprocessing``."""
        if not self._guard.locked():
            raise ValueError(_TOO_MANY)
        self._file.release()
        self._guard.release()

    def locked(self) -> bool:
        """True while anybody has it."""
        if self._guard.locked() or not self._try():
            return True
        self.release()
        return False

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_error: object) -> None:
        self.release()


class RLock(Lock):
    """As ``multiprocessing.RLock``."""

    def __init__(self, number: str, place: str) -> None:
        super().__init__(number, place)
        self._owner: tuple[int, int] | None = None
        self._count = 0

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """As documented for ``multiprocessing``."""
        me = (os.getpid(), threading.get_ident())
        if self._owner != me:
            if not super().acquire(block, timeout):
                return False
            self._owner = me
        self._count += 1
        return True

    def release(self) -> None:
        """As documented for ``multiprocessing``."""
        if self._owner != (os.getpid(), threading.get_ident()):
            raise AssertionError("attempt to release recursive lock not owned by thread")
        self._count -= 1
        if not self._count:
            self._owner = None
            super().release()

    def locked(self) -> bool:
        """True while anybody has it."""
        return self._owner is not None or super().locked()

    def _try(self) -> bool:
        got = super()._try()
        if got:
            self._count = 0
        return got


class Semaphore(_Shared):
    """As ``multiprocessing.Semaphore``: its value is in the name of a file."""

    _most: int | None = None

    def __init__(self, number: str, place: str, value: int, most: int | None = None) -> None:
        super().__init__(number, place)
        self._first = value
        self._most = most
        self._guard = Lock(number, place)

    def _state(self) -> tuple[Any, ...]:
        return self._first, self._most

    def _change(self, by: int) -> bool:
        with self._guard:
            files = self._names("value-")
            value = int(files[0].removeprefix("value-")) if files else self._first
            if value + by < 0:
                return False
            if self._most is not None and value + by > self._most:
                raise ValueError(_TOO_MANY)
            if not files:
                files = [f"value-{value}"]
                os.close(os.open(self._path(files[0]), os.O_CREAT | os.O_WRONLY, 0o600))
            os.rename(self._path(files[0]), self._path(f"value-{value + by}"))
        return True

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """As documented for ``multiprocessing``."""
        return _until(lambda: self._change(-1), block, timeout)

    def release(self) -> None:
        """As documented for ``multiprocessing``."""
        self._change(1)

    def get_value(self) -> int:
        """The value of now."""
        with self._guard:
            files = self._names("value-")
        return int(files[0].removeprefix("value-")) if files else self._first

    def locked(self) -> bool:
        """True when it could not be acquired at once."""
        return self.get_value() == 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_error: object) -> None:
        self.release()


class BoundedSemaphore(Semaphore):
    """As ``multiprocessing.BoundedSemaphore``."""


class Event(_Shared):
    """As ``multiprocessing.Event``: it is set while a file is there."""

    def __init__(self, number: str, place: str, was_set: bool) -> None:
        super().__init__(number, place)
        self._was_set = was_set

    def _state(self) -> tuple[Any, ...]:
        return (self._was_set,)

    def is_set(self) -> bool:
        """As documented for ``multiprocessing``."""
        names = os.listdir(self._path())
        return "set" in names or (self._was_set and "cleared" not in names)

    def set(self) -> None:
        """As documented for ``multiprocessing``."""
        os.close(os.open(self._path("set"), os.O_CREAT | os.O_WRONLY, 0o600))

    def clear(self) -> None:
        """As documented for ``multiprocessing``."""
        os.close(os.open(self._path("cleared"), os.O_CREAT | os.O_WRONLY, 0o600))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path("set"))

    def wait(self, timeout: float | None = None) -> bool:
        """As documented for ``multiprocessing``."""
        return _until(self.is_set, True, timeout)


class Condition(_Shared):
    """As ``multiprocessing.Condition``: who waits has a file, which who notifies removes."""

    def __init__(self, number: str, place: str, lock: Lock) -> None:
        super().__init__(number, place)
        self._lock = lock
        self.acquire = lock.acquire
        self.release = lock.release

    def _state(self) -> tuple[Any, ...]:
        return (self._lock,)

    def wait(self, timeout: float | None = None) -> bool:
        """As documented for ``multiprocessing``."""
        levels = self._must_have()
        name = f"waits-{time.time_ns():020}-{uuid.uuid4().hex}"
        os.close(os.open(self._path(name), os.O_CREAT | os.O_WRONLY, 0o600))
        for _ in range(levels):
            self.release()
        try:
            if _until(lambda: name not in os.listdir(self._path()), True, timeout):
                return True
            try:
                os.unlink(self._path(name))
            except FileNotFoundError:  # notified in the last moment
                return True
            return False
        finally:
            for _ in range(levels):
                self.acquire()

    def _must_have(self) -> int:
        """How often this process has the lock."""
        levels = self._lock._count if isinstance(self._lock, RLock) else int(self._lock._guard.locked())
        if not levels:
            raise AssertionError("must acquire() condition before using wait() or notify()")
        return levels

    def notify(self, n: int = 1) -> None:
        """As documented for ``multiprocessing``."""
        self._must_have()
        for name in self._names("waits-")[:n]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(name))

    def notify_all(self) -> None:
        """As documented for ``multiprocessing``."""
        self.notify(len(self._names("waits-")))

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """As documented for ``multiprocessing``."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (result := predicate()):
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return result

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(self, *_error: object) -> None:
        self._lock.__exit__()


# -- from the program to the node -------------------------------------------------------

_KINDS: dict[str, Callable[..., Any]] = {
    kind.__name__: kind for kind in (Lock, RLock, Semaphore, BoundedSemaphore, Event, Condition)
}
_numbers: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
_originals: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_made: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_making = threading.RLock()
_places: dict[str, str] = {}
_told: set[str] = set()


def register(reducers: dict[Any, Callable[[Any], Any]]) -> None:
    """Enter how locks of ``multiprocessing`` are pickled; that module is imported already."""
    from multiprocessing import synchronize

    for name in _KINDS:
        reducers[getattr(synchronize, name)] = reduced
    kinds = frozenset(reducers)

    def method(bound: types.MethodType) -> tuple[Any, ...]:
        """A method of one of them is that of what stands for it."""
        if type(bound.__self__) in kinds and type(bound.__self__).__name__ in _KINDS:
            return getattr, (bound.__self__, bound.__name__)
        return types.MethodType, (bound.__func__, bound.__self__)

    reducers[types.MethodType] = method


def reduced(lock: Any) -> tuple[Any, ...]:
    """How to pickle a lock of ``multiprocessing``: what is made of it stands for it in all processes of a run."""
    with _making:
        number = _numbers.setdefault(lock, uuid.uuid4().hex)
        _originals[number] = lock
    if references.client_run:
        _tell(references.client_run)
    kind = type(lock).__name__
    return shared, (kind, number, "", *_state_of(kind, lock))


def _state_of(kind: str, lock: Any) -> tuple[Any, ...]:
    if kind == "Semaphore":
        return lock.get_value(), None
    if kind == "BoundedSemaphore":
        return lock.get_value(), lock._semlock.maxvalue
    if kind == "Event":
        return (lock.is_set(),)
    return (lock._lock,) if kind == "Condition" else ()


def shared(kind: str, number: str, place: str, *state: Any) -> Any:
    """The lock of that number; called by the unpickler.  The program gets back the one that it made."""
    with _making:
        known = _originals.get(number) or _made.get(number)
        if known is None:
            place = place or os.path.join(references.node_run, "locks")
            known = _made[number] = _KINDS[kind](number, place, *state)
    return known


# -- where locks hold -------------------------------------------------------------------


def _place_of(place: str) -> str:
    """Where the files are: in the run directory, or on this node where that has no locks for others."""
    if place not in _places:
        why = _why_not(os.path.dirname(place))
        if not (why and _stay_here(place, why)):
            _places[place] = place
    return _places[place]


def _stay_here(place: str, why: str) -> bool:
    """Make locks of this node alone from now on; False when that is so already."""
    name = f"clusterfutures-locks-{os.getuid()}-{os.path.basename(os.path.dirname(place))}"
    here = os.path.join(tempfile.gettempdir(), name)
    if _places.get(place) == here:
        return False
    _places[place] = here
    print(f"clusterfutures: locks of multiprocessing hold on each node alone: {why}", flush=True)
    return True


def _tell(run: str) -> None:
    """Say once where a lock holds on one node only."""
    if run not in _told:
        _told.add(run)
        why = _why_not(run)
        if why:
            logger.warning(
                "clusterfutures: a lock of multiprocessing holds on each node alone, not between nodes: %s. Choose a "
                "directory= on a file system that hands locks on", why,
            )  # fmt: skip


def _why_not(path: str) -> str:
    """Why a lock on a file in ``path`` does not reach other nodes; "" when it does, as far as this node knows."""
    try:
        kind, point, options = _mount_of(os.path.realpath(path), _mounts())
    except (OSError, LookupError):  # no /proc, or a table of another kind
        return ""
    held = {"nolock", "local_lock=all", "local_lock=flock", "localflock", "noflock"} & options
    if kind.startswith(("nfs", "lustre")) and held:
        return f"{point} is mounted with {sorted(held)[0]}"
    if kind == "lustre" and "flock" not in options:
        return f"{point} (Lustre) is mounted without flock"
    return f"{point} ({kind}) keeps locks to each node" if kind in ("fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse") else ""


def _mounts() -> str:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _mount_of(path: str, table: str) -> tuple[str, str, set[str]]:
    """Kind, mount point and options of the file system that ``path`` is on."""
    best = ("", "", set[str]())
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        point = fields[4].replace("\\040", " ")
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[1]):
            best = (rest[0], point, {*fields[5].split(","), *rest[-1].split(",")})
    return best
