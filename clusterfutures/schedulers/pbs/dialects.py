"""The two languages that ``qsub`` and ``qstat`` speak: PBS Pro (OpenPBS) and Torque.

A dialect makes argv and lines of script, and names the parsers for the answers; it runs
nothing.  ``pbs`` finds out which one is spoken here (``dialect_of``) and does the rest,
which is the same for both.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from clusterfutures.errors import OptionError, SubmitError
from clusterfutures.schedulers import options
from clusterfutures.schedulers.base import Dependency, split_id
from clusterfutures.schedulers.job_state import JobState
from clusterfutures.schedulers.pbs import parse

__all__ = ["Dialect", "Pro", "Torque", "dialect_of", "extra_has", "in_directive"]

#: from this many elements of one array on, the whole array is asked about
_WHOLE_ARRAY = 20


class Dialect(ABC):
    """What differs between PBS Pro and Torque."""

    index_variable: ClassVar[str]
    cores_variable: ClassVar[str]
    longest_name: ClassVar[int]
    exits: ClassVar[Mapping[int, tuple[JobState, str]]]
    #: commands that tell the largest array, and the attribute that says so
    limit_commands: ClassVar[tuple[tuple[str, ...], ...]]
    limit_attribute: ClassVar[str]
    default_limit: ClassVar[int]

    @abstractmethod
    def array(self, count: int) -> list[list[str]]:
        """Options for an array of ``count`` > 1 elements."""

    @abstractmethod
    def resources(self, resources: Mapping[str, Any]) -> list[list[str]]:
        """Return the options for the job's resources, ``extra`` not among them."""

    @abstractmethod
    def dependency(self, dependencies: Sequence[Dependency]) -> list[list[str]]:
        """Options for the jobs that have to end first."""

    @abstractmethod
    def question(self, job_ids: Iterable[str], *, history: bool, plain: bool = False) -> list[str]:
        """The qstat for these jobs; ``plain`` when its usual answer cannot be read."""

    @abstractmethod
    def records(self, stdout: str) -> dict[str, parse.Record] | None:
        """The answer to ``question``; None when it must be asked again, ``plain``."""

    @abstractmethod
    def search(self, name: str, server: str, *, history: bool) -> list[str]:
        """The question for jobs called ``name``.  server: where; "" for the usual one."""

    @abstractmethod
    def found(self, stdout: str, name: str) -> tuple[str, bool, str] | None:
        """The answer to ``search``: number of the newest, whether it is an array, and its server."""

    def job_name(self, name: str) -> str:
        """``name`` as this qsub takes it: its characters, a letter first, not too long.

        Names stay different from each other when they are changed: where something is
        lost, a hash of the whole takes its place.
        """
        mapped = re.sub(r"[^A-Za-z0-9_.+-]", "_", name)
        if not mapped[:1].isalpha():
            mapped = f"j{mapped}"
        if mapped == name and len(name) <= self.longest_name:
            return name
        digest = hashlib.sha1(name.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()[:8]
        return f"{mapped[: self.longest_name - 9]}-{digest}"


class Pro(Dialect):
    """PBS Pro and OpenPBS."""

    index_variable = "PBS_ARRAY_INDEX"
    cores_variable = "NCPUS"
    longest_name = 230
    exits = parse.PRO_EXITS
    limit_commands = (("qmgr", "-c", "list server max_array_size"), ("qstat", "-Bf"))
    limit_attribute = "max_array_size"
    default_limit = 10000

    def array(self, count: int) -> list[list[str]]:
        return [["-J", f"0-{count - 1}"], ["-r", "y"]]  # "job arrays are always rerunnable"

    def dependency(self, dependencies: Sequence[Dependency]) -> list[list[str]]:
        return _depend(dependencies, "")

    def resources(self, resources: Mapping[str, Any]) -> list[list[str]]:
        nodes = resources.get("nodes", 1)
        chunk: list[str] = []
        place = ["scatter"] if nodes > 1 else []
        words: list[list[str]] = []
        for row, text in options.spell(resources, "pbs"):
            kind, _, rest = text.partition(":")
            if row.name == "nodes":
                continue
            if kind == "select":
                chunk.append(rest)
            elif kind == "place":
                place.append(rest)
            else:
                words.append(text.split(" ", 1))
        by_hand = any("select=" in word for word in resources.get("extra") or [])
        if chunk or "nodes" in resources or (place and not by_hand):  # "place" is refused without "select"
            words.append(["-l", f"select={':'.join([str(nodes), *chunk])}"])
        if place:
            words.append(["-l", f"place={':'.join(place)}"])
        return words

    def question(self, job_ids: Iterable[str], *, history: bool, plain: bool = False) -> list[str]:
        # -E requests all ids in one message, and without it one version (OpenPBS issue
        # 2672) answers for the first id only.
        shape = [] if plain else ["-F", "json"]
        return ["qstat", "-E", *(["-x"] if history else []), "-t", "-f", *shape, *_asked(job_ids)]

    def records(self, stdout: str) -> dict[str, parse.Record] | None:
        if not stdout.strip():
            return {}
        found = parse.parse_json(stdout)
        if found is None and re.search(r"(?m)^Job Id:", stdout):
            return parse.parse_plain(stdout)
        return found

    def search(self, name: str, server: str, *, history: bool) -> list[str]:
        return ["qselect", *(["-x"] if history else []), *(["-q", f"@{server}"] if server else []), "-N", name]

    def found(self, stdout: str, name: str) -> tuple[str, bool, str] | None:
        return parse.newest(stdout.splitlines())


class Torque(Dialect):
    """Torque, with Moab or Maui."""

    index_variable = "PBS_ARRAYID"
    cores_variable = "PBS_NUM_PPN"
    longest_name = 15
    exits = parse.TORQUE_EXITS
    limit_commands = (("qmgr", "-c", "list server max_job_array_size"), ("qstat", "-Bf"))
    limit_attribute = "max_job_array_size"
    default_limit = 1000

    def array(self, count: int) -> list[list[str]]:
        return [["-t", f"0-{count - 1}"]]

    def dependency(self, dependencies: Sequence[Dependency]) -> list[list[str]]:
        return _depend(dependencies, "array")

    def resources(self, resources: Mapping[str, Any]) -> list[list[str]]:
        nodes = resources.get("nodes", 1)
        if "memory" in resources:  # mem= is of the whole job here
            resources = {**resources, "memory": resources["memory"] * nodes}
        node: list[str] = []
        words: list[list[str]] = []
        for row, text in options.spell(resources, "torque"):
            if row.name == "nodes":
                continue
            if text.startswith("nodes:"):
                node.append(text.removeprefix("nodes:"))
            else:  # memory in a -l of its own: nodes=1:mem=... is refused
                words.append(text.split(" ", 1))
        if node or "nodes" in resources:
            words.insert(0, ["-l", f"nodes={':'.join([str(nodes), *node])}"])
        return words

    def question(self, job_ids: Iterable[str], *, history: bool, plain: bool = False) -> list[str]:
        return ["qstat", "-x", "-t", *_asked(job_ids)]

    def records(self, stdout: str) -> dict[str, parse.Record] | None:
        found = parse.parse_xml(stdout)
        return None if stdout.strip() and not found else found

    def search(self, name: str, server: str, *, history: bool) -> list[str]:
        return ["qstat", "-x", *([f"@{server}"] if server else [])]  # its qselect leaves ended jobs out

    def found(self, stdout: str, name: str) -> tuple[str, bool, str] | None:
        jobs = parse.parse_xml(stdout).values()
        return parse.newest(job["job_id"] for job in jobs if job.get("job_name") == name)


def _depend(dependencies: Sequence[Dependency], for_arrays: str) -> list[list[str]]:
    """``-W depend=afterok:1:2,afterany:3[]``; ``for_arrays`` ends the word for an array.

    Neither qsub takes an element of an array, so one waits for the whole of it.
    """
    clauses: dict[str, list[str]] = {}
    for one in dependencies:
        if not re.fullmatch(r"\d+(?:\[\d*\])?(?:\.[\w.-]+)?(?:@[\w.-]+)?", one.job_id):
            raise OptionError(f"{one.job_id!r} is no id of a PBS job: write '25', or '25[]' for an array")
        job_id = re.sub(r"\[\d*\]", "[]", one.job_id)
        ids = clauses.setdefault(f"after{one.kind}{for_arrays if '[]' in job_id else ''}", [])
        if job_id not in ids:
            ids.append(job_id)
    text = ",".join(f"{word}:{':'.join(ids)}" for word, ids in clauses.items())
    return [["-W", f"depend={text}"]] if text else []


def _asked(job_ids: Iterable[str]) -> list[str]:
    """Ids to ask about: ``25[]`` for many elements of one array, else each by itself."""
    arrays: dict[str, list[str]] = {}
    asked: list[str] = []
    for job_id in job_ids:
        plain, server = split_id(job_id)
        number, bracket, _ = plain.partition("[")
        if bracket:
            arrays.setdefault(f"{number}[]{'.' if server else ''}{server}", []).append(job_id)
        else:
            asked.append(job_id)
    for array, elements in arrays.items():
        asked += [array] if len(elements) >= _WHOLE_ARRAY else elements
    return asked


_GRID_ENGINE = r"\b(?:SGE|UGE|AGE|OGS/GE|GE) \d|Grid Engine"


def dialect_of(said: str, environ: Mapping[str, str]) -> Dialect | None:
    """The dialect of a qstat or qsub that answers ``--version`` so; None when it says
    nothing that we know.  Raises SubmitError for Grid Engine, which has a qsub too."""
    if re.search(r"pbs_version|PBSPro|OpenPBS", said, re.IGNORECASE):
        return Pro()
    if re.search(_GRID_ENGINE, said) or (environ.get("SGE_ROOT") and "PBS_EXEC" not in environ):
        raise SubmitError(
            message="the qsub on this machine is that of Grid Engine, which clusterfutures does not speak",
            advice="it speaks Slurm, PBS Pro, OpenPBS and Torque; LocalExecutor works on this machine alone",
        )
    if re.search(r"^\s*(?:version|commit)\s*:", said, re.IGNORECASE | re.MULTILINE):
        return Torque()
    return None


def extra_has(extra: Sequence[str], flag: str) -> bool:
    """True when the user's own options set ``flag``: two of the same are an error to some."""
    return any(word.startswith(flag) for word in extra)


def in_directive(words: Sequence[str]) -> str:
    """A #PBS line.  qsub leaves quotes there in the value, so they are for words that would fall
    apart without them, not for the brackets of ``afterok:25[]``."""
    quoted = (shlex.quote(word) if re.search(r"[\s'\"]", word) or not word else word for word in words)
    return f"#PBS {' '.join(quoted)}"
