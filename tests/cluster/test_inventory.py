"""What a cluster of 1,250 nodes with 8 GPUs each has, followed as it changes. The nodes exist only in writing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from dure_hub.backends.base import Inventory
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.connecting import connect
from dure_hub.backends.kubernetes.errors import ClusterAway
from dure_hub.backends.kubernetes.inventory import ClusterInventory
from dure_hub.backends.kubernetes.stock import CORDONED
from tests.cluster.control_plane import ControlPlane
from tests.cluster.names import named
from tests.cluster.objects import make_fake_node, make_namespace, node_is_ready, remove_nodes
from tests.cluster.programs import until

pytestmark = pytest.mark.anywhere

NODES, GPUS = 1250, 8
LABELS = {
    "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    "nvidia.com/gpu.memory": "81559",
    "set": "wide",
}
STRANGERS = named("strangers")


def name(number: int) -> str:
    """That of a node."""
    return f"wide-{number:04}"


@pytest.fixture(scope="module")
def wide(kwok: ControlPlane) -> Iterator[ControlPlane]:
    """The cluster with all those nodes, ready; they are gone afterwards, for they keep everything busy."""
    with ThreadPoolExecutor(8) as threads:
        has = {"nvidia.com/gpu": str(GPUS)}
        list(threads.map(lambda number: make_fake_node(kwok, name(number), has, LABELS), range(NODES)))
    until(lambda: all(node_is_ready(kwok, name(number)) for number in (0, NODES - 1)), "the nodes to be ready")
    yield kwok
    remove_nodes(kwok, "set=wide")


@pytest.fixture
async def inventory(wide: ControlPlane) -> AsyncIterator[ClusterInventory]:
    """Its inventory, which has not looked yet."""
    reached = Cluster(partial(connect, wide.kubeconfig))
    made = ClusterInventory(reached, "p1")
    yield made
    made.close()
    await reached.close()


async def seen(inventory: ClusterInventory, what: Callable[[Inventory], bool]) -> Inventory:
    """A look of which that is true."""
    for _ in range(100):
        found = await inventory.look()
        if what(found):
            return found
        await asyncio.sleep(0.1)
    closed = {one.node: str(one.health) for one in found.devices if not one.usable}
    pytest.fail(f"{usable(found)} usable GPUs on {len(found.nodes)} nodes; not these: {closed}")


def usable(found: Inventory, prefix: str = "wide-") -> int:
    """GPUs that may be given, of these nodes."""
    return sum(one.usable for one in found.devices if one.node.startswith(prefix))


async def test_all_of_it_is_seen_and_followed(wide: ControlPlane, inventory: ClusterInventory) -> None:
    await seen(inventory, lambda found: usable(found) == NODES * GPUS)

    wide.api.patch(
        f"/api/v1/nodes/{name(7)}",
        json={"spec": {"unschedulable": True}},
        headers={"Content-Type": "application/merge-patch+json"},
    ).raise_for_status()
    found = await seen(inventory, lambda found: usable(found) == (NODES - 1) * GPUS)
    assert {str(one.health) for one in found.devices if one.node == name(7)} == {str(CORDONED)}

    make_namespace(wide, STRANGERS, {})
    resources = {"requests": {"nvidia.com/gpu": "3", "cpu": "4"}, "limits": {"nvidia.com/gpu": "3"}}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": STRANGERS},
        "spec": {"nodeName": name(8), "containers": [{"name": "c", "image": "i", "resources": resources}]},
    }
    answer = wide.create(f"/api/v1/namespaces/{STRANGERS}/pods", body)
    assert answer.is_success, answer.text
    found = await seen(inventory, lambda found: usable(found) == (NODES - 1) * GPUS - 3)
    one = next(one for one in found.nodes if one.name == name(8))
    assert (one.cpu_cores, one.held_cores, one.pods, one.held_pods) == (64, 4, 110, 1)

    wide.api.delete(f"/api/v1/nodes/{name(9)}").raise_for_status()
    await seen(inventory, lambda found: usable(found) == (NODES - 2) * GPUS - 3)
    wide.api.delete(f"/api/v1/namespaces/{STRANGERS}/pods/p").raise_for_status()
    await seen(inventory, lambda found: usable(found) == (NODES - 2) * GPUS)


async def test_what_is_old_is_said_to_be(wide: ControlPlane, inventory: ClusterInventory) -> None:
    before = len((await inventory.look()).nodes)
    inventory.patience_s = 1.0
    with wide.away():
        found = await seen(inventory, lambda found: found.away)
        assert len(found.nodes) == before
        reached = Cluster(partial(connect, wide.kubeconfig))
        new = ClusterInventory(reached, "p1")
        new.patience_s = 1.0
        with pytest.raises(ClusterAway):
            await new.look()
        new.close()
        await reached.close()
    inventory.patience_s = 60.0
    wide.api.delete(f"/api/v1/nodes/{name(10)}").raise_for_status()
    await seen(inventory, lambda found: not found.away and len(found.nodes) == before - 1)
