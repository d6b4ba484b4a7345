"""``cluf`` as jobs, without a real scheduler: what is in scripts, and what is made of what becomes of jobs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluf_user import User

from clusterfutures.cluf import dispatch
from clusterfutures.cluf.outputs import records
from clusterfutures.schedulers import absence
from clusterfutures.schedulers.job_state import JobState, JobStatus
from clusterfutures.testing import FakePBS, FakeTorque


def ran(user: User, script: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", script], capture_output=True, text=True, timeout=60, env=user.variables)


def test_numbers_of_a_width_and_one_file_for_all_output(tmp_path: Path) -> None:
    """An element of an array cannot write its number so, so there is a job for each."""
    with FakePBS(tmp_path / "standin", cpus=4) as pbs:
        user = User(tmp_path, pbs.environment)
        with (user.here / "my_script.py").open("a") as script:
            script.write("file = '{subjob:03d}.txt'\n")
            script.write("names = {'name': 'n{subjob:03d}', 'stdout': file, 'stderr': file}\n")
            script.write("cluf_options = {'nodes': 2, 'jobs_dir': 'jobs', 'pbs_options': names}\n")
            script.write("def prints(x):\n    import os\n    os.write(1, b'out\\n')\n    os.write(2, b'err\\n')\n")
        out, _ = user.cluf("my_script", "-t", "prints", "-a", "words", "--wait", "--", "1")
        assert "submitted 2 jobs" in out
        text = (user.here / "jobs" / "000.txt").read_text()
        assert text.startswith("out\nerr\n")
        assert "finished 1 call" in text
        assert "#PBS -j oe" in (user.here / "jobs" / "n000.pbs").read_text()


def test_scripts_are_what_qsub_takes(tmp_path: Path) -> None:
    """By hand, too: the length of names, quotes that qsub would keep, options of the site's own."""
    here = tmp_path / "josé"
    here.mkdir()
    with FakeTorque(tmp_path / "standin", cpus=4) as torque:
        user = User(here, torque.environment)
        (user.here / "process_files.py").write_text(
            "args = range(4)\ndef target(x): pass\n"
            "cluf_options = {'nodes': 2, 'pbs_options': {'extra': ['-V', '-r', 'y'], 'software': 'x'}}\n"
        )
        user.cluf("process_files")
        script = user.here / "process_files-1-2.pbs"
        lines = script.read_text().partition("\n\n")[0].splitlines()
        assert lines[2:] == [
            f"#PBS -o {user.here}/process_files-1-2.stdout", f"#PBS -e {user.here}/process_files-1-2.stderr",
            "#PBS -V", "#PBS -r y", "#PBS -l software=x",
        ]  # fmt: skip
        done = subprocess.run(["qsub", script], env=user.variables, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_lines_of_the_users_do_no_harm(user: User) -> None:
    """``set -u``, and variables with simple names."""
    (user.here / "my_script.py").write_text(
        (user.here / "my_script.py").read_text() + "cluf_options = {'prepend_statements': "
        "['set -u', 'jobs=4 here=5 status=6'], 'append_statements': ['status=7']}\n"
    )
    user.cluf("my_script", "-n", "2", "-o", "all.jsonl")
    done = ran(user, user.here / "my_script-0-2.sh")
    assert done.returncode == 0, done.stderr
    assert len(list(records(str(user.here / "my_script-0-2.results.jsonl")))) == 12


def test_modules_of_pythons_names_do_no_harm(user: User) -> None:
    user.cluf("my_script", "-n", "2")
    (user.here / "random.py").write_text("raise SystemExit('not this one')\n")
    assert "finished 12 calls" in ran(user, user.here / "my_script-0-2.sh").stderr


def test_flags_of_slurm_and_a_home_in_options(user: User) -> None:
    (user.home / ".clufrc").write_text('{"jobs_dir": "~/jobs", "slurm_options": {"requeue": true, "hold": false}}')
    user.cluf("my_script", "-n", "2", "--scheduler=slurm", "-j", "dir%j")
    assert (
        f"#SBATCH --output={user.here}/dir%%j/my_script-0-2.stdout\n"
        in (user.here / "dir%j" / "my_script-0-2.slurm").read_text()
    )
    user.cluf("my_script", "-n", "2", "--scheduler=slurm", "--timeout=1234567.5")
    text = (user.home / "jobs" / "my_script-0-2.slurm").read_text()
    assert "#SBATCH --requeue\n" in text
    assert "hold" not in text
    assert "--timeout 1234567.5" in text


def test_a_generator_is_counted_and_shown(user: User) -> None:
    out, _ = user.cluf("my_script", "-a", "my_iterable", "-i", "12", "--dry-run")
    assert [line.partition(": ")[2] for line in out.splitlines()[:2]] == ["12 calls", "12 calls"]


def test_a_refused_submission_is_told_alone(tmp_path: Path) -> None:
    with FakePBS(tmp_path / "standin") as pbs:
        pbs.fail_next("qsub", text="qsub: Unknown queue", code=170)
        user = User(tmp_path, pbs.environment)
        _, err = user.cluf("my_script", "-n", "2", "--queue", status=2)
    assert "Unknown queue" in err
    assert "cancelled" not in err


def test_a_configured_pbs_is_the_one_that_is_here(tmp_path: Path) -> None:
    with FakeTorque(tmp_path / "standin") as torque:
        user = User(tmp_path, {**torque.environment, "CLUSTERFUTURES_SCHEDULER": "pbs"})
        user.cluf("my_script", "-n", "2", "-p", "2")
    assert "#PBS -l nodes=1:ppn=2\n" in (user.here / "my_script-0-2.pbs").read_text()


def test_names_that_are_no_text(user: User) -> None:
    user.here = Path(os.fsdecode(bytes(user.here) + b"/caf\xe9"))
    user.here.mkdir()
    (user.here / "s.py").write_text("args = [1]\ndef target(x): print('called')\n")
    user.variables["PYTHONIOENCODING"] = "utf-8:strict"
    with user.start(["s.py", "-n", "1"]) as process:
        process.wait(30)
    assert process.returncode == 0
    assert "called" in ran(user, user.here / "s-0-1.sh").stdout


# --------------------------------------------------------------------- following jobs


class Answers:
    """A scheduler that gives these answers, one after the other, the last for ever."""

    poll_seconds = (0.1, 0.1)

    def __init__(self, *answers: JobState, after: Callable[[], object] = lambda: None) -> None:
        self.answers = list(answers)
        self.after = after

    def states(self, job_ids: Iterable[str]) -> dict[str, JobStatus]:
        state = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if len(self.answers) == 1:
            self.after()
        return {job_id: JobStatus(job_id, state) for job_id in job_ids}

    def explain(self, job_id: str) -> JobStatus | None:
        return None


def followed(tmp_path: Path, scheduler: Answers, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(dispatch, "_LATE_SECONDS", 0.3)
    monkeypatch.setattr(absence, "MISSING_SECONDS", 0.3)
    plan = SimpleNamespace(directory=str(tmp_path))
    one = SimpleNamespace(exit=str(tmp_path / "a.exit"))
    return dispatch._follow(scheduler, plan, {"7": one})  # type: ignore[arg-type, dict-item]


def test_a_job_that_is_requeued_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over, waits = JobState.PREEMPTED, JobState.PENDING
    scheduler = Answers(over, *[waits] * 9, JobState.RUNNING, after=lambda: (tmp_path / "a.exit").write_text("0\n"))
    assert followed(tmp_path, scheduler, monkeypatch) == {"7": "0"}


def test_a_job_that_is_over_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert followed(tmp_path, Answers(JobState.GONE), monkeypatch) == {"7": "its job ended: gone"}


def test_an_exit_status_that_is_still_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.exit").touch()
    running = JobState.RUNNING
    scheduler = Answers(*[running] * 4, after=lambda: (tmp_path / "a.exit").write_text("1\n"))
    assert followed(tmp_path, scheduler, monkeypatch) == {"7": "1"}
