"""The stand-in for PBS Pro and OpenPBS: its dialect, as observed on OpenPBS 23.06.06.

Here: how a job is started (environment, spooled output) and delivered, and how ids and ends
are read.  ``pbs_submit`` is qsub, ``pbs_qstat`` the answers, ``pbs_commands`` the rest.

    Job, Run --launch()--> Launch --> spool/25[3].vm.OU --finish()--> NAME.o25.3
"""

from __future__ import annotations

import os
import re
import time

from . import pbs_commands, pbs_qstat, pbs_submit
from . import processes as ps
from .dialect import Call, Dialect, Launch, remove_places
from .pbs_ids import destination, element_id
from .state import Job, Run, State, Store

#: a login shell's PATH, after the commands of the stand-in
LOGIN_PATH = "/usr/local/bin:/usr/bin:/bin"


class PBSDialect(Dialect):
    """PBS Pro."""

    def __init__(self) -> None:
        self.commands = {"qsub": pbs_submit.qsub, "qstat": pbs_qstat.qstat, **pbs_commands.COMMANDS}

    def shown_until(self, store: Store, run: Run) -> float:
        """The daemon of a node reports no end of a job that it has to end in its first seconds."""
        return run.started + float(store.config.get("young_seconds", 0.0))

    def parse_id(self, text: str) -> tuple[int, int | None]:
        """``25``, ``25[].vm``, ``25[3].vm``."""
        match = re.match(r"(\d+)(?:\[(\d*)\])?", text)
        if match is None:
            return -1, None
        return int(match[1]), int(match[2]) if match[2] else None

    def launch(self, store: Store, job: Job, run: Run) -> Launch:
        """Start from the bare environment of a login, in the home directory."""
        name = element_id(store, job, run.index)
        passed = store.kept(job.id, "env")
        env = {**job_environment(store, job, run, name, passed), **self.index_variables(store, job, run)}
        for variable, value in passed.items():
            env.setdefault(variable, value)
        os.makedirs(env["TMPDIR"], mode=0o700, exist_ok=True)
        os.makedirs(store.path("spool"), mode=0o700, exist_ok=True)
        with open(env["PBS_NODEFILE"], "w", encoding="utf-8") as file:
            file.write(store.config["submit_host"] + "\n")
        out, err = self.streams(store, job, run, name)
        launch = Launch(self.argv(store, job, env), env, self.cwd(job, env), job.x["umask"], out, err)
        launch.exec_failed = 254
        return launch

    def cwd(self, job: Job, env: dict[str, str]) -> str:
        """Where a job starts: at home, wherever qsub was called."""
        return env["HOME"]

    def argv(self, store: Store, job: Job, env: dict[str, str]) -> list[str]:
        """The first process of the job."""
        if job.x["argv"]:
            env["PATH"] = "/bin:/usr/bin"
            return list(job.x["argv"])
        # The login shell that runs the script as its child: a signal that kills the script
        # shows as 128+n, one that kills the whole session as 256+n.
        script = store.job_path(job.id, "script")
        command = '"$0" ; exit $?' if not job.x["shell"] else 'echo "$0" | ' + job.x["shell"] + " ; exit $?"
        return ["/bin/sh", "-c", command, script]

    def index_variables(self, store: Store, job: Job, run: Run) -> dict[str, str]:
        """What tells a subjob its index."""
        if not job.array:
            return {}
        return {"PBS_ARRAY_INDEX": str(run.index), "PBS_ARRAY_ID": element_id(store, job, None)}

    def streams(self, store: Store, job: Job, run: Run, name: str) -> tuple[str, str]:
        """Where the job itself writes: into the spool, or with ``-k`` to the end of the way."""
        keep, join = job.x["keep"], job.x["join"]
        paths = []
        for letter, suffix in (("o", "OU"), ("e", "ER")):
            if "d" in keep and letter in keep:
                path = destination(store, job, run, letter)
                path = path if os.path.isdir(os.path.dirname(path)) else store.path("spool", f"{name}.{suffix}")
            elif letter in keep:
                path = os.path.join(home(store, job), os.path.basename(destination(store, job, run, letter, "")))
            else:
                path = store.path("spool", f"{name}.{suffix}")
            paths.append(path)
        out, err = paths
        return (out, out) if join == "oe" else (err, err) if join == "eo" else (out, err)

    def finish(self, store: Store, job: Job, run: Run, launch: Launch) -> bool:
        """Stage out: move the spooled output to where it was wanted."""
        delivered = True
        for letter, path in (("o", launch.stdout), ("e", launch.stderr)):
            if launch.stdout == launch.stderr and letter == ("e" if job.x["join"] == "oe" else "o"):
                continue
            if letter in job.x["remove"]:
                _unlink(path)
            elif os.path.dirname(path) == store.path("spool"):
                delivered &= _deliver(store, path, destination(store, job, run, letter), job.x["umask"])
        ps_name = element_id(store, job, run.index)
        _remove_tree(store.path("tmp", f"pbs.{ps_name}"))
        _unlink(store.path("aux", ps_name))
        return delivered

    def last_words(self, store: Store, job: Job, run: Run, cause: str) -> str:
        """What the MOM writes into stderr."""
        if cause == "walltime":
            used = int(time.time() - run.started) + 1
            return f"=>> PBS: job killed: walltime {used} exceeded limit {int(job.walltime)}\n"
        if cause == "memory":
            return "=>> PBS: job killed: mem 1048577kb exceeded limit 1048576kb\n"
        return ""

    def down(self, call: Call) -> None:
        """The server does not answer."""
        server = call.config["server"]
        if call.name == "qdel":
            call.err(f"Connection refused\nqdel: Couldn't connect to cluster: {server}", 162)
        else:
            code = 255 if call.name == "qstat" else 162
            call.err(f"Connection refused\n{call.name}: cannot connect to server {server} (errno=15010)", code)

    def purge(self, store: Store, state: State, now: float) -> None:
        """Without history a job that has ended is forgotten at once."""
        age = store.config["history_seconds"] if store.config["history"] else 0.0
        old = [job.id for job in state.jobs.values() if job.ended and now >= job.ended + age]
        for number in old:
            del state.jobs[number]
        remove_places(store, old)


def home(store: Store, job: Job) -> str:
    """The home directory, as qsub saw it."""
    return str(store.kept(job.id, "env")["PBS_O_HOME"])


def job_environment(store: Store, job: Job, run: Run, name: str, passed: dict[str, str]) -> dict[str, str]:
    """What PBS puts into the environment of every job."""
    os.makedirs(store.path("aux"), mode=0o700, exist_ok=True)
    cpus = str(job.cpus)
    return {
        "ENVIRONMENT": "BATCH",
        "HOME": passed["PBS_O_HOME"],
        "LOGNAME": passed["PBS_O_LOGNAME"],
        "USER": passed["PBS_O_LOGNAME"],
        "SHELL": passed["PBS_O_SHELL"],
        "PATH": f"{store.bin}:{LOGIN_PATH}",
        "NCPUS": cpus,
        "OMP_NUM_THREADS": cpus,
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBCOOKIE": f"{job.id:032X}",
        "PBS_JOBDIR": passed["PBS_O_HOME"],
        "PBS_JOBID": name,
        "PBS_JOBNAME": job.name,
        "PBS_MOMPORT": "15003",
        "PBS_NODEFILE": store.path("aux", name),
        "PBS_NODENUM": "0",
        "PBS_QUEUE": job.x["queue"],
        "PBS_TASKNUM": "1",
        "TMPDIR": store.path("tmp", f"pbs.{name}"),
        ps.MARK: store.directory,
        "CLUSTERFUTURES_STANDIN": store.directory,
    }


def _deliver(store: Store, spooled: str, wanted: str, umask: int) -> bool:
    try:
        with open(spooled, "rb") as file:
            data = file.read()
    except OSError:
        return True
    try:
        target = os.open(wanted, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666 & ~umask)
    except OSError:
        time.sleep(store.config["stageout_seconds"])
        os.makedirs(store.path("undelivered"), exist_ok=True)
        os.replace(spooled, store.path("undelivered", os.path.basename(spooled)))
        return False
    with os.fdopen(target, "wb") as file:
        os.fchmod(target, 0o666 & ~umask) if os.path.isfile(wanted) else None
        file.write(data)
    _unlink(spooled)
    return True


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _remove_tree(path: str) -> None:
    """shutil.rmtree, without what shutil imports."""
    for place, directories, files in os.walk(path, topdown=False):
        for name in files:
            _unlink(os.path.join(place, name))
        for name in directories:
            inner = os.path.join(place, name)
            if os.path.islink(inner):
                _unlink(inner)
            else:
                os.rmdir(inner)
    try:
        os.rmdir(path)
    except OSError:
        pass
