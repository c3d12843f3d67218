"""MIG grids: which instances a GPU can be cut into, and where each may start.

A GPU instance takes the half-open interval [start, start + size) of its GPU's memory units, from one of few legal
starts. Profiles are keyed by the driver's profile id (the `ID` column of `nvidia-smi mig -lgip`): their names are
computed by the driver from the memory it sees, and differ between versions.
"""

from __future__ import annotations

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
