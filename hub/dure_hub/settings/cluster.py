"""Where the portal's work runs: on this machine, or as pods of a Kubernetes cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

_LABEL = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"


class OnCluster(BaseModel):
    """A cluster, and how pods are made on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: Literal["embedded", "kubernetes"] = Field(
        "embedded", description="Where servers run: on this machine, or as pods of a Kubernetes cluster."
    )
    kubeconfig: Path | None = Field(
        None, description="File that says how to reach the cluster; without it, the portal is a pod of it itself."
    )
    namespace_dev: str = Field("mlops-dev", pattern=_LABEL, description="Namespace of people's servers.")
    namespace_training: str = Field("mlops-training", pattern=_LABEL, description="Namespace of jobs.")
    namespace_serving: str = Field("mlops-serving", pattern=_LABEL, description="Namespace of model servers.")
    server_image: str = Field(
        "",
        validate_default=True,
        description="Container image of a server on a cluster, where no image of `images` names another.",
    )
    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = Field(
        "", description="When a node fetches an image; empty is as the cluster does."
    )
    image_pull_secrets: list[str] = Field([], description="Names of Secrets with which nodes fetch images.")
    pods_url: str = Field(
        "",
        pattern=r"^(https?://[^/\s]+)?$",
        description="Address at which a cluster's pods reach the portal; empty is the front port's own.",
    )
    pod_start_s: int = Field(
        600,
        ge=5,
        le=86400,
        description="How long a pod may take to begin once it has a node, its image fetched (s).",
    )
    node_wait_s: int = Field(
        60,
        ge=1,
        le=86400,
        description="How long a server's pod may wait for a node, before it waits in line again (s).",
    )
    retry_pause_s: int = Field(
        120,
        ge=1,
        le=3600,
        description="How long what a quota of the cluster refused is not tried again, and a node that took no pod "
        "is given none of that profile (s).",
    )
    kueue_admission_s: int = Field(
        60,
        ge=1,
        le=86400,
        description="How long Kueue may hold a server's pod back, before it waits in line again (s).",
    )
    kueue_pause_s: int = Field(
        120, ge=1, le=86400, description="How long what Kueue did not admit is not tried again (s)."
    )
    kueue_apply_s: int = Field(
        0,
        ge=0,
        le=86400,
        description="How often the portal brings Kueue's objects to its quotas (s); 0 leaves that to "
        "`dure kueue --apply`.",
    )
    home_size_gb: int = Field(
        10, ge=0, description="Size of the volume that is a person's home on a cluster (GiB); 0 keeps nothing."
    )
    storage_class: str = Field("", description="StorageClass of these volumes; empty is the cluster's own choice.")
    home_access: Literal["ReadWriteOnce", "ReadWriteMany"] = Field(
        "ReadWriteOnce",
        description="Access mode of these volumes; with ReadWriteOnce a person's servers are put on one node.",
    )
    kubespawner: dict[str, Any] = Field(
        {},
        description="Options of KubeSpawner for people's servers, as `volumes`, `init_containers`, `tolerations`; "
        "what the portal decides itself stays.",
    )

    use_gpu: bool = Field(
        True,
        description="Whether a cluster's GPUs are offered; off, nobody is given one, whatever its nodes have.",
    )

    prometheus_url: str = Field(
        "",
        pattern=r"^(https?://[^\s?#@]+)?$",
        description="Prometheus that reads the cluster's DCGM exporter, as `http://prometheus.monitoring:9090`: "
        "by it the portal sees how busy GPUs are. Empty is unknown.",
    )
    prometheus_token_file: Path | None = Field(
        None, description="File with the token that it is shown as `Authorization: Bearer`; none shows none."
    )

    @field_validator("kubeconfig", "prometheus_token_file")
    @classmethod
    def _whole_config(cls, path: Path | None) -> Path | None:
        """Processes that start in other folders must find the same file."""
        return None if path is None else path.expanduser().resolve()

    @field_validator("server_image")
    @classmethod
    def _needed_on_a_cluster(cls, image: str, info: ValidationInfo) -> str:
        """Nobody could start anything."""
        if info.data.get("backend") == "kubernetes" and not image:
            raise PydanticCustomError("no_image", "with backend kubernetes it names the image of people's servers")
        return image

    @property
    def pod_wait_s(self) -> int:
        """How long a start may wait for its pod in all."""
        return self.kueue_admission_s + self.node_wait_s + self.pod_start_s

    @property
    def on_cluster(self) -> bool:
        """Whether servers are pods."""
        return self.backend == "kubernetes"
