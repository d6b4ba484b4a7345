"""How both kinds of ``qsub`` read what they are given: options, directives, lists, sizes.

    argv, script --read()--> Options (the command line wins over ``#PBS`` lines)

Everything here is a function of text; a ``Refused`` carries the words and the exit code.
"""

from __future__ import annotations

import os
import re
import sys

from .dialect import Refused

USAGE = """\
usage: qsub [-a date_time] [-A account_string] [-c interval]
\t[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
\t[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
\t[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
\t[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
\t[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version"""

#: kinds of resources: what a value must look like
_NUMBER = re.compile(r"\d+")
_TIME = re.compile(r"\d+(:\d+){0,2}(\.\d+)?")
_SIZE = re.compile(r"\d+[kKmMgGtTpP]?[bBwW]?")
RESOURCES = {
    **dict.fromkeys(("ncpus", "mpiprocs", "ompthreads", "nodect", "mpiprocs", "nice", "procs"), _NUMBER),
    **dict.fromkeys(("walltime", "cput", "pcput", "min_walltime", "max_walltime"), _TIME),
    **dict.fromkeys(("mem", "vmem", "pmem", "pvmem", "file"), _SIZE),
    **dict.fromkeys(("arch", "host", "vnode", "software", "place", "select", "nodes"), re.compile(r".*", re.DOTALL)),
}


def illegal(option: str) -> Refused:
    """A value that an option does not take."""
    return Refused(2, f"qsub: illegal -{option} value\n{USAGE}")


class Options:
    """What one qsub was asked for: option letters with their values, and what to run."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.resources: dict[str, str] = {}
        self.attributes: dict[str, str] = {}  # of -W
        self.command: list[str] = []  # after --
        self.script: str | None = None  # path, None: standard input

    def add(self, pairs: list[tuple[str, str]], weak: bool = False) -> None:
        """Take options over; ``weak`` ones (directives) change nothing that is set."""
        fresh = Options()
        for letter, value in pairs:
            if letter == "l":
                fresh.resources.update(resource_list(value))
            elif letter == "W":
                fresh.attributes.update(attribute_list(value))
            elif letter == "v" and "v" in fresh.values:
                fresh.values["v"] += "," + value
            else:
                fresh.values[letter] = value
        if weak and "select" in self.resources:
            fresh.resources = {k: v for k, v in fresh.resources.items() if k not in ("ncpus", "mem", "nodes")}
        for mine, other in (
            (self.values, fresh.values),
            (self.resources, fresh.resources),
            (self.attributes, fresh.attributes),
        ):
            mine.update({**other, **mine} if weak else other)


def split_options(argv: list[str], letters: str) -> tuple[list[tuple[str, str]], list[str]]:
    """getopt: ``letters`` with a colon take a value; returns the pairs and the rest."""
    takes = {letter: letters[at + 1 : at + 2] == ":" for at, letter in enumerate(letters) if letter != ":"}
    pairs: list[tuple[str, str]] = []
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        word = rest.pop(0)[1:]
        while word:
            letter, word = word[0], word[1:]
            if letter not in takes:
                raise Refused(2, f"qsub: invalid option -- '{letter}'\n{USAGE}")
            if not takes[letter]:
                pairs.append((letter, ""))
                continue
            if not word and not rest:
                raise Refused(2, f"qsub: option requires an argument -- '{letter}'\n{USAGE}")
            pairs.append((letter, word or rest.pop(0)))
            word = ""
    return pairs, rest


def read(argv: list[str], letters: str) -> tuple[Options, bytes]:
    """The options of a qsub, directives included, and its script (empty for ``--``)."""
    options = Options()
    pairs, rest = split_options(argv, letters)
    options.add(pairs)
    if rest and rest[0] == "--":
        # qsub passes the words on, but not those that are empty
        options.command = [word for word in rest[1:] if word]
        return options, b""
    options.script = rest[0] if rest else None
    script = read_script(options.script)
    for words in directives(script, options.values.get("C", "#PBS")):
        pairs, left = split_options(words, letters)
        if left:
            raise Refused(1, f"qsub: directive error: {' '.join(words)}")
        options.add(pairs, weak=True)
    return options, script


def read_script(path: str | None) -> bytes:
    """The script, from its file or from standard input."""
    if path is None or path == "-":
        return sys.stdin.buffer.read()
    if os.path.exists(path) and not os.path.isfile(path):
        raise Refused(1, "qsub: script not a file")
    try:
        with open(path, "rb") as file:
            script = file.read()
    except OSError as error:
        raise Refused(1, f"qsub: script file:: {error.strerror}") from None
    if b"\r\n" in script:
        raise Refused(1, "qsub: script contains cr, lf")
    return script


def directives(script: bytes, prefix: str) -> list[list[str]]:
    """The words of each directive line, up to the first line with a command."""
    found = []
    for line in script.decode("utf-8", "surrogateescape").splitlines():
        if line.startswith((prefix + " ", prefix + "\t")):
            words = _directive_words(line[len(prefix) :])
            if words and words[0].startswith("#"):
                continue
            found.append(words)
        elif line.strip() and not line.startswith("#") and line.strip() != ":":
            break
    return found


def _directive_words(text: str) -> list[str]:
    """Split at blanks; quotes keep a value together and stay, as qsub leaves them."""
    return re.findall(r"(?:[^\s\"']|\"[^\"]*\"|'[^']*')+", text)


def variables(text: str, environment: dict[str, str] | os._Environ[str], strict: bool = False) -> dict[str, str]:
    """``-v``: names with values, and names alone that copy from qsub's own environment.

    strict: refuse a name that is not there.
    """
    found: dict[str, str] = {}
    item, quote, at = "", "", 0
    text += ","
    while at < len(text):
        char = text[at]
        if char == "\\" and text[at + 1 : at + 2] == "," and at + 2 < len(text):
            item += ","
            at += 1
        elif quote:
            item, quote = (item, "") if char == quote and at < len(text) - 1 else (item + char, quote)
        elif char in "\"'" and "=" in item:
            quote = char
        elif char == ",":
            name, given, value = item.partition("=")
            if name and not given and strict and name not in environment:
                raise Refused(1, "qsub: cannot send environment with the job")
            if name:
                found[name] = value if given else environment.get(name, "")
            item = ""
        else:
            item += char
        at += 1
    if quote:
        raise Refused(1, "qsub: cannot send environment with the job")
    return found


def attribute_list(text: str) -> dict[str, str]:
    """``-W a=b,c=d``; a comma may also stand inside a dependency."""
    found: dict[str, str] = {}
    last = ""
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals:
            last = name.strip()
            found[last] = value
        elif last == "depend":
            found[last] += "," + part
        else:
            raise illegal("W")
    return found


def resource_list(text: str) -> dict[str, str]:
    """``-l a=b,c=d``."""
    found = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not name or (equals and not value):
            raise illegal("l")
        found[name.strip()] = value
    return found


def check_value(name: str, value: str, full_name: str) -> None:
    """Refuse what a resource cannot hold."""
    if not RESOURCES[name].fullmatch(value):
        raise Refused(166, f"qsub: Illegal attribute or resource value {full_name}")


def seconds(text: str) -> float:
    """A time, ``[[H:]M:]S``."""
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return total


def amount(text: str) -> float:
    """A number, a size or a time, as something to compare and to add."""
    if ":" in text:
        return seconds(text)
    match = re.fullmatch(r"(\d+)([kmgtp]?)[bw]?", text.lower())
    return float(match[1]) * 1024.0 ** " kmgtp".index(match[2] or " ") if match else 0.0


def clock(total: float) -> str:
    """Seconds as ``HH:MM:SS``."""
    whole = int(total)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def absolute(path: str, directory: str) -> str:
    """The path part of ``-o [host:]path``, absolute."""
    match = re.match(r"[A-Za-z0-9_.-]+:(/.*)", path, re.DOTALL)
    if match:
        path = match[1]
    whole = os.path.join(directory, path)
    # normpath would take the slash that says "into this directory"
    return whole
