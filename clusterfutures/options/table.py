"""The keywords of executors and jobs that are no resources: one row each, for all that reads them.

    config file, Job(...), --option  --find()--> row --read()--> the value as it is kept
                                                  '--> option_help(): what becomes of it, on which scheduler

Resources (cores, memory, time ...) have a table like this in ``schedulers.options``; the two are
shown together.  A new keyword is a new row.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from clusterfutures.errors import OptionError
from clusterfutures.options import retries
from clusterfutures.schedulers import NAMES, module_commands, options

__all__ = ["KEYWORDS", "Keyword", "find", "option_help", "option_table", "read", "script_parts"]


# ---------------------------------------------------------------------- how values are read


def _as_it_is(value: Any) -> Any:
    return value


def _count(value: Any) -> int:
    return int(options.COUNT.read(value))


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise ValueError("it is no number of seconds") from None
    if isinstance(value, bool) or not 0 <= seconds < float("inf"):
        raise ValueError("it is no number of seconds")
    return seconds


def _text(value: Any) -> str:
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(value, str) or not value.strip() or "\0" in value or "\n" in value:
        raise ValueError("it is not one line of text")
    return value


def _part(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*", _text(value)):
        raise ValueError("it cannot be the end of a file's name")
    return str(value)


def _texts(value: Any) -> str | list[str]:
    if isinstance(value, str):
        return value
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("it is neither text nor a list of texts")
    return list(value)


def _items(value: Any) -> list[str]:
    """A list of texts, or one text of them with commas between."""
    found = _texts(value)
    items = [item.strip() for item in (found.split(",") if isinstance(found, str) else found)]
    return [item for item in items if item]


def _truth(value: Any) -> bool:
    return bool(options.FLAG.read(value))


def _scheduler(value: Any) -> str:
    if value not in NAMES:
        raise ValueError("there is no such scheduler")
    return str(value)


def _variables(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("it is no table of variables")
    return {_variable_name(name): _variable(name, item) for name, item in value.items()}


def _variable_name(name: Any) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"{name!r} cannot be the name of an environment variable")
    return name


def _variable(name: str, value: Any) -> str:
    """Text, a number or a path, as the text that a job finds."""
    kind = type(value)
    if isinstance(value, str | os.PathLike):
        text = os.fsdecode(value)
    elif (
        "bool" not in kind.__name__
        and not hasattr(kind, "__len__")
        and any(hasattr(kind, method) for method in ("__index__", "__float__"))
    ):
        text = str(value)  # numbers of other libraries, too
    else:
        hint = f"write {name!r}: {str(value)!r}" if isinstance(value, bool | bytes) else "leave it out"
        if value is not None and not isinstance(value, bool | bytes):
            hint = "give text, a number or a path"
        raise ValueError(f"the value of {name} is {value!r}, of type {kind.__name__}: {hint}")
    if "\0" in text:
        raise ValueError(f"the value of {name} contains a NUL character")
    return text


def _exported(value: Any) -> dict[str, str | None]:
    """``"A,B=1"``, a list of such, or a table; a name alone (None) is a variable of the program that submits."""
    if isinstance(value, Mapping):
        return {**_variables(value)}
    found: dict[str, str | None] = {}
    for item in _items(value):
        name, equals, text = item.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is no name of a variable")
        found[name] = text if equals else None
    return found


# ----------------------------------------------------------------------------- the table


class Keyword(NamedTuple):
    """One keyword: its name, how its value is read and what that expects, its meaning.

    slurm, pbs: what becomes of it there, for people; pbs is as slurm where it is empty.
    of: "executors", "jobs" or "both".
    """

    name: str
    read: Callable[[Any], Any]
    expects: str
    text: str
    slurm: str = ""
    pbs: str = ""
    of: str = "both"
    synonyms: tuple[str, ...] = ()


_NUMBER = "a whole number from 1 on, for example 4"
_LINES = "text, or a list of texts"
_TRUTH = "true or false"
_PATH = "a path that the nodes see too"

KEYWORDS: tuple[Keyword, ...] = (
    Keyword("scheduler", _scheduler, f"one of {', '.join(NAMES)}", "which scheduler runs it; default: the one here"),
    Keyword("max_workers", _count, _NUMBER, "the most jobs at once", "--array", "-J, -t", "executors"),
    Keyword("processes", _count, _NUMBER, "processes in each job", of="executors"),
    Keyword("bins_per_job", _count, _NUMBER, "bins that a job takes before it ends", of="executors"),
    Keyword("max_tasks_per_child", _count, _NUMBER, "calls of a process before it is replaced", of="executors"),
    Keyword("idle_timeout", _seconds, "seconds, for example 60", "how long a worker waits for more", of="executors"),
    Keyword("timeout_notice", _seconds, "seconds, for example 30", "on_timeout comes so long before the limit",
            of="executors"),
    Keyword("retries", retries.check, "a number, or a table of causes (oom, timeout, crash, exception, lost)",
            "which calls run again", of="executors"),
    Keyword("keep", _truth, _TRUTH, "leave the run's directory there", of="executors"),
    Keyword("directory", _text, _PATH, "where the run's files are made", of="executors"),
    Keyword("name", _text, "a name for jobs, for example 'fit'", "what the job is called", "--job-name=...", "-N ..."),
    Keyword("python", _text, "the path of an interpreter", "interpreter on the nodes", "in the script"),
    Keyword("launcher", _texts, _LINES, "words in front of the command, for containers", "in the script"),
    Keyword("modules", _texts, _LINES, "modules to load, or as in 'use /my/modules'", "module load ... in the script"),
    Keyword("setup", _texts, _LINES, "shell lines before", "in the script"),
    Keyword("teardown", _texts, _LINES, "shell lines after", "in the script"),
    Keyword("env", _variables, "a table of text, numbers and paths, for example {'OMP_NUM_THREADS': 4}",
            "variables for the job", "export ... in the script"),
    Keyword("local_cores", _count, _NUMBER, "cores that jobs of this machine may have together", of="jobs"),
    Keyword("max_jobs", _count, _NUMBER, "submit only while fewer of your jobs wait or run", of="jobs"),
    Keyword("dependencies", _as_it_is, "a Job, an id, a future, or a list of them", "what has to end first",
            "--dependency=afterok:...", "-W depend=afterok:...", "jobs", ("depends", "depend", "dependency")),
    Keyword("jobs_directory", _text, _PATH, "where directories of jobs are made", "in the script", "", "jobs",
            ("filedir", "filepath", "scriptdir", "scriptpath", "path")),
    Keyword("cwd", _text, _PATH, "where the command runs; default: here", "cd ... in the script", "", "jobs",
            ("dir", "runpath", "chdir")),
    Keyword("outfile", _text, _PATH, "file for what it prints (%j: the id)", ">... in the script", "", "jobs",
            ("stdout",)),
    Keyword("errfile", _text, _PATH, "file for what it writes to stderr (%j: the id)", "2>... in the script", "",
            "jobs", ("stderr",)),
    Keyword("outpath", _text, _PATH, "directory for both, NAME.out and NAME.err", ">... in the script", "", "jobs"),
    Keyword("suffix", _part, "the end of a file's name", "ends the name of the job's directory", of="jobs"),
    Keyword("export", _exported, "names like 'A,B=1', or a table", "variables of this program for the job",
            "export ... in the script", "", "jobs"),
    Keyword("imports", _items, "a list of 'module' or 'from x import y'", "imports for a function", of="jobs"),
    Keyword("syspaths", _items, "a list of directories", "sys.path of a function, in front", of="jobs",
            synonyms=("syspath", "paths")),
    Keyword("clean_files", _truth, _TRUTH, "get() removes the job's files", of="jobs",
            synonyms=("delete_files", "cleanfiles", "delfiles")),
    Keyword("clean_outputs", _truth, _TRUTH, "get() removes outfile and errfile, too", of="jobs",
            synonyms=("delete_outputs", "cleanouts", "delouts", "deloutputs", "cleanoutputs")),
)  # fmt: skip

_BY_NAME: dict[str, Keyword] = {name: row for row in KEYWORDS for name in (row.name, *row.synonyms)}


def find(name: str) -> Keyword | None:
    """The keyword called ``name``, or that has this synonym."""
    return _BY_NAME.get(name)


def read(row: Keyword, name: str, value: Any) -> Any:
    """The value as it is kept.  Raises OptionError, which calls it ``name``."""
    try:
        return row.read(value)
    except ValueError as error:
        raise OptionError(f"{name} = {value!r} cannot be used: {error}. Expected {row.expects}.") from None


# ------------------------------------------------------------------ what is put into scripts


def script_parts(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that become part of the job's script, as a JobSpec has them.  Raises OptionError."""
    modules = given.get("modules")
    return {
        "modules": tuple(module_commands.entries(modules))
        if isinstance(modules, str)
        else _lines_of("modules", modules),
        "setup": _lines_of("setup", given.get("setup")),
        "teardown": _lines_of("teardown", given.get("teardown")),
        "env": _environment(given.get("env")),
        "launcher": _words_of("launcher", given.get("launcher")),
    }


def _environment(value: Any) -> dict[str, str]:
    return {} if value is None else dict(read(_BY_NAME["env"], "env", value))


def _lines_of(name: str, value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Shell lines, given as one text or as a list."""
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(value.splitlines())
    return tuple(_texts_of(name, value))


def _words_of(name: str, value: str | Sequence[str] | None) -> tuple[str, ...]:
    """The words of a command, given as one text (divided as a shell does) or as a list."""
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(shlex.split(value))
    return tuple(_texts_of(name, value))


def _texts_of(name: str, value: Sequence[str]) -> list[str]:
    texts = list(value)
    for text in texts:
        if not isinstance(text, str):
            raise OptionError(f"{name}={value!r}: expected text or a list of texts, not {type(text).__name__}")
    return texts


# ---------------------------------------------------------------------- shown to people


def option_table(scheduler: str | None = None) -> list[tuple[str, ...]]:
    """Return all keywords as rows, the head first: name, synonyms, what each scheduler receives, meaning.

    scheduler: "slurm", "pbs", "torque" or "local", for that one alone.
    """
    kinds = {"slurm": "Slurm", "pbs": "PBS Pro", "torque": "Torque"}
    if scheduler not in (None, "local", *kinds):
        raise OptionError(f"there is no scheduler {scheduler!r}: choose from {', '.join([*kinds, 'local'])}")
    rows = [("option", "also", *kinds.values(), "meaning"), *map(_resource, options.OPTIONS), *map(_shown, KEYWORDS)]
    if scheduler is None:
        return rows
    if scheduler == "local":
        return [(row[0], row[1], row[5]) for row in rows if not row[2].startswith("-") or row[0] in _LOCAL]
    column = 2 + list(kinds).index(scheduler)
    return [(row[0], row[1], row[column], row[5]) for row in rows]


#: what means something on one machine of that which becomes a directive elsewhere
_LOCAL = ("cores", "time", "memory", "dependencies", "name")


def _resource(row: options.Option) -> tuple[str, ...]:
    spelt = (s.replace("{}", "...") or "-" for s in (row.slurm, row.pbs, row.torque))
    slurm, pbs, torque = (re.sub(r"^(select|nodes|place):", r"-l \1=...:", s) for s in spelt)
    return row.name, ", ".join(row.synonyms), slurm, pbs, torque, f"{row.text}; {row.example}"


def _shown(row: Keyword) -> tuple[str, ...]:
    pbs = row.pbs or row.slurm
    whose = {"both": "", "jobs": "Job: ", "executors": "executor: "}[row.of]
    return row.name, ", ".join(row.synonyms), row.slurm, pbs, pbs, f"{whose}{row.text}"


def option_help(scheduler: str | None = None) -> str:
    """All keywords as text for people; ``option_table`` has the same as rows."""
    rows = option_table(scheduler)
    head = rows[0]
    widths = [max(len(line[i]) for line in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)
