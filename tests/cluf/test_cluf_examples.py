"""The rest of the old command's pages: each command line, file and option that they show, as they show it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from cluf_user import User

from clusterfutures.testing.real_slurm import RealSlurm

EXAMPLE = """
import os
from clusterfutures import Arguments
def my_func(a, b, c, d=0, *rest, **more):
    with open(f"made/{a}", "a") as file:
        file.write(os.environ.get("MYENV", "") + os.environ.get("BAZ", "") + "\\n")
    return a
target = my_func
def my_args():
    return ((i, i % 2, i % 4, 3, 4, 5, 6, i) for i in range(24))
args = my_args
"""


@pytest.fixture
def example(tmp_path: Path, real_slurm_cluster: RealSlurm) -> User:
    """Who has a Slurm, and a script that makes a file for each call."""
    user = User(tmp_path, real_slurm_cluster.environment)
    (user.here / "made").mkdir()
    (user.here / "example.py").write_text(EXAMPLE)
    return user


def made(user: User) -> dict[str, str]:
    """What the calls have written since the last look: each ran once, or there is a second line."""
    found = {path.name: path.read_text() for path in (user.here / "made").iterdir()}
    for name in found:
        (user.here / "made" / name).unlink()
    return found


def every_call(text: str = "\n") -> dict[str, str]:
    return {str(number): text for number in range(24)}


def until_ended(user: User, directory: str, count: int) -> None:
    deadline = time.monotonic() + 40
    while len(list((user.here / directory).glob("*.exit"))) < count and time.monotonic() < deadline:
        time.sleep(0.05)


def test_files_of_options_on_slurm(example: User) -> None:
    """``.clufrc`` of the page alone, then ``cluf_options`` that add to it by RC_PARAMS, both submitted by ``queue``."""
    (example.home / ".clufrc").write_text(json.dumps({"hash": [0, 1, 2, 5], "nodes": 3, "queue": True}))
    out, _ = example.cluf("example", "-j", "jobs")
    assert "submitted 3 bins as one array" in out
    until_ended(example, "jobs", 3)
    assert made(example) == every_call()
    with (example.here / "example.py").open("a") as script:
        script.write(
            "from clusterfutures import RC_PARAMS\n"
            "cluf_options = {**RC_PARAMS, 'nodes': 2, 'hash': '0-2,5', 'jobs_dir': 'jobs2',\n"
            "                'env': {'MYENV': 'foo', 'BAZ': 'bar'}}\n"
        )
    out, _ = example.cluf("example")
    until_ended(example, "jobs2", 2)
    assert "submitted 2 bins as one array" in out
    assert made(example) == every_call("foobar\n")


COMMAND_LINES = {
    "example --iterations=9": 3,
    "example.py --target=my_func --args=my_args --nodes=4": 4,
    "example -n2 -hash=0-3,7": 2,
    "example -n 2 -key=1": 2,
    "example -n 2 -x 0-2,7": 2,
    "example -n 2 -P one.sh,two.sh -A two.sh -e MYENV=foo": 2,
}


def test_command_lines_on_slurm(tmp_path: Path, real_slurm_cluster: RealSlurm) -> None:
    """All at once, each by somebody with a directory of their own."""
    running = []
    for number, words in enumerate(COMMAND_LINES):
        (tmp_path / str(number)).mkdir()
        user = User(tmp_path / str(number), real_slurm_cluster.environment)
        (user.here / "made").mkdir()
        (user.here / "example.py").write_text(EXAMPLE)
        for name in ("one", "two"):
            (user.here / f"{name}.sh").write_text(f"echo {name}\n")
        running.append((words, user, user.start([*words.split(), "-p1", "-q", "-w", "-j", "jobs"])))
    for words, user, process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
        assert f"wrote {COMMAND_LINES[words]} scripts" in out
        assert made(user) == every_call("foo\n" if "MYENV" in words else "\n"), words
        if "-P" in words:
            assert (user.here / "jobs" / "example-0-2.stdout").read_text() == "one\ntwo\ntwo\n"


def test_two_machines_without_a_scheduler(user: User) -> None:
    """Two thirds here, one there; and a script that one runs by hand, as an older version wrote it with ``-no-q``."""
    (user.here / "made").mkdir()
    (user.here / "example.py").write_text(EXAMPLE)
    user.cluf("example", "--bin=0,1/3")
    user.cluf("example", "--bin=2/3", program="clum")
    assert made(user) == every_call()
    user.cluf("example.py", "--target=my_func", "--args=my_args", "--processes=2", program="clum")
    assert made(user) == every_call()
    user.cluf("example", "--mode", "direct", "-n", "4", "-b", "0-1,3/4")
    assert made(user).keys() == {str(n) for n in range(24) if n % 4 != 2}
    out, _ = user.cluf("example", "-n4", "-no-q")
    assert "wrote 4 scripts" in out
    (script,) = user.here.glob("example-1-4.*")
    subprocess.run(["bash", script], check=True, capture_output=True, timeout=60)
    assert made(user).keys() == {str(n) for n in range(24) if n % 4 == 1}
    with (user.here / "example.py").open("a") as file:
        file.write("cluf_options = {'key': 1, 'bins': '1/2', 'iterations': None}\n")
    user.cluf("example")
    assert made(user).keys() == {str(n) for n in range(24) if n % 2}


@pytest.mark.parametrize(
    ("env", "arrives"),
    [
        ("MYENV=foo\\ bar", "foo bar"),
        ("MYENV='foo bar'", "foo bar"),
        ('MYENV=bar BAZ="fizz bang"', "barfizz bang"),
        ("MYENV=foo bar", ""),
    ],
)
def test_env_as_the_page_spells_it(user: User, env: str, arrives: str) -> None:
    (user.here / "made").mkdir()
    (user.here / "example.py").write_text(EXAMPLE)
    if not arrives:
        _, err = user.cluf("example", "--nodes=1", f"--env={env}", status=2)
        assert "is no NAME=value" in err
        return
    user.cluf("example", "--nodes=1", f"--env={env}")
    (script,) = user.here.glob("example-0-1.*")
    subprocess.run(["bash", script], check=True, capture_output=True, timeout=60)
    assert made(user) == every_call(f"{arrives}\n")


def test_direct_mode_has_this_environment(user: User) -> None:
    (user.here / "made").mkdir()
    (user.here / "example.py").write_text(EXAMPLE)
    user.variables["MYENV"] = "1"
    user.cluf("example")
    assert made(user) == every_call("1\n")


def test_what_jobs_ask_for_by_the_configuration(user: User) -> None:
    """The script's own options win over it, and ``processes`` over its cores; direct mode does not read it."""
    file = user.home / "config.toml"
    file.write_text('account = "lab"\nmemory = "1GB"\n[profile.long]\ntime = "3h"\ncores = 8\n')
    user.variables["CLUSTERFUTURES_CONFIG"] = str(file)
    with (user.here / "my_script.py").open("a") as script:
        script.write("cluf_options = {'slurm_options': {'mem': '2GB', 'comment': 'part {subjob}'}}\n")
    user.cluf("my_script", "-n", "2", "--scheduler=slurm", "--profile=long", "-p", "2")
    lines = (user.here / "my_script-1-2.slurm").read_text().partition("\n\n")[0].splitlines()
    assert {line.split(" ", 1)[1] for line in lines if "=" in line and str(user.here) not in line} == {
        "--job-name=my_script-1-2", "--account=lab", "--mem=2048M", "--time=03:00:00", "--cpus-per-task=2",
        "'--comment=part 1'",
    }  # fmt: skip
    _, err = user.cluf("my_script", "-n", "2", "--profile=huge", status=2)
    assert "there is no profile 'huge'" in err
    file.write_text("nonsense = 3\n")
    user.cluf("my_script", "--limit=1")
