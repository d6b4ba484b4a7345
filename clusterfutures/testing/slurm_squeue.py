"""``squeue``: which jobs, in which format.

    ids, users, states, names --chosen()--> rows --field()--> lines

Ended jobs are shown with ``-t all`` until MinJobAge is over; a single id that nobody knows
is an error, two are not.
"""

from __future__ import annotations

import os
import re

from .dialect import Call, Refused
from .slurm_words import SHORT, Row, rows, span, stamp
from .state import State, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LONG = {
    "jobs": "j", "job": "j", "user": "u", "users": "u", "me": "me", "states": "t", "state": "t", "array": "r",
    "noheader": "h", "name": "n", "format": "o", "partition": "p", "clusters": "M", "sort": "S", "version": "V",
    "long": "l", "all": "a", "account": "A", "qos": "q", "nodelist": "w", "Format": "O",
}  # fmt: skip
_TAKES = "jutnopMSAqwO"
_DEFAULT = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
_SHOWN = frozenset(("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING"))


def options_of(call: Call, long: dict[str, str], takes: str, optional: str = "") -> tuple[dict[str, str], list[str]]:
    """Options and words in any order; ``takes`` and ``optional`` by letter."""
    found: dict[str, str] = {}
    words = []
    rest = list(call.argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word.startswith("--") and len(word) > 2:
            letter = long.get(name[2:], "")
            if not letter:
                text = f"{call.name}: unrecognized option '{name}'\nTry \"{call.name} --help\" for more information"
                raise Refused(1, text)
            found[letter] = value if equals or letter not in takes or letter in optional else rest.pop(0)
        elif word.startswith("-") and len(word) > 1:
            letters = word[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                if letter in takes:
                    found[letter] = letters.removeprefix("=") or (rest.pop(0) if rest else "")
                    break
                found[letter] = ""
        else:
            words.append(word)
    return found, words


def squeue(call: Call) -> None:
    """The whole command."""
    options, words = options_of(call, _LONG, _TAKES)
    if "V" in options:
        call.out(f"slurm {call.config['version']}")
        return
    if "O" in options:
        raise Refused(1, "squeue: error: --Format is not supported by this stand-in")
    if words:
        raise Refused(1, f"squeue: error: Unrecognized option: {words[0]}")
    state = call.store.read()
    call.dialect.purge(call.store, state, now())
    found = chosen(call, state, options)
    form = options.get("o", os.environ.get("SQUEUE_FORMAT", _DEFAULT))
    if "h" not in options:
        if "M" in options:
            call.out(f"CLUSTER: {options['M']}")
        call.out(fill_line(form, lambda letter: _FIELDS[letter][0] if letter in _FIELDS else ""))
    for row in found:
        call.out(fill_line(form, lambda letter, row=row: field(row, letter)))  # type: ignore[misc]


def chosen(call: Call, state: State, options: dict[str, str]) -> list[Row]:
    """The rows that were asked for."""
    users = options["u"].split(",") if "u" in options else []
    if "me" in options:
        import pwd

        users = [pwd.getpwuid(os.getuid()).pw_name]
    words = _states(options)
    wanted = _ids(options["j"]) if "j" in options else None
    known = [job for job in state.jobs.values() if not job.x.get("purged")]
    if wanted is not None and len(wanted) == 1 and not any(_matches(job.id, job.indices, wanted[0]) for job in known):
        number, _ = wanted[0]
        if not any(job.id == number or any(run.number == number for run in job.runs.values()) for job in known):
            raise Refused(1, "slurm_load_jobs error: Invalid job id specified")
    found = []
    for user in users:
        if not any(job.x["user"] == user or str(job.x["uid"]) == user for job in known) and not _user_exists(user):
            call.err(f"squeue: error: Invalid user: {user}")
    for job in known:
        if users and job.x["user"] not in users and str(job.x["uid"]) not in users:
            continue
        if ("n" in options and job.name not in options["n"].split(",")) or (
            "p" in options and job.x["partition"] not in options["p"].split(",")
        ):
            continue
        for row in rows(call, state, job, "r" in options):
            if (wanted is None or any(_row_matches(row, one) for one in wanted)) and (
                words is None or row.state in words
            ):
                found.append(row)
    return found


def _user_exists(name: str) -> bool:
    import pwd

    try:
        pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _states(options: dict[str, str]) -> set[str] | None:
    """The states to show, None for all."""
    if "t" not in options:
        return set(_SHOWN)
    long = {short: name for name, short in SHORT.items()}
    found = set()
    for word in options["t"].split(","):
        name = long.get(word.upper(), word.upper())
        if name == "ALL":
            return None
        if name not in SHORT:
            text = f"squeue: error: Invalid job state specified: {word}\nsqueue: error: Valid job states include: "
            raise Refused(1, text + ",".join(SHORT))
        found.add(name)
    return found


def _ids(text: str) -> list[tuple[int, str]]:
    """Ids: number and index ("" for all); brackets are not understood."""
    found = []
    for part in re.split(r",(?![^\[]*\])", text):
        match = re.fullmatch(r"(\d+)(?:_(\d+|\[.*))?", part)
        if match is None:
            raise Refused(1, f"squeue: error: Invalid job id: {part}")
        index = match[2] or ""
        if index.startswith("["):
            index = re.sub(r"\D.*", "", index[1:])
        found.append((int(match[1]), index))
    return found


def _matches(number: int, indices: list[int], one: tuple[int, str]) -> bool:
    return number == one[0] and (not one[1] or int(one[1]) in indices)


def _row_matches(row: Row, one: tuple[int, str]) -> bool:
    number, index = one
    if number not in (row.job.id, row.raw):
        return False
    if not index:
        return True
    return int(index) in row.indices if row.indices is not None else row.index == int(index)


def fill_line(form: str, value: Callable[[str], str]) -> str:
    """A format with ``%.8j`` and the like filled in."""

    def one(match: re.Match[str]) -> str:
        text = value(match[3])
        if not match[2]:
            return text
        width = int(match[2])
        return text[:width].rjust(width) if match[1] else text[:width].ljust(width)

    return re.sub(r"%(\.?)(\d*)([A-Za-z])", one, form)


def _cut(text: str) -> str:
    """The list of waiting elements, as short as squeue makes it unless told otherwise."""
    width = int(os.environ.get("SLURM_BITSTR_LEN", "64") or 0)
    return text if not width or len(text) <= width else text[: width - 3] + "..."


def _name(row: Row) -> str:
    width = int(os.environ.get("SLURM_BITSTR_LEN", "64") or 0)
    cut = row.indices is not None and width and len(row.tasks) > width
    return row.name[:width] if cut else row.name  # with a broken last number and no bracket


def _left(row: Row) -> str:
    if not row.job.walltime:
        return "UNLIMITED"
    return span(max(0.0, row.job.walltime - row.elapsed) / row.call.config["minute"] * 60)


def _nodes(row: Row) -> str:
    return row.node if row.node else f"({row.reason})"


_FIELDS: dict[str, tuple[str, Callable[[Row], str]]] = {
    "A": ("JOBID", lambda row: str(row.raw)),
    "B": ("EXEC_HOST", lambda row: row.node or "n/a"),
    "C": ("CPUS", lambda row: str(row.job.cpus)),
    "D": ("NODES", lambda row: str(row.job.x["nodes"])),
    "F": ("ARRAY_JOB_ID", lambda row: str(row.job.id)),
    "K": ("ARRAY_TASK_ID", lambda row: _cut(row.tasks) if row.job.array else "N/A"),
    "L": ("TIME_LEFT", _left),
    "M": ("TIME", lambda row: span(row.elapsed)),
    "N": ("NODELIST", lambda row: row.node),
    "P": ("PARTITION", lambda row: row.job.x["partition"]),
    "Q": ("PRIORITY", lambda row: "0" if row.job.hold else str(4294901760 - row.job.id)),
    "R": ("NODELIST(REASON)", _nodes),
    "S": ("START_TIME", lambda row: stamp(row.started)),
    "T": ("STATE", lambda row: row.state),
    "U": ("UID", lambda row: str(row.job.x["uid"])),
    "V": ("SUBMIT_TIME", lambda row: stamp(row.job.submitted)),
    "Z": ("WORK_DIR", lambda row: row.job.x["directory"]),
    "a": ("ACCOUNT", lambda row: row.job.x["account"]),
    "e": ("END_TIME", lambda row: stamp(row.ended, "NONE" if row.state == "RUNNING" else "N/A")),
    "i": ("JOBID", _name),
    "j": ("NAME", lambda row: row.job.name),
    "k": ("COMMENT", lambda row: row.job.x["comment"] or "(null)"),
    "l": ("TIME_LIMIT", lambda row: span(row.job.x["minutes"] * 60) if row.job.walltime else "UNLIMITED"),
    "o": ("COMMAND", lambda row: row.job.x["command"]),
    "q": ("QOS", lambda row: row.job.x["qos"]),
    "r": ("REASON", lambda row: row.reason),
    "t": ("ST", lambda row: SHORT[row.state]),
    "u": ("USER", lambda row: row.job.x["user"]),
}


def field(row: Row, letter: str) -> str:
    """What one ``%`` letter says of a row."""
    return str(_FIELDS[letter][1](row)) if letter in _FIELDS else ""
