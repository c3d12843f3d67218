"""`make deploy-minimal` against a real control plane: first where nothing can run, then on a node of kwok's, which
only says that containers run. What is seen here is the installing, the waiting and the telling."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import helm
from tests.cluster.apart import ADDRESS
from tests.cluster.asking import ApiServer
from tests.cluster.control_plane import ControlPlane
from tests.cluster.given import Given
from tests.cluster.names import named
from tests.cluster.objects import make_fake_node, node_is_ready, remove_nodes
from tests.cluster.programs import until
from tools.kube import Trouble, find

pytestmark = pytest.mark.anywhere

NAMESPACES = {name: named(f"chart-{name}") for name in ("dev", "training", "serving", "platform")}
PLATFORM = NAMESPACES["platform"]
SELECTOR = {"test/for": "chart"}
SECRETS = ("dure-admin", "dure-database", "dure-envoy")


@dataclass
class Deploy:
    """The command, as somebody with this cluster's context types it."""

    cluster: ApiServer
    values: Path

    def __call__(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        known = {"KUBECONFIG": str(self.cluster.kubeconfig), "DURE_HELM": str(helm.program()), **variables}
        command = [sys.executable, "-m", "tools.deploy", *words]
        return subprocess.run(
            command, env={**os.environ, **known}, cwd=helm.ROOT, capture_output=True, text=True, timeout=600
        )

    def install(self, patience_s: int, **variables: str) -> subprocess.CompletedProcess[str]:
        """The minimal overlay."""
        words = ("install", "minimal", "--values", str(self.values), "--patience", str(patience_s))
        return self(*words, **variables)


@pytest.fixture(scope="module")
def deploy(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deploy]:
    """Of namespaces that no other test uses, onto a node that is not there yet."""
    try:
        find("kubectl")
    except Trouble as why:
        pytest.skip(str(why))
    values = tmp_path_factory.mktemp("values") / "own.yaml"
    placed = {"nodeSelector": SELECTOR}
    values.write_text(yaml.safe_dump({"namespaces": NAMESPACES, "portal": placed, "envoy": placed}))
    yield Deploy(cluster, values)
    for name in NAMESPACES.values():
        cluster.api.delete(f"/api/v1/namespaces/{name}")
    if isinstance(cluster, ControlPlane):
        remove_nodes(cluster, "test/for=chart")


def secrets(cluster: ApiServer) -> dict[str, Any]:
    """What must be the same after an upgrade."""
    return {name: cluster.get(f"/api/v1/namespaces/{PLATFORM}/secrets/{name}")["data"] for name in SECRETS}


def test_without_a_portal_it_says_how_to_get_one(deploy: Deploy) -> None:
    if isinstance(deploy.cluster, Given):
        pytest.skip("It needs a cluster that is known to have no portal.")
    for verb in ("resources", "port-forward"):
        done = deploy(verb)
        assert (done.returncode, done.stdout) == (1, "")
        assert "`make deploy-minimal` installs one" in done.stderr


def test_without_a_cluster_it_says_so(deploy: Deploy, tmp_path: Path) -> None:
    done = deploy.install(1, KUBECONFIG=str(tmp_path / "none"))
    assert (done.returncode, "kubectl has no context" in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_switch_that_is_no_switch_is_refused(deploy: Deploy) -> None:
    done = deploy.install(1, USE_GPU="maybe")
    assert (done.returncode, "USE_GPU is true or false, and not maybe" in done.stderr) == (1, True), done.stderr
    done = deploy.install(1, USE_KSERVE="true")
    assert (done.returncode, "/useKserve" in done.stderr) == (1, True), done.stderr


def test_where_nothing_can_run_it_says_what_is_not_ready_and_why_and_ends(deploy: Deploy) -> None:
    done = deploy.install(10)
    assert done.returncode == 1, done.stderr
    told = done.stdout
    assert f"The cluster is that of the context {deploy.cluster.context}." in told
    left = told.partition("Not ready after 10 s:")[2]
    assert "dure-portal-0: no node takes it: " in left, told + done.stderr
    assert "  dure-envoy-" in left
    assert "The portal is up" not in told
    policy = deploy.cluster.get(f"/apis/networking.k8s.io/v1/namespaces/{PLATFORM}/networkpolicies/dure-portal")
    blocks = [
        peer["ipBlock"]["cidr"]
        for rule in policy["spec"]["egress"]
        for peer in rule.get("to", ())
        if "ipBlock" in peer
    ]
    service = deploy.cluster.get("/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIP"]
    if isinstance(deploy.cluster, ControlPlane):
        assert (service, f"{ADDRESS}/32" in blocks) == ("10.67.0.1", True)
    assert f"{service}/32" in blocks, "the API server's own addresses are found"
    labels = deploy.cluster.get(f"/api/v1/namespaces/{PLATFORM}")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_it_goes_on_where_it_stopped_and_says_when_all_is_ready(kwok: ControlPlane, deploy: Deploy) -> None:
    """A node of kwok's says that all runs; its volumes are said to be there."""
    cluster, before = kwok, secrets(kwok)
    make_fake_node(cluster, "chart-node", {"nvidia.com/gpu": "1"}, SELECTOR)
    for number in range(2):
        cluster.create("/api/v1/persistentvolumes", volume(f"chart-volume-{number}")).raise_for_status()
    until(lambda: node_is_ready(cluster, "chart-node"), "the node")
    done = deploy.install(100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The portal is up:  http://127.0.0.1:8000" in done.stdout
    assert secrets(cluster) == before, "an upgrade changes no password"
    assert f"kubectl -n {PLATFORM} get secret dure-admin" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith(PLATFORM))
    assert row.split() == [PLATFORM, "3", "0.50", "unknown", "1216", "MiB", "unknown", "10", "GiB", "unknown"]
    told = deploy("resources")
    assert (told.returncode, row in told.stdout) == (0, True), told.stdout + told.stderr


def test_with_gpus_people_may_ask_for_them(kwok: ControlPlane, deploy: Deploy) -> None:
    where = f"/api/v1/namespaces/{NAMESPACES['dev']}/resourcequotas/dure"
    assert deploy.cluster.get(where)["spec"]["hard"]["requests.nvidia.com/gpu"] == "0"
    assert deploy.install(100, USE_GPU="true").returncode == 0
    assert "requests.nvidia.com/gpu" not in deploy.cluster.get(where)["spec"]["hard"]


def test_uninstalled_and_installed_anew_the_passwords_are_those_of_the_volumes_that_stayed(
    kwok: ControlPlane, deploy: Deploy
) -> None:
    cluster, before = deploy.cluster, secrets(deploy.cluster)
    claims = f"/api/v1/namespaces/{PLATFORM}/persistentvolumeclaims"
    volumes = {one["metadata"]["uid"] for one in cluster.get(claims)["items"]}
    helm.run("uninstall", "dure", "--namespace", PLATFORM, environment={"KUBECONFIG": str(cluster.kubeconfig)})
    assert not cluster.exists(f"/apis/apps/v1/namespaces/{PLATFORM}/statefulsets/dure-portal"), "it is gone"
    assert secrets(cluster) == before
    done = deploy.install(100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert secrets(cluster) == before
    assert {one["metadata"]["uid"] for one in cluster.get(claims)["items"]} == volumes != set()


def volume(name: str) -> dict[str, Any]:
    """A volume for whoever asks for none in particular."""
    wanted = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "10Gi"}, "hostPath": {"path": f"/{name}"}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": wanted}
