"""The process that starts the jobs of this machine and notes how they end; there is one, or none.

    wake (a pipe) --.                     .--> packing: what starts now
    minders' ends ---+--> turn() --table--+--> minder: start it, end it
    the next limit --'                    '--> table: how it ended

``python -m clusterfutures.schedulers.local_queue.keeper DIRECTORY``, started by ``summon`` in
a session of its own.  It holds the kernel's lock on ``lock``, which goes with it, whatever ends
it, and reads the pipe ``wake``: who can open that for writing knows that there is a keeper.

It ends after ``LINGER_SECONDS`` without work.  A job that is submitted just then is not lost:
the submitter writes the job first and looks for a keeper second, the keeper lets go of the
pipe and the lock first and looks for jobs second, so one of the two sees the other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Iterator

from clusterfutures.errors import ClusterError, SchedulerUnavailable
from clusterfutures.options.places import own_interpreter
from clusterfutures.schedulers import command
from clusterfutures.schedulers.job_state import JobState
from clusterfutures.schedulers.local import cores_here
from clusterfutures.schedulers.local_queue import minder
from clusterfutures.schedulers.local_queue.minder import Minder
from clusterfutures.schedulers.local_queue.packing import Hopeless, Packing
from clusterfutures.schedulers.local_queue.table import Ending, Row, Table

__all__ = ["KILL_DELAY_SECONDS", "LINGER_SECONDS", "Keeper", "is_awake", "summon"]

log = logging.getLogger("clusterfutures")

#: between telling a job to end and making it, in seconds
KILL_DELAY_SECONDS = 2.0
#: how long a keeper without work waits for more, in seconds
LINGER_SECONDS = 0.5
#: how long a keeper may take to come up
SUMMON_SECONDS = 20.0
#: how long to go on without being able to read or write the table
_PATIENCE_SECONDS = 600.0
#: the longest pause between two looks: for a wake-up that got lost, and where ends are not told
_LOOK_SECONDS = (1.0, 0.05)
_PRUNE_SECONDS = 3600.0
_LOG_BYTES = 1_000_000
_PACKAGE = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))


# ---------------------------------------------------------------------- from outside


def is_awake(directory: str) -> bool:
    """Wake the keeper of ``directory``; False when there is none."""
    try:
        pipe = os.open(os.path.join(directory, "wake"), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise
    with contextlib.suppress(BlockingIOError, BrokenPipeError):  # it has been woken often enough; or it is leaving
        os.write(pipe, b".")
    os.close(pipe)
    return True


def keeper_interpreter() -> str:
    """The Python that runs the keeper.  Raises OptionError when it is not known."""
    named = os.environ.get("CLUSTERFUTURES_PYTHON")
    return named or own_interpreter("Set $CLUSTERFUTURES_PYTHON to a Python interpreter")


def summon(directory: str) -> None:
    """Wake the keeper, or start one.  Raises SchedulerUnavailable when it does not come."""
    if is_awake(directory):
        return
    words = [keeper_interpreter(), "-m", __name__, directory]
    environment = command.scrubbed_environment()
    path = os.pathsep.join(filter(None, [_PACKAGE, environment.get("PYTHONPATH", "")]))
    complaints = os.path.join(directory, "keeper.log")
    text = 'umask 077; log=$1; shift; exec >>"$log" 2>&1 </dev/null; "$@" &'
    command.run(["/bin/sh", "-c", text, "sh", complaints, *words], env=environment | {"PYTHONPATH": path}, cwd="/")
    deadline = time.monotonic() + SUMMON_SECONDS
    while not is_awake(directory):
        if time.monotonic() > deadline:
            with open(complaints, encoding="utf-8", errors="replace") as file:
                tail = file.read()[-2000:]
            raise SchedulerUnavailable(
                message=f"the process that starts the jobs of this machine did not come up in {SUMMON_SECONDS:g} s; "
                f"what was submitted waits for it. {complaints} says: {tail or 'nothing'}"
            )
        time.sleep(0.003)


# ----------------------------------------------------------------------- the process


class Keeper:
    """Carries out what ``packing`` decides.  It must be alone: see ``main``."""

    def __init__(self, directory: str, pipe: int) -> None:
        self._directory = directory
        self._table = Table(directory)
        self._boot = _boot_id()
        self._minders: dict[int, Minder] = {}
        self._rows: dict[int, Row] = {}  # of jobs that run
        self._told: dict[int, float] = {}  # when a job got its signal
        self._packing = Packing(cores_here())
        self._last_id = 0
        self._changes = -1
        self._pruned_at = float("-inf")
        self._pipe = pipe
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)

    def close(self) -> None:
        """Let go of the table; jobs go on."""
        self._table.close()

    def run(self) -> None:
        """Keep the jobs until there was nothing to do for a while, or the directory is gone."""
        quiet_since = time.monotonic()
        while os.path.exists(self._table.path):
            self.turn()
            now = time.monotonic()
            quiet_since = quiet_since if self._packing.is_empty and not self._minders else now
            if now - quiet_since > LINGER_SECONDS:
                return
            self._sleep()

    def turn(self) -> None:
        """Look at everything once."""
        self._look_at_table()
        self._look_at_minders()
        self._enforce()
        while given := self._packing.start():
            self._start(given)
        if time.monotonic() - self._pruned_at > _PRUNE_SECONDS:
            self._prune()

    def _prune(self) -> None:
        """Forget old jobs, and what minders that were not to begin have left."""
        self._pruned_at = time.monotonic()
        self._table.prune(time.time())
        minder.sweep(os.path.join(self._directory, "runs"), keep={one.path for one in self._minders.values()})

    def _sleep(self) -> None:
        blind = any(one.descriptor < 0 for one in self._minders.values())
        pause = _LOOK_SECONDS[1] if blind or self._told else _LOOK_SECONDS[0]
        limits = [
            row.deadline - time.monotonic()
            for row in self._rows.values()
            if row.deadline is not None and not row.ending
        ]
        self._poll.poll(1000 * max(0.0, min([pause, *limits])))
        with contextlib.suppress(BlockingIOError):
            os.read(self._pipe, 65536)

    # ------------------------------------------------------------------------ looking

    def _look_at_table(self) -> None:
        changes = self._table.change_count()
        if changes == self._changes:
            return
        self._packing.capacity = cores_here()
        for row in self._table.jobs("ended is null and id > ?", [self._last_id]):
            self._take_in(row)
            self._last_id = row.id
        for row in self._table.jobs("ended is null and ending != ''"):
            if row.id in self._rows:
                self._rows[row.id] = self._rows[row.id]._replace(ending=row.ending)
            elif row.state is JobState.PENDING:
                self._call_off(row.id)
        self._changes = changes

    def _take_in(self, row: Row) -> None:
        """A job that is new to this keeper."""
        if row.state is JobState.RUNNING and self._adopt(row):
            return
        known = dict.fromkeys((int(one.job_id) for one in row.after), False)
        for one in self._table.with_ids(known):
            if one.ended is None:
                del known[one.id]
            else:
                known[one.id] = one.state is JobState.COMPLETED
        self._give_up(self._packing.add(row.id, row.cores, row.after, known, row.local_cores))

    def _adopt(self, row: Row) -> bool:
        """A job that another keeper started: it runs, or has ended, or was never begun and waits again (False)."""
        path = self._file_of(row)
        if minder.forbid(path):
            self._table.take_back(row.id)  # the file stays: one that comes late must not begin
            return False
        said = minder.read(path)
        self._minders[row.id] = Minder(path, said.pid if said is not None else 0)
        self._rows[row.id] = row
        self._packing.resume(row.id, row.given or 1, row.local_cores)
        self._watch(self._minders[row.id])
        return True

    def _look_at_minders(self) -> None:
        over = [job_id for job_id, one in self._minders.items() if self._is_over(one)]
        if not over:
            return
        endings = [self._ending_of(self._rows[job_id]) for job_id in over]
        self._table.end(endings)
        for job_id in over:
            minder.forget(self._minders.pop(job_id).path)
            del self._rows[job_id]
            self._told.pop(job_id, None)
        for ending in endings:
            self._give_up(self._packing.end(ending.job_id, ending.state is JobState.COMPLETED))

    def _is_over(self, one: Minder) -> bool:
        descriptor = one.descriptor
        if not one.has_ended():
            if descriptor != one.descriptor:  # only now it is known which process it is
                self._watch(one)
            return False
        if descriptor >= 0:
            self._poll.unregister(descriptor)
        return True

    def _ending_of(self, row: Row) -> Ending:
        """Return how a job has ended, after the end of its minder."""
        said = minder.read(self._file_of(row))
        if said is None or said.exit_code is None:
            return self._lost(row)
        state = JobState.COMPLETED if said.exit_code == 0 else JobState.FAILED
        if row.id in self._told:
            state = JobState.TIMEOUT if row.ending == "time" else JobState.CANCELLED
        ended = max(said.at, row.started or 0.0)  # a file's time is a few milliseconds behind the clock
        if 128 < said.exit_code <= 192:  # so says a shell of what a signal has ended
            return Ending(row.id, state, ended, signal=said.exit_code - 128)
        return Ending(row.id, state, ended, exit_code=said.exit_code)

    def _lost(self, row: Row) -> Ending:
        if row.boot != self._boot:
            return Ending(row.id, JobState.NODE_FAIL, time.time(), reason="this machine was started anew while it ran")
        if row.ending:
            state = JobState.TIMEOUT if row.ending == "time" else JobState.CANCELLED
            return Ending(row.id, state, time.time(), signal=signal.SIGKILL)
        reason = f"the shell around it did not say how it ended: killed by somebody, or no space in {self._directory}"
        return Ending(row.id, JobState.FAILED, time.time(), signal=signal.SIGKILL, reason=reason)

    # ------------------------------------------------------------------------- acting

    def _start(self, given: dict[int, int]) -> None:
        started = {row.id: row for row in self._table.begin(given, self._boot, time.time(), time.monotonic())}
        for job_id in given:
            row = started.get(job_id)
            if row is None:  # not wanted any more, as of just now
                self._call_off(job_id)
                continue
            try:
                self._minders[job_id] = minder.start(
                    self._file_of(row), row.shell, row.script, row.log, _environment(row), row.umask
                )
            except OSError as error:
                self._end(Ending(job_id, JobState.FAILED, time.time(), reason=f"it could not be started: {error}"))
                continue
            self._rows[job_id] = row
            self._watch(self._minders[job_id])

    def _watch(self, one: Minder) -> None:
        if one.descriptor >= 0:
            self._poll.register(one.descriptor, select.POLLIN)

    def _enforce(self) -> None:
        """Signal the jobs that have to end, and kill those that got the signal a while ago."""
        now = time.monotonic()
        for job_id, row in self._rows.items():
            if not row.ending and row.deadline is not None and now > row.deadline:
                self._rows[job_id] = row = row._replace(ending="time")
            if not row.ending:
                continue
            if job_id not in self._told:
                self._told[job_id] = now
                self._minders[job_id].signal(signal.SIGTERM)
            if row.ending == "kill" or now > self._told[job_id] + KILL_DELAY_SECONDS:
                self._minders[job_id].signal(signal.SIGKILL)

    def _call_off(self, job_id: int) -> None:
        """A job that waits is not wanted any more."""
        self._end(Ending(job_id, JobState.CANCELLED, time.time(), reason="called off before it began"))

    def _end(self, ending: Ending) -> None:
        """Note the end of a job that did not run."""
        self._table.end([ending])
        self._give_up(self._packing.end(ending.job_id, False))

    def _give_up(self, hopeless: list[Hopeless]) -> None:
        now = time.time()
        if hopeless:
            self._table.end(
                Ending(
                    one.job_id, JobState.CANCELLED, now, reason=f"job {one.needed.job_id} did not end {one.needed.kind}"
                )
                for one in hopeless
            )

    def _file_of(self, row: Row) -> str:
        return os.path.join(self._directory, "runs", f"{row.id}.{row.attempt}")


def _environment(row: Row) -> dict[str, str]:
    environment: dict[str, str] = json.loads(row.environment)
    return environment | {
        "CLUSTERFUTURES_INDEX": str(row.place),
        "CLUSTERFUTURES_JOB_ID": str(row.id),
        "CLUSTERFUTURES_CORES": str(row.given),
        "CLUSTERFUTURES_JOB_END": "" if row.time is None or row.started is None else str(row.started + row.time),
    }


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[int | None]:
    """The keeper's lock; yields the pipe by which it is woken, None when another has the lock."""
    lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        yield None
        return
    path = os.path.join(directory, "wake")
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield pipe
    finally:
        os.close(pipe)
        os.close(lock)


def main() -> int:
    """Keep the jobs of the directory named, unless another does."""
    directory = sys.argv[1]
    logging.basicConfig(format="%(asctime)s %(process)d %(message)s", level=logging.WARNING)
    # a shell ignores the first two for what it starts in the background; the program may have ignored the last
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    if os.fstat(2).st_size > _LOG_BYTES:
        os.truncate(2, 0)
    failing_since: float | None = None
    while os.path.isdir(directory):
        try:
            if not _keep(directory):
                return 0
            failing_since = None
        except ClusterError as error:  # no space, or busy: jobs go on, and it may pass
            failing_since = failing_since or time.monotonic()
            if time.monotonic() - failing_since > _PATIENCE_SECONDS:
                raise
            log.warning("trying again: %s", error)
            time.sleep(_LOOK_SECONDS[0])
    return 0


def _keep(directory: str) -> bool:
    """Keep the jobs until there is nothing to do; True when there is something after all."""
    with _alone(directory) as pipe:
        if pipe is None:
            return False
        with contextlib.closing(Keeper(directory, pipe)) as keeper:
            keeper.run()
    with Table(directory) as table:
        return table.has_open_jobs()


if __name__ == "__main__":
    sys.exit(main())
