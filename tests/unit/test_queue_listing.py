"""What the lists of schedulers mean: hosts, sizes, times; and how dependencies are spelt."""

from __future__ import annotations

import time

import pytest

from clusterfutures.errors import OptionError
from clusterfutures.schedulers.base import Dependency, JobSpec
from clusterfutures.schedulers.job_state import JobState
from clusterfutures.schedulers.pbs import parse as pbs_parse
from clusterfutures.schedulers.pbs import queue as pbs_queue
from clusterfutures.schedulers.pbs.dialects import Pro, Torque
from clusterfutures.schedulers.slurm import queue as slurm_queue
from clusterfutures.schedulers.slurm.adapter import SlurmScheduler


@pytest.mark.parametrize(
    ("short", "hosts"),
    [
        ("", []),
        ("n1", ["n1"]),
        ("n[001-003,7]", ["n001", "n002", "n003", "n7"]),
        ("n[09-11],login,x[1,3]-ib", ["n09", "n10", "n11", "login", "x1-ib", "x3-ib"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
    ],
)
def test_hosts_are_expanded(short: str, hosts: list[str]) -> None:
    assert slurm_queue.expand(short) == hosts


def test_slurms_queue() -> None:
    at = "2026-11-21T14:35:38"
    seconds = time.mktime(time.strptime(at, "%Y-%m-%dT%H:%M:%S"))
    text = (
        f"7|1|9|RUNNING|ann|main|8|2G|2|n[1-2]|{at}|{at}|2031-01-01T00:00:00|None|a|b\n"
        f"CLUSTER: x\n8|N/A|8|PENDING|bob|long|1|500M|1||{at}|2031-01-01T00:00:00|N/A|Dependency|late\n"
        f"1|N/A|1|FAILED|ann|main|1|0|1|c1|{at}|{at}|{at}|NonZeroExitCode|wrap\n"
    )
    running, waiting, failed = slurm_queue.parse_jobs(text)
    assert (running.status.job_id, running.status.word, running.name, running.owner) == ("7_1", "RUNNING", "a|b", "ann")
    assert (running.nodes, running.cores, running.memory, running.partition) == (("n1", "n2"), 8, 4096, "main")
    assert (running.submitted, running.started, running.ended) == (seconds, seconds, None)
    assert (waiting.status.state, waiting.status.reason, waiting.started) == (JobState.PENDING, "Dependency", None)
    assert (failed.status.state, failed.ended, failed.memory) == (JobState.FAILED, seconds, None)


def test_exit_codes_of_slurm() -> None:
    """In columns, as 22.05 and as later ones write them; what never ran and what runs has none."""
    line = "{}|N/A|{}|{}|ann|main|1|0|1|{}|N/A|N/A|N/A|None|j"
    words = ["FAILED", "FAILED", "COMPLETED", "CANCELLED", "RUNNING", "FAILED"]
    rows = [(number, word, "" if word == "CANCELLED" else "c1") for number, word in enumerate(words, 1)]
    jobs = slurm_queue.parse_jobs("\n".join(line.format(one, one, word, hosts) for one, word, hosts in rows) + "\n")
    told = (
        "1                   N/A                 768                 \n2  N/A 9\n4 N/A 0\n6 N/A 3:0\n7 2 0:15\nnoise\n"
    )
    exits = slurm_queue.parse_exits(told)
    assert exits["7_2"] == (0, 15)
    seen = slurm_queue.with_exits(jobs, exits)
    assert [(job.exitcode, job.status.signal) for job in seen] == [
        (3, None), (None, 9), (0, None), (None, None), (None, None), (3, None),
    ]  # fmt: skip


def test_a_record_of_pbs() -> None:
    record = {
        "job_state": "R", "job_name": "fit", "job_owner": "ann@login", "queue": "workq", "exec_host": "a/0*2+b/1*2",
        "resource_list.ncpus": "4", "resource_list.mem": "2gb", "ctime": "Sat Nov 21 14:35:38 2026",
        "stime": "1795271738",
    }  # fmt: skip
    job = pbs_queue.job_of(pbs_parse.status_of("25", record, {}), record)
    assert (job.name, job.owner, job.partition, job.nodes) == ("fit", "ann", "workq", ("a", "b"))
    assert (job.cores, job.memory, job.started, job.ended) == (4, 2048, 1795271738.0, None)
    assert job.submitted == time.mktime((2026, 11, 21, 14, 35, 38, 0, 0, -1))
    torque = {"job_state": "Q", "resource_list.nodes": "2:fast:ppn=3"}
    assert pbs_queue.job_of(pbs_parse.status_of("26", torque, {}), torque).cores == 6


AFTER = [Dependency("5"), Dependency("6[2]"), Dependency("6[3]"), Dependency("7", "any"), Dependency("8", "notok")]


def test_pbs_waits_for_jobs_and_whole_arrays() -> None:
    assert Pro().dependency(AFTER) == [["-W", "depend=afterok:5:6[],afterany:7,afternotok:8"]]
    assert Torque().dependency(AFTER) == [["-W", "depend=afterok:5,afterokarray:6[],afterany:7,afternotok:8"]]
    assert Pro().dependency([]) == []
    with pytest.raises(OptionError, match="no id of a PBS job"):
        Pro().dependency([Dependency("5,afterany:6")])


def test_slurm_waits_and_ends_what_can_never_start() -> None:
    spec = JobSpec(
        "j", ["true"], "/log", "/", dependencies=[Dependency("5"), Dependency("6_1"), Dependency("7", "any")]
    )
    script = SlurmScheduler().script(spec, 1)
    assert "#SBATCH --dependency=afterany:7,afterok:5:6_1\n#SBATCH --kill-on-invalid-dep=yes\n" in script


def test_times_of_pbs_are_english_in_every_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """strptime would read them in the language that the program has set."""
    monkeypatch.setattr(time, "strptime", lambda *_args: pytest.fail("it reads the program's language"))
    record = {"job_state": "Q", "ctime": "Tue Dec  1 04:35:38 2026"}
    job = pbs_queue.job_of(pbs_parse.status_of("25", record, {}), record)
    assert job.submitted == time.mktime((2026, 12, 1, 4, 35, 38, 0, 0, -1))
    assert pbs_queue.job_of(job.status, {"ctime": "Tue Dez  1 04:35:38 2026"}).submitted is None
