"""What ``--help`` prints: examples first, one screen."""

from __future__ import annotations

from clusterfutures.cli.table import COMMANDS, Command
from clusterfutures.commandline.words import Row

__all__ = ["command_help", "general_help"]

_WIDTH = 100

_GENERAL = """\
clusterfutures runs commands as jobs of the batch cluster that is here, or of this machine.

  clusterfutures submit -c 4 'gzip {}' ::: *.fastq     a job for each file; prints ids
  clusterfutures run pytest -q                          one job, its output, its exit status
  clusterfutures queue                                  what becomes of them

"""
_TAIL = """
clusterfutures COMMAND --help says more. Options come before what is to be run. The exit status is
0 when all went well, 1 when jobs failed, 2 for a mistake, 130 after Ctrl-C. Completion of options:
eval "$(clusterfutures --completion=bash)", also zsh and fish.
"""


def general_help() -> str:
    """The commands."""
    lines = [f"  {command.name:9} {command.text}" for command in COMMANDS.values()]
    return _GENERAL + "\n".join(lines) + "\n" + _TAIL


def command_help(command: Command) -> str:
    """One command: its examples, then its options in groups; resources close together."""
    lines = [f"clusterfutures {command.name} {command.usage}", f"  {command.text}", ""]
    lines += [f"  {example}" for example in command.examples]
    groups = list(dict.fromkeys(row.group for row in command.rows))
    for group in groups:
        rows = [row for row in command.rows if row.group == group]
        lines += ["", f"{group}:"]
        lines += _close(rows) if group == "resources" else [f"  {_spelt(row):24} {row.text}" for row in rows]
    if command.takes_command:
        lines += ["", *_FIELDS]
    return "\n".join(lines) + "\n"


_FIELDS = (
    "In the command {} is the file, {.} without its ending, {/} its name alone, {/.} that without",
    "the ending, {//} its directory, {#} its number. clusterfutures options tells all about resources.",
)


def _spelt(row: Row) -> str:
    short = f"-{row.short}, " if row.short else "    "
    return f"{short}--{row.name}" + (f"={row.value}" if row.value else "")


def _close(rows: list[Row]) -> list[str]:
    """Several on a line: what they mean is known from elsewhere."""
    lines, line = [], " "
    for row in rows:
        word = (f"-{row.short}, " if row.short else "") + f"--{row.name}" + (f"={row.value}" if row.value else "")
        if len(line) + len(word) + 2 > _WIDTH:
            lines.append(line)
            line = " "
        line += f" {word} "
    return [*lines, line.rstrip()]
