"""``submit`` and its futures: as the standard library documents, on every ground."""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
import threading
import time
from pathlib import Path
from typing import Any

import contract_tasks as tasks
import numpy as np
import pytest
from conftest import Ground
from contract_tasks import touch, wait_until

import clusterfutures
from clusterfutures import ClusterFuture


def test_a_call_returns_its_result(ground: Ground) -> None:
    with ground.executor() as ex:
        future = ex.submit(tasks.add, 1, b=2)
        assert isinstance(future, ClusterFuture)
        assert future.result(60) == 3
        assert future.done()
        assert not future.running()
        assert not future.cancelled()
        assert future.exception() is None


def test_no_keyword_of_the_users_is_taken(ground: Ground) -> None:
    wanted = {"memory": 1, "time": 2, "cores": 3, "timeout": 4, "self": 5, "fn": 6, "name": 7, "function": 8}
    with ground.executor() as ex:
        plain = ex.submit(tasks.keywords, 0, **wanted)
        other = ex.with_options(time="10m").submit(tasks.keywords, **wanted)
        assert plain.result(60) == ((0,), wanted)
        assert other.result(60) == ((), wanted)


def test_arguments_are_pickled_at_once(ground: Ground) -> None:
    with ground.executor() as ex:
        argument = [1, 2]
        future = ex.submit(sum, argument)
        argument.append(1000)
        assert future.result(60) == 3


def test_a_function_that_has_changed_is_sent_anew(ground: Ground) -> None:
    number = 1

    def current() -> int:
        return number

    with ground.executor() as ex:
        assert ex.submit(current).result(60) == 1
        number = 2
        assert ex.submit(current).result(60) == 2


def test_what_is_known_of_a_call(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1) as ex:
        before = time.time()
        future = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        tasks.await_file(tmp_path / "started")
        wait_until(future.running, "the future turns running")
        assert future.job_id in ground.jobs()
        assert future.host
        assert future.output() == ""
        touch(tmp_path / "release")
        future.result(60)
        assert before - 1 <= future.started <= time.time() + 1
        assert future.usage is not None
        assert 0 < future.usage.wall < 30
        assert 0 <= future.usage.cpu < 30
        assert 1e6 < future.usage.memory < 1e10


def test_the_processor_time_of_children_counts(ground: Ground) -> None:
    def burn() -> None:
        import subprocess
        import sys

        subprocess.run(
            [sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: sum(range(1000))"], check=True
        )

    with ground.executor() as ex:
        future = ex.submit(burn)
        future.result(60)
        assert future.usage is not None
        assert 0.25 < future.usage.cpu < 5


def test_running_and_cancelling(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1) as ex:
        running = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", "result")
        tasks.await_file(tmp_path / "started")
        waiting = ex.submit(tasks.touch_and_return, tmp_path / "must not be")
        last = ex.submit(tasks.double, 21)
        wait_until(running.running, "the first future turns running")
        assert not running.cancel()
        assert not waiting.running()
        assert waiting.cancel()
        assert waiting.cancel(), "cancelling twice is cancelling"
        assert waiting.cancelled()
        assert waiting.done()
        with pytest.raises(cf.CancelledError):
            waiting.result(0)
        touch(tmp_path / "release")
        assert running.result(60) == "result"
        assert last.result(60) == 42
        assert not last.cancel()
    assert not (tmp_path / "must not be").exists()


def test_cancelling_one_call_of_a_bin(ground: Ground, tmp_path: Path) -> None:
    """Calls that are known to be short share a bin: one is taken out, the others run."""

    def mark(number: int) -> int:
        tasks.touch(f"{tmp_path}/ran-{number}")
        return number

    with ground.executor(max_workers=1) as ex:
        assert [future.result(60) for future in [ex.submit(mark, n) for n in range(20)]] == list(range(20))
        blocked = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        tasks.await_file(tmp_path / "started")
        futures = [ex.submit(mark, n) for n in range(100, 150)]
        assert futures[25].cancel()
        assert futures[0].cancel()
        touch(tmp_path / "release")
        blocked.result(60)
        done = [future.result(60) for future in futures if not future.cancelled()]
        assert done == [n for n in range(100, 150) if n not in (100, 125)]
    assert not (tmp_path / "ran-100").exists()
    assert not (tmp_path / "ran-125").exists()


def test_cancel_says_the_truth_while_workers_take_calls(ground: Ground, tmp_path: Path) -> None:
    """Whatever ``cancel`` answers: True means that the call does not run, False that it does."""
    with ground.executor() as ex:
        ex.submit(tasks.double, 0).result(60)
        futures = [ex.submit(tasks.touch_and_return, f"{tmp_path}/ran-{n}", n) for n in range(200)]
        answers = [future.cancel() for future in reversed(futures)][::-1]
        cf.wait(futures, 30)
        for number, (future, cancelled) in enumerate(zip(futures, answers, strict=True)):
            assert future.cancelled() == cancelled
            assert (tmp_path / f"ran-{number}").exists() != cancelled
            if not cancelled:
                assert future.result(0) == number


def test_wait_as_completed_and_callbacks(ground: Ground, tmp_path: Path) -> None:
    called: list[Any] = []
    with ground.executor() as ex:
        slow = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", "slow")
        quick = ex.submit(tasks.double, 1)
        failing = ex.submit(tasks.fail, ValueError("no"))
        quick.add_done_callback(lambda done: 1 / 0)  # is logged, and harms nobody
        quick.add_done_callback(lambda done: called.append(done.result()))
        slow.add_done_callback(called.append)
        done, not_done = cf.wait([slow, quick], 30, return_when=cf.FIRST_COMPLETED)
        assert (done, not_done) == ({quick}, {slow})
        done, _ = cf.wait([slow, failing], 30, return_when=cf.FIRST_EXCEPTION)
        assert done == {failing}
        with pytest.raises(TimeoutError):
            list(cf.as_completed([slow], timeout=0.05))
        with pytest.raises(TimeoutError):
            slow.result(timeout=0.01)
        touch(tmp_path / "release")
        assert set(cf.as_completed([slow, quick], 30)) == {slow, quick}
    assert called == [2, slow]


def test_a_callback_may_submit(ground: Ground) -> None:
    second: list[cf.Future[int]] = []
    with ground.executor() as ex:
        first = ex.submit(tasks.double, 1)
        first.add_done_callback(lambda done: second.append(ex.submit(tasks.double, done.result())))
        wait_until(lambda: second, "the callback runs", 30)
        assert second[0].result(60) == 4


def test_with_asyncio(ground: Ground) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        with ground.executor() as ex:
            return await asyncio.gather(*(loop.run_in_executor(ex, tasks.double, n) for n in range(10)))

    assert asyncio.run(main()) == [2 * n for n in range(10)]


def test_with_asyncio_an_outcome_that_is_unpickled_late(ground: Ground) -> None:
    """asyncio of Python 3.15 reads a future past ``result()`` and ``exception()``."""

    async def main(ex: Any) -> list[Any]:
        by_executor = asyncio.get_running_loop().run_in_executor(ex, tasks.keywords, 1, [2])
        wrapped = asyncio.wrap_future(ex.submit(tasks.fail, ValueError("seven", 7)))
        return await asyncio.gather(by_executor, wrapped, return_exceptions=True)

    with ground.executor() as ex:
        value, error = asyncio.run(main(ex))
    assert value == ((1, [2]), {})
    assert isinstance(error, ValueError)
    assert error.args == ("seven", 7)


def test_one_executor_for_several_threads(ground: Ground) -> None:
    results: dict[int, list[int]] = {}

    def use(number: int) -> None:
        futures = [ex.submit(tasks.add, number, n) for n in range(25)]
        results[number] = [future.result(60) for future in futures] + list(ex.map(tasks.double, range(10)))

    with ground.executor() as ex:
        threads = [threading.Thread(target=use, args=(1000 * number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
    wanted = {1000 * n: [1000 * n + i for i in range(25)] + [2 * i for i in range(10)] for n in range(4)}
    assert results == wanted


def test_large_arguments_and_results(ground: Ground) -> None:
    array = np.arange(3_000_000, dtype=np.float64)  # 24 MB

    def change(given: Any) -> Any:
        given += 1  # it is the call's own to change
        return given, given[:10]

    with ground.executor() as ex:
        futures = [ex.submit(change, array) for _ in range(2)]
        for future in futures:
            whole, part = future.result(60)
            assert np.array_equal(whole, array + 1)
            assert np.array_equal(part, array[:10] + 1)
            whole += 1  # and the result is the program's
        assert array[0] == 0


def test_workers_that_went_home_are_replaced(ground: Ground) -> None:
    with ground.executor(idle_timeout=0.05) as ex:
        first = ex.submit(tasks.worker)
        job_id = first.result(60)[0]
        wait_until(lambda: not ground.jobs(), "the idle worker gives its node back")
        assert ex.submit(tasks.worker).result(60)[0] != job_id


def test_a_call_may_use_an_executor_itself(ground: Ground) -> None:
    runs, name = str(ground.runs), ground.executor_name

    def outer(n: int) -> list[int]:
        with getattr(clusterfutures, name)(max_workers=1, directory=runs, idle_timeout=2.0) as inner:
            return list(inner.map(tasks.double, range(n)))

    with ground.executor(max_workers=1) as ex:
        assert ex.submit(outer, 3).result(60) == [0, 2, 4]


def test_a_stream_of_submits_is_few_submissions(ground: Ground) -> None:
    with ground.executor(max_workers=8, keep=True) as ex:
        futures = [ex.submit(tasks.double, n) for n in range(500)]
        assert [future.result(60) for future in futures] == [2 * n for n in range(500)]
    assert ground.batches() <= 10


@pytest.mark.on("slurm", "pbs", "torque")
def test_calls_that_come_slowly_share_submissions_too(ground: Ground) -> None:
    """A program that takes its time between submits does not flood the scheduler."""
    began = time.monotonic()
    with ground.executor(max_workers=64, keep=True) as ex:
        futures = []
        for n in range(500):
            futures.append(ex.submit(tasks.double, n))
            time.sleep(0.001)
        assert [future.result(60) for future in futures] == [2 * n for n in range(500)]
    assert ground.batches() <= 6 + (time.monotonic() - began), "a few, and then one a second"


@pytest.mark.on("local")
def test_numbers_that_make_no_sense(ground: Ground) -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        ground.executor(max_workers=0)
    with pytest.raises(TypeError):
        ground.executor(max_workers="2")
    with pytest.raises(ValueError, match="max_tasks_per_child must be >= 1"):
        ground.executor(max_tasks_per_child=0)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        ground.executor(initializer=5)
    with pytest.raises(TypeError, match=r"initargs must be a tuple, not int: write initargs=\(5,\)"):
        ground.executor(initializer=len, initargs=5)
    assert ground.executor(max_workers=3, processes=2)._max_workers == 6


def test_the_scheduler_of_this_machine_is_found(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    if ground.name == "local":
        monkeypatch.setenv("PATH", "/nowhere")
    elif ground.name != "slurm":  # as on a machine without Slurm's commands
        monkeypatch.setenv("PATH", f"{ground.standin.directory}/bin")  # type: ignore[attr-defined]
    with clusterfutures.ClusterExecutor(max_workers=1, directory=ground.runs) as ex:
        assert ex.scheduler == {"torque": "pbs"}.get(ground.name, ground.name)
        assert ex.scheduler in repr(ex)
