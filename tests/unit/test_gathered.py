"""The files of a run stay few, however many calls it makes one after the other; what was read is not lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import clusterfutures
from clusterfutures import LocalExecutor
from clusterfutures.client import serialize
from clusterfutures.store import gathered, names
from clusterfutures.store.gathered import Gathered
from clusterfutures.store.history import History
from clusterfutures.store.run_directory import RunDirectory

WORKER = "0001-0-0"


def _files(directory: Path) -> int:
    return sum(path.is_file() for path in directory.rglob("*"))


def _one_by_one(executor: LocalExecutor, count: int) -> None:
    assert [executor.submit(abs, -n).result(60) for n in range(count)] == list(range(count))


def _small_maps(executor: LocalExecutor, count: int) -> None:
    for n in range(count):
        assert list(executor.map(abs, [-n], timeout=60)) == [n]


def _buffered(executor: LocalExecutor, count: int) -> None:
    values = executor.map(abs, (-n for n in range(count)), buffersize=1, chunksize=1, timeout=60)
    assert list(values) == list(range(count))


def _failing(executor: LocalExecutor, count: int) -> None:
    for n in range(count):
        assert isinstance(executor.submit(divmod, n, 0).exception(60), ZeroDivisionError)


@pytest.mark.parametrize("calls", [_one_by_one, _small_maps, _buffered, _failing])
def test_files_do_not_grow_with_calls(tmp_path: Path, calls: Callable[[LocalExecutor, int], None]) -> None:
    with LocalExecutor(max_workers=1, directory=tmp_path) as executor:
        calls(executor, 10)
        before = _files(tmp_path)
        calls(executor, 200)
        assert _files(tmp_path) < before + 45


def test_what_has_been_read_leaves_results_in_a_second(tmp_path: Path) -> None:
    with LocalExecutor(max_workers=1, directory=tmp_path) as executor:
        _one_by_one(executor, 3)
        results = Path(executor._client.run.path, names.RESULTS)
        deadline = time.monotonic() + 20
        while any(results.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.02)


_PROGRAM = """
import os, signal, sys
from clusterfutures import LocalExecutor
executor = LocalExecutor(max_workers=1, directory=sys.argv[1])
for n in range(50):
    assert executor.submit(abs, -n).result(60) == n
    if n % 10 == 0:
        executor.submit(divmod, n, 0).exception(60)
print(executor._client.run.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_was_killed_can_be_attached_to(tmp_path: Path) -> None:
    root = str(Path(clusterfutures.__file__).parents[1])
    killed = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    path = Path(killed.stdout.strip())
    found = list((path / names.READ).glob("gathered.*"))
    assert found, "nothing was gathered: the test would prove nothing"
    shutil.copy(found[0], path / names.READ / "gathered.twice")  # as if it was killed while files are merged
    run = clusterfutures.attach(path)
    values = [future.result(60) if future.exception(60) is None else "failed" for future in run.futures]
    assert [value for value in values if value != "failed"] == list(range(50))
    assert values.count("failed") == 5
    run.close()


def test_files_are_merged_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "FULL_BYTES", 1000)
    monkeypatch.setattr(gathered, "MOST_BYTES", 10_000)
    run = RunDirectory.create(str(tmp_path / "run"))
    keeper = Gathered(run)
    for number in range(1000):
        name = names.segment_name(WORKER, number)
        run.publish_segment(name, name.encode())
        keeper.add(name, name.encode(), 0.0)
        if keeper.is_due(0.0):
            keeper.write()
    told = [bytes(body).decode() for _, body in History(RunDirectory(run.path)).segments()]
    assert told == [names.segment_name(WORKER, n) for n in range(1000)]
    assert len(run.files.listing(f"{run.path}/{names.READ}")) < 20


def test_many_objects_are_in_several_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialize, "_MOST_IN_DIRECTORY", 3)
    with LocalExecutor(max_workers=1, directory=tmp_path) as executor:
        futures = [executor.submit(lambda n=n: n) for n in range(10)]
        assert [future.result(60) for future in futures] == list(range(10))
        large = [executor.submit(len, bytes([n]) * (2 << 20)) for n in range(3)]
        assert [future.result(60) for future in large] == [2 << 20] * 3
        objects = Path(executor._client.run.path, names.OBJECTS)
        sizes = [len(list(directory.iterdir())) for directory in objects.iterdir() if directory.is_dir()]
        assert len(sizes) >= 3
        assert max(sizes) == 3


def test_many_large_results_are_in_several_directories(tmp_path: Path) -> None:
    """Of a run that lasts: they stay."""
    with LocalExecutor(max_workers=1, directory=tmp_path, run="lasting") as executor:
        values = executor.map(_large, range(8), chunksize=4, timeout=60)
        assert [value[:1] for value in values] == [bytes([n]) for n in range(8)]
    large = tmp_path / "lasting" / names.LARGE
    assert sum(path.is_file() for path in large.rglob("*")) == 8
    assert len(list(large.iterdir())) < 8


def _large(number: int) -> bytes:
    from clusterfutures.node import process

    process.MOST_LARGE_TOGETHER = 3
    return bytes([number]) * (2 << 20)
