"""The chart before a real API server: every object of every overlay, its pods where `restricted` is enforced, and
what its accounts may do."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from dure_hub.backends.base import Kind
from dure_hub.backends.kubernetes.pods import make_pod
from tests.cluster import helm
from tests.cluster.asking import ApiServer
from tests.cluster.charted import pod_of, workloads
from tests.cluster.given import Given
from tests.cluster.helm import OVERLAYS, template
from tests.cluster.names import named
from tests.cluster.objects import make_namespace
from tests.cluster.programs import until
from tests.cluster.test_pods import spec

pytestmark = pytest.mark.anywhere

NAMESPACES = {name: named(f"try-{name}") for name in ("dev", "training", "serving", "platform")}
PLACES = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ConfigMap": "/api/v1/{}/configmaps",
    "Deployment": "/apis/apps/v1/{}/deployments",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/{}/httproutes",
    "Ingress": "/apis/networking.k8s.io/v1/{}/ingresses",
    "LimitRange": "/api/v1/{}/limitranges",
    "Namespace": "/api/v1/namespaces",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/{}/networkpolicies",
    "PodDisruptionBudget": "/apis/policy/v1/{}/poddisruptionbudgets",
    "PodMonitor": "/apis/monitoring.coreos.com/v1/{}/podmonitors",
    "ResourceQuota": "/api/v1/{}/resourcequotas",
    "Role": "/apis/rbac.authorization.k8s.io/v1/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/{}/rolebindings",
    "Secret": "/api/v1/{}/secrets",
    "Service": "/api/v1/{}/services",
    "ServiceAccount": "/api/v1/{}/serviceaccounts",
    "StatefulSet": "/apis/apps/v1/{}/statefulsets",
}
"""Where the API has objects of each kind."""
REAL = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "LimitRange",
    "ResourceQuota",
)
"""What has to be there before the others, and before anybody's rights, can be judged."""

OTHERS = ("HTTPRoute", "PodMonitor")
"""Kinds that a cluster may lack. Their definitions are not brought to somebody's: there they are everybody's."""


def knows(cluster: ApiServer, kind: str) -> bool:
    """Whether there can be objects of this kind."""
    return cluster.exists(PLACES[kind].format("namespaces/default"))


def place_of(one: Mapping[str, Any]) -> str:
    """The path of an object."""
    namespace = f"namespaces/{one['metadata'].get('namespace')}"
    return f"{PLACES[one['kind']].format(namespace)}/{one['metadata']['name']}"


def everything(overlay: str) -> list[dict[str, Any]]:
    """All that the chart can make of an overlay, also what is off in it."""
    route = {
        "enabled": True,
        "parentRefs": [{"name": "gateway", "namespace": "gateways"}],
        "hostnames": ["d.example"],
    }
    values = {
        "namespaces": NAMESPACES,
        "ingress": {"enabled": True, "host": "dure.example.com", "tlsSecret": "tls", "className": "nginx"},
        "httpRoute": route,
        "podMonitors": "on",
        "podDisruptionBudgets": True,
        "redis": {"enabled": True},
        "minio": {"enabled": True},
        "networkPolicy": {"dns": {"cidrs": ["169.254.20.10/32"]}, "apiServer": {"cidrs": ["10.96.0.1/32"]}},
        "images": {"pullSecrets": ["ours"]},
        "portal": {
            "storageClass": "fast",
            "nodeSelector": {"a": "b"},
            "tolerations": [{"operator": "Exists"}],
            "secretFiles": {"oidc-secret": {"secret": "login", "key": "secret"}},
        },
    }
    return template(overlay, values=values)


@pytest.fixture(scope="module")
def applied(cluster: ApiServer) -> Iterator[ApiServer]:
    """A cluster with the namespaces, accounts, rights and bounds of the chart, and kinds of others."""
    for name in () if isinstance(cluster, Given) else helm.CRDS:
        definition = yaml.safe_load(helm.definition(name).read_text())
        where = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        made = cluster.create(where, definition)
        assert made.status_code in (201, 409), made.text
    for name in NAMESPACES.values():
        make_namespace(cluster, name)
    for one in everything("minimal"):
        if one["kind"] in REAL:
            answer = cluster.apply(place_of(one), one)
            assert answer.is_success, answer.text
    for kind in () if isinstance(cluster, Given) else OTHERS:
        until(lambda kind=kind: knows(cluster, kind), kind)  # type: ignore[misc]
    yield cluster
    for name in NAMESPACES.values():
        cluster.api.delete(f"/api/v1/namespaces/{name}")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_one_that_the_api_server_takes(applied: ApiServer, overlay: str) -> None:
    objects = everything(overlay)
    assert set(PLACES) - {"Namespace"} <= {one["kind"] for one in objects}, "no kind is left out"
    unknown = {kind for kind in OTHERS if not knows(applied, kind)}
    assert not unknown or isinstance(applied, Given)
    for one in (one for one in objects if one["kind"] not in unknown):
        answer = applied.apply(place_of(one), one, dryRun="All")
        assert answer.is_success, f"{place_of(one)}: {answer.text}"
        assert "Warning" not in answer.headers, f"{place_of(one)}: {answer.headers['Warning']}"


def test_an_object_with_a_field_that_does_not_exist_is_refused(applied: ApiServer) -> None:
    """Else the test above proves nothing."""
    for one in everything("minimal"):
        known = one["kind"] not in OTHERS or knows(applied, one["kind"])
        if known and one["kind"] in (*OTHERS, "NetworkPolicy", "StatefulSet"):
            one["spec"]["colour"] = "red"
            answer = applied.apply(place_of(one), one, dryRun="All")
            assert (answer.is_success, "colour" in answer.text) == (False, True), place_of(one)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_of_the_chart_are_admitted_where_restricted_is_enforced(applied: ApiServer, overlay: str) -> None:
    objects = everything(overlay)
    for one in objects:
        bounds = one["kind"] in ("LimitRange", "ResourceQuota")
        if bounds and one["metadata"]["namespace"] == NAMESPACES["platform"]:
            assert applied.apply(place_of(one), one).is_success
    made = [pod_of(one) for one in workloads(objects)]
    assert {one["metadata"]["name"] for one in made} >= {"dure-portal", "dure-envoy", "dure-redis", "dure-minio"}
    for one in made:
        answer = applied.create(f"/api/v1/namespaces/{NAMESPACES['platform']}/pods", one, dryRun="All")
        assert answer.status_code == 201, answer.text
        assert "Warning" not in answer.headers
    made[0]["spec"]["containers"][0]["securityContext"]["privileged"] = True
    answer = applied.create(f"/api/v1/namespaces/{NAMESPACES['platform']}/pods", made[0], dryRun="All")
    assert answer.status_code in (403, 422), "one that is not so is refused"


def test_the_pod_that_restores_is_admitted_and_no_service_leads_to_it(applied: ApiServer) -> None:
    """As the page has it, in other namespaces."""
    page = (helm.ROOT / "docs" / "kubernetes.md").read_text()
    (text,) = re.findall(r"```yaml\n# restore\.yaml\n(.*?)```", page, re.DOTALL)
    made = yaml.safe_load(text.replace("mlops-platform", NAMESPACES["platform"]))
    answer = applied.create(f"/api/v1/namespaces/{NAMESPACES['platform']}/pods", made, dryRun="All")
    assert answer.status_code == 201, answer.text
    assert "Warning" not in answer.headers
    objects, labels = everything("minimal"), made["metadata"]["labels"].items()
    assert not [one for one in objects if one["kind"] == "Service" and one["spec"]["selector"].items() <= labels]
    selectors = [one["spec"]["podSelector"] for one in objects if one["kind"] == "NetworkPolicy"]
    assert {"matchLabels": dict(labels)} in selectors


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("where", ["dev", "training", "serving"])
def test_peoples_pods_are_admitted_within_the_bounds(applied: ApiServer, where: str, kind: Kind) -> None:
    namespace = NAMESPACES[where]
    made = make_pod(spec(f"kind-{kind.value}", namespace=namespace, kind=kind))
    answer = applied.create(f"/api/v1/namespaces/{namespace}/pods", made, dryRun="All")
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cores": 5.0}, "maximum cpu usage per Container is"),
        ({"memory_mb": 9 * 1024}, "maximum memory usage per Container is"),
        ({"resources": {"nvidia.com/gpu": 1}}, "requests.nvidia.com/gpu=1"),
    ],
)
def test_what_is_beyond_the_bounds_is_refused_with_a_reason(
    applied: ApiServer, changes: dict[str, Any], why: str
) -> None:
    """The minimal overlay's: a small node without GPUs."""
    namespace = NAMESPACES["dev"]
    made = make_pod(spec("large", namespace=namespace, **changes))
    answer = applied.create(f"/api/v1/namespaces/{namespace}/pods", made, dryRun="All")
    assert (answer.status_code, why in answer.text) == (403, True), answer.text


VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
RESOURCES = (
    *("pods", "pods/log", "pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "secrets"),
    *("configmaps", "persistentvolumeclaims", "services", "endpoints", "serviceaccounts", "serviceaccounts/token"),
    *("events", "nodes", "nodes/proxy", "namespaces", "persistentvolumes", "resourcequotas", "limitranges"),
    *("deployments.apps", "statefulsets.apps", "jobs.batch", "networkpolicies.networking.k8s.io"),
    *("roles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io"),
    *(
        f"{kind}.kueue.x-k8s.io"
        for kind in ("localqueues", "clusterqueues", "cohorts", "resourceflavors", "workloads")
    ),
)
SHARED = {f"{kind}.kueue.x-k8s.io" for kind in ("localqueues", "clusterqueues", "cohorts", "resourceflavors")}
EVERYWHERE = {
    *(("*", verb, resource) for verb in ("list", "watch") for resource in ("nodes", "pods")),
    *(("*", verb, resource) for verb in ("get", "list") for resource in SHARED),
    ("*", "get", "persistentvolumes"),
}
"""What inventory and `dure doctor` read, in no namespace, which is in each."""
PODS = {("pods", verb) for verb in ("get", "list", "watch", "create", "patch", "delete")}
WORK = PODS | {("pods/log", "get")}
SECRETS = {("secrets", verb) for verb in ("get", "list", "create", "patch", "delete")}
KUEUE = {("localqueues.kueue.x-k8s.io", "get"), ("workloads.kueue.x-k8s.io", "list")}
SERVERS = SECRETS | KUEUE | {("persistentvolumeclaims", verb) for verb in ("create", "get")}
PORTAL = {
    "dev": WORK | SERVERS,
    "training": WORK,
    "serving": WORK,
    "platform": {("pods", "list"), ("pods", "watch")},
    "kube-system": {("pods", "list"), ("pods", "watch")},
}
"""What the account of portal and hub may do in each namespace, and nothing else."""


def may(cluster: ApiServer, account: str, namespace: str, verb: str, resource: str) -> bool:
    """As `kubectl auth can-i` asks."""
    named, _, group = resource.partition(".")
    named, _, below = named.partition("/")
    asked = {"namespace": namespace, "verb": verb, "resource": named, "subresource": below, "group": group}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{account}",
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": asked,
        },
    }
    answer = cluster.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return bool(answer.raise_for_status().json()["status"]["allowed"])


@pytest.mark.parametrize("where", PORTAL)
def test_portal_and_hub_may_do_this_and_nothing_else(applied: ApiServer, where: str) -> None:
    """They share a pod, and so an account."""
    account, namespace = f"{NAMESPACES['platform']}:dure-portal", NAMESPACES.get(where, where)
    found = {
        (resource, verb)
        for resource, verb in itertools.product(RESOURCES, VERBS)
        if may(applied, account, namespace, verb, resource)
    }
    everywhere = {(resource, verb) for _, verb, resource in EVERYWHERE if resource != "pods"}
    assert everywhere <= found
    assert found - everywhere == PORTAL[where] - everywhere


def test_in_all_namespaces_together_the_portal_only_looks(applied: ApiServer) -> None:
    account = f"{NAMESPACES['platform']}:dure-portal"
    found = {
        ("*", verb, resource)
        for resource, verb in itertools.product(RESOURCES, VERBS)
        if may(applied, account, "", verb, resource)
    }
    assert found == EVERYWHERE


@pytest.mark.parametrize(
    ("where", "name"),
    [
        *(("platform", name) for name in ("dure-envoy", "dure-store", "default")),
        *((name, "default") for name in ("dev", "training", "serving")),
    ],
)
def test_all_others_may_nothing(applied: ApiServer, where: str, name: str) -> None:
    account = f"{NAMESPACES[where]}:{name}"
    for namespace in ("", *NAMESPACES.values()):
        for resource, verb in itertools.product(RESOURCES, ("get", "list", "create", "patch", "delete")):
            assert not may(applied, account, namespace, verb, resource), (namespace, verb, resource)
