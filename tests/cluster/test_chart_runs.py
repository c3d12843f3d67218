"""The chart's own pods on a real kubelet, from our images: the portal's comes up, and Envoy's leads to it.

There is no DNS, no Service and no provisioner here: the pods know each other by address, and the portal's volume
goes with its pod. All else is as the chart says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dure_hub.settings import Settings
from tests.cluster import helm, images
from tests.cluster.apart import ADDRESS
from tests.cluster.charted import of_kind, pod_of, workloads
from tests.cluster.control_plane import PORT, ControlPlane
from tests.cluster.node import Node
from tests.cluster.objects import make_namespace
from tests.cluster.programs import until
from tests.cluster.test_chart_applied import place_of

NAMESPACES = {name: f"runs-{name}" for name in ("dev", "training", "serving", "platform")}
PODS = f"/api/v1/namespaces/{NAMESPACES['platform']}/pods"
HOST = f"dure-portal.{NAMESPACES['platform']}.svc"
NEEDED = ("portal", "envoy")
REAL = ("ConfigMap", "LimitRange", "ResourceQuota", "Role", "RoleBinding", "Secret", "ServiceAccount")


class Pods:
    """The pods of the chart, started one after the other."""

    def __init__(self, cluster: ControlPlane) -> None:
        self.cluster = cluster

    def start(self, made: dict[str, Any]) -> str:
        """Once it is ready, its address."""
        self.cluster.create(PODS, made).raise_for_status()
        name = made["metadata"]["name"]
        until(lambda: self.is_ready(name), f"{name} to be ready", 240)
        return str(self.seen(name)["status"]["podIP"])

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
def objects(cluster: ControlPlane, node: Node) -> Iterator[list[dict[str, Any]]]:
    """What the chart makes; all of it is there, but for pods, Services and policies."""
    if "xds_port" not in Settings.model_fields:
        pytest.skip("This portal answers no Envoy elsewhere.")
    if why := images.why_not():
        pytest.skip(why)
    if missing := set(NEEDED) - set(images.asked()):
        pytest.skip(f"{images.ASKED} does not name {', '.join(sorted(missing))}.")
    prefix, _, tag = images.use("portal")[0].rpartition(":")
    for name in NEEDED:
        node.load(images.use(name)[1])
    values = {
        "namespaces": NAMESPACES,
        "images": {"prefix": prefix.rpartition("/")[0], "tag": tag, "pullPolicy": "Never"},
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


def portal_pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The portal's, on the real node, with a volume of its own, where there is neither DNS nor a Service."""
    (workload,) = (one for one in workloads(objects) if one["metadata"]["name"] == "dure-portal")
    made = pod_of(workload)
    made["spec"]["nodeName"] = "real"
    for volume in made["spec"]["volumes"]:
        if volume["name"] == "data":
            volume.pop("persistentVolumeClaim")
            volume["emptyDir"] = {}
    known: list[dict[str, Any]] = [
        {"name": "DURE_PORTAL_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "KUBERNETES_SERVICE_HOST", "value": ADDRESS},
        {"name": "KUBERNETES_SERVICE_PORT", "value": str(PORT)},
    ]
    for one in (*made["spec"]["initContainers"], *made["spec"]["containers"]):
        one["env"] = [*one.get("env", ()), *known]
    return made


def envoy_pod(objects: list[dict[str, Any]], address: str) -> dict[str, Any]:
    """Envoy's, told where the portal is."""
    (workload,) = (one for one in workloads(objects) if one["metadata"]["name"] == "dure-envoy")
    made = pod_of(workload)
    made["spec"]["nodeName"] = "real"
    (container,) = made["spec"]["containers"]
    container["args"] = [word.replace(HOST, address) for word in container["args"]]
    return made


def test_the_portal_comes_up_and_is_reached_through_envoy(
    cluster: ControlPlane, objects: list[dict[str, Any]]
) -> None:
    pods = Pods(cluster)
    portal = pods.start(portal_pod(objects))
    (prepared,) = pods.seen("dure-portal")["status"]["initContainerStatuses"]
    assert prepared["state"]["terminated"]["exitCode"] == 0
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{portal}:8000/", timeout=5)
    envoy = pods.start(envoy_pod(objects, portal))
    with httpx.Client(base_url=f"http://{envoy}:8000", timeout=20) as front:
        assert front.get("/hub/health").status_code == 200
        assert front.get("/services/dure/health").status_code == 200
        assert front.get("/services/mlflow/").status_code == 401, "who asks is asked first"
        page = front.get("/hub/login", headers={"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"})
        assert (page.status_code, "password" in page.text) == (200, True)
    accounts = {one["metadata"]["name"] for one in of_kind(objects, "ServiceAccount").values()}
    assert pods.seen("dure-portal")["spec"]["serviceAccountName"] in accounts
