"""Pods as we make them, before a real API server and its scheduler."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from dure_hub.backends.base import Kind
from dure_hub.backends.kubernetes import stock
from dure_hub.backends.kubernetes.numbered import resources_of
from dure_hub.backends.kubernetes.pods import make_home_claim, make_pod
from dure_hub.backends.kubernetes.spec import Mount, PodSpec
from tests.cluster.asking import ApiServer
from tests.cluster.control_plane import ControlPlane
from tests.cluster.names import named
from tests.cluster.objects import make_fake_node, make_namespace, node_is_ready, remove_nodes
from tests.cluster.programs import until

pytestmark = pytest.mark.anywhere

MIG = "nvidia.com/mig-1g.10gb"
NAMESPACE = named("pods")


@pytest.fixture(scope="module")
def namespace(cluster: ApiServer) -> Iterator[str]:
    """One that enforces `restricted`."""
    yield make_namespace(cluster, NAMESPACE)
    cluster.api.delete(f"/api/v1/namespaces/{NAMESPACE}")


def spec(name: str, **changes: Any) -> PodSpec:
    """A pod with everything that one can have."""
    made = PodSpec(
        portal="p1",
        name=name,
        namespace=NAMESPACE,
        lease=f"01H{name}".upper(),
        kind=Kind.SERVER,
        owner="ana@example.com",
        image="pause",
        command=["/pause"],
        environment={"A": "1"},
        team="vision",
        project="digits",
        shm_mb=256,
        pool="development",
        mounts=[Mount("home-ana", "/home/jovyan"), Mount("data", "/data", read_only=True)],
        secret="s",
        port=8888,
        pull_policy="Never",
        pull_secrets=["ours"],
    )
    return replace(made, **changes)


@pytest.mark.parametrize("kind", Kind)
def test_pods_of_every_kind_are_admitted_where_restricted_is_enforced(
    cluster: ApiServer, namespace: str, kind: Kind
) -> None:
    made = make_pod(spec(f"kind-{kind.value}", kind=kind, queue="vision", priority="training", mps=(250, 4096)))
    answer = cluster.create(f"/api/v1/namespaces/{namespace}/pods", made, dryRun="All")
    assert answer.status_code == 201, answer.text
    assert "Warning" not in answer.headers, "no field is unknown, and none will be refused some day"
    applied = cluster.apply(f"/api/v1/namespaces/{namespace}/pods/kind-{kind.value}", made, dryRun="All")
    assert applied.is_success, applied.text


def test_what_is_not_restricted_is_refused_there(cluster: ApiServer, namespace: str) -> None:
    """Else the test before proves nothing."""
    made = make_pod(spec("open"))
    made["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    answer = cluster.create(f"/api/v1/namespaces/{namespace}/pods", made, dryRun="All")
    assert (answer.status_code, "allowPrivilegeEscalation" in answer.text) == (403, True), answer.text


def test_a_field_that_does_not_exist_is_an_error_here(cluster: ApiServer, namespace: str) -> None:
    made = make_pod(spec("odd"))
    made["spec"]["nodeSelectors"] = {}
    answer = cluster.create(f"/api/v1/namespaces/{namespace}/pods", made, dryRun="All")
    assert answer.status_code == 400
    assert "nodeSelectors" in answer.text


def test_a_home_is_a_claim_that_the_cluster_takes(cluster: ApiServer, namespace: str) -> None:
    claim = make_home_claim("home-ana", namespace, {"dure/owner": "ana"}, 10, None)
    answer = cluster.create(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", claim, dryRun="All")
    assert answer.status_code == 201, answer.text


@pytest.fixture
def two_nodes(kwok: ControlPlane) -> Iterator[ControlPlane]:
    """The cluster with two nodes of two slices each."""
    for name in ("gpu-a", "gpu-b"):
        make_fake_node(kwok, name, {MIG: "2"}, {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "set": "pods"})
        until(lambda name=name: node_is_ready(kwok, name), f"{name} to be ready")  # type: ignore[misc]
    yield kwok
    remove_nodes(kwok, "set=pods")


def test_a_slice_goes_to_its_node_and_a_third_waits(two_nodes: ControlPlane, namespace: str) -> None:
    """What our numbering says is free is what the scheduler has room for, pod by pod."""
    kwok = two_nodes

    def free() -> list[str]:
        every, pods = (kwok.get(f"/api/v1/{kind}")["items"] for kind in ("nodes", "pods"))
        nodes = [node for node in every if node["metadata"]["name"] in ("gpu-a", "gpu-b")]
        held = {
            one
            for pod in pods
            for one in pod["metadata"].get("annotations", {}).get("dure/devices", "").split(",")
        }
        found = [one for node in stock.read(nodes, pods, "p1") for card in node.devices for one in card.instances]
        return sorted(one.uuid for one in found if one.uuid and not one.barred and one.uuid not in held)

    assert free() == [f"gpu-{node}/{MIG}/{number}" for node in "ab" for number in range(2)]
    for number in range(2):
        device = f"gpu-b/{MIG}/{number}"
        node, resources = resources_of([device])
        one = spec(f"held-{number}", node=node, resources=resources, devices=[device], mounts=(), pull_secrets=())
        create(kwok, make_pod(one))
        until(lambda one=one: pod(kwok, one.name)["spec"].get("nodeName") == "gpu-b", "its node")  # type: ignore[misc]
    assert free() == [f"gpu-a/{MIG}/{number}" for number in range(2)]

    stranger = make_pod(spec("stranger", node="gpu-a", resources={MIG: 1}, mounts=(), pull_secrets=()))
    stranger["metadata"] |= {"labels": {}, "annotations": {}}
    create(kwok, stranger)
    until(lambda: pod(kwok, "stranger")["spec"].get("nodeName"), "the stranger's node")
    assert free() == [f"gpu-a/{MIG}/0"]

    create(kwok, make_pod(spec("third", node="gpu-b", resources={MIG: 1}, mounts=(), pull_secrets=())))
    until(lambda: "Insufficient nvidia.com/mig-1g.10gb" in json.dumps(pod(kwok, "third")["status"]), "the reason")


def create(cluster: ApiServer, made: dict[str, Any]) -> None:
    """For good."""
    answer = cluster.create(f"/api/v1/namespaces/{NAMESPACE}/pods", made)
    assert answer.is_success, answer.text


def pod(cluster: ApiServer, name: str) -> dict[str, Any]:
    """As it is now."""
    return cluster.get(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}")
