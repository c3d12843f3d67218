"""One machine as placement counts it: promised cores, memory, GPUs, and the share that belongs to each GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One physical GPU by UUID. Memory in MiB, None if unknown."""

    uuid: str
    model: str
    memory_mb: int | None = None


@dataclass(frozen=True)
class Machine:
    """What can be promised to holders, after the portal's own needs.

    `cores` are promised cores (real ones times the overcommitment). Half of the machine is shared out among the
    GPUs: whoever gets a GPU gets that share with it, and holders of `cpu` never use it up.
    """

    cores: float
    memory_mb: int
    gpus: tuple[Gpu, ...] = ()

    @property
    def cores_per_gpu(self) -> float:
        """Cores that come with one GPU, in steps of a quarter."""
        return math.floor(2 * self.cores / len(self.gpus)) / 4 if self.gpus else 0.0

    @property
    def memory_mb_per_gpu(self) -> int:
        """Memory (MiB) that comes with one GPU."""
        return self.memory_mb // (2 * len(self.gpus)) if self.gpus else 0


def machine(
    *, real_cores: int, overcommit: float, memory_mb: int, reserved_mb: int, gpus: Sequence[Gpu] = ()
) -> Machine:
    """A machine from what was measured and what the settings say."""
    return Machine(real_cores * overcommit, max(memory_mb - reserved_mb, 0), tuple(gpus))
