"""What a kind of stand-in has to say for itself: ``Dialect``, and what it starts: ``Launch``.

command.main() --Dialect.commands[name](Call)--> exit code, with text in the Call
runner         --Dialect.launch()--> Launch --> the job --> Dialect.finish()
"""

from __future__ import annotations

import os
import signal

from .state import Job, Run, State, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Launch:
    """How to start one job; ``error`` is an exit code that it gets without being started."""

    append = False
    exec_failed = 126
    no_exec = "{error}\n"
    no_cwd = "{error}\n"
    error = 0

    def __init__(self, argv: list[str], env: dict[str, str], cwd: str, umask: int, stdout: str, stderr: str) -> None:
        self.argv, self.env, self.cwd, self.umask = argv, env, cwd, umask
        self.stdout, self.stderr = stdout, stderr


class Refused(Exception):
    """A command that ends now, with these words on stderr and this exit code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text


class Call:
    """One call of a command: what it was given, and what it answers."""

    def __init__(self, store: Store, dialect: Dialect, name: str, argv: Sequence[str]) -> None:
        self.store, self.dialect, self.name, self.argv = store, dialect, name, list(argv)
        self.config = store.config
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self.code = 0

    def out(self, text: str) -> None:
        """A line of the answer."""
        self.stdout.append(text + "\n")

    def err(self, text: str, code: int | None = None) -> None:
        """A line of complaint, and the exit code that goes with it."""
        self.stderr.append(text + "\n")
        if code is not None:
            self.code = code


class Dialect:
    """One kind of scheduler; the subclasses are in ``pbs``, ``torque`` and ``slurm``."""

    commands: dict[str, Callable[[Call], None]]
    #: how a dependency on an unknown job is judged
    unknown = "never"
    #: signals that ask a job to end
    stop_signals: tuple[int, ...] = (signal.SIGTERM,)
    #: True when a signal follows parents out of the session of the job
    follows_descendants = False
    #: True when a job that is being ended lasts until its last process has ended
    waits_for_all = True
    #: True when each element of an array gets a number of its own
    numbers_elements = False

    def deletes_impossible(self, job: Job) -> bool:
        """Whether a job that can never start is taken out of the queue."""
        return True

    def launch(self, store: Store, job: Job, run: Run) -> Launch:
        """How to start this element."""
        raise NotImplementedError

    def finish(self, store: Store, job: Job, run: Run, launch: Launch) -> bool:
        """Clean up and deliver the output; False when it could not be delivered."""
        return True

    def ended(self, store: Store, job: Job, run: Run) -> None:
        """Called under the lock when an element has ended or was requeued."""

    def last_words(self, store: Store, job: Job, run: Run, cause: str) -> str:
        """What the scheduler writes into the output of a job that it ends."""
        return ""

    def ending_seconds(self, store: Store) -> float:
        """How long a job is seen to be ending."""
        return float(store.config["ending_seconds"])

    def shown_until(self, store: Store, run: Run) -> float:
        """Until when a job that is ended from outside is shown as running."""
        return 0.0

    def parse_id(self, text: str) -> tuple[int, int | None]:
        """A job id as users write it: number, and index (None: all of an array)."""
        raise NotImplementedError

    def down(self, call: Call) -> None:
        """The answer of a command while the scheduler does not answer."""
        raise NotImplementedError

    def timed_out(self, call: Call) -> None:
        """The answer of a command that waited in vain."""
        self.down(call)

    def purge(self, store: Store, state: State, now: float) -> None:
        """Forget what has been over for long enough."""


def remove_places(store: Store, ids: list[int]) -> None:
    """Delete the files of forgotten jobs."""
    for number in ids:
        place = store.job_path(number)
        try:
            for name in os.listdir(place):
                os.unlink(os.path.join(place, name))
            os.rmdir(place)
        except OSError:
            pass
