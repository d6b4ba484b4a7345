"""The CPU quota of the control groups that this program is in: a container's, or that of a session or service.

    /proc/self/cgroup      0::/a/b              2:cpu,cpuacct:/a/b
    /proc/self/mountinfo   where each hierarchy is mounted, and which part of it
    files, at every level  cpu.max (v2)         cpu.cfs_quota_us, cpu.cfs_period_us (v1)

The smallest quota of all levels counts.  A level that cannot be read has none.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator

__all__ = ["quota"]


def quota(root: str = "/") -> int | None:
    """How many CPUs the quota is worth, rounded up; None without a quota.  root: where ``proc`` and ``sys`` are."""
    found = [cpus for directory in _directories(root) if (cpus := _of(directory)) is not None]
    return max(1, math.ceil(min(found))) if found else None


def _directories(root: str) -> Iterator[str]:
    """The directories of our group and of those above it, in each hierarchy that limits CPUs."""
    places = {}
    for line in _read(os.path.join(root, "proc/self/cgroup")).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (number, controllers) == ("0", ""):
            places["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            places["cgroup"] = path
    for line in _read(os.path.join(root, "proc/self/mountinfo")).splitlines():
        head, _, tail = line.partition(" - ")
        fields, kind = head.split(" "), tail.split(" ")[0]
        if kind not in places or len(fields) < 5 or (kind == "cgroup" and "cpu" not in tail.split(" ")[-1].split(",")):
            continue
        base, mounted = _unescaped(fields[4]), _unescaped(fields[3]).rstrip("/")
        path = places[kind]
        # a container may see its own group as the root of the mount, and its path as outside has it
        below = path[len(mounted) :] if path == mounted or path.startswith(f"{mounted}/") else "/"
        parts = [part for part in below.split("/") if part not in ("", "..")]
        for count in range(len(parts), -1, -1):
            yield os.path.join(root, base.lstrip("/"), *parts[:count])


def _of(directory: str) -> float | None:
    """The quota of one group in CPUs, None without one."""
    words = _read(os.path.join(directory, "cpu.max")).split()
    if not words:
        words = [_read(os.path.join(directory, f"cpu.cfs_{name}_us")).strip() for name in ("quota", "period")]
    try:
        allowed, period = float(words[0]), float(words[1])
    except (IndexError, ValueError):  # "max", or no file
        return None
    return allowed / period if allowed > 0 and period > 0 else None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:  # there is none: no quota
        return ""


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
