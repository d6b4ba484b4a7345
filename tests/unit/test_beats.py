"""A worker says that it lives, whatever its calls do; one that has been given up ends."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_node_parts import WORKER, run, served  # noqa: F401  (run is a fixture)

from clusterfutures.node import heartbeat
from clusterfutures.node.heartbeat import BEAT_SECONDS, Heartbeat
from clusterfutures.store import names
from clusterfutures.store.run_directory import GivenUp, RunDirectory


def _signs(path: str) -> list[str]:
    return [name for name in os.listdir(path) if name.startswith("~")]


def _look_on(path: str) -> list[str]:
    """A long call, and what its worker shows meanwhile: as many signs as it takes to see five."""
    seen: list[str] = []
    deadline = time.monotonic() + 10
    while len(seen) < 5 and time.monotonic() < deadline:
        signs = _signs(path)
        assert len(signs) <= 1
        seen += [sign for sign in signs if sign not in seen]
        time.sleep(0.001)
    return seen


def test_a_worker_with_a_long_call_beats(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.02)
    ending, reported = served(run, _look_on, [(run.check_in_path(WORKER),)])
    assert ending == "CLOSED"
    assert reported.count(b"~beat.") == 5
    assert run.beat(WORKER) >= 5
    assert run.claimed_bins(WORKER) == []


def _give_up(path: str) -> None:
    shutil.rmtree(path)
    Path(path).touch()


def test_a_worker_that_was_given_up_ends(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A file is in the place of its directory."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.02)
    path = run.check_in_path(WORKER)
    ending, _ = served(run, _give_up, [(path,), (path,)])
    assert ending == "GIVEN_UP"
    assert run.beat(WORKER) == 0
    with pytest.raises(GivenUp):
        run.give_beat(WORKER, 0)
    with pytest.raises(GivenUp):
        run.give_beat(WORKER, 7)


def test_a_segment_is_a_beat(run: RunDirectory) -> None:  # noqa: F811
    reporter: Any = SimpleNamespace(published_at=0.0)
    one = Heartbeat(run, WORKER, reporter)
    begun = one.due - BEAT_SECONDS
    one.give(begun + BEAT_SECONDS - 1)
    assert run.beat(WORKER) == 0
    reporter.published_at = begun + 5
    one.give(begun + BEAT_SECONDS)
    assert run.beat(WORKER) == 0
    one.give(begun + BEAT_SECONDS + 5)
    assert run.beat(WORKER) == 1
    assert one.due == begun + 2 * BEAT_SECONDS + 5
    os.unlink(f"{run.check_in_path(WORKER)}/~beat.1")
    one.give(one.due)
    assert _signs(run.check_in_path(WORKER)) == ["~beat.2"], "whatever became of the one before"


def test_a_full_disk_costs_a_beat_and_nothing_else(
    run: RunDirectory,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = Heartbeat(run, WORKER, SimpleNamespace(published_at=0.0))  # type: ignore[arg-type]

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run.files, "publish", full)
        for _ in range(3):
            one.give(one.due)
    assert capsys.readouterr().err.count("No space left") == 1
    one.give(one.due)
    assert run.beat(WORKER) == 1


def test_the_names_of_beats() -> None:
    assert names.parse_beat(names.beat_sign(17)) == 17
    for other in ("~beat", "~beat.", "~beat.x", "~kill.1.2", "000000001.0-1"):
        assert names.parse_beat(other) is None
    assert names.parse_bin(names.beat_sign(3)) is names.parse_kill_sign(names.beat_sign(3)) is None
