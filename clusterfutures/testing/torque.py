"""The stand-in for Torque 6: what differs from PBS Pro, in the jobs and in the commands.

No real Torque was at hand: this follows its manuals and the reports of its users.  Ids,
spooling and the bare environment are those of ``pbs``; ``torque_submit`` is qsub,
``torque_qstat`` the XML.
"""

from __future__ import annotations

from . import pbs_commands, pbs_ids, runner, torque_qstat, torque_submit
from .dialect import Call, Refused, remove_places
from .pbs import PBSDialect
from .state import DONE, Job, Run, State, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class TorqueDialect(PBSDialect):
    """Torque."""

    def __init__(self) -> None:
        names = ("qhold", "qrls", "qrerun", "qsig")
        self.commands = {
            **{name: _versioned(pbs_commands.COMMANDS[name]) for name in names},
            "qsub": _versioned(torque_submit.qsub),
            "qstat": _versioned(torque_qstat.qstat),
            "qdel": _versioned(qdel),
            "qmgr": qmgr,
            "pbsnodes": _versioned(pbsnodes),
        }

    def cwd(self, job: Job, env: dict[str, str]) -> str:
        """At home, or where ``-d`` says."""
        return str(job.x["cwd"] or env["HOME"])

    def index_variables(self, store: Store, job: Job, run: Run) -> dict[str, str]:
        """Torque's own names."""
        mine = {
            "PBS_NUM_NODES": "1",
            "PBS_NUM_PPN": str(job.cpus),
            "PBS_NP": str(job.cpus),
            "PBS_VNODENUM": "0",
            "PBS_VERSION": f"TORQUE-{store.config['version']}",
            "PBS_O_SERVER": store.config["server"],
        }
        if job.array:
            mine["PBS_ARRAYID"] = str(run.index)
        return mine

    def down(self, call: Call) -> None:
        """The server does not answer."""
        server = call.config["server"]
        call.err(f"{call.name}: cannot connect to server {server} (errno=111) Connection refused", 111)

    def purge(self, store: Store, state: State, now: float) -> None:
        """An ended job, or element, is shown as C for keep_completed seconds."""
        old = []
        for job in state.jobs.values():
            alive = list(job.waiting)
            for run in job.runs.values():
                if run.phase != DONE or now < run.ended + store.config["keep_completed"]:
                    alive.append(run.index)
            job.x["shown"] = alive
            if not alive:
                old.append(job.id)
        for number in old:
            del state.jobs[number]
        remove_places(store, old)


def _versioned(command: Callable[[Call], None]) -> Callable[[Call], None]:
    """``--version`` as every command of Torque answers it."""

    def run(call: Call) -> None:
        if call.argv[:1] == ["--version"]:
            call.err(f"Version: {call.config['version']}\nCommit: 661e092552de43a785c15d39a3634a541d86898e")
        else:
            command(call)

    return run


def qdel(call: Call) -> None:
    """End jobs; -p (purge) also forgets them."""
    options, ids = pbs_commands.options_of(call, "pW:m:t:")

    def act(state: State, found: pbs_ids.Found, full: str) -> None:
        job = found.job
        indices = job.indices if found.indices is None else found.indices
        if all(index in job.runs and job.runs[index].phase == DONE for index in indices):
            raise pbs_commands.ended(call, full)
        for index in indices:
            run = job.runs.get(index)
            if run is None or run.phase != DONE:
                runner.end(job, index, "forced" if "p" in options else "cancel")

    pbs_commands.each(call, ids, act)


def qmgr(call: Call) -> None:
    """``-c 'list server [attribute]'`` and ``-c 'print server'``."""
    options, _ = pbs_commands.options_of(call, "c:aenz")
    attributes = torque_qstat.server_attributes(call)
    match options.get("c", "").split():
        case ["list" | "l", "server" | "s", *names]:
            call.out(f"Server {call.config['server']}")
            for name in names or attributes:
                if name in attributes:
                    call.out(f"\t{name} = {attributes[name]}")
            call.out("")
        case ["print" | "p", "server" | "s", *names]:
            for name in names or attributes:
                if name in attributes:
                    call.out(f"set server {name} = {attributes[name]}")
        case words:
            raise Refused(1, f"qmgr: Syntax error - {' '.join(words)}")


def pbsnodes(call: Call) -> None:
    """The one node."""
    call.out(f"{call.config['server']}\n     state = free\n     np = {call.config['cpus']}\n     ntype = cluster\n")
