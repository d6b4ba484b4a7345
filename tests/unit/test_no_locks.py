"""File systems without locks, or without space for one: the shared answer of the scheduler does without."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clusterfutures import LocalExecutor
from clusterfutures.schedulers import status_cache
from clusterfutures.schedulers.job_state import JobState, JobStatus

NUMBERS = [errno.ENOLCK, errno.ENOSPC, errno.EROFS, errno.ENOSYS]


class Asked:
    """A scheduler of which the job ends at the second question."""

    attempts = 1

    def __init__(self) -> None:
        self.questions = 0

    def question_key(self) -> str:
        return "key"

    def states(self, job_ids: Any) -> dict[str, JobStatus]:
        self.questions += 1
        state = JobState.RUNNING if self.questions == 1 else JobState.COMPLETED
        return {job_id: JobStatus(job_id, state) for job_id in job_ids}


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, int], None]:
    monkeypatch.setenv("CLUSTERFUTURES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(status_cache, "_without_locks", set())

    def install(where: str, number: int) -> None:
        def failing(*arguments: Any, **options: Any) -> Any:
            if where == "open" and not str(arguments[0]).endswith(".lock"):
                return original(*arguments, **options)
            raise OSError(number, os.strerror(number))

        module = os if where == "open" else fcntl
        original = getattr(module, where)
        monkeypatch.setattr(module, where, failing)

    return install


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
@pytest.mark.parametrize("where", ["flock", "open"])
def test_the_shared_answer_does_without(
    refuse: Callable[[str, int], None], caplog: pytest.LogCaptureFixture, where: str, number: int
) -> None:
    refuse(where, number)
    scheduler: Any = Asked()
    for state in (JobState.RUNNING, JobState.COMPLETED):
        assert status_cache.recent_states(scheduler, ["1"], 0.0, urgent=True).states["1"].state is state
    told = [line for line in caplog.messages if "cannot be locked" in line]
    assert len(told) == 1
    assert os.strerror(number) in told[0]
    assert "CLUSTERFUTURES_CACHE" in told[0]


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_a_run_goes_on_without_its_lock(
    refuse: Callable[[str, int], None], caplog: pytest.LogCaptureFixture, tmp_path: Path, number: int
) -> None:
    refuse("flock", number)
    with LocalExecutor(max_workers=1, directory=tmp_path / "runs") as executor:
        assert executor.submit(abs, -1).result(60) == 1
    told = [line for line in caplog.messages if "cannot lock" in line]
    assert len(told) == 1
