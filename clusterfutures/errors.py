"""Every exception that a user of clusterfutures can meet, in one place.

An exception is built from named fields; the fields make the message, and the last
sentence of the message says what to try.  All of them survive a pickle (see
``ClusterError.__reduce__``), because a call may itself run an executor, and its
exception then has to travel home.

    concurrent.futures.BrokenExecutor
    └── ClusterError                 anything of ours
        ├── JobFailed                the job ended, and the call with it
        ├── WorkerDied               the call killed its process; the job lives on
        ├── CallKilled               your program ended the call, with its future's kill()
        ├── InitializerFailed        the initializer raised: the executor is broken
        ├── SubmitError              the scheduler refused the job
        │   ├── SubmitLimitReached   ... for now: fewer jobs, or later, will do
        │   └── ArrayTooLarge        ... as one array: smaller ones will do
        ├── SchedulerUnavailable     no answer: nobody knows whether it was carried out
        ├── StoreError               the run directory is damaged, unsafe or gone
        ├── TimeLimitNear            raised in a call, when on_timeout="raise": its job ends soon
        └── TransferError            arguments, result or exception would not pickle
    ValueError
    └── OptionError                  an option that does not exist or cannot be read

``ClusterError`` derives from ``BrokenExecutor`` so that code written for
``ProcessPoolExecutor`` already catches it; unlike there, the executor lives on (save
after ``InitializerFailed``).
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from pickle import PicklingError
from typing import Any

__all__ = [
    "ArrayTooLarge",
    "CallKilled",
    "ClusterError",
    "InitializerFailed",
    "JobFailed",
    "OptionError",
    "RemoteTraceback",
    "SchedulerUnavailable",
    "StoreError",
    "SubmitError",
    "SubmitLimitReached",
    "TimeLimitNear",
    "TransferError",
    "WorkerDied",
]


def _rebuild(cls: type[ClusterError], fields: dict[str, Any], attempts: str = "") -> ClusterError:
    error = cls(**fields)
    return error.with_attempts(attempts) if attempts else error


class ClusterError(BrokenExecutor):
    """Base of what goes wrong between a call and its result.

    Subclasses take their fields as keyword arguments and turn them into the message in
    ``_message``; the fields stay readable as attributes.
    """

    def __init__(self, **fields: Any) -> None:
        self.fields = fields
        self.attempts = ""
        super().__init__(self._message())

    def _message(self) -> str:
        return str(self.fields.get("message", ""))

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def with_attempts(self, attempts: str) -> ClusterError:
        """The same error, its text ending with how often the call was tried."""
        error = _rebuild(type(self), self.fields)
        error.attempts = attempts
        error.args = (f"{error._message()}\n{attempts}",)
        error.__cause__ = self.__cause__
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.fields, self.attempts)


def _described(what: str, log: str, tail: str, advice: str) -> str:
    """Lay out a failure: what happened, the last lines of its output, what to do."""
    parts = [what]
    if tail:
        parts.append("its last lines of output:\n" + "\n".join("    " + line for line in tail.splitlines()))
    if log:
        parts.append(f"log (stays when the executor is made with keep=True): {log}")
    if advice:
        parts.append(advice)
    return "\n".join(parts)


class JobFailed(ClusterError):
    """The job that ran a call (or was to run it) ended without its result.

    Fields: job_id, state, exit_code, signal, reason, host, log (path), tail (last lines
    of the log), call (what was running), advice.
    """

    def __init__(
        self,
        *,
        job_id: str = "",
        state: str = "",
        exit_code: int | None = None,
        signal: int | None = None,
        reason: str = "",
        host: str = "",
        log: str = "",
        tail: str = "",
        call: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(
            job_id=job_id, state=state, exit_code=exit_code, signal=signal, reason=reason,
            host=host, log=log, tail=tail, call=call, advice=advice,
        )  # fmt: skip

    def _message(self) -> str:
        f = self.fields
        how = [f["state"] or "ended"]
        if f["exit_code"]:
            how.append(f"exit code {f['exit_code']}")
        if f["signal"]:
            how.append(f"signal {f['signal']}")
        if f["reason"]:
            how.append(f["reason"])
        where = f" on {f['host']}" if f["host"] else ""
        call = f" while running {f['call']}" if f["call"] else ""
        what = f"job {f['job_id'] or '(not started)'}{where} {', '.join(how)}{call}"
        return _described(what, f["log"], f["tail"], f["advice"])


class WorkerDied(ClusterError):
    """A call killed the process that ran it; its job and the other calls go on.

    Fields: call, signal, exit_code, host, job_id, pid, log, tail, advice.
    """

    def __init__(
        self,
        *,
        call: str = "",
        signal: str = "",
        exit_code: int | None = None,
        host: str = "",
        job_id: str = "",
        pid: int = 0,
        log: str = "",
        tail: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(
            call=call, signal=signal, exit_code=exit_code, host=host, job_id=job_id,
            pid=pid, log=log, tail=tail, advice=advice,
        )  # fmt: skip

    def _message(self) -> str:
        f = self.fields
        how = f"killed by {f['signal']}" if f["signal"] else f"exit status {f['exit_code']}"
        what = f"the process running {f['call']} died: {how} (host {f['host']}, job {f['job_id']}, pid {f['pid']})"
        return _described(what, f["log"], f["tail"], f["advice"])


class CallKilled(ClusterError):
    """The call was running, or about to, when ``kill()`` of its future ended it.

    Fields: call, host, job_id, reason (what else ended it, at the same time), tail (last lines of its output).
    """

    def __init__(self, *, call: str = "", host: str = "", job_id: str = "", reason: str = "", tail: str = "") -> None:
        super().__init__(call=call, host=host, job_id=job_id, reason=reason, tail=tail)

    def _message(self) -> str:
        f = self.fields
        where = f" (host {f['host']}, job {f['job_id']})" if f["job_id"] else ""
        what = f"{f['call']} was ended by kill(), which your program called on its future{where}"
        if f["reason"]:
            what += f"; at the same time: {f['reason']}"
        return _described(what, "", f["tail"], "submit it again if you want its result after all")


class InitializerFailed(ClusterError):
    """The initializer raised or killed its process; the executor is broken, as in the
    standard library."""

    def __init__(self, *, message: str) -> None:
        super().__init__(message=message)


class SubmitError(ClusterError):
    """The scheduler refused a job.  Fields: message (its own words), command, advice."""

    def __init__(self, *, message: str, command: str = "", advice: str = "") -> None:
        super().__init__(message=message, command=command, advice=advice)

    def _message(self) -> str:
        f = self.fields
        parts = [f["message"]]
        if f["command"]:
            parts.append(f"command: {f['command']}")
        if f["advice"]:
            parts.append(f["advice"])
        return "\n".join(parts)


class SubmitLimitReached(SubmitError):
    """A submit limit of the site is reached: fewer jobs will do, or the same later."""


class ArrayTooLarge(SubmitError):
    """The array has more elements than the site allows: smaller ones will do."""


class SchedulerUnavailable(ClusterError):
    """The scheduler gave no answer.  Whether it carried the command out is unknown: look
    the job up by its name before submitting again.  Fields: message, command."""

    def __init__(self, *, message: str, command: str = "") -> None:
        super().__init__(message=message, command=command)


class StoreError(ClusterError):
    """A file of the run directory is damaged, unsafe, missing or cannot be written."""

    #: the file has fewer bytes than its frames say: they may be on their way
    short = False

    def __init__(self, *, message: str, path: str = "") -> None:
        super().__init__(message=message, path=path)


class TimeLimitNear(ClusterError):
    """Raised in a call when its job reaches its time limit, with ``on_timeout="raise"``.  Field: seconds left."""

    def __init__(self, *, seconds: float) -> None:
        super().__init__(seconds=seconds)

    def _message(self) -> str:
        return (
            f"the job of this call ends in {self.fields['seconds']:.1f} s, at its time limit: ask for more time=, make "
            "each call shorter, or catch this in the call, keep what is done, and return"
        )


class TransferError(ClusterError, PicklingError):
    """Arguments, a result or an exception could not be pickled or unpickled.

    The message names the type, where it happened, and why.
    """

    def __init__(self, *, message: str) -> None:
        super().__init__(message=message)


class OptionError(ValueError):
    """An option that does not exist, or a value that cannot be read as that option."""


class RemoteTraceback(Exception):
    """The traceback of an exception on the node, as text; the ``__cause__`` of the
    exception that ``Future.result()`` raises (as in ``concurrent.futures.process``)."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.tb = f'\n"""\n{text}"""'

    def __str__(self) -> str:
        return self.tb

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteTraceback, self.args
