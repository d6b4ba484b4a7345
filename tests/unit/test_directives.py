"""What a script's own lines ask for, in our words."""

from __future__ import annotations

from typing import Any

import pytest

from clusterfutures.jobs import directives
from clusterfutures.jobs.scripts import of_file


def keywords(lines: str, scheduler: str = "slurm", **given: Any) -> dict[str, Any]:
    return directives.wanted(directives.read(f"#!/bin/sh\n{lines}\ntrue\n", scheduler), given)


def test_paths_are_those_of_the_scheduler() -> None:
    assert keywords("#SBATCH -o run-12:30.out")["outfile"] == "run-12:30.out"
    assert keywords("#PBS -o host:/there/out -e err", "pbs") == {"outfile": "/there/out", "errfile": "err"}


def test_memory_of_qsub_is_in_bytes() -> None:
    assert keywords("#PBS -l mem=2147483648", "pbs") == {"memory": "2048M"}
    assert keywords("#PBS -l mem=2gb", "pbs") == {"memory": "2gb"}
    assert keywords("#SBATCH --mem=2048") == {"memory": "2048"}


@pytest.mark.parametrize(
    ("line", "given", "wanted"),
    [
        ("#SBATCH --gres=gpu:2", {}, {"gpus": "gpu:2"}),
        ("#SBATCH --gres=gpu:2", {"gpu": 4}, {"gpu": 4}),
        ("#SBATCH --gres=gpu:2,tape:1", {}, {"extra": ["--gres=gpu:2,tape:1"]}),
        ("#SBATCH --gres=gpu:a100:2", {}, {"gpus": "gpu:a100:2"}),
        ("#SBATCH --gres=tape:1", {"gpus": 1}, {"gpus": 1, "extra": ["--gres=tape:1"]}),
        ("#SBATCH --gres=gpu", {}, {"extra": ["--gres=gpu"]}),
        ("#SBATCH --mem-per-cpu=2G", {}, {"extra": ["--mem-per-cpu=2G"]}),
        ("#SBATCH --mem-per-cpu=2G", {"mem": "4GB"}, {"mem": "4GB"}),
        ("#SBATCH --chdir=/a", {"runpath": "/b"}, {"runpath": "/b"}),
        ("#SBATCH --reservation=x", {"extra_options": "--nice"}, {"extra": ["--reservation=x", "--nice"]}),
    ],
)
def test_the_callers_own_take_their_place(line: str, given: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert keywords(line, **given) == wanted


def test_the_name_in_the_name_of_a_file(tmp_path: Any) -> None:
    script = tmp_path / "fit.sh"
    script.write_text("#!/bin/sh\n#SBATCH -o %x-%A.out -e told.%x\ntrue\n")
    record = of_file(script, scheduler="slurm", directory=str(tmp_path), cwd="/w", errfile="mine.%x").record
    assert (record["outfile"], record["errfile"]) == ("/w/fit-%j.out", "/w/mine.%x")
