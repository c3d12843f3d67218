"""Kueue, asked and told: whether it is there for a team, what it says of a pod, its objects kept up to date.

Without it nothing here does anything, and the portal's own queue is the only one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dure_hub.backends.base import Handle, Phase
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.capacity import capacity_of
from dure_hub.backends.kubernetes.errors import NoKueue, NotAdmitted, QueueTaken
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
from dure_hub.backends.kubernetes.runs import PodRuns
from dure_hub.backends.kubernetes.spec import PodSpec
from dure_hub.backends.kubernetes.stock import PRODUCT

JOB_UID = "kueue.x-k8s.io/job-uid"
"""A label of a workload: the uid of the pod that it is for."""
LOOK_S, GONE_LOOKS = 0.5, 20
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
    and would count it as whatever has room.
    """
    if spec.team is None:
        return spec
    found = await cluster.get(f"{API}/namespaces/{spec.namespace}/localqueues/{queue_name(spec.team)}")
    if not is_usable(found):
        return spec
    labels = dict(spec.labels)
    if spec.node is not None and spec.resources:
        node = await cluster.get(f"/api/v1/nodes/{spec.node}")
        product = ((node or {}).get("metadata", {}).get("labels") or {}).get(PRODUCT)
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
    workload = await workload_of(cluster, pod)
    if says_why(workload):
        return waits_for(pod, workload)
    # of many that ask for the same Kueue judges one, and of the others it says nothing
    queue = (pod["metadata"].get("labels") or {}).get(QUEUE, "")
    found = await cluster.get(f"{API}/namespaces/{pod['metadata']['namespace']}/localqueues/{queue}")
    return waits_in(queue, found)


async def admitted_by(cluster: Cluster, runs: PodRuns, handle: Handle, limit_s: float) -> None:
    """Return once Kueue has admitted a pod; also where it never held it back, and where it is over.

    Raises `NotAdmitted` after so many seconds: the pod is deleted and forgotten then, and holds nothing. One that
    is admitted at that very moment goes, too: it has not begun.
    """
    for _ in range(math.ceil(limit_s / LOOK_S)):
        if not await _is_held(cluster, handle):
            return
        await asyncio.sleep(LOOK_S)
    pod = await _pod_of(cluster, handle)
    if pod is None or not is_gated(pod) or (await runs.poll(handle)).phase is not Phase.RUNNING:
        return
    why = await _why(cluster, pod) or "?"
    queue = (pod["metadata"].get("labels") or {}).get(QUEUE, "?")
    await runs.stop(handle, 0)
    await runs.forget(handle)
    for _ in range(GONE_LOOKS):  # Kueue lets go of it, too, and then its name is free
        if (await runs.poll(handle)).phase is Phase.GONE:
            break
        await asyncio.sleep(LOOK_S)
    raise NotAdmitted(name=handle.where["name"], limit_s=round(limit_s), queue=queue, why=why)


async def _is_held(cluster: Cluster, handle: Handle) -> bool:
    pod = await _pod_of(cluster, handle)
    return pod is not None and not pod["metadata"].get("deletionTimestamp") and is_gated(pod)


async def _pod_of(cluster: Cluster, handle: Handle) -> Mapping[str, Any] | None:
    """Its pod, and no later one of the same name."""
    where = handle.where
    pod = await cluster.get(f"/api/v1/namespaces/{where['namespace']}/pods/{where['name']}")
    same = pod is not None and where.get("uid") in (None, pod["metadata"]["uid"])
    return pod if same else None


async def planned(cluster: Cluster, quotas: Quotas) -> list[dict[str, Any]]:
    """All objects as they should be, from the portal's quotas and what the cluster's nodes have now."""
    return make_objects(quotas, capacity_of(await cluster.all("/api/v1/nodes")))


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
