"""The other side of a driver: request workloads, with a limit on every wait.

Session.ask("warm_map", 20, count=1000) --JSON--> driver.py --JSON--> figures
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

__all__ = ["PeerError", "Session"]

HERE = Path(__file__).resolve().parent
START_SECONDS = 60.0


class PeerError(Exception):
    """A peer failed, or did not answer in time; the text is for the table."""


class Session:
    """One driver process.  Leaving the ``with`` block ends it and all that it started.

    python: interpreter of the peer's environment.  directory: the peer's, made here.
    """

    def __init__(self, peer: str, python: str, directory: Path, slots: int, environment: Mapping[str, str]) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self._log = open(directory / "driver.log", "ab")  # noqa: SIM115  (closed in __exit__)
        self._process = subprocess.Popen(
            [python, str(HERE / "driver.py"), peer, str(directory), str(slots)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=directory,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        self._unread = b""
        try:
            self._answer(START_SECONDS)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        with contextlib.suppress(ProcessLookupError):  # what it left behind, and itself if it hangs
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        self._log.close()

    def ask(self, workload: str, limit: float, **parameters: Any) -> dict[str, Any]:
        """The figures of a workload.  Raises PeerError when it fails or takes longer than
        ``limit`` seconds; the session is of no more use after the latter."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps({"workload": workload, **parameters}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(f"ended; {self._last_words()}") from None
        answer = self._answer(limit)
        if "error" in answer:
            raise PeerError(str(answer["error"]))
        return answer

    def _answer(self, limit: float) -> dict[str, Any]:
        assert self._process.stdout
        deadline = time.monotonic() + limit
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise PeerError(f"not done after {limit:g} s")
            piece = os.read(self._process.stdout.fileno(), 1 << 16)
            if not piece:
                raise PeerError(f"ended; {self._last_words()}")
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        lines = (self.directory / "driver.log").read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"
