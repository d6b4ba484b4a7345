"""A command for each of many inputs: ``{}`` and its relatives, put in so that a shell reads them as one word.

    gzip -c {} >{/.}.gz   +   "data/a b.txt"   ->   gzip -c 'data/a b.txt' >'a b'.gz

    {} the input   {.} without its last ending   {/} its name alone   {/.} that without the ending
    {//} its directory   {#} its number, from 1 on

Within quotes of the command the input is written as those quotes want it.

A command without any field gets its arguments at its end, or as ``$1``, ``$2`` ... where it names these, or where
another program than a shell reads it (``with_arguments``).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence

from clusterfutures.errors import OptionError

__all__ = ["filled", "has_field", "is_for_a_shell", "joined", "with_arguments", "word"]

_FIELD = re.compile(r"\{(?:|\.|/|//|/\.|#)\}")
#: $1, "$@", ${1:-x}, $#; not ${#name}, which is a length
_PARAMETER = re.compile(r"\$(?:[1-9@*#]|\{(?:[1-9@*]|#[1-9@*]?\}))")
#: these read the arguments without naming them
_TAKES_PARAMETERS = re.compile(r"(?m)\b(?:shift|getopts)\b|\bfor\s+\w+\s*(?:;|\n|\bdo\b)")
_FUNCTION = re.compile(r"(?m)[\w-]+\s*\(\s*\)\s*[{(]|^\s*function\s")
_HEREDOC = re.compile(r"<<-?\s*[\\'\"A-Za-z_]")


def has_field(command: str) -> bool:
    """True when there is something to put in."""
    return any(quotes != "#" and _FIELD.fullmatch(part) for quotes, part in _parts(command))


def filled(command: str, items: str | Sequence[str], number: int) -> str:
    """The command for one input.  Of several each is a word of its own."""
    items = [items] if isinstance(items, str) else items
    names = [os.path.basename(item) for item in items]
    values = {
        "{}": items, "{.}": [os.path.splitext(item)[0] for item in items],
        "{/}": names, "{/.}": [os.path.splitext(name)[0] for name in names],
        "{//}": [os.path.dirname(item) or "." for item in items], "{#}": [str(number + 1)],
    }  # fmt: skip
    text = []
    for quotes, part in _parts(command):
        value = values.get(part) if quotes != "#" else None
        text.append(part if value is None else " ".join(_within(quotes, one) for one in value))
    return "".join(text)


def is_for_a_shell(command: str) -> bool:
    """True for shell text, with or without a ``#!`` line that names a shell."""
    return not command.startswith("#!") or re.match(r"#!.*?\b(?:ba|da|z|k|mk|a)?sh\b", command) is not None


def with_arguments(command: str, words: Sequence[str], *, fill: bool = True) -> tuple[str, list[str]]:
    """The command with its arguments in it; and those that it gets as ``$1``, ``$2`` ... because it reads them itself.

    fill: put them where the command has a field (``{#}`` holds none of them).  Raises OptionError.
    """
    if not words or not is_for_a_shell(command):
        return command, list(words)
    fields = {part for quotes, part in _parts(command) if quotes != "#" and _FIELD.fullmatch(part)}
    if fill and fields - {"{#}"}:
        return filled(command, words, 0), []
    if _uses_parameters(command):
        return command, list(words)
    return _behind(command, words), []


def joined(words: Sequence[str]) -> str:
    """A command that is given as words: each is one word for the shell, and a field stays one."""
    return " ".join(one if _FIELD.fullmatch(one) else shlex.quote(one) for one in words)


def word(value: object, what: str) -> str:
    """A value as a word of a command: text, a number or a path.  what: how an error names it.  Raises OptionError."""
    if isinstance(value, bytes | os.PathLike):
        text = os.fsdecode(value)
    elif isinstance(value, str):
        text = str.__str__(value)  # an enumeration's text is not its value
    elif _is_number(value):
        text = str(value)
    else:
        raise OptionError(
            f"{what} is {value!r}, of type {type(value).__name__}: a command takes text, numbers and paths only. "
            "Give str(...) of it, or submit a function"
        )
    if "\0" in text:
        raise OptionError(f"{what} is {text!r}: an argument of a command cannot hold a NUL character")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise OptionError(f"{what} is {text!r}: it cannot be encoded as an argument of a command") from None
    return text


def _behind(command: str, words: Sequence[str]) -> str:
    """The command with ``words`` at its end, quoted: before a comment, ``;`` or ``&`` that ends it."""
    parts = list(_parts(command))
    if any(quotes == "" and _HEREDOC.match(_text(parts[at : at + 8])) for at, quotes in _shifts(parts)):
        raise OptionError(
            "the command has a here-document (<<), so its arguments cannot be put at its end: write {} where they "
            "belong in it"
        )
    end = len(parts)
    while end and _is_closing(parts, end - 1):
        end -= 1
    code = _text(parts[:end])
    if not code.strip():
        raise OptionError(f"command={command!r} has comments only, so arguments cannot be put behind it")
    return f"{code} {shlex.join(words)}{_text(parts[end:])}"


def _uses_parameters(command: str) -> bool:
    """True when the command reads its arguments itself, as ``$1`` or ``"$@"``.

    In a line with functions these are the arguments of a function; a whole script has its own.
    """
    if _FUNCTION.search(command) and not command.startswith("#!"):
        return False
    if _TAKES_PARAMETERS.search(command):
        return True
    parts = list(_parts(command))
    return any(
        quotes in ("", '"') and part == "$" and _PARAMETER.match(_text(parts[at : at + 5]))
        for at, (quotes, part) in enumerate(parts)
    )


def _is_number(value: object) -> bool:
    """Numbers of other libraries too, without importing them; their arrays and tables have a length."""
    kind = type(value)
    return not hasattr(kind, "__len__") and any(
        hasattr(kind, name) for name in ("__float__", "__index__", "__complex__")
    )


def _text(parts: Sequence[tuple[str, str]]) -> str:
    return "".join(part for _, part in parts)


def _shifts(parts: Sequence[tuple[str, str]]) -> Iterator[tuple[int, str]]:
    """Where ``<<`` may begin a here-document: not within ``<<<``."""
    for at, (quotes, part) in enumerate(parts):
        if part == "<" and (at == 0 or parts[at - 1][1] != "<"):
            yield at, quotes


def _is_closing(parts: Sequence[tuple[str, str]], at: int) -> bool:
    """Whether this part ends the command, so that an argument has to stand before it."""
    quotes, part = parts[at]
    if quotes == "#" or (quotes == "" and (part in ("#", ";", "\\\n", "\\") or part.isspace())):
        return True
    if part != "&" or quotes != "":
        return False
    return at == 0 or parts[at - 1] not in [("", char) for char in "&|<>"]


def _parts(command: str) -> Iterator[tuple[str, str]]:
    """The command in pieces, fields by themselves, each with the quotes around it ("#": a comment).

    Within ``$(...)`` in double quotes the shell reads anew, as outside of quotes.
    """
    states, depths = [""], [0]
    at, before = 0, "\n"
    while at < len(command):
        char, state = command[at], states[-1]
        field = _FIELD.match(command, at)
        length = len(field.group()) if field else 2 if char == "\\" and state in ("", '"') else 1
        piece = command[at : at + length]
        opens_comment = state == "" and char == "#" and (before.isspace() or before in ";&|(")
        yield "#" if opens_comment else state, piece
        if state in ("", '"') and char == "(" and before == "$":
            states.append("")
            depths.append(1)
        elif state == "" and char == "(":
            depths[-1] += 1
        elif state == "" and char == ")":
            depths[-1] -= 1
            if depths[-1] == 0 and len(states) > 1:
                states.pop()
                depths.pop()
        elif state == "" and char in "'\"":
            states.append(char)
            depths.append(0)
        elif state in ("'", '"') and char == state:
            states.pop()
            depths.pop()
        elif opens_comment:
            states.append("#")
            depths.append(0)
        elif state == "#" and char == "\n":
            states.pop()
            depths.pop()
        before, at = piece[-1] if len(piece) == 1 else "x", at + length


def _within(quotes: str, value: str) -> str:
    if quotes == "'":
        return value.replace("'", "'\\''")
    if quotes == '"':
        return re.sub(r'([\\"$`])', r"\\\1", value)
    return shlex.quote(value)
