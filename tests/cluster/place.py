"""Pods of a real cluster as a place of the contract that all backends keep (`tests/contract/backends/kit.py`)."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from dure.wire.ids import new_id
from dure_hub.backends.base import (
    ExecutionWork,
    Feature,
    Handle,
    InventoryBackend,
    Kind,
    ServerWork,
    ServingWork,
    TrainingWork,
    Work,
)
from dure_hub.backends.kubernetes.connecting import cluster_of
from dure_hub.backends.kubernetes.errors import PodEnded
from dure_hub.backends.kubernetes.inventory import ClusterInventory
from dure_hub.backends.kubernetes.marks import LEASE, PORTAL
from dure_hub.backends.kubernetes.mirror import PODS, Mirror
from dure_hub.backends.kubernetes.missing import NoExecutions, NoServing, NoTraining
from dure_hub.backends.kubernetes.servers import KubernetesServers
from dure_hub.settings import Settings
from tests.cluster.control_plane import ControlPlane
from tests.cluster.node import PROBE
from tests.contract.backends.kit import Place

SPACE = "contract"
MIG = "nvidia.com/mig-1g.10gb"
HERE, CONTRACT = "tests/cluster", "tests/contract/backends/test_capabilities.py"
TOKEN = "s3cret"


class KubernetesPlace(Place):
    """Pods of the probe, each test's with a portal of its own; all are in one namespace."""

    devices = (f"real/{MIG}/0", f"real/{MIG}/1")
    many = 10
    ends_early = (PodEnded,)
    exercised: Mapping[Feature, str] = {
        Feature.GPU: f"{HERE}/test_runs.py::test_it_has_the_slice_of_its_lease",
        Feature.MEMORY_LIMIT: f"{CONTRACT}::test_who_takes_more_memory_than_the_lease_has_is_ended_for_that",
        Feature.CPU_LIMIT: f"{CONTRACT}::test_the_kernel_keeps_it_to_its_cores",
        Feature.USER_ISOLATION: f"{HERE}/test_pods.py"
        "::test_pods_of_every_kind_are_admitted_where_restricted_is_enforced",
        Feature.GPU_SHARING: "tests/unit/kubernetes/test_stock.py::test_shared_gpus_are_cards_with_places",
        Feature.VOLUMES: f"{HERE}/test_profiles.py"
        "::test_its_data_is_there_to_read_and_its_shared_memory_is_as_large_as_said",
        Feature.CONTAINER_IMAGES: f"{HERE}/test_profiles.py"
        "::test_by_team_any_image_is_a_pod_of_that_image_with_its_own_command",
        Feature.OWN_TMP: f"{CONTRACT}::test_what_one_leaves_in_tmp_another_does_not_find",
    }

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self.settings = Settings(
            data=folder / "data",
            instance=os.urandom(6).hex(),
            backend="kubernetes",
            kubeconfig=plane.kubeconfig,
            server_image=PROBE,
            image_pull_policy="Never",
            home_size_gb=0,
            namespace_dev=SPACE,
            namespace_training=SPACE,
            namespace_serving=SPACE,
            pod_start_s=120,
            cpu_overcommit=16,  # of two cores many pods are made
        )
        self.cluster = cluster_of(self.settings)
        self.pods = Mirror(self.cluster, PODS)
        """All backends share its connections and what is followed, and nothing else."""

    def servers(self) -> KubernetesServers:
        return KubernetesServers(self.settings, self.cluster, self.pods)

    def training(self) -> NoTraining:
        return NoTraining(self.settings, self.cluster)

    def serving(self) -> NoServing:
        return NoServing(self.settings, self.cluster)

    def executions(self) -> NoExecutions:
        return NoExecutions(self.settings, self.cluster)

    async def close(self) -> None:
        """Follow and ask no more."""
        self.pods.close()
        await self.cluster.close()

    def inventory(self) -> InventoryBackend:
        return ClusterInventory(self.cluster, self.settings.instance)

    def make_work(self, kind: Kind, stub: str = "serve", **changes: Any) -> Work:
        environment = {"STUB": stub, **changes.pop("variables", {})}
        common = {"lease": new_id(), "owner": "ann", "folder": Path("/"), "environment": environment}
        small = {"cores": 0.5, "memory_mb": 64}
        if kind is Kind.JOB:
            return TrainingWork(**{**common, **small, **changes})
        if kind is Kind.MODEL:
            return ServingWork(**{**common, **small, **changes})
        if kind is Kind.EXECUTION:
            return ExecutionWork(**{**common, **small, **changes})
        command = ["/program", "stub", "{port}"]
        token = {"api_token": TOKEN, "secrets": {"JUPYTERHUB_API_TOKEN": TOKEN}}
        return ServerWork(**{"command": command, **token, **common, **small, **changes})

    def waits(self) -> Sequence[str]:
        return ["/program", "wait"]

    def says(self, text: str) -> Sequence[str]:
        return ["/program", "say", text]

    async def marks(self) -> Collection[str]:
        """Also of a Secret, and of a pod that has ended and is not forgotten."""
        found = (
            self.plane.get(
                f"/api/v1/namespaces/{SPACE}/{things}", labelSelector=f"{PORTAL}={self.settings.instance}"
            )
            for things in ("pods", "secrets")
        )
        return {one["metadata"]["labels"][LEASE] for things in found for one in things["items"]}

    async def given(self, handle: Handle) -> Sequence[str]:
        """As the scheduler and the kubelet counted."""
        pod = self.plane.get(f"/api/v1/namespaces/{SPACE}/pods/{handle.where['name']}")
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        return [f"{pod['spec']['nodeName']}/{MIG}/{number}" for number in range(int(limits.get(MIG, 0)))]
