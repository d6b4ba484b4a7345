"""Scripts for bash, zsh and fish that complete a program's commands and options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clusterfutures.commandline.words import Row

__all__ = ["SHELLS", "completion"]

SHELLS = ("bash", "zsh", "fish")


def completion(shell: str, program: str, commands: Mapping[str, Sequence[Row]]) -> str:
    """The script.  commands: the options of each; those of a program without commands under ""."""
    shown = {name: [row for row in rows if row.where != "file"] for name, rows in commands.items()}
    if shell == "fish":
        return "".join(f"{line}\n" for name, rows in shown.items() for line in _fish(program, name, rows))
    text = _bash(program, shown)
    return ("autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else "") + text


def _fish(program: str, command: str, rows: Sequence[Row]) -> list[str]:
    lines = [f"complete -c {program} -n __fish_use_subcommand -a {command}"] if command else []
    only = f" -n '__fish_seen_subcommand_from {command}'" if command else ""
    for row in rows:
        short = f" -s {row.short}" if row.short else ""
        takes = " -r" if row.value else ""
        values = f" -f -a '{' '.join(row.choices)}'" if row.choices else ""
        text = row.text.replace("'", "")
        lines.append(f"complete -c {program}{only} -l {row.name}{short}{takes}{values} -d '{text}'")
    return lines


def _bash(program: str, commands: Mapping[str, Sequence[Row]]) -> str:
    every = {row.name: row for rows in commands.values() for row in rows}
    cases = "".join(
        f"        --{row.name}) COMPREPLY=($(compgen -W '{' '.join(row.choices)}' -- \"$word\")); return ;;\n"
        for row in every.values()
        if row.choices
    )
    words = {name: " ".join(f"--{row.name}{'=' * bool(row.value)}" for row in rows) for name, rows in commands.items()}
    if set(commands) == {""}:
        choose = f"    local words='{words['']}'\n"
    else:
        branches = "".join(f"        {name}) words='{said}' ;;\n" for name, said in words.items())
        first = f"COMPREPLY=($(compgen -W '{' '.join(commands)}' -- \"$word\")); return"
        choose = (
            f"    local words=''\n    case ${{COMP_WORDS[1]}} in\n{branches}    esac\n"
            f'    if [ "$COMP_CWORD" = 1 ]; then {first}; fi\n'
        )
    return f"""\
_{program}() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    if [ "$word" = "=" ]; then word=; elif [ "$before" = "=" ]; then before=${{COMP_WORDS[COMP_CWORD-2]}}; fi
{choose}    case $before in
{cases}    esac
    case $word in
        -*) COMPREPLY=($(compgen -W "$words" -- "$word")); [[ ${{COMPREPLY-}} == *= ]] && compopt -o nospace ;;
        *) COMPREPLY=($(compgen -f -- "$word")) ;;
    esac
}}
complete -o filenames -F _{program} {program}
"""
