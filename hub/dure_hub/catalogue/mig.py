"""MIG grids: which instances a GPU can be cut into, and where each may start.

A GPU instance takes the half-open interval [start, start + size) of its GPU's memory units, from one of few legal
starts. Profiles are keyed by the driver's profile id (the `ID` column of `nvidia-smi mig -lgip`): their names are
computed by the driver from the memory it sees, and differ between versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class MigProfile:
    """One MIG profile of one grid. Memory in MiB; what no driver was seen to say is None.

    `size` counts memory units, `starts` are the legal ones, `limit` is how many a GPU takes. `extra` is the part
    of the name behind the memory: "", "+me", "+gfx", "+me.all" or "-me"; all of one kind of them share the limit.
    """

    name: str
    driver_id: int
    compute: int
    size: int
    starts: tuple[int, ...]
    limit: int
    memory_mb: int | None = None
    sms: int | None = None
    extra: str = ""

    @property
    def kind(self) -> str:
        """What a limit is shared by: all of one extra, else the MIG profile alone."""
        return self.extra or self.name

    def units(self, start: int) -> range:
        """The memory units of an instance that starts here."""
        return range(start, start + self.size)


@dataclass(frozen=True)
class MigGrid:
    """The grid of one kind of GPU: `units` of memory, and every MIG profile it knows."""

    name: str
    units: int
    profiles: tuple[MigProfile, ...]

    def named(self, name: str) -> MigProfile | None:
        """A MIG profile by its name in this catalogue; None if this GPU cannot be cut so."""
        return next((profile for profile in self.profiles if profile.name == name), None)

    def by_driver_id(self, driver_id: int) -> MigProfile | None:
        """A MIG profile by the driver's id."""
        return next((profile for profile in self.profiles if profile.driver_id == driver_id), None)

    def overlap(self, one: tuple[str, int], other: tuple[str, int]) -> bool:
        """Whether these two instances (MIG profile, start) share a memory unit; what has an unknown name may."""
        first, second = self.named(one[0]), self.named(other[0])
        if first is None or second is None:
            return True
        return one[1] < other[1] + second.size and other[1] < one[1] + first.size

    def caps(self) -> Mapping[str, int]:
        """How many a GPU takes of each kind that has fewer than would fit beside each other (`+me`: one)."""
        found: dict[str, int] = {}
        for profile in self.profiles:
            if profile.limit < apart(profile.starts, profile.size):
                found[profile.kind] = min(profile.limit, found.get(profile.kind, profile.limit))
        return found


def apart(starts: Iterable[int], size: int) -> int:
    """How many intervals of this size, from these starts, fit beside each other."""
    found, end = 0, -1
    for start in sorted(starts):
        if start >= end:
            found, end = found + 1, start + size
    return found


def named_gb(name: str) -> int | None:
    """The GB (10^9 bytes, as it is sold) that a MIG profile's name states: 18 of `1g.18gb`; None if none."""
    found = re.search(r"\.(\d+)gb", name)
    return int(found[1]) if found else None
