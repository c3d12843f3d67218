"""What tests put into the cluster: namespaces, and nodes that only kwok looks after."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.connecting import connect
from tests.cluster.asking import ApiServer
from tests.cluster.control_plane import KWOK, ControlPlane
from tests.cluster.names import LABEL, MARK
from tests.cluster.programs import until

RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


@asynccontextmanager
async def connected(plane: ApiServer) -> AsyncIterator[Cluster]:
    """The cluster as the portal asks it; each time a connection of its own."""
    made = Cluster(partial(connect, plane.kubeconfig))
    try:
        yield made
    finally:
        await made.close()


def make_namespace(cluster: ApiServer, name: str, labels: Mapping[str, str] = RESTRICTED) -> str:
    """A namespace that admits restricted pods alone, once its service account is there."""
    metadata = {"name": name, "labels": {LABEL: MARK, **labels}}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    cluster.create("/api/v1/namespaces", body).raise_for_status()
    until(lambda: cluster.exists(f"/api/v1/namespaces/{name}/serviceaccounts/default"), "its service account")
    return name


def make_volume(cluster: ControlPlane, place: Path, name: str) -> None:
    """A volume for somebody's home, as an administrator makes one by hand: nothing here provisions any."""
    place.mkdir(parents=True)
    place.chmod(0o777)  # its group is not changed, as that of a real volume would be
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": str(place)},
    }
    body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
    cluster.create("/api/v1/persistentvolumes", body).raise_for_status()


def make_fake_node(
    cluster: ControlPlane, name: str, resources: Mapping[str, str], labels: Mapping[str, str] | None = None
) -> None:
    """A node that exists in writing and takes pods as if it ran them."""
    has = {"cpu": "64", "memory": "512Gi", "pods": "110", **resources}
    own = {"kubernetes.io/hostname": name, "type": "kwok"}
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": own | dict(labels or {}), "annotations": {KWOK: "fake"}},
        "status": {"allocatable": has, "capacity": has},
    }
    cluster.create("/api/v1/nodes", body).raise_for_status()


def remove_nodes(cluster: ControlPlane, selector: str) -> None:
    """Remove those with these labels: kwok works for each, and the controllers do, as long as it is there."""
    cluster.api.delete("/api/v1/nodes", params={"labelSelector": selector}, timeout=120).raise_for_status()
    until(lambda: not cluster.get("/api/v1/nodes", labelSelector=selector)["items"], "the nodes to be gone")


def node_is_ready(cluster: ApiServer, name: str) -> bool:
    """Whether the scheduler may use it."""
    conditions = cluster.get(f"/api/v1/nodes/{name}")["status"].get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
