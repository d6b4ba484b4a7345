"""The stand-in for Slurm: its dialect, as observed on 22.05.8.

Here: how a job is started (environment, output files) and what is written into its output.
``slurm_submit`` is sbatch, ``slurm_words`` the states and reasons, ``slurm_squeue``,
``slurm_commands`` and ``slurm_sacct`` the other commands.

    Job, Run --launch()--> Launch: the script itself, in the directory of the submission
"""

from __future__ import annotations

import os
import re
import signal
import time

from . import slurm_commands, slurm_sacct, slurm_squeue, slurm_submit
from .dialect import Call, Dialect, Launch, remove_places
from .processes import MARK
from .slurm_words import fill
from .state import Job, Run, State, Store

_CONTACT = "Unable to contact slurm controller (connect failure)"
_TIMED_OUT = "Socket timed out on send/recv operation"


class SlurmDialect(Dialect):
    """Slurm."""

    unknown = "go"
    stop_signals = (signal.SIGCONT, signal.SIGTERM)
    follows_descendants = True
    waits_for_all = False
    numbers_elements = True

    def __init__(self) -> None:
        self.commands = {
            "sbatch": slurm_submit.sbatch,
            "squeue": slurm_squeue.squeue,
            "sacct": slurm_sacct.sacct,
            **slurm_commands.COMMANDS,
        }

    def deletes_impossible(self, job: Job) -> bool:
        """Only when asked: else it waits for ever."""
        return bool(job.x["kill_invalid"])

    def parse_id(self, text: str) -> tuple[int, int | None]:
        """``25``, ``25_3``."""
        match = re.fullmatch(r"(\d+)(?:_(\d+))?", text)
        if match is None:
            return -1, None
        return int(match[1]), int(match[2]) if match[2] else None

    def launch(self, store: Store, job: Job, run: Run) -> Launch:
        """Start the script in the directory of the submission, with its environment."""
        x, node = job.x, store.config["node"]
        env = {**store.kept(job.id, "env"), **variables(store, job, run), MARK: store.directory}
        env["CLUSTERFUTURES_STANDIN"] = store.directory
        script = store.job_path(job.id, "script")
        out = output_path(store, job, run, x["output"])
        err = output_path(store, job, run, x["error"]) if x["error"] else out
        launch = Launch([script, *x["arguments"]], env, x["directory"], x["umask"], out, err)
        launch.append = x["append"]
        launch.exec_failed = 2
        with open(script, "rb") as file:
            interpreter = file.readline()[2:].split()[:1]
        name = interpreter[0].decode("utf-8", "surrogateescape") if interpreter else ""
        launch.no_exec = f"slurmstepd-{node}: error: execve(): bad interpreter({name}): {{error}}\n"
        missing = f"slurmstepd-{node}: error: couldn't chdir to `{x['directory']}': {{error}}: going to /tmp instead\n"
        launch.no_cwd = missing * 2
        if not all(_can_open(path) for path in (out, err)):
            launch.error = 53
        return launch

    def last_words(self, store: Store, job: Job, run: Run, cause: str) -> str:
        """The line that tells why a job was ended."""
        node = store.config["node"]
        if cause == "memory":
            return (
                f"slurmstepd-{node}: error: StepId={run.number or job.id}.batch exceeded memory limit "
                "(60411904 > 52428800), being killed\n"
                f"slurmstepd-{node}: error: Exceeded job memory limit\n"
            )
        if cause == "node":
            return ""
        due = {
            "walltime": " DUE TO TIME LIMIT",
            "preempt": " DUE TO PREEMPTION",
            "requeue": " DUE TO JOB REQUEUE",
            "requeuehold": " DUE TO JOB REQUEUE",
        }.get(cause, "")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
        return f"slurmstepd-{node}: error: *** JOB {run.number or job.id} ON {node} CANCELLED AT {stamp}{due} ***\n"

    def down(self, call: Call) -> None:
        """The controller does not answer; accounting does."""
        if call.name == "sacct":
            slurm_sacct.sacct(call)
        elif call.name == "sbatch":
            call.err(f"sbatch: error: Batch job submission failed: {_CONTACT}", 1)
        elif call.name == "scancel":
            ids = [word for word in call.argv if not word.startswith("-")] or [""]
            call.err(f"scancel: error: Kill job error on job id {ids[0]}: {_CONTACT}", 8)
        elif call.name == "scontrol" and "show" not in call.argv:
            call.err(f"Unexpected message received for job {call.argv[-1] if call.argv else ''}", 1)
        else:
            call.err(f"slurm_load_jobs error: {_CONTACT}", 1)

    def timed_out(self, call: Call) -> None:
        """The controller took the submission and did not answer in time."""
        call.err(f"sbatch: error: Batch job submission failed: {_TIMED_OUT}", 1)

    def purge(self, store: Store, state: State, now: float) -> None:
        """The controller forgets; accounting does not."""
        age = store.config["min_job_age"]
        old = [job for job in state.jobs.values() if job.ended and now >= job.ended + age]
        for job in old:
            if store.config["accounting"]:
                job.x["purged"] = True
            else:
                del state.jobs[job.id]
        remove_places(store, [job.id for job in old])


def variables(store: Store, job: Job, run: Run) -> dict[str, str]:
    """What Slurm puts into the environment of a job."""
    x, node, number = job.x, store.config["node"], str(run.number or job.id)
    found = {
        "ENVIRONMENT": "BATCH", "HOSTNAME": node, "TMPDIR": "/tmp", "SLURMD_NODENAME": node,
        "SLURM_CLUSTER_NAME": store.config["cluster"], "SLURM_CPUS_ON_NODE": str(job.cpus), "SLURM_GTIDS": "0",
        "SLURM_JOBID": number, "SLURM_JOB_ID": number, "SLURM_JOB_CPUS_PER_NODE": str(job.cpus),
        "SLURM_JOB_GID": str(x["gid"]), "SLURM_JOB_UID": str(x["uid"]), "SLURM_JOB_USER": x["user"],
        "SLURM_JOB_NAME": job.name, "SLURM_JOB_NODELIST": node, "SLURM_JOB_NUM_NODES": "1",
        "SLURM_JOB_PARTITION": x["partition"], "SLURM_LOCALID": "0", "SLURM_NNODES": "1", "SLURM_NODEID": "0",
        "SLURM_NODELIST": node, "SLURM_NODE_ALIASES": "(null)", "SLURM_PRIO_PROCESS": "0", "SLURM_PROCID": "0",
        "SLURM_SUBMIT_DIR": x["submit_dir"], "SLURM_SUBMIT_HOST": node,
        "SLURM_TASKS_PER_NODE": str(x["tasks"] or 1), "SLURM_TASK_PID": str(os.getpid()),
        "SLURM_TOPOLOGY_ADDR": node, "SLURM_TOPOLOGY_ADDR_PATTERN": "node",
        "SLURM_WORKING_CLUSTER": f"{store.config['cluster']}:localhost:6817:9728:109",
    }  # fmt: skip
    if x["cpus_per_task"]:
        found["SLURM_CPUS_PER_TASK"] = str(x["cpus_per_task"])
    if x["tasks"]:
        found["SLURM_NTASKS"] = found["SLURM_NPROCS"] = str(x["tasks"])
    if "mem" in x["memory"]:
        found["SLURM_MEM_PER_NODE"] = str(x["memory"]["mem"])
    if "mem-per-cpu" in x["memory"]:
        found["SLURM_MEM_PER_CPU"] = str(x["memory"]["mem-per-cpu"])
    if run.attempts > 1:
        found["SLURM_RESTART_COUNT"] = str(run.attempts - 1)
    if job.array:
        step = job.indices[1] - job.indices[0] if len(job.indices) > 1 else 1
        found.update(
            SLURM_ARRAY_JOB_ID=str(job.id), SLURM_ARRAY_TASK_ID=str(run.index),
            SLURM_ARRAY_TASK_COUNT=str(len(job.indices)), SLURM_ARRAY_TASK_MIN=str(job.indices[0]),
            SLURM_ARRAY_TASK_MAX=str(job.indices[-1]), SLURM_ARRAY_TASK_STEP=str(step),
        )  # fmt: skip
    return found


def output_path(store: Store, job: Job, run: Run, pattern: str) -> str:
    """A file name pattern with its ``%`` filled in, absolute."""
    if pattern == "none":
        return os.devnull
    pattern = pattern or ("slurm-%A_%a.out" if job.array else "slurm-%j.out")
    return os.path.join(job.x["directory"], fill(store, job, run, pattern))


def _can_open(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666))
    except OSError:
        return False
    return True
