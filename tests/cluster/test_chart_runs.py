"""The chart's own pods on a real kubelet, from our images: the portal's comes up, and Envoy's leads to it.

Neither DNS nor a Service nor a provisioner is needed: the pods know each other by address, the API server leads to
them, and the portal's volume goes with its pod. All else is as the chart says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import httpx
import pytest

from dure_hub.settings import Settings
from tests.cluster import helm, images
from tests.cluster.apart import ADDRESS
from tests.cluster.asking import ApiServer
from tests.cluster.charted import of_kind, pod_of, workloads
from tests.cluster.control_plane import PORT, ControlPlane
from tests.cluster.given import PULL, GivenNode
from tests.cluster.names import named
from tests.cluster.node import Node
from tests.cluster.objects import make_namespace
from tests.cluster.programs import until
from tests.cluster.test_chart_applied import place_of
from tools.kube import find, said_by

pytestmark = pytest.mark.anywhere

NAMESPACES = {name: named(f"runs-{name}") for name in ("dev", "training", "serving", "platform")}
PODS = f"/api/v1/namespaces/{NAMESPACES['platform']}/pods"
HOST = f"dure-portal.{NAMESPACES['platform']}.svc"
NEEDED, ALONE = ("portal", "envoy"), ("hub", "mlflow")
"""Images of the chart, and those in which one of the portal's services is alone."""
REAL = ("ConfigMap", "LimitRange", "ResourceQuota", "Role", "RoleBinding", "Secret", "ServiceAccount")


class Pods:
    """The pods of the chart, started one after the other."""

    def __init__(self, cluster: ApiServer) -> None:
        self.cluster = cluster

    def start(self, made: dict[str, Any]) -> str:
        """Once it is ready, its address."""
        self.cluster.create(PODS, made).raise_for_status()
        name = made["metadata"]["name"]
        until(lambda: self.is_ready(name), f"{name} to be ready", 240)
        return str(self.seen(name)["status"]["podIP"])

    def end(self, name: str) -> None:
        """Returns once it is gone."""
        self.cluster.api.delete(f"{PODS}/{name}", params={"gracePeriodSeconds": "0"})
        until(lambda: not self.cluster.exists(f"{PODS}/{name}"), f"{name} to be gone")

    def is_ready(self, name: str) -> bool:
        """Whether its kubelet says so. One whose container has ended fails the test, with its log."""
        status = self.seen(name)["status"]
        for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            ended = (one["state"].get("terminated") or one.get("lastState", {}).get("terminated") or {}).get(
                "exitCode"
            )
            if ended or one["state"].get("waiting", {}).get("reason") in (
                "ErrImageNeverPull",
                "CreateContainerConfigError",
            ):
                pytest.fail(f"{one['name']} of {name}: {json.dumps(one['state'])}\n{self.log(name, one['name'])}")
        return any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", ()))

    def seen(self, name: str) -> dict[str, Any]:
        """It, as it is now."""
        return self.cluster.get(f"{PODS}/{name}")

    def log(self, name: str, container: str) -> str:
        """What a container has said."""
        said = self.cluster.api.get(f"{PODS}/{name}/log", params={"container": container, "tailLines": "60"}).text
        return said[-4000:]


@pytest.fixture(scope="module")
def objects(cluster: ApiServer, node: Node | GivenNode) -> Iterator[list[dict[str, Any]]]:
    """What the chart makes; all of it is there, but for pods, Services and policies."""
    if "xds_port" not in Settings.model_fields:
        pytest.skip("This portal answers no Envoy elsewhere.")
    if why := images.why_not():
        pytest.skip(why)
    if missing := set(NEEDED) - set(images.asked()):
        pytest.skip(f"{images.ASKED} does not name {', '.join(sorted(missing))}.")
    (prefix, _, tag), *_ = (images.put(name, node).rpartition(":") for name in NEEDED)
    values = {
        "namespaces": NAMESPACES,
        "images": {"prefix": prefix.rpartition("/")[0], "tag": tag, "pullPolicy": PULL},
        "postgresql": {"enabled": False},
        "settings": {"disk_minimum_mb": 0},
    }
    made = helm.template("minimal", values=values)
    for name in NAMESPACES.values():
        make_namespace(cluster, name)
    for one in made:
        if one["kind"] in REAL or one["kind"].startswith("ClusterRole"):
            cluster.apply(place_of(one), one).raise_for_status()
    yield made
    for name in NAMESPACES.values():
        cluster.api.delete(f"/api/v1/namespaces/{name}")


def portal_pod(objects: list[dict[str, Any]], node: str, known: list[dict[str, Any]]) -> dict[str, Any]:
    """The portal's, on this node, with a volume of its own, told what a Service and DNS would tell it."""
    (workload,) = (one for one in workloads(objects) if one["metadata"]["name"] == "dure-portal")
    made = pod_of(workload)
    made["spec"]["nodeName"] = node
    for volume in made["spec"]["volumes"]:
        if volume["name"] == "data":
            volume.pop("persistentVolumeClaim")
            volume["emptyDir"] = {}
    for one in (*made["spec"]["initContainers"], *made["spec"]["containers"]):
        one["env"] = [*one.get("env", ()), *known]
    return made


def envoy_pod(objects: list[dict[str, Any]], node: str, address: str) -> dict[str, Any]:
    """Envoy's, told where the portal is."""
    (workload,) = (one for one in workloads(objects) if one["metadata"]["name"] == "dure-envoy")
    made = pod_of(workload)
    made["spec"]["nodeName"] = node
    (container,) = made["spec"]["containers"]
    container["args"] = [word.replace(HOST, address) for word in container["args"]]
    return made


def known_on(cluster: ApiServer) -> list[dict[str, Any]]:
    """What the portal's pod has to be told; on the tests' own cluster no Service leads to the API server."""
    own: list[dict[str, Any]] = [
        {"name": "DURE_PORTAL_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    ]
    if isinstance(cluster, ControlPlane):
        own.append({"name": "KUBERNETES_SERVICE_HOST", "value": ADDRESS})
        own.append({"name": "KUBERNETES_SERVICE_PORT", "value": str(PORT)})
    return own


def test_the_portal_comes_up_and_is_reached_through_envoy(
    cluster: ApiServer, node: Node | GivenNode, objects: list[dict[str, Any]]
) -> None:
    def ask(pod: str, path: str, **headers: str) -> httpx.Response:
        """By way of the API server, which reaches pods on every cluster."""
        return cluster.api.get(f"{PODS}/{pod}:8000/proxy{path}", headers=headers)

    pods = Pods(cluster)
    portal = pods.start(portal_pod(objects, node.name, known_on(cluster)))
    (prepared,) = pods.seen("dure-portal")["status"]["initContainerStatuses"]
    assert prepared["state"]["terminated"]["exitCode"] == 0
    nobody = ask("dure-portal", "/")
    assert (nobody.status_code >= 500, "refused" in nobody.text) == (True, True), nobody.text
    pods.start(envoy_pod(objects, node.name, portal))
    assert ask("dure-envoy", "/hub/health").status_code == 200
    assert ask("dure-envoy", "/services/dure/health").status_code == 200
    assert ask("dure-envoy", "/services/mlflow/").status_code == 401, "who asks is asked first"
    page = ask("dure-envoy", "/hub/login", **{"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"})
    assert (page.status_code, "password" in page.text) == (200, True)
    accounts = {one["metadata"]["name"] for one in of_kind(objects, "ServiceAccount").values()}
    assert pods.seen("dure-portal")["spec"]["serviceAccountName"] in accounts


def test_hub_and_mlflow_come_up_from_images_of_their_own(
    cluster: ApiServer, node: Node | GivenNode, objects: list[dict[str, Any]]
) -> None:
    if missing := set(ALONE) - set(images.asked()):
        pytest.skip(f"{images.ASKED} does not name {', '.join(sorted(missing))}.")
    made, pods = portal_pod(objects, node.name, known_on(cluster)), Pods(cluster)
    made["spec"]["containers"] = [one for one in made["spec"]["containers"] if one["name"] in ALONE]
    for one in made["spec"]["containers"]:
        one["image"] = images.put(one["name"], node)
    pods.end("dure-portal")
    pods.start(made)

    def ask(port: int, path: str, **headers: str) -> httpx.Response:
        return cluster.api.get(f"{PODS}/dure-portal:{port}/proxy{path}", headers=headers)

    assert ask(8081, "/hub/api/").json()["version"] == version("jupyterhub")
    assert ask(8083, "/services/mlflow/version").status_code == 403, "who does not show the key"
    read = ["exec", "dure-portal", "--container=mlflow", "--", "cat", "/data/dure/secrets/front-key"]
    where = [f"--kubeconfig={cluster.kubeconfig}", f"--namespace={NAMESPACES['platform']}"]
    key = {"X-Dure-Front": said_by([find("kubectl"), *where, *read]).strip()}
    found = ask(8083, "/services/mlflow/version", **key)
    assert (found.status_code, found.text) == (401, "Log in to the portal first."), "as MLflow says it"
