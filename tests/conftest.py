"""Where tests run: four grounds with one face, and the proof that a test left nothing behind.

    def test_it(ground):                              runs once on each ground
        with ground.executor(max_workers=2) as ex:
            ...

    @pytest.mark.on("slurm")                          generated for these grounds only

    local    LocalExecutor                slurm    a real Slurm of four nodes, one per session
    pbs      the stand-in for OpenPBS     torque   the stand-in for Torque, each fresh per test

    @pytest.mark.flaky_scheduler              with commands that fail (see ``flaky_scheduler.py``)
    pytest --flaky-scheduler                  all of them so, but those marked ``steady(reason)``

With ``--lagging`` the runs of ``local`` and ``slurm`` are on a directory that client and nodes see
through caches that lag ten seconds (see ``lagging.py``), and nothing else is tested. With ``--glusterfs`` they
are on a real network file system, of which each side has a client of its own (see ``gluster.py``).

After each test ``Ground.close`` looks, without the help of the code under test, for what
is left of it: jobs in the scheduler, processes (all that a test starts carry ``MARK`` in
their environment), threads, files.  A test has a time limit; when it is reached the stacks
of all threads are written to stderr, and whatever the test started is killed.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import faulthandler
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flaky_scheduler
import other_slurm
import pytest
from gluster import GlusterDirectory
from lagging import LOCAL_SUBPROCESS, LaggingDirectory, LaggingSlurm, LaggingSubprocess

import clusterfutures
from clusterfutures.executors import ClusterExecutor
from clusterfutures.futures import ClusterFuture
from clusterfutures.testing import FakePBS, FakeTorque, StandIn, real_slurm
from clusterfutures.testing.processes import kill
from clusterfutures.testing.real_slurm import RealSlurm
from clusterfutures.testing.state import DONE, Store

#: the variable by which everything that a test starts is known
MARK = "CONTRACT_TEST"
#: seconds for one test, its set-up and what is looked for after it included
TIME_LIMIT = int(os.environ.get("TEST_TIME_LIMIT", "120"))
#: and where the scheduler's commands fail
FLAKY_TIME_LIMIT = 240
#: how many times as long as usual results may take there, and what else takes time, in seconds
FLAKY_PATIENCE = 4
FLAKY_SLACK = 60.0
#: seconds that jobs, processes, threads and files may take to go away
LEAVING_SECONDS = 30.0
GROUNDS = ("local", "slurm", "pbs", "torque")
#: of these the nodes can have another view of the shared directory than the client
LAGGING_GROUNDS = ("local", "slurm")

_status = 0
_threads_reported: set[threading.Thread] = set()


class Ground:
    """One scheduler to run executors on.  ``runs`` is where their directories live.

    executor: makes an executor; it is shut down at the end of the test.
    jobs: ids of jobs that the scheduler still has.  end_job: ends one from outside.
    """

    name: str
    executor_name: str
    #: seconds from a submission to a running job, roughly; tests scale their limits by it
    start_seconds = 0.5
    #: seconds that scheduler commands which fail and are slow may add to anything
    slack = 0.0
    idle_timeout = 2.0

    def __init__(self, directory: Path, lagging: LaggingDirectory | None = None) -> None:
        self.directory = directory
        self.runs = directory / "runs" if lagging is None else lagging.runs()
        self.work = directory / "work"
        self.work.mkdir()
        self.mark = uuid.uuid4().hex
        self._executors: list[ClusterExecutor] = []

    def executor(self, **options: Any) -> ClusterExecutor:
        """An executor of this ground, with workers that do not stay long."""
        options = {"max_workers": 2, "idle_timeout": self.idle_timeout, "directory": self.runs} | options
        made: ClusterExecutor = getattr(clusterfutures, self.executor_name)(**options)
        self._executors.append(made)
        return made

    def script(
        self, text: str, *arguments: str, wait: bool = True, stdin: bool = False, future: str = ""
    ) -> subprocess.Popen[str]:
        """Run ``text`` as a program of its own, in which ``executor()`` makes an executor.

        wait: until it has ended, and well.  stdin: the program comes from there.
        future: a line that must be the first.
        """
        path = self.work / f"program_{uuid.uuid4().hex[:8]}.py"
        path.write_text(future + _PREAMBLE + text)
        root = str(Path(clusterfutures.__file__).resolve().parents[1])
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([root, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).rstrip(":"),
            "CONTRACT_EXECUTOR": self.executor_name,
            "CONTRACT_RUNS": str(self.runs),
        }
        with open(path if stdin else os.devnull) as source:
            program = subprocess.Popen(
                [sys.executable, "-" if stdin else str(path), *arguments],
                stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=self.work,
            )  # fmt: skip
        if wait:
            program.said, program.complaint = program.communicate()  # type: ignore[attr-defined]
            assert program.returncode == 0, program.complaint  # type: ignore[attr-defined]
        return program

    def jobs(self) -> set[str]:
        """Ids of the jobs that the scheduler has for us, waiting or running."""
        raise NotImplementedError

    def end_job(self, job_id: str) -> None:
        """End a job as its user would from a shell."""
        raise NotImplementedError

    def run_directory(self) -> Path:
        """The directory of the only run there is."""
        (found,) = self.runs.iterdir()
        return found

    def batches(self) -> int:
        """How many times jobs were submitted, in the only run there is (``keep=True``)."""
        return len(list((self.run_directory() / "scripts").iterdir()))

    def processes(self) -> dict[int, str]:
        """What lives of all that the test started: command lines by process id."""
        return _marked(self.mark)

    def close(self) -> list[str]:
        """Shut down what the test did not; tells what does not go away."""
        for executor in self._executors:
            executor.shutdown(wait=True, cancel_futures=True)
        settings = [executor._client.settings for executor in self._executors]
        kept = [one for one in settings if one.keep or one.run]
        self._executors.clear()
        deadline = time.monotonic() + LEAVING_SECONDS
        while (left := self._left(bool(kept))) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left

    def _left(self, kept: bool) -> list[str]:
        left = [f"process {pid}: {command}" for pid, command in self.processes().items()]
        left += [f"job {job_id}" for job_id in self.jobs()]
        left += [f"thread {thread.name}" for thread in _threads() if thread not in _threads_reported]
        if self.runs.exists() and not kept:
            left += [f"file {path}" for path in self.runs.iterdir()]
        return left

    def raze(self) -> None:
        """After a failure: end everything, so that it cannot disturb the next test."""
        for job_id in self.jobs():
            self.end_job(job_id)
        kill(list(self.processes()))
        _threads_reported.update(_threads())


class LocalGround(Ground):
    name, executor_name = "local", "LocalExecutor"

    def jobs(self) -> set[str]:
        found = set()
        for pid in self.processes():
            job_id = _environment(pid).get("CLUSTERFUTURES_JOB_ID", "")
            if os.getpid() != pid and job_id:
                found.add(job_id)
        return found

    def end_job(self, job_id: str) -> None:
        for pid in self.processes():
            if _environment(pid).get("CLUSTERFUTURES_JOB_ID") == job_id:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)


class SlurmGround(Ground):
    name, executor_name = "slurm", "SlurmExecutor"
    start_seconds = 1.5

    def __init__(self, directory: Path, slurm: RealSlurm, lagging: LaggingDirectory | None) -> None:
        super().__init__(directory, lagging)
        self.slurm = slurm

    def jobs(self) -> set[str]:
        answer = self.slurm.run("squeue", "-h", "-r", "-o", "%i")
        assert answer.returncode == 0, answer.stderr
        return set(answer.stdout.split())

    def end_job(self, job_id: str) -> None:
        self.slurm.run("scancel", job_id)


class StandInGround(Ground):
    executor_name = "PBSExecutor"

    def __init__(self, directory: Path, name: str, standin: StandIn) -> None:
        super().__init__(directory)
        self.name = name
        self.standin = standin

    def jobs(self) -> set[str]:
        state = Store(str(self.standin.directory)).read()
        found = set()
        for job in state.jobs.values():
            alive = [*job.waiting, *(index for index, run in job.runs.items() if run.phase != DONE)]
            found |= {f"{job.id}[{index}]" if job.array else str(job.id) for index in alive}
        return found

    def end_job(self, job_id: str) -> None:
        self.standin.run("qdel", job_id)

    def close(self) -> list[str]:
        left = super().close()
        defects = self.standin.errors()
        return [*left, f"a defect of the stand-in: {defects}"] if defects else left


#: starts a cluster for one test
OwnSlurm = Callable[..., SlurmGround]

_PREAMBLE = """\
import os
import clusterfutures

def executor(**options):
    options = {"max_workers": 2, "idle_timeout": 2.0, "directory": os.environ["CONTRACT_RUNS"]} | options
    return getattr(clusterfutures, os.environ["CONTRACT_EXECUTOR"])(**options)

"""


# -- looking around -------------------------------------------------------------------


def _environment(pid: int) -> dict[str, str]:
    try:
        content = Path("/proc", str(pid), "environ").read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return {}  # gone, or not ours
    return dict(item.partition("=")[::2] for item in content.split("\0"))


def _marked(mark: str) -> dict[int, str]:
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        if int(name) == os.getpid() or _environment(int(name)).get(MARK) != mark:
            continue
        with contextlib.suppress(OSError):
            command = Path("/proc", name, "cmdline").read_bytes().replace(b"\0", b" ")
            found[int(name)] = command.decode("utf-8", "replace")
    return found


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("clusterfutures")]


# -- fixtures -------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--flaky-scheduler", type=int, nargs="?", const=1, metavar="SEED", dest="flaky_scheduler",
        help="the contract tests on schedulers whose commands fail one time in three and take up to 5 s",
    )  # fmt: skip
    parser.addoption("--pipeline", type=int, metavar="JOBS", help="the size of test_pipeline.py on every scheduler")
    parser.addoption("--slurm", metavar="VERSION", help="with this Slurm, if need be in a root (see other_slurm.py)")
    parser.addoption("--glusterfs", action="store_true", help="runs are on GlusterFS, mounted once for each side")
    parser.addoption(
        "--dropin-grounds", default="local,slurm", metavar="NAMES", help="where the scripts of tests/dropin run"
    )
    parser.addoption("--lagging", action="store_true", help="runs are on a directory that both sides see late")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """With ``--slurm``: all of this once more, where that version is."""
    wanted = config.getoption("--slurm")
    return (
        other_slurm.run(wanted, list(config.invocation_params.args), config.invocation_params.dir) if wanted else None
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What an option leaves: of all tests those that make sense with it."""
    chosen = items
    if config.getoption("flaky_scheduler") is not None:
        chosen = [item for item in chosen if not item.get_closest_marker("steady")]
    if config.getoption("--lagging") or config.getoption("--glusterfs"):
        chosen = [item for item in chosen if _can_lag(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def _can_lag(item: pytest.Item) -> bool:
    """It runs on a ground whose two sides can have views of their own, on a directory that is not special itself."""
    ground = item.callspec.params.get("ground") if hasattr(item, "callspec") else None
    return ground in LAGGING_GROUNDS and item.get_closest_marker("own_directory") is None


def _seed(request: pytest.FixtureRequest) -> int | None:
    """The seed of a scheduler whose commands fail; None where they do not."""
    seed: int | None = request.config.getoption("flaky_scheduler")
    return 1 if seed is None and request.node.get_closest_marker("flaky_scheduler") else seed


def _make_flaky(ground: Ground, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the scheduler's commands fail, but not those with which the test itself looks."""
    if isinstance(ground, SlurmGround):
        monkeypatch.setitem(ground.slurm.environment, "PATH", os.environ["PATH"])
    monkeypatch.setenv("PATH", flaky_scheduler.install(str(ground.directory / "flaky"), seed))
    import contract_tasks  # found only where contract tests are collected

    ground.slack, ground.idle_timeout = FLAKY_SLACK, 20.0
    monkeypatch.setattr(contract_tasks, "PATIENCE", FLAKY_PATIENCE)
    for owner, name in ((ClusterFuture, "result"), (ClusterFuture, "exception"), (concurrent.futures, "wait")):
        monkeypatch.setattr(owner, name, _patient(getattr(owner, name)))


def _patient(function: Callable[..., Any]) -> Callable[..., Any]:
    """What waits for one or more futures, waiting longer than the test says."""

    def patient(futures: Any, timeout: float | None = None, *rest: Any, **more: Any) -> Any:
        return function(futures, timeout and timeout * FLAKY_PATIENCE, *rest, **more)

    return patient


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in the background of a shell: what tests start could not be interrupted.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # What programs of a user share on a host: nobody's own, and nothing of it is left.
    os.environ["CLUSTERFUTURES_CACHE"] = tempfile.mkdtemp(prefix="clusterfutures-tests-")
    for variable in ("CLUSTERFUTURES_CONFIG", "CLUSTERFUTURES_SITE_CONFIG"):  # nobody's own settings
        os.environ[variable] = str(Path(tempfile.gettempdir(), f"no-configuration-{uuid.uuid4().hex}", "config.toml"))
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="clusterfutures-tests-")  # nobody's own queue
    config.addinivalue_line("markers", "flaky_scheduler: the scheduler's commands fail one time in three")
    config.addinivalue_line("markers", "steady(reason): makes no sense where they do")
    config.addinivalue_line("markers", "on(*grounds): the grounds that a test is generated for")
    config.addinivalue_line("markers", "own_directory: the test mounts something where its runs are")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "ground" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("on")
        names = marker.args if marker else GROUNDS
        if names == ("dropin",):
            names = tuple(metafunc.config.getoption("--dropin-grounds").split(","))
        metafunc.parametrize("ground", names, indirect=True)


@pytest.fixture(scope="session")
def lagging(request: pytest.FixtureRequest) -> Iterator[LaggingDirectory | None]:
    """With ``--lagging`` or ``--glusterfs``: the session's directory of which each side has its own view."""
    kinds = {"--lagging": LaggingDirectory, "--glusterfs": GlusterDirectory}
    wanted = [kind for option, kind in kinds.items() if request.config.getoption(option)]
    if not wanted:
        yield None
        return
    with contextlib.closing(wanted[0]()) as directory:
        yield directory


@pytest.fixture(scope="session")
def real_slurm_or_none(lagging: LaggingDirectory | None) -> Iterator[RealSlurm | None]:
    """The session's Slurm, or None where it is not installed."""
    if real_slurm.missing():
        yield None
        return
    with RealSlurm() if lagging is None else LaggingSlurm(lagging) as cluster:
        yield cluster


@pytest.fixture
def real_slurm_cluster(real_slurm_or_none: RealSlurm | None) -> RealSlurm:
    """The session's Slurm of four nodes with two cores each."""
    if real_slurm_or_none is None:
        pytest.fail(real_slurm.INSTALL_HINT)
    return real_slurm_or_none


@pytest.fixture
def time_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """Interrupts the test, and then again whatever hangs after it."""
    seconds = TIME_LIMIT if _seed(request) is None else FLAKY_TIME_LIMIT
    seconds += 3 * (request.config.getoption("pipeline") or 0)

    def interrupt(_number: int, _frame: object) -> None:
        faulthandler.dump_traceback(all_threads=True)
        pytest.fail(f"not done after {seconds} s; the stacks of all threads are in stderr", pytrace=False)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds / 2)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def ground(
    request: pytest.FixtureRequest, time_limit: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ground]:
    """One of the grounds, with a run directory of its own, and a look at what is left."""
    with contextlib.ExitStack() as stack:
        made = _made(request, tmp_path, monkeypatch, stack)
        monkeypatch.setenv(MARK, made.mark)
        monkeypatch.setenv("CLUSTERFUTURES_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        seed = _seed(request)
        if seed is not None:
            _make_flaky(made, seed, monkeypatch)
        monkeypatch.chdir(made.work)
        try:
            yield made
            left = made.close()
        except BaseException:
            made.raze()
            raise
        if left:
            made.raze()
            pytest.fail("left behind:\n" + "\n".join(left), pytrace=False)


@pytest.fixture
def own_slurm(time_limit: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnSlurm]:
    """Starts a cluster for one test, as a ground; looks for what is left, as ``ground`` does."""
    if real_slurm.missing():
        pytest.fail(real_slurm.INSTALL_HINT)
    with contextlib.ExitStack() as clusters:
        made: list[SlurmGround] = []

        def start(**options: Any) -> SlurmGround:
            cluster = clusters.enter_context(RealSlurm(**options))
            made.append(SlurmGround(tmp_path, cluster, None))
            shared = {MARK: made[-1].mark, "CLUSTERFUTURES_CACHE": str(tmp_path / "cache")}
            for variable, value in {**cluster.environment, **shared}.items():
                monkeypatch.setenv(variable, value)
            monkeypatch.chdir(made[-1].work)
            return made[-1]

        try:
            yield start
            left = [line for ground in made for line in ground.close()]
        except BaseException:
            for ground in made:
                ground.raze()
            raise
        if left:
            for ground in made:
                ground.raze()
            pytest.fail("left behind:\n" + "\n".join(left), pytrace=False)


def _made(
    request: pytest.FixtureRequest, directory: Path, monkeypatch: pytest.MonkeyPatch, stack: contextlib.ExitStack
) -> Ground:
    name = request.param
    lagging = request.getfixturevalue("lagging")
    if name == "local":
        if lagging is not None:
            monkeypatch.setattr(LOCAL_SUBPROCESS, LaggingSubprocess(lagging))
        return LocalGround(directory, lagging)
    if name == "slurm":
        cluster = request.getfixturevalue("real_slurm_cluster")
        for variable, value in cluster.environment.items():
            monkeypatch.setenv(variable, value)
        return SlurmGround(directory, cluster, lagging)
    standin = (FakePBS if name == "pbs" else FakeTorque)(directory / "standin")
    return StandInGround(directory, name, stack.enter_context(standin))


# -- a thread that hangs must not keep the interpreter from ending -----------------------


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    global _status
    _status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(os.environ.pop("CLUSTERFUTURES_CACHE"), ignore_errors=True)
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)
    if _threads_reported & set(_threads()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_status or 1)


@pytest.fixture
def user(tmp_path: Path) -> Any:
    """Somebody who works with ``cluf`` in a directory of their own (tests/cluf)."""
    from cluf_user import User

    return User(tmp_path, {})
