"""How much of the machine this process may use: cores and memory, cgroup limits (v1 and v2) included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


def cores(root: Path = Path("/")) -> int:
    """Whole cores; at least one."""
    quotas = [len(os.sched_getaffinity(0)), *(quota for quota, _ in _core_quotas(root))]
    return max(1, int(min(quotas)))


def memory_mb(root: Path = Path("/")) -> int:
    """Memory in MiB."""
    limits = [int(psutil.virtual_memory().total), *(limit for limit, _ in _memory_limits(root))]
    return min(limits) >> 20


@dataclass(frozen=True)
class Used:
    """Processor time in seconds since some fixed moment, and memory (MiB) in use now. None is unknown."""

    cpu_s: float | None = None
    memory_mb: int | None = None


def used(root: Path = Path("/")) -> Used:
    """What is used of `cores()` and `memory_mb()`: by the cgroup that limits them, else by the whole machine."""
    return Used(_cpu_seconds(root), _memory_used_mb(root))


def _cpu_seconds(root: Path) -> float | None:
    own = sorted(os.sched_getaffinity(0))
    quota, folder = min(_core_quotas(root), default=(float(len(own)), None), key=lambda found: found[0])
    if folder is not None and quota < len(own):
        for line in text_of(folder / "cpu.stat").splitlines():
            name, _, number = line.partition(" ")
            if name == "usage_usec" and number.isdigit():
                return int(number) / 1e6
        nanoseconds = text_of(folder / "cpuacct.usage")
        return int(nanoseconds) / 1e9 if nanoseconds.isdigit() else None
    every = psutil.cpu_times(percpu=True)
    mine = [every[number] for number in own if number < len(every)]
    # a guest's time is in `user` already, and waiting for a disk uses no processor
    return sum(times.user + times.nice + times.system + times.irq + times.softirq for times in mine)


def _memory_used_mb(root: Path) -> int | None:
    machine = psutil.virtual_memory()
    limit, folder = min(_memory_limits(root), default=(int(machine.total), None), key=lambda found: found[0])
    if folder is None or limit >= machine.total:
        return int(machine.total - machine.available) >> 20
    current = text_of(folder / "memory.current") or text_of(folder / "memory.usage_in_bytes")
    if not current.isdigit():
        return None
    # files that were read once and may be dropped at any time are in it, too
    stale = {
        name: int(number)
        for name, _, number in (line.partition(" ") for line in text_of(folder / "memory.stat").splitlines())
        if number.isdigit()
    }
    idle = stale.get("total_inactive_file", stale.get("inactive_file", 0))
    return max(int(current) - idle, 0) >> 20


def _core_quotas(root: Path) -> Iterator[tuple[float, Path]]:
    for folder in _folders(root, ""):
        quota, _, period = text_of(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.strip().isdigit():
            yield int(quota) / int(period), folder
    for folder in _folders(root, "cpu"):
        quota, period = text_of(folder / "cpu.cfs_quota_us"), text_of(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():  # no limit is -1
            yield int(quota) / int(period), folder


def _memory_limits(root: Path) -> Iterator[tuple[int, Path]]:
    for controller, name in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):
        for folder in _folders(root, controller):
            limit = text_of(folder / name)
            if limit.isdigit():  # no limit is "max", or more than there is
                yield int(limit), folder


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """This process's cgroup and those above it. In a container the upper ones may not be there."""
    mount = root / "sys/fs/cgroup" / controller
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            own = Path(path.lstrip("/"))
            yield from (mount / part for part in (own, *own.parents))


def text_of(path: Path) -> str:
    """What such a file says; nothing where it is not there or may not be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
