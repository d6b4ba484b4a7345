"""The bins that a worker has claimed: which process works on which, and what the client learns of it.

    bin claimed --open--> Claim --record, judge, last_reply--> records for the reporter
                            |                                   VALUE ... DIED, KILLED, RETURNED
                            +--close_if_finished, return_rest--> the claim is forgotten

The supervisor decides who works on what and when; here is written down what came of it:
what has begun, what a process reported, which call a dead process is blamed on, what goes
back.  A claimed bin is forgotten after the segment with its last result is out (``Reporter``).

A claim moves forward over its calls.  Pure: no file, no process, no clock.

    first ........ done ........ handed ........ stop
          the process   begun, in        not begun: may be
          says so       the process      given back

*Reported* is how far the client knows: that may be more than the process has
said, because the supervisor looks into its shared memory when it is silent for long.

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

import enum
import os
import pickle
import signal
from collections.abc import Iterable
from typing import Any

from clusterfutures.node import capture
from clusterfutures.node.process import CALLS, CHUNK, RANGE
from clusterfutures.node.queue import DamagedBin
from clusterfutures.node.reporter import Reporter
from clusterfutures.node.serialize import packed_error
from clusterfutures.node.signals import signal_name
from clusterfutures.node.slot import Death, Reply, Slot
from clusterfutures.store import bins, names, records
from clusterfutures.store.bins import Bin
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["STRIKES", "Claim", "ClaimTable", "ExitReason", "group_size", "killed", "last_words", "obituary"]


class ExitReason(enum.Enum):
    """Why a worker ended."""

    IDLE = "idle"
    CLOSED = "closed"
    ENOUGH = "took as many bins as one job may"
    AVOIDED = "others have died on this host"
    TIME = "too little is left of its time limit"
    SIGNAL = "signal"
    INITIALIZER = "initializer"
    GONE = "the run directory is gone"
    GIVEN_UP = "its program counts on it no more"
    FAULT = "fault"


def last_words(ending: ExitReason | None, signals: Iterable[int], text: str) -> dict[str, Any]:
    """What a worker says of its end."""
    return {
        "why": (ending or ExitReason.FAULT).name,
        "signals": [signal_name(number) for number in sorted(signals)],
        "text": text,
    }


def killed(slot: Slot, death: Death, bin_id: int, call: int) -> bytes:
    """The record of a call that was ended because nobody wanted it any more."""
    body = _what_it_wrote(slot, death) + capture.tail(slot.log, death.output).encode()
    return records.pack(records.KILLED, bin_id, call, 1, body, records.INFO)


def obituary(run: RunDirectory, slot: Slot, death: Death, bin_id: int, first: int, stop: int) -> bytes:
    """The record of calls ``first`` up to ``stop``, which killed their process."""
    body = {
        "signal": signal_name(death.signal),
        "exit_code": death.exit_code,
        "pid": death.pid,
        "log": run.log_path(slot.log_name),
        "tail": capture.tail(slot.log, death.output),
        "loading": death.loading,
        "cut_off": death.cut_off,
    }
    packed = _what_it_wrote(slot, death) + pickle.dumps(body, 5)
    return records.pack(records.DIED, bin_id, first, stop - first, packed, records.INFO)


def _what_it_wrote(slot: Slot, death: Death) -> bytes:
    """Where the output of a call stands that ended with its process: all that is known of it."""
    end = os.fstat(slot.log).st_size
    return records.pack_info(records.CallInfo(0.0, -1.0, 0.0, 0, slot.number, death.output, end, b""))


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
        were found in its shared memory.
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


#: processes that may die one after the other before somebody is blamed
STRIKES = 3


class ClaimTable:
    """The claims of one worker, by the number of their slot."""

    def __init__(self, run: RunDirectory, worker: str, reporter: Reporter) -> None:
        self.claims: dict[int, Claim] = {}
        self._run = run
        self._worker = worker
        self._reporter = reporter

    def open(self, slot: Slot, name: str, content: Bin) -> Claim:
        """A slot is to work on a bin that has been claimed."""
        claim = self.claims[slot.number] = Claim(name, content)
        self._reporter.made()
        if claim.noted > claim.first:  # the claim is the note of these
            self._tell_begun(slot, claim, claim.first, claim.noted)
        return claim

    def fail_bin(self, damaged: DamagedBin) -> None:
        """The calls of a bin that cannot be read fail."""
        parsed = names.parse_bin(damaged.name)
        if parsed is not None:
            body = packed_error(damaged.error)
            calls = parsed.stop - parsed.first
            self._reporter.add(records.pack(records.ERROR, parsed.bin_id, parsed.first, calls, body))
            self._reporter.finish(damaged.name)

    def note_begun(self, slot: Slot, claim: Claim, first: int, stop: int) -> None:
        """These calls are about to be handed over.  Raises GivenUp: they must not be."""
        claim.name = self._run.note_begun(self._worker, claim.name, stop)
        self._tell_begun(slot, claim, first, stop)

    def leave_rest(self, slot: Slot) -> None:
        """What of a bin has not begun is others', who know that already; forget it when the rest is done."""
        claim = self.claims[slot.number]
        claim.cut(claim.handed)
        self.close_if_finished(slot)

    def _tell_begun(self, slot: Slot, claim: Claim, first: int, stop: int) -> None:
        body = slot.number.to_bytes(4, "little")
        self._reporter.add(records.pack(records.BEGUN, claim.bin_id, first, stop - first, body))

    def record(self, slot: Slot, reply: Reply, group_done: bool) -> Claim | None:
        """A process says how far it has come; None when it has no claim."""
        claim = self.claims.get(slot.number)
        if claim is not None:
            slot.hand_back(claim.progress(reply.upto, reply.seconds, group_done))
            if group_done and claim.finished:
                self._reporter.add(claim.pace())
            self._reporter.add(claim.to_report(reply.records, reply.upto))
        return claim

    def close_if_finished(self, slot: Slot) -> bool:
        """Forget the claim of a slot when all of it is done; False when it is not.

        Calls that nobody wants any more, and that are next, are done with that.
        """
        claim = self.claims[slot.number]
        for call in claim.leave_out_doomed():
            self._reporter.add(records.pack(records.KILLED, claim.bin_id, call, 1))
        if claim.finished:
            del self.claims[slot.number]
            self._reporter.add(claim.epitaph())
            self._reporter.finish(claim.name, claim.keep)
        return claim.finished

    def give_back(self, claim: Claim, stop: int) -> None:
        """Calls from ``stop`` on, which have not begun, are for another worker."""
        self._reporter.add(claim.pace())
        self._reporter.add(records.pack(records.RETURNED, claim.bin_id, stop, claim.stop - stop))
        claim.cut(stop)

    # -- processes that die -----------------------------------------------------

    def go_on_elsewhere(self, slot: Slot) -> None:
        """A process left between two calls: the next one goes on with its bin."""
        claim = self.claims.get(slot.number)
        if claim is not None:
            claim.process_lost(claim.done)

    def judge(self, slot: Slot, death: Death) -> bool:
        """A process died: fail the call that did it, and that one alone.  False when it had none."""
        claim = self.claims.get(slot.number)
        if claim is None:
            return False
        self._reporter.add(claim.to_report(death.remains))
        done = claim.reached(death.remains)
        if death.current is None or not done <= death.current < claim.handed:
            claim.strikes += 1
            if claim.strikes < STRIKES:
                claim.process_lost(done)
                return True
            victim = done
        else:
            victim = death.current
        stop = claim.stop if death.loading else victim + 1
        claim.keep = True
        if victim in claim.doomed and death.signal == signal.SIGKILL:
            self._reporter.add(killed(slot, death, claim.bin_id, victim))
        else:
            self._reporter.add(obituary(self._run, slot, death, claim.bin_id, victim, stop))
        claim.strikes = 0
        claim.process_lost(stop)
        self.close_if_finished(slot)
        self._reporter.flush()
        return True

    # -- the end ----------------------------------------------------------------

    def last_reply(self, slot: Slot, how: tuple[int | None, int | None]) -> None:
        """Keep what a stopped process had finished, and see how far it had come."""
        claim = self.claims.get(slot.number)
        for reply in slot.receive():
            if claim is not None:
                self._reporter.add(claim.to_report(reply.records))
                claim.progress(reply.upto, reply.seconds, False)
        death = slot.bury(*how)
        if claim is not None:
            self._reporter.add(claim.to_report(death.remains))
            done = claim.reached(death.remains)
            running = death.current is not None and done <= death.current < claim.handed
            begun = done + 1 if running else done
            claim.process_lost(done)
            claim.handed = claim.stop if death.loading else begun

    def return_rest(self) -> None:
        """Give back the calls that never ran."""
        for claim in self.claims.values():
            if claim.handed < claim.stop:
                self.give_back(claim, claim.handed)
