"""The text of a bin's script: directives, then shell that one can read and run by hand.

    #!/bin/bash
    #PBS -N ...                       name, output, resources: as the options say
    cd ...                            where cluf was called
    <prepended>
    A=b cluf /path/script.py -m direct -b 3/12 ...
    <appended>

``cluf`` in it is a function, because a job's PATH may not have the command.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from clusterfutures.cluf.loading import path_of
from clusterfutures.cluf.reading import Given
from clusterfutures.errors import OptionError
from clusterfutures.schedulers import options as resources
from clusterfutures.schedulers.options import normalise
from clusterfutures.schedulers.pbs.dialects import Dialect, Pro, Torque, in_directive

__all__ = ["Bin", "Plan", "text_of"]

log = logging.getLogger("clusterfutures")

_SPECIAL = ("name", "stdout", "stderr")
_NAME = "{target}-{subjob}-{num_subjobs}"
_SUFFIX = {"pbs": ".pbs", "torque": ".pbs", "slurm": ".slurm", "": ".sh"}


class Bin(NamedTuple):
    """One bin's job: its number, name, and files."""

    number: int
    name: str
    script: str
    stdout: str
    stderr: str
    exit: str
    part: str


class Plan:
    """What all scripts share.  dialect: pbs, torque, slurm, or "" for no directives.

    below: resources of the user's configuration, where the options say nothing.
    """

    def __init__(
        self, settings: SimpleNamespace, given: Given, count: int, dialect: str, below: Mapping[str, Any]
    ) -> None:
        self.below = below
        self.settings, self.given, self.count, self.dialect = settings, given, count, dialect
        self.directory = os.path.abspath(os.path.expanduser(settings.jobs_dir or "."))
        self.place = "slurm_options" if dialect == "slurm" else "pbs_options"
        self.options: dict[str, Any] = dict(getattr(settings, self.place) or {})
        if dialect and not self.options:
            self.options = self._of_the_other(settings)
        self.target = os.path.basename(given.script).removesuffix(".py")

    def _of_the_other(self, settings: SimpleNamespace) -> dict[str, Any]:
        """Options that were written for the other scheduler: those that have a name of ours hold on both."""
        other = "pbs_options" if self.place == "slurm_options" else "slurm_options"
        given = dict(getattr(settings, other) or {})
        common = {name: value for name, value in given.items() if name in _SPECIAL or self._is_known_here(name)}
        if left_out := [name for name in given if name not in common]:
            log.warning(
                "%s: no equivalent on %s for %s, which the scripts leave out: write %s for what they need",
                other, self.dialect, ", ".join(left_out), self.place,
            )  # fmt: skip
        self.place = other if common else self.place
        return common

    def _is_known_here(self, name: str) -> bool:
        row = resources.find(name)
        return row is not None and row.name != "extra" and bool(getattr(row, self.dialect))

    def bin(self, number: int | str) -> Bin:
        """The files of one bin."""
        name = self._formatted("name", _NAME, number)
        at = self.directory
        kind = os.path.splitext(self.settings.output or "")
        part = f"{name}.results{kind[1]}" if self.settings.output else ""
        return Bin(
            number,  # type: ignore[arg-type]
            name,
            os.path.join(at, name + _SUFFIX[self.dialect]),
            os.path.join(at, self._formatted("stdout", name + ".stdout", number)),
            os.path.join(at, self._formatted("stderr", name + ".stderr", number)),
            os.path.join(at, name + ".exit"),
            part,
        )

    def bins(self) -> list[Bin]:
        """All of them; their files must differ."""
        made = [self.bin(number) for number in range(self.count)]
        for field in ("name", "stdout", "stderr"):
            if len({getattr(one, field) for one in made}) < self.count:
                raise OptionError(f"{self.place}: {field} must contain {{subjob}}, or bins overwrite their files")
        return made

    def _formatted(self, option: str, default: str, number: int | str) -> str:
        text = str(self.options.get(option, default))
        fields = {"target": self.target, "subjob": number, "num_subjobs": self.count}
        try:
            made = text.format(**fields, node_num=number)
        except (KeyError, IndexError, ValueError) as error:
            raise OptionError(
                f"{self.place}: {option}={text!r} cannot be used ({error}): its fields are "
                "{target}, {subjob} and {num_subjobs}; a brace is written twice"
            ) from None
        if not made or (option == "name" and "/" in made):
            raise OptionError(f"{self.place}: {option}={text!r} makes no name of a file")
        return made

    def asked(self, number: int | None = None) -> dict[str, Any]:
        """The resources, of bin ``number`` alone where one is named; cores follow ``processes`` where they are
        not said."""
        own = {
            name: value.replace("{subjob}", str(number)) if isinstance(value, str) and number is not None else value
            for name, value in self.options.items()
        }
        found = _asked(own, self.place)
        if self.settings.processes and "cores" not in found and "select" not in own:
            found["cores"] = self.settings.processes
        return {**self.below, **found}


def _asked(options: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Normalised resources; what only the scheduler knows becomes ``extra``."""
    known: dict[str, Any] = {}
    extra: list[str] = []
    for name, value in options.items():
        if name in _SPECIAL:
            continue
        if resources.find(name) is not None:
            known[name] = value
        elif place == "pbs_options" and value is not None:
            extra += ["-l", f"{name}={value}"]
        elif place == "slurm_options" and value not in (None, False):
            extra.append(f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}"))
    try:
        found = normalise(known)
    except OptionError as error:
        raise OptionError(f"{place}: {error}") from None
    if extra:
        found["extra"] = [*found.get("extra", []), *extra]
    return found


def text_of(plan: Plan, one: Bin) -> str:
    """The script of one bin."""
    settings = plan.settings
    cwd = shlex.quote(os.getcwd())
    lines = [
        "#!/bin/bash",
        *_directives(plan, one),
        "",
        f"# Bin {one.number} of {plan.count}. Runs anywhere: bash {shlex.quote(one.script)}",
        f'cluf_here=$PWD; cd {cwd} || echo "cluf: going on in $PWD" >&2',
        *_python_path(),
        f'cluf() {{ {shlex.quote(sys.executable)} -P -m clusterfutures.cluf "$@"; }}',
        *_results_directory(plan, one),
        *_files(settings.prepend_script),
        *(settings.prepend_statements or []),
        f"{settings.env + ' ' if settings.env else ''}{_command(plan, one)}",
        "cluf_status=$?",
        *_files(settings.append_script),
        *(settings.append_statements or []),
        f'if [ -n "${{CLUF_EXIT-}}" ]; then echo "$cluf_status" >{shlex.quote(one.exit)}; fi',
        "exit $cluf_status",
    ]
    return "\n".join(lines) + "\n"


def _python_path() -> list[str]:
    """What the package is found by, where it is not installed.  The directory itself is not (``-P``): a random.py
    of the user's there, which the command ``cluf`` does not meet, would be taken for Python's."""
    given = os.environ.get("PYTHONPATH", "")
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if root == os.getcwd() and root not in given.split(os.pathsep):
        given = os.pathsep.join(filter(None, [root, given]))
    return [f"export PYTHONPATH={shlex.quote(given)}"] if given else []


def _results_directory(plan: Plan, one: Bin) -> list[str]:
    if not one.part:
        return []
    return [f'cluf_jobs={shlex.quote(plan.directory)}; [ -w "$cluf_jobs" ] || cluf_jobs=$cluf_here']


def _files(paths: list[str] | None) -> list[str]:
    found = []
    for path in paths or []:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            found.append(file.read().rstrip("\n"))
    return found


def _command(plan: Plan, one: Bin) -> str:
    settings = plan.settings
    words = [path_of(plan.given.script) or plan.given.script, "-m", "direct", "-b", f"{one.number}/{plan.count}"]
    words += ["-t", settings.target or "target", "-a", settings.args or "args"]
    for option, value in (("-x", settings.hash), ("-k", settings.key)):
        if value is not None:
            words += [option, ",".join(str(item) for item in value)]
    for option, value in (("-p", settings.processes), ("--limit", settings.limit), ("--timeout", settings.timeout)):
        if value is not None:
            words += [option, f"{value:.15g}" if isinstance(value, float) else str(value)]
    text = " ".join(["cluf", *(shlex.quote(word) for word in words)])
    if one.part:
        text += f' -o "$cluf_jobs"/{shlex.quote(one.part)} --resume'
    if plan.given.rest:
        text += " -- " + " ".join(shlex.quote(word) for word in plan.given.rest)
    return text


def _directives(plan: Plan, one: Bin) -> list[str]:
    for text in (one.name, one.stdout, one.stderr):
        if any(ord(c) < 32 for c in text):
            raise OptionError(f"a line break in the name of a job or file: {text!r}")
    wanted = plan.asked(one.number)
    extra = _lines_of(wanted.pop("extra", []))
    if plan.dialect == "slurm":
        out, err = (path.replace("%", "%%") for path in (one.stdout, one.stderr))  # %j would be sbatch's
        head = [[f"--job-name={one.name}"], [f"--output={out}"], *([[f"--error={err}"]] if err != out else [])]
        rest = [[text] for _, text in resources.spell(wanted, "slurm")]
        return [f"#SBATCH {shlex.join(words)}" for words in [*head, *rest, *extra]]
    if plan.dialect:
        spoken: Dialect = Torque() if plan.dialect == "torque" else Pro()
        head = [["-N", spoken.job_name(one.name)], ["-o", one.stdout]]
        head += [["-e", one.stderr] if one.stderr != one.stdout else ["-j", "oe"]]
        return [in_directive(words) for words in [*head, *spoken.resources(wanted), *extra]]
    return []


def _lines_of(extra: Sequence[str]) -> list[list[str]]:
    """The scheduler's own options, each on a line: what does not begin with - belongs to what stands before it."""
    lines: list[list[str]] = []
    for word in extra:
        if word.startswith("-") or not lines:
            lines.append([])
        lines[-1].append(word)
    return lines
