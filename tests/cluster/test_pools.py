"""Where servers go on nodes with pools and shared GPUs: what the portal decides, and what the scheduler does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.base import Inventory, ServerWork
from dure_hub.backends.kubernetes import stock
from dure_hub.backends.kubernetes.marks import POOL
from dure_hub.backends.kubernetes.pods import make_pod
from dure_hub.backends.kubernetes.spec import PodSpec
from dure_hub.backends.kubernetes.specs import server_spec
from dure_hub.operations.profiles import Fleet, fleet_of
from dure_hub.policies.board import Board
from dure_hub.policies.slices import CPU, Placement, Slice, Wish
from dure_hub.settings import Settings
from tests.cluster.asking import ApiServer
from tests.cluster.control_plane import ControlPlane
from tests.cluster.names import named
from tests.cluster.objects import make_fake_node, make_namespace, remove_nodes
from tests.cluster.programs import until

pytestmark = pytest.mark.anywhere

NAMESPACE = named("pools")
SETTINGS = Settings(
    backend="kubernetes", server_image="pause", namespace_dev=NAMESPACE, home_size_gb=0, image_pull_policy="Never"
)
SERVERS = Wish(team="vision", pool="development")
SMALL = {"cpu": "4", "memory": "8Gi"}
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture(scope="module")
def namespace(cluster: ApiServer) -> Iterator[str]:
    """One that enforces `restricted`."""
    yield make_namespace(cluster, NAMESPACE)
    cluster.api.delete(f"/api/v1/namespaces/{NAMESPACE}")


@dataclass
class Desk:
    """The portal's part: decides by what the cluster says, and makes pods; it keeps what it has given."""

    cluster: ControlPlane
    nodes: str
    given: list[Slice] = field(default_factory=list)

    def fleet(self) -> Fleet:
        """As the cluster is now."""
        nodes = self.cluster.get("/api/v1/nodes", labelSelector=f"set={self.nodes}")["items"]
        pods = self.cluster.get("/api/v1/pods")["items"]
        return fleet_of(Inventory.of(stock.read(nodes, pods, SETTINGS.instance)), SETTINGS)

    def until_open(self, number: int) -> None:
        """Until the cluster has taken away the taint that a new node has, and says that it is ready."""
        until(lambda: sum(not one.closed for one in self.fleet().machines) == number, "the nodes to be open")

    def board(self) -> Board:
        """What is free of it."""
        return Board(self.fleet().machines, self.given)

    def place(self, profile: str) -> Placement:
        """Where one server of the profile would go."""
        return self.board().place(self.fleet().profiles[profile], SERVERS)

    def start(self, name: str, profile: str) -> str:
        """A server of it; the node to which it was sent. It is where the scheduler has put it."""
        placed = self.place(profile)
        assert placed.verdict.allowed, placed.verdict
        (piece,) = placed.slices
        create(self.cluster, make_pod(self.spec(name, piece)))
        self.given.append(piece)
        until(lambda: pod(self.cluster, name)["spec"].get("nodeName") == piece.node, f"{name} on {piece.node}")
        return piece.node

    def spec(self, name: str, piece: Slice) -> PodSpec:
        """Its pod to be."""
        work = ServerWork(
            lease=f"01H{name}".upper().replace("-", ""),
            owner="ana",
            folder=Path("/"),
            environment={},
            devices=() if piece.device == CPU else (piece.device,),
            cores=piece.cpu_cores,
            memory_mb=piece.memory_mb,
            node=piece.node,
            command=("/pause",),
        )
        return replace(server_spec(SETTINGS, work), name=name, secret=None)


@pytest.fixture
def pools(kwok: ControlPlane, namespace: str) -> Iterator[Desk]:
    """A large node for training, which keeps others away, and small ones for development, and for anything."""
    for name, pool, has in (("train", "training", {}), ("dev", "development", SMALL), ("any", "", SMALL)):
        labels = {"set": "pools", **({POOL: pool} if pool else {})}
        make_fake_node(kwok, f"pools-{name}", has, labels)
    desk = Desk(kwok, "pools")
    desk.until_open(3)
    tainted(kwok, "pools-train", [{"key": POOL, "value": "training", "effect": "NoSchedule"}])
    yield desk
    remove_nodes(kwok, "set=pools")


def test_a_server_avoids_a_training_node(pools: Desk) -> None:
    """Though that has most room: by the portal's choice, by its taint, and by its label alone."""
    nodes, number = set(), 0
    while pools.place("cpu").verdict.allowed and number < 20:
        nodes.add(pools.start(f"dev-{number}", "cpu"))
        number += 1
    assert (nodes, number) == ({"pools-dev", "pools-any"}, 8), "2 GiB each"
    assert pools.place("cpu").verdict.code == "no_memory_free"
    assert pools.board().count(pools.fleet().profiles["cpu"], Wish(pool="training")) > 8

    anywhere = replace(pools.spec("anywhere", pools.given[0]), node=None)
    create(pools.cluster, make_pod(anywhere))
    until(lambda: "untolerated taint" in said(pools.cluster, "anywhere"), "the scheduler's reason")
    tainted(pools.cluster, "pools-train", [])
    create(pools.cluster, make_pod(replace(anywhere, name="by-label")))
    until(lambda: "didn't match Pod's node affinity" in said(pools.cluster, "by-label"), "its other reason")
    assert not pod(pools.cluster, "anywhere")["spec"].get("nodeName")

    create(pools.cluster, make_pod(replace(anywhere, name="job", pool="training")))
    until(lambda: pod(pools.cluster, "job")["spec"].get("nodeName") == "pools-train", "a job's node")


@pytest.mark.parametrize(
    ("product", "resource"),
    [("NVIDIA-A10-SHARED", "nvidia.com/gpu"), ("NVIDIA-A10", "nvidia.com/gpu.shared")],
    ids=["same-name", "renamed"],
)
def test_shares_of_gpus_are_given_as_servers(
    kwok: ControlPlane, namespace: str, product: str, resource: str, request: pytest.FixtureRequest
) -> None:
    """Two cards of four places. As many of ours are admitted as the scheduler has room for, strangers counted."""
    node = f"shared-{request.node.callspec.id}"
    labels = {"set": node, stock.PRODUCT: product, stock.REPLICAS: "4", stock.MEMORY: "23028"}
    make_fake_node(kwok, node, {resource: "8"}, labels)
    request.addfinalizer(lambda: remove_nodes(kwok, f"set={node}"))
    desk = Desk(kwok, node)
    desk.until_open(1)
    for number in range(4):
        desk.start(f"{node}-{number}", "gpu-shared")
    (container,) = pod(kwok, f"{node}-0")["spec"]["containers"]
    assert {key: value for key, value in container["resources"]["limits"].items() if "/" in key} == {resource: "1"}

    stranger = desk.spec(f"{node}-stranger", desk.given[0])
    create(kwok, make_pod(replace(stranger, resources={resource: 4}, portal="p2", devices=())))
    until(lambda: pod(kwok, f"{node}-stranger")["spec"].get("nodeName"), "the stranger's node")
    assert desk.place("gpu-shared").verdict.code == "no_slice_free"
    ninth = replace(desk.spec(f"{node}-ninth", desk.given[0]), portal="p2")
    create(kwok, make_pod(ninth))
    until(lambda: f"Insufficient {resource}" in said(kwok, ninth.name), "the scheduler agrees")
    for name in (ninth.name, stranger.name):
        remove(kwok, name)
    for number in range(4, 8):
        desk.start(f"{node}-{number}", "gpu-shared")
    assert desk.place("gpu-shared").verdict.code == "no_slice_free"


def tainted(cluster: ControlPlane, node: str, taints: list[dict[str, str]]) -> None:
    """Give the node these taints and no others."""
    body = {"spec": {"taints": taints}}
    cluster.api.patch(f"/api/v1/nodes/{node}", json=body, headers=MERGE).raise_for_status()


def create(cluster: ApiServer, made: dict[str, Any]) -> None:
    """For good; without the finalizer, which the portal would take away."""
    made["metadata"].pop("finalizers")
    answer = cluster.create(f"/api/v1/namespaces/{NAMESPACE}/pods", made)
    assert answer.is_success, answer.text


def remove(cluster: ControlPlane, name: str) -> None:
    """Until it is gone."""
    where = f"/api/v1/namespaces/{NAMESPACE}/pods"
    cluster.api.delete(f"{where}/{name}", params={"gracePeriodSeconds": 0}).raise_for_status()
    until(
        lambda: name not in {one["metadata"]["name"] for one in cluster.get(where)["items"]}, f"{name} to be gone"
    )


def pod(cluster: ApiServer, name: str) -> dict[str, Any]:
    """As it is now."""
    return cluster.get(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}")


def said(cluster: ApiServer, name: str) -> str:
    """What its status says."""
    return json.dumps(pod(cluster, name)["status"])
