"""What the files of a job tell of it, while it runs, when it has ended, and after they were removed."""

from __future__ import annotations

import os
import time
from typing import Any

from clusterfutures.jobs.files import ID_FIELD, JobFiles
from clusterfutures.schedulers.base import split_id

__all__ = ["Known"]


class Known:
    """The part of a Job that needs no scheduler: its record, its output, its times."""

    def _know(self, files: JobFiles | None, record: dict[str, Any]) -> None:
        self._here = files
        self.record = record
        self.id = str(record["id"])
        self.name = str(record["name"])
        self.scheduler = str(record["scheduler"])
        self.submitted: float | None = record["submitted"]
        self._deleted: dict[str, str] = {}

    @property
    def _files(self) -> JobFiles:
        if self._here is None:
            raise RuntimeError(f"{self!r} has no files yet: write() or submit() it")
        return self._here

    @property
    def path(self) -> str:
        """The job's directory."""
        return self._files.path

    @property
    def array_size(self) -> int:
        """How many jobs were submitted together as one array with this one; 0 when it is alone."""
        return int(self.record.get("array", 0))

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._printed("out")

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self._printed("err")

    def _printed(self, name: str) -> str:
        if name in self._deleted:
            return self._deleted[name]
        if os.path.dirname(self._output(name)) == self._files.path:
            return self._files.text(name)
        return self.printed_after(name, 0)[0]

    def printed_after(self, name: str, seen: int) -> tuple[str, int]:
        """What it wrote to "out" or "err" behind the first ``seen`` bytes, and how many there are now."""
        return _text_of(self._output(name), seen)

    @property
    def log(self) -> str:
        """What the scheduler and the job's script have written, before and around its command."""
        return _text_of(str(self.record.get("log") or self._files.file("log-0.log")), 0)[0]

    def command_text(self) -> str:
        """What it runs, as shell text; of a function its name."""
        return self._files.text("command") or self.name

    def _output(self, name: str) -> str:
        """The file that it prints to, or writes its stderr to."""
        told = str(self.record.get(f"{name}file") or "")
        return told.replace(ID_FIELD, split_id(self.id)[0]) if told else self._files.file(name)

    @property
    def out(self) -> Any:
        """What a function returned, None until it has; of a command what it has printed so far."""
        if not self.record["function"]:
            return self.stdout
        content = self._files.read("result")
        if content is None:
            return None
        from clusterfutures.jobs.function import unpacked

        worked, value = unpacked(content)
        return value if worked else None

    @property
    def submission(self) -> str:
        """The text that the scheduler is given."""
        return self._files.text("script")

    @property
    def started(self) -> float | None:
        """When it started, in seconds since the epoch by the node's clock; None when it has not."""
        words = self._files.numbers("started")
        return float(words[0]) if words else None

    @property
    def ended(self) -> float | None:
        """When it said that it had ended; None when it has not."""
        words = self._files.numbers("exit")
        return float(words[1]) if words else None

    @property
    def runtime(self) -> float | None:
        """Seconds that it has run, so far or in all; None when it has not started."""
        started, ended = self.started, self.ended
        return None if started is None else max(0.0, (time.time() if ended is None else ended) - started)

    @property
    def nodes(self) -> list[str]:
        """Where it runs: the node that its command was started on; [] when it has not."""
        return self._files.numbers("started")[1:2]

    @property
    def files(self) -> list[str]:
        """The paths of all that is in its directory now."""
        return sorted(map(self._files.file, os.listdir(self.path) if os.path.isdir(self.path) else ()))

    def _delete_outputs(self, remember: bool) -> None:
        """Remove ``outfile`` and ``errfile``; remember: what they held is still known."""
        for name in ("out", "err"):
            path = self._output(name)
            if self.record.get(f"{name}file") and os.path.isfile(path):
                self._deleted[name] = self._printed(name) if remember else ""
        for name in self._deleted:
            if os.path.isfile(self._output(name)):
                os.unlink(self._output(name))


def _text_of(path: str, seen: int) -> tuple[str, int]:
    """Return a file's content after the first ``seen`` bytes, and its size."""
    try:
        os.listdir(os.path.dirname(path))  # a file system that remembers "not there" looks again
        with open(path, "rb") as file:
            file.seek(seen)
            content = file.read()
    except FileNotFoundError:
        return "", seen
    return content.decode("utf-8", "replace"), seen + len(content)
