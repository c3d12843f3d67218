"""GPUs and nodes that the place itself gives to nobody for now: how many, and why. Pure functions of the nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dure_hub.catalogue.machine import NODE, OUTSIDE, Gpu, Machine
from dure_hub.catalogue.profiles import ProfileSpec

KindKey = tuple[str, bool]
"""A GPU's catalogue entry, or its name without one, and whether MIG is on."""
_ROOM = {"no_cores_free", "no_memory_free", "no_pods_free"}


def kind_of(gpu: Gpu) -> KindKey:
    """Which GPUs it is alike."""
    return gpu.key or gpu.model, gpu.grid is not None


def kind_for(spec: ProfileSpec) -> KindKey:
    """The GPUs that a profile asks for."""
    return spec.gpu_key or spec.gpu_model or "", spec.mig is not None


@dataclass(frozen=True)
class Barred:
    """By kind why each of its GPUs is barred, by UUID, and how many are `closed` by somebody else; by kind and MIG
    profile how many instances are held from outside. Of nodes how many are closed, and what is held from
    outside of the others: promised cores, MiB, pods.
    """

    gpus: Mapping[KindKey, Mapping[str, str]] = field(default_factory=dict)
    closed: Mapping[KindKey, int] = field(default_factory=dict)
    instances: Mapping[tuple[KindKey, str], int] = field(default_factory=dict)
    nodes: int = 0
    cores: float = 0.0
    memory_mb: int = 0
    pods: int = 0

    def facts(self, spec: ProfileSpec, code: str) -> dict[str, float]:
        """What of this is in the way of a profile that got this verdict; what is not is left out.

        `closed` are GPUs out of use, `outside` is what is held from outside (GPUs, instances, cores, MiB or pods),
        `away` are GPUs on nodes that take nobody, or such nodes.
        """
        if code in _ROOM:
            held = {
                "no_cores_free": round(self.cores, 2),
                "no_memory_free": self.memory_mb,
                "no_pods_free": self.pods,
            }
            found = {"outside": held[code], "away": self.nodes}
        elif spec.gpu_model is None:
            found = {}
        else:
            kind = kind_for(spec)
            whys = Counter(self.gpus.get(kind, {}).values())
            lent = self.instances.get((kind, spec.mig or ""), 0)
            found = {"closed": self.closed.get(kind, 0), "outside": whys[OUTSIDE] + lent, "away": whys[NODE]}
        return {name: count for name, count in found.items() if count}


def barred(machines: Iterable[Machine]) -> Barred:
    """All that is barred on these nodes."""
    gpus: dict[KindKey, dict[str, str]] = {}
    closed, instances = Counter[KindKey](), Counter[tuple[KindKey, str]]()
    nodes, cores, memory_mb, pods = 0, 0.0, 0, 0
    for node in machines:
        nodes += node.closed
        if not node.closed:
            cores, memory_mb = cores + node.held_cores, memory_mb + node.held_memory_mb
            pods += node.held_pods
        for gpu in node.gpus:
            if gpu.barred:
                gpus.setdefault(kind_of(gpu), {})[gpu.uuid] = gpu.barred
            elif gpu.closed:
                closed[kind_of(gpu)] += 1
            elif gpu.lent:
                kind = kind_of(gpu)
                instances.update((kind, one.profile) for one in gpu.instances if one.start in gpu.lent)
    return Barred(gpus, closed, instances, nodes, cores, memory_mb, pods)
