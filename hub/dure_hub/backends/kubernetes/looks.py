"""What a pod's status says of the run in it: pure functions of what the API gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dure.errors import LANGUAGES, Text, fill
from dure_hub.backends.base import Handle, Kind, Phase, Reason, Seen
from dure_hub.backends.kubernetes.marks import GATE, STOPPED, lease_of
from dure_hub.backends.kubernetes.pods import CONTAINER

ENDED = {"Succeeded", "Failed"}
NEVER_RAN = {"ContainerCannotRun", "StartError", "CreateContainerError"}
"""Reasons with which a container is over that never ran."""
LARGEST_SIGNAL = 64
LONG_AFTER_S = 30.0
FORCED_S = 60.0
"""How long a kubelet that is there has to end what was deleted at once."""
HOPELESS = {
    "ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
}  # fmt: skip
"""Reasons for which a container waits that do not pass by waiting."""

DISRUPTED = {"DisruptionTarget", "TerminationTarget"}
"""Conditions of a pod that the cluster's own controllers, or Kueue, have taken away."""
PREEMPTING = {"PreemptionByScheduler", "WorkloadEvictedDueToPreempted"}
"""Reasons of conditions of a pod that was deleted to make room: the scheduler's, and Kueue's own."""

CAN_BEGIN = "PodReadyToStartContainers"
"""The condition of a pod whose volumes and network are there: what comes next is its image."""

Pod = Mapping[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NO_GROUND: Text = {
    "en": "its volumes or its network are not ready on the node {node}. Perhaps a volume is still attached to "
    "another node (`kubectl describe pod` tells which).",
    "ko": "노드 {node}에서 볼륨이나 네트워크가 준비되지 않았습니다. 볼륨이 다른 노드에 연결되어 있을 수 있습니다"
    "(`kubectl describe pod`로 확인하세요).",
}
NO_CONTAINER: Text = {
    "en": "its volumes and its network are ready on the node {node}, which still fetches its image or makes its "
    "container.",
    "ko": "노드 {node}에 볼륨과 네트워크는 준비되었고, 아직 이미지를 받거나 컨테이너를 만드는 중입니다.",
}
NOT_SAID: Text = {
    "en": "the node {node} has not begun it, and does not say what it waits for: volumes, network or the image.",
    "ko": "노드 {node}이(가) 아직 시작하지 않았고, 무엇을 기다리는지 알려 주지 않습니다"
    "(볼륨, 네트워크 또는 이미지).",
}
SILENT: Text = {
    "en": "Its node {node} does not answer, so nobody can tell whether it still runs. It ends once the node is "
    "back, or once an administrator says that it is gone (`kubectl delete node {node}`).",
    "ko": "노드 {node}이(가) 응답하지 않아 아직 실행 중인지 알 수 없습니다. 노드가 돌아오거나 관리자가 노드를 "
    "제거하면(`kubectl delete node {node}`) 끝납니다.",
}
NO_CLAIM: Text = {"en": "there is none of that name", "ko": "그 이름의 클레임이 없습니다"}
CLAIM_GOES: Text = {"en": "it is being deleted", "ko": "삭제되는 중입니다"}
CLAIM_LOST: Text = {"en": "its volume is lost", "ko": "볼륨을 잃었습니다"}


def seen_of(pod: Pod, portal: str, kind: Kind, now: datetime) -> Seen | None:
    """One run as its pod shows it; None of a pod that is not ours. What the cluster cannot reach runs on."""
    lease = lease_of(pod, portal)
    if lease is None:
        return None
    handle = Handle(lease, kind, where_of(pod))
    state = _state(pod)
    if pod["status"].get("phase") not in ENDED and not will_never_run(pod) and not was_forced(pod, now):
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
        said=said_of(pod),
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
    """Why it ended. What the portal asked to end was stopped, whatever it said to that; what made room for others
    was preempted; what others deleted (a drained node, somebody's kubectl) was killed, unless it had
    ended before."""
    code = exit_code(over)
    if STOPPED in (pod["metadata"].get("annotations") or {}):
        return Reason.STOPPED
    if over.get("reason") == "OOMKilled":
        return Reason.OUT_OF_MEMORY
    if over.get("reason") in NEVER_RAN:
        return Reason.NOT_EXECUTABLE
    if any(one["status"] == "True" and one.get("reason") in PREEMPTING for one in _conditions(pod)):
        return Reason.PREEMPTED
    if code is None or code < 0 or _taken(pod, over):  # without a word of its container: evicted, its node is gone
        return Reason.KILLED
    return Reason.FAILED if code else Reason.FINISHED


def is_readable(pod: Pod) -> bool:
    """Whether its container has a log: of one that never began the kubelet refuses to give any."""
    state = _state(pod)
    return "running" in state or bool((state.get("terminated") or {}).get("containerID"))


def why_never_ran(pod: Pod) -> str | None:
    """What the runtime said of a command that it could not execute; None of one that ran, or may yet."""
    over = _state(pod).get("terminated") or {}
    return f"{over.get('message') or over['reason']}\n" if over.get("reason") in NEVER_RAN else None


def _taken(pod: Pod, over: Mapping[str, Any]) -> bool:
    """Whether its deletion ended it. The time of a deletion is moved to when the kubelet is done with it, so only
    one that came long after the end says that it had ended by itself."""
    if any(one["type"] in DISRUPTED and one["status"] == "True" for one in _conditions(pod)):
        return True
    deleted, ended = _time(pod["metadata"].get("deletionTimestamp")), _time(over.get("finishedAt"))
    return deleted is not None and (ended is None or deleted - ended < LONG_AFTER_S)


def trouble_of(pod: Pod) -> str | None:
    """What keeps it from starting and will not pass by waiting, as the cluster says it; None where it can."""
    before = [one.get("state") or {} for one in pod["status"].get("initContainerStatuses") or ()]
    for state in (*before, _state(pod)):
        waiting = state.get("waiting") or {}
        if waiting.get("reason") in HOPELESS:
            return f"{waiting['reason']}: {waiting.get('message', '')}".removesuffix(": ")
    return None


def pinned_to(pod: Pod) -> str:
    """The one node that it may go to (`pods.make_placement`); "" where the scheduler chooses."""
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(REQUIRED) or {}
    fields = [field for term in affinity.get("nodeSelectorTerms") or () for field in term.get("matchFields") or ()]
    return next((str(one["values"][0]) for one in fields if one["key"] == "metadata.name"), "")


def not_begun(pod: Pod) -> Text:
    """Why a pod on a node has not begun, where nothing of its status says so (events would, which nobody here may
    read): what has not been done yet of what a kubelet does, first to last."""
    can = next((one["status"] for one in _conditions(pod) if one["type"] == CAN_BEGIN), None)
    facts = {"node": str(pod["spec"].get("nodeName"))}
    text = NO_GROUND if can == "False" else NO_CONTAINER if can == "True" else NOT_SAID
    return {language: fill(text, language, facts) for language in LANGUAGES}


def is_ready(node: Mapping[str, Any]) -> bool:
    """Whether its kubelet answers."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in _conditions(node))


def silent(node: str) -> Text:
    """Why a pod of a node that does not answer has not ended yet."""
    return {language: fill(SILENT, language, {"node": node}) for language in LANGUAGES}


def said_of(pod: Pod) -> str | None:
    """What the cluster itself says of a pod that it ended or did not take: evicted, without room after all."""
    status = pod["status"]
    if status.get("phase") not in ENDED or not status.get("reason"):
        return None
    return f"{status['reason']}: {status.get('message') or ''}".strip().removesuffix(":")


def unusable(claim: Mapping[str, Any] | None) -> Text | None:
    """Why no pod can begin with this volume claim, however long it waits; None where one may. One without a volume
    yet may: many classes make it only once a pod asks."""
    if claim is None:
        return NO_CLAIM
    if claim["metadata"].get("deletionTimestamp"):
        return CLAIM_GOES
    return CLAIM_LOST if (claim.get("status") or {}).get("phase") == "Lost" else None


def steps_of(pod: Pod) -> list[tuple[str, str]]:
    """How far a pod that begins is, first to last, by its conditions and its container's state alone.

    A kubelet that fetches an image and one that has it say the same (`ContainerCreating`): events tell more, which
    the portal may not read.
    """
    node = pod["spec"].get("nodeName")
    if not node:
        why = None if is_gated(pod) else waits_for(pod)
        return [("no_node", why)] if why else []
    found = [("on_node", str(node))]
    image = next((one["image"] for one in pod["spec"]["containers"] if one["name"] == CONTAINER), None)
    ready = any(one["type"] == CAN_BEGIN and one["status"] == "True" for one in _conditions(pod))
    if image and (ready or "running" in _state(pod)):
        found.append(("image", str(image)))
    trouble = trouble_of(pod)
    return [*found, ("in_trouble", trouble)] if trouble else found


def is_ending(pod: Pod) -> bool:
    """Whether its end was asked for, and has not been seen."""
    return bool(pod["metadata"].get("deletionTimestamp")) and pod["status"].get("phase") not in ENDED


def was_forced(pod: Pod, now: datetime) -> bool:
    """Whether somebody has had it deleted without waiting for its kubelet (`kubectl delete --force`), and that has
    had its time since: so they say that it runs no more, as where its node is gone for good."""
    deleted = _time(pod["metadata"].get("deletionTimestamp"))
    at_once = is_ending(pod) and pod["metadata"].get("deletionGracePeriodSeconds") == 0
    return at_once and deleted is not None and now.timestamp() - deleted > FORCED_S


def will_never_run(pod: Pod) -> bool:
    """Whether it was deleted before the scheduler had a node for it: no node is given to what is deleted."""
    return bool(pod["metadata"].get("deletionTimestamp")) and not pod["spec"].get("nodeName")


def is_gated(pod: Pod) -> bool:
    """Whether Kueue holds it back."""
    return any(one["name"] == GATE for one in pod["spec"].get("schedulingGates") or ())


def waits_for(pod: Pod, workload: Pod | None = None) -> str | None:
    """Why it has no node, in the cluster's words; None where it has one, or nobody has said yet.

    Of a pod that Kueue holds back, what its `workload` says, which is Kueue's name for what it judges.
    """
    if is_gated(pod) and (why := says_why(workload)):
        return why
    for one in _conditions(pod):
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return str(one.get("message") or one.get("reason") or "") or None
    return None


def says_why(workload: Pod | None) -> str | None:
    """Why Kueue has not admitted this, in its words; None where it has, or has not said."""
    said = {one["type"]: one for one in _conditions(workload or {})}
    for kind in ("QuotaReserved", "Admitted"):  # it is given the one before the other
        if kind in said and said[kind]["status"] == "False":
            return str(said[kind].get("message") or said[kind].get("reason") or "") or None
    return None


def waits_in(queue: str, found: Pod | None) -> str:
    """The same of a pod of which Kueue says nothing by itself, from what it counts in the queue."""
    if found is None:
        return f"LocalQueue {queue}: not found"
    status = found.get("status") or {}
    numbers = {key: status.get(f"{key}Workloads", 0) for key in ("pending", "admitted")}
    said = f"LocalQueue {queue}: pending {numbers['pending']}, admitted {numbers['admitted']}"
    stopped = next(
        (one for one in _conditions(found) if one["type"] == "Active" and one["status"] == "False"), None
    )
    return f"{said}: {stopped.get('message') or stopped.get('reason')}" if stopped else said


def _conditions(thing: Pod) -> Sequence[Mapping[str, Any]]:
    return (thing.get("status") or {}).get("conditions") or ()


def _state(pod: Pod) -> Mapping[str, Any]:
    statuses = pod["status"].get("containerStatuses") or ()
    return next((one.get("state") or {} for one in statuses if one["name"] == CONTAINER), {})


def _time(text: str | None) -> float | None:
    """Seconds since the epoch, of a time as the API writes it."""
    return datetime.fromisoformat(text).astimezone(UTC).timestamp() if text else None
