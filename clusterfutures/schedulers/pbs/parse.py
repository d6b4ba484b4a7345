"""What the answers of PBS mean: tables and pure functions of text, no process, no clock.

    qsub    parse_submitted, classify_refusal
    qstat   parse_json, parse_plain (PBS Pro), parse_xml (Torque)  -> records -> status_of
    qselect newest
    qmgr    parse_limit

A record is one job as a flat dict: ``resources_used.walltime`` is a key, like any other.
Ids are kept without the server's name (``25[3].vm`` is ``25[3]``), which commands accept
and which may be longer or shorter in an answer than it was in the question.

Manuals: OpenPBS src/include/job.h (exit statuses), pbs_job_attributes(7B), qstat(1B);
https://docs.adaptivecomputing.com/torque/ (exit statuses, qstat).
"""

from __future__ import annotations

import contextlib
import html
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from clusterfutures.errors import ArrayTooLarge, ClusterError, SchedulerUnavailable, SubmitError, SubmitLimitReached
from clusterfutures.schedulers.job_state import JobState, JobStatus

__all__ = [
    "HISTORY_IS_OFF", "PRO_EXITS", "TORQUE_EXITS", "TRANSIENT", "Record", "classify_refusal", "is_same_server",
    "moved_to", "newest", "of_array", "parse_json", "parse_limit", "parse_plain", "parse_submitted", "parse_xml",
    "seconds_used", "server_in", "server_name", "short_id", "status_of", "submitted_to", "told_by",
]  # fmt: skip

Record = dict[str, str]

STATES: dict[str, JobState] = {
    "Q": JobState.PENDING,
    "H": JobState.PENDING,  # held, or waiting for another job
    "W": JobState.PENDING,  # for its time to begin
    "T": JobState.PENDING,  # being moved to another queue
    "R": JobState.RUNNING,
    "B": JobState.RUNNING,  # an array that has begun
    "S": JobState.SUSPENDED,
    "U": JobState.SUSPENDED,  # the owner of the workstation is back
    "E": JobState.ENDING,
    "M": JobState.UNKNOWN,  # moved to another server
    # ended; the exit status says how
    "F": JobState.FAILED,
    "X": JobState.FAILED,  # an element; its array goes on
    "C": JobState.FAILED,  # Torque's word
}
_ENDED = frozenset("FXC")

#: exit statuses below zero are PBS's own: state and reason
PRO_EXITS: dict[int, tuple[JobState, str]] = {
    -1: (JobState.FAILED, "PBS could not start the job, before its files were there (-1)"),
    -2: (JobState.FAILED, "PBS could not start the job, after its files were there (-2)"),
    -3: (JobState.FAILED, "PBS could not start the job and would try again (-3)"),
    -4: (JobState.NODE_FAIL, "the PBS daemon of the node was restarted (-4)"),
    -5: (JobState.NODE_FAIL, "the PBS daemon of the node was restarted (-5)"),
    -6: (JobState.NODE_FAIL, "the PBS daemon of the node was restarted (-6)"),
    -10: (JobState.FAILED, "the user is not known on the node (-10)"),
    -11: (JobState.PREEMPTED, "the job was sent back to the queue (-11)"),
    -24: (JobState.FAILED, "it used more CPUs than it had asked for (-24)"),
    -25: (JobState.FAILED, "it used more CPUs than it had asked for (-25)"),
    -26: (JobState.OUT_OF_MEMORY, "it used more virtual memory than it had asked for (-26)"),
    -27: (JobState.OUT_OF_MEMORY, "it used more memory than it had asked for (-27)"),
    -28: (JobState.TIMEOUT, "it used more CPU time than it had asked for (-28)"),
    -29: (JobState.TIMEOUT, "walltime limit (-29)"),
    -30: (JobState.FAILED, "the nodes of the job could not be joined (-30)"),
}
TORQUE_EXITS: dict[int, tuple[JobState, str]] = {
    -1: (JobState.FAILED, "Torque could not start the job, before its files were there (-1)"),
    -2: (JobState.FAILED, "Torque could not start the job, after its files were there (-2)"),
    -3: (JobState.FAILED, "Torque could not start the job and would try again (-3)"),
    -4: (JobState.NODE_FAIL, "the Torque daemon of the node was restarted (-4)"),
    -5: (JobState.NODE_FAIL, "the Torque daemon of the node was restarted (-5)"),
    -6: (JobState.NODE_FAIL, "the Torque daemon of the node was restarted (-6)"),
    -7: (JobState.NODE_FAIL, "the Torque daemon of the node was restarted (-7)"),
    -8: (JobState.FAILED, "the shell of the job could not be started (-8)"),
    -9: (JobState.FAILED, "the output file could not be opened (-9)"),
    -10: (JobState.OUT_OF_MEMORY, "it used more memory than it had asked for (-10)"),
    -11: (JobState.TIMEOUT, "walltime limit (-11)"),
    -12: (JobState.TIMEOUT, "it used more CPU time than it had asked for (-12)"),
    -13: (JobState.FAILED, "the cgroup of the job could not be made (-13)"),
    -14: (JobState.FAILED, "the prologue of the site failed (-14)"),
}

#: failures that pass
TRANSIENT = (
    r"[Cc]onnection (?:refused|timed out|reset)|[Cc]annot connect to server|[Cc]ouldn't connect to cluster"
    r"|[Cc]ommunication failure|[Cc]ould not connect to|Can not establish connection|No free connections"
    r"|Resource temporarily unavailable|[Ss]erver (?:busy|shutting down)|trqauthd unable|Time out"
    r"|Premature End of File|End of File|Invalid credential|pbs_iff|[Mm]unge"
)

HISTORY_IS_OFF = "not configured to maintain job history"


def short_id(job_id: str) -> str:
    """``25[3].vm.site.org`` -> ``25[3]``."""
    return job_id.partition(".")[0].strip()


# ------------------------------------------------------------------------------ qsub

_SUBMITTED = r"(\d+)(\[\])?(?:\.(\S+))?"
_PREFIX = r"(?m)^qsub: "
_USAGE = r"(?ms)^usage: qsub.*"
_TOO_LARGE = r"(?i)Array job exceeds|array size too large"
_SUBMIT_LIMIT = r"(?i)Maximum number of jobs already in|would exceed|Too many submit"

#: what a refusal says -> what to try
_ADVICE: tuple[tuple[str, str], ...] = (
    ("Unknown queue|No default queue|Access to queue", "`qstat -Q` lists the queues: partition='...'"),
    ("Unknown resource", "this site has no such resource: `pbsnodes -a` shows what its nodes have"),
    ("Illegal attribute or resource value", "a value has a form that this PBS does not know: look at extra=[...]"),
    ('cannot be used with "select"', "extra=[...] asks in another way for what cores=, memory= or nodes= ask for"),
    (
        "exceeds queue|violates queue and/or server resource limits",
        "`qstat -Qf` shows the limits of the queues: set time=, memory= and cores= within them, or choose another "
        "queue: partition='...'",
    ),
    (
        "Queue is not enabled|not an execution queue",
        "this queue takes no jobs now: `qstat -Q` lists those that are enabled: partition='...'",
    ),
    (
        "Unauthorized Request|Bad [UG]ID|rejected by all possible destinations",
        "this queue is not for your user, group or host: choose another queue (`qstat -Q` lists them) with "
        "partition='...', or ask your site for access (account='...' where jobs are charged)",
    ),
    ('Cannot (?:have "place" without|be used with select)', "extra=[...] places nodes: give it select= as well"),
    ("Account", "ask your site which account to charge: account='...'"),
    ("illegal -|unrecognized option|invalid option", "look at extra=[...]: this qsub does not know it"),
)


def parse_submitted(stdout: str) -> str | None:
    """The number of the job, whatever a site prints around its id."""
    for line in reversed(stdout.splitlines()):
        match = re.fullmatch(_SUBMITTED, line.strip())
        if match:
            return match[1]
    return None


def submitted_to(stdout: str) -> str:
    """The server in the id that qsub prints; "" when it names none."""
    ids = [match for line in stdout.splitlines() if (match := re.fullmatch(_SUBMITTED, line.strip()))]
    return (ids[-1][3] or "") if ids else ""


def server_in(words: Sequence[str]) -> str:
    """The server that qsub's words name, ``-q queue@server``; "" when they name none."""
    found = ""
    for at, word in enumerate(words):
        if word.startswith("-q"):
            found = word[2:] or next(iter(words[at + 1 :]), "")
    return found.partition("@")[2]


def server_name(stdout: str) -> str:
    """The name of the server in an answer of ``qstat -Bf``; "" when it does not tell."""
    match = re.search(r"(?m)^\s*Server:\s*(\S+)", stdout)
    return match[1] if match else ""


def is_same_server(one: str, other: str) -> bool:
    """``vm`` and ``vm.site.org`` are one server; a port may stand behind a name."""
    names = [name.partition(":")[0].lower().split(".") for name in (one, other)]
    shorter = min(map(len, names))
    return names[0][:shorter] == names[1][:shorter] and names[0][0] != ""


def moved_to(record: Record) -> str:
    """The server that a job was moved to, by its queue there; "" when it is not told."""
    told = re.search(r"moved to \S*@([\w.-]+)", record.get("comment", ""))
    return record.get("queue", "").partition("@")[2] or (told[1] if told else "")


def classify_refusal(said: str, count: int, command: str) -> ClusterError:
    """The exception for a qsub that failed, saying what it said."""
    words = re.sub(_USAGE, "", re.sub(_PREFIX, "", said)).strip() or "qsub failed without a word"
    if re.search(TRANSIENT, words):
        return SchedulerUnavailable(message=words, command=command)
    if count > 1 and re.search(_TOO_LARGE, words):
        advice = "the site allows only smaller arrays: `qstat -Bf` shows its limit"
        return ArrayTooLarge(message=words, command=command, advice=advice)
    if re.search(_SUBMIT_LIMIT, words):
        advice = "the site lets you have no more jobs in the queue for now: max_workers=... asks for fewer"
        return SubmitLimitReached(message=words, command=command, advice=advice)
    hints = (advice for pattern, advice in _ADVICE if re.search(pattern, words))
    return SubmitError(message=words, command=command, advice=next(hints, ""))


# ----------------------------------------------------------------- qstat: the records


_DECODER = json.JSONDecoder(strict=False)


def parse_json(stdout: str) -> dict[str, Record] | None:
    """The records in ``qstat -f -F json``; None when it cannot be read as JSON.

    Several versions write the job's variables without escapes and numbers like 005 bare.
    We need neither, so they are cut out before a second try.
    """
    for text in (stdout, _repaired(stdout)):
        answer = _answer_in(text)
        if answer is not None:
            jobs = answer.get("Jobs", {})
            return {
                short_id(job_id): {**_flat(record), "job_id": job_id}
                for job_id, record in jobs.items()
                if isinstance(record, dict)
            }
    return None


def _answer_in(text: str) -> dict[str, dict[str, object]] | None:
    """The object that qstat printed, whatever a site prints before and after it."""
    for brace in re.finditer(r"(?m)^\s*\{", text):
        with contextlib.suppress(ValueError):
            answer, _ = _DECODER.raw_decode(text, brace.end() - 1)
            if isinstance(answer, dict) and answer.keys() & {"Jobs", "timestamp", "pbs_version"}:
                return answer
    return None


def _repaired(text: str) -> str:
    text = re.sub(
        r'"Variable_List"\s*:\s*\{.*?\}(?=\s*(?:,\s*"[A-Za-z_]\w*"\s*:|\}))',
        '"Variable_List":{}',
        text,
        flags=re.DOTALL,
    )
    return re.sub(r"(:\s*)(-?0\d+)(?=\s*[,}\n])", r'\1"\2"', text)


def _flat(record: Mapping[str, object], prefix: str = "") -> Record:
    flat: Record = {}
    for name, value in record.items():
        if isinstance(value, dict):
            if name != "Variable_List":
                flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}".lower()] = str(value)
    return flat


def parse_plain(stdout: str) -> dict[str, Record]:
    """The records in plain ``qstat -f``, where long values go on in lines with a tab."""
    jobs: dict[str, Record] = {}
    record: Record | None = None
    name = ""
    for line in stdout.splitlines():
        if line.startswith("Job Id:"):
            whole = line.removeprefix("Job Id:").strip()
            record = jobs.setdefault(short_id(whole), {"job_id": whole})
            name = ""
        elif record is not None and line.startswith("\t"):
            if name:
                record[name] += line.strip()
        elif record is not None and " = " in line:
            name, _, value = line.strip().partition(" = ")
            name = name.lower()
            record[name] = value
    return jobs


_JOB = r"(?s)<Job>(.*?)</Job>"
_VARIABLES = r"(?s)<Variable_List>.*?</Variable_List>"
_GROUP = r"(?s)<(resources_used|Resource_List)>(.*?)</\1>"
_TAG = r"<(\w+)>([^<]*)</\1>"


def parse_xml(stdout: str) -> dict[str, Record]:
    """The records in Torque's ``qstat -x``.

    Not with an XML parser: variables are not always escaped, control characters come
    through, several ids make several documents, and no jobs make none at all.
    """
    jobs: dict[str, Record] = {}
    for text in re.findall(_JOB, re.sub(_VARIABLES, "", stdout)):
        record: Record = {}
        for group, inner in re.findall(_GROUP, text):
            record.update({f"{group}.{tag}".lower(): value for tag, value in re.findall(_TAG, inner)})
        record.update({tag.lower(): html.unescape(value) for tag, value in re.findall(_TAG, re.sub(_GROUP, "", text))})
        if "job_id" in record:
            jobs[short_id(record["job_id"])] = record
    return jobs


# ------------------------------------------------------------- one record: its status


def status_of(job_id: str, record: Record, exits: Mapping[int, tuple[JobState, str]]) -> JobStatus:
    """The status of a job; ``exits`` is the dialect's table of statuses below zero."""
    word = record.get("job_state", "")
    state = STATES.get(word, JobState.UNKNOWN)
    reason = record.get("comment", "")
    host = record.get("exec_host", "").partition("/")[0]
    if word not in _ENDED:
        never = state is JobState.PENDING and re.search(_NEVER, reason) is not None
        if word == "H" and "depend" not in record:
            never, reason = True, reason or f"held (Hold_Types={record.get('hold_types', '')})"
        if state is JobState.RUNNING and told_by(reason) is not None:  # it is being ended, or has ended already
            state, reason = JobState.ENDING, re.sub(_ENDED_COMMENT, "", reason)
        return JobStatus(
            job_id, state, word=word, reason=reason, host=host, never_starts=never, restarts=_restarts(record)
        )
    if _is_synthetic(job_id, record):
        return JobStatus(job_id, JobState.GONE, word=word, reason=reason)
    state, code, signal, why = _ending(record, exits)
    return JobStatus(
        job_id, state, word=word, reason=why or re.sub(_ENDED_COMMENT, "", reason), exit_code=code, signal=signal,
        host=host, restarts=_restarts(record),
    )  # fmt: skip


def of_array(array: JobStatus, elements: Iterable[JobStatus]) -> JobStatus:
    """The status of a whole array that has ended: that of the first element that did not end well.

    PBS gives an array the exit status of the element that ended last, whatever the others did.
    """
    bad = (one for one in elements if one.state not in (JobState.COMPLETED, JobState.GONE))
    worst = next(bad, None)
    if not array.state.is_final or worst is None or array.state is JobState.CANCELLED:
        return array
    reason = f"element {worst.job_id} {worst.state.value}" + (f": {worst.reason}" if worst.reason else "")
    return replace(array, state=worst.state, exit_code=worst.exit_code, signal=worst.signal, reason=reason)


#: comments of jobs that no turn of the scheduler will start
_NEVER = r"Can Never Run|too many failed attempts|Queue not started|Queue not an execution queue"
#: how a comment tells the end of a job, up to ten seconds before its state does
_TOLD: tuple[tuple[str, JobState, str], ...] = (
    (r"\bexceeded (?:resource )?walltime", JobState.TIMEOUT, "walltime limit"),
    (r"\bexceeded (?:resource )?cput", JobState.TIMEOUT, "it used more CPU time than it had asked for"),
    (r"\bexceeded (?:resource )?v?mem", JobState.OUT_OF_MEMORY, "it used more memory than it had asked for"),
    (r"\bterminated by ", JobState.CANCELLED, ""),
)


def told_by(comment: str) -> tuple[JobState, str] | None:
    """How a job ends, or ended, as its comment tells: state and reason; None when it does not tell."""
    return next(((state, why) for pattern, state, why in _TOLD if re.search(pattern, comment)), None)


#: "Job run at ... on (...) and failed" says no more than state and exit code
_ENDED_COMMENT = r"^Job run at .*? and (?:failed$|finished$)?"


def _restarts(record: Record) -> int:
    count = record.get("run_count", "") or record.get("start_count", "")
    if not count.isdigit():
        return 0
    waits = record.get("job_state", "") in "QHWT"  # it has run so often, and is to run again
    return int(count) if waits else max(0, int(count) - 1)


def _is_synthetic(job_id: str, record: Record) -> bool:
    """True for a record that PBS Pro made up for an element from that of its array.

    It does so for elements that never started, and for all that had ended before their
    array was deleted.  Their Exit_status is the array's: 1 once any element has failed.
    """
    is_element = "[" in job_id and not job_id.endswith("[]")
    return is_element and not any(key in record for key in ("array_index", "run_count", "job_array_id"))


def _ending(record: Record, exits: Mapping[int, tuple[JobState, str]]) -> tuple[JobState, int | None, int | None, str]:
    """State, exit code, signal and reason of a job that has ended.

    n + 256: the job was killed by signal n.  n + 128: its shell saw a child die of
    signal n, which is what a Python killed by n looks like, or Python said so itself.
    """
    text = record.get("exit_status", "")
    comment = record.get("comment", "")
    if not re.fullmatch(r"-?\d+", text):  # deleted before it started, or its dependency failed
        return JobState.CANCELLED, None, None, ""
    status = int(text)
    if status < 0:
        state, why = exits.get(status, (JobState.FAILED, f"PBS ended the job with status {status}"))
        return state, None, None, why
    if status == 0:
        return JobState.COMPLETED, 0, None, ""
    told = told_by(comment)
    signal = status - 256 if status > 256 else status - 128
    if not 0 < signal < 65:
        return (told[0], None, None, told[1]) if told else (JobState.FAILED, status, None, "")
    code = status if status < 256 else None
    if told and told[0] is not JobState.CANCELLED:
        return told[0], None, signal, told[1]
    if signal in (9, 15) and _used_up(record, "walltime", seconds_used):
        return JobState.TIMEOUT, None, signal, "walltime limit"
    if signal == 9 and _used_up(record, "mem", _kilobytes):
        return JobState.OUT_OF_MEMORY, code, signal, "it used as much memory as it had asked for"
    if told or (status == 271 and "comment" not in record) or record.get("substate") == "91":
        return JobState.CANCELLED, None, signal, ""  # 143 is what the signal made of its shell: no exit code of its own
    return JobState.FAILED, code, signal, ""


def _used_up(record: Record, resource: str, read: Callable[[str], int | None]) -> bool:
    used, asked = (read(record.get(f"{group}.{resource}", "")) for group in ("resources_used", "resource_list"))
    return used is not None and asked is not None and 0 < asked <= used


def seconds_used(text: str) -> int | None:
    """A time as PBS prints it, ``[[H:]M:]S``, in seconds."""
    if not re.fullmatch(r"\d+(:\d+){0,2}", text):
        return None
    seconds = 0
    for part in text.split(":"):
        seconds = seconds * 60 + int(part)
    return seconds


def _kilobytes(text: str) -> int | None:
    match = re.fullmatch(r"(\d+)([kmgt]?)b?", text.lower())
    return int(int(match[1]) * 1024 ** (" kmgt".index(match[2]) - 1 if match[2] else -1)) if match else None


# ------------------------------------------------------------------- qselect and qmgr


def newest(job_ids: Iterable[str]) -> tuple[str, bool, str] | None:
    """Number of the newest of these jobs, whether it is an array, and its server."""
    found = [match for job_id in job_ids if (match := re.fullmatch(_SUBMITTED, job_id.strip()))]
    last = max(found, key=lambda match: int(match[1]), default=None)
    return None if last is None else (last[1], last[2] is not None, last[3] or "")


def parse_limit(stdout: str, attribute: str) -> int | None:
    """The value of a server's attribute in an answer of qmgr or ``qstat -Bf``."""
    match = re.search(rf"^\s*{attribute}\s*=\s*(\d+)", stdout, re.MULTILINE)
    return int(match[1]) if match else None
