"""The directory of one job: its files, and who writes them.

    job.json            the program that submitted: ids, name, scheduler, dependencies
    script, run.sh      ... : what the scheduler runs, and what that runs
    command | call      ... : the user's command, or the pickled function with its arguments
    started, exit       run.sh: time and host of the start, and its id; exit code and time of the end
    out, err, result    the user's command or function (unless out and err go elsewhere)
    cancelled           the canceller: it counts before an exit code, which the signal may have made
    waits, unmet        the program: what run.sh checks first, of the jobs that this one waited for; run.sh: what of it
                        did not come true

``exit`` and ``result`` are renamed into place: they are whole, or not there.  The jobs of an
array have directories 0, 1, ... in that of the array, which has ``array.json`` and ``script``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clusterfutures.errors import StoreError
from clusterfutures.store.faults import again
from clusterfutures.store.parents import Held, refuse_open

__all__ = ["ID_FIELD", "VISIBILITY_SECONDS", "JobFiles"]

log = logging.getLogger("clusterfutures")

#: how long a file may be late that is listed, or that a job has surely written
VISIBILITY_SECONDS = 60.0

#: A signal that is to end the job reaches the command as well.  The shell waits for it, so that the command has
#: the time that the scheduler gives, and then ends as if it had not waited: how that was says the scheduler.
_RUN = """\
#!/bin/sh
umask 077
command cd {directory} || exit 71
if [ -e exit ]; then rm -f exit result; fi
if [ -r waits ] && [ ! -e started ]; then . ./waits; fi
echo "$(date +%s) $(uname -n) $CLUSTERFUTURES_JOB_ID" >started
told=
trap 'told=1' TERM
(umask {umask:04o}; command cd {cwd} && {{ exec {command}{redirected}; }}) >out 2>err </dev/null
code=$?
case "$code" in
137|143)  # the signal may have gone to the whole session: then it reaches this shell as well
    if [ ! "$told" ]; then sleep 1 & wait "$!"; fi ;;
esac
if [ "$told" ]; then trap - TERM; kill -s TERM $$; fi
echo "$code $(date +%s)" >exit.new && mv exit.new exit
exit $code
"""

#: in the name of a file for output: the job's id
ID_FIELD = "%j"


class JobFiles:
    """The files of the job in ``path``."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._kept: dict[str, bytes | None] | None = None
        self._held: Held | None = None

    @classmethod
    def make(cls, base: str, name: str, suffix: str = "") -> JobFiles:
        """A new directory for a job called ``name``, ours alone; ``suffix`` ends its name.  Raises StoreError."""
        path = os.path.join(base, f"{name}-{secrets.token_hex(4)}" + (f".{suffix}" if suffix else ""))
        refuse_open(path)
        try:
            os.makedirs(base, mode=0o700, exist_ok=True)
            os.mkdir(path, 0o700)
        except OSError as error:
            raise StoreError(
                message=f"the directory of the job cannot be made in {base}: {error.strerror}; name another with "
                "directory= (--directory), or set jobs_directory",
                path=path,
            ) from None
        made = cls(path)
        made._held = Held(path)
        return made

    def check_place(self) -> None:
        """Raise StoreError when something else has come in the place of a directory that was just made."""
        if self._held is not None:
            held, self._held = self._held, None
            try:
                held.check()
            finally:
                held.release()

    def file(self, name: str) -> str:
        """The path of one of the files."""
        return os.path.join(self.path, name)

    def write(self, name: str, content: bytes, mode: int = 0o600) -> None:
        """Write a file, all of it or nothing."""
        try:
            self._write(name, content, mode)
        except OSError as error:
            again(error, VISIBILITY_SECONDS, self._write, (name, content, mode))

    def _write(self, name: str, content: bytes, mode: int) -> None:
        temporary = self.file(f"{name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, self.file(name))

    def read(self, name: str) -> bytes | None:
        """A file's content, None when it is not there; once removed, what has come of the job is still
        known.  Raises StoreError when it is not ours, or the directory is gone."""
        if self._kept is not None:
            return self._kept.get(name)
        try:
            return self._read(name)
        except OSError as error:
            return again(error, VISIBILITY_SECONDS, self._read, (name,))

    def _read(self, name: str) -> bytes | None:
        """A file is looked for in the listing: what is opened by its path and not there may stay so for a while, in
        the memory of a network file system. One that is listed and cannot be opened yet is late."""
        deadline = time.monotonic() + VISIBILITY_SECONDS
        while self._is_listed(name):
            try:
                with open(self.file(name), "rb") as file:
                    found = os.fstat(file.fileno())
                    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                        raise StoreError(message=f"{file.name} is not yours alone: refused", path=str(file.name))
                    return file.read()
            except FileNotFoundError:
                if time.monotonic() > deadline:
                    log.warning("clusterfutures: %s is listed and cannot be opened", self.file(name))
                    return None
            time.sleep(0.05)
        return None

    def _is_listed(self, name: str) -> bool:
        try:
            return name in os.listdir(self.path)
        except FileNotFoundError:
            gone = f"the directory of the job, {self.path}, is gone: was it cleaned?"
            raise StoreError(message=gone, path=self.path) from None

    def text(self, name: str) -> str:
        """A file as text, "" when it is not there."""
        return (self.read(name) or b"").decode("utf-8", "replace")

    def write_run(self, command: Sequence[str], cwd: str, outfile: str = "", errfile: str = "") -> None:
        """Write what the job's script runs."""
        redirected = f" >{_with_id(outfile)}" if outfile else ""
        if errfile:
            redirected += " 2>&1" if errfile == outfile else f" 2>{_with_id(errfile)}"
        text = _RUN.format(
            directory=shlex.quote(self.path), cwd=shlex.quote(cwd), command=shlex.join(command), redirected=redirected,
            umask=_umask(),
        )  # fmt: skip
        self.write("run.sh", text.encode("utf-8", "surrogateescape"))

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write what another program needs to know of the job."""
        self.write("job.json", json.dumps(record).encode())

    def record(self) -> dict[str, Any]:
        """What ``write_record`` wrote.  Raises StoreError where there is no job, or where it is not safe."""
        refuse_open(self.path)
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
        for name in ("started", "exit", "out", "err", "result", "cancelled", "waits", "unmet"):
            if os.path.lexists(self.file(name)):
                os.unlink(self.file(name))

    def remove(self, remember: bool = True) -> None:
        """Remove the directory with what jobs of ours write there; other files stay.

        With the last job of an array the array's own directory goes.  remember: what has come of
        the job is read before, and still known.
        """
        kept = {name: self.read(name) for name in _OUTCOME} if remember and os.path.isdir(self.path) else {}
        self._remove(_OURS)
        self._kept = self._kept or kept
        above = JobFiles(os.path.dirname(self.path))
        if not os.path.isfile(above.file("array.json")):
            return
        with os.scandir(above.path) as entries:
            is_last = not any(entry.is_dir() for entry in entries)
        if is_last:
            above._remove([name for name in os.listdir(above.path) if re.fullmatch(_OURS_OF_ARRAYS, name)])

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            for path in (self.file(name), self.file(f"{name}.new")):
                if os.path.lexists(path):
                    os.unlink(path)
        if os.path.isdir(self.path) and not os.listdir(self.path):
            os.rmdir(self.path)


_OURS = (
    "job.json", "script", "run.sh", "command", "call", "started", "exit", "out", "err", "result", "cancelled",
    "waits", "unmet", "log-0.log", "log-0.log.attempt",
)  # fmt: skip
#: what is remembered of a job after its files were removed
_OUTCOME = ("started", "exit", "out", "err", "result", "cancelled", "unmet")
_OURS_OF_ARRAYS = r"array\.json|script|log-\d+\.log(\.attempt)?"


def _with_id(path: str) -> str:
    """The path as a word for the shell."""
    return '"${CLUSTERFUTURES_JOB_ID%%.*}"'.join(shlex.quote(part) if part else "" for part in path.split(ID_FIELD))


def _umask() -> int:
    """That of this program, which its jobs have, too."""
    with open("/proc/self/status") as status:  # os.umask can only ask by setting it, for all threads
        found = re.search(r"^Umask:\s*([0-7]+)", status.read(), re.MULTILINE)
    return int(found[1], 8) if found else 0o077
