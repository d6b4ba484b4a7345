"""What schedulers answer on a bad day: late, twice, not at all, among other text, or "not now".

    PATH: <work>/commands/sbatch  the script of the test: "$real" is the command, "$@" what it was asked

Each test puts a script of its own in front of the scheduler's commands, so that the real Slurm
has the fault too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground, SlurmGround, StandInGround
from contract_tasks import touch, wait_until
from flaky_scheduler import COMMANDS

from clusterfutures.client import dispatcher, scheduler_thread
from clusterfutures.errors import JobFailed, SubmitError
from clusterfutures.schedulers import absence, command
from clusterfutures.schedulers.pbs import adapter as pbs_adapter
from clusterfutures.schedulers.slurm import adapter as slurm_adapter
from clusterfutures.testing.state import Store

pytestmark = [pytest.mark.steady("commands fail in a way of their own here"), pytest.mark.on("slurm", "pbs", "torque")]

BANNERS = """
echo 'Welcome to the cluster! { 2 nodes | 1 account }'
"$real" "$@"
code=$?
echo '*** the next maintenance: none. Error: 0 ***'
echo 'NOTICE error: your quota is nearly used up (qos, partition)' >&2
exit $code
"""

#: the first two calls of each command fail with words of the moment
TRANSIENT = {
    "slurm": "slurm_load_jobs error: Socket timed out on send/recv operation",
    "pbs": "Connection refused\nqstat: cannot connect to server vm (errno=15010)",
    "torque": "socket_connect error (VERIFY THAT trqauthd IS RUNNING)\nCommunication failure",
}
PASSING_FAILURE = """
echo . >>"$notes/calls-$name"
[ "$(wc -l <"$notes/calls-$name")" -gt 2 ] && exec "$real" "$@"
printf '%s\\n' "$words" >&2
exit 1
"""

#: a submission that hangs once it has been carried out, or before
HANGING_AFTER = """
case $name in (sbatch | qsub) ;; (*) exec "$real" "$@" ;; esac
echo . >>"$notes/submissions"
[ -e "$notes/hung" ] && exec "$real" "$@"
touch "$notes/hung"
"$real" "$@" >/dev/null
sleep 60
"""
HANGING_BEFORE = HANGING_AFTER.replace('"$real" "$@" >/dev/null\n', "")

#: a submission that is killed once it has been carried out, or before; and one killed within a site's wrapper
KILLED_AFTER = HANGING_AFTER.replace("sleep 60", "kill -KILL $$")
KILLED_BEFORE = KILLED_AFTER.replace('"$real" "$@" >/dev/null\n', "")
KILLED_IN_WRAPPER = KILLED_AFTER.replace("kill -KILL $$", "exit 137")

FULL = {
    "slurm": "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates "
    "accounting/QOS policy (job submit limit, user's size and/or time limits)",
    "pbs": "qsub: would exceed queue workq's per-user limit of jobs in 'Q' state",
    "torque": "qsub: Maximum number of jobs already in queue for user MSG=total number of current user's jobs",
}
REFUSING = """
case $name in (sbatch | qsub) ;; (*) exec "$real" "$@" ;; esac
[ -e "$notes/full" ] || exec "$real" "$@"
echo . >>"$notes/refused"
printf '%s\\n' "$words" >&2
exit 1
"""

#: a site that forgets jobs when they end
FORGETFUL = """
case $name in
    (squeue) exec "$real" -h -r -u "$(id -u)" -o "${@: -1}" ;;
    (scontrol) [ "$3" = job ] && echo 'slurm_load_jobs error: Invalid job id specified' >&2 && exit 1 ;;
esac
exec "$real" "$@"
"""


def _put_in_front(ground: Ground, script: str, monkeypatch: pytest.MonkeyPatch, words: str = "") -> Path:
    """Commands go through ``script`` from now on, but not those with which the test itself looks; its notes."""
    if isinstance(ground, SlurmGround):
        monkeypatch.setitem(ground.slurm.environment, "PATH", os.environ["PATH"])
    directory = ground.work / "commands"
    directory.mkdir()
    for name in COMMANDS:
        real = shutil.which(name)
        if real is not None:
            path = directory / name
            head = f"#!/bin/bash\nname={name} real={real} notes={ground.work}\nwords=$(cat {ground.work}/words)\n"
            path.write_text(head + script)
            path.chmod(0o755)
    (ground.work / "words").write_text(words)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return ground.work


def _lives_and_dies(ground: Ground, path: Path) -> str:
    """Calls have their results, a job that is ended fails its call; what the error says."""
    with ground.executor(max_workers=1) as ex:
        assert list(ex.map(tasks.double, range(20), timeout=40)) == [2 * n for n in range(20)]
        future = ex.submit(tasks.block, path / "started", path / "release")
        tasks.await_file(path / "started")
        wait_until(lambda: future.job_id, "the future knows its job")
        job_id = future.job_id
        waiting = ex.submit(tasks.worker)
        ground.end_job(job_id)
        error = future.exception(60)
        assert isinstance(error, JobFailed), repr(error)
        assert error.job_id == job_id
        assert job_id in str(error)
        assert waiting.result(60)[0] != job_id
    return str(error)


def test_banners_around_every_answer(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _put_in_front(ground, BANNERS, monkeypatch)
    error = _lives_and_dies(ground, tmp_path)
    assert "CANCELLED" in error or "cancelled" in error, "how it ended was read all the same"
    with ground.executor(partition="nosuch") as ex:
        refusal = ex.submit(tasks.double, 1).exception(60)
    assert isinstance(refusal, SubmitError)
    assert "partition='...'" in str(refusal), "what to try is taken from the scheduler's words"


def test_every_command_fails_twice(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_FIRST_PAUSE", 0.1)
    monkeypatch.setattr(scheduler_thread, "FIRST_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(slurm_adapter, "_SETTLE_SECONDS", 0.2)
    notes = _put_in_front(ground, PASSING_FAILURE, monkeypatch, TRANSIENT[ground.name])
    _lives_and_dies(ground, tmp_path)
    submit = "sbatch" if ground.name == "slurm" else "qsub"
    assert (notes / f"calls-{submit}").read_text().count(".") >= 3


@pytest.mark.on("slurm", "pbs")
@pytest.mark.parametrize("when", ["after", "before"])
def test_a_submission_that_hangs(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What was carried out is found again by its name; what was not is submitted again."""
    for adapter in (slurm_adapter, pbs_adapter):
        monkeypatch.setattr(adapter, "_SUBMIT_SECONDS", 4.0)
    monkeypatch.setattr(slurm_adapter, "_SETTLE_SECONDS", 0.2)
    notes = _put_in_front(ground, HANGING_AFTER if when == "after" else HANGING_BEFORE, monkeypatch)
    with caplog.at_level(logging.WARNING, "clusterfutures"), ground.executor() as ex:
        futures = [ex.submit(tasks.touch_and_return, tmp_path / f"{n}", n) for n in range(6)]
        assert [future.result(60) for future in futures] == list(range(6))
    assert (notes / "submissions").read_text().count(".") == (1 if when == "after" else 2)
    assert sum("no answer to the submission of" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("script", "count"), [(KILLED_AFTER, 1), (KILLED_IN_WRAPPER, 1), (KILLED_BEFORE, 2)], ids=["after", "in", "before"]
)
def test_a_submission_that_is_killed(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, count: int
) -> None:
    """It may have been accepted: it is looked for by its name before anything is submitted again."""
    monkeypatch.setattr(slurm_adapter, "_SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(scheduler_thread, "FIRST_RETRY_SECONDS", 0.1)
    notes = _put_in_front(ground, script, monkeypatch)
    with ground.executor(max_workers=1) as ex:
        assert ex.submit(tasks.double, 4).result(60) == 8
    assert (notes / "submissions").read_text().count(".") == count


@pytest.mark.parametrize("fault", ["not a program", "not executable", "no interpreter", "environment"])
def test_a_command_that_cannot_be_started_is_a_refusal(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Trying again does not help, so the call fails at once; what it was is in the error."""
    words = {
        "environment": "of them in LARGE_ONE",
        "not a program": "Exec format",
        "no interpreter": "first line",
    }
    with monkeypatch.context() as broken:
        if fault == "environment":
            broken.setenv("LARGE_ONE", "x" * 200_000)
        else:
            for name in COMMANDS:
                path = ground.work / name
                path.write_text("#!/no/such/sh\n" if fault == "no interpreter" else "")
                path.chmod(0o644 if fault == "not executable" else 0o755)
            broken.setenv("PATH", str(ground.work))
        try:
            with ground.executor(max_workers=1) as ex:
                error = ex.submit(tasks.double, 5).exception(60)
        except SubmitError as refusal:  # PBS is asked for its dialect when the executor is made
            error = refusal
    assert isinstance(error, SubmitError), repr(error)
    assert words.get(fault, "") in str(error)


def test_questions_and_cancellations_work_in_a_large_environment(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as large, ground.executor(max_workers=1) as ex:
        future = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        tasks.await_file(tmp_path / "started")
        large.setenv("LARGE_ONE", "x" * 200_000)
        ex.terminate_workers()
        assert isinstance(future.exception(60), JobFailed)


@pytest.mark.on("local", "slurm", "pbs", "torque")
@pytest.mark.parametrize("handler", ["ignored", "reaping"])
def test_a_program_that_lets_nobody_have_exit_codes(
    ground: Ground, tmp_path: Path, handler: str, request: pytest.FixtureRequest
) -> None:
    """Whatever has ignored SIGCHLD, or waits for every child: jobs are refused, fail and end as they do elsewhere."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN if handler == "ignored" else _wait_for_every_child)
    request.addfinalizer(lambda: signal.signal(signal.SIGCHLD, before))
    with ground.executor(max_workers=1) as ex:
        assert ex.submit(tasks.double, 4).result(60) == 8
        future = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        tasks.await_file(tmp_path / "started")
        ex.terminate_workers()
        assert isinstance(future.exception(60), JobFailed)
    with ground.executor(python="/no/such/python") as ex:
        failed = ex.submit(tasks.double, 1).exception(60)
    assert isinstance(failed, JobFailed)
    assert failed.exit_code == 127
    if ground.name != "local":
        with ground.executor(partition="nosuch") as ex:
            refused = ex.submit(tasks.double, 1).exception(60)
        assert isinstance(refused, SubmitError), repr(refused)


def _wait_for_every_child(_number: int, _frame: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def test_a_submit_limit_that_lets_nothing_in_for_now(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits and goes on, and says so once, in the scheduler's words."""
    monkeypatch.setattr(dispatcher, "LIMIT_RETRY_SECONDS", 0.3)
    notes = _put_in_front(ground, REFUSING, monkeypatch, FULL[ground.name])
    touch(notes / "full")
    with caplog.at_level(logging.WARNING, "clusterfutures"), ground.executor(max_workers=4) as ex:
        futures = [ex.submit(tasks.double, n) for n in range(8)]
        wait_until(lambda: (notes / "refused").exists(), "a submission is refused")
        refused = (notes / "refused").stat().st_size
        wait_until(lambda: (notes / "refused").stat().st_size > refused + 6, "it tries again")
        assert not any(future.done() for future in futures)
        (notes / "full").unlink()
        assert [future.result(60) for future in futures] == [2 * n for n in range(8)]
    told = [record.getMessage() for record in caplog.records if "submit limit" in record.getMessage()]
    assert len(told) == 1
    assert FULL[ground.name].splitlines()[0].partition("error: ")[2] in told[0]


def test_a_site_that_forgets_jobs_when_they_end(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No history, no accounting: "Invalid job id", "Unknown Job Id".  A job that stays in no list is over."""
    monkeypatch.setattr(absence, "UNKNOWN_SECONDS", 0.5)
    monkeypatch.setattr(absence, "MISSING_SECONDS", 2.0)
    if isinstance(ground, StandInGround):
        ground.standin.configure(**({"history": False} if ground.name == "pbs" else {"keep_completed": 0.0}))
    else:
        _put_in_front(ground, FORGETFUL, monkeypatch)
    error = _lives_and_dies(ground, tmp_path)
    assert "does not know it any more" in error or "terminated by" in error  # as seen in its last moment
    with ground.executor(python="/no/such/python") as ex:
        failed = ex.submit(tasks.double, 1).exception(60)
    assert isinstance(failed, JobFailed)
    assert "/no/such/python" in str(failed), "its log says why"


@pytest.mark.on("pbs", "torque")
def test_arrays_of_at_most_three(ground: StandInGround, tmp_path: Path) -> None:
    """On Slurm: see test_slurm_failures.py."""
    ground.standin.configure(**{"max_array_size" if ground.name == "pbs" else "max_job_array_size": 3})
    with ground.executor(max_workers=8) as ex:
        with tasks.in_one_go():
            futures = [ex.submit(tasks.block, tmp_path / f"{n}", tmp_path / "release", n) for n in range(8)]
        for number in range(8):
            tasks.await_file(tmp_path / f"{number}")
        jobs = ground.jobs()
        touch(tmp_path / "release")
        assert [future.result(60) for future in futures] == list(range(8))
    assert len(jobs) == 8
    assert len({job_id.partition("[")[0] for job_id in jobs}) == 3, "as few arrays as possible"


@pytest.mark.on("pbs")
def test_a_job_id_that_comes_again(ground: StandInGround, tmp_path: Path) -> None:
    """Ids begin anew when the scheduler has used them up: how the former job ended says nothing of this one."""
    with ground.executor(max_workers=1, idle_timeout=0.2) as ex:
        first = ex.submit(tasks.worker).result(60)
        wait_until(lambda: not ground.jobs(), "the job has ended by itself")
        with Store(str(ground.standin.directory)).locked() as state:
            state.next = int(first[0])
            del state.jobs[int(first[0])]
        future = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release", 7)
        tasks.await_file(tmp_path / "started")
        wait_until(lambda: ground.standin.calls("qstat") > 2, "its state is asked for")
        touch(tmp_path / "release")
        assert future.result(60) == 7
        assert future.job_id == first[0]
        again = ex.submit(tasks.worker).result(60)
        assert again[2] != first[2], "it is another worker"
