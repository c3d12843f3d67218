"""What the tests of the chart ask of its objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dure_hub.backends.kubernetes.requests import number_of, requests_of

Object = Mapping[str, Any]


def of_kind(objects: Sequence[Object], kind: str) -> dict[tuple[str, str], Object]:
    """Those of one kind, by namespace and name."""
    found = (one for one in objects if one["kind"] == kind)
    return {(one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in found}


def workloads(objects: Sequence[Object]) -> list[Object]:
    """What makes pods."""
    return [one for one in objects if one["kind"] in ("Deployment", "StatefulSet")]


def pod_of(workload: Object) -> dict[str, Any]:
    """The pod that it makes, with the claims of its own."""
    name, template = workload["metadata"]["name"], workload["spec"]["template"]
    volumes = list(template["spec"].get("volumes") or ())
    for claim in workload["spec"].get("volumeClaimTemplates") or ():
        own = claim["metadata"]["name"]
        volumes.append({"name": own, "persistentVolumeClaim": {"claimName": f"{own}-{name}-0"}})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": name, "namespace": workload["metadata"]["namespace"]},
        "spec": {**template["spec"], "volumes": volumes},
    }


def containers(objects: Sequence[Object]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each container with `workload/container`."""
    for workload in workloads(objects):
        spec = workload["spec"]["template"]["spec"]
        for one in (*(spec.get("initContainers") or ()), *spec["containers"]):
            yield f"{workload['metadata']['name']}/{one['name']}", one


def asked(objects: Sequence[Object], replaced: bool = False) -> dict[str, float]:
    """What all pods ask for, in cores and bytes, as the scheduler counts it, and what their claims ask for.

    While Envoy is `replaced`, its old pods may all be there yet, with what is open through them.
    """
    sums = Counter[str]()
    for workload in workloads(objects):
        pods = workload["spec"]["replicas"] * (2 if replaced and workload["kind"] == "Deployment" else 1)
        for name, amount in requests_of(pod_of(workload)).items():
            sums[name] += amount * pods
        for claim in workload["spec"].get("volumeClaimTemplates") or ():
            sums["storage"] += number_of(claim["spec"]["resources"]["requests"]["storage"]) * pods
    return dict(sums)
