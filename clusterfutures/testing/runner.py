"""Runs jobs: one detached process per slot in use, no daemon.

    qsub --start_due()--> fork --> runner: launch the job, watch it, note its end,
                                           take the next job that is due, or leave
    qdel --(cause in the record, SIGUSR1)--> runner: SIGTERM, kill_delay, SIGKILL

The runner is the only process that signals its job and notes its end; a command that wants
a job ended writes the cause into the record and wakes the runner.  A runner is forked while
the forking command holds the lock: it sees the record as it will be written, and cannot
write before that.
"""

from __future__ import annotations

import os
import select
import signal

from . import processes, scheduling
from .dialect import Dialect, Launch
from .state import DONE, ENDING, PENDING, REQUEUES, Job, Run, State, Store, now

#: causes that give no time to end in good order
_AT_ONCE = frozenset(("forced", "memory", "node"))


#: seconds after which one who waits for the time of a job looks whether it is still there
_LOOK_SECONDS = 1.0


def start_due(store: Store, dialect: Dialect, state: State) -> None:
    """Start what can start; call it under the lock after every change."""
    _settle(dialect, state)
    while (due := _next_due(store, dialect, state)) is not None:
        job, run = due
        run.runner = _fork(_work, store, dialect, job, run)
    wake = scheduling.next_wake(state, now())
    if wake and not state.stopped and not now() < state.wake <= wake:
        state.wake = wake
        _fork(_sleep_until, store, dialect, wake)


def end(job: Job, index: int, cause: str) -> None:
    """Ask for the end of an element, whatever it is doing; call it under the lock."""
    run = job.run(index)
    if run.phase == PENDING:
        job.end_unstarted(index, cause, now())
    elif run.phase != DONE:
        run.cause = cause
        wake(run)


def wake(run: Run) -> None:
    """Make the runner look at its record."""
    try:
        if run.runner:
            os.kill(run.runner, signal.SIGUSR1)
    except (ProcessLookupError, PermissionError):
        pass


def _settle(dialect: Dialect, state: State) -> None:
    """End the jobs with a dependency that cannot come true, and those that wait for these."""
    while jobs := [job for job in scheduling.impossible(state, dialect.unknown) if dialect.deletes_impossible(job)]:
        for job in jobs:
            for index in list(job.waiting):
                job.end_unstarted(index, "dependency", now())


def _next_due(store: Store, dialect: Dialect, state: State) -> tuple[Job, Run] | None:
    stopped = store.config.get("stopped_queues", ())
    due = scheduling.next_due(state, store.config["cpus"], now(), dialect.unknown, stopped)
    if due is None:
        return None
    job, index = due
    run = scheduling.start(job, index, now())
    if not run.number:
        last = job.array and not job.waiting
        run.number = job.id if last or not job.array or not dialect.numbers_elements else state.take_number()
    return job, run


def _fork(target: object, store: Store, *arguments: object) -> int:
    """Run ``target`` in a process of its own, away from the caller's terminal and files."""
    # Until the child has its handlers, a signal from an impatient qdel has to wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGCHLD))
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGUSR1, signal.SIGCHLD))
        return pid
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)  # a runner's, which is closed here
        os.closerange(3, 65536)
        log = os.open(store.path("runner.log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        null = os.open(os.devnull, os.O_RDWR)
        for source, number in ((null, 0), (null, 1), (log, 2)):
            os.dup2(source, number)
        os.closerange(3, 65536)
        os.chdir("/")
        os.umask(0o077)
        target(store, *arguments)  # type: ignore[operator]
    except BaseException:  # a defect of ours: there is nobody to raise it to
        # The directory is gone: the stand-in was closed.  That is no error of a runner.
        if os.path.isdir(store.directory):
            os.write(2, _trace())
    finally:
        os._exit(0)


def _trace() -> bytes:
    import traceback  # slow to import, and never needed

    return traceback.format_exc().encode()


def _sleep_until(store: Store, dialect: Dialect, time: float) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    while (left := time - now()) > 0:
        select.select((), (), (), min(left + 0.001, _LOOK_SECONDS))
        with store.locked() as state:
            if time > now() and not _is_waited_for(state, time):
                state.wake = 0.0  # what was to start then is gone
                return
    with store.locked() as state:
        state.wake = 0.0
        start_due(store, dialect, state)


def _is_waited_for(state: State, time: float) -> bool:
    wake = scheduling.next_wake(state, now())
    return bool(wake) and wake <= time


def _work(store: Store, dialect: Dialect, job: Job, run: Run) -> None:
    """Run this job, then whatever is due, until there is no more."""
    ready, wakeup = os.pipe()
    os.set_blocking(ready, False)
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGUSR1, signal.SIGCHLD))
    due: tuple[Job, Run] | None = (job, run)
    while due is not None:
        watch = _Watch(store, dialect, *due, ready)
        code, number = watch.run_job()
        due = _note_end(store, dialect, watch, code, number)


class _Watch:
    """One run of one job, from its start to the end of its last process."""

    def __init__(self, store: Store, dialect: Dialect, job: Job, run: Run, ready: int) -> None:
        self.store, self.dialect, self.job, self.run, self.ready = store, dialect, job, run, ready
        self.launch = dialect.launch(store, job, run)
        self.pid = 0
        self.cause = ""
        self.kill_at = 0.0
        # --signal=B:USR1@30: a warning for the first process, so many seconds before the limit
        self.warning: tuple[int, float] | None = self.job.x.get("warning")
        self.status: int | None = None

    def run_job(self) -> tuple[int, int]:
        """Start the job and wait for it; returns its exit code and signal."""
        if self.launch.error:
            return self.launch.error, 0
        self.pid = spawn(self.launch)
        with self.store.locked() as state:
            if (run := _find(state, self.job, self.run)) is not None:
                run.pid = run.session = self.pid
        self._look_at_cause()
        while not self._over():
            select.select((self.ready,), (), (), self._patience())
            self._drain()
            if self.status is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.status = status if pid else None
            self._look_at_cause()
            self._look_at_clock()
        # What the script left behind ends with it.
        processes.send(self.pid, signal.SIGKILL, self.dialect.follows_descendants)
        status = self.status or 0
        return (0, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), 0)

    def _over(self) -> bool:
        """True when the job has ended: with its first process, or, when it is being ended
        from outside, with the last."""
        if self.status is None:
            return False
        return not self.cause or not self.dialect.waits_for_all or not processes.members(self.pid)

    def _drain(self) -> None:
        try:
            while os.read(self.ready, 512):
                pass
        except BlockingIOError:
            pass

    def _patience(self) -> float | None:
        """How long to sleep if nothing happens."""
        if self.status is not None:
            return 0.02  # processes that are not our children: nobody tells us
        times = [self.kill_at] if self.kill_at else []
        if self.job.walltime and not self.cause:
            times.append(self.run.started + self.job.walltime)
            if self.warning:
                times.append(times[-1] - self.warning[1])
        return max(0.0, min(times) - now()) + 0.001 if times else None

    def _look_at_cause(self) -> None:
        """Act when a command wants this job ended (or ended sooner)."""
        run = _find(self.store.read_settled(), self.job, self.run)
        cause = run.cause if run is not None else "forced"
        if cause and cause != self.cause:
            self._stop(cause)

    def _look_at_clock(self) -> None:
        time = now()
        if self.kill_at and time >= self.kill_at:
            self.kill_at = 0.0
            processes.send(self.pid, signal.SIGKILL, self.dialect.follows_descendants)
        if self.status is not None:
            return  # only processes of its session are left: they are not told
        if self.warning and self.job.walltime and time >= self.run.started + self.job.walltime - self.warning[1]:
            os.kill(self.pid, self.warning[0])
            self.warning = None
        if not self.cause and self.job.walltime and time > self.run.started + self.job.walltime:
            with self.store.locked() as state:
                run = _find(state, self.job, self.run)
                if run is None or run.cause:
                    return  # a qdel came first
                run.cause = "walltime"
            self._stop("walltime")

    def _stop(self, cause: str) -> None:
        self.cause = cause
        if cause in _AT_ONCE:
            self._say(cause)
            processes.send(self.pid, signal.SIGKILL, self.dialect.follows_descendants)
            return
        self._say(cause)
        for number in self.dialect.stop_signals:
            processes.send(self.pid, number, self.dialect.follows_descendants)
        self.kill_at = now() + float(self.store.config["kill_delay"])

    def _say(self, cause: str) -> None:
        """Write the scheduler's own words into the output of the job."""
        text = self.dialect.last_words(self.store, self.job, self.run, cause)
        if text and self.launch.stderr:
            try:
                with open(self.launch.stderr, "a", encoding="utf-8") as file:
                    file.write(text)
            except OSError:
                pass


def spawn(launch: Launch) -> int:
    """Start the first process of a job, in a session of its own."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python changed these, a script expects none
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(launch.umask)
        append = os.O_APPEND if launch.append else os.O_TRUNC | os.O_APPEND
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(launch.stdout, os.O_WRONLY | os.O_CREAT | append, 0o666), 1)
        if launch.stderr == launch.stdout:
            os.dup2(1, 2)
        else:
            os.dup2(os.open(launch.stderr, os.O_WRONLY | os.O_CREAT | append, 0o666), 2)
        os.closerange(3, 65536)
        try:
            os.chdir(launch.cwd)
        except OSError as error:
            os.write(2, launch.no_cwd.replace("{error}", error.strerror or "").encode("utf-8", "surrogateescape"))
            os.chdir("/tmp")
        os.execvpe(launch.argv[0], launch.argv, launch.env)
    except OSError as error:
        os.write(2, launch.no_exec.replace("{error}", error.strerror or "").encode("utf-8", "surrogateescape"))
    except BaseException:  # the child must not return
        os.write(2, _trace())
    finally:
        os._exit(launch.exec_failed)


def _find(state: State, job: Job, run: Run) -> Run | None:
    """The record of this very start of a job, unless it was forgotten."""
    kept = state.jobs.get(job.id)
    found = kept.runs.get(run.index) if kept is not None else None
    return found if found is not None and found.attempts == run.attempts else None


def _note_end(store: Store, dialect: Dialect, watch: _Watch, code: int, number: int) -> tuple[Job, Run] | None:
    """Deliver the output, write the end down, and take what is due next."""
    job, run = watch.job, watch.run
    if dialect.ending_seconds(store):
        with store.locked() as state:
            if (kept := _find(state, job, run)) is not None:
                kept.phase = ENDING
        select.select((), (), (), dialect.ending_seconds(store))
    while watch.cause and now() < dialect.shown_until(store, run) and os.path.isdir(store.directory):
        select.select((), (), (), 0.05)
    stageout = dialect.finish(store, job, run, watch.launch)
    with store.locked() as state:
        kept = _find(state, job, run)
        if kept is not None:
            kept.code, kept.signal, kept.stageout, kept.ended, kept.pid = code, number, stageout, now(), 0
            if watch.launch.error:
                kept.cause = "launch"
            _end_or_requeue(store, dialect, state.jobs[job.id], kept)
        _settle(dialect, state)
        due = _next_due(store, dialect, state)
        if due is not None:
            due[1].runner = os.getpid()
        start_due(store, dialect, state)
        return due


def _end_or_requeue(store: Store, dialect: Dialect, job: Job, run: Run) -> None:
    if run.cause in REQUEUES and job.rerunnable:
        run.phase = PENDING
        run.begin = now() + float(store.config["requeue_delay"])
        run.hold = "requeued" if run.cause == "requeuehold" else run.hold
        run.cause = ""
    else:
        run.phase = DONE
        job.note_end(now())
    dialect.ended(store, job, run)
