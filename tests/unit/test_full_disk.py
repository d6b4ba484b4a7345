"""A worker that cannot write: its segments wait in memory, its claims in the queue, not for ever."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from clusterfutures.node import disk_full
from clusterfutures.node import queue as node_queue
from clusterfutures.node.queue import QueueClient
from clusterfutures.node.reporter import Reporter
from clusterfutures.store import records
from clusterfutures.store.bootstrap import EXIT_NO_SPACE
from clusterfutures.store.run_directory import RunDirectory


class FullShelf:
    """A run directory that has no space for a number of attempts."""

    def __init__(self, failures: int, number: int) -> None:
        self.failures = failures
        self.number = number
        self.bodies: list[bytes] = []

    def publish_segment(self, _name: str, body: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(self.number, os.strerror(self.number))
        self.bodies.append(body)

    def finish(self, _worker: str, _name: str) -> None:
        assert self.bodies, "forgotten before its results are out"


class Clock:
    """Time that passes by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(disk_full, "time", made)
    return made


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_results_wait_for_space(clock: Clock, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    shelf = FullShelf(20, number)
    reporter = Reporter(shelf, "0001-0-0")  # type: ignore[arg-type]
    record = records.pack(records.VALUE, 1, 0, 1, b"x")
    reporter.add(record)
    reporter.finish("bin")
    reporter.flush()
    assert shelf.bodies == [record]
    assert capsys.readouterr().err.count("waiting for ") == 1


def test_not_for_ever_and_then_once_more(clock: Clock) -> None:
    shelf = FullShelf(10**6, errno.ENOSPC)
    reporter = Reporter(shelf, "0001-0-0")  # type: ignore[arg-type]
    record = records.pack(records.VALUE, 1, 0, 1, b"x")
    reporter.add(record)
    with pytest.raises(OSError, match="No space"):
        reporter.flush()
    assert disk_full.FULL_SECONDS - 2 < clock.now <= disk_full.FULL_SECONDS
    given_up = clock.now
    with pytest.raises(OSError, match="No space"):
        reporter.flush()
    assert clock.now == given_up, "the end of the worker does not wait again"
    shelf.failures = 0
    reporter.flush()
    assert shelf.bodies == [record], "kept in memory all the time"


_FULL_WORKER = """
import errno, os, sys
from clusterfutures.node import main as worker

def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

worker._supervise = full
sys.argv[1:] = [sys.argv[1], "0", "0001"]
worker.main()
"""


def test_the_exit_status_tells_it_when_the_log_cannot(tmp_path: Path) -> None:
    """The log of the job is on the disk that is full."""
    run = RunDirectory.create(str(tmp_path / "run"))
    context = {"python": sys.version_info[:2], "cloudpickle": cloudpickle.__version__, "cwd": str(tmp_path)}
    context["visibility_timeout"] = 1.0
    run.write_context({**context, "sys_path": sys.path, "prefixes": [sys.prefix, sys.base_prefix]})
    for log, said in (("/dev/full", ""), (str(tmp_path / "log"), "for 60 s: No space left on device; free some")):
        with open(log, "ab") as stderr:
            ended = subprocess.run([sys.executable, "-c", _FULL_WORKER, run.path], stderr=stderr, timeout=60)
        assert ended.returncode == EXIT_NO_SPACE
        assert not said or said in Path(log).read_text()


def test_other_errors_are_told_at_once(clock: Clock) -> None:
    reporter = Reporter(FullShelf(1, errno.EIO), "0001-0-0")  # type: ignore[arg-type]
    reporter.add(records.pack(records.VALUE, 1, 0, 1, b"x"))
    with pytest.raises(OSError, match="Input/output"):
        reporter.flush()
    assert clock.now == 0.0


# -- claims ---------------------------------------------------------------------------------


class Queue:
    """A queue with one bin; claiming it fails with ``number`` as long as that is set."""

    def __init__(self, number: int) -> None:
        self.number = number

    def queued(self, _worker_group: str) -> list[str]:
        return ["000000001.0-1"]

    def claim(self, _worker_group: str, _name: str, _worker: str) -> str:
        if self.number:
            raise OSError(self.number, os.strerror(self.number))
        return "the bin"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_bin_that_cannot_be_claimed_now_is_looked_at_again(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Once a second; given up after a minute, but not while calls are running: those may end well."""
    clock = Clock()
    monkeypatch.setattr(node_queue, "time", clock)
    queue = Queue(number)
    eye = QueueClient(queue, "0", "0001-0-0")  # type: ignore[arg-type]
    for _ in range(int(disk_full.FULL_SECONDS) + 2):
        eye.look(clock.now)
        assert eye.unable is None or clock.now > disk_full.FULL_SECONDS
        assert eye.claim() is None
        assert eye.due == clock.now + node_queue.LONGEST_LOOK_SECONDS
        clock.now = eye.due
    assert eye.unable is not None
    queue.number = 0
    eye.look(clock.now)
    assert eye.claim() == ("000000001.0-1", "the bin")
    assert eye.unable is None
    queue.number = number
    eye.look(clock.now)
    assert eye.claim() is None
    assert eye.unable is None, "it waits anew"


def test_other_errors_of_claims_are_raised() -> None:
    eye = QueueClient(Queue(errno.EIO), "0", "0001-0-0")  # type: ignore[arg-type]
    eye.look(0.0)
    with pytest.raises(OSError, match="Input/output"):
        eye.claim()


def test_a_bin_that_cannot_be_forgotten_now_costs_nothing(clock: Clock) -> None:
    class ReadOnly(FullShelf):
        forgotten: tuple[str, ...] = ()
        writable = False

        def finish(self, _worker: str, name: str) -> None:
            if not self.writable:
                raise OSError(errno.EROFS, "Read-only file system")
            self.forgotten += (name,)

    shelf = ReadOnly(0, 0)
    reporter = Reporter(shelf, "0001-0-0")  # type: ignore[arg-type]
    reporter.add(b"x")
    reporter.finish("bin")
    reporter.flush()
    assert shelf.bodies == [b"x"]
    shelf.writable = True
    reporter.flush()
    assert shelf.forgotten == ("bin",)
    assert clock.now == 0.0
