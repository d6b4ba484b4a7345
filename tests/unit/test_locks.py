"""The methods of locks in calls, compared with those of multiprocessing."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from clusterfutures.client.resume.tokenize import digest_of
from clusterfutures.pickling import by_value, locks
from clusterfutures.store import references


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Makes of a lock what a node makes of it."""
    monkeypatch.setattr(references, "node_run", str(tmp_path))

    def make(original: Any) -> Any:
        data = by_value.dumps(original)
        monkeypatch.setattr(locks, "_originals", {})
        return pickle.loads(data)

    return make


def answers(lock: Any) -> list[object]:
    """What its methods answer."""
    found: list[object] = [lock.acquire(), lock.acquire(False), lock.acquire(timeout=0.01), lock.acquire(True, -1)]
    for _ in range(6):
        try:
            found.append(lock.release())
        except (ValueError, AssertionError) as error:
            found.append((type(error), str(error)))
    with lock as entered:
        found.append(entered)
    thread_says: list[bool] = []
    with lock:
        thread = threading.Thread(target=lambda: thread_says.append(lock.acquire(False)))
        thread.start()
        thread.join()
    return [*found, *thread_says]


@pytest.mark.parametrize(
    "make",
    [
        multiprocessing.Lock,
        multiprocessing.RLock,
        lambda: multiprocessing.BoundedSemaphore(1),
        lambda: multiprocessing.BoundedSemaphore(3),
        lambda: multiprocessing.Semaphore(2),
        lambda: multiprocessing.get_context("spawn").RLock(),
    ],
)
def test_methods_answer_as_those_of_multiprocessing(shared: Callable[[Any], Any], make: Callable[[], Any]) -> None:
    original = make()
    made = shared(original)
    assert type(made).__module__ == "clusterfutures.pickling.locks"
    assert answers(made) == answers(original)


def test_an_event(shared: Callable[[Any], Any]) -> None:
    original = multiprocessing.Event()
    original.set()
    made = shared(original)
    again = pickle.loads(pickle.dumps(made))
    assert again is made
    other = locks.Event(made.number, made.place, True)  # in another process
    assert (made.is_set(), other.wait(0)) == (True, True)
    other.clear()
    assert (made.is_set(), made.wait(0.01)) == (False, False)
    made.set()
    assert other.wait(10)


def test_a_condition(shared: Callable[[Any], Any]) -> None:
    made = shared(multiprocessing.Condition())
    with pytest.raises(AssertionError, match=r"must acquire\(\) condition"):
        made.notify()
    with made, made:
        assert not made.wait(0.01)
        assert not made.wait_for(lambda: False, 0.01)
        assert made.wait_for(lambda: 3) == 3
    waits = threading.Event()

    def notify() -> None:
        waits.wait(30)
        with made:
            made.notify()

    thread = threading.Thread(target=notify)
    thread.start()
    with made:
        waits.set()  # the other thread gets the lock when this one waits
        assert made.wait(30)
    thread.join()


def test_two_processes_exclude_each_other(shared: Callable[[Any], Any]) -> None:
    made = shared(multiprocessing.Lock())
    with made:
        child = os.fork()
        if not child:
            other = locks.Lock(made.number, made.place)
            os._exit(int(other.acquire(False)) + 2 * int(other.locked()))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert not made.locked()


def test_a_method_is_that_of_the_shared_one(shared: Callable[[Any], Any]) -> None:
    event = multiprocessing.Event()
    made = shared(event.set)
    made()
    assert made.__self__.is_set()
    assert shared(threading.Thread.start) is threading.Thread.start
    assert shared([1].copy)() == [1]


def test_a_lock_comes_back_as_what_it_was() -> None:
    original = multiprocessing.Lock()
    assert pickle.loads(by_value.dumps([original, original])) == [original, original]
    assert by_value.dumps(original) == by_value.dumps(original)


def test_a_lock_is_the_same_argument_in_every_program() -> None:
    assert digest_of([multiprocessing.Lock(), 1]) == digest_of([multiprocessing.Lock(), 1])
    assert digest_of(multiprocessing.Lock()) != digest_of(multiprocessing.RLock())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("1 0 0:1 / /data rw,relatime - nfs4 server:/x rw,local_lock=none", ""),
        ("1 0 0:1 / /data rw,relatime shared:1 - nfs server:/x rw,nolock", "/data is mounted with nolock"),
        ("1 0 0:1 / /data rw - nfs server:/x rw,local_lock=flock", "/data is mounted with local_lock=flock"),
        ("1 0 0:1 / /data rw - lustre x@tcp:/y rw,flock,lazystatfs", ""),
        ("1 0 0:1 / /data rw - lustre x@tcp:/y rw,localflock", "/data is mounted with localflock"),
        ("1 0 0:1 / /data rw - lustre x@tcp:/y rw", "/data (Lustre) is mounted without flock"),
        ("1 0 0:1 / /data rw - ext4 /dev/sda rw", ""),
    ],
)
def test_where_a_file_system_keeps_locks_to_each_node(
    line: str, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    table = f"0 0 0:0 / / rw - ext4 /dev/root rw\n{line}\n"
    monkeypatch.setattr(locks, "_mounts", lambda: table)
    assert locks._why_not("/data/run") == why
    monkeypatch.setattr(references, "client_run", "/data/run")
    monkeypatch.setattr(locks, "_told", set())
    for _ in range(2):
        by_value.dumps(multiprocessing.Lock())
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == (1 if why else 0)
    assert not why or (why in said[0] and "Choose a directory=" in said[0])


def test_a_file_system_without_locks(
    shared: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lock then holds on this node, and says so."""
    acquire = FileLock.acquire

    def refuse(self: Any, *args: Any, **options: Any) -> Any:
        if str(self.lock_file).startswith(str(tmp_path / "locks")):
            raise NotImplementedError("FileSystem does not appear to support flock")
        return acquire(self, *args, **options)

    monkeypatch.setattr(FileLock, "acquire", refuse)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "here"))
    for _ in range(2):
        with shared(multiprocessing.Lock()):
            pass
    assert capsys.readouterr().out.count("hold on each node alone: FileSystem does not appear to support flock") == 1
