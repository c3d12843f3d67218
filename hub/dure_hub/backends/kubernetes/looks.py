"""What a pod's status says of the run in it: pure functions of what the API gives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dure_hub.backends.base import Handle, Kind, Phase, Reason, Seen
from dure_hub.backends.kubernetes.marks import STOPPED, lease_of
from dure_hub.backends.kubernetes.pods import CONTAINER

ENDED = {"Succeeded", "Failed"}
NEVER_RAN = {"ContainerCannotRun", "StartError", "CreateContainerError"}
"""Reasons with which a container is over that never ran."""
LARGEST_SIGNAL = 64
LONG_AFTER_S = 30.0
HOPELESS = {
    "ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
}  # fmt: skip
"""Reasons for which a container waits that do not pass by waiting."""

Pod = Mapping[str, Any]


def seen_of(pod: Pod, portal: str, kind: Kind, now: datetime) -> Seen | None:
    """One run as its pod shows it; None of a pod that is not ours. What the cluster cannot reach runs on."""
    lease = lease_of(pod, portal)
    if lease is None:
        return None
    handle = Handle(lease, kind, where_of(pod))
    state = _state(pod)
    if pod["status"].get("phase") not in ENDED:
        return Seen(handle, Phase.RUNNING, started=_time(state.get("running", {}).get("startedAt")))
    over = state.get("terminated") or {}
    ended = _time(over.get("finishedAt")) or _time(pod["metadata"].get("deletionTimestamp"))
    return Seen(
        handle,
        Phase.EXITED,
        exit_code(over),
        reason_of(pod, over).value,
        started=_time(over.get("startedAt")),
        ended_ago_s=None if ended is None else max(now.timestamp() - ended, 0.0),
        exact=bool(over.get("finishedAt")),
    )


def where_of(pod: Pod) -> dict[str, Any]:
    """What a handle needs to find the pod again, and its address once it has one."""
    metadata = pod["metadata"]
    found = {"namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}
    address, node = pod["status"].get("podIP"), pod["spec"].get("nodeName")
    ports = next((one.get("ports") or () for one in pod["spec"]["containers"] if one["name"] == CONTAINER), ())
    more = {"ip": address, "node": node, "port": ports[0]["containerPort"] if ports else None}
    return found | {key: value for key, value in more.items() if value}


def exit_code(over: Mapping[str, Any]) -> int | None:
    """Below zero for a signal: a runtime adds 128 to its number, as shells do."""
    code = over.get("exitCode")
    if over.get("reason") in NEVER_RAN or code is None:
        return None
    return 128 - int(code) if 128 < code <= 128 + LARGEST_SIGNAL else int(code)


def reason_of(pod: Pod, over: Mapping[str, Any]) -> Reason:
    """Why it ended. What the portal asked to end was stopped, whatever it said to that; what others deleted
    (a drained node, a preemption, somebody's kubectl) was killed, unless it had ended before."""
    code = exit_code(over)
    if STOPPED in (pod["metadata"].get("annotations") or {}):
        return Reason.STOPPED
    if over.get("reason") == "OOMKilled":
        return Reason.OUT_OF_MEMORY
    if over.get("reason") in NEVER_RAN:
        return Reason.NOT_EXECUTABLE
    if code is None or code < 0 or _taken(pod, over):  # without a word of its container: evicted, its node is gone
        return Reason.KILLED
    return Reason.FAILED if code else Reason.FINISHED


def is_readable(pod: Pod) -> bool:
    """Whether its container has a log: of one that never began the kubelet refuses to give any."""
    state = _state(pod)
    return "running" in state or bool((state.get("terminated") or {}).get("containerID"))


def _taken(pod: Pod, over: Mapping[str, Any]) -> bool:
    """Whether its deletion ended it. The time of a deletion is moved to when the kubelet is done with it, so only
    one that came long after the end says that it had ended by itself."""
    conditions = pod["status"].get("conditions") or ()
    if any(one["type"] == "DisruptionTarget" and one["status"] == "True" for one in conditions):
        return True
    deleted, ended = _time(pod["metadata"].get("deletionTimestamp")), _time(over.get("finishedAt"))
    return deleted is not None and (ended is None or deleted - ended < LONG_AFTER_S)


def trouble_of(pod: Pod) -> str | None:
    """What keeps it from starting and will not pass by waiting, as the cluster says it; None where it can."""
    waiting = _state(pod).get("waiting") or {}
    if waiting.get("reason") in HOPELESS:
        return f"{waiting['reason']}: {waiting.get('message', '')}".removesuffix(": ")
    return None


def waits_for(pod: Pod) -> str | None:
    """Why the scheduler has no node for it, in its words; None where it has one, or has not said yet."""
    for one in pod["status"].get("conditions") or ():
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return str(one.get("message") or one.get("reason") or "") or None
    return None


def _state(pod: Pod) -> Mapping[str, Any]:
    statuses = pod["status"].get("containerStatuses") or ()
    return next((one.get("state") or {} for one in statuses if one["name"] == CONTAINER), {})


def _time(text: str | None) -> float | None:
    """Seconds since the epoch, of a time as the API writes it."""
    return datetime.fromisoformat(text).astimezone(UTC).timestamp() if text else None
