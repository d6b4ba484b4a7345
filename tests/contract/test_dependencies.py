"""Futures among the arguments: replaced by their results, while the caller goes on."""

from __future__ import annotations

import concurrent.futures as cf
import sys
import time
from pathlib import Path

import contract_tasks as tasks
import numpy as np
import pytest
from conftest import Ground
from contract_tasks import touch


def test_results_take_the_place_of_futures(ground: Ground) -> None:
    with ground.executor() as ex:
        one, two = ex.submit(tasks.double, 1), ex.submit(tasks.double, 2)
        assert ex.submit(tasks.add, one, b=two).result(60) == 6
        assert ex.submit(sum, [one, two, 10]).result(60) == 16
        nested = {"a": [one, {"b": (two, one)}], "c": {"d": tasks.Holder(two)}}
        (found,), _ = ex.submit(tasks.keywords, nested).result(60)
        assert found["a"] == [2, {"b": (4, 2)}]
        assert found["c"]["d"].value == 4
        assert ex.submit(tasks.held, tasks.Holder(tasks.Holder([one]))).result(60).value == [2]


def test_the_caller_does_not_wait(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1) as ex:
        blocked = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", 1)
        began = time.monotonic()
        chain: cf.Future[int] = blocked
        for _ in range(10):
            chain = ex.submit(tasks.add, chain, 1)
        assert time.monotonic() - began < tasks.CALL_LIMIT / 2
        assert not chain.done()
        assert not chain.running()
        touch(tmp_path / "release")
        assert chain.result(60) == 11


def test_a_tree_of_calls(ground: Ground) -> None:
    with ground.executor() as ex:
        layer: list[cf.Future[int]] = [ex.submit(tasks.double, n) for n in range(16)]
        while len(layer) > 1:
            layer = [ex.submit(tasks.add, a, b) for a, b in zip(layer[::2], layer[1::2], strict=True)]
        assert layer[0].result(60) == 2 * sum(range(16))


def test_large_results_between_calls(ground: Ground) -> None:
    with ground.executor() as ex:
        array = ex.submit(np.arange, 1_000_000, dtype=np.float64)
        assert ex.submit(np.sum, array).result(60) == pytest.approx(1_000_000 * 999_999 / 2)
        assert ex.submit(tasks.keywords, [array, array]).result(60)[0][0][1][-1] == 999_999


def test_a_failed_one_fails_the_call_that_needed_it(ground: Ground) -> None:
    with ground.executor() as ex:
        failing = ex.submit(tasks.raise_custom)
        needs_it = ex.submit(tasks.add, failing, 1)
        needs_that = ex.submit(tasks.keywords, [needs_it])
        with pytest.raises(tasks.CustomError):
            needs_it.result(60)
        with pytest.raises(tasks.CustomError):
            needs_that.result(60)
        late = ex.submit(tasks.add, failing, 1)
        with pytest.raises(tasks.CustomError):
            late.result(60)
        assert ex.submit(tasks.double, 1).result(60) == 2


@pytest.mark.on("local")
def test_an_exit_is_an_outcome_like_others(ground: Ground) -> None:
    with cf.ThreadPoolExecutor(1) as threads, ground.executor() as ex:
        for left in (ex.submit(sys.exit, 3), threads.submit(sys.exit, 3)):
            with pytest.raises(SystemExit):
                ex.submit(tasks.double, left).result(60)
        assert threads.submit(tasks.double, 1).result(60) == 2


@pytest.mark.on("local")
def test_what_waits_for_a_future_that_never_comes_can_be_given_up(ground: Ground) -> None:
    never: cf.Future[int] = cf.Future()
    with ground.executor() as ex:
        assert ex.submit(tasks.double, never).cancel()
    ex = ground.executor()
    left = ex.submit(tasks.double, never)
    ex.shutdown(cancel_futures=True)
    assert left.cancelled()


def test_a_cancelled_one_fails_it_too(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1) as ex:
        blocked = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", 1)
        tasks.await_file(tmp_path / "started")
        waiting = ex.submit(tasks.double, 1)
        needs_it = ex.submit(tasks.add, waiting, 1)
        assert waiting.cancel()
        done, _ = cf.wait([needs_it], 10)
        assert done
        with pytest.raises(cf.CancelledError):
            needs_it.result(0)
        touch(tmp_path / "release")
        assert blocked.result(60) == 1


def test_a_call_that_waits_for_others_can_be_cancelled(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1) as ex:
        blocked = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", 1)
        waiting = ex.submit(tasks.touch_and_return, tmp_path / "must not be", blocked)
        assert waiting.cancel()
        touch(tmp_path / "release")
        assert blocked.result(60) == 1
        assert waiting.cancelled()
    assert not (tmp_path / "must not be").exists()


def test_futures_of_other_executors(ground: Ground) -> None:
    with cf.ThreadPoolExecutor(1) as threads, ground.executor() as ex, ground.executor(max_workers=1) as other:
        assert ex.submit(tasks.add, threads.submit(tasks.double, 1), other.submit(tasks.double, 2)).result(60) == 6


def test_a_call_is_let_go_before_the_end(ground: Ground, tmp_path: Path) -> None:
    """``shutdown`` waits for calls that wait for others."""
    ex = ground.executor(max_workers=1)
    first = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", 1)
    last = ex.submit(tasks.add, ex.submit(tasks.add, first, 1), 1)
    ex.shutdown(wait=False)
    touch(tmp_path / "release")
    assert last.result(60) == 3


def test_a_future_as_an_argument_of_map(ground: Ground) -> None:
    """It is said clearly what to do: never is a future pickled."""
    with ground.executor() as ex:
        one = ex.submit(tasks.double, 1)
        with pytest.raises(ValueError, match="use submit"):
            ex.map(tasks.add, [one, 5], [1, 1])
        assert ex.submit(tasks.double, 1).result(60) == 2
