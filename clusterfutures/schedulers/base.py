"""What an adapter is: the one interface between clusterfutures and a scheduler.

An adapter knows nothing about futures, bins or pickles.  It is given a ``JobSpec`` (what
to run, with which resources, under which name) and turns it into a script; it submits
that script as N jobs with one command, tells their states with one command, cancels
them with one command, and looks jobs up by name.  Everything that starts a process goes
through ``schedulers/command.py``; everything that reads a scheduler's answer is a pure
function of its text, tested on recorded answers.

    JobSpec --script()--> text --submit(path, n)--> job ids --states()--> JobStatus each

Elements of an array are numbered 0 .. n-1; the i-th id that ``submit`` returns is the
job that runs with ``CLUSTERFUTURES_INDEX=i``.  ``submit`` is one scheduler command: an
array larger than the site allows raises ``ArrayTooLarge`` and the caller requests less.

``states`` asks the scheduler now.  Code that asks repeatedly uses ``recent_states``: one
command answers all programs of a user on a host (``status_cache.py``).
"""

from __future__ import annotations

import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from clusterfutures.schedulers.job_state import Answer, JobState, JobStatus

__all__ = [
    "AFTER",
    "EXIT_NO_LOG",
    "NO_LOG",
    "Dependency",
    "JobSpec",
    "QueuedJob",
    "Scheduler",
    "by_place",
    "printable",
    "split_id",
]


#: how the reason of a job begins when its log could not be opened on its node
NO_LOG = "the log file could not be opened"
#: and with what such a job ends, where its script opens the log
EXIT_NO_LOG = 73


def printable(text: str) -> str:
    r"""The text on one line, as a terminal may get it: ``\n``, ``\x1b`` and the like are written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def split_id(job_id: str) -> tuple[str, str]:
    """An id as its scheduler counts, and the cluster or server that the job was sent to, "" for the usual one.

    123_4@north (Slurm, -M) -> 123_4, north        25[3].other.site (PBS, -q queue@server) -> 25[3], other.site
    """
    found = re.fullmatch(r"(\d+(?:_\d+|\[\d*\])?)[@.](.+)", job_id, re.DOTALL)
    return (found[1], found[2]) if found else (job_id, "")


def by_place(job_ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """For each cluster or server: its own ids of these jobs -> the ids as they were given."""
    places: dict[str, dict[str, str]] = {}
    for job_id in job_ids:
        plain, place = split_id(job_id)
        places.setdefault(place, {})[plain] = job_id
    return places


#: the kinds of dependencies: what the other job must have come to before a job starts
AFTER = ("ok", "any", "notok")


class Dependency(NamedTuple):
    """A job that has to end before another may start.

    job_id: as ``submit`` returns it; of an array its elements, or one of them where the
        scheduler can wait for an element (Slurm).
    kind: how it has to end: "ok" (exit code 0), "notok", or "any".
    """

    job_id: str
    kind: str = "ok"


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """One job of a scheduler's list, of any user.

    name: printable, on one line: what somebody else has called a job may hold line ends and codes for terminals.
    owner, partition: user and partition (queue).  nodes: hosts, a name each.
    cores, memory: in all, and MiB as asked for; None where the scheduler does not tell.
    submitted, started, ended: seconds since the epoch, None when not yet or not known.
    ``ended`` is a fact of jobs that have ended only, never an estimate.
    """

    status: JobStatus
    name: str = ""
    owner: str = ""
    partition: str = ""
    nodes: tuple[str, ...] = ()
    cores: int | None = None
    memory: int | None = None
    submitted: float | None = None
    started: float | None = None
    ended: float | None = None

    def __post_init__(self) -> None:
        if not self.name.isprintable():
            object.__setattr__(self, "name", printable(self.name))

    @property
    def id(self) -> str:
        """As ``submit`` returns it."""
        return self.status.job_id

    @property
    def state(self) -> JobState:
        """What it is doing, in the vocabulary for all schedulers; ``word`` is the scheduler's own."""
        return self.status.state

    @property
    def word(self) -> str:
        """The scheduler's own word for the state."""
        return self.status.word

    @property
    def exitcode(self) -> int | None:
        """None until there is one, and where the scheduler does not tell."""
        return self.status.exit_code


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What to run as a job, for any scheduler.

    name: unique in the queue; jobs are found again by it.
    command: argv of the program; ``exec``ed last (or run, when there is a teardown).
    log: path prefix of the output: element i writes ``<log>-<i>.log``.
    cwd: directory the job starts in (and logs relative to nothing: all paths absolute).
    cwd_else: where it goes on when ``cwd`` was removed; "": it ends with a message then.
    resources: normalised options, as ``options.normalise`` returns them.
    check_in: shell lines run first of all, before modules and setup.
    modules, setup, teardown: entries for ``module_commands.py``; shell lines before and after.
    env: variables to export, quoted by us, arriving exactly as given.
    environment_file: shell file to source where the scheduler exports no environment.
    past_shell: variables of the program that no shell passes on; the command gets them.
    launcher: argv put in front of ``command`` (``apptainer exec image``).
    dependencies: jobs that have to end first.  The scheduler keeps them, so they hold when
        the program that submitted is gone; a job with a dependency that can no longer come true
        ends without having started, as CANCELLED.
    avoid: hosts not to run on; where a scheduler cannot leave hosts out, the job itself checks and leaves.
    """

    name: str
    command: Sequence[str]
    log: str
    cwd: str
    resources: Mapping[str, Any] = field(default_factory=dict)
    check_in: Sequence[str] = ()
    modules: Sequence[str] = ()
    setup: Sequence[str] = ()
    teardown: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    environment_file: str = ""
    past_shell: Mapping[str, str] = field(default_factory=dict)
    launcher: Sequence[str] = ()
    cwd_else: str = ""
    dependencies: Sequence[Dependency] = ()
    avoid: Sequence[str] = ()

    def log_of(self, index: int) -> str:
        """The path that element ``index`` writes its output to."""
        return f"{self.log}-{index}.log"


class Scheduler(ABC):
    """One batch scheduler.  Instances are cheap and used by one thread at a time."""

    #: the name users write: "slurm", "pbs", "local"
    name: ClassVar[str]
    #: first and longest pause between two questions for the states of jobs, in seconds
    poll_seconds: ClassVar[tuple[float, float]] = (1.0, 30.0)
    #: how long requests for jobs are gathered into one command at first, in seconds
    gather_seconds: ClassVar[float] = 0.003
    #: True when a job sees the environment of the program that submitted it; where it does
    #: not, ``JobSpec.environment_file`` brings it there
    exports_environment: ClassVar[bool] = True
    #: True when what a job has written is seen here by the time the scheduler says that it has ended
    shows_files_at_once: ClassVar[bool] = False
    #: True when a job may start that depends on a job which the scheduler does not know, or not any more
    takes_unknown_for_done: ClassVar[bool] = False
    #: True when a job that waits for one that is unknown is taken, and then ended
    drops_after_unknown: ClassVar[bool] = False
    #: how long a job that has said that it is over may take to reach a final state here
    settle_seconds: ClassVar[float] = 5.0
    #: True when the scheduler leaves out the hosts of ``JobSpec.avoid``
    excludes_hosts: ClassVar[bool] = False
    #: when commands are given up, the one that runs now too (monotonic); see ``hurry``
    gives_up_at: float = math.inf
    #: how often a question is asked at once before there is said to be no answer
    attempts: int = 3

    @classmethod
    @abstractmethod
    def is_here(cls) -> bool:
        """True when this machine has the scheduler's commands."""

    @abstractmethod
    def script(self, spec: JobSpec, count: int) -> str:
        """The whole text of the script for ``count`` jobs, directives included.

        The script sets ``CLUSTERFUTURES_INDEX`` (0 .. count-1), ``CLUSTERFUTURES_JOB_ID``
        (the id as ``states`` reports it), ``CLUSTERFUTURES_ATTEMPT`` (0, then 1 after a
        requeue), ``CLUSTERFUTURES_CORES`` (cores that the job was given) and
        ``CLUSTERFUTURES_JOB_END`` (its time limit as seconds since the epoch, or empty), then runs
        ``spec.check_in``, modules, setup, and ``exec``s the command.

        Raises OptionError for a resource that this scheduler cannot express.
        """

    @abstractmethod
    def submit(self, spec: JobSpec, path: str, count: int) -> list[str]:
        """Submit the script at ``path`` as ``count`` jobs with one command.

        Returns the job ids in the order of their index.  Raises SubmitError (or
        SubmitLimitReached, ArrayTooLarge) when refused, SchedulerUnavailable when nobody
        knows whether it was carried out.
        """

    @abstractmethod
    def find(self, name: str, count: int) -> list[str] | None:
        """The ids of the jobs submitted under ``name``, or None when there are none.

        Asked after a submission of ``count`` jobs that got no answer.
        """

    @abstractmethod
    def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        """The state of each of ``job_ids``, with one command for all of them.

        A job that is in no list of the scheduler's is reported as GONE, without a ``word``; one such
        report is no proof that it has ended (``absence.py``).  Where an answer is not whole, the jobs
        that are not in it are left out.  Raises SchedulerUnavailable when there was no answer.
        """

    def question_key(self) -> str:
        """Return a key of the cluster that answers ``states``; "" when a request costs nothing."""
        return ""

    def recent_states(self, job_ids: Iterable[str], max_age: float, urgent: bool = False) -> Answer:
        """Return the states of ``job_ids`` from an answer that is at most ``max_age`` seconds old, or
        older, when all programs of the user have asked often enough for now.

        urgent: something is wrong, and there are some questions left for that.
        A job that was not asked about then is left out, and is in the next question.  A job
        submitted after ``asked_at`` must not be judged by the answer.  Raises
        SchedulerUnavailable when there was no answer.
        """
        if self.question_key():
            from clusterfutures.schedulers import status_cache

            return status_cache.recent_states(self, job_ids, max_age, urgent=urgent)
        asked_at = time.monotonic()
        return Answer(self.states(job_ids), asked_at)

    def explain(self, job_id: str) -> JobStatus | None:
        """Everything the scheduler still knows of one ended job (costlier than
        ``states``: accounting, ``scontrol``); None when it knows nothing."""
        return self.states([job_id]).get(job_id)

    def know_places(self, places: set[str], perhaps: bool = False) -> bool:
        """Have ``queue`` list the jobs of these clusters or servers as well; True when one of them is new.

        perhaps: one of them that does not answer is left out.
        """
        return False

    def usual_id(self, job_id: str) -> str:
        """An id as ``submit`` returns it, of one as the scheduler's commands print it."""
        return job_id

    def last_seen(self, status: JobStatus) -> JobStatus | None:
        """How a job has ended that is in no list any more, and that was seen like this last; None when that
        does not tell."""
        return None

    @abstractmethod
    def queue(self) -> list[QueuedJob]:
        """All jobs of all users that the scheduler lists, elements of arrays one by one,
        with one command.  Ended ones are among them for as long as the scheduler keeps
        them.  Raises SchedulerUnavailable when there was no answer.
        """

    @abstractmethod
    def cancel(self, job_ids: Sequence[str]) -> None:
        """End these jobs, pending or running; jobs that have ended are no error."""

    def kill(self, job_ids: Sequence[str]) -> None:
        """As ``cancel``, without the time to end by themselves, where the scheduler can do that."""
        self.cancel(job_ids)

    def cancel_command(self, job_ids: Sequence[str]) -> str:
        """What to type in order to end these jobs."""
        return f"end jobs {' '.join(job_ids)}"

    def cancel_by_name_command(self, name: str) -> str:
        """What to type in order to end the jobs that were submitted as ``name``."""
        return f"end the jobs called {name}"

    def hurry(self, seconds: float) -> None:
        """From now on answer within ``seconds``, or not at all.  May be called by any thread."""
        self.gives_up_at = time.monotonic() + seconds

    def array_limit(self) -> int:
        """The most elements that one array may have here."""
        return 1000

    def recent_array_limit(self) -> int:
        """Return ``array_limit`` from an answer to one of the user's programs, perhaps an older one."""
        if self.question_key():
            from clusterfutures.schedulers import status_cache

            return status_cache.recent_array_limit(self)
        return self.array_limit()

    def close(self) -> None:  # noqa: B027  (most adapters hold nothing)
        """Release what the adapter holds; jobs are not touched."""
