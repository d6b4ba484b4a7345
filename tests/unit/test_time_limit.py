"""How long a job has left, and what a worker still begins then."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator

import pytest

from clusterfutures.errors import TimeLimitNear
from clusterfutures.node.time_limit import (
    FINISHING_SECONDS,
    JOB_END,
    NOTICE,
    Notice,
    Notices,
    TimeBudget,
    remaining_time,
)


def test_the_time_left_comes_from_the_end_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOB_END, str(time.time() + 100))
    assert 90 < remaining_time() <= 100
    monkeypatch.setenv(JOB_END, str(time.time() - 5))
    assert remaining_time() == 0.0


@pytest.mark.parametrize("said", ["", "soon", "nan", "inf"])
def test_without_a_known_limit_there_is_no_end(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(JOB_END, said)
    assert remaining_time() == math.inf
    monkeypatch.delenv(JOB_END)
    assert remaining_time() == math.inf


# -- whether a worker has the time to take more ---------------------------------------------


def test_without_a_limit_everything_fits() -> None:
    pace = TimeBudget()
    assert pace.fits(math.inf)
    pace.measured(1e9)
    assert pace.fits(math.inf)


@pytest.mark.parametrize("whole", [0.0, 0.5, 60.0, 86400.0])
def test_a_fresh_worker_always_tries(whole: float) -> None:
    """However short its life: else what it leaves to the next one would never be tried."""
    pace = TimeBudget()
    assert pace.fits(whole)
    assert pace.fits(whole), "the question itself costs nothing"


def test_what_waited_for_long_leaves_the_unknown_to_a_fresh_one() -> None:
    pace = TimeBudget()
    assert pace.fits(1000)
    assert pace.fits(501)
    assert not pace.fits(499)


def test_the_longest_of_the_last_calls_must_fit() -> None:
    pace = TimeBudget()
    for seconds in (10.0, 100.0, 10.0):
        pace.measured(seconds)
    assert not pace.fits(100 + FINISHING_SECONDS)
    assert pace.fits(130 + FINISHING_SECONDS)
    for _ in range(100):
        pace.measured(10.0)
    assert pace.fits(20), "what was long ago is forgotten"
    assert not pace.fits(10.0)


@pytest.mark.parametrize("seconds", [0.0, 1e-6, 0.5])
def test_short_calls_leave_time_to_finish(seconds: float) -> None:
    pace = TimeBudget()
    pace.measured(seconds)
    assert not pace.fits(FINISHING_SECONDS)
    assert pace.fits(2 * FINISHING_SECONDS)


# -- a notice reaches calls, and nothing between them -----------------------------------------


@pytest.fixture
def own_handler() -> Iterator[None]:
    before = signal.getsignal(NOTICE)
    yield
    signal.signal(NOTICE, before)


def _notify() -> None:
    os.kill(os.getpid(), NOTICE)


def test_a_notice_waits_for_the_call(own_handler: None) -> None:
    heard: list[str] = []
    notice = Notice(lambda: heard.append("heard"))
    call = notice.reaching(lambda: heard.append("ran"))
    _notify()
    assert heard == [], "between calls"
    call()
    assert heard == ["heard", "ran"]
    call()
    assert heard == ["heard", "ran", "ran"], "once"


def test_a_notice_is_raised_in_the_call_alone(own_handler: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOB_END, str(time.time() + 20))
    notice = Notice(None)
    with pytest.raises(TimeLimitNear, match=r"ends in [12]\d\.\d s") as caught:
        notice.reaching(_notify)()
    assert 10 < caught.value.seconds <= 20
    _notify()
    with pytest.raises(TimeLimitNear):
        notice.reaching(list)()
    assert notice.reaching(dict)(a=1) == {"a": 1}


class Told:
    """A slot that counts what it is told."""

    times = 0

    def notify(self) -> None:
        self.times += 1


@pytest.mark.parametrize(("wanted", "left", "times"), [("raise", 9, 1), ("raise", 60, 0), (None, 9, 0)])
def test_when_notice_is_given(monkeypatch: pytest.MonkeyPatch, wanted: str | None, left: float, times: int) -> None:
    monkeypatch.setenv(JOB_END, str(time.time() + left))
    told = Told()
    Notices({"on_timeout": wanted, "timeout_notice": 10.0}).give([told])  # type: ignore[list-item]
    assert told.times == times
