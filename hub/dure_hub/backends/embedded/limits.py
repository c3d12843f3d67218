"""How much of the machine this process may use: cores and memory, cgroup limits (v1 and v2) included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil


def cores(root: Path = Path("/")) -> int:
    """Whole cores; at least one."""
    quotas = [len(os.sched_getaffinity(0)), *_core_quotas(root)]
    return max(1, int(min(quotas)))


def memory_mb(root: Path = Path("/")) -> int:
    """Memory in MiB."""
    limits = [int(psutil.virtual_memory().total), *_memory_limits(root)]
    return min(limits) >> 20


def _core_quotas(root: Path) -> Iterator[float]:
    for folder in _folders(root, ""):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.strip().isdigit():
            yield int(quota) / int(period)
    for folder in _folders(root, "cpu"):
        quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():  # no limit is -1
            yield int(quota) / int(period)


def _memory_limits(root: Path) -> Iterator[int]:
    for controller, name in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):
        for folder in _folders(root, controller):
            limit = _text(folder / name)
            if limit.isdigit():  # no limit is "max", or more than there is
                yield int(limit)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """This process's cgroup and those above it. In a container the upper ones may not be there."""
    mount = root / "sys/fs/cgroup" / controller
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            own = Path(path.lstrip("/"))
            yield from (mount / part for part in (own, *own.parents))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
