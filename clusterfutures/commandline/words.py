"""Take a command line apart: options, by a table of rows, and the other words.

    ["--name=a", "-w", "sort", "x", "--", "y"]  --take()-->  positional, rest (after --), options

Values stay text; the command that knows their meaning reads them.  Every mistake is an
``OptionError`` of one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

from clusterfutures.errors import OptionError

__all__ = ["Row", "Taken", "near", "take"]


class Row(NamedTuple):
    """One option: long name, short letter, placeholder of its value, kind, group, meaning.

    kind: "flag" has no value, "many" may be given again and again; others are the reader's.
    where: "file" for what cannot stand on the command line.
    """

    name: str
    short: str
    value: str
    kind: str
    group: str
    text: str
    where: str = ""
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name as an identifier."""
        return self.name.replace("-", "_")

    def is_called(self, name: str) -> bool:
        """True for its name and its aliases, written with - or _."""
        wanted = name.replace("_", "-")
        return wanted == self.name or wanted in self.aliases


class Taken(NamedTuple):
    """What a command line said; options by key, as they were written."""

    positional: list[str]
    rest: list[str]
    options: dict[str, Any]
    help: bool


def take(words: Sequence[str], rows: Sequence[Row], program: str, *, one_command: bool = False) -> Taken:
    """Take a command line apart.

    one_command: the first word that is no option begins a command, and all that follows is its.
    """
    words = list(words)
    positional: list[str] = []
    options: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        if word == "--":
            return Taken(positional, words, options, False)
        if word in ("-h", "--help"):
            return Taken(positional, [], options, True)
        if not word.startswith("-") or word == "-":
            positional.append(word)
            if one_command:
                return Taken([*positional, *words], [], options, False)
            continue
        if word.startswith("--no-") and any(row.name == word[5:] and row.kind == "flag" for row in rows):
            options[word[5:].replace("-", "_")] = False
            continue
        row, value = _option(word, rows, program)
        if row.kind == "flag":
            options[row.key] = value if value is not None else True
            continue
        if value is None and not words:
            raise OptionError(f"the command line: {word} needs a value, {row.value}")
        value = words.pop(0) if value is None else value
        options[row.key] = [*options.get(row.key, []), value] if row.kind == "many" else value
    return Taken(positional, [], options, False)


def _option(word: str, rows: Sequence[Row], program: str) -> tuple[Row, str | None]:
    """``--name``, ``--name=value``, ``-n``, ``-nvalue``; also ``-name=value``, as old pages write."""
    name, equals, value = word.lstrip("-").partition("=")
    long = word.startswith("--") or (bool(equals) and len(name) > 1)
    row = next((row for row in rows if row.is_called(name)), None) if long else None
    if not word.startswith("--") and row is None:
        row = next((row for row in rows if row.short and row.short == word[1]), None)
        name, value = word[1:2], word[2:].removeprefix("=")
        equals = value
    if row is None or row.where == "file":
        where = "is set in files only" if row else "is no option" + near(name, rows)
        raise OptionError(f"the command line: {word.partition('=')[0]} {where} ({program} --help lists them)")
    return row, value if equals else None


def near(name: str, rows: Sequence[Row]) -> str:
    """A hint at the option that may have been meant."""
    found = difflib.get_close_matches(name, [row.name for row in rows], n=1)
    return f", did you mean --{found[0]}?" if found else ""
