"""What ``cluf --help`` prints, from the table."""

from __future__ import annotations

from clusterfutures.cluf.table import GROUPS, ROWS
from clusterfutures.commandline.words import Row

__all__ = ["help_text"]

_HEAD = """\
cluf runs a function of a script once for each of many arguments.

  cluf script.py                       target(x) for every x in args, on all cpus
  cluf script.py -n 12 --queue         the same as 12 jobs of the scheduler here
  cluf script.py -o out.jsonl -- a b   keep what calls return; the script sees a b
"""
_TAIL = """\
The same names without -- are keys of cluf_options in the script and of ~/.clufrc
(JSON); the command line wins over the script, the script over the file. Only there:
"""


def _spelt(row: Row) -> str:
    short = f"-{row.short}, " if row.short else "    "
    return f"{short}--{row.name}" + (f"={row.value}" if row.value else "")


def help_text() -> str:
    """One screen: examples, then the options in groups."""
    lines = [_HEAD]
    for group in GROUPS:
        lines.append(f"{group}:")
        for row in ROWS:
            if row.group == group and row.where != "file":
                lines.append(f"  {_spelt(row):31} {row.text}")
    only = ", ".join(row.key for row in ROWS if row.where == "file")
    return "\n".join(lines) + "\n" + _TAIL + f"{only}.\n"
