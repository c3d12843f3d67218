"""`/metrics`: what Prometheus reads, and who may."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import httpx
from prometheus_client.parser import text_string_to_metric_families

from dure_hub.backends.base import Device, Inventory, Measures, MigDevice
from dure_hub.operations import Operations, metrics
from dure_hub.operations.fleet import Look
from dure_hub.operations.gpus import Part, draw
from dure_hub.operations.people import METRICS
from dure_hub.store.models import Budget, Lease, Quota
from tests.unit.services.conftest import bearer
from tests.unit.services.stub_hub import StubHub
from tests.unit.services.test_allocations import ask
from tests.unit.services.test_gpu import client as client
from tests.unit.services.test_gpu import hold
from tests.unit.services.test_gpu import ops as ops

Found = dict[str, dict[tuple[str, ...], float]]


async def scrape(client: httpx.AsyncClient, hub: StubHub) -> Found:
    """Every value by the name of its metric and the labels' values in the order of their names."""
    answer = await client.get("/metrics", headers=bearer(hub.person("root", admin=True)))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        family.name: {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value for sample in family.samples
        }
        for family in text_string_to_metric_families(answer.text)
    }


async def test_gpus_are_there_and_what_nobody_knows_is_not(client: httpx.AsyncClient, hub: StubHub) -> None:
    seen = await scrape(client, hub)
    assert len(seen["gpu_temperature"]) == len(seen["gpu_power"]) == 52
    assert len(seen["gpu_memory_used_bytes"]) == 52
    # an A100 cut by MIG, and an H100 without instances, do not say how busy they are
    assert len(seen["gpu_utilization"]) == 50
    assert all("4090" in labels[0] for labels in seen["gpu_utilization"])
    assert all(value >= 1 << 20 for value in seen["gpu_memory_used_bytes"].values() if value)
    assert seen["dure_simulated"] == {(): 1.0}
    assert seen["dure_queue_wait_seconds"] == {}
    assert seen["gpu_hourly_cost"] == {}
    assert set(seen["dure_queue_length"].values()) == {0.0}


async def test_held_slices_queue_and_money_are_counted(
    client: httpx.AsyncClient, ops: Operations, hub: StubHub
) -> None:
    ana = bearer(hub.person("ana"))
    await hold(ops, "mig-3g.40gb-a100-sxm-80")
    for pod in ("a", "b"):
        await ask(client, ana, podName=pod, useMig=True, requiredMemoryGb=70, workloadType="inference")
    unpriced = await hold(ops, "gpu-full")
    with ops.store.transaction() as session:
        session.get_one(Lease, unpriced.id).rate = None
    seen = await scrape(client, hub)
    assert seen["mig_allocation_ratio"][("3g.40gb",)] == 1
    assert seen["mig_allocation_ratio"][("1g.10gb",)] == 0
    waiting = seen["dure_queue_length"]
    assert sum(waiting.values()) == waiting[("inference",)] > 0
    assert list(seen["dure_queue_wait_seconds"]) == [("inference",)]
    with ops.store.reading() as session:
        rates = [lease.rate for lease in session.query(Lease).all() if lease.rate is not None]
    assert seen["gpu_hourly_cost"] == {("", ""): sum(rates) / 1_000_000}


async def test_quotas_and_budgets_are_shares_of_their_limits(
    client: httpx.AsyncClient, ops: Operations, hub: StubHub
) -> None:
    now = ops.clock()
    with ops.store.transaction() as session:
        session.add(Quota(kind="user", name="bo", gpus=4, set_by="root", set_at=now))
        session.add(Budget(kind="team", name="vision", amount=1_000_000, set_by="root", set_at=now))
    await hold(ops, "gpu-full")
    seen = await scrape(client, hub)
    assert seen["dure_quota_use_ratio"] == {("user", "bo", "gpus"): 0.25}
    assert seen["dure_budget_use_ratio"] == {("team", "vision"): 0.0}


async def test_a_token_for_metrics_reads_them_and_nothing_else(
    client: httpx.AsyncClient, ops: Operations, hub: StubHub
) -> None:
    _, text = await ops.tokens.mint("root", admin=False, scopes=[METRICS], purpose="prometheus", lifetime_s=60)
    assert (await client.get("/metrics", headers=bearer(text))).status_code == 200
    for path in ("/me", "/gpu/overview", "/queue", "/fleet", "/costs"):
        assert (await client.get(path, headers=bearer(text))).status_code == 403
    assert (await client.post("/tokens", json={}, headers=bearer(text))).status_code == 403
    refused = await client.get("/metrics", headers=bearer(hub.person("ana")))
    assert refused.status_code == 403
    assert re.search("custom:dure:metrics", refused.text)


def test_an_instance_that_is_just_being_made_is_counted_beside_one_without_a_uuid() -> None:
    """Half an instance, left by a crash, has no UUID; neither has what a lease still waits for."""
    there = (
        MigDevice(None, "2g.20gb", 2, 2),
        MigDevice("MIG-1", "1g.10gb", 0, 1),
        MigDevice("MIG-2", "1g.10gb", 1),
    )
    device = Device("GPU-1", "H100", 81920, mig_mode=True, key="h100-sxm-80", instances=there)
    parts = [
        Part("L1", "bo", "3g.40gb", 4),
        Part("L2", "bo", "1g.10gb", 0),
        Part("L3", "bo", "1g.10gb", 6, "MIG-2"),
    ]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    picture = draw(Look(0, Inventory(1, 1, [device]), Measures()), [("GPU-1", part) for part in parts], now)
    values = dict(metrics._mig(picture).values)
    assert values == {("3g.40gb",): 1, ("2g.20gb",): 0, ("1g.10gb",): 1}
