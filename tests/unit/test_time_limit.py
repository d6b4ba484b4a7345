"""How long a job has left."""

from __future__ import annotations

import math
import time

import pytest

from clusterfutures.node.limit import JOB_END, remaining_time


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
