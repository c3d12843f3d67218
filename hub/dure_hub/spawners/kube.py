"""People's servers as pods of a Kubernetes cluster: KubeSpawner, under our leases.

Of KubeSpawner it takes the options that its users know (`c.KubeSpawner.volumes` and the like: what it would make
of them is the template that our pod is laid over). It does not use its watches: a server is asked for by its
lease, and an API server that is away is no verdict about any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubernetes_asyncio.client import ApiClient
from kubespawner import KubeSpawner  # type: ignore[import-untyped]

from dure_hub.backends.base import ServerWork
from dure_hub.spawners import https_cookies
from dure_hub.spawners.leased import LeasedSpawner

SECRETS = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "MLFLOW_TRACKING_TOKEN")
"""Variables that no pod's manifest shows."""


class DureKubeSpawner(LeasedSpawner, KubeSpawner):  # type: ignore[misc]
    """One server of one person, as a pod."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ip = "0.0.0.0"  # noqa: S104 - inside its pod
        self.env_keep: list[str] = []
        self.delete_pvc = False  # whoever is removed from the hub keeps their files

    async def prepare(self) -> ServerWork:
        """What it is made from. Its home and its Secret are the backend's to make."""
        granted = self._granted()
        self.image = granted.container
        environment = self.get_env()
        command = granted.command or self.operations.settings.server_command
        return ServerWork(
            lease=granted.lease,
            owner=self.user.name,
            folder=Path("/"),
            environment={key: value for key, value in environment.items() if key not in SECRETS},
            secrets={key: environment[key] for key in SECRETS},
            devices=granted.devices,
            mps=granted.mps,
            cores=granted.cores,
            memory_mb=granted.memory_mb,
            node=granted.node,
            team=granted.team,
            project=granted.project,
            command=command,
            name=self.name,
            api_token=self.api_token,
            image=granted.container,
            template=await self.template(),
        )

    async def template(self) -> dict[str, Any]:
        """The pod that the options of KubeSpawner ask for, as plain JSON. Without options there is none."""
        if not self.operations.settings.kubespawner:
            return {}
        async with ApiClient() as client:
            made: dict[str, Any] = client.sanitize_for_serialization(await self.get_pod_manifest())
        return made

    def get_env(self) -> dict[str, str]:
        """What the portal says to a server. Its programs, and where they look for what, are the image's."""
        settings = self.operations.settings
        front = f"{settings.pods_url}{settings.at('')}" if settings.pods_url else settings.address
        # what an administrator takes from elsewhere (`valueFrom`) is in the template
        said = {key: value for key, value in super().get_env().items() if not isinstance(value, dict)}
        environment = {key: str(value) for key, value in said.items() if value is not None}
        inside = {
            key: value.replace(self.hub.api_url, f"{front}/hub/api")
            for key, value in environment.items()
            if value.startswith(self.hub.api_url)
        }
        return (
            environment
            | inside
            | {
                "USER": self.user.name,
                "LOGNAME": self.user.name,
                "DURE_URL": front,
                "DURE_LANGUAGE": settings.language,
                **({https_cookies.SAID: "1"} if settings.address.startswith("https:") else {}),
                "MLFLOW_TRACKING_URI": f"{front}/services/mlflow",
                "MLFLOW_TRACKING_TOKEN": self.api_token,
                "MLFLOW_EXPERIMENT_NAME": f"{self.user.name}/default",  # MLflow's own default is nobody's to write
                "JUPYTERHUB_SERVICE_URL": f"http://{self.ip}:{{port}}{self.server.base_url}",
                "JUPYTERHUB_ACTIVITY_INTERVAL": str(settings.activity_interval_s),
                "JUPYTERHUB_DEFAULT_URL": "/lab",
            }
        )

    async def get_url(self) -> str:
        """Where its pod is; one whose hub was killed during its start says so itself."""
        return await self.located_url()
