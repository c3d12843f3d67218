"""`/metrics` for Prometheus, in its text format. A token may be made that reads this and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from dure_hub.operations import Operations
from dure_hub.operations.metrics import Gauge
from dure_hub.operations.people import METRICS, Person
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/metrics", tags=["metrics"])
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Metrics(Response):
    """The text format of Prometheus."""

    media_type = TEXT


@router.get("", response_class=Metrics)
async def get_metrics(
    person: Annotated[Person, needs(METRICS)], ops: Annotated[Operations, Depends(operations_of)]
) -> Metrics:
    """GPUs, queue, money and quotas for administrators and tokens made for monitoring. Unknown is absent."""
    gauges = await ops.metrics.collect()
    return Metrics(await asyncio.to_thread(rendered, gauges))


def rendered(gauges: Sequence[Gauge]) -> bytes:
    """As Prometheus reads it. Ten thousand GPUs take a second: not for the event loop."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(gauges))
    return generate_latest(registry)


class _Given(Collector):
    """What was collected already."""

    def __init__(self, gauges: Sequence[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """Gauge by gauge."""
        for gauge in self._gauges:
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
            for labels, value in gauge.values:
                family.add_metric(labels, value)
            yield family
