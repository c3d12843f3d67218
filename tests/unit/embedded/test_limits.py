"""Cores and memory with the cgroup limits of a container, both versions."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from dure_hub.backends.embedded import limits

OWN = len(os.sched_getaffinity(0))
MEMORY_MB = psutil.virtual_memory().total >> 20


def lay(root: Path, **files: str) -> Path:
    """Write files under `root`; `__` in a name stands for a slash, `_DOT_` for a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_cgroups_it_is_the_machine(tmp_path: Path) -> None:
    assert limits.cores(tmp_path) == OWN
    assert limits.memory_mb(tmp_path) == MEMORY_MB


def test_version_2_counts_the_groups_above(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        proc__self__cgroup="0::/team/ann\n",
        sys__fs__cgroup__team__ann__cpu_DOT_max="max 100000\n",
        sys__fs__cgroup__team__ann__memory_DOT_max="max\n",
        sys__fs__cgroup__team__cpu_DOT_max="150000 100000\n",
        sys__fs__cgroup__team__memory_DOT_max=f"{512 << 20}\n",
    )
    assert limits.cores(root) == 1
    assert limits.memory_mb(root) == 512


def test_version_2_in_a_container_that_is_its_own_root(tmp_path: Path) -> None:
    root = lay(tmp_path, proc__self__cgroup="0::/\n", sys__fs__cgroup__memory_DOT_max=f"{256 << 20}\n")
    assert limits.memory_mb(root) == 256


def test_version_1_whose_path_is_the_hosts_own(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        proc__self__cgroup="5:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n0::/\n",
        sys__fs__cgroup__memory__memory_DOT_limit_in_bytes=f"{128 << 20}\n",
        sys__fs__cgroup__cpu__cpu_DOT_cfs_quota_us="50000\n",
        sys__fs__cgroup__cpu__cpu_DOT_cfs_period_us="100000\n",
    )
    assert limits.cores(root) == 1  # half a core is still one to plan with
    assert limits.memory_mb(root) == 128


def test_version_1_without_limits(tmp_path: Path) -> None:
    root = lay(
        tmp_path,
        proc__self__cgroup="5:memory:/\n4:cpu:/\n",
        sys__fs__cgroup__memory__memory_DOT_limit_in_bytes="9223372036854771712\n",
        sys__fs__cgroup__cpu__cpu_DOT_cfs_quota_us="-1\n",
        sys__fs__cgroup__cpu__cpu_DOT_cfs_period_us="100000\n",
    )
    assert limits.cores(root) == OWN
    assert limits.memory_mb(root) == MEMORY_MB
