"""A small campus to wait on: several nodes, whole GPUs, MIG cut freely or as it is, shares, and cores."""

from __future__ import annotations

from dure_hub.catalogue.machine import Gpu, Machine, MigInstance
from dure_hub.catalogue.profiles import ProfileSpec
from tests.unit.policies.grids import A100

GRID = A100
CUT = (MigInstance("1g.10gb", 0), MigInstance("1g.10gb", 1), MigInstance("2g.20gb", 2), MigInstance("3g.40gb", 4))


def spec(name: str, cores: float = 1, **given: object) -> ProfileSpec:
    """A profile; what it asks of a GPU is named as in `ProfileSpec`."""
    return ProfileSpec(name, {}, {}, cores, 1024, 3600, 86400, **given)  # type: ignore[arg-type]


def profiles() -> dict[str, ProfileSpec]:
    """Everything that the campus offers."""
    found = [spec("cpu"), spec("cpu-big", 3)]
    found += [spec(f"a100-x{n}", n, gpus=n, gpu_model="A100") for n in (1, 2, 4)]
    found += [spec(f"mig-{one.name}", mig=one.name, gpu_model="H100") for one in GRID.profiles]
    found += [spec(f"share-{n}", share=n, sharing="mps", gpu_model="RTX") for n in (250, 500)]
    return {one.name: one for one in found}


def campus(a100: int = 8, per_node: int = 4, dynamic: int = 1, cut: int = 1, shared: int = 1) -> list[Machine]:
    """Nodes with so many GPUs of each kind."""
    nodes = []
    for first in range(0, a100, per_node):
        gpus = tuple(Gpu(f"a{n}", "A100") for n in range(first, min(first + per_node, a100)))
        nodes.append(Machine(16, 65536, gpus, f"a-{first}"))
    mig = tuple(Gpu(f"d{n}", "H100", grid=GRID, dynamic=True) for n in range(dynamic))
    mig += tuple(Gpu(f"c{n}", "H100", grid=GRID, instances=CUT) for n in range(cut))
    if mig:
        nodes.append(Machine(64, 262144, mig, "h"))
    if shared:
        gpus = tuple(Gpu(f"s{n}", "RTX", replicas=4, mps=True) for n in range(shared))
        nodes.append(Machine(32, 131072, gpus, "s"))
    return [*nodes, Machine(8, 32768, (), "c")]
