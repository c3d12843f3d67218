"""Our images in pods of ours on a real kubelet, as the portal makes them."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from dure_hub.backends.kubernetes.spec import Mount
from tests.cluster import helm, images
from tests.cluster.asking import ApiServer
from tests.cluster.control_plane import ControlPlane
from tests.cluster.given import GivenNode
from tests.cluster.image_pods import Pods, make_torch, pods_of
from tests.cluster.names import named
from tests.cluster.node import Node
from tests.cluster.objects import make_namespace
from tests.cluster.programs import until

pytestmark = pytest.mark.anywhere

NAMESPACE = named("images")
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


@pytest.fixture(scope="module")
def namespace(cluster: ApiServer, node: Node | GivenNode) -> str:
    """One on a cluster with a real node, which enforces `restricted`."""
    if why := images.why_not():
        pytest.skip(why)
    return make_namespace(cluster, NAMESPACE)


@pytest.fixture(scope="module", params=[name for name in images.asked() if name.startswith("singleuser-")])
def server(
    request: pytest.FixtureRequest, namespace: str, cluster: ApiServer, node: Node | GivenNode
) -> Iterator[Pods]:
    """Pods of each image of people's servers."""
    yield from pods_of(request.param, namespace, cluster, node)


@pytest.fixture(scope="module")
def portal(namespace: str, cluster: ApiServer, node: Node | GivenNode) -> Iterator[Pods]:
    """Pods of portal."""
    yield from pods_of("portal", namespace, cluster, node)


@pytest.fixture(scope="module")
def torch(beside: ControlPlane, namespace: str) -> Mount:
    """This machine's torch."""
    return make_torch(beside, namespace)


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


@cache
def hidden_in(layer: Path) -> list[str]:
    """What of `HIDDEN` is a file in this layer, which several images may have."""
    with tarfile.open(layer, mode="r|gz") as files:
        return [member.name for member in files if member.name in HIDDEN and not member.isdir()]


@pytest.mark.parametrize("name", images.asked())
def test_no_layer_tells_where_packages_came_from_and_nobody_is_root(name: str) -> None:
    if not images.is_there(name):
        pytest.skip(f"{name} was not built here.")
    layout, ref = images.layout(), images.ref(name)
    for layer in layout.layers(ref):
        assert not hidden_in(layout.file(layer))
    config = layout.config(ref)
    assert "/run/secrets" not in json.dumps(config).replace("--mount", "")
    assert config["config"]["User"] == "1000:100"
