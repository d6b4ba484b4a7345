"""Environment variables that no shell passes on as they are, or that change the shell of a job.

    "PATH", "a_1"              plain: a scheduler or a line ``export`` brings them to a job
    "é", "a.b"                 dash drops them, and dies of a line that exports them
    "UID", "PPID", ...         bash cannot set them; as /bin/sh it dies of a line that does
    "SHELLOPTS", "OPTIND" ...  a shell that gets them works in another way, or ends at once
    "BASH_FUNC_x%%"            exported functions of bash: another shell drops them, and one
                               called ``cd`` or ``date`` would change what our script does

    os.environ --scrubbed_environment()--> the scheduler's commands, the shell of the job   (plain ones)
               --past_shell()--> JobSpec.past_shell --words()--> env NAME=VALUE ... command (the others)
                                                   --functions()--> lines before ``setup=``

So the program that a job runs sees all of them, whatever ``/bin/sh`` is on its node.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

__all__ = ["SHELL_OPTIONS", "functions", "is_function", "is_plain", "past_shell", "words"]

#: options for every bash that finds them: such as ends at the first command that fails
SHELL_OPTIONS = frozenset({"SHELLOPTS", "BASHOPTS"})

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: what a shell sets itself, refuses to set, or reads as a command to itself
_OF_SHELLS = frozenset(
    {
        "UID", "EUID", "PPID", "GROUPS", "SHELLOPTS", "BASHOPTS", "OPTIND", "IFS", "FUNCNEST", "FUNCNAME", "DIRSTACK",
        "LINENO", "RANDOM", "SRANDOM", "SECONDS", "EPOCHSECONDS", "EPOCHREALTIME", "HISTCMD", "COMP_WORDBREAKS", "PS4",
        "BASH", "BASHPID", "BASH_VERSION", "BASH_VERSINFO", "BASH_ARGV0", "BASH_SUBSHELL", "BASH_COMMAND",
        "BASH_LINENO", "BASH_SOURCE", "BASH_ALIASES", "BASH_CMDS",
    }
)  # fmt: skip

#: exported functions: of all versions since 2014, of the first repaired ones, of Apple's
_FUNCTION = re.compile(r"(?s)(?:__)?BASH_FUNC_?<?(?P<name>.+?)(?:%%|\(\)|>\(\))")
#: names that the text of a definition may have
_DEFINABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.:+@,-]*")


def is_plain(name: str) -> bool:
    """True when every shell takes the variable from its environment, sets it, and passes it on."""
    return _NAME.fullmatch(name) is not None and name not in _OF_SHELLS


def is_function(name: str) -> bool:
    """True when the variable holds a function that bash exported."""
    return _FUNCTION.fullmatch(name) is not None


def past_shell(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that have to get past the shell of a job to its command."""
    return {name: value for name, value in environ.items() if not is_plain(name)}


def words(variables: Mapping[str, str], command: str) -> list[str]:
    """The words that set ``variables``, for the front of a command that begins with the word ``command``."""
    if not variables:
        return []
    given = [f"{name}={value}" for name, value in sorted(variables.items())]
    # env would take a command with "=" in its name for one more variable; nice changes nothing without a number
    return ["env", "--", *given, *(["nice", "-n", "0"] if "=" in command else [])]


def functions(variables: Mapping[str, str]) -> dict[str, str]:
    """The lines of bash that define and export the functions among ``variables``, by the name of the variable."""
    lines = {}
    for variable, value in sorted(variables.items()):
        found = _FUNCTION.fullmatch(variable)
        if found and _DEFINABLE.fullmatch(found["name"]) and value.startswith("() {"):
            name = found["name"]
            lines[variable] = f"eval {shlex.quote(f'{name} {value}')} && export -f {name}"
    return lines
