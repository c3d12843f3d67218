"""What the spawner needs of a claimed lease."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dure import wire
from dure_hub.catalogue.profiles import Volume


@dataclass(frozen=True)
class Grant:
    """A claimed lease: `devices` are UUIDs of GPUs, `mps` as in `Work`.

    `command` is that of its image; empty is the portal's own. `container` is the image itself, on a cluster, where
    it has `volumes`, and shared memory of `shm_mb` (MiB; None is as usual).
    """

    lease: str
    profile: wire.Profile
    devices: tuple[str, ...]
    until: datetime | None
    mps: tuple[int, int | None] | None = None
    command: tuple[str, ...] = ()
    cores: float | None = None
    memory_mb: int | None = None
    container: str = ""
    team: str | None = None
    project: str | None = None
    node: str | None = None
    volumes: tuple[Volume, ...] = ()
    shm_mb: int | None = None
