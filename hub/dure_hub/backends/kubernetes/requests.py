"""What pods ask for, as the scheduler counts it, and what that leaves of a node."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from dure_hub.backends.kubernetes.marks import DEVICES, lease_of
from dure_hub.backends.kubernetes.pods import CONTAINER

OVER = frozenset({"Succeeded", "Failed"})
"""Phases of pods that hold nothing any more."""


@dataclass(frozen=True)
class Held:
    """What pods hold of one node: others by resource, in cores and in MiB, and how many they are; ours by the
    devices they name. What one of ours has beside what its lease counts, as a sidecar's, is with the others'."""

    foreign: Mapping[str, int]
    foreign_cores: float
    foreign_memory_mb: int
    ours: frozenset[str]
    foreign_pods: int = 0


NOTHING = Held({}, 0.0, 0, frozenset())


def number_of(quantity: object) -> float:
    """A quantity as the API writes it (`1500m`, `4Gi`), as a number."""
    return float(parse_quantity(quantity or 0))  # type: ignore[no-untyped-call]


def mb_of(quantity: object) -> int:
    """MiB, of a quantity of bytes; what is less than one does not count."""
    return int(number_of(quantity)) >> 20


def requests_of(pod: Mapping[str, Any]) -> Counter[str]:
    """What a pod keeps from others, by resource: its containers with its sidecars, or the largest of its init
    containers with the sidecars before it, whichever is more; what is asked for the pod as a whole goes before
    that, and its overhead comes on top. Of one that is being resized, the larger of before and after.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
    """
    spec = pod["spec"]
    together, sidecars, peak = Counter[str](), Counter[str](), Counter[str]()
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            sidecars += _asked(container)
            peak |= sidecars
        else:
            peak |= sidecars + _asked(container)
    resized = {one["name"]: one for one in (pod.get("status") or {}).get("containerStatuses") or ()}
    for container in spec["containers"]:
        has = resized.get(container.get("name"), {})
        before = _asked({"resources": {"requests": has.get("allocatedResources")}}) | _asked(has)
        together += _asked(container) | before
    overhead = {name: number_of(value) for name, value in (spec.get("overhead") or {}).items()}
    asked = (together + sidecars) | peak
    asked.update({name: value - asked[name] for name, value in _asked(spec).items()})
    return asked + Counter(overhead)


def _asked(container: Mapping[str, Any]) -> Counter[str]:
    """A limit without a request is a request."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return Counter({name: number_of(value) for name, value in asked.items()})


def held_by_node(pods: Iterable[Mapping[str, Any]], portal: str) -> Mapping[str, Held]:
    """By node. Pods that were given none yet, and those that have ended, hold nothing."""
    foreign: dict[str, Counter[str]] = {}
    ours: dict[str, set[str]] = {}
    strangers = Counter[str]()
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if not node or pod["status"].get("phase") in OVER:
            continue
        counted, numbered = foreign.setdefault(node, Counter()), ours.setdefault(node, set())
        if lease_of(pod, portal) is None:
            counted.update(requests_of(pod))
            strangers[node] += 1
        else:
            counted.update(_beside(pod))
            said = (pod["metadata"].get("annotations") or {}).get(DEVICES, "")
            numbered.update(name for name in said.split(",") if name)
    return {node: _held(counted, ours[node], strangers[node]) for node, counted in foreign.items()}


def _beside(pod: Mapping[str, Any]) -> Counter[str]:
    """What a pod of ours keeps from others beside its main container, whose part is the lease's."""
    main = (one for one in pod["spec"]["containers"] if one.get("name") == CONTAINER)
    return requests_of(pod) - _asked(next(main, {"resources": {}}))


def _held(counted: Mapping[str, float], ours: Iterable[str], pods: int) -> Held:
    extended = {name: int(count) for name, count in counted.items() if "/" in name}
    memory_mb = math.ceil(counted.get("memory", 0) / (1 << 20))
    return Held(extended, counted.get("cpu", 0.0), memory_mb, frozenset(ours), pods)
