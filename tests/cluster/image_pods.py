"""Pods of our own images for tests, and what they are given from this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dure.wire.ids import new_id
from dure_hub.backends.base import Kind
from dure_hub.backends.kubernetes.pods import make_pod
from dure_hub.backends.kubernetes.spec import Mount, PodSpec
from tests.cluster import images
from tests.cluster.asking import ApiServer
from tests.cluster.control_plane import ControlPlane
from tests.cluster.given import PULL, GivenNode
from tests.cluster.node import Node
from tests.cluster.programs import until
from tools.kube import find


class Pods:
    """Pods of one image, as the portal makes them but for the record that it would keep of each."""

    def __init__(self, cluster: ApiServer, node: str, image: str, namespace: str) -> None:
        self.cluster, self.node, self.image, self.namespace = cluster, node, image, namespace
        self.path = f"/api/v1/namespaces/{namespace}/pods"
        self.names: list[str] = []

    def start(self, *command: str, frozen: bool = False, arguments: Sequence[str] = (), **changes: Any) -> str:
        """Have one run this, or what the image runs by itself with these arguments; its name.

        `frozen`: of its root it can write to /tmp alone, as the chart has it.
        """
        name = f"image-{new_id().lower()}"
        spec = PodSpec(
            portal="p1",
            name=name,
            namespace=self.namespace,
            lease=new_id(),
            kind=Kind.SERVER,
            owner="ana",
            image=self.image,
            command=command,
            cores=0.5,
            memory_mb=1024,
            node=self.node,
            pull_policy=PULL,
            grace_s=1,
        )
        body = make_pod(replace(spec, **changes))
        del body["metadata"]["finalizers"]
        (container,) = body["spec"]["containers"]
        if arguments:
            container["args"] = list(arguments)
        if frozen:
            container["securityContext"]["readOnlyRootFilesystem"] = True
            container["volumeMounts"].append({"name": "tmp", "mountPath": "/tmp"})  # noqa: S108 - the pod's own
            body["spec"]["volumes"].append({"name": "tmp", "emptyDir": {}})
        self.cluster.create(self.path, body).raise_for_status()
        self.names.append(name)
        return name

    def run(self, *command: str, ends: int = 0, **changes: Any) -> str:
        """What this prints, which must end with this exit code."""
        name = self.start(*command, **changes)
        until(lambda: self.phase(name) in ("Succeeded", "Failed"), f"the end of {name}", timeout_s=240)
        (state,) = (one["state"] for one in self.seen(name)["containerStatuses"])
        assert state["terminated"]["exitCode"] == ends, self.log(name)
        return self.log(name)

    def inside(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run this in a pod that runs, by kubectl as people do."""
        words = [find("kubectl"), f"--kubeconfig={self.cluster.kubeconfig}", f"--namespace={self.namespace}"]
        return subprocess.run([*words, "exec", name, "--", *command], capture_output=True, text=True, check=False)

    def seen(self, name: str) -> dict[str, Any]:
        """Its status."""
        return dict(self.cluster.get(f"{self.path}/{name}")["status"])

    def phase(self, name: str) -> str:
        """How far it is."""
        return str(self.seen(name)["phase"])

    def log(self, name: str) -> str:
        """What it has said; nothing before it runs."""
        answer = self.cluster.api.get(f"{self.path}/{name}/log")
        return answer.text if answer.status_code == 200 else ""

    def remove(self) -> None:
        """Have none of them be there any more."""
        for name in self.names:
            self.cluster.api.delete(f"{self.path}/{name}", params={"gracePeriodSeconds": "0"})
        until(
            lambda: not any(self.cluster.exists(f"{self.path}/{name}") for name in self.names),
            "the end of all pods",
        )


def pods_of(name: str, namespace: str, cluster: ApiServer, node: Node | GivenNode) -> Iterator[Pods]:
    """Of this image, loaded."""
    if name not in images.asked():
        pytest.skip(f"{images.ASKED} does not name {name}.")
    made = Pods(cluster, node.name, images.put(name, node), namespace)
    yield made
    made.remove()


def make_claim(beside: ControlPlane, namespace: str, name: str, place: Path, *, read_only: bool = False) -> Mount:
    """A folder of this machine as a volume for pods, at /mnt/NAME."""
    mode = "ReadOnlyMany" if read_only else "ReadWriteMany"
    shared = {"accessModes": [mode], "storageClassName": ""}
    volume = f"{namespace}-{name}"
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}}
    spec = {**shared, "hostPath": {"path": str(place)}, "capacity": {"storage": "1Gi"}}
    beside.create("/api/v1/persistentvolumes", {**body, "spec": spec}).raise_for_status()
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}}
    wanted = {**shared, "volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}}
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    beside.create(path, {**claim, "spec": wanted}).raise_for_status()
    return Mount(name, f"/mnt/{name}", read_only=read_only)


def make_torch(beside: ControlPlane, namespace: str) -> Mount:
    """This machine's torch, as a volume to read from: an image with it would take 6 GB more."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        pytest.skip("There is no torch here.")
    return make_claim(beside, namespace, "torch", Path(found.origin).parents[1], read_only=True)
