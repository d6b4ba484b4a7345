"""What calls may do that nobody should: each costs itself at most, is told for what it is, and is
no reason for a worker, a client or another call to wait.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bad_calls
import contract_tasks as tasks
import pytest
from conftest import Ground
from contract_tasks import wait_until

from clusterfutures.errors import JobFailed, TransferError, WorkerDied
from clusterfutures.executors import ClusterExecutor
from clusterfutures.node.capture import MOST_BYTES

pytestmark = pytest.mark.on("local", "slurm")

#: of what calls write or return; the sizes that hurt are tried by hand: CONTRACT_MEGABYTES=1000
MEGABYTES = int(os.environ.get("CONTRACT_MEGABYTES", "100"))


def _between(ex: ClusterExecutor, function: Callable[..., Any], *arguments: Any) -> Any:
    """The future of a call that has others before and behind it, which have their results."""
    before = ex.submit(tasks.double, 1)
    future = ex.submit(function, *arguments)
    behind = [ex.submit(tasks.double, n) for n in range(3)]
    future.exception(60)
    assert [before.result(60), *(other.result(60) for other in behind)] == [2, 0, 2, 4]
    return future


def _dies(ex: ClusterExecutor, text: str, function: Callable[..., Any], *arguments: Any) -> None:
    error = _between(ex, function, *arguments).exception(0)
    assert isinstance(error, WorkerDied), repr(error)
    assert text in str(error)
    assert function.__name__ in str(error)


def test_what_a_call_does_to_its_process(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1) as ex:
        # memory
        assert isinstance(_between(ex, bad_calls.memory_is_limited, False).exception(0), MemoryError)
        _dies(ex, "MemoryError", bad_calls.memory_is_limited, True)
        # its descriptors
        (tmp_path / "files").mkdir()
        _dies(ex, "it closed file descriptors", bad_calls.close_what_it_did_not_open, str(tmp_path / "files"))
        found = sorted((tmp_path / "files").iterdir(), key=lambda path: int(path.name))
        first, *others = [path.read_bytes() for path in found]
        assert others == [b"mine"] * 19, "nothing of ours is written into its files"
        assert float(first.removeprefix(b"mine ")) < 0.3, "the supervisor does not spin"
        closed = _between(ex, bad_calls.close_the_standard_ones)
        assert (closed.result(0), closed.output()) == ("closed", "before\n")
        assert _between(ex, bad_calls.replace_the_standard_ones).result(0) == "replaced"
        written = _between(ex, tasks.write_everywhere, 1)
        assert "child 1" in written.output()
        # its end
        for how, text in (
            ("exit well", "exit status 0"),
            ("exec", "exit status 0"),
            ("thread", "exit status 5"),
            ("kill the group", "SIGKILL"),
        ):
            _dies(ex, text, bad_calls.end_by, how)
        # what outlives it
        assert _between(ex, bad_calls.leave_threads).result(0) > 2
        assert _between(ex, bad_calls.leave_a_daemon, f"{tmp_path}/daemon").result(0) == "daemon"
        daemon = int((tmp_path / "daemon").read_text())
        assert os.path.exists(f"/proc/{daemon}")
    wait_until(lambda: not os.path.exists(f"/proc/{daemon}"), "the daemon is gone with the job, and no zombie")


def test_what_later_calls_see(ground: Ground) -> None:
    """As in ProcessPoolExecutor, what a call changes in its process is there for later ones, which run all the same;
    only stdout and stderr are as they were."""
    with ground.executor(max_workers=1) as ex:
        before = ex.submit(bad_calls.what_it_sees).result(60)
        assert before["directory"] == os.getcwd()
        _between(ex, bad_calls.change_everything).result(0)
        assert ex.submit(bad_calls.what_it_sees).result(60) == {
            "directory": "gone", "umask": 0o777, "ignored": True, "environment": 0, "path": 0, "limit": 60,
            "kept": ["changed"], "standard": before["standard"],
        }  # fmt: skip
        assert len(ex.submit(bad_calls.megabytes, 2).result(60)) == 2 << 20, "also into a file, under that umask"
        assert isinstance(ex.submit(tasks.fail, OSError(2, "x")).exception(60), FileNotFoundError)
        assert isinstance(ex.submit(bad_calls.take, bad_calls.Loads("exit")).exception(60), TransferError)
        assert ex.submit(bad_calls.make_lambda).result(60)() == "made"
        _dies(ex, "SIGKILL", bad_calls.end_by, "kill the group")
        assert ex.submit(bad_calls.what_it_sees).result(60) == before, "another process has nothing of it"


def test_a_call_that_ends_its_supervisor(ground: Ground) -> None:
    with ground.executor(max_workers=1) as ex:
        future = ex.submit(bad_calls.end_by, "kill the supervisor")
        waiting = ex.submit(tasks.double, 1)
        error = future.exception(60)
        assert isinstance(error, JobFailed)
        assert "end_by" in str(error)
        assert error.job_id == future.job_id
        assert waiting.result(60) == 2


def test_output_without_end(ground: Ground) -> None:
    """The first and the last of it are kept, and the run directory does not grow with it."""
    with ground.executor(max_workers=1) as ex:
        future = _between(ex, bad_calls.write_megabytes, MEGABYTES)
        assert future.result(0) == MEGABYTES
        (log,) = ground.run_directory().glob("logs/*-*-*.0.log")
        assert log.stat().st_size < MOST_BYTES * 1.1
        next(ex.map(bad_calls.write_megabytes, [MEGABYTES], timeout=60))
        assert log.stat().st_size < MOST_BYTES * 2.1
        after = ex.submit(tasks.write_much, "after", 2)
        assert after.result(60) == 2
        assert after.output() == "after\nafter\n"
        said = future.output()
        assert len(said) < MOST_BYTES * 1.1
        assert said.startswith("the first\nxxx")
        assert said.endswith("xxx\nthe last\n")
        assert "left out" in said


def test_results_and_exceptions_that_misbehave(ground: Ground, tmp_path: Path) -> None:
    release = tmp_path / "release"
    with ground.executor(max_workers=1) as ex:
        # that never come back: nobody waits but those who ask for them
        ways = (bad_calls.return_what_loads, bad_calls.raise_what_loads)
        endless = [ex.submit(function, str(release)) for function in ways]
        for future in endless:
            wait_until(future.done, "the outcome is here, though it cannot be had")
        needing = ex.submit(bad_calls.take, endless[0])
        # that end programs, or have no end
        for what, text in (("exit", "SystemExit: 3"), ("recursion", "RecursionError")):
            for function in ways:
                error = _between(ex, function, what).exception(0)
                assert isinstance(error, TransferError), repr(error)
                assert text in str(error)
            with pytest.raises(TransferError, match=text):
                next(ex.map(bad_calls.return_what_loads, [what], timeout=60))
        tasks.touch(release)
        assert endless[0].result(60) == str(release)
        assert isinstance(endless[1].exception(60), TransferError)
        assert needing.result(60) == "taken"
        # too deep to be pickled, here and there
        error = _between(ex, bad_calls.nested, 100_000).exception(0)
        assert isinstance(error, TransferError)
        assert "recursion" in str(error)
        error = ex.submit(bad_calls.take, bad_calls.nested(100_000)).exception(0)
        assert isinstance(error, TransferError)
        assert "recursion" in str(error)
        error = _between(ex, bad_calls.take, bad_calls.Loads("recursion")).exception(0)
        assert isinstance(error, TransferError)
        assert "RecursionError" in str(error)
        # without a text, or with much of it
        for as_reason in (False, True):
            error = _between(ex, bad_calls.raise_without_text, as_reason).exception(0)
            assert type(error) is (ValueError if as_reason else bad_calls.TextlessError)
        error = _between(ex, bad_calls.raise_large, 10 << 20).exception(0)
        assert error.args == ("x" * (10 << 20),)
        with pytest.raises(ValueError, match="xxx") as caught:
            next(ex.map(bad_calls.raise_large, [10 << 20], timeout=60))
        assert len(_between(ex, bad_calls.megabytes, MEGABYTES).result(0)) == MEGABYTES << 20
        began = time.monotonic()
    assert caught.tb, "which holds on to the map"
    assert time.monotonic() - began < 25, "what has been read once is not waited for at the end"


def _interrupt_while_it_loads(thread: int) -> None:
    """As Ctrl-C does, when a thread unpickles what never loads."""

    def loads() -> bool:
        frames = [sys._current_frames().get(thread)]
        while frames[-1] is not None:
            frames.append(frames[-1].f_back)
        return any(frame is not None and frame.f_code is bad_calls._load.__code__ for frame in frames)

    wait_until(loads, "the result is being unpickled")
    signal.pthread_kill(thread, signal.SIGUSR1)


@pytest.mark.on("local")
def test_ctrl_c_while_a_result_is_unpickled(ground: Ground, tmp_path: Path) -> None:
    """It interrupts the program, not the result, which can be asked for again."""
    release = tmp_path / "release"
    with ground.executor(max_workers=1) as ex:
        future = ex.submit(bad_calls.return_what_loads, str(release))
        wait_until(future.done, "the outcome is here")

        def interrupt(_number: int, _frame: object) -> None:
            raise KeyboardInterrupt

        previous = signal.signal(signal.SIGUSR1, interrupt)
        killer = threading.Thread(target=_interrupt_while_it_loads, args=[threading.get_ident()])
        killer.start()
        with pytest.raises(KeyboardInterrupt):
            future.result()
        killer.join()
        signal.signal(signal.SIGUSR1, previous)
        tasks.touch(release)
        assert future.result(60) == str(release)


@pytest.mark.on("local")
def test_an_executor_inside_a_call(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1) as ex:
        assert _between(ex, bad_calls.executor_inside, str(tmp_path / "inside")).result(0) == [1, 2]
