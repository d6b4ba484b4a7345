"""A real Slurm on the loopback of one machine, for tests, benchmarks and demonstrations.

    with RealSlurm() as slurm:
        slurm.run("sbatch", "job.sh")           # or put slurm.environment into os.environ

    start:  directory, ports, key, slurm.conf -> guard -> munged -> slurmctld, one slurmd a node -> all answer
    stop:   scancel all -> TERM to the daemons -> KILL to whatever is left -> remove the directory

Who belongs to the cluster is written nowhere but in the environment of its processes, so it cannot get out
of step with them: a daemon carries ``MARK=directory:role`` (slurmstepd inherits it from its slurmd), a
process of a job carries our SLURM_CONF and the SLURMD_NODENAME that Slurm gave it.  Both, and all that
descends from them, are found by a look into /proc, by any program, also after a start that failed half-way.
The *guard*, a process of ours, does so when the program that started the cluster dies without a word.

    python -m clusterfutures.testing.real_slurm start [--directory D]     eval its output
    python -m clusterfutures.testing.real_slurm stop --directory D
    python -m clusterfutures.testing.real_slurm run -- COMMAND...
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import getpass
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

__all__ = ["INSTALL_HINT", "RealSlurm", "RealSlurmError", "missing"]

INSTALL_HINT = "install Slurm and MUNGE first, on Debian and Ubuntu: apt-get install slurm-wlm munge"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
DAEMONS = ("munged", "slurmctld", "slurmscriptd", "slurmd")
MARK = "CLUSTERFUTURES_REAL_SLURM"
# An ordinary user's PATH often lacks the directories of the daemons.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
# A socket's path must be shorter than 108 bytes; slurmstepd appends "spool/c1/c1_<job>.<step>..." to ours.
LONGEST_DIRECTORY = 50

# No cgroups (a container may not write them), no accounting; nodes may claim more than the machine has
# (config_overrides); a job that can start is started at once.
SETTINGS = """
ClusterName=clusterfutures SlurmctldHost={host}(127.0.0.1) SlurmctldPort={port} {listen}
SlurmUser={user} SlurmdUser={user} AuthInfo=socket={directory}/munge.socket
AccountingStorageType=accounting_storage/none
StateSaveLocation={directory}/state SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/slurmctld.pid SlurmdPidFile={directory}/%n.pid
SlurmctldLogFile={directory}/log/slurmctld.log SlurmdLogFile={directory}/log/%n.log
ProctrackType=proctrack/linuxproc TaskPlugin=task/none JobAcctGatherType=jobacct_gather/linux MailProg=/bin/true
SelectType=select/cons_tres SelectTypeParameters=CR_Core SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
ReturnToService=2 SlurmdTimeout=15 MinJobAge=60 KillWait={kill_wait} MaxArraySize={max_array_size} MaxJobCount=100000
"""
NODE = "NodeName={} NodeHostname=localhost NodeAddr=127.0.0.1 CPUs={} RealMemory={} State=UNKNOWN Port={}"
PARTITIONS = """\
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=ALL MaxTime=5 State=UP
PartitionName=down Nodes=ALL MaxTime=INFINITE State=DOWN"""


class RealSlurmError(RuntimeError):
    """The cluster cannot be started, reached or stopped."""


class Process(NamedTuple):
    """A process of the cluster; the role is ``munged``, ``slurmctld`` or the name of a node."""

    pid: int
    role: str
    program: str


def missing() -> list[str]:
    """Return the programs that are not installed; ``INSTALL_HINT`` says how to get them."""
    return [name for name in PROGRAMS if shutil.which(name, path=SEARCH_PATH) is None]


class RealSlurm:
    """One cluster of real daemons, with nodes c1, c2 ... and partitions main, short (5 minutes) and down.

    ``directory`` must be new or empty; ``stop`` removes it.  ``extra_conf`` is text for slurm.conf; a setting
    in it replaces ours of the same name.  A program that shall speak to the cluster needs ``environment``.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        nodes: int = 4,
        cpus: int = 2,
        memory: int = 4000,
        max_array_size: int = 1001,
        extra_conf: str = "",
        *,
        kill_wait: int = 5,
    ) -> None:
        self.directory = Path(directory or Path(tempfile.gettempdir(), f"cfslurm-{os.urandom(4).hex()}")).absolute()
        self.conf_path = self.directory / "slurm.conf"
        self.environment = {"SLURM_CONF": str(self.conf_path)}
        self._running = False  # from the first thing that would have to be undone
        self._owner = os.getpid()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._held: list[socket.socket] = []  # our ports, against other clusters
        self.nodes = [f"c{number}" for number in range(1, nodes + 1)]
        self.ports: dict[str, int] = {}
        self._node_size = (cpus, memory)
        self._values: dict[str, object] = {"kill_wait": kill_wait, "max_array_size": max_array_size}
        self._extra_conf = extra_conf

    @classmethod
    def attach(cls, directory: str | os.PathLike[str]) -> RealSlurm:
        """Return a handle on a cluster that another program started."""
        cluster = cls(directory)
        conf = cluster.conf_path.read_text() if cluster.conf_path.is_file() else ""
        if f"StateSaveLocation={cluster.directory}/state\n" not in conf:  # stop() must not remove what is not ours
            raise RealSlurmError(f"no cluster was started in {cluster.directory}")
        found = re.findall(r"^(?:NodeName=(c\d+) .*|Slurmctld)Port=(\d+)$", conf, re.MULTILINE)
        cluster.ports = {name or "slurmctld": int(port) for name, port in found}
        cluster.nodes = [role for role in cluster.ports if role != "slurmctld"]
        cluster._running = True
        return cluster

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def run(self, *argv: str, timeout: float | None = 60) -> subprocess.CompletedProcess[str]:
        """Run a command against this cluster, and return its exit status and output."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=timeout, check=False)

    def start(self, *, detach: bool = False) -> None:
        """Start the daemons and wait until jobs can run; ``detach`` lets them outlive this program."""
        if self._running:
            raise RealSlurmError(f"the cluster in {self.directory} is running already")
        if absent := missing():
            raise RealSlurmError(f"not installed: {', '.join(absent)}; {INSTALL_HINT}")
        _make_directory(self.directory)
        self._owner, self._running = os.getpid(), True
        try:
            self._write_files()
            if not detach:
                # By path and isolated: the guard must start whatever our directory, PYTHONPATH or environment.
                argv = [sys.executable, "-I", "-S", str(Path(__file__).absolute()), "guard"]
                self._spawn("guard", [*argv, f"--directory={self.directory}", f"--parent={os.getpid()}"], {})
                atexit.register(self.stop)
            self._start_munged()
            self._start_daemons(*self.ports)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all daemons and jobs and remove the directory; does nothing if there is no cluster."""
        if not self._running or os.getpid() != self._owner:  # a forked child must not stop its parent's cluster
            return
        self._cancel_jobs()
        self._end(lambda process: process.role != "munged", patience=1)  # they need it to the last
        self._end(lambda process: True, patience=1)
        while self._children:  # the guard is left; the others are zombies
            _, child = self._children.popitem()
            child.kill()
            child.wait()
        while self._held:
            self._held.pop().close()
        shutil.rmtree(self.directory)
        atexit.unregister(self.stop)
        self._running = False

    def stop_controller(self, *, kill: bool = False) -> None:
        """Stop slurmctld as an administrator would; with ``kill``, as a crash would (it forgets recent jobs)."""
        self._end(lambda process: process.role == "slurmctld", patience=0 if kill else 10)

    def start_controller(self) -> None:
        self._start_daemons("slurmctld")

    def stop_node(self, name: str, *, jobs: bool = False) -> None:
        """Kill a node's slurmd, and with ``jobs`` also its slurmstepd and all processes of its jobs."""
        self._end(lambda it: it.role == name and (jobs or it.program == "slurmd"), patience=0)

    def lose_node(self, name: str) -> None:
        """Kill a node with all that runs on it, and set it DOWN, as the controller would after ``SlurmdTimeout``."""
        self.stop_node(name, jobs=True)
        # An answer that was on its way when it was killed would return it to service (24.11 and later), and
        # nothing tells when there is none any more.
        time.sleep(1.5)
        self.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=gone")

    def start_node(self, name: str) -> None:
        self._start_daemons(name)

    def _write_files(self) -> None:
        directory = self.directory
        directory.chmod(0o755)  # other users' jobs need the socket and slurm.conf
        for name in ("log", "state", *(f"spool/{node}" for node in self.nodes)):
            (directory / name).mkdir(parents=True)
        key = directory / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        self._held = _hold_ports(1 + len(self.nodes))
        numbers = [held.getsockname()[1] for held in self._held]
        self.ports = dict(zip(["slurmctld", *self.nodes], numbers, strict=True))
        self.conf_path.write_text(self._slurm_conf())

    def _slurm_conf(self) -> str:
        values = {"host": socket.gethostname().partition(".")[0], "listen": _listen_setting(), **self._values}
        values |= {"user": getpass.getuser(), "directory": self.directory, "port": self.ports["slurmctld"]}
        theirs = {line.partition("=")[0].strip().lower() for line in self._extra_conf.splitlines()}
        ours = [item.format(**values) for item in SETTINGS.split() if item.partition("=")[0].lower() not in theirs]
        nodes = [NODE.format(name, *self._node_size, self.ports[name]) for name in self.nodes]
        return "\n".join([*ours, *nodes, PARTITIONS, self._extra_conf, ""])

    def processes(self) -> list[Process]:
        """Return all live processes of the cluster, those of its jobs included."""
        mark, node = f"{MARK}={self.directory}:".encode(), b"SLURMD_NODENAME="
        conf = f"SLURM_CONF={self.conf_path}".encode()
        parents: dict[int, int] = {}
        programs: dict[int, str] = {}
        roles: dict[int, str] = {}
        for pid, parents[pid], programs[pid], environ in _look_at_all():
            for item in environ:
                if item.startswith(mark) or (item.startswith(node) and conf in environ):
                    roles[pid] = item.removeprefix(mark).removeprefix(node).decode()
            if programs[pid] == "slurmstepd" and pid not in roles and (by_log := self._role_by_log(pid)):
                roles[pid] = by_log
        for pid in parents:  # a job may clear its environment, but not its ancestors
            line = [pid]
            while line[-1] not in roles and line[-1] in parents:
                line.append(parents[line[-1]])
            if role := roles.get(line[-1]):
                roles.update(dict.fromkeys(line, role))
        return [Process(pid, role, programs[pid]) for pid, role in roles.items() if pid != os.getpid()]

    def _role_by_log(self, pid: int) -> str:
        """The node of a slurmstepd, by the log that it writes: from 24.11 on its title covers all its environment."""
        with contextlib.suppress(OSError):  # it ends meanwhile
            for descriptor in Path("/proc", str(pid), "fd").iterdir():
                log = Path(os.readlink(descriptor))
                if log.parent == self.directory / "log":
                    return log.stem
        return ""

    def _end(self, chosen: Callable[[Process], bool], patience: float) -> None:
        """End the chosen processes: TERM to the daemons among them, and after ``patience`` KILL to all."""

        def left(number: int, daemons_only: bool) -> list[Process]:
            found = [it for it in self.processes() if chosen(it) and (it.program in DAEMONS or not daemons_only)]
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)
            return found

        if patience and left(signal.SIGTERM, True):
            _wait_until(lambda: not left(0, True), patience)
        # Again and again, because a process that is being killed may just have forked.
        if not _wait_until(lambda: not left(signal.SIGKILL, False), 10):
            raise RealSlurmError(f"these survive SIGKILL: {left(0, False)}")
        for child in self._children.values():
            child.poll()  # leave no zombie

    def _cancel_jobs(self) -> None:
        """Give jobs the ordinary end, if the controller is there to do it and they are quick about it."""
        up = self.ports and _accepts(self.ports["slurmctld"])
        if up and (jobs := self._ask("squeue", "--all", "-h", "-o", "%A").split()):
            self._ask("scancel", *jobs)
            _wait_until(lambda: all(process.program in DAEMONS for process in self.processes()), 2)

    def _start_munged(self) -> None:
        files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid"}
        files |= {"seed-file": "munge.seed", "log-file": "log/munged.log"}
        options = [f"--{option}={self.directory / name}" for option, name in files.items()]
        self._spawn_daemon("munged", "munged", "--foreground", "--force", *options)
        self._await("munged", (self.directory / "munge.socket").exists)

    def _start_daemons(self, *roles: str) -> None:
        for role in roles:
            self._spawn_daemon(role, *(["slurmctld", "-D"] if role == "slurmctld" else ["slurmd", "-D", "-N", role]))
        for role in roles:  # the ports first: scontrol itself would retry a refused connection for many seconds
            self._await(role, partial(_accepts, self.ports[role]))
        alive = {process.role for process in self.processes() if process.program in DAEMONS}
        if "slurmctld" in alive:
            self._await("slurmctld", lambda: self._ask("scontrol", "ping").endswith("is UP"))
            for name in alive.intersection(self.nodes):
                self._await(name, partial(self._registered, name))

    def _spawn_daemon(self, role: str, program: str, *options: str) -> None:
        # The daemons write their titles over the beginning of their environment: padding first, the mark last.
        environment = {"PADDING": "x" * 512, "PATH": SEARCH_PATH, "LANG": "C.UTF-8", **self.environment}
        argv = [shutil.which(program, path=SEARCH_PATH) or program, *options]
        self._spawn(role, argv, {**environment, MARK: f"{self.directory}:{role}"})

    def _spawn(self, role: str, argv: list[str], env: dict[str, str]) -> None:
        # A session of its own: Ctrl-C in a terminal is for the program, which then stops us in good order.
        with open(self.directory / "log" / f"{role}.err", "ab") as log:
            self._children[role] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=env, start_new_session=True
            )

    def _registered(self, name: str) -> bool:
        state = self._ask("sinfo", "-h", "-p", "main", "-n", name, "-o", "%T")
        return state != "" and not state.startswith(("down", "unknown")) and not state.endswith("*")

    def _ask(self, *argv: str) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.run(*argv, timeout=5).stdout.strip()
        return ""

    def _await(self, role: str, condition: Callable[[], bool]) -> None:
        def ended() -> bool:
            return role in self._children and self._children[role].poll() is not None

        if not _wait_until(lambda: ended() or condition(), 30) or ended():
            what = f"ended with status {self._children[role].returncode}" if ended() else "did not get ready"
            text = (self.directory / "log" / f"{role}.err").read_text(errors="replace")
            raise RealSlurmError("\n    ".join([f"{role} {what}; the end of its log:", *text.splitlines()[-15:]]))


def _wait_until(condition: Callable[[], bool], limit: float) -> bool:
    deadline = time.monotonic() + limit
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _listen_setting() -> str:
    # It means the address of the host's name, whatever slurm.conf says elsewhere (22.05.8); often it is not ours.
    with contextlib.suppress(OSError):
        if socket.gethostbyname(socket.gethostname()) == "127.0.0.1":
            return "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny"
    return ""


def _hold_ports(count: int) -> list[socket.socket]:
    """Reserve ports for a cluster.  Its daemons allow the reuse of a port and get them; another cluster does not."""
    # Not port 0, which gives ephemeral ones: while a daemon is stopped for a test, any outgoing connection
    # could take such a port, even the one that tries to reach the daemon (it then connects to itself).
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    held: list[socket.socket] = []
    for port in random.SystemRandom().sample(range(10000, max(low, 20000)), k=500):
        probe = socket.socket()
        try:
            probe.bind(("", port))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not before: this one must be alone
        except OSError:
            probe.close()
            continue
        held.append(probe)
        if len(held) == count:
            break
    return held


def _make_directory(path: Path) -> None:
    if len(str(path)) > LONGEST_DIRECTORY or not re.fullmatch(r"[\w./+-]+", str(path), re.ASCII):
        raise RealSlurmError(f"{path}: must be at most {LONGEST_DIRECTORY} characters, without blanks")
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise RealSlurmError(f"{path} is not empty; stop the cluster in it, or give another directory")


def _look_at_all() -> Iterator[tuple[int, int, str, list[bytes]]]:
    """Yield pid, parent, program and environment of every process that we may look at and that is no zombie."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path("/proc", pid, "stat").read_text(errors="replace")
            environ = Path("/proc", pid, "environ").read_bytes()
        except OSError:
            continue  # gone, or another user's
        # "pid (program) state parent ...": the program's name may itself hold blanks and parentheses.
        head, _, rest = stat.rpartition(")")
        state, parent = rest.split()[:2]
        if state not in "ZX":
            yield int(pid), int(parent), head.partition("(")[2], environ.split(b"\0")


def _run_inside(cluster: RealSlurm, command: list[str]) -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):  # an exception, so that the with statement stops the cluster
        signal.signal(number, signal.default_int_handler)
    with cluster:
        code = subprocess.run(command, env={**os.environ, **cluster.environment}, check=False).returncode
    return code if code >= 0 else 128 - code


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="real_slurm", usage="%(prog)s start|stop|run [options] [-- COMMAND...]")
    parser.add_argument("action", choices=["start", "stop", "run", "guard"])
    parser.add_argument("--directory", help="where the cluster lives (default: a temporary directory)")
    for name, default in {"nodes": 4, "cpus": 2, "memory": 4000, "max-array-size": 1001, "parent": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    cut = argv.index("--") if "--" in argv else len(argv)
    args, command = parser.parse_args(argv[:cut]), argv[cut + 1 :]
    if (args.action == "run") != bool(command) or (args.action in ("stop", "guard") and not args.directory):
        parser.error("run needs a command after --, and only run; stop needs --directory")
    cluster = RealSlurm(args.directory, args.nodes, args.cpus, args.memory, args.max_array_size)
    try:
        if args.action == "run":
            return _run_inside(cluster, command)
        if args.action == "start":
            cluster.start(detach=True)
            print(f"export SLURM_CONF={cluster.conf_path}")
        else:
            while args.action == "guard" and os.getppid() == args.parent:  # who kills us once it has stopped it
                time.sleep(0.5)
            RealSlurm.attach(args.directory).stop()
    except KeyboardInterrupt:
        return 130
    except (RealSlurmError, OSError) as error:
        print(f"real_slurm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
