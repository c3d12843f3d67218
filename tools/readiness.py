"""What is not ready of a chart that was installed, and why: pure functions of what the API says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]


def unready(workloads: Iterable[Object], pods: Sequence[Object], events: Sequence[Object]) -> dict[str, str]:
    """By name of pod or workload, why it is not ready; empty where all is.

    Pods that are being replaced count only as far as their workload waits for them.
    """
    found: dict[str, str] = {}
    for workload in workloads:
        name, kind = workload["metadata"]["name"], workload["kind"]
        if is_ready(workload):
            continue
        own = [pod for pod in pods if _made_by(pod, name)]
        waiting = {pod["metadata"]["name"]: why for pod in own if (why := why_not(pod))}
        going = "its pods are being replaced" if own else "its pods are being made"
        found |= waiting or {f"{kind} {name}": _told(name, events) or going}
    return found


def is_ready(workload: Object) -> bool:
    """Whether all of its pods are of what was last asked for, and ready, and no older one is left.

    As `kubectl rollout status` judges it.
    """
    spec, status = workload["spec"], workload.get("status") or {}
    wanted = spec["replicas"]
    if status.get("observedGeneration", 0) < workload["metadata"]["generation"]:
        return False  # what is told is of before the change
    if workload["kind"] == "Deployment":
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    else:
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
        if status.get("currentRevision") != status.get("updateRevision"):
            return False
    return all(count == wanted for count in counts)


def why_not(pod: Object) -> str | None:
    """Why a pod is not ready, in the cluster's own words where it has some; None where it is."""
    status = pod.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    if conditions.get("Ready", {}).get("status") == "True":
        return None
    placed = conditions.get("PodScheduled", {})
    if placed.get("status") == "False":
        return f"no node takes it: {placed.get('message') or placed.get('reason')}"
    for which in ("initContainerStatuses", "containerStatuses"):
        said = [f"{one['name']}: {why}" for one in status.get(which) or () if (why := _container(one))]
        if said:
            return "; ".join(said)
    return "its node has not begun it"


def _container(status: Object) -> str | None:
    state = status.get("state") or {}
    if "waiting" in state:
        waiting = state["waiting"]
        before = (status.get("lastState") or {}).get("terminated")
        ended = f" after it ended with {before['exitCode']}" if before else ""
        words = ": ".join(filter(None, (waiting.get("reason"), waiting.get("message"))))
        return f"{words or 'it waits'}{ended}"
    if "terminated" in state:
        code = state["terminated"]["exitCode"]
        return f"it ended with {code}" if code else None
    return None if status.get("ready") else "it runs, and is not ready yet"


def _made_by(pod: Object, workload: str) -> bool:
    """A Deployment's pods belong to a ReplicaSet of a longer name."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return any(one["name"] == workload or one["name"].rpartition("-")[0] == workload for one in owners)


def _told(workload: str, events: Sequence[Object]) -> str:
    """The last warning of a workload, or of a ReplicaSet of its, as where a quota refuses its pods."""
    own = [
        one
        for one in events
        if one.get("type") == "Warning"
        and (name := one["involvedObject"].get("name", ""))
        and (name == workload or name.rpartition("-")[0] == workload)
    ]
    own.sort(key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""))
    return str(own[-1].get("message", "")) if own else ""
