"""Dispatch mode: write a script for each bin, submit them, follow them, gather outputs.

    settings --Plan--> scripts in jobs_dir --submit()--> one array, or a job each
                                           --follow()--> exit files, job states --> gathered

An array's element runs the script of its bin: ``bash name-$INDEX-12.pbs``.  Bins that ask
for different things (a ``{subjob}`` in an option) go as a job each.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from types import SimpleNamespace
from typing import Any

from clusterfutures import config
from clusterfutures.cluf.outputs import HEADER, copy_records
from clusterfutures.cluf.progress import Progress
from clusterfutures.cluf.reading import Given
from clusterfutures.cluf.scripts import Bin, Plan, text_of
from clusterfutures.cluf.selecting import bin_of
from clusterfutures.errors import ArrayTooLarge, OptionError, SchedulerUnavailable
from clusterfutures.schedulers import by_name, find_scheduler
from clusterfutures.schedulers.base import JobSpec, Scheduler
from clusterfutures.schedulers.inquiry import Inquiry
from clusterfutures.schedulers.options import normalise
from clusterfutures.schedulers.variables import SHELL_OPTIONS, past_shell

__all__ = ["run"]

log = logging.getLogger("clusterfutures")

_LATE_SECONDS = 10.0
_MARK = "\x01"


def run(iterable: Iterable[Any], settings: SimpleNamespace, given: Given) -> int:
    """Write the scripts, and do with them what the settings say; returns the exit status."""
    configured = config.load().options(settings.profile)
    below = normalise({name: value for name, value in configured.items() if name not in config.SETTINGS})
    scheduler, dialect = _scheduler(settings, configured.get("scheduler"))
    count = settings.nodes or 1
    if settings.iterations:
        if settings.dry_run:  # they are looked at twice, and may be a generator
            iterable = list(islice(iterable, settings.limit))
        calls = sum(1 for _ in islice(iterable, settings.limit))
        count = max(1, -(-calls // settings.iterations))
    if settings.hash is not None or settings.key is not None:
        _try_first(iterable, settings, count)
    plan = Plan(settings, given, count, dialect, below)
    bins = plan.bins()
    texts = [text_of(plan, one) for one in bins]
    if settings.dry_run:
        return _dry_run(iterable, plan, bins, texts)
    _check_outputs(plan, bins)
    _write(plan, bins, texts)
    print(f"cluf: wrote {count} script{'s' * (count != 1)}, {_listed(bins)}")
    if scheduler is None or not (settings.queue or settings.wait):
        more = "" if scheduler is None else "; --queue submits them"
        print(f"cluf: run one with: bash {shlex.quote(bins[0].script)}{more}")
        return 0
    return _submit_and_follow(scheduler, plan, bins)


def _try_first(iterable: Iterable[Any], settings: SimpleNamespace, count: int) -> None:
    """Report mistakes in --hash or --key once, not in each job.  Raises OptionError."""
    if isinstance(iterable, Sequence):  # a generator would be one call shorter for who looks at it next
        for index, given in enumerate(iterable[:1]):
            bin_of(settings, count)(index, given)


def _listed(bins: list[Bin]) -> str:
    return bins[0].script if len(bins) == 1 else f"{bins[0].script} ... {os.path.basename(bins[-1].script)}"


def _scheduler(settings: SimpleNamespace, configured: str | None) -> tuple[Scheduler | None, str]:
    """The adapter (None: no scheduler is here), and the dialect of the scripts: the one that is named, else that of
    the scheduler here.  ``local`` in the configuration chooses none: there is nothing to write for it."""
    told = settings.scheduler
    wanted = told or (None if configured == "local" else configured)
    found = by_name("pbs" if wanted == "torque" else wanted) if wanted else find_scheduler()
    here = found.name != "local" and found.is_here()
    if (settings.queue or settings.wait) and not here:
        raise OptionError(
            f"there is no {wanted or 'scheduler'} on this machine to submit to: without --queue the scripts are "
            "written, to be run by hand (bash NAME)"
        )
    if not here:
        return None, wanted or ("torque" if settings.pbs_options else "slurm" if settings.slurm_options else "")
    scheduler = found()
    dialect: Any = getattr(scheduler, "dialect", None)
    return scheduler, told or (type(dialect).__name__.lower().replace("pro", "pbs") if dialect else found.name)


def _dry_run(iterable: Iterable[Any], plan: Plan, bins: list[Bin], texts: list[str]) -> int:
    place = bin_of(plan.settings, plan.count)
    sizes = Counter(place(index, given) for index, given in enumerate(islice(iterable, plan.settings.limit)))
    for one in bins:
        print(f"{one.script}: {sizes[one.number]} calls")
    print(f"\n{texts[0]}\nnothing was written")
    return 0


def _check_outputs(plan: Plan, bins: list[Bin]) -> None:
    parts = [os.path.join(plan.directory, one.part) for one in bins if one.part]
    above = os.path.dirname(plan.settings.output or "") or "."
    if not os.path.isdir(above):
        raise OptionError(f"{plan.settings.output} cannot be written: there is no directory {above}")
    there = [path for path in [*parts, *([plan.settings.output] if parts else [])] if os.path.exists(path)]
    if there and not plan.settings.resume:
        raise OptionError(f"{there[0]} is there already: go on with it by --resume, or remove it")


def _write(plan: Plan, bins: list[Bin], texts: list[str]) -> None:
    try:
        os.makedirs(plan.directory, exist_ok=True)
        for one, text in zip(bins, texts, strict=True):
            os.makedirs(os.path.dirname(one.stdout), exist_ok=True)
            os.makedirs(os.path.dirname(one.stderr), exist_ok=True)
            if os.path.exists(one.exit):
                os.unlink(one.exit)
            with open(one.script, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
            os.chmod(one.script, 0o755)
    except OSError as error:
        raise OptionError(f"jobs_dir {plan.directory} cannot be written to: {error}") from None


# ----------------------------------------------------------------------- submitting


def _submit_and_follow(scheduler: Scheduler, plan: Plan, bins: list[Bin]) -> int:
    jobs: dict[str, Bin] = {}
    try:
        _submit(scheduler, plan, bins, jobs)
        ended = _follow(scheduler, plan, jobs) if plan.settings.wait else {}
    except BaseException as error:
        if jobs:
            _cancel(scheduler, plan, jobs)
        if isinstance(error, KeyboardInterrupt):
            return 130
        raise
    if not plan.settings.wait:
        print("cluf: --wait would follow them and gather their outputs")
        return 0
    _gather(plan, jobs, ended)
    return _report(plan, jobs, ended)


def _cancel(scheduler: Scheduler, plan: Plan, jobs: dict[str, Bin]) -> None:
    """End what has not ended, and say so."""
    left = [job for job, one in jobs.items() if not os.path.exists(one.exit)]
    if left:
        scheduler.cancel(left)
    bins = f"{len(jobs) - len(left)} of {len(jobs)} bins had finished"
    print(f"cluf: cancelled {len(left)} job{'s' * (len(left) != 1)}; {bins}", file=sys.stderr)
    if plan.settings.output:
        print("cluf: what they have kept is not lost: --resume goes on from there", file=sys.stderr)


def _submit(scheduler: Scheduler, plan: Plan, bins: list[Bin], jobs: dict[str, Bin]) -> None:
    """As one array; as a job each when bins differ or arrays are too small here."""
    if len(bins) > 1 and _is_uniform(plan, bins) and len(bins) <= scheduler.array_limit():
        try:
            _submit_some(scheduler, plan, bins, jobs)
            return
        except ArrayTooLarge:
            print(f"cluf: no array of {len(bins)} elements is possible here, submitting each bin", file=sys.stderr)
    for one in bins:
        _submit_some(scheduler, plan, [one], jobs)
    print(f"cluf: submitted {len(bins)} job{'s' * (len(bins) != 1)}: {', '.join(list(jobs)[:5])}", end="")
    print(" ..." if len(jobs) > 5 else "")


def _is_uniform(plan: Plan, bins: list[Bin]) -> bool:
    """True when bins differ by their number alone, as elements of an array do."""
    if any("{subjob}" in str(v) for k, v in plan.options.items() if k not in ("name", "stdout", "stderr")):
        return False
    try:
        pattern = plan.bin(_MARK)
    except OptionError:
        return False  # a number is wanted there, as in {subjob:03d}
    return all(
        getattr(pattern, name).replace(_MARK, str(one.number)) == getattr(one, name)
        for one in bins
        for name in ("script", "stdout", "stderr")
    )


def _submit_some(scheduler: Scheduler, plan: Plan, bins: list[Bin], jobs: dict[str, Bin]) -> None:
    pattern = plan.bin(_MARK if len(bins) > 1 else bins[0].number)
    index = '"$CLUSTERFUTURES_INDEX"'
    script, stdout, stderr = (
        index.join(shlex.quote(part) for part in path.split(_MARK))
        for path in (pattern.script, pattern.stdout, pattern.stderr)
    )
    errors = "&1" if stderr == stdout else stderr  # one file, opened once
    name = pattern.name.replace(_MARK, "all")
    spec = JobSpec(
        name=name,
        command=["/bin/bash", "-c", f"CLUF_EXIT=1 exec /bin/bash {script} >{stdout} 2>{errors}"],
        log=os.path.join(plan.directory, f"{name}.job"),
        cwd=plan.directory,
        resources=plan.asked(bins[0].number if len(bins) == 1 else None),
        past_shell=_past_shell() if scheduler.exports_environment else {},
    )
    path = os.path.join(plan.directory, f"{name}.submit")
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(scheduler.script(spec, len(bins)))
    ids = scheduler.submit(spec, path, len(bins))
    jobs.update(zip(ids, bins, strict=True))
    if len(bins) > 1:
        print(f"cluf: submitted {len(bins)} bins as one array, jobs {ids[0]} ... {ids[-1]}")


def _past_shell() -> dict[str, str]:
    """What the shell of a job does not pass on.  Options for shells are left out: the bin's script is for a shell."""
    return {name: value for name, value in past_shell(os.environ).items() if name not in SHELL_OPTIONS}


# ------------------------------------------------------------------------ following


def _follow(scheduler: Scheduler, plan: Plan, jobs: dict[str, Bin]) -> dict[str, str]:
    """Until every bin has said how it ended, or its job is over without a word; exit status or reason of each."""
    progress = Progress(len(jobs), "bins")
    ended: dict[str, str] = {}
    over: dict[str, tuple[float, str]] = {}
    told: set[str] = set()
    inquiry = Inquiry(scheduler.explain)
    pause, longest = scheduler.poll_seconds
    asked_at = 0.0
    try:
        while len(ended) < len(jobs):
            ended |= _told(plan, jobs, ended)
            now = time.monotonic()
            if now - asked_at >= (min(pause, _LATE_SECONDS) if over else pause):
                asked_at, pause = now, min(longest, pause * 1.5)
                said = _over(scheduler, [job for job in jobs if job not in ended], inquiry, told)
                # one that was over and is not any more, was requeued
                over = over if said is None else {job: over.get(job, (now, why)) for job, why in said.items()}
                ended |= {job: why for job, (since, why) in over.items() if said and now - since >= _LATE_SECONDS}
            progress.show(len(ended), sum(said != "0" for said in ended.values()))
            time.sleep(0.2 if len(ended) < len(jobs) else 0)
    finally:
        progress.close()
    return ended


def _told(plan: Plan, jobs: dict[str, Bin], ended: Iterable[str]) -> dict[str, str]:
    """What further bins say of their end; a listing is fresh where a stat may not be."""
    listed = set(os.listdir(plan.directory))
    new = {job: one for job, one in jobs.items() if job not in ended and os.path.basename(one.exit) in listed}
    return {job: said for job, one in new.items() if (said := _read(one.exit))}


def _read(path: str) -> str:
    """The exit status in a file; nothing while that is not there, though its name may be."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _over(scheduler: Scheduler, job_ids: list[str], inquiry: Inquiry, told: set[str]) -> dict[str, str] | None:
    """Jobs that are over, and how; None when the scheduler did not answer: it is asked again later.

    told: what was said already; what else is to be said of jobs that wait is added.
    """
    asked_at = time.monotonic()
    try:
        found = scheduler.states(job_ids) if job_ids else {}
    except SchedulerUnavailable as error:
        _say(f"the scheduler gave no answer about the jobs, asking again: {error}", told)
        return None
    for job in found.values():
        if job.never_starts and job.reason not in told:
            told.add(job.reason)
            _say(
                f"job {job.job_id} is waiting for something that does not come by itself: {job.reason}. Release a job "
                "that is held (scontrol release, qrls), else stop this (Ctrl-C) and ask for what there is",
                told,
            )
    believed = {job_id: inquiry.believed(status, asked_at) for job_id, status in found.items()}
    return {
        job_id: f"its job ended: {job.word or job.state.value}"
        for job_id, job in believed.items()
        if job is not None and job.state.is_final
    }


def _say(text: str, told: set[str]) -> None:
    """Say something on stderr, once."""
    if text not in told:
        told.add(text)
        print(f"cluf: {text}", file=sys.stderr)


def _gather(plan: Plan, jobs: dict[str, Bin], ended: dict[str, str]) -> None:
    """Put the parts together.  A bin that did not end by itself may have been writing a record."""
    output = plan.settings.output
    if not output:
        return
    try:
        with open(f"{output}.tmp", "wb") as whole:
            whole.write(HEADER[os.path.splitext(output)[1]])
            for job, one in jobs.items():
                path = os.path.join(plan.directory, one.part)
                if os.path.exists(path):
                    copy_records(path, whole, may_be_torn=ended[job] not in ("0", "1"))
        os.replace(f"{output}.tmp", output)
    except OSError as error:
        raise OptionError(f"{output} cannot be written: {error.strerror}; its parts are in {plan.directory}") from None


def _report(plan: Plan, jobs: dict[str, Bin], ended: dict[str, str]) -> int:
    bad = {job: said for job, said in ended.items() if said != "0"}
    for job, said in list(bad.items())[:10]:
        one = jobs[job]
        why = f"exit status {said}" if said.isdigit() else said
        print(f"\ncluf: bin {one.number} (job {job}) failed: {why}; see {one.stderr}", file=sys.stderr)
        if os.path.exists(one.stderr):
            with open(one.stderr, errors="replace") as file:
                print("".join(f"    {line}" for line in file.readlines()[-15:]), end="", file=sys.stderr)
    results = f"; results are in {plan.settings.output}" if plan.settings.output else ""
    calls, failed = _counted(list(jobs.values()))
    calls_said = f"{calls} call{'s' * (calls != 1)}" + (f", {failed} of them failed" if failed else "")
    print(f"cluf: finished {calls_said}; {_bins_said(len(jobs), len(bad))}{results}")
    if bad and results:
        print("cluf: --resume makes the calls that failed or are missing")
    return 1 if bad else 0


def _bins_said(count: int, failed: int) -> str:
    if not failed:
        return f"{count} bin{'s' * (count != 1)} ended well"
    return f"{failed} of {count} bins failed" + (f", {count - failed} ended well" if failed < count else "")


def _counted(bins: list[Bin]) -> tuple[int, int]:
    """Calls that were made and those of them that failed, as direct mode has said in each bin."""
    calls = failed = 0
    for one in bins:
        if os.path.exists(one.stderr):
            with open(one.stderr, errors="replace") as file:
                said = re.findall(r"(?m)^cluf: finished (\d+) calls?(?:, (\d+) of them failed)?", file.read())
            calls += sum(int(made) for made, _ in said[-1:])
            failed += sum(int(bad or 0) for _, bad in said[-1:])
    return calls, failed
