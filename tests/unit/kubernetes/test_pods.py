"""Pods as they are made. What an API server says of them is for the cluster's tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dure_hub.backends.base import Kind, ServerWork
from dure_hub.backends.kubernetes import pods
from dure_hub.backends.kubernetes.marks import lease_of
from dure_hub.backends.kubernetes.spec import HOME, SHM, Mount, PodSpec
from dure_hub.backends.kubernetes.specs import home_claim, server_spec
from dure_hub.catalogue.profiles import Volume
from dure_hub.settings import Settings

SPEC = PodSpec(
    portal="p1",
    name="dev-vision-lab-1",
    namespace="mlops-dev",
    lease="01HX",
    kind=Kind.SERVER,
    owner="ana@example.com",
    image="registry.example/singleuser:1",
    command=["jupyterhub-singleuser"],
    environment={"B": "2", "A": "1"},
    team="vision",
    cores=1.5,
    memory_mb=4096,
    resources={"nvidia.com/mig-1g.10gb": 1},
    devices=["n1/nvidia.com/mig-1g.10gb/3"],
    shm_mb=2048,
    node="n1",
    pool="development",
    mounts=[Mount("home-ana", "/home/jovyan"), Mount("data", "/data/digits", read_only=True)],
    secret="dev-vision-lab-1",
    port=8888,
)


def made(**changes: Any) -> dict[str, Any]:
    """The pod of the spec with these changes."""
    return pods.make_pod(replace(SPEC, **changes))


def test_what_it_asks_for_is_its_limit() -> None:
    (container,) = made()["spec"]["containers"]
    asked = {"cpu": "1500m", "memory": "4096Mi", "nvidia.com/mig-1g.10gb": "1"}
    assert container["resources"] == {"requests": asked, "limits": asked}


def test_it_is_marked_with_its_lease_and_a_person_keeps_the_whole_name() -> None:
    metadata = made()["metadata"]
    assert lease_of({"metadata": metadata}, "p1") == "01HX"
    assert metadata["labels"]["dure/owner"].startswith("ana-example-com--")
    assert metadata["annotations"]["dure/owner"] == "ana@example.com"
    assert metadata["annotations"]["dure/devices"] == "n1/nvidia.com/mig-1g.10gb/3"
    assert lease_of({"metadata": {"labels": {"dure/lease": "01HX"}}}, "p1") is None, "somebody else's label"
    assert lease_of({"metadata": {}}, "p1") is None


def test_kueue_is_asked_only_where_it_has_a_queue() -> None:
    assert not [key for key in made(priority="training")["metadata"]["labels"] if "kueue" in key]
    labels = made(queue="vision", priority="training")["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "vision"
    assert labels["kueue.x-k8s.io/priority-class"] == "training"


def test_it_goes_to_the_node_of_its_slice() -> None:
    spec = made()["spec"]
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    assert "nodeSelector" not in spec, "a label may say another name"


def test_without_a_slice_it_goes_to_its_pool_or_to_none() -> None:
    spec = made(node=None, resources={}, labels={"kubernetes.io/arch": "amd64"})["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    said = [term["matchExpressions"][0]["operator"] for term in required["nodeSelectorTerms"]]
    assert said == ["In", "DoesNotExist"]
    assert "nodeSelector" not in made(node=None)["spec"]


@pytest.mark.parametrize(
    ("resources", "keys"), [({"nvidia.com/gpu": 1}, ["dure/pool", "nvidia.com/gpu"]), ({}, ["dure/pool"])]
)
def test_only_who_asks_for_gpus_goes_to_nodes_that_keep_others_away(
    resources: dict[str, int], keys: list[str]
) -> None:
    assert [one["key"] for one in made(resources=resources)["spec"]["tolerations"]] == keys


def test_its_workers_share_memory_and_a_secret_is_a_file() -> None:
    spec = made()["spec"]
    (container,) = spec["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes[mounts[SHM]["name"]]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2048Mi"}
    assert mounts["/data/digits"]["readOnly"] is True
    assert volumes[mounts["/data/digits"]["name"]]["persistentVolumeClaim"] == {
        "claimName": "data",
        "readOnly": True,
    }
    assert "readOnly" not in mounts["/home/jovyan"]
    assert volumes["secret"]["secret"]["defaultMode"] == 0o440
    assert [one["name"] for one in container["env"]] == ["A", "B"]


def test_a_share_of_a_gpu_is_kept_to_it() -> None:
    (container,) = made(mps=(250, 5120))["spec"]["containers"]
    said = {one["name"]: one["value"] for one in container["env"]}
    assert said["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "25"
    assert said["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=5120M"
    (container,) = made(mps=(500, None))["spec"]["containers"]
    assert "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT" not in {one["name"] for one in container["env"]}


def test_beside_mps_its_shared_memory_is_what_the_device_plugin_mounts() -> None:
    spec = made(mps=(250, 5120))["spec"]
    (container,) = spec["containers"]
    assert SHM not in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert not [volume for volume in spec["volumes"] if "emptyDir" in volume]


def test_what_is_not_said_is_not_there() -> None:
    spec = made(command=(), port=None, secret=None, mounts=())["spec"]
    (container,) = spec["containers"]
    assert not {"command", "ports", "imagePullPolicy"} & container.keys()
    assert [volume["name"] for volume in spec["volumes"]] == ["shm"]
    assert "imagePullSecrets" not in spec
    assert made(pull_secrets=["ours"])["spec"]["imagePullSecrets"] == [{"name": "ours"}]


def test_a_home_outlives_its_pods() -> None:
    claim = pods.make_home_claim("home-ana", "mlops-dev", {"a": "b"}, 10, "fast")
    assert claim["spec"]["resources"]["requests"] == {"storage": "10Gi"}
    assert claim["spec"]["storageClassName"] == "fast"
    assert "storageClassName" not in pods.make_home_claim("h", "n", {}, 1, None)["spec"]


def test_a_profile_brings_volumes_and_shared_memory_into_the_pod() -> None:
    settings = Settings(backend="kubernetes", server_image="registry.example/first:1")
    volumes = (Volume("imagenet", "/data/imagenet"), Volume("scratch", "/mnt/scratch", read_only=False))
    work = ServerWork("01HX", "ana", Path("/"), {}, memory_mb=4096, image="other:1", volumes=volumes, shm_mb=512)
    spec = server_spec(settings, work)
    assert spec.mounts == [
        Mount(home_claim("ana"), HOME),
        Mount("imagenet", "/data/imagenet", read_only=True),
        Mount("scratch", "/mnt/scratch"),
    ]
    assert (spec.image, spec.shm_mb) == ("other:1", 512)
    pod = pods.make_pod(spec)["spec"]
    (claim,) = (
        one for one in pod["volumes"] if one.get("persistentVolumeClaim", {}).get("claimName") == "imagenet"
    )
    assert claim["persistentVolumeClaim"]["readOnly"] is True, "else its files would be made the group's"
    assert server_spec(settings, replace(work, shm_mb=None)).shm_mb == 2048
    assert server_spec(settings, replace(work, shm_mb=9999)).shm_mb == 4096, "it is a part of its memory"
    homeless = settings.model_copy(update={"home_size_gb": 0})
    assert [mount.claim for mount in server_spec(homeless, work).mounts] == ["imagenet", "scratch"]
