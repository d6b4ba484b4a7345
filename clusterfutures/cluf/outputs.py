"""What calls returned, in a file: a line (or a pickle) for each call.

    worker: render(record) --> bytes --> parent: appended to the file as they come
    bins: files of their own --copy_records()--> one file

A record has index, args (their repr), value, error, traceback, host, seconds.  A .jsonl
line holds a value that JSON cannot hold as its repr.  A .pkl is one pickle after the
other; ``records`` reads all three kinds, and stops before a torn end.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pickle
import pickletools
import re
from collections.abc import Iterator
from typing import IO, Any

from clusterfutures.errors import OptionError
from clusterfutures.pickling import by_value

__all__ = ["FIELDS", "HEADER", "copy_records", "kept", "open_output", "records", "render", "settled"]

FIELDS = ("index", "args", "value", "error", "traceback", "host", "seconds")
HEADER = {".csv": (",".join(FIELDS) + "\r\n").encode(), ".jsonl": b"", ".pkl": b""}


def render(record: dict[str, Any], kind: str) -> bytes:
    """The record as the bytes that are appended to a file of this kind."""
    if kind == ".pkl":
        try:
            return pickle.dumps(record, pickle.HIGHEST_PROTOCOL)
        except Exception:
            return by_value.dumps(record)
    if kind == ".jsonl":
        try:
            text = json.dumps(record, default=repr)
        except (TypeError, ValueError, RecursionError):  # keys that are no texts, a list that contains itself
            text = json.dumps(record | {"value": repr(record["value"])})
        return f"{text}\n".encode("utf-8", "backslashreplace")
    row = io.StringIO()
    csv.writer(row).writerow(["" if record[name] is None else record[name] for name in FIELDS])
    return row.getvalue().encode("utf-8", "backslashreplace")


def records(path: str) -> Iterator[dict[str, Any]]:
    """What a file of results holds; a torn last record is left out."""
    with open(path, "rb") as file:
        if path.endswith(".pkl"):
            while True:
                try:
                    yield pickle.load(file)
                except (EOFError, pickle.UnpicklingError):
                    return
        elif path.endswith(".jsonl"):
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield json.loads(line)
        else:
            csv.field_size_limit(2**31 - 1)  # what calls return may be longer than 128 kB
            for row in csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")):
                if row["seconds"]:
                    yield {**row, "index": int(row["index"]), "error": row["error"] or None}


def copy_records(path: str, whole: IO[bytes], may_be_torn: bool) -> None:
    """Append what a file of results holds to another; a torn last record is left out."""
    kind = os.path.splitext(path)[1]
    with open(path, "rb") as part:
        end = _end_of_records(part, kind) if may_be_torn else os.fstat(part.fileno()).st_size
        part.seek(len(HEADER[kind]))
        while (left := end - part.tell()) > 0:
            whole.write(part.read(min(left, 1 << 20)))


def _end_of_records(part: IO[bytes], kind: str) -> int:
    """Where the last complete record ends; nothing is unpickled."""
    end = 0
    if kind == ".pkl":
        with contextlib.suppress(ValueError):  # which is what genops raises at a torn end
            while next(iter(part.peek(1)), None) is not None:  # type: ignore[attr-defined]
                for _ in pickletools.genops(part):
                    pass
                end = part.tell()
        return end
    ending, at = (b"\r\n" if kind == ".csv" else b"\n"), 0
    for line in part:
        at += len(line)
        end = at if line.endswith(ending) else end
    return end


def settled(text: str) -> str:
    """A repr without the addresses of objects, which differ from run to run."""
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def kept(path: str) -> dict[int, str]:
    """Keep only the calls in ``path`` that ended well; returns their index and arguments."""
    done: dict[int, str] = {}
    if not os.path.exists(path):
        return done
    kind = os.path.splitext(path)[1]
    rest = f"{path}.{os.getpid()}.tmp"
    try:
        with open(rest, "xb") as file:
            file.write(HEADER[kind])
            for record in records(path):
                if record["error"] is None and record["index"] not in done:
                    done[record["index"]] = settled(record["args"])
                    file.write(render(record, kind))
        os.replace(rest, path)
    except OSError as error:
        _remove(rest)
        raise OptionError(f"{path} cannot be resumed: {error.strerror}") from None
    except Exception as error:  # whatever unpickling raises: the class of a value may be gone
        _remove(rest)
        raise OptionError(
            f"{path} is no file of results, or a value in it cannot be read: {type(error).__name__}: {error}. "
            "It cannot be resumed."
        ) from None
    return done


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def open_output(path: str, resume: bool) -> io.BufferedWriter:
    """The file to append to; one that is there is never overwritten."""
    kind = os.path.splitext(path)[1]
    try:
        file = open(path, "ab" if resume else "xb")  # noqa: SIM115  (the caller closes it)
    except FileExistsError:
        raise OptionError(f"{path} is there already: go on with it by --resume, or remove it") from None
    except OSError as error:
        raise OptionError(f"{path} cannot be written: {error.strerror}") from None
    if file.tell() == 0:
        file.write(HEADER[kind])
        file.flush()
    return file
