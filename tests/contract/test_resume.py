"""Runs outlive their programs: gone on with under the same name, attached to, left on purpose.

The programs are processes of their own, so that they can be killed; their calls note themselves
in a log, so that one which is made twice is seen.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Ground
from contract_tasks import touch, wait_until

from clusterfutures import CallKilled, JobFailed, StoreError, attach, remove_run, runs

PROGRAM = """
import sys, time
def noted(n, log):
    with open(log, "a") as file:
        file.write(f"{n}\\n")
    time.sleep(0.1)
    return n * n
with executor(run="fit", idle_timeout=1.0) as ex:
    futures = [ex.submit(noted, n, sys.argv[1]) for n in range(12)]
    mapped = ex.map(noted, range(100, 112), [sys.argv[1]] * 12)
    total = ex.submit(sum, [futures[0], futures[1], futures[5]])
    print(sum(f.result(60) for f in futures), sum(mapped), total.result(), flush=True)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").touch()
    return tmp_path / "log"


@pytest.fixture
def fit(ground: Ground) -> Iterator[str]:
    """The name of a run, which is removed at the end."""
    yield "fit"
    if (ground.runs / "fit").exists():
        wait_until(lambda: not ground.jobs(), "the jobs have ended by themselves", 40)
        remove_run("fit", ground.runs)


def begun(log: Path) -> list[int]:
    return sorted(map(int, log.read_text().split()))


def killed(ground: Ground, text: str, log: Path, calls: int) -> None:
    """Run a program, and kill it when so many calls have been made."""
    victim = ground.script(text, str(log), wait=False)
    try:
        wait_until(lambda: len(begun(log)) >= calls, "some calls were made", 30)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.communicate()


@pytest.mark.on("local", "slurm", "pbs")
def test_killed_and_run_again(ground: Ground, log: Path, fit: str) -> None:
    """From another file, or from none: what counts is the function."""
    killed(ground, PROGRAM, log, {"local": 3, "slurm": 15, "pbs": 9}[ground.name])
    again = ground.script(f"# a comment more\n{PROGRAM}", str(log))
    assert again.said == "506 133706 26\n"  # type: ignore[attr-defined]
    assert begun(log) == [*range(12), *range(100, 112)]
    once_more = ground.script(PROGRAM, str(log), stdin=True)
    assert once_more.said == "506 133706 26\n"  # type: ignore[attr-defined]
    assert len(begun(log)) == 24


@pytest.mark.on("slurm", "pbs")
def test_attach_while_its_jobs_run(ground: Ground, log: Path, fit: str) -> None:
    killed(ground, PROGRAM, log, 2)
    with attach(fit, ground.runs) as run:
        results = [future.result(60) for future in run.named("noted")]
        assert set(run.names) <= {"__main__.noted", "builtins.sum"}
    squares = [n * n for n in [*range(12), *range(100, 112)]]
    assert results == squares[: len(results)]
    assert len(results) >= 4, "what had been published, at the least"
    assert begun(log) == [*range(12), *range(100, 112)][: len(results)]


@pytest.mark.on("local", "slurm")
def test_attach_when_all_is_over(ground: Ground, log: Path, fit: str) -> None:
    text = """
import os, sys
def fails(n):
    if n == 1: raise ValueError("one")
    if n == 2: os.kill(os.getpid(), 9)
    return bytes(n)
ex = executor(run="fit", max_workers=1)
calls = [ex.submit(fails, n) for n in (0, 1, 2, 3 << 20)]
list(ex.map(str, range(5)))
ex.shutdown()
"""
    ground.script(text)
    for _ in range(2):  # a large result, too, is there as often as it is asked for
        with attach(ground.runs / fit) as run:
            assert run.names == ["__main__.fails"] * 4 + ["builtins.str"] * 5
            assert run.futures[0].result(60) == b""
            with pytest.raises(ValueError, match="one"):
                run.futures[1].result(60)
            assert "SIGKILL" in str(run.futures[2].exception(60))
            assert len(run.futures[3].result(60)) == 3 << 20
            assert [future.result(60) for future in run.futures[4:]] == list("01234")
            with pytest.raises(KeyError, match=r"no call of 'nothing'.*there are calls of: __main__.fails"):
                run.named("nothing")
            assert not ground.jobs()


@pytest.mark.on("local", "slurm")
def test_attached_calls_are_in_hand(ground: Ground, log: Path, fit: str) -> None:
    """One that runs can be ended, one that waits cancelled, as by the program that made them."""
    killed(ground, STUCK.replace("sys.argv[2]", "5").replace("n >= 2", "n >= 0"), log, 1)
    with attach(fit, ground.runs) as run:
        running, *waiting = run.futures
        assert running.running()
        assert waiting[0].cancel()
        assert running.kill()
        with pytest.raises(CallKilled):
            running.result(60)
        touch(log.with_name("log.go"))
        assert [future.result(60) for future in waiting[1:]] == [n * n for n in range(2, 2 + len(waiting) - 1)]
    assert 1 not in begun(log)


@pytest.mark.on("local")
def test_attached_to_a_run_without_a_name(ground: Ground, log: Path) -> None:
    """All is there but large results that its program had read."""
    text = """
import time
ex = executor(max_workers=1, idle_timeout=0.5)
print(len(ex.submit(bytes, 2 << 20).result(60)), ex.submit(abs, -1).result(60), flush=True)
time.sleep(60)
"""
    program = ground.script(text, wait=False)
    assert program.stdout is not None
    assert program.stdout.readline() == "2097152 1\n"
    program.kill()
    program.communicate()
    with attach(ground.run_directory()) as run:
        assert run.futures[1].result(60) == 1
        with pytest.raises(StoreError, match=r"was removed when its program had read it: .* runs with a name"):
            run.futures[0].result(60)
    wait_until(lambda: not ground.jobs(), "the jobs have ended by themselves", 30)
    remove_run(ground.run_directory())


@pytest.mark.on("local", "slurm")
def test_a_program_that_leaves(ground: Ground, log: Path, fit: str) -> None:
    """``shutdown(wait=False)``: the program ends at once, its jobs when all is done; what
    waited for others is made by the next program."""
    text = """
import os, sys, time
def noted(n, log):
    while not os.path.exists(log + ".go"):
        time.sleep(0.01)
    with open(log, "a") as file:
        file.write(f"{n}\\n")
    return n * n
ex = executor(run="fit", idle_timeout=30.0)
futures = [ex.submit(noted, n, sys.argv[1]) for n in range(30)]
total = ex.submit(sum, futures)
for future in (futures[-1], total):
    future.add_done_callback(lambda future: print(future.exception(), flush=True))
ex.shutdown(wait=False)
"""
    program = ground.script(text, str(log))
    not_made, goes_on = program.said.splitlines()  # type: ignore[attr-defined]
    assert "the call goes on: clusterfutures.attach" in goes_on
    assert "it was not made" in not_made
    touch(log.with_name("log.go"))
    wait_until(lambda: not ground.jobs(), "the jobs ended by themselves", 30)
    assert begun(log) == [*range(30)]
    with attach(fit, ground.runs) as run:
        assert [future.result(60) for future in run.futures] == [n * n for n in range(30)]


@pytest.mark.on("local", "slurm")
def test_a_run_has_one_owner(ground: Ground, tmp_path: Path, fit: str) -> None:
    text = """
import sys, time
ex = executor(run="fit", idle_timeout=0.5)
print(ex.submit(abs, -1).result(), flush=True)
time.sleep(60)
"""
    owner = ground.script(text, wait=False)
    assert owner.stdout is not None
    try:
        assert owner.stdout.readline() == "1\n"
        said = rf"owned by process {owner.pid} on \S+ since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d: end that first"
        with pytest.raises(StoreError, match=said):
            attach(fit, ground.runs)
        with ground.executor(run="fit") as ex, pytest.raises(StoreError, match=said):
            ex.submit(abs, -1)
        assert [run.state for run in runs(ground.runs)] == ["owned"]
    finally:
        owner.kill()
        owner.communicate()
    with ground.executor(run="fit") as ex:
        assert ex.submit(abs, -1).result(60) == 1


FAILING = """
import os, sys, time
def noted(n, log):
    with open(log, "a") as file:
        file.write(f"{n}\\n")
    if n == 0 and not os.path.exists(log + ".well"):
        raise ValueError(n)
    if n == 1 and not os.path.exists(log + ".well"):
        os._exit(1)
    return n
ex = executor(run="fit", max_workers=1)
futures = [ex.submit(noted, n, sys.argv[1]) for n in range(3)]
print([repr(f.exception(60)) if f.exception() else f.result() for f in futures], flush=True)
ex.shutdown()
"""


@pytest.mark.on("local", "slurm")
def test_calls_that_failed_are_made_again(ground: Ground, log: Path, fit: str) -> None:
    first = ground.script(FAILING, str(log))
    assert "ValueError(0)" in first.said  # type: ignore[attr-defined]
    touch(log.with_name("log.well"))
    again = ground.script(FAILING, str(log))
    assert again.said == "[0, 1, 2]\n"  # type: ignore[attr-defined]
    assert begun(log) == [0, 0, 1, 1, 2]
    with attach(fit, ground.runs) as run:
        assert [future.result(60) for future in run.futures] == [0, 1, 2]


STUCK = """
import os, sys, time
def noted(n, log):
    with open(log, "a") as file:
        file.write(f"{n}\\n")
    while n >= 2 and not os.path.exists(log + ".go"):
        time.sleep(0.01)
    return n * n
with executor(run="fit", max_workers=1, idle_timeout=5) as ex:
    futures = [ex.submit(noted, n, sys.argv[1]) for n in range(int(sys.argv[2]))]
    print([future.result(60) for future in futures])
"""


@pytest.mark.on("local", "slurm")
def test_jobs_that_went_while_nobody_looked(ground: Ground, log: Path, fit: str) -> None:
    """Attached, a call that had begun has failed with its job, and says how."""
    killed(ground, STUCK.replace("sys.argv[2]", "9"), log, 3)
    end_jobs(ground)
    with attach(fit, ground.runs) as run:
        assert [future.result(60) for future in run.futures[:2]] == [0, 1]
        error = run.futures[2].exception(60)
        assert isinstance(error, JobFailed)
        assert "noted" in str(error)
        for future in run.futures[3:]:
            future.cancel()
        run._client.shutdown(wait=False, cancel=True, kill="the test is over")


@pytest.mark.on("local", "slurm")
@pytest.mark.parametrize(("stuck_from", "asked", "made"), [(2, 4, [0, 1, 2, 2, 3]), (0, 2, [0, 0, 1])])
def test_jobs_that_went_and_the_program_run_again(
    ground: Ground, log: Path, fit: str, stuck_from: int, asked: int, made: list[int]
) -> None:
    """It makes the call that went with them once more; what it does not ask for, nobody makes:
    be it that a worker gave it back, or that it lay in the queue."""
    text = STUCK.replace("n >= 2", f"n >= {stuck_from}")
    killed(ground, text.replace("sys.argv[2]", "9"), log, stuck_from + 1)
    end_jobs(ground)
    touch(log.with_name("log.go"))
    again = ground.script(text, str(log), str(asked))
    assert again.said == f"{[n * n for n in range(asked)]}\n"  # type: ignore[attr-defined]
    assert begun(log) == made


def end_jobs(ground: Ground) -> None:
    for job_id in ground.jobs():
        ground.end_job(job_id)
    wait_until(lambda: not ground.jobs(), "the jobs have ended", 40)


SERVING = """
import os, sys, time
def where(n):
    return n, os.environ["CLUSTERFUTURES_JOB_ID"]
ex = executor(run="fit", max_workers=1, idle_timeout=20)
print(*ex.submit(where, 1).result(60), flush=True)
print(*ex.submit(where, int(sys.argv[1])).result(60), flush=True)
time.sleep(float(sys.argv[2]))
ex.shutdown()
"""


@pytest.mark.on("local", "slurm")
def test_workers_that_wait_serve_the_next_program(ground: Ground, fit: str) -> None:
    assert serving(ground, SERVING) == 1


@pytest.mark.on("local")
def test_workers_that_wait_and_are_not_what_it_would_submit(ground: Ground, fit: str) -> None:
    assert serving(ground, SERVING.replace("idle_timeout=20", "idle_timeout=19")) == 2


def serving(ground: Ground, text: str) -> int:
    """A program is killed, its worker waits; how many submissions there have been after ``text`` has run."""
    first = ground.script(SERVING, "2", "60", wait=False)
    assert first.stdout is not None
    said = [first.stdout.readline().split() for _ in range(2)]
    first.kill()
    first.communicate()
    again = ground.script(text, "3", "0")
    (_, known), (number, job_id) = [line.split() for line in again.said.splitlines()]  # type: ignore[attr-defined]
    assert (known, number) == (said[0][1], "3")
    wait_until(lambda: not ground.jobs(), "no worker outstays the program that it served", 30)
    batches = len(list((ground.runs / "fit" / "scripts").iterdir()))
    assert (job_id == known) is (batches == 1)
    return batches


@pytest.mark.on("local")
def test_what_a_lost_job_had_begun_is_not_made_again(ground: Ground, log: Path, fit: str) -> None:
    """It failed in the program that made it; the rest of its chunk was made by another job."""
    text = """
import os, signal, sys, time
def noted(n, log):
    with open(log, "a") as file:
        file.write(f"{n}\\n")
    if n == 5:
        os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(0.1)
    return n
ex = executor(run="fit", max_workers=1, idle_timeout=0.5)
mapped = ex.map(noted, range(20), [sys.argv[1]] * 20, chunksize=20)
end = time.monotonic() + 30
while "19" not in open(sys.argv[1]).read().split() and time.monotonic() < end:
    time.sleep(0.01)
try:
    list(mapped)
except Exception as error:
    print(type(error).__name__, flush=True)
ex.shutdown()
"""
    assert ground.script(text, str(log)).said == "JobFailed\n"  # type: ignore[attr-defined]
    made = begun(log)
    assert len(made) == len(set(made)) > 10
    for _ in range(2):
        with attach(ground.runs / fit) as run:
            failed = [number for number, future in enumerate(run.futures) if future.exception(60)]
            assert 5 in failed
            assert all(isinstance(run.futures[number].exception(), JobFailed) for number in failed)
            assert sorted({*failed, *made}) == list(range(20))
        assert begun(log) == made


@pytest.mark.on("local", "slurm")
def test_a_call_that_would_have_been_tried_again(ground: Ground, log: Path, fit: str) -> None:
    """Its process dies when there is no program any more; who comes back tries it again."""
    text = """
import os, sys, time
def dies_once(log):
    with open(log, "a") as file:
        file.write("1\\n")
    if len(open(log).read().split()) == 1:
        while not os.path.exists(log + ".go"):
            time.sleep(0.01)
        os._exit(3)
    return "well"
ex = executor(run="fit", max_workers=1, idle_timeout=0.5, retries=1)
print(ex.submit(dies_once, sys.argv[1]).result(60), flush=True)
ex.shutdown()
"""
    killed(ground, text, log, 1)
    touch(log.with_name("log.go"))
    wait_until(lambda: not ground.jobs(), "the job has ended", 30)
    if ground.name == "slurm":
        with attach(fit, ground.runs) as run:
            assert run.futures[0].result(60) == "well"
            assert run.futures[0].attempts == 2
    else:
        assert ground.script(text, str(log)).said == "well\n"  # type: ignore[attr-defined]
    assert begun(log) == [1, 1]


@pytest.mark.on("local")
def test_a_run_of_another_machine(ground: Ground, log: Path, fit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its jobs still run cannot be seen from here, if they are that machine's own."""
    killed(ground, STUCK.replace("sys.argv[2]", "3"), log, 3)
    here = os.uname()
    elsewhere = type(here)((here.sysname, "elsewhere", *here[2:]))
    with monkeypatch.context() as patched:
        patched.setattr(os, "uname", lambda: elsewhere)
        with pytest.raises(StoreError, match=rf"is a run of {here.nodename}, where its jobs may run"):
            attach(fit, ground.runs)
    touch(log.with_name("log.go"))
    with attach(fit, ground.runs) as run:
        assert [future.result(60) for future in run.futures] == [0, 1, 4]
