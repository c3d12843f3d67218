"""Kueue, asked and told: whether it is there for a team, and its objects kept up to date.

Without it nothing here does anything, and the portal's own queue is the only one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.capacity import capacity_of
from dure_hub.backends.kubernetes.errors import ClusterRefused, NoKueue, QueueTaken
from dure_hub.backends.kubernetes.kueue import (
    API,
    PLURALS,
    VERSION,
    Quotas,
    address,
    is_as_wanted,
    is_usable,
    make_objects,
    priority_name,
    queue_name,
)
from dure_hub.backends.kubernetes.marks import MANAGED_BY, OURS, PORTAL
from dure_hub.backends.kubernetes.spec import PodSpec
from dure_hub.backends.kubernetes.stock import PRODUCT

log = logging.getLogger(__name__)
ONLY_OURS = ("LocalQueue", "ClusterQueue", "Cohort", "ResourceFlavor")
"""What is taken away when it is not wanted any more. Priorities stay: other portals' pods may name them."""


@dataclass(frozen=True)
class Done:
    """What was changed, by address: made or brought up to date, and taken away."""

    applied: Sequence[str]
    removed: Sequence[str]


@dataclass(frozen=True)
class Drift:
    """By address: what is wanted and not there, what says something else, and what is nobody's any more."""

    missing: Sequence[str]
    changed: Sequence[str]
    left: Sequence[str]

    @property
    def all(self) -> Sequence[str]:
        """Nothing where all is as it should be."""
        return [*self.missing, *self.changed, *self.left]


async def queued(cluster: Cluster, spec: PodSpec, queue_class: int) -> PodSpec:
    """The same pod, for Kueue to admit, where it is there for the pod's team; else as it is.

    A pod whose node the portal has chosen is bound to that node's cards besides: Kueue knows no node by its name,
    and would count it as whatever has room. A portal that may not look at queues has none, as its log says.
    """
    if spec.team is None:
        return spec
    try:
        found = await cluster.get(f"{API}/namespaces/{spec.namespace}/localqueues/{queue_name(spec.team)}")
    except ClusterRefused as error:
        log.warning("Kueue is not asked about %s: %s", spec.name, error.text())
        return spec
    if not is_usable(found):
        return spec
    labels = dict(spec.labels)
    if spec.node is not None and spec.resources:
        nodes = await cluster.all("/api/v1/nodes", fieldSelector=f"metadata.name={spec.node}")
        product = next(((node["metadata"].get("labels") or {}).get(PRODUCT) for node in nodes), None)
        labels |= {PRODUCT: product} if product else {}
    return replace(spec, labels=labels, queue=queue_name(spec.team), priority=priority_name(queue_class))


async def planned(
    cluster: Cluster, quotas: Quotas, tolerations: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """All objects as they should be, from the portal's quotas and what the cluster's nodes have now, as far as
    servers with these tolerations may be there."""
    return make_objects(quotas, capacity_of(await cluster.all("/api/v1/nodes"), tolerations))


async def bring(cluster: Cluster, portal: str, objects: Sequence[Mapping[str, Any]], *, dry: bool = False) -> Done:
    """Bring the cluster's objects to these, and take away this portal's others, as those of teams that are gone.

    A queue in use stays, closed, until its pods have ended. With `dry` the cluster judges them and keeps nothing.
    Raises `NoKueue`, `QueueTaken`; nothing was changed then.
    """
    if await cluster.get(API) is None:
        raise NoKueue(version=VERSION)
    for body in objects:
        there = await cluster.get(address(body))
        if there is not None and not _is_ours(there, body):
            raise QueueTaken(kind=body["kind"], name=body["metadata"]["name"])
    for body in objects:
        await cluster.apply(address(body), body, dry=dry)
    wanted = {address(body) for body in objects}
    removed = []
    for at, one in (await _own(cluster, portal)).items():
        if at not in wanted:
            removed.append(at)
            if not dry:
                await cluster.delete(at, uid=one["metadata"]["uid"])
    return Done(sorted(wanted), removed)


async def drift(cluster: Cluster, portal: str, objects: Sequence[Mapping[str, Any]]) -> Drift | None:
    """How the cluster's objects differ from these; None where there are none of this portal's, or no Kueue.

    Only reads.
    """
    if await cluster.get(API) is None:
        return None
    own = await _own(cluster, portal)
    if not own:
        return None
    wanted = {address(body): body for body in objects}
    there = {at: own[at] if at in own else await cluster.get(at) for at in wanted}
    return Drift(
        missing=[at for at, one in there.items() if one is None],
        changed=[at for at, one in there.items() if one is not None and not _says(one, wanted[at])],
        left=[at for at in own if at not in wanted],
    )


async def _own(cluster: Cluster, portal: str) -> dict[str, Mapping[str, Any]]:
    """This portal's objects by address, but for what all portals share. One that is going counts no more."""
    mark, found = f"{MANAGED_BY}={OURS},{PORTAL}={portal}", dict[str, Mapping[str, Any]]()
    for kind in ONLY_OURS:
        for one in await cluster.all(f"{API}/{PLURALS[kind]}", labelSelector=mark):
            if not one["metadata"].get("deletionTimestamp"):
                found[address({**one, "kind": kind})] = one
    return found


def _says(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """An object of a list says neither its kind nor its version."""
    return is_as_wanted(there, {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind")})


def _is_ours(there: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether it carries the marks that it is to have; a priority is any portal's."""
    said, marks = there["metadata"].get("labels") or {}, body["metadata"]["labels"]
    return all(said.get(key) == marks[key] for key in (MANAGED_BY, PORTAL) if key in marks)
