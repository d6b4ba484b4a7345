"""What a failing call does: the first rows of the design's table, on every ground."""

from __future__ import annotations

import concurrent.futures as cf
import os
import signal
import time
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground

from clusterfutures.errors import (
    RemoteTraceback,
    TransferError,
    WorkerDied,
)
from clusterfutures.executors import ClusterExecutor

# -- the call raises -------------------------------------------------------------------


def test_an_exception_comes_back_as_itself(ground: Ground) -> None:
    with ground.executor() as ex:
        custom = ex.submit(tasks.raise_custom)
        with pytest.raises(tasks.CustomError) as caught:
            custom.result(60)
        assert (caught.value.code, caught.value.detail) == (42, "of its own")
        assert custom.exception() is caught.value
        cause = caught.value.__cause__
        assert isinstance(cause, RemoteTraceback)
        assert "raise_custom" in str(cause)
        assert "contract_tasks.py" in str(cause)
        assert "node/process.py" not in str(cause), "frames of ours tell the user nothing"
        for error in (KeyError("k"), OSError(2, "no such file"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")):
            assert repr(ex.submit(tasks.fail, error).exception(60)) == repr(error)
        assert ex.submit(tasks.double, 1).result(60) == 2


def test_the_exceptions_own_cause_is_told(ground: Ground) -> None:
    def chained() -> None:
        try:
            raise KeyError("the first")
        except KeyError as error:
            raise ValueError("the second") from error

    with ground.executor() as ex, pytest.raises(ValueError, match="the second") as caught:
        ex.submit(chained).result(60)
    assert "the first" in str(caught.value.__cause__)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("by hand"), GeneratorExit(), cf.CancelledError()])
def test_even_those_that_end_programs(ground: Ground, error: BaseException) -> None:
    with ground.executor(max_workers=1) as ex:
        future = ex.submit(tasks.fail, error)
        cf.wait([future], 30)
        assert type(future.exception(0)) is type(error)
        assert future.exception().args == error.args  # type: ignore[union-attr]
        assert not future.cancelled()
        first = ex.submit(tasks.worker).result(60)
        assert ex.submit(tasks.worker).result(60) == first, "the worker works on"


# -- what cannot be pickled ------------------------------------------------------------


def test_an_exception_that_cannot_travel(ground: Ground) -> None:
    with ground.executor() as ex:
        for function, texts in (
            (tasks.raise_unpicklable, ["UnpicklableError", "cannot travel", "no travel papers"]),
            (tasks.raise_two_arguments, ["TwoArgumentsError", "one and two", "missing 1 required"]),
        ):
            error = ex.submit(function).exception(60)
            assert isinstance(error, TransferError)
            for text in texts:
                assert text in str(error)
            assert function.__name__ in str(error.__cause__), "the remote traceback is there all the same"
        assert ex.submit(tasks.double, 1).result(60) == 2


def test_a_result_that_cannot_travel(ground: Ground) -> None:
    with ground.executor() as ex:
        error = ex.submit(tasks.return_unpicklable).exception(60)
        assert isinstance(error, TransferError)
        assert "contract_tasks.Unpicklable" in str(error)
        assert "no travel papers" in str(error)
        error = ex.submit(tasks.return_what_breaks).exception(60)
        assert isinstance(error, TransferError)
        assert "cannot be unpacked" in str(error)
        assert "return_what_breaks" in str(error)
        assert ex.submit(tasks.double, 1).result(60) == 2


def test_arguments_that_cannot_travel_fail_their_own_call(ground: Ground) -> None:
    with ground.executor() as ex:
        before = ex.submit(tasks.double, 1)
        futures = [ex.submit(tasks.add, tasks.Unpicklable()), ex.submit(tasks.add, 1, b=(n for n in ()))]
        breaking = ex.submit(tasks.add, tasks.BreaksOnLoading())
        after = ex.submit(tasks.double, 2)
        for future in futures:
            assert future.done(), "said at once"
            assert isinstance(future.exception(0), TransferError)
        assert "no travel papers" in str(futures[0].exception(0))
        assert "generator" in str(futures[1].exception(0))
        assert isinstance(breaking.exception(60), TransferError)
        assert "cannot be unpacked" in str(breaking.exception(60))
        assert [before.result(60), after.result(60)] == [2, 4]


def test_arguments_that_kill_when_they_are_unpickled(ground: Ground) -> None:
    with ground.executor(max_workers=1) as ex:
        error = ex.submit(tasks.add, tasks.DiesOnLoading()).exception(60)
        assert isinstance(error, WorkerDied)
        assert error.exit_code == 3
        with pytest.raises(WorkerDied):
            list(ex.map(tasks.add, [1, tasks.DiesOnLoading(), 3]))
        assert ex.submit(tasks.double, 1).result(60) == 2


# -- the call kills its process ---------------------------------------------------------


@pytest.mark.parametrize("how", ["exit", "SIGSEGV", "SIGKILL", "SIGTERM"])
def test_a_call_that_kills_its_process_fails_alone(ground: Ground, how: str) -> None:
    with ground.executor(max_workers=1) as ex:
        before = ex.submit(tasks.double, 1)
        future = ex.submit(tasks.die, how)
        after = ex.submit(tasks.double, 2)
        error = future.exception(60)
        assert isinstance(error, WorkerDied)
        assert isinstance(error, cf.BrokenExecutor), "as code for ProcessPoolExecutor expects"
        assert (error.signal, error.exit_code) == (("", 7) if how == "exit" else (how, None))
        text = str(error)
        for part in [
            "contract_tasks.die",
            error.host,
            error.job_id,
            "last words",
            how if how != "exit" else "status 7",
        ]:
            assert part
            assert part in text
        assert error.job_id == future.job_id
        assert [before.result(60), after.result(60)] == [2, 4]


def test_one_of_a_hundred_is_said_within_a_second(ground: Ground) -> None:
    """One of a few at least: the machine may be busy with something else."""
    with ground.executor(idle_timeout=30.0) as ex:
        ex.submit(tasks.double, 0).result(60)
        assert any(_seconds_until_said(ex) < 1 for _ in range(5))


def _seconds_until_said(ex: ClusterExecutor) -> float:
    """How long after its submission it is told that a call has killed its process; others have their results."""
    futures = [ex.submit(tasks.double, n) for n in range(50)]
    began = time.monotonic()
    killer = ex.submit(tasks.die, "SIGSEGV")
    futures += [ex.submit(tasks.double, n) for n in range(50, 99)]
    assert isinstance(killer.exception(60), WorkerDied)
    took = time.monotonic() - began
    assert [future.result(60) for future in futures] == [2 * n for n in range(99)]
    return took


def test_one_of_a_bin_kills_its_process(ground: Ground) -> None:
    """Calls known to be short share bins; the one that dies takes none with it."""
    with ground.executor(max_workers=1) as ex:
        for future in [ex.submit(tasks.die_at, n, -1) for n in range(50)]:
            future.result(60)
        futures = [ex.submit(tasks.die_at, n, 57) for n in range(100)]
        cf.wait(futures, 30)
        assert isinstance(futures[57].exception(0), WorkerDied)
        assert [future.result(0) for n, future in enumerate(futures) if n != 57] == [n for n in range(100) if n != 57]


def test_last_words_are_the_calls_own(ground: Ground) -> None:
    def say(text: str) -> None:
        print(text)

    with ground.executor(max_workers=1) as ex:
        ex.submit(say, "of another call").result(60)
        error = ex.submit(tasks.die, "SIGKILL").exception(60)
        assert "last words" in str(error)
        assert "of another call" not in str(error)


def test_a_process_killed_from_outside(ground: Ground, tmp_path: Path) -> None:
    """As the kernel does when memory runs out: what to try is said."""
    with ground.executor(max_workers=1) as ex:
        future = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        os.kill(int(tasks.await_file(tmp_path / "started")), signal.SIGKILL)
        error = future.exception(60)
        assert isinstance(error, WorkerDied)
        assert "SIGKILL" in str(error)
        assert "memory" in str(error)
        assert ex.submit(tasks.double, 1).result(60) == 2


def test_a_process_that_dies_between_calls_costs_no_call(ground: Ground) -> None:
    with ground.executor(max_workers=1) as ex:
        for _ in range(3):
            os.kill(ex.submit(tasks.pid).result(60), signal.SIGKILL)
        assert ex.submit(tasks.double, 1).result(60) == 2


def test_a_fork_that_returns_is_no_second_worker(ground: Ground) -> None:
    def fork() -> str:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        return "parent" if pid else "child"

    with ground.executor(max_workers=1) as ex:
        assert ex.submit(fork).result(60) == "parent"
        assert list(ex.starmap(fork, [(), ()])) == ["parent", "parent"]
        assert ex.submit(tasks.double, 1).result(60) == 2
