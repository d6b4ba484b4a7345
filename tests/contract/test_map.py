"""``map`` and ``starmap``: bins, streams, buffers; what one consumer leaves undone harms no other."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import contract_tasks as tasks
import numpy as np
import pytest
from conftest import Ground
from contract_tasks import touch, wait_until

from clusterfutures.errors import WorkerDied


def test_values_in_the_order_of_the_arguments(ground: Ground) -> None:
    with ground.executor() as ex:
        assert list(ex.map(tasks.double, range(100))) == [2 * n for n in range(100)]
        assert list(ex.map(tasks.add, [1, 2, 3], [10, 20, 30, 40])) == [11, 22, 33]
        assert list(ex.map(tasks.double, [])) == []
        assert list(ex.map(tasks.add, iter([1, 2]), (n for n in range(5)))) == [1, 3]
        assert list(ex.starmap(tasks.add, [(1, 2), (3,)])) == [3, 3]
        assert list(ex.starmap(tasks.add, ((n, n) for n in range(7)), chunksize=3)) == [2 * n for n in range(7)]
        assert sorted(ex.map(tasks.double, range(50), ordered=False)) == [2 * n for n in range(50)]
        assert sorted(ex.starmap(tasks.add, [(1, 2), (3, 4)], ordered=False)) == [3, 7]


@pytest.mark.parametrize("options", [{"chunksize": 7}, {"chunksize": 1000}, {"bins": 3}, {"bins": 50}, {"bins": 1}])
@pytest.mark.on("local")
def test_however_the_arguments_are_divided(ground: Ground, options: dict[str, int]) -> None:
    with ground.executor() as ex:
        assert list(ex.map(tasks.double, range(30), **options)) == [2 * n for n in range(30)]
        assert sorted(ex.map(tasks.double, range(30), ordered=False, **options)) == [2 * n for n in range(30)]


@pytest.mark.on("local")
def test_numbers_that_make_no_sense(ground: Ground) -> None:
    ex = ground.executor()
    for options in ({"chunksize": 0}, {"buffersize": 0}, {"bins": 0}, {"chunksize": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
            ex.map(tasks.double, [1], **options)
    with pytest.raises(TypeError, match="buffersize must be an integer or None"):
        ex.map(tasks.double, [1], buffersize=1.5)
    with pytest.raises(ValueError, match="bins"):
        ex.map(tasks.double, [1], bins=2, buffersize=3)
    ex.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        ex.map(tasks.double, [1])


@pytest.mark.parametrize("ordered", [True, False])
def test_results_come_before_their_bin_is_complete(ground: Ground, tmp_path: Path, ordered: bool) -> None:
    def step(number: int) -> int:
        if number:  # goes on only when the program has had the result before this one
            tasks.await_file(f"{tmp_path}/had-{number - 1}", limit=8)
        return number

    with ground.executor(max_workers=1) as ex:
        for number, value in enumerate(ex.map(step, range(4), bins=1, ordered=ordered)):
            assert value == number
            touch(tmp_path / f"had-{number}")


def test_unordered_yields_the_quick_ones_first(ground: Ground, tmp_path: Path) -> None:
    def first_is_slow(number: int) -> int:
        if number == 0:
            tasks.await_file(f"{tmp_path}/release")
        return number

    with ground.executor() as ex:
        values = ex.map(first_is_slow, range(6), chunksize=1, ordered=False)
        assert sorted(itertools.islice(values, 5)) == [1, 2, 3, 4, 5]
        touch(tmp_path / "release")
        assert list(values) == [0]


def test_timeout(ground: Ground, tmp_path: Path) -> None:
    with ground.executor() as ex:
        values = ex.map(tasks.block, [tmp_path / "started"], [tmp_path / "release"], timeout=ground.start_seconds + 1)
        tasks.await_file(tmp_path / "started")
        with pytest.raises(TimeoutError):
            next(values)
        touch(tmp_path / "release")
        assert ex.submit(tasks.double, 1).result(60) == 2
        assert list(ex.map(tasks.double, [1], timeout=60)) == [2]


def test_a_call_that_raises_ends_its_map_and_harms_no_other(ground: Ground) -> None:
    with ground.executor() as ex:
        beside = ex.map(tasks.double, range(20), chunksize=3)
        values = ex.map(functools.partial(tasks.fail_at, bad=5), range(20), chunksize=3)
        assert list(itertools.islice(values, 5)) == [0, 1, 2, 3, 4]
        with pytest.raises(ValueError, match="5 is bad") as caught:
            next(values)
        assert "fail_at" in str(caught.value.__cause__)
        assert list(values) == []
        assert list(beside) == [2 * n for n in range(20)]
        assert list(ex.map(tasks.double, range(5))) == [0, 2, 4, 6, 8]


def test_a_map_that_nobody_reads_on_harms_no_later_call(ground: Ground, tmp_path: Path) -> None:
    def mark(number: int) -> int:
        touch(f"{tmp_path}/ran-{number}")
        time.sleep(0.05)
        return number

    with ground.executor(max_workers=1) as ex:
        values = ex.map(mark, range(1000), chunksize=4)
        assert next(values) == 0
        values.close()
        began = time.monotonic()
        assert ex.submit(tasks.double, 1).result(60) == 2
        assert time.monotonic() - began < 25, "all of them would take 50 seconds"
        forgotten = ex.map(mark, range(1000, 2000), chunksize=4)
        assert next(forgotten) == 1000
        del forgotten
        assert list(ex.map(tasks.double, [1, 2])) == [2, 4]
    assert len(list(tmp_path.glob("ran-*"))) < 500, "what nobody wanted any more was run all the same"


def test_a_map_that_nobody_reads_at_all_is_carried_out(ground: Ground, tmp_path: Path) -> None:
    with ground.executor() as ex:
        ex.map(touch, [tmp_path / f"ran-{n}" for n in range(10)])
    assert len(list(tmp_path.glob("ran-*"))) == 10


@pytest.mark.parametrize("ordered", [True, False])
def test_infinite_arguments_with_a_buffer(ground: Ground, ordered: bool) -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    with ground.executor() as ex:
        values = ex.map(tasks.double, endless(), buffersize=10, ordered=ordered)
        first = list(itertools.islice(values, 30))
        assert taken <= 30 + 10 + 1
        if ordered:
            assert first == [2 * n for n in range(1, 31)]
        else:
            assert len(set(first)) == 30
        values.close()
        pairs = ex.map(tasks.add, itertools.count(), itertools.repeat(1), buffersize=1)
        assert list(itertools.islice(pairs, 3)) == [1, 2, 3]
        pairs.close()


def test_arguments_that_cannot_be_made(ground: Ground) -> None:
    def breaks_off() -> Iterator[int]:
        yield 1
        raise LookupError("no more arguments")

    with ground.executor() as ex:
        with pytest.raises(LookupError):
            list(ex.map(tasks.double, breaks_off()))
        with pytest.raises(Exception, match="no travel papers"):
            list(ex.map(tasks.add, [1, tasks.Unpicklable()], chunksize=1))
        values = ex.map(tasks.double, itertools.chain(range(5), breaks_off()), buffersize=2)
        with pytest.raises(LookupError):
            list(values)
        assert list(ex.map(tasks.double, [1])) == [2]


def test_results_that_do_not_come_back(ground: Ground) -> None:
    functions = [tasks.return_unpicklable, tasks.return_what_breaks, tasks.raise_unpicklable]
    with ground.executor() as ex:
        for function, text in zip(functions, ["Unpicklable", "cannot be unpacked", "cannot travel"], strict=True):
            values = ex.starmap(function, [(), ()])
            with pytest.raises(Exception, match=text):
                next(values)
        assert list(ex.map(tasks.double, [1])) == [2]


@pytest.mark.parametrize("ordered", [True, False])
def test_one_of_a_hundred_kills_its_process(ground: Ground, tmp_path: Path, ordered: bool) -> None:
    with ground.executor() as ex:
        call = functools.partial(tasks.touch_or_die_at, str(tmp_path), bad=57)
        values = ex.map(call, range(100), bins=4, ordered=ordered)
        seen: list[int] = []
        with pytest.raises(WorkerDied, match="SIGSEGV") as caught:
            tasks.collect(values, seen)
        assert caught.value.host
        assert "touch_or_die_at" in str(caught.value)
        if ordered:
            assert seen == list(range(57)), "all results before its turn"
        assert 57 not in seen
        assert list(ex.map(tasks.double, range(5))) == [0, 2, 4, 6, 8]


def test_all_results_but_that_of_the_call_that_kills(ground: Ground) -> None:
    """An unordered map in which nothing else can come later has them all."""
    with ground.executor(max_workers=1) as ex:
        values = ex.map(functools.partial(tasks.die_at, bad=99), range(100), bins=1, ordered=False)
        seen: list[int] = []
        with pytest.raises(WorkerDied):
            tasks.collect(values, seen)
        assert seen == list(range(99))


def test_a_thousand_calls_in_one_submission(ground: Ground) -> None:
    with ground.executor(max_workers=8, keep=True) as ex:
        with tasks.in_one_go():
            values = ex.map(tasks.double, range(1000))
        assert list(values) == [2 * n for n in range(1000)]
    assert ground.batches() == 1


def test_no_more_interpreters_than_slots(ground: Ground) -> None:
    with ground.executor(max_workers=8, keep=True) as ex:
        with tasks.in_one_go():
            values = ex.map(tasks.slow_worker, range(192), bins=64)
        workers = set(values)
    assert 1 <= len(workers) <= 8
    assert ground.batches() == 1
    started = [name for name in os.listdir(ground.run_directory() / "logs") if name.endswith("-0.0.log")]
    assert len(started) <= 8


def test_a_large_constant_is_written_once(ground: Ground) -> None:
    array = np.random.default_rng(1).random(6_250_000)  # 50 MB

    def element(data: np.ndarray, index: int) -> float:
        return float(data[index])

    with ground.executor(keep=True) as ex:
        values = ex.map(functools.partial(element, array), range(1000))
        assert list(values) == [float(array[n]) for n in range(1000)]
    files = [path for path in ground.run_directory().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60e6


def test_several_maps_at_a_time(ground: Ground) -> None:
    with ground.executor() as ex:
        maps = [ex.map(tasks.add, range(20), itertools.repeat(1000 * n)) for n in range(3)]
        future = ex.submit(tasks.double, 1)
        rows = list(zip(*maps, strict=True))
        assert rows == [(n, 1000 + n, 2000 + n) for n in range(20)]
        assert future.result(60) == 2


def test_a_bin_of_long_calls_is_shared(ground: Ground, tmp_path: Path) -> None:
    """A worker that has nothing to do gets calls that wait in the bin of another."""
    with ground.executor(idle_timeout=30.0) as ex:
        list(ex.map(functools.partial(tasks.share, tmp_path / "both"), [2, 2], chunksize=1))
        values = list(ex.map(functools.partial(tasks.pause_and_add, 0.1), range(24), bins=1))
        assert values == list(range(24))
        assert len(set(ex.map(tasks.slow_worker, range(128), bins=1))) == 2


def test_what_waits_behind_a_long_call_goes_to_another_worker(ground: Ground, tmp_path: Path) -> None:
    """The first call of a bin ends when the last one has run, which only another worker can do now."""

    def first_awaits_last(number: int) -> int:
        if number == 0:
            tasks.await_file(tmp_path / "last")
        elif number == 4:
            tasks.touch(tmp_path / "last")
        return number

    with ground.executor(idle_timeout=30.0) as ex:
        list(ex.map(functools.partial(tasks.share, tmp_path / "both"), [2, 2], chunksize=1))
        assert list(ex.map(first_awaits_last, range(5), bins=1)) == list(range(5))


def test_memory_of_results_is_let_go(ground: Ground) -> None:
    """Large results of a map are taken out of the run directory as they are read."""

    def make(n: int) -> bytes:
        return bytes([n]) * 3_000_000

    with ground.executor() as ex:
        for number, value in enumerate(ex.map(make, range(10), chunksize=2)):
            assert value == bytes([number]) * 3_000_000
        large = ground.run_directory() / "large"
        wait_until(lambda: not list(large.iterdir()), "results that were read are removed")
