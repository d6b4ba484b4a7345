"""A Job: submitted once, asked as often as one likes, by any program that can see its directory.

    Job(...) --write()--> directory --submit()--> scheduler --wait(), await--> ended --get()--> outcome
                                        ^------------- resubmit() ---------------'

How a job has ended is told by its own ``exit`` file; where there is none, by the scheduler.
A job that never started because of its dependencies has failed, with that as the reason.
"""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from clusterfutures.errors import JobFailed, OptionError, RemoteTraceback, SchedulerUnavailable, SubmitError
from clusterfutures.jobs.files import JobFiles
from clusterfutures.jobs.request import DIRECTORY, Request, spec_of
from clusterfutures.jobs.watch import ONE_AT_A_TIME, Watch, adapter, note_submission, pauses
from clusterfutures.schedulers.base import AFTER, Dependency, JobSpec, JobState, JobStatus, Scheduler

__all__ = ["Job", "submit"]

log = logging.getLogger("clusterfutures")


def submit(command: str | Callable[..., Any], args: Sequence[Any] = (), *more: Any, **options: Any) -> Job:
    """Submit one command or function as a job of its own: ``Job(...).submit()``, with the same arguments."""
    return Job(command, args, *more, **options).submit()


class Job:
    """One command or function as a job of its own.

    command: shell text (bash; a ``#!`` line names another), or a function.
    args, kwargs: arguments; those of a command are put behind it, quoted.
    dependencies: a Job or an id, or several: they have to end with exit code 0.  A table
        says how: ``{"ok": [a], "any": b, "notok": c}``.
    scheduler, profile, resources: as for executors.  directory: where job directories are
        made; default ``~/.clusterfutures/jobs``.

    Attributes: id ("" before it is submitted), name, scheduler (its name), submitted
    (seconds since the epoch, or None).  ``print(job)`` tells how it is doing.

    Raises OptionError for what cannot be read.
    """

    def __init__(
        self,
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
    ) -> None:
        after = _dependencies(dependencies)
        self._request = Request(command, args, kwargs or {})
        self._directory = directory or DIRECTORY
        self._set(None, self._request.record(name, scheduler, profile, resources) | {"after": after})

    @classmethod
    def attach(cls, path: str) -> Job:
        """The job whose directory is ``path``, whoever submitted it.  Raises StoreError."""
        files = JobFiles(path)
        job = cls.__new__(cls)
        job._set(files, files.record())
        return job

    def _set(self, files: JobFiles | None, record: dict[str, Any]) -> None:
        self._here = files
        self._record = record
        self.id = str(record["id"])
        self.name = str(record["name"])
        self.scheduler = str(record["scheduler"])
        self.submitted: float | None = record["submitted"]
        self._watched = None
        if self.id and files is not None:
            after = [Dependency(*pair) for pair in record["after"]]
            self._watched = Watch(files, self.id, self.scheduler, after)

    # -------------------------------------------------------------------- submitting

    def write(self) -> Job:
        """Write the job's directory and its script, without submitting it; once."""
        if self._here is None:
            files = self._request.write(self.name, self._directory)
            try:
                spec = spec_of(files, self._record)
                files.write("script", adapter(self.scheduler).script(spec, 1).encode("utf-8", "surrogateescape"))
                files.write_record(self._record)
            except BaseException:
                files.remove()
                raise
            self._set(files, self._record)
        return self

    def submit(self) -> Job:
        """Submit the job.  One that is refused leaves nothing behind, unless ``write`` was called.

        Raises SubmitError when refused, SchedulerUnavailable when nobody knows, RuntimeError
        when it was submitted before.
        """
        if self.id:
            raise RuntimeError(f"{self!r} was submitted already: resubmit() it, or make a new Job")
        was_written = self._here is not None
        self.write()
        try:
            self._submit()
        except SchedulerUnavailable as error:
            log.warning("nobody knows whether the job in %s was submitted: %s", self.path, error)
            raise
        except BaseException:
            if not was_written:
                self._files.remove()
                self._set(None, self._record)
            raise
        return self

    def resubmit(self) -> Job:
        """Submit a job that has ended once more, under a new id; its dependencies are not waited for again.

        Raises RuntimeError while it has not ended.
        """
        self._must_have_ended()
        self._files.forget()
        self._record |= {"id": "", "after": [], "tries": self._record["tries"] + 1}
        self._submit()
        return self

    def _submit(self) -> None:
        with ONE_AT_A_TIME:
            job_id = _submitted(adapter(self.scheduler), spec_of(self._files, self._record), self._files)
        note_submission(self.scheduler)
        record = self._record | {"id": job_id, "submitted": time.time()}
        self._files.write_record(record)
        self._set(self._files, record)

    def cancel(self) -> None:
        """End the job, waiting or running; one that has ended is left alone."""
        if self._watch.ended() is None:
            self._files.write("cancelled", b"")
            with ONE_AT_A_TIME:
                adapter(self.scheduler).cancel([self.id])

    def clean(self) -> None:
        """Remove the job's files.  Raises RuntimeError while it has not ended."""
        if self.id:
            self._must_have_ended()
        self._files.remove()

    def _must_have_ended(self) -> None:
        if not self.update().state.is_final:
            raise RuntimeError(f"{self!r} has not ended: cancel() it, or wait()")

    # ------------------------------------------------------------------------- asking

    @property
    def _files(self) -> JobFiles:
        if self._here is None:
            raise RuntimeError(f"{self!r} has no files yet: write() or submit() it")
        return self._here

    @property
    def _watch(self) -> Watch:
        if self._watched is None:
            raise RuntimeError(f"{self!r} was not submitted yet: submit() it")
        return self._watched

    @property
    def path(self) -> str:
        """The job's directory."""
        return self._files.path

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

    @property
    def out(self) -> Any:
        """What a function returned, None until it has; of a command what it has printed so far."""
        if not self._record["function"]:
            return self.stdout
        content = self._files.read("result")
        worked, value, _ = pickle.loads(content) if content is not None else (False, None, "")
        return value if worked else None

    @property
    def submission(self) -> str:
        """The text that the scheduler is given."""
        return self._files.text("script")

    @property
    def started(self) -> float | None:
        """When it started, in seconds since the epoch by the node's clock; None when it has not."""
        words = self._files.numbers("started")
        return float(words[0]) if words else None

    @property
    def ended(self) -> float | None:
        """When it said that it had ended; None when it has not."""
        words = self._files.numbers("exit")
        return float(words[1]) if words else None

    @property
    def runtime(self) -> float | None:
        """Seconds that it has run, so far or in all; None when it has not started."""
        started, ended = self.started, self.ended
        return None if started is None else max(0.0, (time.time() if ended is None else ended) - started)

    @property
    def nodes(self) -> list[str]:
        """Where it runs: the node that its command was started on; [] when it has not."""
        return self._files.numbers("started")[1:2]

    @property
    def files(self) -> list[str]:
        """The paths of all that is in its directory now."""
        return sorted(map(self._files.file, os.listdir(self.path)))

    # ------------------------------------------------------------------------ waiting

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

        Raises JobFailed when the job ended without either, TimeoutError after ``timeout`` seconds.
        """
        return self._outcome(self.wait(timeout))

    def __await__(self) -> Generator[Any, None, Any]:
        """``await job``: as ``get()``, and the event loop goes on meanwhile."""
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        import asyncio

        for pause in pauses(None, self):
            status = await asyncio.to_thread(self.look, pause.waited)
            if status.state.is_final:
                return self._outcome(status)
            await asyncio.sleep(pause.seconds)

    def _outcome(self, status: JobStatus) -> Any:
        is_function = self._record["function"]
        if not is_function and status.exit_code is not None:
            return status.exit_code, self.stdout, self.stderr
        content = self._files.read("result") if is_function else None
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

    # ----------------------------------------------------------------------- printing

    def __repr__(self) -> str:
        return f"<Job {self.id or '(not submitted)'} {self.name!r} on {self.scheduler}>"

    def __str__(self) -> str:
        """The job's story so far."""
        head = f"job {self.id or '(not submitted)'} {self.name!r} on {self.scheduler}"
        if not self.id:
            return head
        status = self.look()
        how = status.state.value if not status.exit_code else f"{status.state.value}, exit code {status.exit_code}"
        lines = [f"{head}: {how}" + (f" ({status.reason})" if status.reason else "")]
        for what, at in (("submitted", self.submitted), ("started", self.started), ("ended", self.ended)):
            if at is not None:
                where = f" on {', '.join(self.nodes)}" if what == "started" else ""
                lines.append(f"  {what:9} {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}{where}")
        lines.append(f"  files     {self.path}")
        return "\n".join([*lines, *(f"  stderr    {line}" for line in self.stderr.splitlines()[-5:])])


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


def _dependencies(given: Any) -> list[Dependency]:
    table = given if isinstance(given, Mapping) else {"ok": given}
    found = []
    for kind, jobs in table.items():
        if kind not in AFTER:
            raise OptionError(f"a dependency is one of {', '.join(AFTER)}, not {kind!r}")
        for one in [jobs] if isinstance(jobs, Job | str | int) else jobs:
            if not isinstance(one, Job | str | int) or isinstance(one, bool):
                raise OptionError(f"{one!r} is no job: give a Job or the id of one")
            if isinstance(one, Job) and not one.id:
                raise OptionError(f"{one!r} has no id to depend on: submit() it first")
            found.append(Dependency(one.id if isinstance(one, Job) else str(one), kind))
    return found
