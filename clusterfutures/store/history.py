"""What a run remembers of its programs: read by one that comes back to it, or goes on with it.

    earlier client --notes/--> which worker groups and jobs there were
                   --queue/--> calls that no worker has    --+
    workers     --claimed/--> calls that they work on        +--> all calls there were,
                --read/<bin>, BIN records--> calls before   --+    and what became of them
                --results/, read/<segment>, read/gathered...--> their outcomes

They are read in this order, in which a bin travels: what moves meanwhile is seen at least once.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from clusterfutures.errors import StoreError
from clusterfutures.store import names
from clusterfutures.store.bins import Bin, unpack_bin
from clusterfutures.store.frames import framed, unframed
from clusterfutures.store.gathered import entries_of
from clusterfutures.store.run_directory import RunDirectory

__all__ = ["Found", "History", "Submission"]

logger = logging.getLogger("clusterfutures")

_POOL, _BATCH, _IDS = "pool.", "batch.", "ids."


class Submission(NamedTuple):
    """``jobs`` jobs that were asked for under ``name``; job_ids: None while the answer is not known."""

    worker_group: str
    batch: str
    name: str
    jobs: int
    job_ids: Sequence[str] | None = None


class Found(NamedTuple):
    """A bin's file: in the queue of ``worker group``, claimed by ``worker``, or set aside (neither).

    name: as it was in the queue.  begun: calls before this one have begun, by the name of the file.
    """

    worker_group: str
    worker: str
    name: str
    content: Bin
    begun: int = 0


class History:
    """The past of one run directory."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._notes = f"{run.path}/{names.NOTES}"

    # -- written by every client ----------------------------------------------------

    def note_worker_group(self, worker_group: str, fields: dict[str, Any]) -> None:
        """Remember what the jobs of a worker group are like.  Raises OSError."""
        self._run.files.publish(self._notes, _POOL + worker_group, framed([pickle.dumps(fields, 5)]))

    def note_submission(self, submission: Submission) -> None:
        """Remember a submission, before it is made.  Raises OSError."""
        self._publish(_BATCH + submission.batch, submission._asdict())

    def note_answer(self, batch: str, job_ids: Sequence[str]) -> None:
        """Remember which jobs a submission became.  Raises OSError."""
        self._publish(_IDS + batch, list(job_ids))

    def _publish(self, name: str, value: Any) -> None:
        import json  # late, as in run.py

        self._run.files.publish(self._notes, name, [json.dumps(value).encode()])

    # -- read by the next -------------------------------------------------------------

    def worker_groups(self) -> dict[str, dict[str, Any]]:
        """What was noted of each worker group."""
        found = {}
        for name in self._noted(_POOL):
            path = f"{self._notes}/{name}"
            (body,) = self._run.whole(lambda path=path: unframed(self._run.files.read(path), path))  # type: ignore[misc]
            found[name.removeprefix(_POOL)] = pickle.loads(body)
        return found

    def submissions(self) -> list[Submission]:
        """All submissions of the run, the first one first."""
        answers = {name.removeprefix(_IDS): self._read(name) for name in self._noted(_IDS)}
        noted = [Submission(**_renamed(self._read(name))) for name in self._noted(_BATCH)]
        return [submission._replace(job_ids=answers.get(submission.batch)) for submission in noted]

    def _noted(self, kind: str) -> list[str]:
        return [name for name in self._run.files.listing(self._notes) if name.startswith(kind)]

    def _read(self, name: str) -> Any:
        import json  # late, as in run.py

        return json.loads(self._run.files.read(f"{self._notes}/{name}"))

    def checked_in(self) -> list[str]:
        """Return the names of all workers that started, or were revoked before."""
        return self._run.launched()

    def queued(self) -> Iterator[Found]:
        """Return the bins that no worker has claimed."""
        queue = f"{self._run.path}/{names.QUEUE}"
        for worker_group in self._run.files.listing(queue):
            for name, content in self._bins_in(f"{queue}/{worker_group}"):
                yield Found(worker_group, "", name, content)

    def claimed(self) -> Iterator[Found]:
        """The bins that workers have claimed and not finished, and those that were taken from workers."""
        for worker in self.checked_in():
            try:
                yield from self._claimed_in(f"{self._run.path}/{names.CLAIMED}/{worker}", worker)
            except NotADirectoryError:
                continue  # it was given up
        yield from self._claimed_in(f"{self._run.path}/{names.READ}", "")

    def _claimed_in(self, directory: str, worker: str) -> Iterator[Found]:
        for name in self._run.files.listing(directory):
            owner, claimed = (worker, names.parse_claimed(name)) if worker else names.parse_taken(name) or ("", None)
            if claimed is not None and (content := self._bin(directory, name)) is not None:
                yield Found("", owner, names.bin_name(*claimed[:3]), content, claimed.begun)

    def kept(self) -> Iterator[Found]:
        """The bins that were finished otherwise than with results alone."""
        for name, content in self._bins_in(f"{self._run.path}/{names.READ}"):
            yield Found("", "", name, content)
        for name, body in self._gathered():
            if names.parse_bin(name) is not None:
                yield Found("", "", name, unpack_bin(body, name))

    def _bins_in(self, directory: str) -> Iterator[tuple[str, Bin]]:
        for name in self._run.files.listing(directory):
            if names.parse_bin(name) is not None and (content := self._bin(directory, name)) is not None:
                yield name, content

    def _bin(self, directory: str, name: str) -> Bin | None:
        """The content of a bin's file; None when it has moved on just now, or cannot be read."""
        path = f"{directory}/{name}"
        try:
            return self._run.whole(lambda: unpack_bin(self._run.files.read(path), path))
        except FileNotFoundError:
            return None
        except StoreError as error:
            logger.warning("clusterfutures: the calls of a bin are not known: %s", error)
            return None

    def segments(self) -> Iterator[tuple[str, memoryview]]:
        """Worker and records of every segment, in the order in which each worker wrote them.

        What no client had read is set aside, as if one had.
        """
        # results/ first: one that a client sets aside meanwhile is listed twice, not missed
        files = [(name, place) for place in (names.RESULTS, names.READ) for name in self._listed(place)]
        gathered = dict(self._gathered())
        places = dict.fromkeys(gathered, names.READ) | dict(reversed(files))
        for name, place in sorted(places.items()):
            parsed = names.parse_segment(name)
            if parsed is None:
                continue
            body = gathered.get(name)
            if body is None:
                body = self._segment(place, name)
            if body is not None:
                yield parsed.worker, body
            if place == names.RESULTS and body is not None:
                self._run.set_aside(name)

    def _segment(self, place: str, name: str) -> memoryview | None:
        path = f"{self._run.path}/{place}/{name}"
        try:
            (body,) = self._run.whole(lambda: unframed(self._run.files.read(path), path))
        except FileNotFoundError:
            return None
        except StoreError as error:
            logger.warning("clusterfutures: results cannot be read: %s", error)
            return None
        return body

    def _gathered(self) -> Iterator[tuple[str, memoryview]]:
        """The names and contents of what earlier programs have gathered."""
        for name in self._listed(names.READ):
            if not names.is_gathered(name):
                continue
            path = f"{self._run.path}/{names.READ}/{name}"
            try:
                yield from entries_of(self._run.files.read(path), path)
            except FileNotFoundError:
                continue  # it was merged with others just now
            except StoreError as error:
                logger.warning("clusterfutures: results cannot be read: %s", error)

    def _listed(self, place: str) -> list[str]:
        return self._run.files.listing(f"{self._run.path}/{place}")


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    # Earlier versions called a group of workers a pool.
    return {("worker_group" if name == "pool" else name): value for name, value in fields.items()}
