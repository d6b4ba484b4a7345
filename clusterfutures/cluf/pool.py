"""The workers of direct mode: forked processes with one connection each.

    calls --_next()--> chunk --send--> worker (idle) --rows, failures, done--> Pool.run()

A worker gets a chunk when it has finished the one before; while all are busy the next
chunk is made and pickled, so that none waits for it.  So nobody ever sends to one who is
sending.  Chunks begin with one call and grow until they are ``_CHUNK_SECONDS`` of work.  An
argument that a generator may change before it yields it again is pickled at once (``copies``).

A worker that dies is replaced; the call it had begun fails, the rest of its chunk goes to
others.  A worker leads a process group of its own: what a call has started ends with it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import sys
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from clusterfutures.cluf.copies import Copy, copied, pickled
from clusterfutures.cluf.outputs import render
from clusterfutures.cluf.worker import Work, record, text_of, work
from clusterfutures.errors import OptionError

__all__ = ["Failure", "Outcome", "Pool"]

_CHUNK_SECONDS = 0.05
_LARGEST_CHUNK = 2000
_LEAVE_SECONDS = 3.0
_KILL_AFTER_TIMEOUT = 1.0
#: failures of which the traceback is kept; more are counted only
_REMEMBERED = 1000
_DEATHS_IN_A_ROW = 10
#: of arguments that are pickled one by one, in a chunk: they share nothing
_COPIED_BYTES = 1_000_000


class Failure(NamedTuple):
    """A call that failed: its position, arguments, error in one line, traceback."""

    number: int
    args: str
    error: str
    traceback: str


@dataclass
class Outcome:
    """What became of the calls."""

    done: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    #: the iterable itself raised: nothing came after
    stopped: BaseException | None = None

    def add(self, failure: Failure) -> None:
        """Count a failure, and keep it while there are few."""
        self.failed += 1
        if len(self.failures) < _REMEMBERED:
            self.failures.append(failure)


class _Chunk(NamedTuple):
    indexes: list[int]
    arguments: list[Any]
    pickled: bytes


class _Slot:
    """One worker, and the chunk it has."""

    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid = pid
        self.connection = connection
        self.chunk: _Chunk | None = None
        self.deadline: float | None = None
        self.late = False
        self.recorded = -1


class Pool:
    """Runs calls in ``processes`` workers.

    calls: (index, argument) pairs, taken as they are needed.  keep: takes the bytes of a
    record, when results are kept.  total: number of calls where it is known.
    """

    def __init__(
        self,
        job: Work,
        calls: Iterator[tuple[int, Any]],
        processes: int,
        keep: Callable[[bytes], None],
        total: int | None,
    ) -> None:
        self._work = job
        self._calls = calls
        self._processes = processes
        self._keep = keep
        self._total = total
        self._shared = mmap.mmap(-1, 8 * processes)
        self._begun = memoryview(self._shared).cast("q")
        self._slots: dict[int, _Slot] = {}
        self._again: deque[tuple[int, Any]] = deque()
        self._ready: _Chunk | None = None
        self._size = 1.0
        self._taken = 0
        self._deaths = 0
        self.outcome = Outcome()

    def run(self, tick: Callable[[Outcome], None]) -> Outcome:
        """Run all calls; call ``tick`` from time to time with the progress."""
        try:
            while self._feed():
                self._listen()
                tick(self.outcome)
            self._leave()
            return self.outcome
        finally:
            self._end()

    # ---------------------------------------------------------------------- feeding

    def _feed(self) -> bool:
        """Give every idle worker a chunk; False when all is done."""
        for number in range(self._processes):
            slot = self._slots.get(number)
            if slot is not None and slot.chunk is not None:
                continue
            self._ready = self._ready or self._next()
            if self._ready is None:
                break
            slot = slot or self._start(number)
            slot.chunk, self._ready = self._ready, None
            if self._work.timeout:
                slot.deadline = time.monotonic() + self._work.timeout + _KILL_AFTER_TIMEOUT
            try:
                slot.connection.send_bytes(slot.chunk.pickled)
            except OSError:
                self._died(number, slot)
        busy = any(slot.chunk for slot in self._slots.values())
        if busy and self._ready is None:
            self._ready = self._next()
        return busy or self._ready is not None or bool(self._again)

    def _next(self) -> _Chunk | None:
        """The next chunk; calls that cannot be pickled fail here and are left out."""
        while True:
            pairs = self._take()
            if not pairs:
                return None
            indexes, arguments = [index for index, _ in pairs], [given for _, given in pairs]
            try:
                return _Chunk(indexes, arguments, pickled((indexes, arguments)))
            except Exception as error:
                if len(pairs) == 1:
                    text = f"its arguments cannot be sent to a process: {type(error).__name__}: {error}"
                    self._fail(indexes[0], arguments[0], text, "")
                else:
                    self._again.extendleft(reversed(pairs))
                    self._size = 1

    def _take(self) -> list[tuple[int, Any]]:
        size = 1 if self._work.timeout else int(self._size)
        if self._again:
            return [self._again.popleft()]
        if self._total is not None:
            size = max(1, min(size, (self._total - self._taken) // (2 * self._processes)))
        pairs: list[tuple[int, Any]] = []
        end, room = time.monotonic() + _CHUNK_SECONDS, _COPIED_BYTES
        try:
            for index, given in self._calls:
                if self._total is None:  # a generator, it may be
                    given = copied(given)
                    room -= len(given.data) if type(given) is Copy else 0
                pairs.append((index, given))
                if len(pairs) >= size or room < 0 or time.monotonic() > end:
                    break
        except Exception as error:
            self.outcome.stopped = error
            self._calls = iter(())
        self._taken += len(pairs)
        return pairs

    # --------------------------------------------------------------------- listening

    def _listen(self) -> None:
        """Take what workers say, until one is idle or a moment has passed."""
        by_connection = {slot.connection: number for number, slot in self._slots.items() if slot.chunk}
        speaking = wait(list(by_connection), timeout=0.1)
        for connection in speaking:
            number = by_connection[connection]  # type: ignore[index]
            self._hear(number, self._slots[number])
        if not speaking:
            self._find_dead(by_connection.values())
        now = time.monotonic()
        for slot in self._slots.values():
            if slot.chunk and slot.deadline and now > slot.deadline and not slot.late:
                slot.late = True  # it did not react to its own alarm
                _signal(slot.pid, signal.SIGKILL)

    def _find_dead(self, numbers: Iterable[int]) -> None:
        """A child that a call has left may hold the connection: then no end of file tells of the death."""
        for number in numbers:
            slot = self._slots[number]
            if os.waitid(os.P_PID, slot.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) and not slot.connection.poll():
                self._died(number, slot)

    def _hear(self, number: int, slot: _Slot) -> None:
        try:
            while True:
                said = slot.connection.recv()
                if said[0] == "row":
                    slot.recorded = said[1]
                    self._keep(said[2])
                elif said[0] == "failed":
                    self.outcome.add(Failure(*said[1:]))
                elif said[0] == "unread":
                    self._unread(slot, said[1])
                else:
                    self._finished(slot, said[1])
                if slot.chunk is None or not slot.connection.poll():
                    return
        except (EOFError, OSError):
            self._died(number, slot)

    def _finished(self, slot: _Slot, seconds: float) -> None:
        assert slot.chunk is not None
        count = len(slot.chunk.indexes)
        self.outcome.done += count
        slot.chunk, self._deaths = None, 0
        wanted = _CHUNK_SECONDS / max(seconds / count, 1e-9)
        self._size = max(1.0, min(wanted, 4 * max(count, self._size), _LARGEST_CHUNK))

    def _unread(self, slot: _Slot, error: str) -> None:
        """The worker could not unpickle its chunk: one of the arguments is to blame, which is tried by itself."""
        assert slot.chunk is not None
        chunk, slot.chunk, self._size = slot.chunk, None, 1
        if len(chunk.indexes) == 1:
            self._fail(chunk.indexes[0], chunk.arguments[0], f"its arguments cannot be unpickled: {error}", "")
        else:
            self._again.extend(zip(chunk.indexes, chunk.arguments, strict=True))

    def _died(self, number: int, slot: _Slot) -> None:
        """Blame the call that had begun; the rest of the chunk goes back."""
        del self._slots[number]
        slot.connection.close()
        status = os.waitstatus_to_exitcode(os.waitpid(slot.pid, 0)[1])
        _end_group(slot.pid)  # what the call had started
        chunk, index = slot.chunk, self._begun[number]
        if chunk is None:
            return
        place = chunk.indexes.index(index) if index in chunk.indexes else -1
        self._deaths += 1
        if place < 0 and self._deaths > _DEATHS_IN_A_ROW:
            raise OptionError(f"{self._deaths} processes in a row died before they began a call ({_how(status)})")
        if place >= 0 and slot.recorded != index:
            text = f"killed the process that ran it: {_how(status)}"
            if slot.late:
                text = f"took longer than --timeout={self._work.timeout:g} s and was killed"
            self._fail(index, chunk.arguments[place], text, "")
        elif place >= 0:
            self.outcome.done += 1
        self.outcome.done += max(0, place)
        self._again.extend(zip(chunk.indexes[place + 1 :], chunk.arguments[place + 1 :], strict=True))

    def _fail(self, index: int, given: Any, text: str, trace: str) -> None:
        given = given.shown() if isinstance(given, Copy) else given
        failure = Failure(index, text_of(given), text, trace)
        self.outcome.add(failure)
        self.outcome.done += 1
        if self._work.output:
            self._keep(render(record(index, given, None, ("failed", *failure), 0.0), self._work.output))

    # --------------------------------------------------------------------- processes

    def _start(self, number: int) -> _Slot:
        ours, theirs = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self._begun[number] = -1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns where the script has threads
            pid = os.fork()
        if pid == 0:
            try:
                os.setpgid(0, 0)
                ours.close()
                for slot in self._slots.values():
                    slot.connection.close()
                null = os.open(os.devnull, os.O_RDONLY)
                os.dup2(null, 0)
                work(self._work, theirs, self._begun, number)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(70)
        theirs.close()
        slot = self._slots[number] = _Slot(pid, ours)
        return slot

    def _leave(self) -> None:
        """All is done: let the workers go, and wait a little for them."""
        for slot in self._slots.values():
            slot.connection.close()
        self._reap(_LEAVE_SECONDS)

    def _end(self) -> None:
        """Whatever happened: no worker is left."""
        try:
            for slot in self._slots.values():
                _signal(slot.pid, signal.SIGINT)
            self._reap(_LEAVE_SECONDS)
        finally:  # also when there is a second Ctrl-C
            for slot in self._slots.values():
                _signal(slot.pid, signal.SIGKILL)
            for slot in self._slots.values():
                with contextlib.suppress(ChildProcessError):  # interrupted just after it was reaped
                    os.waitpid(slot.pid, 0)
            self._slots.clear()

    def _reap(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._slots and time.monotonic() < end:
            for number, slot in list(self._slots.items()):
                if os.waitpid(slot.pid, os.WNOHANG)[0]:
                    del self._slots[number]
                    _end_group(slot.pid)
            time.sleep(0.002)


def _signal(group: int, number: int) -> None:
    for send in (os.killpg, os.kill):
        try:
            send(group, number)
            return
        except (ProcessLookupError, PermissionError):
            continue  # the group is made by the child, a moment after its start; or all is over


def _end_group(leader: int) -> None:
    """What is left of the group of a worker that is gone; its number alone may be another process's by now."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _how(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
