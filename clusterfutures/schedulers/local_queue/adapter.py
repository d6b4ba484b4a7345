"""The queue of this machine as one of the schedulers: what ``jobs/`` submits to.

    submit() --> table, then the keeper is woken, or started
    states(), queue() <-- table; where jobs are open and no keeper is awake, one is started

Every question opens the table anew, so it may be asked from any thread, after a fork, and by any
number of programs; all that is kept in the program is the last answer, for an instant.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from clusterfutures.errors import SubmitError
from clusterfutures.schedulers import script as scripts
from clusterfutures.schedulers.base import JobSpec, QueuedJob, Scheduler
from clusterfutures.schedulers.command import scrubbed_environment
from clusterfutures.schedulers.job_state import Answer, JobState, JobStatus
from clusterfutures.schedulers.local import PROLOGUE, cores_here, user_here
from clusterfutures.schedulers.local_queue.keeper import keeper_interpreter, summon
from clusterfutures.schedulers.local_queue.place import state_directory
from clusterfutures.schedulers.local_queue.table import Row, Table

__all__ = ["LocalQueue"]

log = logging.getLogger("clusterfutures")

#: the age of an answer that serves for other jobs too, and how long a job stays in the question, in seconds
_FRESH_SECONDS = 0.05
_INTEREST_SECONDS = 10.0


class LocalQueue(Scheduler):
    """Jobs of this machine that outlive the program.

    The cores that it gives away are those of the machine.  Jobs with ``local_cores`` have at most so many
    together, and the others the machine's.  A job that requests more gets all there are for it.
    """

    name: ClassVar[str] = "local"
    poll_seconds: ClassVar[tuple[float, float]] = (0.05, 0.5)
    gather_seconds: ClassVar[float] = 0.0
    shows_files_at_once: ClassVar[bool] = True

    def __init__(self) -> None:
        self._directory = ""
        self._answer = Answer({}, float("-inf"))
        self._wanted: dict[str, float] = {}  # when somebody last wanted to know

    @classmethod
    def is_here(cls) -> bool:
        return True

    def script(self, spec: JobSpec, count: int) -> str:
        return scripts.build(spec, directives=[], prologue=PROLOGUE)

    def submit(self, spec: JobSpec, path: str, count: int) -> list[str]:
        keeper_interpreter()  # refused before the job is written down, or never
        asked = int(spec.resources.get("cores", 1))
        directory = state_directory()
        with Table(directory) as table:
            there = spec.resources.get("local_cores") or cores_here()
            if asked > there:
                _warn_once(f"jobs that ask for {asked} cores get {there}: this machine gives away no more")
            try:
                one = _columns(spec, path, asked)
                rows = [one | {"place": place, "log": spec.log_of(place)} for place in range(count)]
                ids = table.add(rows, spec.dependencies)
            except KeyError as error:
                raise SubmitError(
                    message=f"job {error.args[0]} is not in the queue of this machine, so nothing can depend on it",
                    advice="was it submitted to another scheduler or host, or did it end more than a week ago?",
                ) from None
        summon(directory)
        return [str(job_id) for job_id in ids]

    def find(self, name: str, count: int) -> list[str] | None:
        return [str(row.id) for row in self._looked(lambda table: table.jobs("name = ?", [name]))] or None

    def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        wanted = list(job_ids)
        numbers = [int(job_id) for job_id in wanted if job_id.isdecimal()]
        found = {str(row.id): _status(row) for row in self._looked(lambda table: table.with_ids(numbers))}
        return {job_id: found.get(job_id) or JobStatus(job_id, JobState.GONE, "GONE") for job_id in wanted}

    def recent_states(self, job_ids: Iterable[str], max_age: float, urgent: bool = False) -> Answer:
        """One look at the table for all that somebody waits for just now, not one for each of them."""
        ids, asked_at = list(job_ids), time.monotonic()
        if self._directory != (directory := state_directory()):  # another queue, with jobs 1, 2, 3 of its own
            self._directory, self._answer, self._wanted = directory, Answer({}, float("-inf")), {}
        self._wanted |= dict.fromkeys(ids, asked_at)
        if asked_at - self._answer.asked_at > min(max_age, _FRESH_SECONDS):
            self._wanted = {job_id: at for job_id, at in self._wanted.items() if asked_at - at < _INTEREST_SECONDS}
            self._answer = Answer(self.states(self._wanted), asked_at)
        if new := [job_id for job_id in ids if job_id not in self._answer.states]:
            self._answer.states.update(self.states(new))
        return Answer({job_id: self._answer.states[job_id] for job_id in ids}, self._answer.asked_at)

    def queue(self) -> list[QueuedJob]:
        host, owner = os.uname().nodename, user_here()
        return [
            QueuedJob(
                _status(row),
                name=row.name,
                owner=owner,
                nodes=(host,) if row.started is not None else (),
                cores=row.given or row.cores,
                memory=row.memory,
                submitted=row.submitted,
                started=row.started,
                ended=row.ended,
            )
            for row in self._looked(Table.jobs)
        ]

    def array_limit(self) -> int:
        return sys.maxsize  # what would be an array of its own has another script, and jobs read theirs when they start

    def cancel(self, job_ids: Sequence[str]) -> None:
        self._end(job_ids, "cancel")

    def kill(self, job_ids: Sequence[str]) -> None:
        self._end(job_ids, "kill")

    def _end(self, job_ids: Sequence[str], how: str) -> None:
        directory = state_directory()
        with Table(directory) as table:
            any_open = table.ask_to_end([int(job_id) for job_id in job_ids if job_id.isdecimal()], how)
        if any_open:
            summon(directory)

    def _looked(self, look: Callable[[Table], list[Row]]) -> list[Row]:
        """Look at the table; where jobs are open, somebody has to see to them."""
        directory = state_directory()
        with Table(directory) as table:
            rows = look(table)
            any_open = table.has_open_jobs()
        if any_open:
            summon(directory)
        return rows


@functools.cache
def _warn_once(text: str) -> None:
    log.warning("%s", text)


def _columns(spec: JobSpec, path: str, cores: int) -> dict[str, Any]:
    return {
        "name": spec.name,
        "cores": cores,
        "memory": spec.resources.get("memory"),
        "time": spec.resources.get("time"),
        "script": path,
        "shell": scripts.interpreter(spec),
        "umask": _umask(),
        "environment": json.dumps(scrubbed_environment()),
        "submitted": time.time(),
        "local_cores": spec.resources.get("local_cores"),
    }


def _umask() -> int:
    with open("/proc/self/status") as file:
        found = re.search(r"^Umask:\s*([0-7]+)$", file.read(), re.MULTILINE)
    return int(found[1], 8) if found else 0o077


def _status(row: Row) -> JobStatus:
    state = JobState.CANCELLED if row.state is JobState.PENDING and row.ending else row.state
    host = os.uname().nodename if row.started is not None else ""
    fewer = f"on {row.given} cores of the {row.cores} that it asked for" if row.given and row.given < row.cores else ""
    return JobStatus(
        str(row.id),
        state,
        state.name,
        reason=row.reason or fewer,
        exit_code=row.exit_code,
        signal=row.signal,
        host=host,
    )
