"""Starts scripts by fork, from an interpreter that has imported already what all of them need.

    compare.run --path, environment, directory ...--> starter --fork--> keeper --fork--> the script
                <--------------exit status------------------------------/

Python and the imports take more time than most scripts.  The script runs in the true ``__main__`` of the process, which
has the names, ``sys.argv`` and ``sys.path`` that ``python script.py`` would give it, and ends as any interpreter does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.machinery
import json
import multiprocessing.process
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

#: the whole program; the frame of the script is the second one, under that of this line
_PROGRAM = "from starter import serve; exec(serve(globals(), int(__import__('sys').argv[1])), globals())"
_USED_BY_ALL = (
    "clusterfutures", "clusterfutures.client.client", "clusterfutures.executors", "clusterfutures.schedulers.local",
    "concurrent.futures.process", "concurrent.futures.thread", "cloudpickle", "filelock", "multiprocessing.context",
    "multiprocessing.queues", "dis", "inspect", "logging", "uuid",
)  # fmt: skip


class Starter:
    """A process that starts scripts.  It ends with this one.  Used by any thread."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="starter-")
        self._address = os.path.join(self._directory.name, "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._address)
            listener.listen(64)
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(listener.fileno())],
                env=environment, stdin=subprocess.PIPE, pass_fds=[listener.fileno()],
            )  # fmt: skip

    def run(self, limit: float, **request: Any) -> int | None:
        """Run a script; its exit status as ``subprocess`` has it, or None when it was killed after ``limit`` seconds.

        request: path, arguments, environment, directory; stdout and stderr are files.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._address)
            connection.sendall(json.dumps({**request, "limit": limit}).encode() + b"\n")
            with connection.makefile() as answer:
                status: int | None = json.loads(answer.readline())
        return status

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._directory.cleanup()


def serve(main: dict[str, Any], descriptor: int) -> Any:
    """Wait for requests; in the process that is to run a script, return its code."""
    for name in _USED_BY_ALL:
        __import__(name)
    gc.collect()
    gc.freeze()
    listener = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks for the keepers
    while True:
        readable, _, _ = select.select([listener, 0], [], [])
        if 0 in readable:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        with connection.makefile() as lines:
            request = json.loads(lines.readline())
        script = os.fork()
        if not script:
            connection.close()
            return _become(main, request)
        _keep(script, connection, request["limit"])


def _keep(script: int, connection: socket.socket, limit: float) -> None:
    """Wait for the script, for so many seconds, and tell how it ended."""
    killed = []

    def kill(*_: object) -> None:
        killed.append(script)
        os.kill(script, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    signal.setitimer(signal.ITIMER_REAL, limit)
    _, status = os.waitpid(script, 0)
    said = None if killed else os.waitstatus_to_exitcode(status)
    connection.sendall(json.dumps(said).encode() + b"\n")
    os._exit(0)


def _become(main: dict[str, Any], request: dict[str, Any]) -> Any:
    """Make this process what ``python script.py`` is when it begins; returns the code of the script."""
    path = request["path"]
    for descriptor, name in enumerate((os.devnull, request["stdout"], request["stderr"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    multiprocessing.process.ORIGINAL_DIR = request["directory"]  # type: ignore[attr-defined]
    sys.argv[:] = [path, *request["arguments"]]
    sys.path[0] = os.path.dirname(path)
    sys.orig_argv[:] = [sys.executable, *sys.argv]
    main.clear()
    main.update(
        __name__="__main__", __doc__=None, __package__=None, __spec__=None, __annotations__={}, __cached__=None,
        __builtins__=__builtins__, __file__=path, __loader__=importlib.machinery.SourceFileLoader("__main__", path),
    )  # fmt: skip
    with contextlib.suppress(KeyError):
        del sys.modules["starter"]
    threading.current_thread().name = "MainThread"
    return compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)
