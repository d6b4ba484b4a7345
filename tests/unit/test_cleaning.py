"""What cleaning removes, and above all what it leaves alone."""

from __future__ import annotations

import builtins
from pathlib import Path

import pytest

from clusterfutures import clean, clean_dir, submit
from clusterfutures.jobs.job import Job


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


def ended(base: Path, command: str = "echo hi") -> Job:
    job = submit(command, scheduler="local", directory=str(base))
    job.wait(30)
    return job


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
    job = ended(base)

    def nobody(_prompt: str) -> str:
        raise EOFError

    for answer in (nobody, lambda _prompt: "n", lambda _prompt: ""):
        monkeypatch.setattr(builtins, "input", answer)
        assert clean_dir(str(base)) == []
    assert job.path in capsys.readouterr().out
    monkeypatch.setattr(builtins, "input", lambda _prompt: "y")
    assert clean_dir(str(base)) == [job.path]
    assert list(base.iterdir()) == []
    assert clean_dir(str(base)) == []


def test_clean(base: Path) -> None:
    clean([ended(base), ended(base)])
    clean(ended(base))
    assert list(base.iterdir()) == []
    with pytest.raises(RuntimeError, match="no files yet"):
        clean(Job("true", scheduler="local"))
