"""The supervisor: one loop, no threads, no locks, no user code.

            queue/<worker group>/                               results/
                 | claim (rename)                          ^ segment (rename)
                 v                                         |
    +---------------------------- Supervisor ---------------------------+
    |   books --group--> Slot 0 ==pipes==> process 0 --records--> reporter |
    |                    Slot 1 ==pipes==> process 1                     |
    +--------------------------------------------------------------------+
                         ^ signals (scancel, time limit, a child's death)

The loop waits on all pipes and on a signal descriptor until the next thing is due:
a look at the queue (when a slot is idle), a flush of the reporter, the end of patience.

Order matters in three places.  Calls are noted as begun, on disk, before they are handed
to a process (the claim itself is the note of the first ones); where the note cannot be made, the client
has given this worker up: then what has begun may end, and nothing else begins.  A claimed bin is forgotten
after the segment with its last result is out.  *Ended* is written last of all.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from clusterfutures.node import signals
from clusterfutures.node.claims import STRIKES, Claim, ClaimTable, ExitReason, last_words
from clusterfutures.node.descriptors import raise_limit, ready_among
from clusterfutures.node.disk_full import say
from clusterfutures.node.heartbeat import Heartbeat
from clusterfutures.node.lazy_imports import load_for_others
from clusterfutures.node.memory import Memory
from clusterfutures.node.process import BROKEN, GROUP_DONE, LEAVING, READY
from clusterfutures.node.queue import LONGEST_LOOK_SECONDS, DamagedBin, QueueClient
from clusterfutures.node.rebalance import SILENT_SECONDS, KillRequests, Rebalance
from clusterfutures.node.reporter import Reporter
from clusterfutures.node.signals import Signals, signal_name
from clusterfutures.node.slot import Death, Reply, Slot, SlotState
from clusterfutures.node.time_limit import Notices, TimeBudget, remaining_time
from clusterfutures.store import records
from clusterfutures.store.faults import TRANSIENT
from clusterfutures.store.run_directory import GivenUp, RunDirectory

__all__ = ["Supervisor"]

#: how long a process may be silent before what it has finished is looked for, at first
GLANCE_SECONDS = 0.05
#: how long an idle process may take to end by itself, when the worker ends
FAREWELL_SECONDS = 1.0
#: how long one that cannot be killed (it waits for a disk that does not answer) keeps its worker
STUCK_SECONDS = 10.0
#: how long the last word of a worker is tried that could not use the directory
LAST_SECONDS = 1.0


class Supervisor:
    """One worker.  ``serve`` runs until there is a reason to end, and returns it."""

    def __init__(
        self, run: RunDirectory, worker: str, worker_group: str, context: dict[str, Any], reporter: Reporter
    ) -> None:
        self._run = run
        self._worker = worker
        self._context = context
        raise_limit()
        self._slots = [Slot(i, run, worker, context["told"]) for i in range(context["processes"])]
        self._reporter = reporter
        self._claims = ClaimTable(run, worker, reporter)
        self._queue_client = QueueClient(run, worker_group, worker, context["max_workers"])
        self._sharing = Rebalance(self._queue_client, self._slots, self._claims, reporter)
        self._kills = KillRequests(run, worker, self._slots, self._claims)
        self._beats = Heartbeat(run, worker, reporter)
        self._pace = TimeBudget()
        self._notices = Notices(context)
        self._memory = Memory(reporter)
        self._retiring = False
        self._given_up = False
        self._worked = time.monotonic()
        self._bins_left = context["bins_per_job"] or -1
        self._idle_deaths = 0
        self._ending: ExitReason | None = None
        self._broken = ""
        self._signals = Signals()

    def serve(self) -> ExitReason:
        """Work until there is a reason to end; everything is reported before it returns."""
        self._signals.listen()
        try:
            for slot in self._slots:
                self._start(slot)
            while self._ending is None:
                self._step()
        except FileNotFoundError:
            self._ending = ExitReason.GONE
        except OSError as error:
            if error.errno in TRANSIENT:  # it was repeated for long: the end of the worker tries again
                self._run.be_patient(LAST_SECONDS)
            raise
        finally:
            self._wind_up()
        return self._ending or ExitReason.FAULT

    # -- the loop ---------------------------------------------------------------

    def _step(self) -> None:
        now = time.monotonic()
        try:
            self._look(now)
            self._kills.carry_out(now)
            self._beats.give(now)
        except GivenUp:
            self._be_given_up()
        self._glance(now)
        self._sharing.behind_long_calls(now)
        self._notices.give(self._slots)
        self._memory.look(now, [slot.pid for slot in self._slots if slot.state is not SlotState.DEAD])
        due = self._reporter.due(self._busy())
        if due is not None and now >= due:
            self._reporter.flush()
        self._consider_ending(now)
        if self._ending is None:
            self._wait(now)

    def _wait(self, now: float) -> None:
        readable = [self._signals.descriptor] + [
            slot.replies for slot in self._slots if slot.state is not SlotState.DEAD and not slot.hung_up
        ]
        writable = [fd for slot in self._slots if (fd := slot.wants_to_write) is not None]
        ready = ready_among(readable, writable, max(0.0, self._next_due(now) - now))
        for slot in self._slots if ready else ():
            if slot.wants_to_write in ready:
                slot.push()
            if slot.replies in ready:
                self._hear(slot)
        if self._signals.descriptor in ready:
            self._handle_signals(self._signals.take())

    def _next_due(self, now: float) -> float:
        due = min(now + LONGEST_LOOK_SECONDS, self._kills.due(now), self._sharing.due())
        due = min(due, self._beats.due, self._memory.due)
        flush_due = self._reporter.due(self._busy())
        if flush_due is not None:
            due = min(due, flush_due)
        for slot in self._slots:
            if slot.state is SlotState.BUSY:
                due = min(due, slot.glance_at)
        if self._idle_slots() and self._bins_left:
            due = min(due, self._queue_client.due)
        return due

    def _idle_slots(self) -> list[Slot]:
        return [slot for slot in self._slots if slot.state is SlotState.IDLE]

    def _consider_ending(self, now: float) -> None:
        if self._claims.claims or any(slot.state is SlotState.STARTING for slot in self._slots):
            return
        if self._queue_client.unable is not None:
            raise self._queue_client.unable
        if self._given_up:
            self._ending = ExitReason.GIVEN_UP
        elif not self._bins_left:
            self._ending = ExitReason.TIME if self._retiring else ExitReason.ENOUGH
        elif now - self._worked > self._context["idle_timeout"]:
            self._ending = ExitReason.IDLE

    # -- claiming ---------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Look at the queue, when a slot is idle and it is time, and claim what fits."""
        idle = self._idle_slots()
        if not idle or not self._bins_left or now < self._queue_client.due or not self._in_time():
            return
        self._queue_client.look(self._worked)
        for slot in idle:
            try:
                claimed = self._queue_client.claim() if self._bins_left else None
            except DamagedBin as damaged:
                self._claims.fail_bin(damaged)
                continue
            if claimed is None:
                break
            self._bins_left -= 1
            self._hand_over(slot, self._claims.open(slot, *claimed))
        if self._queue_client.closed and not self._claims.claims:
            self._ending = ExitReason.CLOSED

    def _in_time(self) -> bool:
        """False when the job's time limit is too near to begin anything: it ends then."""
        if not self._retiring and not self._pace.fits(max(0.0, remaining_time() - self._notices.reserve)):
            self._retiring = True
            self._bins_left = 0
            self._reporter.report(records.RETIRING, {})
        return not self._retiring

    def _be_given_up(self) -> None:
        """The client counts on this worker no more: what has begun may end, nothing else begins."""
        if not self._given_up:
            self._given_up = True
            self._bins_left = 0
            say("this worker ends: its program took it for ended, and has its other calls done elsewhere")

    def _hand_over(self, slot: Slot, claim: Claim) -> None:
        """Give the slot's process its next calls, noted as begun before."""
        first, stop = claim.next_group(len(self._slots), slot.calls_left)
        noted = claim.note(stop, len(self._slots))
        if noted is not None and not self._given_up:
            try:
                self._claims.note_begun(slot, claim, *noted)
                self._reporter.flush()
            except GivenUp:
                self._be_given_up()
        if self._given_up:
            self._claims.leave_rest(slot)
            return
        slot.hand_over(stop - first)
        self._glance_later(slot)
        for command in claim.commands(first, stop):
            slot.send(command)
        self._worked = time.monotonic()

    # -- what processes say -----------------------------------------------------

    def _hear(self, slot: Slot) -> None:
        for reply in slot.receive():
            if reply.flags & READY:
                slot.state = SlotState.IDLE
                self._resume(slot)
            elif reply.flags & BROKEN:
                self._broken = reply.records.decode("utf-8", "replace")
                self._ending = ExitReason.INITIALIZER
            else:
                self._record(slot, reply)

    def _record(self, slot: Slot, reply: Reply) -> None:
        if reply.flags & LEAVING:
            slot.state = SlotState.STARTING  # it ends now; its death starts the next one
            return
        done = bool(reply.flags & GROUP_DONE)
        claim = self._claims.record(slot, reply, done)
        if claim is None:
            return
        self._glance_later(slot)
        self._idle_deaths = 0
        if not done:
            return
        self._pace.measured(claim.seconds_per_call or 0.0)
        if slot.calls_left == 0:
            slot.state = SlotState.STARTING  # the process leaves; the next one goes on
            return
        slot.state = SlotState.IDLE
        self._sharing.after_group(claim, time.monotonic())
        self._resume(slot)

    def _resume(self, slot: Slot) -> None:
        """Let an idle slot go on with its bin, or be done with it."""
        self._worked = time.monotonic()
        claim = self._claims.claims.get(slot.number)
        if claim is not None and claim.noted <= claim.handed < claim.stop and not self._in_time():
            self._claims.give_back(claim, claim.handed)
        if claim is None or self._claims.close_if_finished(slot):
            self._queue_client.hurry()
        else:
            self._hand_over(slot, claim)

    # -- processes that are silent ---------------------------------------------

    def _glance_later(self, slot: Slot) -> None:
        slot.heard_at = time.monotonic()
        slot.glance_pause = GLANCE_SECONDS
        slot.glance_at = slot.heard_at + GLANCE_SECONDS
        slot.share_at = slot.heard_at + SILENT_SECONDS

    def _glance(self, now: float) -> None:
        """Report what silent processes have finished: their running call may be a long
        one, or be waiting for just these results."""
        for slot in self._slots:
            claim = self._claims.claims.get(slot.number)
            if slot.state is SlotState.BUSY and claim is not None and now >= slot.glance_at:
                self._reporter.add(claim.to_report(slot.glance()))
                flooded = slot.shorten_output()
                slot.glance_pause = GLANCE_SECONDS if flooded else min(2 * slot.glance_pause, LONGEST_LOOK_SECONDS)
                slot.glance_at = now + slot.glance_pause

    # -- processes that die -----------------------------------------------------

    def _start(self, slot: Slot) -> None:
        slot.start(self._context, lambda: self._close_in_child(slot))

    def _close_in_child(self, own: Slot) -> None:
        """Runs in a new process, that of the slot ``own``: drop what is the supervisor's alone."""
        self._signals.leave()
        for slot in self._slots:
            for descriptor in slot.descriptors():
                os.close(descriptor)
            if slot is not own:
                os.close(slot.log)

    def _bury_the_dead(self) -> None:
        for slot in self._slots:
            how = slot.has_died()
            if how is None:
                continue
            self._hear(slot)  # what it sent before it died comes first
            unready = slot.state is SlotState.STARTING
            death = slot.bury(*how)
            if unready and how == (0, None) and slot.calls_left == 0:  # it has run as many calls as it may
                self._claims.go_on_elsewhere(slot)
            elif self._ending is None and not self._claims.judge(slot, death):
                self._strike(death, unready)
            if self._ending is None:
                load_for_others()
                self._start(slot)
        signals.reap_orphans([slot.pid for slot in self._slots])

    def _strike(self, death: Death, unready: bool) -> None:
        """Processes that die without running a call: not for ever."""
        how = signal_name(death.signal) or f"exit status {death.exit_code}"
        self._idle_deaths += 1
        if unready and self._context["initializer"] is not None:
            self._broken = f"it killed its process: {how}"
            self._ending = ExitReason.INITIALIZER
        elif self._idle_deaths >= STRIKES:
            say(f"this worker ends: its processes die while no call is running: {how}")
            self._ending = ExitReason.FAULT

    # -- signals ----------------------------------------------------------------

    def _handle_signals(self, caught: set[int]) -> None:
        alive = [slot.pid for slot in self._slots if slot.state is not SlotState.DEAD]
        if self._signals.ends or (signal.SIGCHLD in caught and self._signals.own_turn_comes(alive)):
            self._ending = ExitReason.SIGNAL
        elif signal.SIGCHLD in caught:
            self._bury_the_dead()

    def _busy(self) -> bool:
        """True while no process waits for work: results may be gathered then."""
        states = [slot.state for slot in self._slots]
        return SlotState.BUSY in states and SlotState.IDLE not in states

    # -- the end ----------------------------------------------------------------

    def _wind_up(self) -> None:
        """Stop the slots, give back what has not begun, say why: in this order."""
        for slot in self._slots:
            if slot.state is SlotState.BUSY or self._ending in (ExitReason.SIGNAL, ExitReason.FAULT, ExitReason.GONE):
                slot.kill()
            else:
                slot.hang_up()
        self._reap_all()
        try:
            self._claims.return_rest()
            self._memory.used(sum(slot.peak for slot in self._slots))
            self._reporter.report(records.ENDED, last_words(self._ending, self._signals.ends, self._broken))
            self._reporter.flush()
        except FileNotFoundError:
            self._ending = ExitReason.GONE  # nobody is left to read it

    def _reap_all(self) -> None:
        began = now = time.monotonic()
        while alive := [slot for slot in self._slots if slot.state is not SlotState.DEAD]:
            if now > began + STUCK_SECONDS:
                return
            for slot in alive:
                how = slot.has_died()
                if how is not None:
                    self._claims.last_reply(slot, how)
                elif now > began + FAREWELL_SECONDS:
                    slot.kill()
            if any(slot.state is not SlotState.DEAD for slot in alive):
                self._signals.wait(0.01)
            now = time.monotonic()
