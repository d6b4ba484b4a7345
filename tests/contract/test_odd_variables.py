"""Variables that a shell cannot set, drops, or obeys: whatever /bin/sh is, no job dies of them, and calls see them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import Ground

from clusterfutures import Job
from clusterfutures.errors import OptionError
from clusterfutures.schedulers import script, variables

ODD = {
    "UID": "77", "EUID": "78", "PPID": "79", "SHELLOPTS": "braceexpand:errexit:hashall:noexec:nounset",
    "BASHOPTS": "extglob:failglob", "BASH_VERSINFO": "4", "OPTIND": "abc", "IFS": "/", "GROUPS": "5",
    "é": "ü", "a.b": "it's\n#SBATCH -p nosuch", "1x": "y", "BASH_FUNC_odd-name%%": "() {  echo odd;\n}",
    "BASH_FUNC_hello%%": "() {  echo \"hello $1\"\n}", "BASH_FUNC_broken%%": "() { echo",
    "BASH_FUNC_old()": "() { :\n}",
    "BASH_FUNC_cd%%": "() {  false\n}", "BASH_FUNC_date%%": "() {  exit 3\n}",
}  # fmt: skip


@pytest.fixture(params=["dash", "bash"])
def shell(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes' /bin/sh."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(f"/bin/{request.param}")
    monkeypatch.setattr(script, "SHELL", str(tmp_path / "bin" / "sh"))


@pytest.fixture
def odd(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Ground:
    for name, value in ODD.items():
        monkeypatch.setenv(name, value)
    return ground


def _seen() -> tuple[dict[str, str], str]:
    says = subprocess.run(
        ["env", "-u", "SHELLOPTS", "bash", "-c", "hello you"], text=True, stdout=subprocess.PIPE, check=False
    )
    return {name: os.environ[name] for name in ODD if name in os.environ}, says.stdout


def test_calls_see_them(odd: Ground, shell: None) -> None:
    with odd.executor(max_workers=1) as ex:
        seen, said = ex.submit(_seen).result(60)
    assert seen == ODD
    assert said == "hello you\n"


@pytest.mark.parametrize("options", [{}, {"teardown": ["true"]}], ids=["setup", "setup, teardown"])
def test_functions_serve_in_the_setup(odd: Ground, shell: None, options: dict[str, list[str]]) -> None:
    setup = ["export SAID=$(hello all)", 'hello() { echo "changed $1"; }']
    with odd.executor(max_workers=1, setup=setup, env={"UID": "5"}, **options) as ex:
        assert ex.submit(os.getenv, "SAID").result(60) == "hello all"
        seen, said = ex.submit(_seen).result(60)
    assert said == "changed you\n"
    assert seen.items() >= {name: value for name, value in ODD.items() if "FUNC" not in name and name != "UID"}.items()
    assert seen["UID"] == "5"


@pytest.mark.on("local", "slurm")
def test_jobs_see_them(odd: Ground, shell: None) -> None:
    place = {"directory": str(odd.work / "jobs"), "scheduler": odd.name}
    first = Job(["env"], **place).submit()
    second = Job("hello you; echo ${1-}", setup=["hello() { echo changed; }"], **place).submit()
    third = Job(_seen, **place).submit()
    code, out, err = first.get(60)
    assert code == 0, err
    lines = out.splitlines()
    assert {f"{name}={ODD[name]}" for name in ("UID", "EUID", "é", "1x")} <= set(
        lines
    )  # the command itself is run by bash
    assert not any(line.startswith("SHELLOPTS") for line in lines)  # the command may be for a shell
    assert second.get(60)[:2] == (0, "changed\n\n")
    assert third.get(60) == (ODD, "hello you\n")


@pytest.mark.on("pbs")
def test_jobs_that_get_no_environment_live(odd: Ground, shell: None) -> None:
    job = Job("echo $A $(env | grep ^EUID)", env={"A": "1", "EUID": "7"}, export="PPID", directory=str(odd.work / "j"))
    assert job.submit().get(60)[:2] == (0, "1 EUID=7\n")


def test_a_command_with_an_equals_sign_is_no_variable() -> None:
    words = variables.words({"a.b": "1"}, "/opt/a=b/env")
    assert subprocess.run([*words, "env"], capture_output=True, text=True, check=True).stdout.count("a.b=1\n") == 1


def test_names_are_checked_still() -> None:
    with pytest.raises(OptionError, match="no name of a variable"):
        Job("true", export="a.b=1")
