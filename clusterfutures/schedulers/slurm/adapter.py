"""The adapter for Slurm: which commands are run, and when.

    script()  JobSpec -> text, its #SBATCH lines and sbatch's arguments from one list
    submit()  sbatch --parsable ... script        -> 123, or 123_0 ... 123_9
    states()  squeue of all my jobs, one command  -> JobStatus by id, or GONE
    queue()   squeue of everybody's jobs          -> QueuedJob each
    explain() scontrol show job, then sacct       -> how one job ended
    cancel()  scancel 123 124_[0-9]

What the answers mean is in ``slurm_parse``.  Written against 22.05; 20.02 and newer have
everything used here.

Options go on sbatch's command line, because SBATCH_* variables of the user's win over
#SBATCH lines; the script has them as well, so that it can be read, and run by hand.
A job that was sent to a cluster by name (-M) has that in its id, ``123_4@north``, and is asked for and
cancelled there.  sacct is asked about single jobs only, and no more once it said that accounting is off.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import secrets
import shlex
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from clusterfutures.errors import OptionError, SchedulerUnavailable, SubmitError, SubmitLimitReached
from clusterfutures.schedulers import options
from clusterfutures.schedulers import script as scripts
from clusterfutures.schedulers.base import Dependency, JobSpec, QueuedJob, Scheduler, by_place, split_id
from clusterfutures.schedulers.command import CannotStart, Result, cluster_key, run, scrubbed_environment
from clusterfutures.schedulers.job_state import JobState, JobStatus  # fmt: skip
from clusterfutures.schedulers.slurm import parse
from clusterfutures.schedulers.slurm import queue as slurm_queue

__all__ = ["SlurmScheduler"]

log = logging.getLogger("clusterfutures")

#: a busy controller answers late; one at its MaxJobCount makes sbatch wait for ever
_SUBMIT_SECONDS = 60.0
#: squeue gives up by itself after 20 s when the controller hangs
_ASK_SECONDS = 30.0
_PING_SECONDS = 5.0
#: of squeue itself: what a site prints to everybody may speak of errors too
_SQUEUE_ERROR = r"(?m)^(?:squeue: |slurm_\w+ )error:"
#: of a job that no node is left for once some are excluded
_NO_NODES_LEFT = r"node configuration is not available|Invalid node name|node count specification invalid"
_UNCONFIGURED = "Could not establish a configuration source"
#: what a controller needs to catch up with the requests that waited for it
_SETTLE_SECONDS = 2.0
_IDS_PER_COMMAND = 500
_DEFAULT_ARRAY_LIMIT = 1000


class SlurmScheduler(Scheduler):
    """Slurm, through sbatch, squeue, scontrol, sacct and scancel."""

    name: ClassVar[str] = "slurm"
    excludes_hosts: ClassVar[bool] = True
    takes_unknown_for_done: ClassVar[bool] = True  # it forgets jobs MinJobAge after their end

    def __init__(self) -> None:
        self._has_accounting = True
        self._array_limit: int | None = None
        self._clusters: list[str] = []  # that the last submission could go to; none: the usual one
        self._seen: set[str] = set()  # that jobs of this program were sent to by name
        self._perhaps: set[str] = set()  # that have jobs of the user, as was noted earlier
        self._cluster_of: dict[str, str] = {}  # of jobs that this program submitted, by the number of the job

    @classmethod
    def is_here(cls) -> bool:
        """True when the commands are installed and know a cluster: installed ones may not."""
        if shutil.which("sbatch") is None or shutil.which("scontrol") is None:
            return False
        try:
            result = run(["scontrol", "ping"], timeout=_PING_SECONDS, env=scrubbed_environment())
        except SchedulerUnavailable:
            return True  # there is a cluster, and it does not answer now
        return _UNCONFIGURED not in result.said

    # -------------------------------------------------------------------- submitting

    def script(self, spec: JobSpec, count: int) -> str:
        return scripts.build(
            replace(spec, avoid=()),  # sbatch leaves the hosts out
            directives=[f"#SBATCH {shlex.join(words)}" for words in _directives(spec, count)],
            prologue=_prologue(spec, count),
        )

    def submit(self, spec: JobSpec, path: str, count: int) -> list[str]:
        arguments = [word for words in [*_directives(spec, count), *_exclude(spec)] for word in words]
        self._clusters = _clusters(arguments)
        argv = ["sbatch", "--parsable", *arguments, path]
        try:
            result = run(
                argv, timeout=_SUBMIT_SECONDS, env=scrubbed_environment(), hands_on=True,
                give_up_at=lambda: self.gives_up_at,
            )  # fmt: skip
        except SchedulerUnavailable as error:
            if isinstance(error, CannotStart) and error.is_final:
                raise SubmitError(message=error.message, command=shlex.join(argv)) from None
            if "temporarily unable to accept" in error.message:
                return self._after_waiting(spec, count, error)
            raise
        submitted = parse.parse_submitted(result.stdout)
        if result.killed_by and submitted is None:  # it may have been accepted: look for it
            message = f"sbatch was ended by {result.killed_by}, and told no job id: {result.said!r}"
            raise SchedulerUnavailable(message=message, command=result.command)
        if result.returncode != 0 and not result.killed_by:
            if spec.avoid and re.search(_NO_NODES_LEFT, result.said):
                log.warning("without the hosts %s there are none for the job: they are used", ", ".join(spec.avoid))
                return self.submit(replace(spec, avoid=()), path, count)
            raise parse.classify_refusal(result.said, count, result.command)
        if submitted is None:
            raise SchedulerUnavailable(message=f"sbatch told no job id: {result.said!r}", command=result.command)
        base, cluster = submitted
        self._seen |= {cluster} - {""}
        self._cluster_of[base] = cluster
        if result.stderr.strip():
            log.info("sbatch said about job %s: %s", base, result.stderr.strip())
        return _ids(base, count, cluster)

    def _after_waiting(self, spec: JobSpec, count: int, error: SchedulerUnavailable) -> list[str]:
        """sbatch was waiting for room under MaxJobCount when we ended it.  It may have got
        through in its last moment; otherwise this is a limit like any other."""
        found = self.find(spec.name, count)
        if found is not None:
            return found
        raise SubmitLimitReached(
            message=error.message,
            command=error.command,
            advice="the controller has as many jobs as it can hold (MaxJobCount): fewer, or later, will do",
        ) from None

    def find(self, name: str, count: int) -> list[str] | None:
        found = self._found(name, count)
        if found is None:
            # A controller that was stuck and wakes up may answer this question before it
            # carries out the submission that waited longer (seen with 22.05.8): look twice.
            time.sleep(_SETTLE_SECONDS)
            found = self._found(name, count)
        return found

    def _found(self, name: str, count: int) -> list[str] | None:
        for cluster in self._clusters or [""]:
            mark = _new_mark()
            found = parse.parse_names(self._squeue(mark + parse.NAMES_FORMAT, cluster).stdout, name, mark)
            if found is not None:
                base, indexes = found
                return _ids(base, max(count, max(indexes) + 1) if indexes else 1, cluster)
        return None

    # ------------------------------------------------------------------------ asking

    def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        """Each cluster is asked about its own jobs; those of one that does not answer are left out."""
        found: dict[str, JobStatus] = {}
        silence: SchedulerUnavailable | None = None
        places = self._by_cluster(job_ids)
        self._seen |= places.keys() - {""}
        for cluster, wanted in places.items():
            try:
                stdout = self._squeue(parse.QUEUE_FORMAT, cluster).stdout
            except SchedulerUnavailable as error:
                log.info("the jobs of cluster %s are not known now: %s", cluster or "here", error)
                silence = error
                continue
            whole, newline, cut = stdout.rpartition("\n")
            jobs = parse.parse_queue(whole + newline)
            if cut:
                log.warning("clusterfutures: the answer of squeue is cut: jobs that are not in it may live")
                wanted = {plain: job_id for plain, job_id in wanted.items() if parse.listed(jobs, plain)}
            for plain, job_id in wanted.items():
                found[job_id] = replace(parse.listed(jobs, plain) or JobStatus(plain, JobState.GONE), job_id=job_id)
        if silence is not None and not found:
            raise silence
        return found

    def question_key(self) -> str:
        return cluster_key("squeue", os.environ.get("SBATCH_CLUSTERS", ""))

    def know_places(self, places: set[str], perhaps: bool = False) -> bool:
        named = places
        new = named - self._seen - self._perhaps
        if perhaps:
            self._perhaps |= new
        else:
            self._seen |= named
        return bool(new)

    def queue(self) -> list[QueuedJob]:
        jobs = self._listed("")
        for cluster in sorted(self._seen | self._perhaps):
            try:
                elsewhere = self._listed(cluster)
            except SchedulerUnavailable as error:
                if cluster in self._seen:
                    raise
                log.info("the jobs of cluster %s are not listed: %s", cluster, error)
                continue
            known = {(split_id(job.id)[0], job.name, job.submitted) for job in elsewhere}
            jobs = [job for job in jobs if (job.id, job.name, job.submitted) not in known] + elsewhere
        return jobs

    def _listed(self, cluster: str) -> list[QueuedJob]:
        mark = _new_mark()
        jobs = slurm_queue.parse_jobs(self._squeue(mark + slurm_queue.FORMAT, cluster, everybody=True).stdout, mark)
        exits: dict[str, tuple[int, int]] = {}
        if any(job.nodes and job.state.is_final and job.state is not JobState.COMPLETED for job in jobs):
            # where it cannot answer, there are none
            answer = self._ask(["squeue", "-h", "-a", "-r", *slurm_queue.EXITS], cluster)
            exits = slurm_queue.parse_exits(answer.stdout)
        jobs = slurm_queue.with_exits(jobs, exits)
        if not cluster:
            return jobs
        return [replace(job, status=replace(job.status, job_id=f"{job.id}@{cluster}")) for job in jobs]

    def _squeue(self, fields: str, cluster: str = "", *, everybody: bool = False) -> Result:
        """All my jobs, ended ones included, one line per element.

        Asked by user, not by id: the controller sends no more for it, one unknown id is
        an error in squeue, and the question is the same for all of a user's programs.
        -a: jobs of partitions that the site hides are among them.
        """
        whose = [] if everybody else ["-u", str(os.getuid())]
        result = self._ask(["squeue", "-h", "-a", "-r", "-t", "all", *whose, "-o", fields], cluster)
        if result.returncode != 0 or re.search(_SQUEUE_ERROR, result.stderr):
            # An "error:" with status 0 (an unknown user) comes with an empty list, and an
            # empty list would mean that every job is gone.
            raise SchedulerUnavailable(message=result.said or "squeue failed", command=result.command)
        return result

    def explain(self, job_id: str) -> JobStatus | None:
        ((cluster, ids),) = self._by_cluster([job_id]).items()
        (plain,) = ids
        result = self._ask(["scontrol", "-o", "show", "job", plain], cluster)
        known = parse.parse_job(result.stdout, plain)
        if known is None and re.search(parse.TRANSIENT, result.said):
            raise SchedulerUnavailable(message=result.said, command=result.command)
        if known is None or known.state is JobState.FAILED:
            known = parse.combine(known, self._accounting(plain, cluster))
        if known is None and re.search(parse.UNKNOWN_JOB, result.said):
            known = JobStatus(plain, JobState.GONE, unknown=True)
        return None if known is None else replace(known, job_id=job_id)

    def _accounting(self, plain: str, cluster: str) -> JobStatus | None:
        if not self._has_accounting:
            return None
        argv = ["sacct", *_where(cluster), "-n", "-P", "-j", plain, "-o", "JobID,State,ExitCode,NodeList"]
        try:
            environment = self._environment(cluster)
            result = run(argv, timeout=_ASK_SECONDS, env=environment, give_up_at=lambda: self.gives_up_at)
        except SchedulerUnavailable as error:
            log.info("sacct is of no use: %s", error)
            self._has_accounting = shutil.which("sacct") is not None
            return None
        if result.returncode != 0:
            log.info("sacct failed: %s", result.said)
            self._has_accounting = not parse.accounting_is_off(result.said)
            return None
        return parse.parse_accounting(result.stdout, plain)

    def array_limit(self) -> int:
        if self._array_limit is None:
            result = self._ask(["scontrol", "show", "config"])
            limit = parse.parse_array_limit(result.stdout)
            if limit is None and result.returncode != 0 and re.search(parse.TRANSIENT, result.said):
                raise SchedulerUnavailable(message=result.said, command=result.command)
            if limit is None:
                log.info("no MaxArraySize in the answer of scontrol, taking %d: %s", _DEFAULT_ARRAY_LIMIT, result.said)
                return _DEFAULT_ARRAY_LIMIT
            self._array_limit = limit
        return self._array_limit

    # --------------------------------------------------------------------- cancelling

    def cancel(self, job_ids: Sequence[str]) -> None:
        self._scancel(["scancel"], job_ids)

    def kill(self, job_ids: Sequence[str]) -> None:
        self._scancel(["scancel", "--signal=KILL", "--full"], job_ids)  # to 22.05 an ordinary cancel
        self.cancel(job_ids)

    def cancel_command(self, job_ids: Sequence[str]) -> str:
        return "; ".join(
            shlex.join(["scancel", *_where(cluster), *parse.compress(ids)])
            for cluster, ids in self._by_cluster(job_ids).items()
        )

    def cancel_by_name_command(self, name: str) -> str:
        return shlex.join(["scancel", *_where(",".join(self._clusters)), f"--name={name}"])

    def _by_cluster(self, job_ids: Iterable[str]) -> dict[str, dict[str, str]]:
        """As ``by_place``; an id without a cluster is one of the usual cluster, unless this program knows better."""
        places: dict[str, dict[str, str]] = {}
        for place, ids in by_place(job_ids).items():
            for plain, job_id in ids.items():
                cluster = place or self._cluster_of.get(plain.partition("_")[0], "")
                places.setdefault(cluster, {})[plain] = job_id
        return places

    def _scancel(self, command: Sequence[str], job_ids: Sequence[str]) -> None:
        silence: SchedulerUnavailable | None = None
        for cluster, ids in self._by_cluster(job_ids).items():
            words = parse.compress(ids)
            for start in range(0, len(words), _IDS_PER_COMMAND):
                # scancel says nothing, with status 0, about jobs that are unknown or over
                try:
                    result = self._ask([*command, *words[start : start + _IDS_PER_COMMAND]], cluster)
                except SchedulerUnavailable as error:
                    silence = error
                    break
                if result.returncode != 0 and not _all_over(result.stderr):
                    silence = SchedulerUnavailable(message=result.said or "scancel failed", command=result.command)
        if silence is not None:  # after the other clusters got the command
            raise silence

    # -------------------------------------------------------------------------- common

    def _ask(self, argv: Sequence[str], cluster: str = "") -> Result:
        """Run a command that may be run twice.  cluster: where, "" for the usual one."""
        argv = [argv[0], *_where(cluster), *argv[1:]]
        return run(
            argv, timeout=_ASK_SECONDS, env=self._environment(cluster), attempts=self.attempts,
            transient=parse.TRANSIENT, give_up_at=lambda: self.gives_up_at,
        )  # fmt: skip

    def _environment(self, cluster: str = "") -> dict[str, str]:
        """For questions; a submission hands its environment on to the job."""
        env = scrubbed_environment()
        env["SLURM_BITSTR_LEN"] = "0"  # or long lists of indexes are cut
        if cluster:
            env["SLURM_CLUSTERS"] = cluster
        elif "SBATCH_CLUSTERS" in env:  # sbatch went there, so must the questions
            env.setdefault("SLURM_CLUSTERS", env["SBATCH_CLUSTERS"])
        return env


def _all_over(stderr: str) -> bool:
    """True when scancel complained only of jobs that need no cancelling."""
    lines = [line.rstrip() for line in stderr.splitlines() if line.startswith(("scancel: ", "slurm_"))]
    harmless = ("Invalid job id specified", "already completing or completed")
    return bool(lines) and all(line.endswith(harmless) for line in lines)


def _ids(base: str, count: int, cluster: str = "") -> list[str]:
    ids = [base] if count == 1 else [f"{base}_{index}" for index in range(count)]
    return [f"{one}@{cluster}" for one in ids] if cluster else ids


def _where(cluster: str) -> list[str]:
    return ["-M", cluster] if cluster else []


def _clusters(arguments: Sequence[str]) -> list[str]:
    """Return the clusters that sbatch may choose from."""
    found = os.environ.get("SBATCH_CLUSTERS") or os.environ.get("SLURM_CLUSTERS") or ""
    for at, word in enumerate(arguments):
        if match := re.match(r"--clusters?=(.*)|-M(.+)", word, re.DOTALL):
            found = match[1] or match[2] or ""
        elif word in ("-M", "--clusters", "--cluster"):
            found = next(iter(arguments[at + 1 :]), "")
    names = [name for name in found.split(",") if name]
    return [] if "all" in names else names


def _directives(spec: JobSpec, count: int) -> list[list[str]]:
    """sbatch's options, each a list of words; a later one wins over an earlier one."""
    nodes = spec.resources.get("nodes", 1)
    words = [
        [f"--job-name={_safe('name of a job', spec.name)}"],
        [f"--output={_output(spec, count)}"],
        ["--open-mode=append"],  # or a requeue would wipe the log of the first run
        *([] if count == 1 else [[f"--array=0-{count - 1}"]]),
        *_dependency(spec.dependencies),
        *([] if "nodes" in spec.resources else [["--nodes=1"]]),
        [f"--ntasks={nodes}"],
        *([text] for _, text in options.spell(spec.resources, "slurm")),
    ]
    return [*words, *_extra(spec.resources), *_same_cluster(spec.dependencies)]


def _dependency(dependencies: Sequence[Dependency]) -> list[list[str]]:
    """Without kill-on-invalid-dep a job with a failed dependency stays pending for ever."""
    if not dependencies:
        return []
    clauses = []
    for kind, group in itertools.groupby(sorted(dependencies, key=lambda one: one.kind), lambda one: one.kind):
        ids = ":".join(_safe("id of a dependency", split_id(one.job_id)[0]) for one in group)
        clauses.append(f"after{kind}:{ids}")
    return [[f"--dependency={','.join(clauses)}"], ["--kill-on-invalid-dep=yes"]]


def _exclude(spec: JobSpec) -> list[list[str]]:
    """Hosts to leave out, with those that the user has named.  On the command line only: see ``submit``."""
    if not spec.avoid:
        return []
    words = iter(spec.resources.get("extra") or [])
    named = list(spec.avoid)
    for word in words:
        if match := re.fullmatch(r"(?:--exclude=|-x)(.+)", word, re.DOTALL):
            named.append(match[1])
        elif word in ("-x", "--exclude"):
            named.append(next(words, ""))
    return [[f"--exclude={','.join(filter(None, named))}"]]


def _same_cluster(dependencies: Sequence[Dependency]) -> list[list[str]]:
    """A job has to be where those are that it waits for: Slurm knows ids of one cluster only."""
    clusters = sorted(by_place(one.job_id for one in dependencies))
    if len(clusters) > 1:
        named = ", ".join(cluster or "the usual one" for cluster in clusters)
        raise OptionError(f"dependencies: these jobs are on several clusters ({named}), and a job waits on one only")
    return [[f"--clusters={_safe('name of a cluster', clusters[0])}"]] if clusters and clusters[0] else []


def _extra(resources: Mapping[str, Any]) -> list[list[str]]:
    """All on one line: only the user knows which word is the value of which option."""
    extra = resources.get("extra")
    return [list(extra)] if extra else []


def _safe(what: str, text: str) -> str:
    """Refuse what would end a directive's line."""
    if not text.isprintable() and any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise OptionError(f"the {what} must not contain control characters: {text!r}")
    return text


def _output(spec: JobSpec, count: int) -> str:
    """The file that the job's output goes to, as sbatch's pattern for it.

    A backslash cannot be written there: one vanishes, and it may switch the pattern off.
    """
    if "\\" in spec.log:
        raise OptionError(f"Slurm cannot write logs to a path with a backslash: {spec.log!r}. Use another directory=")
    log_path = _safe("path of a log", spec.log).replace("%", "%%")
    return f"{log_path}-0.log" if count == 1 else f"{log_path}-%a.log"


def _prologue(spec: JobSpec, count: int) -> list[str]:
    """SLURM_JOB_ID of the last element is the array's own id: name elements by array and index.

    SLURM_JOB_END_TIME is not exported by older versions (22.05.8 does not): there the limit
    that was asked for counts from now, and one that only the site or ``extra`` sets is unknown.
    """
    plain = ("0", "$SLURM_JOB_ID")
    element = ("$SLURM_ARRAY_TASK_ID", "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}")
    index, job_id = plain if count == 1 else element
    return [
        f'export CLUSTERFUTURES_INDEX="{index}"',
        f'export CLUSTERFUTURES_JOB_ID="{job_id}"',
        'export CLUSTERFUTURES_ATTEMPT="${SLURM_RESTART_COUNT:-0}"',
        'export CLUSTERFUTURES_CORES="${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}"',
        f'export CLUSTERFUTURES_JOB_END="${{SLURM_JOB_END_TIME:-{scripts.job_end(spec)}}}"',
    ]


def _new_mark() -> str:
    """What begins the rows of one answer: nobody can have put it into the name of a job."""
    return f"{secrets.token_hex(8)}:"
