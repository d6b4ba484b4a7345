"""What ``cluf --help`` prints, and the completion for shells; both from the table."""

from __future__ import annotations

from clusterfutures.cluf.table import GROUPS, ROWS, Row

__all__ = ["completion", "help_text"]

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


def completion(shell: str, program: str = "cluf") -> str:
    """A script for ``shell`` that completes the options of ``program``."""
    rows = [row for row in ROWS if row.where != "file"]
    if shell == "fish":
        lines = []
        for row in rows:
            short = f" -s {row.short}" if row.short else ""
            takes = " -r" if row.value else ""
            values = f" -f -a '{' '.join(row.choices)}'" if row.choices else ""
            text = row.text.replace("'", "")
            lines.append(f"complete -c {program} -l {row.name}{short}{takes}{values} -d '{text}'")
        return "\n".join(lines) + "\n"
    words = " ".join(f"--{row.name}{'=' * bool(row.value)}" for row in rows)
    cases = "".join(
        f"        --{row.name}) COMPREPLY=($(compgen -W '{' '.join(row.choices)}' -- \"$word\")); return ;;\n"
        for row in rows
        if row.choices
    )
    body = f"""\
_{program}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    if [ "$word" = "=" ]; then word=; elif [ "$before" = "=" ]; then before=${{COMP_WORDS[COMP_CWORD-2]}}; fi
    case $before in
{cases}    esac
    case $word in
        -*) COMPREPLY=($(compgen -W '{words}' -- "$word")); [[ ${{COMPREPLY-}} == *= ]] && compopt -o nospace ;;
        *) COMPREPLY=($(compgen -f -- "$word")) ;;
    esac
}}
complete -o filenames -F _{program} {program}
"""
    return ("autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else "") + body
