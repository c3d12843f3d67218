"""What is made of a pod's status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dure_hub.backends.base import Kind, Phase, Reason, Seen
from dure_hub.backends.kubernetes.looks import (
    is_gated,
    is_readable,
    seen_of,
    steps_of,
    trouble_of,
    unusable,
    waits_for,
    waits_in,
    why_never_ran,
)
from dure_hub.backends.kubernetes.marks import GATE, STOPPED, make_labels

SOON, LATER = "2026-03-01T12:00:21Z", "2026-03-01T12:30:00Z"
NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
LABELS = make_labels(portal="p1", lease="01L", kind=Kind.JOB, owner="ana")


def pod(phase: str = "Running", deleted: str | None = None, asked: bool = False, **state: Any) -> dict[str, Any]:
    """One of ours, whose container is in this state."""
    statuses = [{"name": "sidecar", "state": {}}, {"name": "main", "state": state}] if state else None
    metadata = {"name": "p", "namespace": "n", "uid": "u", "labels": LABELS}
    if asked:
        metadata |= {"annotations": {STOPPED: "2026-03-01T12:00:09Z"}}
    return {
        "metadata": metadata | ({"deletionTimestamp": deleted} if deleted else {}),
        "spec": {"containers": [{"name": "main"}]},
        "status": {"phase": phase, **({"containerStatuses": statuses} if statuses else {})},
    }


def looked(found: dict[str, Any]) -> Seen:
    """What is seen of it."""
    seen = seen_of(found, "p1", Kind.JOB, NOW)
    assert seen is not None
    return seen


def over(code: int | None = None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    """The state of a container that ended ten seconds ago."""
    times = {"startedAt": "2026-03-01T12:00:00Z", "finishedAt": "2026-03-01T12:00:20Z"}
    return {"terminated": times | {"exitCode": code, "reason": reason} | more}


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
def test_until_its_end_is_known_it_runs(phase: str) -> None:
    assert looked(pod(phase)).phase is Phase.RUNNING
    found = pod(phase, deleted="2026-03-01T12:00:25Z")
    found["spec"]["nodeName"] = "n1"
    assert looked(found).phase is Phase.RUNNING, "it is still ending"


@pytest.mark.parametrize(("asked", "reason"), [(True, Reason.STOPPED), (False, Reason.KILLED)])
def test_what_was_deleted_before_it_had_a_node_is_over(asked: bool, reason: Reason) -> None:
    """Nothing of it ever ran, and no kubelet will say so."""
    seen = looked(pod("Pending", deleted="2026-03-01T12:00:25Z", asked=asked))
    assert (seen.phase, seen.exit_code, seen.reason, seen.ended_ago_s) == (Phase.EXITED, None, reason, 5.0)


@pytest.mark.parametrize(
    ("kind", "why", "code", "reason"),
    [
        ("TerminationTarget", "WorkloadEvictedDueToPreempted", 143, Reason.PREEMPTED),
        ("TerminationTarget", "WorkloadEvictedDueToPreempted", 0, Reason.PREEMPTED),
        ("TerminationTarget", "WorkloadEvictedDueToClusterQueueStopped", 0, Reason.KILLED),
        ("DisruptionTarget", "PreemptionByScheduler", 143, Reason.PREEMPTED),
        ("DisruptionTarget", "DeletionByTaintManager", 0, Reason.KILLED),
    ],
)
def test_what_made_room_was_preempted(kind: str, why: str, code: int, reason: Reason) -> None:
    found = pod("Failed", SOON, **over(code))
    found["status"]["conditions"] = [{"type": kind, "status": "True", "reason": why}]
    assert looked(found).reason == reason


def test_a_pod_that_is_held_back_says_why_in_the_words_of_kueue() -> None:
    found = pod("Pending")
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "gates"}
    found["status"]["conditions"] = [gated]
    assert not is_gated(found)
    found["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
    assert is_gated(found)
    assert waits_for(found) == "gates"
    assert waits_for(found, {"metadata": {}}) == "gates", "it has not been judged yet"
    no = {"type": "QuotaReserved", "status": "False", "message": "insufficient quota"}
    assert waits_for(found, {"status": {"conditions": [no]}}) == "insufficient quota"
    yes, checked = {**no, "status": "True"}, {"type": "Admitted", "status": "False", "message": "checks"}
    assert waits_for(found, {"status": {"conditions": [yes, checked]}}) == "checks"


def test_of_a_pod_that_was_not_judged_by_itself_its_queue_says_how_many_wait() -> None:
    status: dict[str, Any] = {"pendingWorkloads": 4, "admittedWorkloads": 2}
    assert waits_in("q", {"status": status}) == "LocalQueue q: pending 4, admitted 2"
    status["conditions"] = [{"type": "Active", "status": "False", "reason": "Stopped"}]
    assert waits_in("q", {"status": status}).endswith("admitted 2: Stopped")
    assert waits_in("q", None) == "LocalQueue q: not found"


def test_a_running_one_says_since_when_and_where() -> None:
    found = pod(running={"startedAt": "2026-03-01T12:00:00Z"})
    found["status"]["podIP"], found["spec"]["nodeName"] = "10.0.0.9", "n1"
    found["spec"]["containers"][0]["ports"] = [{"containerPort": 8888}]
    seen = looked(found)
    assert seen.started == NOW.timestamp() - 30
    known = {"namespace": "n", "name": "p", "uid": "u", "ip": "10.0.0.9", "node": "n1", "port": 8888}
    assert seen.handle.where == known


@pytest.mark.parametrize(
    ("state", "deleted", "code", "reason"),
    [
        (over(0), None, 0, Reason.FINISHED),
        (over(3), None, 3, Reason.FAILED),
        (over(255), None, 255, Reason.FAILED),
        (over(137), None, -9, Reason.KILLED),
        (over(137, "OOMKilled"), None, -9, Reason.OUT_OF_MEMORY),
        (over(128, "StartError"), None, None, Reason.NOT_EXECUTABLE),
        (over(0), SOON, 0, Reason.KILLED),
        (over(143), SOON, -15, Reason.KILLED),
        (over(137, "OOMKilled"), SOON, -9, Reason.OUT_OF_MEMORY),
        (over(0), LATER, 0, Reason.FINISHED),
        (over(2), LATER, 2, Reason.FAILED),
    ],
)
def test_how_it_ended(state: dict[str, Any], deleted: str | None, code: int | None, reason: Reason) -> None:
    """What others delete is killed by that, unless it had ended long before."""
    seen = looked(pod("Succeeded" if code == 0 else "Failed", deleted, **state))
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.EXITED, code, reason)
    assert (seen.ended_ago_s, seen.exact, seen.started) == (10.0, True, NOW.timestamp() - 30)


@pytest.mark.parametrize("code", [0, -15])
def test_what_the_portal_asked_to_end_was_stopped(code: int) -> None:
    seen = looked(pod("Failed", SOON, asked=True, **over(code if code >= 0 else 128 - code)))
    assert (seen.exit_code, seen.reason) == (code, Reason.STOPPED)


def test_a_node_that_is_taken_away_kills_what_was_on_it() -> None:
    found = pod("Succeeded", **over(0))
    found["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    assert looked(found).reason == Reason.KILLED


def test_only_what_began_has_a_log() -> None:
    assert not is_readable(pod("Pending", waiting={"reason": "ContainerCreating"}))
    assert not is_readable(pod("Failed", **over(None, "ContainerStatusUnknown")))
    assert not is_readable(pod("Pending"))
    assert is_readable(pod(running={}))
    assert is_readable(pod("Failed", **over(1, containerID="containerd://x")))


def test_what_could_not_be_executed_has_the_runtimes_words_for_a_log() -> None:
    assert why_never_ran(pod("Failed", **over(128, "StartError", message="no such file"))) == "no such file\n"
    assert why_never_ran(pod("Failed", **over(128, "StartError"))) == "StartError\n"
    assert why_never_ran(pod("Failed", **over(3, "Error", message="its own last words"))) is None
    assert why_never_ran(pod(running={})) is None


def test_an_evicted_one_was_killed_at_an_unknown_time() -> None:
    seen = looked(pod("Failed"))
    assert (seen.exit_code, seen.reason, seen.ended_ago_s, seen.exact) == (None, Reason.KILLED, None, False)


def test_what_is_not_ours_is_not_seen() -> None:
    found = pod()
    found["metadata"]["labels"] = {"dure/lease": "01L"}
    assert seen_of(found, "p1", Kind.JOB, NOW) is None


def test_an_image_that_is_not_there_does_not_pass_by_waiting() -> None:
    waiting = {"reason": "ErrImageNeverPull", "message": "Container image is not present"}
    assert trouble_of(pod("Pending", waiting=waiting)) == "ErrImageNeverPull: Container image is not present"
    assert trouble_of(pod("Pending", waiting={"reason": "ImagePullBackOff"})) == "ImagePullBackOff"
    assert trouble_of(pod("Pending", waiting={"reason": "ContainerCreating"})) is None
    assert trouble_of(pod()) is None


def test_the_scheduler_says_why_it_waits() -> None:
    found = pod("Pending")
    assert waits_for(found) is None
    condition = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    found["status"]["conditions"] = [{"type": "Ready", "status": "False"}, condition]
    assert waits_for(found) == "0/3 nodes are available"


def test_only_a_claim_that_helps_nobody_by_waiting_is_unusable() -> None:
    there = {"metadata": {}, "status": {"phase": "Bound"}}
    assert unusable(there) is None
    assert unusable({"metadata": {}, "status": {"phase": "Pending"}}) is None, "its first pod may have it made"
    said = [
        unusable(None),
        unusable({**there, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        unusable({**there, "status": {"phase": "Lost"}}),
    ]
    assert [one["en"] for one in said if one] == [
        "there is none of that name",
        "it is being deleted",
        "its volume is lost",
    ]


def test_how_far_a_pod_is_is_said_by_its_conditions_and_states() -> None:
    waits = pod("Pending")
    waits["spec"] = {"containers": [{"name": "sidecar", "image": "s:1"}, {"name": "main", "image": "tool:1"}]}
    assert steps_of(waits) == [], "nobody has said anything yet"
    said = "0/3 nodes are available: 3 Insufficient cpu."
    waits["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": said}]
    assert steps_of(waits) == [("no_node", said)]
    waits["spec"]["schedulingGates"] = [{"name": GATE}]
    assert steps_of(waits) == [], "that Kueue holds it back is said elsewhere"
    del waits["spec"]["schedulingGates"]
    waits["spec"]["nodeName"] = "n1"
    waits["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}]
    assert steps_of(waits) == [("on_node", "n1")]
    waits["status"]["conditions"] += [{"type": "PodReadyToStartContainers", "status": "True"}]
    fetches = [("on_node", "n1"), ("image", "tool:1")]
    assert steps_of(waits) == fetches
    reason = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    waits["status"]["containerStatuses"] = [{"name": "main", "state": {"waiting": reason}}]
    assert steps_of(waits) == [*fetches, ("in_trouble", "ImagePullBackOff: Back-off pulling image")]
    waits["status"] = {"phase": "Running", "containerStatuses": [{"name": "main", "state": {"running": {}}}]}
    assert steps_of(waits) == fetches, "a cluster that does not know that condition"


@pytest.mark.parametrize(
    ("seconds", "grace", "phase"),
    [(61, 0, Phase.EXITED), (59, 0, Phase.RUNNING), (3600, 30, Phase.RUNNING), (3600, None, Phase.RUNNING)],
)
def test_only_who_deletes_by_force_says_that_what_nobody_hears_of_runs_no_more(
    seconds: int, grace: int | None, phase: Phase
) -> None:
    found = pod("Running", deleted=(NOW - timedelta(seconds=seconds)).isoformat(), running={})
    found["spec"]["nodeName"] = "n1"
    found["metadata"]["deletionGracePeriodSeconds"] = grace
    seen = looked(found)
    assert (seen.phase, seen.exact) == (phase, phase is Phase.RUNNING)
    if phase is Phase.EXITED:
        assert (seen.reason, seen.ended_ago_s) == (Reason.KILLED, seconds)


def test_an_evicted_one_has_the_words_of_the_cluster() -> None:
    found = pod("Failed", **over(137, "ContainerStatusUnknown"))
    found["status"] |= {"reason": "Evicted", "message": "The node was low on resource: memory."}
    assert looked(found).said == "Evicted: The node was low on resource: memory."
    assert looked(pod("Failed", **over(1))).said is None
    found["status"]["message"] = None
    assert looked(found).said == "Evicted"
