"""What the portal adds to a start on Kubernetes, and how long it takes to know a wide cluster.

`cluster_spawn_overhead`: from the hub's API call to a ready server, the same stub (a small program of Go that
answers everything) in a pod of one size on the same real kubelet behind either hub, each with its owner's home on
a volume claim that is bound already. The reference is JupyterHub with KubeSpawner and its default proxy. Of
options it has those of the pod's size and of the home (as the chart Zero to JupyterHub sets them), and our way of
opening its database. On our side Envoy and the hub run, as `dure up` starts them; each start takes a lease, a
Secret of its own and a pod with all that our pods have. Not in it: images that are fetched, MLflow, a queue with
others in it.

`cluster_inventory_1250_nodes`: from the first question to the whole of 1,250 nodes of eight GPUs (kwok's) and
their pods, by a portal that has just started; `cluster_inventory_later` is any later look, which asks nobody.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.connecting import connect
from dure_hub.backends.kubernetes.inventory import ClusterInventory
from tests.bench.proxy import install_reference
from tests.bench.record import Figure, ReferenceMissing, absolute, compared, pairs
from tests.bench.spawn import Pairs, claimed, dure, stock
from tests.cluster import apart, builds
from tests.cluster.control_plane import ControlPlane
from tests.cluster.node import PROBE, Node, why_not
from tests.cluster.objects import make_fake_node, make_namespace, make_volume, node_is_ready
from tests.cluster.programs import until

ALONE = True
WHAT = {
    "cluster_spawn_overhead": (
        "On Kubernetes, from the hub's API call to a ready stub server in a pod on a real kubelet: our hub behind"
        " Envoy, lease admission included, against stock JupyterHub with KubeSpawner and configurable-http-proxy;"
        " either pod has its owner's home on a bound volume claim."
    ),
    "cluster_inventory_1250_nodes": (
        "From the first question to the whole of 1,250 nodes of eight GPUs (kwok's), by a portal that has"
        " just started."
    ),
    "cluster_inventory_later": "Any later look at them, which asks nobody.",
}
PAIRS, NODES, GPUS, LOOKS = 10, 1250, 8, 5
OURS, THEIRS = "mlops-dev", "stock"
CORES, MEMORY_MB = 0.1, 64


def run() -> list[Figure]:
    """Measured in namespaces of the cluster's own, which this process is not in."""
    if why := apart.why_not() or why_not():
        raise ReferenceMissing(why)
    builds.build()
    proxy = install_reference()
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "figures.json"
        if apart.run([sys.executable, "-m", "tests.bench.cluster", str(proxy), str(file)]):
            raise RuntimeError("the cluster could not be measured; what it said is above")
        found = json.loads(file.read_text())
    return [
        compared("cluster_spawn_overhead", "s", [tuple(pair) for pair in found["spawn"]], at_most=1.1),
        absolute("cluster_inventory_1250_nodes", "s", found["cold"], at_most=5),
        absolute("cluster_inventory_later", "s", found["later"], at_most=1),
    ]


def main(proxy: Path, file: Path) -> None:
    """Inside."""
    folder = apart.inside()
    if folder is None:
        raise SystemExit(
            "This is the part of the bench inside the cluster's namespaces: python -m tests.bench cluster"
        )
    plane = ControlPlane(folder / "control-plane")
    try:
        plane.start()
        found: dict[str, object] = {"spawn": measure_starts(plane, folder, proxy)}
        plane.start_kwok()
        found["cold"], found["later"] = asyncio.run(measure_looks(plane))
    finally:
        plane.stop()
    file.write_text(json.dumps(found))


def measure_starts(plane: ControlPlane, folder: Path, proxy: Path) -> Pairs:
    """The stub behind either hub, by turns."""
    node = Node(plane, folder / "node")
    try:
        node.start()
        # as the portal's command; not before, or containers' users could not enter what the node makes
        os.umask(0o077)
        make_namespace(plane, OURS)
        make_namespace(plane, THEIRS, {})
        for number in range(2):
            make_volume(plane, folder / "homes" / str(number), f"home-{number}")
        with ExitStack() as stack:
            serve = ["/program", "serve"]
            ours, real = stack.enter_context(dure(folder / "ours", serve, **settings_on(plane)))
            theirs = stack.enter_context(stock(folder / "stock", proxy, real.settings, KUBE))
            ours.start(), theirs.start()
            found = pairs(ours.start, theirs.start, PAIRS)
            if claimed(real.settings) != PAIRS + 1:
                raise RuntimeError(f"{claimed(real.settings)} leases for {PAIRS + 1} starts")
        return found
    finally:
        node.stop()


def settings_on(plane: ControlPlane) -> dict[str, object]:
    """Of our hub, with servers as pods of the reference's size."""
    return {
        "backend": "kubernetes",
        "kubeconfig": plane.kubeconfig,
        "server_image": PROBE,
        "image_pull_policy": "Never",
        "home_size_gb": 1,
        "cpu_profile_cores": CORES,
        "cpu_profile_memory_mb": MEMORY_MB,
    }


KUBE = f"""
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.namespace = "{THEIRS}"
c.KubeSpawner.image = "{PROBE}"
c.KubeSpawner.image_pull_policy = "Never"
c.KubeSpawner.cmd = ["/program", "serve"]
c.KubeSpawner.cpu_limit = c.KubeSpawner.cpu_guarantee = {CORES}
c.KubeSpawner.mem_limit = c.KubeSpawner.mem_guarantee = "{MEMORY_MB}M"
c.KubeSpawner.storage_pvc_ensure = True
c.KubeSpawner.pvc_name_template = "claim-{{username}}"
c.KubeSpawner.storage_capacity = "1Gi"
c.KubeSpawner.storage_access_modes = ["ReadWriteOnce"]
c.KubeSpawner.volumes = {{"home": {{"name": "home", "persistentVolumeClaim": {{"claimName": "{{pvc_name}}"}}}}}}
c.KubeSpawner.volume_mounts = {{"home": {{"name": "home", "mountPath": "/home/jovyan"}}}}
"""


async def measure_looks(plane: ControlPlane) -> tuple[list[float], list[float]]:
    """A first look, by an inventory that knows nothing, and a second one by the same."""
    with ThreadPoolExecutor(8) as threads:
        has = {"nvidia.com/gpu": str(GPUS)}
        labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
        list(threads.map(lambda number: make_fake_node(plane, f"gpu-{number}", has, labels), range(NODES)))
    await asyncio.to_thread(
        until, lambda: all(node_is_ready(plane, f"gpu-{n}") for n in (0, NODES - 1)), "nodes", 300
    )
    cold, later = list[float](), list[float]()
    for _ in range(LOOKS):
        reached = Cluster(partial(connect, plane.kubeconfig))
        inventory = ClusterInventory(reached, "bench")
        for into in (cold, later):
            began = time.perf_counter()
            found = await inventory.look()
            into.append(time.perf_counter() - began)
            if len(found.devices) < NODES * GPUS:
                raise RuntimeError(f"{len(found.devices)} GPUs instead of {NODES * GPUS}")
        inventory.close()
        await reached.close()
    return cold, later


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
