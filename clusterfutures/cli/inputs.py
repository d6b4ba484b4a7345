"""What is to be run: the user's words as a command, or a script, and the inputs that it is run for.

'gzip {}' ::: *.fastq           shell text, a job for each file (also without the colons)
gzip -9 {} ::: 'data/*.fastq'   words, each of them one word of the shell; globs are expanded
script.sh a b                   a file that begins with #!, and its arguments
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from typing import NamedTuple

from clusterfutures.errors import OptionError
from clusterfutures.jobs.template import has_field

__all__ = ["Wanted", "read"]

_SEPARATOR = ":::"


class Wanted(NamedTuple):
    """command: shell text, or "".  script: a file to submit as it is, with ``args``, or "".
    items: the inputs, None for a single job."""

    command: str
    script: str
    args: list[str]
    items: list[str] | None


def read(words: list[str], lines_of: str | None) -> Wanted:
    """Read the words of the command line; lines_of: a file of inputs.  Raises OptionError."""
    items: list[str] | None = None
    if _SEPARATOR in words:
        at = words.index(_SEPARATOR)
        words, items = words[:at], _expanded(words[at + 1 :])
    if not words:
        raise OptionError("what is to be run? Try: clusterfutures submit 'sort names >sorted'")
    text = words[0]
    is_shell_text = any(char.isspace() for char in text)
    if items is None and is_shell_text and has_field(text) and len(words) > 1:
        words, items = words[:1], _expanded(words[1:])
    if lines_of is not None:
        items = [*(items or []), *_lines(lines_of)]
    if items is None and len(words) > 1 and has_field(" ".join(words)):
        raise OptionError("{} stands for inputs, but there are none: write ::: before them, as in gzip {} ::: *.txt")
    if items is not None and not items:
        raise OptionError("there are no inputs: nothing follows :::, or the file of them is empty")
    if items is None and _is_script(text):
        return Wanted("", text, words[1:], None)
    if is_shell_text and len(words) > 1:
        raise OptionError(
            f"{text!r} is shell text, and {words[1]!r} follows it: put all of it in one pair of quotes, or give a "
            "command and its arguments as words"
        )
    redirected = next((word for word in words[1:] if re.match(r"\d?>>?|<", word) and has_field(word)), None)
    if redirected is not None:
        raise OptionError(
            f"{redirected!r} would be an argument of {text}, not a redirection: give the whole command as one text, "
            f"as in '{text} {{}} {redirected}' ::: ..."
        )
    return Wanted(text if len(words) == 1 else shlex.join(words), "", [], items)


def _expanded(words: list[str]) -> list[str]:
    """Inputs; a pattern that the shell has left alone becomes the files that it fits."""
    found: list[str] = []
    for word in words:
        if os.path.lexists(word) or not glob.has_magic(word):
            found.append(word)
            continue
        files = sorted(glob.glob(os.path.expanduser(word), recursive=True))
        if not files:
            raise OptionError(f"no file fits {word!r} in {os.getcwd()}: name files that another job is yet to make")
        found += files
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(0 if path == "-" else path, encoding="utf-8", errors="surrogateescape", closefd=path != "-") as file:
            return [line.rstrip("\r\n") for line in file if line.strip()]
    except OSError as error:
        raise OptionError(f"--from={path}: {error.strerror}") from None


def _is_script(word: str) -> bool:
    """A file to be copied and submitted: it has directives, or cannot be executed where it stands."""
    if not os.path.isfile(word):
        return False
    with open(word, "rb") as file:
        head = file.read(65536)
    has_directives = b"\n#SBATCH" in head or b"\n#PBS" in head
    return head.startswith(b"#!") and (has_directives or not os.access(word, os.X_OK) or _is_written(word))


def _is_written(word: str) -> bool:
    return os.path.basename(word) == "script" and os.path.isfile(os.path.join(os.path.dirname(word), "job.json"))
