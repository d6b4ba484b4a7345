"""Files of a run that are damaged while they wait to be read: the calls they are about fail, with the file's
name, and no others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import contract_tasks as tasks
import pytest
from conftest import Ground
from contract_tasks import wait_until

from clusterfutures.client import collector
from clusterfutures.errors import StoreError, TransferError
from clusterfutures.executors import ClusterExecutor
from clusterfutures.futures import ClusterFuture


def _damage(path: Path) -> str:
    """Cut a file off, as a disk that is full or a node that crashes does; its name."""
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)
    return path.name


def _impatient(ex: ClusterExecutor) -> ClusterExecutor:
    """A file that is shorter than it says is late for a second; before the first call."""
    object.__setattr__(ex._client.settings, "visibility_timeout", 1.0)
    return ex


@contextmanager
def _held(ex: ClusterExecutor, path: Path) -> Iterator[None]:
    """The only process is busy meanwhile."""
    future = ex.submit(tasks.block, f"{path}-started", f"{path}-release")
    tasks.await_file(f"{path}-started")
    yield
    tasks.touch(f"{path}-release")
    assert future.result(60) is None


def _new_file(run: Path, pattern: str, known: set[Path]) -> Path:
    """The file that comes in addition to those that are known."""
    found: set[Path] = set()

    def there() -> bool:
        found.update(path for path in run.glob(pattern) if path.name[0] not in ".~" and path not in known)
        return bool(found)

    wait_until(there, f"a new {pattern}")
    (new,) = found
    return new


@pytest.mark.on("local", "slurm")
def test_what_the_node_reads(ground: Ground, tmp_path: Path) -> None:
    """A bin, a chunk, the function, a large argument."""
    with ground.executor(max_workers=1) as made:
        ex = _impatient(made)
        assert ex.submit(len, "known").result(60) == 5
        run = ground.run_directory()
        broken: list[tuple[str, Callable[[], object]]] = []

        def damaged(pattern: str, submit: Callable[[], Callable[[], Any]]) -> None:
            known = set(run.glob(pattern))
            outcome = submit()
            broken.append((_damage(_new_file(run, pattern, known)), outcome))

        with _held(ex, tmp_path / "call"):
            damaged("queue/*/*", lambda: ex.submit(tasks.add, 1).exception)
            damaged("queue/*/*", lambda: ex.map(tasks.add, [1, 2], bins=1).__next__)
            damaged("objects/*", lambda: ex.submit(lambda: 1).exception)
            damaged("objects/*", lambda: ex.submit(len, bytes(2 << 20)).exception)
            whole = ex.submit(tasks.double, 1)
        for number, (name, outcome) in enumerate(broken):
            try:
                error = outcome()
            except StoreError as raised:
                error = raised
            assert isinstance(error, StoreError if number < 2 else TransferError), repr(error)
            assert name in str(error)
            assert "damaged" in str(error)
        assert whole.result(60) == 2
        assert ex.submit(len, bytes(3 << 20)).result(60) == 3 << 20


@contextmanager
def _nobody_reads(ex: ClusterExecutor) -> Iterator[None]:
    """The thread that reads results is held up meanwhile, in a callback."""
    inside, go_on = threading.Event(), threading.Event()
    gate: ClusterFuture[int] = ex.submit(tasks.pause_and_add, 0.2, 1)

    def hold(_future: object) -> None:
        inside.set()
        go_on.wait(30)

    gate.add_done_callback(hold)
    assert inside.wait(30)
    try:
        yield
    finally:
        go_on.set()


@pytest.mark.on("local")
def test_segments_that_told_all_of_a_call(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it began, and how it ended: it fails all the same, and its worker works on."""
    monkeypatch.setattr(collector, "_LATE_SECONDS", 0.2)
    monkeypatch.setattr(collector, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(collector, "BLAMED_SECONDS", 0.2)
    with ground.executor(max_workers=1, idle_timeout=30) as made:
        ex = _impatient(made)
        assert ex.submit(tasks.double, 0).result(60) == 0
        run = ground.run_directory()
        future = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        told = ex.submit(tasks.double, 1)
        tasks.await_file(tmp_path / "started")
        wait_until(lambda: future.running() and list(run.glob("queue/0/0*")), "the other one waits behind it")
        with _nobody_reads(ex.with_options(memory="100MB")):  # type: ignore[arg-type]
            tasks.touch(tmp_path / "release")
            wait_until(lambda: not [*run.glob("queue/0/0*"), *run.glob("claimed/0001-*/0*")], "both are told")
            for path in run.glob("results/0001-*"):
                _damage(path)
        for lost in (future, told):
            error = lost.exception(60)
            assert isinstance(error, StoreError)
            assert "0001-0-0~" in str(error)
            assert "damaged" in str(error)
        last = ex.submit(tasks.double, 3)
        assert last.result(60) == 6
        assert last.job_id == future.job_id


@pytest.mark.on("local")
def test_what_the_client_reads(ground: Ground, tmp_path: Path) -> None:
    """A large result, and a segment: what only it told is lost, and the calls that have not been heard of are done."""
    with ground.executor(max_workers=1, keep=True) as made:
        ex = _impatient(made)
        assert ex.submit(tasks.double, 0).result(60) == 0
        run = ground.run_directory()
        values = ex.map(bytes, [2 << 20])
        name = _damage(_new_file(run, "large/*", set()))
        with pytest.raises(StoreError, match=name):
            next(values)
        future = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", "lost")
        tasks.await_file(tmp_path / "started")
        wait_until(future.running, "the client knows that it runs")
        with _nobody_reads(ex.with_options(memory="100MB")):  # type: ignore[arg-type]
            known = set(run.glob("results/*"))
            tasks.touch(tmp_path / "release")
            name = _damage(_new_file(run, "results/0001-*", known))
            unheard = ex.submit(tasks.double, 2)
        error = future.exception(60)
        assert isinstance(error, StoreError)
        assert name in str(error)
        assert "damaged" in str(error)
        assert unheard.result(60) == 4
