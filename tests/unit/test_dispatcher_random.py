"""Random sequences of events against the dispatcher, and a model of what the workers really did.

    World   the dispatcher, its queue, the scheduler, users who cancel
    Node    one worker: claims, hands over, settles, gives back; what it says arrives later,
            and what it has not published when it is lost never does

Whatever happens, in the end every call has exactly one outcome, none was begun twice unless
it had been given back, none that was cancelled was begun, and the dispatcher wants nothing more.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import pytest
from test_dispatcher_moves import POOL, Bench, Work, error_of, record

from clusterfutures.client.state import Worker
from clusterfutures.client.tasks import QueueFile
from clusterfutures.errors import StoreError
from clusterfutures.store import names, records
from clusterfutures.store.bins import CALLS
from clusterfutures.store.records import Record

SEEDS = range(100)


class Claimed:
    """A bin in a worker's hands: done <= handed <= noted."""

    def __init__(self, name: str, work: list[Work], kind: int, note: int) -> None:
        parsed = names.parse_bin(name)
        assert parsed is not None
        self.bin_id, self.first, self.stop = self.file = parsed
        self.kind = kind
        self.work = work
        self.done = self.handed = self.first
        self.noted = self.first + note

    def call(self, index: int) -> tuple[Work, int]:
        return (self.work[index], 0) if self.kind == CALLS else (self.work[0], index)


class Node:
    """One worker.  unsaid: records that are not published; said: not read by the client."""

    def __init__(self, world: World, worker: Worker) -> None:
        self.world = world
        self.worker = worker
        self.started = False
        self.claims: list[Claimed] = []
        self.finished: list[Claimed] = []
        self.unsaid: list[Record] = []
        self.said: deque[Record] = deque()

    def publish(self) -> None:
        self.said += self.unsaid
        self.unsaid.clear()
        self.finished.clear()

    def read(self, count: int) -> None:
        """The client reads what was published."""
        dispatcher = self.world.dispatcher
        feed = {
            records.BEGUN: dispatcher.begun,
            records.VALUES: dispatcher.outcome,
            records.RETURNED: dispatcher.returned,
        }
        for _ in range(min(count, len(self.said))):
            said = self.said.popleft()
            feed[said.kind](self.worker, said)

    def claim(self) -> None:
        queue = self.world.bench.site.queue
        name = self.world.random.choice(sorted(queue))
        state, piece = queue.pop(name)
        claim = Claimed(name, state.work, state.kind, piece.note)
        self.claims.append(claim)
        self.unsaid.append(record(records.BEGUN, claim.bin_id, claim.first, piece.note))
        self._hand(claim, claim.noted)

    def hand_over(self, claim: Claimed) -> None:
        stop = self.world.random.randint(claim.handed + 1, claim.stop)
        self.unsaid.append(record(records.BEGUN, claim.bin_id, claim.handed, stop - claim.handed))
        if self.world.random.random() < 0.7:  # else it is lost before, and the name of the file says it
            self.publish()
        self._hand(claim, stop)

    def _hand(self, claim: Claimed, stop: int) -> None:
        for index in range(claim.handed, stop):
            self.world.run(*claim.call(index))
        claim.handed = claim.noted = stop

    def settle(self, claim: Claimed) -> None:
        stop = self.world.random.randint(claim.done + 1, claim.handed)
        wall = self.world.random.choice([None, 0.0005, 0.02, 3.0]) if claim.kind == CALLS else None
        spans = [(i, 1) for i in range(claim.done, stop)] if wall else [(claim.done, stop - claim.done)]
        self.unsaid += [record(records.VALUES, claim.bin_id, first, count, wall) for first, count in spans]
        claim.done = stop
        if claim.done >= claim.stop:
            self.claims.remove(claim)
            self.finished.append(claim)

    def give_back(self, claim: Claimed, first: int) -> None:
        self.unsaid.append(record(records.RETURNED, claim.bin_id, first, claim.stop - first))
        claim.stop = first
        if claim.done >= claim.stop:
            self.claims.remove(claim)
            self.finished.append(claim)

    def lose(self) -> None:
        """The job is killed: what was published is read, what was not is gone."""
        self.world.nodes.remove(self)
        self.read(len(self.said))
        if self.started:
            claimed = [names.Claimed(*claim.file, claim.noted) for claim in [*self.claims, *self.finished]]
            self.world.dispatcher.lost(self.worker, claimed, error_of)
        else:
            self.world.dispatcher.failed_to_start(self.worker, error_of)

    def end(self) -> None:
        """The worker ends by itself, with its last word."""
        for claim in list(self.claims):
            while claim in self.claims and claim.done < claim.handed:
                self.settle(claim)
            if claim in self.claims:
                self.give_back(claim, claim.handed)
        self.publish()
        self.read(len(self.said))
        self.world.nodes.remove(self)
        assert not self.world.dispatcher.unfinished(self.worker)
        self.world.dispatcher.ended(self.worker)


class World:
    """All there is around a dispatcher; ``step`` lets something happen."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        processes = self.random.choice([1, 1, 2, 4])
        self.bench = Bench(self.random.randint(1, 5), processes, self.random.choice([0.0, 0.01]))
        self.processes = processes
        self.dispatcher: Any = self.bench.dispatcher
        self.now = 0.0
        self.nodes: list[Node] = []
        self.work: list[Work] = []
        self.runs: Counter[tuple[int, int]] = Counter()
        self.cancelled: set[int] = set()
        self._place_work = self.bench.site.place_work
        self.bench.site.place_work = self.place_work  # type: ignore[method-assign]

    def place_work(self, work: Sequence[Any], file: QueueFile) -> list[Any]:
        """Another thread may cancel just before a bin is placed, and just after."""
        self._cancel_some(work)
        wanted = self._place_work(work, file)
        if len(wanted) < len(work):
            self._cancel_some(wanted)
        return wanted

    def _cancel_some(self, work: Sequence[Any]) -> None:
        if self.random.random() < 0.1:
            self.cancel_these(self.random.sample(list(work), min(2, len(work))))

    # -- what happens -----------------------------------------------------------

    def step(self) -> None:
        events = [
            *[self.submit, self.advance, self.advance, self.hire, self.start, self.claim, self.claim, self.move] * 2,
            *[self.move] * 8, *[self.read] * 4, self.share, self.cancel, self.cancel, self.lose, self.refuse, self.full,
        ]  # fmt: skip
        self.random.choice(events)()

    def submit(self) -> None:
        if self.random.random() < 0.6:
            self.work += self.bench.submit(self.random.choice([1, 2, 10, 60]), self.now, self.random.choice("fgh"))
        else:
            self.work.append(self.bench.submit_chunk(self.random.choice([1, 3, 25]), self.now))

    def advance(self) -> None:
        self.now += self.random.choice([0.0, 0.001, 0.1, 1.0])
        self.bench.read_events()
        self.dispatcher.advance(self.now)
        for node in [node for node in self.nodes if node.worker.revoked and not node.started]:
            self.nodes.remove(node)
            self.dispatcher.ended(node.worker)

    def hire(self) -> None:
        """The scheduler answers a request: with jobs, or not now."""
        if self.bench.site.requests:
            count = self.bench.site.requests.pop(0)
            granted = self.random.randint(0, count) if self.random.random() < 0.2 else count
            self.nodes += [Node(self, worker) for worker in self.bench.hire(granted, start=False)]
            if granted < count:
                self.dispatcher.not_submitted(POOL, count - granted, None, self.now)

    def start(self) -> None:
        if asleep := [node for node in self.nodes if not node.started]:
            node = self.random.choice(asleep)
            node.started = True
            self.dispatcher.started(node.worker, "host", "")

    def _some(self) -> Node | None:
        awake = [node for node in self.nodes if node.started]
        return self.random.choice(awake) if awake else None

    def claim(self) -> None:
        node = self._some()
        if node is not None and self.bench.site.queue and len(node.claims) < self.processes:
            node.claim()

    def move(self) -> None:
        """A worker goes on with one of its bins, and perhaps publishes."""
        node = self._some()
        if node is None:
            return
        if node.claims:
            claim = self.random.choice(node.claims)
            if claim.done < claim.handed:
                node.settle(claim)
            elif claim.handed < claim.stop:
                node.hand_over(claim)
        if self.random.random() < 0.5:
            node.publish()

    def read(self) -> None:
        if node := self._some():
            node.read(self.random.randint(1, 5))

    def share(self) -> None:
        node = self._some()
        rich = [claim for claim in node.claims if claim.handed < claim.stop] if node else []
        if node and rich:
            claim = self.random.choice(rich)
            node.give_back(claim, self.random.randint(claim.handed, claim.stop - 1))

    def lose(self) -> None:
        if self.nodes and self.random.random() < 0.5:
            node = self.random.choice(self.nodes)
            if node.started and self.random.random() < 0.3:
                node.end()
            else:
                node.lose()

    def refuse(self) -> None:
        if self.bench.site.requests and self.random.random() < 0.2:
            count = self.bench.site.requests.pop(0)
            self.dispatcher.not_submitted(POOL, count, RuntimeError("refused"), self.now)

    def full(self) -> None:
        self.bench.site.full = StoreError(message="no space") if self.random.random() < 0.05 else None

    def cancel(self) -> None:
        """A user cancels a call, or leaves a map."""
        waiting = [work for work in self.work[-80:] if not work.outcomes and id(work) not in self.cancelled]
        self.cancel_these(self.random.sample(waiting, min(len(waiting), self.random.choice([1, 1, 5]))))
        if self.random.random() < 0.5:
            self.bench.read_events()

    def cancel_these(self, some: Sequence[Work]) -> None:
        for work in some:
            if not work.begun and not work.outcomes and not work.withdrawn and self.bench.take_back(work):
                self.cancelled.add(id(work))

    def run(self, work: Work, index: int) -> None:
        """A process begins a call."""
        self.runs[id(work), index] += 1
        assert self.runs[id(work), index] == 1, f"{work.name} {index} is begun again"
        assert index not in {at for at, _ in work.outcomes}, f"{work.name} {index} is begun and has an outcome"
        assert work.kind != CALLS or id(work) not in self.cancelled, f"{work.name} is begun and was cancelled"

    # -- the end ----------------------------------------------------------------

    def stop(self) -> None:
        """``shutdown(cancel_futures=True)``, as the manager does it."""
        self.bench.read_events()

        def withdraw(work: Work) -> bool:
            fresh, work.withdrawn = not work.withdrawn, True
            self.cancelled.add(id(work))
            return fresh

        for worker_group in self.dispatcher.worker_groups.values():
            for state, piece in list(worker_group.waiting.values()):
                file = piece.file
                if file is not None and self.bench.site.take_back(file):
                    for work in state.work:
                        withdraw(work)
                    self.dispatcher.taken_back(file)
            self.dispatcher.cancel_pending(worker_group, withdraw)

    def drain(self) -> None:
        """Nothing bad happens any more: everything must come to its end."""
        self.bench.site.full = None
        for _ in range(3000):
            self.now += 1.0
            self.advance()
            self.hire()
            for node in list(self.nodes):
                if not node.started:
                    self.start()
            self.claim()
            for _ in self.nodes:
                self.move()
            for node in self.nodes:
                node.publish()
                node.read(1000)
            if not self.dispatcher.unsettled and not self.bench.client.events._items:
                break

    def check(self) -> None:
        assert self.dispatcher.unsettled == 0
        for work in self.work:
            outcomes = Counter(index for index, _ in work.outcomes)
            assert max(outcomes.values(), default=0) <= 1, "an outcome was delivered twice"
            if id(work) not in self.cancelled:
                assert len(outcomes) == work.count, f"{work.name} has no outcome"
            else:  # its future, cancelled already, takes no notice of errors
                assert work.kind != CALLS or "value" not in work.results, "a cancelled call has a result"

    def wants_nothing(self) -> None:
        self.bench.read_events()
        for node in list(self.nodes):
            if node.started:
                node.end()
        self.bench.site.requests.clear()
        for _ in range(3):
            self.now += 100.0
            self.advance()
        for worker_group in self.dispatcher.worker_groups.values():
            assert (
                worker_group.backlog,
                worker_group.withdrawn,
                len(worker_group.waiting),
                len(worker_group.workers),
            ) == (0, 0, 0, 0)
        assert self.bench.site.requests == []
        assert self.bench.site.queue == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_call_has_one_outcome(seed: int) -> None:
    world = World(seed)
    for _ in range(world.random.choice([50, 400])):
        world.step()
    if seed % 2:
        world.stop()
    world.drain()
    world.check()
    world.wants_nothing()


@pytest.mark.parametrize("seed", SEEDS[::3])
def test_fail_everything_gives_every_call_its_outcome(seed: int) -> None:
    world = World(1000 + seed)
    for _ in range(200):
        world.step()
    world.dispatcher.fail_everything(error_of)
    world.check()
    for node in list(world.nodes):
        node.publish()
        node.read(1000)
    world.check()
