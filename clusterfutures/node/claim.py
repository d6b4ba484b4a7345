"""A claimed bin while the supervisor works on it, and how much to hand over at a time.

Pure: no file, no process, no clock.  A claim moves forward over its calls:

    first ........ done ........ handed ........ stop
          the process   begun, in        not begun: may be
          says so       the process      given back

*Reported* is how far the client knows: that may be more than the process has
said, because the supervisor looks into its arena when it is silent for long.

A call may be *doomed*: nobody wants it any more.  One that has not been handed over is left out, and
a group ends before it; what becomes of a running one is not decided here.

A process stops by itself when a group turns out to take much longer than was thought
(``process.py``); what it has not run is handed over anew, or given back.

Short calls are handed over in groups of about ``GROUP_SECONDS``, so that few of them wait in
a process behind one that turns out to be long; what has not been handed over may go elsewhere
at any time.  *Begun* is noted on disk before calls are handed over (the claim itself is the
note of the first ``begun``, then the name of the claimed file), for several groups at a time, so
that notes stay few; long ones singly, so that little is lost with a job.
"""

from __future__ import annotations

from typing import Any

from clusterfutures.node.process import CALLS, CHUNK, RANGE
from clusterfutures.store import bins, records
from clusterfutures.store.bins import Bin

__all__ = ["Claim", "group_size"]

#: work handed over at a time, in seconds
GROUP_SECONDS = 0.02
#: work noted as begun at a time, in seconds
NOTE_SECONDS = 0.3
#: a group has at most so many times the calls of the measured one that it is sized by
_GROWTH = 64


def group_size(remaining: int, seconds_per_call: float | None, processes: int, seconds: float = GROUP_SECONDS) -> int:
    """How many of ``remaining`` calls are ``seconds`` of work: one when nothing is known of them.

    A worker with many processes has as many groups at a time; they get longer, so that the
    number of files, and what the supervisor has to do, does not grow with the processes.
    """
    if seconds_per_call is None:
        return min(1, remaining)
    target = seconds * max(1.0, min(20.0, processes / 2))
    return max(1, min(remaining, int(target / max(seconds_per_call, 1e-9))))


class Claim:
    """A bin that this worker has claimed; see the picture above."""

    def __init__(self, name: str, content: Bin) -> None:
        self.name = name
        self.bin_id = content.bin_id
        self.first, self.stop = content.first, content.stop
        self.done = self.handed = content.first
        self.noted = content.first + content.begun
        self.seconds_per_call = content.seconds
        self.strikes = 0
        self.doomed: set[int] = set()
        self.reported = content.first
        self.keep = False  # calls of it may run again: its file stays
        self._content = content
        self._loaded = False
        self._group_start = content.first
        self._group_seconds = 0.0
        self._largest = 0  # group so far that another may be sized by
        self._measured = (0, 0.0)  # calls and seconds that were not reported yet
        self._offsets = [0]
        if content.kind == bins.CALLS:
            for head in content.heads:
                self._offsets.append(self._offsets[-1] + head.length)

    @property
    def finished(self) -> bool:
        """True when nothing is left to hand over and all that was has come back."""
        return self.done >= self.stop

    def next_group(self, processes: int, most: int | None) -> tuple[int, int]:
        """The calls to hand over next; note them as begun first if ``noted`` is less.

        most: how many its process may still run.
        """
        if self.seconds_per_call is None:
            size = max(1, min(self.noted, self.stop) - self.handed)
        else:
            size = group_size(self.stop - self.handed, self.seconds_per_call, processes)
        if self._largest:
            size = min(size, _GROWTH * self._largest)
        stop = self.handed + (size if most is None else min(size, most))
        return self.handed, min([stop, *(call for call in self.doomed if call > self.handed)])

    def note(self, stop: int, processes: int) -> tuple[int, int] | None:
        """The calls to note as begun before those up to ``stop`` are handed over; None when they are."""
        if stop <= self.noted:
            return None
        first = max(self.noted, self.handed)
        size = group_size(self.stop - first, self.seconds_per_call, processes, NOTE_SECONDS)
        self.noted = max(stop, first + size)
        return first, self.noted

    def leave_out_doomed(self) -> list[int]:
        """Doomed calls that would be handed over next; they count as done.  Only between two groups."""
        left_out = []
        while self.handed in self.doomed and self.handed < self.stop:
            left_out.append(self.handed)
            self.process_lost(self.handed + 1)
        return left_out

    def commands(self, first: int, stop: int) -> list[tuple[Any, ...]]:
        """What to send to a process so that it runs these calls; marks them handed over."""
        self.handed, self._group_start = stop, first
        self._group_seconds = 0.0
        content = self._content
        base = content.first
        if content.kind == bins.CALLS:
            low, high = self._offsets[first - base], self._offsets[stop - base]
            blob = bytes(memoryview(content.blob)[low:high])
            return [(CALLS, self.bin_id, first, content.heads[first - base : stop - base], blob)]
        commands: list[tuple[Any, ...]] = []
        if not self._loaded:
            commands.append((CHUNK, self.bin_id, first, self.stop, content.heads[0], bytes(content.blob)))
            self._loaded = True
        commands.append((RANGE, self.bin_id, first, stop, stop >= self.stop))
        return commands

    def progress(self, upto: int, seconds: float, group_done: bool) -> int:
        """Calls before ``upto`` are reported; the process took ``seconds`` since it last said
        so.  Returns how many calls of the group the process has left for another one."""
        self.done = max(self.done, upto)
        self._group_seconds += seconds
        if group_done and upto > self._group_start:
            calls = upto - self._group_start
            self.seconds_per_call = self._group_seconds / calls
            self._largest = max(self._largest, calls)
            self._measured = (self._measured[0] + calls, self._measured[1] + self._group_seconds)
        left = self.handed - upto if group_done else 0
        self.handed -= left
        return left

    def pace(self) -> bytes:
        """A record of how long calls of this chunk took since the last one; those of a stream say it themselves."""
        calls, seconds = self._measured
        if self._content.kind != bins.CHUNK or not calls:
            return b""
        self._measured = (0, 0.0)
        return records.pack_pace(self._content.heads[0].function, seconds / calls, calls)

    def epitaph(self) -> bytes:
        """A record in place of the file of a bin that is done; none for a bin that keeps its file."""
        content = self._content
        if self.keep or not content.tag:
            return b""
        return records.pack(records.BIN, self.bin_id, content.first, content.stop - content.first, content.tag)

    def to_report(self, found: bytes, upto: int | None = None) -> bytes:
        """Of these records of the process, what has not been reported; counts them as so.

        upto: the call that they reach up to, when the process has sent them; None when they
        were found in its arena.
        """
        if not found:
            return b""
        already = self.reported
        if records.bin_of(found) != self.bin_id:
            return b""  # of the bin before: sent, but the process was killed before it forgot them
        if upto is None:
            if records.first_call(found) > max(already, self.done):
                return b""  # what comes before has been sent, and is still in the pipe
            upto = self.reached(found)
        self.reported = max(already, upto)
        self.keep = self.keep or records.any_failed(found)
        if upto > self.stop:  # a slice that could not be unpickled, of which a part had been given back
            found = records.pieces_upto(found, self.stop)
        return found if records.first_call(found) >= already else records.pieces_from(found, already)

    def reached(self, found: bytes) -> int:
        """How far this bin has come, by these records of a process."""
        seen = [r.first + r.calls for r in records.records(memoryview(found)) if r.bin_id == self.bin_id]
        return max([self.done, *seen])

    def process_lost(self, done: int) -> None:
        """The process died; calls before ``done`` are settled, what follows is to be run
        by another process."""
        self.done = max(self.done, done)
        self.handed = self.done
        self._loaded = False

    def cut(self, stop: int) -> None:
        """Calls from ``stop`` on have been given back."""
        self.stop = stop
        self.keep = True
