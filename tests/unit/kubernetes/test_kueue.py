"""Kueue's objects, whole, from quotas and nodes as the API gives them."""

from __future__ import annotations

from typing import Any

import pytest

from dure_hub.backends.kubernetes.capacity import Capacity, capacity_of
from dure_hub.backends.kubernetes.kueue import (
    Quotas,
    address,
    cluster_queue_name,
    is_as_wanted,
    is_usable,
    make_objects,
    mib,
    number,
    queue_name,
)
from dure_hub.policies.entitlements import Pieces
from tests.unit.kubernetes.objects import node

H100, A100 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB"
SLICE = "nvidia.com/mig-1g.10gb"
CAPACITY = Capacity(128, 1024 * 1024, 0, {(H100, SLICE): Pieces(28, 125), ("", "nvidia.com/gpu"): Pieces(2, 1000)})
MARKS = {"app.kubernetes.io/managed-by": "dure", "dure/portal": "p1"}
Made = dict[tuple[str, str], dict[str, Any]]


def made(borrowing: bool = False, **teams: int | None) -> Made:
    """The objects of these teams, by kind and name."""
    quotas = Quotas("p1", teams, borrowing, ("mlops-dev", "mlops-training"))
    return {(one["kind"], one["metadata"]["name"]): one for one in make_objects(quotas, CAPACITY)}


def test_a_teams_queue_is_its_quota_and_nothing_else() -> None:
    queue = made(vision=1)["ClusterQueue", "dure-p1-vision"]
    assert queue["metadata"] == {"name": "dure-p1-vision", "labels": {**MARKS, "dure/team": "vision"}}
    apart = {"borrowingLimit": "0", "lendingLimit": "0"}
    plain = [{"name": "cpu", "nominalQuota": "128", **apart}, {"name": "memory", "nominalQuota": "1Ti", **apart}]
    none = {"nominalQuota": "0"}
    own = {"nominalQuota": "5", "borrowingLimit": "3"}
    other = {"nominalQuota": "0", "borrowingLimit": "1"}
    assert queue["spec"] == {
        "cohortName": "dure-p1",
        "namespaceSelector": {
            "matchExpressions": [
                {
                    "key": "kubernetes.io/metadata.name",
                    "operator": "In",
                    "values": ["mlops-dev", "mlops-training"],
                }
            ]
        },
        "queueingStrategy": "BestEffortFIFO",
        "resourceGroups": [
            {
                "coveredResources": ["cpu", "memory"],
                "flavors": [{"name": "dure-p1-nodes", "resources": plain}],
            },
            {
                "coveredResources": ["nvidia.com/gpu", SLICE],
                "flavors": [
                    {
                        "name": "dure-p1-nvidia-h100-80gb-hbm3--10b892bf09d3",
                        "resources": [{"name": "nvidia.com/gpu", **none}, {"name": SLICE, **own}],
                    },
                    {
                        "name": "dure-p1-gpus",
                        "resources": [{"name": "nvidia.com/gpu", **other}, {"name": SLICE, **none}],
                    },
                ],
            },
        ],
        "preemption": {
            "reclaimWithinCohort": "Never",
            "borrowWithinCohort": {"policy": "Never"},
            "withinClusterQueue": "Never",
        },
        "fairSharing": {"weight": "1"},
    }


def test_with_borrowing_a_quota_is_a_guarantee_that_is_taken_back_from_lower_classes() -> None:
    spec = made(borrowing=True, vision=1)["ClusterQueue", "dure-p1-vision"]["spec"]
    assert spec["preemption"]["reclaimWithinCohort"] == "LowerPriority"
    assert spec["resourceGroups"][1]["flavors"][0]["resources"][1] == {"name": SLICE, "nominalQuota": "5"}


def test_what_is_nobodys_is_the_cohorts() -> None:
    group = made(vision=1, speech=2)["Cohort", "dure-p1"]["spec"]["resourceGroups"][0]
    assert group["flavors"][0]["resources"][1] == {"name": SLICE, "nominalQuota": "13"}


def test_each_namespace_has_a_door_to_each_queue_and_each_class_a_priority() -> None:
    found = made(vision=1, speech=None)
    assert sum(kind == "LocalQueue" for kind, _ in found) == 2  # by name; each is in two namespaces
    door = found["LocalQueue", "dure-speech"]
    assert door["spec"] == {"clusterQueue": "dure-p1-speech"}
    assert address(door).endswith("/namespaces/mlops-training/localqueues/dure-speech")
    values = {name: one["value"] for (kind, name), one in found.items() if kind == "WorkloadPriorityClass"}
    assert values["dure-urgent-inference"] > values["dure-inference"]
    assert values["dure-inference"] > values["dure-interactive"] > values["dure-training"]
    assert len(values) == 4


def test_flavors_bind_to_cards_by_their_label_and_those_without_come_last() -> None:
    flavors = [one for (kind, _), one in made(vision=1).items() if kind == "ResourceFlavor"]
    assert [one["spec"] for one in flavors] == [{}, {"nodeLabels": {"nvidia.com/gpu.product": H100}}, {}]


def test_names_fit_whatever_a_team_is_called() -> None:
    for team in ("vision", "Vision", "비전 팀", "x" * 100):
        assert len(queue_name(team)) <= 63
        assert len(cluster_queue_name("01H" + "Z" * 23, team)) <= 253
    assert len({queue_name(team) for team in ("a b", "a-b", "A B", "a_b")}) == 4


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (28, "28"), (1000, "1k"), (64000, "64k"), (1250, "1250")])
def test_a_count_is_written_as_the_api_writes_it(count: int, text: str) -> None:
    assert number(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (1, "1Mi"), (1023, "1023Mi"), (2048, "2Gi"), (2**20, "1Ti")]
)
def test_memory_is_written_as_the_api_writes_it(count: int, text: str) -> None:
    assert mib(count) == text


def test_what_there_is_is_counted_by_card_and_resource() -> None:
    h100 = {"nvidia.com/gpu.product": H100}
    shared = {"nvidia.com/gpu.product": f"{A100}-SHARED", "nvidia.com/gpu.replicas": "4"}
    single = {"nvidia.com/gpu.product": f"{H100}-MIG-1g.10gb"}
    found = capacity_of(
        [
            node("a", labels=h100, mig_1g_10gb="7", gpu="1"),
            node("b", labels=h100, mig_1g_10gb="7"),
            node("c", labels=shared, gpu="8"),
            node("d", labels=single, gpu="14"),
            node("e", gpu="2"),
            node("f", labels=h100, gpu="8", cordoned=True),
        ]
    )
    assert (found.cores, found.memory_mb, found.disk_mb) == (80, 5 * 64 * 1024, 0)
    assert found.gpus == {
        ("", "nvidia.com/gpu"): Pieces(2, 1000),
        (H100, "nvidia.com/gpu"): Pieces(1, 1000),
        (H100, SLICE): Pieces(14, 125),
        (f"{H100}-MIG-1g.10gb", "nvidia.com/gpu"): Pieces(14, 125),
        (f"{A100}-SHARED", "nvidia.com/gpu"): Pieces(8, 250),
    }


def test_a_node_that_is_not_ready_for_a_while_counts_and_one_that_is_kept_for_others_does_not() -> None:
    away, theirs = node("a", ready=False, gpu="2"), node("b", gpu="4")
    away["spec"]["taints"] = [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]
    theirs["spec"]["taints"] = [{"key": "theirs", "value": "x", "effect": "NoSchedule"}]
    assert capacity_of([away, theirs]).gpus == {("", "nvidia.com/gpu"): Pieces(2, 1000)}


@pytest.mark.parametrize(
    ("status", "reason", "usable"),
    [
        ("True", "Ready", True),
        ("False", "Stopped", True),
        ("False", "ClusterQueueIsInactive", True),
        ("False", "ClusterQueueDoesNotExist", False),
    ],
)
def test_a_queue_that_leads_nowhere_is_not_used(status: str, reason: str, usable: bool) -> None:
    condition = {"type": "Active", "status": status, "reason": reason}
    assert is_usable({"metadata": {}, "status": {"conditions": [condition]}}) is usable
    assert is_usable({"metadata": {}})
    assert not is_usable({"metadata": {"deletionTimestamp": "x"}})
    assert not is_usable(None)


WANTED: dict[str, Any] = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {"resourceGroups": [{"nominalQuota": "1"}], "stop": "None"},
}


@pytest.mark.parametrize(
    ("there", "same"),
    [
        (WANTED, True),
        ({**WANTED, "status": {"x": 1}, "metadata": {"labels": {"a": "b", "c": "d"}, "uid": "u"}}, True),
        ({**WANTED, "spec": {**WANTED["spec"], "preemption": {"within": "Never"}}}, True),
        ({**WANTED, "spec": {**WANTED["spec"], "stop": "Hold"}}, False),
        ({**WANTED, "metadata": {"labels": {}}}, False),
        ({**WANTED, "spec": {"resourceGroups": [{"nominalQuota": "2"}], "stop": "None"}}, False),
        (
            {**WANTED, "spec": {"resourceGroups": [{"nominalQuota": "1", "borrowingLimit": "5"}], "stop": "None"}},
            False,
        ),
        ({**WANTED, "spec": {"resourceGroups": [{"nominalQuota": "1"}] * 2, "stop": "None"}}, False),
        ({"metadata": WANTED["metadata"]}, False),
    ],
)
def test_what_the_cluster_fills_in_is_no_difference_and_a_limit_of_others_is_one(
    there: dict[str, Any], same: bool
) -> None:
    assert is_as_wanted(there, WANTED) is same
