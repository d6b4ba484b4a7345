"""The supervisor's side of one process: its pipes, its memory, its death.

    STARTING --ready--> IDLE --send--> BUSY --group done--> IDLE
        any state --the process died--> DEAD --start--> STARTING

A slot is the only one to fork, kill or reap its process.  A death is noticed by
``waitpid``, not by the end of the reply pipe: a child that user code forked may hold
that pipe open for ever.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Callable, Container, Iterator
from typing import Any, NamedTuple

from clusterfutures.node import signals
from clusterfutures.node.affinity import take_share
from clusterfutures.node.capture import MOST_BYTES, shorten
from clusterfutures.node.descriptors import restore_limit
from clusterfutures.node.process import LENGTH, REPLY, Process
from clusterfutures.node.serialize import traceback_of
from clusterfutures.node.shared_memory import BIN, CURRENT, CUT_OFF, LOADING, NOBODY, OUTPUT, SharedMemory
from clusterfutures.node.time_limit import NOTICE
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Death", "Reply", "Slot", "SlotState"]

#: how long a process may take to stop on request
STOPPING_SECONDS = 0.05

#: there may be no memory for more words than these
_NO_MEMORY = b"MemoryError\n"


class SlotState(enum.Enum):
    """What the slot's process is doing."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    DEAD = "dead"


class Reply(NamedTuple):
    """One reply of the process; see ``process.py``."""

    flags: int
    bin_id: int
    upto: int
    seconds: float
    records: bytes


class Death(NamedTuple):
    """How a process ended: what it had not sent, and which call was running.

    current: the running call's index, or None; loading: it was unpickling a chunk;
    output: where the log starts that is its own; cut_off: its own descriptors were closed.
    """

    pid: int
    exit_code: int | None
    signal: int | None
    remains: bytes
    current: int | None
    loading: bool
    output: int
    cut_off: bool = False


def out_of_the_way(descriptors: list[int]) -> list[int]:
    """The same files under high numbers: a call that closes what it did not open, and opens files
    then, gets the lowest free numbers, and would have our records written into its files."""
    highest = min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    first, moved = highest - len(descriptors), []
    for at, descriptor in enumerate(descriptors):
        if first <= descriptor < highest:  # in the place of another
            descriptors[at] = os.dup(descriptor)
            os.close(descriptor)
    for number, descriptor in enumerate(descriptors, first):
        moved.append(os.dup2(descriptor, number, inheritable=False))
        os.close(descriptor)
    return moved


class Slot:
    """One process of the worker, and all that the supervisor holds of it."""

    def __init__(self, number: int, run: RunDirectory, worker: str, told: list[str]) -> None:
        self.number = number
        self.state = SlotState.DEAD
        self.pid = 0
        self.peak = 0  # the most memory that its last process had, in bytes
        self.heard_at = 0.0
        self.share_at = 0.0
        self.glance_at = 0.0
        self.glance_pause = 0.0
        self.calls_left: int | None = None
        self.hung_up = False
        self._notified = False
        self.log_name = f"{worker}.{number}"
        self._run = run
        self._told = told
        self._shared_memory = SharedMemory()
        self._commands = self.replies = -1
        self._unsent = bytearray()
        self._received = bytearray()
        self.log = run.open_log(self.log_name)

    def start(self, context: dict[str, Any], close: Callable[[], None]) -> None:
        """Fork a new process.  ``close``: drops in the child what is the supervisor's."""
        self.calls_left = context["max_tasks_per_child"]
        self._notified = self.hung_up = False
        self._shared_memory.clear()
        self._received.clear()
        self._unsent.clear()
        commands, self._commands = os.pipe()
        self.replies, replies = os.pipe()
        os.set_blocking(self._commands, False)
        os.set_blocking(self.replies, False)
        supervisor = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self._be_process(context, supervisor, commands, replies, close)
        os.close(commands)
        os.close(replies)
        self.state = SlotState.STARTING

    def descriptors(self) -> list[int]:
        """What the child of another slot has to close."""
        return [fd for fd in (self._commands, self.replies) if fd >= 0]

    def _be_process(
        self, context: dict[str, Any], supervisor: int, commands: int, replies: int, close: Callable[[], None]
    ) -> None:
        """The child: never returns."""
        status = 1
        try:
            signals.die_with_parent(supervisor)
            os.setpgid(0, 0)
            close()
            restore_limit()
            take_share(self.number, context["processes"], context["job_cores"], self._told)
            commands, replies, log = out_of_the_way([commands, replies, self.log])
            process = Process(self._run, self.log_name, self.number, commands, replies, self._shared_memory, log)
            process.serve(context)
            status = 0
        except BaseException as error:
            if isinstance(error, OSError) and error.errno == errno.EBADF:
                self._shared_memory.words[CUT_OFF] = 1  # and stderr may be a file of the user's by now
            else:
                _tell(error)
        finally:
            os._exit(status)

    def hand_over(self, calls: int) -> None:
        """Count calls against what the process may run before it is replaced."""
        if self.calls_left is not None:
            self.calls_left -= calls

    def hand_back(self, calls: int) -> None:
        """The process has left the last calls of its group."""
        if self.calls_left is not None:
            self.calls_left += calls

    # -- the pipes --------------------------------------------------------------

    def send(self, command: tuple[Any, ...]) -> None:
        """Give the process a command; what the pipe does not take now follows later."""
        body = pickle.dumps(command, 5)
        self._unsent += LENGTH.pack(len(body)) + body
        self.state = SlotState.BUSY
        self.push()

    @property
    def wants_to_write(self) -> int | None:
        """The descriptor to wait for while there is something unsent."""
        return self._commands if self._unsent else None

    def push(self) -> None:
        """Write what the pipe takes without blocking."""
        try:
            while self._unsent:
                del self._unsent[: os.write(self._commands, memoryview(self._unsent)[: 1 << 16].tobytes())]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._unsent.clear()  # the process is dead: waitpid will tell

    def receive(self) -> list[Reply]:
        """The replies that have come in whole."""
        try:
            while piece := os.read(self.replies, 1 << 20):
                self._received += piece
            self.hung_up = True  # it is dead, or its call has closed what it did not open
        except BlockingIOError:
            pass  # nothing more for now
        replies = []
        view, at = bytes(self._received), 0
        while len(view) - at >= REPLY.size:
            length, *fields = REPLY.unpack_from(view, at)
            stop = at + REPLY.size + length
            if stop > len(view):
                break
            replies.append(Reply._make((*fields, view[at + REPLY.size : stop])))
            at = stop
        del self._received[:at]
        return replies

    def glance(self) -> bytes:
        """The records of calls that the process has finished and not sent."""
        return self._shared_memory.glance()

    def notify(self) -> None:
        """Tell the running call, once, that the time limit is near."""
        if self.state is SlotState.BUSY and not self._notified and self._shared_memory.words[CURRENT] != NOBODY:
            self._notified = True
            os.kill(self.pid, NOTICE)  # not reaped before its slot is DEAD: nobody else's id

    # -- the end ----------------------------------------------------------------

    def end_call(self, bin_id: int, calls: Container[int]) -> None:
        """Kill the process if it is running one of these calls of a bin.

        It is stopped first: a process that goes on to its next call meanwhile would be killed in that one.
        """
        words = self._shared_memory.words
        if words[BIN] != bin_id or words[CURRENT] not in calls:
            return
        with self._stopped() as stopped:
            if stopped and words[BIN] == bin_id and words[CURRENT] in calls:
                self.kill()

    def shorten_output(self) -> bool:
        """Leave out the middle of what the running call wrote, when that is too much; False when it is not."""
        start = self._shared_memory.words[OUTPUT]
        if os.fstat(self.log).st_size - start <= MOST_BYTES:
            return False
        with self._stopped() as stopped:
            if stopped and self._shared_memory.words[OUTPUT] == start:
                shorten(self.log, start)
        return True

    @contextlib.contextmanager
    def _stopped(self) -> Iterator[bool]:
        """Have the process stand still, so that what is true of it stays so; False when it does not."""
        before = self._is_stopped()
        os.kill(self.pid, signal.SIGSTOP)
        deadline = time.monotonic() + STOPPING_SECONDS
        while not (stopped := self._is_stopped()) and time.monotonic() < deadline:
            time.sleep(0.0005)
        try:
            yield stopped
        finally:
            if not before:
                os.kill(self.pid, signal.SIGCONT)  # not reaped yet, even if it has been killed

    def _is_stopped(self) -> bool:
        """True while the process is stopped by a signal; also when it is over, and will do nothing more."""
        options = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is not None

    def has_died(self) -> tuple[int | None, int | None] | None:
        """Exit code and signal of a process that has ended; None while it lives."""
        if self.state is SlotState.DEAD:
            return None
        try:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
        except ChildProcessError:  # reaped by somebody else: cannot be, but must not hang
            return None, None
        if not pid:
            return None
        self.peak = used.ru_maxrss * 1024
        if os.WIFSIGNALED(status):
            return None, os.WTERMSIG(status)
        return os.WEXITSTATUS(status), None

    def bury(self, exit_code: int | None, killed_by: int | None) -> Death:
        """Read what the dead process left, and forget it.  Call ``receive`` before."""
        words = self._shared_memory.words
        current, loading, output = words[CURRENT], bool(words[LOADING]), words[OUTPUT]
        remains = self._shared_memory.remains()
        self._kill_group()
        for descriptor in self.descriptors():
            os.close(descriptor)
        self._commands = self.replies = -1
        self.state = SlotState.DEAD
        running = None if current == NOBODY else current
        return Death(self.pid, exit_code, killed_by, remains, running, loading, output, bool(words[CUT_OFF]))

    def hang_up(self) -> None:
        """Close the command pipe: an idle process ends by itself."""
        if self._commands >= 0:
            os.close(self._commands)
            self._commands = -1

    def kill(self) -> None:
        """Kill the process and the children that stayed in its group."""
        if self.state is not SlotState.DEAD:
            self._kill_group()
            try:
                os.kill(self.pid, signal.SIGKILL)  # before its setpgid it is in no group of its own
            except ProcessLookupError:
                return

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # nobody left, or not a group yet


def _tell(error: BaseException) -> None:
    """Say what ends this process, to the output of its call."""
    try:
        print(traceback_of(error, error.__traceback__), end="", file=sys.stderr or sys.__stderr__)
    except MemoryError:
        os.write(2, _NO_MEMORY)
