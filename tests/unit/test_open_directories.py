"""Directories that others may write: who could put something in the place of a run or a job, and have it run as you."""

from __future__ import annotations

import operator
import os
import re
from pathlib import Path

import pytest

import clusterfutures
from clusterfutures import Job, LocalExecutor, StoreError, submit
from clusterfutures.jobs import submission
from clusterfutures.schedulers import status_cache
from clusterfutures.schedulers.local import LocalScheduler

OPEN = "may be written by everybody"


@pytest.fixture(params=["itself", "above", "link"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A base directory that everybody may write, or one in such a directory, or a link that leads into it."""
    where = tmp_path / "open"
    base = where / "base"
    base.mkdir(parents=True)
    (base if request.param == "itself" else where).chmod(0o777)
    if request.param == "link":
        (tmp_path / "link").symlink_to(base)
        return tmp_path / "link"
    return base


def _fix(tmp_path: Path, mode: int) -> None:
    for path in (tmp_path / "open", tmp_path / "open" / "base"):
        path.chmod(mode)


def test_a_run(base: Path, tmp_path: Path) -> None:
    with LocalExecutor(max_workers=1, directory=base) as ex, pytest.raises(StoreError, match=OPEN) as caught:
        ex.submit(abs, -1).result(60)
    assert re.search(r"chmod o-w \S+", str(caught.value))
    assert "chmod +t" in str(caught.value)
    assert list(base.iterdir()) == []
    _fix(tmp_path, 0o1777)
    with LocalExecutor(max_workers=1, directory=base) as ex:
        assert ex.submit(abs, -1).result(60) == 1


def test_a_run_with_a_name_that_was_made_before(base: Path, tmp_path: Path) -> None:
    _fix(tmp_path, 0o755)
    with LocalExecutor(max_workers=1, directory=base, run="fit") as ex:
        assert ex.submit(abs, -1).result(60) == 1
    _fix(tmp_path, 0o777)
    with LocalExecutor(max_workers=1, directory=base, run="fit") as ex, pytest.raises(StoreError, match=OPEN):
        ex.submit(abs, -1).result(60)
    with pytest.raises(StoreError, match=OPEN):
        clusterfutures.attach("fit", directory=base)
    with pytest.raises(StoreError, match=OPEN):
        clusterfutures.remove_run("fit", directory=base)


def test_a_job(base: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=OPEN):
        submit("true", scheduler="local", directory=str(base))
    assert list(base.iterdir()) == []
    _fix(tmp_path, 0o755)
    job = submit(operator.add, [1, 2], scheduler="local", directory=str(base))
    assert job.get(60) == 3
    _fix(tmp_path, 0o777)
    with pytest.raises(StoreError, match=OPEN):
        Job.attach(job.path)


def test_shared_answers_of_the_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("CLUSTERFUTURES_CACHE", str(tmp_path / "open" / "cache"))
    assert status_cache._path("x") is None
    (tmp_path / "open").chmod(0o1777)
    assert status_cache._path("x") is not None


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory that a group may write."""
    base = tmp_path / "project"
    base.mkdir()
    base.chmod(0o2775)
    return base


def _swap(path: str) -> None:
    os.rename(path, f"{path}-away")
    os.mkdir(path, 0o700)
    for name in os.listdir(f"{path}-away"):
        os.symlink(f"{path}-away/{name}", f"{path}/{name}")


def test_a_run_that_was_swapped_gets_no_jobs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted: list[str] = []
    script = LocalScheduler.script

    def swapping(self: LocalScheduler, spec: object, count: int) -> str:
        for path in list(project.iterdir()):  # none yet, when the executor is made
            _swap(str(path))
        return script(self, spec, count)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalScheduler, "script", swapping)
    monkeypatch.setattr(LocalScheduler, "submit", lambda self, spec, path, count: submitted.append(path))
    with LocalExecutor(max_workers=1, directory=project) as ex:
        error = ex.submit(abs, -1).exception(60)
    assert "somebody has put another one in its place" in str(error)
    assert submitted == []


def test_a_job_that_was_swapped_is_not_submitted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("true", scheduler="local", directory=str(project)).write()
    _swap(job.path)
    monkeypatch.setattr(submission, "_answered", lambda *_: pytest.fail("it was submitted"))
    with pytest.raises(StoreError, match="somebody has put another one in its place"):
        job.submit()


def test_a_directory_of_a_project_is_normal(project: Path) -> None:
    with LocalExecutor(max_workers=1, directory=project) as ex:
        assert ex.submit(abs, -1).result(60) == 1
    job = submit("echo fine", scheduler="local", directory=str(project))
    job.get(60)
    assert job.stdout == "fine\n"
    held = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_open(name)]
    assert [path for path in held if path.startswith(str(project))] == []


def _is_open(name: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{name}")
