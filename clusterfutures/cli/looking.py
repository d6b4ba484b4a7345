"""``wait``, ``queue``, ``cancel`` and ``clean``: jobs that are there, ours and others."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from clusterfutures.cli.showing import HEAD, as_json, columns, queued_facts, queued_row, status_facts
from clusterfutures.commandline.words import Taken
from clusterfutures.errors import OptionError
from clusterfutures.jobs.cleaning import clean as clean_jobs
from clusterfutures.jobs.cleaning import ended_in
from clusterfutures.jobs.directories import jobs_directory, scheduler_name
from clusterfutures.jobs.job import Job, cancel_all, find
from clusterfutures.jobs.queue import Queue
from clusterfutures.jobs.status import ONE_AT_A_TIME, adapter
from clusterfutures.schedulers.base import split_id
from clusterfutures.schedulers.job_state import JobState

__all__ = ["cancel", "clean", "queue", "wait"]


def wait(taken: Taken) -> int:
    """``clusterfutures wait``: status 0 when all have ended well."""
    options = taken.options
    limit = _seconds(options.get("timeout"))
    all_mine, directory = _mine(options)
    given = taken.positional or [job.id for job in all_mine.jobs if not job.state.is_final]
    jobs = _one_by_one(find(given, directory, all_mine.scheduler), all_mine)
    others = [job for job in jobs if isinstance(job, str)]
    begun = time.monotonic()
    facts = []
    try:
        for job in jobs:
            left = None if limit is None else max(0.0, limit - (time.monotonic() - begun))
            if isinstance(job, str) and others:  # of all of them one list tells
                all_mine.wait(others, left)
                others = []
            facts.append(status_facts(job, job.wait(left)) if isinstance(job, Job) else _listed(job, all_mine))
            if not options.get("json"):
                _tell(facts[-1])
    except TimeoutError as error:
        print(f"clusterfutures: {error}", file=sys.stderr)
    if options.get("json"):
        as_json(facts)
    return 0 if len(facts) == len(jobs) and all(one["state"] == JobState.COMPLETED.value for one in facts) else 1


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise OptionError(f"--timeout={text}: expected a number of seconds")
    return seconds


def _one_by_one(jobs: Sequence[Job | str], queue: Queue) -> list[Job | str]:
    """The same with the elements of arrays that are none of ours."""
    _must_be_known([job for job in jobs if isinstance(job, str)], queue.scheduler)
    return [one for job in jobs for one in ([job] if isinstance(job, Job) else queue.ids_of(job) or [job])]


def _listed(job_id: str, queue: Queue) -> dict[str, Any]:
    """How a job has ended that is none of ours; where the list does not say it the scheduler is asked for that one."""
    found = next((job for job in Queue(None, scheduler=queue.scheduler) if job.id == job_id), None)
    if found is not None and found.state.is_final:
        return {"id": job_id, "name": found.name, "state": found.state.value, "exitcode": found.exitcode}
    with ONE_AT_A_TIME:
        status = adapter(queue.scheduler).explain(job_id)
    state = status.state if status is not None else JobState.GONE
    return {"id": job_id, "name": "", "state": state.value, "exitcode": status.exit_code if status else None}


def _tell(facts: dict[str, Any]) -> None:
    code = f", exit code {facts['exitcode']}" if facts["exitcode"] else ""
    why = f" ({facts['reason']})" if facts.get("reason") else ""
    named = " ".join(filter(None, [facts["id"] or "(not submitted)", facts["name"]]))
    print(f"{named}: {facts['state']}{code}{why}", flush=True)


def queue(taken: Taken) -> int:
    """``clusterfutures queue``."""
    options = taken.options
    _no_words(taken)
    if options.get("user") and options.get("all"):
        raise OptionError("--user and --all exclude each other: give one of them")
    user = None if options.get("all") else options.get("user", "self")
    asked = Queue(user, options.get("partition"), scheduler=_scheduler(options))
    kinds = [name for name in ("running", "queued", "completed", "failed") if options.get(name)]
    if options.get("ended"):
        kinds += ["completed", "failed"]
    chosen = asked.those(*kinds) if kinds else [job for job in asked.jobs if not job.state.is_final]
    if options.get("count"):
        print(len(chosen))
    elif options.get("json"):
        as_json([queued_facts(job) for job in chosen])
    elif chosen:
        now = time.time()
        columns(HEAD, [queued_row(job, now) for job in chosen])
    else:
        print(f"no jobs on {asked.scheduler}", file=sys.stderr)
    return 0


def cancel(taken: Taken) -> int:
    """``clusterfutures cancel``."""
    options = taken.options
    mine, directory = _mine(options)
    asks = bool(options.get("all") and not options.get("yes") and not options.get("dry_run"))
    if bool(taken.positional) == bool(options.get("all")):
        raise OptionError("which jobs? Give their ids or directories, or --all for all of yours")
    if asks and options.get("json"):
        raise OptionError("--json asks nothing: add --yes to cancel all of your jobs, or --dry-run to list them")
    given = taken.positional or [job.id for job in mine.jobs if not job.state.is_final]
    jobs = find(given, directory, mine.scheduler)
    _must_be_known([job for job in jobs if isinstance(job, str)], mine.scheduler)
    ids = [job if isinstance(job, str) else job.id for job in jobs]
    over = set[str]()
    if not options.get("dry_run") and (not asks or not ids or _agreed("Cancel", ids)):
        over = {job.id for job in mine.jobs if job.state.is_final}
        ours = [job for job in jobs if isinstance(job, Job)]
        over |= {job.id for job in ours} - {job.id for job in cancel_all(ours)}
        foreign = [job for job in jobs if isinstance(job, str) and job not in over]
        if foreign:
            with ONE_AT_A_TIME:
                adapter(mine.scheduler).cancel(foreign)
    elif not options.get("dry_run"):
        return 1
    if options.get("json"):
        as_json(ids)
    elif not ids:
        print(f"no jobs of yours wait or run on {mine.scheduler}", file=sys.stderr)
    else:
        did = "would cancel" if options.get("dry_run") else "cancelled"
        print("\n".join(f"{job_id} had ended" if job_id in over else f"{did} {job_id}" for job_id in ids))
    return 0


def clean(taken: Taken) -> int:
    """``clusterfutures clean``: only what jobs of ours wrote, only once they have ended."""
    options = taken.options
    if len(taken.positional) > 1:
        raise OptionError(f"one directory at a time: {' '.join(taken.positional)}")
    directory = jobs_directory("".join(taken.positional) or None, options.get("profile"))
    if taken.positional and not os.path.isdir(directory):
        raise OptionError(f"there is no directory {taken.positional[0]!r}")
    jobs = ended_in(directory, options.get("suffix", ""), options.get("scheduler"))
    dry = options.get("dry_run")
    if options.get("json") and not (dry or options.get("yes")):
        raise OptionError("--json asks nothing: add --yes to remove the files, or --dry-run to list them")
    paths = [job.path for job in jobs]
    told = [f"{job.path}  ({job.name}, {job.id or 'not submitted'})" for job in jobs]
    if not dry and jobs and not options.get("yes") and not _agreed("Remove the files of", told):
        return 1
    if not dry:
        clean_jobs(jobs, bool(options.get("outputs")), remember=False)
    if options.get("json"):
        as_json(paths)
    elif dry:
        print("\n".join([*told, f"would remove the files of {len(jobs)} jobs in {directory}"]))
    else:
        print(f"removed the files of {len(jobs)} jobs in {directory}")
    return 0


# -------------------------------------------------------------------------- in common


def _scheduler(options: Mapping[str, Any]) -> str:
    return scheduler_name(options.get("scheduler"), options.get("profile"))


def _mine(options: Mapping[str, Any]) -> tuple[Queue, str]:
    """The queue that the options mean, of this user's jobs, and where directories of jobs are."""
    mine, directory = (
        Queue(scheduler=_scheduler(options)),
        jobs_directory(options.get("directory"), options.get("profile")),
    )
    mine.know_places_of(directory)
    return mine, directory


def _no_words(taken: Taken) -> None:
    if taken.positional:
        raise OptionError(f"the command line: {taken.positional[0]!r} is no option of this command")


def _must_be_known(job_ids: Sequence[str], scheduler: str) -> None:
    """Ids that are none of ours have to be in the scheduler's list: a misspelt one is said to be."""
    if not job_ids:
        return
    listed = Queue(None, scheduler=scheduler)
    known = {job.id for job in listed.jobs}
    bases = {job_id.partition("_")[0].partition("[")[0] for job_id in known}
    for job_id in job_ids:
        if not split_id(job_id)[1] and (job_id in known or job_id.removesuffix("[]") in bases):
            continue
        told = None
        if job_id[:1].isdigit():  # on a cluster or server of its own, or too young for a list that is a minute old
            with ONE_AT_A_TIME:
                told = adapter(scheduler).explain(job_id)
        if (told is None or told.state is JobState.GONE) and job_id not in known:
            raise OptionError(
                f"there is no job {job_id!r} in the queue of {scheduler}, nor one of yours that has ended"
            )


def _agreed(what: str, lines: Sequence[str]) -> bool:
    print("\n".join(lines))
    try:
        said = input(
            f"{what} {'these ' if len(lines) != 1 else 'this '}{len(lines)} job{'s' * (len(lines) != 1)}? [y/N] "
        )
    except EOFError:
        print()
        return False
    return said.strip().lower() in ("y", "yes")
