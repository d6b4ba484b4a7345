"""What a script requests in its ``#SBATCH`` or ``#PBS`` lines, in our words where we have them.

    #SBATCH --time=10 -c 4 --reservation=x   ->   {"time": "10m", "cores": "4"}, extra ["--reservation=x"]

The caller's own options win over those of the script, as sbatch's and qsub's do.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

from clusterfutures.errors import OptionError
from clusterfutures.options import table as keywords
from clusterfutures.schedulers import options

__all__ = ["Directives", "read", "wanted"]

_SLURM_LETTERS = {
    "A": "account", "C": "constraint", "J": "job-name", "N": "nodes", "b": "begin", "c": "cpus-per-task",
    "d": "dependency", "e": "error", "n": "ntasks", "o": "output", "p": "partition", "q": "qos", "t": "time",
    "a": "array", "D": "chdir", "L": "licenses", "M": "clusters", "w": "nodelist", "x": "exclude", "G": "gpus",
}  # fmt: skip
#: of Slurm's options those that are ours, by its name
_SLURM = {
    "cpus-per-task": "cores", "mem": "memory", "time": "time", "partition": "partition", "account": "account",
    "qos": "qos", "nodes": "nodes", "constraint": "features", "begin": "begin", "job-name": "name",
    "output": "outfile", "error": "errfile", "chdir": "cwd", "exclusive": "exclusive",
    "gpus-per-node": "gpus",
}  # fmt: skip
#: those that say in another way what one of ours says: an option of the caller's takes their place
_SAME = {"mem-per-cpu": "memory", "mem-per-gpu": "memory"}
_PBS = {"q": "partition", "A": "account", "a": "begin", "N": "name", "o": "outfile", "e": "errfile"}
_PBS_LISTED = {"walltime": "time", "mem": "memory", "ncpus": "cores"}
#: without a value; the letter distinguishes those of qsub
_PBS_FLAGS = "hzVIXnRfx"
_ALREADY = {"array": "submit_array()", "J": "submit_array()", "t": "submit_array()"}
_AFTER = {"dependency": "dependencies=", "depend": "dependencies="}


class Directives(NamedTuple):
    """What a script says: keywords of ours, and options that only the scheduler knows."""

    keywords: dict[str, Any]
    extra: list[tuple[str, list[str]]]


def read(text: str, scheduler: str) -> Directives:
    """The directives of a script for ``scheduler``; none where it has none.  Raises OptionError."""
    mark = {"slurm": "#SBATCH", "pbs": "#PBS"}.get(scheduler)
    found = Directives({}, [])
    for number, line in enumerate(_head(text), 1):
        if mark is None or not re.match(rf"{mark}\s", line):
            continue
        try:
            words = shlex.split(line.removeprefix(mark), comments=True)
        except ValueError as error:
            raise OptionError(f"line {number} of the script, {line!r}, cannot be read: {error}") from None
        pairs = _slurm(words) if scheduler == "slurm" else _pbs(words)
        for name, value, given in pairs:
            _note(found, name, value, given)
    return found


def wanted(found: Directives, options_given: dict[str, Any]) -> dict[str, Any]:
    """Options of a job: the caller's, and of the script's those that he did not give."""
    named = {_canonical(name) for name in options_given}
    result = {name: value for name, value in found.keywords.items() if name not in named} | options_given
    kept = [word for about, words in found.extra if about not in named for word in words]
    if kept:
        own = {name: result.pop(name) for name in options_given if _canonical(name) == "extra"}
        result["extra"] = [*kept, *options.normalise(own).get("extra", [])]
    return result


def _canonical(name: str) -> str:
    row = options.find(name) or keywords.find(name)
    return name if row is None else row.name


def _head(text: str) -> Iterator[str]:
    """Lines up to the first command: schedulers read no further."""
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            return
        yield line


def _slurm(words: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not equals and words and not words[0].startswith("-"):
                value, word = words[0], f"{word}={words.pop(0)}"
        else:
            name, value = _SLURM_LETTERS.get(word[1:2], word[1:2]), word[2:]
            if not value and words and not words[0].startswith("-"):
                value = words.pop(0)
            word = f"{word[:2]}{value}"
        yield name, value, [word]


def _pbs(words: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    while words:
        word = words.pop(0)
        letter, value = word[1:2], word[2:]
        if not value and letter not in _PBS_FLAGS and words:
            value = words.pop(0)
        for part in re.split(r",(?=[a-z_]+=)", value) if letter == "l" else [value]:
            name, _, inner = part.partition("=")
            if letter == "l" and name in _PBS_LISTED:
                yield _PBS_LISTED[name], inner, ["-l", part]
            elif letter == "l":
                yield {"select": "cores", "nodes": "cores"}.get(name, name), "", ["-l", part]
            elif letter == "W" and name == "depend":
                yield "depend", inner, []
            else:
                yield letter, value, [f"-{letter}", *([value] if value else [])]


def _note(found: Directives, name: str, value: str, words: list[str]) -> None:
    if name in _ALREADY or name in _AFTER:
        instead = (_ALREADY | _AFTER)[name]
        raise OptionError(f"the script asks for {' '.join(words) or name}: leave it out, and use {instead}")
    ours = (_SLURM | _PBS).get(name, name)
    if name == "gres" and re.fullmatch(r"gpu(:[A-Za-z][\w.+-]*)?:\d+", value):  # and not of other things
        ours = "gpus"
    if name in _SAME:
        found.extra.append((_SAME[name], words))
        return
    if words[0] == "-l" and not value:
        found.extra.append((name, words))
        return
    if ours == "exclusive" and not value:
        value = "true"
    if ours == "time" and value.isdigit():
        value = f"{value}m" if name == "time" and words[0][:2] in ("--", "-t") else f"{value}s"
    if name == "memory" and value.isdigit():  # of qsub: bytes
        value = f"{-(-int(value) // 2**20)}M"
    if ours in ("outfile", "errfile"):
        path = value.partition(":")[2] if name in _PBS else ""  # qsub's have a host in front
        found.keywords[ours] = path or value
        return
    if ours in ("name", "cwd"):
        found.keywords[ours] = value
        return
    try:
        options.normalise({ours: value})
    except OptionError:
        found.extra.append((ours, words))
        return
    found.keywords[ours] = value
