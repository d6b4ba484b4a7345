"""Stand-ins for batch schedulers: directories with commands, on the PATH for a while.

    with FakePBS(cpus=4) as pbs:          a directory with qsub, qstat, ...; PATH changed
        ...                               jobs run as local processes
        pbs.fail_next("qsub", 2, text="qsub: cannot connect to server vm", code=162)
    ---                                   all jobs ended, everything removed, PATH as before

The commands keep their state in the directory (``state``); the faults asked for here are
read by them (``command``).  What may start jobs is not done in this process but by a small
command of its own (``control``): a program with threads must not fork.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from . import command, processes
from .state import Store

__all__ = ["FakePBS", "FakeSlurm", "FakeTorque", "StandIn"]

# The package is put in place without running its __init__: a command has to start fast.
_LAUNCHER = """\
#!/bin/sh
{mark}={directory} exec {python} -I -S -X utf8 -c 'import sys
package = sys.modules["clusterfutures"] = type(sys)("clusterfutures")
package.__path__ = [sys.argv.pop(1)]
from clusterfutures.testing.command import main
sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))' {root} {directory} {name} "$@"
"""


class StandIn:
    """What the three have in common.

    directory: where to keep everything (created; removed at the end), else a new one.
    cpus: how many slots the one node has.
    kill_delay: seconds between SIGTERM and SIGKILL.
    requeue_delay: seconds before a requeued job may start again.
    ending_seconds: how long an ended job is shown as exiting or completing.
    submit_limit: how many elements may be queued or running, None for no limit.

    A real cluster is slower than this by default, and never tells when.
    """

    kind: ClassVar[str]
    commands: ClassVar[tuple[str, ...]]
    defaults: ClassVar[dict[str, Any]] = {
        "cpus": 8,
        "kill_delay": 1.0,
        "requeue_delay": 0.2,
        "ending_seconds": 0.0,
        "submit_limit": None,
    }

    def __init__(self, directory: str | os.PathLike[str] | None = None, **options: Any) -> None:
        known = {**StandIn.defaults, **self.defaults}
        for name in options:
            if name not in known:
                listed = ", ".join(f"{key}={value!r}" for key, value in known.items())
                raise TypeError(f"{type(self).__name__} has no option {name!r}; it takes {listed}")
        self.config = {**known, **options, "kind": self.kind}
        self._wanted = directory
        self._started = False
        self._restore: contextlib.ExitStack | None = None
        self.directory = Path()

    # -- life --------------------------------------------------------------------------

    def start(self) -> Self:
        """Make the directory and the commands; PATH is left alone (see ``environment``)."""
        if self._started:
            return self
        if self._wanted is None:
            self.directory = Path(tempfile.mkdtemp(prefix=f"fake-{self.kind}-")).resolve()
        else:
            self.directory = Path(self._wanted).resolve()
            self.directory.mkdir(parents=True, exist_ok=False)
        (self.directory / "bin").mkdir()
        (self.directory / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
        for name in self.commands:
            self._write_launcher(self.directory / "bin" / name, name)
        self._write_launcher(self.directory / "control", "control")
        self._started = True
        return self

    def _write_launcher(self, path: Path, name: str) -> None:
        words = {
            "mark": processes.MARK,
            "directory": shlex.quote(str(self.directory)),
            "python": shlex.quote(sys.executable),
            "root": shlex.quote(str(Path(__file__).resolve().parents[1])),
            "name": name,
        }
        path.write_text(_LAUNCHER.format(**words), encoding="utf-8")
        path.chmod(0o755)

    def stop(self) -> None:
        """End every process that the stand-in started, and remove its directory."""
        if not self._started:
            return
        self._started = False
        with contextlib.suppress(OSError), Store(str(self.directory)).locked() as state:
            state.stopped = True
            runners = [run.runner for job in state.jobs.values() if not job.ended for run in job.runs.values()]
            jobs = [run.pid for job in state.jobs.values() if not job.ended for run in job.runs.values()]
        deadline = time.monotonic() + 10
        if not os.path.isdir("/proc"):
            processes.kill([pid for pid in runners + jobs if pid])
        while (left := processes.marked(str(self.directory))) and time.monotonic() < deadline:
            processes.kill(left)
            time.sleep(0.01)
        while self.directory.exists() and time.monotonic() < deadline:
            shutil.rmtree(self.directory, ignore_errors=True)  # until nothing is added any more

    @property
    def environment(self) -> dict[str, str]:
        """A copy of os.environ that finds the commands: for ``subprocess.run(env=...)``."""
        path = os.environ.get("PATH", os.defpath)
        ours = str(self.directory / "bin")
        if path.split(os.pathsep)[0] != ours:
            path = ours + os.pathsep + path
        return {**os.environ, "PATH": path, "CLUSTERFUTURES_STANDIN": str(self.directory)}

    @contextlib.contextmanager
    def activate(self) -> Iterator[Self]:
        """os.environ of this process finds the commands while the context lasts."""
        names = ("PATH", "CLUSTERFUTURES_STANDIN")
        before = {name: os.environ.get(name) for name in names}
        os.environ.update({name: self.environment[name] for name in names})
        try:
            yield self
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def __enter__(self) -> Self:
        self.start()
        self._restore = contextlib.ExitStack()
        self._restore.enter_context(self.activate())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._restore is not None:
            self._restore.close()
        self.stop()

    # -- faults ------------------------------------------------------------------------

    def fail_next(self, command: str, n: int = 1, *, text: str = "Connection refused", code: int = 1) -> None:
        """The next ``n`` calls of ``command`` do nothing but fail with these words."""
        with self._faults() as data:
            data.setdefault("fail", {}).setdefault(command, []).append({"n": n, "text": text, "code": code})

    def slow(self, command: str, seconds: float) -> None:
        """Every call of ``command`` takes this much longer (0 to end it, for those that wait just now as well)."""
        with self._faults() as data:
            data.setdefault("slow", {})[command] = seconds

    def flaky(
        self, command: str, probability: float, seed: int = 0, *, text: str = "Connection refused", code: int = 1
    ) -> None:
        """Calls of ``command`` fail by chance; the same seed, the same calls (0 to end it)."""
        fault = {"probability": probability, "seed": seed, "text": text, "code": code, "count": 0}
        with self._faults() as data:
            data.setdefault("flaky", {})[command] = fault

    def accept_but_time_out(self, n: int = 1, seconds: float = 3600.0) -> None:
        """The next ``n`` submissions are carried out, but answer nothing for ``seconds``, and
        then that there was no answer."""
        with self._faults() as data:
            data.update(timeouts=n, timeout_seconds=seconds)

    def banner(self, text: str) -> None:
        """Every command prints this on stdout before its answer ("" to end it)."""
        with self._faults() as data:
            data["banner"] = text

    @contextlib.contextmanager
    def _faults(self) -> Iterator[dict[str, Any]]:
        store = Store(str(self.directory))
        with store.locked():
            data = command.read_faults(store)
            yield data
            command.write_faults(store, data)

    def configure(self, **options: Any) -> None:
        """Change options while it runs; jobs that run keep what they started with."""
        for name in options:
            if name not in self.config:
                raise TypeError(f"{type(self).__name__} has no option {name!r}")
        self.config.update(options)
        fresh = self.directory / "config.tmp"
        fresh.write_text(json.dumps(self.config), encoding="utf-8")
        fresh.replace(self.directory / "config.json")
        if "stopped_queues" in options and self._started:
            self._control("state")  # starts what may start now

    def submit_limit(self, n: int | None) -> None:
        """Refuse submissions that would make more than ``n`` jobs and elements."""
        self.configure(submit_limit=n)

    def down(self) -> None:
        """The scheduler does not answer; jobs that run go on, no other starts."""
        self._control("down")

    def up(self) -> None:
        """The scheduler answers again."""
        self._control("up")

    # -- jobs, named as the scheduler prints them ----------------------------------------

    def preempt(self, job: str) -> None:
        """Take the job off its node: requeued if it may be, else ended."""
        self._control("preempt", job)

    def requeue(self, job: str) -> None:
        """Queue the job again, running or ended."""
        self._control("requeue", job)

    def hold(self, job: str) -> None:
        """Keep a queued job from starting."""
        self._control("hold", job)

    def release(self, job: str) -> None:
        """End a hold."""
        self._control("release", job)

    def kill_node(self, job: str) -> None:
        """The node of the job dies: SIGKILL for all its processes; requeued if it may be."""
        self._control("kill_node", job)

    def out_of_memory(self, job: str) -> None:
        """The job is killed for using too much memory."""
        self._control("out_of_memory", job)

    def forget(self, job: str) -> None:
        """Delete all that is known of the job; if it runs it is killed."""
        self._control("forget", job)

    def _control(self, *words: str) -> None:
        done = subprocess.run(
            [str(self.directory / "control"), *words], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise ValueError(done.stderr.strip() or f"control {' '.join(words)}: exit status {done.returncode}")

    def run(
        self, *words: str, cwd: str | os.PathLike[str] | None = None, env: dict[str, str] | None = None, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the stand-in, with ``env`` added and ``text`` on its stdin."""
        return subprocess.run(
            [str(self.directory / "bin" / words[0]), *words[1:]],
            cwd=cwd,
            env={**self.environment, **(env or {})},
            input=text,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=120,
            check=False,
        )

    # -- what happened -------------------------------------------------------------------

    def call_list(self, command: str | None = None) -> list[list[str]]:
        """The command lines of all calls so far, or of those of one command."""
        try:
            lines = (self.directory / "calls").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        calls: list[list[str]] = [json.loads(line) for line in lines]
        return [words for words in calls if command in (None, words[0])]

    def calls(self, command: str) -> int:
        """How many times a command was run."""
        return len(self.call_list(command))

    def idle(self) -> bool:
        """True when no job is queued or running."""
        return Store(str(self.directory)).read().live() == 0

    def wait(self, seconds: float = 30.0) -> None:
        """Wait until no job is queued or running; TimeoutError after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not self.idle():
            if time.monotonic() > deadline:
                raise TimeoutError(f"jobs are still queued or running after {seconds} s")
            time.sleep(0.02)

    def errors(self) -> str:
        """Tracebacks of the stand-in itself: "" unless it has a defect."""
        log = self.directory / "runner.log"
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


class FakePBS(StandIn):
    """PBS Pro / OpenPBS, as observed on 23.06.06.

    max_array_size: most elements of an array.
    history: whether ended jobs are remembered (``qstat -x``), for history_seconds.  A new OpenPBS remembers none.
    young_seconds: a job that is ended (qdel, a limit) is shown as running until it is so old; 10 on a real one.
    first_number: of the first job.
    several_ids_bug: ``qstat -F json`` with several ids prints only the first.
    stageout_seconds: how long output is tried to be delivered into a missing directory.
    queues, resources: known queues (the first is the default) and extra resources.
    stopped_queues, disabled_queues, closed_queues: queues that start no jobs, take none, take none of yours.
    queue_limits: the most that a job may ask for, ``{"ncpus": 4, "mem": "4gb", "walltime": "1:00:00"}``.
    max_queued_res: the most that your jobs may ask for together, ``{"ncpus": 8}``.
    queued_threshold: how many elements may be queued, None for no limit.
    """

    kind = "pbs"
    commands = (
        "qsub", "qstat", "qdel", "qselect", "qmgr", "qhold", "qrls", "qrerun", "qsig", "pbsnodes",
    )  # fmt: skip
    defaults: ClassVar[dict[str, Any]] = {
        "max_array_size": 10000,
        "history": True,
        "history_seconds": 1209600.0,
        "several_ids_bug": True,
        "young_seconds": 1.0,
        "first_number": 0,
        "stopped_queues": [],
        "disabled_queues": [],
        "closed_queues": [],
        "queue_limits": {},
        "max_queued_res": {},
        "queued_threshold": None,
        "stageout_seconds": 0.5,
        "queues": ["workq"],
        "resources": [],
        "server": "vm",
        "submit_host": "localhost",
        "version": "23.06.06",
    }


class FakeTorque(StandIn):
    """Torque 6.

    max_job_array_size: most elements of an array.
    keep_completed: how many seconds an ended job is shown as C.
    """

    kind = "torque"
    commands = ("qsub", "qstat", "qdel", "qhold", "qrls", "qrerun", "qsig", "qmgr", "pbsnodes")
    defaults: ClassVar[dict[str, Any]] = {
        "max_job_array_size": 10000,
        "keep_completed": 300.0,
        "stageout_seconds": 0.5,
        "queues": ["batch"],
        "server": "vm",
        "submit_host": "localhost",
        "version": "6.1.2",
    }


class FakeSlurm(StandIn):
    """Slurm, as observed on 22.05.8.

    max_array_size: MaxArraySize, one more than the highest index.
    accounting: whether ``sacct`` works.
    min_job_age: how many seconds an ended job is shown.
    minute: how many seconds a minute of a time limit lasts.
    oom_state: the state of a job killed for its memory, FAILED or OUT_OF_MEMORY.
    memory, partitions: of the one node c1; the first partition is the default.
    """

    kind = "slurm"
    commands = ("sbatch", "squeue", "scancel", "scontrol", "sacct", "sinfo")
    defaults: ClassVar[dict[str, Any]] = {
        "max_array_size": 1001,
        "accounting": False,
        "min_job_age": 300.0,
        "minute": 60.0,
        "oom_state": "OUT_OF_MEMORY",
        "job_requeue": True,
        "memory": 4000,
        "partitions": ["main"],
        "cluster": "cluster",
        "node": "c1",
        "version": "22.05.8",
    }
