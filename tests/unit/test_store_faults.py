"""The shared directory when things go wrong: damaged files, a full disk, lying renames, late
names, files of other people.  Each fault is put in by a ``Files`` that lies, or by hand.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from clusterfutures.errors import StoreError
from clusterfutures.store import bins, names, records
from clusterfutures.store.bins import CALLS, CHUNK, Bin, CallHead, Extras, pack_bin, unpack_bin
from clusterfutures.store.filesystem import Files
from clusterfutures.store.frames import framed, unframed
from clusterfutures.store.records import CallInfo
from clusterfutures.store.run_directory import RunDirectory

# pytest and its plugins have threads, so Python warns; the children take no lock of theirs
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

WORKER = "0001-0-0"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory.create(str(tmp_path / "runs" / "run"))
    made.open_worker_group("0")
    assert made.files.make_directory(made.check_in_path(WORKER))
    return made


def a_bin(bin_id: int = 7, count: int = 3) -> Bin:
    extras = Extras("", ("aa", "bb"), ((b"result", ("cc",)),))
    heads = [CallHead("f" * 32, 4, extras if i == 1 else None) for i in range(count)]
    return Bin(bin_id, 0, count, CALLS, 1, heads, b"data" * count)


def whole(pieces: Sequence[Any]) -> bytes:
    return b"".join(bytes(piece) for piece in pieces)


# -- frames ---------------------------------------------------------------------------


def test_frames_give_back_what_was_put_in() -> None:
    payloads = [b"", b"one", bytearray(range(256)), memoryview(b"view"), b"x" * 100_000]
    assert [bytes(p) for p in unframed(whole(framed(payloads)), "file")] == [bytes(p) for p in payloads]


def test_a_file_cut_off_anywhere_is_damaged() -> None:
    """Also where a frame ends, and when nothing is left at all: the usual way to lose data."""
    content = whole(framed([b"first", b"", b"second"]))
    for size in range(len(content)):
        with pytest.raises(StoreError, match=r"/run/file .*damaged") as caught:
            unframed(content[:size], "/run/file")
        assert caught.value.path == "/run/file"


def test_every_byte_is_checked() -> None:
    content = whole(framed([b"first", b"second"]))
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 0x10
        with pytest.raises(StoreError, match="/run/file"):
            unframed(changed, "/run/file")


def test_what_follows_the_frames_is_damage() -> None:
    with pytest.raises(StoreError, match="/run/file"):
        unframed(whole(framed([b"first"])) + b"\0", "/run/file")
    with pytest.raises(StoreError, match="no frame"):
        unframed(b"<html>" + bytes(100), "/run/file")


def _damages(content: bytes) -> Iterator[bytes]:
    yield b""
    yield content[: len(content) // 2]
    yield content[:-1]
    yield bytes(len(content))
    yield content[:-1] + bytes([content[-1] ^ 1])
    header = len(whole(framed([b""])))
    length = int.from_bytes(content[header - 8 : header], "little")
    if header + length < len(content):
        yield content[: header + length]  # exactly the first frame


def _write_bin(run: RunDirectory) -> tuple[str, Callable[[], object]]:
    name = run.publish_bin("0", a_bin())
    return f"queue/0/{name}", lambda: run.claim("0", name, WORKER)


def _write_segment(run: RunDirectory) -> tuple[str, Callable[[], object]]:
    name = names.segment_name(WORKER, 0)
    run.publish_segment(name, b"records")
    return f"results/{name}", lambda: run.read_segment(name)


def _write_large(run: RunDirectory) -> tuple[str, Callable[[], object]]:
    run.write_large("big", [b"pickle", b"buffer"])
    return "large/big", lambda: run.read_large("big", 0.0)


def _write_object(run: RunDirectory) -> tuple[str, Callable[[], object]]:
    run.write_object("key", [b"pickle", b"keys"])
    return "objects/key", lambda: run.map_object("key", 0.0)


def _write_context(run: RunDirectory) -> tuple[str, Callable[[], object]]:
    run.write_context({"cwd": "/"})
    return "context", run.read_context


@pytest.mark.parametrize("write", [_write_bin, _write_segment, _write_large, _write_object, _write_context])
def test_a_damaged_file_is_an_error_that_names_it(
    run: RunDirectory, write: Callable[[RunDirectory], tuple[str, Callable[[], object]]]
) -> None:
    run.be_patient(0.05)  # one that is too short is late for so long
    path, _ = write(run)
    name = os.path.basename(path)
    for damaged in _damages(Path(run.path, path).read_bytes()):
        _, read = write(run)
        Path(run.path, path).write_bytes(damaged)
        with pytest.raises(StoreError) as caught:
            read()
        assert name in str(caught.value)
        assert name in caught.value.path


# -- records and bins -----------------------------------------------------------------


def test_records_round_trip() -> None:
    info = CallInfo(1.5, 0.25, 0.125, 1 << 40, 3, 10, 1 << 33, b"out\0put")
    packed = [
        records.pack(records.BEGUN, 1 << 50, 0, 1, b"\0\0\0\0"),
        records.pack(records.VALUES, 2, 4_000_000_000, 200, b""),
        records.pack(records.ERROR, 3, 7, 1, records.pack_info(info) + b"error", records.INFO),
    ]
    begun, values, error = records.records(memoryview(b"".join(packed)))
    assert begun[:5] == (records.BEGUN, 0, 1 << 50, 0, 1)
    assert (values[:5], bytes(values.body)) == ((records.VALUES, 0, 2, 4_000_000_000, 200), b"")
    found, rest = records.split_info(error.body)
    assert (found, bytes(rest)) == (info, b"error")
    assert list(records.records(memoryview(b""))) == []


def test_a_row_is_taken_apart() -> None:
    values = [b"", b"one", b"x" * 1000]
    lengths = b"".join(len(value).to_bytes(4, "little") for value in values)
    (row,) = records.records(memoryview(records.pack(records.VALUES, 5, 7, 3, b"".join(values) + lengths)))
    found = list(records.singly(row))
    assert [one[:5] for one in found] == [(records.VALUE, 0, 5, n, 1) for n in (7, 8, 9)]
    assert [bytes(one.body) for one in found] == values


@pytest.mark.parametrize("extras", [None, Extras("stored", (), ()), Extras("", ("k",), ((b"p", ()), (b"q", ("k",))))])
def test_bins_round_trip(extras: Extras | None) -> None:
    for kind in (CALLS, CHUNK):
        content = Bin(3, 5, 7, kind, 2, [CallHead("key", 3, extras), CallHead("key", 0, None)], b"abc")
        found = unpack_bin(whole(pack_bin(content)), "bin")
        assert found._replace(blob=bytes(found.blob)) == content


# -- names ----------------------------------------------------------------------------


def test_names_are_parsed_as_they_were_made() -> None:
    assert names.parse_worker(names.worker_name("0012", 34, 5)) == ("0012", 34, 5)
    assert names.parse_bin(names.bin_name(12, 0, 31)) == (12, 0, 31)
    assert names.parse_segment(names.segment_name(WORKER, 12)) == (WORKER, 12)


def test_names_sort_in_the_order_of_their_numbers() -> None:
    numbers = [1, 9, 10, 99, 100, 99_999, 100_000_000]
    made = [names.bin_name(number, 0, 1) for number in numbers]
    assert sorted(made) == made
    made = [names.segment_name(WORKER, number) for number in numbers[:-1]]
    assert sorted(made) == made
    assert max(names.bin_name(1, 0, 1), names.CLOSED, names.HUNGRY) in (names.CLOSED, names.HUNGRY), "signs come last"


@pytest.mark.parametrize("digits", ["", "x", "-1", "1.5", "²", " 1", "0x1"])
def test_foreign_names_are_none_of_ours(digits: str) -> None:
    """Whatever somebody puts into the directory, it must not end the thread that lists it."""
    for name in (f"{digits}.0-3", f"1.{digits}-3", f"1.0-{digits}"):
        assert names.parse_bin(name) is None
    assert names.parse_worker(f"0001-{digits}-0") is None
    assert names.parse_worker(f"0001-0-{digits}") is None
    assert names.parse_segment(f"{WORKER}~{digits}") is None
    assert names.parse_segment("~1") is None
    assert names.parse_worker("-0-0") is None


def test_names_of_the_three_kinds_are_told_apart() -> None:
    made = [names.worker_name("0001", 0, 0), names.bin_name(1, 0, 1), names.segment_name(WORKER, 0)]
    parsers: list[Callable[[str], object]] = [names.parse_worker, names.parse_bin, names.parse_segment]
    for i, parse in enumerate(parsers):
        assert [parse(name) is not None for name in made] == [j == i for j in range(3)]


# -- publishing -----------------------------------------------------------------------


def _refuse(monkeypatch: pytest.MonkeyPatch, verb: str, number: int, after: int = 0) -> None:
    """Have ``os.<verb>`` fail from its call number ``after`` on."""
    original, calls = getattr(os, verb), []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > after:
            raise OSError(number, os.strerror(number))
        return original(*arguments)

    monkeypatch.setattr(os, verb, failing)


@pytest.mark.parametrize(("verb", "after"), [("writev", 0), ("writev", 1), ("rename", 0), ("fchmod", 0)])
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, after: int
) -> None:
    before = os.umask(0o277)  # so that the mode has to be changed
    try:
        with monkeypatch.context() as patch:
            _refuse(patch, verb, errno.ENOSPC, after)
            with pytest.raises(OSError, match="No space left"):
                Files().publish(str(tmp_path), "name", [b"x"] * 1000)
    finally:
        os.umask(before)
    assert os.listdir(tmp_path) == []
    Files().publish(str(tmp_path), "name", [b"x"] * 1000)
    assert (tmp_path / "name").read_bytes() == b"x" * 1000


def test_a_disk_that_fills_up_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes get shorter and shorter, then fail; before that, short writes alone do no harm."""
    original = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, views: original(fd, [views[0][:3]]))
    pieces = [b"", b"abcdefgh", b"ij", memoryview(b"klmno")]
    Files().publish(str(tmp_path), "name", pieces)
    assert (tmp_path / "name").read_bytes() == b"abcdefghijklmno"


def test_many_pieces_of_many_kinds(tmp_path: Path) -> None:
    import array

    pieces = [str(i).encode() for i in range(3000)] + [array.array("d", [1.0, 2.0])]
    Files().publish(str(tmp_path), "name", pieces)
    assert Files().read(str(tmp_path / "name")) == whole(pieces)


def test_a_published_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    original = os.writev

    def spying(descriptor: int, views: Any) -> int:
        seen.append(Files().listing(str(tmp_path)))
        return original(descriptor, views)

    monkeypatch.setattr(os, "writev", spying)
    Files().publish(str(tmp_path), "name", [b"x"] * 600)
    assert seen == [[], []]
    assert Files().listing(str(tmp_path)) == ["name"]


def test_modes_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run = RunDirectory.create(str(tmp_path / "run"))
        run.open_worker_group("0")
        run.publish_bin("0", a_bin())
        run.write_context({})
        run.write_script("0001", "#!/bin/sh\n")
        os.umask(0o277)
        run.write_object("key", [b""])
    finally:
        os.umask(before)
    for directory, _, found in os.walk(run.path):
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        for name in found:
            assert stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) == 0o600, name


# -- taking ---------------------------------------------------------------------------


def test_a_rename_that_reports_an_error_but_happened(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    name = run.publish_bin("0", a_bin())
    original = os.rename

    def repeated(source: str, target: str) -> None:
        original(source, target)
        original(source, target)  # the NFS request sent again: "no such file"

    monkeypatch.setattr(os, "rename", repeated)
    claimed = run.claim("0", name, WORKER)
    assert claimed is not None
    assert claimed.bin_id == 7
    assert run.claim("0", name, WORKER) is not None, "asked again by the same one, it is still his"


def test_publishing_with_a_rename_that_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.rename

    def repeated(source: str, target: str) -> None:
        original(source, target)
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", repeated)
        Files().publish(str(tmp_path), "name", [b"x"])
        assert os.listdir(tmp_path) == ["name"]
        _refuse(patch, "rename", errno.ENOENT)
        with pytest.raises(FileNotFoundError):
            Files().publish(str(tmp_path), "other", [b"x"])
    assert os.listdir(tmp_path) == ["name"]
    with pytest.raises(FileNotFoundError):
        Files().publish(str(tmp_path / "gone"), "name", [b"x"])


def test_a_claimed_bin_that_is_late_is_waited_for(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    name, original, tries = run.publish_bin("0", a_bin()), run.files.read, list[str]()

    def late(path: str) -> bytes:
        tries.append(path)
        if len(tries) < 3:
            raise FileNotFoundError(errno.ENOENT, "late", path)
        return original(path)

    monkeypatch.setattr(run.files, "read", late)
    claimed = run.claim("0", name, WORKER)
    assert claimed is not None
    assert claimed.bin_id == 7


def test_a_rename_that_did_not_happen(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    name = run.publish_bin("0", a_bin())
    with monkeypatch.context() as patch:
        _refuse(patch, "rename", errno.ENOENT)
        assert run.claim("0", name, WORKER) is None
        assert not run.take_back("0", name)
    assert run.queued("0") == [name]


def test_a_rename_that_fails_for_long_is_said(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    name = run.publish_bin("0", a_bin())
    run.be_patient(0.05)
    with monkeypatch.context() as patch:
        _refuse(patch, "rename", errno.ESTALE)
        with pytest.raises(OSError, match="Stale"):
            run.claim("0", name, WORKER)
        assert not run.take_back("0", name)
    assert run.queued("0") == [name]


def test_a_rename_that_is_not_allowed_is_said(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    name = run.publish_bin("0", a_bin())
    _refuse(monkeypatch, "rename", errno.EACCES)
    with pytest.raises(PermissionError):
        run.claim("0", name, WORKER)


def _claim_all(path: str, worker: str, start: Any, wins: Any) -> None:
    run = RunDirectory(path)
    start.wait(10)
    won = []
    while waiting := run.queued("0"):
        for name in waiting:
            claimed = run.claim("0", name, worker)
            if claimed is not None:
                won.append(claimed.bin_id)
    wins.put(won)


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_of_many_claimers_one_wins(run: RunDirectory, kind: str) -> None:
    count, claimers = 200, 8
    for number in range(count):
        run.publish_bin("0", a_bin(number))
    fork = multiprocessing.get_context("fork")
    start, wins = fork.Event(), fork.Queue()
    made = fork.Process if kind == "processes" else threading.Thread
    workers = []
    for index in range(claimers):
        name = names.worker_name("0002", index, 0)
        run.files.make_directory(run.check_in_path(name))
        workers.append(made(target=_claim_all, args=(run.path, name, start, wins)))
        workers[-1].start()
    start.set()
    won = [wins.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(10)
    assert sorted(number for some in won for number in some) == list(range(count))
    held = [len(run.claimed_bins(names.worker_name("0002", index, 0))) for index in range(claimers)]
    assert sorted(held) == sorted(len(some) for some in won)


def test_taking_back_against_claiming(run: RunDirectory) -> None:
    """The client and a worker go for the same bins: every bin has one owner, and both sides know who."""
    made = [run.publish_bin("0", a_bin(number)) for number in range(200)]
    back: list[str] = []
    gate = threading.Barrier(2)

    def take_back() -> None:
        gate.wait(10)
        back.extend(name for name in reversed(made) if run.take_back("0", name))

    client = threading.Thread(target=take_back)
    client.start()
    gate.wait(10)
    claimed = [name for name in made if run.claim("0", name, WORKER)]
    client.join(10)
    assert sorted(back + claimed) == made
    assert run.queued("0") == []
    assert os.listdir(f"{run.path}/{names.READ}") == []


def test_revoking_against_checking_in(run: RunDirectory) -> None:
    """``mkdir`` decides: of the job and the client exactly one is first."""
    made = sorted(names.worker_name("0003", index, 0) for index in range(200))
    checked_in: list[str] = []
    gate = threading.Barrier(2)

    def check_in() -> None:
        gate.wait(10)
        for name in reversed(made):
            try:
                os.mkdir(run.check_in_path(name))
            except FileExistsError:
                continue
            checked_in.append(name)

    job = threading.Thread(target=check_in)
    job.start()
    gate.wait(10)
    revoked = [name for name in made if run.revoke(name)]
    job.join(10)
    assert sorted(revoked + checked_in) == made
    assert not any(run.revoke(name) for name in made)


# -- files of other people ------------------------------------------------------------


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    Files().publish(str(tmp_path), "real", [b"x"])
    (tmp_path / "link").symlink_to("real")
    for read in (Files().read, Files().map):
        with pytest.raises(StoreError, match="link is a symbolic link"):
            read(str(tmp_path / "link"))


def test_publishing_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / f"{names.TEMPORARY}name").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic links"):
        Files().publish(str(tmp_path), "name", [b"x"])
    assert (tmp_path / "victim").read_bytes() == b"mine"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    Files().publish(str(tmp_path), "name", [b"x"])
    (tmp_path / "name").chmod(mode)
    for read in (Files().read, Files().map):
        with pytest.raises(StoreError, match="may be written by others") as caught:
            read(str(tmp_path / "name"))
        assert caught.value.path == str(tmp_path / "name")


def test_a_run_directory_that_others_may_write_is_refused(run: RunDirectory) -> None:
    assert RunDirectory.open(run.path).path == run.path
    os.chmod(run.path, 0o770)
    with pytest.raises(StoreError, match="may be written by others"):
        RunDirectory.open(run.path)


def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Files().publish(str(tmp_path), "name", [b"x"])
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    for look in (Files().read, Files().map):
        with pytest.raises(StoreError, match=f"belongs to user {owner}, not to you"):
            look(str(tmp_path / "name"))
    with pytest.raises(StoreError, match="belongs to user"):
        Files().check_directory(str(tmp_path))


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(StoreError, match="not a plain file"):
        Files().read(str(tmp_path / "directory"))
    with pytest.raises(StoreError, match="not a directory"):
        Files().check_directory(__file__)


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)

    def look() -> None:
        with pytest.raises(StoreError, match="not a plain file"):
            Files().read(str(tmp_path / "pipe"))

    process = multiprocessing.get_context("fork").Process(target=look)
    process.start()
    process.join(10)
    ended = process.exitcode
    process.kill()
    process.join()
    assert ended == 0


def test_refusals_leave_no_descriptor_open(tmp_path: Path) -> None:
    Files().publish(str(tmp_path), "name", [b"x"])
    (tmp_path / "name").chmod(0o666)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(StoreError):
            Files().read(str(tmp_path / "name"))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", [names.QUEUE, names.RESULTS, names.OBJECTS, names.CLAIMED, names.LARGE])
def test_a_run_whose_inner_directories_are_unsafe_is_refused(run: RunDirectory, name: str) -> None:
    inner = Path(run.path, name)
    inner.chmod(0o777)
    with pytest.raises(StoreError, match=rf"{name} may be written by others"):
        RunDirectory.open(run.path)
    inner.chmod(0o700)
    inner.rename(f"{run.path}-elsewhere")
    inner.symlink_to(f"{run.path}-elsewhere")
    with pytest.raises(StoreError, match=rf"{name} is a symbolic link"):
        RunDirectory.open(run.path)


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_missing_parents_are_made_for_the_owner_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        RunDirectory.create(str(tmp_path / "a" / "b" / "run"))
    finally:
        os.umask(before)
    for made in ("a", "a/b", "a/b/run", "a/b/run/queue"):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == 0o700


# -- no space -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_what_cannot_be_written_says_what_and_where(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    writes: list[tuple[str, Callable[[], object]]] = [
        ("a call", lambda: run.publish_bin("0", a_bin())),
        ("an object of 7 bytes", lambda: run.write_object("key", [b"content"])),
        ("what the workers have to know", lambda: run.write_context({})),
        ("a queue", lambda: run.open_worker_group("1")),
    ]
    for what, write in writes:
        with monkeypatch.context() as patch:
            for verb in ("rename", "mkdir"):
                _refuse(patch, verb, number)
            with pytest.raises(StoreError, match=f"{what} could not be written to .*{os.strerror(number)}") as caught:
                write()
        assert run.path in str(caught.value)
        write()


def test_half_a_run_directory_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        _refuse(patch, "mkdir", errno.ENOSPC, 4)
        with pytest.raises(StoreError, match="No space left"):
            RunDirectory.create(str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# -- reading --------------------------------------------------------------------------


def test_a_map_is_private_and_writable(tmp_path: Path) -> None:
    Files().publish(str(tmp_path), "name", [b"abc" * 5000])
    first, second = (Files().map(str(tmp_path / "name")) for _ in range(2))
    first[:3] = b"XYZ"
    assert bytes(second[:3]) == b"abc"
    assert (tmp_path / "name").read_bytes()[:3] == b"abc"
    (tmp_path / "name").unlink()
    assert bytes(second) == b"abc" * 5000


def test_an_empty_map(tmp_path: Path) -> None:
    Files().publish(str(tmp_path), "name", [])
    assert len(Files().map(str(tmp_path / "name"))) == 0


def test_a_large_file_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Files().publish(str(tmp_path), "name", [bytes(range(256)) * 40])
    original = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: original(descriptor, min(size, 1000)))
    assert Files().read(str(tmp_path / "name")) == bytes(range(256)) * 40


def test_a_listing_shows_no_temporaries(tmp_path: Path) -> None:
    for name in ("b", "a", names.CLOSED, ".temporary", ".nfs0001"):
        (tmp_path / name).touch()
    assert Files().listing(str(tmp_path)) == ["a", "b", names.CLOSED]


# -- late names -----------------------------------------------------------------------


class Late(Files):
    """An NFS whose cache says "not there": for some listings, and for some opens after that."""

    def __init__(self, listings: int, opens: int) -> None:
        self.listings = listings
        self.opens = opens

    def listing(self, directory: str) -> list[str]:
        self.listings -= 1
        return [] if self.listings >= 0 else super().listing(directory)

    def read(self, path: str) -> bytes:
        self._open(path)
        return super().read(path)

    def map(self, path: str) -> memoryview:
        self._open(path)
        return super().map(path)

    def _open(self, path: str) -> None:
        self.opens -= 1
        if self.opens >= 0:
            raise FileNotFoundError(errno.ENOENT, "not there", path)


@pytest.mark.parametrize(("listings", "opens"), [(0, 0), (0, 1), (4, 1), (3, 3)])
def test_a_late_name_is_waited_for(run: RunDirectory, listings: int, opens: int) -> None:
    """A listing may show the name while opening it still fails: both are asked again."""
    run.write_object("key", [b"content"])
    run.write_large("big", [b"pickle", b"buffer"])
    late = RunDirectory(run.path, Late(listings, opens))
    assert [bytes(part) for part in late.map_object("key", 10.0)] == [b"content"]
    late = RunDirectory(run.path, Late(listings, opens))
    assert [bytes(part) for part in late.read_large("big", 10.0)] == [b"pickle", b"buffer"]
    assert run.files.listing(f"{run.path}/{names.LARGE}") == []


def test_a_name_that_appears_while_it_is_waited_for(run: RunDirectory) -> None:
    timer = threading.Timer(0.05, run.write_object, ("key", [b"content"]))
    timer.start()
    assert bytes(run.map_object("key", 10.0)[0]) == b"content"
    timer.join()


@pytest.mark.parametrize("opens", [0, 1_000_000])
def test_a_name_that_does_not_come_is_given_up(run: RunDirectory, opens: int) -> None:
    if opens:  # listed, and never to be opened
        run.write_object("key", [b"content"])
    before = time.monotonic()
    with pytest.raises(StoreError, match=r"objects/key did not appear within 0.05 s") as caught:
        RunDirectory(run.path, Late(0, opens)).map_object("key", 0.05)
    assert caught.value.path.endswith("objects/key")
    assert 0.05 <= time.monotonic() - before < 5.0


# -- the run directory's protocol -----------------------------------------------------


def test_a_run_directory_is_made_once(run: RunDirectory) -> None:
    with pytest.raises(StoreError, match="exists already"):
        RunDirectory.create(run.path)
    with pytest.raises(StoreError, match="no run directory"):
        RunDirectory.open(f"{run.path}-other")


def test_a_run_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="CLUSTERFUTURES_DIR") as caught:
        RunDirectory.create(str(tmp_path / "file" / "run"))
    assert str(tmp_path) in caught.value.path


def test_the_way_of_a_bin(run: RunDirectory) -> None:
    name = run.publish_bin("0", a_bin())
    assert run.queued("0") == [name]
    assert run.claim("0", name, "0001-1-0") if run.revoke("0001-1-0") else False
    assert run.queued("0") == []
    assert run.claimed_bins("0001-1-0") == [(7, 0, 3, 0)]
    assert run.claim("0", name, WORKER) is None
    run.finish("0001-1-0", name)
    run.finish("0001-1-0", name)
    assert run.claimed_bins("0001-1-0") == []
    assert run.claimed_bins("nobody") == []
    assert set(run.launched()) == {WORKER, "0001-1-0"}


def test_the_way_of_a_segment(run: RunDirectory) -> None:
    made = [names.segment_name(WORKER, number) for number in range(3)]
    for name in reversed(made):
        run.publish_segment(name, name.encode())
    assert run.new_segments() == made
    assert bytes(run.read_segment(made[0])) == made[0].encode()
    run.set_aside(made[0])
    run.set_aside(made[0])
    assert run.new_segments() == made[1:]


def test_signs(run: RunDirectory) -> None:
    run.set_hungry("0", True)
    run.close_worker_group("0")
    assert run.queued("0") == [names.CLOSED, names.HUNGRY]
    run.set_hungry("0", False)
    run.set_hungry("0", False)
    assert run.queued("0") == [names.CLOSED]


def test_logs_are_read_in_part(run: RunDirectory) -> None:
    Path(run.log_path("x")).write_bytes(b"0123456789")
    assert run.read_log("x", 2, 5) == b"234"
    assert run.read_log("x", 8) == b"89"
    assert run.read_log("x", 8, 100) == b"89"
    assert run.read_log("nobody", 0) == b""


def test_context_and_removal(run: RunDirectory) -> None:
    run.write_context({"cwd": "/x", "initializer": CallHead("", 0, None)})
    assert run.read_context() == {"cwd": "/x", "initializer": CallHead("", 0, None)}
    run.write_run_file({"path": Path("/x"), "version": "1"})
    assert b'"path": "/x"' in Path(run.path, names.RUN_FILE).read_bytes()
    run.remove()
    assert not os.path.exists(run.path)
    assert not run.take_back("0", "name"), "nothing is there to be had"
    run.remove()


def test_what_travels_can_be_unpickled_without_the_client() -> None:
    """A bin's head is plain tuples: reading it imports nothing."""
    head, _ = unframed(whole(pack_bin(a_bin())), "bin")
    assert b"clusterfutures" not in bytes(head)
    assert isinstance(pickle.loads(head)[-2][0], tuple)
    assert bins.CALLS != bins.CHUNK
