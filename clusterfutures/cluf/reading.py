"""Options from the command line, from the script, from ~/.clufrc, in that order.

    words --parse()--> given ─┐
    cluf_options in script   ─┼─ merge() ─> Settings: values read and checked
    ~/.clufrc                ─┘

Every mistake is an ``OptionError`` of one line that says where it is.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from clusterfutures.binning import ranges
from clusterfutures.cluf.table import EXCLUSIVE, ROWS, Row, by_name
from clusterfutures.commandline.words import near, take
from clusterfutures.errors import OptionError

__all__ = ["Given", "merge", "parse"]

#: how older versions spelt it
_NO_QUEUE = ("--no-q", "-no-q")
_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off", "")


class Given(NamedTuple):
    """The command line: the script, its own arguments, options as they were written."""

    script: str
    rest: list[str]
    options: dict[str, Any]
    help: bool


def parse(words: Sequence[str]) -> Given:
    """Take the command line apart; what follows ``--`` is the script's own."""
    cut = words.index("--") if "--" in words else len(words)
    modern = ["--no-queue" if word in _NO_QUEUE else word for word in words[:cut]]
    taken = take([*modern, *words[cut:]], ROWS, "cluf")
    if len(taken.positional) > 1:
        raise OptionError(
            f"the command line has a second script, {taken.positional[1]!r}, after {taken.positional[0]!r}: "
            "what the script itself is to see goes after --"
        )
    return Given("".join(taken.positional), taken.rest, taken.options, taken.help)


def merge(places: Sequence[tuple[str, Mapping[str, Any]]]) -> SimpleNamespace:
    """Settings from ``(name of the place, its options)``, the strongest place first."""
    found: dict[str, Any] = {row.key: None for row in ROWS}
    for place, options in places:
        read = _read_place(place, options)
        for pair in EXCLUSIVE:
            if all(read.get(name) is not None for name in pair):
                raise OptionError(f"{place}: {pair[0]} and {pair[1]} exclude each other, give one of them")
            if any(found[name] is not None for name in pair):
                read = {name: value for name, value in read.items() if name not in pair}
        for name, value in read.items():
            if found[name] is None:
                found[name] = value
    return SimpleNamespace(**found)


def _read_place(place: str, options: Any) -> dict[str, Any]:
    if not isinstance(options, Mapping):
        raise OptionError(f"{place}: expected a dictionary of options, not {type(options).__name__}")
    read = {}
    for name, value in options.items():
        row = by_name(str(name))
        if row is None:
            raise OptionError(f"{place}: {name!r} is no option{near(str(name), ROWS)}")
        if row.where == "cli" and place != "the command line":
            raise OptionError(f"{place}: {name!r} can be given on the command line only")
        if value is None:
            continue
        try:
            read[row.key] = _READERS[row.kind](row, value)
        except ValueError as error:
            raise OptionError(f"{place}: {row.name}={value!r} cannot be used: {error}") from None
    return read


def _word(row: Row, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected a name")
    return value


def _count(row: Row, value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\s*[0-9]+\s*", str(value)) or int(value) < 1:
        raise ValueError("expected a whole number from 1 on")
    return int(value)


def _seconds(row: Row, value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise ValueError("expected a number of seconds above 0")
    return seconds


def _flag(row: Row, value: Any) -> bool:
    if isinstance(value, str) and value.lower() not in _YES + _NO:
        raise ValueError("expected true or false")
    return value.lower() in _YES if isinstance(value, str) else bool(value)


def _output(row: Row, value: Any) -> str:
    if os.path.splitext(str(value))[1] not in (".jsonl", ".pkl", ".csv"):
        raise ValueError("expected a file name that ends in .jsonl, .pkl or .csv")
    return os.path.expanduser(str(value))


def _bins(row: Row, value: Any) -> tuple[list[int], int]:
    listed, slash, total = str(value).partition("/")
    try:
        wanted, count = ranges(listed), int(total)
    except ValueError:
        wanted, count = [], 0
    if not slash or not wanted or any(not isinstance(number, int) or not 0 <= number < count for number in wanted):
        raise ValueError("expected bins and their total, like 0/3 or 0-2,5/10, each from 0 to the total less one")
    return sorted({int(number) for number in wanted}), count


def _list(row: Row, value: Any) -> list[int | str]:
    items = list(value) if isinstance(value, list | tuple) else ranges(str(value))
    good = all(item >= 0 if type(item) is int else str(item).isidentifier() for item in items)
    if not items or not good or (row.name == "key" and len(items) > 1):
        one = "one position or name (hash takes several)"
        raise ValueError("expected " + (one if row.name == "key" else "arguments like 0-2,5,name"))
    return items


def _choice(row: Row, value: Any) -> str:
    if value not in row.choices:
        raise ValueError(f"choose from {', '.join(row.choices)}")
    return str(value)


def _env(row: Row, value: Any) -> str:
    """As shell words in front of a command: strings as they are, dictionaries quoted."""
    if isinstance(value, Mapping):
        if None in value.values():
            raise ValueError("a variable without a text: give '' for an empty one")
        words = [f"{name}={shlex.quote(str(text))}" for name, text in value.items()]
        names = [str(name) for name in value]
    else:
        text = str(value)
        if "\n" in text:
            raise ValueError("it has a line break: give a dictionary in cluf_options")
        words, names = [text], [word.partition("=")[0] if "=" in word else word + " " for word in shlex.split(text)]
    for name in names:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name.strip()!r} is no NAME=value: quote blanks twice, as in --env='A=\"b c\"'")
    return " ".join(words)


def _files(row: Row, value: Any) -> list[str]:
    listed = value if isinstance(value, list | tuple) else str(value).split(",")
    names = [os.path.expanduser(str(name)) for name in listed]
    for name in names:
        try:
            with open(name, encoding="utf-8", errors="surrogateescape"):
                pass
        except OSError as error:
            raise ValueError(f"{name}: {error.strerror}") from None
    return names


def _lines(row: Row, value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(line, str) for line in value):
        raise ValueError("expected a list of shell lines")
    return list(value)


def _options(row: Row, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("expected a dictionary, like {'ppn': 4}")
    for name, text in value.items():
        if not re.fullmatch(r"[A-Za-z][\w.-]*", str(name)):
            raise ValueError(f"{name!r} is no name of an option")
        if any(ord(c) < 32 or ord(c) == 127 for c in str(text)):
            raise ValueError(f"{name} contains a control character")
    return dict(value)


_READERS = {
    "word": _word, "count": _count, "seconds": _seconds, "flag": _flag, "output": _output, "bins": _bins,
    "list": _list, "choice": _choice, "env": _env, "files": _files, "lines": _lines, "options": _options,
}  # fmt: skip
