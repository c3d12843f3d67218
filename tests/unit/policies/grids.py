"""Small grids and GPUs to decide about, after the tables in NVIDIA's MIG guide."""

from __future__ import annotations

from typing import Any

from dure_hub.catalogue.machine import Gpu, Machine, MigInstance
from dure_hub.catalogue.mig import MigGrid, MigProfile
from dure_hub.catalogue.profiles import ProfileSpec

A100 = MigGrid(
    "A100 80GB",
    8,
    (
        MigProfile("1g.10gb", 19, 1, 1, (0, 1, 2, 3, 4, 5, 6), 7),
        MigProfile("1g.10gb+me", 20, 1, 1, (0, 1, 2, 3, 4, 5, 6), 1, extra="+me"),
        MigProfile("1g.20gb", 15, 1, 2, (0, 2, 4, 6), 4),
        MigProfile("2g.20gb", 14, 2, 2, (0, 2, 4), 3),
        MigProfile("3g.40gb", 9, 3, 4, (0, 4), 2),
        MigProfile("4g.40gb", 5, 4, 4, (0,), 1),
        MigProfile("7g.80gb", 0, 7, 8, (0,), 1),
    ),
)
A30 = MigGrid(
    "A30",
    4,
    (
        MigProfile("1g.6gb", 14, 1, 1, (0, 1, 2, 3), 4),
        MigProfile("2g.12gb", 5, 2, 2, (0, 2), 2),
        MigProfile("4g.24gb", 0, 4, 4, (0,), 1),
    ),
)


def only(grid: MigGrid, *names: str) -> MigGrid:
    """The grid with these MIG profiles alone."""
    return MigGrid(grid.name, grid.units, tuple(one for one in grid.profiles if one.name in names))


def spec(name: str, cores: float = 1, memory_mb: int = 1024, **more: Any) -> ProfileSpec:
    """A profile; what is not said is as small as can be."""
    return ProfileSpec(name, {}, {}, cores, memory_mb, 3600, 7200, **more)


def mig(name: str, **more: Any) -> ProfileSpec:
    """A profile of one MIG instance."""
    return spec(f"mig-{name}", mig=name, **more)


def cut(uuid: str, *instances: tuple[str, int], dynamic: bool = True, grid: MigGrid = A100) -> Gpu:
    """A GPU in MIG mode with these instances; each has the UUID `<gpu>/<profile>@<start>`."""
    made = tuple(MigInstance(name, start, f"{uuid}/{name}@{start}") for name, start in instances)
    return Gpu(uuid, grid.name, 81920, key=grid.name, grid=grid, instances=made, dynamic=dynamic)


def node(*gpus: Gpu, name: str = "", cores: float = 64, memory_mb: int = 1 << 19, pool: str = "") -> Machine:
    """A node with plenty of everything."""
    return Machine(cores, memory_mb, gpus, name, pool)
