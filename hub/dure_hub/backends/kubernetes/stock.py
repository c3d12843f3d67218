"""What a cluster has, read from what its nodes say of themselves: pure functions of what the API gives.

What pods of others ask for is held by them, of GPUs and instances the last ones; it is there all the same, and
people may wait for it. NVIDIA's GPU feature discovery and device plugin write the labels and resources
(https://github.com/NVIDIA/k8s-device-plugin, MIG strategies none, single and mixed; shared with and without
renaming).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from dure_hub.backends.base import Device, MigDevice, NodeInventory
from dure_hub.backends.kubernetes.marks import POOL
from dure_hub.backends.kubernetes.numbered import device_id
from dure_hub.backends.kubernetes.requests import NOTHING, Held, held_by_node, mb_of, number_of
from dure_hub.backends.kubernetes.tolerations import is_tolerated
from dure_hub.catalogue import products
from dure_hub.catalogue.gpus import GpuModel
from dure_hub.catalogue.machine import NODE, OUTSIDE
from dure_hub.policies.mig import State, graph

GPU, SHARED, MIG = "nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-"
PRODUCT, MEMORY, REPLICAS = (f"nvidia.com/gpu.{name}" for name in ("product", "memory", "replicas"))
DRIVER, STRATEGY = "nvidia.com/cuda.driver-version.full", "nvidia.com/gpu.sharing-strategy"
CORDONED = {
    "en": "Its node is cordoned: an administrator of the cluster keeps new pods away.",
    "ko": "노드가 차단(cordon)되어 있습니다. 클러스터 관리자가 새 파드를 막았습니다.",
}
NOT_READY = {
    "en": "Its node is not ready: the cluster cannot reach it.",
    "ko": "노드가 준비되지 않았습니다. 클러스터가 노드에 닿지 못합니다.",
}
TROUBLED = {
    "en": "Its node is in trouble (short of memory, disk or processes, or not set up yet): the cluster keeps new "
    "pods away.",
    "ko": "노드에 문제가 있어(메모리·디스크·프로세스 부족 또는 준비 중) 클러스터가 새 파드를 막습니다.",
}
TAINTED = {
    "en": "Its node has a taint that keeps the portal's pods away.",
    "ko": "노드의 taint가 포털의 파드를 막습니다.",
}
FOREIGN = {
    "en": "A pod that Dure did not start holds it.",
    "ko": "Dure가 시작하지 않은 파드가 사용하고 있습니다.",
}

NO_GRID = {
    "en": "The portal's catalogue does not know how a card of this product is cut: nobody is given its instances.",
    "ko": "포털 카탈로그에 이 제품을 나누는 방법이 없어 MIG 인스턴스를 제공하지 않습니다.",
}
PASSING = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
"""Keys of taints that the cluster itself puts on a node begin so: it takes them away again."""
AWAY = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})

Object: TypeAlias = Mapping[str, Any]
"""A node or a pod as the API gives it, or a toleration."""


def read(
    nodes: Iterable[Object], pods: Iterable[Object], portal: str, tolerations: Sequence[Object] = ()
) -> list[NodeInventory]:
    """All nodes, by name, with what others than this portal hold of each. `tolerations` are those of people's
    servers beside the portal's own."""
    held = held_by_node(pods, portal)
    found = [read_node(node, held.get(node["metadata"]["name"], NOTHING), tolerations) for node in nodes]
    return sorted(found, key=lambda node: node.name)


def read_node(node: Object, held: Held = NOTHING, tolerations: Sequence[Object] = ()) -> NodeInventory:
    """One node. Of one that is kept for others there is nothing to give; one that takes no pods for now is closed.
    The GPUs of both say why."""
    has, taints = node["status"].get("allocatable") or {}, node["spec"].get("taints") or ()
    devices, closed = [*_whole(node, has, held), *_cut(node, has, held)], why_closed(node)
    kept_away = is_for_others(node, tolerations)
    if kept_away or closed:
        why, barred = (TAINTED, "") if kept_away else (closed, NODE)
        devices = [replace(one, health=why, usable=False, barred=barred) for one in devices]
    if kept_away:
        return NodeInventory(node["metadata"]["name"], 0, 0, tuple(devices), _labels(node).get(POOL, ""))
    cores = number_of(has.get("cpu"))
    return NodeInventory(
        node["metadata"]["name"],
        int(cores),
        mb_of(has.get("memory")),
        tuple(devices),
        _labels(node).get(POOL, ""),
        gpus_only=any(
            one["key"] == GPU and one["effect"] == "NoSchedule" and not is_tolerated(one, tolerations)
            for one in taints
        ),
        pods=_count(has, "pods") if "pods" in has else None,
        # what is left of a core beside whole ones is theirs first
        held_cores=math.ceil(round(100 * max(held.foreign_cores - cores % 1, 0), 6)) / 100,
        held_memory_mb=held.foreign_memory_mb,
        held_pods=held.foreign_pods,
        closed=closed is not None,
    )


def why_closed(node: Object) -> Mapping[str, str] | None:
    """Why nobody may be sent there now, in words, where that passes; None where one may."""
    if node["spec"].get("unschedulable"):
        return CORDONED
    taints = [one["key"] for one in node["spec"].get("taints") or () if one["effect"] != "PreferNoSchedule"]
    conditions = node["status"].get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    if not ready or not AWAY.isdisjoint(taints):
        return NOT_READY
    return TROUBLED if any(key.startswith(PASSING) for key in taints) else None


def is_for_others(node: Object, tolerations: Sequence[Object] = ()) -> bool:
    """Whether people keep our pods from it by a taint: what passes (not ready, short of memory) is no reason."""
    taints = node["spec"].get("taints") or ()
    own = (taint for taint in taints if not taint["key"].startswith(PASSING))
    return any(_keeps_away(taint, node) and not is_tolerated(taint, tolerations) for taint in own)


def is_withheld(node: Object, tolerations: Sequence[Object] = ()) -> bool:
    """The same, or by a cordon: what no quota counts."""
    return bool(node["spec"].get("unschedulable")) or is_for_others(node, tolerations)


def _keeps_away(taint: Object, node: Object) -> bool:
    """Whether no pod of ours tolerates it by itself (pods.make_tolerations)."""
    if taint["effect"] == "PreferNoSchedule":
        return False
    own_pool = taint["key"] == POOL and taint.get("value") == _labels(node).get(POOL)
    return taint["effect"] != "NoSchedule" or not (own_pool or taint["key"] == GPU)


def _labels(node: Object) -> Mapping[str, str]:
    return node["metadata"].get("labels") or {}


def _number(label: str | None) -> int | None:
    return int(label) if label is not None and label.isdigit() else None


def _count(has: Object, resource: str) -> int:
    return int(number_of(has.get(resource)))


def _device(node: Object, uuid: str) -> Device:
    labels = _labels(node)
    product = labels.get(PRODUCT, "")
    model = products.by_product(product)
    return Device(
        uuid,
        model.name if model else products.plain(product).replace("-", " ") or "GPU",
        _number(labels.get(MEMORY)) or (model.memory_mb if model else None),
        driver=labels.get(DRIVER),
        mig_mode=False,
        node=node["metadata"]["name"],
        key=model.key if model else None,
        shared=(0, False),
    )


def _whole(node: Object, has: Object, held: Held) -> list[Device]:
    """GPUs that are not cut: given whole, or shared by as many as the node's labels say."""
    labels, name = _labels(node), node["metadata"]["name"]
    product = labels.get(PRODUCT, "")
    if products.cut_into(product):
        return []
    found: list[Device] = []
    for resource in (GPU, SHARED):
        shared = resource == SHARED or product.endswith("-SHARED")
        replicas = (_number(labels.get(REPLICAS)) or 1) if shared else 1
        ids = [device_id(name, resource, number) for number in range(_count(has, resource) // replicas)]
        others = -(-held.foreign.get(resource, 0) // replicas)
        lost = _taken(ids, held, others)
        if (
            shared and len(lost) < others
        ):  # strangers' places are on cards that ours are on, too, and nobody says which
            lost = frozenset(ids)
        by_mps = labels.get(STRATEGY) == "mps"
        for one in ids:
            device = replace(_device(node, one), shared=(replicas, by_mps) if shared else (0, False))
            taken = replace(device, health=FOREIGN, usable=False, barred=OUTSIDE)
            found.append(taken if one in lost else device)
    return found


def _cut(node: Object, has: Object, held: Held) -> list[Device]:
    """GPUs with MIG instances. Which instance lies on which card is not said: they are laid out on as few as they
    fit on, which counts both right as long as no card is half empty."""
    name, product = node["metadata"]["name"], _labels(node).get(PRODUCT, "")
    model = products.by_product(product)
    instances: list[tuple[str, MigDevice]] = []
    for resource, mig in _mig_resources(has, _labels(node)):
        ids = [device_id(name, resource, number) for number in range(_count(has, resource))]
        lost = _taken(ids, held, held.foreign.get(resource, 0))
        known = model.grid.named(mig) if model and model.grid else None
        memory = known.memory_mb if known else None
        instances += [
            (mig, MigDevice(one, mig, memory_mb=memory, barred=OUTSIDE if one in lost else "")) for one in ids
        ]
    cards = lay_out(instances, model) if instances else []
    memory_mb = model.memory_mb if model else None  # the label is of one instance where all cards are cut alike
    has_grid = model is not None and model.grid is not None
    return [
        replace(
            _device(node, device_id(name, "card", number)),
            memory_mb=memory_mb,
            mig_mode=True,
            instances=card,
            health=None if has_grid else NO_GRID,
            usable=has_grid,
        )
        for number, card in enumerate(cards)
    ]


def _mig_resources(has: Object, labels: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """(resource, MIG profile): under the strategy `single` all are `nvidia.com/gpu`, else each has its own.

    Of those that are shared besides there is nothing to give: an instance is one holder's.
    """
    product = labels.get(PRODUCT, "")
    single = None if product.endswith("-SHARED") else products.cut_into(product)
    found = [(GPU, single)] if single else []
    mixed = sorted(name for name in has if name.startswith(MIG) and not _is_shared(name, labels))
    return [*found, *((name, products.in_catalogue(name.removeprefix(MIG))) for name in mixed)]


def _is_shared(resource: str, labels: Mapping[str, str]) -> bool:
    """Whether an instance of this resource has several holders: by its name, or by what the labels say of it."""
    return resource.endswith(".shared") or (_number(labels.get(f"{resource}.replicas")) or 1) > 1


def lay_out(instances: Sequence[tuple[str, MigDevice]], model: GpuModel | None) -> list[tuple[MigDevice, ...]]:
    """These instances (MIG profile, instance) on as few cards as first-fit finds, the largest first, each at a
    legal place; all on one where the model cannot be cut as far as is known."""
    if model is None or model.grid is None:
        return [tuple(one for _, one in instances)]
    ways = graph(model.grid)
    states, cards = list[State](), list[list[MigDevice]]()
    for mig, one in sorted(instances, key=lambda pair: -ways.size(pair[0])):
        free = (number for number, state in enumerate(states) if ways.starts(state, mig))
        card = next(free, len(cards))
        if card == len(cards):
            states.append(ways.empty)
            cards.append([])
        start = next(iter(ways.starts(states[card], mig)), None)
        states[card] = ways.full if start is None else ways.after(states[card], mig, start)
        cards[card].append(replace(one, start=start, size=ways.size(mig) or None))
    return [tuple(card) for card in cards]


def _taken(ids: Sequence[str], held: Held, count: int) -> frozenset[str]:
    """Which of these others hold: as many as they ask for, from the end, but none that a pod of ours holds."""
    free = [one for one in ids if one not in held.ours]
    return frozenset(free[max(len(free) - count, 0) :])
