"""What the pod of the chart runs, run as it would be there: its commands, environment, and account's token.

Only the folders are this machine's, and the API server is named by a kubeconfig.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from dure_hub.settings import Settings, load_settings
from tests.cluster import helm
from tests.cluster.charted import of_kind
from tests.cluster.control_plane import ControlPlane
from tests.cluster.names import named
from tests.cluster.objects import make_fake_node, make_namespace, node_is_ready
from tests.cluster.programs import Program, until
from tests.cluster.test_chart_applied import place_of

pytestmark = pytest.mark.anywhere

NAMESPACES = {name: named(f"pod-{name}") for name in ("dev", "training", "serving", "platform")}
ACCOUNTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
PASSWORD = "maple-otter-seven-9"
SERVICES = ("hub", "portal", "mlflow", "voila")


@dataclass(frozen=True)
class Place:
    """Folders that stand for the pod's, and what the chart says of it."""

    root: Path
    kubeconfig: Path
    environment: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.root / "data" / "dure"

    def words(self, container: str) -> list[str]:
        """Its command, with this machine's Python and folders."""
        found = [*self.spec["initContainers"], *self.spec["containers"]]
        (command,) = (one["command"] for one in found if one["name"] == container)
        own = {"python": sys.executable, "dure": str(Path(sys.executable).with_name("dure"))}
        return [own.get(word, self.here(word)) for word in command]

    def here(self, text: str) -> str:
        """Paths of the pod, as those of this machine."""
        for path in ("/data", "/etc/dure"):
            text = text.replace(path, f"{self.root}{path}")
        return text

    def variables(self, **more: str) -> dict[str, str]:
        """Of the pod, and what an image has."""
        given = {name: self.here(value) for name, value in self.environment.items()}
        image = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {**image, "LANG": "C.UTF-8", **given, "DURE_KUBECONFIG": str(self.kubeconfig), **more}


@pytest.fixture(scope="module")
def place(beside: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A pod's folders, with the Secrets that are mounted, and its account's token."""
    cluster = beside
    settings = {"disk_minimum_mb": 0}  # whatever else fills this machine's disk
    given = {"secretFiles": {"oidc-client-secret": {"secret": "login", "key": "secret"}}}
    own = {"namespaces": NAMESPACES, "postgresql": {"enabled": False}, "settings": settings, "portal": given}
    objects = helm.template("minimal", values=own)
    for name in NAMESPACES.values():
        make_namespace(cluster, name)
    for one in objects:
        if one["kind"] in ACCOUNTS:
            cluster.apply(place_of(one), one).raise_for_status()
    make_fake_node(cluster, "pod-node", {"nvidia.com/gpu": "2"}, {"nvidia.com/gpu.product": "NVIDIA-L4"})
    until(lambda: node_is_ready(cluster, "pod-node"), "the node")
    account = f"/api/v1/namespaces/{NAMESPACES['platform']}/serviceaccounts/dure-portal"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = cluster.create(f"{account}/token", asked).raise_for_status().json()["status"]["token"]
    cluster.tokens["dure-portal"] = token
    platform = NAMESPACES["platform"]
    (workload,) = (one for (_, name), one in of_kind(objects, "StatefulSet").items() if name == "dure-portal")
    root = tmp_path_factory.mktemp("p")
    (root / "data").mkdir()
    for name in ("admin", "envoy"):
        (root / "etc" / "dure" / name).mkdir(parents=True)
        (root / "etc" / "dure" / name / "password").write_text(PASSWORD)
    (root / "etc" / "dure" / "files").mkdir()
    (root / "etc" / "dure" / "files" / "oidc-client-secret").write_text("birch-heron-3\n")
    environment = of_kind(objects, "ConfigMap")[(platform, "dure-settings")]["data"]
    yield Place(root, cluster.write_kubeconfig("dure-portal"), environment, workload["spec"]["template"]["spec"])
    for name in NAMESPACES.values():
        cluster.api.delete(f"/api/v1/namespaces/{name}")
    cluster.api.delete("/api/v1/nodes/pod-node")


def prepare(place: Place) -> subprocess.CompletedProcess[str]:
    """As the init container does."""
    return subprocess.run(
        place.words("prepare"), env=place.variables(), capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def prepared(place: Place) -> Settings:
    """The settings once the init container has ended."""
    done = prepare(place)
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return load_settings(place.data)


def test_the_init_container_makes_all_that_the_others_need(place: Place, prepared: Settings) -> None:
    assert (prepared.on_cluster, prepared.hub_port, prepared.portal_port) == (True, 8081, 8082)
    assert prepared.folder.secret("envoy-token") == PASSWORD
    assert prepared.folder.secret("oidc-client-secret") == "birch-heron-3"
    assert {path.stat().st_mode & 0o777 for path in prepared.folder.secrets.iterdir()} == {0o600}
    assert "L4" in prepared.folder.profiles.read_text(), "it has seen the cluster's node, with its own account"


@pytest.fixture(scope="module")
def services(place: Place, prepared: Settings) -> Iterator[dict[str, Program]]:
    """The four containers."""
    made = {
        name: Program(place.root, name, place.words(name), place.variables(DURE_SERVICE=name)) for name in SERVICES
    }
    for program in made.values():
        program.start()
    yield made
    for program in made.values():
        program.stop()


def is_open(port: int) -> bool:
    """Whether somebody listens at this port."""
    with socket.socket() as made:
        return made.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str) -> bool:
    """Whether there is an answer of 200."""
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_the_containers_come_up_beside_each_other(
    place: Place, prepared: Settings, services: dict[str, Program]
) -> None:
    services["hub"].up(lambda: answers(f"http://127.0.0.1:{prepared.hub_port}/hub/api/"))
    services["portal"].up(lambda: answers(f"http://127.0.0.1:{prepared.portal_port}/services/dure/health"))
    for name, port in (("mlflow", prepared.mlflow_port), ("voila", prepared.voila_port)):
        services[name].up(lambda port=port: is_open(port))  # type: ignore[misc]
    done = prepare(place)
    assert (done.returncode, "already up" in done.stderr) == (1, True), "nothing is prepared while they run"


def test_killed_all_at_once_the_pod_begins_anew(
    place: Place, prepared: Settings, services: dict[str, Program]
) -> None:
    before = {path.name: path.read_bytes() for path in prepared.folder.secrets.iterdir()}
    for program in services.values():
        program.kill()
    assert prepare(place).returncode == 0
    assert {path.name: path.read_bytes() for path in prepared.folder.secrets.iterdir()} == before
    for program in services.values():
        program.start()
    services["portal"].up(lambda: answers(f"http://127.0.0.1:{prepared.portal_port}/services/dure/health"))
    services["hub"].up(lambda: answers(f"http://127.0.0.1:{prepared.hub_port}/hub/api/"))
