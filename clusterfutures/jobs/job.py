"""A Job: submitted once, asked as often as one likes, by any program that can see its directory.

    Job(...) --write()--> directory --submit()--> scheduler --wait(), await--> ended --get()--> outcome
                                        ^------------- resubmit() ---------------'

A job's own ``exit`` file says how it ended; without one, the scheduler does.
A job that never started because of its dependencies has failed, with that as the reason.
"""

from __future__ import annotations

import logging
import os
import shlex
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from clusterfutures.errors import JobFailed, SchedulerUnavailable
from clusterfutures.jobs.files import JobFiles
from clusterfutures.jobs.known import Known
from clusterfutures.jobs.request import Command, Request, label, spec_of
from clusterfutures.jobs.story import story
from clusterfutures.jobs.submission import submitted
from clusterfutures.jobs.watch import ONE_AT_A_TIME, Watch, adapter, pauses
from clusterfutures.schedulers.base import Dependency, JobState, JobStatus

__all__ = ["Job", "cancel_all", "submit"]

log = logging.getLogger("clusterfutures")


def submit(command: Command, args: Sequence[Any] | None = None, *more: Any, **options: Any) -> Job:
    """Submit one command or function as one job, and return the Job: ``Job(...).submit()``, with the same arguments.

    Raises OptionError for an option that cannot be used, SubmitError when the scheduler refuses the job,
    SchedulerUnavailable when it does not answer.
    """
    return Job(command, args, *more, **options).submit()


def cancel_all(jobs: Iterable[Job]) -> list[Job]:
    """End these jobs, waiting or running, with one command for all that are on one scheduler; those that had not ended.

    Raises SchedulerUnavailable when there was no answer.
    """
    ending = [job for job in jobs if job.is_to_end()]
    for name in {job.scheduler for job in ending}:
        with ONE_AT_A_TIME:
            adapter(name).cancel([job.id for job in ending if job.scheduler == name])
    return ending


class Job(Known):
    """One command or function as a job of its own.

    command: shell text (bash; a ``#!`` line names another), a list of words, or a function.
    args, kwargs: arguments.  Those of a command (text, numbers, paths) are put where it has ``{}``, else behind it,
        each quoted as one word; a command that names ``$1`` or ``$@``, and a ``#!`` script that is not for a shell,
        get them so.
    dependencies: a Job, an id or a future, or several: they have to end well (exit code 0).
        A table says how: ``{"ok": [a], "any": b, "notok": c}``.
    scheduler, profile: as for executors.  directory: where job directories are made;
        default ``~/.clusterfutures/jobs``.
    options: resources (``cores``, ``memory``, ``time`` ...) and keywords of jobs (``modules``,
        ``cwd``, ``outfile``, ``export``, ``imports`` ...): ``option_help()`` lists them.

    Attributes: id ("" before it is submitted), name, scheduler (its name), submitted
    (seconds since the epoch, or None).  ``print(job)`` tells how it is doing.

    Raises OptionError for what cannot be read.
    """

    def __init__(
        self,
        command: Command,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        dependencies: Any = None,
        scheduler: str | None = None,
        profile: str | None = None,
        directory: str | None = None,
        **options: Any,
    ) -> None:
        explicit = {"name": name or None, "scheduler": scheduler, "jobs_directory": directory}
        explicit["dependencies"] = dependencies
        given = options | {key: value for key, value in explicit.items() if value is not None}
        self._request: Request | None = Request(command, args, kwargs, given, profile)
        self._set(None, self._request.record())

    @classmethod
    def attach(cls, path: str | os.PathLike[str] | int, directory: str | None = None) -> Job:
        """Return the job with this directory, or with this id, from any program.  Raises StoreError.

        directory: where an id is looked for; default the configured one, else ``~/.clusterfutures/jobs``.
        """
        path = str(path) if isinstance(path, int) else os.fspath(path)
        if os.sep not in path and not os.path.isdir(path):
            from clusterfutures.jobs.finding import with_id

            return with_id(path, directory)
        files = JobFiles(path)
        job = cls.__new__(cls)
        job._request = None
        job._set(files, files.record())
        return job

    def _set(self, files: JobFiles | None, record: dict[str, Any]) -> None:
        self._know(files, record)
        self._watched = None
        if self.id and files is not None:
            after = [Dependency(*pair) for pair in record["after"]]
            limit = float(record["resources"].get("time") or 0)
            self._watched = Watch(files, self.id, self.scheduler, after, limit=limit)

    def _keep(self, **changes: Any) -> None:
        """Change what is known of the job, for other programs as well."""
        self.record = self.record | changes
        self._files.write_record(self.record)
        self._set(self._here, self.record)

    @property
    def request(self) -> Request:
        """Return what this program requested."""
        assert self._request is not None
        return self._request

    # -------------------------------------------------------------------- submitting

    def write(self) -> Job:
        """Write the job's directory and its script, without submitting it; once."""
        if self._here is None:
            request = self.request
            files = JobFiles.make(request.directory, label(self.name), request.suffix)
            try:
                request.write(files, self.record)
                spec = spec_of(files, self.record)
                files.write("script", adapter(self.scheduler).script(spec, 1).encode("utf-8", "surrogateescape"))
                files.write_record(self.record)
            except BaseException:
                files.remove()
                raise
            self._set(files, self.record)
        return self

    def submit(self, max_jobs: int | None = None) -> Job:
        """Submit the job.  One that is refused leaves nothing behind, unless ``write`` was called.

        Futures among its dependencies are waited for first.  max_jobs: wait until fewer of
        your jobs wait or run; default: as configured, else not at all.

        Raises SubmitError when refused, RuntimeError when it was submitted before, and
        SchedulerUnavailable when nobody knows: submitted again, it is looked for first.
        """
        if self.id:
            raise RuntimeError(f"{self!r} was submitted already: resubmit() it, or make a new Job")
        was_written = self._here is not None
        self.write()
        try:
            refusal = self.refusal()
            if refusal:
                self.never(refusal)
                return self
            self.wait_for_room(max_jobs)
            self._submit()
        except BaseException:
            if not was_written and not self.record.get("unanswered"):
                self._files.remove()
                self._set(None, self.record)
            raise
        return self

    def refusal(self) -> str:
        """Wait for the futures that it depends on; why it may not start, "" when it may.

        Raises SubmitError for an id that the scheduler does not know.
        """
        never = str(self.record.get("never") or "")
        if never or self._request is None:
            return never
        waits = self._request.awaited
        if waits.named and not waits.failed:
            with ONE_AT_A_TIME:
                waits.must_be_known(adapter(self.scheduler))
        return waits.refusal()

    def wait_for_room(self, max_jobs: int | None = None) -> None:
        """Wait until the queue takes another job of yours; see ``submit``."""
        limit = self.record.get("max_jobs") if max_jobs is None else max_jobs
        if limit:
            from clusterfutures.jobs.queue import Queue

            Queue(scheduler=self.scheduler).wait_to_submit(limit)

    def wait_for_arrays(self, checks: str) -> None:
        """Have it check more when it starts, in shell text, of the jobs that it waits for."""
        before = self._files.text("waits")
        self._files.write("waits", f"{before}{checks}".encode("utf-8", "surrogateescape"))

    def never(self, reason: str) -> None:
        """It will not be submitted: it has failed, with this reason."""
        self._keep(never=reason)

    def was_submitted(self, job_id: str, at: float, array: int = 0, log: str = "") -> None:
        """Note its id; array: how many jobs were submitted together; log: where its script writes, if elsewhere."""
        self._keep(id=job_id, submitted=at, array=array, log=log, unanswered=False)

    def resubmit(self) -> Job:
        """Submit a job that has ended again, under a new id; its dependencies are not waited for again.

        Raises RuntimeError while it has not ended.
        """
        self._must_have_ended()
        self._files.forget()
        self._keep(id="", after=[], tries=self.record["tries"] + 1, never="")
        self._submit()
        return self

    def _submit(self) -> None:
        perhaps = bool(self.record.get("unanswered"))
        if perhaps and (told := self._files.numbers("started"))[2:]:
            self.was_submitted(told[2], float(told[0]))
            return
        try:
            spec = spec_of(self._files, self.record)
            (job_id,) = submitted(adapter(self.scheduler), spec, self._files, perhaps_there=perhaps)
        except KeyboardInterrupt:
            self._keep(unanswered=True)
            raise
        except SchedulerUnavailable as error:
            self._keep(unanswered=True)
            raise SchedulerUnavailable(
                message=f"{error}; nobody knows whether job {self.name!r} was submitted. Submit it again, and it is "
                f"looked for first: submit(), or `clusterfutures submit {shlex.quote(self._files.file('script'))}`",
            ) from error
        self.was_submitted(job_id, time.time())

    def cancel(self) -> bool:
        """End the job, waiting or running; False for one that has ended, which is left alone."""
        return bool(cancel_all([self]))

    def is_to_end(self) -> bool:
        """Note that it is to be cancelled; False when it has ended."""
        if self.record.get("never") or self._watch.ended() is not None:
            return False
        self._files.write("cancelled", b"")
        return True

    def clean(self, delete_outputs: bool = False, *, remember: bool = True) -> None:
        """Remove the job's directory.  Raises RuntimeError while it has not ended.

        delete_outputs: remove ``outfile`` and ``errfile`` as well, where it has them.
        remember: what it printed and returned, and how it ended, this Job still knows.
        """
        if self.id:
            self._must_have_ended()
        self._files.remove(remember)
        if delete_outputs:
            self._delete_outputs(remember)

    def _must_have_ended(self) -> None:
        if not self.update().state.is_final:
            raise RuntimeError(f"{self!r} has not ended: cancel() it, or wait()")

    # ------------------------------------------------------------------------- asking

    @property
    def _watch(self) -> Watch:
        if self._watched is None:
            raise RuntimeError(f"{self!r} was not submitted yet: submit() it")
        return self._watched

    def update(self) -> JobStatus:
        """What the job is doing now, as its files say, or the scheduler a few seconds ago."""
        if never := self._never():
            return never
        while (status := self._watch.look()).state is JobState.ENDING and self._watch.is_settling:
            time.sleep(0.05)
        return status

    def look(self, waited: float = 0.0) -> JobStatus:
        """As ``update``, at once and for somebody who looks again: ENDING while last words may come,
        UNKNOWN without an answer.  waited: how long he has waited, in seconds."""
        return self._never() or self._watch.look_patiently(waited)

    def _never(self) -> JobStatus | None:
        reason = self.record.get("never")
        return JobStatus("", JobState.FAILED, reason=reason) if reason else None

    @property
    def state(self) -> JobState:
        """One of all schedulers' states."""
        return self.update().state

    @property
    def exitcode(self) -> int | None:
        """The exit code, None until there is one."""
        return self.update().exit_code

    # ------------------------------------------------------------------------ waiting

    def wait(self, timeout: float | None = None) -> JobStatus:
        """Wait until the job has ended, and return its JobStatus.  Raises TimeoutError after ``timeout`` seconds."""
        for pause in pauses(timeout, f"{self!r} has not ended"):
            status = self.look(pause.waited)
            if status.state.is_final:
                return status
            time.sleep(pause.seconds)
        raise AssertionError("pauses end by an exception only")

    def get(self, timeout: float | None = None) -> Any:
        """Wait, and return a function's value (or raise its exception), or a command's (exitcode, stdout, stderr).

        Raises JobFailed when the job ended without either, TimeoutError after ``timeout`` seconds.
        """
        return self._told(self.wait(timeout))

    def __await__(self) -> Generator[Any, None, Any]:
        """``await job``: as ``get()``, and the event loop goes on meanwhile."""
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        import asyncio

        for pause in pauses(None, ""):
            status = await asyncio.to_thread(self.look, pause.waited)
            if status.state.is_final:
                return self._told(status)
            await asyncio.sleep(pause.seconds)

    def _told(self, status: JobStatus) -> Any:
        try:
            return self._outcome(status)
        finally:
            if self.record.get("clean_files") or self.record.get("clean_outputs"):
                self.clean(bool(self.record.get("clean_outputs")))

    def _outcome(self, status: JobStatus) -> Any:
        is_function = self.record["function"]
        # modules or setup failed: the code is not the command's
        never_began = not self._files.numbers("started") and not self._files.numbers("exit")
        ended_itself = status.state in (JobState.COMPLETED, JobState.FAILED) and not never_began
        if not is_function and ended_itself and status.exit_code is not None:
            return status.exit_code, self.stdout, self.stderr
        content = self._files.read("result") if is_function else None
        if content is None:
            status = self._explained(status)
            raise JobFailed(
                job_id=self.id, state=status.state.value, exit_code=status.exit_code, signal=status.signal,
                reason=status.reason, host=status.host, call=self.name,
                tail=(self.stderr or self.log)[-2000:],
                advice=f"its files: {self.path}",
            )  # fmt: skip
        from clusterfutures.jobs.function import unpacked

        worked, value = unpacked(content)
        if worked:
            return value
        raise value

    def _explained(self, status: JobStatus) -> JobStatus:
        """With what the scheduler tells of one job alone, where its list has not told how it failed."""
        is_told = status.exit_code is not None or status.signal is not None
        never_began = self.record.get("never") or (self.record["after"] and self.started is None)
        if status.state is not JobState.FAILED or is_told or never_began:
            return status
        try:
            with ONE_AT_A_TIME:
                known = adapter(self.scheduler).explain(self.id)
        except SchedulerUnavailable as error:
            log.info("how job %s has failed was not told: %s", self.id, error)
            return status
        return known if known is not None and known.state in (JobState.FAILED, JobState.OUT_OF_MEMORY) else status

    # ----------------------------------------------------------------------- printing

    def __repr__(self) -> str:
        return f"<Job {self.id or '(not submitted)'} {self.name!r} on {self.scheduler}>"

    def __str__(self) -> str:
        """The job's story so far."""
        return story(self)
