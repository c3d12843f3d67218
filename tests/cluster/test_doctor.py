"""`dure doctor` on a cluster, asked with the account and the rights that the chart gives a portal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.kubernetes.kueue import GROUP
from dure_hub.backends.kubernetes.rights import Right, needed, needed_for_kueue
from dure_hub.settings import Settings
from tests.cluster import helm
from tests.cluster.accounts import dure, give_rights, make_account
from tests.cluster.charted import of_kind
from tests.cluster.control_plane import ControlPlane
from tests.cluster.names import named
from tests.cluster.objects import make_fake_node, node_is_ready, remove_nodes
from tests.cluster.programs import until
from tests.support import prometheus as real

pytestmark = pytest.mark.anywhere

NAMESPACES = {name: named(f"doctor-{name}") for name in ("dev", "training", "serving", "platform")}
DEV = NAMESPACES["dev"]
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
LABELS = {"nvidia.com/gpu.product": "NVIDIA-A40", "set": "doctor"}


@pytest.fixture(scope="module")
def file(beside: ControlPlane) -> Iterator[Path]:
    """The portal's account, on a cluster with two nodes of eight GPUs."""
    made = make_account(beside, NAMESPACES)
    for number in range(2):
        make_fake_node(beside, f"doctor-{number}", {"nvidia.com/gpu": "8"}, LABELS)
    until(lambda: all(node_is_ready(beside, f"doctor-{number}") for number in range(2)), "the nodes to be ready")
    yield made
    remove_nodes(beside, "set=doctor")
    for name in NAMESPACES.values():
        beside.api.delete(f"/api/v1/namespaces/{name}")


def settings_of(file: Path, **changes: object) -> dict[str, object]:
    """As the chart says them, and where the API server is."""
    spaces = {f"namespace_{kind}": NAMESPACES[kind] for kind in ("dev", "training", "serving")}
    usual = {"backend": "kubernetes", "server_image": "registry.example.com/lab:1", "xds_port": "28085"}
    return {**usual, **spaces, "disk_minimum_mb": "0", "kubeconfig": str(file), **changes}


def examined(file: Path, tmp_path: Path, **changes: object) -> tuple[int, list[dict[str, str]]]:
    """The exit code, and what is said of the cluster."""
    done = dure("doctor", "--json", data=tmp_path / "data", **settings_of(file, **changes))
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)["machine"]


def of(found: list[dict[str, str]], topic: str) -> list[tuple[str, str]]:
    """State and text of each finding on one matter."""
    return [(one["state"], one["text"]) for one in found if one["topic"] == topic]


def test_it_says_what_the_cluster_has_and_that_nothing_is_missing(file: Path, tmp_path: Path) -> None:
    code, found = examined(file, tmp_path)
    assert (code, of(found, "rights")) == (0, [("ok", "the portal's account may do all that it needs")]), found
    ours = [one for one in of(found, "gpu") if "A40" in one[1]]
    assert ours == [("ok", "A40: 16 on 2 nodes")], "one line for a model, not for a GPU"
    assert of(found, "server_pod")[0][0] == "ok"
    assert "Kubernetes v1." in of(found, "cluster")[0][1]
    topics = {one["topic"] for one in found}
    assert not topics & {"kernel", "torch", "port"}, "there is no GPU in this pod, and Envoy is elsewhere"
    assert of(found, "isolation") == [("ok", "each server is a pod of its own")]
    assert of(found, "prometheus")[0][0] == "limited"
    assert not (tmp_path / "data").exists(), "nothing is made here"


def test_nothing_is_made_there(beside: ControlPlane, file: Path, tmp_path: Path) -> None:
    examined(file, tmp_path)
    for kind in ("pods", "persistentvolumeclaims", "secrets"):
        assert not beside.get(f"/api/v1/namespaces/{DEV}/{kind}")["items"], kind


def test_what_it_may_not_do_is_named_and_is_in_the_way(beside: ControlPlane, file: Path, tmp_path: Path) -> None:
    where = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{DEV}/rolebindings/dure-portal"
    beside.api.delete(where).raise_for_status()
    try:
        code, found = examined(file, tmp_path)
    finally:
        give_rights(beside, NAMESPACES)
    lacks = dict.fromkeys(text for _, text in of(found, "rights"))
    assert code == 1
    assert f"the portal's account may not create, get persistentvolumeclaims in {DEV}" in lacks
    assert not [text for text in lacks if NAMESPACES["training"] in text], "and nothing else"


def test_without_the_right_to_see_nodes_the_rest_is_told_at_once(
    beside: ControlPlane, file: Path, tmp_path: Path
) -> None:
    name = f"dure-inventory-{NAMESPACES['platform']}"
    beside.api.delete(f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}").raise_for_status()
    try:
        code, found = examined(file, tmp_path)
    finally:
        give_rights(beside, NAMESPACES)
    told = [text for _, text in of(found, "rights")]
    assert (code, "the portal's account may not list, watch nodes in all namespaces" in told) == (1, True), told
    assert of(found, "server_pod")[0][0] == "ok"


@pytest.mark.parametrize(
    ("kind", "wanted", "state", "why"),
    [
        ("resourcequotas", {"hard": {"pods": "0"}}, "limited", "exceeded quota"),
        ("limitranges", {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]}, "bad", "maximum memory"),
    ],
)
def test_a_server_that_the_namespace_would_refuse_is_told_with_the_reason(
    beside: ControlPlane, file: Path, tmp_path: Path, kind: str, wanted: Mapping[str, Any], state: str, why: str
) -> None:
    where = f"/api/v1/namespaces/{DEV}/{kind}"
    names = {"resourcequotas": "ResourceQuota", "limitranges": "LimitRange"}
    body = {"apiVersion": "v1", "kind": names[kind], "metadata": {"name": "narrow"}, "spec": wanted}
    beside.create(where, body).raise_for_status()
    try:
        until(
            lambda: kind == "limitranges" or "status" in beside.get(f"{where}/narrow"), "the quota to be counted"
        )
        (found,) = of(examined(file, tmp_path)[1], "server_pod")
    finally:
        beside.api.delete(f"{where}/narrow")
    assert (found[0], why in found[1]) == (state, True), found


def test_which_storage_class_makes_homes_and_what_is_said_without_one(
    beside: ControlPlane, file: Path, tmp_path: Path
) -> None:
    (state, text) = of(examined(file, tmp_path)[1], "home")[0]
    assert (state, "has no default StorageClass" in text) == ("limited", True), text
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    body = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "doctor-class", "annotations": default},
        "provisioner": "example.com/none",
    }
    beside.create(CLASSES, body).raise_for_status()
    try:
        until(lambda: "doctor-class" in str(of(examined(file, tmp_path)[1], "home")), "the default to count")
        (chosen,) = of(examined(file, tmp_path, storage_class="other")[1], "home")
    finally:
        beside.api.delete(f"{CLASSES}/doctor-class")
    assert ("other" in chosen[1], "may not see" in chosen[1]) == (True, True), chosen


def test_a_pull_secret_that_is_not_there_is_named(beside: ControlPlane, file: Path, tmp_path: Path) -> None:
    where, data = f"/api/v1/namespaces/{DEV}/secrets", {".dockerconfigjson": "e30="}
    kinds = {"there": ("kubernetes.io/dockerconfigjson", data), "other": ("Opaque", {})}
    for name, (kind, has) in kinds.items():
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": has}
        beside.create(where, body).raise_for_status()
    try:
        found = of(examined(file, tmp_path, image_pull_secrets=["there", "other", "none"])[1], "pull_secret")
    finally:
        for name in kinds:
            beside.api.delete(f"{where}/{name}")
    assert [state for state, _ in found] == ["ok", "limited", "limited"], found
    assert f"none is not in {DEV}" in found[2][1]


def test_prometheus_is_asked(file: Path, tmp_path: Path) -> None:
    (away,) = of(examined(file, tmp_path, prometheus_url="http://127.0.0.1:1")[1], "prometheus")
    assert (away[0], "does not say how busy" in away[1]) == ("limited", True), away
    with real.exporter() as exporter, real.prometheus(exporter) as server:
        (empty,) = of(examined(file, tmp_path, prometheus_url=server.url)[1], "prometheus")
    assert (empty[0], "no fresh reading" in empty[1]) == ("limited", True), empty


def test_an_option_of_kubespawner_that_is_none_is_in_the_way(file: Path, tmp_path: Path) -> None:
    code, found = examined(file, tmp_path, kubespawner={"tolerationss": []})
    assert (code, "most like it: tolerations" in of(found, "kubespawner")[0][1]) == (1, True), found
    code, found = examined(file, tmp_path, kubespawner={"cpu_limit": 2})
    assert (code, of(found, "kubespawner")[0][0], "cpu_limit" in of(found, "kubespawner")[0][1]) == (
        0,
        "limited",
        True,
    )


def test_the_rights_that_it_asks_for_are_those_that_the_chart_gives() -> None:
    spaces = {kind: f"mlops-{kind}" for kind in ("dev", "training", "serving")}
    for seconds in (0, 300):
        settings = Settings(kueue_apply_s=seconds, **{f"namespace_{kind}": name for kind, name in spaces.items()})
        objects = helm.template(values={"kueue": {"applySeconds": seconds}})
        roles = {**of_kind(objects, "Role"), **of_kind(objects, "ClusterRole")}
        given = {
            Right(namespace, resource, verb, group)
            for (namespace, _), role in roles.items()
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
        shared = Right(spaces["dev"], "localqueues", "get", GROUP)  # which the right in all namespaces has in it
        asked = {*needed(settings), *needed_for_kueue(settings)}
        assert given - {shared} == asked - {shared}, seconds
