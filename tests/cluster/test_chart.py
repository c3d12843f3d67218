"""The chart by itself: what it refuses, and what its overlays say. Helm alone is needed, and no cluster."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dure_hub.backends.kubernetes.requests import number_of
from dure_hub.commands.prepare import NAME
from dure_hub.settings import Settings, resolve_settings
from dure_hub.supervisor.prepare import SECRETS
from tests.cluster import helm
from tests.cluster.charted import asked, containers, of_kind, workloads
from tests.cluster.helm import OVERLAYS, Refused, template
from tools import images as tool

pytestmark = pytest.mark.anywhere

PAGE = helm.ROOT / "docs" / "kubernetes.md"


@pytest.fixture(autouse=True)
def built() -> None:
    """Helm, else nothing can be said."""
    if not helm.program().exists():
        pytest.skip("Helm is not built: make test-cluster.")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"colour": "red"}, "'colour'"),
        ({"images": {"colours": "1"}}, "/images"),
        ({"images": {"tags": {"envoy": ""}}}, "/images/tags/envoy"),
        ({"envoy": {"drainSeconds": 0}}, "/envoy/drainSeconds"),
        ({"images": {"digests": {"portal": "latest"}}}, "/images/digests/portal"),
        ({"images": {"pullPolicy": "Sometimes"}}, "/images/pullPolicy"),
        ({"service": {"type": "Internet"}}, "/service/type"),
        ({"service": {"port": 70000}}, "/service/port"),
        ({"envoy": {"replicas": 0}}, "/envoy/replicas"),
        ({"portal": {"storage": "much"}}, "/portal/storage"),
        ({"portal": {"resources": {"hub": {"requests": {"cpu": 1}}}}}, "/portal/resources/hub"),
        ({"portal": {"secretFiles": {"x": {"secret": "s"}}}}, "/portal/secretFiles/x"),
        ({"portal": {"secretFiles": {"../x": {"secret": "s", "key": "k"}}}}, "../x"),
        ({"portal": {"secretFiles": {"envoy-token": {"secret": "s", "key": "k"}}}}, "envoy-token"),
        ({"namespaces": {"dev": "My Servers"}}, "/namespaces/dev"),
        ({"useKserve": True}, "/useKserve"),
        ({"useGpu": "yes"}, "/useGpu"),
        ({"publicUrl": "dure.example.com"}, "/publicUrl"),
        ({"ingress": {"enabled": True, "host": ""}}, "/ingress/host"),
        ({"httpRoute": {"enabled": True}}, "/httpRoute/parentRefs"),
        ({"database": {"url": "postgresql+psycopg://dure:secret@host/dure"}}, "database.url"),
        ({"database": {"url": "mysql://dure@host/dure"}}, "database.url"),
        ({"networkPolicy": {"private": ["all"]}}, "/networkPolicy/private/0"),
        ({"networkPolicy": {"outside": {"staging": True}}}, "/networkPolicy/outside"),
        ({"networkPolicy": {"dns": {"namespace": "kube-system"}}}, "/networkPolicy/dns"),
        ({"networkPolicy": {"dns": {"pods": [], "cidrs": []}}}, "/networkPolicy/dns"),
        ({"quotas": {"dev": {"pods": 3}}}, "/quotas/dev/pods"),
        ({"limits": {"dev": {"min": {}}}}, "/limits/dev"),
        ({"podMonitors": "maybe"}, "/podMonitors"),
        ({"settings": {"Idle-Timeout": 1}}, "Idle-Timeout"),
        ({"settings": {"host": "10.0.0.1"}}, "settings.host"),
        ({"settings": {"hub_port": 1}}, "settings.hub_port"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(Refused) as refused:
        template(values=values)
    assert named in str(refused.value)
    assert "secret@" not in str(refused.value), "what looks like a password is not shown"


def test_values_that_are_right_are_taken() -> None:
    """Else a schema that refuses everything would pass above."""
    template(values={"service": {"type": "NodePort"}, "settings": {"turn": "hold"}, "envoy": {"replicas": 2}})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_fits_together(overlay: str) -> None:
    """Limits are no less than requests, what the platform asks for fits into its own quota and bounds."""
    objects = template(overlay)
    (bound,) = of_kind(objects, "LimitRange")[("mlops-platform", "dure")]["spec"]["limits"]
    for name, one in containers(objects):
        for what in ("cpu", "memory"):
            request, limit = (number_of(one["resources"][kind][what]) for kind in ("requests", "limits"))
            assert 0 < request <= limit <= number_of(bound["max"][what]), f"{name}: {what}"
    hard = of_kind(objects, "ResourceQuota")[("mlops-platform", "dure")]["spec"]["hard"]
    sums = asked(objects, replaced=True)
    for quota, what in (("requests.cpu", "cpu"), ("requests.memory", "memory"), ("requests.storage", "storage")):
        assert sums[what] <= number_of(hard[quota]), what
    assert 2 * sum(one["spec"]["replicas"] for one in workloads(objects)) < int(hard["pods"])
    for found in of_kind(objects, "LimitRange").values():
        (limit,) = found["spec"]["limits"]
        for what in ("cpu", "memory"):
            least, usual, most = (number_of(limit[kind][what]) for kind in ("defaultRequest", "default", "max"))
            assert least <= usual <= most, found["metadata"]["namespace"]


def test_the_page_says_what_the_minimal_overlay_asks_for() -> None:
    sums = asked(template("minimal"))
    cores, mib, gib = round(sums["cpu"], 3), sums["memory"] / 2**20, sums["storage"] / 2**30
    said = f"{cores:g} cores, {mib:g} MiB of memory and {gib:g} GiB of disk"
    assert said in PAGE.read_text(), said


def test_the_minimal_overlay_is_as_small_as_it_is_said_to_be() -> None:
    small = {
        "postgresql": ("100m", "250m", "128Mi", "256Mi", "5Gi"),
        "redis": ("100m", "200m", "128Mi", "256Mi", "1Gi"),
        "minio": ("100m", "250m", "256Mi", "512Mi", "10Gi"),
    }
    objects = template("minimal", values={"redis": {"enabled": True}, "minio": {"enabled": True}})
    sets = of_kind(objects, "StatefulSet")
    for name, wanted in small.items():
        made = sets[("mlops-platform", f"dure-{name}")]["spec"]
        has = made["template"]["spec"]["containers"][0]["resources"]
        storage = made["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
        cpu, memory = ((has["requests"][what], has["limits"][what]) for what in ("cpu", "memory"))
        assert (*cpu, *memory, storage) == wanted
    usual = of_kind(template("minimal"), "StatefulSet")
    assert {name for _, name in usual} == {"dure-portal", "dure-postgresql"}, "the portal can use no other yet"
    for kind in ("dev", "training", "serving"):
        quota = of_kind(objects, "ResourceQuota")[(f"mlops-{kind}", "dure")]
        hard = quota["spec"]["hard"]
        assert [hard[f"requests.nvidia.com/{name}"] for name in ("gpu", "gpu.shared")] == ["0", "0"]


@pytest.mark.parametrize("use", [True, False])
def test_without_gpus_the_portal_offers_none(use: bool) -> None:
    settings = of_kind(template("minimal", values={"useGpu": use}), "ConfigMap")[
        ("mlops-platform", "dure-settings")
    ]
    assert settings["data"]["DURE_USE_GPU"] == str(use).lower()


def test_images_have_prefix_tag_digest_and_pull_secrets() -> None:
    digest = f"sha256:{'a' * 64}"
    images = {"prefix": "registry.example.com/team", "tag": "1.2", "digests": {"envoy": digest}}
    objects = template(values={"images": {**images, "pullSecrets": ["ours"], "pullPolicy": "Always"}})
    found = {name: one["image"] for name, one in containers(objects)}
    assert found["dure-envoy/envoy"] == f"registry.example.com/team/envoy@{digest}"
    others = {image for name, image in found.items() if name != "dure-envoy/envoy"}
    assert others == {"registry.example.com/team/portal:1.2"}
    for workload in workloads(objects):
        assert workload["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "ours"}]
    assert {one["imagePullPolicy"] for _, one in containers(objects)} == {"Always"}


def test_the_chart_takes_what_make_images_writes(tmp_path: Path) -> None:
    digests = {name: f"sha256:{number:064x}" for number, name in enumerate(tool.images())}
    (tmp_path / "images.yaml").write_text(tool.values("registry.example.com:5000/team/dure", digests))
    objects = template(also=["--values", str(tmp_path / "images.yaml")])
    found = {one["image"].partition("@") for _, one in containers(objects)}
    settings = of_kind(objects, "ConfigMap")[("mlops-platform", "dure-settings")]["data"]
    found.add(settings["DURE_SERVER_IMAGE"].partition("@"))
    prefix = "registry.example.com:5000/team/dure/"
    assert found == {(f"{prefix}{name}", "@", digests[name]) for name in ("envoy", "portal", "singleuser-cpu")}


def test_an_image_without_a_tag_has_the_charts_version() -> None:
    version = yaml.safe_load((helm.CHART / "Chart.yaml").read_text())["appVersion"]
    for values in ({}, {"images": {"tag": ""}}):
        found = {name: one["image"] for name, one in containers(template(values=values))}
        assert {image.rpartition(":")[2] for image in found.values()} == {version}
    theirs = yaml.safe_load((helm.VALUES / "zero-to-jupyterhub.yaml").read_text())["hub"]
    boxes = [*theirs["initContainers"], *theirs["extraContainers"]]
    assert {theirs["image"]["tag"], *(one["image"].rpartition(":")[2] for one in boxes)} == {version}


def test_an_upgrade_replaces_the_portals_pod_and_leaves_envoys_and_the_database_alone(tmp_path: Path) -> None:
    """Envoy keeps people's sockets, where it is told to stay; a newer chart alone is no reason for a pod."""
    newer = tmp_path / "dure"
    shutil.copytree(helm.CHART, newer)
    text = (newer / "Chart.yaml").read_text()
    (newer / "Chart.yaml").write_text(text.replace("0.1.0", "0.2.0"))
    values = {"images": {"tags": {"envoy": "0.1.0"}}}
    before, after = (workloads(template("minimal", values=values, chart=one)) for one in (helm.CHART, newer))
    changed = {
        old["metadata"]["name"]
        for old, new in zip(before, after, strict=True)
        if old["spec"]["template"] != new["spec"]["template"]
    }
    assert changed == {"dure-portal"}
    assert "0.2.0" in str(after), "else nothing was upgraded"


def test_envoy_is_left_by_new_connections_before_its_open_ones_are_cut() -> None:
    pod = _pod(template(values={"envoy": {"drainSeconds": 300}}), "dure-envoy")
    (envoy,) = pod["containers"]
    assert envoy["lifecycle"] == {"preStop": {"sleep": {"seconds": 300}}}
    assert pod["terminationGracePeriodSeconds"] > 300, "else its node ends it in the midst of that"


def settings_of(*overlays: str, **values: Any) -> dict[str, str]:
    """The environment that every process of the portal gets."""
    found = of_kind(template(*overlays, values=values), "ConfigMap")[("mlops-platform", "dure-settings")]["data"]
    return {str(name): str(value) for name, value in found.items()}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_portal_knows_and_takes_what_it_is_given(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings_of(overlay, settings={"turn": "hold", "servers_per_person": 3, "team_borrowing": False})
    names = {name.removeprefix("DURE_").lower() for name in found}
    assert names <= set(Settings.model_fields)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    settings = resolve_settings()
    assert (settings.hub_port, settings.portal_port, settings.port) == (8081, 8082, 8000)
    assert (settings.turn, settings.servers_per_person, settings.team_borrowing) == ("hold", 3, False)
    assert (settings.everywhere, settings.insecure_http, str(settings.data)) == (True, True, "/data/dure")
    assert (settings.on_cluster, settings.kubeconfig, settings.namespace_dev) == (True, None, "mlops-dev")
    assert settings.server_image == "localhost/dure/singleuser-cpu:0.1.0"
    assert str(settings.database_password_file).startswith("/data/dure/secrets/")
    assert settings.database_url.startswith("postgresql+psycopg://dure@")


def test_settings_may_be_lists_and_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"tolerations": [{"key": "gpu", "operator": "Exists"}], "extra_labels": {"team": "vision"}}
    for name, value in settings_of(settings={"kubespawner": options}).items():
        monkeypatch.setenv(name, value)
    assert resolve_settings().kubespawner == options


def test_a_changed_setting_makes_new_pods_and_an_unchanged_one_does_not() -> None:
    def template_of(**values: Any) -> object:
        return of_kind(template(values=values), "StatefulSet")[("mlops-platform", "dure-portal")]["spec"][
            "template"
        ]

    assert template_of() == template_of()
    assert template_of() != template_of(settings={"turn": "hold"})


def test_a_slow_start_is_ended_by_nobody() -> None:
    """What kills a container that does not answer has to know that it has started."""
    for name, one in containers(template("minimal")):
        assert "livenessProbe" not in one or "startupProbe" in one, name


def test_only_what_asks_the_api_server_has_a_token() -> None:
    objects = template("minimal")
    for workload in workloads(objects):
        assert workload["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    place = "/var/run/secrets/kubernetes.io/serviceaccount"
    having = {
        name
        for name, one in containers(objects)
        if any(mount["mountPath"] == place for mount in one["volumeMounts"])
    }
    assert having == {"dure-portal/prepare", "dure-portal/hub", "dure-portal/portal"}


def test_no_password_is_in_an_environment_or_a_command() -> None:
    objects = template("minimal", values={"admin": {"password": "maple-otter-7"}, "redis": {"enabled": True}})
    for one in objects:
        if one["kind"] != "Secret":
            assert "maple-otter-7" not in str(one)
    for name, box in containers(objects):
        assert not [env for env in box.get("env") or () if "valueFrom" in env], name


def test_secrets_of_others_are_used_and_none_is_made() -> None:
    theirs = {"admin": "first", "database": "theirs", "envoy": "ways"}
    objects = template("prod", values={part: {"existingSecret": name} for part, name in theirs.items()})
    assert not of_kind(objects, "Secret")
    portal, envoy = (
        {one["name"]: one["secret"]["secretName"] for one in spec["volumes"] if "secret" in one}
        for name in ("dure-portal", "dure-envoy")
        for spec in [_pod(objects, name)]
    )
    assert (portal, envoy) == (theirs, {"token": "ways"})


def _pod(objects: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = (one for one in workloads(objects) if one["metadata"]["name"] == name)
    return dict(found["spec"]["template"]["spec"])


def test_files_of_others_secrets_are_taken_by_prepare_alone() -> None:
    """As a login provider's: the kubelet mounts it, `dure prepare` keeps it, and nothing else sees the mount."""
    files = {"oidc-secret": {"secret": "login", "key": "secret"}, "oidc-ca": {"secret": "ca", "key": "ca.crt"}}
    settings = {"oidc_client_secret_file": "/data/dure/secrets/oidc-secret"}
    objects = template("minimal", values={"portal": {"secretFiles": files}, "settings": settings})
    pod = _pod(objects, "dure-portal")
    (prepare,) = pod["initContainers"]
    assert {"--secret=oidc-secret=/etc/dure/files/oidc-secret", "--secret=oidc-ca=/etc/dure/files/oidc-ca"} <= {
        *prepare["command"]
    }
    (volume,) = (one for one in pod["volumes"] if one["name"] == "files")
    found = {
        item["path"]: {"secret": source["secret"]["name"], "key": item["key"]}
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    assert found == files
    having = {name for name, one in containers(objects) if "files" in {m["name"] for m in one["volumeMounts"]}}
    assert having == {"dure-portal/prepare"}


def test_the_portals_own_secrets_are_no_names_for_files_of_others() -> None:
    schema = json.loads((helm.CHART / "values.schema.json").read_text())
    names = schema["properties"]["portal"]["properties"]["secretFiles"]["propertyNames"]
    assert set(names["not"]["enum"]) == {*SECRETS, "envoy-token", "database-password"}
    assert names["pattern"] == f"^{NAME.pattern}$"


def test_passwords_outlive_the_release_as_the_volumes_do_that_were_made_with_them() -> None:
    objects = template("minimal", values={"redis": {"enabled": True}, "minio": {"enabled": True}})
    made = {name: one for (_, name), one in of_kind(objects, "Secret").items()}
    assert set(made) == {f"dure-{part}" for part in ("admin", "database", "envoy", "minio", "redis")}
    for name, one in made.items():
        assert one["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}, name
        assert set(one["data"]) == {"password"}, name


def test_namespaces_are_kept_and_closed() -> None:
    found = of_kind(template(also=()), "Namespace")
    assert {name for _, name in found} == {"mlops-dev", "mlops-training", "mlops-serving"}, "Helm's own is there"
    for one in found.values():
        assert one["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        assert one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", "homes are in it"
    assert of_kind(template(values={"namespaces": {"create": False}}), "Namespace") == {}


def test_monitors_are_made_where_the_cluster_has_that_kind() -> None:
    knows = ["--api-versions", "monitoring.coreos.com/v1/PodMonitor"]
    for value, also, there in (("auto", [], 0), ("auto", knows, 1), ("on", [], 1), ("off", knows, 0)):
        found = of_kind(template(values={"podMonitors": value}, also=also), "PodMonitor")
        assert len(found) == there, (value, also)


def test_versions_are_those_of_the_program() -> None:
    project = (helm.ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    chart = (helm.CHART / "Chart.yaml").read_text()
    assert version
    assert f'appVersion: "{version[1]}"' in chart
