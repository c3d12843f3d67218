"""Manifests from a `PodSpec`: pure functions, plain JSON as the API takes it.

Every pod satisfies the `restricted` level of Pod Security
(https://kubernetes.io/docs/concepts/security/pod-security-standards/): it runs as a user without privileges, can
gain none, and has no service account's token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dure_hub.backends.kubernetes.marks import BASE, DEVICES, OWNER, POOL, PROJECT, RECORD, TEAM, make_labels
from dure_hub.backends.kubernetes.spec import GROUP, SECRETS, SHM, USER, PodSpec

CONTAINER = "main"
GPUS = "nvidia.com/"


def make_pod(spec: PodSpec) -> dict[str, Any]:
    """The whole pod. It is never restarted by the cluster: what ends has ended, and the portal says why."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": spec.name,
            "namespace": spec.namespace,
            "labels": labels_of(spec),
            "annotations": make_annotations(spec),
            "finalizers": [RECORD],
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": spec.grace_s,
            "securityContext": make_pod_security(),
            "containers": [make_container(spec)],
            "volumes": make_volumes(spec),
            "tolerations": make_tolerations(spec),
            **make_placement(spec),
            **({"imagePullSecrets": [{"name": name} for name in spec.pull_secrets]} if spec.pull_secrets else {}),
        },
    }


def labels_of(spec: PodSpec) -> dict[str, str]:
    """By what the pod is found."""
    return make_labels(
        portal=spec.portal,
        lease=spec.lease,
        kind=spec.kind,
        owner=spec.owner,
        team=spec.team,
        project=spec.project,
        queue=spec.queue,
        priority=spec.priority,
    )


def make_annotations(spec: PodSpec) -> dict[str, str]:
    """Whose it is in full, and what it holds."""
    said = {
        OWNER: spec.owner,
        TEAM: spec.team,
        PROJECT: spec.project,
        DEVICES: ",".join(spec.devices),
        BASE: spec.base,
    }
    return {key: value for key, value in said.items() if value}


def make_pod_security() -> dict[str, Any]:
    """Of the pod. Volumes are its group's, so that a claim that was just made can be written to."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": GROUP,
        "fsGroup": GROUP,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def make_container_security() -> dict[str, Any]:
    """Of each container."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "privileged": False}


def make_container(spec: PodSpec) -> dict[str, Any]:
    """The one container of a pod."""
    made: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.image,
        "env": make_environment(spec),
        "resources": make_resources(spec),
        "securityContext": make_container_security(),
        "volumeMounts": make_mounts(spec),
    }
    if spec.secret is not None:
        made["envFrom"] = [{"secretRef": {"name": spec.secret}}]
    if spec.command:
        made["command"] = list(spec.command)
    if spec.port is not None:
        made["ports"] = [{"name": "http", "containerPort": spec.port}]
    if spec.pull_policy is not None:
        made["imagePullPolicy"] = spec.pull_policy
    return made


def make_environment(spec: PodSpec) -> list[dict[str, str]]:
    """Its environment, sorted; of a share of a GPU also what keeps it to that. What is secret is in its Secret."""
    found = dict(spec.environment)
    if spec.mps is not None:
        share, memory_mb = spec.mps
        found["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = f"{share / 10:g}"
        if memory_mb is not None:
            found["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"0={memory_mb}M"
    return [{"name": key, "value": found[key]} for key in sorted(found)]


def make_resources(spec: PodSpec) -> dict[str, dict[str, str]]:
    """What it asks for is what it gets, so that it is evicted last; but for cores that are shared."""
    limits = {"cpu": f"{round(spec.cores * 1000)}m", "memory": f"{spec.memory_mb}Mi"}
    limits |= {name: str(count) for name, count in sorted(spec.resources.items())}
    return {"requests": {**limits, "cpu": f"{round(spec.cores * spec.share * 1000)}m"}, "limits": limits}


def make_volumes(spec: PodSpec) -> list[dict[str, Any]]:
    """Shared memory, its claims, its Secret. What lies in shared memory counts as memory of the pod."""
    volumes: list[dict[str, Any]] = []
    if not _is_by_mps(spec):
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{spec.shm_mb}Mi"}})
    for number, mount in enumerate(spec.mounts):
        claim = {"claimName": mount.claim, **({"readOnly": True} if mount.read_only else {})}
        volumes.append({"name": f"claim-{number}", "persistentVolumeClaim": claim})
    if spec.secret is not None:
        # of the group alone, which is the pod's own
        volumes.append({"name": "secret", "secret": {"secretName": spec.secret, "defaultMode": 0o440}})
    return volumes


def _is_by_mps(spec: PodSpec) -> bool:
    """Whether NVIDIA's device plugin mounts the shared memory: that of the MPS daemon, through which its clients
    speak with it. One of the pod's own at the same path would hide it.
    """
    return spec.mps is not None


def make_mounts(spec: PodSpec) -> list[dict[str, Any]]:
    """Where the volumes are."""
    mounts: list[dict[str, Any]] = [] if _is_by_mps(spec) else [{"name": "shm", "mountPath": SHM}]
    for number, mount in enumerate(spec.mounts):
        made = {"name": f"claim-{number}", "mountPath": mount.path}
        mounts.append({**made, "readOnly": True} if mount.read_only else made)
    if spec.secret is not None:
        mounts.append({"name": "secret", "mountPath": SECRETS, "readOnly": True})
    return mounts


def make_tolerations(spec: PodSpec) -> list[dict[str, Any]]:
    """Nodes of its pool, and nodes with GPUs for who asks for some, may keep all others away."""
    made = [dict(one) for one in spec.tolerations]
    if spec.pool:
        made.append({"key": POOL, "operator": "Equal", "value": spec.pool, "effect": "NoSchedule"})
    if any(name.startswith(GPUS) for name in spec.resources):
        made.append({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"})
    return made


def make_placement(spec: PodSpec) -> dict[str, Any]:
    """Where it may run: on the node where its slice is, else on one with these labels, of its pool or of none."""
    placed: dict[str, Any] = {}
    if spec.labels:
        placed["nodeSelector"] = dict(spec.labels)
    if spec.node:  # by its name, since what its label says of its host may be something else
        named = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [spec.node]}]}
        placed["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [named]}}
        }
    elif spec.pool:
        own = {"key": POOL, "operator": "In", "values": [spec.pool]}
        placed["affinity"] = {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [_term(own), _term({"key": POOL, "operator": "DoesNotExist"})]
                },
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": _term(own)}],
            }
        }
    return placed


def _term(*expressions: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
    return {"matchExpressions": list(expressions)}


def make_home_claim(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    size_gb: int,
    storage_class: str | None,
    access: str = "ReadWriteOnce",
) -> dict[str, Any]:
    """The claim of somebody's home. It outlives every pod."""
    wanted: dict[str, Any] = {
        "accessModes": [access],
        "resources": {"requests": {"storage": f"{size_gb}Gi"}},
    }
    if storage_class is not None:
        wanted["storageClassName"] = storage_class
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels)}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": wanted}


def make_secret(spec: PodSpec, values: Mapping[str, str]) -> dict[str, Any]:
    """The Secret of a pod, found as the pod is."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": spec.secret, "namespace": spec.namespace, "labels": labels_of(spec)},
        "type": "Opaque",
        "stringData": dict(values),
    }
