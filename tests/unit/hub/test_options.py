"""Options of KubeSpawner that cannot be meant, and those without effect, against pods that KubeSpawner makes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio.client import ApiClient
from kubespawner import KubeSpawner  # type: ignore[import-untyped]
from traitlets.config import Config

from dure.wire.ids import new_id
from dure_hub.backends.base import ServerWork
from dure_hub.backends.kubernetes.overlay import laid_over
from dure_hub.backends.kubernetes.pods import make_pod
from dure_hub.backends.kubernetes.specs import server_spec
from dure_hub.settings import Settings
from dure_hub.spawners import options
from tests.unit.commands.test_prepare import prepare

SETTINGS = Settings(
    backend="kubernetes", server_image="registry/lab:1", instance="0123456789ab", image_pull_policy="Always"
)
WORK = ServerWork(lease=new_id(), owner="ana", folder=Path("/"), environment={}, node="n")
BOX = {"name": "beside", "image": "side"}
TERM = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
POD_TERM = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}
SAMPLES: Mapping[str, Any] = {
    "allow_privilege_escalation": True,
    "automount_service_account_token": True,
    "cmd": ["other"],
    "common_labels": {"a": "b"},
    "component_label": "other",
    "container_security_context": {"runAsUser": 0},
    "cpu_guarantee": 3,
    "cpu_limit": 3,
    "environment": {"OMP_NUM_THREADS": "4"},
    "extra_annotations": {"a": "b"},
    "extra_container_config": {"stdin": True},
    "extra_containers": [BOX],
    "extra_labels": {"a": "b"},
    "extra_pod_config": {"runtimeClassName": "kata"},
    "extra_resource_guarantees": {"x/y": "1"},
    "extra_resource_limits": {"x/y": "1"},
    "fs_gid": 7,
    "gid": 7,
    "image": "other",
    "image_pull_secrets": ["theirs"],
    "init_containers": [BOX],
    "lifecycle_hooks": {"postStart": {"exec": {"command": ["true"]}}},
    "mem_guarantee": "3G",
    "mem_limit": "3G",
    "namespace": "other",
    "pod_affinity_preferred": [{"weight": 1, "podAffinityTerm": POD_TERM}],
    "pod_affinity_required": [POD_TERM],
    "pod_anti_affinity_preferred": [{"weight": 1, "podAffinityTerm": POD_TERM}],
    "pod_anti_affinity_required": [POD_TERM],
    "pod_name_template": "other",
    "pod_security_context": {"runAsUser": 0},
    "port": 9999,
    "priority_class_name": "high",
    "privileged": True,
    "scheduler_name": "other",
    "service_account": "admin",
    "supplemental_gids": [7],
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "uid": 7,
    "volume_mounts": [{"name": "data", "mountPath": "/data"}],
    "volumes": [{"name": "data", "emptyDir": {}}],
    "working_dir": "/work",
}
"""A value of each option that is about a pod."""


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks for a cluster as soon as it is made, and none is asked here."""
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)


async def laid(given: Mapping[str, Any]) -> dict[str, Any]:
    """Our pod over the one that KubeSpawner makes of these options."""
    made = KubeSpawner(_mock=True, config=Config({"KubeSpawner": dict(given)}))
    made.get_env = lambda: dict(made.environment)  # of the hub itself there is none
    async with ApiClient() as client:
        template = client.sanitize_for_serialization(await made.get_pod_manifest())
    spec = server_spec(SETTINGS, WORK)
    return laid_over(template, make_pod(spec), spec.hidden)


@pytest.mark.parametrize("name", SAMPLES)
async def test_what_has_no_effect_is_what_changes_no_pod(name: str) -> None:
    given = {name: SAMPLES[name]}
    options.check(given)
    changed = await laid(given) != await laid({})
    assert changed is (options.without_effect(given) == []), name


@pytest.mark.parametrize(
    ("outer", "field", "value"),
    [
        *(("extra_pod_config", name, {"runAsUser": 0}) for name in ("securityContext",)),
        *(("extra_pod_config", name, "admin") for name in ("serviceAccount", "serviceAccountName")),
        *(
            ("extra_pod_config", name, True)
            for name in ("hostNetwork", "hostPID", "hostIPC", "enableServiceLinks")
        ),
        ("extra_pod_config", "dnsPolicy", "Default"),
        *(("extra_container_config", name, {"limits": {"x/y": "1"}}) for name in ("resources", "securityContext")),
        ("extra_container_config", "image", "other"),
        ("extra_container_config", "command", ["other"]),
        ("extra_container_config", "tty", True),
    ],
)
async def test_so_it_is_with_what_a_pod_is_given_besides(outer: str, field: str, value: Any) -> None:
    given = {outer: {field: value}}
    changed = await laid(given) != await laid({})
    assert changed is (options.without_effect(given) == []), field


@pytest.mark.parametrize(
    "given",
    [
        {"node_selector": {"kubernetes.io/arch": "amd64"}},
        {"node_affinity_required": [TERM]},
        {"node_affinity_preferred": [{"weight": 1, "preference": TERM}]},
        {"extra_pod_config": {"nodeSelector": {"a": "b"}}},
        {"extra_pod_config": {"nodeName": "n2"}},
        {"extra_pod_config": {"affinity": {"nodeAffinity": {}}}},
    ],
)
def test_who_chooses_nodes_beside_the_portal_is_refused(given: dict[str, Any]) -> None:
    """Its pod would be kept from the node that its lease names, for good."""
    with pytest.raises(options.BadOption, match=r"the portal chooses the node") as found:
        options.check(given)
    assert next(iter(given)) in found.value.text()
    assert "노드" in found.value.text("ko")


def test_every_name_that_is_said_to_have_no_effect_is_an_option() -> None:
    known = set(KubeSpawner.class_traits(config=True))
    assert known >= options.DECIDED | options.PLACING | set(SAMPLES)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"tolerationss": []}, "tolerationss: KubeSpawner has no such option; most like it: tolerations"),
        ({"tolerations": "gpu"}, "tolerations: The 'tolerations' trait"),
        ({"mem_limit": "lots"}, "lots is not a valid memory specification"),
    ],
)
def test_an_unknown_option_or_value_ends_prepare_and_is_named(
    tmp_path: Path, given: dict[str, Any], named: str
) -> None:
    """In the hub it would be a line of its log, or the failure of everybody's start."""
    pod = {"DURE_BACKEND": "kubernetes", "DURE_SERVER_IMAGE": "x", "DURE_XDS_PORT": "28085", **_options(given)}
    done = prepare(tmp_path / "d", **pod)
    assert (done.returncode, named in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr
    assert not (tmp_path / "d" / "db" / "dure.sqlite").exists(), "no database was made or changed"


def _options(given: Mapping[str, Any]) -> dict[str, str]:
    assert "DURE_KUBESPAWNER" not in os.environ
    return {"DURE_KUBESPAWNER": json.dumps(given)}
