"""The books of a worker: which slot works on which bin, and what the client learns of it.

    bin claimed --open--> Claim --record, judge, last_reply--> records for the outbox
                            |                                   VALUE ... DIED, KILLED, RETURNED
                            +--close_if_finished, return_rest--> the claim is forgotten

The supervisor decides who works on what and when; here is written down what came of it:
what has begun, what a process reported, which call a dead process is blamed on, what goes
back.  A claimed bin is forgotten after the segment with its last result is out (``Outbox``).
"""

from __future__ import annotations

import signal

from clusterfutures.node.claim import Claim
from clusterfutures.node.ending import killed, obituary
from clusterfutures.node.lookout import DamagedBin
from clusterfutures.node.outbox import Outbox
from clusterfutures.node.slot import Death, Reply, Slot
from clusterfutures.node.wording import packed_error
from clusterfutures.store import names, records
from clusterfutures.store.bins import Bin
from clusterfutures.store.run import RunDirectory

__all__ = ["STRIKES", "Books"]

#: processes that may die one after the other before somebody is blamed
STRIKES = 3


class Books:
    """The claims of one worker, by the number of their slot."""

    def __init__(self, run: RunDirectory, worker: str, outbox: Outbox) -> None:
        self.claims: dict[int, Claim] = {}
        self._run = run
        self._worker = worker
        self._outbox = outbox

    def open(self, slot: Slot, name: str, content: Bin) -> Claim:
        """A slot is to work on a bin that has been claimed."""
        claim = self.claims[slot.number] = Claim(name, content)
        self._outbox.made()
        if claim.noted > claim.first:  # the claim is the note of these
            self._tell_begun(slot, claim, claim.first, claim.noted)
        return claim

    def fail_bin(self, damaged: DamagedBin) -> None:
        """The calls of a bin that cannot be read fail."""
        parsed = names.parse_bin(damaged.name)
        if parsed is not None:
            body = packed_error(damaged.error)
            calls = parsed.stop - parsed.first
            self._outbox.add(records.pack(records.ERROR, parsed.bin_id, parsed.first, calls, body))
            self._outbox.finish(damaged.name)

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
        self._outbox.add(records.pack(records.BEGUN, claim.bin_id, first, stop - first, body))

    def record(self, slot: Slot, reply: Reply, group_done: bool) -> Claim | None:
        """A process says how far it has come; None when it has no claim."""
        claim = self.claims.get(slot.number)
        if claim is not None:
            slot.hand_back(claim.progress(reply.upto, reply.seconds, group_done))
            if group_done and claim.finished:
                self._outbox.add(claim.pace())
            self._outbox.add(claim.to_report(reply.records, reply.upto))
        return claim

    def close_if_finished(self, slot: Slot) -> bool:
        """Forget the claim of a slot when all of it is done; False when it is not.

        Calls that nobody wants any more, and that are next, are done with that.
        """
        claim = self.claims[slot.number]
        for call in claim.leave_out_doomed():
            self._outbox.add(records.pack(records.KILLED, claim.bin_id, call, 1))
        if claim.finished:
            del self.claims[slot.number]
            self._outbox.add(claim.epitaph())
            self._outbox.finish(claim.name, claim.keep)
        return claim.finished

    def give_back(self, claim: Claim, stop: int) -> None:
        """Calls from ``stop`` on, which have not begun, are for another worker."""
        self._outbox.add(claim.pace())
        self._outbox.add(records.pack(records.RETURNED, claim.bin_id, stop, claim.stop - stop))
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
        self._outbox.add(claim.to_report(death.remains))
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
            self._outbox.add(killed(slot, death, claim.bin_id, victim))
        else:
            self._outbox.add(obituary(self._run, slot, death, claim.bin_id, victim, stop))
        claim.strikes = 0
        claim.process_lost(stop)
        self.close_if_finished(slot)
        self._outbox.flush()
        return True

    # -- the end ----------------------------------------------------------------

    def last_reply(self, slot: Slot, how: tuple[int | None, int | None]) -> None:
        """Keep what a stopped process had finished, and see how far it had come."""
        claim = self.claims.get(slot.number)
        for reply in slot.receive():
            if claim is not None:
                self._outbox.add(claim.to_report(reply.records))
                claim.progress(reply.upto, reply.seconds, False)
        death = slot.bury(*how)
        if claim is not None:
            self._outbox.add(claim.to_report(death.remains))
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
