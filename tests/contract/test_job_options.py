"""The options of an executor: what they do to its jobs, whatever the scheduler."""

from __future__ import annotations

import os
import time
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground
from contract_tasks import wait_until

from clusterfutures import remaining_time
from clusterfutures.errors import OptionError


def test_resources_for_some_calls(ground: Ground) -> None:
    with ground.executor(memory="100MB", time="5m", keep=True, max_workers=1, idle_timeout=60) as ex:
        larger = ex.with_options(memory="200MB", time="10m")
        first, second, third = ex.submit(tasks.worker), larger.submit(tasks.worker), larger.submit(tasks.worker)
        jobs = [future.result(60)[0] for future in (first, second, third)]
        assert jobs[0] != jobs[1]
        assert list(larger.map(tasks.double, [1, 2])) == [2, 4]
        assert {*larger.map(tasks.worker, range(4)), third.result()} == {second.result()}, "workers are shared"
        assert larger.with_options(memory="100MB", time="5m").submit(tasks.worker).result(60)[0] in (jobs[0],)
    scripts = [path.read_text() for path in sorted((ground.run_directory() / "scripts").iterdir())]
    if ground.name != "local":
        words = {"slurm": ("--mem=100M", "--mem=200M"), "pbs": ("100mb", "200mb"), "torque": ("100mb", "200mb")}
        assert any(words[ground.name][0] in script for script in scripts)
        assert any(words[ground.name][1] in script for script in scripts)


def test_an_option_that_does_not_exist(ground: Ground) -> None:
    for make in (ground.executor, ground.executor().with_options):
        with pytest.raises(OptionError, match=r"no option 'memroy': write memory='4GB', not memroy$"):
            make(memroy="1GB")
    with pytest.raises(OptionError, match="idle_timeout"):
        ground.executor(idle_time=3)
    with pytest.raises(OptionError, match="unit"):
        ground.executor(time=30)


def test_the_script_can_be_seen(ground: Ground) -> None:
    ex = ground.executor(setup="echo the setup", env={"MY_VARIABLE": "its value"}, name="fit-2")
    script = ex.job_script()
    assert script.startswith("#!/bin/")
    for part in ("echo the setup", "MY_VARIABLE", "its value"):
        assert part in script
    assert not ground.runs.exists(), "looking makes nothing"
    if ground.name != "local":
        assert "fit-2" in script
        assert ex.with_options(extra=["--really=so"]).job_script().count("--really=so") >= 1


def test_setup_environment_and_teardown(ground: Ground, tmp_path: Path) -> None:
    difficult = 'it\'s "$HOME" `x`\nü'
    options = {
        "setup": ["FROM_SETUP='set up'", "export FROM_SETUP"],
        "teardown": f"echo torn down > {tmp_path}/teardown",
        "env": {"WITH_QUOTES": difficult},
        "launcher": ["env", "FROM_LAUNCHER=launched"],
    }
    with ground.executor(max_workers=1, **options) as ex:
        wanted = {"FROM_SETUP": "set up", "FROM_LAUNCHER": "launched", "WITH_QUOTES": difficult}
        assert ex.submit(tasks.variables, *wanted).result(60) == wanted
    torn = tmp_path / "teardown"
    wait_until(lambda: torn.exists() and torn.read_text() == "torn down\n", "the job is torn down")


def test_an_environment_module(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``module`` is what a site defines; here, a function that sets a variable."""
    (tmp_path / "init").mkdir()
    loaded = 'module() { LOADEDMODULES="${LOADEDMODULES:+$LOADEDMODULES:}$2"; export LOADEDMODULES; }\n'
    (tmp_path / "init" / "bash").write_text(loaded)
    monkeypatch.setenv("MODULESHOME", str(tmp_path))
    monkeypatch.delenv("LOADEDMODULES", raising=False)
    with ground.executor(modules=["gcc/12", "mpi"]) as ex:
        assert ex.submit(tasks.variable, "LOADEDMODULES").result(60) == "gcc/12:mpi"


def test_the_initializer_runs_once_in_each_process(ground: Ground) -> None:
    with ground.executor(max_workers=1, processes=2, initializer=tasks.remember, initargs=(1, "two")) as ex:
        futures = [ex.submit(tasks.what_is_remembered) for _ in range(10)]
        assert [future.result(60) for future in futures] == [[(1, "two")]] * 10
        assert list(ex.map(tasks.what_is_remembered, range(4))) == [[(1, "two")]] * 4


def test_max_tasks_per_child(ground: Ground) -> None:
    with ground.executor(max_workers=1, max_tasks_per_child=3) as ex:
        futures = [ex.submit(tasks.pid) for _ in range(12)]
        pids = [future.result(60) for future in futures]
        assert all(pids.count(pid) <= 3 for pid in pids)
        pids = list(ex.map(tasks.pid, range(10), bins=1))
        assert all(pids.count(pid) <= 3 for pid in pids)


@pytest.mark.on("local")
def test_processes_that_follow_others_need_not_load_anything(ground: Ground) -> None:
    with ground.executor(max_workers=1, max_tasks_per_child=1) as ex:
        assert [ex.submit(tasks.knows_cloudpickle).result(60) for _ in range(3)][1:] == [True, True]


def test_max_tasks_per_child_with_an_initializer(ground: Ground) -> None:
    options = {"initializer": tasks.remember, "initargs": (1,)}
    with ground.executor(max_workers=1, max_tasks_per_child=1, **options) as ex:
        futures = [ex.submit(tasks.what_is_remembered) for _ in range(4)]
        assert [future.result(60) for future in futures] == [[(1,)]] * 4


def test_one_job_for_each_bin(ground: Ground) -> None:
    with ground.executor(max_workers=2, bins_per_job=1) as ex:
        jobs = list(ex.map(tasks.worker, range(8), bins=4))
        assert len(set(jobs)) == 4
        assert jobs == [job for job in dict.fromkeys(jobs) for _ in range(2)]
        jobs = [future.result(60)[0] for future in [ex.submit(tasks.worker) for _ in range(3)]]
        assert len(set(jobs)) == 3


def test_idle_workers_give_their_nodes_back(ground: Ground) -> None:
    with ground.executor(idle_timeout=0.3) as ex:
        ex.submit(tasks.double, 1).result(60)
        wait_until(lambda: not ground.jobs(), "the worker leaves")
        assert ex.submit(tasks.double, 2).result(60) == 4
    with ground.executor(max_workers=1, idle_timeout=30) as ex:
        first = ex.submit(tasks.worker).result(60)
        time.sleep(0.5)  # longer than the other's patience
        assert ex.submit(tasks.worker).result(60) == first


def test_no_more_workers_than_allowed(ground: Ground) -> None:
    with ground.executor(max_workers=2) as ex:
        workers = {future.result(60) for future in [ex.submit(tasks.slow_worker) for _ in range(60)]}
        assert 1 <= len(workers) <= 2


def test_processes_share_their_job(ground: Ground, tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    env = {"CUDA_VISIBLE_DEVICES": "4,5,6,7"}
    with ground.executor(max_workers=1, processes=2, env=env) as ex:
        assert ex._max_workers == 2
        futures = [ex.submit(tasks.share, tmp_path / "here", 2) for _ in range(2)]
        (first, their, one), (second, other, two) = [future.result(60) for future in futures]
        assert first != second
        assert {one["CUDA_VISIBLE_DEVICES"], two["CUDA_VISIBLE_DEVICES"]} == {"4,5", "6,7"}
        assert one["OMP_NUM_THREADS"] == two["OPENBLAS_NUM_THREADS"] == "1"
        if cores == 2:  # all that the job was given is all there is: one for each
            assert len(their) == len(other) == 1
            assert their != other
        jobs = {future.result(60)[0] for future in [ex.submit(tasks.worker) for _ in range(10)]}
        assert len(jobs) == 1


def test_thread_counts_that_the_user_set_stay(ground: Ground) -> None:
    with ground.executor(max_workers=1, processes=2, env={"OMP_NUM_THREADS": "7"}) as ex:
        found = ex.submit(tasks.variables, "OMP_NUM_THREADS", "MKL_NUM_THREADS").result(60)
        assert found == {"OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": "1"}


def test_cores_set_the_threads(ground: Ground) -> None:
    with ground.executor(max_workers=1, cores=2) as ex:
        assert ex.submit(tasks.variable, "OMP_NUM_THREADS").result(60) == "2"


@pytest.mark.on("slurm", "pbs", "torque")
def test_the_name_in_the_queue(ground: Ground) -> None:
    with ground.executor(max_workers=1, name="fit-2") as ex:
        name = "SLURM_JOB_NAME" if ground.name == "slurm" else "PBS_JOBNAME"
        assert str(ex.submit(tasks.variable, name).result(60)).startswith("fit-2")


@pytest.mark.on("slurm")
def test_the_schedulers_own_options(ground: Ground) -> None:
    with ground.executor(max_workers=1, partition="short", extra=["--comment=a b"]) as ex:
        job_id, _, _ = ex.submit(tasks.worker).result(60)
        shown = ground.slurm.run("scontrol", "show", "job", job_id).stdout  # type: ignore[attr-defined]
        assert "Comment=a b" in shown
        assert "Partition=short" in shown


def test_what_is_kept(ground: Ground) -> None:
    with ground.executor(keep=True) as ex:
        ex.submit(print, "hello").result(60)
    assert (ground.run_directory() / "run.json").exists()
    assert ground.run_directory().stat().st_mode & 0o777 == 0o700


def test_a_call_knows_how_long_its_job_has_left(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    with ground.executor(time="10m", max_workers=1) as ex:
        assert 400 < ex.submit(remaining_time).result(60) <= 601
    assert remaining_time() == float("inf"), "no job, no limit"
    monkeypatch.setenv("CLUSTERFUTURES_JOB_END", "1")  # as in a job that has an executor of its own
    with ground.executor(time="20m", max_workers=1) as ex:
        assert 1000 < ex.submit(remaining_time).result(60) <= 1201
