"""Somebody else's directory or file in a run directory, one that others may write, or a link: refused,
with the reason, before anything in it is unpickled.  What stands there would leave a mark if it were.
"""

from __future__ import annotations

import os
import pickle
import re
import stat
from collections.abc import Callable
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground

from clusterfutures.errors import ClusterError
from clusterfutures.store import names
from clusterfutures.store.frames import framed
from clusterfutures.store.run_directory import RunDirectory

SOMEBODY = 54321


class Mark:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (self._path,)


def given_away(path: Path) -> None:
    os.chown(path, SOMEBODY, SOMEBODY)


def open_to_others(path: Path) -> None:
    path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o022)


def linked(path: Path) -> None:
    path.rename(path.with_name(f".{path.name}-real"))
    path.symlink_to(path.with_name(f".{path.name}-real"))


SPOILT = pytest.mark.parametrize(
    ("spoil", "reason"),
    [(given_away, "belongs to user"), (open_to_others, "may be written by others"), (linked, "is a symbolic link")],
    ids=["owner", "mode", "link"],
)


@SPOILT
@pytest.mark.parametrize("part", ["", names.QUEUE, names.CLAIMED, names.RESULTS, names.OBJECTS])
def test_a_directory_is_refused(tmp_path: Path, part: str, spoil: Callable[[Path], None], reason: str) -> None:
    run = RunDirectory.create(str(tmp_path / "run"))
    place = tmp_path / "run" / part
    spoil(place)
    with pytest.raises(ClusterError, match=reason) as caught:
        RunDirectory.open(run.path)
    assert str(place) in str(caught.value)


@SPOILT
def test_a_file_is_refused_before_it_is_unpickled(tmp_path: Path, spoil: Callable[[Path], None], reason: str) -> None:
    run = RunDirectory.create(str(tmp_path / "run"))
    run.open_worker_group("0")
    run.files.make_directory(run.check_in_path("0001-0-0"))
    mark = tmp_path / "mark"
    content = framed([pickle.dumps(Mark(mark))])
    readers = {
        names.CONTEXT_FILE: run.read_context,
        f"{names.QUEUE}/0/000000001.0-1": lambda: run.claim("0", "000000001.0-1", "0001-0-0"),
        f"{names.OBJECTS}/key": lambda: run.map_object("key", 0.0),
        f"{names.RESULTS}/0001-0-0~00000001": lambda: run.read_segment("0001-0-0~00000001"),
        f"{names.LARGE}/one": lambda: run.read_large("one", 0.0),
    }
    for name, read in readers.items():
        path = Path(run.path, name)
        run.files.publish(str(path.parent), path.name, content)
        spoil(path)
        with pytest.raises(ClusterError, match=reason):
            read()
        assert not mark.exists(), name
    run.write_context({"mark": Mark(mark)})
    run.read_context()
    assert mark.exists(), "the mark proves nothing"


@SPOILT
@pytest.mark.on("local", "slurm")
def test_a_segment_is_not_read_by_a_living_client(
    ground: Ground, tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    """Somebody puts results into a run: they fail nobody's call and are never unpickled."""
    with ground.executor(max_workers=1, keep=True) as ex:
        future = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        tasks.await_file(tmp_path / "started")
        other = ground.run_directory() / names.RESULTS / "9999-0-0~00000001"
        draft = ground.run_directory() / other.name  # on the same file system
        draft.write_bytes(b"".join(bytes(piece) for piece in framed([pickle.dumps(Mark(tmp_path / "mark"))])))
        draft.chmod(0o600)
        spoil(draft)
        os.rename(draft, other)
        (tmp_path / "release").touch()
        future.result(60)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("umask", [0o000, 0o777])
@pytest.mark.on("local", "slurm")
def test_nobody_else_may_look_whatever_the_umask(ground: Ground, umask: int) -> None:
    ground.runs.mkdir()
    before = os.umask(umask)
    try:
        with ground.executor(keep=True) as ex:
            assert list(ex.map(tasks.double, range(8), timeout=60)) == list(range(0, 16, 2))
            assert ex.submit(bytes, 2 << 20).result(60) == bytes(2 << 20)
    finally:
        os.umask(before)
    seen = 0
    for directory, _, files in os.walk(ground.runs):
        assert directory == str(ground.runs) or stat.S_IMODE(os.stat(directory).st_mode) == 0o700, directory
        for name in files:
            if ground.name == "slurm" and re.fullmatch(r"\d+-\d+\.log", name):
                continue  # slurmstepd makes it, with the umask of the job, in a directory that is ours alone
            seen += 1
            assert stat.S_IMODE(os.stat(Path(directory, name)).st_mode) == 0o600, f"{directory}/{name}"
    assert seen > 5
