"""Running a scheduler's commands: limits of time, retries, and what they may inherit."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from clusterfutures.errors import SchedulerUnavailable
from clusterfutures.schedulers import command
from clusterfutures.schedulers.command import CannotStart, Result, inside_a_job, run, scrubbed_environment

SH = "/bin/sh"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_FIRST_PAUSE", 0.001)


def test_result() -> None:
    result = run([SH, "-c", "echo out; echo err >&2; exit 3"])
    assert (result.returncode, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert result.said == "err\nout"


def test_no_shell_reads_the_arguments() -> None:
    result = run([sys.executable, "-c", "import sys; print(sys.argv[1:])", "a b", "$(id)", "", "it's"])
    assert result.stdout == "['a b', '$(id)', '', \"it's\"]\n"
    assert "'$(id)'" in result.command


def test_stdin_is_empty() -> None:
    assert run(["/bin/cat"]).stdout == ""


def test_bytes_that_are_no_utf8_get_through() -> None:
    assert run([SH, "-c", r"printf '\200x'"]).stdout == "\udc80x"


def test_environment_and_directory(tmp_path: Path) -> None:
    result = run([SH, "-c", 'echo "$A-$B"; pwd'], env={"A": "1"}, cwd=str(tmp_path))
    assert result.stdout == f"1-\n{tmp_path}\n"


def test_the_environment_is_scrubbed_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert run([SH, "-c", "echo x${SLURM_ARRAY_TASK_ID}"]).stdout == "x\n"


def test_missing_program_says_what_to_look_at() -> None:
    with pytest.raises(SchedulerUnavailable, match=r"no program 'sbatch-not-here'.*may be submitted") as caught:
        run(["sbatch-not-here", "a b"])
    assert caught.value.command == "sbatch-not-here 'a b'"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_missing_directory_is_told_from_missing_program(tmp_path: Path) -> None:
    with pytest.raises(SchedulerUnavailable, match="no directory"):
        run([SH, "-c", "true"], cwd=str(tmp_path / "not"))


def test_program_that_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("not executable")
    with pytest.raises(SchedulerUnavailable, match="cannot be started"):
        run([str(tmp_path / "x")])


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN, lambda *_: None])
def test_exit_status_whatever_the_program_does_with_sigchld(handler: Any, request: pytest.FixtureRequest) -> None:
    before = signal.signal(signal.SIGCHLD, handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGCHLD, before))
    assert [run([SH, "-c", f"exit {code}"]).returncode for code in (0, 3, 153)] == [0, 3, 153]
    killed = run([SH, "-c", "kill -9 $$"])
    assert (killed.returncode, killed.killed_by) == (-9, "SIGKILL")
    ask = "import signal; print(signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL)"
    assert run([sys.executable, "-c", ask]).stdout == "True\n"
    with pytest.raises(CannotStart, match="no program"):
        run(["sbatch-not-here"])
    with pytest.raises(SchedulerUnavailable, match="did not answer"):
        run([SH, "-c", "sleep 60"], timeout=0.2)


def test_only_what_hands_its_environment_on_needs_all_of_it(caplog: pytest.LogCaptureFixture) -> None:
    large = {"PATH": os.environ["PATH"], "SMALL": "1", "LARGE": "x" * 200_000}
    many = {"PATH": os.environ["PATH"], "SMALL": "1"} | {f"V{number}": "y" * 100_000 for number in range(80)}
    for env in (large, many):
        with caplog.at_level(logging.INFO, "clusterfutures"):
            assert run([SH, "-c", "echo $SMALL-$LARGE"], env=env).stdout == "1-\n"
        assert "Argument list too long" in caplog.text
        caplog.clear()
        with pytest.raises(CannotStart, match=r"Argument list too long.*in (LARGE|V10)") as caught:
            run([SH, "-c", "true"], env=env, hands_on=True)
        assert caught.value.is_final


@pytest.mark.parametrize(
    ("number", "is_final"), [(errno.ENOMEM, False), (errno.EAGAIN, False), (errno.EMFILE, False), (errno.ENOEXEC, True)]
)
def test_which_errors_of_a_start_pass(monkeypatch: pytest.MonkeyPatch, number: int, is_final: bool) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number), "sbatch")

    monkeypatch.setattr(command, "Process", fail)
    with pytest.raises(CannotStart, match=os.strerror(number)) as caught:
        run(["sbatch"])
    assert caught.value.is_final is is_final


def test_a_command_that_ends_in_a_wrapper_was_killed_too() -> None:
    def ended(code: int, words: str = "") -> Result:
        return Result(("sbatch",), code, "", words)

    assert [ended(code).killed_by for code in (-15, 137, 143, 1, 0, 153)] == [
        "SIGTERM",
        "SIGKILL",
        "SIGTERM",
        "",
        "",
        "",
    ]
    assert ended(137, "sbatch: error: refused").killed_by == ""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes in /proc")
def test_a_late_command_is_killed_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! >{tmp_path}/child; echo so far >&2; wait"
    began = time.monotonic()
    with pytest.raises(SchedulerUnavailable, match=r"sh did not answer within 1.5 s; until then it said: so far"):
        run([SH, "-c", script], timeout=1.5)
    assert time.monotonic() - began < 30
    child = int((tmp_path / "child").read_text())
    limit = time.monotonic() + 20
    while alive(child) and time.monotonic() < limit:
        pass
    assert not alive(child)


def test_one_that_let_go_of_its_group_does_not_hold_us_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_REAP_SECONDS", 0.2)
    note = tmp_path / "escaped"
    escape = f"(setsid sh -c 'echo $$ >{note}; exec sleep 60' &); sleep 60"
    began = time.monotonic()
    with pytest.raises(SchedulerUnavailable):
        run([SH, "-c", escape], timeout=1.5)
    assert time.monotonic() - began < 30, "it would hold us up for a minute"
    escaped = int(note.read_text())
    assert alive(escaped), "it did not escape: the test would prove nothing"
    os.kill(escaped, signal.SIGKILL)


def counting(tmp_path: Path, then: str) -> list[str]:
    return [SH, "-c", f"echo x >>{tmp_path}/n; if [ $(wc -l <{tmp_path}/n) -lt 3 ]; then {then}; fi; echo good"]


def test_transient_failures_are_tried_again(tmp_path: Path) -> None:
    argv = counting(tmp_path, "echo Socket timed out >&2; exit 1")
    assert run(argv, attempts=3, transient="Socket timed out").stdout == "good\n"


def test_other_failures_are_not(tmp_path: Path) -> None:
    argv = counting(tmp_path, "echo no such partition >&2; exit 1")
    assert run(argv, attempts=3, transient="Socket timed out").returncode == 1
    assert (tmp_path / "n").read_text() == "x\n"


def test_a_time_out_is_tried_again(tmp_path: Path) -> None:
    assert run(counting(tmp_path, "sleep 60"), timeout=1.0, attempts=3).stdout == "good\n"


def test_nothing_is_tried_twice_unless_asked(tmp_path: Path) -> None:
    argv = counting(tmp_path, "echo Socket timed out >&2; exit 1")
    assert run(argv, transient="Socket timed out").returncode == 1
    assert (tmp_path / "n").read_text() == "x\n"


def test_retries_end_in_time(tmp_path: Path) -> None:
    argv = counting(tmp_path, "exit 1")
    run(argv, attempts=1000, transient="", within=0.0)
    assert (tmp_path / "n").read_text() == "x\n"


def test_commands_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "clusterfutures"):
        run([SH, "-c", "exit 3"])
    assert "-> 3" in caplog.text


# ----------------------------------------------------------------------- environment

PLAIN = {"HOME": "/h", "PATH": "/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "4"}
CLUSTER = {
    "SLURM_CONF": "c", "SLURM_CLUSTERS": "x", "PBS_SERVER": "s", "PBS_DEFAULT": "s", "PBS_CONF_FILE": "f",
    "PBS_EXEC": "e", "CLUSTERFUTURES_DIR": "/d", "CLUSTERFUTURES_POLL": "5",
}  # fmt: skip
CHOICES = {
    "SBATCH_ACCOUNT": "a", "SBATCH_PARTITION": "p", "SBATCH_QOS": "q", "SBATCH_RESERVATION": "r",
    "SBATCH_CONSTRAINT": "c", "SBATCH_CLUSTERS": "k",
}  # fmt: skip
#: of an outer job, or changing what a command does
FOREIGN = [
    "SLURM_NTASKS", "SLURM_ARRAY_TASK_ID", "SLURM_MEM_PER_NODE", "SLURM_CPUS_PER_TASK", "SLURM_EXPORT_ENV",
    "SLURMD_NODENAME", "SBATCH_TIMELIMIT", "SBATCH_OUTPUT", "SBATCH_ARRAY_INX", "SBATCH_EXPORT", "SQUEUE_FORMAT",
    "SQUEUE_STATES", "SCANCEL_STATE", "SACCT_FORMAT", "PBS_NODEFILE", "PBS_O_WORKDIR", "PBS_DPREFIX", "PMI_RANK",
    "PMIX_RANK", "PMI2_X", "CLUSTERFUTURES_INDEX", "CLUSTERFUTURES_JOB_ID", "CLUSTERFUTURES_ATTEMPT",
    "CLUSTERFUTURES_CORES", "CLUSTERFUTURES_JOB_END",
]  # fmt: skip


def test_outside_a_job_the_choices_of_the_site_stay() -> None:
    environ = PLAIN | CLUSTER | CHOICES | dict.fromkeys(FOREIGN, "1") | {"CUDA_VISIBLE_DEVICES": "0"}
    expected = PLAIN | CLUSTER | CHOICES | {"CUDA_VISIBLE_DEVICES": "0"}
    assert scrubbed_environment(environ) == expected


@pytest.mark.parametrize("job", ["SLURM_JOB_ID", "PBS_JOBID"])
def test_inside_a_job_nothing_of_it_leaks(job: str) -> None:
    environ = PLAIN | CLUSTER | CHOICES | dict.fromkeys(FOREIGN, "1") | {job: "7", "CUDA_VISIBLE_DEVICES": "0"}
    assert inside_a_job(environ)
    assert scrubbed_environment(environ) == PLAIN | CLUSTER


def test_the_environment_of_this_process_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "3")
    scrubbed_environment()
    assert os.environ["SLURM_NTASKS"] == "3"
