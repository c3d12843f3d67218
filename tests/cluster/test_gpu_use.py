"""How busy the GPUs of people's pods are: an exporter as DCGM's, a real Prometheus, a real API server. The node
exists only in writing; no GPU is at work anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest

from dure_hub.backends.base import Kind, Measures
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.connecting import connect
from dure_hub.backends.kubernetes.inventory import ClusterInventory
from dure_hub.backends.kubernetes.pods import make_pod
from dure_hub.backends.kubernetes.prometheus import Prometheus
from dure_hub.backends.kubernetes.spec import PodSpec
from dure_hub.operations import checks
from tests.cluster.control_plane import ControlPlane
from tests.cluster.objects import make_fake_node, make_namespace, node_is_ready
from tests.cluster.programs import until
from tests.support import prometheus as real

SPACE, NODE, GPU = "gpu-use", "busy-node", "nvidia.com/gpu"
LABELS = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559"}
LINE = 'DCGM_FI_DEV_GPU_UTIL{{gpu="{gpu}",UUID="GPU-{gpu}",Hostname="{node}"{whose}}} {util}\n'


def text(*cards: tuple[str | None, int]) -> str:
    """What an exporter says of a node's cards: whose pod each is, and how busy."""
    whose = [f',container="main",namespace="{SPACE}",pod="{pod}"' if pod else "" for pod, _ in cards]
    return "".join(
        LINE.format(gpu=number, node=NODE, whose=whose[number], util=util)
        for number, (_, util) in enumerate(cards)
    )


@pytest.fixture(scope="module")
def place(cluster: ControlPlane) -> ControlPlane:
    """A cluster with a node of three GPUs, two of which a pod of ours holds each."""
    make_namespace(cluster, SPACE, {})
    make_fake_node(cluster, NODE, {GPU: "3"}, LABELS)
    until(lambda: node_is_ready(cluster, NODE), "the node to be ready")
    for number in range(2):
        device = f"{NODE}/{GPU}/{number}"
        spec = PodSpec(
            portal="p1",
            name=f"server-{number}",
            namespace=SPACE,
            lease=f"01{number}",
            kind=Kind.SERVER,
            owner="ana",
            image="any:1",
            resources={GPU: 1},
            devices=[device],
            node=NODE,
            tolerations=[{"operator": "Exists"}],
        )
        cluster.create(f"/api/v1/namespaces/{SPACE}/pods", make_pod(spec)).raise_for_status()
    pods = f"/api/v1/namespaces/{SPACE}/pods"
    until(lambda: all(one["spec"].get("nodeName") for one in cluster.get(pods)["items"]), "both to be on the node")
    return cluster


@pytest.fixture
def exporter() -> Iterator[real.Exporter]:
    with real.exporter() as made:
        yield made


@pytest.fixture
def server(exporter: real.Exporter) -> Iterator[real.Prometheus]:
    with real.prometheus(exporter) as made:
        yield made


@pytest.fixture
async def inventory(place: ControlPlane, server: real.Prometheus) -> AsyncIterator[ClusterInventory]:
    """The portal's, with this Prometheus."""
    reached = Cluster(partial(connect, place.kubeconfig))
    made = ClusterInventory(reached, "p1", Prometheus(server.url))
    yield made
    made.close()
    await reached.close()


async def measured(inventory: ClusterInventory, right: Callable[[Measures], bool]) -> Measures:
    """What is measured once that is true."""
    deadline = asyncio.get_running_loop().time() + 60
    while not right(found := await inventory.measure()):
        assert asyncio.get_running_loop().time() < deadline, found
        await asyncio.sleep(0.5)
    return found


def state(found: Measures, number: int) -> str:
    """What the idle check says of a server."""
    piece = {"device": f"{NODE}/{GPU}/{number}", "share": 1000}
    return checks.gpu_state([piece], f"01{number}", found, 0.05)


async def test_each_servers_gpu_is_judged_by_its_own_pod_and_silence_is_unknown(
    inventory: ClusterInventory, exporter: real.Exporter, server: real.Prometheus
) -> None:
    exporter.text = text(("server-1", 0), ("server-0", 91), (None, 0))
    found = await measured(inventory, lambda found: len(found.devices) == 3)
    assert {name: one.utilisation for name, one in found.devices.items()} == {
        f"{NODE}/{GPU}/0": 0.91,
        f"{NODE}/{GPU}/1": 0.0,
        f"{NODE}/{GPU}/2": 0.0,
    }
    assert (state(found, 0), state(found, 1)) == (checks.IN_USE, checks.IDLE)

    exporter.text = text(("server-0", 0), (None, 0))
    found = await measured(inventory, lambda found: state(found, 0) == checks.IDLE and len(found.devices) == 1)
    assert state(found, 1) == checks.UNKNOWN, "of it nothing is said any more"

    server.kill()
    found = await measured(inventory, lambda found: not found.devices)
    assert (state(found, 0), state(found, 1)) == (checks.UNKNOWN, checks.UNKNOWN)
