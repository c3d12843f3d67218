"""Kueue, asked and told: whether it is there for a team, what it says of a pod, its objects kept up to date.

Without it nothing here does anything, and the portal's own queue is the only one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dure_hub.backends.base import Handle
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.capacity import capacity_of
from dure_hub.backends.kubernetes.errors import ClusterAway, ClusterRefused, NoKueue, NotAdmitted, QueueTaken
from dure_hub.backends.kubernetes.kueue import (
    API,
    PLURALS,
    VERSION,
    Quotas,
    address,
    is_usable,
    make_objects,
    priority_name,
    queue_name,
)
from dure_hub.backends.kubernetes.looks import is_gated, says_why, waits_for, waits_in
from dure_hub.backends.kubernetes.marks import MANAGED_BY, OURS, PORTAL, QUEUE
from dure_hub.backends.kubernetes.spec import PodSpec
from dure_hub.backends.kubernetes.stock import PRODUCT

JOB_UID = "kueue.x-k8s.io/job-uid"
"""A label of a workload: the uid of the pod that it is for."""
log = logging.getLogger(__name__)
LOOK_S, AWAY_S = 0.5, 1.0
ONLY_OURS = ("LocalQueue", "ClusterQueue", "Cohort", "ResourceFlavor")
"""What is taken away when it is not wanted any more. Priorities stay: other portals' pods may name them."""


@dataclass(frozen=True)
class Done:
    """What was changed, by address: made or brought up to date, and taken away."""

    applied: Sequence[str]
    removed: Sequence[str]


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


async def workload_of(cluster: Cluster, pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What Kueue judges in place of this pod; None where it has none yet."""
    metadata = pod["metadata"]
    where = f"{API}/namespaces/{metadata['namespace']}/workloads"
    found = await cluster.all(where, labelSelector=f"{JOB_UID}={metadata['uid']}")
    return found[0] if found else None


async def why_waiting(cluster: Cluster, handle: Handle) -> str | None:
    """Why a pod has no node, in the words of Kueue or of the scheduler; None where it has one."""
    pod = await _pod_of(cluster, handle)
    return None if pod is None else await _why(cluster, pod)


async def _why(cluster: Cluster, pod: Mapping[str, Any]) -> str | None:
    if not is_gated(pod):
        return waits_for(pod)
    try:
        workload = await workload_of(cluster, pod)
    except ClusterRefused as error:  # words alone are no reason to fail
        log.warning("what Kueue says of %s cannot be read: %s", pod["metadata"]["name"], error.text())
        return waits_for(pod)
    if says_why(workload):
        return waits_for(pod, workload)
    # of many that ask for the same Kueue judges one, and of the others it says nothing
    queue = (pod["metadata"].get("labels") or {}).get(QUEUE, "")
    found = await cluster.get(f"{API}/namespaces/{pod['metadata']['namespace']}/localqueues/{queue}")
    return waits_in(queue, found)


async def held_back(cluster: Cluster, handle: Handle) -> str | None:
    """Why Kueue holds a pod back, in its words; None where it does not, or not any more."""
    pod = await _pod_of(cluster, handle)
    return await _why(cluster, pod) if _is_held(pod) and pod is not None else None


async def admitted_by(cluster: Cluster, handle: Handle, limit_s: float) -> None:
    """Return once Kueue has admitted a pod; also where it never held it back, and where it is over.

    Raises `NotAdmitted` after so many seconds; the pod is there still, and may yet be admitted. Time in which the
    API server does not answer says nothing, and does not count.
    """
    waited, last = 0.0, time.monotonic()
    while True:
        try:
            pod = await _pod_of(cluster, handle)
            if pod is None or not _is_held(pod):
                return
            if waited >= limit_s:
                raise await _not_admitted(cluster, pod, limit_s)
        except ClusterAway as error:
            log.info("whether Kueue has admitted %s is not known yet: %s", handle.lease, error)
            await asyncio.sleep(AWAY_S)
            last = time.monotonic()
            continue
        await asyncio.sleep(LOOK_S)
        waited, last = waited + max(time.monotonic() - last, LOOK_S), time.monotonic()


async def _not_admitted(cluster: Cluster, pod: Mapping[str, Any], limit_s: float) -> NotAdmitted:
    queue = (pod["metadata"].get("labels") or {}).get(QUEUE, "?")
    why = await _why(cluster, pod) or "?"
    return NotAdmitted(name=pod["metadata"]["name"], limit_s=round(limit_s), queue=queue, why=why)


def _is_held(pod: Mapping[str, Any] | None) -> bool:
    return pod is not None and not pod["metadata"].get("deletionTimestamp") and is_gated(pod)


async def _pod_of(cluster: Cluster, handle: Handle) -> Mapping[str, Any] | None:
    """Its pod, and no later one of the same name."""
    where = handle.where
    pod = await cluster.get(f"/api/v1/namespaces/{where['namespace']}/pods/{where['name']}")
    same = pod is not None and where.get("uid") in (None, pod["metadata"]["uid"])
    return pod if same else None


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
    for kind in ONLY_OURS:
        own = f"{MANAGED_BY}={OURS},{PORTAL}={portal}"
        for one in await cluster.all(f"{API}/{PLURALS[kind]}", labelSelector=own):
            at = address({**one, "kind": kind})
            if at not in wanted and not one["metadata"].get("deletionTimestamp"):
                removed.append(at)
                if not dry:
                    await cluster.delete(at, uid=one["metadata"]["uid"])
    return Done(sorted(wanted), removed)


def _is_ours(there: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether it carries the marks that it is to have; a priority is any portal's."""
    said, marks = there["metadata"].get("labels") or {}, body["metadata"]["labels"]
    return all(said.get(key) == marks[key] for key in (MANAGED_BY, PORTAL) if key in marks)
