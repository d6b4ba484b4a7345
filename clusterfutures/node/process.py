"""The process: a child of the supervisor that runs calls, one at a time.

    supervisor --commands--> process --replies--> supervisor
                                |
                              shared memory: the running call, results not yet sent

Commands are pickled tuples, each after its length:

    (CALLS, bin id, first, heads, blob)   run these calls of a bin from ``submit``
    (CHUNK, bin id, first, stop, head, blob)
                                          unpickle a ``map``'s slice, all of it, and keep it;
                                          of its calls these are still to be run
    (RANGE, bin id, first, stop, last)    run these calls of the slice; last: then drop it

A reply says how far the process has come and carries records for the client:

    length (4 bytes) | flags (4) | bin id (8) | next call (4) | seconds (8) | records

The process reports after every ``REPORT_SECONDS`` of short calls, and at the end of each
group.  A group that takes longer than ``LONGEST_GROUP_SECONDS`` is left in the middle: its
size was an estimate, and the rest may have to go elsewhere.  The process ends when the
command pipe is closed.  Whatever user code raises is caught and
sent; whatever kills the process is judged by the supervisor.
"""

from __future__ import annotations

import marshal
import os
import pickle
import resource
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from clusterfutures.node.capture import Capture
from clusterfutures.node.deserialize import Loader
from clusterfutures.node.disk_full import patiently
from clusterfutures.node.lazy_imports import keep_path
from clusterfutures.node.serialize import (
    cannot_pickle,
    cannot_unpickle,
    cannot_write,
    dumped,
    packed_error,
    shown,
    traceback_of,
)
from clusterfutures.node.shared_memory import (
    ARENA_BYTES,
    BIN,
    CURRENT,
    LOADING,
    NOBODY,
    OUTPUT,
    ROW_STOP,
    SharedMemory,
)
from clusterfutures.pickling import definitions
from clusterfutures.store import records
from clusterfutures.store.bins import CallHead
from clusterfutures.store.records import PLAIN_FORMAT
from clusterfutures.store.run_directory import LARGE_BYTES, RunDirectory

__all__ = ["CALLS", "CHUNK", "RANGE", "REPLY", "Process", "Worked"]

CALLS, CHUNK, RANGE = range(3)
READY, GROUP_DONE, BROKEN, LEAVING = 1, 2, 4, 8
REPLY = struct.Struct("<IIQId")
LENGTH = struct.Struct("<Q")
REPORT_SECONDS = 0.02
LONGEST_GROUP_SECONDS = 0.5
#: large results of a process that stand with those of all others; the next ones get a directory of their own
MOST_LARGE_TOGETHER = 100


Worked = tuple[int, bytes]  # kind of record, body


class Process:
    """The child's side of a slot.  ``serve`` runs until the supervisor hangs up."""

    def __init__(
        self,
        run: RunDirectory,
        name: str,
        slot: int,
        commands: int,
        replies: int,
        shared_memory: SharedMemory,
        log: int,
    ) -> None:
        self._run = run
        self._name = name
        self._slot = slot
        self._commands = commands
        self._replies = replies
        self._shared_memory = shared_memory
        self._capture = Capture(log)
        words = shared_memory.words
        self._capture.turn = lambda: (words[BIN], words[CURRENT])
        self._chunk: list[tuple[Any, ...]] = []
        self._chunk_function: Callable[..., Any] = print
        self._chunk_anew: Callable[[], Callable[..., Any]] | None = None
        self._large = 0
        self._bin = 0
        self._sent = time.perf_counter()
        # A call that forks and lets the child return would have two processes run this
        # loop, both writing to the shared memory and the pipe: the child ends when its call does.
        self._forked: list[bool] = []
        os.register_at_fork(after_in_child=lambda: self._forked.append(True))

    def serve(self, context: dict[str, Any]) -> None:
        """Prepare as ``context`` says, then run what the supervisor sends."""
        keep_path()
        self._loader = Loader(self._run, context["visibility_timeout"])
        limit = context["max_tasks_per_child"]
        if not self._initialise(context):
            return
        self._send(READY)
        done = 0
        while True:
            command = self._receive()
            if command is None:
                return
            done += self._obey(command)
            if limit and done >= limit:
                self._send(LEAVING | GROUP_DONE)
                return

    # -- the pipes --------------------------------------------------------------

    def _receive(self) -> tuple[Any, ...] | None:
        size = self._read(LENGTH.size)
        if size is None:
            return None
        body = self._read(LENGTH.unpack(size)[0])
        if body is None:
            return None
        command: tuple[Any, ...] = pickle.loads(body)
        return command

    def _read(self, size: int) -> bytes | None:
        content = os.read(self._commands, min(size, 1 << 20))
        if not content:
            return None
        while len(content) < size:
            piece = os.read(self._commands, min(size - len(content), 1 << 20))
            if not piece:
                return None
            content += piece
        return content

    def _send(self, flags: int, upto: int = 0, body: bytes | memoryview = b"") -> None:
        """Send a reply; the records in the shared memory are in ``body`` and may be forgotten."""
        now = time.perf_counter()
        reply = REPLY.pack(len(body), flags, self._bin, upto, now - self._sent)
        self._sent = now
        view = memoryview(reply + body)
        while view:
            view = view[os.write(self._replies, view) :]

    def _report(self, upto: int, flags: int = 0) -> None:
        """Send what the shared memory holds: calls before ``upto`` are done, and it is nobody's turn."""
        self._shared_memory.close_row()
        self._shared_memory.words[CURRENT] = NOBODY
        self._make_room(upto, flags)

    def _make_room(self, upto: int, flags: int = 0) -> None:
        """Send what the shared memory holds while it is the turn of call ``upto``: it has run, and
        must not be taken for one that has not."""
        self._send(flags, upto, self._shared_memory.pending())
        self._shared_memory.forget()

    # -- the work ---------------------------------------------------------------

    def _initialise(self, context: dict[str, Any]) -> bool:
        broken = ""
        try:
            program = context.get("program", ("", {}))  # a run of an earlier version says nothing of it
            self._loader.prepare(program, context["initializer"], context["on_timeout"])
        except BaseException as error:
            broken = traceback_of(error, error.__traceback__)
        self._end_if_forked()
        self._capture.settle()
        if broken:
            self._send(BROKEN, 0, broken.encode("utf-8", "backslashreplace"))
        return not broken

    def _end_if_forked(self) -> None:
        if self._forked:
            os._exit(0)

    def _obey(self, command: tuple[Any, ...]) -> int:
        """Carry out a command; returns how many calls were run."""
        kind, self._bin, first, *rest = command
        self._shared_memory.words[BIN] = self._bin
        self._shared_memory.words[OUTPUT] = self._capture.position()
        self._sent = time.perf_counter()
        _reset_peak_memory()
        if kind == CALLS:
            return self._run_calls(first, *rest)
        if kind == CHUNK:
            self._load_chunk(first, *rest)
            return 0
        return self._run_range(first, *rest)

    def _run_calls(self, first: int, heads: list[CallHead], blob: bytes) -> int:
        view, at = memoryview(blob), 0
        due = time.perf_counter() + REPORT_SECONDS
        end = due + LONGEST_GROUP_SECONDS
        stop = first + len(heads)
        for index, head in enumerate(heads, first):
            record = self._run_call(index, head, view[at : at + head.length])
            at += head.length
            if len(record) > self._shared_memory.room():
                self._make_room(index)
            self._shared_memory.add(record)
            self._shared_memory.words[CURRENT] = NOBODY
            if (now := time.perf_counter()) > due and index + 1 < stop:
                if now > end:
                    stop = index + 1
                    break
                self._report(index + 1)
                due = time.perf_counter() + REPORT_SECONDS
        self._report(stop, GROUP_DONE)
        return stop - first

    def _run_call(self, index: int, head: CallHead, data: memoryview) -> bytes:
        """Run one call; its record, with all that is to be known of it."""
        self._shared_memory.words[CURRENT] = index
        capture = self._capture
        output = self._shared_memory.words[OUTPUT] = capture.position()
        children = os.times()
        started, cpu, clock = time.time(), time.process_time(), time.perf_counter()
        kind, body = self._outcome(head, data)
        self._end_if_forked()
        wall = time.perf_counter() - clock
        cpu = time.process_time() - cpu
        if wall > 0.02:  # the clock of what child processes used ticks in hundredths
            now = os.times()
            cpu += now[2] + now[3] - children[2] - children[3]
        capture.settle(output)
        end = capture.position()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        info = records.CallInfo(started, wall, cpu, peak, self._slot, output, end, capture.read(output, end))
        return records.pack(kind, self._bin, index, 1, records.pack_info(info) + body, records.INFO)

    def _outcome(self, head: CallHead, data: memoryview) -> Worked:
        try:
            function = self._loader.function(head.function)
            arguments, keywords = self._loader.arguments(head, data)
        except BaseException as error:
            return self._raised(cannot_unpickle("the function or the arguments of this call", error))
        try:
            value = function(*arguments, **keywords)
        except BaseException as error:
            return self._raised(error)
        return self._packed(value)

    def _load_chunk(self, first: int, stop: int, head: CallHead, blob: bytes) -> None:
        words = self._shared_memory.words
        words[CURRENT], words[LOADING] = first, 1
        self._chunk = []  # the one before may have been given back in part, and never ended
        failed: Worked | None = None
        try:
            self._chunk_function = self._loader.function(head.function)
            self._chunk_anew = self._loader.anew(head.function)
            self._chunk = self._loader.arguments(head, blob)
        except BaseException as error:
            what = f"the function or the arguments of calls {first} to {stop - 1}"
            failed = self._raised(cannot_unpickle(what, error))
        self._end_if_forked()
        if failed is not None:
            self._shared_memory.add(records.pack(failed[0], self._bin, first, stop - first, failed[1]))
            self._report(stop)
        words[CURRENT], words[LOADING] = NOBODY, 0

    def _run_range(self, first: int, stop: int, last: bool) -> int:
        """Run calls of the chunk: the loop that a million short calls go through."""
        shared_memory, words, lengths, write = (
            self._shared_memory,
            self._shared_memory.words,
            self._shared_memory.lengths,
            self._shared_memory.write,
        )
        function, clock, forked = self._chunk_function, time.perf_counter, self._forked
        anew = self._chunk_anew
        dumps, plain_dumps, plain_types = pickle.dumps, marshal.dumps, records.PLAIN_TYPES
        told_apart = definitions.told_apart
        chunk = self._chunk[first:stop]
        due = clock() + REPORT_SECONDS
        end = due + LONGEST_GROUP_SECONDS
        at, row, plain = shared_memory.open_row(first), first, True
        for index, arguments in enumerate(chunk, first):
            try:
                if anew is not None:
                    function = anew()
                value = function(*arguments)
            except BaseException as error:
                context = self._context(arguments, index == first)
                at, row, plain = self._add_unusual(index, self._raised(error, context)), index + 1, True
            else:
                if forked:
                    os._exit(0)
                try:
                    if plain and type(value) in plain_types:
                        data = plain_dumps(value, PLAIN_FORMAT)
                    else:
                        data = told_apart(dumps(value, 5))
                        if plain:
                            at, row, plain = self._pickled_row(index), index, False
                    at += len(data)
                except BaseException:  # said why when it is tried again, below
                    at = ARENA_BYTES
                if at < ROW_STOP:  # what would make the row longer goes into a record of its own
                    write(data)
                    lengths[index - row] = len(data)
                    words[CURRENT] = index + 1
                else:
                    at, row, plain = self._add_packed(index, value, arguments, index == first), index + 1, True
            if clock() > due and index + 1 < stop:
                self._capture.settle(words[OUTPUT])
                if clock() > end:
                    stop, last = index + 1, False
                    break
                self._report(index + 1)
                at, row, plain = shared_memory.open_row(index + 1), index + 1, True
                due = clock() + REPORT_SECONDS
        value = None
        if last:
            self._chunk, chunk = [], []
        self._capture.settle(words[OUTPUT])
        self._report(stop, GROUP_DONE)
        return stop - first

    def _pickled_row(self, index: int) -> int:
        """The row goes on with values that have to be pickled: opens the next."""
        self._shared_memory.close_row()
        return self._shared_memory.open_row(index, plain=False)

    def _add_unusual(self, index: int, worked: Worked) -> int:
        """Report a call of a chunk with an outcome that does not fit the open row; open the next row."""
        self._end_if_forked()
        self._shared_memory.close_row()
        record = records.pack(worked[0], self._bin, index, 1, worked[1])
        if len(record) > self._shared_memory.room():
            self._make_room(index)
        self._shared_memory.add(record)
        return self._shared_memory.open_row(index + 1)

    # -- what a call returned ---------------------------------------------------

    def _add_packed(self, index: int, value: Any, arguments: tuple[Any, ...], is_first: bool) -> int:
        """A value of a chunk that does not go into the open row; opens the next."""
        return self._add_unusual(index, self._packed(value, (arguments, is_first)))

    def _packed(self, value: Any, call: tuple[tuple[Any, ...], bool] | None = None) -> Worked:
        """A return value as a record's body; large ones go to a file of their own.

        call: of a map, as for ``_context``.
        """
        buffers: list[pickle.PickleBuffer] = []

        def keep(buffer: pickle.PickleBuffer) -> bool:
            if buffer.raw().nbytes < LARGE_BYTES:
                return True
            buffers.append(buffer)
            return False

        try:
            data = dumped(value, keep, buffers)
        except Exception as error:
            context = self._context(*call) if call is not None else None
            return self._raised(cannot_pickle("the result of this call", value, error), context)
        except BaseException as error:  # SystemExit and its like, as if the call itself had raised it
            return self._raised(error)
        if not buffers and len(data) <= LARGE_BYTES:
            return records.VALUE, data
        try:
            return records.LARGE, self._write_large([data, *(buffer.raw() for buffer in buffers)])
        except OSError as error:
            return self._raised(cannot_write(value, error))

    def _context(self, arguments: tuple[Any, ...], is_first: bool) -> tuple[str, str]:
        """What is to be said of a call of a map that raised: its arguments, and what it printed last."""
        return shown(arguments), self._capture.last_lines(self._shared_memory.words[OUTPUT] if is_first else None)

    def _raised(self, error: BaseException, context: tuple[str, str] | None = None) -> Worked:
        """An exception as a record's body, or in a file of its own."""
        body = packed_error(error, context)
        if len(body) <= LARGE_BYTES:
            return records.ERROR, body
        try:
            return records.LARGE_ERROR, self._write_large([body])
        except OSError as reason:
            return records.ERROR, packed_error(cannot_write(error, reason))

    def _write_large(self, pieces: Sequence[bytes | memoryview]) -> bytes:
        self._large += 1
        name = f"{self._name}-{os.getpid()}-{self._large}"
        if part := self._large // MOST_LARGE_TOGETHER:  # a run that is to last keeps them all
            name = f"{self._name}.{part}/{name}"
        patiently(lambda: self._run.write_large(name, pieces))
        return name.encode()


def _reset_peak_memory() -> None:
    """Let the peak that the kernel keeps start anew, where it allows that."""
    try:
        with open("/proc/self/clear_refs", "wb", buffering=0) as file:  # as text, it would need the locale's codec
            file.write(b"5")
    except OSError:
        return  # not permitted in some containers: the peak is then the process's
