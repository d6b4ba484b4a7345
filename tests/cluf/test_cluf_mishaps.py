"""``cluf`` on this machine when calls, arguments, results or disks misbehave: what it says, and that it ends."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluf_user import User

from clusterfutures.cluf.outputs import HEADER, copy_records, open_output, records, render


def test_a_call_that_dies_and_leaves_a_child(user: User) -> None:
    """The child holds the connection of the process that is gone, and does not outlive it for long."""
    (user.here / "leaves.py").write_text(
        "import os, time\nargs = [0, 1]\n"
        "def target(x):\n"
        "    if x == 0:\n"
        "        if os.fork() == 0:\n"
        "            open('child', 'w').write(str(os.getpid()))\n            time.sleep(600)\n"
        "        while not (os.path.exists('child') and open('child').read()): time.sleep(0.01)\n"
        "        os._exit(3)\n"
    )
    _, err = user.cluf("leaves", "-p", "2", status=1)
    assert "call 0 failed: (0): killed the process that ran it: exit status 3" in err
    assert "finished 2 calls, 1 of them failed" in err
    until_gone(int((user.here / "child").read_text()))


def until_gone(pid: int) -> None:
    """Or dead, at least: who is to reap it is not ours to say."""
    deadline = time.monotonic() + 20
    with contextlib.suppress(OSError):
        while Path(f"/proc/{pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_second_ctrl_c_leaves_no_process_either(user: User) -> None:
    (user.here / "stays.py").write_text(
        "import os, time\nargs = [0]\n"
        "def target(x):\n"
        "    while True:\n"
        "        try:\n            os.write(1, f'{os.getpid()}\\n'.encode())\n            time.sleep(600)\n"
        "        except KeyboardInterrupt:\n            os.write(1, b'caught\\n')\n"
    )
    process = user.start(["stays"])
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "caught\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not Path(f"/proc/{pid}").exists()


def test_arguments_that_cannot_be_unpickled_fail_alone(user: User) -> None:
    (user.here / "odd.py").write_text(
        "class Odd(Exception):\n    def __init__(self, a, b): super().__init__(a)\n"
        "args = [Odd(1, 2) if n == 150 else n for n in range(300)]\ndef target(x): pass\n"
    )
    _, err = user.cluf("odd", status=1)
    assert "call 150 failed: (Odd(1)): its arguments cannot be unpickled: TypeError: " in err
    assert "finished 300 calls, 1 of them failed" in err


@pytest.mark.parametrize("words", ["", "-o r.jsonl"])
def test_a_call_that_closes_all_files_is_not_made_again(user: User, words: str) -> None:
    (user.here / "closes.py").write_text(
        "import os\nargs = range(6)\n"
        "def target(x):\n"
        "    with open('made', 'a') as file: file.write(f'{x}\\n')\n"
        "    if x == 3: os.closerange(3, 64)\n"
    )
    _, err = user.cluf("closes", "--timeout=60", *words.split(), status=1)
    assert "call 3 failed: (3): killed the process that ran it: exit status 70" in err
    assert "finished 6 calls, 1 of them failed" in err
    assert sorted((user.here / "made").read_text().split()) == list("012345")


def test_an_argument_that_a_generator_changes_is_sent_as_it_was(user: User) -> None:
    (user.here / "changes.py").write_text(
        "def args():\n    one = {}\n    for n in range(300):\n        one['n'] = n\n        yield one\n"
        "def pairs():\n    one = []\n    for n in range(300):\n        one[:] = [n]\n        yield n, one\n"
        "def target(x, y=None): return [x, *y] if y else x['n']\n"
        "def dies(x):\n    import os\n    if x['n'] in (7, 250): os._exit(3)\n"
    )
    assert user.ran("changes") == set(range(300))
    _, err = user.cluf("changes", "-t", "dies", status=1)
    assert re.findall(r"call (\d+) failed: (.*): killed", err) == [("7", "({'n': 7})"), ("250", "({'n': 250})")]
    assert "finished 300 calls, 2 of them failed" in err
    assert sorted(user.returned("changes", "-a", "pairs")) == [[n, n] for n in range(300)]  # type: ignore[type-var]


def test_values_and_errors_of_all_kinds_are_kept(user: User) -> None:
    (user.here / "kinds.py").write_text(
        "args = ['keys', 'itself', 'note', 'group']\n"
        "def target(x):\n"
        "    if x == 'keys': return {(1, 2): 3}\n"
        "    if x == 'itself':\n        found = []\n        found.append(found)\n        return found\n"
        "    error = ValueError('no') if x == 'note' else ExceptionGroup('both', [ValueError(1), KeyError(2)])\n"
        "    error.add_note('try again')\n    raise error\n"
    )
    _, err = user.cluf("kinds", "-o", "r.jsonl", status=1)
    found = {r["index"]: r for r in records(str(user.here / "r.jsonl"))}
    assert [found[i]["value"] for i in range(2)] == ["{(1, 2): 3}", "[[...]]"]
    assert [found[i]["error"] for i in (2, 3)] == ["ValueError: no", "ExceptionGroup: both (2 sub-exceptions)"]
    assert "try again" in err


def test_a_full_disk_is_told_and_resumed(user: User) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
    script = "args = range(50)\ndef target(x): return 'x' * 100\n"
    (user.here / "fills.py").write_text(limit + script)
    _, err = user.cluf("fills", "-o", "r.csv", status=2)
    assert err.splitlines()[-1].startswith("cluf: r.csv cannot be written: File too large. What it has is kept")
    assert "Traceback" not in err
    (user.here / "fills.py").write_text(script)
    _, err = user.cluf("fills", "-o", "r.csv", "--resume")
    assert "were done before" in err
    assert sorted(r["index"] for r in records(str(user.here / "r.csv"))) == list(range(50))


def test_resuming_long_values_and_values_that_are_gone(user: User) -> None:
    script = user.here / "long.py"
    script.write_text("class C: pass\nargs = [1]\ndef target(x): return 'y' * 200_000\ndef other(x): return C()\n")
    user.cluf("long", "-o", "r.csv")
    assert "(1 were done before)" in user.cluf("long", "-o", "r.csv", "--resume")[1]
    user.cluf("long", "-t", "other", "-o", "r.pkl")
    script.write_text(script.read_text().removeprefix("class C: pass\n"))
    _, err = user.cluf("long", "-o", "r.pkl", "--resume", status=2)
    assert "a value in it cannot be read: AttributeError" in err
    assert len(err.splitlines()) == 1
    assert not list(user.here.glob("*.tmp"))


@pytest.mark.parametrize("kind", [".jsonl", ".pkl", ".csv"])
def test_a_torn_record_does_not_spoil_those_of_the_next_part(tmp_path: Path, kind: str) -> None:
    fields = {"args": "(1)", "value": "a\nb", "error": None, "traceback": None, "host": "h", "seconds": 0.1}
    rows = [render({"index": index, **fields}, kind) for index in range(4)]
    parts = [tmp_path / f"{name}{kind}" for name in ("torn", "whole")]
    parts[0].write_bytes(HEADER[kind] + rows[0] + rows[1][:-5])
    parts[1].write_bytes(HEADER[kind] + rows[2] + rows[3])
    with open_output(str(tmp_path / f"all{kind}"), False) as whole:
        for part in parts:
            copy_records(str(part), whole, may_be_torn=True)
    assert [r["index"] for r in records(str(tmp_path / f"all{kind}"))] == [0, 2, 3]


def test_in_a_job_it_keeps_to_the_cores_of_the_job(user: User) -> None:
    (user.here / "pids.py").write_text(
        "import os, time\nargs = range(20)\ndef target(x):\n    time.sleep(0.01)\n    return os.getpid()\n"
    )
    user.variables |= {"CLUSTERFUTURES_JOB_ID": "7", "CLUSTERFUTURES_CORES": "1"}
    assert len(set(user.returned("pids", "-p", "2"))) == 2
    assert len(set(user.returned("pids"))) == 1


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("import sys\nsys.exit(0)", "s", "ended itself when it was imported, by sys.exit(0)"),
        ("", "s -o .jsonl", "expected a file name that ends in"),
        ("", "s -n 2 -m dispatch -b 0/2", "--mode=dispatch divides it all"),
        ("cluf_options = {'env': {'A': None}}", "s -n 1", "a variable without a text"),
        ("cluf_options = {'hash': [-1]}", "s", "expected arguments like 0-2,5,name"),
        ("cluf_options = {'key': [0, 1]}", "s", "one position or name (hash takes several)"),
        ("", "s -n 2 -o missing/all.jsonl", "there is no directory missing"),
        ("cluf_options = {'pbs_options': {'ppn': 1, 'cores': 2}}", "s -n 2", "pbs_options: ppn= and cores= are"),
    ],
)
def test_mistakes(user: User, script: str, words: str, said: str) -> None:
    (user.here / "s.py").write_text(f"args = [(1, 2)]\ndef target(*x): pass\n{script}\n")
    _, err = user.cluf(*words.split(), status=2)
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        (">&-", 0, "cluf: finished 24 calls"),
        ("2>&-", 0, ""),
        (">/dev/full --dry-run", 2, "No space left on device\n"),
    ],
)
def test_where_nobody_reads_what_it_says(user: User, end: str, status: int, said: str) -> None:
    command = f"{sys.executable} -m clusterfutures.cluf my_script {end}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=user.here, env=user.variables, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == bool(said)


def test_an_iterable_that_raises_is_blamed_by_itself(user: User) -> None:
    (user.here / "ends.py").write_text(
        "def args():\n    yield 1\n    raise RuntimeError('no more')\ndef target(x, y): pass\n"
    )
    _, err = user.cluf("ends", status=1)
    assert "call 0 failed: (1): TypeError: target() missing 1 required positional argument: 'y'" in err
    assert "the arguments ended too early, their iterable raised:\nTraceback (most recent call last):\n" in err
    assert err.endswith("RuntimeError: no more\n")
    assert "clusterfutures" not in err


def test_a_package_that_lacks_something_is_there(user: User) -> None:
    (user.here / "pkg").mkdir()
    (user.here / "pkg" / "__init__.py").write_text("import nothing_of_that_name\n")
    (user.here / "pkg" / "mod.py").touch()
    _, err = user.cluf("pkg.mod", status=2)
    assert "No module named 'nothing_of_that_name'" in err
    assert err.splitlines()[-1] == "cluf: importing pkg.mod failed, see above"
    _, err = user.cluf("pkgs.mod", status=2)
    assert "there is no script 'pkgs.mod'" in err


@pytest.mark.parametrize(
    ("dialect", "option", "there"),
    [
        ("slurm", "{'pbs_options': {'walltime': '00:10:00', 'mem': '1gb', 'name': 'j-{subjob}', 'select': '1'}}",
         ["#SBATCH --time=", "#SBATCH --mem=1024", "#SBATCH --job-name=j-0"]),
        ("pbs", "{'slurm_options': {'time': '00:10:00', 'cpus': 2, 'name': 'j-{subjob}', 'select': 1}}",
         ["walltime=", "ncpus=2", "#PBS -N j-0"]),
        ("torque", "{'slurm_options': {'time': '00:10:00', 'cpus': 2, 'name': 'j-{subjob}', 'select': 1}}",
         ["walltime=", "ppn=2", "#PBS -N j-0"]),
    ],
)  # fmt: skip
def test_options_that_were_written_for_the_other_scheduler(
    user: User, dialect: str, option: str, there: list[str]
) -> None:
    """Names that both know hold on both; the others are named."""
    (user.here / "s.py").write_text(f"args = range(4)\ndef target(x): pass\ncluf_options = {option}\n")
    _, err = user.cluf("s", "-n", "2", f"--scheduler={dialect}")
    assert "no equivalent on " + dialect in err
    assert "select" in err
    assert "walltime" not in err
    (script,) = user.here.glob("j-0.*")
    assert all(words in script.read_text() for words in there), script.read_text()


@pytest.mark.parametrize(
    ("args", "words", "said"),
    [
        ("[X()] * 4", "--hash=0", "the text of its argument 0 holds an address"),
        ("[[X()]] * 4", "--hash=0", "the text of its argument 0 holds an address"),
        ("[Arguments(1, x=X())]", "--hash=x", "the text of its argument 'x' holds an address"),
        ("[Arguments(1, name=2)]", "--hash=nmae", "it has no argument 'nmae', which --hash names. It has name"),
        ("range(3)", "--hash=name", "It has no arguments by name"),
    ],
)
@pytest.mark.parametrize("mode", ["-b 0/2", "-n 2"])
def test_what_hash_cannot_divide(user: User, args: str, words: str, said: str, mode: str) -> None:
    head = "from clusterfutures import Arguments\nclass X: pass\ndef target(*x, **more): pass\n"
    (user.here / "s.py").write_text(f"{head}args = {args}\n")
    _, err = user.cluf("s", words, *mode.split(), status=2)
    assert said in err
    assert "Traceback" not in err


def test_hash_of_text_and_of_sets(user: User) -> None:
    """Text may look like an address, and a set has another order in each process: both are divided."""
    head = "def target(x): return sorted(x)\nargs = [{'a', 'b', 'c', str(n)} for n in range(9)] + [' at 0x7f00']\n"
    (user.here / "s.py").write_text(head)
    done = []
    for number in range(3):
        user.variables["PYTHONHASHSEED"] = str(number)
        done += user.returned("s", "--hash=0", "-b", f"{number}/3")
    assert len(done) == 10
