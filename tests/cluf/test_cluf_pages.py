"""The examples of the old command's pages, as they stand there: on this machine, and on a real Slurm."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cluf_user import User

from clusterfutures.cluf.outputs import records
from clusterfutures.testing import FakePBS, FakeTorque
from clusterfutures.testing.real_slurm import RealSlurm

EXAMPLE = """
from clusterfutures import Arguments
def target(a, b, key, *rest, my_kwarg=None):
    return a
def args():
    for i in range(24):
        yield Arguments(i, i % 5, i % 12, 3, 4, i // 2, my_kwarg=i)
"""


def sha1(*texts: object, bins: int = 12) -> int:
    return int(hashlib.sha1("".join(map(str, texts)).encode()).hexdigest(), 16) % bins


#: what chooses the bin -> the bin of call i, computed without the package
DIVISIONS: dict[str, Callable[[int], int]] = {
    "": lambda i: i % 12,
    "--hash=0": lambda i: sha1(i),
    "--hash=0-2,5,my_kwarg": lambda i: sha1(i, i % 5, i % 12, i // 2, i),
    "--hash=0-2,7": lambda i: sha1(i, i % 5, i % 12),
    "--key=2": lambda i: i % 12,
}


@pytest.mark.parametrize("chosen", DIVISIONS)
def test_each_call_is_in_its_bin(user: User, chosen: str) -> None:
    (user.here / "example.py").write_text(EXAMPLE)
    for number in (0, 5, 11):
        wanted = {i for i in range(24) if DIVISIONS[chosen](i) == number}
        assert user.ran("example", *chosen.split(), f"--bins={number}/12") == wanted


def test_hashed_bins_are_those_of_every_process() -> None:
    """Nothing in them changes with the process; of the other Pythons, those that are here are asked too."""
    named = [path for minor in (12, 13) if (path := shutil.which(f"python3.{minor}"))]
    others = [path for path in named if not subprocess.run([path, "-c", ""], capture_output=True).returncode]
    code = "from clusterfutures.binning import hashed; print([hashed([str(i), 'x'], 7) for i in range(50)])"
    found = {
        subprocess.run(
            [interpreter, "-S", "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True,
            timeout=60, cwd=Path(__file__).resolve().parents[2],
        ).stdout
        for interpreter in (sys.executable, *others)
        for seed in ("1", "2")
    }  # fmt: skip
    assert found == {f"{[sha1(i, 'x', bins=7) for i in range(50)]}\n"}


@pytest.mark.parametrize("chosen", ["--hash=0-2,5,my_kwarg", "--key=2"])
def test_the_examples_on_slurm(tmp_path: Path, real_slurm_cluster: RealSlurm, chosen: str) -> None:
    user = User(tmp_path, real_slurm_cluster.environment)
    (user.here / "example.py").write_text(EXAMPLE)
    user.cluf("example", "--nodes=12", chosen, "-p1", "--wait", "--output=all.jsonl", "-j", "jobs")
    for number in range(12):
        part = user.here / "jobs" / f"example-{number}-12.results.jsonl"
        assert {r["value"] for r in records(str(part))} == {i for i in range(24) if DIVISIONS[chosen](i) == number}
    assert sorted(r["value"] for r in records(str(user.here / "all.jsonl"))) == list(range(24))


def test_the_million_files_on_this_machine_and_on_slurm(tmp_path: Path, real_slurm_cluster: RealSlurm) -> None:
    """``clum process_files.py``, then ``cluf process_files.py --nodes=12`` with options in the script."""
    user = User(tmp_path, real_slurm_cluster.environment)
    (user.here / "in").mkdir()
    for number in range(30):
        (user.here / "in" / f"{number}").write_text(f"text {number}")
    (user.here / "process_files.py").write_text(
        "import os\n"
        "def target(in_path, out_path):\n"
        "    open(out_path, 'w').write(open(in_path).read().upper() + os.environ.get('MYENV', ''))\n"
        "args = [('in/' + name, 'out/' + name) for name in os.listdir('in')]\n"
        "cluf_options = {'hash': (0, 1), 'env': {'MYENV': 'foo', 'OTHER_ENV': 'bar'},\n"
        "                'prepend_statements': ['echo before'], 'append_statements': ['echo after']}\n"
    )
    for program, words, suffix in (("clum", [], ""), ("main", ["--nodes=12", "-p1", "--wait", "-jjobs"], "foo")):
        (user.here / "out").mkdir()
        user.cluf("process_files.py", *words, program=program)
        made = {path.name: path.read_text() for path in (user.here / "out").iterdir()}
        assert made == {str(number): f"TEXT {number}{suffix}" for number in range(30)}
        shutil.rmtree(user.here / "out")
    assert (user.here / "jobs" / "process_files-0-12.stdout").read_text() == "before\nafter\n"


@pytest.mark.parametrize(
    ("fake", "resources"), [(FakePBS, "select=1:ncpus=4:ngpus=2"), (FakeTorque, "nodes=1:ppn=4:gpus=2")]
)
def test_directives_of_pbs(tmp_path: Path, fake: type[FakePBS], resources: str) -> None:
    """Names, output and resources character by character; ppn follows processes."""
    names = "'name': 'try-{subjob}', 'stdout': 'log/{node_num}.out', 'stderr': 'log/{target}.{subjob}.{num_subjobs}'"
    with fake(tmp_path / "standin", cpus=8) as pbs:
        user = User(tmp_path, pbs.environment)
        with (user.here / "my_script.py").open("a") as script:
            script.write(f"cluf_options = {{'processes': 4, 'pbs_options': {{'gpus': 2, {names}}}}}\n")
        user.cluf("my_script", "-n", "2", "-j", "jobs")
        jobs = user.here / "jobs"
        assert (jobs / "try-1.pbs").read_text().partition("\n\n")[0].splitlines() == [
            "#!/bin/bash",
            "#PBS -N try-1",
            f"#PBS -o {jobs}/log/1.out",
            f"#PBS -e {jobs}/log/my_script.1.2",
            f"#PBS -l {resources}",
        ]


def test_a_script_runs_for_another_user_in_an_empty_directory(user: User, tmp_path: Path) -> None:
    """Who may read our files, and write none of them; as root a real other user, else ours of read-only files."""
    user.cluf("my_script", "-n", "3", "-j", "jobs", "-o", "all.jsonl")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    shutil.copy(user.here / "jobs" / "my_script-1-3.sh", theirs / "bin.sh")
    other: list[str] = []
    if os.geteuid() == 0:
        os.chown(theirs, 65534, 65534)
        caps = "-all,+dac_read_search"
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={caps}"]
        other += [f"--ambient-caps={caps}", f"--bounding-set={caps}"]
    for directory in (user.here / "jobs", user.here):
        directory.chmod(0o555)
    try:
        done = subprocess.run(
            [*other, "bash", "bin.sh"], cwd=theirs, env={**os.environ, "HOME": str(theirs)}, capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip
    finally:
        for directory in (user.here, user.here / "jobs"):
            directory.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "finished 8 calls" in done.stderr
    (made,) = theirs.glob("*.results.jsonl")
    assert {r["value"] for r in records(str(made))} == set(range(1, 24, 3))
