"""The run directory cannot be written to, full or read-only: what the client then leaves undone, and
what it says.  The errors are put in where the client's own process calls ``os``; its workers are well.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from clusterfutures import LocalExecutor
from clusterfutures.client.state import Worker
from clusterfutures.client.workers import WorkerRegistry
from clusterfutures.errors import StoreError
from clusterfutures.store import names
from clusterfutures.store.bins import CALLS, Bin, CallHead
from clusterfutures.store.filesystem import Files
from clusterfutures.store.run_directory import REMOVAL_SECONDS, RunDirectory

UNWRITABLE = [errno.ENOSPC, errno.EDQUOT, errno.EROFS]
WORKER = "0001-0-0"

Refuse = Callable[[str, int, str], None]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Refuse]:
    """Have ``os.<verb>`` fail here where its last argument holds a text."""

    def install(verb: str, number: int, part: str) -> None:
        original = getattr(os, verb)

        def failing(*arguments: str | int, **options: int | None) -> object:
            if any(part in argument for argument in arguments if isinstance(argument, str)):
                raise OSError(number, os.strerror(number), *arguments[:1])
            return original(*arguments, **options)

        monkeypatch.setattr(os, verb, failing)

    yield install
    monkeypatch.undo()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory.create(str(tmp_path / "run"))
    made.open_worker_group("0")
    return made


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=1, idle_timeout=0.5, directory=tmp_path / "runs") as made:
        yield made


def a_bin() -> Bin:
    return Bin(7, 0, 1, CALLS, 1, [CallHead("f" * 32, 4, None)], b"data")


@pytest.mark.parametrize("number", UNWRITABLE)
def test_what_cannot_be_cleared_away_does_not_hide_the_first_error(tmp_path: Path, refuse: Refuse, number: int) -> None:
    refuse("rename", number, "name")
    refuse("unlink", errno.EIO, "name")
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        Files().publish(str(tmp_path), "name", [b"x"])
    (note,) = caught.value.__notes__
    assert f"{tmp_path}/{names.TEMPORARY}name could not be removed" in note


@pytest.mark.parametrize("number", UNWRITABLE)
def test_a_call_stays_in_a_queue_that_cannot_be_changed(
    run: RunDirectory, refuse: Refuse, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    name = run.publish_bin("0", a_bin())
    refuse("rename", number, f"/{names.QUEUE}/")
    assert not run.take_back("0", name)
    assert run.queued("0") == [name]
    assert "cannot be taken back" in caplog.text
    assert os.strerror(number) in caplog.text


def test_a_file_that_cannot_be_removed_goes_with_the_run(
    run: RunDirectory, refuse: Refuse, caplog: pytest.LogCaptureFixture
) -> None:
    run.write_large("result", [b"content"])
    name = run.publish_bin("0", a_bin())
    refuse("unlink", errno.EROFS, run.path)
    assert bytes(run.read_large("result", 0.0)[0]) == b"content"
    assert run.take_back("0", name)
    assert caplog.text.count("cannot be removed") == 2


@pytest.mark.parametrize("number", UNWRITABLE)
def test_every_file_of_the_client_says_that_it_could_not_be_written(
    run: RunDirectory, refuse: Refuse, number: int
) -> None:
    refuse("rename", number, run.path)
    for write in (
        lambda: run.write_run_file({}),
        lambda: run.write_environment("export A=1\n"),
        lambda: run.write_script("0001", "#!/bin/sh\n"),
    ):
        with pytest.raises(StoreError, match=f"could not be written to {run.path}: {os.strerror(number)}"):
            write()


@pytest.mark.parametrize("number", UNWRITABLE)
def test_results_that_cannot_be_moved_away_are_read_once(
    executor: LocalExecutor, refuse: Refuse, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    refuse("rename", number, f"/{names.READ}/")
    for _ in range(3):
        assert list(executor.map(abs, range(-20, 0), chunksize=2, timeout=60)) == list(range(20, 0, -1))
        for n in range(20):
            assert executor.submit(abs, -n).result(60) == n
    told = [line for line in caplog.messages if "cannot be moved out of results/" in line]
    assert told, "nothing was refused: the test would prove nothing"
    assert len(set(told)) == len(told), "a segment was read twice"


@pytest.mark.parametrize("number", UNWRITABLE)
def test_a_worker_that_cannot_be_called_off_may_still_come(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    ended: list[Worker] = []
    cancelled: list[str] = []
    dispatcher, scheduler_thread = SimpleNamespace(ended=ended.append), SimpleNamespace(cancel=cancelled.extend)
    registry = WorkerRegistry(run, dispatcher, scheduler_thread, 1.0)  # type: ignore[arg-type]
    worker = Worker(WORKER, "0", "4711", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", _refusal(number))
        registry.revoke([worker])
        registry.revoke([worker])
        assert (worker.revoked, ended, cancelled) == (False, [], [])
        (told,) = caplog.messages
        assert f"worker {WORKER} cannot be called off" in told
        assert os.strerror(number) in told
    registry.revoke([worker])
    assert (worker.revoked, ended, cancelled) == (True, [worker], ["4711"])


def _refusal(number: int) -> Callable[..., None]:
    def refuse(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def test_jobs_that_start_while_the_directory_goes_are_cancelled(tmp_path: Path) -> None:
    """They could not be called off in the directory: their scheduler ends them."""
    with LocalExecutor(max_workers=1, setup=["sleep 60"], directory=tmp_path / "runs") as executor:
        future = executor.submit(abs, -1)
        client = executor._client
        deadline = time.monotonic() + 20
        while not list(Path(client.run.path, names.CLAIMED).iterdir()):
            assert time.monotonic() < deadline, "the job does not start"
            time.sleep(0.01)
        Path(client.run.path).rename(tmp_path / "elsewhere")
        with pytest.raises(StoreError, match=f"{client.run.path} was removed while the executor used it"):
            future.result(60)
    (job,) = client._scheduler._jobs.values()  # type: ignore[attr-defined]
    assert not Path("/proc", str(job.process.pid)).exists()


def test_what_is_open_elsewhere_is_removed_when_it_is_closed(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system keeps such a file under another name, and its directory with it."""
    original, left = os.rmdir, [errno.ENOTEMPTY, errno.EBUSY, errno.ENOTEMPTY]

    def rmdir(path: str, **options: int | None) -> None:
        if left and path.endswith(names.LOGS):
            raise OSError(number := left.pop(), os.strerror(number), path)
        original(path, **options)

    monkeypatch.setattr(os, "rmdir", rmdir)
    run.remove()
    assert not left
    assert not Path(run.path).exists()


def test_what_cannot_be_removed_is_told_at_once(
    run: RunDirectory, refuse: Refuse, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    refuse("rmdir", errno.EROFS, "")
    run.remove()
    assert time.monotonic() - began < REMOVAL_SECONDS
    assert f"the run directory {run.path} could not be removed: " in caplog.text


@pytest.mark.parametrize(
    ("free", "told"),
    [
        ((10 << 20, 1 << 30, 0, 0), "10 MB of 1024 MB are free"),
        ((500 << 20, 1 << 30, 100, 1 << 20), "100 files (inodes) of 1048576 are free"),
        ((500 << 20, 1 << 30, 1 << 19, 1 << 20), ""),
        ((10 << 30, 1 << 50, 0, 0), ""),
        ((0, 0, 0, 0), ""),
    ],
)
def test_a_disk_that_is_nearly_full_is_told_once(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    free: tuple[int, int, int, int], told: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(Files, "free", lambda _files, _path: free)
    monkeypatch.setattr("clusterfutures.client.disk_space.LOOK_SECONDS", 0.0)
    for n in range(5):
        assert executor.submit(abs, -n).result(60) == n
    lines = [line for line in caplog.messages if "nearly full" in line]
    assert len(lines) == bool(told)
    assert not told or told in lines[0]
