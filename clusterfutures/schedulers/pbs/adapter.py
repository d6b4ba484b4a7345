"""The adapter for PBS: PBS Pro, OpenPBS and Torque.

    script()  JobSpec -> text, its #PBS lines and qsub's arguments from one list
    submit()  qsub ... script                      -> 25, or 25[0] ... 25[9]
    states()  qstat, one command for all           -> JobStatus by id, or GONE
    queue()   qstat without ids                    -> QueuedJob each
    find()    qselect -N name (Torque: qstat)
    cancel()  qdel 25 26[3]

Which dialect is spoken is asked once per instance; ``pbs_dialects`` has the words of each,
``pbs_parse`` what the answers mean.  Written against OpenPBS 23.06.

What PBS does not do, the script does: output arrives while the job runs (PBS would bring
it at the end), the environment comes from ``JobSpec.environment_file`` (PBS exports none,
and with -V it breaks its own JSON), and the number of the attempt is counted in a file
beside the log (nothing in a job's environment tells that it runs again).

Job ids carry no server's name, ``25``, ``25[3]``, but those of jobs on another server than the usual one
(``-q queue@server``), ``25[3].other.site``: each is asked for and cancelled there.  A job that its server
has moved on keeps its id; the commands name the server where it is, ``25.first@second``.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

from clusterfutures.errors import ClusterError, SchedulerUnavailable, SubmitError
from clusterfutures.schedulers import script as scripts
from clusterfutures.schedulers.base import EXIT_NO_LOG, Dependency, JobSpec, QueuedJob, Scheduler, by_place, split_id
from clusterfutures.schedulers.command import CannotStart, Result, cluster_key, run, scrubbed_environment
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.pbs import parse
from clusterfutures.schedulers.pbs import queue as pbs_queue
from clusterfutures.schedulers.pbs.dialects import Dialect, dialect_of, extra_has, in_directive

__all__ = ["PBSScheduler"]

log = logging.getLogger("clusterfutures")

_SUBMIT_SECONDS = 60.0
_ASK_SECONDS = 30.0
_IDS_PER_COMMAND = 200
#: how many times in one question a job is followed to the server that it was moved to
_MOST_MOVES = 3

#: the state of a job that is on another server now
_MOVED = "M"
_UNKNOWN_ID = r"Unknown Job Id (?:Error )?(\d+(?:\[\d*\])?)"
#: exit codes are the server's error number modulo 256
_UNKNOWN_JOB = 153
_FINISHED = 35
#: qdel of what needs no deleting: unknown, finished, finished or unknown element, and
#: (Torque) a job in the wrong state, which is an ended one
_NOTHING_TO_DELETE = frozenset({0, _UNKNOWN_JOB, _FINISHED, 55, 156, 170})


class _Records(NamedTuple):
    """What servers say of jobs, by the ids of those; jobs whose server has not answered are ``unheard`` of."""

    known: dict[str, parse.Record]
    unheard: set[str]


class PBSScheduler(Scheduler):
    """PBS, through qsub, qstat, qselect, qdel and qmgr."""

    name: ClassVar[str] = "pbs"
    exports_environment: ClassVar[bool] = False
    drops_after_unknown: ClassVar[bool] = True
    settle_seconds: ClassVar[float] = 15.0  # the node's daemon reports no end in a job's first ten seconds

    def __init__(self) -> None:
        self._dialect: Dialect | None = None
        self._history = True
        self._array_limit: int | None = None
        self._usual: str | None = None  # the name of the server that commands ask when none is named
        self._server = ""  # that the last submission went to; "": the usual one
        self._seen: set[str] = set()  # other servers that have jobs of this program
        self._perhaps: set[str] = set()  # that have jobs of the user, as was noted earlier
        self._moved: dict[str, str] = {}  # jobs that are on another server now -> how that one is asked about them
        self._unknown: set[str] = set()  # of the jobs that were asked about last, those whose ids are unknown
        self._said_unknown: set[str] = set()  # what the last qstat said of that, without the servers

    @classmethod
    def is_here(cls) -> bool:
        return shutil.which("qsub") is not None and shutil.which("qstat") is not None

    @property
    def dialect(self) -> Dialect:
        """What is spoken here, asked when it is first needed."""
        if self._dialect is None:
            said = []
            for program in ("qstat", "qsub"):
                try:
                    result = self._ask([program, "--version"])
                except CannotStart as error:
                    raise _refusal(error) from None
                self._dialect = dialect_of(result.said, os.environ)
                if self._dialect is not None:
                    return self._dialect
                if result.returncode != 0 and re.search(parse.TRANSIENT, result.said):
                    raise SchedulerUnavailable(message=result.said, command=result.command)
                said.append(result.said)
            raise SubmitError(
                message=f"qstat and qsub do not say which PBS they belong to: {' '.join(said)!r}",
                command="qstat --version",
                advice="clusterfutures knows PBS Pro, OpenPBS and Torque",
            )
        return self._dialect

    # -------------------------------------------------------------------- submitting

    def script(self, spec: JobSpec, count: int) -> str:
        return scripts.build(
            spec,
            directives=[in_directive(words) for words in self._directives(spec, count)],
            prologue=self._prologue(spec, count),
        )

    def _directives(self, spec: JobSpec, count: int) -> list[list[str]]:
        """qsub's options, each a list of words; the user's own come in place of ours."""
        extra = spec.resources.get("extra") or []
        defaults = [
            ["-o", "/dev/null"],  # the script opens the log itself
            ["-j", "oe"],
            ["-S", scripts.interpreter(spec)],  # a login shell may be csh, and Torque ignores the #! line
            ["-m", "n"],  # no mail for each element that is deleted
            ["-W", "umask=077"],
        ]
        return [
            ["-N", self.dialect.job_name(spec.name)],
            *(self.dialect.array(count) if count > 1 else []),
            *(words for words in defaults if not extra_has(extra, words[0])),
            *self.dialect.dependency(self._named(spec)),
            *self.dialect.resources(spec.resources),
            *([list(extra)] if extra else []),
        ]

    def _prologue(self, spec: JobSpec, count: int) -> list[str]:
        index = f"${self.dialect.index_variable}" if count > 1 else "0"
        asked = spec.resources.get("cores")
        cores = str(asked) if asked else f"${{{self.dialect.cores_variable}:-1}}"
        log_path = f'{scripts.quoted(spec.log)}-"$CLUSTERFUTURES_INDEX".log'
        return [
            f'export CLUSTERFUTURES_INDEX="{index}"',
            f'export CLUSTERFUTURES_JOB_ID="{"$PBS_JOBID" if self._server_of(spec) else "${PBS_JOBID%%.*}"}"',
            f'export CLUSTERFUTURES_CORES="{cores}"',
            f'export CLUSTERFUTURES_JOB_END="{scripts.job_end(spec)}"',
            f'export CLUSTERFUTURES_MEMORY="{spec.resources.get("memory", "")}"',
            f"clusterfutures_log={log_path}",
            "export CLUSTERFUTURES_ATTEMPT=0",
            'if [ -e "$clusterfutures_log" ]; then',
            '    if [ -r "$clusterfutures_log.attempt" ]; then',
            '        read -r CLUSTERFUTURES_ATTEMPT <"$clusterfutures_log.attempt"',
            "    fi",
            "    CLUSTERFUTURES_ATTEMPT=$((${CLUSTERFUTURES_ATTEMPT:-0} + 1))",
            '    echo "$CLUSTERFUTURES_ATTEMPT" >"$clusterfutures_log.attempt"',
            "fi",
            f'true >>"$clusterfutures_log" || exit {EXIT_NO_LOG}',
            'exec >>"$clusterfutures_log" 2>&1',
        ]

    def submit(self, spec: JobSpec, path: str, count: int) -> list[str]:
        arguments = [word for words in self._directives(spec, count) for word in words]
        argv = ["qsub", *arguments, path]
        self._server = self._server_of(spec)
        try:
            result = run(
                argv, timeout=_SUBMIT_SECONDS, env=scrubbed_environment(), hands_on=True,
                give_up_at=lambda: self.gives_up_at,
            )  # fmt: skip
        except CannotStart as error:
            raise _refusal(error) from None
        number = parse.parse_submitted(result.stdout)
        if result.killed_by and number is None:  # it may have been accepted: look for it
            message = f"qsub was ended by {result.killed_by}, and told no job id: {result.said!r}"
            raise SchedulerUnavailable(message=message, command=result.command)
        if result.returncode != 0 and not result.killed_by:
            raise parse.classify_refusal(result.said, count, result.command)
        if number is None:
            raise SchedulerUnavailable(message=f"qsub told no job id: {result.said!r}", command=result.command)
        if result.stderr.strip():
            log.info("qsub said about job %s: %s", number, result.stderr.strip())
        return _ids(number, count, parse.submitted_to(result.stdout) if self._server else "")

    def find(self, name: str, count: int) -> list[str] | None:
        wanted = self.dialect.job_name(name)
        result = self._ask(self.dialect.search(wanted, self._server, history=self._history))
        if parse.HISTORY_IS_OFF in result.said and self._history:
            self._history = False
            result = self._ask(self.dialect.search(wanted, self._server, history=False))
        if result.returncode != 0:
            raise SchedulerUnavailable(message=result.said or f"{result.argv[0]} failed", command=result.command)
        found = self.dialect.found(result.stdout, wanted)
        if found is None:
            return None
        number, is_array, server = found
        return _ids(number, max(count, 2) if is_array else 1, server if self._server else "")

    # ----------------------------------------------------------------------- servers

    def _server_of(self, spec: JobSpec) -> str:
        """The server that a job is sent to, by ``-q queue@server``; "" for the usual one."""
        words = [*(word for pair in self.dialect.resources(spec.resources) for word in pair)]
        return self._unless_usual(parse.server_in([*words, *(spec.resources.get("extra") or [])]))

    def _unless_usual(self, server: str) -> str:
        """``server``, "" when it is the usual one, as far as that is known."""
        if not server:
            return ""
        if self._usual is None:
            try:
                self._usual = parse.server_name(self._ask(["qstat", "-Bf"]).stdout)
            except SchedulerUnavailable as error:
                log.info("qstat does not tell the name of the usual server now: %s", error)
                return server
        return "" if parse.is_same_server(server, self._usual) else server

    def usual_id(self, job_id: str) -> str:
        plain, server = split_id(job_id)
        return plain if server and not self._unless_usual(server) else job_id

    def _named(self, spec: JobSpec) -> list[Dependency]:
        """The dependencies as the server of the job has to be told: another one takes ``25`` for a job of its own."""
        found = []
        is_elsewhere = bool(spec.dependencies) and self._server_of(spec)
        for one in spec.dependencies:
            job_id = self._moved.get(one.job_id, one.job_id)
            if is_elsewhere and not split_id(job_id)[1] and self._usual:
                job_id = f"{job_id}.{self._usual}"
            found.append(one._replace(job_id=job_id))
        return found

    # ------------------------------------------------------------------------ asking

    def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        """Each server is asked about its own jobs; those of one that does not answer are left out."""
        wanted = list(job_ids)
        if not wanted:
            return {}
        records, unheard = self._records(wanted)
        return {job_id: self._status(job_id, records) for job_id in wanted if job_id not in unheard}

    def _status(self, job_id: str, records: Mapping[str, parse.Record]) -> JobStatus:
        if job_id not in records:
            return JobStatus(job_id, JobState.GONE, unknown=job_id in self._unknown)
        status = parse.status_of(job_id, records[job_id], self.dialect.exits)
        plain, server = split_id(job_id)
        if not plain.endswith("[]"):
            return status
        elements = [
            one for one in records if one.startswith(plain[:-1]) and split_id(one)[1] == server and one != job_id
        ]
        return parse.of_array(status, (self._status(one, records) for one in elements))

    def explain(self, job_id: str) -> JobStatus | None:
        """How a job has ended that is over by its own word, or by its place in no list.

        A job that is ended in its first ten seconds stays R for as long; its comment tells before, and a
        time limit that has passed by the clock of this machine tells as well.
        """
        records, _ = self._records([job_id])
        status = self._status(job_id, records)
        if status.state not in (JobState.RUNNING, JobState.ENDING):
            return status
        told = parse.told_by(status.reason) or _limit_passed(records[job_id])
        return status if told is None else replace(status, state=told[0], word="", reason=told[1] or status.reason)

    def question_key(self) -> str:
        return cluster_key("qstat")

    def last_seen(self, status: JobStatus) -> JobStatus | None:
        told = parse.told_by(status.reason)
        return None if told is None else replace(status, state=told[0], word="", reason=told[1] or status.reason)

    def know_places(self, places: set[str], perhaps: bool = False) -> bool:
        named = {place.rpartition("@")[2] for place in places}
        new = named - self._seen - self._perhaps
        if perhaps:
            self._perhaps |= new
        else:
            self._seen |= named
        return bool(new)

    def queue(self) -> list[QueuedJob]:
        jobs: list[QueuedJob] = []
        for server in ["", *sorted(self._seen | self._perhaps)]:
            try:
                records = self._records_at([f"@{server}"] if server else [])
            except SchedulerUnavailable as error:
                if server in {"", *self._seen}:
                    raise
                log.info("the jobs of server %s are not listed: %s", server, error)
                continue
            arrays = {job_id.partition("[")[0] for job_id in records if re.search(r"\[\d+\]$", job_id)}
            for job_id, record in records.items():
                if job_id.endswith("[]") and job_id[:-2] in arrays:
                    continue
                listed = self._status(job_id, records)
                if record.get("job_state") == _MOVED:
                    listed = self.states([job_id]).get(job_id, listed)
                own = replace(listed, job_id=f"{job_id}.{server}" if server else job_id)
                jobs.append(pbs_queue.job_of(own, record))
        return jobs

    def _records(self, job_ids: Sequence[str]) -> _Records:
        """The records of these jobs and of their elements, from the server where each of them is."""
        known: dict[str, parse.Record] = {}
        silence: SchedulerUnavailable | None = None
        unheard: set[str] = set()
        left = list(job_ids)
        self._unknown = set()
        for turn in range(_MOST_MOVES):
            moved: list[str] = []
            for home, place, asked in self._by_server(left):
                try:
                    records = self._records_at([f"{plain}.{place}" if place else plain for plain in asked])
                except SchedulerUnavailable as error:
                    log.info("the jobs of server %s are not known now: %s", place or "here", error)
                    silence, unheard = error, unheard | set(asked.values())
                    continue
                self._unknown |= {
                    job_id
                    for plain, job_id in asked.items()
                    if not self._said_unknown.isdisjoint((plain, re.sub(r"\[\d+\]", "[]", plain)))
                }
                if turn:  # what the first server said of them tells no more
                    known = {job_id: record for job_id, record in known.items() if job_id not in asked.values()}
                known |= {(f"{plain}.{home}" if home else plain): record for plain, record in records.items()}
                moved += [job_id for plain, job_id in asked.items() if self._follow(job_id, records.get(plain))]
            left = moved
            if not left:
                break
        if silence is not None and unheard >= set(job_ids):
            raise silence
        return _Records(known, unheard)

    def _by_server(self, job_ids: Iterable[str]) -> list[tuple[str, str, dict[str, str]]]:
        """Which server to ask about which jobs: the one in their ids, the one to ask, and as there -> as given."""
        groups: dict[tuple[str, str], dict[str, str]] = {}
        for home, jobs in by_place(job_ids).items():
            self._seen |= {home.rpartition("@")[2]} - {""}
            for plain, job_id in jobs.items():
                groups.setdefault((home, split_id(self._moved.get(job_id, job_id))[1]), {})[plain] = job_id
        return [(home, place, jobs) for (home, place), jobs in groups.items()]

    def _follow(self, job_id: str, record: parse.Record | None) -> bool:
        """True when a job was moved to another server, which is asked about it from now on."""
        if record is None or record.get("job_state") != _MOVED:
            return False
        server, before = parse.moved_to(record), self._moved.get(job_id, "")
        whole = record.get("job_id", "") or job_id
        there = f"{whole.partition('@')[0]}@{server}"
        if not server or there == before:
            return False
        log.info("job %s was moved to the server %s: it is asked for there", job_id, server)
        self._moved[job_id] = there
        return True

    def _records_at(self, job_ids: Sequence[str]) -> dict[str, parse.Record]:
        result = self._qstat(job_ids)
        records = self.dialect.records(result.stdout)
        if records is None:
            log.debug("the answer of qstat cannot be read, asking for plain text")
            result = self._qstat(job_ids, plain=True)
            records = self.dialect.records(result.stdout)
        if records is None and job_ids and result.returncode == 0:
            # It knows jobs and we do not see them: that does not mean that they are gone.
            raise SchedulerUnavailable(message=f"no jobs to be read in {result.said!r}", command=result.command)
        return records or {}

    def _qstat(self, job_ids: Sequence[str], *, plain: bool = False) -> Result:
        """One qstat.  Its exit code is that of the last error: jobs that are known are
        printed nevertheless."""
        result = self._ask(self.dialect.question(job_ids, history=self._history, plain=plain))
        if self._history and parse.HISTORY_IS_OFF in result.said:
            # with -x such a site answers nothing, not even for jobs that run, and status 0
            log.info("this PBS keeps no history: a job that has ended is known by what it wrote alone")
            self._history = False
            result = self._ask(self.dialect.question(job_ids, history=False, plain=plain))
        if result.returncode not in (0, _UNKNOWN_JOB, _FINISHED):
            raise SchedulerUnavailable(message=result.said or "qstat failed", command=result.command)
        self._said_unknown = set(re.findall(_UNKNOWN_ID, result.stderr))
        return result

    def array_limit(self) -> int:
        if self._array_limit is None:
            self._array_limit = self._ask_array_limit()
        return self._array_limit

    def _ask_array_limit(self) -> int:
        for argv in self.dialect.limit_commands:
            try:
                result = self._ask(argv)
            except SchedulerUnavailable as error:
                log.debug("no limit of arrays from %s: %s", argv[0], error)
                continue
            limit = parse.parse_limit(result.stdout, self.dialect.limit_attribute)
            if limit is not None:
                return max(1, limit)
        log.debug("the site does not tell its limit of arrays, taking %d", self.dialect.default_limit)
        return self.dialect.default_limit

    # --------------------------------------------------------------------- cancelling

    def cancel(self, job_ids: Sequence[str]) -> None:
        # Never a whole array as "25[]", nor -x: both lose how its elements have ended.
        silence: SchedulerUnavailable | None = None
        for _, _, jobs in self._by_server(job_ids):
            words = self._where(list(jobs.values()))
            for start in range(0, len(words), _IDS_PER_COMMAND):
                try:
                    result = self._ask(["qdel", *words[start : start + _IDS_PER_COMMAND]])
                except SchedulerUnavailable as error:
                    silence = error
                    break
                if result.returncode not in _NOTHING_TO_DELETE:
                    silence = SchedulerUnavailable(message=result.said or "qdel failed", command=result.command)
        if silence is not None:  # once the other servers have been told
            raise silence

    def _where(self, job_ids: Sequence[str]) -> list[str]:
        """The ids with the servers where the jobs are now."""
        return [self._moved.get(job_id, job_id) for job_id in job_ids]

    def cancel_command(self, job_ids: Sequence[str]) -> str:
        return shlex.join(["qdel", *self._where(job_ids)])

    def cancel_by_name_command(self, name: str) -> str:
        there = f" -q {shlex.quote('@' + self._server)}" if self._server else ""
        return f"qselect{there} -N {shlex.quote(self.dialect.job_name(name))} | xargs -r qdel"

    def _ask(self, argv: Sequence[str]) -> Result:
        """Run a command that may be run twice."""
        return run(
            argv, timeout=_ASK_SECONDS, env=scrubbed_environment(), attempts=self.attempts, transient=parse.TRANSIENT,
            give_up_at=lambda: self.gives_up_at,
        )  # fmt: skip


def _refusal(error: CannotStart) -> ClusterError:
    """What is said of a command that does not run: nothing to try again, where that does not help."""
    return SubmitError(message=error.message, command=error.command) if error.is_final else error


def _ids(number: str, count: int, server: str = "") -> list[str]:
    ids = [number] if count == 1 else [f"{number}[{index}]" for index in range(count)]
    return [f"{one}.{server}" for one in ids] if server else ids


def _limit_passed(record: parse.Record) -> tuple[JobState, str] | None:
    """TIMEOUT for a job that is over, if its time limit has passed by this machine's clock."""
    started = pbs_queue.seconds_since_epoch(record.get("stime", "") or record.get("start_time", ""))
    limit = parse.seconds_used(record.get("resource_list.walltime", ""))
    if started is None or not limit or time.time() < started + limit:
        return None
    return JobState.TIMEOUT, "walltime limit"
