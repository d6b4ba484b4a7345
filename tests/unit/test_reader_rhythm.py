"""When the client looks for results: hardly late for a call of seconds, seldom when nothing comes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from clusterfutures.client import collector
from clusterfutures.client.collector import LONGEST_LOOK_SECONDS, ResultCollector
from clusterfutures.client.state import WorkerState
from clusterfutures.store import records


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Run:
    """A run in which segments lie when ``segments`` names them."""

    path = "run"

    def __init__(self) -> None:
        self.segments: dict[str, bytes] = {}

    def new_segments(self) -> list[str]:
        return list(self.segments)

    def read_segment(self, name: str) -> memoryview:
        return memoryview(self.segments[name])

    @property
    def files(self) -> Any:
        return SimpleNamespace(
            publish=lambda *_: None, discard=lambda path: self.segments.pop(path.split("/")[-1], None)
        )


class Looker:
    """A reader that looks whenever it is due, on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        """seconds: what the dispatcher says that calls take."""
        self.clock = Clock()
        self.run = Run()
        self.looks: list[float] = []
        monkeypatch.setattr(collector, "time", self.clock)
        dispatcher: Any = SimpleNamespace(begun=lambda _worker, _record: seconds, worker_groups={})
        worker = SimpleNamespace(state=WorkerState.RUNNING)
        registry: Any = SimpleNamespace(
            workers=["w"], visibility_timeout=60.0, knows_batch=lambda _name: True, worker=lambda _name: worker
        )
        run: Any = self.run
        self.reader = ResultCollector(run, dispatcher, registry, lambda _text: None)
        self.reader.stir(self.clock.now)
        self.begun = self.clock.now

    def begin_a_call(self) -> None:
        self.run.segments["0001-0-0~00000000"] = records.pack(records.BEGUN, 1, 0, 1)

    def look_for(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.reader.look(self.clock.now)
            self.looks.append(self.clock.now - self.begun)
            self.clock.now = max(self.reader.due, self.clock.now + 1e-6)

    def gap_at(self, moment: float) -> float:
        """Seconds between the looks before and after a moment."""
        return min(t for t in self.looks if t > moment) - max(t for t in self.looks if t <= moment)


def test_what_comes_after_seconds_is_hardly_late(monkeypatch: pytest.MonkeyPatch) -> None:
    looker = Looker(monkeypatch, 0.0)
    looker.look_for(60)
    for moment in (0.05, 0.5, 2.0):
        assert looker.gap_at(moment) <= 0.015 * moment + collector.LOOK_SECONDS
    assert looker.gap_at(40) == pytest.approx(LONGEST_LOOK_SECONDS)
    assert len(looker.looks) < 1000


def test_the_end_of_a_call_of_known_length_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    looker = Looker(monkeypatch, 30.0)
    looker.begin_a_call()
    looker.look_for(100)
    assert looker.gap_at(15) > 0.5
    assert looker.gap_at(30) < 0.02
    assert looker.gap_at(80) == pytest.approx(LONGEST_LOOK_SECONDS)
    assert len(looker.looks) < 3000


def test_short_calls_are_not_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    looker = Looker(monkeypatch, 0.01)
    looker.begin_a_call()
    looker.look_for(1)
    assert not looker.reader._expected
