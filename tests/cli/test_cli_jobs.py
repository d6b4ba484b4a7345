"""``clusterfutures submit``, ``run``, ``wait``, ``queue``, ``cancel`` and ``clean``, as a user types them."""

from __future__ import annotations

import getpass
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import clusterfutures
from clusterfutures.cli.main import main
from clusterfutures.jobs.job import Job
from tests.conftest import Ground, SlurmGround


class Said(NamedTuple):
    """What a command has printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Line = Callable[..., Said]


@pytest.fixture
def line(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Line:
    """The command in this process, in an empty directory and with an empty home."""
    monkeypatch.setattr("clusterfutures.jobs.status.FIRST_SPACING", 0.5)  # tests ask more often than a user
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLUSTERFUTURES_CONFIG", str(tmp_path / "home" / "config.toml"))
    monkeypatch.setenv("CLUSTERFUTURES_SCHEDULER", {"torque": "pbs"}.get(ground.name, ground.name))

    def said(*words: str) -> Said:
        status = main(words)
        return Said(status, *capfd.readouterr())

    return said


def jobs_of(ground: Ground) -> Path:
    return Path(os.environ["HOME"]) / ".clusterfutures" / "jobs"


@pytest.mark.on("local", "slurm")
def test_run_says_why_a_job_never_started(line: Line) -> None:
    answer = line("run", "--modules=nosuch", "echo hi")
    assert answer.status not in (0, 2)
    assert "module load nosuch failed" in answer.err


def test_inputs_are_put_behind_a_command_without_braces(line: Line, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("a.txt", "12345"), ("two words.txt", "1")):
        Path(name).write_text(text)
    assert line("run", "wc", "-c", ":::", "a.txt") == (0, "5 a.txt\n", "")
    assert line("run", "wc -c", ":::", "a.txt", "two words.txt") == (0, "5 a.txt\n1 two words.txt\n", "")
    assert "wc -c 'two words.txt'" in line("submit", "--dry-run", "wc", "-c", ":::", "two words.txt").out


@pytest.mark.parametrize("option", ["--after=99999", "--after-any=99999"])
def test_a_dependency_that_no_scheduler_knows_is_refused(line: Line, ground: Ground, option: str) -> None:
    answer = line("submit", option, "true")
    assert (answer.status, answer.out) == (2, "")
    assert "99999" in answer.err
    assert list(jobs_of(ground).glob("*")) == []
    first = line("submit", "true").out.strip()
    assert line("run", f"--after={first}", "echo after") == (0, "after\n", "")


def test_a_job_from_submission_to_cleaning(line: Line, ground: Ground) -> None:
    (ground.work / "names").write_text("bob\nann\nbob\n")
    done = line("submit", "--name=count", "--memory=50MB", "sort names | uniq -c >counts; echo done; exit 3")
    assert (done.status, done.err) == (0, "")
    job_id = done.out.strip()
    assert line("wait", job_id, "--timeout=40") == (1, f"{job_id} count: failed, exit code 3\n", "")
    assert (ground.work / "counts").read_text().split() == ["1", "ann", "2", "bob"]
    (facts,) = line("wait", "--json", job_id).json
    assert (facts["state"], facts["exitcode"], facts["name"], len(facts["nodes"])) == ("failed", 3, "count", 1)
    assert line("clean", "--dry-run").out.splitlines()[0] == f"{facts['path']}  (count, {job_id})"
    assert line("clean", "--yes").out.startswith("removed the files of 1 jobs")
    assert list(jobs_of(ground).iterdir()) == []


@pytest.mark.on("slurm", "torque")
def test_a_job_for_each_file(line: Line, ground: Ground) -> None:
    """And one that depends on all of them, by the ids that were printed."""
    for name in ("a b.txt", "c'd.txt", 'e"$x.txt'):
        (ground.work / name).write_text(name.upper())
    done = line("submit", "--name=copy", "cat {} >{/.}.out; echo \"{/} {#}\" '{.}'", ":::", "*.txt")
    assert done.status == 0, done.err
    after = ",".join(done.out.split())
    last = line("run", f"--after={after}", "cat *.out")
    assert (last.status, last.out) == (0, "A B.TXTC'D.TXTE\"$X.TXT")
    written = [Job.attach(str(path.parent)) for path in sorted(jobs_of(ground).glob("copy-*/*/job.json"))]
    assert [job.stdout for job in written] == ["a b.txt 1 a b\n", "c'd.txt 2 c'd\n", 'e"$x.txt 3 e"$x\n']
    assert len(line("clean", "--yes", "--json").json) == 4
    assert list(jobs_of(ground).iterdir()) == []


@pytest.mark.on("local", "slurm")
def test_run_ends_as_its_job_ends(line: Line) -> None:
    assert line("run", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    assert line("run", "printf", "%s|", "a  b", "$HOME") == (0, "a  b|$HOME|", "")
    several = line("run", "--json", "exit {}", ":::", "0", "4")
    assert several.status == 1
    assert [(job["state"], job["exitcode"]) for job in several.json] == [("completed", 0), ("failed", 4)]


@pytest.mark.on("slurm", "pbs")
def test_a_dependency_that_fails(line: Line) -> None:
    bad = line("submit", "exit 1").out.strip()
    good = line("submit", f"--after-notok={bad}", "true").out.strip()
    never = line("run", "-a", bad, "echo never")
    assert never.status == 1
    assert "depends on did not end so" in never.err
    assert line("wait", good).status == 0


@pytest.mark.on("local", "slurm")
def test_queue_and_cancel(line: Line, ground: Ground) -> None:
    job_id = line("submit", "-n", "sleeper", "sleep 60").out.strip()
    other = line("submit", "-n", "other", "sleep 60").out.strip()
    listed = line("queue")
    assert listed.out.splitlines()[0].split()[:3] == ["ID", "NAME", "OWNER"]
    assert [row.split()[0] for row in listed.out.splitlines()[1:] if "sleeper " in row] == [job_id]
    assert int(line("queue", "--count", "--running", "--queued").out) >= 2
    found = {job["id"]: job for job in line("queue", "--json", "--running", "--queued").json}
    assert {job_id, other} <= found.keys()
    assert found[job_id]["owner"] == getpass.getuser()
    assert line("cancel", "--dry-run", job_id).out == f"would cancel {job_id}\n"
    assert line("cancel", job_id).out == f"cancelled {job_id}\n"
    (facts,) = line("wait", "--json", job_id).json
    assert facts["state"] in ("cancelled", "gone")
    assert line("cancel", job_id).out == f"{job_id} had ended\n"
    sys.stdin = io.StringIO("n\n")
    try:
        assert line("cancel", "--all").status == 1
    finally:
        sys.stdin = sys.__stdin__
    assert other in line("cancel", "--all", "--yes", "--json").json
    ended = line("wait", "--timeout=30", other)
    assert (ended.status, ended.out.split()[:2]) == (1, [other, "other:"])


@pytest.mark.on("slurm")
def test_an_array_of_somebody_is_waited_for(line: Line, ground: SlurmGround, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its id, which no job in the list has."""
    monkeypatch.setattr("clusterfutures.jobs.status.FIRST_SPACING", 0.0)
    wrapped = "sleep 1; exit $SLURM_ARRAY_TASK_ID"
    job_id = ground.slurm.run(
        "sbatch", "--parsable", "--array=0-1", "-o", "/dev/null", "--wrap", wrapped
    ).stdout.strip()
    ended = line("wait", "--timeout=40", job_id)
    assert (ended.status, ended.out) == (1, f"{job_id}_0 wrap: completed\n{job_id}_1 wrap: failed, exit code 1\n")


@pytest.mark.on("slurm", "pbs")
def test_a_script_with_directives(line: Line, ground: Ground) -> None:
    kind = "#SBATCH --time=7 -J mine\n#SBATCH --output=told-%j.txt" if ground.name == "slurm" else (
        "#PBS -l walltime=0:07:00 -N mine\n#PBS -o told-%j.txt"
    )  # fmt: skip
    (ground.work / "script.sh").write_text(f"#!/bin/sh\n{kind}\necho $1 $2\n")
    done = line("submit", "--json", "script.sh", "a", "b")
    (facts,) = done.json
    job = Job.attach(facts["path"])
    assert job.get(40)[:2] == (0, "a b\n")
    assert (facts["name"], job.record["resources"]["time"]) == ("mine", 420)
    assert (ground.work / f"told-{job.id}.txt").read_text() == "a b\n"


@pytest.mark.on("slurm")
def test_dry_run(line: Line, ground: Ground) -> None:
    done = line("submit", "--dry-run", "-c", "2", "-t", "1h", "gzip -c {} >{}.gz", ":::", "a", "b c", *"defgh")
    assert done.status == 0
    shown = done.out.splitlines()
    assert shown[0] == "would submit 7 jobs, together, to slurm:"
    assert {"  #SBATCH --array=0-6", "  #SBATCH --cpus-per-task=2", "  #SBATCH --time=01:00:00"} <= set(shown)
    assert shown[-7:] == [
        "  gzip -c a >a.gz", "  gzip -c 'b c' >'b c'.gz", "  gzip -c d >d.gz", "  gzip -c e >e.gz",
        "  gzip -c f >f.gz", "  ... and 2 more", "nothing was submitted",
    ]  # fmt: skip
    assert not jobs_of(ground).exists()
    assert ground.jobs() == set()


@pytest.mark.on("local")
def test_programs_read_an_answer_also_where_nothing_is_done_or_not_in_time(line: Line, ground: Ground) -> None:
    done = line("submit", "--dry-run", "--json", "-n", "mine", "echo {}", ":::", "a", "b c")
    assert [(job["name"], job["scheduler"]) for job in done.json] == [("mine", "local")] * 2
    assert [job["command"].splitlines()[-1] for job in done.json] == ["echo a", "echo 'b c'"]
    ended, slow = (line("submit", command).out.strip() for command in ("true", "sleep 60"))
    assert line("wait", ended).status == 0
    done = line("wait", "--json", "--timeout=0.5", ended, slow)
    assert (done.status, [job["id"] for job in done.json]) == (1, [ended])
    assert "has not ended" in done.err
    assert line("cancel", slow).status == 0


@pytest.mark.on("slurm")
def test_an_id_is_one_of_this_scheduler(line: Line, ground: Ground) -> None:
    """A job of this machine, or an older one, that happens to have the same id is not meant."""
    job_id = line("submit", "sleep 60").out.strip()
    mine = next(jobs_of(ground).iterdir())
    for name, changes in (("other", {"scheduler": "local"}), ("older", {"submitted": 1.0})):
        other = jobs_of(ground) / name
        other.mkdir(mode=0o700)
        (other / "job.json").write_text(json.dumps(json.loads((mine / "job.json").read_text()) | changes))
        (other / "job.json").chmod(0o600)
    assert line("cancel", "--json", job_id).json == [job_id]
    assert [path.name for path in jobs_of(ground).iterdir() if (path / "cancelled").exists()] == [mine.name]
    assert line("wait", "--json", job_id).json[0]["path"] == str(mine)


@pytest.mark.on("local")
def test_a_profile_names_the_scheduler_of_jobs_that_are_there(
    line: Line, monkeypatch: pytest.MonkeyPatch, ground: Ground
) -> None:
    Path(os.environ["CLUSTERFUTURES_CONFIG"]).write_text(
        f'[profile.here]\nscheduler = "local"\njobs_directory = "{ground.work}/theirs"\n'
    )
    monkeypatch.delenv("CLUSTERFUTURES_SCHEDULER")
    job_id = line("submit", "-p", "here", "true").out.strip()
    assert line("wait", "--profile=here", job_id).out == f"{job_id} true: completed\n"
    assert line("cancel", "--profile=here", job_id).out == f"{job_id} had ended\n"
    deadline = time.monotonic() + 30
    while line("queue", "--profile=here").err != "no jobs on local\n":  # the job's own word comes before the list's
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert line("cancel", "--all", "--profile=here") == (0, "", "no jobs of yours wait or run on local\n")
    assert line("clean", "--profile=here", "--yes").out.endswith("theirs\n")


@pytest.mark.on("local")
def test_inputs_from_a_file(line: Line, ground: Ground) -> None:
    (ground.work / "list").write_text("x y\n\nz\n")
    assert line("run", "--from=list", "echo got {}").out == "got x y\ngot z\n"
    assert line("run", "wc -l {}", "list").out == "3 list\n"


@pytest.mark.on("local")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("submit", "what is to be run"),
        ("submit --cors=3 x", "--cors is no option, did you mean --cores"),
        ("submit --cores=no x", "cores='no' cannot be used"),
        ("submit --name", "--name needs a value"),
        ("submit --json=3 x", "takes no value"),
        ("submit --scheduler=lsf x", "choose from slurm, pbs, local"),
        ("submit --profile=huge x", "no profile 'huge'"),
        ("submit --after= x", "'' has no id to depend on"),
        ("submit --after=nothing/here x", "no directory of a job"),
        ("submit --from=missing x", "No such file"),
        ("submit gzip {} a", "{} stands for inputs"),
        ("submit gzip {} :::", "no inputs"),
        ("submit gzip {} ::: *.missing", "no file fits '*.missing'"),
        ("submit wc {} >{}.n ::: a", "'>{}.n' would be an argument of wc, not a redirection"),
        ("wait --timeout=soon", "expected a number of seconds"),
        ("wait 99999999", "there is no job '99999999'"),
        ("cancel 99999999", "there is no job '99999999'"),
        ("cancel", "which jobs?"),
        ("cancel --all --json", "asks nothing"),
        ("wait --profile=huge", "no profile 'huge'"),
        ("queue --user=a --all", "exclude each other"),
        ("queue 12", "is no option"),
        ("clean --json", "asks nothing"),
        ("clean a b", "one directory at a time"),
        ("clean nowhere", "there is no directory 'nowhere'"),
        ("submit --directory=/proc/jobs x", "cannot be made in /proc/jobs"),
        ("sbmit x", "did you mean submit"),
        ("--completion=ksh", "choose from bash, zsh, fish"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(line: Line, words: str, told: str) -> None:
    done = line(*words.split())
    assert (done.status, done.out) == (2, "")
    assert told in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.on("local", "slurm")
def test_ctrl_c_cancels_what_run_has_submitted(line: Line, ground: Ground) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "clusterfutures", "run", "echo begun; touch begun; sleep 60"],
        cwd=ground.work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(clusterfutures.__file__).parents[1])},
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (ground.work / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert program.returncode == 130, err
    assert "cancelled 1 of 1 jobs" in err
    assert "Traceback" not in err
    assert out in ("begun\n", "")
