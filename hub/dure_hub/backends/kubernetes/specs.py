"""From work to pod: what the portal decided, in the words of a `PodSpec`. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dure_hub.backends.base import Kind, ServerWork
from dure_hub.backends.kubernetes.marks import run_name
from dure_hub.backends.kubernetes.numbered import resources_of
from dure_hub.backends.kubernetes.spec import HOME, Mount, PodSpec
from dure_hub.policies.naming import slug
from dure_hub.settings import Settings

PORT = 8888
POOLS: Mapping[Kind, str] = {
    Kind.SERVER: "development",
    Kind.EXECUTION: "development",
    Kind.JOB: "training",
    Kind.MODEL: "inference",
}
"""What nodes are for, by the label `dure/pool`; a node without it is for all."""
DEFAULT_CORES, DEFAULT_MEMORY_MB = 1.0, 1024


def server_spec(settings: Settings, work: ServerWork) -> PodSpec:
    """The pod of a person's server."""
    node, resources = resources_of(work.devices)
    memory_mb = work.memory_mb or DEFAULT_MEMORY_MB
    environment = {key: value.replace("{port}", str(PORT)) for key, value in work.environment.items()}
    name = run_name(Kind.SERVER, work.lease)
    return PodSpec(
        portal=settings.instance,
        name=name,
        namespace=settings.namespace_dev,
        lease=work.lease,
        kind=Kind.SERVER,
        owner=work.owner,
        image=work.image or settings.server_image,
        command=[word.replace("{port}", str(PORT)) for word in work.command],
        environment={"HOME": HOME, "JUPYTERHUB_ROOT_DIR": HOME, **environment},
        team=work.team,
        project=work.project,
        cores=work.cores or DEFAULT_CORES,
        share=1 / settings.cpu_overcommit,
        memory_mb=memory_mb,
        resources=resources,
        devices=tuple(work.devices),
        mps=work.mps,
        shm_mb=min(work.shm_mb or memory_mb // 2, memory_mb),  # it is memory of the pod in any case
        node=node or work.node,
        pool=POOLS[Kind.SERVER],
        mounts=[*_home(settings, work.owner), *(Mount(**vars(volume)) for volume in work.volumes)],
        secret=name,
        hidden=tuple(work.secrets),
        port=PORT,
        base=work.environment.get("JUPYTERHUB_SERVICE_PREFIX", ""),
        grace_s=max(round(settings.stop_grace_s), 1),
        pull_policy=settings.image_pull_policy or None,
        pull_secrets=settings.image_pull_secrets,
    )


def _home(settings: Settings, owner: str) -> Sequence[Mount]:
    return [Mount(home_claim(owner), HOME)] if settings.home_size_gb else []


def home_claim(owner: str) -> str:
    """The name of the claim of somebody's home."""
    return f"home-{slug(owner)}"
