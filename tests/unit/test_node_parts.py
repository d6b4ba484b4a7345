"""The parts of a worker, each by itself: claims, shares, reporter, queue client, shared memory, output.

What only shows in a process of its own is done in one: ``in_child`` forks, and gives back
what the child found.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import itertools
import os
import pickle
import random
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

from clusterfutures.client import results
from clusterfutures.client.results import Place
from clusterfutures.client.serialize import Pickler
from clusterfutures.errors import StoreError, TransferError, WorkerDied
from clusterfutures.node import capture as output_module
from clusterfutures.node import main as main_module
from clusterfutures.node import process as process_module
from clusterfutures.node import queue as queue_client_module
from clusterfutures.node import reporter as reporter_module
from clusterfutures.node import signals as node_signals
from clusterfutures.node import signals as signals_module
from clusterfutures.node import supervisor as supervisor_module
from clusterfutures.node.affinity import cores_of, gpus_of, take_share, thread_variables
from clusterfutures.node.capture import INLINE_BYTES, Capture, tail
from clusterfutures.node.claims import GROUP_SECONDS, Claim, group_size
from clusterfutures.node.process import CALLS as RUN_CALLS
from clusterfutures.node.process import CHUNK as LOAD_CHUNK
from clusterfutures.node.process import GROUP_DONE, RANGE, READY, Process
from clusterfutures.node.queue import LONGEST_LOOK_SECONDS, QueueClient
from clusterfutures.node.reporter import FILE_BURST, FILES_PER_SECOND, LONGEST_GATHER_SECONDS, Reporter
from clusterfutures.node.shared_memory import ARENA_BYTES, CURRENT, END, NOBODY, SharedMemory
from clusterfutures.node.slot import Death, Reply, Slot, SlotState
from clusterfutures.node.supervisor import Supervisor
from clusterfutures.store import bins, names, records
from clusterfutures.store.bins import CALLS, CHUNK, Bin, CallHead
from clusterfutures.store.run_directory import LARGE_BYTES, RunDirectory

# pytest and its plugins have threads, so Python warns; the children take no lock of theirs
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

WORKER = "0001-0-0"
COUNT = 15
LIMIT = 20.0
HERE = Place("host", "job")


def in_child(function: Callable[[], Any]) -> Any:
    """What ``function`` returns in a forked process; it fails here if it fails there."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(int(LIMIT))
            os.write(writing, cloudpickle.dumps((function(), "")))
            status = 0
        except BaseException:
            os.write(writing, pickle.dumps((None, traceback.format_exc())))
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as answer:
        content = answer.read()
    os.waitpid(pid, 0)
    value, error = pickle.loads(content) if content else (None, "the child died")
    assert not error, error
    return value


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory.create(str(tmp_path / "run"))
    made.open_worker_group("0")
    assert made.files.make_directory(made.check_in_path(WORKER))
    return made


def decoded(content: bytes, run: RunDirectory) -> Iterator[tuple[int, int, Any]]:
    """Bin, index and value (or error) of every call that ``content`` tells of."""
    for record in records.records(memoryview(content)):
        calls = range(record.first, record.first + record.calls)
        if record.kind == records.VALUES:
            found = list(results.decode_values(record, "call"))
            assert len(found) == record.calls
        elif record.kind not in (records.STARTED, records.BEGUN, records.RETURNED, records.ENDED, records.PACE):
            value, error, *_ = results.decode(record, run, HERE, "call", 1.0)
            found = [error or value] * record.calls
        else:
            continue
        yield from ((record.bin_id, index, value) for index, value in zip(calls, found, strict=True))


# -- how much to hand over at a time --------------------------------------------------


def test_one_call_while_nothing_is_known() -> None:
    assert group_size(100, None, 8) == 1
    assert group_size(0, None, 8) == 0


@pytest.mark.parametrize("processes", [1, 2, 8, 128])
@pytest.mark.parametrize("seconds", [1e-12, 1e-6, 0.001, 0.03, 0.2, 50.0])
def test_groups_are_short_and_never_empty(seconds: float, processes: int) -> None:
    size = group_size(10_000, seconds, processes)
    assert 1 <= size <= 10_000
    longest = GROUP_SECONDS * max(1, min(20, processes / 2))
    assert size == 1 or size * seconds <= longest * 1.001
    assert group_size(3, seconds, processes) <= 3
    assert group_size(10_000, seconds, processes) >= group_size(10_000, seconds, 1)


def a_claim(kind: int, count: int, begun: int = 1, first: int = 0) -> Claim:
    if kind == CHUNK:
        return Claim("name", Bin(5, first, first + count, CHUNK, begun, [CallHead("f", 4, None)], b"blob"))
    heads = [CallHead("f", 2, None) for _ in range(count)]
    blob = b"".join(b"%02d" % i for i in range(count))
    return Claim("name", Bin(5, first, first + count, CALLS, begun, heads, blob))


def test_what_the_claim_notes_is_handed_over_first() -> None:
    claim = a_claim(CALLS, 10, begun=4)
    assert claim.next_group(1, None) == (0, 4)
    ((kind, bin_id, first, heads, blob),) = claim.commands(0, 4)
    assert (kind, bin_id, first, len(heads), blob) == (RUN_CALLS, 5, 0, 4, b"00010203")
    claim.progress(2, 0.01, False)
    claim.progress(4, 0.03, True)
    assert claim.seconds_per_call == pytest.approx(0.01)
    assert claim.next_group(1, None) == (4, 6)
    ((_, _, first, heads, blob),) = claim.commands(4, 10)
    assert (first, len(heads), blob) == (4, 6, b"040506070809")
    claim.progress(10, 0.06, True)
    assert claim.finished


def test_a_chunk_is_loaded_once_and_dropped_with_its_last_call() -> None:
    claim = a_claim(CHUNK, 10, first=20)
    load, work = claim.commands(20, 21)
    assert (load[0], load[1], load[-1]) == (LOAD_CHUNK, 5, b"blob")
    assert work == (RANGE, 5, 20, 21, False)
    claim.progress(21, 1.0, True)
    assert claim.commands(21, 30) == [(RANGE, 5, 21, 30, True)]


def test_a_process_that_died_is_followed_by_one_that_loads_again() -> None:
    claim = a_claim(CHUNK, 10)
    claim.commands(0, 1)
    claim.progress(1, 0.01, True)
    claim.commands(1, 10)
    claim.noted = 10
    claim.process_lost(4)
    assert (claim.done, claim.handed, claim.finished) == (4, 4, False)
    assert (claim.next_group(1, None), claim.note(6, 1)) == ((4, 6), None), "noted before"
    assert [command[0] for command in claim.commands(4, 10)] == [LOAD_CHUNK, RANGE]
    claim.process_lost(10)
    assert claim.finished


def test_a_claim_that_was_cut_ends_earlier() -> None:
    claim = a_claim(CHUNK, 10)
    claim.commands(0, 1)
    claim.cut(1)
    assert not claim.finished
    claim.progress(1, 0.01, True)
    assert claim.finished


@pytest.mark.parametrize("seed", range(30))
def test_every_call_of_a_claim_is_handed_over_in_order(seed: int) -> None:
    """Whatever dies or is given back in between: calls run from the first to the last, none is left out."""
    chance = random.Random(seed)
    claim = a_claim(chance.choice([CALLS, CHUNK]), 40, chance.choice([1, 7, 40]))
    settled = 0
    while not claim.finished:
        first, stop = claim.next_group(chance.choice([1, 4]), chance.choice([None, None, 3]))
        assert first == settled
        assert first < stop <= claim.stop
        claim.noted = max(claim.noted, stop)
        claim.commands(first, stop)
        settled = chance.randint(first, stop)
        if settled < stop:
            claim.progress(settled, 0.01, False)
            claim.process_lost(settled)
        else:
            claim.progress(stop, chance.choice([1e-6, 0.01, 1.0]), True)
            if chance.random() < 0.1 and claim.handed < claim.stop:
                claim.cut(chance.randint(claim.handed, claim.stop))
    assert settled == claim.stop


@pytest.mark.parametrize("seed", range(30))
def test_what_was_seen_at_a_glance_is_not_reported_again(seed: int) -> None:
    """Glances and reports overlap; together they tell of every call once."""
    chance = random.Random(seed)
    claim = a_claim(CHUNK, 60, 60)
    rows, at = [], 0
    while at < 60:
        count = min(60 - at, chance.choice([1, 1, 4, 15]))
        data = [pickle.dumps(i) for i in range(at, at + count)]
        lengths = b"".join(len(one).to_bytes(4, sys.byteorder) for one in data)
        single = count == 1 and chance.random() < 0.5
        body = data[0] if single else b"".join(data) + lengths
        rows.append(records.pack(records.VALUE if single else records.VALUES, 5, at, count, body))
        at += count
    reported, sent, glanced = b"", 0, 0
    while sent < len(rows):
        glanced = max(glanced, chance.randint(sent, len(rows)))
        reported += claim.to_report(b"".join(rows[sent:glanced]))
        if chance.random() < 0.5:
            sent, before = chance.randint(sent, len(rows)), sent
            reported += claim.to_report(b"".join(rows[before:sent]))
    assert [(index, value) for _, index, value in decoded(reported, RunDirectory("/"))] == [(i, i) for i in range(60)]


def test_a_glance_never_runs_ahead_of_what_is_still_in_the_pipe() -> None:
    """A process has sent calls 0 to 2 and gone on when the supervisor, which has not read
    that yet, looks into its shared memory: reporting call 3 first would lose the others."""
    claim = a_claim(CHUNK, 10, 10)
    sent, later = (records.pack(records.VALUE, 5, at, 1, pickle.dumps(at)) for at in (0, 3))
    sent = records.pack(records.VALUE, 5, 0, 3, sent)
    assert claim.to_report(later) == b""
    assert claim.to_report(sent, 3) == sent
    assert claim.to_report(later) == later


def test_a_group_that_takes_longer_than_was_thought_is_left_in_the_middle(run: RunDirectory) -> None:
    """Its rest can go elsewhere: an estimate must not tie hundreds of long calls to one process."""
    driven = Driven(run)
    try:
        driven.load(time.sleep, [(0.2,)] * 50)
        last = driven.hear(GROUP_DONE)[-1]
    finally:
        driven.close()
    assert 1 <= last.upto <= 10
    claim = a_claim(CHUNK, 50, 50)
    claim.commands(*claim.next_group(1, None))
    assert claim.handed == 50
    assert claim.progress(last.upto, 0.2 * last.upto, True) == 50 - last.upto
    assert claim.next_group(1, None) == (last.upto, last.upto + 1)
    claim.cut(last.upto + 2)
    assert claim.next_group(1, None) == (last.upto, last.upto + 1)


def test_groups_grow_with_what_is_known_and_notes_are_for_several_of_them() -> None:
    claim = Claim("name", Bin(5, 0, 5000, CHUNK, 1, [CallHead("f", 4, None)], b"blob"))
    groups, notes = [], []
    while not claim.finished:
        first, stop = claim.next_group(1, None)
        groups.append(stop - first)
        if (noted := claim.note(stop, 1)) is not None:
            notes.append(noted)
        claim.commands(first, stop)
        claim.progress(stop, 0.0001 * (stop - first), True)
    assert groups[:4] == [1, 64, 200, 200], "twenty milliseconds each, when it is known"
    assert notes == [(1, 3000), (3000, 5000)], "three tenths of a second each"
    assert Claim("name", Bin(5, 0, 50, CHUNK, 1, [CallHead("f", 4, None)], b"", seconds=0.001)).next_group(1, None) == (
        0,
        20,
    )


def test_a_slice_that_cannot_be_unpickled_fails_only_what_is_still_here() -> None:
    """It says so of all calls that it was to run, some of which have been given back meanwhile."""
    claim = a_claim(CHUNK, 10, 1)
    claim.commands(0, 1)
    claim.cut(4)
    (found,) = records.records(memoryview(claim.to_report(records.pack(records.ERROR, 5, 0, 10, b"why"), 10)))
    assert (found.first, found.calls, bytes(found.body)) == (0, 4, b"why")


def test_a_finished_chunk_tells_how_long_its_calls_take() -> None:
    claim = a_claim(CHUNK, 10, 10)
    assert claim.pace() == b""
    claim.commands(0, 10)
    claim.progress(10, 0.5, True)
    (record,) = records.records(memoryview(claim.pace()))
    assert (record.kind, record.calls, records.unpack_pace(record)) == (records.PACE, 10, ("f", 0.05))
    assert claim.pace() == b"", "only once"
    assert a_claim(CALLS, 3).pace() == b""


def test_plain_values_and_others_share_a_row_and_survive(run: RunDirectory) -> None:
    """Numbers and texts are marshalled, what cannot be is pickled, in the order of the calls."""
    values = [1, 2.5, None, True, "x\udc80", b"", 1 << 80, [1], 3, "end", (1, 2), 1j, OwnFloat(7.0), 4]
    driven = Driven(run)
    try:
        driven.load(values.__getitem__, [(i,) for i in range(len(values))])
        replies = driven.hear(GROUP_DONE)
    finally:
        driven.close()
    found = list(decoded(b"".join(reply.records for reply in replies), run))
    assert [(index, value, type(value)) for _, index, value in found] == [
        (index, value, type(value)) for index, value in enumerate(values)
    ]


class OwnFloat(float):
    """A number of another class than the built-in one, as numpy's are."""


def test_what_is_left_of_a_row() -> None:
    """A glance may have seen the beginning of a row that is then reported whole."""
    data = [pickle.dumps("x" * i) for i in range(9)]
    lengths = b"".join(len(one).to_bytes(4, sys.byteorder) for one in data)
    row = records.pack(records.VALUES, 5, 10, 9, b"".join(data) + lengths)
    for start in range(10, 20):
        left = list(decoded(records.pieces_from(row, start), RunDirectory("/")))
        assert left == [(5, 10 + i, "x" * i) for i in range(start - 10, 9)]


# -- shares ---------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 7, 8, 16])
@pytest.mark.parametrize("cores", [[0], [0, 1], [3, 1, 2], list(range(8)), [0, 2, 4, 6, 8, 10, 12], []])
def test_cores_are_divided(slots: int, cores: list[int]) -> None:
    shares = [cores_of(slot, slots, cores) for slot in range(slots)]
    assert set().union(*shares) == set(cores)
    if not cores:
        return
    sizes = [len(share) for share in shares]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    if slots <= len(cores):
        assert sum(sizes) == len(cores), "nobody shares"
        assert [core for share in shares for core in share] == sorted(cores), "neighbours together"


def test_gpus_are_divided() -> None:
    assert [gpus_of(slot, 2, "0,1,2,3") for slot in range(2)] == ["0,1", "2,3"]
    assert [gpus_of(slot, 3, "GPU-a,GPU-b") for slot in range(3)] == ["GPU-a", "GPU-b", "GPU-a"]
    assert gpus_of(0, 1, "0,1") == "0,1"
    assert gpus_of(1, 2, "") == ""


def test_thread_variables_leave_what_the_user_said() -> None:
    found = thread_variables(3, ["OMP_NUM_THREADS", "HOME"])
    assert "OMP_NUM_THREADS" not in found
    assert found["OPENBLAS_NUM_THREADS"] == "3"
    assert set(found.values()) == {"3"}


def test_a_share_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    all_cores = sorted(os.sched_getaffinity(0))

    def take(slots: int, job_cores: int, told: list[str]) -> Any:
        def child() -> Any:
            take_share(slots - 1, slots, job_cores, told)
            variables = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
            return sorted(os.sched_getaffinity(0)), [os.environ[name] for name in variables]

        return in_child(child)

    assert take(1, 0, []) == (all_cores, ["4,5", str(len(all_cores))])
    assert take(2, 0, ["OMP_NUM_THREADS"]) == (cores_of(1, 2, all_cores), ["5", "64"])
    if len(all_cores) > 1:  # the job was given less than it may use: binding would only crowd it
        assert take(2, 1, []) == (all_cores, ["5", "1"])


# -- reporter ---------------------------------------------------------------------------


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Shelf:
    """A run directory that only notes what is done to it, in order."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []

    def publish_segment(self, name: str, body: bytes) -> None:
        self.done.append(("publish", name))
        self.bodies.append(body)

    def finish(self, _worker: str, name: str) -> None:
        self.done.append(("finish", name))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(reporter_module, "time", made)
    monkeypatch.setattr(queue_client_module, "time", made)
    return made


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def reporter(clock: Clock, shelf: Shelf) -> Reporter:
    return Reporter(shelf, WORKER)  # type: ignore[arg-type]


def test_nothing_to_say(reporter: Reporter, shelf: Shelf) -> None:
    reporter.add(b"")
    assert reporter.due(True) is None
    assert reporter.due(False) is None
    reporter.flush()
    assert shelf.done == []


def test_at_once_when_nothing_runs(reporter: Reporter, shelf: Shelf, clock: Clock) -> None:
    reporter.add(b"one")
    reporter.add(b"two")
    due = reporter.due(False)
    assert due is not None
    assert due <= clock.now
    reporter.flush()
    assert shelf.bodies == [b"onetwo"]
    assert shelf.done == [("publish", names.segment_name(WORKER, 0))]
    assert reporter.due(False) is None


def test_bins_are_finished_after_their_last_result_is_out(reporter: Reporter, shelf: Shelf) -> None:
    reporter.add(b"result")
    reporter.finish("bin")
    reporter.flush()
    reporter.flush()
    assert shelf.done == [("publish", names.segment_name(WORKER, 0)), ("finish", "bin")]


def test_files_do_not_grow_with_calls(reporter: Reporter, clock: Clock) -> None:
    """A result every millisecond for a minute: six files a second."""
    for _ in range(60_000):
        clock.now += 0.001
        reporter.add(b"result")
        due = reporter.due(True)
        assert due is not None
        if clock.now >= due:
            reporter.flush()
    assert 59 * FILES_PER_SECOND <= reporter.segments <= 60 * FILES_PER_SECOND + FILE_BURST + 1


def test_bins_count_as_files_too_but_no_result_waits_for_long(reporter: Reporter, clock: Clock) -> None:
    """A bin of a fifth of a second after the other, a result every millisecond: less than ten files a second."""
    longest, waiting = 0.0, 0.0
    for millisecond in range(60_000):
        clock.now += 0.001
        if millisecond % 200 == 0:
            reporter.made()
        reporter.add(b"result")
        waiting += 0.001
        due = reporter.due(True)
        assert due is not None
        if clock.now >= due:
            reporter.flush()
            longest, waiting = max(longest, waiting), 0.0
    assert 60 * 3 < reporter.segments < 60 * 5
    assert longest < LONGEST_GATHER_SECONDS + 0.003


def test_bins_that_come_ever_so_fast_do_not_keep_results_back(reporter: Reporter, clock: Clock) -> None:
    reporter.add(b"result")
    begun = clock.now
    for _ in range(100):
        clock.now += 0.001
        reporter.made()
    due = reporter.due(True)
    assert due is not None
    assert due - begun <= LONGEST_GATHER_SECONDS


def test_after_a_rest_the_first_results_are_quick_again(reporter: Reporter, clock: Clock) -> None:
    for _ in range(2):
        for _ in range(int(FILE_BURST)):
            reporter.add(b"result")
            due = reporter.due(True)
            assert due is not None
            assert due - clock.now < 0.01
            clock.now = max(clock.now, due)
            reporter.flush()
        clock.now += 60.0


def test_notes_that_must_go_out_do_not_delay_results_for_long(reporter: Reporter, clock: Clock) -> None:
    """Notes of begun calls are flushed at once, however many they are; that must not be paid
    for by the results that come after them."""
    for _ in range(500):
        clock.now += 0.05
        reporter.add(b"begun")
        reporter.flush()
    reporter.add(b"result")
    due = reporter.due(True)
    assert due is not None
    assert due - clock.now < 1.0


def test_reports_of_the_worker_are_records(reporter: Reporter, shelf: Shelf) -> None:
    reporter.report(records.ENDED, {"why": "IDLE"})
    reporter.flush()
    (record,) = records.records(memoryview(shelf.bodies[0]))
    assert (record.kind, record.bin_id, pickle.loads(record.body)) == (records.ENDED, 0, {"why": "IDLE"})


# -- queue client --------------------------------------------------------------------------


class Queue:
    """A queue of which others take bins: ``lost`` are gone before we come."""

    def __init__(self, waiting: list[str]) -> None:
        self.waiting = waiting
        self.lost: set[str] = set()
        self.tried: list[str] = []

    def queued(self, _worker_group: str) -> list[str]:
        return sorted(self.waiting)

    def claim(self, _worker_group: str, name: str, _worker: str) -> str | None:
        self.tried.append(name)
        return None if name in self.lost else f"content of {name}"


def a_queue_client(queue: Queue, worker: str = WORKER, workers: int = 8) -> QueueClient:
    return QueueClient(queue, "0", worker, workers)  # type: ignore[arg-type]


def test_the_oldest_bin_first(clock: Clock) -> None:
    made = [names.bin_name(i, 0, 1) for i in range(5)]
    queue_client = a_queue_client(Queue(made[::-1]))
    queue_client.look(clock.now)
    assert [queue_client.claim() for _ in range(6)] == [*((name, f"content of {name}") for name in made), None]


def test_every_bin_is_tried_once_a_look(clock: Clock) -> None:
    made = [names.bin_name(i, 0, 1) for i in range(50)]
    queue = Queue(made)
    queue.lost = set(made)
    queue_client = a_queue_client(queue)
    queue_client.look(clock.now)
    assert queue_client.claim() is None
    assert sorted(queue.tried) == made


def test_losers_spread(clock: Clock) -> None:
    """Workers that lost their first tries do not go for the same bins again, all in a row."""
    made = [names.bin_name(i, 0, 1) for i in range(200)]
    third = set()
    for number in range(30):
        queue = Queue(made)
        queue.lost = set(made)
        queue_client = a_queue_client(queue, names.worker_name("0001", number, 0))
        queue_client.look(clock.now)
        assert queue_client.claim() is None
        third.add(queue.tried[4])
    assert len(third) > 3


def test_a_crowd_that_has_waited_does_not_go_for_the_same_bin(clock: Clock) -> None:
    made = [names.bin_name(i, 0, 1) for i in range(50)]
    first = set()
    for number in range(40):
        queue = Queue([])
        queue_client = a_queue_client(queue, names.worker_name("0001", number, 0), workers=1000)
        queue_client.look(clock.now)
        queue.waiting = made
        queue_client.look(clock.now)
        assert queue_client.claim() is not None
        first.add(queue.tried[0])
        queue_client.look(clock.now)
        queue.waiting = queue.waiting[1:]
        queue_client.look(clock.now)
        queue_client.claim()
        assert queue.tried[1] == made[1], "no crowd: it comes back from its work"
    assert len(first) > 5
    assert max(first) < made[16]


def test_looking_slows_down_while_nothing_happens(clock: Clock) -> None:
    queue_client = a_queue_client(Queue([]))
    worked, pauses = clock.now, []
    while clock.now < worked + 100:
        queue_client.look(worked)
        pauses.append(queue_client.due - clock.now)
        clock.now = queue_client.due
    assert pauses[0] < 0.001
    assert all(later > pause - 1e-9 for pause, later in itertools.pairwise(pauses))
    assert pauses[-1] == pytest.approx(LONGEST_LOOK_SECONDS)
    assert len(pauses) < 1000
    queue_client.look(clock.now)
    assert queue_client.due - clock.now < 0.001, "work again"
    queue_client.hurry()
    assert queue_client.due <= clock.now


def test_a_queue_is_closed_when_nothing_is_left_in_it(clock: Clock) -> None:
    queue = Queue([names.CLOSED, names.HUNGRY, names.bin_name(1, 0, 1)])
    queue_client = a_queue_client(queue)
    queue_client.look(clock.now)
    assert not queue_client.closed
    assert queue_client.asked_to_share()
    assert queue_client.claim() is not None
    assert queue_client.claim() is None, "signs are no bins"
    queue.waiting = [names.CLOSED]
    queue_client.look(clock.now)
    assert queue_client.closed
    assert not queue_client.asked_to_share()


# -- shared memory, and deaths --------------------------------------------------------


class Killed(BaseException):
    """The process is killed just before this store."""


class Mortal:
    """The words of a shared memory; the writer dies before its store number ``lives``."""

    def __init__(self, words: memoryview, lives: int) -> None:
        self.words = words
        self.lives = lives

    def __getitem__(self, at: int) -> int:
        return int(self.words[at])

    def __setitem__(self, at: int, value: int) -> None:
        if not self.lives:
            raise Killed
        self.lives -= 1
        self.words[at] = value


def _odd_call(number: int) -> Any:
    if number % 7 == 3:
        raise ValueError(number)
    if number % 5 == 4:
        return bytes(LARGE_BYTES - 100)
    return [number]


def _expected(number: int) -> Any:
    try:
        return _odd_call(number)
    except ValueError as error:
        return repr(error)


class Doomed:
    """A process's loops on a shared memory, without the process: until its store number ``lives``."""

    def __init__(self, run: RunDirectory, lives: int) -> None:
        self.shared_memory = SharedMemory()
        self.words = self.shared_memory.words
        self.sent = bytearray()
        self.ran = 0
        worker: Any = Process.__new__(Process)
        self.worker = worker
        worker._run, worker._name, worker._shared_memory, worker._forked = run, "x", self.shared_memory, []
        worker._large = worker._bin = worker._slot = 0
        worker._capture = SimpleNamespace(
            settle=lambda *_: None, position=lambda: 0, read=lambda _from, _to: b"", last_lines=lambda _from: ""
        )
        worker._send = lambda _flags, _upto=0, body=b"": self.sent.extend(body)
        worker._chunk_anew = None
        worker._chunk, worker._chunk_first, worker._chunk_function = [(i,) for i in range(COUNT)], 0, self.call
        worker._loader = SimpleNamespace(
            function=lambda _key: self.call, arguments=lambda _head, data: ((data[0],), {})
        )
        self.shared_memory.words = Mortal(self.words, lives)  # type: ignore[assignment]

    def call(self, number: int) -> Any:
        assert self.ran == number
        self.ran += 1
        return _odd_call(number)

    def live(self, kind: int) -> bool:
        """True when all calls came to their end."""
        try:
            if kind == CHUNK:
                self.worker._run_range(0, COUNT, True)
            else:
                self.worker._run_calls(0, [CallHead("", 1, None)] * COUNT, bytes(range(COUNT)))
        except Killed:
            return False
        finally:
            self.shared_memory.words = self.words
        return True


@pytest.mark.parametrize("kind", [CALLS, CHUNK])
@pytest.mark.parametrize("report_seconds", [0.0, 100.0])
def test_killed_before_any_store(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, kind: int, report_seconds: float
) -> None:
    """What had been counted is there and right; who is blamed comes next; who is not had not run."""
    monkeypatch.setattr(process_module, "REPORT_SECONDS", report_seconds)
    monkeypatch.setattr(process_module, "LONGEST_GROUP_SECONDS", LIMIT)  # one group, on a busy machine too
    expected = [_expected(number) for number in range(COUNT)]
    for lives in range(2000):
        doomed = Doomed(run, lives)
        ended = doomed.live(kind)
        current, when = doomed.words[CURRENT], f"killed before store {lives}"
        found = {}
        for _, index, value in decoded(bytes(doomed.sent) + doomed.shared_memory.remains(), run):
            found[index] = repr(value) if isinstance(value, Exception) else value
        assert found == dict(enumerate(expected[: len(found)])), when
        if current == NOBODY or current < len(found):
            assert doomed.ran == len(found), f"{when}: a call would run twice"
        else:
            assert current == len(found), f"{when}: a call would be lost"
        if ended:
            break
    assert len(found) == COUNT
    assert lives > 40


def test_a_glance_after_a_death_in_the_middle_of_a_change(run: RunDirectory) -> None:
    """The next process uses the same memory: what it has finished can be seen, whatever came before."""
    for lives in range(60):
        doomed = Doomed(run, lives)
        doomed.live(CHUNK)
        shared_memory, worker, glances = doomed.shared_memory, doomed.worker, []
        shared_memory.remains()
        shared_memory.clear()
        worker._chunk_anew = None
        worker._chunk_function = lambda number, shared_memory=shared_memory, seen=glances: seen.append(
            shared_memory.glance()
        )
        worker._run_range(0, 3, True)
        assert [index for _, index, _ in decoded(glances[2], run)] == [0, 1], f"killed before store {lives}"


def _context(**others: Any) -> dict[str, Any]:
    return {
        "max_workers": 1, "processes": 1, "job_cores": 0, "visibility_timeout": 1.0, "max_tasks_per_child": None,
        "initializer": None, "told": [], "bins_per_job": None, "idle_timeout": 30.0,
        "on_timeout": None, "timeout_notice": 30.0,
    } | others  # fmt: skip


class Driven:
    """A slot with a live process, driven by a test."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.slot = Slot(0, run, WORKER, [])
        self.slot.start(_context(), lambda: None)
        self.hear(READY)

    def hear(self, flag: int) -> list[Reply]:
        """The replies up to one with ``flag``."""
        deadline, heard = time.monotonic() + LIMIT, list[Reply]()
        while not heard or not heard[-1].flags & flag:
            if not (replies := self.slot.receive()):
                select.select([self.slot.replies], [], [], 0.05)
                if (how := self.slot.has_died()) is not None:
                    pytest.fail(f"the process died: {self.slot.bury(*how)[:3]}")
            heard += replies
            assert time.monotonic() < deadline, "no reply"
        return heard

    def load(self, function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> None:
        key = Pickler(self.run).function(function)
        blob = pickle.dumps(arguments, 5)
        count = len(arguments)
        claim = Claim("name", Bin(9, 0, count, CHUNK, count, [CallHead(key, len(blob), None)], blob))
        for command in claim.commands(0, count):
            self.slot.send(command)
        while self.slot.wants_to_write is not None:
            select.select([], [self.slot.wants_to_write], [], LIMIT)
            self.slot.push()

    def until_death(self) -> tuple[bytes, Death]:
        """All that is sent, and what is left when the process has died."""
        sent, deadline = bytearray(), time.monotonic() + LIMIT
        while (how := self.slot.has_died()) is None:
            sent += b"".join(reply.records for reply in self.slot.receive())
            select.select([self.slot.replies], [], [], 0.001)
            assert time.monotonic() < deadline
        sent += b"".join(reply.records for reply in self.slot.receive())
        return bytes(sent), self.slot.bury(*how)

    def close(self) -> None:
        if self.slot.state is not SlotState.DEAD:
            self.slot.kill()
            os.waitpid(self.slot.pid, 0)
            self.slot.bury(None, signal.SIGKILL)
        os.close(self.slot.log)


@pytest.fixture
def driven(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driven]:
    monkeypatch.setattr(process_module, "LONGEST_GROUP_SECONDS", LIMIT)  # one group, on a busy machine too
    made = Driven(run)
    yield made
    made.close()


def test_killed_at_any_moment(run: RunDirectory) -> None:
    """A real process in its fastest loop, and a real SIGKILL: no value is wrong, none is torn."""
    chance = random.Random(3)
    for _ in range(6):
        driven = Driven(run)
        driven.load(lambda number: (number, "x" * (number % 50)), [(i,) for i in range(60_000)])
        time.sleep(chance.uniform(0.0, 0.06))  # the moment is what is being tested
        os.kill(driven.slot.pid, signal.SIGKILL)
        sent, death = driven.until_death()
        found = {index: value for _, index, value in decoded(sent + death.remains, run)}
        assert all(value == (index, "x" * (index % 50)) for index, value in found.items())
        assert sorted(found) == list(range(len(found)))
        assert death.signal == signal.SIGKILL
        assert death.current is None or death.current <= len(found)
        driven.close()


def test_small_values_travel_in_rows(driven: Driven, run: RunDirectory) -> None:
    """A record for each of a million calls would cost the client half a minute."""
    driven.load(lambda number: number + 1, [(i,) for i in range(20_000)])
    content = b"".join(reply.records for reply in driven.hear(GROUP_DONE))
    assert [value for _, _, value in decoded(content, run)] == list(range(1, 20_001))
    kinds = [record.kind for record in records.records(memoryview(content))]
    assert records.VALUE not in kinds
    assert len(kinds) < 100


def test_the_call_that_kills_its_process_is_known(driven: Driven, run: RunDirectory) -> None:
    driven.load(
        lambda number: number if number != 5 else os.kill(os.getpid(), signal.SIGKILL), [(i,) for i in range(9)]
    )
    sent, death = driven.until_death()
    assert [(index, value) for _, index, value in decoded(sent + death.remains, run)] == [(i, i) for i in range(5)]
    assert (death.current, death.signal, death.loading) == (5, signal.SIGKILL, False)


@pytest.mark.parametrize("size", [LARGE_BYTES - 10, 3 * LARGE_BYTES, 5 * LARGE_BYTES])
def test_an_exception_of_any_size_comes_back(driven: Driven, run: RunDirectory, size: int) -> None:
    def call(number: int) -> int:
        if number == 1:
            raise ValueError("x" * size)
        return number

    driven.load(call, [(i,) for i in range(3)])
    content = b"".join(reply.records for reply in driven.hear(GROUP_DONE))
    found = {index: value for _, index, value in decoded(content, run)}
    assert (found[0], found[2]) == (0, 2)
    assert isinstance(found[1], Exception)
    assert "x" * 100 in str(found[1])
    assert driven.slot.has_died() is None


@pytest.mark.parametrize("left", [0, 1, records.HEADER.size - 1, records.HEADER.size])
def test_results_that_fill_the_shared_memory(run: RunDirectory, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """To the last byte, or nearly so: there is no room for another row behind them."""
    monkeypatch.setattr(process_module, "REPORT_SECONDS", 100.0)
    doomed = Doomed(run, 1 << 30)
    around = records.HEADER.size + len(pickle.dumps(bytes(LARGE_BYTES), 5)) - LARGE_BYTES
    sizes = [LARGE_BYTES - 100, LARGE_BYTES - 100]
    sizes += [ARENA_BYTES - doomed.words[END] - left - sum(sizes) - 3 * around, 1]
    doomed.worker._chunk_anew = None
    doomed.worker._chunk_function, doomed.worker._chunk = bytes, [(size,) for size in sizes]
    doomed.worker._run_range(0, len(sizes), True)
    assert [len(value) for _, _, value in decoded(bytes(doomed.sent), run)] == sizes


class Fluent:
    """Has every attribute, and may be called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Fluent()

    def __call__(self, number: int) -> int:
        return number + 1


def test_an_object_with_any_attribute_may_be_called(driven: Driven, run: RunDirectory) -> None:
    driven.load(Fluent(), [(1,)])
    content = b"".join(reply.records for reply in driven.hear(GROUP_DONE))
    assert [value for _, _, value in decoded(content, run)] == [2]


class NeverLoads:
    """Cannot be unpickled, and says so at length."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _fail_at_length, ()


def _fail_at_length() -> None:
    raise ValueError("x" * (2 << 20))


def test_arguments_that_cannot_be_unpickled_say_so_at_any_length(driven: Driven, run: RunDirectory) -> None:
    driven.load(abs, [(NeverLoads(),), (NeverLoads(),)])
    content = b"".join(reply.records for reply in driven.hear(GROUP_DONE))
    (record,) = records.records(memoryview(content))
    error = results.decode(record, run, HERE, "call", 1.0).error
    assert (record.first, record.calls) == (0, 2)
    assert isinstance(error, TransferError)
    assert "could not be unpickled" in str(error)


# -- a worker and its processes -------------------------------------------------------


def served(run: RunDirectory, function: Callable[..., Any], arguments: list[tuple[Any, ...]], **context: Any) -> Any:
    """How a worker ends in a child, which works on one bin for each of the arguments; and what it reports."""
    key = Pickler(run).function(function)
    for number, one in enumerate(arguments):
        blob = pickle.dumps([one], 5)
        run.publish_bin("0", Bin(number, 0, 1, CHUNK, 1, [CallHead(key, len(blob), None)], blob))
    run.close_worker_group("0")

    def child() -> str:
        node_signals.adopt_orphans()
        return Supervisor(run, WORKER, "0", _context(**context), Reporter(run, WORKER)).serve().name

    ending = in_child(child)
    return ending, b"".join(run.read_segment(name) for name in run.new_segments())


def initializer(run: RunDirectory, function: Callable[..., Any], *arguments: Any) -> CallHead:
    return CallHead("", 0, Pickler(run).initializer(function, arguments))


@pytest.mark.parametrize("status", [0, 3])
def test_an_initializer_that_ends_its_process_is_not_tried_for_ever(run: RunDirectory, status: int) -> None:
    ending, reported = served(run, abs, [(-1,)], initializer=initializer(run, os._exit, status))
    words = [pickle.loads(r.body) for r in records.records(memoryview(reported)) if r.kind == records.ENDED]
    assert (ending, words[0]["text"]) == ("INITIALIZER", f"it killed its process: exit status {status}")


def test_an_initializer_that_forks_leaves_one_process(run: RunDirectory) -> None:
    """Its child comes back from it as well: it must not take calls from the pipe."""
    ending, reported = served(run, abs, [(-n,) for n in range(20)], initializer=initializer(run, os.fork))
    assert ending == "CLOSED"
    assert sorted(decoded(reported, run)) == [(n, 0, n) for n in range(20)]


def _end_or_double(number: int) -> int:
    if number == 0:
        os._exit(3)
    return 2 * number


def test_signals_that_the_program_has_blocked(run: RunDirectory) -> None:
    """A job of this machine inherits that: it must hear of its processes and of its own end all the same."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD, signal.SIGTERM))
    try:
        ending, reported = served(run, _end_or_double, [(0,), (1,)])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert ending == "CLOSED"
    died, doubled = (value for _, _, value in sorted(decoded(reported, run), key=lambda found: found[0]))
    assert isinstance(died, WorkerDied)
    assert (died.exit_code, doubled) == (3, 2)


def _leave_a_child(_number: int) -> None:
    """Which ends with the process that has left it."""
    if os.fork() == 0:
        signal.pause()


def _zombies_around(_number: int) -> int:
    """How many the supervisor still has, when it has had the time to do something about them."""
    deadline = time.monotonic() + 2
    while (count := _children_in_state(os.getppid(), b"Z")) and time.monotonic() < deadline:
        time.sleep(0.01)
    return count


def _children_in_state(parent: int, state: bytes) -> int:
    count = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_bytes().rpartition(b")")[2].split()
            count += fields[0] == state and int(fields[1]) == parent
    return count


def _leave_or_look(number: int) -> int | None:
    return _zombies_around(number) if number == 5 else _leave_a_child(number)


def test_what_calls_leave_behind_is_no_zombie(run: RunDirectory) -> None:
    ending, reported = served(run, _leave_or_look, [(number,) for number in range(6)], max_tasks_per_child=1)
    assert ending == "CLOSED"
    assert sorted(decoded(reported, run))[-1] == (5, 0, 0)


def test_a_process_has_the_log_of_no_other(run: RunDirectory, tmp_path: Path) -> None:
    def all_open(number: int) -> list[str]:
        found = []
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(os.readlink(link))
        (tmp_path / f"seen.{number}").touch()
        deadline = time.monotonic() + 30
        while len(list(tmp_path.glob("seen.*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.005)  # so each process has one of the calls
        return sorted({name for name in found if name.startswith(logs)})

    logs = os.path.dirname(run.log_path("")) + "/"
    _, reported = served(run, all_open, [(n,) for n in range(2)], processes=2)
    assert sorted(logs for _, _, logs in decoded(reported, run)) == [
        [run.log_path(f"{WORKER}.{number}")] for number in range(2)
    ]


def test_a_process_that_cannot_be_killed_does_not_keep_the_worker(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a disk that does not answer, say: what is known is told, and the rest is the scheduler's."""
    monkeypatch.setattr(supervisor_module, "STUCK_SECONDS", 0.2)
    monkeypatch.setattr(Slot, "has_died", lambda _slot: None)
    ending, reported = served(run, abs, [(-1,)])
    assert (ending, list(decoded(reported, run))) == ("CLOSED", [(0, 0, 1)])
    assert records.ENDED in [record.kind for record in records.records(memoryview(reported))]


def test_the_deaths_of_others_do_not_end_the_wait_for_our_own_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler ends all processes of a job in any order, and the supervisor may be the last."""
    monkeypatch.setattr(signals_module, "OWN_SIGNAL_SECONDS", 10.0)

    def child() -> bool:
        signals = signals_module.Signals()
        signals.listen()
        first, second = (subprocess.Popen(["sleep", "30"]) for _ in range(2))
        first.kill()
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
        signals.take()
        order = f"sleep 0.05; kill -9 {second.pid}; sleep 0.05; kill -TERM {os.getpid()}"
        scheduler = subprocess.Popen(["sh", "-c", order])
        try:
            return signals.own_turn_comes([first.pid, second.pid])
        finally:
            for process in (first, second, scheduler):
                process.wait()

    assert in_child(child)


def test_cloudpickle_may_be_in_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "packages.zip").write_bytes(b"")
    spec = SimpleNamespace(origin=f"{tmp_path}/packages.zip/cloudpickle/__init__.py")
    monkeypatch.setattr(main_module, "find_spec", lambda _name: spec)
    assert main_module._cloudpickle_version() == cloudpickle.__version__


# -- a worker that meets a damaged bin ------------------------------------------------


def test_a_damaged_bin_fails_its_calls_and_no_others(run: RunDirectory) -> None:
    """The client must hear of it: the calls in it have no other way to their outcome."""
    key, blob = Pickler(run).function(abs), pickle.dumps([(-1,), (-2,)], 5)
    heads = [CallHead(key, len(blob), None)]
    names_of_bins = [run.publish_bin("0", Bin(i, 0, 2, CHUNK, 1, heads, blob)) for i in (1, 2)]
    path = Path(run.path, names.QUEUE, "0", names_of_bins[0])
    path.write_bytes(path.read_bytes()[:-3])
    run.be_patient(0.1)  # it is late for so long
    run.close_worker_group("0")

    def serve() -> str:
        return Supervisor(run, WORKER, "0", _context(), Reporter(run, WORKER)).serve().name

    assert in_child(serve) == "CLOSED"
    reported = b"".join(run.read_segment(name) for name in run.new_segments())
    found = {(bin_id, index): value for bin_id, index, value in decoded(reported, run)}
    assert [found.get((2, index)) for index in range(2)] == [1, 2]
    for index in range(2):
        assert isinstance(found.get((1, index)), StoreError)
        assert names_of_bins[0] in str(found[1, index])


# -- output ---------------------------------------------------------------------------


class Taped:
    """In a child: a capture, and what each call wrote to it."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self.log = os.open(path, flags, 0o600)
        self.capture = Capture(self.log)

    def call(self, function: Callable[[], object]) -> bytes:
        start = self.capture.position()
        function()
        self.capture.settle()
        stop = self.capture.position()
        assert os.pread(self.log, stop - start, start) == self.capture.read(start, stop)
        return self.capture.read(start, stop)


def taped(path: Path, *functions: Callable[[], object]) -> list[bytes]:
    """What each of the functions wrote, called one after the other in a child."""

    def child() -> list[bytes]:
        tape = Taped(path / "log")
        return [tape.call(function) for function in functions]

    found: list[bytes] = in_child(child)
    return found


def _say(text: str) -> Callable[[], object]:
    return lambda: print(text, end="")


def test_output_of_python_c_and_children(tmp_path: Path) -> None:
    libc = ctypes.CDLL(None)

    def all_kinds() -> None:
        print("python ", end="")
        sys.stdout.flush()
        libc.printf(b"c ")
        libc.fflush(None)
        os.write(2, b"raw ")
        print("stderr ", file=sys.stderr, end="", flush=True)
        subprocess.run(["echo", "child"], check=True)

    assert taped(tmp_path, all_kinds, _say("next")) == [b"python c raw stderr child\n", b"next"]


def test_what_is_held_back_belongs_to_the_call_that_wrote_it(tmp_path: Path) -> None:
    libc = ctypes.CDLL(None)
    calls = [_say("one"), lambda: libc.printf(b"two"), _say("three"), lambda: None]
    assert taped(tmp_path, *calls) == [b"one", b"two", b"three", b""]


def _replace_stdout() -> None:
    sys.stdout = io.StringIO()
    print("lost with its StringIO")


def _break_stdout() -> None:
    sys.stdout = None  # type: ignore[assignment]


def _redirect() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)


@pytest.mark.parametrize(
    "harm",
    [
        lambda: sys.stdout.close(),
        lambda: sys.stderr.close(),
        lambda: sys.stdout.detach(),
        _replace_stdout,
        _break_stdout,
        lambda: os.close(1),
        lambda: os.closerange(1, 3),
        _redirect,
    ],
)
def test_whatever_a_call_does_to_its_streams_the_next_has_good_ones(tmp_path: Path, harm: Callable[[], object]) -> None:
    def both() -> None:
        print("out")
        print("err", file=sys.stderr)
        os.write(1, b"1")
        os.write(2, b"2")

    assert taped(tmp_path, _say("before"), harm, both, _say("after"))[2:] == [b"out\nerr\n12", b"after"]


def test_odd_text_is_no_error(tmp_path: Path) -> None:
    assert taped(tmp_path, _say("\udcff ä"), _say("\0")) == [b"\\udcff \xc3\xa4", b"\0"]


def test_much_output_stays_in_the_log(tmp_path: Path) -> None:
    def child() -> tuple[bytes, bytes, str]:
        tape = Taped(tmp_path / "log")
        print("x" * INLINE_BYTES, end="")
        tape.capture.settle()
        inline = tape.capture.read(0, INLINE_BYTES)
        print("\n".join(map(str, range(100))))
        tape.capture.settle()
        return inline, tape.capture.read(0, tape.capture.position()), tail(tape.log, INLINE_BYTES)

    inline, more, last = in_child(child)
    assert inline == b"x" * INLINE_BYTES
    assert more == b""
    assert last.splitlines() == [str(i) for i in range(90, 100)]


def test_output_that_cannot_be_shortened_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has become read-only ends no worker."""

    def read_only(*_: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(output_module, "MOST_BYTES", 8)
    with open(tmp_path / "log", "a+b") as log:
        log.write(b"0123456789")
        log.flush()
        with monkeypatch.context() as patch:
            patch.setattr(os, "ftruncate", read_only)
            output_module.shorten(log.fileno(), 0)
        assert (tmp_path / "log").read_bytes() == b"0123456789"
        output_module.shorten(log.fileno(), 0)
    assert (tmp_path / "log").read_bytes().startswith(b"0123\n[clusterfutures: the middle")


def test_the_tail_starts_where_the_call_started(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"of another\nmine")
    with open(tmp_path / "log", "rb") as log:
        assert tail(log.fileno(), 11) == "mine"
        assert tail(log.fileno(), 15) == ""
    assert bins.CALLS == CALLS
