"""Errors of the file system that pass by themselves: once, they cost nothing; for longer than ``visibility_timeout``,
they end in an error that says what to do.  They are put in where ``os`` is called: in this process for the client, by
a ``sitecustomize`` for the worker.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusterfutures import LocalExecutor
from clusterfutures.errors import JobFailed, StoreError
from clusterfutures.node import descriptors
from clusterfutures.store import names
from clusterfutures.store.bins import CALLS, Bin, CallHead
from clusterfutures.store.filesystem import Files
from clusterfutures.store.run_directory import RunDirectory

NUMBERS = [errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE]
WORKER = "0001-0-0"


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[LocalExecutor]:
    with LocalExecutor(max_workers=1, directory=tmp_path / "runs") as made:
        assert made.submit(abs, -1).result(60) == 1
        yield made


class Fault:
    """Has ``os.<verb>`` fail in a thread of the client: ``times`` times; after: what had been asked for was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, verb: str, number: int, times: int, after: bool) -> None:
        self.left = times
        self.original = getattr(os, verb)
        self._number, self._after = number, after
        self._monkeypatch = monkeypatch
        self._verb = verb
        self.fails: Callable[[tuple[Any, ...]], bool] = lambda _arguments: True

    def __enter__(self) -> Fault:
        def failing(*arguments: Any, **options: Any) -> Any:
            if not threading.current_thread().name.startswith("clusterfutures-manager") or self.left <= 0:
                return self.original(*arguments, **options)
            if not self.fails(arguments):
                return self.original(*arguments, **options)
            if self._after:
                self.original(*arguments, **options)
            self.left -= 1
            raise OSError(self._number, os.strerror(self._number), str(arguments[0]))

        self._monkeypatch.setattr(os, self._verb, failing)
        return self

    def __exit__(self, *_: object) -> None:
        self._monkeypatch.undo()


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_one_error_of_the_client_costs_nothing(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Wherever it looks at the directory, reads, publishes, and moves away what it has read."""
    for verb in ("listdir", "open", "fstat", "read", "close", "writev", "rename"):
        for after in (False, True):
            if after and verb == "open":
                continue  # it would leave a descriptor open
            with Fault(monkeypatch, verb, number, 1, after or verb == "close") as fault:
                futures = [executor.submit(abs, -n) for n in range(5)]
                assert [future.result(60) for future in futures] == list(range(5)), verb
                assert fault.left == 0, f"{verb} was not used: the test would prove nothing"
    assert executor.submit(abs, -7).result(60) == 7


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_a_cancel_and_the_end_bear_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Calls are taken back, workers are called off, queues closed, files removed."""
    for verb in ("rename", "mkdir", "listdir", "unlink", "rmdir", "open"):
        with LocalExecutor(max_workers=2, setup=["sleep 0.2"], directory=tmp_path / "runs") as executor:
            futures = [executor.submit(abs, -n) for n in range(20)]
            with Fault(monkeypatch, verb, number, 1, False):
                executor.shutdown(wait=True, cancel_futures=True)
        assert all(future.done() for future in futures)
        assert all(future.cancelled() or future.result() >= 0 for future in futures)
        assert list((tmp_path / "runs").iterdir()) == [], verb


def test_a_published_call_is_not_published_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker may have it already, when the server's answer to the rename is lost."""
    original = os.rename
    taken: list[str] = []

    def rename(source: str, target: str) -> None:
        original(source, target)
        if target.endswith("/name"):
            original(target, f"{target}-taken")
            taken.append(target)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "rename", rename)
    Files().publish(str(tmp_path), "name", [b"x"])
    assert len(taken) == 1
    assert os.listdir(tmp_path) == ["name-taken"]


def test_what_lasts_ends_in_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, advice in ((errno.EMFILE, "raise ulimit -n"), (errno.EIO, "look at its mount and its server")):
        with LocalExecutor(max_workers=1, directory=tmp_path / str(number)) as executor:
            assert executor.submit(abs, -1).result(60) == 1
            executor._client.run.be_patient(0.2)
            with Fault(monkeypatch, "listdir", number, 1_000_000, False):
                failed = executor.submit(time.sleep, 0.1).exception(60)
            assert isinstance(failed, StoreError)
            assert advice in str(failed)
            assert "free some space" not in str(failed)
            assert os.strerror(number) in str(failed)


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_what_cannot_be_written_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    run = RunDirectory.create(str(tmp_path / "run"))
    run.open_worker_group("0")
    run.be_patient(0.0)
    content = Bin(7, 0, 1, CALLS, 1, [CallHead("f" * 32, 4, None)], b"data")

    def failing(*_arguments: Any) -> int:
        raise OSError(number, os.strerror(number))

    for write in (lambda: run.publish_bin("0", content), lambda: run.write_object("key", [b"x"])):
        with monkeypatch.context() as patch:
            patch.setattr(os, "writev", failing)
            with pytest.raises(StoreError, match=os.strerror(number)) as caught:
                write()
            assert "free some space" not in str(caught.value)
            assert ("ulimit -n" in str(caught.value)) == (number == errno.EMFILE)


def test_a_first_submit_without_a_free_descriptor_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clusterfutures.client.startup.START_SECONDS", 0.1)
    for free in range(12):
        with LocalExecutor(max_workers=1, directory=tmp_path / "runs") as executor:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            most = max(int(name) for name in os.listdir("/proc/self/fd"))
            held = [os.open("/", os.O_PATH)]
            while held[-1] <= most:  # no free one below
                held.append(os.open("/", os.O_PATH))
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1 + free, hard))
                begun = _first_call(executor)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for descriptor in held:
                    os.close(descriptor)
            if begun is None:
                assert executor.submit(abs, -1).result(60) == 1, "the next one has what it needs"
            else:
                assert "ulimit -n" in begun
                assert not list((tmp_path / "runs").glob("*")), f"{free} free descriptors"


def _first_call(executor: LocalExecutor) -> str | None:
    """Why the run could not begin."""
    try:
        executor.submit(abs, -1)
    except StoreError as error:
        return str(error)
    return None


# -- the worker's side ------------------------------------------------------------------

_SITE = """
import os, sys
verb, number, after = os.environ.get("FAULT", "//").split("/")
if verb:
    original, left = getattr(os, verb), [1]
    number = int(number)
    def failing(*arguments, **options):
        from_store = sys._getframe(1).f_code.co_filename.endswith("store/filesystem.py")
        if not left or not from_store:
            return original(*arguments, **options)
        left.clear()
        if after:
            original(*arguments, **options)
        with open(os.environ["FAULT_LOG"], "a") as log:
            log.write("failed\\n")
        raise OSError(number, os.strerror(number))
    setattr(os, verb, failing)
"""


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EMFILE], ids=errno.errorcode.get)
def test_one_error_of_a_worker_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Of each worker, and of its processes: claiming, publishing, reading, forgetting, large results."""
    (tmp_path / "sitecustomize.py").write_text(_SITE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("FAULT_LOG", str(tmp_path / "failed"))
    for verb in ("listdir", "open", "fstat", "read", "close", "writev", "rename", "unlink"):
        (tmp_path / "failed").unlink(missing_ok=True)
        monkeypatch.setenv("FAULT", f"{verb}/{number}/{'after' if verb in ('close', 'rename') else ''}")
        with LocalExecutor(max_workers=1, directory=tmp_path / "runs") as executor:
            assert executor.submit(bytes, 1 << 21).result(60) == bytes(1 << 21)
            assert list(executor.map(abs, range(-20, 0), bins=4, timeout=60)) == list(range(20, 0, -1)), verb
        assert (tmp_path / "failed").exists(), f"{verb} was not used: the test would prove nothing"


_LASTING_SITE = """
import os, sys
if os.environ.get("FAULT"):
    original = os.writev
    def failing(*arguments):
        if sys._getframe(1).f_code.co_filename.endswith("store/filesystem.py"):
            raise OSError(int(os.environ["FAULT"]), os.strerror(int(os.environ["FAULT"])))
        return original(*arguments)
    os.writev = failing
"""


def test_what_lasts_on_a_node_ends_its_worker_with_the_right_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_LASTING_SITE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("FAULT", str(errno.EMFILE))
    with LocalExecutor(max_workers=1, directory=tmp_path / "runs") as executor:
        object.__setattr__(executor._client.settings, "visibility_timeout", 0.5)
        failed = executor.submit(abs, -1).exception(60)
    assert isinstance(failed, JobFailed)
    assert "raise ulimit -n" in str(failed)
    assert "free some space" not in str(failed)


def test_many_processes_under_a_low_limit_of_open_files(tmp_path: Path) -> None:
    """The supervisor raises it to the hard one; calls have the limit that their job was given."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > 400
    limit = ["ulimit -S -n 100"]
    with LocalExecutor(max_workers=1, processes=40, setup=limit, directory=tmp_path / "runs") as executor:
        limits = list(executor.map(resource.getrlimit, [resource.RLIMIT_NOFILE] * 80, bins=40, timeout=60))
    assert set(limits) == {(100, hard)}


def test_descriptors_beyond_those_that_select_takes() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    reading, writing = os.pipe()
    high = os.dup2(reading, 1500)
    try:
        assert descriptors.ready_among([high], [], 0.0) == set()
        assert descriptors.ready_among([high], [writing], 0.0) == {writing}
        os.write(writing, b"x")
        assert descriptors.ready_among([high], [], 5.0) == {high}
    finally:
        for descriptor in (reading, writing, high):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# -- files that are not whole yet --------------------------------------------------------


class Growing(Files):
    """A network file system that shows a file before all of its bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.reads = 0

    def read(self, path: str) -> bytes:
        self.reads += 1
        return super().read(path)[: self.size if self.reads < 4 else None]

    def map(self, path: str) -> memoryview:
        self.reads += 1
        return super().map(path)[: self.size if self.reads < 4 else None]


@pytest.mark.parametrize("size", [0, 5, 20])
def test_a_file_that_is_not_whole_yet_is_waited_for(tmp_path: Path, size: int) -> None:
    made = RunDirectory.create(str(tmp_path / "run"))
    made.open_worker_group("0")
    assert made.revoke(WORKER)
    content = Bin(7, 0, 1, CALLS, 1, [CallHead("f" * 32, 4, None)], b"data")
    name = made.publish_bin("0", content)
    made.write_object("key", [b"content of the object", b"and more"])
    made.write_large("large", [b"content of the result", b"and more"])
    made.write_context({"cwd": "/"})
    reads: list[Callable[[RunDirectory], object]] = [
        lambda run: run.claim("0", name, WORKER),
        lambda run: run.map_object("key", 10.0),
        lambda run: run.read_context(),
        lambda run: run.read_large("large", 10.0),
    ]
    for read in reads:
        growing = Growing(size)
        assert read(RunDirectory(made.path, growing))
        assert growing.reads == 4


def test_a_segment_that_is_not_whole_yet_is_waited_for(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than one that is damaged; the client does other things meanwhile."""
    run = executor._client.run
    original = run.files.read
    whole_at = time.monotonic() + 1.5

    def short(path: str) -> bytes:
        content = original(path)
        late = f"/{names.RESULTS}/" in path and time.monotonic() < whole_at
        return content[: len(content) // 2] if late else content

    monkeypatch.setattr(run.files, "read", short)
    assert executor.submit(abs, -3).result(60) == 3
    assert time.monotonic() >= whole_at


def test_what_lasts_in_the_program_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the run looks into the directory several times, and each look fails."""
    listdir = os.listdir
    fails = threading.Event()

    def failing(path: Any = ".") -> Any:
        if fails.is_set() and str(path).startswith(str(tmp_path)):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
        return listdir(path)

    with LocalExecutor(max_workers=1, directory=tmp_path / "runs") as executor:
        calls = [executor.submit(time.sleep, 0.2) for _ in range(12)]
        calls[0].result(60)
        executor._client._manager._run.be_patient(5.0)
        monkeypatch.setattr(os, "listdir", failing)
        fails.set()
        began = time.monotonic()
        failed = calls[-1].exception(120)
        executor.shutdown()
        took = time.monotonic() - began
        fails.clear()
    assert took < 12
    assert "Stale file handle" in str(failed)
