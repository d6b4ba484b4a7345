"""How ``sbatch`` reads what it is given: options, ``#SBATCH`` lines, SBATCH_* variables.

    argv, environment, script --read()--> {long option: text}, script, arguments

The command line wins over the variables, and those win over the script.  Exit code 255 is
the option parser's, 1 that of the checks and of the controller.
"""

from __future__ import annotations

import re

from .dialect import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_WITH_VALUE = """
account=A array=a batch= begin=b bb= chdir=D clusters=M comment= constraint=C container= core-spec=S cores-per-socket=
cpu-freq= cpus-per-gpu= cpus-per-task=c deadline= delay-boot= dependency=d distribution=m error=e exclude=x export=
export-file= extra-node-info=B get-user-env=? gid= gpu-bind= gpu-freq= gpus=G gpus-per-node= gpus-per-socket=
gpus-per-task= gres= gres-flags= hint= input=i job-name=J kill-on-invalid-dep= licenses=L mail-type= mail-user=
mcs-label= mem= mem-bind= mem-per-cpu= mem-per-gpu= mincpus= network= nice=? no-kill=k? nodefile=F nodelist=w nodes=N
ntasks=n ntasks-per-core= ntasks-per-gpu= ntasks-per-node= ntasks-per-socket= open-mode= output=o partition=p power=
priority= profile= propagate=? qos=q reservation= signal= sockets-per-node= switches= thread-spec= threads-per-core=
time=t time-min= tmp= uid= wait-all-nodes= wckey= wrap= exclusive=?
"""
_FLAGS = """
contiguous= help=h hold=H ignore-pbs= no-requeue= overcommit=O oversubscribe=s parsable= quiet=Q requeue= reboot=
spread-job= test-only= usage= use-min-nodes= verbose=v version=V wait=W
"""
#: long name --> whether it takes a value: "yes", "no", "maybe"
TAKES: dict[str, str] = {}
SHORT: dict[str, str] = {}
for _word in [*_WITH_VALUE.split(), *_FLAGS.split()]:
    _name, _, _letter = _word.partition("=")
    TAKES[_name] = "no" if _word in _FLAGS.split() else "maybe" if _letter.endswith("?") else "yes"
    if _letter.rstrip("?"):
        SHORT[_letter.rstrip("?")] = _name

_VARIABLES = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_ARRAY_INX": "array",
    "SBATCH_CLUSTERS": "clusters",
    "SBATCH_COMMENT": "comment",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_ERROR": "error",
    "SBATCH_EXPORT": "export",
    "SBATCH_GRES": "gres",
    "SBATCH_JOB_NAME": "job-name",
    "SBATCH_MEM_PER_CPU": "mem-per-cpu",
    "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_NO_REQUEUE": "no-requeue",
    "SBATCH_OPEN_MODE": "open-mode",
    "SBATCH_OUTPUT": "output",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_REQUEUE": "requeue",
    "SBATCH_SIGNAL": "signal",
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_WAIT": "wait",
}


def error(code: int, *lines: str) -> Refused:
    """A refusal, each line as sbatch begins it."""
    return Refused(code, "\n".join(f"sbatch: error: {line}" for line in lines))


def failed(text: str, *before: str) -> Refused:
    """A refusal by the controller."""
    return error(1, *before, f"Batch job submission failed: {text}")


def from_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The options in SBATCH_* variables."""
    return {option: environment[name] for name, option in _VARIABLES.items() if name in environment}


def parse(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """getopt_long: the options, and the words from the first that is none."""
    found: dict[str, str] = {}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            _long(word, rest, found)
        else:
            _letters(word[1:], rest, found)
    return found, rest


def _long(word: str, rest: list[str], found: dict[str, str]) -> None:
    name, equals, value = word[2:].partition("=")
    names = [name] if name in TAKES else [known for known in TAKES if known.startswith(name)]
    if len(names) != 1:
        raise Refused(255, f"sbatch: unrecognized option '--{name}'\nTry \"sbatch --help\" for more information")
    takes = TAKES[names[0]]
    if takes == "yes" and not equals:
        if not rest:
            text = f"sbatch: option '--{names[0]}' requires an argument\nTry \"sbatch --help\" for more information"
            raise Refused(255, text)
        value = rest.pop(0)
    found[names[0]] = value


def _letters(word: str, rest: list[str], found: dict[str, str]) -> None:
    while word:
        letter, word = word[0], word[1:]
        if letter not in SHORT:
            raise Refused(255, f"sbatch: invalid option -- '{letter}'\nTry \"sbatch --help\" for more information")
        name = SHORT[letter]
        if TAKES[name] == "yes":
            if not word and not rest:
                text = f"sbatch: option requires an argument -- '{letter}'\nTry \"sbatch --help\" for more information"
                raise Refused(255, text)
            found[name] = word or rest.pop(0)
            return
        found[name] = ""


def directives(script: str, name: str) -> dict[str, str]:
    """The options in ``#SBATCH`` lines, up to the first line with a command."""
    found: dict[str, str] = {}
    for number, line in enumerate(script.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            if not line[0].isspace() or not line.strip().startswith("#"):
                break
            continue
        if not line.startswith(("#SBATCH ", "#SBATCH\t")):
            continue
        import shlex  # slow to import, and most scripts have no directives

        try:
            words = shlex.split(line[7:], comments=True)
        except ValueError:
            raise Refused(
                1, f'sbatch: fatal: {name}: line {number}: Unmatched `"` in [{line[7:].partition("=")[2]}]'
            ) from None
        options, rest = parse(words)
        if rest:
            raise error(255, f"Invalid directive found in batch script: {rest[0]}")
        found.update(options)
    return found


def minutes(text: str) -> int:
    """``--time``: minutes, or 0 for no limit."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if text.upper() in ("UNLIMITED", "INFINITE"):
        return 0
    if match is None:
        raise error(255, "Invalid --time specification")
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:
        hours, mins, secs = [*numbers, 0, 0][:3]
        total = ((int(days) * 24 + hours) * 60 + mins) * 60 + secs
    elif len(numbers) == 3:
        total = (numbers[0] * 60 + numbers[1]) * 60 + numbers[2]
    else:
        total = numbers[0] * 60 + (numbers[1] if len(numbers) > 1 else 0)
    return -(-total // 60)


def megabytes(text: str, option: str) -> int:
    """``--mem``: megabytes unless there is a unit; no decimals."""
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", text, re.IGNORECASE)
    if match is None:
        raise error(255, f"Invalid --{option} specification")
    factor = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2}[match[2].upper()]
    return -int(-int(match[1]) * factor // 1)


def number(text: str, option: str) -> int:
    """A count."""
    if not re.fullmatch(r"\d+", text) or int(text) == 0:
        raise error(1, f'Invalid numeric value "{text}" for --{option}.')
    return int(text)


def array(text: str, size: int) -> tuple[list[int], int]:
    """``--array``: indices and how many run at a time (0: all)."""
    wrong = failed("Invalid job array specification")
    ranges, percent, limit = text.partition("%")
    if percent and not limit.isdigit():
        raise wrong
    found: set[int] = set()
    for part in ranges.strip("[]").split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if match is None:
            raise wrong
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if last < first or step < 1 or last >= size:
            raise wrong
        found.update(range(first, last + 1, step))
    return sorted(found), int(limit or 0)


def exports(text: str, environment: Mapping[str, str]) -> tuple[bool, dict[str, str]]:
    """``--export``: whether everything goes along, and what is set besides.

    Items are split at commas whatever the quotes; an item without ``=`` is copied."""
    everything = False
    extra: dict[str, str] = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        if equals:
            quoted = value[:1] in "\"'" and value[:1]
            if quoted and not value[1:].endswith(quoted):
                # A quoted value with a comma: sbatch keeps it whole, quotes and all.
                start = text.index(item) + len(name) + 1
                end = text.find(quoted, start + 1)
                value = text[start : end + 1] if end > 0 else value
            extra[name] = value
        elif item.upper() == "ALL":
            everything = True
        elif item.upper() in ("NONE", "NIL"):
            return False, {}
        elif item in environment:
            extra[item] = environment[item]
    return everything, extra
