"""One configuration file: where its keys stand, and changes that keep the rest as it is.

    read()    path -> tables, {} where there is no file; a syntax error names file and line
    trusted_text()  path -> text, unless somebody else may have written it
    line_of() text, table, key -> the line a message about it should name
    change()  path, table, key, value -> the file with that one entry set or removed

``tomllib`` reads but tells no lines and does not write.  So lines are found by looking for
headers and keys, and a change edits lines: comments and order stay.  What was written is
read again and compared with what was meant; where a file is laid out in a way that editing
lines cannot follow (tables inside a line), nothing is written and the error says so.
Programs that change one file at the same time wait for each other (``filelock``).
"""

from __future__ import annotations

import copy
import json
import logging
import os
import re
import shlex
import stat
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from clusterfutures.errors import OptionError

__all__ = ["change", "line_of", "read", "trusted_text"]

log = logging.getLogger("clusterfutures")

#: seconds to wait for another program that is writing the file
_LOCK_SECONDS = 10.0
_BARE = r"[A-Za-z0-9_-]+"
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?")
_KEY = re.compile(r"""\s*("[^"]*"|'[^']*'|[A-Za-z0-9_-]+)((?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=""")

Table = tuple[str, ...]


def read(path: str) -> tuple[dict[str, Any], str]:
    """The tables and the text of the file at ``path``; ({}, "") when there is none.

    Raises OptionError for a file that cannot be read, is no TOML, or may be somebody else's words.
    """
    try:
        text = trusted_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}, ""
    except PermissionError as error:
        if _may_be_there(path):
            raise OptionError(f"{path}: the configuration cannot be read: {error}") from None
        log.info("clusterfutures: %s is not read, for its directory cannot be searched", path)
        return {}, ""
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: the configuration cannot be read: {error}") from None
    return _parsed(path, text), text


def trusted_text(path: str) -> str:
    """The text of a file that decides what runs in one's name.

    Raises OptionError when another user owns it or may write it: root may, and who installed this package.
    """
    with open(path, encoding="utf-8") as file:
        found = os.fstat(file.fileno())
        mine = os.geteuid()
        if stat.S_ISREG(found.st_mode):  # /dev/null is nobody's words
            if found.st_uid not in (mine, 0, os.stat(__file__).st_uid):
                raise OptionError(
                    f"{path} is refused: it belongs to user {found.st_uid}, and what it says would run as you "
                    f"({mine}). Copy it (cp), or name another file."
                )
            if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not _is_my_own_group(found.st_gid)):
                raise OptionError(
                    f"{path} is refused: others may write it (mode {stat.S_IMODE(found.st_mode):o}), and what it says "
                    f"would run as you. Keep it to yourself: chmod go-w {shlex.quote(path)}"
                )
        return file.read()


def _is_my_own_group(group: int) -> bool:
    """True for the group that many systems make for each user, named after the user and for nobody else."""
    import grp
    import pwd

    mine = os.geteuid()
    try:
        user, found = pwd.getpwuid(mine), grp.getgrgid(group)
    except KeyError:
        return False
    return mine != 0 and user.pw_gid == group and found.gr_name == user.pw_name and not found.gr_mem


def _may_be_there(path: str) -> bool:
    """False when a directory above ``path`` hides whether there is a file, as a home directory that is not mine."""
    try:
        os.lstat(path)
    except OSError:
        return False
    return True


def _parsed(path: str, text: str) -> dict[str, Any]:
    import tomllib  # only where there is a file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"line (\d+)", str(error))
        where = f"{path}:{match[1]}" if match else path
        raise OptionError(
            f'{where}: this is no TOML: {error}. Write key = "value" lines under [section] lines.'
        ) from None


def _names(dotted: str) -> Table:
    return tuple(part.strip().strip("\"'") for part in re.findall(r""""[^"]*"|'[^']*'|[^.\s]+""", dotted))


def _places(text: str) -> list[tuple[int, Table, str]]:
    """(line, table, key) of all that is set in ``text``; a header has the key ""."""
    table: Table = ()
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            table = _names(header[1])
            found.append((number, table, ""))
        elif key := _KEY.match(line):
            names = _names(key[1] + key[2])
            found.append((number, (*table, *names[:-1]), names[-1]))
    return found


def line_of(text: str, table: Sequence[str], key: str) -> int:
    """The line where ``key`` of ``table`` is set, else that of the table; 1 at worst."""
    wanted = tuple(table)
    places = _places(text)
    exact = [line for line, where, name in places if where == wanted and name == key]
    near = [line for line, where, name in places if (where == wanted and not name) or (*where, name) == wanted]
    return next(iter([*exact, *near]), 1)


def change(path: str, table: Sequence[str], key: str, value: Any) -> None:
    """Set ``key`` in ``table`` to ``value``, or remove it when ``value`` is None; with the
    key "" remove the whole table.  Creates the file, and its directory, where needed.

    Raises OptionError where the file cannot be changed by lines, or is locked for long.
    """
    from filelock import FileLock, Timeout

    if not path:
        raise OptionError("There is no home directory for a configuration: set CLUSTERFUTURES_CONFIG to a file.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OptionError(f"{path} is no plain file, and cannot be written: name another in $CLUSTERFUTURES_CONFIG")
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
            data, text = read(path)
            wanted = _expected(data, table, key, value)
            changed = _edited(text, tuple(table), key, value)
            if _without_empty(_parsed_or_none(changed), table) != _without_empty(wanted, table):
                raise OptionError(
                    f"{path}: {'.'.join([*table, *([key] if key else [])])} is laid out in a way that cannot be "
                    "changed from here: edit the file by hand"
                )
            _replace(path, changed)
    except Timeout:
        raise OptionError(
            f"{path} has been locked by another program for {_LOCK_SECONDS:.0f} s: try again, or look who holds "
            f"{path}.lock"
        ) from None
    except OSError as error:
        raise OptionError(
            f"{path} cannot be written: {error.strerror or error}. Name another file in $CLUSTERFUTURES_CONFIG"
        ) from None


def _parsed_or_none(text: str) -> dict[str, Any] | None:
    try:
        return _parsed("", text)
    except OptionError:
        return None


def _without_empty(data: dict[str, Any] | None, table: Sequence[str]) -> dict[str, Any] | None:
    """The same without the outer table where nothing is left in it: its last profile may have been removed."""
    if data is None or len(table) < 2 or data.get(table[0]) != {}:
        return data
    return {name: value for name, value in data.items() if name != table[0]}


def _expected(data: Mapping[str, Any], table: Sequence[str], key: str, value: Any) -> dict[str, Any]:
    """``data`` with the change made."""
    result = copy.deepcopy(dict(data))
    inner = result
    *outer, last = table or ("",)
    for name in outer:
        inner = inner.setdefault(name, {})
    if table and not key:
        inner.pop(last, None)
        return result
    if table:
        inner = inner.setdefault(last, {})
    if value is None:
        inner.pop(key, None)
    else:
        inner[key] = value
    return result


def _edited(text: str, table: Table, key: str, value: Any) -> str:
    lines = text.splitlines()
    if not key:
        return _joined(_without_table(lines, table))
    written = [] if value is None else [f"{_name(key)} = {_toml(value)}"]
    places = _places(text)
    for number, where, name in places:
        if where == table and name == key:
            lines[number - 1 : number - 1 + _extent(lines, number - 1)] = written
            return _joined(lines)
    headers = [number for number, _, name in places if not name]
    start = next((number for number, where, name in places if where == table and not name), None)
    if start is None and table:
        blank = [""] if lines and lines[-1].strip() else []
        return _joined([*lines, *blank, f"[{'.'.join(_name(part) for part in table)}]", *written])
    following = next((number - 1 for number in headers if number > (start or 0)), len(lines))
    end = following
    while end > (start or 0) and not lines[end - 1].strip():
        end -= 1  # before the blank lines that part it from the next table
    if not table and not end and following < len(lines):
        written.append("")
    lines[end:end] = written
    return _joined(lines)


def _without_table(lines: list[str], table: Table) -> list[str]:
    kept = []
    inside = False
    for line in lines:
        if header := _HEADER.fullmatch(line):
            inside = _names(header[1])[: len(table)] == table
        if not inside:
            kept.append(line)
    return kept


def _extent(lines: Sequence[str], start: int) -> int:
    """How many lines the value that begins on line ``start`` takes."""
    for count in range(1, len(lines) - start + 1):
        if _parsed_or_none("\n".join(lines[start : start + count])) is not None:
            return count
    return 1


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n" if lines else ""


def _name(name: str) -> str:
    return name if re.fullmatch(_BARE, name) else json.dumps(name)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # JSON and TOML have the same escapes, except surrogate pairs, which this excludes, and DEL, which only JSON has
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_name(str(name))} = {_toml(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    raise OptionError(f"{value!r} cannot be written to a configuration: give text, a number, true/false or a list")


def _replace(path: str, text: str) -> None:
    """All of the new text or the old one: a program that reads meanwhile sees no half."""
    target = os.path.realpath(path)  # dotfiles are often links into a repository
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".config-")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
