"""Machines as placement counts them: promised cores, memory, GPUs, and the share that belongs to each GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from dure_hub.catalogue.mig import MigGrid

OUTSIDE, NODE = "outside", "node"
"""Why a place gives nothing of a GPU for now: what Dure did not start holds it; its node takes nobody."""


@dataclass(frozen=True)
class MigInstance:
    """A MIG instance that exists now: its MIG profile's name, its first memory unit, its own UUID where known."""

    profile: str
    start: int
    uuid: str | None = None


@dataclass(frozen=True)
class Gpu:
    """One physical GPU by UUID. Memory in MiB, None if unknown.

    `model` is its name for people, `key` its catalogue entry (None: not in the catalogue). `grid` is set where MIG
    mode is on, and `instances` are those that exist. With `dynamic`, others may be made at legal starts. Nobody is
    given the memory units that are `blocked`: something lies there that is not the portal's to give. GPUs of one
    `group` are joined by NVLink. `replicas` is how many time-slice or MPS (`mps`) holders share it; 0 is none. One
    that is `closed` is there, and nobody is given anything of it now; `barred` is why, where the place itself says
    so (`OUTSIDE`, `NODE`), whoever else closes and opens it. The units that are `lent` are held from outside for
    now.
    """

    uuid: str
    model: str
    memory_mb: int | None = None
    key: str | None = None
    grid: MigGrid | None = None
    instances: tuple[MigInstance, ...] = ()
    dynamic: bool = False
    group: str = ""
    replicas: int = 0
    mps: bool = False
    blocked: frozenset[int] = frozenset()
    closed: bool = False
    barred: str = ""
    lent: frozenset[int] = frozenset()

    @property
    def taken(self) -> frozenset[int]:
        """The memory units of which nobody is given anything now."""
        return self.blocked | self.lent if self.lent else self.blocked


@dataclass(frozen=True)
class Machine:
    """What can be promised to holders on one node, after the portal's own needs.

    `cores` are promised cores (real ones times the overcommitment). The part `kept` of the machine is shared out
    among the GPUs: whoever gets a GPU gets that share with it, and holders of `cpu` never use it up. It is 0 where
    something else decides who may use the node without its GPUs (a bench that replays another cluster's trace).
    `pool` is what the node is for: development, training, inference, or "" for anything. `gpus_only`: it takes
    nobody who asks for no GPU.

    `pods` is how many holders it takes at most, where it counts them (None: it does not). Of all this, what is
    `held` by what Dure did not start is given to nobody until that ends: it takes nothing from what a profile is,
    or from what ever fits. One that is `closed` takes nobody for now.
    """

    cores: float
    memory_mb: int
    gpus: tuple[Gpu, ...] = ()
    name: str = ""
    pool: str = ""
    kept: float = 0.5
    gpus_only: bool = False
    pods: int | None = None
    held_cores: float = 0.0
    held_memory_mb: int = 0
    held_pods: int = 0
    closed: bool = False

    @property
    def cores_per_gpu(self) -> float:
        """Cores that come with one GPU, in steps of a quarter."""
        return math.floor(4 * self.kept * self.cores / len(self.gpus)) / 4 if self.gpus else 0.0

    @property
    def memory_mb_per_gpu(self) -> int:
        """Memory (MiB) that comes with one GPU."""
        return int(self.kept * self.memory_mb) // len(self.gpus) if self.gpus else 0


def machine(
    *,
    real_cores: int,
    overcommit: float,
    memory_mb: int,
    reserved_mb: int,
    gpus: Sequence[Gpu] = (),
    name: str = "",
    pool: str = "",
    gpus_only: bool = False,
) -> Machine:
    """A machine from what was measured and what the settings say, with nobody on it."""
    memory_mb = max(memory_mb - reserved_mb, 0)
    return Machine(real_cores * overcommit, memory_mb, tuple(gpus), name, pool, gpus_only=gpus_only)


def opened(node: Machine) -> Machine:
    """The same as it is once nothing of it is closed, or held from outside; the very same where that is so now."""
    free = not (node.closed or node.held_cores or node.held_memory_mb or node.held_pods)
    if free and not any(gpu.closed or gpu.barred or gpu.lent for gpu in node.gpus):
        return node
    gpus = tuple(replace(gpu, closed=False, barred="", lent=frozenset()) for gpu in node.gpus)
    return replace(node, gpus=gpus, held_cores=0.0, held_memory_mb=0, held_pods=0, closed=False)


def closing(node: Machine, closed: Set[str]) -> Machine:
    """The same with exactly these GPUs closed, by UUID, beside those that the place bars; the very same where that
    changes nothing."""

    def shut(gpu: Gpu) -> bool:
        return bool(gpu.barred) or gpu.uuid in closed

    if not any(shut(gpu) != gpu.closed for gpu in node.gpus):
        return node
    return replace(node, gpus=tuple(replace(gpu, closed=shut(gpu)) for gpu in node.gpus))
