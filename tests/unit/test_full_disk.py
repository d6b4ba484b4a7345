"""A worker whose segments find no space: they wait in memory, not for ever."""

from __future__ import annotations

import errno
import os

import pytest

from clusterfutures.node import patience
from clusterfutures.node.outbox import Outbox
from clusterfutures.store import records


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
    monkeypatch.setattr(patience, "time", made)
    return made


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_results_wait_for_space(clock: Clock, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    shelf = FullShelf(20, number)
    outbox = Outbox(shelf, "0001-0-0")  # type: ignore[arg-type]
    record = records.pack(records.VALUE, 1, 0, 1, b"x")
    outbox.add(record)
    outbox.finish("bin")
    outbox.flush()
    assert shelf.bodies == [record]
    assert capsys.readouterr().err.count("waiting for space") == 1


def test_not_for_ever_and_then_once_more(clock: Clock) -> None:
    shelf = FullShelf(10**6, errno.ENOSPC)
    outbox = Outbox(shelf, "0001-0-0")  # type: ignore[arg-type]
    record = records.pack(records.VALUE, 1, 0, 1, b"x")
    outbox.add(record)
    with pytest.raises(OSError, match="No space"):
        outbox.flush()
    assert patience.FULL_SECONDS - 2 < clock.now <= patience.FULL_SECONDS
    given_up = clock.now
    with pytest.raises(OSError, match="No space"):
        outbox.flush()
    assert clock.now == given_up, "the end of the worker does not wait again"
    shelf.failures = 0
    outbox.flush()
    assert shelf.bodies == [record], "kept in memory all the time"


def test_other_errors_are_told_at_once(clock: Clock) -> None:
    outbox = Outbox(FullShelf(1, errno.EROFS), "0001-0-0")  # type: ignore[arg-type]
    outbox.add(records.pack(records.VALUE, 1, 0, 1, b"x"))
    with pytest.raises(OSError, match="Read-only"):
        outbox.flush()
    assert clock.now == 0.0
