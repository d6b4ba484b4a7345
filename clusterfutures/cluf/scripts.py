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

import os
import shlex
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from clusterfutures.cluf.loading import path_of
from clusterfutures.cluf.reading import Given
from clusterfutures.errors import OptionError
from clusterfutures.schedulers import options as resources
from clusterfutures.schedulers.options import normalise
from clusterfutures.schedulers.pbs_dialects import Dialect, Pro, Torque

__all__ = ["Bin", "Plan", "text_of"]

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
        self.directory = os.path.abspath(settings.jobs_dir or ".")
        named = {"slurm": settings.slurm_options}.get(dialect, settings.pbs_options)
        self.options: dict[str, Any] = dict(named or {})
        self.place = "slurm_options" if dialect == "slurm" else "pbs_options"
        self.target = os.path.splitext(os.path.basename(given.script))[0]

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
        if self.settings.processes and "cores" not in found:
            found["cores"] = self.settings.processes
        return {**self.below, **found}


def _asked(options: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Normalised resources; what only the scheduler knows becomes ``extra``."""
    known: dict[str, Any] = {}
    extra: list[str] = []
    for name, value in options.items():
        if name in _SPECIAL:
            continue
        try:
            normalise({name: value})
        except OptionError as error:
            if not str(error).startswith("there is no option"):
                raise OptionError(f"{place}: {error}") from None
            pbs = place == "pbs_options"
            extra += ["-l", f"{name}={value}"] if pbs else [f"--{name.replace('_', '-')}={value}"]
            continue
        known[name] = value
    found = normalise(known)
    if extra:
        found["extra"] = [*found.get("extra", []), *extra]
    return found


def text_of(plan: Plan, one: Bin) -> str:
    """The script of one bin."""
    settings = plan.settings
    root = [f"export PYTHONPATH={shlex.quote(os.environ['PYTHONPATH'])}"] if os.environ.get("PYTHONPATH") else []
    cwd = shlex.quote(os.getcwd())
    lines = [
        "#!/bin/bash",
        *_directives(plan, one),
        "",
        f"# Bin {one.number} of {plan.count}. Runs anywhere: bash {shlex.quote(one.script)}",
        f'here=$PWD; cd {cwd} || echo "cluf: going on in $PWD" >&2',
        *root,
        f'cluf() {{ {shlex.quote(sys.executable)} -m clusterfutures.cluf "$@"; }}',
        *([f'jobs={shlex.quote(plan.directory)}; [ -w "$jobs" ] || jobs=$here'] if one.part else []),
        *_files(settings.prepend_script),
        *(settings.prepend_statements or []),
        f"{settings.env + ' ' if settings.env else ''}{_command(plan, one)}",
        "status=$?",
        *_files(settings.append_script),
        *(settings.append_statements or []),
        f'if [ -n "$CLUF_EXIT" ]; then echo "$status" >{shlex.quote(one.exit)}; fi',
        "exit $status",
    ]
    return "\n".join(lines) + "\n"


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
            words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    text = " ".join(["cluf", *(shlex.quote(word) for word in words)])
    if one.part:
        text += f' -o "$jobs"/{shlex.quote(one.part)} --resume'
    if plan.given.rest:
        text += " -- " + " ".join(shlex.quote(word) for word in plan.given.rest)
    return text


def _directives(plan: Plan, one: Bin) -> list[str]:
    for text in (one.name, one.stdout, one.stderr):
        if any(ord(c) < 32 for c in text):
            raise OptionError(f"a line break in the name of a job or file: {text!r}")
    wanted = plan.asked(one.number)
    extra = [wanted.get("extra", [])] if wanted.get("extra") else []
    if plan.dialect == "slurm":
        head = [[f"--job-name={one.name}"], [f"--output={one.stdout}"], [f"--error={one.stderr}"]]
        rest = [[text] for _, text in resources.spell(wanted, "slurm")]
        return [f"#SBATCH {shlex.join(words)}" for words in [*head, *rest, *extra]]
    if plan.dialect:
        spoken: Dialect = Torque() if plan.dialect == "torque" else Pro()
        head = [["-N", one.name], ["-o", one.stdout], ["-e", one.stderr]]
        asked_for = spoken.resources({name: value for name, value in wanted.items() if name != "extra"})
        pairs = [list(pair) for words in extra for pair in zip(words[::2], words[1::2], strict=False)]
        return [f"#PBS {shlex.join(words)}" for words in [*head, *asked_for, *pairs]]
    return []
