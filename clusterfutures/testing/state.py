"""What a stand-in knows of its jobs: the records, and the one file that holds them.

    command, runner --Store.locked()--> State --(change)--> state.json, under the lock
    qstat, squeue   --Store.read()----> State               a copy, no lock

There is no daemon: every command and every runner takes the lock, reads the file, changes
the records and replaces the file.  The words here belong to no scheduler; ``pbs*``,
``torque*`` and ``slurm*`` translate them into their own.

These modules are started anew for every command, so they import little: no ``typing``,
``dataclasses``, ``subprocess`` or ``pathlib`` at run time.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager

TYPE_CHECKING = False  # the checkers know this name; importing it would import typing
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# A run goes PENDING -> RUNNING -> ENDING -> DONE, and back to PENDING when requeued.
PENDING, RUNNING, ENDING, DONE = "pending", "running", "ending", "done"

#: causes of an end that came from outside; "" is an end of the script's own
CAUSES = (
    "cancel", "forced", "walltime", "memory", "node", "requeue", "requeuehold", "preempt",
    "dependency", "launch",
)  # fmt: skip
#: causes after which a rerunnable job is queued again
REQUEUES = frozenset(("requeue", "requeuehold", "preempt", "node"))

#: index of the one run of a job that is no array
PLAIN = -1


class Run:
    """One job, or one element of an array, from its first change of state on.

    Only fields that differ from the defaults below are written to the file.
    """

    index = PLAIN
    number = 0  # Slurm: the raw job id
    phase = PENDING
    cause = ""  # why it is being ended, or was
    code = 0
    signal = 0
    submitted = 0.0
    started = 0.0
    ended = 0.0
    begin = 0.0  # not before this time
    hold = ""
    runner = 0  # process id of the runner, 0 before the first start
    pid = 0  # process id and session of the job while it runs
    session = 0  # the same, kept
    attempts = 0  # how many times it was started
    stageout = True  # PBS: the output arrived where it was wanted
    synthetic = False  # PBS: shown as a copy of its array
    held = 0.0  # PBS: when somebody tried to hold it although it ran

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    @property
    def failed(self) -> bool:
        """True when it ended, and not with exit status 0 of its own."""
        return self.phase == DONE and (self.cause != "" or self.code != 0 or self.signal != 0)


class Job:
    """One submission: a job, or an array with its elements.

    ``indices`` are all elements ([PLAIN] without an array), ``waiting`` those that nothing
    has happened to, ``runs`` the others.  ``x`` is for what only one scheduler knows.
    """

    id = 0
    name = ""
    array = False
    cpus = 1
    limit = 0  # most elements that run at a time, 0: all
    walltime = 0.0
    submitted = 0.0
    hold = ""
    begin = 0.0
    rerunnable = True
    ended = 0.0

    def __init__(self, **fields: Any) -> None:
        self.indices: list[int] = [PLAIN]
        self.waiting: list[int] = [PLAIN]
        self.runs: dict[int, Run] = {}
        self.depend: list[tuple[str, int, int]] = []
        self.x: dict[str, Any] = {}
        self.__dict__.update(fields)

    @property
    def done(self) -> bool:
        """True when every element has ended."""
        return not self.waiting and all(run.phase == DONE for run in self.runs.values())

    @property
    def failed(self) -> bool:
        """True when an element has failed; where ``x`` says so, when the one that ended last has."""
        if self.x.get("judged_by_last"):
            return self.last_ended.failed
        return any(run.failed for run in self.runs.values())

    @property
    def last_ended(self) -> Run:
        """The element that ended last, of those that had started if there are any."""
        over = [run for run in self.runs.values() if run.phase == DONE]
        return max(over, key=lambda run: (bool(run.started), run.ended), default=Run())

    def run(self, index: int) -> Run:
        """The record of an element, made now if nothing has happened to it yet."""
        if index not in self.runs:
            self.runs[index] = Run(index=index, submitted=self.submitted)
            self.waiting.remove(index)
        return self.runs[index]

    def end_unstarted(self, index: int, cause: str, now: float) -> Run:
        """End an element that is not running."""
        run = self.run(index)
        run.phase, run.cause, run.ended, run.pid = DONE, cause, now, 0
        self.note_end(now)
        return run

    def note_end(self, now: float) -> None:
        """Set ``ended`` if this was the last element."""
        self.ended = now if self.done else 0.0


class State:
    """All jobs, and the counters that outlive them."""

    def __init__(self, data: dict[str, Any], first: int = 1) -> None:
        self.next: int = data.get("next", first)
        self.stopped: bool = data.get("stopped", False)
        self.down: bool = data.get("down", False)
        self.wake: float = data.get("wake", 0.0)  # a process sleeps until then
        self.jobs: dict[int, Job] = {}
        for fields in data.get("jobs", ()):
            runs = {run.get("index", PLAIN): Run(**run) for run in fields.pop("runs", ())}
            job = Job(**fields)
            job.runs = runs
            self.jobs[job.id] = job

    def take_number(self) -> int:
        """The next job number."""
        self.next += 1
        return self.next - 1

    def add(self, job: Job) -> None:
        """Put a new job into the queue."""
        self.jobs[job.id] = job

    def live(self) -> int:
        """How many elements are queued or running."""
        return sum(
            len(job.waiting) + sum(run.phase != DONE for run in job.runs.values())
            for job in self.jobs.values()
            if not job.ended
        )

    def as_json(self) -> str:
        """The text of state.json."""
        jobs = []
        for job in self.jobs.values():
            fields = dict(vars(job))
            fields["runs"] = [vars(run) for run in job.runs.values()]
            jobs.append(fields)
        data = {key: value for key, value in vars(self).items() if key != "jobs"}
        return json.dumps({**data, "jobs": jobs})


class Store:
    """The directory of a stand-in: configuration, state, and a place per job."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.bin = os.path.join(directory, "bin")
        with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
            self.config: dict[str, Any] = json.load(file)

    def path(self, *names: str) -> str:
        """A path inside the directory."""
        return os.path.join(self.directory, *names)

    def job_path(self, job_id: int, *names: str) -> str:
        """A path inside the place of a job."""
        return os.path.join(self.directory, "jobs", str(job_id), *names)

    def read(self) -> State:
        """The state as it is now; changes to it are not kept."""
        try:
            with open(self.path("state.json"), encoding="utf-8") as file:
                return State(json.load(file))
        except FileNotFoundError:
            return State({}, self.config.get("first_number", 1))

    def read_settled(self) -> State:
        """Return the state after the change that is under way: the command that woke this runner may
        still hold the lock."""
        lock = os.open(self.path("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            return self.read()
        finally:
            os.close(lock)

    @contextmanager
    def locked(self) -> Iterator[State]:
        """The state to change, alone; written back unless the body raises."""
        lock = os.open(self.path("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self.read()
            yield state
            with open(self.path("state.tmp"), "w", encoding="utf-8") as file:
                file.write(state.as_json())
            os.replace(self.path("state.tmp"), self.path("state.json"))
        finally:
            # A runner forked under the lock has closed its copy first: this lets it go.
            os.close(lock)

    def keep(self, job_id: int, name: str, text: str | bytes, mode: int = 0o600) -> str:
        """Write a file into the place of a job; returns its path."""
        os.makedirs(self.job_path(job_id), mode=0o700, exist_ok=True)
        path = self.job_path(job_id, name)
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            while data:  # one write takes at most 2 GB, and may take less
                data = data[os.write(file, data) :]
        finally:
            os.close(file)
        os.chmod(path, mode)
        return path

    def kept(self, job_id: int, name: str) -> Any:
        """A JSON file from the place of a job."""
        with open(self.job_path(job_id, name), encoding="utf-8", errors="surrogateescape") as file:
            return json.load(file)


def now() -> float:
    """The time, in one place."""
    return time.time()
