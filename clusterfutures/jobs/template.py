"""A command for each of many inputs: ``{}`` and its relatives, put in so that a shell reads them as one word.

    gzip -c {} >{/.}.gz   +   "data/a b.txt"   ->   gzip -c 'data/a b.txt' >'a b'.gz

    {} the input   {.} without its last ending   {/} its name alone   {/.} that without the ending
    {//} its directory   {#} its number, from 1 on

Within quotes of the command the input is written as those quotes want it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator

__all__ = ["filled", "has_field"]

_FIELD = re.compile(r"\{(?:|\.|/|//|/\.|#)\}")


def has_field(command: str) -> bool:
    """True when there is something to put in."""
    return _FIELD.search(command) is not None


def filled(command: str, item: str, number: int) -> str:
    """The command for one input."""
    stem, name = os.path.splitext(item)[0], os.path.basename(item)
    values = {
        "{}": item, "{.}": stem, "{/}": name, "{/.}": os.path.splitext(name)[0],
        "{//}": os.path.dirname(item) or ".", "{#}": str(number + 1),
    }  # fmt: skip
    text = []
    for quotes, part in _parts(command):
        value = values.get(part) if quotes != "#" else None
        text.append(part if value is None else _within(quotes, value))
    return "".join(text)


def _parts(command: str) -> Iterator[tuple[str, str]]:
    """The command in pieces, fields by themselves, each with the quotes that it stands in ("#": a comment)."""
    state, at, before = "", 0, "\n"
    while at < len(command):
        char = command[at]
        field = _FIELD.match(command, at)
        length = len(field.group()) if field else 2 if char == "\\" and state in ("", '"') else 1
        piece = command[at : at + length]
        yield state, piece
        if state == "" and char in "'\"":
            state = char
        elif state == char and char in "'\"":
            state = ""
        elif state == "" and char == "#" and before.isspace():
            state = "#"
        elif state == "#" and char == "\n":
            state = ""
        before, at = piece[-1], at + length


def _within(quotes: str, value: str) -> str:
    if quotes == "'":
        return value.replace("'", "'\\''")
    if quotes == '"':
        return re.sub(r'([\\"$`])', r"\\\1", value)
    return shlex.quote(value)
