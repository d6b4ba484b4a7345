"""Words that a shell or a scheduler could take for its own: they arrive as they are, or are refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Ground, SlurmGround

from clusterfutures.errors import OptionError

NASTY = {
    "spaces": " a  b ",
    "quotes": 'it\'s "q"',
    "newline": "a\nb\n#PBS -q nosuch\n#SBATCH -p nosuch",
    "substitution": "$(touch pwned) `touch pwned` $HOME ${x}",
    "separators": "a;touch pwned;b & c | d > e *",
    "unicode": "é ü 漢字 😀",
    "backslash": "a\\b\\n",
    "percent": "100%j %% %a -n",
    "carriage return": "a\r\nb",
}


def _seen() -> dict[str, Any]:
    names = ("FROM_ENV", "FROM_PROGRAM", "FROM_SETUP")
    return {
        "cwd": os.getcwd(),
        "python": os.environ.get("STARTED_BY"),
        **{name: os.environ.get(name) for name in names},
    }


def _takes(ground: Ground, **options: Any) -> bool:
    """True when a script can be made with ``options``; refused, the reason is told."""
    try:
        ground.executor(**options).job_script()
    except OptionError as refused:
        print(refused)
        return False
    return True


@pytest.mark.on("slurm", "pbs", "torque")
@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
def test_it_arrives_as_it_is_or_is_refused(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nasty: str
) -> None:
    place = tmp_path / "work" / f"-{nasty}".replace("/", "")
    place.mkdir()
    python = place / "python"
    python.write_text(f'#!/bin/sh\nSTARTED_BY=$0 exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.chdir(place)
    monkeypatch.setenv("FROM_PROGRAM", nasty)
    quoted = "'" + nasty.replace("'", "'\\''") + "'"
    options: dict[str, Any] = {"env": {"FROM_ENV": nasty}}
    hostile: dict[str, Any] = {
        "python": str(python),
        "name": nasty,
        "directory": place / "runs",
        "extra": _comment(ground, nasty),
    }
    hostile["setup"] = f"export FROM_SETUP={quoted}"
    taken = {option: value for option, value in hostile.items() if _takes(ground, **{option: value})}
    assert set(taken) >= ({"extra"} if ground.name != "slurm" else set()) | (
        set() if "\n" in nasty else {"python", "setup"}
    )
    with ground.executor(max_workers=1, **options, **taken) as ex:
        future = ex.submit(_seen)
        seen = future.result(60)
        assert seen["cwd"] == str(place)
        assert seen["python"] == taken.get("python")
        assert seen["FROM_ENV"] == seen["FROM_PROGRAM"] == nasty
        assert seen["FROM_SETUP"] == (nasty.replace("\r", "") if "setup" in taken else None)
        if isinstance(ground, SlurmGround):
            _as_slurm_has_it(ground, future.job_id, taken)
    assert not list(tmp_path.rglob("pwned"))
    assert not list(place.glob("runs/*"))


def _comment(ground: Ground, nasty: str) -> list[str]:
    return [f"--comment={nasty}"] if isinstance(ground, SlurmGround) else ["-v", "EXTRA=1"]


def _as_slurm_has_it(ground: SlurmGround, job_id: str, taken: dict[str, Any]) -> None:
    has = ground.slurm.run("squeue", "-h", "-t", "all", "-j", job_id, "-o", "%k|%j").stdout
    comment, _, name = has.rpartition("|")
    if "extra" in taken:
        assert comment == taken["extra"][0].removeprefix("--comment=")
    if "name" in taken:
        assert name.startswith(taken["name"])
