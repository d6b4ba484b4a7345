"""The one place that starts a process for a scheduler.

    argv --run()--> process, in its own process group, under a time limit --> Result

An adapter makes an argv, ``run`` carries it out, the adapter's parser reads the text of
the ``Result``.  ``run`` judges nothing: a non-zero exit status is a result like any
other.  It raises ``SchedulerUnavailable`` when there is no result at all, because the
program is not there or did not answer in time; in the latter case nobody knows whether
the request was carried out (a controller that hangs does what it was asked when it wakes
up).  So a question or a cancellation may be tried again here, a submission never is.
The caller may stop waiting meanwhile: ``give_up_at``.

``scrubbed_environment`` is what those commands see of the caller's environment.  A
program that runs inside a job carries that job's SLURM_*, PBS_* ... variables, which
would reach into the jobs it submits.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from clusterfutures.errors import SchedulerUnavailable
from clusterfutures.options.places import current_directory
from clusterfutures.schedulers.variables import is_plain

__all__ = [
    "CannotStart", "Process", "Result", "cluster_key", "inside_a_job", "run", "scrubbed_environment", "why_not_started",
]  # fmt: skip

log = logging.getLogger("clusterfutures")

#: how long a killed process has to give back its pipes, in seconds
_REAP_SECONDS = 5.0
_FIRST_PAUSE = 0.5
#: how often somebody who waits for a command looks whether to go on waiting, in seconds
_GLANCE_SECONDS = 0.25


#: errors of a start that do not pass by themselves
_FINAL_ERRNOS = frozenset(
    {
        errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.E2BIG, errno.ENOTDIR, errno.ELOOP,
        errno.ENAMETOOLONG, errno.EINVAL, errno.ELIBBAD,
    }
)  # fmt: skip
#: what an environment may have for a command that submits nothing: far below every system's limit
_SMALL_ENVIRONMENT = 64 * 1024
#: what a shell makes of the signal that killed its command: exit codes that no scheduler's command has
_SHELL_SIGNALS = frozenset(128 + number for number in (1, 2, 3, 6, 7, 9, 11, 13, 14, 15, 24))
#: runs a command and writes its exit status, which this program cannot get, into $1.  A signal to both is the
#: command's, and the shell waits for its end.  (bash leaves SIGCHLD ignored in the command, env does not.)
_TELL_STATUS = """\
trap : HUP INT TERM QUIT USR1 USR2
told=$1; shift
if env --default-signal=CHLD true 2>/dev/null; then set -- env --default-signal=CHLD "$@"; fi
"$@"
echo $? >"$told"
"""


class CannotStart(SchedulerUnavailable):
    """The command did not run at all.  number: the error's.  is_final: trying again does not help."""

    number = 0

    @property
    def is_final(self) -> bool:
        return self.number in _FINAL_ERRNOS


def _never() -> float:
    return math.inf


class Result(NamedTuple):
    """What a command answered."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def command(self) -> str:
        """The command as one would type it."""
        return shlex.join(self.argv)

    @property
    def said(self) -> str:
        """Everything it printed, errors first."""
        return "\n".join(part.strip("\n") for part in (self.stderr, self.stdout) if part.strip())

    @property
    def killed_by(self) -> str:
        """The signal that ended the command, itself or within a site's wrapper script; "" when none did."""
        number = -self.returncode if self.returncode < 0 else self.returncode - 128
        in_wrapper = self.returncode in _SHELL_SIGNALS and f"{os.path.basename(self.argv[0])}: " not in self.said
        if self.returncode >= 0 and not in_wrapper:
            return ""
        return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


class Process(subprocess.Popen[bytes]):
    """A process with an exit status that is known even if this program ignores SIGCHLD, or handles it.

    The kernel, or a handler that waits for every child, then takes the status away, and ``Popen`` says 0.
    There a shell runs the command and writes the status into a pipe.
    """

    def __init__(self, argv: Sequence[str], **options: Any) -> None:
        self._status = -1
        if signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL:
            super().__init__(list(argv), **options)
            return
        path = (options.get("env") or os.environ).get("PATH")
        if shutil.which(argv[0], path=path) is None:  # the shell would say it in its own words
            code = errno.EACCES if os.path.isfile(argv[0]) else errno.ENOENT
            raise OSError(code, os.strerror(code), argv[0])
        self._status, told = os.pipe()
        try:
            words = ["/bin/sh", "-c", _TELL_STATUS, argv[0], f"/proc/self/fd/{told}", *argv]
            super().__init__(words, pass_fds=(told,), **options)
        except BaseException:
            os.close(self._status)
            self._status = -1
            raise
        finally:
            os.close(told)

    def poll(self) -> int | None:
        return self._told(super().poll())

    def wait(self, timeout: float | None = None) -> int:
        code = self._told(super().wait(timeout))
        assert code is not None
        return code

    def _told(self, code: int | None) -> int | None:
        """The status that the shell wrote before its end; when it wrote none it was killed."""
        if code is not None and self._status >= 0:
            os.set_blocking(self._status, False)
            try:
                text = os.read(self._status, 20)
            except BlockingIOError:  # something that it left behind holds the pipe
                text = b""
            os.close(self._status)
            self._status = -1
            status = int(text) if text else -signal.SIGKILL
            self.returncode = 128 - status if status in _SHELL_SIGNALS else status
        return self.returncode if code is not None else None

    def __del__(self) -> None:
        if getattr(self, "_status", -1) >= 0:
            os.close(self._status)
        super().__del__()


def run(
    argv: Sequence[str],
    *,
    timeout: float = 30.0,
    env: Mapping[str, str] | None = None,
    hands_on: bool = False,
    cwd: str | None = None,
    attempts: int = 1,
    transient: str | None = None,
    within: float = 60.0,
    give_up_at: Callable[[], float] = _never,
) -> Result:
    """Run ``argv`` to its end and return what it answered.

    timeout: seconds after which the command and its children are killed.
    env: the environment, ``scrubbed_environment()`` unless given.
    hands_on: the command gives its environment to a job.  One that submits nothing gets what of it there is room
        for, when it is too large to start any program.
    attempts: how often to try in all; more than 1 only for what may be done twice.
    transient: pattern of what a failure that may pass says; only such a one is tried again.
    within: seconds after which no further attempt is begun.
    give_up_at: when there is to be an end (monotonic); asked again and again, for another
        thread may bring it forward while the command runs.
    """
    environment = dict(scrubbed_environment() if env is None else env)
    last_start = time.monotonic() + within
    pause = _FIRST_PAUSE
    left = attempts

    def may_retry() -> bool:
        return left > 0 and time.monotonic() + pause < min(last_start, give_up_at())

    while True:
        left -= 1
        try:
            result = _once(argv, timeout, environment, cwd, give_up_at)
        except CannotStart as error:
            smaller = _small(environment)
            if hands_on or error.number != errno.E2BIG or len(smaller) == len(environment):
                raise
            log.info("%s", error)
            environment, left = smaller, left + 1
            continue
        except subprocess.TimeoutExpired as late:
            if not may_retry():
                raise _no_answer(argv, late) from None
            log.info("%s did not answer within %.3g s, trying again", argv[0], late.timeout)
        else:
            passing = result.returncode != 0 and transient is not None and re.search(transient, result.said)
            if not (passing and may_retry()):
                return result
            log.info("%s failed, trying again in %g s: %s", argv[0], pause, result.said)
        time.sleep(pause)
        pause *= 2


def _no_answer(argv: Sequence[str], late: subprocess.TimeoutExpired) -> SchedulerUnavailable:
    said = "\n".join(_text(part).strip() for part in (late.stderr, late.output) if part)
    so_far = f"; until then it said: {said}" if said else ""
    return SchedulerUnavailable(
        message=f"{argv[0]} did not answer within {round(late.timeout, 1):g} s{so_far}",
        command=shlex.join(argv),
    )


def _once(
    argv: Sequence[str], timeout: float, env: Mapping[str, str], cwd: str | None, give_up_at: Callable[[], float]
) -> Result:
    """Run once.  Raises TimeoutExpired (with the output so far) or SchedulerUnavailable."""
    began = time.monotonic()
    if began >= give_up_at():
        raise SchedulerUnavailable(message=f"{argv[0]} was not run: there is no time left", command=shlex.join(argv))
    try:
        # A process group of its own: a Ctrl-C at the terminal must not cut a submission in
        # two, and a time-out must reach the children of a site's wrapper script as well.
        process = Process(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(env), cwd=cwd or (None if current_directory() else "/"), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        failed = CannotStart(message=why_not_started(argv[0], error, env, cwd), command=shlex.join(argv))
        failed.number = error.errno or 0
        raise failed from None
    try:
        out, err = _await(process, lambda: min(began + timeout, give_up_at()))
    except subprocess.TimeoutExpired:
        seconds = time.monotonic() - began
        out, err = _kill(process)
        raise subprocess.TimeoutExpired(list(argv), seconds, output=out, stderr=err) from None
    except BaseException:
        _kill(process)
        raise
    result = Result(tuple(argv), process.returncode, _text(out), _text(err))
    seconds = time.monotonic() - began
    log.debug("%s -> %d in %.3f s %s", result.command, result.returncode, seconds, result.stderr.strip())
    return result


def _await(process: subprocess.Popen[bytes], until: Callable[[], float]) -> tuple[bytes, bytes]:
    """All that it prints; TimeoutExpired when it has not ended in time."""
    while True:
        left = max(0.0, until() - time.monotonic())
        try:
            return process.communicate(timeout=min(left, _GLANCE_SECONDS))
        except subprocess.TimeoutExpired:
            if left <= _GLANCE_SECONDS:
                raise


def why_not_started(program: str, error: OSError, env: Mapping[str, str], cwd: str | None = None) -> str:
    """Why a program could not be started, and what to do."""
    failed = f"{program} cannot be started: "
    if error.errno == errno.E2BIG:
        sizes = {name: len(os.fsencode(f"{name}={value}")) + 1 for name, value in env.items()}
        largest = max(sizes, key=lambda name: sizes[name], default="")
        return (
            f"{failed}{error.strerror}. The environment of this program has {sum(sizes.values()):,} bytes in "
            f"{len(sizes)} variables, {sizes.get(largest, 0):,} of them in {largest}; a system takes 131,072 in one "
            "variable, and in all a quarter of its limit of the stack (ulimit -s). Delete large variables before the "
            "first submission, and pass what they hold as an argument"
        )
    if error.errno != errno.ENOENT:
        return f"{failed}{error.strerror or error}"
    if cwd is not None and not os.path.isdir(cwd):
        return f"{failed}no directory {cwd}"
    found = shutil.which(program, path=env.get("PATH"))
    if found is not None:
        return f"{failed}{found} names an interpreter in its first line that is not on this machine"
    if os.path.dirname(program):
        return f"{failed}{error.strerror}"
    return (
        f"there is no program {program!r} on this machine (PATH={env.get('PATH', '')}): "
        "are you on a node from which jobs may be submitted, with the scheduler's module loaded?"
    )


def _small(env: Mapping[str, str]) -> dict[str, str]:
    """The smallest variables, which are those that a command reads."""
    kept: dict[str, str] = {}
    room = _SMALL_ENVIRONMENT
    for name, value in sorted(env.items(), key=lambda item: len(item[1])):
        room -= len(name) + len(value) + 2
        if room >= 0 or name == "PATH":
            kept[name] = value
    return kept


def _kill(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Kill the process and its children; returns what they had printed."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        log.debug("process group %d had ended already", process.pid)
    try:
        return process.communicate(timeout=_REAP_SECONDS)
    except subprocess.TimeoutExpired as late:
        # A grandchild in a session of its own still holds the pipes, or the kernel cannot
        # kill the process (a dead file system).  Neither may hold us up.
        log.warning("process %d was killed but has not let go of its output", process.pid)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        return late.output or b"", late.stderr or b""


def _text(raw: bytes | str | None) -> str:
    # Names of jobs are free bytes: somebody's invalid UTF-8 must not hide our own jobs.
    return raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else raw or ""


# --------------------------------------------------------------------- environment

#: variables of a scheduler or of a launcher, by how they begin
_FOREIGN = (
    "SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SCANCEL_", "SACCT_", "SCONTROL_",
    "PBS_", "PMI_", "PMI2_", "PMIX_",
)  # fmt: skip

#: those of them that say which cluster to talk to, and how
_NAMES_THE_CLUSTER = frozenset(
    {
        "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT",
        "PBS_SERVER", "PBS_DEFAULT", "PBS_CONF_FILE", "PBS_EXEC", "PBS_HOME", "PBS_PRIMARY", "PBS_SECONDARY",
        "PBS_BATCH_SERVICE_PORT", "PBS_BATCH_SERVICE_PORT_DIS", "PBS_LEAF_NAME",
        "PBS_AUTH_METHOD", "PBS_ENCRYPT_METHOD", "PBS_SUPPORTED_AUTH_METHODS",
    }
)  # fmt: skip

#: defaults that users and sites set for their own sbatch; inside a job they were set by
#: or for the outer job, so there they go too
_SITE_CHOICES = frozenset(
    {
        "SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION", "SBATCH_CONSTRAINT",
        "SBATCH_CLUSTERS",
    }
)  # fmt: skip

#: what our own script set for the outer job; CLUSTERFUTURES_DIR and its like are settings
_OUTER_JOB = frozenset(
    {
        "CLUSTERFUTURES_INDEX",
        "CLUSTERFUTURES_JOB_ID",
        "CLUSTERFUTURES_ATTEMPT",
        "CLUSTERFUTURES_AVOID",
        "CLUSTERFUTURES_CORES",
        "CLUSTERFUTURES_JOB_END",
        "CLUSTERFUTURES_MEMORY",
    }
)

#: the outer job's devices: an inner job gets its own, or none
_OUTER_DEVICES = frozenset(
    {"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK", "GPU_DEVICE_ORDINAL"}
)


def inside_a_job(environ: Mapping[str, str] | None = None) -> bool:
    """True when this program itself runs inside a job of a scheduler."""
    environ = os.environ if environ is None else environ
    return "SLURM_JOB_ID" in environ or "PBS_JOBID" in environ


def scrubbed_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a scheduler's commands, without what belongs to an outer job or to a shell.

    What belongs to a shell gets past it to the job's command (``variables.py``).  Inherited,
    SLURM_ARRAY_TASK_ID would make a plain job look like an element of an array,
    SBATCH_TIMELIMIT would change its limit, SQUEUE_STATES would hide jobs from a question.
    """
    environ = os.environ if environ is None else environ
    keep = _NAMES_THE_CLUSTER
    drop = _OUTER_JOB
    if inside_a_job(environ):
        drop = drop | _OUTER_DEVICES
    else:
        keep = keep | _SITE_CHOICES
    return {
        name: value
        for name, value in environ.items()
        if is_plain(name) and (name in keep or not (name.startswith(_FOREIGN) or name in drop))
    }


def cluster_key(program: str, *more: str) -> str:
    """What tells the cluster that ``program`` would talk to from others."""
    named = sorted(f"{name}={os.environ[name]}" for name in _NAMES_THE_CLUSTER & os.environ.keys())
    return "\n".join([shutil.which(program) or program, *more, *named])
