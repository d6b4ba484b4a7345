"""``cluf`` on this machine: what runs, what fails, what is a mistake, Ctrl-C, help."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cluf_user import User

from clusterfutures.cluf.outputs import records


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("my_script", set(range(24))),
        ("my_script.py --target=target --args=my_iterable --processes=12", set(range(24))),
        ("my_script --bin=0/3", set(range(0, 24, 3))),
        ("my_script --bins=0-2,5/10", {0, 1, 2, 5, 10, 11, 12, 15, 20, 21, 22}),
        ("my_script --bin=0,1/3", {i for i in range(24) if i % 3 < 2}),
        ("my_script -key=1 -b 2/3", set(range(2, 24, 3))),
        ("my_script --key=2 --bins=5/12", {5, 17}),
        ("my_script --limit 5", set(range(5))),
        ("my_script -a words -- one two", {"one", "two"}),
    ],
)
def test_direct(user: User, words: str, wanted: set[object]) -> None:
    assert user.ran(*words.split()) == wanted


def test_clum(user: User) -> None:
    with (user.here / "my_script.py").open("a") as script:
        script.write("clum_options = {'bins': '1/3', 'hash': '0'}\n")
    assert user.ran("my_script.py", program="clum") == {
        i for i in range(24) if int(hashlib.sha1(str(i).encode()).hexdigest(), 16) % 3 == 1
    }


@pytest.mark.parametrize("listed", ["0-2,5,my_kwarg", "0", "0-2,7"])
def test_hashed_bins_share_all_calls(user: User, listed: str) -> None:
    shares = [user.ran("my_script", "-a", "my_iterable", f"-hash={listed}", "-b", f"{n}/3") for n in range(3)]
    assert sum(map(len, shares)) == 24
    assert set.union(*shares) == set(range(24))


@pytest.mark.parametrize("kind", ["jsonl", "pkl", "csv"])
def test_failures_are_listed_and_resumed(user: User, kind: str) -> None:
    _, err = user.cluf("my_script", "-a", "bad", "-o", f"r.{kind}", status=1)
    assert "call 1 failed: ('fail'): ValueError: it fails" in err
    assert "Traceback" in err
    assert "clusterfutures/" not in err
    found = {r["index"]: r["error"] for r in records(str(user.here / f"r.{kind}"))}
    assert (found[0], found[2]) == (None, None)
    _, err = user.cluf("my_script", "-a", "bad", "-o", f"r.{kind}", "--resume", status=1)
    assert "finished 1 call, 1 of them failed (2 were done before)" in err
    _, err = user.cluf("my_script", "-a", "bad", "-o", f"r.{kind}", status=2)
    assert "--resume" in err


def test_a_call_that_kills_its_process_fails_alone(user: User) -> None:
    (user.here / "dies.py").write_text(
        "import os, time\nargs = range(300)\n"
        "def target(x):\n    if x == 250: os._exit(3)\n    if x == 7: time.sleep(9)\n"
    )
    _, err = user.cluf("dies", "--timeout", "0.5", status=1)
    assert "call 250 failed: (250): killed the process that ran it: exit status 3" in err
    assert "call 7 failed: (7): took longer than --timeout=0.5 s" in err
    assert "finished 300 calls, 2 of them failed" in err


@pytest.mark.parametrize(
    ("words", "rc", "said"),
    [
        ("", "", "which script?"),
        ("nowhere", "", "there is no script 'nowhere'"),
        ("my_script --nods=3", "", "did you mean --nodes?"),
        ("my_script -b 3/3", "", "each from 0 to the total less one"),
        ("my_script -n 2 -i 2", "", "the command line: nodes and iterations exclude each other"),
        ("my_script -k 0 -b 1/3", "", "is 3; --key needs a bin there"),
        ("my_script", "{", "~/.clufrc, line 1"),
        ("my_script -n 2 --env=A=1_B", "", "is no NAME=value"),
        ("my_script", '{"nods": 1}', "~/.clufrc: 'nods' is no option, did you mean --nodes?"),
        ("my_script", '{"mode": "direct"}', "can be given on the command line only"),
        ("my_script -t nobody", "", "has no function 'nobody': it has sys, Arguments, target"),
        ("my_script -q", "", "need a number of jobs"),
    ],
)
def test_mistakes_are_one_clear_line(user: User, words: str, rc: str, said: str) -> None:
    if rc:
        (user.home / ".clufrc").write_text(rc)
    _, err = user.cluf(*(word.replace("_", " ") if "=" in word else word for word in words.split()), status=2)
    assert "Traceback" not in err
    *before, last = err.splitlines()
    assert said in last
    assert all(line.startswith("cluf: finished") for line in before)


def test_interrupted_it_leaves_no_process(user: User) -> None:
    process = user.start(["my_script", "-t", "wait", "-a", "words", "-p", "2", "--", "1", "2"])
    assert process.stdout is not None
    pids = [int(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: finished 0 calls" in err
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_help_is_one_screen_and_completion_is_shell(user: User) -> None:
    text, _ = user.cluf("--help")
    assert len(text.splitlines()) <= 50
    for shell in ("bash", "zsh", "fish"):
        assert "--resume" in (out := user.cluf(f"--completion={shell}")[0]) or "-l resume" in out
    done = subprocess.run(["bash", "-n"], input=user.cluf("--completion", "bash")[0], text=True, timeout=60)
    assert done.returncode == 0


def test_memory_does_not_grow_with_the_arguments() -> None:
    """Also that the benchmark works."""
    script = Path(__file__).parents[2] / "benchmarks" / "cluf_direct.py"
    done = subprocess.run([sys.executable, script, "200000", "1"], check=True, capture_output=True, text=True)
    assert "200000 calls, 2 processes: " in done.stdout
    small, large = map(float, re.findall(r"([0-9.]+) MB", done.stdout))
    assert large < small + 5
