"""How much a cluster's nodes have, by kind of GPU: pure functions of what the API gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dure_hub.backends.kubernetes.requests import mb_of, number_of
from dure_hub.backends.kubernetes.stock import GPU, MIG, PRODUCT, REPLICAS, SHARED, is_withheld
from dure_hub.catalogue import products
from dure_hub.policies.entitlements import Pieces
from dure_hub.policies.quota import of_instance
from dure_hub.policies.slices import WHOLE


@dataclass(frozen=True)
class Capacity:
    """Cores, memory and local disk (MiB), and GPUs by what its node's label calls the card, and by resource.

    A node without such a label has "" for it.
    """

    cores: int
    memory_mb: int
    disk_mb: int
    gpus: Mapping[tuple[str, str], Pieces]


def capacity_of(nodes: Iterable[Mapping[str, Any]], tolerations: Sequence[Mapping[str, Any]] = ()) -> Capacity:
    """All that may be given. Nodes that are cordoned, or kept for others by a taint that none of our `tolerations`
    covers, do not count; one that is not ready for a while does, so that no quota goes up and down with it."""
    cores, memory_mb, disk_mb, counts = 0.0, 0, 0, Counter[tuple[str, str]]()
    each: dict[tuple[str, str], int] = {}
    for node in nodes:
        if is_withheld(node, tolerations):
            continue
        has = node["status"].get("allocatable") or {}
        cores += number_of(has.get("cpu"))
        memory_mb += mb_of(has.get("memory"))
        disk_mb += mb_of(has.get("ephemeral-storage"))
        for kind, thousandths in _kinds(node["metadata"].get("labels") or {}, has):
            counts[kind] += int(number_of(has[kind[1]]))
            # of one name there may be several sizes: the larger one counts, so that no quota is overrun
            each[kind] = max(each.get(kind, 0), thousandths)
    found = {kind: Pieces(counts[kind], each[kind]) for kind in sorted(counts) if counts[kind]}
    return Capacity(int(cores), memory_mb, disk_mb, found)


def _kinds(labels: Mapping[str, str], has: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], int]]:
    """(product, resource) of each kind that a node has, and how many thousandths of a GPU one of it is."""
    product = labels.get(PRODUCT, "")
    model = products.by_product(product)
    grid = model.grid if model else None
    for resource in has:
        if resource in (GPU, SHARED):
            single = products.cut_into(product)
            whole = of_instance(single, grid) if single else WHOLE
            shared = resource == SHARED or product.endswith("-SHARED")
            yield (product, resource), max(whole // (_replicas(labels, REPLICAS) if shared else 1), 1)
        elif resource.startswith(MIG):
            plain = resource.removesuffix(".shared")
            one = of_instance(products.in_catalogue(plain.removeprefix(MIG)), grid)
            yield (product, resource), max(one // _replicas(labels, f"{plain}.replicas"), 1)


def _replicas(labels: Mapping[str, str], name: str) -> int:
    said = labels.get(name, "")
    return max(int(said), 1) if said.isdigit() else 1
