"""What of a cluster can be given, read from its nodes and pods."""

from __future__ import annotations

from collections import Counter

import pytest

from dure_hub.backends.base import Kind, NodeInventory
from dure_hub.backends.kubernetes import stock
from dure_hub.backends.kubernetes.marks import DEVICES, POOL, make_labels
from dure_hub.backends.kubernetes.numbered import resources_of, where
from dure_hub.backends.kubernetes.pods import CONTAINER
from dure_hub.backends.kubernetes.requests import requests_of
from dure_hub.backends.kubernetes.stock import (
    CORDONED,
    DRIVER,
    FOREIGN,
    MEMORY,
    NO_GRID,
    NOT_READY,
    PRODUCT,
    REPLICAS,
    TAINTED,
    TROUBLED,
)
from dure_hub.catalogue.gpus import MODELS
from dure_hub.catalogue.machine import NODE, OUTSIDE
from dure_hub.catalogue.products import by_product, cut_into, in_catalogue, in_labels
from dure_hub.operations.machines import gpu_of, offered
from dure_hub.policies.mig import graph
from dure_hub.settings import Settings
from tests.unit.kubernetes.objects import Object, node, pod

H100 = {PRODUCT: "NVIDIA-H100-80GB-HBM3", MEMORY: "81559", DRIVER: "580.65.06"}


def only(one: Object, *pods: Object) -> NodeInventory:
    """This node, with these pods of it."""
    (found,) = stock.read([one], pods, "p1")
    return found


def usable(found: NodeInventory) -> list[str]:
    """What may be given of it."""
    return [one.uuid for one in found.devices if one.usable]


def mine(devices: str, **asks: str) -> Object:
    """A pod of ours that holds these."""
    labels = make_labels(portal="p1", lease="01L", kind=Kind.SERVER, owner="ana")
    return pod(labels=labels, annotations={DEVICES: devices}, container=CONTAINER, **asks)


def test_whole_gpus_are_numbered_and_known_by_their_product() -> None:
    found = only(node(labels=H100 | {POOL: "training"}, gpu="4"))
    assert (found.name, found.cpu_cores, found.memory_mb, found.pool) == ("n1", 16, 65536, "training")
    assert [one.uuid for one in found.devices] == [f"n1/nvidia.com/gpu/{number}" for number in range(4)]
    one = found.devices[0]
    assert (one.key, one.name, one.memory_mb, one.driver) == ("h100-sxm-80", "H100 80GB HBM3", 81559, "580.65.06")
    assert (one.mig_mode, one.shared, one.usable, one.node) == (False, (0, False), True, "n1")


def test_a_node_without_labels_has_gpus_without_a_model() -> None:
    (one,) = only(node(gpu="1")).devices
    assert (one.name, one.key, one.memory_mb) == ("GPU", None, None)


def test_what_pods_of_others_ask_for_is_held_and_there_all_the_same() -> None:
    other = pod(gpu="1", cpu="1500m", memory="2Gi")
    found = only(node(labels=H100, gpu="4"), other, mine("n1/nvidia.com/gpu/3", gpu="1", cpu="8"))
    assert usable(found) == [f"n1/nvidia.com/gpu/{number}" for number in (0, 1, 3)], "ours holds the last one"
    assert [(one.health, one.barred) for one in found.devices if not one.usable] == [(FOREIGN, OUTSIDE)]
    assert (found.cpu_cores, found.memory_mb) == (16, 65536)
    held = (found.held_cores, found.held_memory_mb, found.held_pods)
    assert held == (1.5, 2048, 1), "ours is the ledger's to count"


def test_a_part_of_a_core_that_nobody_is_given_is_others_first() -> None:
    one = node()
    one["status"]["allocatable"]["cpu"] = "3860m"
    assert [(found.cpu_cores, found.held_cores) for found in (only(one), only(one, pod(cpu="1")))] == [
        (3, 0.0),
        (3, 0.14),
    ]


def test_what_a_pod_of_ours_has_beside_what_its_lease_counts_is_held_too() -> None:
    own = mine("n1/nvidia.com/gpu/0", gpu="1", cpu="8", memory="8Gi")
    sidecar = {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}
    own["spec"]["initContainers"] = [sidecar]
    own["spec"]["overhead"] = {"memory": "100Mi"}
    found = only(node(labels=H100, gpu="2"), own)
    assert (found.held_cores, found.held_memory_mb, found.held_pods) == (0.5, 1124, 0)
    assert len(usable(found)) == 2


def test_a_node_takes_so_many_pods() -> None:
    assert only(node()).pods is None
    found = only(node(pods="110"), pod(), pod(phase="Succeeded"), mine(""))
    assert (found.pods, found.held_pods) == (110, 1)


def test_pods_that_ended_or_have_no_node_hold_nothing() -> None:
    pods = [pod(gpu="4", phase="Succeeded"), pod(gpu="4", phase="Failed"), pod(None, gpu="4", phase="Pending")]
    assert len(usable(only(node(labels=H100, gpu="4"), *pods))) == 4
    assert usable(only(node(labels=H100, gpu="4"), pod(gpu="4", phase="Pending"))) == [], "its images come"


@pytest.mark.parametrize(("how", "why"), [({"cordoned": True}, CORDONED), ({"ready": False}, NOT_READY)])
def test_a_node_that_takes_no_pods_gives_nothing_for_now_and_says_why(how: dict[str, bool], why: object) -> None:
    found = only(node(labels=H100, gpu="2", **how))  # type: ignore[arg-type]
    assert (found.closed, found.cpu_cores, found.memory_mb, usable(found)) == (True, 16, 65536, [])
    assert [(one.health, one.barred) for one in found.devices] == [(why, NODE), (why, NODE)]


@pytest.mark.parametrize(
    ("key", "effect", "why"),
    [
        ("node.kubernetes.io/unreachable", "NoExecute", NOT_READY),
        ("node.kubernetes.io/memory-pressure", "NoSchedule", TROUBLED),
        ("node.cloudprovider.kubernetes.io/uninitialized", "NoSchedule", TROUBLED),
        ("node.kubernetes.io/memory-pressure", "PreferNoSchedule", None),
    ],
)
def test_what_the_cluster_itself_says_of_a_node_passes(key: str, effect: str, why: object) -> None:
    one = node(labels=H100, gpu="1")
    one["spec"]["taints"] = [{"key": key, "effect": effect}]
    found = only(one)
    assert (found.closed, found.cpu_cores, found.devices[0].health) == (why is not None, 16, why)


def test_mig_under_the_strategy_single_counts_as_gpus() -> None:
    labels = {PRODUCT: "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", MEMORY: "9984"}
    found = only(node(labels=labels, gpu="14"))
    assert [len(card.instances) for card in found.devices] == [7, 7]
    assert {one.profile for card in found.devices for one in card.instances} == {"1g.10gb"}
    assert found.devices[0].instances[0].uuid == "n1/nvidia.com/gpu/0"
    assert (found.devices[0].mig_mode, found.devices[0].memory_mb) == (True, 81920), "of the card, not of a part"


def test_mig_under_the_strategy_mixed_has_a_resource_for_each_profile() -> None:
    found = only(node(labels=H100, gpu="1", mig_3g_40gb="1", mig_1g_10gb="2", mig_1g_10gb_me="1", mig_2g_20gb="1"))
    whole, *cards = found.devices
    assert (whole.uuid, whole.mig_mode) == ("n1/nvidia.com/gpu/0", False)
    said = Counter(one.profile for card in cards for one in card.instances)
    assert said == {"3g.40gb": 1, "2g.20gb": 1, "1g.10gb": 2, "1g.10gb+me": 1}


def test_cards_are_laid_out_at_legal_places() -> None:
    """All instances of every card fit beside each other, as the exact graph of the grid has it."""
    found = only(
        node(labels=H100, mig_1g_10gb="9", mig_2g_20gb="4", mig_3g_40gb="3", mig_4g_40gb="1", mig_7g_80gb="1")
    )
    assert sum(len(card.instances) for card in found.devices) == 18
    for card in found.devices:
        model = next(one for one in MODELS if one.key == card.key)
        assert model.grid is not None
        ways, state = graph(model.grid), graph(model.grid).empty
        for one in card.instances:
            profile, start = one.profile or "", one.start or 0
            assert start in ways.starts(state, profile), card.instances
            state = ways.after(state, profile, start)


def test_an_instance_that_another_pod_holds_keeps_its_place() -> None:
    found = only(node(labels=H100, mig_1g_10gb="7"), pod(mig_1g_10gb="2"), mine("n1/nvidia.com/mig-1g.10gb/6"))
    (card,) = found.devices
    nobodys = [one for one in card.instances if one.barred == OUTSIDE]
    assert [one.uuid for one in nobodys] == [f"n1/nvidia.com/mig-1g.10gb/{number}" for number in (4, 5)]
    assert all(one.start is not None and one.size == 1 for one in nobodys)
    counted = gpu_of(card, Settings())
    assert (len(counted.instances), len(counted.lent), len(counted.blocked), counted.dynamic) == (7, 2, 0, False)


@pytest.mark.parametrize(
    ("product", "keyword"),
    [("NVIDIA-A10-SHARED", "gpu"), ("NVIDIA-A10", "gpu_shared")],
    ids=["same name", "renamed"],
)
def test_shared_gpus_are_cards_with_places(product: str, keyword: str) -> None:
    labels = {PRODUCT: product, REPLICAS: "4", MEMORY: "23028"}
    one = node(labels=labels, **{keyword: "8"})  # type: ignore[arg-type]
    found = only(one)
    assert [device.shared for device in found.devices] == [(4, False)] * 2
    assert gpu_of(found.devices[0], Settings(gpu_sharing="none")).replicas == 4, "the node says so, not a setting"
    assert len(usable(only(one, pod(**{keyword: "3"})))) == 1  # type: ignore[arg-type]


def test_a_whole_gpu_of_a_cluster_is_whole_whatever_the_settings_share() -> None:
    (one,) = only(node(labels=H100, gpu="1")).devices
    assert gpu_of(one, Settings(gpu_sharing="time-slice", gpu_replicas=4)).replicas == 0


def test_beside_strangers_on_cards_of_ours_nothing_more_is_given() -> None:
    """Nobody says on which card a place is: with one of ours and three of others on two cards, all may be full."""
    one = node(labels={PRODUCT: "NVIDIA-A10-SHARED", REPLICAS: "4"}, gpu="8")
    assert usable(only(one, mine("n1/nvidia.com/gpu/0"), pod(gpu="4"))) == ["n1/nvidia.com/gpu/0"]
    assert usable(only(one, mine("n1/nvidia.com/gpu/0"), pod(gpu="5"))) == []


def test_instances_that_are_shared_besides_are_not_given() -> None:
    single = {PRODUCT: "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb-SHARED", REPLICAS: "4"}
    assert only(node(labels=single, gpu="56")).devices == ()
    mixed = H100 | {"nvidia.com/mig-1g.10gb.replicas": "4"}
    assert only(node(labels=mixed, mig_1g_10gb="28")).devices == ()
    assert only(node(labels=H100, mig_1g_10gb_shared="28")).devices == ()


@pytest.mark.parametrize(
    ("taint", "open_"),
    [
        ({"key": "nvidia.com/gpu", "effect": "NoSchedule"}, True),
        ({"key": POOL, "value": "training", "effect": "NoSchedule"}, True),
        ({"key": POOL, "value": "inference", "effect": "NoSchedule"}, False),
        ({"key": "dedicated", "value": "others", "effect": "NoSchedule"}, False),
        ({"key": "nvidia.com/gpu", "effect": "NoExecute"}, False),
        ({"key": "dedicated", "effect": "PreferNoSchedule"}, True),
    ],
)
def test_a_node_whose_taint_our_pods_do_not_tolerate_gives_nothing(taint: dict[str, str], open_: bool) -> None:
    one = node(labels=H100 | {POOL: "training"}, gpu="1")
    one["spec"]["taints"] = [taint]
    found = only(one)
    assert (bool(usable(found)), found.cpu_cores > 0) == (open_, open_)
    assert (found.devices[0].health, found.devices[0].barred) == (None if open_ else TAINTED, "")
    assert found.gpus_only == (taint == {"key": "nvidia.com/gpu", "effect": "NoSchedule"})


def test_another_portals_pods_are_strangers() -> None:
    labels = make_labels(portal="p2", lease="01L", kind=Kind.SERVER, owner="ana")
    assert usable(only(node(labels=H100, gpu="1"), pod(labels=labels, gpu="1"))) == []


def test_shared_by_mps_is_said() -> None:
    labels = {PRODUCT: "NVIDIA-A10", REPLICAS: "2", "nvidia.com/gpu.sharing-strategy": "mps"}
    (one,) = only(node(labels=labels, gpu_shared="2")).devices
    assert gpu_of(one, Settings()).mps


def test_a_pod_asks_for_the_most_that_it_ever_needs() -> None:
    """The documentation's own example: init containers after a sidecar run beside it."""

    def container(cpu: str, **more: str) -> Object:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    sidecar = container("500m", restartPolicy="Always")
    both = {"spec": {"containers": [container("1")], "initContainers": [sidecar, container("2")]}}
    assert requests_of(both)["cpu"] == 2.5
    before = {"spec": {"containers": [container("1")], "initContainers": [container("2"), sidecar]}}
    assert requests_of(before)["cpu"] == 2.0
    limits = {
        "spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "2"}}}], "overhead": {"cpu": "250m"}}
    }
    assert requests_of(limits) == {"nvidia.com/gpu": 2, "cpu": 0.25}


def test_what_is_asked_for_the_pod_as_a_whole_counts_and_a_resize_frees_nothing_early() -> None:
    whole = {
        "spec": {"resources": {"requests": {"cpu": "8"}}, "containers": [{"name": "c"}], "overhead": {"cpu": "1"}}
    }
    assert requests_of(whole) == {"cpu": 9}
    shrinking = pod(cpu="1")
    statuses = [{"name": "c", "allocatedResources": {"cpu": "4"}, "resources": {"requests": {"cpu": "4"}}}]
    shrinking["status"]["containerStatuses"] = statuses
    assert requests_of(shrinking)["cpu"] == 4


def test_a_pod_asks_for_what_its_lease_holds() -> None:
    held = ["n1/nvidia.com/mig-1g.10gb/2", "n1/nvidia.com/mig-1g.10gb/3", "n1/nvidia.com/gpu/0"]
    assert resources_of(held) == ("n1", {"nvidia.com/mig-1g.10gb": 2, "nvidia.com/gpu": 1})
    assert resources_of([]) == (None, {})
    with pytest.raises(ValueError, match="n1, n2"):
        resources_of(["n1/nvidia.com/gpu/0", "n2/nvidia.com/gpu/0"])
    for wrong in ("GPU-1234", "n1/nvidia.com/gpu", "/x/1", "n1//1"):
        with pytest.raises(ValueError, match="no device of a cluster"):
            where(wrong)


def test_products_name_models() -> None:
    for product in ("NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "NVIDIA-A100-SXM4-40GB-SHARED"):
        found = by_product(product)
        assert found is not None
        assert found.key == "a100-sxm-40"
    assert by_product("Somebody-Elses-Card") is None


@pytest.mark.parametrize(
    ("product", "key"),
    [
        ("NVIDIA-A10G", "a10g"),
        ("NVIDIA-A10G-SHARED", "a10g"),
        ("NVIDIA-L40", "l40"),
        ("NVIDIA-L40S", "l40s"),
        ("NVIDIA-A40", "a40"),
        ("NVIDIA-RTX-A6000", "rtx-a6000"),
        ("NVIDIA-GeForce-RTX-5090", "rtx-5090"),
        ("NVIDIA-H20-MIG-1g.12gb", "h20-96"),
        ("NVIDIA-GH200-480GB", "gh200-96"),
        ("NVIDIA-GH200-144G-HBM3e", "gh200-144"),
    ],
)
def test_cards_of_clouds_and_workstations_have_an_entry_that_may_be_priced(product: str, key: str) -> None:
    found = by_product(product)
    assert found is not None
    assert found.key == key


@pytest.mark.parametrize("product", ["NVIDIA-H20", "NVIDIA-GH200-480GB"])
def test_instances_of_cards_with_a_grid_are_offered(product: str) -> None:
    (card,) = only(node(labels={PRODUCT: product}, mig_1g_12gb="7")).devices
    assert [one.profile for one in gpu_of(card, Settings()).instances] == ["1g.12gb"] * 7


def test_instances_of_a_card_without_a_grid_say_why_they_are_not() -> None:
    for product in ("Somebody-Elses-Card", "NVIDIA-A10"):
        (card,) = only(node(labels={PRODUCT: product}, mig_1g_12gb="7")).devices
        assert (card.usable, card.health, card.barred) == (False, NO_GRID, "")
        (closed,) = only(node(labels={PRODUCT: product}, mig_1g_12gb="7", cordoned=True)).devices
        assert not offered(closed)


def test_a_card_cut_into_one_names_its_profile() -> None:
    assert cut_into("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb.me") == "1g.5gb+me"
    assert cut_into("NVIDIA-H100-80GB-HBM3-MIG-1g.10gb-SHARED") == "1g.10gb"
    assert cut_into("NVIDIA-A100-SXM4-40GB") is None


def test_mig_profiles_go_to_labels_and_back() -> None:
    for profile in {one.name for model in MODELS if model.grid for one in model.grid.profiles}:
        assert in_catalogue(in_labels(profile)) == profile
