"""Envoy's pod on a real kubelet while it is replaced: first nothing new comes to it, and only then it ends.

A stand-in answers in Envoy's place, so that no image has to be built; the pod is the chart's otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.cluster.charted import pod_of, workloads
from tests.cluster.control_plane import ControlPlane
from tests.cluster.helm import template
from tests.cluster.names import named
from tests.cluster.node import PROBE, Node
from tests.cluster.objects import make_namespace
from tests.cluster.programs import until
from tests.cluster.test_chart_applied import place_of

pytestmark = pytest.mark.anywhere

NAMESPACES = {name: named(f"drain-{name}") for name in ("dev", "training", "serving", "platform")}
PLATFORM = NAMESPACES["platform"]
PODS = f"/api/v1/namespaces/{PLATFORM}/pods"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{PLATFORM}/endpointslices"
PORT = 8888  # the stand-in's
LONG_S = 3600
OF = {"labelSelector": "dure/part=envoy"}


def objects() -> list[dict[str, Any]]:
    """What Envoy's pod needs, with the stand-in in it."""
    values = {"namespaces": NAMESPACES, "envoy": {"drainSeconds": LONG_S}, "images": {"pullPolicy": "Never"}}
    made = [one for one in template("minimal", values=values) if one["metadata"]["name"] == "dure-envoy"]
    (workload,) = workloads(made)
    spec = workload["spec"]["template"]["spec"]
    (box,) = spec["containers"]
    spec["nodeName"] = "real"
    box |= {"image": PROBE, "command": ["/program", "serve"], "args": []}
    box["ports"] = [{"name": "http", "containerPort": PORT}, {"name": "statistics", "containerPort": 9901}]
    box["readinessProbe"]["httpGet"]["port"] = "http"
    return made


@pytest.fixture(scope="module")
def cluster_with_envoy(beside: ControlPlane, node: Node) -> Iterator[ControlPlane]:
    """With Envoy's Deployment and Service, its pod ready."""
    cluster = beside
    for name in NAMESPACES.values():
        make_namespace(cluster, name)
    for one in objects():
        if one["kind"] in ("Deployment", "Secret", "Service", "ServiceAccount"):
            cluster.apply(place_of(one), one).raise_for_status()
    only_end(cluster)
    yield cluster
    for pod in cluster.get(PODS)["items"]:
        cluster.api.delete(f"{PODS}/{pod['metadata']['name']}", params={"gracePeriodSeconds": "0"})
    for name in NAMESPACES.values():
        cluster.api.delete(f"/api/v1/namespaces/{name}")


def ends(cluster: ControlPlane) -> set[str]:
    """Addresses to which the Service leads."""
    found = cluster.get(SLICES, labelSelector="kubernetes.io/service-name=dure-envoy")["items"]
    return {
        address
        for one in found
        for end in one.get("endpoints") or ()
        if end["conditions"]["ready"]
        for address in end["addresses"]
    }


def only_end(cluster: ControlPlane) -> str:
    """The one address to which the Service leads, once there is one: a node may waver in its first seconds."""
    found: list[str] = []

    def look() -> bool:
        found[:] = ends(cluster)
        return len(found) == 1

    until(look, "Envoy's pod")
    return found[0]


def test_a_replaced_pod_is_left_by_new_connections_and_keeps_its_open_ones(
    cluster_with_envoy: ControlPlane,
) -> None:
    cluster = cluster_with_envoy
    old = only_end(cluster)
    kept = httpx.Limits(keepalive_expiry=LONG_S)
    with httpx.Client(base_url=f"http://{old}:{PORT}", timeout=10, limits=kept) as open_one:
        before = own_end(open_one.get("/"))
        newer = objects()
        (workload,) = workloads(newer)
        workload["spec"]["template"]["metadata"]["annotations"] = {"test/version": "2"}
        cluster.apply(place_of(workload), workload).raise_for_status()
        until(lambda: only_end(cluster) != old, "the Service to lead to the new pod alone")
        # by the time that a pod which is asked to end later has ended, this one would have
        later = pod_of(workload)
        later["metadata"] |= {"name": "later", "labels": {}}
        del later["spec"]["containers"][0]["lifecycle"]
        cluster.create(PODS, later).raise_for_status()
        until(lambda: is_running(cluster, "later"), "a pod that ends when it is asked to")
        cluster.api.delete(f"{PODS}/later").raise_for_status()
        until(lambda: not cluster.exists(f"{PODS}/later"), "its end")
        assert own_end(open_one.get("/")) == before, "it is the same connection"
    leaving = [pod for pod in cluster.get(PODS, **OF)["items"] if pod["status"].get("podIP") == old]
    assert [bool(pod["metadata"].get("deletionTimestamp")) for pod in leaving] == [True]


def own_end(answer: httpx.Response) -> object:
    """Our address and port of the connection by which this came."""
    return answer.raise_for_status().extensions["network_stream"].get_extra_info("client_addr")


def is_running(cluster: ControlPlane, name: str) -> bool:
    """Whether its node has begun it."""
    return bool(cluster.get(f"{PODS}/{name}")["status"]["phase"] == "Running")
