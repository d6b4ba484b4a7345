"""One answer of the scheduler is wrong: it ends with status 0, and is empty or cut, while the jobs run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from conftest import Ground
from contract_tasks import wait_until

from clusterfutures import submit

_WRAPPER = """#!{python}
import os, sys
if os.path.exists({once!r}) and "--version" not in sys.argv:
    os.unlink({once!r})
    print({text!r}, end="")
    sys.exit(0)
os.execv({real!r}, [{name!r}, *sys.argv[1:]])
"""


class Liar:
    """A command in front of the scheduler's, whose next answer is a lie when it is told so."""

    def __init__(self, ground: Ground, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = "squeue" if ground.name == "slurm" else "qstat"
        self._directory, self._monkeypatch = directory, monkeypatch
        self.once = directory / "once"
        directory.mkdir()

    def will_say(self, text: str) -> None:
        real = next(
            str(path)
            for entry in os.environ["PATH"].split(os.pathsep)
            if (path := Path(entry) / self.name).exists() and path.parent != self._directory
        )
        command = self._directory / self.name
        command.write_text(
            _WRAPPER.format(python=sys.executable, once=str(self.once), text=text, real=real, name=self.name)
        )
        command.chmod(0o755)
        self._monkeypatch.setenv("PATH", f"{self._directory}{os.pathsep}{os.environ['PATH']}")

    def was_asked(self) -> bool:
        return not self.once.exists()


@pytest.fixture
def liar(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Liar:
    return Liar(ground, tmp_path / "liar", monkeypatch)


def _work(go: str, seconds: float) -> str:
    import time

    end = time.monotonic() + 60
    while os.path.exists(go) and time.monotonic() < end:  # until the lie was told, and longer than it was believed
        time.sleep(0.1)
    time.sleep(seconds)
    return "done"


@pytest.mark.on("slurm", "pbs", "torque")
@pytest.mark.parametrize("text", ["", "7|N/A|7|RUNN"])
def test_a_call_lives_through_it(ground: Ground, liar: Liar, text: str) -> None:
    liar.will_say(text)
    with ground.executor(max_workers=1) as ex:
        future = ex.submit(_work, str(liar.once), 7.0 if ground.name == "slurm" else 1.0)
        wait_until(future.running, "the call runs")
        liar.once.touch()
        assert future.result(90) == "done"
    assert liar.was_asked()


@pytest.mark.on("slurm", "pbs", "torque")
def test_a_job_lives_through_it(ground: Ground, liar: Liar) -> None:
    liar.will_say("")
    liar.once.touch()
    job = submit(_work, (str(liar.once), 2.0), scheduler=ground.name.replace("torque", "pbs"), directory=ground.work)
    assert job.get(timeout=90) == "done"
    assert liar.was_asked()
    job.clean()
