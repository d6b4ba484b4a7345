"""Direct mode: run the calls on this machine, keep what they return, tell what failed."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Sized
from types import SimpleNamespace
from typing import IO, Any

from clusterfutures.cluf.outputs import kept, open_output
from clusterfutures.cluf.pool import Outcome, Pool
from clusterfutures.cluf.progress import Progress
from clusterfutures.cluf.selecting import chosen
from clusterfutures.cluf.telling import with_traceback
from clusterfutures.cluf.worker import Work, text_of
from clusterfutures.errors import OptionError
from clusterfutures.schedulers.local import cores_here

__all__ = ["run"]

_TRACEBACKS = 20
_DRY = 10


def run(target: Callable[..., Any], iterable: Iterable[Any], settings: SimpleNamespace) -> int:
    """Run the calls that ``settings`` choose; returns the exit status."""
    if settings.resume and not settings.output:
        raise OptionError("--resume needs --output=FILE: what is done already is read from there")
    done = kept(settings.output) if settings.resume and not settings.dry_run else {}
    calls = chosen(iterable, settings, done)
    if settings.dry_run:
        return _dry_run(target, calls)
    total = None
    if isinstance(iterable, Sized) and not done and settings.bins is None:
        total = min(len(iterable), settings.limit or len(iterable))
    output = open_output(settings.output, bool(settings.resume)) if settings.output else None
    kind = os.path.splitext(settings.output)[1] if settings.output else ""
    processes = settings.processes or _cores()
    pool = Pool(Work(target, kind, settings.timeout), calls, processes, _keeper(output, settings.output), total)
    progress, began = Progress(total), time.monotonic()
    interrupted: KeyboardInterrupt | None = None
    try:
        pool.run(lambda outcome: progress.show(outcome.done, outcome.failed))
    except KeyboardInterrupt as error:
        interrupted = error
    finally:
        progress.close()
        if output is not None:
            with contextlib.suppress(OSError):  # was reported when the row was kept
                output.close()
    return _report(pool.outcome, time.monotonic() - began, settings, interrupted, len(done))


def _cores() -> int:
    """The cores that are ours: in a job those that it was given, though it may see all of its node."""
    given = os.environ.get("CLUSTERFUTURES_CORES", "") if "CLUSTERFUTURES_JOB_ID" in os.environ else ""
    return min(int(given), cores_here()) if given.isdecimal() and int(given) else cores_here()


def _keeper(output: IO[bytes] | None, path: str) -> Callable[[bytes], None]:
    def keep(row: bytes) -> None:
        assert output is not None
        try:
            output.write(row)
            output.flush()
        except OSError as error:
            raise OptionError(
                f"{path} cannot be written: {error.strerror}. What it has is kept: --resume goes on from there"
            ) from None

    return keep


def _dry_run(target: Callable[..., Any], calls: Iterable[tuple[int, Any]]) -> int:
    rest = iter(calls)
    name = getattr(target, "__name__", "target")
    for index, given in itertools.islice(rest, _DRY):
        print(f"{index}: {name}{text_of(given)}")
    more = sum(1 for _ in rest)
    print(f"and {more} more calls; nothing was run" if more else "nothing was run")
    return 0


def _report(
    outcome: Outcome, seconds: float, settings: SimpleNamespace, interrupted: KeyboardInterrupt | None, before: int
) -> int:
    """Say how it went, failures last; returns the exit status."""
    sys.stdout.flush()
    say = sys.stderr.write
    for failure in sorted(outcome.failures)[:_TRACEBACKS]:
        say(f"\ncluf: call {failure.number} failed: {failure.args}: {failure.error}\n")
        say("".join(f"    {line}\n" for line in failure.traceback.splitlines()))
    for failure in sorted(outcome.failures)[_TRACEBACKS:]:
        say(f"cluf: call {failure.number} failed: {failure.args}: {failure.error}\n")
    if outcome.failed > len(outcome.failures):
        say(f"cluf: and {outcome.failed - len(outcome.failures)} more failed\n")
    say("\n" if outcome.failures else "")
    bad = f", {outcome.failed} of them failed" if outcome.failed else ""
    left_out = f" ({before} were done before)" if before else ""
    kept_in = f"; results are in {settings.output}" if settings.output else ""
    how = "interrupted: finished" if interrupted else "finished"
    say(f"cluf: {how} {outcome.done} call{'s' * (outcome.done != 1)}{bad}{left_out} in {seconds:.1f} s{kept_in}\n")
    if interrupted is not None:
        say("cluf: --resume goes on from here\n" if settings.output else "")
        return 130
    if isinstance(outcome.stopped, OptionError):
        raise outcome.stopped
    if outcome.stopped is not None:
        say("cluf: the arguments ended too early, their iterable raised:\n")
        say(with_traceback(outcome.stopped))
        return 1
    if outcome.failed and settings.output and settings.bins is None:
        say("cluf: --resume makes the calls that failed once more\n")
    return 1 if outcome.failed else 0
