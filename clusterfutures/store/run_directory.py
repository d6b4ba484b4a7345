"""The run directory, in the words of the design: the protocol of client and workers.

    file                      written by      read by    deleted by
    ------------------------  --------------  ---------  ----------------------------------
    run.json                  client, once    anybody    client, with the directory
    owner.lock                client (lock)   clients    client, with the directory
    context, context-<n>      client, once    workers    client, with the directory
    environment.sh            client, once    job        client, with the directory
    scripts/<batch>.sh        client          scheduler  client, with the directory
    objects/<key>             client          processes  client, with the directory
    queue/<worker group>/<bin>        client          worker     nobody: it is *moved*, by rename, to
    claimed/<worker>/<bin>    (the rename)    client     worker, when its results are written;
                                                         moved to read/ when calls failed or went back
    claimed/<worker>/         job, or client  client     client, with the directory, or when the worker is given up:
    claimed/<worker>          client          job        client, with the directory
    read/~<worker>~<bin>      (the rename)    attach     client, with the directory
    queue/<worker group>/~closed      client          workers    client, with the directory
    queue/<worker group>/~hungry      client          workers    client, when workers have work again
    claimed/<worker>/~kill... client          worker     worker, when it has read it
    claimed/<worker>/~beat... worker          client     worker, by rename to the next one
    results/<segment>         worker          client     nobody: the client moves it to
    read/<segment>            (the rename)    attach     client, with the directory, or when it is gathered
    read/gathered.<random>    client          attach     client, with the directory
    read/<bin>                (the rename)    attach     client, with the directory
    notes/<worker group or batch>     client, once    attach     client, with the directory
    large/<file>              process         client     client, when it has read it
    logs/<name>.log           job, processes  client     client, with the directory

``claimed/<worker>/`` is the check-in of a job: it is made with ``mkdir``, by the job when it starts or by the client
when the job is not wanted any more.  Who is first decides whether the worker exists.  A bin moves by rename only.

The client *fences* a worker that it gives up, and that may live: it renames the worker's bins away, removes the
directory and puts an empty file in its place.  Before calls of a bin begin that are not those of the claim, the worker
renames the bin to ``<bin>.<begun>``.  The first of both to rename the file decides which of its calls begin, and the
worker can claim nothing more.  (It could claim into a directory that is made again, and also into one that is renamed,
for open descriptors follow it.)
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from clusterfutures.store import names
from clusterfutures.store.bins import Bin, pack_bin, unpack_bin
from clusterfutures.store.faults import TRANSIENT, again, explained
from clusterfutures.store.filesystem import Files
from clusterfutures.store.frames import Bytes, cannot_make, framed, store_error, unframed
from clusterfutures.store.parents import Held, refuse_open

__all__ = ["DIRECTORIES", "LARGE_BYTES", "GivenUp", "RunDirectory"]

T = TypeVar("T")

#: from this size on, a buffer, a pickle or a result goes to a file of its own
LARGE_BYTES = 1 << 20
#: how long a file that is still open somewhere may keep a run directory from being removed
REMOVAL_SECONDS = 5.0
#: how many descriptors the removal of a run directory takes
SPARE_DESCRIPTORS = 4
#: between two attempts to empty the directory of a worker that goes on claiming
FENCE_PAUSE_SECONDS = 0.001
#: how long a log that cannot be read is tried again; then the error is raised without it
LOG_SECONDS = 5.0

DIRECTORIES = (
    names.OBJECTS, names.QUEUE, names.CLAIMED, names.RESULTS, names.READ, names.LARGE, names.LOGS, names.SCRIPTS,
    names.NOTES,
)  # fmt: skip


class GivenUp(Exception):
    """The client has given this worker up: nothing may begin any more."""


class RunDirectory:
    """One run's directory.  Holds nothing but paths; safe to use from several threads.

    wait: seconds that a file may be late: not there yet, or shorter than its frames say.
    """

    def __init__(self, path: str, files: Files | None = None) -> None:
        self.path = path
        self.files = files or Files()
        self.wait = self.files.patience
        self._spare: list[int] = []
        self._held: Held | None = None
        self._whole_by: float | None = None
        self.lasting = False  # another program may come back to it: large results stay when they have been read

    # -- both sides -------------------------------------------------------------

    def be_patient(self, seconds: float) -> None:
        """Wait so long for what is late, and repeat so long what fails with an error that may pass."""
        self.wait = self.files.patience = seconds

    def drop_spare(self) -> None:
        """Close the descriptors that were kept for the removal."""
        self.files.release(self._spare)

    def hold(self) -> None:
        """Keep the directory open where others could put another in its place; ``check_place`` compares it."""
        self.let_go()
        self._held = Held(self.path)

    def check_place(self) -> None:
        """Raise StoreError when something else is in the directory's place: what is there is not used."""
        if self._held is not None:
            self._held.check()

    def let_go(self) -> None:
        """End ``hold``."""
        if self._held is not None:
            self._held.release()
            self._held = None

    @classmethod
    def create(cls, path: str, files: Files | None = None, patience: float | None = None) -> RunDirectory:
        """Make a new run directory and its parents.  patience: see ``be_patient``.

        It keeps the descriptors that its removal takes, until ``drop_spare``: what has none begins nothing.
        Raises StoreError when it exists already, or cannot be made.
        """
        run = cls(path, files)
        if patience is not None:
            run.be_patient(patience)
        try:
            run.files.reserve(run._spare, SPARE_DESCRIPTORS)
            refuse_open(path)
            run.files.make_parents(path)
            if not run.files.make_directory(path, alone=True):
                raise store_error(f"the run directory {path} exists already: choose another name", path)
            for name in DIRECTORIES:
                run.files.make_directory(f"{path}/{name}")
        except OSError as error:
            run.remove()  # a half of one is of no use; what was there before has raised StoreError
            raise cannot_make(path, error) from error
        return run

    @classmethod
    def open(cls, path: str, files: Files | None = None) -> RunDirectory:
        """Open a run directory that exists.  Raises StoreError when it is not safe."""
        run = cls(path, files)
        refuse_open(path)
        try:
            run.files.check_directory(path)
        except FileNotFoundError:
            raise store_error(f"there is no run directory {path} on this machine", path) from None
        try:
            for name in DIRECTORIES:
                run.files.check_directory(f"{path}/{name}")
        except FileNotFoundError:
            raise store_error(f"{path} is no run directory, for it has no {name}/", path) from None
        return run

    @staticmethod
    def below(base: str) -> list[str]:
        """The paths of what may be run directories in ``base``; none when it is not there."""
        try:
            found = Files().listing(base)
        except FileNotFoundError:
            return []
        return [path for name in found if os.path.isdir(path := os.path.join(base, name))]

    @staticmethod
    def exists(path: str) -> bool:
        """Whether there is anything, be it a dangling link, at ``path``."""
        return os.path.lexists(path)

    def log_path(self, name: str) -> str:
        """Where the log ``name`` stands."""
        return f"{self.path}/{names.LOGS}/{name}.log"

    # -- the client's side ------------------------------------------------------

    def write_run_file(self, fields: dict[str, Any]) -> None:
        """Say who runs what where, for people and for ``attach``."""
        import json  # late: a node, which has no use for it, must start fast

        with self._written(names.RUN_FILE):
            self.files.publish(self.path, names.RUN_FILE, [json.dumps(fields, indent=1, default=str).encode()])

    def read_run_file(self) -> dict[str, Any]:
        """What ``write_run_file`` said.  Raises ValueError when it is not readable."""
        import json  # late, as above

        fields = json.loads(self.files.read(f"{self.path}/{names.RUN_FILE}"))
        if not isinstance(fields, dict):
            raise ValueError(f"{self.path}/{names.RUN_FILE} does not hold the fields of a run")
        return fields

    def write_context(self, context: dict[str, Any], worker_group: str = "0") -> None:
        """Write what every worker has to know, once per program; worker group: one of the program's."""
        with self._written("what the workers have to know"):
            self.files.publish(self.path, names.context_name(worker_group), framed([pickle.dumps(context, 5)]))

    def write_environment(self, text: str) -> str:
        """Write the shell file that a job without our environment reads; its path."""
        with self._written("the environment for the jobs"):
            self.files.publish(self.path, names.ENVIRONMENT_FILE, [os.fsencode(text)])
        return self.environment_path

    @property
    def environment_path(self) -> str:
        """Where that file stands."""
        return f"{self.path}/{names.ENVIRONMENT_FILE}"

    def write_script(self, batch: str, text: str) -> str:
        """Write a job's script; its path."""
        with self._written("the script of a job"):
            self.files.publish(f"{self.path}/{names.SCRIPTS}", f"{batch}.sh", [os.fsencode(text)])
        return f"{self.path}/{names.SCRIPTS}/{batch}.sh"

    def check_in_path(self, worker: str) -> str:
        """Return the directory: its ``mkdir`` decides whether ``worker`` starts."""
        return f"{self.path}/{names.CLAIMED}/{worker}"

    def revoke(self, worker: str) -> bool:
        """Check in for a worker that has not started, so that it never will.

        Returns False when the worker was first.  Raises OSError when nothing can be written:
        then the worker may still come.
        """
        return self.files.make_directory(self.check_in_path(worker))

    def write_object(self, key: str, pieces: Sequence[Bytes]) -> None:
        """Publish an object under its key: the hash of its content, behind that of a directory if there are many."""
        with self._written(f"an object of {sum(memoryview(piece).nbytes for piece in pieces)} bytes"):
            directory, name = os.path.split(f"{self.path}/{names.OBJECTS}/{key}")
            if "/" in key:
                self.files.make_directory(directory)
            self.files.publish(directory, name, framed(pieces))

    def open_worker_group(self, worker_group: str) -> None:
        """Make the queue of the workers with one set of resources, or open it again."""
        with self._written("a queue"):
            if not self.files.make_directory(self._queue(worker_group)):
                self.files.discard(f"{self._queue(worker_group)}/{names.CLOSED}")

    def publish_bin(self, worker_group: str, content: Bin) -> str:
        """Put a bin in the queue; returns its file's name."""
        name = names.bin_name(content.bin_id, content.first, content.stop)
        with self._written("a call"):
            self.files.publish(self._queue(worker_group), name, pack_bin(content))
        return name

    def take_back(self, worker_group: str, name: str) -> bool:
        """Take a bin out of the queue again; False when a worker was first.

        Nothing can be taken back from a directory that cannot be written to: False, too.
        """
        aside = f"{self.path}/{names.READ}/{names.SIGN}{name}"
        try:
            taken = self.files.take(f"{self._queue(worker_group)}/{name}", aside)
        except FileNotFoundError:
            return False  # the whole run directory is gone
        except OSError as error:
            _log("a call cannot be taken back from %s: %s", self._queue(worker_group), error)
            return False
        if taken:
            self._removed(aside)
        return taken

    def close_worker_group(self, worker_group: str) -> None:
        """Tell the workers of a worker group that nothing will follow what is in the queue."""
        self.files.publish(self._queue(worker_group), names.CLOSED, [])

    def set_hungry(self, worker_group: str, hungry: bool) -> None:
        """Ask the busy workers of a worker group to give back calls that have not begun."""
        if hungry:
            self.files.publish(self._queue(worker_group), names.HUNGRY, [])
        else:
            self.files.discard(f"{self._queue(worker_group)}/{names.HUNGRY}")

    def launched(self) -> list[str]:
        """The workers that have checked in (and those revoked, or given up)."""
        return self.files.listing(f"{self.path}/{names.CLAIMED}")

    def claimed_bins(self, worker: str) -> list[names.Claimed]:
        """The bins that ``worker`` had claimed and not finished; none of one that is fenced."""
        try:
            found = self.files.listing(self.check_in_path(worker))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [parsed for name in found if (parsed := names.parse_claimed(name))]

    def taken_bins(self) -> list[tuple[str, names.Claimed]]:
        """The bins that were taken from workers when they were fenced, each with its worker."""
        found = self.files.listing(f"{self.path}/{names.READ}")
        return [parsed for name in found if name[0] == names.SIGN and (parsed := names.parse_taken(name))]

    def fence(self, worker: str) -> list[names.Claimed]:
        """See to it that ``worker`` begins nothing any more; the bins that it had (see the module).

        Also one that has not started never will.  May be done again.  Raises OSError when it cannot be done: then
        nobody knows what the worker begins.
        """
        place = self.check_in_path(worker)
        deadline = time.monotonic() + self.wait
        while not self.files.make_file(place) and self._emptied(worker, place):
            if time.monotonic() > deadline:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), place)
        return [taken for owner, taken in self.taken_bins() if owner == worker]

    def _emptied(self, worker: str, place: str) -> bool:
        """Take what is in a worker's directory, and remove that; False when it is a file already."""
        try:
            for name in self.files.listing(place):
                if names.parse_claimed(name) is None:
                    self.files.discard(f"{place}/{name}")  # a sign
                else:  # False: the worker was first, and has it under another name, or has finished it
                    target = names.taken_name(worker, name)
                    self.files.take(f"{place}/{name}", f"{self.path}/{names.READ}/{target}")
            for name in self.files.unfinished(place):
                self.files.discard(f"{place}/{name}")
        except NotADirectoryError:
            return False
        except FileNotFoundError:
            return True
        if not self.files.remove_directory(place):
            time.sleep(FENCE_PAUSE_SECONDS)
        return True

    def beat(self, worker: str) -> int:
        """The number of the last beat of ``worker``; 0 when there is none to be seen."""
        try:
            found = self.files.listing(f"{self.path}/{names.CLAIMED}/{worker}")
        except (FileNotFoundError, NotADirectoryError):  # not started yet; given up
            return 0
        return max((number for name in found if (number := names.parse_beat(name)) is not None), default=0)

    def ask_to_kill(self, worker: str, bin_id: int, call: int) -> None:
        """Ask ``worker`` to end a call of a bin that it has claimed."""
        self.files.publish(f"{self.path}/{names.CLAIMED}/{worker}", names.kill_sign(bin_id, call), [])

    def new_segments(self) -> list[str]:
        """The names of segments that have not been set aside."""
        return self.files.listing(f"{self.path}/{names.RESULTS}")

    def read_segment(self, name: str) -> memoryview:
        """The records of a segment as bytes.  Raises StoreError when it is damaged, or not whole yet (``short``)."""
        path = f"{self.path}/{names.RESULTS}/{name}"
        (body,) = unframed(self.files.read(path), path)
        return body

    def set_aside(self, name: str) -> None:
        """Move a segment that has been read out of the way of the next look.

        Raises OSError when nothing can be written: then it is listed again.
        """
        self.files.take(f"{self.path}/{names.RESULTS}/{name}", f"{self.path}/{names.READ}/{name}")

    def read_large(self, name: str, wait: float) -> list[memoryview]:
        """The pickle and the buffers of a large result; the file is removed, unless the run is to last.

        A file that is announced and not there is late, not lost: retried for ``wait``
        seconds before StoreError.
        """
        path = f"{self.path}/{names.LARGE}/{name}"
        directory, last = os.path.split(path)
        parts = self._late(lambda: unframed(bytearray(self.files.read(path)), path), directory, last, wait)
        if not self.lasting:
            self._removed(path)
        return parts

    def read_log(self, name: str, start: int, stop: int | None = None) -> bytes:
        """Bytes ``start`` up to ``stop`` of a log; what there is, when it is shorter."""
        try:
            return self._log_part(name, start, stop)
        except FileNotFoundError:
            return b""
        except OSError as error:
            try:
                return again(error, min(self.wait, LOG_SECONDS), self._log_part, (name, start, stop))
            except OSError as last:
                _log("the log %s cannot be read: %s", self.log_path(name), last)
                return b""

    def _log_part(self, name: str, start: int, stop: int | None) -> bytes:
        with open(self.log_path(name), "rb") as log:
            log.seek(start)
            return log.read() if stop is None else log.read(stop - start)

    def empty(self) -> None:
        """Remove what is in the directories of the run; what cannot be goes with ``remove``, or keeps it."""
        import shutil  # late, as json above

        self.drop_spare()
        for name in DIRECTORIES:
            shutil.rmtree(f"{self.path}/{name}", ignore_errors=True)

    def remove(self) -> None:
        """Remove the run directory and all that is in it.

        A file that is open somewhere, such as the log of a job that is just ending, stays on a network
        file system under another name until it is closed: then its directory is tried again.
        """
        self.drop_spare()
        deadline = time.monotonic() + REMOVAL_SECONDS
        pause = 0.01
        while in_the_way := self._remove_what_can_be():
            held = any(error.errno in (*TRANSIENT, errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY) for error in in_the_way)
            if not held or time.monotonic() > deadline:
                _log("the run directory %s could not be removed: %s", self.path, in_the_way[0])
                return
            time.sleep(pause)
            pause = min(2 * pause, 0.5)

    def _remove_what_can_be(self) -> list[OSError]:
        """Remove the run directory; why that failed, when it did."""
        import shutil  # late, as json above

        errors: list[OSError] = []
        shutil.rmtree(self.path, onerror=lambda _verb, _path, caught: errors.append(caught[1]))  # type: ignore[arg-type]
        return [error for error in errors if not isinstance(error, FileNotFoundError)]

    # -- the worker's side ------------------------------------------------------

    def read_context(self, worker_group: str = "0", wait: float | None = None) -> dict[str, Any]:
        """What the client wrote for every worker of the program that ``worker group`` is of.

        wait: seconds that it may be late.  Raises StoreError.
        """
        name = names.context_name(worker_group)
        path = f"{self.path}/{name}"
        (body,) = self._late(lambda: unframed(self.files.read(path), path), self.path, name, wait)
        context: dict[str, Any] = pickle.loads(body)
        return context

    def queued(self, worker_group: str) -> list[str]:
        """The names in a worker group's queue, oldest bin first, signs last."""
        return self.files.listing(self._queue(worker_group))

    def claim(self, worker_group: str, name: str, worker: str) -> Bin | None:
        """Claim a bin; None when somebody else was first.  Raises GivenUp."""
        directory = f"{self.path}/{names.CLAIMED}/{worker}"
        path = f"{directory}/{name}"
        try:
            if not self.files.take(f"{self._queue(worker_group)}/{name}", path):
                return None
            return self._late(lambda: unpack_bin(self.files.read(path), path), directory, name)
        except (FileNotFoundError, NotADirectoryError) as error:
            self._check_in_is_there(worker, error)
            raise

    def note_begun(self, worker: str, name: str, begun: int) -> str:
        """Note that the calls of a claimed bin before ``begun`` begin now; the bin's new name.

        Raises GivenUp when the bin is not there any more: then they must not begin.
        """
        parsed = names.parse_claimed(name)
        assert parsed is not None
        directory = self.check_in_path(worker)
        noted = names.begun_name(names.bin_name(*parsed[:3]), begun)
        try:
            if self.files.take(f"{directory}/{name}", f"{directory}/{noted}"):
                return noted
        except (FileNotFoundError, NotADirectoryError) as error:
            self._check_in_is_there(worker, error)
            raise
        raise GivenUp(worker)

    def _check_in_is_there(self, worker: str, error: OSError) -> None:
        """Raise GivenUp if the worker's directory has gone, ``error`` if the whole run has."""
        try:
            self.files.listing(self.check_in_path(worker))
        except NotADirectoryError:
            raise GivenUp(worker) from error
        except FileNotFoundError:
            self.files.listing(f"{self.path}/{names.CLAIMED}")
            raise GivenUp(worker) from error

    def finish(self, worker: str, name: str) -> None:
        """Forget a claimed bin after all its results are published."""
        with contextlib.suppress(NotADirectoryError):  # given up: the client has taken it
            self.files.discard(f"{self.path}/{names.CLAIMED}/{worker}/{name}")

    def open_log(self, name: str) -> int:
        """A descriptor to append to the log ``name``."""
        return self.files.open_log(self.log_path(name))

    def asked_to_kill(self, worker: str) -> list[tuple[int, int]]:
        """Return (bin, call) of the calls that ``worker`` has to end; each is returned once.  Raises GivenUp."""
        directory = f"{self.path}/{names.CLAIMED}/{worker}"
        asked = []
        try:
            found = self.files.listing(directory)
        except (FileNotFoundError, NotADirectoryError) as error:
            self._check_in_is_there(worker, error)
            raise
        for name in found:
            if (parsed := names.parse_kill_sign(name)) is not None:
                self._removed(f"{directory}/{name}")
                asked.append(parsed)
        return asked

    def give_beat(self, worker: str, number: int) -> None:
        """Say again that ``worker`` lives; number: how often it has said so.  Raises GivenUp."""
        directory = self.check_in_path(worker)
        before, after = names.beat_sign(number), names.beat_sign(number + 1)
        try:
            if not number or not self.files.take(f"{directory}/{before}", f"{directory}/{after}"):
                self.files.publish(directory, after, [])
        except (FileNotFoundError, NotADirectoryError) as error:
            self._check_in_is_there(worker, error)
            raise

    def keep(self, worker: str, name: str) -> None:
        """Set a claimed bin aside after its results are published: some of its calls may run again."""
        parsed = names.parse_claimed(name)
        kept = name if parsed is None else names.bin_name(*parsed[:3])
        with contextlib.suppress(NotADirectoryError):  # given up: the client has taken it
            self.files.take(f"{self.path}/{names.CLAIMED}/{worker}/{name}", f"{self.path}/{names.READ}/{kept}")

    def publish_segment(self, name: str, body: Bytes) -> None:
        """Publish a worker's records."""
        self.files.publish(f"{self.path}/{names.RESULTS}", name, framed([body]))

    def write_large(self, name: str, pieces: Sequence[Bytes]) -> None:
        """Publish a large result: its pickle and its out-of-band buffers."""
        directory, last = os.path.split(f"{self.path}/{names.LARGE}/{name}")
        if "/" in name:
            self.files.make_directory(directory)
        self.files.publish(directory, last, framed(pieces))

    def map_object(self, key: str, wait: float, checked: bool = False) -> list[memoryview]:
        """The frames of an object, as private writable views.

        checked: its checksums have been compared before.  Raises StoreError when it is
        damaged, or not there after ``wait`` seconds.
        """
        path = f"{self.path}/{names.OBJECTS}/{key}"
        directory, name = os.path.split(path)
        return self._late(lambda: unframed(self.files.map(path), path, check=not checked), directory, name, wait)

    # -- no space, late names -------------------------------------------------------------

    @contextlib.contextmanager
    def _written(self, what: str) -> Iterator[None]:
        """Say what could not be written where.  That the directory has gone stays FileNotFoundError."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise store_error(f"{what} could not be written to {self.path}: {explained(error)}", self.path) from error

    def _removed(self, path: str) -> None:
        """Remove a file that nobody needs any more; where that cannot be done, it goes with the run."""
        try:
            self.files.discard(path)
        except OSError as error:
            _log("%s cannot be removed: %s", path, error)

    def _queue(self, worker_group: str) -> str:
        return f"{self.path}/{names.QUEUE}/{worker_group}"

    def whole(self, read: Callable[[], T]) -> T:
        """``read()`` until what it reads is whole, for up to ``wait`` seconds; one that is not there is not waited for.

        All that is read of a run's past shares the time: a file that was cut off years ago is not late.
        """
        while True:
            try:
                return read()
            except Exception as error:
                if self._whole_by is None:
                    self._whole_by = time.monotonic() + self.wait
                if not getattr(error, "short", False) or time.monotonic() > self._whole_by:
                    raise
            time.sleep(0.05)

    def _late(self, read: Callable[[], T], directory: str, name: str, wait: float | None = None) -> T:
        """``read()`` until the file is there and whole, its directory listed each time; StoreError after ``wait``
        seconds."""
        seconds = self.wait if wait is None else wait
        deadline = time.monotonic() + seconds
        pause = 0.002
        while True:
            try:
                return read()
            except FileNotFoundError as error:
                if time.monotonic() > deadline:
                    why = f"did not appear within {seconds:g} s: was it removed, or is another directory seen here?"
                    if not seconds:  # it is not new
                        why = "was removed when its program had read it: large results stay in runs with a name, run="
                    raise store_error(f"{directory}/{name} {why}", f"{directory}/{name}") from error
            except Exception as error:
                if not getattr(error, "short", False) or time.monotonic() > deadline:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, 1.0)
            self.files.listing(directory)  # revalidates what the client of a network file system remembers


def _log(message: str, *arguments: object) -> None:
    import logging  # late, as json above: this happens on no way of a call that goes well

    logging.getLogger("clusterfutures").warning("clusterfutures: " + message, *arguments)
