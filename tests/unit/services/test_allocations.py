"""`/gpu/allocations`: a ticket and a lease like any other, for a pod that something else runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from dure_hub.backends.base import MigRefused
from dure_hub.operations import Operations
from dure_hub.operations.gpus import holding
from dure_hub.store.models import Event, Lease
from tests.unit.services.conftest import bearer
from tests.unit.services.stub_hub import StubHub
from tests.unit.services.test_gpu import client as client
from tests.unit.services.test_gpu import hold
from tests.unit.services.test_gpu import ops as ops

POD = {
    "namespace": "ml",
    "podName": "train-0",
    "workloadType": "training",
    "useMig": False,
    "requiredMemoryGb": 20,
}


@pytest.fixture
def ana(hub: StubHub) -> dict[str, str]:
    """Ana's header."""
    return bearer(hub.person("ana"))


async def ask(client: httpx.AsyncClient, headers: dict[str, str], **more: Any) -> dict[str, Any]:
    answer = await client.post("/gpu/allocations", json={**POD, **more}, headers=headers)
    assert answer.status_code == 202, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def read(client: httpx.AsyncClient, headers: dict[str, str], allocation: str) -> dict[str, Any]:
    said: dict[str, Any] = (await client.get(f"/gpu/allocations/{allocation}", headers=headers)).json()
    return said


async def looks(ops: Operations, number: int = 3) -> None:
    for _ in range(number):
        await ops.reconciler.look()


async def test_a_pod_gets_the_cheapest_gpu_that_is_large_enough(
    client: httpx.AsyncClient, ops: Operations, ana: dict[str, str]
) -> None:
    said = await ask(client, ana)
    assert (said["state"], said["profile"], said["queueClass"]) == ("active", "gpu-full", "training")
    assert [device for device, _ in await ops.store.read(holding)] == said["devices"]
    assert said["until"] > said["grantedAt"]
    assert (said["namespace"], said["podName"], said["rate"]) == ("ml", "train-0", 2_000_000)
    assert (await client.get("/gpu/overview", headers=ana)).json()["activeAllocations"] == 1


async def test_the_same_pod_is_one_request_until_it_is_over(
    client: httpx.AsyncClient, ana: dict[str, str]
) -> None:
    first = await ask(client, ana)
    assert await ask(client, ana, requiredMemoryGb=5) == first
    for _ in range(2):
        assert (await client.delete(f"/gpu/allocations/{first['id']}", headers=ana)).status_code == 204
    assert (await ask(client, ana))["id"] != first["id"]
    every = (await client.get("/gpu/allocations", headers=ana)).json()
    assert sorted(one["state"] for one in every) == ["active", "ended"]
    active = (await client.get("/gpu/allocations?active=true", headers=ana)).json()
    assert [one["state"] for one in active] == ["active"]


async def test_a_mig_instance_is_made_before_the_answer(
    client: httpx.AsyncClient, ops: Operations, ana: dict[str, str]
) -> None:
    said = await ask(client, ana, useMig=True, requiredMemoryGb=10)
    assert said["profile"].startswith("mig-1g.10gb")
    assert (said["state"], len(said["devices"])) == ("active", 1)
    there = {one.uuid for device in (await ops.inventory.look()).devices for one in device.instances}
    assert set(said["devices"]) <= there


async def test_what_cannot_be_made_ends_with_its_reason(
    client: httpx.AsyncClient, ops: Operations, ana: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(uuid: str, mig: str, start: int) -> Any:
        raise MigRefused(device=uuid, why={"en": "No.", "ko": "안 됩니다."})

    monkeypatch.setattr(ops.inventory, "make", broken)
    said = await ask(client, ana, useMig=True, requiredMemoryGb=70)
    assert (said["state"], said["devices"]) == ("ended", [])
    assert said["reason"]["en"] == "It could not be started."


async def test_without_room_it_waits_and_is_granted_once_there_is(
    client: httpx.AsyncClient, ops: Operations, ana: dict[str, str]
) -> None:
    first = await ask(client, ana, useMig=True, requiredMemoryGb=70, podName="a")
    second = await ask(client, ana, useMig=True, requiredMemoryGb=70, podName="b")
    assert (second["state"], second["position"], second["devices"]) == ("waiting", 1, [])
    assert second["expectedStart"] == first["until"]
    assert second["verdict"]["code"] == "no_slice_free"
    assert second["nextBest"].startswith("mig-7g.80gb-h100")
    await client.delete(f"/gpu/allocations/{first['id']}", headers=ana)
    await looks(ops)
    for _ in range(100):
        said = await read(client, ana, second["id"])
        if said["state"] != "preparing":
            break
    assert (said["state"], len(said["devices"])) == ("active", 1)


async def test_one_that_waits_can_be_given_up(client: httpx.AsyncClient, ana: dict[str, str]) -> None:
    for pod in ("a", "b"):
        last = await ask(client, ana, useMig=True, requiredMemoryGb=70, podName=pod)
    await client.delete(f"/gpu/allocations/{last['id']}", headers=ana)
    said = await read(client, ana, last["id"])
    assert (said["state"], said["reason"]["en"]) == ("cancelled", "The request was cancelled while it waited.")


async def test_nothing_leaks_where_nobody_gives_it_back(
    client: httpx.AsyncClient, ops: Operations, ana: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await ask(client, ana, lifetime=300)
    await looks(ops, 4)
    assert (await read(client, ana, said["id"]))["state"] == "active"
    later = ops.clock() + timedelta(seconds=301)
    for part in (ops.reconciler, ops.allocations, ops.profiles):
        monkeypatch.setattr(part, "_clock", lambda: later)
    await looks(ops, 4)
    over = await read(client, ana, said["id"])
    assert (over["state"], over["reason"]["en"], over["devices"]) == ("ended", "Its time was over.", [])
    assert await ops.store.read(holding) == []
    verbs = await ops.store.read(
        lambda session: session.scalars(
            select(Event.verb).where(Event.object == f"lease:{said['lease']}").order_by(Event.id)
        ).all()
    )
    assert list(verbs) == ["lease.grant", "lease.stop", "lease.end"]


async def test_the_reconciler_does_not_take_a_pod_for_lost(
    client: httpx.AsyncClient, ops: Operations, ana: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await ask(client, ana, lifetime=7200)
    later = ops.clock() + timedelta(seconds=3600)
    monkeypatch.setattr(ops.reconciler, "_clock", lambda: later)
    await looks(ops, 4)
    lease = await ops.store.read(lambda session: session.get_one(Lease, said["lease"]))
    assert lease.ended_at is None


async def test_too_much_memory_is_told_with_what_there_is(client: httpx.AsyncClient, ana: dict[str, str]) -> None:
    answer = await client.post("/gpu/allocations", json={**POD, "requiredMemoryGb": 500}, headers=ana)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "no_gpu_so_large")
    assert "gpu-full (25.8 GB)" in error["message"]


async def test_others_see_nothing_of_it_but_administrators_do(
    client: httpx.AsyncClient, hub: StubHub, ana: dict[str, str]
) -> None:
    said = await ask(client, ana)
    ben, root = bearer(hub.person("ben")), bearer(hub.person("root", admin=True))
    assert (await client.get(f"/gpu/allocations/{said['id']}", headers=ben)).status_code == 404
    assert (await client.delete(f"/gpu/allocations/{said['id']}", headers=ben)).status_code == 404
    assert (await client.get("/gpu/allocations", headers=ben)).json() == []
    assert (await client.get("/gpu/allocations?everyone=true", headers=ben)).status_code == 403
    assert len((await client.get("/gpu/allocations?everyone=true", headers=root)).json()) == 1
    assert (await client.delete(f"/gpu/allocations/{said['id']}", headers=root)).status_code == 204
    assert (await read(client, ana, said["id"]))["state"] == "ended"


async def test_what_a_server_holds_is_no_allocation(
    client: httpx.AsyncClient, ops: Operations, hub: StubHub
) -> None:
    await hold(ops, "gpu-full", "ana")
    assert (await client.get("/gpu/allocations", headers=bearer(hub.person("ana")))).json() == []
