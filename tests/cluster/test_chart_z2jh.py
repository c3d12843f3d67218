"""The values for Zero to JupyterHub's chart: the paths they use, and what a copy of that chart makes of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import helm
from tests.cluster.asking import ApiServer
from tests.cluster.charted import of_kind, pod_of, workloads
from tests.cluster.names import named
from tests.cluster.objects import make_namespace

pytestmark = pytest.mark.anywhere

FILE = helm.VALUES / "zero-to-jupyterhub.yaml"
COPY = os.environ.get("DURE_Z2JH_CHART")
PATHS = {
    *("cull.enabled", "rbac.create", "proxy.chp.defaultTarget"),
    *("prePuller.continuous.enabled", "prePuller.hook.enabled"),
    *("scheduling.userPlaceholder.enabled", "scheduling.userScheduler.enabled"),
    *("singleuser.cloudMetadata.blockWithIptables", "singleuser.networkPolicy.enabled", "singleuser.storage.type"),
    *("hub.args", "hub.command", "hub.containerSecurityContext", "hub.db.pvc.storage", "hub.db.type"),
    *("hub.livenessProbe.enabled", "hub.resources"),
    *("hub.extraContainers", "hub.extraEnv", "hub.extraPodSpec", "hub.extraVolumeMounts", "hub.extraVolumes"),
    *("hub.image.name", "hub.image.tag", "hub.initContainers", "hub.labels", "hub.networkPolicy.enabled"),
    *("hub.podSecurityContext", "hub.serviceAccount.create", "hub.serviceAccount.name"),
}
"""Paths of that chart's configuration reference (https://z2jh.jupyter.org/en/stable/resources/reference.html)."""
FREE = {
    *("hub.containerSecurityContext", "hub.extraEnv", "hub.extraPodSpec", "hub.labels", "hub.podSecurityContext"),
    "hub.resources",
}
"""Below these anything may stand."""


def paths_of(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The path of each value."""
    for name, value in values.items():
        path = f"{above}{name}"
        if isinstance(value, dict) and path not in FREE:
            yield from paths_of(value, f"{path}.")
        else:
            yield path


def values() -> dict[str, Any]:
    """What the file says."""
    return dict(yaml.safe_load(FILE.read_text()))


def test_it_uses_these_paths_and_no_others() -> None:
    assert set(paths_of(values())) == PATHS


def ours() -> dict[str, Any]:
    """The portal's pod as our own chart makes it."""
    if not helm.program().exists():
        pytest.skip("Helm is not built: make test-cluster.")
    made = of_kind(helm.template(), "StatefulSet")[("mlops-platform", "dure-portal")]
    return dict(made["spec"]["template"]["spec"])


def theirs() -> list[dict[str, Any]]:
    """The containers that the file makes of that chart's hub."""
    hub = values()["hub"]
    own = {
        "name": "hub",
        "command": hub["command"] + hub["args"],
        "resources": hub["resources"],
        "volumeMounts": hub["extraVolumeMounts"],
    }
    return [*hub["initContainers"], own, *hub["extraContainers"]]


def test_commands_and_what_they_ask_for_are_those_of_our_own_chart() -> None:
    """One configuration, two charts."""
    own = ours()
    wanted = [
        (one["name"], one["command"], one["resources"]) for one in (*own["initContainers"], *own["containers"])
    ]
    assert [(one["name"], one["command"], one["resources"]) for one in theirs()] == wanted
    listens = {port["name"]: port["containerPort"] for one in own["containers"] for port in one["ports"]}
    extra = values()["hub"]["extraContainers"]
    found = {port["name"]: port["containerPort"] for one in extra for port in one["ports"]}
    assert found == {name: port for name, port in listens.items() if name != "hub"}


def test_only_what_asks_the_api_server_has_a_token() -> None:
    place, hub = "/var/run/secrets/kubernetes.io/serviceaccount", values()["hub"]
    assert hub["extraPodSpec"]["automountServiceAccountToken"] is False
    having = {one["name"] for one in theirs() if any(mount["mountPath"] == place for mount in one["volumeMounts"])}
    assert having == {"prepare", "hub", "portal"}
    made = {one["name"]: one for one in ours()["volumes"]}
    assert next(one for one in hub["extraVolumes"] if one["name"] == "token") == made["token"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"postgresql": {"enabled": True}}, "postgresql.enabled"),
        ({"database": {"url": "postgresql+psycopg://dure@host/dure"}}, "database.url"),
        ({"portal": {"secretFiles": {"x": {"secret": "s", "key": "k"}}}}, "portal.secretFiles"),
    ],
)
def test_what_the_other_charts_pod_would_not_be_given_is_refused_by_name(
    given: dict[str, Any], named: str
) -> None:
    ours()
    helm.template(values=given)
    beside = {**given, "portal": {**given.get("portal", {}), "enabled": False}}
    with pytest.raises(helm.Refused, match=f"{named}: not with portal.enabled=false"):
        helm.template(values=beside)


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    """What a copy of that chart makes."""
    if COPY is None:
        pytest.skip("DURE_Z2JH_CHART names no copy of Zero to JupyterHub's chart.")
    return helm.template("zero-to-jupyterhub", chart=Path(COPY))


def test_that_chart_knows_these_paths(rendered: list[dict[str, Any]]) -> None:
    known = yaml.safe_load((Path(str(COPY)) / "values.yaml").read_text())
    for path in PATHS:
        place = known
        for name in path.split("."):
            assert name in place, path
            place = place[name]


def test_that_charts_hub_is_ours(rendered: list[dict[str, Any]]) -> None:
    made = {one["metadata"]["name"]: one["spec"]["template"] for one in workloads(rendered)}
    assert set(made) == {"hub", "proxy"}, "nothing else of that chart runs"
    pod = made["hub"]["spec"]
    assert made["hub"]["metadata"]["labels"]["dure/part"] == "portal"
    assert pod["serviceAccountName"] == "dure-portal"
    assert [one["name"] for one in pod["containers"]] == ["hub", "portal", "mlflow", "voila"]
    assert [one["name"] for one in pod["initContainers"]] == ["prepare"]
    mounted = [
        mount["name"]
        for one in pod["containers"]
        for mount in one["volumeMounts"]
        if mount["mountPath"] == "/data"
    ]
    assert mounted == ["pvc"] * 4
    assert not [one["name"] for one in pod["containers"] if "livenessProbe" in one], (
        "a slow start is ended by nobody"
    )
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert (
        "--default-target=http://dure-envoy.mlops-platform.svc:80"
        in made["proxy"]["spec"]["containers"][0]["args"]
    )
    assert not [one for one in rendered if one["kind"] in ("Role", "ClusterRole", "DaemonSet")]
    policies = {name for _, name in of_kind(rendered, "NetworkPolicy")}
    assert policies == {"proxy"}, "ours are for all the others"


def test_its_pods_are_admitted_where_restricted_is_enforced(
    cluster: ApiServer, rendered: list[dict[str, Any]]
) -> None:
    namespace = make_namespace(cluster, named("z2jh"))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "dure-portal"}}
    cluster.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", account).raise_for_status()
    for one in workloads(rendered):
        one["metadata"]["namespace"] = namespace
        answer = cluster.create(f"/api/v1/namespaces/{namespace}/pods", pod_of(one), dryRun="All")
        assert answer.status_code == 201, answer.text
    cluster.api.delete(f"/api/v1/namespaces/{namespace}")


def test_our_chart_goes_beside_it_without_a_portal() -> None:
    if not helm.program().exists():
        pytest.skip("Helm is not built: make test-cluster.")
    objects = helm.template(values={"portal": {"enabled": False}})
    assert {one["metadata"]["name"] for one in workloads(objects)} == {"dure-envoy"}
    assert ("mlops-platform", "dure-portal") in of_kind(objects, "Service")
    assert ("mlops-platform", "dure-portal") in of_kind(objects, "ServiceAccount")
    names = {name for _, name in of_kind(objects, "Secret")}
    assert names == {"dure-admin", "dure-envoy"}
