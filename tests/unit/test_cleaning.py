"""What cleaning removes, and above all what it leaves alone."""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from clusterfutures import clean, clean_dir, submit
from clusterfutures.jobs import job, status
from clusterfutures.jobs.files import JobFiles
from clusterfutures.jobs.job import Job
from clusterfutures.schedulers.base import JobSpec
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.local import LocalScheduler


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


def ended(base: Path, command: str = "echo hi") -> Job:
    done = submit(command, scheduler="local", directory=str(base))
    done.wait(30)
    return done


def test_only_jobs_of_ours_that_have_ended(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    done, noted = ended(base), ended(base)
    (Path(noted.path) / "notes").write_text("mine")
    unsent = Job("true", scheduler="local", directory=str(base)).write()
    running = submit("sleep 30", scheduler="local", directory=str(base))
    (base / "job-12345678").mkdir()  # looks like one
    (base / "out").write_text("somebody's")
    broken = base / "broken"
    broken.mkdir(mode=0o700)
    (broken / "job.json").write_text("{")
    (base / "link").symlink_to(ended(base.parent / "elsewhere").path)
    try:
        assert sorted(clean_dir(str(base), confirm=False)) == sorted([done.path, noted.path])
        left = {path.name for path in base.iterdir()}
        assert left == {Path(job.path).name for job in (noted, unsent, running)} | {
            "job-12345678", "out", "broken", "link",
        }  # fmt: skip
        assert [path.name for path in Path(noted.path).iterdir()] == ["notes"]
        assert "job.json" in {path.name for path in (base / "link").iterdir()}
        assert "broken is left alone" in caplog.text
    finally:
        running.cancel()
        running.wait(30)


def test_it_lists_and_asks(base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    one = ended(base)

    def nobody(_prompt: str) -> str:
        raise EOFError

    for answer in (nobody, lambda _prompt: "n", lambda _prompt: ""):
        monkeypatch.setattr(builtins, "input", answer)
        assert clean_dir(str(base)) == []
    assert one.path in capsys.readouterr().out
    monkeypatch.setattr(builtins, "input", lambda _prompt: "y")
    assert clean_dir(str(base)) == [one.path]
    assert list(base.iterdir()) == []
    assert clean_dir(str(base)) == []


def test_clean(base: Path) -> None:
    clean([ended(base), ended(base)])
    clean(ended(base))
    assert list(base.iterdir()) == []
    with pytest.raises(RuntimeError, match="no files yet"):
        clean(Job("true", scheduler="local"))


def test_jobs_without_a_last_word_are_asked_about_together(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One question, and last words are waited for at the same time."""
    asked: list[list[str]] = []

    class Killed(LocalScheduler):
        poll_seconds = (1.0, 30.0)

        def submit(self, spec: JobSpec, path: str, count: int) -> list[str]:
            return [str(len(list(base.iterdir())))]

        def question_key(self) -> str:
            return str(base)

        def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
            asked.append(list(job_ids))
            return {job_id: JobStatus(job_id, JobState.CANCELLED) for job_id in asked[-1]}

    killed = Killed()
    for module in (job, status):
        monkeypatch.setattr(module, "adapter", lambda name: killed)
    monkeypatch.setattr(status, "_LATE_START_SECONDS", 0.5)
    monkeypatch.setattr(status, "FIRST_SPACING", 30.0)
    for _ in range(10):
        submit("true", scheduler="local", directory=str(base))
    slept: list[float] = []
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: slept.append(seconds) or sleep(seconds))
    assert len(clean_dir(str(base), confirm=False)) == 10
    assert sum(slept) < 2 * 0.5, "not ten times"
    assert [sorted(map(int, ids)) for ids in asked] == [list(range(1, 11))]
    assert list(base.iterdir()) == []


def test_cleaning_a_directory_reads_no_output(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = ended(base)
    read = JobFiles.read
    monkeypatch.setattr(JobFiles, "read", lambda self, name: pytest.fail("read") if name == "out" else read(self, name))
    assert clean_dir(str(base), confirm=False) == [done.path]
