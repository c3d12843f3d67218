"""What is told of a chart that was installed: why pods are not ready, and what is asked for and used."""

from __future__ import annotations

from typing import Any

import pytest

from tools.consumption import GIB, MIB, row_of, table, total, volumes_of
from tools.deploy import admin_secret, namespaces_of
from tools.kube import Trouble, find
from tools.readiness import is_ready, unready, why_not


def workload(kind: str = "StatefulSet", generation: int = 1, **counts: Any) -> dict[str, Any]:
    """One that wants one pod, whose controller tells of generation 1."""
    return {
        "kind": kind,
        "metadata": {"name": "dure-portal", "generation": generation},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, **counts},
    }


SET: dict[str, Any] = {
    "replicas": 1,
    "updatedReplicas": 1,
    "readyReplicas": 1,
    "currentRevision": "a",
    "updateRevision": "a",
}
DEPLOYED: dict[str, Any] = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}


def pod(owner: str = "dure-portal", **status: Any) -> dict[str, Any]:
    """One of it."""
    owners = [{"name": owner}]
    return {"metadata": {"name": "dure-portal-0", "ownerReferences": owners}, "status": status}


def state(name: str, ready: bool = False, **said: Any) -> dict[str, Any]:
    """What a kubelet says of a container."""
    return {"name": name, "ready": ready, "state": said}


READY = {"type": "Ready", "status": "True"}
UNPLACED = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
PULLING = state("prepare", waiting={"reason": "ImagePullBackOff", "message": "not found"})
CRASHING = {
    **state("prepare", waiting={"reason": "CrashLoopBackOff"}),
    "lastState": {"terminated": {"exitCode": 1}},
}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"conditions": [READY]}, None),
        ({"conditions": [UNPLACED]}, "no node takes it: 0/1 nodes are available"),
        ({"initContainerStatuses": [PULLING]}, "prepare: ImagePullBackOff: not found"),
        ({"initContainerStatuses": [CRASHING]}, "prepare: CrashLoopBackOff after it ended with 1"),
        (
            {
                "initContainerStatuses": [state("prepare", True, terminated={"exitCode": 0})],
                "containerStatuses": [state("hub", True, running={}), state("portal", running={})],
            },
            "portal: it runs, and is not ready yet",
        ),
        ({"containerStatuses": [state("hub", terminated={"exitCode": 137})]}, "hub: it ended with 137"),
        ({}, "its node has not begun it"),
    ],
)
def test_why_a_pod_is_not_ready(status: dict[str, Any], why: str | None) -> None:
    assert why_not(pod(**status)) == why


@pytest.mark.parametrize(
    ("one", "ready"),
    [
        (workload(**SET), True),
        (workload(**SET | {"readyReplicas": 0}), False),
        (workload(**SET | {"updatedReplicas": 0}), False),
        (workload(**SET | {"updateRevision": "b"}), False),
        (workload(generation=2, **SET), False),
        (workload(), False),
        (workload("Deployment", **DEPLOYED), True),
        (workload("Deployment", **DEPLOYED | {"availableReplicas": 0}), False),
        (workload("Deployment", **DEPLOYED | {"updatedReplicas": 0}), False),
        (workload("Deployment", generation=2, **DEPLOYED), False),
        # the old pod is the ready one, and the new one is not
        (workload("Deployment", **DEPLOYED | {"replicas": 2}), False),
        (workload("Deployment"), False),
    ],
)
def test_a_workload_is_ready_once_its_new_pods_alone_are_there(one: dict[str, Any], ready: bool) -> None:
    assert is_ready(one) is ready


def test_a_workload_whose_pods_are_refused_says_by_whom() -> None:
    refused = {"type": "Warning", "message": "exceeded quota", "involvedObject": {"name": "dure-portal-5f6d"}}
    other = {"type": "Warning", "message": "other", "involvedObject": {"name": "x"}}
    assert unready([workload()], [], [other, refused]) == {"StatefulSet dure-portal": "exceeded quota"}
    assert unready([workload()], [], []) == {"StatefulSet dure-portal": "its pods are being made"}
    stuck = pod("dure-portal-5f6d", conditions=[UNPLACED])
    assert unready([workload()], [stuck], []) == {"dure-portal-0": "no node takes it: 0/1 nodes are available"}
    assert unready([workload(**SET)], [stuck], [refused]) == {}


def test_a_replacement_in_progress_is_not_ready_though_all_pods_are() -> None:
    ready, going = pod("dure-portal-5f6d", conditions=[READY]), DEPLOYED | {"updatedReplicas": 0}
    told = {"Deployment dure-portal": "its pods are being replaced"}
    assert unready([workload("Deployment", **going)], [ready], []) == told


def box(cpu: str, memory: str) -> dict[str, Any]:
    """A container that asks for this."""
    return {"name": "main", "resources": {"requests": {"cpu": cpu, "memory": memory}}}


PODS = [
    {"spec": {"containers": [box("100m", "256Mi"), box("50m", "64Mi")]}, "status": {"phase": "Running"}},
    {"spec": {"containers": [box("2", "4Gi")]}, "status": {"phase": "Succeeded"}},
]
CLAIMS = [
    {"metadata": {"namespace": "a", "name": "data"}, "spec": {"resources": {"requests": {"storage": "5Gi"}}}}
]


def test_what_is_asked_for_and_used() -> None:
    summary = {
        "pods": [
            {
                "volume": [
                    {"name": "data", "usedBytes": GIB, "pvcRef": {"namespace": "a", "name": "data"}},
                    {"name": "tmp", "usedBytes": 7},
                ]
            }
        ]
    }
    metrics = [{"containers": [{"usage": {"cpu": "12500000n", "memory": "100Mi"}}]}]
    row = row_of("a", PODS, CLAIMS, metrics, volumes_of([summary]))
    assert (row.pods, round(row.cores, 3), row.memory, row.disk) == (1, 0.15, 320 * MIB, 5 * GIB)
    assert (row.used_cores, row.used_memory, row.used_disk) == (0.0125, 100 * MIB, GIB)
    last = table([row]).splitlines()[-1].split()
    assert last == ["all", "1", "0.15", "0.01", "320", "MiB", "100", "MiB", "5", "GiB", "1", "GiB"]


@pytest.mark.parametrize(("disk", "used"), [(None, GIB), (4.8 * GIB, GIB), (6 * GIB, GIB), (120 * GIB, None)])
def test_of_a_folder_on_a_larger_disk_nobody_knows_how_much_is_used(
    disk: float | None, used: float | None
) -> None:
    volume = {"usedBytes": GIB, "pvcRef": {"namespace": "a", "name": "data"}}
    volume |= {} if disk is None else {"capacityBytes": disk}
    volumes = volumes_of([{"pods": [{"volume": [volume]}]}])
    assert row_of("a", PODS, CLAIMS, None, volumes).used_disk == used
    grown = [{**CLAIMS[0], "status": {"capacity": {"storage": "120Gi"}}}]
    assert row_of("a", PODS, grown, None, volumes).used_disk == GIB
    assert row_of("b", [], [], None, volumes).used_disk == 0
    assert row_of("a", [], CLAIMS, None, {}).used_disk is None, "no pod has it, so nobody looks"


def test_what_nobody_measures_is_unknown_and_never_nothing() -> None:
    known, unknown = row_of("a", PODS, CLAIMS, [], {}), row_of("b", [], [], None, None)
    assert (known.used_cores, unknown.used_cores, total([known, unknown]).used_cores) == (0, None, None)
    shown = ["b", "0", "0", "unknown", "0", "MiB", "unknown", "0", "GiB", "unknown"]
    assert table([unknown]).splitlines()[1].split() == shown


def test_a_program_that_is_missing_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURE_HELM", "/nowhere/helm")
    with pytest.raises(Trouble, match="There is no /nowhere/helm here: install it"):
        find("helm")


def settings_map(namespace: str) -> dict[str, Any]:
    """The settings of a portal, as its ConfigMap has them."""
    data = {f"DURE_NAMESPACE_{kind}": f"{namespace}-{kind.lower()}" for kind in ("DEV", "TRAINING", "SERVING")}
    return {"metadata": {"name": "dure-settings", "namespace": namespace}, "data": data}


def test_of_several_portals_none_is_taken_by_chance() -> None:
    assert namespaces_of([settings_map("a")]) == ["a-dev", "a-training", "a-serving", "a"]
    with pytest.raises(Trouble, match=r"several portals, in a, b: say which by PLATFORM=NAMESPACE"):
        namespaces_of([settings_map("b"), settings_map("a")])
    with pytest.raises(Trouble, match="no portal in the namespace c"):
        namespaces_of([], "c")


def test_the_password_is_in_the_secret_that_the_portal_uses() -> None:
    volumes = [{"name": "tmp"}, {"name": "admin", "secret": {"secretName": "ours-first"}}]
    assert admin_secret({"volumes": volumes}) == "ours-first"
