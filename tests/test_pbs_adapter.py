"""The PBS adapter: its argv for both dialects, and its reading of answers recorded from
OpenPBS 23.06.06 (and, for Torque, written after its manual)."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scheduler_programs import Programs, programs_in_place_of

from clusterfutures.errors import (
    ArrayTooLarge,
    ClusterError,
    OptionError,
    SchedulerUnavailable,
    SubmitError,
    SubmitLimitReached,
)
from clusterfutures.schedulers.base import EXIT_NO_LOG, JobSpec
from clusterfutures.schedulers.job_state import JobState
from clusterfutures.schedulers.options import normalise
from clusterfutures.schedulers.pbs import adapter as pbs_adapter
from clusterfutures.schedulers.pbs import parse
from clusterfutures.schedulers.pbs.adapter import PBSScheduler
from clusterfutures.schedulers.pbs.dialects import Dialect, Pro, Torque, dialect_of


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    return programs_in_place_of(("qsub", "qstat", "qselect", "qdel", "qmgr"), tmp_path / "bin", monkeypatch)


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return JobSpec(name="run-1", command=["python3"], log=str(tmp_path / "job"), cwd=str(tmp_path))


def speaking(dialect: Dialect) -> PBSScheduler:
    scheduler = PBSScheduler()
    scheduler._dialect = dialect
    return scheduler


BOTH = pytest.mark.parametrize("dialect", [Pro(), Torque()], ids=["pro", "torque"])


def directives(dialect: Dialect, spec: JobSpec, count: int = 1, **resources: Any) -> list[str]:
    spec = dataclasses.replace(spec, resources=normalise(resources))
    return [word for words in speaking(dialect)._directives(spec, count) for word in words]


def after(words: list[str], flag: str) -> list[str]:
    return [value for word, value in itertools.pairwise(words) if word == flag]


# ------------------------------------------------------------------------ which dialect


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("pbs_version = 23.06.06", Pro),
        ("pbs_version = 2024.1", Pro),
        ("pbs_version = PBSPro_13.1.400.180175", Pro),
        ("Version: 6.1.2\nCommit: 661e092552de43a785c15d39a3634a541d86898e", Torque),
        ("version: 2.5.13", Torque),
    ],
)
def test_dialects(said: str, kind: type[Dialect]) -> None:
    assert type(dialect_of(said, {})) is kind


def test_grid_engine_is_refused() -> None:
    for said, environ in (("SGE 8.1.9\nusage: qstat [options]", {}), ("error: unknown option", {"SGE_ROOT": "/sge"})):
        with pytest.raises(SubmitError, match="Grid Engine"):
            dialect_of(said, environ)


def test_the_dialect_is_asked_once(programs: Programs) -> None:
    programs.answer("qstat", "pbs_version = 23.06.06\n")
    scheduler = PBSScheduler()
    assert scheduler.dialect is scheduler.dialect
    assert isinstance(scheduler.dialect, Pro)
    assert programs.calls("qstat") == [["--version"]]


def test_the_version_may_come_on_stderr(programs: Programs) -> None:
    programs.answer("qstat", stderr="Version: 6.1.2\nCommit: 661e\n", code=0)
    assert isinstance(PBSScheduler().dialect, Torque)


def test_a_qsub_that_nobody_knows(programs: Programs) -> None:
    programs.answer("qstat", "hello\n")
    programs.answer("qsub", "hello\n")
    with pytest.raises(SubmitError, match="hello"):
        _ = PBSScheduler().dialect


def test_it_is_here(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PBSScheduler.is_here()
    monkeypatch.setenv("PATH", "/not/here")
    assert not PBSScheduler.is_here()


# -------------------------------------------------------------------------- directives


@BOTH
def test_what_every_job_gets(dialect: Dialect, spec: JobSpec) -> None:
    words = directives(dialect, spec)
    assert after(words, "-N") == ["run-1"]
    assert after(words, "-o") == ["/dev/null"]  # the script opens the log: PBS would bring it at the end
    assert after(words, "-j") == ["oe"]
    assert after(words, "-S") == ["/bin/sh"]
    assert after(words, "-m") == ["n"]
    assert after(words, "-W") == ["umask=077"]
    assert "-V" not in words
    assert "-J" not in words
    assert "-t" not in words


def test_arrays(spec: JobSpec) -> None:
    words = directives(Pro(), spec, 4)
    assert after(words, "-J") == ["0-3"]
    assert after(words, "-r") == ["y"]
    assert after(directives(Torque(), spec, 4), "-t") == ["0-3"]


@BOTH
def test_one_element_is_a_plain_job(dialect: Dialect, spec: JobSpec) -> None:
    # both refuse "0-0"
    words = directives(dialect, spec, 1)
    assert after(words, "-J") == after(words, "-t") == []


def test_the_shell_is_the_one_that_the_script_is_written_for(spec: JobSpec) -> None:
    assert after(directives(Pro(), dataclasses.replace(spec, setup=["x"])), "-S") == ["/bin/bash"]


def test_resources_of_pro(spec: JobSpec) -> None:
    words = directives(
        Pro(), spec, cores=4, mem="1.5GB", time="90m", gpus=2, features="model=sky", partition="q", account="a"
    )
    assert after(words, "-l") == ["walltime=01:30:00", "select=1:ncpus=4:mem=1536mb:ngpus=2:model=sky"]
    assert after(words, "-q") == ["q"]
    assert after(words, "-A") == ["a"]


def test_nodes_of_pro(spec: JobSpec) -> None:
    assert after(directives(Pro(), spec, nodes=2, cores=3), "-l") == ["select=2:ncpus=3", "place=scatter"]
    assert after(directives(Pro(), spec, nodes=2, exclusive=True), "-l") == ["select=2", "place=scatter:excl"]
    assert after(directives(Pro(), spec, exclusive=True), "-l") == ["select=1", "place=excl"], "place needs select"
    by_hand = directives(Pro(), spec, exclusive=True, extra=["-l", "select=1:ncpus=8"])
    assert after(by_hand, "-l") == ["place=excl", "select=1:ncpus=8"]


def test_no_select_where_nothing_is_asked_for(spec: JobSpec) -> None:
    # so that extra="-l ncpus=2" works, which cannot go together with a select
    assert after(directives(Pro(), spec, time="1h", extra="-l ncpus=2"), "-l") == ["walltime=01:00:00", "ncpus=2"]


def test_resources_of_torque(spec: JobSpec) -> None:
    words = directives(Torque(), spec, cores=4, mem="1GB", time="90m", gpus=2, features=["big", "fast"], qos="high")
    # mem in a -l of its own: nodes=1:ppn=4:mem=1gb is refused
    assert after(words, "-l") == ["nodes=1:ppn=4:gpus=2:big:fast", "mem=1024mb", "walltime=01:30:00", "qos=high"]


def test_memory_of_torque_is_that_of_all_nodes(spec: JobSpec) -> None:
    assert after(directives(Torque(), spec, nodes=3, mem="1GB"), "-l") == ["nodes=3", "mem=3072mb"]


def test_exclusive_torque(spec: JobSpec) -> None:
    assert "-n" in directives(Torque(), spec, exclusive=True)


@BOTH
def test_options_of_the_users_own_take_the_place_of_ours(dialect: Dialect, spec: JobSpec) -> None:
    words = directives(dialect, spec, extra="-m abe -M me@here -W group_list=x")
    assert after(words, "-m") == ["abe"]
    assert after(words, "-W") == ["group_list=x"]
    assert words[-2:] == ["-W", "group_list=x"]


def test_what_cannot_be_said(spec: JobSpec) -> None:
    with pytest.raises(OptionError, match="PBS has no qos"):
        directives(Pro(), spec, qos="high")


# ------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["run-1", "Run_1.x+y-z", "r" * 230])
def test_names_that_pbs_takes_stay(name: str) -> None:
    assert Pro().job_name(name) == name


@BOTH
@pytest.mark.parametrize(
    "name", ["a b", "a/b:c", "1abc", "-x", ".x", "é", "", "a'b\"", "a[1]", "x" * 300, "a\nb", "\udc80"]
)
def test_other_names_are_made_to_fit(dialect: Dialect, name: str) -> None:
    made = dialect.job_name(name)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_.+-]*", made)
    assert len(made) <= dialect.longest_name
    assert dialect.job_name(name) == made  # find() must come to the same


@BOTH
def test_names_stay_different(dialect: Dialect) -> None:
    names = ["a b", "a_b", "a/b", *(f"clusterfutures-20310501-run-{number}" for number in range(50))]
    assert len({dialect.job_name(name) for name in names}) == len(names)


def test_torque_takes_fifteen_characters() -> None:
    assert len(Torque().job_name("clusterfutures-1")) == 15


# ------------------------------------------------------------------------------ script

SHOW = [
    "/bin/sh",
    "-c",
    'echo "$CLUSTERFUTURES_INDEX,$CLUSTERFUTURES_JOB_ID,$CLUSTERFUTURES_ATTEMPT,$CLUSTERFUTURES_CORES"',
]


@pytest.mark.parametrize(
    ("dialect", "count", "env", "index", "shown"),
    [
        (Pro(), 1, {"PBS_JOBID": "220.vm", "NCPUS": "2"}, 0, "0,220,{},2"),
        (Pro(), 1, {"PBS_JOBID": "220.vm.site.org"}, 0, "0,220,{},1"),
        (Pro(), 4, {"PBS_JOBID": "25[3].vm", "PBS_ARRAY_INDEX": "3", "NCPUS": "2"}, 3, "3,25[3],{},2"),
        (Torque(), 4, {"PBS_JOBID": "25[3].vm", "PBS_ARRAYID": "3", "PBS_NUM_PPN": "2"}, 3, "3,25[3],{},2"),
        (Torque(), 1, {"PBS_JOBID": "25.vm"}, 0, "0,25,{},1"),
    ],
)
@pytest.mark.parametrize("name", ["job", "a b'c\"d$(e)é\\\n%"])
def test_a_job_knows_who_it_is_and_writes_its_log(
    tmp_path: Path, dialect: Dialect, count: int, env: dict[str, str], index: int, shown: str, name: str
) -> None:
    spec = JobSpec(name="n", command=SHOW, log=str(tmp_path / name), cwd=str(tmp_path))
    path = tmp_path / "job.sh"
    path.write_text(speaking(dialect).script(spec, count))
    logs = []
    for attempt in range(3):  # started three times, as after two requeues
        done = subprocess.run(["/bin/sh", str(path)], env=env, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        logs.append(f"{shown.format(attempt)}\n")
        assert Path(spec.log_of(index)).read_text() == "".join(logs)  # appended to, not wiped


def test_cores_that_were_asked_for(tmp_path: Path) -> None:
    spec = JobSpec(name="n", command=SHOW, log=str(tmp_path / "x"), cwd="/", resources=normalise({"cores": 3}))
    assert 'CLUSTERFUTURES_CORES="3"' in speaking(Pro()).script(spec, 1)


def test_the_log_is_open_before_anything_can_fail(tmp_path: Path) -> None:
    spec = JobSpec(name="n", command=SHOW, log=str(tmp_path / "x"), cwd="/not/here")
    path = tmp_path / "job.sh"
    path.write_text(speaking(Pro()).script(spec, 1))
    subprocess.run(["/bin/sh", str(path)], env={"PBS_JOBID": "1.vm"}, check=False)
    assert "cannot enter /not/here" in Path(spec.log_of(0)).read_text()


def test_a_node_on_which_the_log_cannot_be_opened(tmp_path: Path) -> None:
    spec = JobSpec(name="n", command=SHOW, log=str(tmp_path / "not here" / "x"), cwd="/")
    path = tmp_path / "job.sh"
    path.write_text(speaking(Pro()).script(spec, 1))
    done = subprocess.run(
        ["/bin/sh", str(path)], env={"PBS_JOBID": "1.vm"}, check=False, capture_output=True, text=True
    )
    assert done.returncode == EXIT_NO_LOG
    assert done.stdout == "", "it goes no further"


@BOTH
def test_the_script_and_the_command_line_say_the_same(dialect: Dialect, spec: JobSpec, programs: Programs) -> None:
    spec = dataclasses.replace(spec, resources=normalise({"cores": 2, "extra": ["-W", "x=a b"]}))
    programs.answer("qsub", "7[].vm\n")
    scheduler = speaking(dialect)
    lines = [line.removeprefix("#PBS ") for line in scheduler.script(spec, 3).splitlines() if line.startswith("#PBS")]
    scheduler.submit(spec, "/d/job.sh", 3)
    (argv,) = programs.calls("qsub")
    assert argv == [*(word for line in lines for word in shlex.split(line)), "/d/job.sh"]


def test_the_environment_must_be_brought_along() -> None:
    assert not PBSScheduler.exports_environment


# -------------------------------------------------------------------------- submitting


@pytest.mark.parametrize(
    ("stdout", "number"),
    [
        ("1.vm\n", "1"),
        ("25[].vm\n", "25"),
        ("25[].vm.site.org\n", "25"),
        ("Welcome\n1.vm\nbye, now\n", "1"),
        ("x\n", None),
    ],
)
def test_job_id(stdout: str, number: str | None) -> None:
    assert parse.parse_submitted(stdout) == number


@BOTH
def test_submit(dialect: Dialect, spec: JobSpec, programs: Programs) -> None:
    programs.answer("qsub", "25[].vm\n")
    assert speaking(dialect).submit(spec, "/d/x.sh", 3) == ["25[0]", "25[1]", "25[2]"]
    programs.answer("qsub", "26.vm\n")
    assert speaking(dialect).submit(spec, "/d/x.sh", 1) == ["26"]


def test_submit_from_inside_a_job(spec: JobSpec, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PBS_JOBID": "1.vm", "PBS_DPREFIX": "#X", "PBS_ARRAY_INDEX": "3", "PBS_SERVER": "s"}.items():
        monkeypatch.setenv(name, value)
    programs.answer("qsub", "2.vm\n")
    speaking(Pro()).submit(spec, "/d/x.sh", 1)
    seen = [line for line in programs.environment("qsub") if line.startswith("PBS_")]
    assert seen == ["PBS_SERVER=s"]


REFUSALS: list[tuple[int, str, type[ClusterError], str]] = [
    (187, "qsub: Unknown resource Resource_List.nosuch", SubmitError, "pbsnodes"),
    (166, "qsub: Illegal attribute or resource value Resource_List.walltime", SubmitError, "extra="),
    (5, 'qsub: "-lresource=" cannot be used with "select" or "place", resource is: ncpus', SubmitError, "extra="),
    (170, "qsub: Unknown queue", SubmitError, "qstat -Q"),
    (160, "Unknown Host.\nqsub: cannot connect to server vm (errno=15008)", SchedulerUnavailable, ""),
    (162, "Connection refused\nqsub: cannot connect to server vm (errno=15010)", SchedulerUnavailable, ""),
    (2, "qsub: illegal -N value\nusage: qsub [-a date_time] [-A account_string]\n\t[-C x]", SubmitError, "extra="),
    (197, "qsub: Bad GID for job execution", SubmitError, ""),
    (188, "qsub: Job violates queue and/or server resource limits", SubmitError, "qstat -Qf"),
    (173, "qsub: Queue is not enabled", SubmitError, "partition="),
    (159, "qsub: Unauthorized Request ", SubmitError, "partition="),
    (7, 'qsub: Cannot have "place" without "select"', SubmitError, "select="),
    (3, "qsub: Array job exceeds server or queue size limit", ArrayTooLarge, "qstat -Bf"),
    (131, "qsub: submit error (Bad Job Array Request MSG=Requested array size too large, limit is 2)", ArrayTooLarge,
     "qstat -Bf"),
    (38, "qsub: would exceed queue workq's per-user limit of jobs in 'Q' state", SubmitLimitReached, "max_workers"),
    (180, "qsub: submit error (Maximum number of jobs already in queue for user MSG=exceeds the queue limit: user x@y)",
     SubmitLimitReached, "max_workers"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "kind", "advice"), REFUSALS)
def test_refusals(
    spec: JobSpec, programs: Programs, code: int, text: str, kind: type[ClusterError], advice: str
) -> None:
    programs.answer("qsub", stderr=f"{text}\n", code=code)
    with pytest.raises(kind) as caught:
        speaking(Pro()).submit(spec, "/d/x.sh", 3)
    assert type(caught.value) is kind
    assert "usage:" not in str(caught.value)
    assert not str(caught.value).startswith("qsub:")
    assert advice in str(caught.value)
    assert len(programs.calls("qsub")) == 1


def test_no_qsub_on_this_node(spec: JobSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/not/here")
    with pytest.raises(SubmitError, match=r"no program 'qsub'.*may be submitted"):
        speaking(Pro()).submit(spec, "/d/x.sh", 1)


@pytest.mark.parametrize(
    ("program", "ask"),
    [
        ("qsub", lambda adapter, spec: adapter.submit(spec, "/d/x.sh", 1)),
        ("qstat", lambda adapter, _spec: adapter.states(["1"])),
        ("qselect", lambda adapter, _spec: adapter.find("run-1", 1)),
        ("qdel", lambda adapter, _spec: adapter.cancel(["1"])),
    ],
)
def test_when_it_has_to_hurry_no_command_takes_long(
    spec: JobSpec, programs: Programs, program: str, ask: Callable[[PBSScheduler, JobSpec], object]
) -> None:
    """A command that hangs is given up, and not tried again; also one that was begun before."""
    programs.answer(program, first="sleep 60")
    adapter = speaking(Pro())
    threading.Timer(0.1, adapter.hurry, [1.0]).start()
    began = time.monotonic()
    with pytest.raises(SchedulerUnavailable, match="did not answer within"):
        ask(adapter, spec)
    assert time.monotonic() - began < 10
    assert len(programs.calls(program)) == 1


def test_what_to_type_in_order_to_cancel() -> None:
    assert speaking(Pro()).cancel_command(["7[0]", "8"]) == "qdel '7[0]' 8"
    assert speaking(Pro()).cancel_by_name_command("run-1") == "qselect -N run-1 | xargs -r qdel"


def test_a_submission_that_hangs(spec: JobSpec, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pbs_adapter, "_SUBMIT_SECONDS", 1.0)
    programs.answer("qsub", first="sleep 60")
    with pytest.raises(SchedulerUnavailable, match="did not answer"):
        speaking(Pro()).submit(spec, "/d/x.sh", 1)
    assert len(programs.calls("qsub")) == 1


# ---------------------------------------------------------------------------- finding


def test_find(programs: Programs) -> None:
    programs.answer("qselect", "25[].vm\n")
    assert speaking(Pro()).find("run 1", 3) == ["25[0]", "25[1]", "25[2]"]
    assert programs.calls("qselect") == [["-x", "-N", Pro().job_name("run 1")]]
    programs.answer("qselect", "9.vm\n26.vm\n")
    assert speaking(Pro()).find("run", 1) == ["26"]
    programs.answer("qselect", "")
    assert speaking(Pro()).find("run", 1) is None


def test_find_on_torque(programs: Programs) -> None:
    jobs = "".join(
        f"<Job><Job_Id>{job_id}</Job_Id><Job_Name>{name}</Job_Name><job_state>Q</job_state></Job>"
        for job_id, name in [("7.vm", "run"), ("8[].vm", "many"), ("9.vm", "run-2"), ("10.vm", "run")]
    )
    programs.answer("qstat", f"<Data>{jobs}</Data>\n")
    scheduler = speaking(Torque())
    assert scheduler.find("run", 1) == ["10"]
    assert scheduler.find("many", 2) == ["8[0]", "8[1]"]
    assert scheduler.find("no", 1) is None
    assert programs.calls("qstat")[0] == ["-x"]


OFF = "PBS is not configured to maintain job history"


def test_find_without_history(programs: Programs) -> None:
    programs.answer("qselect", "25.vm\n", first=f'[ "$1" != -x ] || {{ echo "qselect: {OFF}" >&2; exit 0; }}')
    assert speaking(Pro()).find("run", 1) == ["25"]


def test_find_while_the_server_is_away(programs: Programs) -> None:
    programs.answer(
        "qselect", stderr="Connection refused\nqselect: cannot connect to server vm (errno=15010)\n", code=162
    )
    with pytest.raises(SchedulerUnavailable):
        speaking(Pro()).find("run", 1)
    assert len(programs.calls("qselect")) == 3


# -------------------------------------------------------------------------- PBS Pro: json

BASE = {
    "Job_Name": "ok", "Job_Owner": "alice@localhost", "queue": "workq", "server": "vm", "Priority": 0,
    "Rerunable": "True", "Resource_List": {"ncpus": 1, "nodect": 1, "place": "pack", "select": "1:ncpus=1"},
    "project": "_pbs_project_default",
    "Variable_List": {"PBS_O_WORKDIR": "/home/alice/work", "S": 4, "R": 3},
}  # fmt: skip
RUNNING = {
    **BASE, "job_state": "R", "exec_host": "vm/0", "exec_vnode": "(vm:ncpus=1)", "substate": 41, "run_count": 1,
    "comment": "Job run at Sat Nov 21 at 07:48 on (vm:ncpus=1)",
}  # fmt: skip
QUEUED = {**BASE, "job_state": "Q", "substate": 10, "comment": "Not Running: Not enough free nodes available"}
USED = {"cpupercent": 0, "cput": "00:00:00", "mem": "0kb", "ncpus": 1, "vmem": "0kb", "walltime": "00:00:04"}


def finished(status: int | None, comment: str, substate: int = 93, **more: Any) -> dict[str, Any]:
    record = {**RUNNING, "job_state": "F", "substate": substate, "resources_used": USED, "comment": comment, **more}
    return record if status is None else {**record, "Exit_status": status}


def answer(**jobs: dict[str, Any]) -> str:
    head = {"timestamp": 1795247288, "pbs_version": "23.06.06", "pbs_server": "vm"}
    return json.dumps({**head, "Jobs": jobs} if jobs else head, indent=4)


def test_states_of_pro(programs: Programs) -> None:
    text = answer(**{
        "1.vm": RUNNING, "2.vm": QUEUED, "3.vm": {**BASE, "job_state": "H", "substate": 22},
        "4.vm": {**BASE, "job_state": "W"}, "5.vm": {**RUNNING, "job_state": "E"},
        "6.vm": {**RUNNING, "job_state": "S"},
        "7.vm": {**BASE, "job_state": "M"}, "8.vm": finished(3, "Job run at ... on (vm:ncpus=1) and failed"),
        "9.vm": {**BASE, "job_state": "?"}, "10.vm.site.org": finished(0, "Job run at ... and finished", 92),
    })  # fmt: skip
    programs.answer("qstat", text, "qstat: Unknown Job Id 99.vm\n", 153)
    seen = speaking(Pro()).states([str(number) for number in range(1, 12)])
    assert [status.state.name for status in seen.values()] == [
        "RUNNING", "PENDING", "PENDING", "PENDING", "ENDING", "SUSPENDED", "UNKNOWN", "FAILED", "UNKNOWN", "COMPLETED",
        "GONE",
    ]  # fmt: skip
    assert seen["1"].host == "vm"
    assert seen["8"].exit_code == 3
    assert [job_id for job_id, status in seen.items() if status.never_starts] == ["3"], "it is held"
    assert programs.calls("qstat") == [["-E", "-x", "-t", "-f", "-F", "json", *map(str, range(1, 12))]]


def test_elements_are_asked_about_singly_or_as_an_array(programs: Programs) -> None:
    programs.answer("qstat", answer())
    speaking(Pro()).states(["3", "25[0]", "25[7]", *(f"26[{index}]" for index in range(1000))])
    (argv,) = programs.calls("qstat")
    assert argv[6:] == ["3", "25[0]", "25[7]", "26[]"]


def ended(record: dict[str, Any], job_id: str = "1") -> tuple[JobState, int | None, int | None]:
    records = parse.parse_json(answer(**{f"{job_id}.vm": record}))
    assert records is not None
    status = parse.status_of(job_id, records[job_id], parse.PRO_EXITS)
    return status.state, status.exit_code, status.signal


BY = "and terminated by alice@localhost"
ENDINGS: list[tuple[dict[str, Any], tuple[JobState, int | None, int | None]]] = [
    (finished(0, "and finished", 92), (JobState.COMPLETED, 0, None)),
    (finished(3, "and failed"), (JobState.FAILED, 3, None)),
    (finished(200, "and failed"), (JobState.FAILED, 200, None)),
    (finished(127, "and failed"), (JobState.FAILED, 127, None)),
    (finished(137, "and failed"), (JobState.FAILED, 137, 9)),
    (finished(139, "and failed"), (JobState.FAILED, 139, 11)),
    (finished(254, "and failed"), (JobState.FAILED, 254, None)),
    (finished(265, "and failed"), (JobState.FAILED, None, 9)),
    # the signal goes to the whole session: the shell of an element may end with it as its exit status
    (finished(143, BY, 91), (JobState.CANCELLED, None, 15)),
    (finished(143, "and exceeded resource walltime"), (JobState.TIMEOUT, None, 15)),
    (finished(271, "and exceeded resource mem"), (JobState.OUT_OF_MEMORY, None, 15)),
    (finished(143, "and failed"), (JobState.FAILED, 143, 15)),
    (finished(-29, "and exceeded resource walltime"), (JobState.TIMEOUT, None, None)),
    (finished(271, BY, 91), (JobState.CANCELLED, None, 15)),
    (finished(265, BY, 91), (JobState.CANCELLED, None, 9)),
    (finished(None, "Not Running: ... and terminated", 91), (JobState.CANCELLED, None, None)),  # while queued
    (finished(None, "", 92, Hold_Types="s", depend="afterok:1.vm@vm"), (JobState.CANCELLED, None, None)),
    (finished(-27, ""), (JobState.OUT_OF_MEMORY, None, None)),
    (finished(-26, ""), (JobState.OUT_OF_MEMORY, None, None)),
    (finished(-28, ""), (JobState.TIMEOUT, None, None)),
    (finished(-1, ""), (JobState.FAILED, None, None)),
    (finished(-4, ""), (JobState.NODE_FAIL, None, None)),
    (finished(-99, ""), (JobState.FAILED, None, None)),
    # older versions send TERM at the limit
    (finished(271, "", Resource_List={"walltime": "00:02:00"}, resources_used={"walltime": "00:02:32"}),
     (JobState.TIMEOUT, None, 15)),
    (finished(137, "", Resource_List={"mem": "1gb"}, resources_used={"mem": "1048576kb"}),
     (JobState.OUT_OF_MEMORY, 137, 9)),
]  # fmt: skip


@pytest.mark.parametrize(("record", "how"), ENDINGS)
def test_endings_of_pro(record: dict[str, Any], how: tuple[JobState, int | None, int | None]) -> None:
    assert ended(record) == how


def test_reasons_for_statuses_below_zero() -> None:
    records = {"1": {"job_state": "F", "exit_status": "-29"}}
    assert "walltime" in parse.status_of("1", records["1"], parse.PRO_EXITS).reason


SUBJOB = {**RUNNING, "array_id": "25[].vm", "array_index": 3}
#: copies of the array's record, with the array's Exit_status
SYNTHETIC = {**BASE, "job_state": "F", "substate": 91, "Exit_status": 1, "comment": "Subjob finished"}


def test_records_that_pbs_made_up_are_not_believed() -> None:
    # an element that had exited with 0 is shown with its array's 1, after a qdel of the array
    assert ended(SYNTHETIC, "25[0]") == (JobState.GONE, None, None)
    assert ended({**SYNTHETIC, "job_state": "X"}, "25[0]") == (JobState.GONE, None, None)
    assert ended({**SYNTHETIC, "job_state": "Q"}, "25[0]") == (JobState.PENDING, None, None)


def test_real_records_of_elements_are() -> None:
    assert ended({**SUBJOB, "job_state": "X", "Exit_status": 0}, "25[3]") == (JobState.COMPLETED, 0, None)
    assert ended({**SUBJOB, "job_state": "F", "Exit_status": 271, "comment": BY}, "25[3]") == (
        JobState.CANCELLED,
        None,
        15,
    )


@pytest.mark.parametrize(
    ("comment", "state"),
    [
        (BY, JobState.CANCELLED),
        ("and exceeded resource walltime", JobState.TIMEOUT),
        ("and exceeded resource mem", JobState.OUT_OF_MEMORY),
    ],
)
def test_the_comment_of_a_job_that_is_still_called_running(programs: Programs, comment: str, state: JobState) -> None:
    """A job that is ended in its first ten seconds stays R for as long, and where no history is kept is gone then."""
    programs.answer("qstat", answer(**{"1.vm": {**RUNNING, "comment": f"Job run at Sat on (vm:ncpus=1) {comment}"}}))
    assert speaking(Pro()).states(["1"])["1"].state is JobState.ENDING, "it may be publishing its last results"
    status = speaking(Pro()).explain("1")
    assert status is not None
    assert status.state is state


@pytest.mark.parametrize(("limit", "state"), [("00:00:30", JobState.TIMEOUT), ("01:00:00", JobState.RUNNING)])
def test_a_limit_that_has_passed_by_our_clock(programs: Programs, limit: str, state: JobState) -> None:
    started = time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(time.time() - 60))
    record = {**RUNNING, "stime": started, "Resource_List": {"ncpus": 1, "walltime": limit}}
    programs.answer("qstat", answer(**{"1.vm": record}))
    assert speaking(Pro()).states(["1"])["1"].state is JobState.RUNNING, "it may have been given more time"
    status = speaking(Pro()).explain("1")
    assert status is not None
    assert status.state is state


def test_the_exit_status_of_an_array_is_that_of_its_last_element(programs: Programs) -> None:
    """So it is not believed: its elements tell."""
    array = {**BASE, "array": "True", "job_state": "F", "Exit_status": 0, "comment": "Job Array Began and finished"}
    first, last = ({**SUBJOB, "job_state": "F", "array_index": index} for index in (0, 1))
    text = answer(**{"25[].vm": array, "25[0].vm": {**first, "Exit_status": 3}, "25[1].vm": {**last, "Exit_status": 0}})
    programs.answer("qstat", text)
    status = speaking(Pro()).states(["25[]"])["25[]"]
    assert (status.state, status.exit_code) == (JobState.FAILED, 3)
    assert "25[0]" in status.reason
    programs.answer("qstat", text.replace('"Exit_status": 3', '"Exit_status": 0'))
    assert speaking(Pro()).states(["25[]"])["25[]"].state is JobState.COMPLETED


def test_comments_that_say_no_more_than_the_state_are_dropped() -> None:
    for comment, reason in [("and failed", ""), ("and finished", ""), (BY, "terminated by alice@localhost")]:
        records = parse.parse_json(
            answer(**{"1.vm": finished(3, f"Job run at Sat at 07:48 on (vm:ncpus=1) {comment}")})
        )
        assert records is not None
        assert parse.status_of("1", records["1"], parse.PRO_EXITS).reason == reason


def test_run_count() -> None:
    records = parse.parse_json(answer(**{"1.vm": {**RUNNING, "run_count": 2}}))
    assert records is not None
    assert parse.status_of("1", records["1"], parse.PRO_EXITS).restarts == 1


@pytest.mark.parametrize(
    "comment",
    [
        "Can Never Run: Insufficient amount of resource: ncpus (R: 100 A: 8 T: 8)",
        "job held, too many failed attempts to run",
        "Not Running: Queue not started.",
    ],
)
def test_jobs_that_never_start(comment: str) -> None:
    records = parse.parse_json(answer(**{"1.vm": {**QUEUED, "comment": comment}}))
    assert records is not None
    status = parse.status_of("1", records["1"], parse.PRO_EXITS)
    assert status.never_starts
    assert status.reason == comment


@pytest.mark.parametrize(
    ("more", "never"), [({}, True), ({"comment": "Not Running"}, True), ({"depend": "afterok:40.vm@vm"}, False)]
)
def test_a_job_that_is_held(more: dict[str, str], never: bool) -> None:
    """By its user or an administrator; one that waits for another job is held as well, until that has ended."""
    records = parse.parse_json(answer(**{"1.vm": {**QUEUED, "job_state": "H", "Hold_Types": "u", **more}}))
    assert records is not None
    status = parse.status_of("1", records["1"], parse.PRO_EXITS)
    assert status.never_starts is never
    assert status.reason or not never


def test_json_with_variables_that_are_not_escaped(programs: Programs) -> None:
    text = answer(**{"1.vm": RUNNING, "2.vm": QUEUED})
    broken = text.replace('"S": 4', '"S": "say "hello, } you"", "T": "\\x"').replace('"Priority": 0', '"Priority": 005')
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)
    programs.answer("qstat", broken)
    seen = speaking(Pro()).states(["1", "2"])
    assert [status.state for status in seen.values()] == [JobState.RUNNING, JobState.PENDING]
    assert len(programs.calls("qstat")) == 1


PLAIN = """\
Job Id: 1.vm
    Job_Name = ok
    job_state = F
    Exit_status = 3
    Resource_List.walltime = 00:10:00
    resources_used.walltime = 00:00:04
    exec_host = vm/0
    Variable_List = PBS_O_HOME=/home/alice,PBS_O_PATH=/usr/local/bin:/usr/bin:
\t/bin,PBS_O_SHELL=/bin/bash,X=job_state = Q
    comment = Job run at Sat Nov 21 at 07:48 on (vm:ncpus=1) and
\t failed
    run_count = 1

Job Id: 25[3].vm
    job_state = R
    array_index = 3
"""


def test_json_beyond_repair(programs: Programs) -> None:
    programs.answer("qstat", PLAIN, first='case "$*" in *json*) echo "{ nonsense"; exit 0 ;; esac')
    seen = speaking(Pro()).states(["1", "25[3]"])
    assert seen["1"].state is JobState.FAILED
    assert seen["1"].exit_code == 3
    assert seen["25[3]"].state is JobState.RUNNING
    assert [("json" in argv) for argv in programs.calls("qstat")] == [True, False]


@pytest.mark.parametrize("stdout", [answer(**{"1.vm": RUNNING}), PLAIN.replace("= F", "= R")], ids=["json", "plain"])
def test_what_a_site_says_before_and_after(programs: Programs, stdout: str) -> None:
    programs.answer("qstat", f"Welcome to {{vm}}!\n{{ no json }}\n{stdout}\n*** maintenance: {{none}} ***\n", "Bye\n")
    assert speaking(Pro()).states(["1"])["1"].state is JobState.RUNNING


@BOTH
def test_an_answer_that_cannot_be_read_is_not_taken_for_an_empty_one(programs: Programs, dialect: Dialect) -> None:
    programs.answer("qstat", "{ half an ans")
    with pytest.raises(SchedulerUnavailable, match="half an ans"):
        speaking(dialect).states(["1"])


@BOTH
def test_words_around_an_answer_without_jobs(programs: Programs, dialect: Dialect) -> None:
    programs.answer("qstat", "Welcome\n", "qstat: Unknown Job Id 1.vm\n", 153)
    assert speaking(dialect).states(["1"])["1"].state is JobState.GONE


def test_plain_text() -> None:
    records = parse.parse_plain(PLAIN)
    assert set(records) == {"1", "25[3]"}
    assert records["1"]["job_state"] == "F"
    assert records["1"]["resources_used.walltime"] == "00:00:04"
    assert records["1"]["comment"].endswith("failed")


def test_without_history(programs: Programs) -> None:
    # with -x such a server answers nothing, even of a job that runs, and status 0
    silent = f'[ "$2" != -x ] || {{ echo "{{}}"; echo "qstat: {OFF} 304.vm" >&2; exit 0; }}'
    programs.answer("qstat", answer(**{"304.vm": RUNNING}), "qstat: Unknown Job Id 303.vm\n", 153, first=silent)
    scheduler = speaking(Pro())
    seen = scheduler.states(["304", "303"])
    assert [status.state for status in seen.values()] == [JobState.RUNNING, JobState.GONE]
    scheduler.states(["304"])
    assert ["-x" in argv for argv in programs.calls("qstat")] == [True, False, False]


@pytest.mark.parametrize("code", [35, 153])
def test_known_jobs_count_whatever_the_exit_code(programs: Programs, code: int) -> None:
    programs.answer("qstat", answer(**{"1.vm": RUNNING}), "qstat: something\n", code)
    assert speaking(Pro()).states(["1"])["1"].state is JobState.RUNNING


def test_a_server_that_is_away_is_not_taken_for_an_empty_one(programs: Programs) -> None:
    # its standard output is valid JSON without jobs
    text = "Connection refused\nqstat: cannot connect to server vm (errno=15010)\n"
    programs.answer("qstat", answer(), text, 255)
    with pytest.raises(SchedulerUnavailable, match="cannot connect"):
        speaking(Pro()).states(["1"])
    assert len(programs.calls("qstat")) == 3


def test_no_ids_no_question(programs: Programs) -> None:
    assert speaking(Pro()).states([]) == {}
    assert programs.calls("qstat") == []


def test_explain_asks_for_one_job(programs: Programs) -> None:
    programs.answer("qstat", answer(**{"1.vm": finished(3, "and failed")}))
    status = speaking(Pro()).explain("1")
    assert status is not None
    assert status.exit_code == 3


# ------------------------------------------------------------------------------ Torque

XML = (
    "<Data><Job><Job_Id>25[0].vm.site.org</Job_Id><Job_Name>a-0</Job_Name><job_state>R</job_state>"
    "<exec_host>n1/0+n1/1</exec_host><Variable_List>PBS_O_HOME=/h,X=<b>&\x01,Y=</Job></Variable_List>"
    "<job_array_id>0</job_array_id><Resource_List><walltime>00:10:00</walltime></Resource_List></Job>"
    "<Job><Job_Id>25[1].vm.site.org</Job_Id><job_state>C</job_state><exit_status>3</exit_status>"
    "<job_array_id>1</job_array_id></Job></Data>\n"
    "<Data><Job><Job_Id>26.vm</Job_Id><job_state>H</job_state><comment>a &amp; b</comment></Job></Data>\n"
)


def test_states_of_torque(programs: Programs) -> None:
    programs.answer("qstat", XML, "qstat: Unknown Job Id Error 99.vm\n", 153)
    seen = speaking(Torque()).states(["25[0]", "25[1]", "26", "99"])
    assert [status.state.name for status in seen.values()] == ["RUNNING", "FAILED", "PENDING", "GONE"]
    assert seen["25[0]"].host == "n1"
    assert seen["25[1]"].exit_code == 3
    assert seen["26"].reason == "a & b"
    assert programs.calls("qstat") == [["-x", "-t", "26", "99", "25[0]", "25[1]"]]


def test_torque_with_no_jobs(programs: Programs) -> None:
    programs.answer("qstat", "")
    assert speaking(Torque()).states(["1"])["1"].state is JobState.GONE


@pytest.mark.parametrize(
    ("status", "how"),
    [
        ("0", (JobState.COMPLETED, 0, None)),
        ("1", (JobState.FAILED, 1, None)),
        ("271", (JobState.CANCELLED, None, 15)),
        ("265", (JobState.FAILED, None, 9)),
        ("137", (JobState.FAILED, 137, 9)),
        ("-11", (JobState.TIMEOUT, None, None)),
        ("-10", (JobState.OUT_OF_MEMORY, None, None)),
        ("-14", (JobState.FAILED, None, None)),
        ("-4", (JobState.NODE_FAIL, None, None)),
    ],
)
def test_endings_of_torque(status: str, how: tuple[JobState, int | None, int | None]) -> None:
    records = parse.parse_xml(
        f"<Data><Job><Job_Id>1.vm</Job_Id><job_state>C</job_state><exit_status>{status}</exit_status></Job></Data>"
    )
    seen = parse.status_of("1", records["1"], parse.TORQUE_EXITS)
    assert (seen.state, seen.exit_code, seen.signal) == how


# -------------------------------------------------------------------------- cancelling


def test_cancel(programs: Programs) -> None:
    programs.answer("qdel")
    speaking(Pro()).cancel(["1", "25[3]"])
    assert programs.calls("qdel") == [["1", "25[3]"]]


def test_cancel_in_batches(programs: Programs) -> None:
    programs.answer("qdel")
    speaking(Pro()).cancel([str(number) for number in range(450)])
    assert [len(argv) for argv in programs.calls("qdel")] == [200, 200, 50]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (153, "qdel: Unknown Job Id 99999.vm"),
        (35, "qdel: Job has finished 1.vm"),
        (55, "qdel: Request invalid for finished array subjob 31[1].vm"),
        (156, "qdel: Invalid request 31[99].vm"),
        (170, "qdel: Request invalid for state of job 1.vm"),
    ],
)
def test_cancel_of_jobs_that_are_over(programs: Programs, code: int, text: str) -> None:
    programs.answer("qdel", stderr=f"{text}\n", code=code)
    speaking(Pro()).cancel(["1"])


def test_cancel_while_the_server_is_away(programs: Programs) -> None:
    programs.answer("qdel", stderr="Connection refused\nCouldn't connect to cluster: vm\n", code=162)
    with pytest.raises(SchedulerUnavailable, match="connect"):
        speaking(Pro()).cancel(["1"])
    assert len(programs.calls("qdel")) == 3


# ------------------------------------------------------------------------------ limits


def test_array_limit(programs: Programs) -> None:
    programs.answer("qmgr", "Server vm\n    max_array_size = 10\n\n")
    scheduler = speaking(Pro())
    assert scheduler.array_limit() == scheduler.array_limit() == 10
    assert programs.calls("qmgr") == [["-c", "list server max_array_size"]]


def test_array_limit_without_qmgr(programs: Programs) -> None:
    (programs.directory / "qmgr").unlink()
    programs.answer("qstat", "Server: vm\n    server_state = Active\n    max_array_size = 500\n")
    assert speaking(Pro()).array_limit() == 500


@pytest.mark.parametrize(("dialect", "limit"), [(Pro(), 10000), (Torque(), 1000)])
def test_array_limit_that_nobody_tells(programs: Programs, dialect: Dialect, limit: int) -> None:
    programs.answer("qmgr", "Server vm\n")
    assert speaking(dialect).array_limit() == limit


def test_array_limit_of_torque(programs: Programs) -> None:
    programs.answer("qmgr", "Server vm\n    max_job_array_size = 64\n")
    assert speaking(Torque()).array_limit() == 64


# ------------------------------------------------------------------------ several servers


@pytest.mark.parametrize(
    ("words", "server"),
    [
        ("-q workq@other.site", "other.site"),
        ("-qworkq@other", "other"),
        ("-q @other", "other"),
        ("-q a@one -l ncpus=1 -q b@two", "two"),
        ("-q a@one -q b", ""),
        ("-N x@y -l q=1", ""),
        ("-q", ""),
    ],
)
def test_the_server_that_qsub_is_told(words: str, server: str) -> None:
    assert parse.server_in(words.split()) == server


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("vm", "vm.site.org", True),
        ("VM.site.org:15001", "vm", True),
        ("vm", "vm2", False),
        ("vm.a.org", "vm.b.org", False),
        ("vm", "", False),
    ],
)
def test_names_of_a_server(one: str, other: str, same: bool) -> None:
    assert parse.is_same_server(one, other) is same
    assert parse.is_same_server(other, one) is same


def test_a_server_that_does_not_answer_takes_no_other_along(programs: Programs) -> None:
    """Its jobs are left out of the answer: nobody knows about them."""
    record = json.dumps({"timestamp": 1, "Jobs": {"1.vm": {"job_state": "R"}}})
    programs.answer(
        "qstat", record, first='case "$*" in *.other*) echo "cannot connect to server other" >&2; exit 255; esac'
    )
    seen = speaking(Pro()).states(["1", "1.other", "2"])
    assert {job_id: status.state for job_id, status in seen.items()} == {"1": JobState.RUNNING, "2": JobState.GONE}
    with pytest.raises(SchedulerUnavailable, match="other"):
        speaking(Pro()).states(["1.other"])


def test_a_job_that_was_moved_and_is_unknown_there(programs: Programs) -> None:
    moved = json.dumps({"timestamp": 1, "Jobs": {"1.vm": {"job_state": "M", "queue": "workq@other"}}})
    programs.answer(
        "qstat", moved, first='case "$*" in *@other*) echo "qstat: Unknown Job Id 1.vm" >&2; exit 153; esac'
    )
    assert speaking(Pro()).states(["1"])["1"].state is JobState.GONE
    assert [call[-1] for call in programs.calls("qstat")] == ["1", "1.vm@other"]
