"""Every file name of a run directory, made and parsed here and nowhere else.

Pure functions of text.  Names sort in the order in which their files are to be taken,
and hold only characters that every file system and every shell leaves alone.

    worker    <batch>-<index>-<attempt>      0003-0-0: third submission, element 0, first try
    bin       <bin id>.<first>-<stop>        000000012.0-31: calls 0..30 of bin 12
    claimed   <bin>[.<begun>]                000000012.0-31.20: of these, calls 0..19 have begun
    taken     ~<worker>~<claimed>            in read/: the client took it from a worker that it gave up
    segment   <worker>~<number>              0003-0-0~00000007: the worker's eighth
    object    <blake2b of the content>       7/<the same>: of the eighth of its directories
    gathered  gathered.<random>              segments and bins that were read

A name that starts with a dot is a file being written; one that starts with ``~`` is a
sign from the client to the workers:

    ~closed, ~hungry          in a queue: to all of its workers
    ~kill.<bin id>.<call>     in claimed/<worker>/: to this one

or from a worker to the client:

    ~beat.<number>            in claimed/<worker>/: it lives, and has said so so often
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "CLOSED",
    "HUNGRY",
    "BinName",
    "Claimed",
    "SegmentName",
    "beat_sign",
    "begun_name",
    "bin_name",
    "context_name",
    "gathered_name",
    "is_gathered",
    "kill_sign",
    "parse_beat",
    "parse_bin",
    "parse_claimed",
    "parse_kill_sign",
    "parse_segment",
    "parse_taken",
    "parse_worker",
    "segment_name",
    "taken_name",
    "worker_group_name",
    "worker_name",
]

RUN_FILE = "run.json"
OWNER_LOCK = "owner.lock"
CONTEXT_FILE = "context"
ENVIRONMENT_FILE = "environment.sh"
OBJECTS = "objects"
QUEUE = "queue"
CLAIMED = "claimed"
RESULTS = "results"
READ = "read"
LARGE = "large"
LOGS = "logs"
SCRIPTS = "scripts"
NOTES = "notes"

CLOSED = "~closed"
HUNGRY = "~hungry"
KILL = "~kill"
BEAT = "~beat"
GATHERED = "gathered."
TEMPORARY = "."
SIGN = "~"


class BinName(NamedTuple):
    """Which calls of which bin a file of the queue holds: ``first`` up to ``stop``."""

    bin_id: int
    first: int
    stop: int


class Claimed(NamedTuple):
    """A bin that a worker has claimed; calls before ``begun`` have begun (``first``: what the bin itself says)."""

    bin_id: int
    first: int
    stop: int
    begun: int


class SegmentName(NamedTuple):
    """The worker that wrote a segment, and its place among that worker's segments."""

    worker: str
    number: int


def worker_name(batch: str, index: int | str, attempt: int | str) -> str:
    """Name of the worker that element ``index`` of submission ``batch`` becomes."""
    return f"{batch}-{index}-{attempt}"


def parse_worker(name: str) -> tuple[str, int, int] | None:
    """Batch, index and attempt of a worker's name; None when it is no worker's name."""
    batch, _, rest = name.partition("-")
    index, _, attempt = rest.partition("-")
    if batch and _is_number(index) and _is_number(attempt):
        return batch, int(index), int(attempt)
    return None


def worker_group_name(program: int, number: int) -> str:
    """Name of a worker group of the run's ``program``-th program: 0 for the first's first, 2-0 for the second's."""
    return str(number) if program == 1 else f"{program}-{number}"


def context_name(worker_group: str) -> str:
    """Name of the file that the workers of a worker group read: each program of a run writes its own."""
    program, dash, _ = worker_group.partition("-")
    return f"{CONTEXT_FILE}-{program}" if dash else CONTEXT_FILE


def bin_name(bin_id: int, first: int, stop: int) -> str:
    """Name of the file that holds calls ``first`` up to ``stop`` of a bin."""
    return f"{bin_id:09d}.{first}-{stop}"


def parse_bin(name: str) -> BinName | None:
    """The parts of a bin's file name; None when it is not one."""
    bin_id, _, span = name.partition(".")
    first, _, stop = span.partition("-")
    if _is_number(bin_id) and _is_number(first) and _is_number(stop):
        return BinName(int(bin_id), int(first), int(stop))
    return None


def begun_name(name: str, begun: int) -> str:
    """Name of a claimed bin whose calls before ``begun`` have begun; name: its name in the queue."""
    return f"{name}.{begun}"


def parse_claimed(name: str) -> Claimed | None:
    """The parts of the name of a claimed bin; None when it is not one."""
    bin_id, _, rest = name.partition(".")
    span, dot, begun = rest.partition(".")
    parsed = parse_bin(f"{bin_id}.{span}")
    if parsed is None or (dot and not _is_number(begun)):
        return None
    return Claimed(*parsed, int(begun) if dot else parsed.first)


def taken_name(worker: str, name: str) -> str:
    """Name of a bin that was taken from a worker; name: as the worker had it."""
    return f"{SIGN}{worker}{SIGN}{name}"


def parse_taken(name: str) -> tuple[str, Claimed] | None:
    """Worker and parts of such a name; None when it is not one."""
    before, _, rest = name.partition(SIGN)
    worker, _, claimed = rest.partition(SIGN)
    parsed = parse_claimed(claimed)
    return (worker, parsed) if not before and worker and parsed else None


def kill_sign(bin_id: int, call: int) -> str:
    """Return the name of the sign that requests the end of one call of a bin."""
    return f"{KILL}.{bin_id}.{call}"


def parse_kill_sign(name: str) -> tuple[int, int] | None:
    """Bin and call of such a sign; None when it is not one."""
    kind, _, rest = name.partition(".")
    bin_id, _, call = rest.partition(".")
    if kind == KILL and _is_number(bin_id) and _is_number(call):
        return int(bin_id), int(call)
    return None


def beat_sign(number: int) -> str:
    """Name of the sign that a worker gives for the ``number``-th time."""
    return f"{BEAT}.{number}"


def parse_beat(name: str) -> int | None:
    """The number of such a sign; None when it is not one."""
    kind, _, number = name.partition(".")
    return int(number) if kind == BEAT and _is_number(number) else None


def segment_name(worker: str, number: int) -> str:
    """Name of a worker's segment number ``number``."""
    return f"{worker}{SIGN}{number:08d}"


def parse_segment(name: str) -> SegmentName | None:
    """The parts of a segment's file name; None when it is not one."""
    worker, _, number = name.partition(SIGN)
    if worker and _is_number(number):
        return SegmentName(worker, int(number))
    return None


def gathered_name(unique: str) -> str:
    """Name of a file in read/ that holds several that were read."""
    return GATHERED + unique


def is_gathered(name: str) -> bool:
    """True for such a name."""
    return name.startswith(GATHERED)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
