"""Everything that a pod of ours is made from: one frozen value, in which nothing is decided any more."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dure_hub.backends.base import Kind

HOME = "/home/jovyan"
"""Where a person's volume is; the name of JupyterHub's own images."""
SECRETS = "/var/run/secrets/dure"
"""Where the files of a pod's Secret are."""
SHM = "/dev/shm"  # noqa: S108 - what workers of a DataLoader share memory through
USER, GROUP = 1000, 100


@dataclass(frozen=True)
class Mount:
    """A volume claim at a path of the pod."""

    claim: str
    path: str
    read_only: bool = False


@dataclass(frozen=True)
class PodSpec:
    """A pod to be. `portal` is the id of the portal whose it is.

    `cores` and `memory_mb` are its limits, and what it asks for, but for cores that are promised more than once:
    of these `share` is kept for it; `resources` are extended ones by name
    (`nvidia.com/mig-1g.10gb: 1`), `shm_mb` is what of its memory its processes may share (MiB), but with `mps`,
    where that is the MPS daemon's. `node` is where
    its slice is, None where the scheduler chooses: then `labels` say what the node must have. `pool` is what it
    should be for ("": any). `secret` names the Secret whose files it finds. `port` is what it listens on. Kueue
    admits it where `queue` is set. `base` is the path below which its server answers. `hidden`
    are the variables that its Secret has. `grace_s` is how long it may
    take to end.
    """

    portal: str
    name: str
    namespace: str
    lease: str
    kind: Kind
    owner: str
    image: str
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    team: str | None = None
    project: str | None = None
    cores: float = 1.0
    memory_mb: int = 1024
    resources: Mapping[str, int] = field(default_factory=dict)
    devices: Sequence[str] = ()
    mps: tuple[int, int | None] | None = None
    shm_mb: int = 64
    node: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    pool: str = ""
    mounts: Sequence[Mount] = ()
    secret: str | None = None
    port: int | None = None
    base: str = ""
    hidden: Collection[str] = ()
    share: float = 1.0
    queue: str | None = None
    priority: str | None = None
    grace_s: int = 30
    pull_policy: str | None = None
    pull_secrets: Sequence[str] = ()
