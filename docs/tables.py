"""Write the tables of the documentation from the tables of the code: ``python docs/tables.py``.

A page has a table between two comments:

    <!-- table: options -->
    ...
    <!-- end of table -->

The tables are committed, so that pages can be read without Sphinx. A test compares them with the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from clusterfutures.cli.table import COMMANDS
from clusterfutures.cluf.table import ROWS
from clusterfutures.commandline.words import Row
from clusterfutures.options import table as options_table
from clusterfutures.schedulers.options import OPTIONS

TABLE = re.compile(r"<!-- table: (\w+) -->\n(.*?)<!-- end of table -->\n", re.DOTALL)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words if word)


def options() -> str:
    """Return the resources of jobs, with their synonyms and examples."""
    rows = [[f"`{row.name}`", _code(row.synonyms), row.text, f"`{row.example}`"] for row in OPTIONS]
    return _table(["option", "also called", "meaning", "example"], rows)


def spellings() -> str:
    """Return what each scheduler receives for each resource."""
    rows = options_table.option_table()[1 : len(OPTIONS) + 1]
    cells = [[f"`{row[0]}`", *("-" if text == "-" else f"`{text}`" for text in row[2:5])] for row in rows]
    return _table(["option", "Slurm", "PBS Pro, OpenPBS", "Torque"], cells)


def _keywords(of: str) -> str:
    rows = [row for row in options_table.KEYWORDS if row.of in (of, "both")]
    cells = [[f"`{row.name}`", _code(row.synonyms), row.text, row.expects] for row in rows]
    return _table(["option", "also called", "meaning", "value"], cells)


def executor_options() -> str:
    """Return the options of an executor that are not resources."""
    return _keywords("executors")


def job_options() -> str:
    """Return the options of a job that are not resources."""
    return _keywords("jobs")


def cluf() -> str:
    """Return the options of the command ``cluf``."""
    cells = []
    for row in ROWS:
        name = row.key if row.where == "file" else f"--{row.name}" + (f"={row.value}" if row.value else "")
        cells.append([f"`{name}`", f"`-{row.short}`" if row.short else "", row.text])
    return _table(["option", "", "meaning"], cells)


def _option(row: Row) -> list[str]:
    names = [row.name, *row.aliases]
    shown = f"--{row.name}" + (f"={row.value}" if row.value else "")
    return [f"`{shown}`", f"`-{row.short}`" if row.short else "", _code(f"--{name}" for name in names[1:]), row.text]


def commands() -> str:
    """Return each command of ``clusterfutures`` with its usage, examples and options."""
    parts = []
    for command in COMMANDS.values():
        examples = "\n".join(command.examples)
        part = f"## clusterfutures {command.name}\n\n{command.text[0].upper()}{command.text[1:]}.\n\n"
        part += f"```text\nclusterfutures {command.name} {command.usage}\n\n{examples}\n```\n\n"
        parts.append(part + _table(["option", "", "also called", "meaning"], map(_option, command.rows)))
    return "\n" + "\n".join(parts) + "\n"


TABLES: dict[str, Callable[[], str]] = {
    table.__name__: table for table in (options, spellings, executor_options, job_options, cluf, commands)
}


def filled(text: str) -> str:
    """Return the text of a page with its tables as the code has them now."""

    def table(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n{TABLES[match[1]]()}<!-- end of table -->\n"

    return TABLE.sub(table, text)


if __name__ == "__main__":
    for page in Path(__file__).parent.rglob("*.md"):
        before = page.read_text()
        after = filled(before)
        if after != before:
            page.write_text(after)
            print("written:", page)
