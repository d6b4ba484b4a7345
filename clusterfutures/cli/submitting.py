"""``submit`` and ``run``: options become keywords of a Job, words what it runs.

Taken --wanted()--> command, script, items --> Job, or an array of them --submit: ids
                                                                        '-run: follow, output, status
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from clusterfutures import config
from clusterfutures.cli import inputs
from clusterfutures.cli.showing import as_json, job_facts, shown_ids, status_facts
from clusterfutures.commandline.words import Taken
from clusterfutures.errors import ClusterError, OptionError
from clusterfutures.jobs.array import script_of, submit_array, write_array
from clusterfutures.jobs.directories import jobs_directory, scheduler_name
from clusterfutures.jobs.job import Job, cancel_all, find
from clusterfutures.jobs.scripts import of_file
from clusterfutures.jobs.status import pauses
from clusterfutures.schedulers.job_state import JobState, JobStatus

__all__ = ["run", "submit"]

#: options of the command that are no keywords of a job
_OWN = ("json", "dry_run", "from", "after", "after_any", "after_notok")
_SHOWN = 5


def submit(taken: Taken) -> int:
    """``clusterfutures submit``."""
    jobs = _submitted(taken)
    if jobs is None:
        return 0
    if taken.options.get("json"):
        as_json([job_facts(job) for job in jobs])
    else:
        print("\n".join(shown_ids(jobs)))
    for job in [job for job in jobs if job.id][:1]:
        job.look()  # says what it waits for, if that never comes
    refused = [job for job in jobs if job.record.get("never")]
    for job in refused[:1]:
        print(f"clusterfutures: {job.record['never']}", file=sys.stderr)
    return 1 if refused else 0


def run(taken: Taken) -> int:
    """``clusterfutures run``: what is submitted is cancelled when it is interrupted."""
    jobs = _submitted(taken)
    if jobs is None:
        return 0
    quiet = bool(taken.options.get("json"))
    try:
        ended = [_followed(job, not quiet) for job in jobs]
    except KeyboardInterrupt:
        _cancel(jobs)
        raise
    if quiet:
        as_json([
            status_facts(job, status) | {"stdout": job.stdout, "stderr": job.stderr}
            for job, status in zip(jobs, ended, strict=True)
        ])  # fmt: skip
    for job, status in zip(jobs, ended, strict=True):
        is_silent = status.exit_code is None or job.started is None
        if status.state is not JobState.COMPLETED and not quiet and (len(jobs) > 1 or is_silent):
            print(f"clusterfutures: {_said(job, status)}", file=sys.stderr)
    failed = [status for status in ended if status.state is not JobState.COMPLETED]
    if len(jobs) == 1 and failed:
        return failed[0].exit_code or 1
    return 1 if failed else 0


def _submitted(taken: Taken) -> list[Job] | None:
    """The jobs; None when nothing was to be submitted."""
    options = taken.options
    wanted = inputs.read([*taken.positional, *taken.rest], options.get("from"))
    keywords = ({} if wanted.script else {"name": _name_of(wanted.command)}) | _keywords(options)
    if options.get("dry_run"):
        _dry_run(wanted, keywords, bool(options.get("json")))
        return None
    if wanted.items is not None:
        return submit_array(wanted.command, wanted.items, **keywords)
    job = _one(wanted, keywords)
    if job.id:
        raise OptionError(f"{wanted.script} was submitted already, as job {job.id}")
    return [job.submit()]


def _one(wanted: inputs.Wanted, keywords: dict[str, Any]) -> Job:
    if wanted.script:
        return of_file(wanted.script, wanted.args, **keywords)
    return Job(wanted.command, **keywords)


def _name_of(command: str) -> str:
    """Return the program's name, as the queue shows it."""
    found = re.match(r"[\w./+-]*?([\w.+-]+)(\s|$)", command)
    return found[1] if found else "job"


def _keywords(options: dict[str, Any]) -> dict[str, Any]:
    """Options as keywords of a Job.  Raises OptionError."""
    found = {name: value for name, value in options.items() if name not in _OWN}
    base = jobs_directory(found.get("directory"), found.get("profile"))
    named = {
        kind: [word for words in options[name] for word in re.split(r"[,\s]+", words.strip(" ,"))]
        for name, kind in (("after", "ok"), ("after_any", "any"), ("after_notok", "notok"))
        if name in options
    }
    if named:
        scheduler = scheduler_name(found.get("scheduler"), found.get("profile"))
        after = {kind: find(words, base, scheduler) for kind, words in named.items()}
        found["dependencies"] = {kind: jobs for kind, jobs in after.items() if jobs}
    return found


def _dry_run(wanted: inputs.Wanted, keywords: dict[str, Any], json: bool) -> None:
    """Write the jobs where nobody looks, and show what the scheduler would be given."""
    config.load()  # what is wrong there is said as usual
    with tempfile.TemporaryDirectory(prefix="clusterfutures-") as directory:
        keywords = keywords | {"directory": directory}
        if wanted.items is None:
            jobs = [_one(wanted, keywords).write()]
        else:
            jobs = write_array(wanted.command, wanted.items, **keywords)
        text = script_of(jobs) if wanted.items is not None else jobs[0].submission
        head = [line for line in text.splitlines() if re.match(r"#(SBATCH|PBS) ", line)]
        head = [line for line in head if directory not in line]
        if json:
            as_json([
                {"name": job.name, "scheduler": job.scheduler, "directives": head, "command": job.command_text()}
                for job in jobs
            ])  # fmt: skip
            return
        several = f"{len(jobs)} jobs, together," if len(jobs) > 1 else "a job"
        print(f"would submit {several} to {jobs[0].scheduler}:")
        print("".join(f"  {line}\n" for line in head), end="")
        for job in jobs[:_SHOWN]:
            payload = job.command_text()
            print("".join(f"  {line}\n" for line in payload.splitlines() if not line.startswith("#!")), end="")
        if len(jobs) > _SHOWN:
            print(f"  ... and {len(jobs) - _SHOWN} more")
        print("nothing was submitted")


# ------------------------------------------------------------------------- following


def _followed(job: Job, show: bool) -> JobStatus:
    """Wait for a job, and pass on what it writes."""
    ends = {"out": (sys.stdout, 0), "err": (sys.stderr, 0)}
    for pause in pauses(None, ""):
        status = job.look(pause.waited)
        for name, (stream, seen) in ends.items() if show else ():
            text, seen = job.printed_after(name, seen)
            stream.write(text)
            stream.flush()
            ends[name] = (stream, seen)
        if status.state.is_final:
            return status
        time.sleep(pause.seconds)
    raise AssertionError("pauses end by an exception only")


def _said(job: Job, status: JobStatus) -> str:
    code = f", exit code {status.exit_code}" if status.exit_code else ""
    why = f" ({status.reason})" if status.reason else ""
    log = "" if job.started is not None or not job.log.strip() else f"\n{job.log.strip()[-2000:]}"
    return f"job {job.id} {job.name!r}: {status.state.value}{code}{why}; its files: {job.path}{log}"


def _cancel(jobs: Sequence[Job]) -> None:
    try:
        ended = cancel_all([job for job in jobs if job.id])
        print(f"clusterfutures: cancelled {len(ended)} of {len(jobs)} jobs", file=sys.stderr)
    except ClusterError as error:
        print(f"clusterfutures: the jobs could not be cancelled: {error}", file=sys.stderr)
