"""What the client bears: garbage collection, forks and the program's end at any moment, callbacks that do
what they should not, files that vanish, an adapter or a part of its own that fails.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_dispatcher_moves import POOL, Bench

from clusterfutures import LocalExecutor
from clusterfutures.client import client as client_client
from clusterfutures.client import client as clients
from clusterfutures.client import collector
from clusterfutures.client.client import Client
from clusterfutures.client.collector import LostBinDetector, ResultCollector
from clusterfutures.client.effects import Effects
from clusterfutures.client.events import EventQueue, Kill, Phase
from clusterfutures.client.state import BinSlice, BinState
from clusterfutures.client.tasks import Chunk, QueueFile
from clusterfutures.errors import StoreError
from clusterfutures.futures import ClusterFuture
from clusterfutures.store import names
from clusterfutures.store.bins import CALLS, Bin
from clusterfutures.store.run_directory import RunDirectory

# pytest and its plugins have threads, so Python warns; the children take no lock of theirs
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

LIMIT = 10.0


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory.create(str(tmp_path / "run"))
    made.open_worker_group(POOL)
    return made


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=1, directory=tmp_path / "runs") as made:
        yield made


def ends(task: Callable[[], object]) -> bool:
    """Whether something comes to its end, in a thread of its own."""
    thread = threading.Thread(target=task, daemon=True)
    thread.start()
    thread.join(LIMIT)
    return not thread.is_alive()


# -- threads --------------------------------------------------------------------------


def test_a_finalizer_that_runs_where_the_events_is_locked() -> None:
    """Garbage is collected in any thread, at any moment: an executor may be among it."""
    events = EventQueue()

    def collect() -> None:
        with events.lock:
            events.advance(Phase.DRAINING)

    assert ends(collect)
    assert events.phase is Phase.DRAINING
    assert events.take(LIMIT) == [], "the reader looks at the phase"


def test_a_map_that_is_collected_while_its_chunk_is_written(run: RunDirectory) -> None:
    events = EventQueue()
    out = Effects(run, events, None, None, 0.0)  # type: ignore[arg-type]
    chunk = Chunk(POOL, None, 0, print, "f", b"data", None, 1)  # type: ignore[arg-type]
    state, file = BinState(1, POOL, [chunk]), QueueFile(POOL)
    bin_slice = BinSlice(0, 1, 1)
    bin_slice.file = file
    taken = list[bool]()

    def publish() -> None:
        out.place_work([chunk], file)
        taken.append(Client.take_back(SimpleNamespace(events=events, run=run), chunk))  # type: ignore[arg-type]
        out.publish(state, bin_slice)

    assert ends(publish)
    assert taken == [False]
    assert run.queued(POOL) == [file.name]


def test_a_callback_may_wait_for_who_asks_for_the_state(executor: LocalExecutor) -> None:
    future, answers = ClusterFuture[int](), list[bool]()
    future.add_done_callback(lambda _: answers.append(ends(future.done)))
    assert future.cancel()
    assert answers == [True]


class EndsMeanwhile(ClusterFuture[int]):
    """It is completed between two looks of another thread: at its owner, and at its call."""

    looks = 0

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in ("_owner", "_call") and found is not None:
            self.looks += 1
            if self.looks == 1:
                self.resolve(3, None)
        return found


@pytest.mark.parametrize("end", [ClusterFuture.cancel, ClusterFuture.kill])
def test_a_call_that_ends_while_its_end_is_asked_for(end: Callable[[Any], bool]) -> None:
    asked = list[Any]()
    owner: Any = SimpleNamespace(take_back=lambda call: asked.append(call), kill=lambda call: asked.append(call))
    future = EndsMeanwhile()
    future.belongs_to(owner, "call")
    assert not end(future)
    assert asked in ([], ["call"])
    assert future.result(0) == 3


def test_a_thread_that_unpickles_for_long_does_not_hold_up_a_limit() -> None:
    future, go_on, begun = ClusterFuture[int](), threading.Event(), threading.Event()

    def decode() -> tuple[int, None]:
        begun.set()
        go_on.wait(LIMIT)
        return 1, None

    future.resolve_later(decode, False)
    first = threading.Thread(target=future.result)
    first.start()
    assert begun.wait(LIMIT)
    try:
        with pytest.raises(TimeoutError):
            future.result(0.01)
    finally:
        go_on.set()
        first.join(LIMIT)
    assert future.result(0) == 1


def test_two_threads_complete_a_future(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that fails, and the manager that fails everything."""
    future = ClusterFuture[int]()
    original = future.set_exception

    def later(error: BaseException) -> None:
        monkeypatch.undo()
        future.resolve(1, None)
        original(error)

    monkeypatch.setattr(future, "set_exception", later)
    future.resolve(None, RuntimeError("too late"))
    assert future.result(0) == 1


# -- callbacks and parts that fail ----------------------------------------------------------


def test_an_exit_in_a_callback_ends_nothing(executor: LocalExecutor, caplog: pytest.LogCaptureFixture) -> None:
    future = executor.submit(time.sleep, 0.05)
    future.add_done_callback(lambda _: sys.exit(1))
    needs_it = executor.submit(repr, future)
    assert needs_it.result(LIMIT) == "None"
    assert "exception calling callback" in caplog.text
    assert executor.submit(abs, -1).result(LIMIT) == 1


def test_a_defect_of_ours_ends_all_that_there_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is met once: the jobs are ended, the files removed, and who comes later is told what happened."""
    executor = LocalExecutor(max_workers=1, directory=tmp_path / "runs")
    future = executor.submit(time.sleep, 30)
    client = executor._client
    client.events.post(Kill(None))  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="the thread that collects results failed"):
        future.result(LIMIT)
    executor.shutdown()
    assert "the end of a run failed" not in caplog.text
    for _ in range(2):
        with pytest.raises(StoreError, match="takes no others") as raised:
            executor.submit(abs, -1)
        assert len(raised.traceback) < 6, "of this time alone"
    assert not list((tmp_path / "runs").iterdir())
    assert all(job.process.poll() is not None for job in client._scheduler._jobs.values())  # type: ignore[attr-defined]


def test_one_that_cannot_be_read_later_harms_no_other(executor: LocalExecutor) -> None:
    """At the end what is lazy is read: each by itself."""
    futures = [executor.submit(print, "x" * 100_000) for _ in range(3)]
    wait(futures, LIMIT)
    futures[1].fetch = lambda: 1 / 0  # type: ignore[method-assign, return-value]
    executor.shutdown()
    assert [len(future.output()) for future in futures[::2]] == [100_001] * 2


# -- the end --------------------------------------------------------------------------


def test_a_call_submitted_at_the_moment_of_terminate_workers(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread comes before the phase changes: its call is cancelled like those before."""
    late = list[ClusterFuture[int]]()
    executor.submit(abs, -1).result(LIMIT)
    events = executor._client.events
    advance = events.advance

    def interleaved(*arguments: Any) -> None:
        if not late:
            late.append(executor.submit(abs, -1))
        advance(*arguments)

    monkeypatch.setattr(events, "advance", interleaved)
    executor.terminate_workers()
    assert wait(late, LIMIT).done


@pytest.mark.parametrize("verb", ["submit", "map"])
def test_a_call_that_is_overtaken_by_shutdown(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """It was let in; when it is pickled, the run directory has gone with its run."""
    assert executor.submit(abs, -1).result(LIMIT) == 1
    pickler = executor._client._pickler
    original = pickler.function

    def overtaken(function: Any) -> str:
        executor.shutdown()
        return original(function)

    monkeypatch.setattr(pickler, "function", overtaken)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        getattr(executor, verb)(lambda numbers: numbers, [1])


def test_a_first_call_while_the_interpreter_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has been let in, and the end has looked for executors already: nobody would end this one."""
    executor, before = LocalExecutor(directory=tmp_path / "runs"), set(threading.enumerate())
    original = clients.open_run

    def slow(*arguments: Any) -> Any:
        monkeypatch.setattr(client_client, "_exiting", True)
        return original(*arguments)

    monkeypatch.setattr(clients, "open_run", slow)
    with pytest.raises(RuntimeError, match="interpreter shutdown"):
        executor.submit(abs, -1)
    assert not list((tmp_path / "runs").iterdir())
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("clusterfutures")]


def test_a_forked_child_has_no_part_in_it(executor: LocalExecutor) -> None:
    """It can submit nothing, take back nothing, and ends without waiting for the parent's threads."""
    blocked = [executor.submit(time.sleep, 0.2) for _ in range(2)]
    child = os.fork()
    if not child:
        status = 1
        try:
            executor.submit(abs, -1)
        except RuntimeError as error:
            client_client._drain_all()
            status = 0 if "forked" in str(error) and not blocked[1].cancel() else 2
        finally:
            os._exit(status)
    deadline = time.monotonic() + LIMIT
    while not (over := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(over[1]) == 0
    assert [future.result(LIMIT) for future in blocked] == [None, None]


# -- files ----------------------------------------------------------------------------


def test_a_late_segment_holds_back_what_its_worker_told_after_it() -> None:
    seen, late = list[str](), {"0001-0-0~00000001"}
    found = ["0001-0-0~00000001", "0001-0-0~00000002", "0001-1-0~00000001"]

    def read(name: str) -> memoryview:
        if name in late:
            raise FileNotFoundError(name)
        seen.append(name)
        return memoryview(b"")

    run: Any = SimpleNamespace(
        new_segments=lambda: [name for name in found if name not in seen], read_segment=read, path="/run",
        files=SimpleNamespace(publish=lambda *_: None, discard=lambda _: None),
    )  # fmt: skip
    registry: Any = SimpleNamespace(
        workers={}, visibility_timeout=1.0, knows_batch=lambda _: True, worker=lambda _: None
    )  # fmt: skip
    reader = ResultCollector(run, Bench().dispatcher, registry, print)
    reader.look(0.0)
    assert seen == found[2:]
    late.clear()
    reader.look(1.0)
    assert seen == [*found[2:], *found[:2]]


def test_what_has_not_been_read_yet_has_not_vanished() -> None:
    """The calls of a job whose submission has no answer yet: they stand in its segments."""
    run: Any = SimpleNamespace(new_segments=lambda: ["0001-0-0~00000001"], path="/run")
    bench, known, asked = Bench(), set[str](), list[float]()
    registry: Any = SimpleNamespace(workers={}, visibility_timeout=1.0, knows_batch=known.__contains__)
    reader = ResultCollector(run, bench.dispatcher, registry, print)
    reader._vanished.look = asked.append  # type: ignore[method-assign]
    reader.look(0.0)
    assert asked == []
    run.new_segments = list
    reader.look(1.0)
    assert asked == [1.0]


@pytest.mark.parametrize("blamed", [False, True])
def test_a_bin_that_has_vanished_fails_its_calls(run: RunDirectory, blamed: bool) -> None:
    bench, error = Bench(max_workers=2), StoreError(message="a segment is damaged")
    lost, claimed, waits = bench.submit(3)
    bench.dispatcher.advance(0.0)
    _, second, third = bench.queue
    (worker,) = bench.hire(1)
    care = LostBinDetector(run, bench.dispatcher, 30.0)
    for name in (second, third):
        run.publish_bin(POOL, Bin(*names.parse_bin(name), CALLS, 1, [], b""))  # type: ignore[misc]
    Path(run.check_in_path(worker.name)).mkdir()
    run.files.take(f"{run.path}/{names.QUEUE}/{POOL}/{second}", f"{run.check_in_path(worker.name)}/{second}")
    if blamed:
        care.blame(POOL, error)
    patience = collector.BLAMED_SECONDS if blamed else 30.0
    for now in (0.0, patience):
        care.look(now)
        assert not lost.outcomes
    care.look(patience + 2.0)
    assert (str(lost.results[0]) == str(error)) if blamed else ("has vanished" in str(lost.results[0]))
    assert (claimed.outcomes, waits.outcomes) == ([], [])
    assert bench.dispatcher.unsettled == 2


def test_the_directories_of_workers_are_left_alone_while_bins_are_being_claimed(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, asked = Bench(), list[float]()
    bench.submit(1)
    bench.dispatcher.advance(0.0)
    bench.hire(1)
    monkeypatch.setattr(run, "launched", lambda: asked.append(now) or [])
    care = LostBinDetector(run, bench.dispatcher, 30.0)
    for now in (0.0, collector.SUSPICIOUS_SECONDS, collector.SUSPICIOUS_SECONDS + 1.5):
        care.look(now)
    assert asked == [collector.SUSPICIOUS_SECONDS + 1.5]


def test_nobody_asks_for_vanished_bins_while_all_are_busy(run: RunDirectory) -> None:
    bench = Bench()
    bench.submit(2)
    bench.dispatcher.advance(0.0)
    (worker,) = bench.hire(1)
    bench.begin(worker)
    care = LostBinDetector(run, bench.dispatcher, 1.0)
    for now in (0.0, 2.0, 4.0):
        care.look(now)
    assert bench.dispatcher.unsettled == 2


def test_a_worker_of_whom_something_is_lost_works_on_and_runs_nothing_twice() -> None:
    bench, error = Bench(), StoreError(message="a segment is damaged")
    chunk = bench.submit_chunk(6)
    other = bench.submit_chunk(2)
    bench.dispatcher.advance(0.0)
    worker, _ = bench.hire(2)
    bin_id = bench.begin(worker)
    bench.settle(worker, bin_id)
    claimed = bench.claim()
    bench.dispatcher.distrust(worker, [names.Claimed(*claimed, claimed[1])], lambda _call: error)
    bench.dispatcher.advance(1.0)
    assert chunk.results == ["value", *[error] * 5]
    assert other.results == [error] * 2
    assert (bench.queue, bench.dispatcher.unsettled, worker.busy) == ([], 0, 0)
    assert worker in bench.worker_group.live()
    bench.settle(worker, bin_id, 1)
    (call,) = bench.submit(1, now=2.0)
    bench.dispatcher.advance(3.0)
    bench.settle(worker, bench.begin(worker))
    assert call.results == ["value"]
