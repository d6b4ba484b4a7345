"""What executors take, refuse, and say about it."""

from __future__ import annotations

import os
import pathlib
from pathlib import Path
from typing import Any

import pytest

from clusterfutures import Job, LocalExecutor, SlurmExecutor
from clusterfutures.errors import OptionError


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Any]:
    return {"directory": tmp_path}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.5, "1.5"), ("a b", "a b"), (pathlib.PurePosixPath("/x/y"), "/x/y"), ("", "")],
)
def test_variables_are_text_numbers_and_paths(runs: dict[str, Any], value: Any, text: str) -> None:
    ex = LocalExecutor(env={"A": value}, **runs)
    assert dict(ex._client.settings.env) == {"A": text}
    assert "export A=" in ex.job_script()
    assert "export A=" in LocalExecutor(env={"A": value}, max_workers=1, **runs).job_script()


def test_numbers_of_numpy_are_variables(runs: dict[str, Any]) -> None:
    numpy = pytest.importorskip("numpy")
    given = {"A": numpy.int64(3), "B": numpy.float64(0.5)}
    assert dict(LocalExecutor(env=given, **runs)._client.settings.env) == {"A": "3", "B": "0.5"}


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"A": None}, "value of A is None.*leave it out"),
        ({"A": True}, "write 'A': 'True'"),
        ({"A": ["x"]}, "of type list: give text, a number or a path"),
        ({"A": b"x"}, "of type bytes"),
        ({"A": "x\0"}, "NUL"),
        ({"A B": "x"}, "'A B' cannot be the name"),
        ({1: "x"}, "1 cannot be the name"),
        ("A=1", "no table of variables"),
    ],
)
def test_other_variables_are_refused(runs: dict[str, Any], env: Any, told: str) -> None:
    for make in (LocalExecutor, SlurmExecutor):
        with pytest.raises(OptionError, match=told):
            make(env=env, **runs)
    with pytest.raises(OptionError, match=told):
        Job("true", env=env)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("n_workers", "write max_workers, not n_workers$"),  # dask
        ("n_jobs", "write max_workers, not n_jobs$"),  # joblib
        ("concurrency", "write max_workers, not concurrency$"),  # Celery
        ("maxtasksperchild", "write max_tasks_per_child, not maxtasksperchild$"),  # multiprocessing
        ("timeout_min", "write time='2:00:00', not timeout_min$"),  # submitit
        ("slurm_partition", "write partition, not slurm_partition$"),
        ("slurm_array_parallelism", "write max_workers, not slurm_array_parallelism$"),
        ("mem_gb", "write memory='4GB', not mem_gb$"),
        ("job_script_prologue", "write setup, not job_script_prologue$"),
        ("max_worker", "write max_workers, not max_worker$"),
        ("Memory", "write memory='4GB', not Memory$"),
        ("chunksize", r"give it to map\(\.\.\., chunksize=\)$"),
        ("cwd", "leave it out: calls run in the directory"),
        ("xyzzy", r"option_help\(\) lists the options; what else your scheduler knows goes into extra=\['...'\]$"),
    ],
)
def test_a_misspelt_keyword_gets_what_to_write(runs: dict[str, Any], name: str, told: str) -> None:
    with pytest.raises(OptionError, match=f"^there is no option '{name}': .*{told}") as caught:
        LocalExecutor(**{name: 3}, **runs)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"idle_timeout": "soon"}, "give a number of seconds"),
        ({"timeout_notice": []}, "seconds, for example 30"),
        ({"keep": "maybe"}, "true or false"),
        ({"name": 5}, "a name for jobs"),
        ({"python": 5}, "path of an interpreter"),
        ({"directory": 5}, "a path that the nodes see too"),
        ({"modules": 5}, "a list of texts"),
        ({"setup": [1]}, "a list of texts"),
        ({"launcher": 3}, "a list of texts"),
    ],
)
def test_a_value_of_another_kind_is_refused(tmp_path: Path, given: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        LocalExecutor(**{"directory": tmp_path} | given)


def test_options_are_not_changed_by_assignment(runs: dict[str, Any]) -> None:
    ex = LocalExecutor(max_workers=2, **runs)
    with pytest.raises(AttributeError, match=r"Make another one: LocalExecutor\(max_workers=\.\.\.\)$"):
        ex.max_workers = 8  # type: ignore[misc]
    with pytest.raises(AttributeError, match=r"through executor\.with_options\(memory=\.\.\.\)"):
        ex.memory = "4GB"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"LocalExecutor\(initializer="):
        ex.with_options(cores=1).initializer = print  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="scheduler of an executor cannot be changed"):
        ex.scheduler = "slurm"  # type: ignore[misc]
    assert (ex.max_workers, ex.scheduler) == (2, "local")
    ex.label = "mine"
    with pytest.raises(OptionError, match=r"holds for the whole executor. Make another one"):
        ex.with_options(max_workers=3)


def test_a_subclass_may_have_attributes_of_any_name(runs: dict[str, Any]) -> None:
    class Mine(LocalExecutor):
        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__(max_workers=1, **runs)
            self.retries = 3

    assert (Mine("x").name, Mine("x").retries) == ("x", 3)


def test_a_call_runs_where_the_program_is(runs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    start, first, second = runs["directory"], runs["directory"] / "first", runs["directory"] / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.chdir(start)
    with LocalExecutor(max_workers=1, **runs) as ex:
        found = [ex.submit(os.getcwd).result()]
        for place in (first, second, first, start):
            os.chdir(place)
            found += [ex.submit(os.getcwd).result(), *ex.map(lambda _: os.getcwd(), [1])]
        os.chdir(second)
        called = ex.submit(os.chdir, "..")
        called.result()
        found.append(ex.submit(os.getcwd).result())  # a call's own change stays, as in a pool's process
    expected = [start, first, first, second, second, first, first, start, start, start]
    assert found == [str(place) for place in expected]


def test_a_module_next_to_the_new_directory_is_found(runs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    place = runs["directory"] / "other"
    place.mkdir()
    (place / "only_there_module.py").write_text("def value(n):\n    return n + 1\n")
    monkeypatch.syspath_prepend("")
    monkeypatch.chdir(runs["directory"])
    with LocalExecutor(max_workers=1, **runs) as ex:
        assert ex.submit(abs, -1).result() == 1
        monkeypatch.chdir(place)
        import only_there_module

        assert ex.submit(only_there_module.value, 1).result() == 2
