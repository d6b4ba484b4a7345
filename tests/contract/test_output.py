"""``future.output()``: exactly what this call wrote, whoever shared its job, until long after."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground
from contract_tasks import touch


def _lines(number: int) -> set[str]:
    return {
        f"python {number}",
        f"error {number}",
        f"no newline {number};write {number}",
        f"printf {number}",
        f"child {number}",
        f"child error {number}",
    }


def test_fifty_calls_that_share_a_job(ground: Ground) -> None:
    with ground.executor(max_workers=1) as ex:
        futures = [ex.submit(tasks.write_everywhere, n) for n in range(50)]
        for number, future in enumerate(futures):
            assert future.result(60) == number
            assert sorted(future.output().splitlines()) == sorted(_lines(number))
        assert len({future.job_id for future in futures}) == 1
        nothing = ex.submit(tasks.double, 1)
        nothing.result(60)
        assert nothing.output() == ""
    assert sorted(futures[17].output().splitlines()) == sorted(_lines(17)), "the executor is closed by now"


def test_several_processes_do_not_mix(ground: Ground) -> None:
    with ground.executor(max_workers=1, processes=2) as ex:
        futures = [ex.submit(tasks.write_everywhere, n) for n in range(20)]
        for number, future in enumerate(futures):
            future.result(60)
            assert sorted(future.output().splitlines()) == sorted(_lines(number))


def test_much_output(ground: Ground) -> None:
    """More than travels with a result; it is there after the run directory is gone."""
    with ground.executor(max_workers=1) as ex:
        large = ex.submit(tasks.write_much, "x" * 99, 5000)
        small = ex.submit(tasks.write_much, "ä☃", 2)
        assert large.result(60) == 5000
        assert small.result(60) == 2
        kept = ex.submit(tasks.write_much, "y" * 99, 5000)
    assert not list(ground.runs.iterdir())
    assert kept.output() == ("y" * 99 + "\n") * 5000
    assert large.output() == ("x" * 99 + "\n") * 5000
    assert small.output() == "ä☃\nä☃\n"


def test_output_of_calls_that_fail(ground: Ground) -> None:
    def say_and_raise() -> None:
        print("before the error")
        raise ValueError("no")

    with ground.executor(max_workers=1) as ex:
        raising = ex.submit(say_and_raise)
        assert isinstance(raising.exception(60), ValueError)
        assert raising.output() == "before the error\n"
        dying = ex.submit(tasks.die, "exit")
        assert dying.exception(60) is not None
        assert "last words" in dying.output()


def test_what_a_call_does_to_its_streams_ends_with_it(ground: Ground) -> None:
    def vandal() -> None:
        print("vandal")
        sys.stdout.close()
        sys.stderr = None  # type: ignore[assignment]
        os.close(1)

    with ground.executor(max_workers=1) as ex:
        first = ex.submit(vandal)
        first.result(60)
        assert first.output() == "vandal\n"
        after = ex.submit(tasks.write_everywhere, 1)
        after.result(60)
        assert sorted(after.output().splitlines()) == sorted(_lines(1))


def test_buffered_words_are_the_calls_own(ground: Ground) -> None:
    """What C and Python still hold back when the call returns is not the next call's."""

    def hold_back(text: str) -> None:
        import ctypes

        sys.stdout.write(f"python {text} ")
        ctypes.CDLL(None).printf(b"c %s ", text.encode())

    with ground.executor(max_workers=1) as ex:
        futures = [ex.submit(hold_back, text) for text in "abc"]
        for text, future in zip("abc", futures, strict=True):
            future.result(60)
            assert sorted(future.output().split()) == sorted(f"python {text} c {text}".split())


def test_stdin_is_empty(ground: Ground) -> None:
    def read() -> tuple[str, str]:
        return sys.stdin.read(), subprocess.run(["cat"], capture_output=True, text=True, check=True).stdout

    with ground.executor(max_workers=1) as ex:
        assert ex.submit(read).result(60) == ("", "")


def test_output_while_a_child_lives_on(ground: Ground, tmp_path: Path) -> None:
    """A process left behind holds nobody up, and ends with the job."""

    def leave_behind(path: str) -> None:
        print("parent")
        command = f"echo $$ > {path}.tmp; mv {path}.tmp {path}; sleep 60"
        subprocess.Popen(["/bin/sh", "-c", command], start_new_session=True)
        tasks.await_file(path)

    with ground.executor(max_workers=1) as ex:
        future = ex.submit(leave_behind, f"{tmp_path}/child")
        future.result(60)
        assert future.output() == "parent\n"
        assert ex.submit(tasks.double, 1).result(60) == 2
    # that the child is gone is what the look after each test finds out


@pytest.mark.on("local", "slurm")
def test_output_is_the_calls_when_read_at_any_time(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1) as ex:
        running = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        tasks.await_file(tmp_path / "started")
        assert running.output() == ""
        touch(tmp_path / "release")
        running.result(60)
        assert running.output() == ""
