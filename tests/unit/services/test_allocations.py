"""`/gpu/allocations`: a ticket and a lease like any other, for a pod that something else runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from dure_hub.backends.base import Inventory, MigRefused
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations import Operations
from dure_hub.operations.allocations import fitting
from dure_hub.operations.gpu_errors import NoGpuOfKind, NoGpuSoLarge
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


def lose(ops: Operations, lease: str, **piece: Any) -> None:
    """What a lease holds is no longer as it was made."""
    with ops.store.transaction() as session:
        row = session.get_one(Lease, lease)
        row.slices = [{**row.slices[0], **piece}]


async def test_what_a_restart_of_the_machine_forgot_is_made_again(
    client: httpx.AsyncClient, ops: Operations, ana: dict[str, str]
) -> None:
    said = await ask(client, ana, useMig=True, requiredMemoryGb=10)
    lose(ops, said["lease"], visible="MIG-of-before")
    now = await read(client, ana, said["id"])
    assert (now["state"], now["devices"]) == ("preparing", []), "nobody is told to use what is not there"
    await ops.reconciler.look()
    for _ in range(100):
        now = await read(client, ana, said["id"])
        if now["state"] != "preparing":
            break
    assert (now["state"], now["devices"]) == ("active", said["devices"])


async def test_without_its_gpu_what_was_never_made_ends_and_what_was_waits(
    client: httpx.AsyncClient, ops: Operations, ana: dict[str, str]
) -> None:
    made = await ask(client, ana, useMig=True, requiredMemoryGb=10, podName="a")
    never = await ask(client, ana, useMig=True, requiredMemoryGb=10, podName="b")
    lose(ops, made["lease"], device="GPU-gone", visible="MIG-of-before")
    lose(ops, never["lease"], device="GPU-gone", visible=None)
    # nothing has changed, so nobody is to look again at once
    assert await ops.allocations.subject.make(made["lease"]) is False
    assert await ops.allocations.subject.make(never["lease"]) is True
    assert (await read(client, ana, made["id"]))["state"] == "preparing"
    assert (await read(client, ana, never["id"]))["reason"]["en"] == "It could not be started."


async def test_while_no_gpu_is_there_at_all_it_waits(
    client: httpx.AsyncClient, ops: Operations, ana: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await ask(client, ana, useMig=True, requiredMemoryGb=10)

    async def nothing() -> Inventory:
        return Inventory(1, 1, why_no_gpu={"en": "No driver.", "ko": "드라이버가 없습니다."})

    with monkeypatch.context() as patch:
        patch.setattr(ops.inventory, "look", nothing)
        assert await ops.allocations.subject.make(said["lease"]) is False
    assert (await read(client, ana, said["id"]))["state"] == "active"
    assert await ops.allocations.subject.make(said["lease"]) is False, "there was nothing to make"


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
    # at the latest when the first has ended, with what a promise allows for
    assert datetime.fromisoformat(second["expectedStart"]) > datetime.fromisoformat(first["until"])
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
    assert error["message"].startswith("No GPU here has 500.0 GB of memory. There is: ")
    assert "gpu-full (25.8 GB)" in error["message"]


def profile(
    name: str, mig: str | None = None, memory_mb: int | None = None, rate: int | None = None
) -> ProfileSpec:
    return ProfileSpec(name, {}, {}, 1, 1, 1, 1, int(mig is None), "GPU", memory_mb, rate, mig=mig)


def test_memory_counts_as_the_names_of_mig_profiles_do() -> None:
    """A 1g.18gb of an H200 has 16 GiB, which are 17.2 GB; of a 7g.96gb no driver was seen to say what it has."""
    small, big = profile("a", "1g.18gb", 16384), profile("b", "7g.96gb")
    assert [one.name for one in fitting([big, small], True, 18)] == ["a", "b"]
    assert [one.name for one in fitting([big, small], True, 96)] == ["b"]
    media = profile("+me", "1g.18gb+me", 16384)
    assert [one.name for one in fitting([media, small], True, None)] == ["a", "+me"], "the scarce ones last"
    with pytest.raises(NoGpuSoLarge) as told:
        fitting([big, small], True, 97)
    assert "b (96.0 GB), a (18.0 GB)" in told.value.text("en")
    for language in ("en", "ko"):
        said = told.value.text(language)
        assert "97" in said
        assert "MIG" in said
        assert "unknown" not in said


def test_where_any_memory_would_do_the_answer_speaks_of_none() -> None:
    with pytest.raises(NoGpuOfKind) as told:
        fitting([profile("gpu-full", memory_mb=81920)], True, None)
    assert told.value.text("en") == "This portal has no MIG instance to give."
    assert "MIG 인스턴스" in told.value.text("ko")


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
