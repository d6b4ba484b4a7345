"""The resources and other wishes that a job may carry: one row each, for all schedulers.

    {"mem": "4GB", "walltime": "2:00:00"}           what the user wrote
        | normalise()    synonyms, units, checks
    {"memory": 4096, "time": 7200}                  one name, one unit
        | spell(..., "slurm")
    ["--mem=4096M", "--time=02:00:00"]              what the scheduler reads

``OPTIONS`` is the table.  A row says what an option is called, how its value is read
(its ``Kind``), what it means, and how each scheduler spells it; ``{}`` is the value.  A
new option is a new row.  Spellings of PBS that begin with ``select:``, ``nodes:`` or
``place:`` are parts of that one resource list, which the adapter puts together.  An
empty spelling says that this scheduler cannot express the option.  Everything here is pure.
"""

from __future__ import annotations

import math
import operator
import re
import shlex
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from clusterfutures.errors import OptionError

__all__ = ["OPTIONS", "Option", "find", "names", "normalise", "spell"]


# ------------------------------------------------------------------ kinds of values


class _Unusable(ValueError):
    """Why a value cannot be used; becomes part of an OptionError."""


def _as_it_is(value: Any, dialect: str) -> str:
    return str(value)


class Kind(NamedTuple):
    """How the values of some options are read, checked, kept and written.

    read: what the user gave -> what is kept; raises _Unusable saying what is wrong.
    write: what is kept, and the dialect it is for -> what replaces ``{}``; raises
        _Unusable where this dialect has no words for it.
    """

    expects: str
    read: Callable[[Any], Any]
    write: Callable[[Any, str], str] = _as_it_is


def _printable(text: str) -> str:
    """Refuse what could end a directive's line or hide in it."""
    if not text.strip():
        raise _Unusable("it is empty")
    bad = next((c for c in text if not c.isprintable()), None)
    if bad is not None:
        raise _Unusable(f"it contains {bad!r}")
    return text.strip()


def _read_word(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unusable("it is not a string")
    word = _printable(value)
    if any(c.isspace() for c in word):
        raise _Unusable("it contains a blank")
    return word


def _read_count(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]+\s*", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Unusable("it is not a whole number")
    if value < 1:
        raise _Unusable("it is less than 1")
    return int(value)


_MIB = {"": 1.0, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2, "P": 1024.0**3}


def _read_memory(value: Any) -> int:
    """MiB, rounded up.  All units are binary, as they are for Slurm and PBS."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _Unusable("a unit is needed")
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*(?:([KMGTP]?)(?:i?B)?)?\s*", str(value), re.IGNORECASE)
    if match is None:
        raise _Unusable("it is no amount of memory")
    number, unit = match[1], match[2] or ""
    if not unit and (not number.isdigit() or re.search(r"[A-Za-z]", str(value))):
        raise _Unusable("a unit is needed")
    amount = math.ceil(round(float(number) * _MIB[unit.upper()], 6))
    if amount < 1:
        raise _Unusable("it is nothing")
    return amount


_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_CLOCK = r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})"
_UNITS = r"(?:\d+(?:\.\d+)?\s*[dhms]\s*)+"


def _read_duration(value: Any) -> int:
    """Seconds, rounded up.

    A bare number is refused: Slurm reads it as minutes, PBS and most of Python as
    seconds, and the options of a program are meant to serve with both.
    """
    if isinstance(value, str):
        seconds = _seconds_of(value.strip())
    elif hasattr(value, "total_seconds"):  # a timedelta, without importing what that is
        seconds = float(value.total_seconds())
    else:
        raise _Unusable(f"a unit is needed: '{value}m' is minutes, '{value}s' is seconds")
    if seconds <= 0:
        raise _Unusable("it is no time at all (to ask for the site's own limit, leave the option out)")
    return math.ceil(seconds)


def _seconds_of(text: str) -> float:
    if text.isdigit():
        raise _Unusable(f"a unit is needed: '{text}m' is minutes, '{text}s' is seconds")
    if re.fullmatch(_UNITS, text, re.IGNORECASE):
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([dhms])", text, re.IGNORECASE)
        return sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts)
    match = re.fullmatch(_CLOCK, text)
    if match is None:
        raise _Unusable("it is no length of time")
    fields = [int(part) for part in match["rest"].split(":")]
    if match["days"] is not None:  # D-H[:M[:S]]: days are followed by hours
        hours, minutes, seconds = [*fields, 0, 0][:3]
        return int(match["days"]) * 86400 + hours * 3600 + minutes * 60 + seconds
    hours, minutes, seconds = [0, 0, *fields][-3:]  # [H:]M:S
    return hours * 3600 + minutes * 60 + seconds


def _write_duration(seconds: int, dialect: str) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


#: more than any node has, and less than any number that is the name of a model
_MOST_GPUS = 512


def _read_gpus(value: Any) -> str | None:
    """ "2", "a100:2", "3090:8", "2080ti:1", or None for 0 (an empty --gres= is an error of Slurm's).

    One grammar for all schedulers: [gpu:][MODEL:]NUMBER, or [gpu:]MODEL for one of them.  Digits alone are a number.
    """
    text = _read_word(value) if isinstance(value, str) else str(value)
    match = re.fullmatch(r"(?:gpu:)?(?:([A-Za-z0-9][\w.+-]*):)?([0-9]+)|(?:gpu:)?([A-Za-z0-9][\w.+-]*)", text, re.ASCII)
    if match is None or isinstance(value, bool | float) or match[1] == "gpu":
        raise _Unusable("it is no number of GPUs")
    model, number = match[1] or match[3], int(match[2] or 1)
    if number > _MOST_GPUS:
        raise _Unusable(f"no node has {number} GPUs: a model that is a number is written with how many, '{number}:1'")
    if number == 0:
        return None
    return f"{model}:{number}" if model else str(number)


def _write_gpus(gpus: str, dialect: str) -> str:
    if dialect == "slurm":
        return gpus
    if ":" in gpus:
        raise _Unusable("has no common name for models of GPUs: ask for gpus=N and a feature of the site's")
    return gpus


def _read_features(value: Any) -> list[str] | None:
    items = re.split(r"[,\s]+", _printable(value)) if isinstance(value, str) else value
    if not isinstance(items, list | tuple | set | frozenset):
        raise _Unusable("it is neither a string nor a list of strings")
    words = [_read_word(item) for item in (sorted(items) if isinstance(items, set | frozenset) else items) if item]
    return words or None


def _write_features(features: list[str], dialect: str) -> str:
    if dialect == "slurm":
        return "&".join(features)
    for feature in features:
        if re.search(r"[|&*!()\[\]+:]", feature):
            raise _Unusable(f"has no such expressions ({feature!r}): name features one by one")
    if dialect == "pbs":  # a feature there is a resource of the site's, true or with a value
        return ":".join(feature if "=" in feature else f"{feature}=True" for feature in features)
    return ":".join(features)


def _read_flag(value: Any) -> bool | None:
    words = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
    flag = words.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise _Unusable("it is neither True nor False")
    return flag or None


def _read_begin(value: Any) -> str:
    if hasattr(value, "astimezone"):  # a datetime
        if value.tzinfo is not None:
            value = value.astimezone().replace(tzinfo=None)  # schedulers read local time
        return str(value.isoformat(timespec="seconds"))
    return _read_word(value)


def _write_begin(begin: str, dialect: str) -> str:
    if dialect == "slurm" or re.fullmatch(r"\d{4,14}(\.\d\d)?", begin):
        return begin
    if re.fullmatch(r"\d\d:\d\d", begin):
        return begin.replace(":", "")
    import datetime  # with a begin only: it costs a quarter of this module

    try:
        return datetime.datetime.fromisoformat(begin).strftime("%Y%m%d%H%M.%S")
    except ValueError:
        raise _Unusable(f"cannot read the time {begin!r}: write begin='2031-05-01T18:00'") from None


def _read_raw(value: Any) -> list[str] | None:
    items = shlex.split(value) if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise _Unusable("it is neither a string nor a list of strings")
    for item in items:
        if any(ord(c) < 32 or ord(c) == 127 for c in item):
            raise _Unusable(f"{item!r} contains a control character")
    return list(items) or None


COUNT = Kind("a whole number from 1 on", _read_count)
MEMORY = Kind("an amount like '4GB', '500M' or '1.5GB', or a whole number of MB", _read_memory)
DURATION = Kind(
    "'H:M:S', 'D-H', 'D-H:M:S', '90s', '30m', '2h', '1d12h' or a timedelta", _read_duration, _write_duration
)
WORD = Kind("a name", _read_word)
GPUS = Kind("a number, a model ('2080ti'), or a model and a number ('3090:8')", _read_gpus, _write_gpus)
FEATURES = Kind("a name, or a list of names", _read_features, _write_features)
FLAG = Kind("True or False", _read_flag)
BEGIN = Kind("a datetime, 'YYYY-MM-DDTHH:MM', or words of the scheduler's own", _read_begin, _write_begin)
RAW = Kind("a list of the scheduler's own options, or a string of them", _read_raw)


# ------------------------------------------------------------------------ the table


class Option(NamedTuple):
    """One option: its name, its kind, its meaning, and its spelling everywhere."""

    name: str
    kind: Kind
    text: str
    example: str
    slurm: str
    pbs: str
    torque: str
    synonyms: tuple[str, ...] = ()


OPTIONS: tuple[Option, ...] = (
    Option("cores", COUNT, "CPU cores of a job (on each of its nodes)", "cores=4",
           "--cpus-per-task={}", "select:ncpus={}", "nodes:ppn={}",
           ("cpus", "threads", "ncpus", "ppn", "cpus_per_task")),
    Option("memory", MEMORY, "memory of a job (on each of its nodes), in binary units", "memory='4GB'",
           "--mem={}M", "select:mem={}mb", "-l mem={}mb", ("mem",)),
    Option("time", DURATION, "longest run time of a job; it is killed after that", "time='2:00:00'",
           "--time={}", "-l walltime={}", "-l walltime={}", ("walltime", "time_limit", "timelimit")),
    Option("partition", WORD, "partition or queue to submit to", "partition='short'",
           "--partition={}", "-q {}", "-q {}", ("queue",)),
    Option("account", WORD, "account to charge", "account='project1'",
           "--account={}", "-A {}", "-A {}"),
    Option("qos", WORD, "quality of service", "qos='normal'",
           "--qos={}", "", "-l qos={}", ("quality_of_service",)),
    Option("gpus", GPUS, "GPUs of a job (on each of its nodes), with or without a model", "gpus='a100:2'",
           "--gres=gpu:{}", "select:ngpus={}", "nodes:gpus={}", ("gpu", "ngpus")),
    Option("nodes", COUNT, "nodes of a job; the worker runs on the first one", "nodes=2",
           "--nodes={}", "select:{}", "nodes:{}"),
    Option("features", FEATURES, "features that a node must have (PBS Pro: resources, 'model=x')",
           "features=['avx512', 'ssd']",
           "--constraint={}", "select:{}", "nodes:{}", ("feature", "constraint", "constraints")),
    Option("exclusive", FLAG, "share the nodes with no other job", "exclusive=True",
           "--exclusive", "place:excl", "-n"),
    Option("begin", BEGIN, "start no earlier than this (local time)", "begin='2031-05-01T18:00'",
           "--begin={}", "-a {}", "-a {}"),
    Option("extra", RAW, "the scheduler's own options, passed on as they are; they win", "extra=['--reservation=x']",
           "{}", "{}", "{}", ("extra_options", "scheduler_options")),
)  # fmt: skip

_BY_NAME: dict[str, Option] = {name: row for row in OPTIONS for name in (row.name, *row.synonyms)}


# ------------------------------------------------------------------- what is offered


def find(name: str) -> Option | None:
    """The option called ``name``, or that has this synonym."""
    return _BY_NAME.get(name)


def names() -> list[str]:
    """All names of options, synonyms included."""
    return list(_BY_NAME)


def plain_number(value: Any) -> Any:
    """A whole number of another kind, as NumPy's, as an ``int``; anything else as it is."""
    if isinstance(value, int | float | str) or not hasattr(type(value), "__index__"):
        return value
    try:
        return operator.index(value)
    except TypeError:  # an array, say: refused with what was expected
        return value


def normalise(options: Mapping[str, Any], others: Collection[str] = ()) -> dict[str, Any]:
    """Resolve synonyms, check every value, and convert it to the unit it is kept in.

    Kept are: counts as int, memory as int MiB, time as int seconds, the rest as str,
    list[str] or True.  An option with the value None, False or 0 GPUs is not given.
    others: names that may be given in the same place, for the error about one that may not.
    Raises OptionError for an unknown name, a bad value, or one option under two names.
    """
    kept: dict[str, Any] = {}
    given: dict[str, str] = {}
    for name, value in options.items():
        row = _BY_NAME.get(name)
        if row is None:
            raise OptionError(_unknown(name, others))
        if value is None:
            continue
        if row.name in given:
            raise OptionError(f"{given[row.name]}= and {name}= are the same option: give one of them")
        given[row.name] = name
        read = _read(row, name, plain_number(value))
        if read is not None:
            kept[row.name] = read
    return kept


def _read(row: Option, name: str, value: Any) -> Any:
    try:
        return row.kind.read(value)
    except ValueError as error:
        raise OptionError(
            f"{name}={value!r} cannot be used: {error}. Expected {row.kind.expects}, for example {row.example}."
        ) from None


def _unknown(name: str, others: Collection[str]) -> str:
    from clusterfutures.schedulers import misspelt  # for errors only: it costs more than this module

    return f"there is no option {name!r}: {misspelt.advice(name, [*_BY_NAME, *others])}"


def spell(resources: Mapping[str, Any], dialect: str) -> list[tuple[Option, str]]:
    """What ``normalise`` returned, in the words of ``dialect`` (slurm, pbs or torque).

    Returns (row, words) in the order of the table; ``extra`` is not among them.
    Raises OptionError for what the scheduler cannot express.
    """
    words = []
    for row in OPTIONS:
        if row.name not in resources or row.kind is RAW:
            continue
        template: str = getattr(row, dialect)
        label = {"slurm": "Slurm", "pbs": "PBS", "torque": "Torque"}[dialect]
        if not template:
            raise OptionError(f"{label} has no {row.name}: leave it out, or say what your site has with extra=[...]")
        try:
            words.append((row, template.replace("{}", row.kind.write(resources[row.name], dialect))))
        except _Unusable as error:
            raise OptionError(f"{row.name}={resources[row.name]!r}: {label} {error}") from None
    return words
