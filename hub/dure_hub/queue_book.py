"""The portal's quotas as Kueue's objects: planned from the store and the cluster's nodes, compared, and brought.

`dure kueue`, `dure doctor` and the portal's own tick do this; nothing else changes these objects.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from dure.errors import DureError
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.kueue import Quotas
from dure_hub.backends.kubernetes.queues import Done, Drift, bring, drift, planned
from dure_hub.backends.kubernetes.tolerations import tolerations_of
from dure_hub.operations.team_quotas import team_gpus
from dure_hub.settings import Settings
from dure_hub.store import Store

log = logging.getLogger(__name__)


class QueueBook:
    """Of one portal, with whatever rights it asks the cluster by."""

    def __init__(self, settings: Settings, store: Store, cluster: Cluster) -> None:
        self._settings, self._store, self._cluster = settings, store, cluster
        self._told = ""

    async def teams(self) -> Mapping[str, int | None]:
        """GPUs that each team may hold at once; None is no limit."""
        return await self._store.read(team_gpus)

    async def objects(self) -> list[dict[str, Any]]:
        """As they should be now."""
        settings = self._settings
        places = (settings.namespace_dev, settings.namespace_training, settings.namespace_serving)
        teams = await self.teams()
        quotas = Quotas(settings.instance, teams, settings.team_borrowing, places)
        return await planned(self._cluster, quotas, tolerations_of(settings.kubespawner))

    async def drift(self) -> Drift | None:
        """How the cluster's differ; None where quotas were never brought to it. Only reads."""
        return await drift(self._cluster, self._settings.instance, await self.objects())

    async def bring(self) -> Done:
        """Bring the cluster's to them. Raises `NoKueue`, `QueueTaken`, with nothing changed."""
        return await bring(self._cluster, self._settings.instance, await self.objects())

    async def keep(self) -> None:
        """Bring what differs. What keeps it from that is logged once, until it is another reason."""
        try:
            objects = await self.objects()
            found = await drift(self._cluster, self._settings.instance, objects)
            if found is None or found.all:
                done = await bring(self._cluster, self._settings.instance, objects)
                log.info(
                    "Kueue has the portal's quotas: %s objects, %s removed", len(done.applied), len(done.removed)
                )
            self._told = ""
        except DureError as error:
            if error.text() != self._told:
                log.warning("Kueue does not have the portal's quotas: %s", error.text())
            self._told = error.text()
