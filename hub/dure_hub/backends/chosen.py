"""The backends of a portal, as its settings say. What is not chosen is not imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dure_hub.backends.base import (
    ExecutionBackend,
    Feature,
    InventoryBackend,
    ServerBackend,
    ServingBackend,
    TrainingBackend,
)
from dure_hub.settings import Settings

if TYPE_CHECKING:
    from dure_hub.backends.kubernetes.api import Cluster
    from dure_hub.backends.kubernetes.mirror import Mirror


@dataclass(frozen=True)
class Running:
    """What runs people's work. `cluster` is the connection that they share, where they run on one, and `pods` is
    what is followed of it for all of them."""

    servers: ServerBackend
    training: TrainingBackend
    serving: ServingBackend
    executions: ExecutionBackend
    cluster: Cluster | None
    pods: Mirror | None

    async def close(self) -> None:
        """Let go of what was opened for asking; everything that runs goes on running."""
        if self.pods is not None:
            self.pods.close()
        if self.cluster is not None:
            await self.cluster.close()


@dataclass(frozen=True)
class Backends(Running):
    """One for each capability."""

    inventory: InventoryBackend

    async def close(self) -> None:
        """Look no more, either."""
        self.inventory.close()
        await super().close()

    def gaps(self) -> Mapping[Feature, Mapping[str, str]]:
        """What this portal cannot do, each with its sentence."""
        found: dict[Feature, Mapping[str, str]] = {}
        for backend in (self.inventory, self.servers, self.training, self.serving, self.executions):
            found.update(backend.unsupported)
        return found


def backends_of(settings: Settings, clock: Callable[[], datetime]) -> Backends:
    """Nothing is started or asked yet. Raises `BadFleet` where a simulated fleet cannot be read."""
    running = running_of(settings)
    return Backends(**vars(running), inventory=_inventory(settings, clock, running))


def running_of(settings: Settings) -> Running:
    """The same without what there is to run on."""
    return _pods(settings) if settings.on_cluster else _processes(settings)


def _inventory(settings: Settings, clock: Callable[[], datetime], running: Running) -> InventoryBackend:
    if running.cluster is None:
        from dure_hub.backends import embedded

        return embedded.choose(settings, clock)
    from dure_hub.backends.kubernetes.inventory import ClusterInventory
    from dure_hub.backends.kubernetes.prometheus import Prometheus
    from dure_hub.backends.kubernetes.tolerations import tolerations_of

    address = settings.prometheus_url
    prometheus = Prometheus(address, settings.prometheus_token_file) if address else None
    homes_in = settings.namespace_dev if settings.home_size_gb else None
    return ClusterInventory(
        running.cluster,
        settings.instance,
        prometheus,
        running.pods,
        homes_in=homes_in,
        tolerations=tolerations_of(settings.kubespawner),
        use_gpu=settings.use_gpu,
    )


def _processes(settings: Settings) -> Running:
    from dure_hub.backends import embedded

    return Running(
        embedded.EmbeddedServers(settings),
        embedded.EmbeddedTraining(settings),
        embedded.EmbeddedServing(settings),
        embedded.EmbeddedExecutions(settings),
        cluster=None,
        pods=None,
    )


def _pods(settings: Settings) -> Running:
    from dure_hub.backends.kubernetes.connecting import cluster_of
    from dure_hub.backends.kubernetes.mirror import PODS, Mirror
    from dure_hub.backends.kubernetes.missing import NoExecutions, NoServing, NoTraining
    from dure_hub.backends.kubernetes.servers import KubernetesServers

    cluster = cluster_of(settings)
    pods = Mirror(cluster, PODS)
    return Running(
        KubernetesServers(settings, cluster, pods),
        NoTraining(settings, cluster),
        NoServing(settings, cluster),
        NoExecutions(settings, cluster),
        cluster=cluster,
        pods=pods,
    )
