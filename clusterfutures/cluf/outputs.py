"""What calls returned, in a file: a line (or a pickle) for each call.

    worker: Writer.render(record) --> bytes --> parent: appended to the file as they come

A record has index, args (their repr), value, error, traceback, host, seconds.  A .jsonl
line holds a value that JSON cannot hold as its repr.  A .pkl is one pickle after the
other; ``records`` reads all three kinds, and stops before a torn end.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
from collections.abc import Iterator
from typing import Any

import cloudpickle

from clusterfutures.errors import OptionError

__all__ = ["FIELDS", "HEADER", "kept", "open_output", "records", "render"]

FIELDS = ("index", "args", "value", "error", "traceback", "host", "seconds")
HEADER = {".csv": (",".join(FIELDS) + "\r\n").encode(), ".jsonl": b"", ".pkl": b""}


def render(record: dict[str, Any], kind: str) -> bytes:
    """The record as the bytes that are appended to a file of this kind."""
    if kind == ".pkl":
        try:
            return pickle.dumps(record, pickle.HIGHEST_PROTOCOL)
        except Exception:
            return cloudpickle.dumps(record)  # type: ignore[no-any-return]
    if kind == ".jsonl":
        return (json.dumps(record, default=repr, skipkeys=False) + "\n").encode("utf-8", "backslashreplace")
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
            for row in csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")):
                if row["seconds"]:
                    yield {**row, "index": int(row["index"]), "error": row["error"] or None}


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
    except (ValueError, KeyError, TypeError) as error:
        os.unlink(rest)
        raise OptionError(f"{path} is no file of results, it cannot be resumed: {error}") from None
    return done


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
