"""The options of ``cluf``: one row each; everything that speaks of options reads this table.

``kind`` says how a value is read (``reading``); ``where`` whether it may stand on the
command line ("cli"), in the script and ~/.clufrc ("file"), or in all of them ("").
"""

from __future__ import annotations

from clusterfutures.commandline.words import Row

__all__ = ["EXCLUSIVE", "GROUPS", "ROWS", "Row", "by_name"]


GROUPS = ("what", "results", "bins", "jobs", "other")

ROWS = (
    Row("target", "t", "NAME", "word", "what", "the function to call (default: target)"),
    Row("args", "a", "NAME", "word", "what", "an iterable of arguments, or a function returning one (args)"),
    Row("processes", "p", "N", "count", "what", "processes on a machine (default: its cpus that we may use)"),
    Row("limit", "", "N", "count", "what", "only the first N calls"),
    Row("timeout", "", "SECONDS", "seconds", "what", "end a call that takes longer; it counts as failed"),
    Row("output", "o", "FILE", "output", "results", "keep what calls return: FILE.jsonl, .pkl or .csv"),
    Row("resume", "", "", "flag", "results", "leave out the calls that --output has already"),
    Row("bins", "b", "LIST/N", "bins", "bins", "only these bins of N: 0/2 or 0-2,5/10", "", (), ("bin",)),
    Row("hash", "x", "LIST", "list", "bins", "choose bins by these arguments: 0-2,5,name"),
    Row("key", "k", "ARG", "list", "bins", "an argument that is the number of its bin"),
    Row("nodes", "n", "N", "count", "jobs", "N scripts, each one of N bins (dispatch mode)"),
    Row("iterations", "i", "N", "count", "jobs", "as many scripts as give each about N calls"),
    Row("queue", "q", "", "flag", "jobs", "submit the scripts", "", (), ()),
    Row("wait", "w", "", "flag", "jobs", "submit, follow the jobs, gather their outputs"),
    Row("jobs-dir", "j", "DIR", "word", "jobs", "where scripts and their output go (default: here)"),
    Row("scheduler", "", "NAME", "choice", "jobs", "slurm, pbs or torque (default: the one here)", "",
        ("slurm", "pbs", "torque")),
    Row("profile", "", "NAME", "word", "jobs", "what jobs ask for by this profile of your configuration"),
    Row("env", "e", "'A=b C=\"d e\"'", "env", "jobs", "variables for the calls"),
    Row("prepend-script", "P", "FILE,..", "files", "jobs", "put these shell files before the work"),
    Row("append-script", "A", "FILE,..", "files", "jobs", "put these shell files after it"),
    Row("prepend-statements", "", "", "lines", "jobs", "shell lines to put before the work", "file"),
    Row("append-statements", "", "", "lines", "jobs", "shell lines to put after it", "file"),
    Row("pbs-options", "", "", "options", "jobs", "what jobs ask of PBS, and name, stdout, stderr", "file"),
    Row("slurm-options", "", "", "options", "jobs", "what jobs ask of Slurm, and name, stdout, stderr", "file"),
    Row("mode", "m", "MODE", "choice", "other", "direct or dispatch (default: dispatch with -n or -i)", "cli",
        ("direct", "dispatch")),
    Row("dry-run", "", "", "flag", "other", "say what would be done, do nothing"),
    Row("completion", "", "SHELL", "choice", "other", "print the completion of options for bash, zsh or fish", "cli",
        ("bash", "zsh", "fish")),
)  # fmt: skip

#: pairs of which only one may be given in one place; the place that wins removes the other
EXCLUSIVE = (("nodes", "iterations"), ("hash", "key"))


def by_name(name: str) -> Row | None:
    """The option called ``name``, as it is written in any of the places."""
    return next((row for row in ROWS if row.is_called(name)), None)
