"""The fence: a worker that was given up, and lives, begins nothing more; the first to rename a file decides.

What a worker does and what its program does come here in every order, with errors in between.
"""

from __future__ import annotations

import errno
import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusterfutures.client.resume.history import RunHistory
from clusterfutures.store import bootstrap, names
from clusterfutures.store.bins import CALLS, Bin, CallHead
from clusterfutures.store.history import History
from clusterfutures.store.names import Claimed
from clusterfutures.store.run_directory import GivenUp, RunDirectory

WORKER = "0001-0-0"


def content(bin_id: int, calls: int) -> Bin:
    return Bin(bin_id, 0, calls, CALLS, 1, [CallHead("f" * 32, 4, None)] * calls, b"data" * calls)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    made = RunDirectory.create(str(tmp_path / "run"))
    made.open_worker_group("0")
    made.be_patient(5.0)
    assert made.revoke(WORKER), "as the job's own mkdir does"
    yield made
    made.drop_spare()


def claimed(run: RunDirectory, bin_id: int, calls: int = 10) -> str:
    name = run.publish_bin("0", content(bin_id, calls))
    assert run.claim("0", name, WORKER)
    return name


def test_names_of_claimed_bins() -> None:
    name = names.bin_name(12, 0, 31)
    assert names.parse_claimed(name) == (12, 0, 31, 0)
    assert names.parse_claimed(names.bin_name(12, 4, 31)) == (12, 4, 31, 4)
    assert names.parse_claimed(names.begun_name(name, 20)) == (12, 0, 31, 20)
    assert names.parse_taken(names.taken_name(WORKER, names.begun_name(name, 20))) == (WORKER, (12, 0, 31, 20))
    for other in ("", "~kill.1.2", "000000012.0-31.", "000000012.0-31.x", "~000000012.0-31", f"{WORKER}~00000007"):
        assert names.parse_claimed(other) is None, other
        assert names.parse_taken(other) is None, other
    assert names.parse_bin(names.begun_name(name, 20)) is None, "an older version does not take it for a bin"


def test_nothing_begins_behind_the_fence(run: RunDirectory) -> None:
    begun = run.note_begun(WORKER, claimed(run, 1), 7)
    plain = claimed(run, 2)
    run.ask_to_kill(WORKER, 1, 3)
    waiting = run.publish_bin("0", content(3, 1))
    assert run.fence(WORKER) == [Claimed(1, 0, 10, 7), Claimed(2, 0, 10, 0)]
    for attempt in (
        lambda: run.note_begun(WORKER, begun, 9),
        lambda: run.note_begun(WORKER, plain, 1),
        lambda: run.claim("0", waiting, WORKER),
        lambda: run.asked_to_kill(WORKER),
    ):
        with pytest.raises(GivenUp):
            attempt()
    assert run.queued("0") == [waiting]
    run.finish(WORKER, plain)
    run.keep(WORKER, begun)
    assert run.claimed_bins(WORKER) == []
    assert not run.revoke(WORKER)
    assert run.fence(WORKER) == [Claimed(1, 0, 10, 7), Claimed(2, 0, 10, 0)], "it may be done again"
    assert run.launched() == [WORKER]


def test_between_the_end_of_the_directory_and_the_file_in_its_place(run: RunDirectory) -> None:
    name = claimed(run, 1)
    waiting = run.publish_bin("0", content(2, 1))
    run.fence(WORKER)
    os.unlink(run.check_in_path(WORKER))
    for attempt in (lambda: run.note_begun(WORKER, name, 9), lambda: run.claim("0", waiting, WORKER)):
        with pytest.raises(GivenUp):
            attempt()
    os.rename(run.path, f"{run.path}-away")
    with pytest.raises(FileNotFoundError):
        run.note_begun(WORKER, name, 9)


def test_a_job_that_has_not_started_never_does(run: RunDirectory, tmp_path: Path) -> None:
    assert run.fence("0001-1-0") == []
    script = "\n".join([*bootstrap.check_in_lines(run, "0001"), f"touch {tmp_path}/started"])
    variables = {"CLUSTERFUTURES_INDEX": "1", "CLUSTERFUTURES_ATTEMPT": "0", "PATH": os.environ["PATH"]}
    done = subprocess.run(["/bin/sh", "-c", script], env=variables, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "started").exists()


def test_a_run_that_is_gone_is_no_fence(run: RunDirectory) -> None:
    os.rename(run.path, f"{run.path}-away")
    with pytest.raises(FileNotFoundError):
        run.fence(WORKER)


def test_what_was_taken_is_part_of_the_past(run: RunDirectory) -> None:
    """Another program that comes back to the run knows what had begun, and that the worker had it."""
    run.note_begun(WORKER, claimed(run, 1), 7)
    claimed(run, 2)
    seen = [(found.worker, found.name, found.begun) for found in History(run).claimed()]
    assert seen == [(WORKER, "000000001.0-10", 7), (WORKER, "000000002.0-10", 0)]
    run.fence(WORKER)
    assert [(found.worker, found.name, found.begun) for found in History(run).claimed()] == seen
    assert list(History(run).kept()) == []
    assert RunHistory.read(History(run)).checked_in == [WORKER]


class Race:
    """A worker that begins what it can, in a thread; ``begun``: what it has begun, by bin."""

    def __init__(self, run: RunDirectory, seed: int) -> None:
        self.run = RunDirectory(run.path)
        self.run.be_patient(5.0)
        self.begun: dict[int, int] = {}
        self._chance = random.Random(seed)
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        try:
            for name in self.run.queued("0"):
                found = self.run.claim("0", name, WORKER)
                assert found is not None
                self.begun[found.bin_id] = 1
                for stop in range(2, self._chance.randint(2, 10)):
                    name = self.run.note_begun(WORKER, name, stop)
                    self.begun[found.bin_id] = stop
        except GivenUp:
            return


@pytest.mark.parametrize("seed", range(20))
def test_who_renames_first_decides(run: RunDirectory, seed: int) -> None:
    for bin_id in range(1, 101):
        run.publish_bin("0", content(bin_id, 10))
    race = Race(run, seed)
    race.thread.start()
    while len(race.begun) < 2 + 2 * seed:
        pass
    taken = run.fence(WORKER)
    race.thread.join()
    assert taken
    told = {found.bin_id: max(1, found.begun) for found in taken}
    waiting = {parsed.bin_id for name in run.queued("0") if (parsed := names.parse_bin(name))}
    last = max(told)
    race.begun.setdefault(last, 1)  # claimed, and taken away before it was read: the claim is its note
    assert told == race.begun
    assert not waiting & set(told)
    assert waiting | set(told) == set(range(1, 101))


NUMBERS = (errno.ESTALE, errno.EIO, errno.EMFILE)
VERBS = [(verb, after) for verb in ("rename", "listdir", "rmdir", "unlink") for after in (False, True)]


def broken_once(verb: str, number: int, after: bool, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first use of a verb of ``os`` fails, without effect or after it; what it was used on."""
    used: list[str] = []
    original: Callable[..., Any] = getattr(os, verb)

    def failing(*arguments: Any, **options: Any) -> Any:
        if used:
            return original(*arguments, **options)
        used.append(str(arguments[0]))
        if after:
            original(*arguments, **options)
        raise OSError(number, os.strerror(number), used[0])

    monkeypatch.setattr(os, verb, failing)
    return used


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
@pytest.mark.parametrize(("verb", "after"), [*VERBS, ("open", False)])  # after it, a descriptor would stay open
def test_one_error_while_a_worker_is_fenced(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, number: int, verb: str, after: bool
) -> None:
    run.note_begun(WORKER, claimed(run, 1), 7)
    run.ask_to_kill(WORKER, 1, 3)
    with monkeypatch.context() as patch:
        used = broken_once(verb, number, after, patch)
        assert run.fence(WORKER) == [Claimed(1, 0, 10, 7)]
    assert used
    with pytest.raises(GivenUp):
        run.note_begun(WORKER, "000000001.0-10.7", 8)


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
@pytest.mark.parametrize("after", [False, True])
def test_one_error_while_calls_are_noted(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    """A rename that is said to have failed, and has happened, counts."""
    name = claimed(run, 1)
    with monkeypatch.context() as patch:
        broken_once("rename", number, after, patch)
        assert run.note_begun(WORKER, name, 7) == names.begun_name(name, 7)
    assert run.fence(WORKER) == [Claimed(1, 0, 10, 7)]


def test_a_note_that_cannot_be_made_begins_nothing(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    name = claimed(run, 1)
    os.unlink(f"{run.check_in_path(WORKER)}/{name}")
    with pytest.raises(GivenUp):
        run.note_begun(WORKER, name, 7)
    again = claimed(run, 2)
    run.be_patient(0.0)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "no answer")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        with pytest.raises(OSError, match="no answer"):
            run.note_begun(WORKER, again, 7)
        with pytest.raises(OSError, match="no answer"):
            run.fence(WORKER)
