"""A real computation over real files: the identifiers of Python's own standard library.

    files --map--> count(path) on the workers --Tally each--> merged here --> report

    python -m clusterfutures.demo [--scheduler slurm|pbs|local] [--workers N] [--files N] [--top N]

Every module of the standard library is read, parsed and tokenised where its call runs.
What comes back says where that was and how long it took, so the report can show what ran
where, and the time that one process would have needed for the same work.

Without a cluster, but with the packages slurm-wlm and munge, a Slurm of this machine's own:

    python -m clusterfutures.testing.real_slurm run -- python -m clusterfutures.demo --scheduler slurm
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import keyword
import os
import sys
import sysconfig
import time
import tokenize
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from clusterfutures import ClusterExecutor

__all__ = ["Tally", "count", "main", "modules"]

# What only the client needs is imported where it is used: the workers import this module
# too, to find ``count``.

#: jobs asked for where the user names no number and the machine is shared with others
FEW_WORKERS = 8
_LINE_SECONDS = 2.0
_NOT_OURS = {"site-packages", "dist-packages"}
_COMMANDS = {"slurm": ("Slurm", "sbatch and squeue"), "pbs": ("PBS", "qsub and qstat")}


class Tally(NamedTuple):
    """What one call found, where it ran, and what it cost."""

    path: str
    names: Counter[str]
    problem: str  # why the file could not be parsed; '' when it could
    wall: float
    cpu: float
    host: str
    job: str
    process: int


# -- on the workers ---------------------------------------------------------------------


def count(path: str) -> Tally:
    """Count the identifiers of one Python file.  A file that is not valid Python is no
    error: it comes back with its problem."""
    wall, cpu = time.perf_counter(), time.process_time()
    names: Counter[str] = Counter()
    problem = ""
    try:
        names = identifiers(Path(path).read_bytes())
    except (SyntaxError, ValueError, RecursionError, OSError) as error:
        problem = f"{type(error).__name__}: {getattr(error, 'msg', None) or error}"
    return Tally(
        path,
        names,
        problem,
        time.perf_counter() - wall,
        time.process_time() - cpu,
        os.environ.get("SLURMD_NODENAME") or os.uname().nodename,  # nodes of a test cluster share a host
        os.environ.get("CLUSTERFUTURES_JOB_ID", ""),
        os.getpid(),
    )


def identifiers(source: bytes) -> Counter[str]:
    """The identifiers of a module, each with the number of its uses.

    Raises SyntaxError or ValueError for what this Python cannot parse.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # test data is full of invalid escapes
        ast.parse(source)
    tokens = tokenize.tokenize(io.BytesIO(source).readline)
    return Counter(t.string for t in tokens if t.type == tokenize.NAME and not keyword.iskeyword(t.string))


# -- on the client ----------------------------------------------------------------------


def modules(root: Path, most: int | None) -> list[str]:
    """The Python files below ``root``; with ``most``, that many, evenly spread."""
    found = sorted(str(path) for path in root.rglob("*.py") if not _NOT_OURS.intersection(path.parts))
    if most is None or most >= len(found):
        return found
    return [found[i * len(found) // most] for i in range(most)]


class Outcome(NamedTuple):
    """All that was counted, and how long it took from the start of the executor."""

    tallies: list[Tally]
    first: float
    seconds: float


def compute(executor: ClusterExecutor, paths: Sequence[str], step: Callable[[], None]) -> Outcome:
    """Count all files on the executor; ``step`` is called after each."""
    started = time.perf_counter()
    first = 0.0
    tallies = []
    for tally in executor.map(count, paths, ordered=False):
        first = first or time.perf_counter() - started
        tallies.append(tally)
        step()
    return Outcome(tallies, first, time.perf_counter() - started)


# -- progress ---------------------------------------------------------------------------


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """Show how far the work is, on stderr: a bar where rich is installed, otherwise a line
    now and then; nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        yield _lines(total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("waiting for a worker", total=total)
        yield lambda: bar.update(task, advance=1, description="modules counted")


def _lines(total: int) -> Callable[[], None]:
    done, said = 0, time.monotonic()

    def step() -> None:
        nonlocal done, said
        done += 1
        if time.monotonic() - said > _LINE_SECONDS or done == total:
            said = time.monotonic()
            print(f"{done} of {total} modules counted", file=sys.stderr, flush=True)

    return step


# -- the report -------------------------------------------------------------------------


def report(outcome: Outcome, root: Path, top: int) -> str:
    """What ran where, the ranking, and the times."""
    names: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for tally in outcome.tallies:
        names.update(tally.names)
        files.update(tally.names.keys())
    ranking = [
        (str(rank), name, f"{uses:,}", f"{files[name]:,}")
        for rank, (name, uses) in enumerate(names.most_common(top), 1)
    ]
    parts = [
        table(("host", "job", "process", "calls", "seconds"), _places(outcome.tallies), left=2),
        table(("rank", "identifier", "uses", "modules"), ranking, left=2),
        f"{_many(len(outcome.tallies), 'module')}, {names.total():,} identifiers, {len(names):,} different ones."
        + _problems(outcome.tallies, root),
        _times(outcome),
    ]
    return "\n\n".join(parts)


def _places(tallies: Sequence[Tally]) -> list[tuple[str, ...]]:
    calls: Counter[tuple[str, str, int]] = Counter()
    seconds: Counter[tuple[str, str, int]] = Counter()
    for tally in tallies:
        place = tally.host, tally.job, tally.process
        calls[place] += 1
        seconds[place] += tally.wall  # type: ignore[assignment]  # a Counter adds floats as well
    return [
        (host, job, str(process), f"{calls[host, job, process]:,}", f"{seconds[host, job, process]:.2f}")
        for host, job, process in sorted(calls)
    ]


def _problems(tallies: Sequence[Tally], root: Path) -> str:
    bad = sorted(tally for tally in tallies if tally.problem)
    if not bad:
        return ""
    example = os.path.relpath(bad[0].path, root)
    return (
        f"\n{_many(len(bad), 'module')} could not be parsed, mostly test data with errors on purpose; "
        f"one is {example}:\n    {bad[0].problem}"
    )


def _times(outcome: Outcome) -> str:
    wall = sum(tally.wall for tally in outcome.tallies)
    cpu = sum(tally.cpu for tally in outcome.tallies)
    sooner = "it would have been done sooner"
    compared = f"{cpu / outcome.seconds:.1f} times as long" if cpu > outcome.seconds else sooner
    text = (
        f"Time: {outcome.seconds:.2f} s, the first result after {outcome.first:.2f} s.\n"
        f"One process: about {cpu:.2f} s of computing, {compared}.\n"
        "    (the CPU seconds of all calls, measured where they ran; not a run of its own)"
    )
    if wall > 1.3 * cpu:
        text += f"\nBy the clock the calls took {wall:.2f} s in all: processes had to share cores or wait for files."
    return text


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Text in columns: the first ``left`` ones to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# -- the command ------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status: 0, 1 when it failed, 2 when it was asked for
    what is not there, 130 after Ctrl-C."""
    args = _arguments().parse_args(argv)
    from clusterfutures.errors import ClusterError, OptionError, SubmitError

    try:
        return _run(args)
    except OptionError as error:
        return _fail(str(error), 2)
    except SubmitError as error:
        said = "; ".join(line for line in (error.message, error.advice) if line)
        return _fail(f"{' '.join(said.split())} (without a scheduler: --scheduler local)", 1)
    except ClusterError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return _fail("interrupted; its jobs are cancelled and its files removed", 130)


def _run(args: argparse.Namespace) -> int:
    from clusterfutures import ClusterExecutor
    from clusterfutures.schedulers import by_name, find_scheduler

    adapter = by_name(args.scheduler) if args.scheduler else find_scheduler()
    if not adapter.is_here():
        product, commands = _COMMANDS[adapter.name]
        return _fail(f"there is no {product} here: {commands} are missing or not set up; try --scheduler local", 2)
    root = Path(sysconfig.get_path("stdlib"))
    paths = modules(root, args.files)
    workers = args.workers or (None if adapter.name == "local" else FEW_WORKERS)
    own = {"max_workers": workers, "scheduler": adapter.name}
    with ClusterExecutor(**{"name": "demo", **_options(args.option), **own}) as executor:
        version = f"Python {sys.version_info.major}.{sys.version_info.minor}"
        print(f"Counting the identifiers of {_many(len(paths), 'module')} of {version} in {root}")
        print(f"Scheduler: {adapter.name}, up to {executor._max_workers} processes at once\n", flush=True)
        with progress(len(paths)) as step:
            outcome = compute(executor, paths, step)
    print(report(outcome, root, args.top))
    return 0


def _options(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Options of the executor from the command line.  Raises OptionError."""
    from clusterfutures.errors import OptionError
    from clusterfutures.options import table as options_table

    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in ("max_workers", "scheduler"):
            raise OptionError(f"--option {name}={value}: say --{name.removeprefix('max_')}={value}")
        row = options_table.find(name)
        found[name] = options_table.read(row, name, value) if row is not None else value
    return found


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m clusterfutures.demo",
        description="Count and rank the identifiers of Python's standard library, on a cluster or on this machine.",
    )
    parser.add_argument("--scheduler", choices=["slurm", "pbs", "local"], help="default: the one that is here")
    parser.add_argument(
        "--workers", type=_positive, metavar="N", help=f"jobs at once (default: {FEW_WORKERS}; locally its cores)"
    )
    parser.add_argument("--files", type=_positive, metavar="N", help="only N modules, evenly spread")
    parser.add_argument("--top", type=_positive, metavar="N", default=10, help="length of the ranking (default: 10)")
    parser.add_argument(
        "--option",
        type=_option,
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="what your site wants to know, such as partition=short or account=project1; may be repeated",
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _fail(text: str, status: int) -> int:
    print(f"demo: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    # Under its own name, not as __main__: so workers import it, and need no copy by value.
    from clusterfutures import demo

    sys.exit(demo.main())
