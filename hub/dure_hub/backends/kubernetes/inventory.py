"""What a cluster has, as its nodes and pods say it at every moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dure_hub.backends.base import Feature, Inventory, InventoryBackend, Measures, NodeInventory
from dure_hub.backends.kubernetes import stock
from dure_hub.backends.kubernetes.api import Cluster
from dure_hub.backends.kubernetes.dcgm import measured
from dure_hub.backends.kubernetes.errors import ClusterAway
from dure_hub.backends.kubernetes.homes import Homes
from dure_hub.backends.kubernetes.mirror import PODS, Mirror
from dure_hub.backends.kubernetes.prometheus import Prometheus

log = logging.getLogger(__name__)
NO_GPU = {
    "en": "No node of the cluster offers GPUs; NVIDIA's device plugin and GPU feature discovery make them known.",
    "ko": "GPU를 제공하는 노드가 없습니다. NVIDIA 디바이스 플러그인과 GPU feature discovery가 GPU를 알립니다.",
}
SWITCHED_OFF = {
    "en": "The GPUs of the cluster are not offered: the setting `use_gpu` is off (in the chart, `useGpu`).",
    "ko": "클러스터의 GPU를 제공하지 않습니다. 설정 `use_gpu`(차트에서는 `useGpu`)가 꺼져 있습니다.",
}


IMPATIENT_S = 3.0


class ClusterInventory(InventoryBackend):
    """Follows nodes and pods; a look asks nobody, once it has begun. Reads only. `pods` are all, where they are
    followed already.

    `tolerations` are what an administrator gives to people's servers, which is what runs on a cluster so far.
    Without `use_gpu` it has no GPUs.
    """

    unsupported: Mapping[Feature, Mapping[str, str]] = {
        Feature.MIG: {
            "en": "On a cluster, NVIDIA's MIG manager cuts GPUs; the portal gives what there is.",
            "ko": "클러스터에서는 NVIDIA MIG manager가 GPU를 나눕니다. 포털은 있는 것을 제공합니다.",
        }
    }

    def __init__(
        self,
        cluster: Cluster,
        portal: str,
        prometheus: Prometheus | None = None,
        pods: Mirror | None = None,
        *,
        homes_in: str | None = None,
        tolerations: Sequence[Mapping[str, Any]] = (),
        use_gpu: bool = True,
    ) -> None:
        """`homes_in` is the namespace of people's homes; None where they have none."""
        self._portal, self._prometheus, self._tolerations = portal, prometheus, tolerations
        self._use_gpu = use_gpu
        self.patience_s = 30.0
        """How long a look waits to know: long at first, then no longer than people like to wait for a page."""
        self._last: Inventory | None = None
        self._homes = Homes(cluster, homes_in) if homes_in else None
        self._nodes, self._pods = Mirror(cluster, "/api/v1/nodes"), pods or Mirror(cluster, PODS)

    async def look(self) -> Inventory:
        """While nodes or pods are not known, what was seen last, as `away`. Raises `ClusterAway` before that."""
        try:
            nodes, pods = await asyncio.gather(self._nodes.now(self.patience_s), self._pods.now(self.patience_s))
        except ClusterAway:
            if self._last is None:
                raise
            return replace(self._last, away=True)
        self.patience_s = min(self.patience_s, IMPATIENT_S)
        read = await asyncio.to_thread(stock.read, nodes, pods, self._portal, self._tolerations)
        self._last = of_nodes(read, use_gpu=self._use_gpu)
        return self._last

    async def homes(self, owners: Collection[str]) -> Mapping[str, frozenset[str]]:
        """As their volumes say it. Nothing is known while nodes are not: then nothing is granted either."""
        if self._homes is None or not owners:
            return {}
        try:
            nodes = await self._nodes.now(self.patience_s)
        except ClusterAway as error:
            log.info("where homes can be used is not known now: %s", error)
            return {}
        return await self._homes.of(owners, nodes)

    async def measure(self) -> Measures:
        """What DCGM says by Prometheus. Nothing is known without that, or while the cluster is away."""
        if self._prometheus is None:
            return Measures()
        try:
            samples, there = await asyncio.gather(self._prometheus.samples(), self.look())
            pods = await self._pods.now(self.patience_s)
        except ClusterAway:
            return Measures()
        return Measures() if there.away else measured(samples, pods, there, self._portal)

    def close(self) -> None:
        """Follow no more."""
        self._nodes.close()
        self._pods.close()


def of_nodes(nodes: Sequence[NodeInventory], *, use_gpu: bool = True) -> Inventory:
    """What these nodes have together, and why there is no GPU where none is offered."""
    if not use_gpu:
        return Inventory.of([replace(node, devices=()) for node in nodes], why_no_gpu=SWITCHED_OFF)
    found = Inventory.of(nodes)
    return found if found.devices else Inventory.of(nodes, why_no_gpu=NO_GPU)
