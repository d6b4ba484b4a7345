"""What one machine gives to executors: cores within its CPU quota, and a warning for what it does not do."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from clusterfutures import LocalExecutor
from clusterfutures.schedulers import cgroups, local

V2 = "30 23 0:26 {mounted} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:27 {mounted} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 23 0:28 {mounted} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
)


def _machine(root: Path, cgroup: str, mounts: str, files: dict[str, str]) -> str:
    for name, content in {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return str(root)


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, None),
        ({"a/b/cpu.max": "max 100000\n"}, None),
        ({"a/b/cpu.max": "200000 100000\n"}, 2),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"}, 2),
        ({"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ({"a/b/cpu.max": "1000 100000\n"}, 1),
        ({"cpu.max": "100000 100000\n"}, 1),
    ],
)
def test_quota_of_version_2(tmp_path: Path, files: dict[str, str], cpus: int | None) -> None:
    placed = {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    assert cgroups.quota(_machine(tmp_path, "0::/a/b\n", V2.format(mounted="/"), placed)) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("-1", None), ("250000", 3), ("100000", 1)])
@pytest.mark.parametrize("mounted", ["/", "/docker/x"])
def test_quota_of_version_1(tmp_path: Path, quota: str, cpus: int | None, mounted: str) -> None:
    at = "sys/fs/cgroup/cpu,cpuacct" + ("/docker/x" if mounted == "/" else "")
    files = {f"{at}/cpu.cfs_quota_us": f"{quota}\n", f"{at}/cpu.cfs_period_us": "100000\n"}
    groups = "4:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n0::/\n"
    assert cgroups.quota(_machine(tmp_path, groups, V1.format(mounted=mounted), files)) == cpus


def test_a_container_that_sees_the_path_from_outside(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/cpu.max": "100000 100000"}
    assert cgroups.quota(_machine(tmp_path, "0::/../../x\n", V2.format(mounted="/"), files)) == 1


def test_a_machine_without_any(tmp_path: Path) -> None:
    assert cgroups.quota(str(tmp_path)) is None


def test_the_default_number_of_processes_keeps_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setattr(cgroups, "quota", lambda: 3)
    with LocalExecutor(directory=tmp_path) as ex:
        assert ex._max_workers == 3
    assert local.LocalScheduler()._capacity == 3
    monkeypatch.setattr(cgroups, "quota", lambda: None)
    assert local.cores_here() == 16


def test_what_the_machine_does_not_do_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, "clusterfutures"),
        LocalExecutor(1, directory=tmp_path, gpus="3090:2", partition="short", memory="1GB", cores=1, time="1h") as ex,
    ):
        (record,) = caplog.records
        assert "gpus='3090:2', partition='short', memory=1024: no effect" in record.getMessage().replace("\n", " ")
        assert ex.submit(int, "4").result(60) == 4
        assert len(caplog.records) == 1
        assert ex.with_options(qos="high", memory="2GB").submit(int, "5").result(60) == 5
        assert len(caplog.records) == 2
        assert "qos='high': no effect" in caplog.records[1].getMessage()


def test_what_it_does_needs_no_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with LocalExecutor(1, directory=tmp_path, cores=1, time="1h") as ex:
        assert ex.submit(int, "4").result(60) == 4
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
