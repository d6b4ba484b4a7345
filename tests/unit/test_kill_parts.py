"""Ending a running call, step by step: what is listed and when, who is stopped, what is left out; and what
else is done to a process that is held still."""

from __future__ import annotations

import errno
import functools
import os
import signal
import time
from types import SimpleNamespace
from typing import Any

import pytest

from clusterfutures.client import effects as client_kills
from clusterfutures.client.effects import Effects
from clusterfutures.client.events import EventQueue
from clusterfutures.client.state import BinSlice, BinState, Worker
from clusterfutures.client.tasks import Call, QueueFile
from clusterfutures.errors import CallKilled, JobFailed
from clusterfutures.futures import ClusterFuture
from clusterfutures.node import rebalance as node_kills
from clusterfutures.node import slot as slots
from clusterfutures.node.capture import MOST_BYTES
from clusterfutures.node.claims import Claim
from clusterfutures.node.shared_memory import BIN, CURRENT, NOBODY, OUTPUT
from clusterfutures.node.slot import Slot, SlotState
from clusterfutures.store import names
from clusterfutures.store.bins import CALLS, Bin, CallHead
from clusterfutures.store.run_directory import RunDirectory

# pytest and its plugins have threads, so Python warns; the children take no lock of theirs
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

WORKER = "0001-0-0"


def a_claim(count: int = 10) -> Claim:
    return Claim("name", Bin(7, 0, count, CALLS, 1, [CallHead("f", 1, None)] * count, b"x" * count))


# -- what is handed over ----------------------------------------------------------------


def test_a_group_ends_before_a_doomed_call_which_is_left_out() -> None:
    claim = a_claim()
    claim.noted, claim.seconds_per_call = 10, 1e-6
    claim.doomed = {4, 5, 9}
    assert claim.leave_out_doomed() == []
    first, stop = claim.next_group(1, None)
    assert (first, stop) == (0, 4)
    claim.commands(first, stop)
    claim.progress(4, 0.0001, True)
    assert claim.leave_out_doomed() == [4, 5]
    assert claim.next_group(1, None) == (6, 9)
    claim.commands(6, 9)
    claim.progress(9, 0.1, True)
    assert not claim.finished
    assert claim.leave_out_doomed() == [9]
    assert claim.finished


# -- when it is looked for --------------------------------------------------------------


class Shelf:
    """A run directory that counts how often a worker's signs are looked for."""

    def __init__(self) -> None:
        self.looks = 0
        self.asked: list[tuple[int, int]] = []

    def asked_to_kill(self, worker: str) -> list[tuple[int, int]]:
        assert worker == WORKER
        self.looks += 1
        asked, self.asked = self.asked, []
        return asked


def test_one_listing_a_second_while_it_is_busy_none_while_it_is_not() -> None:
    shelf, claims = Shelf(), SimpleNamespace(claims={})
    ended: list[Any] = []
    slot = SimpleNamespace(number=0, state=SlotState.BUSY, end_call=lambda *call: ended.append(call))
    kills = node_kills.KillRequests(shelf, WORKER, [slot], claims)  # type: ignore[arg-type, list-item]
    for step in range(1000):
        kills.carry_out(step / 100)
    assert shelf.looks == 0
    assert kills.due(10.0) > 1e9
    claim = claims.claims[0] = a_claim()
    for step in range(1000, 2000):
        kills.carry_out(step / 100)
    assert 9 <= shelf.looks <= 10
    assert not ended
    kills.carry_out(20.0)
    assert kills.due(20.0) > 20.1, "it need not wake up for it"
    shelf.asked = [(7, 3), (8, 1), (7, 12)]
    kills.carry_out(21.0)
    assert claim.doomed == {3}, "one of another bin, and one that it does not have, are none of its"
    assert kills.due(21.0) < 21.1
    assert ended == [(7, {3})]


def test_signs_are_told_once_and_are_no_bins(tmp_path: Any) -> None:
    run = RunDirectory.create(str(tmp_path / "run"))
    assert run.files.make_directory(run.check_in_path(WORKER))
    assert run.asked_to_kill(WORKER) == []
    run.ask_to_kill(WORKER, 12, 3)
    assert run.claimed_bins(WORKER) == []
    assert run.asked_to_kill(WORKER) == [(12, 3)]
    assert run.asked_to_kill(WORKER) == []
    assert os.listdir(run.check_in_path(WORKER)) == []


@pytest.mark.parametrize(
    "name", ["~kill", "~kill.1", "~kill.1.x", "~kill.x.1", "~kill.1.2.3", "~hungry", "000000001.0-1"]
)
def test_foreign_names_are_no_signs(name: str) -> None:
    assert names.parse_kill_sign(name) is None


# -- who is killed ----------------------------------------------------------------------


@pytest.fixture
def slot(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A slot whose process only sleeps, in its own group."""
    monkeypatch.setattr(slots, "STOPPING_SECONDS", 10.0)
    run = RunDirectory.create(str(tmp_path / "run"))
    made = Slot(0, run, WORKER, [])
    made.pid = os.fork()
    if made.pid == 0:
        os.setpgid(0, 0)
        while True:
            time.sleep(1)
    made.state = SlotState.BUSY
    yield made
    os.kill(made.pid, signal.SIGKILL)
    os.waitpid(made.pid, 0)
    os.close(made.log)


def _how(slot: Slot) -> int:
    """The signal that ended its process; 0: it runs."""
    found = os.waitid(os.P_PID, slot.pid, os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    return found.si_status if found is not None else 0


def _turn(slot: Slot, bin_id: int, call: int) -> None:
    slot._shared_memory.words[BIN], slot._shared_memory.words[CURRENT] = bin_id, call


def test_only_the_process_whose_turn_it_is(slot: Slot) -> None:
    for bin_id, call in ((7, 2), (8, 3), (7, NOBODY)):
        _turn(slot, bin_id, call)
        slot.end_call(7, {3})
        assert _how(slot) == 0
    _turn(slot, 7, 3)
    slot.end_call(7, {3})
    deadline = time.monotonic() + 20
    while _how(slot) != signal.SIGKILL:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_call_that_ends_while_its_process_is_being_stopped(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call of the process is none that was to be killed: it goes on."""
    _turn(slot, 7, 3)
    is_stopped = slot._is_stopped

    def stopped() -> bool:
        if found := is_stopped():
            _turn(slot, 7, 4)
        return found

    monkeypatch.setattr(slot, "_is_stopped", stopped)
    slot.end_call(7, {3})
    deadline = time.monotonic() + 20
    while _how(slot) != 0:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_call_that_writes_without_end_is_shortened_while_it_runs(slot: Slot) -> None:
    """It goes on, and what was written before it stays."""
    os.write(slot.log, b"of another call\n")
    start = slot._shared_memory.words[OUTPUT] = os.fstat(slot.log).st_size
    assert not slot.shorten_output()
    os.write(slot.log, b"first " + bytes(2 * MOST_BYTES) + b" last")
    assert slot.shorten_output()
    assert not slot.shorten_output()
    assert _how(slot) == 0
    size = os.fstat(slot.log).st_size
    assert size - start <= MOST_BYTES
    assert os.pread(slot.log, start + 6, 0) == b"of another call\nfirst "
    assert os.pread(slot.log, 5, size - 5) == b" last"
    assert b"left out" in os.pread(slot.log, 100, start + MOST_BYTES // 2)


# -- the client -------------------------------------------------------------------------


class Hand:
    """A manager that cannot take anything back."""

    def take_back(self, _file: QueueFile) -> bool:
        return False

    def withdraw(self, _work: Any) -> bool:
        raise AssertionError("a worker has it")


class Told:
    """A run directory that has no space at first."""

    def __init__(self) -> None:
        self.failures = 1
        self.signs: list[tuple[str, int, int]] = []

    def ask_to_kill(self, *sign: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        self.signs.append(sign)


def test_a_worker_is_told_as_soon_as_it_is_known_and_there_is_space(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(client_kills, "time", SimpleNamespace(monotonic=lambda: now[0]))
    calls = [Call("0", ClusterFuture(), print, "f", b"", None) for _ in range(3)]
    state = BinState(9, "0", list(calls))
    bin_slice = BinSlice(0, 3, 1)
    state.slices.append(bin_slice)
    file = QueueFile("0")
    file.name = names.bin_name(9, 0, 3)
    for call in calls:
        call.file = file
    run = Told()
    kills = client_kills.KillRequests(run, SimpleNamespace(bin={9: state}.get), Hand())  # type: ignore[arg-type]
    kills.ask(calls[1])
    kills.ask(calls[1])
    kills.advance()
    assert run.failures == 1, "nobody to tell"
    bin_slice.worker = Worker(WORKER, "0", "12", 0.0)
    kills.advance()
    kills.advance()
    assert run.signs == []
    now[0] += 1.1
    kills.advance()
    kills.advance()
    assert run.signs == [(WORKER, 9, 1)]


def test_what_else_ends_a_doomed_call_is_told_and_is_its_end() -> None:
    call = Call("0", ClusterFuture(), print, "f", b"", None)
    call.doomed = True
    call.fail(0, 1, JobFailed(job_id="12", state="TIMEOUT"))
    error = call.future.exception(0)
    assert isinstance(error, CallKilled)
    assert "job 12 TIMEOUT" in str(error)


@pytest.mark.parametrize("begun", [False, True])
def test_a_doomed_call_that_is_given_back_does_not_go_to_the_queue(begun: bool) -> None:
    out = SimpleNamespace(_events=EventQueue())
    out.withdraw = functools.partial(Effects.withdraw, out)
    call = Call("0", ClusterFuture(), print, "f", b"", None)
    call.file, call.doomed = QueueFile("0"), True
    if begun:
        call.future.begin()
    assert not Effects.unplace(out, call)  # type: ignore[arg-type]
    assert call.withdrawn
    assert call.future.done()
    assert call.future.cancelled() or (begun and isinstance(call.future.exception(0), CallKilled))
