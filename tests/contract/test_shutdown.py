"""How executors end: by ``shutdown``, ``with``, Ctrl-C, the interpreter's end, or being forgotten.

That nothing is left of them is checked after each test (``conftest.Ground.close``).
"""

from __future__ import annotations

import concurrent.futures as cf
import gc
import os
import signal
import subprocess
import time
import weakref
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground
from contract_tasks import touch, wait_until

from clusterfutures.errors import JobFailed


def _nothing_is_left(ground: Ground) -> bool:
    return not ground.jobs() and not ground.processes() and not list(ground.runs.iterdir())


def test_shutdown_waits_and_cleans(ground: Ground) -> None:
    ex = ground.executor()
    futures = [ex.submit(tasks.pause_and_add, 0.1, n) for n in range(4)]
    ex.shutdown()
    assert [future.result(0) for future in futures] == [0, 1, 2, 3]
    assert not list(ground.runs.iterdir())
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        ex.submit(tasks.double, 1)
    ex.shutdown()  # twice is no error


def test_a_call_that_was_accepted_is_carried_out(ground: Ground) -> None:
    """However soon after it the executor is shut down, by whichever thread."""
    for _ in range(10 if ground.name == "local" else 2):
        with ground.executor(max_workers=1) as ex:
            ex.submit(tasks.double, 1).result(60)
            last = ex.submit(tasks.double, 2)
        assert last.result(0) == 4


def test_workers_do_not_outstay_their_executor(ground: Ground) -> None:
    with ground.executor(idle_timeout=3600) as ex:
        assert ex.submit(tasks.double, 1).result(60) == 2
    wait_until(lambda: _nothing_is_left(ground), "jobs, processes and files are gone")


def test_one_that_was_never_used(ground: Ground) -> None:
    with ground.executor():
        pass
    assert not ground.runs.exists() or not list(ground.runs.iterdir())


def test_shutdown_without_waiting(ground: Ground, tmp_path: Path) -> None:
    ex = ground.executor(max_workers=1)
    futures = [ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", 1), ex.submit(tasks.double, 1)]
    began = time.monotonic()
    ex.shutdown(wait=False)
    assert time.monotonic() - began < 5, "the call would take half a minute"
    with pytest.raises(RuntimeError):
        ex.submit(tasks.double, 1)
    touch(tmp_path / "release")
    assert [future.result(60) for future in futures] == [1, 2]


def test_cancel_futures(ground: Ground, tmp_path: Path) -> None:
    ex = ground.executor(max_workers=1)
    running = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", 1)
    tasks.await_file(tmp_path / "started")
    waiting = [ex.submit(tasks.touch_and_return, tmp_path / f"ran-{n}") for n in range(20)]
    depends = ex.submit(tasks.add, running, 1)
    ex.shutdown(wait=False, cancel_futures=True)
    done, _ = cf.wait(waiting, 10)
    assert len(done) == 20
    assert all(future.cancelled() for future in waiting)
    wait_until(depends.done, "a call that waits for another is cancelled too")
    assert depends.cancelled()
    touch(tmp_path / "release")
    assert running.result(60) == 1
    ex.shutdown()
    assert not list(tmp_path.glob("ran-*"))


def test_cancel_futures_ends_a_map(ground: Ground, tmp_path: Path) -> None:
    ex = ground.executor(max_workers=1)
    running = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", 1)
    tasks.await_file(tmp_path / "started")
    values = ex.map(tasks.double, range(10))
    ex.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(cf.CancelledError):
        list(values)
    touch(tmp_path / "release")
    assert running.result(60) == 1


def test_terminate_workers(ground: Ground, tmp_path: Path) -> None:
    """What runs fails, what waits is cancelled, nothing is accepted; it returns at once."""
    ex = ground.executor(max_workers=1)
    running = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
    tasks.await_file(tmp_path / "started")
    waiting = [ex.submit(tasks.touch_and_return, tmp_path / f"ran-{n}") for n in range(5)]
    depends = ex.submit(tasks.add, running, 1)
    began = time.monotonic()
    ex.terminate_workers()
    assert time.monotonic() - began < 3
    error = running.exception(60)
    assert isinstance(error, JobFailed)
    assert "terminate_workers() was called" in str(error)
    assert "from outside" not in str(error), "it was the program itself"
    cf.wait(waiting, 15)
    assert all(future.cancelled() for future in waiting)
    wait_until(depends.done, "a call that waits for another ends too")
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.submit(tasks.double, 1)
    ex.terminate_workers()  # twice is no error
    ex.shutdown()
    wait_until(lambda: _nothing_is_left(ground), "jobs, processes and files are gone")
    assert not list(tmp_path.glob("ran-*"))


@pytest.mark.on("local", "slurm")
def test_kill_workers(ground: Ground, tmp_path: Path) -> None:
    """A worker that does not heed a signal to end is gone all the same, at once."""

    def stop_the_worker(started: str) -> None:
        os.kill(os.getppid(), signal.SIGSTOP)
        tasks.block(started, f"{started}-never")

    ex = ground.executor(max_workers=1)
    running = ex.submit(stop_the_worker, f"{tmp_path}/started")
    tasks.await_file(tmp_path / "started")
    waiting = ex.submit(tasks.touch_and_return, tmp_path / "ran")
    began = time.monotonic()
    ex.kill_workers()
    assert time.monotonic() - began < 3
    assert "kill_workers() was called" in str(running.exception(60))
    cf.wait([waiting], 15)
    assert waiting.cancelled()
    wait_until(lambda: not ground.processes() and not ground.jobs(), "jobs and processes are gone", 4.5)
    ex.shutdown()
    assert not (tmp_path / "ran").exists()


def test_terminate_workers_of_one_that_was_never_used(ground: Ground) -> None:
    ex = ground.executor()
    ex.terminate_workers()
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.submit(tasks.double, 1)


def test_an_exception_in_the_block(ground: Ground, tmp_path: Path) -> None:
    """What runs is ended, what has not begun is cancelled, and it does not take long."""
    with pytest.raises(LookupError), ground.executor(max_workers=1) as ex:  # noqa: PT012
        running = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        tasks.await_file(tmp_path / "started")
        waiting = ex.submit(tasks.touch_and_return, tmp_path / "must not be")
        began = time.monotonic()
        raise LookupError("the program's own")
    assert time.monotonic() - began < 20
    assert isinstance(running.exception(0), JobFailed)
    assert "LookupError" in str(running.exception(0))
    assert waiting.cancelled()
    assert not (tmp_path / "must not be").exists()


def test_an_exception_before_any_job_has_started(ground: Ground) -> None:
    with pytest.raises(LookupError), ground.executor() as ex:  # noqa: PT012
        futures = [ex.submit(tasks.pause_and_add, 20, n) for n in range(10)]
        raise LookupError
    assert all(future.done() for future in futures)


def test_an_executor_that_is_forgotten_ends(ground: Ground) -> None:
    ex = ground.executor(idle_timeout=3600)
    assert ex.submit(tasks.double, 1).result(60) == 2
    gone = weakref.ref(ex)
    ground._executors.clear()
    del ex
    gc.collect()
    assert gone() is None
    wait_until(lambda: _nothing_is_left(ground), "jobs, processes and files are gone")


def test_calls_outlive_the_last_reference(ground: Ground) -> None:
    future = ground.executor().submit(tasks.pause_and_add, 0.2, 1, 2)
    ground._executors.clear()
    gc.collect()
    assert future.result(60) == 3


def test_several_executors_at_a_time(ground: Ground) -> None:
    with ground.executor(max_workers=1) as one, ground.executor(max_workers=1) as two:
        first, second = one.submit(tasks.double, 1), two.submit(tasks.double, 2)
        assert [first.result(60), second.result(60)] == [2, 4]
        one.shutdown()
        assert two.submit(tasks.double, 3).result(60) == 6


def test_the_end_of_a_block_while_results_are_unread(ground: Ground) -> None:
    with ground.executor() as ex:
        values = ex.map(tasks.double, range(100))
    assert list(values) == [2 * n for n in range(100)]


def test_large_results_are_there_after_the_end(ground: Ground) -> None:
    """Results that stand in files of their own survive the run directory."""

    def make(n: int) -> bytes:
        return bytes([n]) * 3_000_000

    with ground.executor() as ex:
        future = ex.submit(make, 1)
        values = ex.map(make, range(4))
    assert future.result(0) == bytes([1]) * 3_000_000
    assert [value[0] for value in values] == [0, 1, 2, 3]


@pytest.mark.on("local")
@pytest.mark.parametrize("ordered", [True, False])
def test_the_end_while_a_map_has_been_read_in_part(ground: Ground, ordered: bool) -> None:
    """The file of the large result that was read is gone: nobody waits for it, and the others are read."""
    with ground.executor(max_workers=1) as ex:
        values = ex.map(bytes, [2_000_000, 3_000_000], bins=1, ordered=ordered)
        other = ex.map(bytes, [4_000_000])
        assert len(next(values)) == 2_000_000
        began = time.monotonic()
    assert time.monotonic() - began < 20
    assert len(next(values)) == 3_000_000
    assert len(next(other)) == 4_000_000


def test_the_end_of_the_interpreter(ground: Ground, tmp_path: Path) -> None:
    """What was submitted is carried out, as the standard library's executors do."""
    program = ground.script(
        """
import sys, time

def mark(path):
    time.sleep(0.2)
    open(path, "w").close()

ex = executor(max_workers=1)
for n in range(4):
    ex.submit(mark, f"{sys.argv[1]}/ran-{n}")
print("end of the program")
""",
        str(tmp_path),
    )
    assert program.said == "end of the program\n"  # type: ignore[attr-defined]
    assert program.complaint == "" or ground.slack  # type: ignore[attr-defined]
    assert len(list(tmp_path.glob("ran-*"))) == 4
    assert not list(ground.runs.iterdir())
    wait_until(lambda: _nothing_is_left(ground), "jobs and processes are gone")


_LONG = """
import sys, time

def long(path):
    open(path, "w").close()
    time.sleep(40)

def never(path):
    open(path, "w").close()

"""


@pytest.mark.parametrize("how", ["with", "plain", "map"])
def test_ctrl_c(ground: Ground, tmp_path: Path, how: str) -> None:
    """SIGINT in the middle of waiting: nothing runs on, nothing is left, and soon."""
    body = {
        "with": """
with executor(max_workers=1) as ex:
    first = ex.submit(long, sys.argv[1])
    second = ex.submit(never, sys.argv[2])
    first.result()
""",
        "plain": """
ex = executor(max_workers=1)
first = ex.submit(long, sys.argv[1])
second = ex.submit(never, sys.argv[2])
first.result()
""",
        "map": """
with executor(max_workers=1) as ex:
    for value in ex.map(lambda path: long(path), [sys.argv[1], sys.argv[2]], chunksize=1):
        print(value)
""",
    }[how]
    program = ground.script(_LONG + body, f"{tmp_path}/started", f"{tmp_path}/must not be", wait=False)
    try:
        tasks.await_file(tmp_path / "started")
        began = time.monotonic()
        program.send_signal(signal.SIGINT)
        _, complaint = program.communicate(timeout=60)
    finally:
        program.kill()
    assert time.monotonic() - began < 20
    assert program.returncode != 0
    assert "KeyboardInterrupt" in complaint
    wait_until(lambda: _nothing_is_left(ground), "jobs, processes and files are gone")
    assert not (tmp_path / "must not be").exists()


def test_a_program_that_is_killed(ground: Ground, tmp_path: Path) -> None:
    """Nobody could clean up; but workers that nobody needs any more go home."""
    program = ground.script(
        """
import sys
ex = executor(max_workers=1, idle_timeout=0.5)
ex.submit(open, sys.argv[1], "w").exception()
print("ready", flush=True)
import time
time.sleep(40)
""",
        str(tmp_path / "ran"),
        wait=False,
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    finally:
        program.kill()
        program.communicate()
    wait_until(lambda: not ground.jobs() and not ground.processes(), "the worker goes home")
    subprocess.run(["rm", "-r", str(ground.run_directory())], check=True)
