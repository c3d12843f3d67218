"""How busy this machine is: what each lease's processes use, and the whole of it.

Memory is the resident set of each process. Pages that two processes share count twice in it, which makes a lease
with many workers look larger than it is; the exact figure (PSS) takes the kernel a walk over every page.
Processor time is counted by the kernel in ticks of a hundredth of a second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from dure_hub.backends.base import Usage
from dure_hub.backends.embedded import limits, processes
from dure_hub.backends.embedded.carriers import Carriers
from dure_hub.backends.embedded.processes import Spent
from dure_hub.settings import Settings

APART_S = 0.25
"""Time between two looks: short for who waits, long enough for some ticks."""


@dataclass(frozen=True)
class Look:
    """What had been used at one moment, by pid; `leases` says whose each process is."""

    at: float
    leases: Mapping[int, str]
    spent: Mapping[int, Spent]
    place: limits.Used = field(default_factory=limits.Used)


def look(settings: Settings) -> Look:
    """Find every process of ours, of whatever kind, in one walk over /proc."""
    return _look({process.pid: process.lease for process in Carriers(settings).marked()})


def look_again(before: Look) -> Look:
    """Look at the same processes once more. Who came since is not in it, who went is missing."""
    return _look(before.leases)


def compare(before: Look, after: Look) -> dict[str, Usage]:
    """What each lease uses, by lease id: cores between the two looks, memory (MiB) at the second."""
    seconds = max(after.at - before.at, 1e-3)
    cores: dict[str, float] = {}
    memory: dict[str, int] = {}
    for pid, now in after.spent.items():
        first, lease = before.spent.get(pid), after.leases[pid]
        if first is None or first.start_time != now.start_time:
            continue  # another process with its number
        cores[lease] = cores.get(lease, 0.0) + (now.cpu_s - first.cpu_s) / seconds
        memory[lease] = memory.get(lease, 0) + now.memory
    return {lease: Usage(round(cores[lease], 2), memory[lease] >> 20) for lease in cores}


def place(before: Look, after: Look) -> Usage:
    """What all processes use of what this portal may use, its own and other people's included."""
    first, now = before.place.cpu_s, after.place.cpu_s
    seconds = max(after.at - before.at, 1e-3)
    cores = None if first is None or now is None else round(max(now - first, 0.0) / seconds, 2)
    return Usage(cores, after.place.memory_mb)


def _look(leases: Mapping[int, str]) -> Look:
    found = {pid: seen for pid in leases if (seen := processes.spent(pid)) is not None}
    return Look(time.monotonic(), leases, found, limits.used())
