"""``retries=``: which calls are run again, how often, and with which resources.  Pure.

    2                                            for crash, oom, timeout and lost, together
    {"oom": {"memory": "x2", "max": 2},          for each cause by itself; "max" is 1 where
     "timeout": {"time": "x2"}, "crash": 1}      nothing is said
        | read()
    Retries --charge(history, cause)--> the rule that pays, "free", or None: no more
            --resources(history)------> what the job of the next attempt is to have

A *cause* is why an attempt ended:

    oom        the job ran out of memory, or the call was killed by SIGKILL from outside,
               which is most often the kernel's for the same reason (``KILLED``: where there
               is no rule for oom, the one for crash pays)
    timeout    the job reached its time limit
    crash      the call killed its process
    exception  the call raised: only where it is named
    lost       the job is gone in another way: cancelled, failed, nobody knows how
    ``FREE``   preempted, requeued, its node failed: costs nothing, up to ``MOST_FREE`` times,
               so that a call that brings its node down does not do so for ever
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from clusterfutures.errors import OptionError
from clusterfutures.schedulers import options

__all__ = [
    "FREE",
    "KILLED",
    "MOST_FREE",
    "OF_JOBS",
    "RESUMED",
    "Attempt",
    "Failure",
    "Retries",
    "check",
    "read",
    "told",
]

CAUSES = ("oom", "timeout", "crash", "exception", "lost")
#: what a plain number covers
_COVERED = ("oom", "timeout", "crash", "lost")
KILLED = "killed"
FREE = "free"
MOST_FREE = 20
#: causes that are ends of jobs
OF_JOBS = frozenset({"oom", "timeout", "lost", FREE})
#: paid by the program being run again: it would have made the call that its jobs lost
RESUMED = "resumed"
#: options that may be multiplied: they are kept as numbers
_SCALED = ("memory", "time", "cores")
_EXAMPLE = 'retries=2 or retries={"oom": {"memory": "x2", "max": 2}, "timeout": {"time": "x2"}, "crash": 1}'


class Failure(NamedTuple):
    """Why an attempt ended (see the module), and how, in a few words."""

    cause: str
    how: str


class Attempt(NamedTuple):
    """An attempt that was followed by another: what paid for that, and how it had ended."""

    paid_by: str
    how: str


class Rule(NamedTuple):
    """``most`` further attempts; ``changes``: options, as "x2" (times) or a value."""

    most: int
    changes: Mapping[str, Any]


class Retries:
    """The retries of one executor or view of it, for jobs with ``resources``.

    shared: the rules have one number of attempts together.
    """

    def __init__(self, rules: Mapping[str, Rule], shared: bool, resources: Mapping[str, Any]) -> None:
        self.rules = rules
        self._shared = shared
        self._resources = resources

    def charge(self, history: Sequence[Attempt], cause: str) -> str | None:
        """What pays for another attempt after this ``cause``; None: there will be none."""
        if cause == FREE:
            return FREE if sum(attempt.paid_by == FREE for attempt in history) < MOST_FREE else None
        for name in ("oom", "crash") if cause == KILLED else (cause,):
            rule = self.rules.get(name)
            if rule is not None and self._used(history, name) < rule.most:
                return name
        return None

    def changed(self) -> list[Mapping[str, Any]]:
        """The resources after one attempt of each cause that changes them."""
        return [self.resources([Attempt(name, "")]) for name, rule in self.rules.items() if rule.changes]

    def _used(self, history: Sequence[Attempt], name: str) -> int:
        return sum(a.paid_by != FREE if self._shared else a.paid_by == name for a in history)

    def resources(self, history: Sequence[Attempt]) -> Mapping[str, Any]:
        """What the jobs of the attempt after ``history`` ask for."""
        wanted = dict(self._resources)
        for attempt in history:
            rule = self.rules.get(attempt.paid_by)
            for name, change in rule.changes.items() if rule is not None else ():
                wanted[name] = math.ceil(wanted[name] * change) if isinstance(change, float) else change
        return wanted


def told(history: Sequence[Attempt]) -> str:
    """How often a call was tried, for the text of its last error; "" for once."""
    if not history:
        return ""
    ends = "; ".join(f"({number}) {attempt.how}" for number, attempt in enumerate(history, 1))
    return f"tried {len(history) + 1} times; the attempts before this one ended: {ends}"


# -- what the user wrote ------------------------------------------------------------------


def check(value: Any) -> Any:
    """``value`` itself, when it can be read for some resources.  Raises OptionError."""
    _rules(value)
    return value


def read(value: Any, resources: Mapping[str, Any]) -> Retries | None:
    """The policy for calls in jobs with these (normalised) resources; None: no retries.

    Raises OptionError for what cannot be understood, and for a multiple of an option that
    the jobs do not ask for.
    """
    rules = {cause: rule for cause, rule in _rules(value).items() if rule.most}
    for cause, rule in rules.items():
        for name, change in rule.changes.items():
            if isinstance(change, float) and name not in resources:
                raise _wrong(
                    value, f"{cause}: {name} is to be multiplied, but the jobs ask for no {name}=: say how much"
                )
    return Retries(rules, not isinstance(value, Mapping), resources) if rules else None


def _rules(value: Any) -> dict[str, Rule]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {_cause(value, cause): _rule(value, cause, rule) for cause, rule in value.items()}
    most = _number(value, value, "it")
    return {cause: Rule(most, {}) for cause in _COVERED}


def _cause(value: Any, cause: Any) -> str:
    if cause not in CAUSES:
        raise _wrong(value, f"there is no cause {cause!r}: causes are {', '.join(CAUSES)}")
    return str(cause)


def _rule(value: Any, cause: str, rule: Any) -> Rule:
    if not isinstance(rule, Mapping):
        return Rule(_number(value, rule, cause), {})
    changes: dict[str, Any] = {}
    for name, change in rule.items():
        if name == "max":
            continue
        row = options.find(name) if isinstance(name, str) else None
        if row is None:
            raise _wrong(value, f"{cause}: {name!r} is neither 'max' nor an option of jobs")
        changes[row.name] = _change(value, f"{cause}: {name}", row.name, change)
    return Rule(_number(value, rule.get("max", 1), f"{cause}: max"), changes)


def _change(value: Any, where: str, name: str, change: Any) -> Any:
    times = re.fullmatch(r"\s*[xX*]\s*(\d+(?:\.\d+)?)\s*", change) if isinstance(change, str) else None
    if times is None:
        try:
            return options.normalise({name: change})[name]
        except (OptionError, KeyError) as error:
            raise _wrong(value, f"{where} is neither a multiple ('x2') nor a value of {name}: {error}") from None
    factor = float(times[1])
    if name not in _SCALED:
        raise _wrong(value, f"{where} cannot be multiplied: only {', '.join(_SCALED)} can")
    if not 1 <= factor <= 1000:
        raise _wrong(value, f"{where} is multiplied by {times[1]}: expected 1 to 1000")
    return factor


def _number(value: Any, number: Any, what: str) -> int:
    if isinstance(number, str) and number.strip().isascii() and number.strip().isdigit():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise _wrong(value, f"{what} is no whole number from 0 on")
    return number


def _wrong(value: Any, why: str) -> OptionError:
    return OptionError(f"retries={value!r} cannot be used: {why}. Expected for example {_EXAMPLE}.")
