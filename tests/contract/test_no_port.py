"""Nothing listens: neither the program, nor a supervisor, nor a process of a job."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import contract_tasks as tasks
import pytest
from conftest import Ground

LISTENING = "0A"  # a state of /proc/net/tcp


def _listening(pids: list[int]) -> list[tuple[int, str]]:
    """Processes, and the sockets at which they wait for connections."""
    ports = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                ports[f"socket:[{fields[9]}]"] = fields[1]
    return [(pid, ports[link]) for pid in pids for link in _open(pid) if link in ports]


def _open(pid: int) -> list[str]:
    """What a process has open; it may close something, or end, while this looks."""
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


@pytest.mark.on("local", "slurm")
def test_nothing_listens_on_a_port(ground: Ground, tmp_path: Path) -> None:
    with ground.executor(max_workers=1, processes=2) as ex:
        future = ex.submit(tasks.block, tmp_path / "started", tmp_path / "release")
        process = int(tasks.await_file(tmp_path / "started"))
        pids = [os.getpid(), *ground.processes()]
        assert process in pids
        assert _open(process)
        assert len(pids) >= 3, "the program, a supervisor and its process"
        with socket.create_server(("localhost", 0)) as server:
            (ours,) = _listening([os.getpid()])
            assert ours[1].endswith(f":{server.getsockname()[1]:04X}"), "a port that is open would be seen"
        assert not _listening(pids)
        tasks.touch(tmp_path / "release")
        future.result(60)
