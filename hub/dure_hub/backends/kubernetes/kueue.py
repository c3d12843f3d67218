"""Kueue's objects from the portal's own quotas: pure functions, plain JSON as the API takes it.

Kueue counts and nothing else: it holds a pod back until its team's queue has room for what the pod asks for. To
which node it goes the portal says, or the scheduler; money, hours and lifetimes are the portal's alone.
(https://kueue.sigs.k8s.io/docs/concepts/, API v1beta2 as of 0.19.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dure_hub.backends.kubernetes.capacity import Capacity
from dure_hub.backends.kubernetes.marks import MANAGED_BY, OURS, PORTAL, TEAM
from dure_hub.backends.kubernetes.stock import PRODUCT
from dure_hub.policies.classes import NAMES
from dure_hub.policies.entitlements import Part, parts, rest
from dure_hub.policies.naming import slug

GROUP = "kueue.x-k8s.io"
VERSION = f"{GROUP}/v1beta2"
API = f"/apis/{VERSION}"
PLURALS = {
    "LocalQueue": "localqueues",
    "ClusterQueue": "clusterqueues",
    "Cohort": "cohorts",
    "ResourceFlavor": "resourceflavors",
    "WorkloadPriorityClass": "workloadpriorityclasses",
}
"""In the order in which they are taken away."""
LIMITS = frozenset({"nominalQuota", "borrowingLimit", "lendingLimit", "resourceGroups"})
VALUES = (1000, 100, 10, 1)
"""Of the classes, the most urgent first: what a priority is worth to Kueue says nothing but the order."""
Kind = tuple[str, str]
"""Of GPUs: what the node's label calls the card, and the resource."""


@dataclass(frozen=True)
class Quotas:
    """The portal's quotas as far as Kueue keeps them: GPUs of each team (None: no limit), and whether they may
    borrow what others leave idle. `portal` is whose, `namespaces` is where its pods are."""

    portal: str
    teams: Mapping[str, int | None]
    borrowing: bool
    namespaces: Sequence[str]


def make_objects(quotas: Quotas, capacity: Capacity) -> list[dict[str, Any]]:
    """All of them, in an order in which they can be made."""
    given = parts(capacity.gpus, quotas.teams, borrowing=quotas.borrowing)
    return [
        make_flavor(quotas.portal, None),
        *(make_flavor(quotas.portal, product) for product in _products(capacity)),
        make_cohort(quotas.portal, capacity, rest(capacity.gpus, given)),
        *(make_priority(number) for number in range(len(NAMES))),
        *(make_cluster_queue(quotas, capacity, team, given[team]) for team in sorted(given)),
        *(make_local_queue(quotas.portal, team, where) for team in sorted(given) for where in quotas.namespaces),
    ]


def queue_name(team: str) -> str:
    """The name of a team's LocalQueues, the same in each namespace, and the label's value; of 45 characters."""
    return f"dure-{slug(team)}"


def cluster_queue_name(portal: str, team: str) -> str:
    """The name of a team's ClusterQueue, which all namespaces and portals of the cluster see."""
    return f"{cohort_name(portal)}-{slug(team)}"


def cohort_name(portal: str) -> str:
    """The name of what all queues of a portal share."""
    return f"dure-{slug(portal)}"


def flavor_name(portal: str, product: str | None) -> str:
    """The name of what cards of this product are to Kueue; None is what any node has, "" a card nobody named."""
    ending = "nodes" if product is None else slug(product) if product else "gpus"
    return f"{cohort_name(portal)}-{ending}"


def priority_name(queue_class: int) -> str:
    """The name of the priority of a class of the queue; also the label's value."""
    return f"dure-{NAMES[queue_class].replace('_', '-')}"


def make_flavor(portal: str, product: str | None) -> dict[str, Any]:
    """Nodes with cards of one product. A pod that is admitted for it gets their label as its node selector."""
    spec = {"nodeLabels": {PRODUCT: product}} if product else {}
    return _make("ResourceFlavor", flavor_name(portal, product), _labels(portal), spec)


def make_priority(queue_class: int) -> dict[str, Any]:
    """A class of the queue. All portals of a cluster have the same."""
    body = _make("WorkloadPriorityClass", priority_name(queue_class), {MANAGED_BY: OURS}, None)
    return body | {"value": VALUES[queue_class], "description": f"Dure: {NAMES[queue_class].replace('_', ' ')}"}


def make_cohort(portal: str, capacity: Capacity, left: Mapping[Kind, int]) -> dict[str, Any]:
    """What is no team's own, for all of them to borrow."""
    groups = _gpu_groups(portal, capacity, {kind: {"nominalQuota": number(count)} for kind, count in left.items()})
    return _make("Cohort", cohort_name(portal), _labels(portal), {"resourceGroups": groups} if groups else {})


def make_cluster_queue(quotas: Quotas, capacity: Capacity, team: str, own: Mapping[Kind, Part]) -> dict[str, Any]:
    """What a team may hold at once.

    Nobody inside their own part is ever ended for others. Where teams may borrow, whoever is within their own part
    takes back from those beyond theirs, but only from work of a lower class; else nobody ends for anybody.
    """
    limits = {kind: _limits(part) for kind, part in own.items()}
    places = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": sorted(quotas.namespaces)}
    spec = {
        "cohortName": cohort_name(quotas.portal),
        "namespaceSelector": {"matchExpressions": [places]},
        "queueingStrategy": "BestEffortFIFO",
        "resourceGroups": [_plain_group(quotas.portal, capacity), *_gpu_groups(quotas.portal, capacity, limits)],
        "preemption": {
            "reclaimWithinCohort": "LowerPriority" if quotas.borrowing else "Never",
            "borrowWithinCohort": {"policy": "Never"},
            "withinClusterQueue": "Never",
        },
        "fairSharing": {"weight": str(quotas.teams[team] or 1)},  # as the portal's own order weighs it
    }
    name = cluster_queue_name(quotas.portal, team)
    return _make("ClusterQueue", name, _labels(quotas.portal, team), spec)


def make_local_queue(portal: str, team: str, namespace: str) -> dict[str, Any]:
    """The door to a team's queue in one namespace."""
    spec = {"clusterQueue": cluster_queue_name(portal, team)}
    body = _make("LocalQueue", queue_name(team), _labels(portal, team), spec)
    body["metadata"]["namespace"] = namespace
    return body


def address(body: Mapping[str, Any]) -> str:
    """Where the API has it."""
    metadata = body["metadata"]
    where = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{API}{where}/{PLURALS[body['kind']]}/{metadata['name']}"


def is_as_wanted(there: Any, wanted: Any) -> bool:
    """Whether an object, or a part of one, says what is wanted.

    What the cluster fills in counts for nothing; limits of a quota that are not wanted do.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(there, Mapping) or (LIMITS & there.keys()) - wanted.keys():
            return False
        return all(key in there and is_as_wanted(there[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        same = isinstance(there, list) and len(there) == len(wanted)
        return same and all(map(is_as_wanted, there, wanted))
    return bool(there == wanted)


def number(count: int) -> str:
    """A count as the API itself writes it, so that what is applied again is no change: 64000 is 64k."""
    return _written(count, 1000, ("", "k", "M", "G"))


def mib(count: int) -> str:
    """So many MiB as the API itself writes them: 1024 is 1Gi."""
    return _written(count, 1024, ("Mi", "Gi", "Ti", "Pi")) if count else "0"


def is_usable(queue: Mapping[str, Any] | None) -> bool:
    """Whether pods may be sent to this LocalQueue; None is that there is none, or no Kueue at all.

    One that leads nowhere would hold them for ever. One that somebody has stopped is to hold them.
    """
    if queue is None or queue["metadata"].get("deletionTimestamp"):
        return False
    conditions = (queue.get("status") or {}).get("conditions") or ()
    active = next((one for one in conditions if one["type"] == "Active"), None)
    return active is None or active["status"] == "True" or active["reason"] != "ClusterQueueDoesNotExist"


def _written(count: int, step: int, suffixes: Sequence[str]) -> str:
    power = 0
    while count and count % step == 0 and power + 1 < len(suffixes):
        count, power = count // step, power + 1
    return f"{count}{suffixes[power]}"


def _make(kind: str, name: str, labels: Mapping[str, str], spec: Mapping[str, Any] | None) -> dict[str, Any]:
    body = {"apiVersion": VERSION, "kind": kind, "metadata": {"name": name, "labels": dict(labels)}}
    return body if spec is None else body | {"spec": dict(spec)}


def _labels(portal: str, team: str | None = None) -> dict[str, str]:
    return {MANAGED_BY: OURS, PORTAL: portal, **({TEAM: slug(team)} if team else {})}


def _products(capacity: Capacity) -> list[str]:
    """Those without a label come last: whatever has one is to be counted as what it is."""
    return sorted({product for product, _ in capacity.gpus}, key=lambda one: (not one, one))


def _limits(part: Part) -> dict[str, str]:
    """Where a team may hold all that there is, it may also borrow all."""
    more = {} if part.most is None else {"borrowingLimit": number(part.most - part.own)}
    return {"nominalQuota": number(part.own), **more}


def _plain_group(portal: str, capacity: Capacity) -> dict[str, Any]:
    """Of these the portal has no quotas. So each queue has all there is, and the scheduler judges."""
    has = {"cpu": number(capacity.cores), "memory": mib(capacity.memory_mb)}
    if capacity.disk_mb:
        has["ephemeral-storage"] = mib(capacity.disk_mb)
    apart = {"borrowingLimit": "0", "lendingLimit": "0"}
    return _group(
        has, {flavor_name(portal, None): {name: {"nominalQuota": n, **apart} for name, n in has.items()}}
    )


def _gpu_groups(portal: str, capacity: Capacity, limits: Mapping[Kind, Mapping[str, str]]) -> list[dict[str, Any]]:
    """None on a cluster without GPUs. Every flavor of a group names all of its resources."""
    resources = sorted({resource for _, resource in capacity.gpus})
    none = {"nominalQuota": "0"}
    flavors = {
        flavor_name(portal, product): {name: limits.get((product, name), none) for name in resources}
        for product in _products(capacity)
    }
    return [_group(resources, flavors)] if resources else []


def _group(resources: Iterable[str], flavors: Mapping[str, Mapping[str, Mapping[str, str]]]) -> dict[str, Any]:
    return {
        "coveredResources": list(resources),
        "flavors": [
            {"name": name, "resources": [{"name": one, **limits} for one, limits in has.items()]}
            for name, has in flavors.items()
        ],
    }
