"""Pods of ours on a real kubelet: exactly the slice of their lease, and to the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dure_hub.backends.base import Kind
from dure_hub.backends.kubernetes.numbered import resources_of
from dure_hub.backends.kubernetes.pods import make_pod
from dure_hub.backends.kubernetes.spec import PodSpec
from tests.cluster import node as real
from tests.cluster.apart import inside
from tests.cluster.control_plane import ControlPlane
from tests.cluster.node import PAUSE, Node
from tests.cluster.objects import make_namespace
from tests.cluster.programs import until

MIG = "nvidia.com/mig-1g.10gb"


@pytest.fixture(scope="module")
def node(cluster: ControlPlane) -> Iterator[Node]:
    """One, with a GPU that its kubelet believes in."""
    if why := real.why_not():
        pytest.skip(why)
    folder = inside()
    assert folder is not None
    made = Node(cluster, folder / "node")
    try:
        made.start()
        cluster.capacity(made.name, {MIG: "1"})
        yield made
    finally:
        made.stop()


def test_a_pod_runs_with_its_slice_and_ends(cluster: ControlPlane, node: Node) -> None:
    make_namespace(cluster, "mlops-real")
    where, resources = resources_of([f"{node.name}/{MIG}/0"])
    spec = PodSpec(
        name="one", namespace="mlops-real", lease="01HONE", kind=Kind.SERVER, owner="ana", image=PAUSE,
        cores=0.1, memory_mb=64, node=where, resources=resources, pull_policy="Never", grace_s=5,
    )  # fmt: skip
    address = f"/api/v1/namespaces/{spec.namespace}/pods/{spec.name}"
    answer = cluster.create(f"/api/v1/namespaces/{spec.namespace}/pods", make_pod(spec))
    assert answer.is_success, answer.text
    until(
        lambda: cluster.get(address)["status"]["phase"] == "Running",
        f"it to run: {cluster.get(address)['status']}",
    )
    found = cluster.get(address)
    assert found["spec"]["containers"][0]["resources"]["limits"][MIG] == "1"
    assert found["status"]["qosClass"] == "Guaranteed"
    assert found["status"]["podIP"].startswith("10.66.")
    cluster.api.delete(address).raise_for_status()
    until(lambda: not cluster.exists(address), "it to be gone", 30)
