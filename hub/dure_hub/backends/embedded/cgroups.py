"""Limits on memory, cores and processes of one lease, by the kernel's control groups of version 2 or 1.

A lease has a group of its own, `dure-<portal>/<lease>`, below the portal's own where the kernel allows that. The
keeper makes it before anything runs in it (isolation/confine.py) and removes it at the end; here is chosen where,
tried whether it can be done at all, and ended what a killed keeper left.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dure_hub.backends.embedded import processes
from dure_hub.backends.embedded.limits import text_of
from dure_hub.backends.embedded.processes import Process
from dure_hub.isolation import confine

PERIOD_US = 100_000
LEAST_CORES = 1.0
"""No run is kept to less: with a part of a core JupyterLab takes a minute to start. Below it, a profile's
cores only say how a busy machine is divided."""
PROCESSES = 16_384
"""Processes and threads of one lease, at most: no work needs as many, and a machine survives them."""
CONTROLLERS = ("memory", "cpu", "pids")
NEEDED = ("memory", "cpu")
MOUNT = Path("sys/fs/cgroup")


@dataclass(frozen=True)
class Layout:
    """Where groups of this portal may be made, by controller; version 2 has one place for all."""

    version: int
    places: Mapping[str, Path]
    why: str = ""

    def plan(self, portal: str, lease: str, cores: float | None, memory_mb: int | None) -> list[dict[str, Any]]:
        """The groups of a lease with their limits, as the keeper makes them. No number is no limit."""
        values = _version_2(cores, memory_mb) if self.version == 2 else _version_1(cores, memory_mb)
        groups: dict[str, dict[str, str]] = {}
        for controller, place in self.places.items():
            limits = groups.setdefault(str(place / f"dure-{portal}" / lease), {})
            limits.update(values[controller])
        enabling = " ".join(f"+{name}" for name in self.places)
        above = {"cgroup.subtree_control": enabling} if self.version == 2 else {}
        return [{"folder": folder, "above": above, "limits": limits} for folder, limits in groups.items()]

    def folders(self, portal: str, lease: str) -> list[Path]:
        """The groups of a lease, whether they are there or not."""
        return list(dict.fromkeys(place / f"dure-{portal}" / lease for place in self.places.values()))

    def members(self, portal: str, lease: str) -> list[Process]:
        """What lives in them, whatever mark it carries."""
        found = {}
        for folder in self.folders(portal, lease):
            for pid in text_of(folder / "cgroup.procs").split():
                process = processes.find(int(pid))
                if process is not None:
                    found[process.pid] = process
        return list(found.values())

    def leases(self, portal: str) -> set[str]:
        """The leases that have a group."""
        found: set[str] = set()
        for place in self.places.values():
            with contextlib.suppress(OSError):
                found.update(one.name for one in (place / f"dure-{portal}").iterdir() if one.is_dir())
        return found

    def remove(self, portal: str, lease: str) -> None:
        """Remove a lease's groups, and the portal's own if that was the last. What is busy stays."""
        for folder in self.folders(portal, lease):
            with contextlib.suppress(OSError):
                folder.rmdir()
            with contextlib.suppress(OSError):
                folder.parent.rmdir()


@cache
def here(portal: str) -> Layout:
    """What this machine lets this process do; tried once."""
    return find(portal)


def find(portal: str, root: Path = Path("/")) -> Layout:
    """The first layout in which groups can be made; where there is none, `why` says what the kernel answered."""
    why = "no control groups are mounted"
    for candidate in _candidates(root):
        trouble = _try(candidate, portal)
        if not trouble:
            return candidate
        why = trouble
    return Layout(0, {}, why)


def _candidates(root: Path) -> Iterator[Layout]:
    own = _own(root)
    mount = root / MOUNT
    if (mount / "cgroup.controllers").exists():
        for place in _places(mount, own.get("", "/")):
            offered = text_of(place / "cgroup.controllers").split()
            yield Layout(2, dict.fromkeys((name for name in CONTROLLERS if name in (*NEEDED, *offered)), place))
    by_controller = {name: mount / name for name in CONTROLLERS if (mount / name).is_dir()}
    if all(name in by_controller for name in NEEDED):
        yield Layout(1, {name: _deepest(place, own.get(name, "/")) for name, place in by_controller.items()})


def _own(root: Path) -> dict[str, str]:
    """This process's group, by controller; that of version 2 under the empty name."""
    found = {}
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        found.update(dict.fromkeys(names.split(","), path))
    return found


def _places(mount: Path, own: str) -> list[Path]:
    """Of version 2: our own group; the unit's, where the portal is in a part of it; else the whole tree's root.

    Not a login's slice: that ends with the login.
    """
    mine = _deepest(mount, own)
    unit = [mine.parent] if mine.parent.name.endswith(".service") else []
    return list(dict.fromkeys([mine, *unit, mount]))


def _deepest(mount: Path, own: str) -> Path:
    """The group, or where a container does not show it, the mount."""
    place = mount / own.lstrip("/")
    return place if place.is_dir() else mount


def _try(layout: Layout, portal: str) -> str:
    """Make a group with limits and remove it again; empty where that works, else what went wrong."""
    trial = f"trial-{os.getpid()}"
    groups = layout.plan(portal, trial, LEAST_CORES, 1024)
    try:
        if layout.version == 2:
            for place in {*layout.places.values()}:
                _enable(place, [*layout.places])
        confine.prepare({"cgroups": groups})
    except OSError as error:
        return f"{error.filename or 'cgroup'}: {error.strerror}"
    finally:
        confine.clear({"cgroups": groups})
    return ""


def _enable(place: Path, controllers: Sequence[str]) -> None:
    """Let groups below have limits. Where they have, nothing is written: it may be somebody else's to change."""
    there = text_of(place / "cgroup.subtree_control").split()
    for name in controllers:
        if name not in there:
            confine.write(str(place / "cgroup.subtree_control"), f"+{name}")


def _version_2(cores: float | None, memory_mb: int | None) -> dict[str, dict[str, str]]:
    memory = {} if memory_mb is None else {"memory.max": str(memory_mb << 20)}
    cpu = {}
    if cores is not None:
        quota = int(max(cores, LEAST_CORES) * PERIOD_US)
        cpu = {"cpu.max": f"{quota} {PERIOD_US}", "cpu.weight": str(min(max(int(cores * 100), 1), 10_000))}
    return {"memory": memory, "cpu": cpu, "pids": {"pids.max": str(PROCESSES)}}


def _version_1(cores: float | None, memory_mb: int | None) -> dict[str, dict[str, str]]:
    memory = {} if memory_mb is None else {"memory.limit_in_bytes": str(memory_mb << 20)}
    cpu = {}
    if cores is not None:
        quota, shares = int(max(cores, LEAST_CORES) * PERIOD_US), min(max(int(cores * 1024), 2), 262_144)
        cpu = {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota), "cpu.shares": str(shares)}
    return {"memory": memory, "cpu": cpu, "pids": {"pids.max": str(PROCESSES)}}
