"""What Slurm's answers mean: tables and pure functions of text, no process, no clock.

    sbatch   parse_submitted, classify_refusal
    squeue   parse_queue (states), parse_names (find)
    scontrol parse_job (post-mortem), parse_array_limit
    sacct    parse_accounting (post-mortem, where accounting is on)

Job names, comments and paths are free bytes in Slurm: newlines, ``|`` and invalid UTF-8
come out raw.  So a name is always asked for last, a line that does not look right is
somebody's name and is passed over, and nothing is split at blanks.

States and reasons: https://slurm.schedmd.com/job_state_codes.html,
https://slurm.schedmd.com/job_reason_codes.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from clusterfutures.errors import ArrayTooLarge, ClusterError, SchedulerUnavailable, SubmitError, SubmitLimitReached
from clusterfutures.schedulers.base import NO_LOG
from clusterfutures.schedulers.job_state import JobState, JobStatus

__all__ = [
    "NAMES_FORMAT", "QUEUE_FORMAT", "TRANSIENT", "UNKNOWN_JOB", "accounting_is_off", "classify_refusal", "combine",
    "compress", "listed", "parse_accounting", "parse_array_limit", "parse_job", "parse_names", "parse_queue", "rows_of",
    "parse_submitted",
]  # fmt: skip

STATES: dict[str, JobState] = {
    "PENDING": JobState.PENDING,
    "CONFIGURING": JobState.PENDING,  # its nodes are booting
    "POWER_UP_NODE": JobState.PENDING,
    "EXPEDITING": JobState.PENDING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "RESV_DEL_HOLD": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING,  # requeued by its exit code, and held
    "RUNNING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "SUSPENDED": JobState.SUSPENDED,
    "STOPPED": JobState.SUSPENDED,
    "COMPLETING": JobState.ENDING,
    "STAGE_OUT": JobState.ENDING,
    "COMPLETED": JobState.COMPLETED,
    "FAILED": JobState.FAILED,
    "LAUNCH_FAILED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "REVOKED": JobState.CANCELLED,
    "TIMEOUT": JobState.TIMEOUT,
    "DEADLINE": JobState.TIMEOUT,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "NODE_FAIL": JobState.NODE_FAIL,
    "BOOT_FAIL": JobState.NODE_FAIL,
    "RECONFIG_FAIL": JobState.NODE_FAIL,
    "PREEMPTED": JobState.PREEMPTED,
}

#: reasons for which a job stays pending until somebody changes it or the site.  Reasons of the
#: moment (Resources, Priority, *MaxJobs*, ReqNodeNotAvail, PartitionDown) are not among them.
_NEVER_STARTS = (
    r"JobHeld(?:User|Admin)|job requeued in held state|job_requeued_in_held_state"
    r"|DependencyNeverSatisfied|PartitionTimeLimit|PartitionNodeLimit|PartitionConfig|BadConstraints"
    r"|InvalidAccount|InvalidQOS|AccountNotAllowed|QOSNotAllowed|launch[ _]failed[ _]requeued[ _]held"
    r"|ReservationDeleted|MaxMemPerLimit|(?:Assoc|QOS)(?:Max|Min)\w*PerJob(?:Limit)?"
    r"|(?:Assoc|QOS)MaxWallDuration\w*|QOSMin\w+|DeadLine"
)

#: failures that pass: the question may be asked again, a submission may have succeeded
TRANSIENT = (
    r"Socket timed out|Unable to contact slurm controller|Connection refused|Connection reset|Connection timed out"
    r"|backup controller in standby|Transport endpoint|Zero Bytes were transmitted|Unexpected message received"
    r"|Resource temporarily unavailable|communication (?:connection )?failure|Protocol authentication error"
    r"|[Mm]unge|Problem talking to (?:the )?database|can't be reached now|Unable to establish controller machine"
    r"|Insane message length|Header lengths are longer"
)

#: what scontrol says of a job that the controller does not know, or not any more
UNKNOWN_JOB = r"Invalid job id specified|Job \S+ not found"

# ---------------------------------------------------------------------------- sbatch

_SUBMITTED = r"(\d+)(?:;([^\s;]+))?"
_OWN_LINE = r"sbatch: |slurm_\w+: |Try |Invalid time specification"
_PREFIX = r"(?m)^(?:sbatch|slurm_\w+): (?:error|fatal): "

#: names of limits on the number of submitted jobs, as against limits on one job's size
_SUBMIT_LIMIT = r"(?i)(?:Assoc|QOS)\w*Submit\w*|temporarily unable to accept|MaxJobCount|max_submit"
_OTHER_LIMIT = r"\b(?:Assoc|QOS)\w+"
_POLICY = "Job violates accounting/QOS policy"

#: what a refusal says -> what to try
_ADVICE: tuple[tuple[str, str], ...] = (
    ("account", "`sacctmgr -n show assoc user=$USER format=account,partition,qos` lists yours: account='...'"),
    ("partition", "`sinfo -s` lists the partitions: partition='...'"),
    ("qos", "`sacctmgr -n show assoc user=$USER format=account,partition,qos` lists yours: qos='...'"),
    ("Memory specification|node configuration", "no node has that much: `sinfo -o '%P %c %m %G'` shows what they have"),
    ("generic resource", "`sinfo -o '%P %G'` shows the GPUs of each partition: gpus=..."),
    ("feature", "`sinfo -o '%P %f'` shows the features of the nodes: features=..."),
    ("time limit", "`sinfo -o '%P %l'` shows the limit of each partition: time='...'"),
    ("unrecognized option|invalid option|ambiguous", "look at extra=[...]: this version of sbatch does not know it"),
    ("--begin", "write begin='2031-05-01T18:00'"),
)


def parse_submitted(stdout: str) -> tuple[str, str] | None:
    """Job id and cluster ("" when it names none), whatever a site prints around them."""
    for line in reversed(stdout.splitlines()):
        match = re.fullmatch(_SUBMITTED, line.strip())
        if match:
            return match[1], match[2] or ""
    return None


def classify_refusal(said: str, count: int, command: str) -> ClusterError:
    """The exception for an sbatch that failed, saying what it said (not what the site says to everybody)."""
    own = [line for line in said.splitlines() if re.match(_OWN_LINE, line)]
    words = re.sub(_PREFIX, "", "\n".join(own) or said).strip() or "sbatch failed without a word"
    if re.search(TRANSIENT, words):
        return SchedulerUnavailable(message=words, command=command)
    if re.search(_SUBMIT_LIMIT, words) or (_POLICY in words and not re.search(_OTHER_LIMIT, words)):
        advice = "the site lets you have no more jobs in the queue for now: max_workers=... asks for fewer"
        return SubmitLimitReached(message=words, command=command, advice=advice)
    if count > 1 and "Invalid job array specification" in words:
        advice = "`scontrol show config | grep MaxArraySize` shows the largest array of the site"
        return ArrayTooLarge(message=words, command=command, advice=advice)
    hints = (advice for pattern, advice in _ADVICE if re.search(pattern, words, re.IGNORECASE))
    return SubmitError(message=words, command=command, advice=next(hints, ""))


# ---------------------------------------------------------------------------- squeue

#: array's base id, index, state, host, start, end, time left; the reason, which may
#: contain anything, last.  (%i of a pending range is cut at 64 characters.)
QUEUE_FORMAT = "%F|%K|%A|%T|%N|%S|%e|%L|%r"
NAMES_FORMAT = "%F|%K|%A|%T|%j"


def _id(base: str, index: str) -> str:
    return f"{base}_{index}" if index.isdigit() else base


def parse_queue(stdout: str) -> dict[str, JobStatus]:
    """Every job of an answer in QUEUE_FORMAT."""
    jobs = {}
    for line in stdout.split("\n"):
        fields = line.split("|", 8)
        if len(fields) != 9 or not fields[0].isdigit():
            continue  # "CLUSTER: name", or a line of somebody's own
        base, index, _, word, host, *_, reason = fields
        job_id = _id(base, index)
        state = STATES.get(word, JobState.UNKNOWN)
        if reason == "None":
            reason = ""
        never = state is JobState.PENDING and bool(re.fullmatch(_NEVER_STARTS, reason))
        host = "" if host in ("", "N/A", "(null)") else host
        jobs[job_id] = JobStatus(job_id, state, word=word, reason=reason, host=host, never_starts=never)
    return jobs


def listed(jobs: Mapping[str, JobStatus], job_id: str) -> JobStatus | None:
    """The status of a job in such an answer; None when it is not there.

    Elements of an array that were cancelled before they started are not listed any more; when none is left of
    them, the record of the array says so.
    """
    array = jobs.get(job_id.partition("_")[0])
    return jobs.get(job_id) or (array if array is not None and array.state is JobState.CANCELLED else None)


def rows_of(stdout: str, mark: str) -> list[str]:
    """The rows of an answer, each of which begins with ``mark``; its lines where no row does.

    A name may hold line ends, and then what looks like a row; it cannot hold a mark that is made for one question.
    """
    if not mark or mark not in stdout:
        return stdout.split("\n")
    return [row.removesuffix("\n") for row in stdout.split(mark)[1:]]


def parse_names(stdout: str, name: str, mark: str = "") -> tuple[str, set[int]] | None:
    """Base id and indexes (none for a plain job) of the newest job called ``name``; mark: as ``rows_of`` has it."""
    found: dict[str, set[int]] = {}
    for line in rows_of(stdout, mark):
        fields = line.split("|", 4)
        if len(fields) == 5 and fields[0].isdigit() and fields[4] == name:
            indexes = found.setdefault(fields[0], set())
            if fields[1].isdigit():
                indexes.add(int(fields[1]))
    if not found:
        return None
    newest = max(found, key=int)
    return newest, found[newest]


# -------------------------------------------------------------------------- scontrol

# The values that users choose come before (JobName) and after (Comment, paths) this part.
_JOB = (
    r"(?s) UserId=\S+ GroupId=.*? JobState=(?P<state>[A-Z_]+) Reason=(?P<reason>.*?) Dependency=.*?"
    # the hosts come before NumNodes; the command line of sbatch (26.05), which may hold anything, comes after it
    r"(?: Restarts=(?P<restarts>\d+) .*?)? ExitCode=(?P<code>\d+):(?P<signal>\d+) (?P<rest>.*? NumNodes=|.*)"
)
_BEGIN = r"(?s) UserId=\S+ GroupId=.*? JobState="
_HOST = r" (?:BatchHost|NodeList)=([^\s(][^\s]*)"

#: the reason of 22.05, and that of 24.11 and later
_OF_SIGNAL = r"JobLaunchFailure$|RaisedSignal:"

#: "signal" 53 of Slurm's: the batch step could not open its output
_NO_LOG = 53


def parse_job(stdout: str, job_id: str) -> JobStatus | None:
    """The post-mortem of one job, from ``scontrol -o show job``."""
    match = re.search(_JOB, stdout)
    if match is None or len(re.findall(_BEGIN, stdout)) > 1:  # a name or a comment that looks like another record
        return None
    hosts = re.findall(_HOST, match["rest"])
    status = JobStatus(
        job_id,
        STATES.get(match["state"], JobState.UNKNOWN),
        word=match["state"],
        reason="" if match["reason"] == "None" else match["reason"],
        host=hosts[-1] if hosts else "",  # BatchHost comes after NodeList
        restarts=int(match["restarts"] or 0),
    )
    never = status.state is JobState.PENDING and bool(re.fullmatch(_NEVER_STARTS, status.reason))
    return _with_exit(replace(status, never_starts=never), int(match["code"]), int(match["signal"]))


def _with_exit(status: JobStatus, code: int, signal: int) -> JobStatus:
    """Add an ``ExitCode`` pair, of a job that has ended, and say what its reason means."""
    if not status.state.is_final:
        return status
    if signal == _NO_LOG:
        reason = f"{NO_LOG}: is its directory there on the node, and writable? (0:53)"
        return replace(status, reason=reason)
    if status.state is JobState.FAILED and signal and re.match(_OF_SIGNAL, status.reason):
        # Slurm says this of every batch script that dies of a signal; it did start, and another field has the signal.
        status = replace(status, reason="")
    if status.reason == "NonZeroExitCode":
        status = replace(status, reason="")  # the code says so itself
    if status.state is JobState.FAILED and not (code or signal):
        return status  # a fresh record: the code comes a moment later
    return replace(status, exit_code=code if not signal else None, signal=signal or None)


def parse_array_limit(stdout: str) -> int | None:
    """The most elements of one array, from ``scontrol show config``.

    MaxArraySize is one more than the highest index.  An array larger than MaxJobCount is
    not refused: sbatch waits for ever.
    """
    limits = []
    for pattern in (r"^MaxArraySize\s*=\s*(\d+)", r"^MaxJobCount\s*=\s*(\d+)", r"max_array_tasks=(\d+)"):
        match = re.search(pattern, stdout, re.MULTILINE)
        if match:
            limits.append(int(match[1]))
        elif pattern.startswith("^MaxArraySize"):
            return None
    return max(1, min(limits))  # MaxArraySize=0: no arrays here


# ----------------------------------------------------------------------------- sacct


def accounting_is_off(said: str) -> bool:
    """True when sacct says that this site has no accounting, now or later."""
    return "accounting storage is disabled" in said


def parse_accounting(stdout: str, job_id: str) -> JobStatus | None:
    """The last row of ``sacct -n -P -o JobID,State,ExitCode,NodeList``, with its steps.

    Out of memory may be written at a step only.  sacct's Reason is why the job had been
    pending, never why it ended; and it shows exit codes from 128 on less 128.
    """
    status = None
    out_of_memory = False
    for line in stdout.splitlines():
        fields = line.split("|")
        if len(fields) < 4:
            continue
        row_id, words, exit_code, host = fields[:4]
        word = words.split(" ")[0].rstrip("+")  # "CANCELLED by 1001"
        if row_id == job_id:
            out_of_memory = False  # of an earlier run, or of another job with this id
            state = STATES.get(word, JobState.UNKNOWN)
            host = "" if host in ("None assigned", "None", "") else host
            code, _, signal = exit_code.partition(":")
            status = JobStatus(job_id, state, word=word, host=host)
            if code.isdigit() and signal.isdigit():
                status = _with_exit(status, int(code), int(signal))
        elif row_id.startswith(f"{job_id}."):
            out_of_memory = out_of_memory or word == "OUT_OF_MEMORY"
    if status is not None and out_of_memory and status.state.is_final:
        status = replace(status, state=JobState.OUT_OF_MEMORY, word="OUT_OF_MEMORY")
    return status


def combine(known: JobStatus | None, booked: JobStatus | None) -> JobStatus | None:
    """What scontrol knows, completed by what sacct has in its books."""
    if known is None or booked is None:
        return known or booked
    if not known.state.is_final or not booked.state.is_final:
        return known
    if booked.state is JobState.OUT_OF_MEMORY:
        return replace(known, state=booked.state, word=booked.word)
    return known


# --------------------------------------------------------------------------- scancel


def compress(job_ids: Iterable[str]) -> list[str]:
    """Ids for scancel, the elements of an array joined: 7_0 7_1 7_2 7_9 -> 7_[0-2,9].

    One request then ends a whole array, where a thousand ids are a thousand requests.
    """
    plain: list[str] = []
    arrays: dict[str, set[int]] = {}
    for job_id in job_ids:
        base, _, index = job_id.partition("_")
        if index.isdigit():
            arrays.setdefault(base, set()).add(int(index))
        else:
            plain.append(job_id)
    return plain + [word for base, indexes in arrays.items() for word in _ranges(base, sorted(indexes))]


def _ranges(base: str, indexes: list[int], at_most: int = 50) -> Iterable[str]:
    """At most 50 ranges a word: very long ones are cut by some versions."""
    spans: list[list[int]] = []
    for index in indexes:
        if spans and spans[-1][1] == index - 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    for start in range(0, len(texts), at_most):
        yield f"{base}_[{','.join(texts[start : start + at_most])}]"
