"""The dispatcher's decisions, event by event: what leaves through ``Out``, and nothing else.

    Work    a call or a chunk that notes what happened to it
    Site    the dispatcher's way out: a queue that is a dict, and lists of what was asked for
    Bench   a dispatcher with both, and the verbs of the workers; time is an argument

Random sequences of them are in ``test_ledger_random.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from clusterfutures.client.client import Client
from clusterfutures.client.dispatcher import LIMIT_RETRY_SECONDS, MOST_LOSSES, QUIET_SECONDS, Dispatcher
from clusterfutures.client.events import EventQueue
from clusterfutures.client.manager import ManagerThread
from clusterfutures.client.scaling import HUNGRY_SECONDS, LONGEST_GATHER_SECONDS
from clusterfutures.client.state import MOST_WAITING, BinSlice, BinState, Limits, Worker, WorkerState, gaps
from clusterfutures.client.tasks import Call, Chunk, QueueFile
from clusterfutures.errors import StoreError
from clusterfutures.futures import ClusterFuture
from clusterfutures.store import names, records
from clusterfutures.store.bins import CALLS
from clusterfutures.store.records import CallInfo, Record

POOL = "0"


class Noted:
    """What happened to a call or a chunk; ``outcomes`` by index."""

    def __init__(self, function: str) -> None:
        self.name = f"the call of {function}"  # type: ignore[misc]
        self.begun: list[int] = []
        self.outcomes: list[tuple[int, Any]] = []

    def begin(self, first: int, count: int, _place: Any) -> None:
        self.begun += range(first, first + count)

    def fail(self, first: int, count: int, error: BaseException) -> None:
        self.outcomes += [(index, error) for index in range(first, first + count)]

    @property
    def results(self) -> list[Any]:
        return [outcome for _, outcome in self.outcomes]


class NotedCall(Noted, Call):
    name = ""

    def __init__(self, function: str) -> None:
        Call.__init__(self, POOL, ClusterFuture(), print, function, b"", None)
        Noted.__init__(self, function)


class NotedChunk(Noted, Chunk):
    name = ""

    def __init__(self, function: str, count: int) -> None:
        Chunk.__init__(self, POOL, self, 0, print, function, b"", None, count)  # type: ignore[arg-type]
        Noted.__init__(self, function)


Work = NotedCall | NotedChunk


class Site:
    """The dispatcher's way out.  ``full``: what publishing raises."""

    def __init__(self) -> None:
        self.queue: dict[str, tuple[BinState, BinSlice]] = {}
        self.requests: list[int] = []
        self.revoked: list[str] = []
        self.hungry: list[bool] = []
        self.full: StoreError | None = None

    def publish(self, state: BinState, bin_slice: BinSlice) -> str:
        if self.full is not None:
            raise self.full
        name = names.bin_name(state.bin_id, bin_slice.first, bin_slice.stop)
        assert name not in self.queue
        self.queue[name] = (state, bin_slice)
        return name

    def take_back(self, file: QueueFile) -> bool:
        if not file.taken:
            file.taken = self.queue.pop(file.name, None) is not None
        return file.taken

    def place_work(self, work: Sequence[Any], file: QueueFile) -> list[Any]:
        wanted = [item for item in work if not item.withdrawn]
        if len(wanted) == len(work):
            for item in work:
                item.file = file
        return wanted

    def unplace(self, work: Any) -> bool:
        work.file = None
        return not work.withdrawn

    def request(self, _worker_group: str, count: int) -> None:
        self.requests.append(count)

    def revoke(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            worker.revoked = True
            self.revoked.append(worker.name)

    def set_hungry(self, _worker_group: str, hungry: bool) -> None:
        self.hungry.append(hungry)

    def settle(self, work: Any, record: Record, _worker: Worker) -> CallInfo | None:
        indices = [0] if work.kind == CALLS else range(record.first, record.first + record.calls)
        work.outcomes += [(index, "value") for index in indices]
        return records.split_info(record.body)[0] if record.flags & records.INFO else None


def record(kind: int, bin_id: int, first: int, count: int = 1, wall: float | None = None) -> Record:
    body, flags = b"", 0
    if wall is not None:
        body, flags = records.pack_info(CallInfo(0.0, wall, 0.0, 0, 0, 0, 0, b"")), records.INFO
    return Record(kind, flags, bin_id, first, count, memoryview(body))


def error_of(call: str) -> BaseException:
    return RuntimeError(f"lost: {call}")


class Bench:
    """A dispatcher under test.  Without ``gather`` a request leaves with the first look."""

    def __init__(self, max_workers: int = 4, processes: int = 1, gather: float = 0.0) -> None:
        self.site = Site()
        self.dispatcher: Any = Dispatcher(Limits(max_workers, processes, None, gather), self.site)  # type: ignore[arg-type]
        self.hired = 0
        run = SimpleNamespace(take_back=lambda _worker_group, name: self.site.queue.pop(name, None) is not None)
        self.client: Any = SimpleNamespace(events=EventQueue(), run=run)

    def take_back(self, call: Work) -> bool:
        """What ``cancel`` does, in the user's thread."""
        return Client.take_back(self.client, call)

    def read_events(self) -> None:
        """What the manager then does, in its own."""
        manager: Any = SimpleNamespace(_dispatcher=self.dispatcher, _let_go=lambda _future: False)
        for item in self.client.events.take(0):
            ManagerThread._handle(manager, item)

    @property
    def worker_group(self) -> Any:
        return self.dispatcher.worker_groups[POOL]

    @property
    def queue(self) -> list[str]:
        return sorted(self.site.queue)

    def submit(self, count: int, now: float = 0.0, function: str = "f") -> list[Work]:
        calls: list[Work] = [NotedCall(function) for _ in range(count)]
        for call in calls:
            self.dispatcher.add(call, now)
        return calls

    def submit_chunk(self, count: int, now: float = 0.0) -> Work:
        chunk = NotedChunk("f", count)
        self.dispatcher.add(chunk, now)
        return chunk

    def hire(self, count: int, start: bool = True, asked: int | None = None) -> list[Worker]:
        """The scheduler took ``count`` jobs, and they start."""
        workers = [Worker(f"0001-{self.hired + i}-0", POOL, f"job{self.hired + i}", 0.0) for i in range(count)]
        self.hired += count
        self.dispatcher.submitted(POOL, workers, count if asked is None else asked)
        for worker in workers if start else []:
            self.dispatcher.started(worker, "host", worker.job_id)
        return workers

    def claim(self, name: str | None = None) -> tuple[int, int, int]:
        """Rename a bin out of the queue, the oldest by default."""
        name = name or self.queue[0]
        del self.site.queue[name]
        found = names.parse_bin(name)
        assert found is not None
        return found

    def begin(self, worker: Worker, first: int = 0, count: int = 1) -> int:
        """Claim the oldest bin and report its first calls as begun; the bin's id."""
        bin_id = self.claim()[0]
        self.dispatcher.begun(worker, record(records.BEGUN, bin_id, first, count))
        return bin_id

    def settle(self, worker: Worker, bin_id: int, first: int = 0, count: int = 1, wall: float | None = None) -> None:
        self.dispatcher.outcome(worker, record(records.VALUES, bin_id, first, count, wall))

    def give_back(self, worker: Worker, bin_id: int, first: int, count: int) -> None:
        self.dispatcher.returned(worker, record(records.RETURNED, bin_id, first, count))

    def lose(self, worker: Worker, *claimed: Sequence[int], begun: int = 0) -> None:
        """The worker is given up; claimed: (bin id, first, stop) of the files that were taken from it."""
        found = [names.Claimed(bin_id, first, stop, max(first, begun)) for bin_id, first, stop in claimed]
        self.dispatcher.lost(worker, found, error_of)

    def learn(self, wall: float, function: str = "f") -> Worker:
        """Have one call run, so that its function's length is known, as if it had run often."""
        self.submit(1, function=function)
        self.dispatcher.advance(0.0)
        (worker,) = self.hire(1, asked=0)
        self.settle(worker, self.begin(worker), wall=wall)
        self.dispatcher.limits.pace.learn(function, wall, 10_000)
        return worker


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- bins go out ----------------------------------------------------------------------


def test_calls_of_unknown_length_go_out_one_by_one(bench: Bench) -> None:
    bench.submit(3)
    bench.dispatcher.advance(0.0)
    assert [names.parse_bin(name) for name in bench.queue] == [(1, 0, 1), (2, 0, 1), (3, 0, 1)]
    assert [bin_slice.note for _, bin_slice in bench.site.queue.values()] == [1, 1, 1]
    assert bench.dispatcher.unsettled == 3


def test_calls_of_unknown_length_are_held_back_while_more_come(bench: Bench) -> None:
    bench.submit(20)
    due = bench.dispatcher.advance(0.1)
    assert len(bench.queue) == 8, "two for each of four slots"
    assert due == pytest.approx(QUIET_SECONDS)
    bench.submit(1, now=0.15)
    assert bench.dispatcher.advance(0.2) == pytest.approx(0.15 + QUIET_SECONDS)
    assert len(bench.queue) == 8
    bench.dispatcher.advance(0.15 + QUIET_SECONDS)
    assert len(bench.queue) == 21


def test_a_quiet_crowd_shares_bins(bench: Bench) -> None:
    calls = bench.submit(5 * MOST_WAITING)
    bench.dispatcher.advance(QUIET_SECONDS)
    assert len(bench.queue) <= MOST_WAITING
    assert len((calls[0].file and bench.site.queue[calls[0].file.name][0].work) or []) == 5
    published = sum(len(state.work) for state, _ in bench.site.queue.values())
    assert published + len(bench.worker_group.pending) == len(calls)


def test_short_calls_share_bins(bench: Bench) -> None:
    bench.learn(0.001)
    bench.submit(2000)
    bench.dispatcher.advance(0.0)
    sizes = [bin_slice.stop for _, bin_slice in bench.site.queue.values()]
    assert sizes[:2] == [300] * 2, "three tenths of a second in each"
    assert sizes == sorted(sizes, reverse=True), "smaller ones at the end"
    assert len(sizes) <= 16
    assert [bin_slice.note for _, bin_slice in bench.site.queue.values()] == sizes, "the claim is the note of all"


def test_few_short_calls_are_spread_over_the_slots(bench: Bench) -> None:
    """Two hundredths of a second of work are worth a bin; less is not."""
    bench.learn(0.001)
    bench.submit(80)
    bench.dispatcher.advance(0.0)
    assert len(bench.queue) == 4
    assert {bin_slice.stop for _, bin_slice in bench.site.queue.values()} == {20}


def test_no_more_bins_of_short_calls_than_the_slots_need(bench: Bench) -> None:
    bench.learn(0.05)
    bench.submit(1000)
    bench.dispatcher.advance(0.0)
    assert len(bench.queue) == 16, "four for each slot"
    assert len(bench.worker_group.pending) == 1000 - 6 * 16


def test_long_calls_go_one_by_one_and_all_of_them(bench: Bench) -> None:
    bench.learn(5.0)
    bench.submit(100)
    bench.dispatcher.advance(0.0)
    assert len(bench.queue) == 100
    assert {bin_slice.note for _, bin_slice in bench.site.queue.values()} == {1}


def test_the_length_of_one_function_says_nothing_of_another(bench: Bench) -> None:
    bench.learn(0.001, "short")
    bench.submit(4, function="other")
    bench.dispatcher.advance(0.0)
    assert len(bench.queue) == 4


def test_estimates_follow_what_is_measured(bench: Bench) -> None:
    worker = bench.learn(0.001)
    for _ in range(20):
        bench.submit(1)
        bench.dispatcher.advance(0.0)
        bench.settle(worker, bench.begin(worker), wall=5.0)
    bench.submit(4)
    bench.dispatcher.advance(0.0)
    assert len(bench.queue) == 4


def test_a_chunk_is_one_bin(bench: Bench) -> None:
    bench.submit_chunk(500)
    bench.dispatcher.advance(0.0)
    assert [names.parse_bin(name) for name in bench.queue] == [(1, 0, 500)]
    assert bench.dispatcher.unsettled == 500


def test_a_full_disk_fails_the_calls_of_that_bin(bench: Bench) -> None:
    bench.site.full = StoreError(message="no space")
    (call,) = bench.submit(1)
    chunk = bench.submit_chunk(3)
    bench.dispatcher.advance(0.0)
    assert call.results == [bench.site.full]
    assert chunk.outcomes == [(i, bench.site.full) for i in range(3)]
    assert bench.dispatcher.unsettled == 0
    bench.site.full = None
    (later,) = bench.submit(1)
    bench.dispatcher.advance(0.0)
    assert later.file is not None
    assert len(bench.queue) == 1


# -- workers are asked for ------------------------------------------------------------


def test_requests_are_gathered() -> None:
    bench = Bench(gather=0.01)
    bench.submit(1, now=5.0)
    assert bench.dispatcher.advance(5.0) == pytest.approx(5.01)
    bench.submit(2, now=5.005)
    assert bench.dispatcher.advance(5.005) == pytest.approx(5.01)
    assert bench.site.requests == []
    bench.dispatcher.advance(5.01)
    assert bench.site.requests == [3]
    bench.dispatcher.advance(9.0)
    assert bench.site.requests == [3], "those on their way count"


def test_gathering_takes_longer_every_time_and_starts_anew_when_all_is_done() -> None:
    bench = Bench(max_workers=100, gather=0.01)
    now, waited = 0.0, []
    for _ in range(6):
        bench.submit(1, now)
        due = bench.dispatcher.advance(now)
        waited.append(due - now)
        now = due
        bench.dispatcher.advance(now)
    assert bench.site.requests == [1] * 6
    assert waited == pytest.approx([0.01, 0.04, 0.16, 0.2, 0.2, 0.2], abs=1e-6) or waited[2] == pytest.approx(0.16)
    assert bench.worker_group.gather == LONGEST_GATHER_SECONDS
    workers = bench.hire(6)
    for worker in workers:
        bench.settle(worker, bench.begin(worker))
        bench.dispatcher.ended(worker)
    bench.dispatcher.advance(now)
    assert bench.worker_group.gather == 0.01


def test_no_more_than_max_workers() -> None:
    bench = Bench(max_workers=3)
    bench.submit(10)
    bench.dispatcher.advance(0.0)
    assert bench.site.requests == [3]
    bench.hire(3)
    bench.dispatcher.advance(1.0)
    assert bench.site.requests == [3]


def test_several_processes_need_fewer_workers() -> None:
    bench = Bench(max_workers=10, processes=4)
    bench.submit(9)
    bench.dispatcher.advance(0.0)
    assert bench.site.requests == [3]


def test_a_worker_that_is_busy_is_no_help() -> None:
    bench = Bench(max_workers=3)
    bench.submit(1)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bench.begin(worker)
    bench.submit(5)
    bench.dispatcher.advance(0.0)
    assert bench.site.requests == [1, 2]


def test_an_idle_worker_is_used() -> None:
    bench = Bench()
    worker = bench.learn(1.0)
    bench.site.requests.clear()
    bench.worker_group.requested = 0
    bench.submit(1)
    bench.dispatcher.advance(0.0)
    assert bench.site.requests == []
    assert worker.state is WorkerState.RUNNING


def test_pending_workers_are_sent_away_when_everything_is_taken(bench: Bench) -> None:
    bench.submit(3)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    pending = bench.hire(2, start=False)
    for _ in range(2):
        bench.begin(worker)
        bench.dispatcher.advance(0.0)
    assert bench.site.revoked == []
    bench.begin(worker)
    bench.dispatcher.advance(0.0)
    assert bench.site.revoked == [w.name for w in pending]
    bench.dispatcher.advance(0.0)
    assert len(bench.site.revoked) == 2, "once is enough"


def test_refused_for_now_is_tried_later(bench: Bench) -> None:
    bench.submit(2)
    bench.dispatcher.advance(0.0)
    bench.dispatcher.not_submitted(POOL, 2, None, 1.0)
    due = bench.dispatcher.advance(1.0)
    assert bench.site.requests == [2]
    assert due == pytest.approx(1.0 + LIMIT_RETRY_SECONDS)
    assert bench.dispatcher.unsettled == 2
    bench.dispatcher.advance(due)
    assert bench.site.requests == [2, 2]


def test_refused_with_an_error_fails_what_waits(bench: Bench) -> None:
    bench.submit(2)
    chunk = bench.submit_chunk(3)
    bench.dispatcher.advance(0.0)
    error = RuntimeError("bad partition")
    bench.dispatcher.not_submitted(POOL, 3, error, 0.0)
    assert chunk.results == [error] * 3
    assert bench.dispatcher.unsettled == 0
    assert bench.queue == []
    assert bench.worker_group.requested == 0


def test_refused_while_others_work_is_no_failure(bench: Bench) -> None:
    calls = bench.submit(2)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bench.dispatcher.not_submitted(POOL, 1, RuntimeError("limit"), 0.0)
    assert [call.outcomes for call in calls] == [[], []]
    for _ in calls:
        bench.settle(worker, bench.begin(worker))
    assert bench.dispatcher.unsettled == 0


# -- outcomes -------------------------------------------------------------------------


def test_begun_then_settled(bench: Bench) -> None:
    (call,) = bench.submit(1)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bin_id = bench.begin(worker)
    assert call.begun == [0]
    assert bench.dispatcher.unfinished(worker)
    assert bench.worker_group.backlog == 0
    bench.settle(worker, bin_id)
    assert call.results == ["value"]
    assert not bench.dispatcher.unfinished(worker)
    assert bench.dispatcher.unsettled == 0


def test_an_outcome_reported_twice_counts_once(bench: Bench) -> None:
    chunk = bench.submit_chunk(10)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bin_id = bench.begin(worker, 0, 5)
    for _ in range(2):
        bench.settle(worker, bin_id, 0, 5)
        assert bench.dispatcher.unsettled == 5
    bench.settle(worker, bin_id, 5, 5)
    bench.settle(worker, bin_id, 5, 5)
    assert bench.dispatcher.unsettled == 0
    assert chunk.outcomes == [(i, "value") for i in range(10)]


def test_outcomes_in_any_order_and_of_unknown_bins(bench: Bench) -> None:
    chunk = bench.submit_chunk(6)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bin_id = bench.begin(worker, 0, 6)
    bench.settle(worker, 77, 0, 6)
    for first in (4, 0, 2):
        bench.settle(worker, bin_id, first, 2)
    assert sorted(chunk.outcomes) == [(i, "value") for i in range(6)]
    assert bench.dispatcher.unsettled == 0


def test_one_record_for_several_calls(bench: Bench) -> None:
    bench.learn(0.001)
    calls = bench.submit(20)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1, asked=0)
    size = len(bench.site.queue[bench.queue[0]][0].work)
    assert size > 1
    bench.settle(worker, bench.claim()[0], 0, size)
    assert [call.results for call in calls[:size]] == [["value"]] * size
    assert bench.dispatcher.unsettled == 20 - size


# -- given back -----------------------------------------------------------------------


def test_calls_given_back_go_out_again(bench: Bench) -> None:
    bench.learn(0.001)
    calls = bench.submit(5)
    bench.dispatcher.advance(0.0)
    assert len(bench.queue) == 1
    first, second = bench.hire(2, asked=0)
    bin_id = bench.begin(first, 0, 2)
    bench.give_back(first, bin_id, 2, 3)
    assert bench.dispatcher.unsettled == 5
    assert bench.dispatcher.unfinished(first)
    bench.settle(first, bin_id, 0)
    bench.settle(first, bin_id, 1)
    assert not bench.dispatcher.unfinished(first)
    bench.dispatcher.advance(0.0)
    again, start, stop = bench.claim()
    assert (again != bin_id, start, stop) == (True, 0, 3)
    bench.settle(second, again, 0, 3)
    assert [call.results for call in calls] == [["value"]] * 5
    assert bench.dispatcher.unsettled == 0


def test_a_chunk_given_back_in_part_is_published_in_part(bench: Bench) -> None:
    chunk = bench.submit_chunk(10)
    bench.dispatcher.advance(0.0)
    first, second = bench.hire(2)
    bin_id = bench.begin(first, 0, 2)
    bench.give_back(first, bin_id, 6, 4)
    assert [names.parse_bin(name) for name in bench.queue] == [(bin_id, 6, 10)]
    assert [bin_slice.note for _, bin_slice in bench.site.queue.values()] == [1]
    bench.settle(first, bin_id, 0, 6)
    assert not bench.dispatcher.unfinished(first)
    bench.settle(second, bench.claim()[0], 6, 4)
    assert sorted(chunk.outcomes) == [(i, "value") for i in range(10)]
    assert bench.dispatcher.unsettled == 0


def test_all_that_is_left_given_back(bench: Bench) -> None:
    chunk = bench.submit_chunk(4)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bin_id = bench.begin(worker, 0, 2)
    bench.settle(worker, bin_id, 0, 2)
    bench.give_back(worker, bin_id, 2, 2)
    assert not bench.dispatcher.unfinished(worker)
    assert len(bench.queue) == 1
    assert len(chunk.outcomes) == 2


# -- workers are lost -----------------------------------------------------------------


def test_a_lost_worker_takes_what_had_begun(bench: Bench) -> None:
    chunk = bench.submit_chunk(10)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bin_id, *span = bench.claim()
    bench.dispatcher.begun(worker, record(records.BEGUN, bin_id, 0, 1))
    bench.settle(worker, bin_id, 0)
    bench.dispatcher.begun(worker, record(records.BEGUN, bin_id, 1, 3))
    bench.settle(worker, bin_id, 1, 2)
    bench.lose(worker, (bin_id, *span))
    assert [index for index, what in chunk.outcomes if what == "value"] == [0, 1, 2]
    assert [(index, str(what)) for index, what in chunk.outcomes[3:]] == [(3, "lost: the call of f")]
    ((again, *span),) = [names.parse_bin(name) or () for name in bench.queue]
    assert (again != bin_id, span) == (True, [4, 10]), "under another name: what its worker still says is not of these"
    assert bench.dispatcher.unsettled == 6
    assert bench.worker_group.live() == []
    bench.settle(worker, bin_id, 3, 7)
    bench.dispatcher.begun(worker, record(records.BEGUN, bin_id, 4, 6))
    bench.give_back(worker, bin_id, 4, 6)
    assert (len(chunk.outcomes), bench.dispatcher.unsettled, len(bench.queue)) == (4, 6, 1)


def test_lost_calls_that_had_not_begun_go_out_again(bench: Bench) -> None:
    bench.learn(0.001)
    calls = bench.submit(5)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1, asked=0)
    bin_id, *span = bench.claim()
    bench.dispatcher.begun(worker, record(records.BEGUN, bin_id, 0, 2))
    bench.lose(worker, (bin_id, *span))
    assert [len(call.outcomes) for call in calls] == [1, 1, 0, 0, 0]
    bench.dispatcher.advance(0.0)
    assert sum(len(state.work) for state, _ in bench.site.queue.values()) == 3
    assert bench.dispatcher.unsettled == 3


@pytest.mark.parametrize(("wall", "failed"), [(None, 1), (0.001, 5)])
def test_of_a_claim_without_a_report_the_note_counts(bench: Bench, wall: float | None, failed: int) -> None:
    """The claim itself is the note of the first calls: of one, or of all when they are short."""
    if wall is not None:
        bench.learn(wall)
        calls = bench.submit(5)
    else:
        calls = [bench.submit_chunk(5)]
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1, asked=0)
    bench.lose(worker, bench.claim())
    assert sum(len(call.outcomes) for call in calls) == failed
    assert bench.dispatcher.unsettled == 5 - failed
    assert sum(len(call.begun) for call in calls) == failed, "where they were is known all the same"


def test_what_has_begun_without_a_word_is_told_by_the_name_of_the_file(bench: Bench) -> None:
    chunk = bench.submit_chunk(10)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    claimed = bench.claim()
    bench.dispatcher.begun(worker, record(records.BEGUN, claimed[0], 0, 1))
    bench.settle(worker, claimed[0], 0)
    bench.lose(worker, claimed, begun=7)
    assert [index for index, what in chunk.outcomes if what != "value"] == list(range(1, 7))
    assert bench.dispatcher.unsettled == 3
    assert chunk.begun == list(range(7))


def test_of_a_bin_whose_file_is_nowhere_nothing_runs_again(bench: Bench) -> None:
    """A rename that failed, and nobody knows who has done what: in doubt a call fails."""
    chunk = bench.submit_chunk(10)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bench.begin(worker)
    bench.lose(worker)
    assert [str(what) for _, what in chunk.outcomes] == ["lost: the call of f"] * 10
    assert (bench.dispatcher.unsettled, bench.queue) == (0, [])


def test_a_lost_worker_leaves_other_workers_bins_alone(bench: Bench) -> None:
    first, second = bench.submit(2)
    bench.dispatcher.advance(0.0)
    one, other = bench.hire(2)
    bench.begin(one)
    kept = bench.begin(other)
    bench.lose(one)
    assert (len(first.outcomes), len(second.outcomes)) == (1, 0)
    bench.settle(other, kept)
    assert second.results == ["value"]


def test_losses_without_progress_are_not_for_ever(bench: Bench) -> None:
    chunk = bench.submit_chunk(100)
    for count in range(MOST_LOSSES):
        assert bench.dispatcher.unsettled == 100 - count
        bench.dispatcher.advance(0.0)
        (worker,) = bench.hire(1)
        bench.lose(worker, bench.claim())
    assert len(chunk.outcomes) == 100
    assert bench.dispatcher.unsettled == 0
    assert bench.queue == []


def test_losses_with_results_in_between_are_borne(bench: Bench) -> None:
    chunk = bench.submit_chunk(100)
    bench.dispatcher.advance(0.0)
    for count in range(3 * MOST_LOSSES):
        (worker,) = bench.hire(1)
        claimed = bench.claim()
        bench.settle(worker, claimed[0], claimed[1])
        bench.dispatcher.begun(worker, record(records.BEGUN, claimed[0], claimed[1] + 1))
        bench.lose(worker, claimed)
        assert bench.dispatcher.unsettled == 98 - 2 * count
    assert len(chunk.outcomes) == 6 * MOST_LOSSES


# -- jobs that never start ------------------------------------------------------------


def test_one_of_many_that_fails_to_start_is_replaced(bench: Bench) -> None:
    calls = bench.submit(4)
    bench.dispatcher.advance(0.0)
    workers = bench.hire(4, start=False)
    bench.dispatcher.started(workers[0], "host", "")
    bench.dispatcher.failed_to_start(workers[1], error_of)
    assert bench.dispatcher.unsettled == 4
    bench.dispatcher.advance(0.0)
    assert bench.site.requests == [4, 1]
    assert not any(call.outcomes for call in calls)


def test_when_nothing_ever_started_the_second_failure_is_enough(bench: Bench) -> None:
    calls = bench.submit(4)
    bench.dispatcher.advance(0.0)
    workers = bench.hire(4, start=False)
    bench.dispatcher.failed_to_start(workers[0], error_of)
    assert bench.dispatcher.unsettled == 4
    bench.dispatcher.failed_to_start(workers[1], error_of)
    assert [str(call.results[0]) for call in calls] == ["lost: the call of f"] * 4
    assert bench.dispatcher.unsettled == 0
    assert bench.site.revoked == [workers[2].name, workers[3].name]
    bench.dispatcher.advance(100.0)
    assert bench.site.requests == [4]


def test_the_last_job_there_is_fails_to_start(bench: Bench) -> None:
    (call,) = bench.submit(1)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1, start=False)
    bench.dispatcher.failed_to_start(worker, error_of)
    assert len(call.outcomes) == 1
    assert bench.dispatcher.unsettled == 0


# -- cancelling -----------------------------------------------------------------------


def test_withdrawn_before_it_is_published(bench: Bench) -> None:
    first, second, third = bench.submit(3)
    assert bench.take_back(second)
    bench.read_events()
    bench.dispatcher.advance(0.0)
    assert len(bench.queue) == 2
    assert bench.dispatcher.unsettled == 2
    assert bench.worker_group.withdrawn == 0
    assert second.file is None
    assert first.file is not third.file


def test_withdrawn_work_asks_for_no_workers() -> None:
    bench = Bench(gather=0.01)
    (call,) = bench.submit(1)
    assert bench.take_back(call)
    bench.read_events()
    bench.dispatcher.advance(1.0)
    bench.dispatcher.advance(2.0)
    assert bench.site.requests == []


def test_the_news_of_a_withdrawal_comes_after_the_call_was_dropped(bench: Bench) -> None:
    (call,) = bench.submit(1)
    assert bench.take_back(call)
    bench.dispatcher.advance(0.0)
    bench.read_events()
    assert (bench.dispatcher.unsettled, bench.worker_group.backlog) == (0, 0)


def _publish_while(bench: Bench, before: list[Work], after: list[Work]) -> None:
    """Publish, while another thread withdraws calls before their bin is placed, and others just after."""

    def place_work(work: Sequence[Any], file: QueueFile) -> list[Any]:
        bench.site.place_work = original  # type: ignore[method-assign]
        assert all(bench.take_back(call) for call in before)
        wanted = original(work, file)
        assert all(bench.take_back(call) for call in after)
        return wanted

    original = bench.site.place_work
    bench.site.place_work = place_work  # type: ignore[method-assign]
    bench.dispatcher.advance(0.0)
    bench.read_events()


def test_withdrawn_while_its_bin_is_made(bench: Bench) -> None:
    bench.learn(0.001)
    calls = bench.submit(5)
    _publish_while(bench, [calls[1], calls[3]], [])
    (name,) = bench.queue
    assert bench.site.queue[name][0].work == [calls[0], calls[2], calls[4]]
    assert (bench.dispatcher.unsettled, bench.worker_group.withdrawn) == (3, 0)


def test_withdrawn_when_its_bin_has_just_been_given_up(bench: Bench) -> None:
    """One sibling is withdrawn before the bin is placed, another a moment after: each counts once."""
    bench.learn(0.001)
    calls = bench.submit(5)
    _publish_while(bench, [calls[1]], [calls[4]])
    (name,) = bench.queue
    assert bench.site.queue[name][0].work == [calls[0], calls[2], calls[3]]
    assert bench.dispatcher.unsettled == 3
    assert bench.worker_group.withdrawn == 0


def test_taken_back_with_siblings(bench: Bench) -> None:
    bench.learn(0.001)
    calls = bench.submit(5)
    bench.dispatcher.advance(0.0)
    file = calls[2].file
    assert file is not None
    assert bench.take_back(calls[2])
    bench.read_events()
    bench.dispatcher.taken_back(file)
    assert bench.dispatcher.unsettled == 4
    bench.dispatcher.advance(0.0)
    (name,) = bench.queue
    assert bench.site.queue[name][0].work == [calls[0], calls[1], calls[3], calls[4]]
    assert bench.worker_group.backlog == 1


class Interrupted:
    """A lock before which another thread does something."""

    def __init__(self, file: QueueFile, meanwhile: Callable[[], object]) -> None:
        self.file, self.lock, self.meanwhile = file, file.lock, meanwhile

    def __enter__(self) -> None:
        self.file.lock = self.lock
        self.meanwhile()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


@pytest.mark.parametrize("published", [False, True])
def test_siblings_cancelled_while_the_manager_puts_them_back(bench: Bench, published: bool) -> None:
    """The second looks where it is; before it takes the file's lock, it is somewhere else."""
    bench.learn(0.001)
    first, second = bench.submit(2)
    bench.dispatcher.advance(0.0)
    file = first.file
    assert file is not None
    assert file is second.file
    assert bench.take_back(first)

    def meanwhile() -> None:
        bench.read_events()
        if published:
            bench.dispatcher.advance(0.0)

    file.lock = Interrupted(file, meanwhile)  # type: ignore[assignment]
    assert bench.take_back(second)
    bench.read_events()
    bench.dispatcher.advance(1.0)
    assert bench.queue == [], "a call whose cancel succeeded can still be claimed"
    assert (bench.dispatcher.unsettled, bench.worker_group.backlog, bench.worker_group.withdrawn) == (0, 0, 0)


class WatchedCall(NotedCall):
    """A call that notes every change of ``withdrawn``."""

    def __init__(self, function: str) -> None:
        self.history: list[bool] = []
        super().__init__(function)

    @property  # type: ignore[override]
    def withdrawn(self) -> bool:
        return self.history[-1]

    @withdrawn.setter
    def withdrawn(self, value: bool) -> None:
        self.history.append(value)


def test_two_threads_cancel_the_same_call(bench: Bench) -> None:
    """One has succeeded while the other was looking: nobody may see it wanted again."""
    bench.learn(0.001)
    sibling, call = NotedCall("f"), WatchedCall("f")
    bench.dispatcher.add(sibling, 0.0)
    bench.dispatcher.add(call, 0.0)
    bench.dispatcher.advance(0.0)
    file: Any = call.file
    assert bench.take_back(sibling)

    def meanwhile() -> None:
        bench.read_events()
        assert bench.take_back(call)

    file.lock = Interrupted(file, meanwhile)
    assert bench.take_back(call)
    assert call.history == sorted(call.history)
    bench.read_events()
    bench.dispatcher.advance(1.0)
    assert (bench.queue, bench.dispatcher.unsettled, bench.worker_group.backlog) == ([], 0, 0)


def test_cancelled_at_the_moment_it_fails(bench: Bench) -> None:
    """Its future looked pending; then the manager failed it.  The next call gets a worker all the same."""
    (call,) = bench.submit(1)
    bench.dispatcher.fail_waiting(bench.worker_group, error_of)
    bench.take_back(call)
    bench.read_events()
    assert bench.dispatcher.unsettled == 0
    bench.submit(1)
    bench.dispatcher.advance(0.0)
    assert bench.site.requests == [1]


def test_a_chunk_taken_back_is_forgotten(bench: Bench) -> None:
    chunk = bench.submit_chunk(10)
    bench.dispatcher.advance(0.0)
    assert bench.take_back(chunk)
    bench.read_events()
    bench.dispatcher.advance(1.0)
    assert (bench.queue, bench.dispatcher.unsettled, bench.worker_group.backlog) == ([], 0, 0)


def test_the_rest_of_an_abandoned_chunk_is_forgotten(bench: Bench) -> None:
    """Part of it runs, part is in the queue and was taken back; then its worker gives some more back."""
    chunk = bench.submit_chunk(10)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bin_id = bench.begin(worker, 0, 2)
    bench.give_back(worker, bin_id, 7, 3)
    assert bench.take_back(chunk)
    bench.read_events()
    bench.give_back(worker, bin_id, 4, 3)
    assert (bench.queue, bench.dispatcher.unsettled) == ([], 4)
    bench.settle(worker, bin_id, 0, 4)
    assert bench.dispatcher.unsettled == 0


def test_withdrawn_calls_of_a_lost_worker_are_dropped(bench: Bench) -> None:
    bench.learn(0.001)
    calls = bench.submit(3)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1, asked=0)
    bin_id = bench.begin(worker)
    calls[2].withdrawn = True
    bench.give_back(worker, bin_id, 1, 2)
    assert bench.dispatcher.unsettled == 2
    bench.dispatcher.advance(0.0)
    assert [state.work for state, _ in bench.site.queue.values()] == [[calls[1]]]


def test_cancel_pending(bench: Bench) -> None:
    bench.submit(30)
    bench.dispatcher.advance(0.0)
    pending = list(bench.worker_group.pending)
    assert len(pending) == 22
    assert bench.take_back(pending[3])
    bench.read_events()
    cancelled = []

    def withdraw(work: Work) -> bool:
        fresh = not work.withdrawn
        work.withdrawn = True
        cancelled.append(work)
        return fresh

    bench.dispatcher.cancel_pending(bench.worker_group, withdraw)
    assert cancelled == pending
    assert bench.dispatcher.unsettled == 8
    assert (len(bench.worker_group.pending), bench.worker_group.withdrawn) == (0, 0)


# -- the end --------------------------------------------------------------------------


def test_fail_waiting_spares_what_a_worker_was_first_to_take(bench: Bench) -> None:
    calls = bench.submit(12)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bin_id = bench.claim()[0]
    bench.dispatcher.fail_waiting(bench.worker_group, error_of)
    assert [len(call.outcomes) for call in calls] == [0] + [1] * 11
    assert bench.dispatcher.unsettled == 1
    bench.settle(worker, bin_id)
    assert bench.dispatcher.unsettled == 0
    assert calls[0].results == ["value"]


def test_fail_everything(bench: Bench) -> None:
    calls = bench.submit(20)
    chunk = bench.submit_chunk(5)
    bench.dispatcher.advance(0.0)
    first, second = bench.hire(2)
    bin_id = bench.begin(first)
    bench.settle(first, bin_id)
    bench.begin(second)
    bench.claim()
    bench.dispatcher.fail_everything(error_of)
    assert [len(call.outcomes) for call in calls] == [1] * 20
    assert len(chunk.outcomes) == 5
    assert bench.dispatcher.unsettled == 0


def test_fail_everything_tells_each_call_of_its_own_worker(bench: Bench) -> None:
    calls = bench.submit(3)
    bench.dispatcher.advance(0.0)
    workers = bench.hire(2)
    for worker in workers:
        bench.begin(worker)
    bench.dispatcher.fail_everything(error_of, lambda worker: lambda call: RuntimeError(f"{call} in {worker.job_id}"))
    told = [str(call.results[0]) for call in calls]
    assert told == ["the call of f in job0", "the call of f in job1", "lost: the call of f"]
    assert [len(call.results) for call in calls] == [1, 1, 1]


def test_after_fail_everything_nothing_is_wanted(bench: Bench) -> None:
    """A bin was claimed and not yet reported: it must not look like work that waits."""
    bench.submit(2)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bench.begin(worker)
    bench.claim()
    bench.worker_group.requested = 0
    bench.site.requests.clear()
    bench.dispatcher.fail_everything(error_of)
    assert not bench.dispatcher.unfinished(worker), "its calls have an outcome"
    bench.dispatcher.ended(worker)
    bench.dispatcher.advance(1.0)
    bench.dispatcher.advance(100.0)
    assert bench.worker_group.backlog == 0
    assert bench.site.requests == []


def test_results_that_come_after_the_end_change_nothing(bench: Bench) -> None:
    (call,) = bench.submit(1)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bin_id = bench.begin(worker)
    bench.dispatcher.fail_everything(error_of)
    bench.settle(worker, bin_id)
    bench.give_back(worker, bin_id, 0, 1)
    assert len(call.outcomes) == 1
    assert bench.dispatcher.unsettled == 0


# -- sharing --------------------------------------------------------------------------


def _one_busy_one_idle(bench: Bench) -> tuple[Worker, int]:
    bench.submit_chunk(10)
    bench.dispatcher.advance(0.0)
    busy, _idle = bench.hire(2)
    return busy, bench.begin(busy)


def test_busy_workers_are_asked_to_share_after_a_while(bench: Bench) -> None:
    _one_busy_one_idle(bench)
    due = bench.dispatcher.advance(1.0)
    assert bench.site.hungry == []
    assert due == pytest.approx(1.0 + HUNGRY_SECONDS)
    bench.dispatcher.advance(1.0 + HUNGRY_SECONDS)
    assert bench.site.hungry == [True]
    bench.dispatcher.advance(2.0)
    assert bench.site.hungry == [True]


def test_sharing_ends_when_there_is_work_again(bench: Bench) -> None:
    worker, bin_id = _one_busy_one_idle(bench)
    bench.dispatcher.advance(1.0)
    bench.dispatcher.advance(2.0)
    bench.give_back(worker, bin_id, 5, 5)
    bench.dispatcher.advance(2.0)
    assert bench.site.hungry == [True, False]


def test_nobody_is_asked_when_nothing_can_be_shared(bench: Bench) -> None:
    worker, bin_id = _one_busy_one_idle(bench)
    bench.settle(worker, bin_id, 0, 9)
    for now in (1.0, 2.0, 3.0):
        bench.dispatcher.advance(now)
    assert bench.site.hungry == []


def test_more_is_asked_for_while_more_are_idle_than_what_waits_can_use(bench: Bench) -> None:
    bench.submit_chunk(10)
    bench.dispatcher.advance(0.0)
    busy, _idle, _idle_too = bench.hire(3)
    bin_id = bench.begin(busy)
    bench.dispatcher.advance(1.0)
    bench.dispatcher.advance(2.0)
    bench.give_back(busy, bin_id, 5, 5)
    bench.dispatcher.advance(3.0)
    assert (len(bench.queue), bench.site.hungry) == (1, [True])


def test_what_comes_back_is_divided_by_how_long_its_calls_are(bench: Bench) -> None:
    busy, bin_id = _one_busy_one_idle(bench)
    bench.dispatcher.limits.pace.learn("f", 1.0, 5)
    bench.give_back(busy, bin_id, 5, 5)
    assert sorted((bin_slice.first, bin_slice.stop) for _, bin_slice in bench.site.queue.values()) == [
        (n, n + 1) for n in range(5, 10)
    ]


def test_large_arguments_are_not_written_again_for_every_call(bench: Bench) -> None:
    chunk = bench.submit_chunk(10)
    chunk.data = bytes(3 << 20)
    bench.dispatcher.advance(0.0)
    busy, _idle = bench.hire(2)
    bin_id = bench.begin(busy)
    bench.dispatcher.limits.pace.learn("f", 1.0, 5)
    bench.give_back(busy, bin_id, 5, 5)
    assert [(bin_slice.first, bin_slice.stop) for _, bin_slice in bench.site.queue.values()] == [(5, 10)]


def test_nobody_is_asked_when_nobody_is_idle(bench: Bench) -> None:
    bench.submit_chunk(10)
    bench.dispatcher.advance(0.0)
    (busy,) = bench.hire(1)
    bench.hire(1, start=False)
    bench.begin(busy)
    for now in (1.0, 2.0, 3.0):
        bench.dispatcher.advance(now)
    assert bench.site.hungry == []


def test_gaps() -> None:
    settled = bytearray([0, 0, 1, 0, 1, 1, 0, 0])
    assert gaps(settled, 0, 8) == [(0, 2), (3, 4), (6, 8)]
    assert gaps(settled, 1, 7) == [(1, 2), (3, 4), (6, 7)]
    assert gaps(settled, 4, 6) == []
    assert gaps(bytearray(3), 0, 3) == [(0, 3)]
