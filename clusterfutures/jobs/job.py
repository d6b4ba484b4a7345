"""A Job: submitted once, asked as often as one likes, by any program that can see its directory.

How a job has ended is told by its own ``exit`` file; where there is none, by the scheduler.
A job that never started because of its dependencies has failed, with that as the reason.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clusterfutures import config
from clusterfutures.errors import JobFailed, OptionError, RemoteTraceback, SchedulerUnavailable, SubmitError
from clusterfutures.jobs.files import JobFiles
from clusterfutures.jobs.watch import Watch, adapter, note_submission, pauses
from clusterfutures.schedulers import find_scheduler, options
from clusterfutures.schedulers.base import AFTER, Dependency, JobSpec, JobState, JobStatus, Scheduler

__all__ = ["Job", "submit"]

log = logging.getLogger("clusterfutures")

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def submit(
    command: str | Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    name: str = "",
    dependencies: Any = (),
    scheduler: str | None = None,
    profile: str | None = None,
    directory: str | None = None,
    **resources: Any,
) -> Job:
    """Submit one command or function as a job of its own.

    command: shell text (bash; a ``#!`` line names another), or a function.
    args, kwargs: arguments; those of a command are put behind it, quoted.
    dependencies: a Job or an id, or several: they have to end with exit code 0.  A table
        says how: ``{"ok": [a], "any": b, "notok": c}``.
    scheduler, profile, resources: as for executors.  directory: where job directories are
        made; default ``~/.clusterfutures/jobs``.

    Returns the Job.  Raises OptionError for what cannot be read, SubmitError when refused.
    """
    settings = config.load().options(profile)
    below = options.normalise({key: value for key, value in settings.items() if key not in config.SETTINGS})
    chosen = scheduler or settings.get("scheduler") or find_scheduler().name
    label = name or (getattr(command, "__name__", "") if callable(command) else "job")
    after = _dependencies(dependencies)
    asked = below | options.normalise(resources)
    files = JobFiles.make(
        os.path.abspath(os.path.expanduser(directory or "~/.clusterfutures/jobs")),
        re.sub(r"[^A-Za-z0-9_.+-]", "_", label)[:60] or "job",
    )
    try:
        words = _written(files, command, tuple(args), dict(kwargs or {}))
        files.write_run(words, os.getcwd())
        spec = JobSpec(
            os.path.basename(files.path), ["/bin/sh", files.file("run.sh")], files.file("log"), files.path,
            resources=asked, dependencies=after,
        )  # fmt: skip
        job_id = _submitted(adapter(chosen), spec, files)
    except SchedulerUnavailable as error:
        log.warning("nobody knows whether the job in %s was submitted: %s", files.path, error)
        raise
    except BaseException:
        files.remove()
        raise
    note_submission(chosen)
    files.write_record(
        {"id": job_id, "name": label, "scheduler": chosen, "after": after, "submitted": time.time(),
         "function": callable(command)}
    )  # fmt: skip
    return Job.attach(files.path)


def _submitted(scheduler: Scheduler, spec: JobSpec, files: JobFiles) -> str:
    """Submit the job; its id.  Without an answer it is looked for by its name."""
    files.write("script", scheduler.script(spec, 1).encode("utf-8", "surrogateescape"))
    try:
        (job_id,) = scheduler.submit(spec, files.file("script"), 1)
    except SchedulerUnavailable as error:
        found = scheduler.find(spec.name, 1)
        if found is None:
            raise SubmitError(message=str(error), advice="it was not submitted: try again") from error
        (job_id,) = found
    return job_id


def _written(files: JobFiles, command: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """Write the user's part; returns the words that run it."""
    if callable(command):
        from clusterfutures.jobs.function import packed

        files.write("call", packed(command, args, kwargs))
        return ["env", f"PYTHONPATH={_python_path()}", sys.executable, "-m", "clusterfutures.jobs.function", files.path]
    if not isinstance(command, str) or not command.strip():
        raise OptionError(f"command={command!r}: expected shell text or a function")
    text = command if command.startswith("#!") else f"#!/bin/bash\n{command}\n"
    files.write("command", text.encode("utf-8", "surrogateescape"), 0o700)
    return [files.file("command"), *map(str, args)]


def _python_path() -> str:
    return os.pathsep.join(filter(None, [_PACKAGE, os.environ.get("PYTHONPATH", "")]))


def _dependencies(given: Any) -> list[Dependency]:
    table = given if isinstance(given, Mapping) else {"ok": given}
    found = []
    for kind, jobs in table.items():
        if kind not in AFTER:
            raise OptionError(f"a dependency is one of {', '.join(AFTER)}, not {kind!r}")
        for one in [jobs] if isinstance(jobs, Job | str | int) else jobs:
            if not isinstance(one, Job | str | int) or isinstance(one, bool):
                raise OptionError(f"{one!r} is no job: give a Job or the id of one")
            found.append(Dependency(one.id if isinstance(one, Job) else str(one), kind))
    return found


class Job:
    """A job that was submitted.  id, name, scheduler (its name), path (its directory)."""

    def __init__(self, files: JobFiles, record: Mapping[str, Any]) -> None:
        self._files = files
        self.path = files.path
        self.id = str(record["id"])
        self.name = str(record["name"])
        self.scheduler = str(record["scheduler"])
        self.submitted = float(record["submitted"])
        self._is_function = bool(record["function"])
        after = [Dependency(*pair) for pair in record["after"]]
        self._watch = Watch(files, self.id, self.scheduler, after)

    @classmethod
    def attach(cls, path: str) -> Job:
        """The job whose directory is ``path``, whoever submitted it.  Raises StoreError."""
        files = JobFiles(path)
        return cls(files, files.record())

    def update(self) -> JobStatus:
        """What the job is doing now, as its files say, or the scheduler a few seconds ago."""
        while (status := self._watch.look()).state is JobState.ENDING and self._watch.may_still_tell():
            time.sleep(0.05)
        return status

    def look(self, waited: float = 0.0) -> JobStatus:
        """As ``update``, at once and for somebody who looks again: ENDING while last words may come,
        UNKNOWN without an answer.  waited: how long he has waited, in seconds."""
        return self._watch.look_patiently(waited)

    @property
    def state(self) -> JobState:
        """One of all schedulers' states."""
        return self.update().state

    @property
    def exitcode(self) -> int | None:
        """The exit code, None until there is one."""
        return self.update().exit_code

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._files.text("out")

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self._files.text("err")

    def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait until the job has ended; raises TimeoutError after ``timeout`` seconds."""
        for pause in pauses(timeout, self):
            status = self.look(pause.waited)
            if status.state.is_final:
                return status
            time.sleep(pause.seconds)
        raise AssertionError("pauses end by an exception only")

    def get(self, timeout: float | None = None) -> Any:
        """Wait; a function's value (or raise what it raised), a command's (exitcode, stdout, stderr).

        Raises JobFailed when the job ended without either.
        """
        status = self.wait(timeout)
        if not self._is_function and status.exit_code is not None:
            return status.exit_code, self.stdout, self.stderr
        content = self._files.read("result") if self._is_function else None
        if content is None:
            raise JobFailed(
                job_id=self.id, state=status.state.value, exit_code=status.exit_code, signal=status.signal,
                reason=status.reason, host=status.host, tail=self.stderr[-2000:], call=self.name,
                advice=f"its files: {self.path}",
            )  # fmt: skip
        worked, value, text = pickle.loads(content)
        if worked:
            return value
        value.__cause__ = RemoteTraceback(text)
        raise value

    def cancel(self) -> None:
        """End the job, waiting or running; one that has ended is left alone."""
        if self._watch.ended() is None:
            self._files.write("cancelled", b"")
            adapter(self.scheduler).cancel([self.id])

    def clean(self) -> None:
        """Remove the job's files.  Raises RuntimeError while it has not ended."""
        if not self.state.is_final:
            raise RuntimeError(f"{self!r} has not ended: cancel() it, or wait()")
        self._files.remove()

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name!r} on {self.scheduler}>"
