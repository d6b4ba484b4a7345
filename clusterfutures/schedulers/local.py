"""The scheduler of one machine for the workers of an executor: jobs are subprocesses of this program.

    submit() -> waiting --a place is free--> running (sh script) --exit--> ended

It behaves as the others do: jobs run a script, start in order, wait while there is no
room, get SIGTERM and later SIGKILL.  Room is counted in cores: a job
takes ``cores=`` (1 when it does not say) of the machine's.  A program that names its own
``max_workers`` gets them even beyond the cores, as from ``ProcessPoolExecutor``.

It runs no commands, so ``states`` may be called often; places that have
become free are filled by the same look.  Jobs that outlive the program, and may depend on each
other, are those of ``local_queue``.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from clusterfutures.errors import SubmitError
from clusterfutures.options.places import current_directory
from clusterfutures.schedulers import cgroups, local_jobs
from clusterfutures.schedulers import script as scripts
from clusterfutures.schedulers.base import JobSpec, QueuedJob, Scheduler
from clusterfutures.schedulers.command import Process, scrubbed_environment, why_not_started
from clusterfutures.schedulers.job_state import JobState, JobStatus

__all__ = ["PROLOGUE", "LocalScheduler", "cores_here", "user_here"]

log = logging.getLogger("clusterfutures")

#: the resources that a job of an executor has on one machine
_MEANT_HERE = frozenset({"cores", "time", "local_cores"})

#: between telling a job to end and making it, in seconds
KILL_DELAY_SECONDS = 2.0

#: what a script on this machine says first: what its environment says, or as run by hand
PROLOGUE = (
    'export CLUSTERFUTURES_INDEX="${CLUSTERFUTURES_INDEX:-0}"',
    'export CLUSTERFUTURES_JOB_ID="${CLUSTERFUTURES_JOB_ID:-$$}"',
    "export CLUSTERFUTURES_ATTEMPT=0",
    'export CLUSTERFUTURES_CORES="${CLUSTERFUTURES_CORES:-1}"',
    'export CLUSTERFUTURES_JOB_END="${CLUSTERFUTURES_JOB_END:-}"',
)


#: of all jobs of this program, whichever executor they are of: an id is for one job only
_numbers = itertools.count(1)


def cores_here() -> int:
    """The cores that this program may use: by its affinity, and by the CPU quota of its control groups."""
    allowed = len(os.sched_getaffinity(0))
    return min(allowed, cgroups.quota() or allowed)


def user_here() -> str:
    """Return the name of the user of this program; the number, without a name."""
    import pwd  # late: only who looks at a queue wants it

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


class _Job:
    """One job: waiting while it has no process."""

    def __init__(self, job_id: str, spec: JobSpec, path: str, index: int, cores: int) -> None:
        self.job_id = job_id
        self.spec = spec
        self.path = path
        self.index = index
        self.cores = cores
        self.process: subprocess.Popen[bytes] | None = None
        self.refusal = ""  # why it could not be started
        self.cancelled_at: float | None = None
        self.deadline: float | None = None

    def start(self) -> None:
        limit = self.spec.resources.get("time")
        environment = scrubbed_environment() | {
            "CLUSTERFUTURES_INDEX": str(self.index),
            "CLUSTERFUTURES_JOB_ID": self.job_id,
            "CLUSTERFUTURES_CORES": str(self.cores),
            "CLUSTERFUTURES_JOB_END": "" if limit is None else str(time.time() + limit),
        }
        with open(self.spec.log_of(self.index), "ab", opener=_private) as log:
            self.process = Process(
                [scripts.interpreter(self.spec), self.path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
                cwd=None if current_directory() else "/",
            )
        self.deadline = None if limit is None else time.monotonic() + limit

    @property
    def has_ended(self) -> bool:
        """True when it ran, and runs no more, or could not be started."""
        return bool(self.refusal) or (self.process is not None and self.process.poll() is not None)

    def status(self) -> JobStatus:
        host = os.uname().nodename
        if self.refusal:
            return JobStatus(self.job_id, JobState.FAILED, JobState.FAILED.name, self.refusal, host=host)
        if self.process is None:
            state = JobState.PENDING if self.cancelled_at is None else JobState.CANCELLED
            return JobStatus(self.job_id, state, state.name)
        code = self.process.poll()
        if code is None:
            return JobStatus(self.job_id, JobState.RUNNING, "RUNNING", host=host)
        state = JobState.COMPLETED if code == 0 else JobState.FAILED
        if self.deadline is not None and self.cancelled_at is not None and self.cancelled_at >= self.deadline:
            state = JobState.TIMEOUT
        elif self.cancelled_at is not None:
            state = JobState.CANCELLED
        killed = -code if code < 0 else None
        return JobStatus(
            self.job_id, state, state.name, exit_code=code if code >= 0 else None, signal=killed, host=host
        )  # fmt: skip

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return


class LocalScheduler(Scheduler):
    """Jobs of this machine.  capacity: cores to give away; None: those of the machine."""

    name: ClassVar[str] = "local"
    poll_seconds: ClassVar[tuple[float, float]] = (0.05, 0.5)
    gather_seconds: ClassVar[float] = 0.0

    def __init__(self, capacity: int | None = None) -> None:
        self._capacity = capacity or cores_here()
        self._jobs: dict[str, _Job] = {}
        self._unused: set[str] = set()

    @classmethod
    def is_here(cls) -> bool:
        return True

    def script(self, spec: JobSpec, count: int) -> str:
        return scripts.build(spec, directives=[], prologue=PROLOGUE)

    def say_unused(self, resources: Mapping[str, Any]) -> None:
        """Warn, once for each name, of resources that this machine neither reserves nor limits."""
        unused = [name for name in resources if name not in _MEANT_HERE and name not in self._unused]
        if unused:
            self._unused.update(unused)
            log.warning(
                "clusterfutures: %s: no effect on an executor of this machine, which has no queues and neither "
                "reserves nor limits memory or GPUs. It keeps to cores= and time=; leave the others out, or run on a "
                "cluster", ", ".join(f"{name}={resources[name]!r}" for name in unused),
            )  # fmt: skip

    def submit(self, spec: JobSpec, path: str, count: int) -> list[str]:
        if spec.dependencies:
            raise SubmitError(
                message="a worker of an executor cannot depend on jobs", advice="submit() a job that does"
            )
        self.say_unused(spec.resources)
        cores = int(spec.resources.get("cores", 1))
        if cores > self._capacity:
            raise SubmitError(
                message=f"a job asks for {cores} cores, but this machine has {self._capacity}",
                advice=f"ask for cores={self._capacity} or less",
            )
        jobs = [_Job(f"local-{os.getpid()}-{next(_numbers)}", spec, path, i, cores) for i in range(count)]
        self._jobs |= {job.job_id: job for job in jobs}
        self._fill()
        return [job.job_id for job in jobs]

    def find(self, name: str, count: int) -> list[str] | None:
        return [job.job_id for job in self._jobs.values() if job.spec.name == name] or None

    def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        self._fill()
        wanted = list(job_ids)
        others = local_jobs.processes(job_id for job_id in wanted if job_id not in self._jobs)
        return {
            job_id: self._jobs[job_id].status() if job_id in self._jobs else local_jobs.status(job_id, others)
            for job_id in wanted
        }

    def queue(self) -> list[QueuedJob]:
        self._fill()
        owner = user_here()
        return [
            QueuedJob(
                job.status(),
                name=job.spec.name,
                owner=owner,
                nodes=(os.uname().nodename,) if job.process is not None else (),
                cores=job.cores,
                memory=job.spec.resources.get("memory"),
            )
            for job in self._jobs.values()
        ]

    def cancel(self, job_ids: Sequence[str]) -> None:
        local_jobs.signal_all((job_id for job_id in job_ids if job_id not in self._jobs), signal.SIGTERM)
        for job_id in job_ids:
            job = self._jobs.get(job_id)
            if job is not None and job.cancelled_at is None and not job.has_ended:
                job.cancelled_at = time.monotonic()
                job.signal(signal.SIGTERM)
        self._fill()

    def kill(self, job_ids: Sequence[str]) -> None:
        self.cancel(job_ids)
        local_jobs.signal_all((job_id for job_id in job_ids if job_id not in self._jobs), signal.SIGKILL)
        for job_id in job_ids:
            if (job := self._jobs.get(job_id)) is not None:
                job.signal(signal.SIGKILL)

    def close(self) -> None:
        """Wait for the jobs that got SIGTERM, then kill them; running jobs that were not cancelled
        have ended by now, or were left to run by a program that is going."""
        deadline = time.monotonic() + KILL_DELAY_SECONDS
        told = [job for job in self._jobs.values() if job.process is not None and job.cancelled_at is not None]
        for job in told:
            assert job.process is not None
            try:
                job.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                job.signal(signal.SIGKILL)
                job.process.wait()
        for job in self._jobs.values():
            if job.process is not None:
                try:
                    job.process.wait(max(0.0, deadline - time.monotonic()))  # reaped, or a warning at exit
                except subprocess.TimeoutExpired:
                    job.process.returncode = 0  # still working: no concern of ours any more

    def _fill(self) -> None:
        """Enforce limits, then start what there is room for, in order."""
        now = time.monotonic()
        free = self._capacity
        for job in self._jobs.values():
            if job.process is None or job.process.poll() is not None:
                continue
            free -= job.cores
            if job.deadline is not None and now > job.deadline and job.cancelled_at is None:
                job.cancelled_at = now
                job.signal(signal.SIGTERM)
            elif job.cancelled_at is not None and now > job.cancelled_at + KILL_DELAY_SECONDS:
                job.signal(signal.SIGKILL)
        for job in self._jobs.values():
            if job.process is None and job.cancelled_at is None and not job.refusal:
                if job.cores > free:
                    return
                try:
                    job.start()
                except OSError as error:  # no place for its log any more, no process left ...
                    too_large = error.errno == errno.E2BIG
                    why = why_not_started("sh", error, os.environ) if too_large else str(error)
                    job.refusal = f"it could not be started: {why}"
                    continue
                free -= job.cores


def _private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)  # under any umask
    return descriptor
