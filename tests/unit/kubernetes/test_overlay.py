"""A pod of ours laid over what an administrator's options of KubeSpawner ask for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from dure.wire.ids import new_id
from dure_hub.backends.base import ServerWork
from dure_hub.backends.kubernetes.overlay import laid_over
from dure_hub.backends.kubernetes.pods import make_pod, make_secret
from dure_hub.backends.kubernetes.specs import home_claim, server_spec
from dure_hub.settings import Settings

SETTINGS = Settings(backend="kubernetes", server_image="registry/lab:1", instance="0123456789ab")
WORK = ServerWork(
    lease=new_id(),
    owner="ana",
    folder=Path("/"),
    environment={
        "JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:{port}/user/ana/",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/ana/",
    },
    secrets={"JUPYTERHUB_API_TOKEN": "s3cret"},
    cores=2.0,
    memory_mb=2048,
    node="gpu-1",
    devices=["gpu-1/nvidia.com/mig-1g.10gb/0"],
)
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "jupyterhub", "dure/owner": "eve"}, "annotations": {"theirs": "yes"}},
    "spec": {
        "hostNetwork": True,
        "serviceAccountName": "admin",
        "automountServiceAccountToken": True,
        "containers": [
            {
                "name": "notebook",
                "image": "other",
                "args": ["--theirs"],
                "env": [
                    {"name": "JUPYTERHUB_API_TOKEN", "value": "s3cret"},
                    {"name": "OMP_NUM_THREADS", "value": "4"},
                    {"name": "HOME", "value": "/elsewhere"},
                ],
                "resources": {"limits": {"nvidia.com/gpu": "8"}},
                "securityContext": {"privileged": True},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "lifecycle": {"postStart": {"exec": {"command": ["true"]}}},
            },
            {"name": "beside", "image": "side", "securityContext": {"runAsUser": 0, "privileged": True}},
        ],
        "initContainers": [{"name": "first", "image": "init"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "tolerations": [{"key": "theirs", "operator": "Exists"}],
    },
}


def laid() -> dict[str, Any]:
    spec = server_spec(SETTINGS, WORK)
    return laid_over(TEMPLATE, make_pod(spec), spec.hidden)


def test_no_secret_is_in_a_pod_whatever_its_template_says() -> None:
    assert "s3cret" not in json.dumps(laid())
    secret = make_secret(server_spec(SETTINGS, WORK), WORK.secrets)
    assert secret["stringData"] == {"JUPYTERHUB_API_TOKEN": "s3cret"}


def test_what_the_portal_decides_stays_and_the_rest_is_added() -> None:
    pod = laid()
    (main,) = pod["spec"]["containers"]
    assert main["image"] == "registry/lab:1"
    assert main["resources"]["limits"] == {"cpu": "2000m", "memory": "2048Mi", "nvidia.com/mig-1g.10gb": "1"}
    assert main["resources"]["requests"]["cpu"] == "1000m", "cores are promised twice"
    environment = {one["name"]: one["value"] for one in main["env"]}
    assert environment["HOME"] == "/home/jovyan"
    assert environment["OMP_NUM_THREADS"] == "4"
    assert environment["JUPYTERHUB_SERVICE_URL"] == "http://0.0.0.0:8888/user/ana/"
    assert main["lifecycle"] == {"postStart": {"exec": {"command": ["true"]}}}
    assert {one["mountPath"] for one in main["volumeMounts"]} >= {"/data", "/dev/shm", "/home/jovyan"}  # noqa: S108
    assert {one["key"] for one in pod["spec"]["tolerations"]} >= {"theirs", "nvidia.com/gpu"}
    assert pod["metadata"]["labels"]["dure/owner"] == "ana"
    assert pod["metadata"]["labels"]["app"] == "jupyterhub"


def test_nobody_gets_more_rights_by_a_template() -> None:
    spec = laid()["spec"]
    assert "hostNetwork" not in spec
    assert "serviceAccountName" not in spec
    assert spec["automountServiceAccountToken"] is False
    first, beside = spec["initContainers"]
    assert first["name"] == "first"
    assert beside["restartPolicy"] == "Always", "a sidecar, which ends with the server"
    assert beside["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
    }
    assert spec["containers"][0]["securityContext"]["privileged"] is False


def test_without_a_template_it_is_the_pod() -> None:
    pod = make_pod(server_spec(SETTINGS, WORK))
    assert laid_over({}, pod) == pod


def test_a_home_is_its_owners_and_may_be_left_out() -> None:
    spec = server_spec(SETTINGS, replace(WORK, owner="Ana@Example.org"))
    (mount,) = spec.mounts
    assert mount.claim == home_claim("Ana@Example.org") != home_claim("ana@example.org")
    assert not server_spec(SETTINGS.model_copy(update={"home_size_gb": 0}), WORK).mounts
