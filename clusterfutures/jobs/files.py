"""The directory of one job: what stands in it, and who writes it.

    job.json            the program that submitted: ids, name, scheduler, dependencies
    script, run.sh      ... : what the scheduler runs, and what that runs
    command | call      ... : the user's command, or the pickled function with its arguments
    started, exit       run.sh: host and time of the start; exit code and time of the end
    out, err, result    the user's command or function
    cancelled           whoever cancelled it

``exit`` and ``result`` are renamed into place: they are whole, or not there.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from clusterfutures.errors import StoreError

__all__ = ["JobFiles"]

_RUN = """\
#!/bin/sh
cd {directory} || exit 71
echo "$(date +%s) $(uname -n)" >started
(cd {cwd} && exec {command}) >out 2>err </dev/null
code=$?
echo "$code $(date +%s)" >exit.new && mv exit.new exit
exit $code
"""


class JobFiles:
    """The files of the job in ``path``."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    @classmethod
    def make(cls, base: str, name: str) -> JobFiles:
        """A new directory for a job called ``name``, ours alone."""
        os.makedirs(base, mode=0o700, exist_ok=True)
        path = os.path.join(base, f"{name}-{secrets.token_hex(4)}")
        os.mkdir(path, 0o700)
        return cls(path)

    def file(self, name: str) -> str:
        """The path of one of the files."""
        return os.path.join(self.path, name)

    def write(self, name: str, content: bytes, mode: int = 0o600) -> None:
        """Write a file, all of it or nothing."""
        temporary = self.file(f"{name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, self.file(name))

    def read(self, name: str) -> bytes | None:
        """A file's content, None when it is not there.  Raises StoreError when it is not ours."""
        os.listdir(self.path)  # a file system that remembers "not there" looks again
        try:
            with open(self.file(name), "rb") as file:
                found = os.fstat(file.fileno())
                if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                    raise StoreError(message=f"{file.name} is not yours alone: refused", path=str(file.name))
                return file.read()
        except FileNotFoundError:
            return None

    def text(self, name: str) -> str:
        """A file as text, "" when it is not there."""
        return (self.read(name) or b"").decode("utf-8", "replace")

    def write_run(self, command: Sequence[str], cwd: str) -> None:
        """Write what the job's script runs."""
        text = _RUN.format(directory=shlex.quote(self.path), cwd=shlex.quote(cwd), command=shlex.join(command))
        self.write("run.sh", f"umask 077\n{text}".encode("utf-8", "surrogateescape"))

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write what another program needs to know of the job."""
        self.write("job.json", json.dumps(record).encode())

    def record(self) -> dict[str, Any]:
        """What ``write_record`` wrote.  Raises StoreError where there is no job."""
        content = self.read("job.json") if os.path.isdir(self.path) else None
        if content is None:
            raise StoreError(message=f"{self.path} is no directory of a job: there is no job.json", path=self.path)
        found: dict[str, Any] = json.loads(content)
        return found

    def numbers(self, name: str) -> list[str]:
        """The words of ``started`` or ``exit``; [] when it is not there."""
        return self.text(name).split()

    def forget(self) -> None:
        """Remove what a run of the job has written, for another run."""
        for name in ("started", "exit", "out", "err", "result", "cancelled"):
            if os.path.lexists(self.file(name)):
                os.unlink(self.file(name))

    def remove(self) -> None:
        """Remove the directory with what jobs of ours write there; other files stay."""
        for name in _OURS:
            for path in (self.file(name), self.file(f"{name}.new")):
                if os.path.lexists(path):
                    os.unlink(path)
        if os.path.isdir(self.path) and not os.listdir(self.path):
            os.rmdir(self.path)


_OURS = (
    "job.json", "script", "run.sh", "command", "call", "started", "exit", "out", "err", "result", "cancelled",
    "log-0.log", "log-0.log.attempt",
)  # fmt: skip
