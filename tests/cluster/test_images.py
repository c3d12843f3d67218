"""Our images in pods of ours on a real kubelet, as the portal makes them."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from dure.wire.ids import new_id
from dure_hub.backends.base import Kind
from dure_hub.backends.kubernetes.pods import make_pod
from dure_hub.backends.kubernetes.spec import Mount, PodSpec
from tests.cluster import helm, images
from tests.cluster.asking import ApiServer
from tests.cluster.control_plane import ControlPlane
from tests.cluster.given import PULL, GivenNode
from tests.cluster.names import named
from tests.cluster.node import Node
from tests.cluster.objects import make_namespace
from tests.cluster.programs import until

pytestmark = pytest.mark.anywhere

NAMESPACE = named("images")
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
HIDDEN = ("etc/pip.conf", "root/.npmrc", "root/.cache", "run/secrets/ca", "root/.config")
"""What a build must leave in no layer: where packages came from, and what they came with."""
SERVER = ("python", "-P", "-m", "dure_hub.spawners.jupyterhub_singleuser")
HUB = {
    "JUPYTERHUB_API_TOKEN": "t",
    "JUPYTERHUB_API_URL": "http://127.0.0.1:9/hub/api",
    "JUPYTERHUB_CLIENT_ID": "c",
    "JUPYTERHUB_HOST": "",
    "JUPYTERHUB_OAUTH_CALLBACK_URL": "/user/ana/oauth_callback",
    "JUPYTERHUB_SERVICE_PREFIX": "/user/ana/",
    "JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:8888/user/ana/",
    "JUPYTERHUB_USER": "ana",
}
"""What the hub would say, and an address at which there is none."""
ABOUT = """
import json, os, subprocess, sys
from importlib.metadata import version
from pathlib import Path
import dure, dure_lab, dure_widgets, jupyterlab
note = Path.home() / "notes" / "note.txt"
note.parent.mkdir()
note.write_text("mine")
lab = subprocess.run(["jupyter", "lab", "--version"], capture_output=True, text=True, check=True).stdout.strip()
print(json.dumps({
    "ids": [os.getuid(), os.getgid()], "home": str(Path.home()), "written": note.read_text(),
    "refused": [one for one in ("/opt/dure/bin", "/usr/bin", "/tmp") if not os.access(one, os.W_OK)],
    "versions": [lab, jupyterlab.__version__], "jupyterlab": version("jupyterlab"),
}))
"""
FROZEN = """
import {modules}
try:
    open("/data/mark", "w")
except OSError as error:
    print(error)
"""
LOADER = """
import torch
from torch.utils.data import DataLoader, Dataset
class Pictures(Dataset):
    def __len__(self): return 128
    def __getitem__(self, index): return torch.zeros(3, 1024, 1024)
try:
    print(sum(1 for _ in DataLoader(Pictures(), batch_size=4, num_workers=4)), "batches")
except RuntimeError as error:
    print(str(error).lower())
"""


class Pods:
    """Pods of one image, as the portal makes them but for the record that it would keep of each."""

    def __init__(self, cluster: ApiServer, node: str, image: str) -> None:
        self.cluster, self.node, self.image = cluster, node, image
        self.names: list[str] = []

    def start(self, *command: str, frozen: bool = False, **changes: Any) -> str:
        """Have one run this; its name. `frozen`: of its root it can write to /tmp alone, as the chart has it."""
        name = f"image-{new_id().lower()}"
        spec = PodSpec(
            portal="p1",
            name=name,
            namespace=NAMESPACE,
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
        if frozen:
            (container,) = body["spec"]["containers"]
            container["securityContext"]["readOnlyRootFilesystem"] = True
            container["volumeMounts"].append({"name": "tmp", "mountPath": "/tmp"})  # noqa: S108 - the pod's own
            body["spec"]["volumes"].append({"name": "tmp", "emptyDir": {}})
        self.cluster.create(PODS, body).raise_for_status()
        self.names.append(name)
        return name

    def run(self, *command: str, **changes: Any) -> str:
        """What this prints, which must end well."""
        name = self.start(*command, **changes)
        until(lambda: self.phase(name) in ("Succeeded", "Failed"), f"the end of {name}", timeout_s=240)
        assert self.phase(name) == "Succeeded", self.log(name)
        return self.log(name)

    def seen(self, name: str) -> dict[str, Any]:
        """Its status."""
        return dict(self.cluster.get(f"{PODS}/{name}")["status"])

    def phase(self, name: str) -> str:
        """How far it is."""
        return str(self.seen(name)["phase"])

    def log(self, name: str) -> str:
        """What it has said; nothing before it runs."""
        answer = self.cluster.api.get(f"{PODS}/{name}/log")
        return answer.text if answer.status_code == 200 else ""

    def remove(self) -> None:
        """Have none of them be there any more."""
        for name in self.names:
            self.cluster.api.delete(f"{PODS}/{name}", params={"gracePeriodSeconds": "0"})
        until(lambda: not any(self.cluster.exists(f"{PODS}/{name}") for name in self.names), "the end of all pods")


@pytest.fixture(scope="module")
def namespace(cluster: ApiServer, node: Node | GivenNode) -> str:
    """One on a cluster with a real node, which enforces `restricted`."""
    if why := images.why_not():
        pytest.skip(why)
    return make_namespace(cluster, NAMESPACE)


def pods_of(name: str, cluster: ApiServer, node: Node | GivenNode) -> Iterator[Pods]:
    """Of this image, loaded."""
    if name not in images.asked():
        pytest.skip(f"{images.ASKED} does not name {name}.")
    made = Pods(cluster, node.name, images.put(name, node))
    yield made
    made.remove()


@pytest.fixture(scope="module")
def server(namespace: str, cluster: ApiServer, node: Node | GivenNode) -> Iterator[Pods]:
    """Pods of singleuser-cpu."""
    yield from pods_of("singleuser-cpu", cluster, node)


@pytest.fixture(scope="module")
def portal(namespace: str, cluster: ApiServer, node: Node | GivenNode) -> Iterator[Pods]:
    """Pods of portal."""
    yield from pods_of("portal", cluster, node)


@pytest.fixture(scope="module")
def torch(beside: ControlPlane, namespace: str) -> Mount:
    """This machine's torch, as a volume to read from: an image with it would take 7 GB more."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        pytest.skip("There is no torch here.")
    shared = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    packages = {"hostPath": {"path": str(Path(found.origin).parents[1])}, "capacity": {"storage": "1Gi"}}
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "torch"}}
    beside.create("/api/v1/persistentvolumes", {**volume, "spec": {**shared, **packages}}).raise_for_status()
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "torch"}}
    wanted = {**shared, "volumeName": "torch", "resources": {"requests": {"storage": "1Gi"}}}
    path = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
    beside.create(path, {**claim, "spec": wanted}).raise_for_status()
    return Mount("torch", "/mnt/torch", read_only=True)


def test_a_persons_server_is_nobody_and_has_a_home_to_write_to(server: Pods) -> None:
    said = json.loads(server.run("python", "-P", "-c", ABOUT))
    assert said["ids"] == [1000, 100]
    assert said["home"] == "/home/jovyan"
    assert said["written"] == "mine"
    assert said["refused"] == ["/opt/dure/bin", "/usr/bin"]
    assert said["versions"] == [said["jupyterlab"]] * 2


def test_a_persons_server_starts_with_our_extensions_and_asks_for_its_hub(server: Pods) -> None:
    name = server.start(*SERVER, environment=HUB, port=8888)
    until(lambda: "Failed to connect to my Hub" in server.log(name), "a server that misses its hub")
    said = server.log(name)
    for extension in ("jupyterlab", "jupyterhub", "dure_hub.spawners.guests", "dure_lab.routes", "dure_lab.busy"):
        assert f"{extension} | extension was successfully l" in said
    assert "Error" not in said.partition("Failed to connect to my Hub")[0]


def test_lab_finds_our_part_of_its_pages(server: Pods) -> None:
    assert "dure-lab v" in server.run("jupyter", "labextension", "list", "--verbose")


def test_what_the_portal_runs_can_be_imported_from_a_root_that_cannot_be_written_to(portal: Pods) -> None:
    modules = (
        *(
            "dure_hub.app",
            "jupyterhub.app",
            "dure_hub.supervisor.mlflow_server",
            "dure_hub.supervisor.voila_handlers",
        ),
        *("mlflow.server.auth", "kubernetes_asyncio", "dure_hub.backends.kubernetes.runs"),
    )
    said = portal.run("python", "-c", FROZEN.format(modules=", ".join(modules)), frozen=True)
    assert said.strip().splitlines()[-1] == "[Errno 30] Read-only file system: '/data/mark'"


def test_the_portals_command_is_there(portal: Pods) -> None:
    said = portal.run("dure", "--help", frozen=True)
    assert "up" in said
    assert "servers" in said


def test_the_portal_can_back_up_the_postgresql_that_its_chart_brings(portal: Pods) -> None:
    values = yaml.safe_load((helm.ROOT / "helm-values/dure/values.yaml").read_text())
    server = int(values["postgresql"]["image"].rpartition(":")[2])
    for program in ("pg_dump", "pg_restore", "psql"):
        said = portal.run(program, "--version", frozen=True)  # as: pg_dump (PostgreSQL) 15.14 (Debian …)
        assert int(said.split()[2].partition(".")[0]) >= server


@pytest.mark.parametrize(("shm_mb", "said"), [(64, "shared memory"), (1024, "32 batches")])
def test_four_workers_of_a_data_loader_work_with_the_shared_memory_of_a_profile(
    server: Pods, torch: Mount, shm_mb: int, said: str
) -> None:
    python = server.run("python", "-c", "import sys; print(*sys.version_info[:2])").split()
    if tuple(map(int, python)) != sys.version_info[:2]:
        pytest.skip("This machine's torch is for another Python than the image's.")
    changes: dict[str, Any] = {"environment": {"PYTHONPATH": torch.path}, "mounts": [torch], "memory_mb": 3072}
    assert said in server.run("python", "-c", LOADER, shm_mb=shm_mb, **changes)


@pytest.mark.parametrize("name", images.asked())
def test_no_layer_tells_where_packages_came_from(name: str) -> None:
    if not images.tar(name).exists():
        pytest.skip(f"{name} was not built here.")
    with tarfile.open(images.use(name)[1]) as archive:
        manifest = json.load(archive.extractfile("manifest.json") or pytest.fail("no manifest"))[0]
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as files:
                members = {member.name: member for member in files}
                left = [hidden for hidden in HIDDEN if hidden in members and not members[hidden].isdir()]
                assert not left
        config = archive.extractfile(manifest["Config"])
        assert config is not None
        history = config.read().decode()
    assert "/run/secrets" not in history.replace("--mount", "")
