"""The entry of a job: find the run, compare versions, supervise, say how it ended.

The script that the scheduler starts ends in

    exec python -c '<bootstrap>' <run directory> <worker group> <batch> <directory of this package>

(``store/bootstrap.py``) with ``CLUSTERFUTURES_INDEX``, ``_ATTEMPT``, ``_JOB_ID``, ``_CORES`` and ``_JOB_END`` set, and
after ``mkdir claimed/<worker>`` (the check-in).  What goes wrong before the supervisor works
goes to the job's log, as one clear sentence, and to the worker's *ended*.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import time
from importlib.util import find_spec
from typing import Any

import clusterfutures
from clusterfutures.node import signals
from clusterfutures.node.claims import ExitReason, last_words
from clusterfutures.node.disk_full import FULL_SECONDS, may_pass, say
from clusterfutures.node.reporter import Reporter
from clusterfutures.node.supervisor import Supervisor
from clusterfutures.node.time_limit import remaining_time
from clusterfutures.store import names, records
from clusterfutures.store.bootstrap import EXIT_NO_SPACE
from clusterfutures.store.faults import TRANSIENT, advice, explained
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["main"]

_EXIT_FAULT = 70


def main() -> None:
    """Run the worker that this job is; exits with 0 unless something was wrong."""
    path, worker_group, batch = sys.argv[1:4]
    worker = names.worker_name(
        batch, os.environ.get("CLUSTERFUTURES_INDEX", "0"), os.environ.get("CLUSTERFUTURES_ATTEMPT", "0")
    )
    started = time.time()
    try:
        run = RunDirectory.open(path)
        context = run.read_context(worker_group)
        run.be_patient(context["visibility_timeout"])
        _enter(context)
        _compare_versions(context)
    except Exception as error:
        sys.exit(f"clusterfutures: this worker cannot start: {error}")
    try:
        ending = _supervise(run, worker, worker_group, context, started)
        status = _EXIT_FAULT if ending in (ExitReason.FAULT, ExitReason.INITIALIZER) else 0
    except OSError as error:
        ending, status = ExitReason.FAULT, EXIT_NO_SPACE
        if may_pass(error):
            what = f"nothing could be written to {run.path} for {FULL_SECONDS:.0f} s: {explained(error)}"
        elif error.errno in TRANSIENT:
            what, status = f"{run.path} could not be used for {run.wait:g} s: {error}; {advice(error)}", _EXIT_FAULT
        else:
            raise
        say(f"this worker ends: {what}")
    finally:
        signals.end_orphans()
    if ending is ExitReason.SIGNAL:  # for the scheduler, a job that got a signal died of it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    os._exit(status)  # whatever could not be said


def _supervise(
    run: RunDirectory, worker: str, worker_group: str, context: dict[str, Any], started: float
) -> ExitReason:
    signals.adopt_orphans()
    reporter = Reporter(run, worker)
    node = os.environ.get("SLURMD_NODENAME") or os.uname().nodename
    reporter.report(
        records.STARTED,
        {
            "host": os.uname().nodename,
            "node": node,
            "pid": os.getpid(),
            "job_id": os.environ.get("CLUSTERFUTURES_JOB_ID", ""),
            "processes": context["processes"],
            "time": started,
            "left": None if (left := remaining_time()) == math.inf else left,
        },
    )
    if node in os.environ.get("CLUSTERFUTURES_AVOID", "").split():
        say(f"this worker ends: others have died on {node}, so the program does not use it")
        reporter.report(records.ENDED, last_words(ExitReason.AVOIDED, (), ""))
        reporter.flush()
        return ExitReason.AVOIDED
    return Supervisor(run, worker, worker_group, context, reporter).serve()


def _compare_versions(context: dict[str, Any]) -> None:
    """Functions pickled by value are bytecode: they need the same Python on both sides."""
    here = list(sys.version_info[:2])
    there = list(context["python"])
    if here != there:
        raise RuntimeError(
            f"Python {here[0]}.{here[1]} on {os.uname().nodename} ({sys.executable}), "
            f"but {there[0]}.{there[1]} where the program runs: they must be the same; "
            "name the right interpreter with python="
        )
    ours, theirs = clusterfutures.__version__, context.get("clusterfutures", "")  # earlier versions do not say it
    if theirs and ours != theirs:
        raise RuntimeError(
            f"clusterfutures {ours} on {os.uname().nodename} ({os.path.dirname(clusterfutures.__file__)}), "
            f"but {theirs} where the program runs: install the same version on both, or, where it was replaced since "
            "the program began, start the program again"
        )
    mine = _cloudpickle_version()
    if mine.split(".")[:2] != context["cloudpickle"].split(".")[:2]:
        raise RuntimeError(
            f"cloudpickle {mine} on {os.uname().nodename}, but {context['cloudpickle']} "
            "where the program runs: install the same version on both"
        )


def _cloudpickle_version() -> str:
    """The version that is installed here, read and not imported: that takes a fifth of a
    worker's start, and only functions that are pickled by value need it."""
    spec = find_spec("cloudpickle")
    if spec is not None and spec.origin is not None:
        with contextlib.suppress(OSError), open(spec.origin, "rb") as source:  # in an archive it is no file
            for line in source:
                if line.startswith(b"__version__ = "):
                    return line.split(b"=", 1)[1].strip(b" \"'\r\n").decode()
    import cloudpickle

    version: str = cloudpickle.__version__
    return version


def _enter(context: dict[str, Any]) -> None:
    """Find here what the program finds there: modules, relative paths, cores."""
    sys.path[:] = _search_path(context)
    try:
        if context["cwd"]:  # "": the program's was removed, and the script has found another
            os.chdir(context["cwd"])
    except OSError as error:
        say(f"cannot enter {context['cwd']}: {error.strerror}; staying where the job began")
    given = os.environ.get("CLUSTERFUTURES_CORES", "")
    context["job_cores"] = int(given) if given.isdigit() else 0


def _search_path(context: dict[str, Any]) -> list[str]:
    """The program's ``sys.path`` in its order, then what only this interpreter has.

    An interpreter of another installation keeps its own standard library and packages:
    of the program's path it takes what stands outside that one's installation.
    """
    theirs = list(context["sys_path"])
    if list(context["prefixes"]) != [sys.prefix, sys.base_prefix]:
        roots = tuple(prefix.rstrip("/") + "/" for prefix in context["prefixes"])
        theirs = [entry for entry in theirs if not entry.startswith(roots)]
    mine = [entry for entry in sys.path if entry and entry not in theirs]
    return theirs + mine
