"""What somebody wants to run as a job: read, checked, and written into the job's directory.

command or function, arguments, options --Request--> JobFiles: payload, run.sh, script
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clusterfutures import config
from clusterfutures.errors import OptionError
from clusterfutures.jobs.files import JobFiles
from clusterfutures.schedulers import find_scheduler, options
from clusterfutures.schedulers.base import Dependency, JobSpec

__all__ = ["DIRECTORY", "Request", "spec_of"]

#: where the directories of jobs are made
DIRECTORY = "~/.clusterfutures/jobs"
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Request:
    """A command or function with its arguments.  Raises OptionError for what cannot be run."""

    def __init__(self, command: str | Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        if not callable(command) and (not isinstance(command, str) or not command.strip()):
            raise OptionError(f"command={command!r}: expected shell text or a function")
        if kwargs and not callable(command):
            raise OptionError(f"kwargs={kwargs!r}: a command has none, a function has")
        self._command = command
        self._args = tuple(args)
        self._kwargs = dict(kwargs)
        self._cwd = os.getcwd()

    def record(
        self, name: str, scheduler: str | None, profile: str | None, resources: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What is kept of the job in ``job.json``, all settings and options resolved."""
        settings = config.load().options(profile)
        below = options.normalise({key: value for key, value in settings.items() if key not in config.SETTINGS})
        own = getattr(self._command, "__name__", "") if callable(self._command) else "job"
        where = scheduler or settings.get("scheduler") or find_scheduler().name
        if where == "local" and "local_cores" in settings:
            below["local_cores"] = settings["local_cores"]
        return {
            "id": "",
            "name": name or own,
            "scheduler": where,
            "resources": below | options.normalise(resources),
            "function": callable(self._command),
            "submitted": None,
            "tries": 0,
        }

    def write(self, name: str, directory: str) -> JobFiles:
        """Make the job's directory and write there what is to be run; what fails leaves nothing."""
        label = re.sub(r"[^A-Za-z0-9_.+-]", "_", name)[:60] or "job"
        files = JobFiles.make(os.path.abspath(os.path.expanduser(directory)), label)
        try:
            files.write_run(self._payload(files), self._cwd)
        except BaseException:
            files.remove()
            raise
        return files

    def _payload(self, files: JobFiles) -> list[str]:
        """Write the user's part; returns the words that run it."""
        if callable(self._command):
            from clusterfutures.jobs.function import packed

            files.write("call", packed(self._command, self._args, self._kwargs))
            path = os.pathsep.join(filter(None, [_PACKAGE, os.environ.get("PYTHONPATH", "")]))
            return ["env", f"PYTHONPATH={path}", sys.executable, "-m", "clusterfutures.jobs.function", files.path]
        text = self._command if self._command.startswith("#!") else f"#!/bin/bash\n{self._command}\n"
        files.write("command", text.encode("utf-8", "surrogateescape"), 0o700)
        return [files.file("command"), *map(str, self._args)]


def spec_of(files: JobFiles, record: Mapping[str, Any]) -> JobSpec:
    """The job of a directory for the scheduler; each submission has a name of its own."""
    name = os.path.basename(files.path)
    return JobSpec(
        f"{name}-{record['tries']}" if record["tries"] else name,
        ["/bin/sh", files.file("run.sh")],
        files.file("log"),
        files.path,
        resources=record["resources"],
        dependencies=[Dependency(*pair) for pair in record["after"]],
    )
