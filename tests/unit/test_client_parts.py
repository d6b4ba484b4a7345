"""The parts of the client, each by itself: what is pickled and when again, the event queue, a map's
bookkeeping, futures, exceptions, the sizes of bins.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import gc
import io
import itertools
import marshal
import os
import pickle
import sys
import threading
import time
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
from test_dispatcher_moves import POOL, Bench, NotedCall

from clusterfutures import binning, errors
from clusterfutures.client import results as client_results
from clusterfutures.client.bin_meta import BinMeta, Row
from clusterfutures.client.client import Client
from clusterfutures.client.events import EventQueue, Phase
from clusterfutures.client.manager import ManagerThread
from clusterfutures.client.map import MapResults, Plan, chunked
from clusterfutures.client.results import Place
from clusterfutures.client.resume.history import Earlier, EarlierBin
from clusterfutures.client.scheduler_thread import Explained, Seen, Submitted
from clusterfutures.client.serialize import FunctionSnapshot, Pickled, Pickler
from clusterfutures.client.state import DurationEstimate
from clusterfutures.client.tasks import Chunk, name_of
from clusterfutures.errors import ClusterError, RemoteTraceback, StoreError, TransferError
from clusterfutures.futures import ClusterFuture
from clusterfutures.node import deserialize
from clusterfutures.node.deserialize import Loader
from clusterfutures.node.process import packed_error
from clusterfutures.store import records
from clusterfutures.store.bins import CHUNK, CallHead, Extras
from clusterfutures.store.records import Record
from clusterfutures.store.run_directory import LARGE_BYTES, RunDirectory

LIMIT = 10.0
HERE = Place("node7", "4711")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(str(tmp_path / "run"))


def program(source: str, **variables: Any) -> dict[str, Any]:
    """The namespace of a program, as ``__main__`` has one: its functions are pickled by value."""
    namespace: dict[str, Any] = {"__name__": "__main__", **variables}
    exec(source, namespace)
    return namespace


# -- snapshots ------------------------------------------------------------------------


@pytest.mark.parametrize("function", [len, os.getcwd, Path, copy.copy, dict.fromkeys])
def test_what_can_be_imported_never_changes(function: Any) -> None:
    snapshot = FunctionSnapshot.of(function)
    if snapshot is not None:
        assert snapshot.holds()
    if function in (len, Path, copy.copy):
        assert snapshot is not None


def test_a_global_that_changes() -> None:
    main = program("def f(): return x", x=1)
    snapshot = FunctionSnapshot.of(main["f"])
    assert snapshot is not None
    assert snapshot.holds()
    main["x"] = 2
    assert not snapshot.holds()
    main["x"] = 1
    assert snapshot.holds()
    del main["x"]
    assert not snapshot.holds()


def test_a_global_that_comes_later_and_one_behind_a_builtin() -> None:
    main = program("def f(): return len(y)")
    snapshot = FunctionSnapshot.of(main["f"])
    assert snapshot is not None
    main["y"] = "text"
    assert not snapshot.holds()
    snapshot = FunctionSnapshot.of(main["f"])
    assert snapshot is not None
    main["len"] = max
    assert not snapshot.holds()


def test_a_global_of_an_inner_function() -> None:
    main = program("def f():\n def inner(): return [x for _ in range(3)]\n return inner()", x=1)
    snapshot = FunctionSnapshot.of(main["f"])
    assert snapshot is not None
    main["x"] = 2
    assert not snapshot.holds()


def test_a_function_that_another_calls() -> None:
    main = program("def g(): return x\ndef f(): return g()", x=1)
    snapshot = FunctionSnapshot.of(main["f"])
    assert snapshot is not None
    main["x"] = 2
    assert not snapshot.holds()


def test_functions_that_call_each_other() -> None:
    main = program("def f(n): return n and g(n - 1)\ndef g(n): return f(n)")
    snapshot = FunctionSnapshot.of(main["f"])
    assert snapshot is not None
    assert snapshot.holds()
    main["g"] = main["f"]
    assert not snapshot.holds()


def test_a_closure_that_changes() -> None:
    number = 1

    def f() -> int:
        return number

    snapshot = FunctionSnapshot.of(f)
    assert snapshot is not None
    assert snapshot.holds()
    number = 2
    assert not snapshot.holds()


def test_a_variable_of_a_closure_that_is_deleted() -> None:
    number = 1

    def f() -> int:
        return number

    snapshot = FunctionSnapshot.of(f)
    assert snapshot is not None
    del f.__closure__[0].cell_contents  # type: ignore[index]
    assert not snapshot.holds()


def test_defaults_code_and_attributes_that_change() -> None:
    def changed(change: Callable[[Any], None]) -> bool:
        def f(a: int = 1) -> int:
            return a

        snapshot = FunctionSnapshot.of(f)
        assert snapshot is not None
        assert snapshot.holds()
        change(f)
        return not snapshot.holds()

    assert changed(lambda f: setattr(f, "__defaults__", (2,)))
    assert changed(lambda f: setattr(f, "__kwdefaults__", {"a": 2}))
    assert changed(lambda f: setattr(f, "__code__", (lambda a=1: 2).__code__))
    assert changed(lambda f: setattr(f, "note", "text"))


class Instance:
    """Something that may change without becoming something else."""


@pytest.mark.parametrize(
    "value", [[1], {}, {1}, Instance(), bytearray(), io.StringIO(), [].append, functools.partial(max, 1)]
)
def test_what_may_change_unseen_has_no_snapshot(value: Any) -> None:
    assert FunctionSnapshot.of(program("def f(): return x", x=value)["f"]) is None
    assert FunctionSnapshot.of(lambda: value) is None
    assert FunctionSnapshot.of(lambda x=value: x) is None


def test_functions_that_may_change_unseen() -> None:
    main = program("class C:\n items = []\n def __call__(self): pass\ndef f(): return C()\ndef g(*, x=[]): pass")
    for function in (main["f"], main["g"], main["C"], main["C"](), functools.partial(max, 1), [].append):
        assert FunctionSnapshot.of(function) is None


def test_a_module_made_by_hand_has_no_snapshot() -> None:
    """cloudpickle pickles it by value: what is in it may change unseen."""
    made = types.ModuleType("made_by_hand")
    assert FunctionSnapshot.of(program("def f(): return m.x", m=made)["f"]) is None
    assert FunctionSnapshot.of(program("def f(): return m.x", m=os)["f"]) is not None


WHO_IS_THERE = [1]


def who_is_there() -> list[int]:
    return WHO_IS_THERE


def test_a_module_that_was_registered_has_no_snapshot() -> None:
    module = sys.modules[__name__]
    assert FunctionSnapshot.of(who_is_there) is not None
    cloudpickle.register_pickle_by_value(module)
    try:
        assert FunctionSnapshot.of(program("def f(): return m.x", m=module)["f"]) is None
        assert FunctionSnapshot.of(who_is_there) is None
    finally:
        cloudpickle.unregister_pickle_by_value(module)


# -- pickling -------------------------------------------------------------------------


class Block:
    """What a NumPy array is to a pickle: a buffer that may stand outside of it."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        return Block, (pickle.PickleBuffer(self.data),)


def stored(run: RunDirectory) -> int:
    return len(os.listdir(f"{run.path}/objects"))


def loaded(run: RunDirectory, pickled: Pickled, function: str = "") -> Any:
    return Loader(run, 1.0).arguments(CallHead(function, len(pickled.data), pickled.extras), pickled.data)


def test_the_same_function_is_written_once(run: RunDirectory) -> None:
    pickler = Pickler(run)
    keys = {pickler.function(program("def f(a): return a + 1")["f"]) for _ in range(3)}
    assert len(keys) == stored(run) == 1
    (key,) = keys
    assert Loader(run, 1.0).function(key)(41) == 42


def test_a_function_that_changed_is_written_again(run: RunDirectory) -> None:
    pickler, main, seen = Pickler(run), program("def f(): return x[0]", x=[1]), []
    for number in (1, 2, 2):
        main["x"][0] = number
        seen.append(pickler.function(main["f"]))
    assert seen[0] != seen[1] == seen[2]
    assert [Loader(run, 1.0).function(key)() for key in seen] == [1, 2, 2]


def test_a_function_is_not_taken_for_a_dead_one_of_the_same_id(run: RunDirectory) -> None:
    pickler = Pickler(run)
    for number in range(50):
        key = pickler.function(eval(f"lambda: {number}"))
        assert Loader(run, 1.0).function(key)() == number


def test_a_process_does_not_keep_all_functions_that_it_has_ever_had(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may hold much data; the one that is used all the time stays, and what it has made in its globals."""

    def holding(number: int) -> str:
        return pickler.function(program("def f(): return x", x=[number] * 20_000)["f"])

    pickler, loader = Pickler(run), Loader(run, 1.0)
    used_always = pickler.function(program("def f(): return 1")["f"])
    first = loader.function(used_always)
    monkeypatch.setattr(deserialize, "_MOST_BYTES", 300_000)
    held = []
    for number in range(20):
        held.append(weakref.ref(loader.function(holding(number))))
        assert loader.function(used_always) is first
    gc.collect()
    assert 1 <= sum(one() is not None for one in held) <= 300_000 // 40_000
    assert held[-1]() is not None
    monkeypatch.setattr(deserialize, "_MOST_FUNCTIONS", 2)
    assert loader.function(holding(20))() == [20] * 20_000
    gc.collect()
    assert not any(one() for one in held)


def test_a_buffer_that_comes_again_is_compared_and_not_hashed(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickler, content = Pickler(run), bytearray(range(256)) * (LARGE_BYTES // 256) + b"odd"
    array = Block(content)
    first = pickler.arguments(((array,), {}), len).extras
    monkeypatch.setattr(pickler, "_store", lambda _pieces: "stored anew")
    assert pickler.arguments(((array,), {}), len).extras == first
    for changed in (len(content) // 2, len(content) - 1, 0):
        content[changed] ^= 1
        extras = pickler.arguments(((array,), {}), len).extras
        assert extras is not None
        assert extras.buffers == ("stored anew",), f"byte {changed} had changed"
        content[changed] ^= 1
    pickler.forget()
    extras = pickler.arguments(((array,), {}), len).extras
    assert extras is not None
    assert extras.buffers == ("stored anew",)


def test_large_buffers_are_written_once_and_stand_outside(run: RunDirectory) -> None:
    pickler, array = Pickler(run), Block(bytearray(range(256)) * (LARGE_BYTES // 256))
    first = pickler.arguments(((array,), {}), sum)
    second = pickler.arguments(((Block(array.data), 2), {}), sum)
    assert stored(run) == 1
    assert len(first.data) < 1000
    (found,), _ = loaded(run, first)
    assert found.data == array.data
    found.data[0] = 7
    assert loaded(run, second)[0][0].data[0] == 0, "each call has memory of its own, which it may change"


def test_a_large_pickle_stands_outside_too(run: RunDirectory) -> None:
    text = "x" * (LARGE_BYTES + 1)
    pickled = Pickler(run).arguments(((text,), {}), len)
    assert pickled.data == b""
    assert loaded(run, pickled) == ((text,), {})


def test_small_arguments_touch_no_file(run: RunDirectory) -> None:
    pickled = Pickler(run).arguments(((Block(b"small"), "x"), {}), len)
    assert (pickled.extras, pickled.futures, stored(run)) == (None, (), 0)


def test_futures_are_replaced_however_deep(run: RunDirectory) -> None:
    pickler, first, second = Pickler(run), Future[Any](), ClusterFuture[Any]()
    pickled = pickler.arguments((({"a": [first, {"b": second}]}, first), {"c": (second,)}), len)
    assert set(pickled.futures) == {first, second}
    results = {first: "one", second: Block(b"x" * LARGE_BYTES)}
    dependencies = tuple(pickler.result(results[future], len) for future in pickled.futures)
    extras = pickled._replace(extras=(pickled.extras or Extras("", (), ()))._replace(dependencies=dependencies))
    (deep, again), keywords = loaded(run, extras)
    assert deep["a"][0] == again == "one"
    assert deep["a"][1]["b"].data == keywords["c"][0].data == b"x" * LARGE_BYTES


def test_what_cannot_be_pickled_is_said_with_its_function(run: RunDirectory) -> None:
    lock = threading.Lock()
    with pytest.raises(TransferError, match=r"an argument of os\.path\.join|posixpath\.join.*lock") as caught:
        Pickler(run).arguments(((lock,), {}), os.path.join)
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(TransferError, match=r"the function .*<lambda> cannot be pickled.*lock"):
        Pickler(run).function(lambda: lock)
    with pytest.raises(TransferError, match=r"the initializer "):
        Pickler(run).initializer(print, (lock, (n for n in [1])))  # the lock alone would be a new one there
    assert stored(run) == 0


def test_a_pickle_that_fails_half_way_is_forgotten(run: RunDirectory) -> None:
    pickler = Pickler(run)
    with pytest.raises(TransferError):
        pickler.arguments(((Block(bytes(LARGE_BYTES)), threading.Lock()), {}), sum)
    assert stored(run) == 0


def test_many_threads_write_an_object_once(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    original = run.write_object
    monkeypatch.setattr(run, "write_object", lambda key, pieces: (written.append(key), original(key, pieces)))
    pickler, array = Pickler(run), Block(bytes(LARGE_BYTES))
    threads = [threading.Thread(target=pickler.arguments, args=(((array,), {}), sum)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert len(written) == 1


# -- exceptions that come back --------------------------------------------------------


class Unpicklable(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Forgetful(Exception):
    """Pickles well, and cannot be made again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("text of it")


class Textless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """Refuses every assignment."""


class Evasive(Exception):
    """Has no attribute that it does not know, and says so in its own way."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


def brought_back(error: BaseException, run: RunDirectory) -> BaseException:
    try:
        raise error
    except BaseException as raised:
        body = packed_error(raised)
    record = next(records.records(memoryview(records.pack(records.ERROR, 1, 0, 1, body))))
    found = client_results.decode(record, run, HERE, "the call", 0.0).error
    assert found is not None
    assert "brought_back" in str(found.__cause__), "the remote traceback"
    return found


def test_an_exception_comes_back_as_itself(run: RunDirectory) -> None:
    found = brought_back(KeyError("key"), run)
    assert (type(found), found.args) == (KeyError, ("key",))
    assert isinstance(brought_back(SystemExit(3), run), SystemExit)


@pytest.mark.parametrize("error", [Unpicklable("text of it"), Forgetful(1, 2)])
def test_an_exception_that_cannot_come_back_is_told_of(run: RunDirectory, error: Exception) -> None:
    found = brought_back(error, run)
    assert isinstance(found, TransferError)
    assert type(error).__name__ in str(found)
    assert "text of it" in str(found)


def test_an_exception_that_refuses_assignments(run: RunDirectory) -> None:
    assert isinstance(brought_back(Frozen(), run), Frozen)


def test_an_exception_with_attributes_of_its_own(run: RunDirectory) -> None:
    record = records.pack(records.ERROR, 1, 0, 1, packed_error(Evasive("the text")))
    found = client_results.decode(next(records.records(memoryview(record))), run, HERE, "the call", 0.0).error
    assert isinstance(found, Evasive | TransferError)
    assert "the text" in str(found)


def test_an_exception_without_a_text(run: RunDirectory) -> None:
    assert isinstance(brought_back(Textless(), run), Textless)


class Strange:
    """A callable whose attributes are entries of its own."""

    def __call__(self, number: int) -> int:
        return number

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


def test_a_callable_that_knows_no_attribute_errors(run: RunDirectory) -> None:
    assert Pickler(run).function(Strange())
    assert name_of(Strange()) == "test_client_parts.Strange"


# -- what earlier programs left ---------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
def test_a_row_of_results_is_taken_apart_once(run: RunDirectory, monkeypatch: pytest.MonkeyPatch, plain: bool) -> None:
    """A map that is run again asks for one after the other, and there may be a million."""
    values: list[Any] = list(range(1000)) if plain else [[n] for n in range(1000)]
    data = [marshal.dumps(value, records.PLAIN_FORMAT) if plain else pickle.dumps(value, 5) for value in values]
    lengths = b"" if plain else b"".join(len(one).to_bytes(4, sys.byteorder) for one in data)
    body = memoryview(b"".join(data) + lengths)
    row = Row(range(1000), "f")
    where = EarlierBin(1, BinMeta(CHUNK, POOL, 1, [row]))
    apart, verb = list[Record](), "plain_values" if plain else "singly"
    original = getattr(records, verb)
    monkeypatch.setattr(records, verb, lambda record: (apart.append(record), original(record))[1])
    record = Record(records.VALUES, records.PLAIN if plain else 0, 1, 0, 1000, body)
    for index, value in enumerate(values):
        call = Earlier(index, row, where, index)
        call.record, call.place = record, HERE
        future = call.recall(run)
        assert (future.result(0), future.host) == (value, HERE.host)
    assert len(apart) == 1


# -- the event queue ------------------------------------------------------------------------


def test_what_was_accepted_before_the_end_is_handled() -> None:
    """Threads submit while another one closes: what they were told is what the reader gets."""
    events, accepted, gate = EventQueue(), list[int](), threading.Barrier(5)

    def submit(base: int) -> None:
        gate.wait(LIMIT)
        for number in itertools.count(base):
            if not events.submit(number):
                return
            accepted.append(number)

    threads = [threading.Thread(target=submit, args=(1_000_000 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    gate.wait(LIMIT)
    taken = list[int]()
    while len(taken) < 1000:
        taken += events.take(LIMIT)
    events.advance(Phase.DRAINING)
    for thread in threads:
        thread.join(LIMIT)
    taken += events.take(0)
    assert sorted(taken) == sorted(accepted)


def test_after_the_end_only_news_is_accepted() -> None:
    events = EventQueue()
    events.advance(Phase.DRAINING)
    assert not events.submit("work")
    events.post("news")
    assert events.take(0) == ["news"]


def test_phases_go_one_way_and_the_first_cause_stays() -> None:
    events, first = EventQueue(), RuntimeError("first")
    events.advance(Phase.CLOSED, first)
    events.advance(Phase.DRAINING, RuntimeError("second"))
    assert (events.phase, events.cause) == (Phase.CLOSED, first)


def test_take_waits_for_a_first_item_and_no_longer() -> None:
    events = EventQueue()
    before = time.monotonic()
    assert events.take(0) == []
    assert events.take(0.05) == []
    assert 0.05 <= time.monotonic() - before < LIMIT / 2
    events.post(1)
    events.post(2)
    assert events.take(None) == [1, 2]


@pytest.mark.parametrize("wake", [lambda events: events.post(1), lambda events: events.advance(Phase.DRAINING)])
def test_a_sleeping_reader_is_woken(wake: Callable[[EventQueue], None]) -> None:
    events, taken = EventQueue(), list[Any]()
    reader = threading.Thread(target=lambda: taken.append(events.take(LIMIT)))
    reader.start()
    while not events._asleep and reader.is_alive():
        time.sleep(0.001)
    wake(events)
    reader.join(LIMIT / 2)
    assert not reader.is_alive()
    assert len(taken) == 1


def test_a_phase_that_changes_before_the_reader_sleeps_keeps_it_awake() -> None:
    events = EventQueue()
    events.advance(Phase.DRAINING)
    reader = threading.Thread(target=events.take, args=[LIMIT])
    reader.start()
    reader.join(LIMIT / 2)
    assert not reader.is_alive()


# -- map ------------------------------------------------------------------------------


class Sent:
    """Chunks that were sent, and the workers' side of them.  at_once: they answer before ``send`` returns."""

    def __init__(self) -> None:
        self.chunks: dict[int, list[tuple[Any, ...]]] = {}
        self.cancelled: list[int] = []
        self.mapping: MapResults
        self.at_once = False

    def send(self, mapping: MapResults, number: int, arguments: list[tuple[Any, ...]]) -> Any:
        self.mapping = mapping
        self.chunks[number] = arguments
        if self.at_once:
            self.deliver(number)
        return SimpleNamespace(
            name="the call", count=len(arguments), number=number, said_of=lambda index, _arguments="": f"call {index}"
        )

    def cancel(self, chunk: Any) -> None:
        self.cancelled.append(chunk.number)

    def deliver(self, number: int, first: int = 0, stop: int | None = None) -> None:
        """The calls return their first arguments."""
        values = [arguments[0] for arguments in self.chunks[number]][first:stop]
        data = [pickle.dumps(value) for value in values]
        lengths = b"".join(len(one).to_bytes(4, sys.byteorder) for one in data)
        body = memoryview(b"".join(data) + lengths)
        self.mapping.deliver(number, Record(records.VALUES, 0, 1, first, len(values), body), HERE)

    def deliver_error(self, number: int, first: int, error: BaseException) -> None:
        body = memoryview(packed_error(error))
        self.mapping.deliver(number, Record(records.ERROR, 0, 1, first, 1, body), HERE)


def mapped(sent: Sent, arguments: Any, chunksize: int = 3, buffersize: int | None = None) -> MapResults:
    plan = Plan(2, chunksize, None, buffersize)
    chunks = chunked((arguments,), plan, False)
    sent.mapping = MapResults(chunks, sent.send, sent.cancel, RunDirectory("/nowhere"), 0.0, buffersize)
    return sent.mapping


def test_arguments_become_chunks() -> None:
    plan = Plan(2, 2, None, None)
    assert list(chunked(("abc", itertools.count()), plan, False)) == [[("a", 0), ("b", 1)], [("c", 2)]]
    assert list(chunked(([(1, 2), [3]],), plan, True)) == [[(1, 2), (3,)]]
    assert list(chunked(((),), plan, False)) == []
    sizes = [len(chunk) for chunk in chunked((range(100),), Plan(2, None, None, None), False)]
    assert (sum(sizes), len(sizes)) == (100, 2 * binning.BINS_PER_SLOT)
    assert [len(chunk) for chunk in chunked((iter(range(10)),), Plan(2, None, 3, None), False)] == [4, 3, 3]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_values_in_order_whatever_comes_first(order: tuple[int, ...]) -> None:
    sent = Sent()
    mapping = mapped(sent, range(8))
    for number in order:
        sent.deliver(number)
    assert list(mapping.values(True, None)) == list(range(8))
    assert sent.cancelled == []


def test_values_as_they_come() -> None:
    sent = Sent()
    mapping = mapped(sent, range(8))
    for number in (2, 0, 1):
        sent.deliver(number)
    assert list(mapping.values(False, None)) == [6, 7, 0, 1, 2, 3, 4, 5]


class Guess:
    """An iterable whose length is a guess, as that of a progress bar is; or none, though it has the method."""

    def __init__(self, length: Any) -> None:
        self.length = length

    def __len__(self) -> Any:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return iter(range(5))


@pytest.mark.parametrize("length", [0, 2, 5, 100, None])
def test_a_length_decides_how_arguments_are_divided_and_nothing_else(length: int | None) -> None:
    for plan in (Plan(2, None, None, None), Plan(2, 2, None, None), Plan(2, None, 2, None)):
        found = [row for chunk in chunked((Guess(length),), plan, False) for row in chunk]
        assert found == [(n,) for n in range(5)]
    assert [*chunked((), Plan(2, None, None, None), False)] == []


@pytest.mark.parametrize("ordered", [True, False])
def test_calls_that_fail_beside_those_of_an_earlier_program(ordered: bool) -> None:
    """Of a chunk, the first call was made before: the others fail, and nobody waits for them."""
    sent, known = Sent(), ClusterFuture[int]()
    known.resolve(10, None)
    mapping = mapped(sent, range(3))
    mapping.borrow(0, 0, known)
    chunk = Chunk(POOL, mapping, 0, print, "f", b"", None, 3)
    chunk.skip = bytes([1, 0, 0])
    chunk.fail(0, 3, StoreError(message="no space"))
    values = mapping.values(ordered, 0.5)
    assert next(values) == 10
    with pytest.raises(StoreError, match="no space"):
        next(values)


def test_parts_of_a_chunk_in_any_order() -> None:
    for ordered in (True, False):
        sent = Sent()
        mapping = mapped(sent, range(6), chunksize=6)
        for first, stop in ((4, 6), (0, 1), (1, 4)):
            sent.deliver(0, first, stop)
        found = list(mapping.values(ordered, None))
        assert found == (list(range(6)) if ordered else [4, 5, 0, 1, 2, 3])


def test_values_before_their_chunk_is_complete() -> None:
    sent = Sent()
    values = mapped(sent, range(6)).values(True, LIMIT)
    sent.deliver(0, 0, 2)
    assert [next(values), next(values)] == [0, 1]
    threading.Timer(0.02, sent.deliver, (0, 2, 3)).start()
    assert next(values) == 2


@pytest.mark.parametrize("ordered", [True, False])
def test_an_error_ends_the_iteration_and_takes_back_the_rest(ordered: bool) -> None:
    sent = Sent()
    values = mapped(sent, range(9)).values(ordered, LIMIT)
    sent.deliver(0, 0, 1)
    sent.deliver_error(0, 1, ValueError("of the call"))
    assert next(values) == 0
    with pytest.raises(ValueError, match="of the call"):
        next(values)
    assert set(sent.cancelled) == {0, 1, 2}
    with pytest.raises(StopIteration):
        next(values)


@pytest.mark.parametrize("ordered", [True, False])
def test_calls_that_will_have_no_result(ordered: bool) -> None:
    sent = Sent()
    mapping = mapped(sent, range(6))
    mapping.refuse(0, 0, 3, RuntimeError("job failed"))
    with pytest.raises(RuntimeError, match="job failed"):
        next(mapping.values(ordered, LIMIT))


@pytest.mark.parametrize("ordered", [True, False])
def test_a_chunk_that_is_cancelled(ordered: bool) -> None:
    sent = Sent()
    mapping = mapped(sent, range(6))
    sent.deliver(0)
    mapping.cancelled(1)
    values = mapping.values(ordered, LIMIT)
    assert list(itertools.islice(values, 3)) == [0, 1, 2]
    with pytest.raises(CancelledError):
        next(values)


@pytest.mark.parametrize("ordered", [True, False])
def test_time_runs_out(ordered: bool) -> None:
    sent = Sent()
    values = mapped(sent, range(6)).values(ordered, 0.05)
    sent.deliver(0)
    before = time.monotonic()
    assert list(itertools.islice(values, 3)) == [0, 1, 2]
    with pytest.raises(TimeoutError):
        next(values)
    assert time.monotonic() - before < LIMIT / 2
    assert sent.cancelled == [1]


def test_leaving_early_takes_back_the_rest() -> None:
    sent = Sent()
    values = mapped(sent, range(9)).values(True, LIMIT)
    sent.deliver(0)
    assert next(values) == 0
    values.close()  # type: ignore[attr-defined]
    assert sent.cancelled == [0, 1, 2]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("buffersize", "chunksize"), [(1, 1), (10, 3), (11, 5), (7, 7), (5, 100), (64, 1)])
def test_a_buffer_bounds_what_is_out(ordered: bool, buffersize: int, chunksize: int) -> None:
    """Of an endless iterable never more is taken than ``buffersize`` beyond what was yielded."""
    sent, most, taken, yielded = Sent(), 0, 0, 0

    def endless() -> Iterator[int]:
        nonlocal most, taken
        while True:
            taken += 1
            most = max(most, taken - yielded)
            yield taken - 1

    sent.at_once = True
    values = mapped(sent, endless(), chunksize, buffersize).values(ordered, LIMIT)
    for yielded in range(100):
        assert next(values) == yielded
    assert most <= buffersize + 1, "one is about to be yielded"
    assert most > buffersize // 2, "and not far less"


@pytest.mark.parametrize("ordered", [True, False])
def test_a_call_runs_while_the_value_before_it_is_used(ordered: bool) -> None:
    """As in the standard library, also with a buffer of one."""
    sent = Sent()
    values = mapped(sent, itertools.count(), 1, 1).values(ordered, LIMIT)
    for number in range(3):
        sent.deliver(number)
        assert next(values) == number
        assert number + 1 in sent.chunks


def test_arguments_that_break_off_take_no_value_with_them() -> None:
    def breaks_off() -> Iterator[int]:
        yield from range(2)
        raise LookupError("no more arguments")

    sent = Sent()
    sent.at_once = True
    values = mapped(sent, breaks_off(), 1, 1).values(True, LIMIT)
    assert next(values) == 0
    assert next(values) == 1
    with pytest.raises(LookupError, match="no more arguments"):
        next(values)


def test_a_buffered_map_ends() -> None:
    for ordered in (True, False):
        sent = Sent()
        sent.at_once = True
        assert list(mapped(sent, iter(range(10)), 3, 4).values(ordered, LIMIT)) == list(range(10))
        assert sent.cancelled == []


class Weak:
    """What a call returns; instances that are alive are counted."""

    alive = 0

    def __init__(self) -> None:
        Weak.alive += 1

    def __del__(self) -> None:
        Weak.alive -= 1

    def __reduce__(self) -> tuple[Any, ...]:
        return Weak, ()


@pytest.mark.parametrize("ordered", [True, False])
def test_a_value_lives_no_longer_than_it_is_held(ordered: bool) -> None:
    sent = Sent()
    mapping = mapped(sent, [Weak() for _ in range(6)])
    for number in range(2):
        sent.deliver(number)
    sent.chunks.clear()
    gc.collect()
    assert Weak.alive == 0
    for value in mapping.values(ordered, LIMIT):
        assert Weak.alive == 1
        seen = weakref.ref(value)
        del value
        assert seen() is None


def test_outcomes_that_come_twice_or_for_nobody() -> None:
    sent = Sent()
    mapping = mapped(sent, range(3))
    sent.deliver(0)
    sent.deliver(0)
    assert list(mapping.values(True, LIMIT)) == [0, 1, 2]
    sent.deliver(0)


# -- futures --------------------------------------------------------------------------


class Owner:
    """A client; ``taken``: its answer; ``meanwhile``: what the manager does before it answers."""

    def __init__(self, taken: bool, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.taken = taken
        self.meanwhile = meanwhile
        self.asked: list[Any] = []

    def take_back(self, call: Any) -> bool:
        self.asked.append(call)
        self.meanwhile()
        return self.taken


def owned(owner: Owner) -> ClusterFuture[Any]:
    future: ClusterFuture[Any] = ClusterFuture()
    future.belongs_to(owner, "call")
    return future


def test_a_call_that_is_taken_back_is_cancelled() -> None:
    owner, called = Owner(True), list[Any]()
    future = owned(owner)
    future.add_done_callback(called.append)
    assert future.cancel()
    assert (future.cancelled(), future.done(), future.running()) == (True, True, False)
    assert (owner.asked, called) == (["call"], [future])
    assert wait([future], timeout=0).done == {future}
    assert future.cancel()
    assert owner.asked == ["call"], "asked once"
    with pytest.raises(CancelledError):
        future.result(0)


def test_a_call_that_a_worker_was_first_to_take_is_running() -> None:
    future = owned(Owner(False))
    assert not future.cancel()
    assert future.running()
    assert not future.cancel()
    future.resolve(3, None)
    assert future.result(0) == 3
    assert not future.cancel()


def test_a_call_that_begins_or_ends_while_it_is_being_cancelled() -> None:
    future = owned(Owner(False))
    future._owner.meanwhile = future.begin  # type: ignore[union-attr]
    assert not future.cancel()
    assert future.running()
    future = owned(Owner(True))
    future._owner.meanwhile = lambda: future.resolve(7, None)  # type: ignore[union-attr]
    assert not future.cancel()
    assert future.result(0) == 7


def test_a_future_without_an_owner_is_the_standard_librarys() -> None:
    future: ClusterFuture[Any] = ClusterFuture()
    assert future.cancel()
    assert future.cancelled()


def test_an_outcome_does_not_undo_a_cancellation() -> None:
    future = owned(Owner(True))
    assert future.cancel()
    assert not future.begin()
    future.resolve(3, None)
    future.resolve(None, RuntimeError())
    assert future.cancelled()


def test_an_outcome_is_set_once() -> None:
    future = owned(Owner(True))
    future.resolve(None, None)
    future.resolve(None, RuntimeError())
    assert future.result(0) is None
    assert future._owner is None, "nothing of the client is kept alive"


def test_a_snapshot_of_a_future_is_what_its_methods_say() -> None:
    """``_get_snapshot``: asyncio of Python 3.15 reads it instead of ``result()``."""
    error = ValueError("seven")
    for outcome, expected in (
        ((["seven"], None), (True, False, ["seven"], None)),
        ((None, error), (True, False, None, error)),
    ):
        future = owned(Owner(True))
        assert future._get_snapshot() == (False, False, None, None)
        assert future.begin()
        assert future._get_snapshot() == (False, False, None, None)
        future.resolve_later(lambda outcome=outcome: outcome, outcome[1] is not None)  # type: ignore[misc]
        assert "not unpickled yet" in repr(future)
        assert future._get_snapshot() == expected
        assert future._get_snapshot() == expected
        assert ("ValueError" if outcome[1] else "returned list") in repr(future)
    cancelled = owned(Owner(True))
    assert cancelled.cancel()
    assert cancelled._get_snapshot() == (True, True, None, None)


def test_no_method_of_the_standard_library_reads_an_outcome_past_ours() -> None:
    """A new version of Python may have one more: what it reads may still be to be unpickled."""
    ours = {name for name, value in vars(ClusterFuture).items() if callable(value)}
    readers = {
        name
        for name, value in vars(Future).items()
        if isinstance(value, types.FunctionType) and {"_result", "_exception"} & set(value.__code__.co_names)
    }
    assert readers - ours == {"_Future__get_result", "set_result", "set_exception"}


def test_a_futures_condition_has_all_that_the_standard_librarys_has() -> None:
    condition = ClusterFuture[Any]()._condition
    public = {name for name in dir(threading.Condition()) if not name.startswith("_")}
    assert public <= set(dir(condition))
    if sys.version_info >= (3, 14):
        assert not condition.locked()
        with condition:
            assert condition.locked()


def test_output_is_read_once() -> None:
    future, reads = owned(Owner(True)), list[int]()
    assert future.output() == ""
    future.set_output(lambda: (reads.append(1), b"text \xff")[1])
    assert future.output() == future.output() == "text \ufffd"
    assert len(reads) == 1


# -- calls that wait for others -------------------------------------------------------


class CancelledLate(ClusterFuture[Any]):
    """Another thread cancels it at the moment when its release looks at it."""

    armed = True

    def cancelled(self) -> bool:
        if self.armed and self._owner is not None:
            self.armed = False
            assert self.cancel()
        return super().cancelled()


@pytest.mark.parametrize("late", [False, True])
def test_a_held_call_that_is_cancelled_does_not_run(late: bool) -> None:
    """And it does not stay on the books: the next call gets its worker."""
    bench, future = Bench(), CancelledLate() if late else ClusterFuture[Any]()
    bench.submit(0)
    call: Any = NotedCall("f")
    call.future = future
    client: Any = SimpleNamespace(events=bench.client.events, run=bench.client.run, _pickler=None, _recall=None)
    client.take_back = functools.partial(Client.take_back, client)
    client._give_up_call = functools.partial(Client._give_up_call, client)
    future.belongs_to(client, call)
    held, bench.dispatcher.unsettled = {future}, 1
    if not late:
        assert future.cancel()
    Client._release(client, call, Pickled(b"", None, ()))
    nothing_to_do = SimpleNamespace(open_worker_group=lambda _worker_group: None, hurry=lambda: None)
    manager: Any = SimpleNamespace(
        _dispatcher=bench.dispatcher, _held=held, _active=0.0, _out=nothing_to_do, _reader=nothing_to_do
    )
    manager._let_go = functools.partial(ManagerThread._let_go, manager)
    manager._accept = functools.partial(ManagerThread._accept, manager)
    manager._handle = functools.partial(ManagerThread._handle, manager)
    for item in client.events.take(0):
        manager._handle(item)
    bench.dispatcher.advance(1.0)
    assert (bench.queue, bench.dispatcher.unsettled, future.cancelled()) == ([], 0, True)
    bench.submit(1, now=2.0)
    bench.dispatcher.advance(3.0)
    assert bench.site.requests == [1]


@pytest.mark.parametrize(
    ("item", "wakes"), [(Seen({}, 0.0), False), (Submitted(POOL, "b", [], 0), True), (Explained("w", None), True)]
)
def test_a_routine_answer_of_the_scheduler_does_not_wake_an_idle_manager(item: Any, wakes: bool) -> None:
    events, stirred = EventQueue(), list[float]()
    events.post(item)
    manager: Any = SimpleNamespace(
        _dispatcher=SimpleNamespace(advance=lambda now: now), _events=events, _items=deque(), _active=-10.0,
        _registry=SimpleNamespace(workers=[]), _kills=SimpleNamespace(advance=lambda: None), _handle=lambda _item: None,
        _reader=SimpleNamespace(due=0.0, stir=stirred.append), _left_at=None,
    )  # fmt: skip
    ManagerThread._turn(manager)
    assert (manager._active > -10.0, len(stirred), len(manager._items)) == (wakes, int(wakes), 0)


# -- futures --------------------------------------------------------------------------


def test_a_future_has_all_that_one_of_this_python_has() -> None:
    """Its __init__ does not call the standard library's, and its condition does not call its condition's."""
    ours, theirs = vars(ClusterFuture()), vars(Future())
    assert {name: ours[name] for name in theirs if name != "_condition"} == {
        name: value for name, value in theirs.items() if name != "_condition"
    }
    assert set(vars(threading.Condition())) <= set(dir(ClusterFuture()._condition))


def test_waiting_for_a_future() -> None:
    future, seen = ClusterFuture[int](), list[int]()
    with pytest.raises(TimeoutError):
        future.result(0.001)
    with pytest.raises(RuntimeError, match="un-acquired"):
        future._condition.notify()
    threads = [threading.Thread(target=lambda: seen.append(future.result(60))) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(future._condition._waiters) < 3 and time.monotonic() < deadline:  # type: ignore[attr-defined]
        time.sleep(0.001)
    future.resolve(7, None)
    for thread in threads:
        thread.join(10)
    assert seen == [7, 7, 7]
    assert not future.begin() or future.done()


@pytest.mark.parametrize("arguments", [(), (1, "a", None, 2.5, b"b", True, 3j), ([1], {2: 3}), (len, int)])
def test_arguments_of_one_call(tmp_path: Path, arguments: tuple[Any, ...]) -> None:
    pickler = Pickler(RunDirectory.create(str(tmp_path / "run")))
    for keywords in ({}, {"k": 1}):
        pickled = pickler.call(arguments, keywords, len)
        assert (pickle.loads(pickled.data), pickled.extras, pickled.futures) == ((arguments, keywords), None, ())


def test_a_large_argument_of_one_call_has_a_file_of_its_own(tmp_path: Path) -> None:
    pickler = Pickler(RunDirectory.create(str(tmp_path / "run")))
    pickled = pickler.call((b"x" * (LARGE_BYTES + 1),), {}, len)
    assert (pickled.data, pickled.extras is not None) == (b"", True)


# -- exceptions -----------------------------------------------------------------------

MADE: list[BaseException] = [
    errors.JobFailed(
        job_id="12", state="TIMEOUT", exit_code=1, signal=9, reason="limit", host="n1", log="/l", tail="a\nb", call="f",
        advice="ask for more",
    ),
    errors.WorkerDied(
        call="f", signal="SIGSEGV", exit_code=None, host="n1", job_id="12", pid=7, log="/l", tail="t", advice="less"
    ),
    errors.CallKilled(call="m.f", host="c1", job_id="12", reason="job 12 TIMEOUT", tail="said"),
    errors.InitializerFailed(message="it failed"),
    errors.SubmitError(message="bad partition", command="sbatch x", advice="choose another"),
    errors.SubmitLimitReached(message="too many", command="sbatch x"),
    errors.ArrayTooLarge(message="too large"),
    errors.SchedulerUnavailable(message="no answer", command="squeue"),
    errors.StoreError(message="damaged", path="/x"),
    errors.TimeLimitNear(seconds=30.0),
    errors.TransferError(message="a lock"),
    errors.OptionError("no such option"),
    errors.RemoteTraceback("Traceback ..."),
    errors.ClusterError(message="general"),
]  # fmt: skip


def test_every_exception_is_tried() -> None:
    assert {type(error).__name__ for error in MADE} == set(errors.__all__)


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "sent",
    [
        lambda e: pickle.loads(pickle.dumps(e)),
        lambda e: pickle.loads(cloudpickle.dumps(e, 5)),
        copy.copy,
        copy.deepcopy,
    ],
)
def test_every_exception_survives_a_journey(error: BaseException, sent: Callable[[Any], Any]) -> None:
    found = sent(error)
    assert (type(found), str(found), found.args) == (type(error), str(error), error.args)
    if isinstance(error, ClusterError):
        assert found.fields == error.fields
        assert all(getattr(found, name) == value for name, value in error.fields.items())
        assert all(
            str(part) in str(found)
            for name, part in error.fields.items()
            if part and name not in ("tail", "path", "command")
        )


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_every_exception_travels_home(run: RunDirectory, error: BaseException) -> None:
    found = brought_back(copy.copy(error), run)
    assert (type(found), str(found)) == (type(error), str(error))


def test_unknown_fields_are_attribute_errors() -> None:
    for error in MADE:
        assert not hasattr(error, "no_such_field")
        assert not hasattr(type(error).__new__(type(error)), "no_such_field")


def test_remote_traceback_reads_as_the_standard_librarys() -> None:
    assert str(RemoteTraceback("Traceback ...")) == '\n"""\nTraceback ..."""'


# -- sizes of bins --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "slots"), list(itertools.product([1, 2, 7, 31, 32, 33, 1000, 1_000_003], [1, 2, 8, 129]))
)
def test_sizes_of_a_map(count: int, slots: int) -> None:
    for bins, chunksize in ((None, None), (1, None), (5, None), (10**9, None), (None, 1), (None, 7), (None, 10**9)):
        if chunksize == 1 and count > 10_000:
            continue
        sizes = binning.map_sizes(count, slots, min(bins, 5000) if bins else None, chunksize)
        assert sum(sizes) == count
        assert min(sizes) >= 1
        if chunksize:
            assert set(sizes[:-1]) <= {chunksize}
        else:
            assert max(sizes) - min(sizes) <= 1
            assert len(sizes) == min(count, min(bins, 5000) if bins else binning.BINS_PER_SLOT * slots)


def test_what_is_known_of_calls_decides_how_a_map_is_divided() -> None:
    """Little work: few bins, each costs.  Long calls: bins of three tenths of a second,
    smaller ones at the end, or of one call."""
    seconds = (1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.11, 1.0)
    assert [len(binning.map_sizes(1000, 8, seconds_per_call=s)) for s in seconds] == [1, 8, 16, 47, 178, 504, 1000]
    sizes = binning.map_sizes(1000, 8, seconds_per_call=0.01)
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-2]) == (30, 5)
    assert len(binning.map_sizes(10**6, 8, seconds_per_call=1.0)) == binning.MOST_BINS


def test_no_calls_no_bins() -> None:
    assert [binning.noted(100, s) for s in (None, 1e-9, 0.01, 5.0)] == [1, 100, 30, 1]
    assert binning.map_sizes(0, 4) == binning.map_sizes(-1, 4, bins=3) == binning.map_sizes(0, 0, chunksize=2) == []


@pytest.mark.parametrize("waiting", [1, 3, 100, 10**6])
@pytest.mark.parametrize("seconds", [None, 0.0, 1e-9, 1e-4, 0.01, 0.299, 0.3, 60.0])
@pytest.mark.parametrize("slots", [0, 1, 8, 1000])
def test_sizes_of_a_stream(waiting: int, seconds: float | None, slots: int) -> None:
    size = binning.stream_size(waiting, seconds, slots, 10**9)
    assert 1 <= size <= waiting
    if seconds is None or seconds >= binning.BIN_SECONDS:
        assert size == 1
    elif seconds:
        assert size == 1 or size * max(seconds, 1e-7) <= binning.BIN_SECONDS * 1.001
        assert size >= min(waiting, int(binning.BIN_SECONDS / max(seconds, 1e-7)) // 61)


def test_the_first_short_calls_of_a_stream_do_not_bring_many_together() -> None:
    """The first to come back are the short ones of a mixture."""
    assert [binning.stream_size(1000, 0.001, 8, measured) for measured in (1, 8, 80, 800)] == [1, 1, 10, 100]


def test_the_pace_of_a_function_is_that_of_its_last_calls() -> None:
    pace = DurationEstimate()
    assert (pace.seconds("f"), pace.measured("f")) == (None, 0)
    for seconds in (0.01, 0.01, 0.01, 0.97):
        pace.learn("f", seconds)
    assert (pace.seconds("f"), pace.measured("f")) == (pytest.approx(0.25), 4)
    pace.learn("f", 5.0, 100)
    assert (pace.seconds("f"), pace.measured("f")) == (pytest.approx(5.0), 104)
    for _ in range(200):
        pace.learn("f", 0.01)
    assert 0.01 <= (pace.seconds("f") or 0) < 0.02


def test_of_uneven_calls_the_slow_ones_count() -> None:
    pace = DurationEstimate()
    assert pace.slow("f") is None
    for _ in range(100):
        pace.learn("even", 0.01)
    assert pace.slow("even") == pytest.approx(0.01)
    for number in range(100):
        pace.learn("uneven", 1.0 if number % 10 == 0 else 0.01)
    assert 0.05 < (pace.seconds("uneven") or 0) < 0.2
    assert (pace.slow("uneven") or 0) > binning.BIN_SECONDS
