"""The Slurm adapter: its argv, and its reading of answers recorded from Slurm 22.05.8."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scheduler_programs import Programs, programs_in_place_of

from clusterfutures.errors import (
    ArrayTooLarge,
    OptionError,
    SchedulerUnavailable,
    SubmitError,
    SubmitLimitReached,
)
from clusterfutures.schedulers.base import Dependency, JobSpec
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.schedulers.options import normalise
from clusterfutures.schedulers.slurm import adapter as slurm_adapter
from clusterfutures.schedulers.slurm import parse
from clusterfutures.schedulers.slurm.adapter import SlurmScheduler

ME = os.getuid()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setattr(slurm_adapter, "_SETTLE_SECONDS", 0.0)
    return programs_in_place_of(("sbatch", "squeue", "scontrol", "sacct", "scancel"), tmp_path / "bin", monkeypatch)


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return JobSpec(name="run-1", command=["python3"], log="/d/logs/job", cwd=str(tmp_path))


def said(text: str) -> str:
    return "".join(f"sbatch: error: {line}\n" for line in text.splitlines())


# -------------------------------------------------------------------------- directives


def directives(spec: JobSpec, count: int = 1) -> list[str]:
    return [word for words in slurm_adapter._directives(spec, count) for word in words]


def test_a_plain_job(spec: JobSpec) -> None:
    assert directives(spec) == [
        "--job-name=run-1", "--output=/d/logs/job-0.log", "--open-mode=append", "--nodes=1", "--ntasks=1",
    ]  # fmt: skip


def test_an_array(spec: JobSpec) -> None:
    words = directives(spec, 10)
    assert "--array=0-9" in words
    assert "--output=/d/logs/job-%a.log" in words


def test_resources(spec: JobSpec) -> None:
    full = dataclasses.replace(spec, resources=normalise({"cores": 2, "mem": "1.5G", "nodes": 2, "extra": ["-p", "x"]}))
    assert directives(full)[3:] == ["--ntasks=2", "--cpus-per-task=2", "--mem=1536M", "--nodes=2", "-p", "x"]


def test_options_of_the_users_own_come_last_because_the_last_one_wins(spec: JobSpec) -> None:
    words = directives(dataclasses.replace(spec, resources=normalise({"mem": 1, "extra": "--mem=0"})))
    assert words.index("--mem=0") > words.index("--mem=1M")


def test_percent_signs_in_a_path_are_no_patterns(spec: JobSpec) -> None:
    assert "--output=/d/50%%j/x-%a.log" in directives(dataclasses.replace(spec, log="/d/50%j/x"), 2)


@pytest.mark.parametrize("path", ["/d/back\\slash/x", "/d/new\nline", "/d/bell\a"])
def test_paths_that_slurm_cannot_write_to_are_refused(spec: JobSpec, path: str) -> None:
    with pytest.raises(OptionError, match="log"):
        directives(dataclasses.replace(spec, log=path))


@pytest.mark.parametrize("path", ["/d/a b", "/d/it's", '/d/q"q', "/d/$HOME", "/d/é", "/d/[0-3]", "/d/#x", "/d/a,b;c"])
def test_all_other_paths_are_fine(spec: JobSpec, path: str) -> None:
    assert f"--output={path}-0.log" in directives(dataclasses.replace(spec, log=path))


def test_a_name_may_not_end_its_line(spec: JobSpec) -> None:
    with pytest.raises(OptionError, match="name"):
        directives(dataclasses.replace(spec, name="a\nb"))


def test_the_script_and_the_command_line_say_the_same(spec: JobSpec, programs: Programs) -> None:
    spec = dataclasses.replace(spec, log="/d/a b'c/x", resources=normalise({"cores": 2, "extra": ["-x", "a b"]}))
    programs.answer("sbatch", "7\n")
    scheduler = SlurmScheduler()
    text = scheduler.script(spec, 3)
    scheduler.submit(spec, "/d/job.sh", 3)
    lines = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    (argv,) = programs.calls("sbatch")
    assert argv == ["--parsable", *(word for line in lines for word in shlex.split(line)), "/d/job.sh"]


def test_the_script_begins_as_sbatch_wants_it(spec: JobSpec) -> None:
    lines = SlurmScheduler().script(spec, 1).splitlines()
    assert lines[0] == "#!/bin/sh"
    assert all(line.startswith("#SBATCH ") for line in lines[1:6])


SHOW = [
    "/bin/sh",
    "-c",
    'echo "$CLUSTERFUTURES_INDEX,$CLUSTERFUTURES_JOB_ID,$CLUSTERFUTURES_ATTEMPT,$CLUSTERFUTURES_CORES"',
]


@pytest.mark.parametrize(
    ("count", "env", "shown"),
    [
        (1, {"SLURM_JOB_ID": "57", "SLURM_CPUS_ON_NODE": "2"}, "0,57,0,2"),
        (1, {"SLURM_JOB_ID": "57", "SLURM_CPUS_ON_NODE": "2", "SLURM_CPUS_PER_TASK": "1"}, "0,57,0,1"),
        # the last element to start has the array's own number
        (8, {"SLURM_JOB_ID": "58", "SLURM_ARRAY_JOB_ID": "58", "SLURM_ARRAY_TASK_ID": "7"}, "7,58_7,0,1"),
        (8, {"SLURM_JOB_ID": "67", "SLURM_ARRAY_JOB_ID": "58", "SLURM_ARRAY_TASK_ID": "3"}, "3,58_3,0,1"),
        (1, {"SLURM_JOB_ID": "57", "SLURM_RESTART_COUNT": "2"}, "0,57,2,1"),
        # a plain job started from within an element by hand
        (1, {"SLURM_JOB_ID": "57", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3"}, "0,57,0,1"),
    ],
)
def test_a_job_knows_who_it_is(spec: JobSpec, tmp_path: Path, count: int, env: dict[str, str], shown: str) -> None:
    path = tmp_path / "job.sh"
    path.write_text(SlurmScheduler().script(dataclasses.replace(spec, command=SHOW), count))
    done = subprocess.run(["/bin/sh", str(path)], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{shown}\n"


# -------------------------------------------------------------------------- submitting


@pytest.mark.parametrize(
    ("stdout", "found"),
    [
        ("2\n", ("2", "")),
        ("62;obsb\n", ("62", "obsb")),
        ("Welcome to the cluster\n2\n", ("2", "")),
        ("2\n** maintenance on Monday **\n", ("2", "")),
        ("Welcome, 12 jobs in the queue\n", None),
        ("", None),
    ],
)
def test_job_id(stdout: str, found: tuple[str, str] | None) -> None:
    assert parse.parse_submitted(stdout) == found


def test_submit(spec: JobSpec, programs: Programs) -> None:
    programs.answer("sbatch", "2\n", "sbatch: warning: your home is nearly full\n")
    assert SlurmScheduler().submit(spec, "/d/x.sh", 1) == ["2"]
    assert SlurmScheduler().submit(spec, "/d/x.sh", 3) == ["2_0", "2_1", "2_2"]


def test_submit_from_inside_a_job(spec: JobSpec, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "3", "SBATCH_TIMELIMIT": "1", "SLURM_CONF": "/c"}.items():
        monkeypatch.setenv(name, value)
    programs.answer("sbatch", "2\n")
    SlurmScheduler().submit(spec, "/d/x.sh", 1)
    seen = programs.environment("sbatch")
    assert [line for line in seen if line.startswith(("SLURM_", "SBATCH_"))] == ["SLURM_CONF=/c"]  # the job inherits it


def test_questions_go_to_the_cluster_that_took_the_job(spec: JobSpec, programs: Programs) -> None:
    programs.answer("sbatch", "62;obsb\n")
    programs.answer("squeue")
    scheduler = SlurmScheduler()
    scheduler.submit(spec, "/d/x.sh", 1)
    scheduler.states(["62"])
    assert "SLURM_CLUSTERS=obsb" in programs.environment("squeue")


IN_ITS_OWN = """
case "$*" in
    "-M north "*%F*) echo '7|N/A|7|RUNNING|c1|x|x|0:00|None' ;;
    "-M south "*%F*) echo '7|0|7|PENDING||x|x|0:00|Priority' ;;
    "-M dark "*) echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1 ;;
    *) echo '7|N/A|7|SUSPENDED||x|x|0:00|None' ;;
esac
"""


def test_each_job_is_asked_for_and_cancelled_in_its_own_cluster(spec: JobSpec, programs: Programs) -> None:
    """Numbers are those of a cluster, so an id says which one it is."""
    scheduler = SlurmScheduler()
    spec = replace(spec, resources=normalise({"extra": ["-M", "north,south"]}))
    programs.answer("sbatch", "7;north\n")
    assert scheduler.submit(spec, "/d/x.sh", 1) == ["7@north"]
    programs.answer("sbatch", "7;south\n")
    assert scheduler.submit(spec, "/d/x.sh", 2) == ["7_0@south", "7_1@south"]
    programs.answer("squeue", first=IN_ITS_OWN)
    other = SlurmScheduler()  # of another program
    found = other.states(["7", "7@north", "7_0@south", "7@dark", "9@north"])
    assert {job_id: status.state.name for job_id, status in found.items()} == {
        "7": "SUSPENDED", "7@north": "RUNNING", "7_0@south": "PENDING", "9@north": "GONE",
    }  # fmt: skip
    assert all(status.job_id == job_id for job_id, status in found.items())
    with pytest.raises(SchedulerUnavailable, match="Unable to contact"):
        other.states(["7@dark"])
    programs.answer("scancel")
    other.cancel(["7", "7@north", "7_0@south", "7_1@south"])
    assert programs.calls("scancel") == [["7"], ["-M", "north", "7"], ["-M", "south", "7_[0-1]"]]
    assert other.cancel_command(["7@north", "8_1@south"]) == "scancel -M north 7; scancel -M south '8_[1]'"
    programs.answer("scontrol", stderr="slurm_load_jobs error: Invalid job id specified\n", code=1)
    programs.answer("sacct", "7|FAILED|3:0|c1\n")
    explained = other.explain("7@north")
    assert explained is not None
    assert (explained.job_id, explained.exit_code) == ("7@north", 3)
    assert programs.calls("scontrol") == [["-M", "north", "-o", "show", "job", "7"]]
    assert programs.calls("sacct")[0][:2] == ["-M", "north"]


@pytest.mark.parametrize("words", [["-M", "north,south"], ["-Mnorth,south"], ["--clusters=north,south"], ["environ"]])
def test_a_submission_is_looked_for_in_each_of_its_clusters(
    spec: JobSpec, programs: Programs, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr(slurm_adapter, "_SETTLE_SECONDS", 0.0)
    if words == ["environ"]:
        monkeypatch.setenv("SBATCH_CLUSTERS", "north,south")
        words = []
    programs.answer("sbatch", code=1, stderr=said("Batch job submission failed: Socket timed out"))
    programs.answer("squeue", first='case "$*" in "-M south "*) echo "5|N/A|5|PENDING|run-1" ;; esac')
    scheduler = SlurmScheduler()
    with pytest.raises(SchedulerUnavailable):
        scheduler.submit(replace(spec, resources=normalise({"extra": words})), "/d/x.sh", 1)
    assert scheduler.find("run-1", 1) == ["5@south"]
    assert scheduler.find("run-2", 1) is None


def test_a_job_goes_where_those_are_that_it_waits_for(spec: JobSpec, programs: Programs) -> None:
    programs.answer("sbatch", "8;north\n")
    after = replace(spec, dependencies=[Dependency("7_0@north"), Dependency("7_1@north")])
    SlurmScheduler().submit(after, "/d/x.sh", 1)
    words = programs.calls("sbatch")[0]
    assert {"--dependency=afterok:7_0:7_1", "--clusters=north"} <= set(words)
    both = replace(spec, dependencies=[Dependency("7@north"), Dependency("7@south")])
    with pytest.raises(OptionError, match=r"several clusters \(north, south\)"):
        SlurmScheduler().submit(both, "/d/x.sh", 1)


def test_hosts_are_left_out_as_long_as_others_are_left(spec: JobSpec, programs: Programs) -> None:
    spec = replace(spec, avoid=("c1", "c2"), resources=normalise({"extra": ["-x", "c3"]}))
    programs.answer("sbatch", "5\n")
    scheduler = SlurmScheduler()
    assert scheduler.submit(spec, "/d/x.sh", 1) == ["5"]
    assert "--exclude=c1,c2,c3" in programs.calls("sbatch")[0]
    assert "c1" not in scheduler.script(spec, 1)
    refused = said("Batch job submission failed: Requested node configuration is not available")
    first = f'case "$*" in *c1*) printf %s {shlex.quote(refused)} >&2; exit 1 ;; esac'
    programs.answer("sbatch", "6\n", first=first)
    assert scheduler.submit(spec, "/d/x.sh", 1) == ["6"]


def test_no_id_means_that_nobody_knows(spec: JobSpec, programs: Programs) -> None:
    programs.answer("sbatch", "hello\n")
    with pytest.raises(SchedulerUnavailable, match="no job id"):
        SlurmScheduler().submit(spec, "/d/x.sh", 1)


POLICY = (
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)

REFUSALS = [
    (1, "invalid partition specified: nosuch\nBatch job submission failed: Invalid partition name specified",
     SubmitError, "partition='...'"),
    (1, "Memory specification can not be satisfied\nRequested node configuration is not available", SubmitError,
     "sinfo"),
    (1, "Batch job submission failed: Invalid account or account/partition combination specified", SubmitError,
     "sacctmgr"),
    (1, "Batch job submission failed: Invalid feature specification", SubmitError, "features="),
    (1, "Invalid generic resource (gres) specification", SubmitError, "gpus="),
    (1, f"AssocMaxSubmitJobLimit\n{POLICY}", SubmitLimitReached, "max_workers"),
    (1, f"QOSMaxSubmitJobPerUserLimit\n{POLICY}", SubmitLimitReached, "max_workers"),
    (1, POLICY, SubmitLimitReached, "max_workers"),
    (1, f"QOSMaxWallDurationPerJobLimit\n{POLICY}", SubmitError, ""),
    (1, "Batch job submission failed: Socket timed out on send/recv operation", SchedulerUnavailable, ""),
    (1, "Batch job submission failed: Unable to contact slurm controller (connect failure)", SchedulerUnavailable, ""),
    (1, "Batch job submission failed: Pathname of a file, directory or other parameter too long", SubmitError, ""),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "kind", "advice"), REFUSALS)
def test_refusals(spec: JobSpec, programs: Programs, code: int, text: str, kind: type[Exception], advice: str) -> None:
    programs.answer("sbatch", stderr=said(text), code=code)
    with pytest.raises(kind) as caught:
        SlurmScheduler().submit(spec, "/d/x.sh", 1)
    assert type(caught.value) is kind
    assert caught.value.message == text  # type: ignore[attr-defined]
    assert "sbatch: error" not in str(caught.value)
    assert advice in str(caught.value)
    assert len(programs.calls("sbatch")) == 1  # a submission is never tried again here


def test_array_too_large(spec: JobSpec, programs: Programs) -> None:
    programs.answer("sbatch", stderr=said("Batch job submission failed: Invalid job array specification"), code=1)
    with pytest.raises(ArrayTooLarge, match="Invalid job array specification"):
        SlurmScheduler().submit(spec, "/d/x.sh", 5000)


def test_option_that_sbatch_does_not_know(spec: JobSpec, programs: Programs) -> None:
    text = "sbatch: unrecognized option '--nosuch'\nTry \"sbatch --help\" for more information\n"
    programs.answer("sbatch", stderr=text, code=255)
    with pytest.raises(SubmitError, match="extra="):
        SlurmScheduler().submit(spec, "/d/x.sh", 1)


def test_no_sbatch_on_this_machine(spec: JobSpec, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/not/here")
    assert not SlurmScheduler.is_here()
    with pytest.raises(SubmitError, match="no program 'sbatch'"):
        SlurmScheduler().submit(spec, "/d/x.sh", 1)


def test_a_submission_that_hangs(spec: JobSpec, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_adapter, "_SUBMIT_SECONDS", 1.0)
    programs.answer("sbatch", first="sleep 60")
    with pytest.raises(SchedulerUnavailable, match="did not answer within"):
        SlurmScheduler().submit(spec, "/d/x.sh", 1)
    assert len(programs.calls("sbatch")) == 1


SLEEPING = "echo 'sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying' >&2; sleep 60"


def test_a_full_controller_is_a_limit(spec: JobSpec, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    # sbatch would sleep, for ever when the array is larger than MaxJobCount
    monkeypatch.setattr(slurm_adapter, "_SUBMIT_SECONDS", 1.0)
    programs.answer("sbatch", first=SLEEPING)
    programs.answer("squeue")
    with pytest.raises(SubmitLimitReached, match="temporarily unable"):
        SlurmScheduler().submit(spec, "/d/x.sh", 5)


def test_a_full_controller_may_let_us_in_at_the_last_moment(
    spec: JobSpec, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_adapter, "_SUBMIT_SECONDS", 1.0)
    programs.answer("sbatch", first=SLEEPING)
    programs.answer("squeue", "9|0|9|PENDING|run-1\n9|1|9|PENDING|run-1\n")
    assert SlurmScheduler().submit(spec, "/d/x.sh", 2) == ["9_0", "9_1"]


# --------------------------------------------------------------------- no patience left


@pytest.mark.parametrize(
    ("program", "ask"),
    [
        ("sbatch", lambda adapter, spec: adapter.submit(spec, "/d/x.sh", 1)),
        ("squeue", lambda adapter, _spec: adapter.states(["1"])),
        ("squeue", lambda adapter, _spec: adapter.find("run-1", 1)),
        ("scontrol", lambda adapter, _spec: adapter.explain("1")),
        ("scancel", lambda adapter, _spec: adapter.cancel(["1"])),
    ],
)
def test_when_it_has_to_hurry_no_command_takes_long(
    spec: JobSpec, programs: Programs, program: str, ask: Callable[[SlurmScheduler, JobSpec], object]
) -> None:
    """A command that hangs is given up, and not tried again; also one that was begun before."""
    programs.answer(program, first="sleep 60")
    adapter = SlurmScheduler()
    threading.Timer(0.1, adapter.hurry, [1.0]).start()
    began = time.monotonic()
    with pytest.raises(SchedulerUnavailable, match="did not answer within"):
        ask(adapter, spec)
    assert time.monotonic() - began < 10
    assert len(programs.calls(program)) == 1


def test_what_to_type_in_order_to_cancel(programs: Programs) -> None:
    adapter = SlurmScheduler()
    assert adapter.cancel_command(["7_0", "7_1", "8"]) == "scancel 8 '7_[0-1]'"
    assert adapter.cancel_by_name_command("run-1") == "scancel --name=run-1"
    programs.answer("sbatch", "9;far\n")
    adapter.submit(JobSpec("run-1", ["true"], "/d/log", "/d"), "/d/x.sh", 1)
    assert adapter.cancel_command(["9"]) == "scancel -M far 9"


# ---------------------------------------------------------------------------- finding


def test_find(programs: Programs) -> None:
    programs.answer(
        "squeue",
        "12|N/A|12|RUNNING|run-1\n13|N/A|13|RUNNING|run-10\n14|0|15|RUNNING|run-2\n14|2|14|PENDING|run-2\n"
        "16|N/A|16|RUNNING|a|run-3\n17|N/A|17|PENDING|two\nrun-4\n",
    )
    scheduler = SlurmScheduler()
    assert scheduler.find("run-1", 1) == ["12"]
    assert scheduler.find("run-2", 3) == ["14_0", "14_1", "14_2"]
    assert scheduler.find("run-3", 1) is None  # names are compared whole
    assert scheduler.find("run-4", 1) is None  # a newline in somebody's name
    assert scheduler.find("a|run-3", 1) == ["16"]
    *words, fields = programs.calls("squeue")[0]
    assert words == ["-h", "-a", "-r", "-t", "all", "-u", str(ME), "-o"]
    assert re.fullmatch(r"[0-9a-f]{16}:%F\|%K\|%A\|%T\|%j", fields)  # the mark of each row, then what was asked for


def test_find_looks_twice(programs: Programs) -> None:
    # a controller that wakes up may answer before it carries out what it was asked earlier
    counter = programs.directory / "n"
    line = "12|N/A|12|PENDING|run-1"
    programs.answer("squeue", first=f"echo x >>{counter}; [ $(wc -l <{counter}) -lt 2 ] || echo '{line}'")
    assert SlurmScheduler().find("run-1", 1) == ["12"]


def test_find_takes_the_newest_of_several() -> None:
    assert parse.parse_names("9|N/A|9|COMPLETED|x\n10|0|10|PENDING|x\n", "x") == ("10", {0})


# ----------------------------------------------------------------------------- states

QUEUE = """\
499|0|500|RUNNING|c1|2026-11-21T09:00:00|2026-11-21T10:00:00|59:00|None
499|1|499|PENDING|N/A|N/A|N/A|UNLIMITED|Resources
499|2|501|COMPLETED|c2|2026-11-21T09:00:00|2026-11-21T09:00:01|UNLIMITED|None
502|N/A|502|PENDING||N/A|N/A|UNLIMITED|ReqNodeNotAvail, UnavailableNodes:c3
503|N/A|503|PENDING||N/A|N/A|UNLIMITED|launch failed requeued held
504|N/A|504|COMPLETING|c3|2026-11-21T09:00:00|2026-11-21T09:00:01|0:00|TimeLimit
505|N/A|505|TRANSCENDING|c3|x|x|0:00|None
506|N/A|506|FAILED|c3|x|x|0:00|NonZeroExitCode
a line | of | somebody's | own
"""


def test_states(programs: Programs) -> None:
    programs.answer("squeue", QUEUE)
    asked = ["499_0", "499_1", "499_2", "502", "503", "504", "505", "506", "499_9", "777"]
    seen = SlurmScheduler().states(asked)
    assert list(seen) == asked
    assert [status.state.name for status in seen.values()] == [
        "RUNNING", "PENDING", "COMPLETED", "PENDING", "PENDING", "ENDING", "UNKNOWN", "FAILED", "GONE", "GONE",
    ]  # fmt: skip
    assert seen["502"].reason == "ReqNodeNotAvail, UnavailableNodes:c3"
    assert seen["499_0"].host == "c1"
    assert seen["499_1"].host == ""
    assert [job_id for job_id, status in seen.items() if status.never_starts] == ["503"]
    assert not seen["505"].state.is_final  # a word of a newer Slurm: do not give the job up


def test_one_question_for_all(programs: Programs) -> None:
    programs.answer("squeue", QUEUE)
    SlurmScheduler().states([f"499_{index}" for index in range(1000)])
    (argv,) = programs.calls("squeue")
    assert argv == ["-h", "-a", "-r", "-t", "all", "-u", str(ME), "-o", "%F|%K|%A|%T|%N|%S|%e|%L|%r"]
    assert "SLURM_BITSTR_LEN=0" in programs.environment("squeue")


def test_no_ids_no_question(programs: Programs) -> None:
    assert SlurmScheduler().states([]) == {}
    assert programs.calls("squeue") == []


@pytest.mark.parametrize(
    ("stderr", "code"),
    [
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", 1),
        ("slurm_load_jobs error: Socket timed out on send/recv operation", 1),
        ("squeue: error: Invalid user: nosuchuser", 0),
    ],
)
def test_no_answer_is_not_taken_for_an_empty_one(programs: Programs, stderr: str, code: int) -> None:
    programs.answer("squeue", stderr=f"{stderr}\n", code=code)
    with pytest.raises(SchedulerUnavailable, match=stderr[-20:].replace("(", r"\(").replace(")", r"\)")):
        SlurmScheduler().states(["1"])


BANNER = "NOTICE error: your quota is used up\n"


def test_what_a_site_says_to_everybody_is_no_failure(programs: Programs) -> None:
    programs.answer("squeue", "Welcome\n1|N/A|1|RUNNING|c1|N/A|N/A|1:00|None\nBye\n", stderr=BANNER)
    assert SlurmScheduler().states(["1"])["1"].state is JobState.RUNNING
    over = "scancel: error: Kill job error on job id 72: Invalid job id specified\n"
    programs.answer("scancel", "Welcome\n", stderr=f"{BANNER}{over}{BANNER}", code=1)
    SlurmScheduler().cancel(["72"])


def test_what_a_site_says_to_everybody_is_no_reason_for_a_refusal(spec: JobSpec, programs: Programs) -> None:
    text = "your qos, your account: munge, Connection refused\n" + said("Batch job submission failed: Disk full")
    programs.answer("sbatch", "Welcome\n", stderr=text, code=1)
    with pytest.raises(SubmitError) as caught:
        SlurmScheduler().submit(spec, "/d/x.sh", 1)
    assert caught.value.message == "Batch job submission failed: Disk full"
    assert caught.value.advice == ""


def test_questions_are_asked_again(programs: Programs) -> None:
    counter = programs.directory / "n"
    fail = "echo slurm_load_jobs error: Socket timed out on send/recv operation >&2; exit 1"
    programs.answer("squeue", QUEUE, first=f"echo x >>{counter}; [ $(wc -l <{counter}) -gt 2 ] || {{ {fail}; }}")
    assert SlurmScheduler().states(["499_0"])["499_0"].state is JobState.RUNNING


def test_invalid_utf8_in_a_name(programs: Programs) -> None:
    programs.answer("squeue", first=r"printf '1|N/A|1|RUNNING|\200x\n'")
    assert SlurmScheduler().find("\udc80x", 1) == ["1"]


@pytest.mark.parametrize(
    ("reason", "never"),
    [
        ("PartitionTimeLimit", True), ("PartitionConfig", True), ("DependencyNeverSatisfied", True),
        ("BadConstraints", True), ("InvalidAccount", True), ("InvalidQOS", True), ("launch failed requeued held", True),
        ("QOSMaxWallDurationPerJobLimit", True), ("AssocMaxCpuPerJobLimit", True), ("QOSMaxCpuPerJobLimit", True),
        ("Resources", False), ("Priority", False), ("None", False), ("BeginTime", False), ("JobHeldUser", True),
        ("job requeued in held state", True), ("JobHeldAdmin", True),
        ("AssocMaxJobsLimit", False), ("QOSMaxJobsPerUserLimit", False),
        ("AssocGrpCpuLimit", False), ("JobArrayTaskLimit", False), ("PartitionDown", False), ("Dependency", False),
        ("ReqNodeNotAvail, UnavailableNodes:c3", False),
        ("Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions", False),
    ],
)  # fmt: skip
def test_reasons_that_do_not_clear(reason: str, never: bool) -> None:
    line = f"1|N/A|1|PENDING|N/A|N/A|N/A|UNLIMITED|{reason}\n"
    assert parse.parse_queue(line)["1"].never_starts is never


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("CONFIGURING", JobState.PENDING), ("REQUEUED", JobState.PENDING), ("SPECIAL_EXIT", JobState.PENDING),
        ("SUSPENDED", JobState.SUSPENDED), ("STOPPED", JobState.SUSPENDED), ("SIGNALING", JobState.RUNNING),
        ("TIMEOUT", JobState.TIMEOUT), ("DEADLINE", JobState.TIMEOUT), ("CANCELLED", JobState.CANCELLED),
        ("OUT_OF_MEMORY", JobState.OUT_OF_MEMORY), ("NODE_FAIL", JobState.NODE_FAIL), ("BOOT_FAIL", JobState.NODE_FAIL),
        ("PREEMPTED", JobState.PREEMPTED), ("REVOKED", JobState.CANCELLED),
    ],
)  # fmt: skip
def test_words_for_states(word: str, state: JobState) -> None:
    assert parse.parse_queue(f"1|N/A|1|{word}|c1|x|x|0:00|None\n")["1"].state is state


# ---------------------------------------------------------------------------- explain


def shown(state: str, reason: str, exit_code: str, name: str = "el", restarts: int = 0, tail: str = "") -> str:
    return (
        f"JobId=511 ArrayJobId=500 ArrayTaskId=1 JobName={name} UserId=alice(1001) GroupId=alice(1001) MCS_label=N/A "
        f"Priority=4294901755 Nice=0 Account=(null) QOS=(null) JobState={state} Reason={reason} Dependency=(null) "
        f"Requeue=1 Restarts={restarts} BatchFlag=1 Reboot=0 ExitCode={exit_code} RunTime=00:00:03 TimeLimit=UNLIMITED "
        "TimeMin=N/A SubmitTime=2026-11-21T09:00:00 EligibleTime=2026-11-21T09:00:00 StartTime=2026-11-21T09:00:00 "
        "EndTime=2026-11-21T09:00:03 Deadline=N/A Partition=main AllocNode:Sid=vm:1 ReqNodeList=(null) "
        "ExcNodeList=(null) NodeList=c[1-2] BatchHost=c1 NumNodes=2 NumCPUs=2 Command=/home/alice/x y.sh "
        f"WorkDir=/home/alice StdErr=/x StdIn=/dev/null StdOut=/x Power= {tail}\n"
    )


def test_explain(programs: Programs) -> None:
    programs.answer("scontrol", shown("FAILED", "NonZeroExitCode", "200:0"))
    programs.answer("sacct", stderr="Slurm accounting storage is disabled\n", code=1)
    scheduler = SlurmScheduler()
    status = scheduler.explain("500_1")
    assert status is not None
    assert (status.state, status.exit_code, status.signal, status.host) == (JobState.FAILED, 200, None, "c1")
    assert programs.calls("scontrol") == [["-o", "show", "job", "500_1"]]
    scheduler.explain("500_1")
    assert len(programs.calls("sacct")) == 1  # it said that it never will


@pytest.mark.parametrize(
    "name",
    ["a b", "x=y", "JobState=COMPLETED", "a JobState=COMPLETED Reason=None", "two\nlines", "ExitCode=0:0", "UserId=x"],
)
def test_names_do_not_deceive_it(name: str) -> None:
    status = parse.parse_job(
        shown("FAILED", "NonZeroExitCode", "3:0", name, tail="Comment=JobState=X ExitCode=9:9 "), "1"
    )
    assert status is not None
    assert (status.state, status.exit_code) == (JobState.FAILED, 3)


@pytest.mark.parametrize(
    ("state", "reason", "pair", "exit_code", "number"),
    [
        ("COMPLETED", "None", "0:0", 0, None),
        ("FAILED", "NonZeroExitCode", "139:0", 139, None),
        ("FAILED", "JobLaunchFailure", "0:11", None, 11),
        ("FAILED", "JobLaunchFailure", "0:9", None, 9),
        ("TIMEOUT", "TimeLimit", "0:15", None, 15),
        ("CANCELLED", "None", "0:15", None, 15),
        ("PREEMPTED", "None", "15:0", 15, None),
        ("NODE_FAIL", "NodeDown", "0:0", 0, None),
        ("COMPLETING", "TimeLimit", "0:0", None, None),  # not known yet
        ("PENDING", "Resources", "0:0", None, None),
    ],
)
def test_exit_codes(state: str, reason: str, pair: str, exit_code: int | None, number: int | None) -> None:
    status = parse.parse_job(shown(state, reason, pair), "500_1")
    assert status is not None
    assert (status.exit_code, status.signal) == (exit_code, number)


@pytest.mark.parametrize("reason", ["JobLaunchFailure", "RaisedSignal:11(Segmentation_fault)"])
def test_a_signal_is_no_failure_to_launch(reason: str) -> None:
    """And it is not told twice; the second is what 24.11 and later say."""
    status = parse.parse_job(shown("FAILED", reason, "0:11"), "1")
    assert status is not None
    assert (status.signal, status.reason) == (11, "")


@pytest.mark.parametrize("tail", ["NodeList=c9 BatchHost=c9 ", "SubmitLine=sbatch -J x NodeList=c9 BatchHost=c9 y.sh "])
def test_the_command_line_of_sbatch_does_not_deceive_it(tail: str) -> None:
    """26.05 shows it, and it holds what the user wrote."""
    status = parse.parse_job(shown("FAILED", "NonZeroExitCode", "3:0", tail=tail), "1")
    assert status is not None
    assert status.host == "c1"


def test_a_log_that_could_not_be_opened_is_said() -> None:
    status = parse.parse_job(shown("FAILED", "JobLaunchFailure", "0:53"), "1")
    assert status is not None
    assert "log file could not be opened" in status.reason
    assert status.signal is None


def test_restarts() -> None:
    status = parse.parse_job(shown("PENDING", "BeginTime", "0:0", restarts=2), "1")
    assert status is not None
    assert status.restarts == 2


def test_reasons_with_blanks_in_scontrol() -> None:
    status = parse.parse_job(shown("PENDING", "launch_failed_requeued_held", "0:0"), "1")
    assert status is not None
    assert status.never_starts


UNKNOWN = [("", "slurm_load_jobs error: Invalid job id specified\n"), ("Job 499_1 not found\n", "")]


@pytest.mark.parametrize(("stdout", "stderr"), UNKNOWN)
def test_explain_of_an_unknown_job(programs: Programs, stdout: str, stderr: str) -> None:
    programs.answer("scontrol", stdout, stderr, 1)
    programs.answer("sacct")
    assert SlurmScheduler().explain("499_1") == JobStatus("499_1", JobState.GONE, unknown=True)


def test_elements_that_were_cancelled_before_they_started(programs: Programs) -> None:
    """Recorded: they are not listed any more, and scontrol finds none of them."""
    programs.answer("squeue", "1|N/A|1|CANCELLED|||N/A|INVALID|JobHeldUser\n7|0|8|RUNNING|n1|||9:00|None\n")
    states = SlurmScheduler().states(["1_0", "1_1", "7_0", "7_1"])
    assert [states[one].state for one in ("1_0", "1_1", "7_0", "7_1")] == [
        JobState.CANCELLED, JobState.CANCELLED, JobState.RUNNING, JobState.GONE,
    ]  # fmt: skip
    assert (states["1_0"].job_id, states["7_1"].is_missing) == ("1_0", True)


def test_accounting_remembers_what_the_controller_forgot(programs: Programs) -> None:
    programs.answer("scontrol", stderr="slurm_load_jobs error: Invalid job id specified\n", code=1)
    programs.answer("sacct", "27|CANCELLED by 1001|0:0|c3\n27.batch|CANCELLED|0:15|c3\n")
    status = SlurmScheduler().explain("27")
    assert status is not None
    assert (status.state, status.host) == (JobState.CANCELLED, "c3")
    assert programs.calls("sacct") == [["-n", "-P", "-j", "27", "-o", "JobID,State,ExitCode,NodeList"]]


def test_out_of_memory_may_be_written_at_a_step_only(programs: Programs) -> None:
    programs.answer("scontrol", shown("FAILED", "JobLaunchFailure", "0:9"))
    programs.answer("sacct", "500_1|FAILED|0:9|c1\n500_1.batch|FAILED|0:9|c1\n500_1.0|OUT_OF_MEMORY|0:125|c1\n")
    status = SlurmScheduler().explain("500_1")
    assert status is not None
    assert (status.state, status.signal) == (JobState.OUT_OF_MEMORY, 9)


def test_accounting_shows_exit_codes_less_128_so_the_controller_is_believed(programs: Programs) -> None:
    programs.answer("scontrol", shown("FAILED", "NonZeroExitCode", "200:0"))
    programs.answer("sacct", "500_1|FAILED|72:0|c1\n500_1.batch|FAILED|72:0|c1\n")
    status = SlurmScheduler().explain("500_1")
    assert status is not None
    assert status.exit_code == 200


@pytest.mark.parametrize(
    ("rows", "state", "exit_code"),
    [
        ("79|PENDING|0:0|None assigned\n79|FAILED|4:0|c1\n", JobState.FAILED, 4),  # ids are given out again
        ("79|FAILED|0:0|c1\n", JobState.FAILED, None),  # a fresh row: the code comes later
        ("79|CANCELLED+|0:0|c1\n", JobState.CANCELLED, 0),
        ("79|TIMEOUT|0:0|c1\n79.batch|CANCELLED|0:9|c1\n", JobState.TIMEOUT, 0),
        ("79.batch|OUT_OF_MEMORY|0:9|c1\n80|FAILED|1:0|c1\n", None, None),
    ],
)
def test_accounting_rows(rows: str, state: JobState | None, exit_code: int | None) -> None:
    status = parse.parse_accounting(rows, "79")
    assert (status and status.state, status and status.exit_code) == (state, exit_code)


def test_accounting_that_is_down_is_asked_again(programs: Programs) -> None:
    programs.answer("scontrol", shown("FAILED", "NonZeroExitCode", "3:0"))
    programs.answer("sacct", stderr="sacct: error: Problem talking to the database: Connection refused\n", code=1)
    scheduler = SlurmScheduler()
    for _ in range(2):
        status = scheduler.explain("500_1")
        assert status is not None
        assert status.exit_code == 3
    assert len(programs.calls("sacct")) == 2


def test_a_site_without_sacct(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(programs.directory))
    (programs.directory / "sacct").unlink()
    programs.answer("scontrol", shown("FAILED", "NonZeroExitCode", "3:0"))
    status = SlurmScheduler().explain("500_1")
    assert status is not None
    assert status.state is JobState.FAILED


def test_explain_while_the_controller_is_away(programs: Programs) -> None:
    text = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
    programs.answer("scontrol", stderr=text, code=1)
    with pytest.raises(SchedulerUnavailable):
        SlurmScheduler().explain("1")


# ------------------------------------------------------------------------------ limits

CONFIG = "KillWait                = 30 sec\nMaxArraySize            = {}\nMaxJobCount             = {}\n"


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (CONFIG.format(1001, 10000), 1001),  # indexes 0 .. 1000
        (CONFIG.format(50, 10000), 50),
        (CONFIG.format(20001, 10000), 10000),  # a larger one is not refused: sbatch waits for ever
        (CONFIG.format(1001, 10000) + "SchedulerParameters     = bf_interval=1,max_array_tasks=200\n", 200),
        (CONFIG.format(0, 10000), 1),
        ("nothing of the kind", 1000),
    ],
)
def test_array_limit(programs: Programs, config: str, limit: int) -> None:
    programs.answer("scontrol", config)
    assert SlurmScheduler().array_limit() == limit


def test_the_array_limit_is_asked_once(programs: Programs) -> None:
    programs.answer("scontrol", CONFIG.format(1001, 10000))
    scheduler = SlurmScheduler()
    assert scheduler.array_limit() == scheduler.array_limit()
    assert programs.calls("scontrol") == [["show", "config"]]


# -------------------------------------------------------------------------- cancelling


@pytest.mark.parametrize(
    ("job_ids", "words"),
    [
        (["7"], ["7"]),
        (["7", "9"], ["7", "9"]),
        (["7_0", "7_1", "7_2", "7_9", "8"], ["8", "7_[0-2,9]"]),
        (["7_3"], ["7_[3]"]),
        ([], []),
        ([f"7_{index}" for index in range(0, 120, 2)],
         [f"7_[{','.join(map(str, range(0, 100, 2)))}]", f"7_[{','.join(map(str, range(100, 120, 2)))}]"]),
    ],
)  # fmt: skip
def test_compress(job_ids: list[str], words: list[str]) -> None:
    assert parse.compress(job_ids) == words


def test_cancel(programs: Programs) -> None:
    programs.answer("scancel")
    SlurmScheduler().cancel([f"7_{index}" for index in range(10000)])
    assert programs.calls("scancel") == [["7_[0-9999]"]]


def test_cancel_in_batches(programs: Programs) -> None:
    programs.answer("scancel")
    SlurmScheduler().cancel([str(number) for number in range(1200)])
    assert [len(argv) for argv in programs.calls("scancel")] == [500, 500, 200]


def test_cancel_nothing(programs: Programs) -> None:
    SlurmScheduler().cancel([])
    assert programs.calls("scancel") == []


def test_cancel_of_jobs_that_are_over(programs: Programs) -> None:
    text = "scancel: error: Kill job error on job id 72: Job/step already completing or completed\n"
    programs.answer("scancel", stderr=text, code=1)
    SlurmScheduler().cancel(["72"])


@pytest.mark.parametrize("code", [8, 140])
def test_cancel_while_the_controller_is_away(programs: Programs, code: int) -> None:
    text = "scancel: error: Kill job error on job id 495: Unable to contact slurm controller (connect failure)\n"
    programs.answer("scancel", stderr=text, code=code)
    with pytest.raises(SchedulerUnavailable, match="Unable to contact"):
        SlurmScheduler().cancel(["495"])
    assert len(programs.calls("scancel")) == 3


def test_a_real_slurm_is_told_by_its_programs(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: Callable[[], bool] = SlurmScheduler.is_here
    assert seen()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not seen()
