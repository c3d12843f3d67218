"""`python -m tests.cluster.provisioner KUBECONFIG FOLDER`: makes volumes for whoever asks for one of this class.

Each is a folder of this machine as a `local` volume: unlike a `hostPath` one, its group is changed to that of the
pod (`fsGroup`), as with a disk. As in most clusters it is made only once the scheduler knows where its first pod
will be.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from kubernetes_asyncio import client, config, watch

NAME = "dure.test/folders"
SELECTED = "volume.kubernetes.io/selected-node"


def make_class(name: str) -> dict[str, Any]:
    """The StorageClass, which is the cluster's default."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": NAME,
        "reclaimPolicy": "Retain",  # what a test has left goes with the cluster's folder
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def node_of(claim: Mapping[str, Any]) -> str | None:
    """On which node this claim wants a volume of ours; None where it wants none, or has one."""
    notes = claim["metadata"].get("annotations") or {}
    ours = notes.get("volume.kubernetes.io/storage-provisioner") == NAME
    return notes.get(SELECTED) if ours and not claim["spec"].get("volumeName") else None


def make_volume(claim: Mapping[str, Any], folder: Path, node: str) -> dict[str, Any]:
    """A volume in this folder, for this claim alone."""
    about, spec = claim["metadata"], claim["spec"]
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{about['uid']}", "annotations": {"pv.kubernetes.io/provisioned-by": NAME}},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                **{key: about[key] for key in ("name", "namespace", "uid")},
            },
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": spec["storageClassName"],
        },
    }


async def provision(kubeconfig: str, folder: Path) -> None:
    """Look at claims, until it is ended."""
    await config.load_kube_config(config_file=kubeconfig)
    async with client.ApiClient() as connection:
        api = client.CoreV1Api(connection)
        async for event in watch.Watch().stream(api.list_persistent_volume_claim_for_all_namespaces):
            claim = event["raw_object"]
            if node := node_of(claim):
                place = folder / claim["metadata"]["uid"]
                place.mkdir(exist_ok=True)
                made: Any = make_volume(claim, place, node)
                try:
                    await api.create_persistent_volume(made)
                except client.ApiException as error:
                    if error.status != HTTPStatus.CONFLICT:  # made already, and not bound yet
                        raise


if __name__ == "__main__":
    asyncio.run(provision(sys.argv[1], Path(sys.argv[2])))
