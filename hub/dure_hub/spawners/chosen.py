"""The spawner of a portal, as its settings say. What is not chosen is not imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dure_hub.spawners.leased import LeasedSpawner

if TYPE_CHECKING:
    from dure_hub.operations import Operations


def spawner_of(operations: Operations) -> type[LeasedSpawner]:
    """The class to name in the hub's configuration."""
    if operations.settings.on_cluster:
        from dure_hub.spawners.kube import DureKubeSpawner

        return DureKubeSpawner.using(operations)
    from dure_hub.spawners.local import DureLocalSpawner

    return DureLocalSpawner.using(operations)
