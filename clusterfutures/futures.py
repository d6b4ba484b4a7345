"""``ClusterFuture``: a ``concurrent.futures.Future`` that knows where its call ran.

A future is made by ``submit`` and completed by the manager thread.  What is known of the
call besides its outcome (job, host, output, usage) is set before the outcome, so it is
there as soon as ``result()`` returns.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

__all__ = ["ClusterFuture", "Usage"]

T = TypeVar("T")

#: where the standard library tells what callbacks raise
logger = logging.getLogger("concurrent.futures")


class Usage(NamedTuple):
    """What a call used: seconds of wall time and of CPU (its child processes included),
    and the peak of its process's resident memory in bytes."""

    wall: float
    cpu: float
    memory: int


class _NotDecoded(Exception):
    """An exception that was not requested yet."""


class Owner(Protocol):
    """The client that can still withdraw a call."""

    def take_back(self, call: Any) -> bool:
        """Withdraw a call that has not begun; False when it has."""

    def kill(self, call: Any) -> bool:
        """Have a call ended that has begun; False when that cannot be."""


class Undecoded:
    """An outcome as it came from the node.  It is unpickled once, in the thread that needs it."""

    __slots__ = ("decode", "lock")

    def __init__(self, decode: Callable[[], tuple[Any, BaseException | None]]) -> None:
        self.decode = decode
        self.lock = threading.Lock()


def _outcome_of(future: Future[Any]) -> tuple[Any, BaseException | None]:
    error = future.exception()
    return None if error is not None else future.result(), error


class _Condition(threading.Condition):
    """The same in a quarter of the objects.  ``threading.Condition`` keeps five bound methods and a row of
    waiters; among tens of thousands of futures, for few of which anybody waits, they cost more than the rest of
    ``submit``: the garbage collector visits each of them, again and again."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._waiters: Any = ()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        self._lock.release()

    def locked(self) -> bool:
        """As documented, from Python 3.14 on; before, neither this nor the standard library's has it."""
        return self._lock.locked()  # type: ignore[attr-defined, no-any-return]

    def _release_save(self) -> Any:
        return self._lock._release_save()  # type: ignore[attr-defined]

    def _acquire_restore(self, saved: Any) -> None:
        self._lock._acquire_restore(saved)  # type: ignore[attr-defined]

    def _is_owned(self) -> bool:
        return self._lock._is_owned()  # type: ignore[attr-defined, no-any-return]

    def wait(self, timeout: float | None = None) -> bool:
        """As documented.  The caller has the lock, so nobody else makes the row meanwhile."""
        if self._waiters == ():
            self._waiters = deque()
        return super().wait(timeout)


class ClusterFuture(Future[T], Generic[T]):
    """The future of one call on a cluster.

    Beyond ``concurrent.futures.Future``: ``job_id`` and ``host`` (empty until the call is
    running), ``output()``, ``usage`` and ``started`` (None until it has ended), and
    ``attempts``, how often the call has begun (more than once only with ``retries=``).
    """

    def __init__(self) -> None:
        # As Future.__init__ does it (a test compares), but for the condition.
        self._condition = _Condition()
        self._state = "PENDING"
        self._result: Any = None
        self._exception: BaseException | None = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Any] = []
        self.job_id: str = ""
        self.host: str = ""
        self.started: float | None = None
        self.usage: Usage | None = None
        self._output: bytes | Callable[[], bytes] = b""
        self.attempts = 0
        self._undecoded: Undecoded | None = None
        self._owner: Owner | None = None
        self._call: Any = None

    def result(self, timeout: float | None = None) -> T:
        """Return the value of the call, or raise its exception, after waiting at most ``timeout`` seconds.

        Raises TimeoutError, CancelledError, the exception of the call, or a ClusterError.  A value
        with a class in it is unpickled in this thread, because that may run code.
        """
        if self._state != "FINISHED" or self._undecoded is not None:
            self._await_outcome(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception of the call, or None; see ``result``."""
        self._await_outcome(timeout)
        return super().exception(0)

    def _get_snapshot(self) -> tuple[bool, bool, Any, BaseException | None]:
        """(done, cancelled, result, exception): what asyncio of Python 3.15 takes over, in place of ``result()``."""
        if self._state != "FINISHED":
            cancelled = self.cancelled()
            return cancelled, cancelled, None, None
        self._await_outcome(None)
        return True, False, self._result, self._exception

    def __repr__(self) -> str:
        """As documented; does not unpickle an outcome for this."""
        if self._undecoded is None:
            return super().__repr__()
        return f"<{type(self).__name__} at {id(self):#x} state=finished, not unpickled yet>"

    def _await_outcome(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        super().exception(timeout)
        undecoded = self._undecoded
        if undecoded is None:
            return
        left = -1.0 if deadline is None else min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)
        if not undecoded.lock.acquire(timeout=left):  # another thread is at it: that may be a user's code
            raise TimeoutError
        try:
            if self._undecoded is not None:
                value, error = undecoded.decode()
                with self._condition:
                    self._result, self._exception = value, error
                    self._undecoded = None
        finally:
            undecoded.lock.release()

    def output(self) -> str:
        """Return what this call wrote to stdout and stderr, in the order of writing.

        C code and child processes are included.  Returns "" while the call has not ended.
        """
        if callable(self._output):
            self._output = self._output()
        return self._output.decode("utf-8", "replace")

    @property
    def is_decoded(self) -> bool:
        """False while an outcome that may run code is still to be unpickled."""
        return self._undecoded is None

    @property
    def is_lazy(self) -> bool:
        """True while the output is still to be read from the run directory."""
        return callable(self._output)

    def fetch(self) -> None:
        """Read now what would be read later: the run directory is about to go."""
        self.output()

    def cancel(self) -> bool:
        """Cancel the call if it has not begun.

        A call that waits in the shared queue is taken out of it by the same rename that
        a worker claims it with; the first rename wins.  Returns False when the call
        is running or done.
        """
        if not self._pending():
            return self.cancelled()
        call, owner = self._call, self._owner  # in this order: the owner is the first to go
        if owner is not None and not owner.take_back(call):
            with self._condition:
                pending = self._state == "PENDING"
            if pending:
                self.begin()
            return False
        return self.withdrawn()

    def kill(self) -> bool:
        """End the call, whether it has begun or not, and nothing else.

        A call that has not begun is cancelled.  For one that runs, its worker is asked to kill
        its process, and starts another one for the calls that follow: within about a second
        the future raises ``CallKilled``, unless the call was faster and has its result.  A
        call in a job that is suspended is ended when the job goes on.  Whatever becomes of
        its job meanwhile, the call is not run again, also with ``retries=``: if its job is
        lost, that is the end of the call too, and ``CallKilled`` says so.

        The child processes of the call that stayed in its process group end with it.  The
        calls of a ``map`` have no futures (to leave its iterator cancels what has not begun);
        those that ``attach`` gives them can be waited for, not killed.

        Returns False when the call is done, or cannot be killed; else True, and the outcome
        tells what became of it.  Does not wait.
        """
        if self.cancel():
            return True
        call, owner = self._call, self._owner  # in this order, as above
        if owner is None or self.done():
            return False
        return owner.kill(call)

    # -- for the client only, as ``set_result`` is for executors only -----------------

    def belongs_to(self, owner: Owner | None, call: Any) -> None:
        """Know who can withdraw the call; None when nobody can any more."""
        self._owner, self._call = owner, call

    def set_output(self, output: bytes | Callable[[], bytes]) -> None:
        """Know what the call has printed, or what reads that."""
        self._output = output

    def withdrawn(self) -> bool:
        """Cancel, and tell those who ``wait`` for it: no worker will.

        Callbacks run without the condition, as in the standard library: they may wait for a thread that needs
        the state of this future, or cancel another one with a callback that cancels this.
        """
        with self._condition:
            if self._state != "PENDING":
                return self.cancelled()
            self._state = "CANCELLED"
            self.set_running_or_notify_cancel()
            self._condition.notify_all()
        self._invoke_callbacks()
        return True

    def _invoke_callbacks(self) -> None:
        """Call all of them.  A BaseException (SystemExit, say) must not stop our threads, nor keep another
        callback from its call; in the program's own thread it is raised."""
        for callback in self._done_callbacks:
            try:
                callback(self)
            except BaseException as error:
                logger.exception("exception calling callback for %r", self)
                if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
                    raise

    def _pending(self) -> bool:
        with self._condition:
            return self._state == "PENDING"

    def begin(self) -> bool:
        """Turn RUNNING, if not so already; False when it was cancelled."""
        with self._condition:
            if self._state == "CANCELLED_AND_NOTIFIED":
                return False
            # Under the condition, which is re-entrant: cancel() and the manager may both be here.
            return self._state in ("RUNNING", "FINISHED") or self.set_running_or_notify_cancel()

    def requeue(self) -> None:
        """The call is to be run again: it can be cancelled until it begins."""
        with self._condition:
            if self._state == "RUNNING":
                self._state = "PENDING"

    def follow(self, other: Future[T]) -> None:
        """Take over the outcome of a call that an earlier program made, and what is known of it."""
        assert isinstance(other, ClusterFuture)
        self.job_id, self.host, self.started, self.usage = other.job_id, other.host, other.started, other.usage
        self.attempts, self._output = other.attempts, other._output
        if other.cancelled():
            self.resolve(None, CancelledError())
        else:  # in the thread that needs it: unpickling may run a user's code
            self.resolve_later(lambda: _outcome_of(other), other._exception is not None)

    def resolve(self, value: Any, error: BaseException | None) -> None:
        """Set the outcome, through RUNNING; a cancelled future stays cancelled."""
        self.belongs_to(None, None)
        with self._condition:
            if self._state == "PENDING":
                self.set_running_or_notify_cancel()
            elif self._state != "RUNNING":
                return
        try:
            if error is not None:
                self.set_exception(error)
            else:
                self.set_result(value)
        except InvalidStateError:  # another thread was faster: a release beside the manager
            return

    def resolve_later(self, decode: Callable[[], tuple[Any, BaseException | None]], failed: bool) -> None:
        """Complete with what ``decode`` gives when it is asked for; ``failed``: that is an exception."""
        with self._condition:
            if self.done():
                return
            self._undecoded = Undecoded(decode)
        self.resolve(None, _NotDecoded() if failed else None)
