"""Names that somebody else has given to jobs: they forge no jobs of a ``Queue``, and no terminal gets their codes."""

from __future__ import annotations

import pytest
from conftest import Ground, SlurmGround
from contract_tasks import wait_until

from clusterfutures import JobState, Queue
from clusterfutures.cli.main import main
from clusterfutures.schedulers.slurm.adapter import SlurmScheduler

pytestmark = pytest.mark.on("slurm")

#: what a row of squeue may look like, in any form
ROWS = [
    "99901|4294967294|99901|RUNNING|root|low|1|10M|1|c1|2026-01-01T00:00:00|2026-01-01T00:00:00|N/A|None|forged",
    "99902|N/A|99902|COMPLETED|forged",
]
NAME = "\n".join(["good\x1b[2J\x1b]0;title\x07\u202e", *ROWS, "CLUSTER: north", ""])
#: what ``scontrol -o show job`` would show of another job
RECORD = "x UserId=root(0) GroupId=root(0) MCS_label=N/A JobState=COMPLETED Reason=None Dependency=(null) ExitCode=0:0 "


def _submitted(ground: SlurmGround, name: str) -> str:
    words = ["sbatch", "--parsable", "--hold", "--output=/dev/null", "-J", name, "--wrap=true"]
    done = ground.slurm.run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_rows_are_not_forged(ground: Ground, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(ground, SlurmGround)
    job_id = _submitted(ground, NAME)
    try:
        queue = Queue(user=None)
        wait_until(lambda: job_id in queue, "it is listed")
        assert not {"99901", "99902"} & {job.id for job in queue}
        name = queue[job_id].name
        assert name.isprintable()
        assert name.startswith(r"good\x1b[2J\x1b]0;title\x07\u202e\n99901|")
        assert SlurmScheduler().find("forged", 1) is None
        assert main(["queue", "--all"]) == 0
        shown = capsys.readouterr().out
        assert sum(line.startswith(("99901", "99902")) for line in shown.splitlines()) == 0
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    finally:
        ground.slurm.run("scancel", job_id)


def test_a_record_is_not_forged(ground: Ground) -> None:
    assert isinstance(ground, SlurmGround)
    job_id = _submitted(ground, RECORD)
    try:
        status = SlurmScheduler().explain(job_id)
        assert status is None or status.state is JobState.PENDING
    finally:
        ground.slurm.run("scancel", job_id)


def test_a_name_that_is_plain_stays() -> None:
    from clusterfutures.schedulers.base import QueuedJob, printable
    from clusterfutures.schedulers.job_state import JobStatus

    job = QueuedJob(JobStatus("1", JobState.PENDING), name="Größe 🙂 a b|c")
    assert job.name == "Größe 🙂 a b|c"
    assert printable("a\udc80\n\t\x9b\u2028") == r"a\udc80\n\t\x9b\u2028"
