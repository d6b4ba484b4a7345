"""The text of a job's script, the same for every scheduler.

    adapter: directives, prologue  ─┐
    JobSpec: everything else       ─┴─ build() ─> text of the script

In the script, from top to bottom:

    #!/bin/sh, or bash when there are lines of the user's (see below)
    #SBATCH ... / #PBS ...    directives, the same that go on the command line
    export CLUSTERFUTURES_... the adapter's prologue: which job am I, where does output go
    check_in lines            the job says that it has started
    environment file, export  the environment of the caller, then ``env``
    cd, module load, setup    any of them failing ends the job, with a message in its log
    exec launcher command     signals of the scheduler reach Python itself; in front of it, ``env`` sets
                              what no shell passes on (``variables.py``)

With a teardown the command is not ``exec``ed: the shell stays, passes a SIGTERM on,
waits for the end, runs the teardown and ends with the command's exit status.

``/bin/sh`` starts fastest, and a job starts no faster than its shell.  Modules, setup
and teardown are written by people who think in bash (``source``, ``conda activate``),
so those get bash.  It is no login shell: profiles cost time and change what the program
saw; ``module`` is defined from its usual places when it is not there (``module_commands.py``).

Everything that is not meant as shell is quoted here: paths, values and arguments arrive
as they are.  The text may hold surrogate escapes: write it with errors="surrogateescape".
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from clusterfutures.errors import OptionError
from clusterfutures.schedulers import module_commands, variables
from clusterfutures.schedulers.base import JobSpec

__all__ = ["BASH", "SHELL", "build", "interpreter", "job_end", "quoted"]

#: the shells that scripts are written for: the second where the user's own lines are in them
SHELL, BASH = "/bin/sh", "/bin/bash"

_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"

#: A carriage return in the text would make sbatch ("DOS line breaks") and qsub ("contains
#: cr, lf") refuse the script, so a value that has one gets it from this variable.
_CR = "clusterfutures_cr"

#: sbatch (22.05) takes such a line for its own wherever it stands, within quotes as well
_DIRECTIVE = r"(?m)^#(?:SBATCH|PBS|BSUB)\b.*"

_FAILED = """\
clusterfutures_failed() {
    echo "clusterfutures: job on $(uname -n) not started: $2 (exit status $1)" >&2
    exit "$1"
}"""

_TRAP = """\
trap 'clusterfutures_status=$?
if [ "${#BASH_SOURCE[@]}" -le 1 ]; then
    clusterfutures_failed "$clusterfutures_status" "in the setup: $BASH_COMMAND"
fi' ERR"""

# bash ignores SIGINT and SIGQUIT in what it starts with "&"; Python would then never see
# a KeyboardInterrupt.  A ``trap -`` inside the child gives it back what the job had.
# ``wait`` returns early when a trap runs, hence the loop; and from its end on the shell
# ignores further signals, or the teardown would be cut short.
_SUPERVISE = """\
clusterfutures_child= clusterfutures_early=
clusterfutures_forward() {
    if [ -z "$clusterfutures_child" ]; then clusterfutures_early=$1; return; fi
    kill -s "$1" "$clusterfutures_child" 2>/dev/null
}
for clusterfutures_signal in TERM INT USR1 USR2; do
    trap "clusterfutures_forward $clusterfutures_signal" "$clusterfutures_signal"
done
(trap - TERM INT USR1 USR2 QUIT; exec {command}) &
clusterfutures_child=$!
if [ -n "$clusterfutures_early" ]; then clusterfutures_forward "$clusterfutures_early"; fi
wait "$clusterfutures_child"
clusterfutures_status=$?
while kill -0 "$clusterfutures_child" 2>/dev/null; do
    wait "$clusterfutures_child"
    clusterfutures_status=$?
done
trap '' TERM INT USR1 USR2
clusterfutures_teardown
exit "$clusterfutures_status\""""


def interpreter(spec: JobSpec) -> str:
    """The shell that the script of ``spec`` is written for."""
    return BASH if spec.modules or spec.setup or spec.teardown else SHELL


def build(spec: JobSpec, *, directives: Iterable[str], prologue: Iterable[str]) -> str:
    """The whole script.

    directives: the scheduler's comment lines, ``#SBATCH ...`` or ``#PBS ...``.
    prologue: shell lines of the adapter that set the CLUSTERFUTURES_ variables (and
        redirect the output, where the scheduler would keep it back until the end).
    """
    body = [
        *prologue,
        _FAILED,
        *_verbatim(spec.check_in),
        *_environment(spec),
        _directory(spec),
        *_functions(spec).values(),
        *module_commands.definition(spec.modules, (*spec.setup, *spec.teardown)),
        *module_commands.commands(spec.modules),
        *_setup(spec.setup),
        *_command(spec),
    ]
    head = [f"#!{interpreter(spec)}", *directives, ""]
    if any(f"${_CR}" in part for part in body):
        body.insert(0, f"{_CR}=$(printf '\\r')")
    text = "\n".join([*head, *body]) + "\n"
    if stray := re.search(_DIRECTIVE, "\n".join(body)):
        raise OptionError(
            f"job {spec.name!r}: the line {stray.group()!r} in setup= or teardown= would be taken as an option "
            "of the whole job; say it with an option, or in extra=[...]"
        )
    if "\0" in text:
        raise OptionError(f"job {spec.name!r}: a path, variable or argument contains a NUL character")
    return text


def quoted(text: str) -> str:
    """``text`` as one word of the shell, arriving exactly as it is."""
    words = f'"${_CR}"'.join(shlex.quote(part) if part else "" for part in text.split("\r")) if text else "''"
    return words.replace("\n#", "\n''#")  # the quotes end and begin: no line looks like a directive


def job_end(spec: JobSpec) -> str:
    """When a job that starts now ends, as shell: seconds since the epoch, nothing without a limit."""
    limit = spec.resources.get("time")
    return "" if limit is None else f"$(($(date +%s) + {int(limit)}))"


def _directory(spec: JobSpec) -> str:
    """Enter the job's directory: a program may have removed it meanwhile."""
    refuse = f"clusterfutures_failed $? {quoted('cannot enter ' + spec.cwd)}"
    if not spec.cwd_else or spec.cwd_else == spec.cwd:
        return f"cd {quoted(spec.cwd)} || {refuse}"
    text = quoted(f"clusterfutures: cannot enter {spec.cwd}; going on in {spec.cwd_else}")
    return f"cd {quoted(spec.cwd)} 2>/dev/null || {{ echo {text} >&2; cd {quoted(spec.cwd_else)} || {refuse}; }}"


def _verbatim(lines: Sequence[str]) -> list[str]:
    """Lines that are shell already; files from Windows bring carriage returns along."""
    return [line.replace("\r\n", "\n").rstrip("\r\n") for line in lines]


def _environment(spec: JobSpec) -> list[str]:
    lines = [f"export CLUSTERFUTURES_AVOID={quoted(' '.join(spec.avoid))}"] if spec.avoid else []
    if spec.environment_file:
        path = quoted(spec.environment_file)
        # "." of a missing file ends some shells without a word, and lets others go on
        lines.append(f"[ -r {path} ] || clusterfutures_failed 1 {quoted('cannot read ' + spec.environment_file)}")
        lines.append(f". {path}")
    for name, value in spec.env.items():
        if not re.fullmatch(_VARIABLE, name):
            raise OptionError(f"{name!r} cannot be the name of an environment variable")
        if variables.is_plain(name):
            lines.append(f"export {name}={quoted(value)}")
    return lines


def _functions(spec: JobSpec) -> dict[str, str]:
    """The lines that define the program's exported functions, where the user's lines may call them."""
    lines = variables.functions(spec.past_shell) if interpreter(spec) == BASH else {}
    return {name: line.replace("\r", "").replace("\n#", "\n #") for name, line in lines.items()}


def _setup(setup: Sequence[str]) -> list[str]:
    """The user's lines, as written: they may span several entries, define functions, ...

    An ERR trap ends the job at the first of them that fails.  Unlike ``set -e`` it leaves
    functions and sourced files (``conda``, ``activate``) their own ways, as long as they
    end well: functions do not inherit the trap, in a sourced file BASH_SOURCE is longer.
    """
    if not setup:
        return []
    return [
        _TRAP,
        *_verbatim(setup),
        "trap - ERR",
    ]


def _command(spec: JobSpec) -> list[str]:
    if not spec.command:
        raise OptionError(f"job {spec.name!r} has no command")
    defined = _functions(spec)
    given = {name: value for name, value in spec.past_shell.items() if name not in defined}
    given |= variables.past_shell(spec.env)
    words = [*spec.launcher, *spec.command]
    command = " ".join(quoted(word) for word in (*variables.words(given, words[0]), *words))
    if not spec.teardown:
        return [f"exec {command}"]
    # ":" because a function of comments alone is a syntax error
    function = ["clusterfutures_teardown() {", ":", *_verbatim(spec.teardown), "}"]
    return [*function, "set +eu", _SUPERVISE.replace("{command}", command)]
