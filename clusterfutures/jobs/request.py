"""What somebody wants to run as a job: read, checked, and written into the job's directory.

command or function, arguments  ─┐
keywords, over the profile's     ├─ Request ─> record (job.json); JobFiles: payload, run.sh
resources, over the profile's   ─┘
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clusterfutures import config
from clusterfutures.errors import OptionError
from clusterfutures.jobs.dependencies import Awaited, Find, awaited
from clusterfutures.jobs.directories import DIRECTORY, NO_PLACE
from clusterfutures.jobs.files import JobFiles
from clusterfutures.jobs.template import filled, has_field, is_for_a_shell, joined, with_arguments, word
from clusterfutures.options import table
from clusterfutures.options.places import absolute, own_interpreter
from clusterfutures.schedulers import by_name, find_scheduler, options, variables
from clusterfutures.schedulers import script as scripts
from clusterfutures.schedulers.base import Dependency, JobSpec

__all__ = ["Command", "Request", "label", "spec_of"]

#: stands for the name of a job's directory until there is one
_DIRECTORY_NAME = "\0"
#: shell text, the words of a command, a program's path, or a function
Command = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Callable[..., Any]
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Request:
    """A command or function with its arguments and options.  Raises OptionError for what cannot be run."""

    def __init__(
        self, command: Command, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None,
        given: Mapping[str, Any], profile: str | None, find: Find,
    ) -> None:  # fmt: skip
        self.command = _command(command)
        self.args = _arguments(args)
        self.kwargs = dict(kwargs or {})
        #: a script's file: its arguments are ``$1``, ``$2`` ..., and ``{}`` in it is its own
        self.is_file = False
        self._item: tuple[list[str], int] | None = None
        if not callable(self.command):
            self.args = tuple(word(value, f"argument {at} of the command") for at, value in enumerate(self.args, 1))
            if self.kwargs:
                raise OptionError(
                    f"kwargs={kwargs!r}: a shell command takes no keyword arguments. Write them as the command reads "
                    "them, as in args=['--name=value'], or submit a function"
                )
        self._settings, self._resources = _layered(given, profile)
        self._python = self._settings.get("python") or (own_interpreter() if callable(self.command) else "")
        self.awaited: Awaited = awaited(self._settings.get("dependencies", ()), self.directory, find)

    @property
    def directory(self) -> str:
        """Where the job's directory is made."""
        return absolute(self._settings.get("jobs_directory") or DIRECTORY, NO_PLACE)

    def record(self) -> dict[str, Any]:
        """What is kept of the job in ``job.json``, all settings and options resolved."""
        settings = self._settings
        own = getattr(self.command, "__name__", "") if callable(self.command) else "job"
        cwd = absolute(settings.get("cwd") or ".", "Give cwd=: the absolute path of the directory to run in.")
        scheduler = settings.get("scheduler") or find_scheduler().name
        local = {"local_cores": settings["local_cores"]} if scheduler == "local" and "local_cores" in settings else {}
        return {
            "id": "",
            "name": settings.get("name") or own,
            "scheduler": scheduler,
            "resources": self._resources | local,
            "function": callable(self.command),
            "submitted": None,
            "tries": 0,
            "after": self.awaited.jobs,
            "script": _script(settings),
            "cwd": cwd,
            **{name: _output(settings, name, cwd) for name in ("outfile", "errfile")},
            **{name: bool(settings.get(name)) for name in ("clean_files", "clean_outputs")},
            "max_jobs": settings.get("max_jobs"),
            "suffix": self.suffix,
        }

    def item(self, item: Any, number: int) -> Request:
        """The same for one of many inputs: put into the command, or behind it; an argument of a function."""
        other = object.__new__(Request)
        other.__dict__.update(self.__dict__)
        several = item if type(item) is tuple else (item,)
        if callable(self.command):
            other.args = (*self.args, *several)
            return other
        words = [word(value, f"input {number + 1} of the command") for value in several]
        if is_for_a_shell(self.command) and has_field(self.command):
            other._item = words, number
        else:
            other.args = (*self.args, *words)
        return other

    def write(self, files: JobFiles, record: dict[str, Any]) -> None:
        """Write into the job's directory what is to be run."""
        for name in ("outfile", "errfile"):
            record[name] = record[name].replace(_DIRECTORY_NAME, os.path.basename(files.path))
        if waits := self.awaited.script():
            files.write("waits", waits.encode("utf-8", "surrogateescape"))
        past = _past_shell(record, self.command)
        words = self._payload(files)
        files.write_run([*variables.words(past, words[0]), *words], record["cwd"], record["outfile"], record["errfile"])

    @property
    def suffix(self) -> str:
        """The end of the directory's name."""
        return str(self._settings.get("suffix") or "")

    def _payload(self, files: JobFiles) -> list[str]:
        """Write the user's part; returns the words that run it."""
        if callable(self.command):
            from clusterfutures.jobs.function import packed

            settings = self._settings
            paths = [os.path.abspath(path) for path in settings.get("syspaths", ())]
            files.write("call", packed(self.command, self.args, self.kwargs, settings.get("imports", ()), paths))
            path = os.pathsep.join(filter(None, [_PACKAGE, os.environ.get("PYTHONPATH", "")]))
            return ["env", f"PYTHONPATH={path}", self._python, "-P", "-m", "clusterfutures.jobs.function", files.path]
        text, words = self._line(self.command)
        text = text if text.startswith("#!") else f"#!/bin/bash\n{text}\n"
        files.write("command", text.encode("utf-8", "surrogateescape"), 0o700)
        return [files.file("command"), *words]

    def _line(self, command: str) -> tuple[str, list[str]]:
        """The command's text with its arguments, and the words that it gets as ``$1``, ``$2`` ..."""
        if self.is_file:
            return command, list(self.args)
        if self._item is not None:
            return with_arguments(filled(command, *self._item), self.args, fill=False)
        return with_arguments(command, self.args)


def _command(given: Command) -> str | Callable[..., Any]:
    """A function, or a command as shell text.  Raises OptionError."""
    if callable(given):
        return given
    if isinstance(given, str):
        text = given.replace("\r\n", "\n")  # from Windows: a shell takes the carriage return for part of a word
    elif isinstance(given, list | tuple | os.PathLike):
        parts = given if isinstance(given, list | tuple) else [given]
        words = [word(part, f"word {at} of the command") for at, part in enumerate(parts, 1)]
        text = joined(words) if words and words[0] else ""
    else:
        text = ""
    if not text.strip():
        raise OptionError(f"command={given!r}: expected shell text, a list of words or a function")
    return text


def _arguments(args: Any) -> tuple[Any, ...]:
    if args is None:
        return ()
    if isinstance(args, str | bytes | Mapping | os.PathLike) or not isinstance(args, Iterable):
        more = "; by keyword: kwargs=..." if isinstance(args, Mapping) else f", as in [{args!r}]"
        raise OptionError(f"args={args!r}: expected a list or tuple of arguments{more}")
    return tuple(args)


_JOB_KEYWORDS = frozenset(name for row in table.KEYWORDS if row.of != "executors" for name in (row.name, *row.synonyms))


def label(name: str) -> str:
    """``name`` as the beginning of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", name)[:60].lstrip(".") or "job"


def _layered(given: Mapping[str, Any], profile: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords and normalised resources: the configuration's, and over them the call's own."""
    settings: dict[str, Any] = {}
    resources: dict[str, Any] = {}
    for name, value in given.items():
        row = table.find(name)
        if row is None or row.of == "executors":
            resources[name] = value
        elif row.name in settings:
            raise OptionError(f"{row.name}= is given twice, also as {name}=: give it once")
        else:
            settings[row.name] = table.read(row, name, value) if value is not None else None
    own = options.normalise(resources, _JOB_KEYWORDS)
    configured = config.load().options(profile)
    named = {option.name for name in resources if (option := options.find(name)) is not None}
    below = options.normalise({name: value for name, value in configured.items() if name not in config.SETTINGS})
    merged = {name: value for name, value in below.items() if name not in named} | own
    kept = {name: value for name, value in configured.items() if name in config.SETTINGS and name not in settings}
    return kept | settings, merged


def _script(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What of the job's script is not the command."""
    parts = table.script_parts(settings)
    for name, value in (settings.get("export") or {}).items():
        if value is None and name not in os.environ:
            raise OptionError(f"export: this program has no variable {name}: write {name}=VALUE, or leave it out")
        parts["env"][name] = os.environ[name] if value is None else value
    return parts


def _past_shell(record: dict[str, Any], command: str | Callable[..., Any]) -> dict[str, str]:
    """The variables that ``run.sh`` sets for the command, for they do not come through the shells before it.

    Exported functions come through bash: where the job's script is one, its ``setup=`` may call and change them.
    Options for shells are left out where the command is for a shell.
    """
    script = record["script"]
    env = script["env"]
    given: dict[str, str] = {}
    if by_name(record["scheduler"], for_jobs=True).exports_environment:
        given = variables.past_shell(os.environ)
    through_bash = script["modules"] or script["setup"] or script["teardown"]
    carried = {name: value for name, value in given.items() if through_bash and variables.is_function(name)}
    dropped = set(carried) if callable(command) else {*carried, *variables.SHELL_OPTIONS}
    plain = {name: value for name, value in env.items() if variables.is_plain(name)}
    record["script"] = {**script, "env": plain, "past_shell": carried}
    return {name: value for name, value in given.items() if name not in dropped} | variables.past_shell(env)


def _output(settings: Mapping[str, Any], name: str, cwd: str) -> str:
    """Where output goes that does not stay in the job's directory; the name is filled in later."""
    given = settings.get(name)
    if given is None and settings.get("outpath"):
        given = os.path.join(settings["outpath"], f"{_DIRECTORY_NAME}.{name[:3]}")
    return os.path.join(cwd, os.path.expanduser(given)) if given else ""


def spec_of(files: JobFiles, record: Mapping[str, Any]) -> JobSpec:
    """The job of a directory for the scheduler; each submission has a name of its own."""
    name = os.path.basename(files.path)
    if name.isdigit():  # of an array
        name = f"{os.path.basename(os.path.dirname(files.path))}-{name}"
    spec = JobSpec(
        f"{name}-{record['tries']}" if record["tries"] else name,
        [files.file("run.sh")],
        files.file("log"),
        files.path,
        resources=record["resources"],
        dependencies=[Dependency(*pair) for pair in record["after"]],
        **record["script"],
    )
    return replace(spec, command=[scripts.interpreter(spec), *spec.command])
