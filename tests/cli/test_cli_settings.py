"""``clusterfutures config``, ``profile``, ``options``, help and completion; and words taken apart."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from clusterfutures.cli.main import main
from clusterfutures.cli.table import COMMANDS
from clusterfutures.commandline.words import Row, take
from clusterfutures.errors import OptionError
from clusterfutures.jobs.template import filled, has_field


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    monkeypatch.setenv("CLUSTERFUTURES_CONFIG", str(path))
    return path


def said(capsys: pytest.CaptureFixture[str], line: str, status: int = 0) -> str:
    assert main(line.split()) == status
    out, err = capsys.readouterr()
    assert bool(err) == (status == 2)
    return out or err


def test_config(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "config path") == f"{file}\n"
    assert "nothing is set" in said(capsys, "config show")
    assert said(capsys, "config set cores 4") == said(capsys, "config set time 2:00:00 --profile=long") == ""
    assert file.read_text() == 'cores = 4\n\n[profile.long]\ntime = "2:00:00"\n'
    shown = json.loads(said(capsys, "config show --profile=long --json"))
    assert shown["time"] == {"value": "2:00:00", "source": f"{file}:4"}
    assert re.search(rf"^cores +4 +{file}:1$", said(capsys, "config show"), re.MULTILINE)
    assert said(capsys, "config check") == f"no mistakes in {file}\n"
    said(capsys, "config unset cores")
    assert "cores" not in file.read_text()
    file.write_text("coers = 3\n")
    assert "write cores, not co" in said(capsys, "config check", 1)
    assert f"{file}:1" in said(capsys, "config show", 2)


def test_numbers_that_are_names_and_what_is_not_there(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "config set account 12345")
    said(capsys, "profile set long name=7 cores=7")
    assert file.read_text() == 'account = "12345"\n\n[profile.long]\nname = "7"\ncores = 7\n'
    assert "write cores, not co" in said(capsys, "config unset coers", 2)
    assert said(capsys, "config unset memory") == ""
    file.write_text("coers = 3\n")
    assert said(capsys, "config unset coers") == file.read_text() == ""


def test_a_file_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CLUSTERFUTURES_CONFIG", "/proc/nowhere/config.toml")
    assert "/proc/nowhere/config.toml cannot be written" in said(capsys, "config set cores 4", 2)


def test_profiles(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there are no profiles" in said(capsys, "profile list")
    said(capsys, "profile set default time=1h")
    assert json.loads(said(capsys, "profile set large cores=16 mem=32GB exclusive=true --json")) == {
        "time": "1h", "cores": 16, "memory": "32GB", "exclusive": True,
    }  # fmt: skip
    assert said(capsys, "profile show large") == "time = 1h\ncores = 16\nmemory = 32GB\nexclusive = True\n"
    assert re.search(r"^large +time=1h cores=16 memory=32GB exclusive=True$", said(capsys, "profile list"), re.M)
    said(capsys, "profile set large mem=")
    said(capsys, "profile delete default")
    assert json.loads(said(capsys, "profile list --json")) == {"large": {"cores": 16, "exclusive": True}}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("config", "There are: config show"),
        ("config sohw", "no config sohw"),
        ("config set cores", "expected: clusterfutures config set NAME VALUE"),
        ("config set cors 4", "write cores, not co"),
        ("config set cores many", "cannot be used"),
        ("profile show huge", "no profile 'huge'"),
        ("profile set large", "expected: clusterfutures profile set NAME KEY=VALUE"),
        ("profile set large cores", "is no KEY=VALUE"),
        ("profile delete huge", "no profile 'huge'"),
        ("options --scheduler=lsf", "choose from slurm, pbs, torque, local"),
    ],
)
def test_mistakes(file: Path, capsys: pytest.CaptureFixture[str], line: str, told: str) -> None:
    text = said(capsys, line, 2)
    assert told in text
    assert len(text.splitlines()) == 1
    assert not file.exists()


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(r"^memory +mem +-l mem=\.\.\.mb ", said(capsys, "options --scheduler=torque"), re.M)
    rows = {row["option"]: row for row in json.loads(said(capsys, "options --json"))}
    assert rows["cores"]["Slurm"] == "--cpus-per-task=..."
    assert rows["dependencies"]["PBS Pro"] == "-W depend=afterok:..."


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_one_screen_with_examples_first(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, f"{name} --help")
    lines = text.splitlines()
    assert len(lines) <= 46
    assert max(map(len, lines)) <= 110
    assert any(line.startswith("  clusterfutures ") for line in lines[:5])
    if name:
        for row in COMMANDS[name].rows:
            assert f"--{row.name}" in text


def test_completion_is_shell(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "--completion=bash")
    script = text + (
        "COMP_WORDS=(clusterfutures submit --sch) COMP_CWORD=2; _clusterfutures; echo ${COMPREPLY[@]}\n"
        "COMP_WORDS=(clusterfutures qu) COMP_CWORD=1; _clusterfutures; echo ${COMPREPLY[@]}\n"
        "COMP_WORDS=(clusterfutures submit --scheduler = s) COMP_CWORD=4; _clusterfutures; echo ${COMPREPLY[@]}\n"
    )
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["--scheduler=", "queue", "slurm"]
    assert "-l scheduler" in said(capsys, "--completion fish")
    assert "bashcompinit" in said(capsys, "--completion zsh")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "--version").startswith("clusterfutures 1.")


ROWS = (
    Row("name", "n", "NAME", "word", "", ""),
    Row("wait", "w", "", "flag", "", ""),
    Row("after", "a", "JOB", "many", "", ""),
    Row("in-files", "", "X", "word", "", "", where="file"),
)


def test_words() -> None:
    taken = take(["-n", "a", "--wait", "x", "--after=1", "-a2", "y", "--", "-z"], ROWS, "it")
    assert taken == (["x", "y"], ["-z"], {"name": "a", "wait": True, "after": ["1", "2"]}, False)
    taken = take(["--no-wait", "-nb", "ls", "-l", "--name=c"], ROWS, "it", one_command=True)
    assert taken == (["ls", "-l", "--name=c"], [], {"name": "b", "wait": False}, False)
    assert take(["--help", "--nonsense"], ROWS, "it").help
    for words, told in [
        ("--nam x", "did you mean --name"),
        ("-q", "-q is no option"),
        ("--in-files=x", "in files only"),
    ]:
        with pytest.raises(OptionError, match=told):
            take(words.split(), ROWS, "it")


def test_what_a_shell_reads_of_a_filled_command() -> None:
    """The shell itself says what arrives, whatever quotes stand around the field."""
    for item in ("a", "a b", "a'b", 'a"b', "$HOME", "a`b`\\", "new\nline", "-x"):
        command = "printf '%s|' {} \"{}\" '{}' x{}y \"$(printf %s 1)\" # don't {}"
        done = subprocess.run(["bash", "-c", filled(command, item, 0)], capture_output=True, text=True, timeout=60)
        assert done.stdout == f"{item}|{item}|{item}|x{item}y|1|"
    fields = filled("{.} {/} {//} {/.} {#} {x} {}", "data/a.b.gz", 4)
    assert fields == "data/a.b a.b.gz data a.b 5 {x} data/a.b.gz"
    assert has_field("{/.}")
    assert not has_field("awk '{print}' {x}")
