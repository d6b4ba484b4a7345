"""The commands: how each is called, examples, options; help, completion and reading go by this table."""

from __future__ import annotations

from typing import NamedTuple

from clusterfutures.commandline.words import Row
from clusterfutures.options import table
from clusterfutures.schedulers import NAMES, options

__all__ = ["COMMANDS", "Command"]


class Command(NamedTuple):
    """One command.  home: "module:function" of ``clusterfutures.cli`` that carries it out.

    takes_command: the first word that is no option begins the user's own command.
    """

    name: str
    usage: str
    text: str
    examples: tuple[str, ...]
    rows: tuple[Row, ...]
    home: str
    takes_command: bool = False


_JSON = Row("json", "", "", "flag", "output", "answer in JSON, for programs")
_PROFILE = Row("profile", "p", "NAME", "word", "job", "settings of this profile (clusterfutures profile list)")
_SCHEDULER = Row("scheduler", "", "NAME", "choice", "job", f"{', '.join(NAMES)} (default: the one here)", "", NAMES)
_DIRECTORY = Row("directory", "", "DIR", "word", "job", "where jobs have their directories", "", (),
                 ("jobs-directory", "filedir"))  # fmt: skip
_YES = Row("yes", "y", "", "flag", "other", "do not ask")
_DRY = Row("dry-run", "d", "", "flag", "other", "say what would be done, do nothing")


def _resource(row: options.Option) -> Row:
    value = {options.COUNT: "N", options.MEMORY: "4GB", options.DURATION: "H:M:S", options.FLAG: "",
             options.GPUS: "N", options.RAW: "OPTIONS"}.get(row.kind, "NAME")  # fmt: skip
    kind = "word" if value else "flag"
    short = {"cores": "c", "memory": "m", "time": "t"}.get(row.name, "")
    names = tuple(name.replace("_", "-") for name in row.synonyms)
    return Row(row.name, short, value, kind, "resources", row.text, "", (), names)


def _keyword(name: str, short: str, value: str) -> Row:
    row = table.find(name)
    assert row is not None
    names = tuple(other.replace("_", "-") for other in row.synonyms)
    return Row(name.replace("_", "-"), short, value, "word", "job", row.text, "", (), names)


_JOB = (
    _keyword("name", "n", "NAME"),
    Row("after", "a", "JOB,..", "many", "job", "start when these have ended well (ids or directories)"),
    Row("after-any", "", "JOB,..", "many", "job", "... when they have ended in any way"),
    Row("after-notok", "", "JOB,..", "many", "job", "... when they have failed"),
    Row("from", "", "FILE", "word", "job", "a job for each line of this file (-: of stdin)"),
    _keyword("outfile", "o", "FILE"),
    _keyword("errfile", "e", "FILE"),
    _keyword("cwd", "", "DIR"),
    _keyword("modules", "", "NAMES"),
    _keyword("export", "", "A,B=1"),
    _keyword("max_jobs", "", "N"),
    _keyword("suffix", "", "WORD"),
    _PROFILE,
    _SCHEDULER,
    _DIRECTORY,
    *map(_resource, options.OPTIONS),
    _DRY,
    _JSON,
)

_INPUTS = "COMMAND [WORD...] [::: FILE...]"

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command("submit", f"[OPTIONS] {_INPUTS}", "submit jobs, print their ids",
                ("clusterfutures submit 'sort names | uniq -c >counts'       one job, any shell text",
                 "clusterfutures submit -c 4 'gzip {}' ::: *.fastq            a job for each file",
                 "clusterfutures submit --after=12 script.sh a b              a script and its #SBATCH lines"),
                _JOB, "submitting:submit", True),
        Command("run", f"[OPTIONS] {_INPUTS}", "submit, show the output, end as the job ends",
                ("clusterfutures run -m 4GB pytest -q                         Ctrl-C cancels it",
                 "clusterfutures run 'wc -l {}' ::: *.txt                     all of them, in this order"),
                _JOB, "submitting:run", True),
        Command("wait", "[OPTIONS] [JOB...]", "wait until jobs have ended (no JOB: all of yours)",
                ("clusterfutures wait 12 13                                   status 0 when all went well",
                 "clusterfutures wait --timeout=60 ~/.clusterfutures/jobs/fit-12345678"),
                (Row("timeout", "", "SECONDS", "word", "other", "give up after so long, with status 1"),
                 _PROFILE, _SCHEDULER, _DIRECTORY, _JSON),
                "looking:wait"),
        Command("queue", "[OPTIONS]", "the jobs that wait or run",
                ("clusterfutures queue                                        yours",
                 "clusterfutures queue --all --running --partition=long"),
                (Row("user", "u", "NAME", "word", "which", "jobs of this user"),
                 Row("all", "A", "", "flag", "which", "jobs of all users"),
                 Row("partition", "", "NAME", "word", "which", "only in this partition", "", (), ("queue",)),
                 Row("running", "r", "", "flag", "which", "only those that run"),
                 Row("queued", "q", "", "flag", "which", "only those that wait"),
                 Row("completed", "", "", "flag", "which", "only those that have ended well"),
                 Row("failed", "", "", "flag", "which", "only those that have ended otherwise"),
                 Row("ended", "e", "", "flag", "which", "only those that have ended, for as long as they are listed"),
                 Row("count", "", "", "flag", "output", "only how many"),
                 _PROFILE, _SCHEDULER, _JSON),
                "looking:queue"),
        Command("cancel", "[OPTIONS] JOB...", "end jobs, waiting or running",
                ("clusterfutures cancel 12 13",
                 "clusterfutures cancel --all                                 all of yours: lists them and asks"),
                (Row("all", "A", "", "flag", "which", "all of your jobs"),
                 _YES, _PROFILE, _SCHEDULER, _DIRECTORY, _DRY, _JSON),
                "looking:cancel"),
        Command("clean", "[OPTIONS] [DIR]", "remove the files of jobs that have ended",
                ("clusterfutures clean                                        lists them and asks",
                 "clusterfutures clean --yes jobs"),
                (_YES, Row("suffix", "", "WORD", "word", "which", "only jobs made with this --suffix"),
                 Row("outputs", "o", "", "flag", "which", "their --outfile and --errfile, too"),
                 _PROFILE, _SCHEDULER, _DRY, _JSON),
                "looking:clean"),
        Command("config", "show|set|unset|path|check [NAME [VALUE]]", "settings for all jobs",
                ("clusterfutures config set account project1",
                 "clusterfutures config show --profile=large                  and where each comes from"),
                (_PROFILE, _JSON), "configuring:config_command"),
        Command("profile", "list|show|set|delete [NAME] [KEY=VALUE...]", "named sets of settings",
                ("clusterfutures profile set large cores=16 memory=32GB",
                 "clusterfutures submit --profile=large ./fit"),
                (_JSON,), "configuring:profile_command"),
        Command("options", "[OPTIONS]", "what a job may request, and what each scheduler receives",
                ("clusterfutures options --scheduler=pbs",),
                (Row("scheduler", "", "NAME", "choice", "which", "slurm, pbs, torque or local", "",
                     ("slurm", "pbs", "torque", "local")), _JSON), "configuring:options_command"),
    )
}  # fmt: skip
