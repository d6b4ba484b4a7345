"""The command ``clusterfutures``: the command named first is found, its options read, its work done."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

from clusterfutures.cli.help import command_help, general_help
from clusterfutures.cli.table import COMMANDS
from clusterfutures.commandline.completion import SHELLS, completion
from clusterfutures.commandline.guard import guarded
from clusterfutures.commandline.words import Taken, take
from clusterfutures.errors import OptionError

__all__ = ["main"]

_PROGRAM = "clusterfutures"


def main(words: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 well, 1 jobs failed, 2 a mistake, 130 interrupted."""
    given = list(sys.argv[1:] if words is None else words)
    return guarded(_PROGRAM, lambda: _run(given))


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        return _help(words[1:2])
    first, rest = words[0], words[1:]
    if first == "--version":
        import clusterfutures

        print(f"clusterfutures {clusterfutures.__version__}")
        return 0
    if first.startswith("--completion"):
        return _completion(first.partition("=")[2] or "".join(rest[:1]))
    command = COMMANDS.get(first)
    if command is None:
        raise OptionError(f"there is no command {first!r}{_nearest(first)}: {_PROGRAM} --help lists them")
    taken = take(rest, command.rows, f"{_PROGRAM} {first}", one_command=command.takes_command)
    if taken.help:
        print(command_help(command), end="")
        return 0
    for row in command.rows:
        value = taken.options.get(row.key)
        if row.choices and value not in (None, *row.choices):
            raise OptionError(f"the command line: --{row.name}={value}: choose from {', '.join(row.choices)}")
        if row.kind == "flag" and not isinstance(value, bool | None):
            raise OptionError(f"the command line: --{row.name} takes no value, but was given {value!r}")
    module, _, function = command.home.partition(":")
    work: Callable[[Taken], int] = getattr(importlib.import_module(f"clusterfutures.cli.{module}"), function)
    return work(taken)


def _help(about: list[str]) -> int:
    command = COMMANDS.get(about[0]) if about else None
    if about and command is None and not about[0].startswith("-"):
        raise OptionError(f"there is no command {about[0]!r}{_nearest(about[0])}: {_PROGRAM} --help lists them")
    print(command_help(command) if command else general_help(), end="")
    return 0


def _completion(shell: str) -> int:
    if shell not in SHELLS:
        raise OptionError(f"--completion={shell}: choose from {', '.join(SHELLS)}")
    print(completion(shell, _PROGRAM, {name: command.rows for name, command in COMMANDS.items()}), end="")
    return 0


def _nearest(name: str) -> str:
    import difflib

    found = difflib.get_close_matches(name, COMMANDS, n=1)
    return f", did you mean {found[0]}?" if found else ""
