"""A Job: submitted once, and looked at as often as one likes, by any program that can see its directory.

    Job(...) --write()--> directory --submit()--> scheduler --wait(), await--> ended --get()--> outcome
                                        ^------------- resubmit() ---------------'

A job's own ``exit`` file says how it ended; without one, the scheduler does.
A job that never started because of its dependencies has failed, with that as the reason.
Its files tell of it also when another program asks, and after they were removed (``Known``);
``jobs_in`` and its like find the directories of jobs.
"""

from __future__ import annotations

import logging
import os
import shlex
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from clusterfutures.errors import JobFailed, OptionError, SchedulerUnavailable, StoreError
from clusterfutures.jobs.directories import job_directories, jobs_directory
from clusterfutures.jobs.files import ID_FIELD, JobFiles
from clusterfutures.jobs.request import Command, Request, label, spec_of
from clusterfutures.jobs.status import ONE_AT_A_TIME, Watch, adapter, pauses, plain_id
from clusterfutures.jobs.submission import submitted
from clusterfutures.schedulers.base import Dependency, split_id
from clusterfutures.schedulers.job_state import JobState, JobStatus

__all__ = [
    "Job",
    "Known",
    "cancel_all",
    "find",
    "jobs_in",
    "story",
    "submit",
    "with_id",
]

log = logging.getLogger("clusterfutures")


def story(job: Job) -> str:
    """A line for how the job is doing, one for each thing that has happened to it."""
    head = f"job {job.id or '(not submitted)'} {job.name!r} on {job.scheduler}"
    if not job.id and not job.record.get("never"):
        return head
    status = job.look()
    how = status.state.value if not status.exit_code else f"{status.state.value}, exit code {status.exit_code}"
    lines = [f"{head}: {how}" + (f" ({status.reason})" if status.reason else "")]
    for what, at in (("submitted", job.submitted), ("started", job.started), ("ended", job.ended)):
        if at is not None:
            where = f" on {', '.join(job.nodes)}" if what == "started" else ""
            lines.append(f"  {what:9} {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}{where}")
    lines.append(f"  files     {job.path}")
    return "\n".join([*lines, *(f"  stderr    {line}" for line in job.stderr.splitlines()[-5:])])


class Known:
    """The part of a Job that needs no scheduler: its record, its output, its times."""

    def _know(self, files: JobFiles | None, record: dict[str, Any]) -> None:
        self._here = files
        self.record = record
        self.id = str(record["id"])
        self.name = str(record["name"])
        self.scheduler = str(record["scheduler"])
        self.submitted: float | None = record["submitted"]
        self._deleted: dict[str, str] = {}

    @property
    def _files(self) -> JobFiles:
        if self._here is None:
            raise RuntimeError(f"{self!r} has no files yet: write() or submit() it")
        return self._here

    @property
    def path(self) -> str:
        """The job's directory."""
        return self._files.path

    @property
    def array_size(self) -> int:
        """How many jobs were submitted together as one array with this one; 0 when it is alone."""
        return int(self.record.get("array", 0))

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._printed("out")

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self._printed("err")

    def _printed(self, name: str) -> str:
        if name in self._deleted:
            return self._deleted[name]
        if os.path.dirname(self._output(name)) == self._files.path:
            return self._files.text(name)
        return self.printed_after(name, 0)[0]

    def printed_after(self, name: str, seen: int) -> tuple[str, int]:
        """What it wrote to "out" or "err" behind the first ``seen`` bytes, and how many there are now."""
        return _text_of(self._output(name), seen)

    @property
    def log(self) -> str:
        """What the scheduler and the job's script have written, before and around its command."""
        return _text_of(str(self.record.get("log") or self._files.file("log-0.log")), 0)[0]

    def command_text(self) -> str:
        """What it runs, as shell text; of a function its name."""
        return self._files.text("command") or self.name

    def _output(self, name: str) -> str:
        """The file that it prints to, or writes its stderr to."""
        told = str(self.record.get(f"{name}file") or "")
        return told.replace(ID_FIELD, split_id(self.id)[0]) if told else self._files.file(name)

    @property
    def out(self) -> Any:
        """What a function returned, None until it has; of a command what it has printed so far."""
        if not self.record["function"]:
            return self.stdout
        content = self._files.read("result")
        if content is None:
            return None
        from clusterfutures.jobs.function import unpacked

        worked, value = unpacked(content)
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
        return sorted(map(self._files.file, os.listdir(self.path) if os.path.isdir(self.path) else ()))

    def _delete_outputs(self, remember: bool) -> None:
        """Remove ``outfile`` and ``errfile``; remember: what they held is still known."""
        for name in ("out", "err"):
            path = self._output(name)
            if self.record.get(f"{name}file") and os.path.isfile(path):
                self._deleted[name] = self._printed(name) if remember else ""
        for name in self._deleted:
            if os.path.isfile(self._output(name)):
                os.unlink(self._output(name))


def _text_of(path: str, seen: int) -> tuple[str, int]:
    """Return a file's content after the first ``seen`` bytes, and its size."""
    try:
        os.listdir(os.path.dirname(path))  # a file system that remembers "not there" looks again
        with open(path, "rb") as file:
            file.seek(seen)
            content = file.read()
    except FileNotFoundError:
        return "", seen
    return content.decode("utf-8", "replace"), seen + len(content)


def jobs_in(directory: str) -> Iterator[Job]:
    """Return the jobs that have directories; what cannot be read is left out, with a warning."""
    for path in job_directories(directory):
        try:
            yield Job.attach(path)
        except (StoreError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is left alone: %s", path, error)


def find(words: Iterable[str], directory: str, scheduler: str) -> list[Job | str]:
    """The jobs that are meant: by a path of theirs, or by their id; an id that is none of ours stays one.

    An id is one of ``scheduler``, and of jobs that had the same that of the last; the id of an array
    stands for all jobs of it that are ours.
    """
    found: list[Job | str] = []
    known: dict[str, list[Job]] | None = None
    for word in words:
        if os.sep in word:
            path = os.path.abspath(os.path.expanduser(word))
            several = list(job_directories(path))
            if not several and not os.path.isfile(os.path.join(path, "job.json")):
                raise OptionError(f"{word} is no directory of a job: there is no job.json")
            found += [Job.attach(each) for each in several or [path]]
            continue
        if known is None:
            known = _by_id(directory, scheduler)
        found += known.get(word) or known.get(plain_id(word)) or [plain_id(word)]
    return found


def with_id(job_id: str, directory: str | None = None) -> Job:
    """The job with this id; of several schedulers' the one submitted last.  Raises StoreError when there is none."""
    where = jobs_directory(directory)
    found = [job for job in jobs_in(where) if job.id in (job_id, plain_id(job_id))]
    if not found:
        raise StoreError(
            message=f"there is no job {job_id} of yours in {where}: was it made in another directory=, or cleaned up?",
            path=where,
        )
    return max(found, key=lambda job: job.submitted or 0.0)


def _by_id(directory: str, scheduler: str) -> dict[str, list[Job]]:
    whole: dict[str, dict[str, list[Job]]] = {}
    short: dict[str, dict[str, list[Job]]] = {}  # by ids without the cluster or server that theirs have
    for job in jobs_in(directory):
        if not job.id or job.scheduler != scheduler:
            continue
        plain, _ = split_id(job.id)
        base = plain.partition("_")[0].partition("[")[0]
        bases = [base, f"{base}[]"] if job.array_size else []
        for meant, group in [(plain, job.path), *((one, os.path.dirname(job.path)) for one in bases)]:
            key = job.id.replace(plain, meant, 1)
            whole.setdefault(key, {}).setdefault(group, []).append(job)
            if key != meant:
                short.setdefault(meant, {}).setdefault(group, []).append(job)
    return {
        key: max(groups.values(), key=lambda jobs: jobs[0].submitted or 0.0)
        for key, groups in [*short.items(), *whole.items()]
    }


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
        self._request: Request | None = Request(command, args, kwargs, given, profile, find)
        self._set(None, self._request.record())

    @classmethod
    def attach(cls, path: str | os.PathLike[str] | int, directory: str | None = None) -> Job:
        """Return the job with this directory, or with this id, from any program.  Raises StoreError.

        directory: where an id is looked for; default the configured one, else ``~/.clusterfutures/jobs``.
        """
        path = str(path) if isinstance(path, int) else os.fspath(path)
        if os.sep not in path and not os.path.isdir(path):
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

    def requested(self, request: Request) -> None:
        """It is this program's: know what was requested."""
        self._request = request

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
