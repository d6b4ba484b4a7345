"""Environment modules in a job's script: what ``modules=`` holds, and where ``module`` comes from.

    "use /my/modules gcc/12"            text, as on a command line
        | entries()
    ["use /my/modules", "gcc/12"]       one entry for each command
        | commands()
    module use /my/modules || ...       lines of the script
    clusterfutures_module gcc/12

An entry is the name of a module to load, or a sub-command of ``module`` with its arguments.
``module`` is a shell function on most sites, and a job's shell is no login shell.  ``definition``
has the lines that define it: at once where it is named, else at its first use.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

__all__ = ["commands", "definition", "entries"]

#: these stand alone as well
_ALONE = frozenset({"purge", "reset", "refresh", "restore"})
_PATHS = frozenset({"use", "unuse"})
_LOADS = frozenset({"load", "add"})
#: these need an argument: without one, the word is the name of a module
_WITH_ARGUMENTS = _PATHS | _LOADS | {
    "try-load", "try-add", "load-any", "unload", "rm", "del", "swap", "switch", "restore", "source", "config",
}  # fmt: skip

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")

# Not within a function: what the file declares would be local to it.
_NOW = """\
if ! command -v module >/dev/null 2>&1; then
    for clusterfutures_init in {places} /etc/profile; do
        if [ -r "$clusterfutures_init" ]; then
            . "$clusterfutures_init"
            if command -v module >/dev/null 2>&1; then break; fi
        fi
    done
fi"""

# A file that the setup reads may use ``module``.  To define it at once can take 0.1 s.
_AT_FIRST_USE = """\
if ! command -v module >/dev/null 2>&1; then
    for clusterfutures_init in {places}; do
        if [ -r "$clusterfutures_init" ]; then
            module() {{ unset -f module ml; . "$clusterfutures_init"; module "$@"; }}
            ml() {{ unset -f module ml; . "$clusterfutures_init"; ml "$@"; }}
            break
        fi
    done
fi"""

_PLACES = (
    '"${MODULESHOME:-/usr/share/modules}/init/bash" "${LMOD_PKG:-/usr/share/lmod/lmod}/init/bash" \\\n        '
    "/etc/profile.d/modules.sh /etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh"
)

# Environment Modules before version 4 answer 0 even when they found no such module: there,
# only the list of what is loaded tells.  (An alias loads under another name, so a list
# that has grown is good enough.)
_LOAD = """\
clusterfutures_module() {
    local loaded=${LOADEDMODULES-}
    module load "$1" || clusterfutures_failed $? "module load $1 failed"
    if [ -z "${LMOD_VERSION-}${MODULES_CMD-}" ] && [ "$loaded" = "${LOADEDMODULES-}" ]; then
        case ":$loaded:" in
        *":$1:"* | *":$1/"*) ;;
        *) clusterfutures_failed 1 "module load $1 loaded nothing" ;;
        esac
    fi
}"""


def entries(text: str) -> list[str]:
    """The entries of ``modules=`` that is given as one text: names, and sub-commands with what belongs to them."""
    found = []
    for line in text.splitlines():
        words = line.split()
        while words:
            word = words.pop(0)
            if word == "module" and words:
                continue
            count = 0
            if word in _PATHS:
                count = next((i for i, path in enumerate(words) if path[0] not in "/~$.-"), len(words)) or 1
            elif word in _WITH_ARGUMENTS:
                count = len(words)
            found.append(" ".join([word, *words[:count]]))
            del words[:count]
    return found


def definition(modules: Sequence[str], lines: Sequence[str]) -> list[str]:
    """What defines ``module`` in the script of a job that has these modules, and these lines of the user's."""
    if modules or any(re.search(r"\b(?:module|ml)\b", line) for line in lines):
        return [_NOW.format(places=_PLACES)]
    return [_AT_FIRST_USE.format(places=_PLACES)] if lines else []


def commands(modules: Sequence[str]) -> list[str]:
    """The lines that carry out the entries in turn; the first that fails ends the job."""
    found = [_LOAD] if modules else []
    for entry in modules:
        verb, arguments = _parsed(entry)
        if verb == "load":
            found += [f"clusterfutures_module {shlex.quote(name)}" for name in arguments]
        else:
            words = " ".join(["module", verb, *map(_word, arguments)])
            found.append(f"{words} || clusterfutures_failed $? {shlex.quote(f'module {entry} failed')}")
    return found


def _parsed(entry: str) -> tuple[str, list[str]]:
    """The sub-command of an entry and its arguments."""
    try:
        words = shlex.split(entry)
    except ValueError:
        words = entry.split()
    if words[:1] == ["module"]:
        del words[0]
    if words and words[0] in _LOADS and len(words) > 1:
        return "load", words[1:]
    if words and (words[0] in _WITH_ARGUMENTS if len(words) > 1 else words[0] in _ALONE):
        return words[0], words[1:]
    return "load", [entry]


def _word(text: str) -> str:
    """``text`` as one word of the shell, in which ``~`` and variables are those of the node."""
    if text == "~" or text.startswith("~/"):
        text = "$HOME" + text[1:]
    pieces, at = [], 0
    for found in _VARIABLE.finditer(text):
        pieces += [text[at : found.start()], f'"${{{found[1] or found[2]}}}"']
        at = found.end()
    pieces.append(text[at:])
    return "".join(
        piece if number % 2 else (shlex.quote(piece) if piece else "") for number, piece in enumerate(pieces)
    )
