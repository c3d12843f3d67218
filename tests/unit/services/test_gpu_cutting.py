"""`POST /gpu/devices/{id}/mig`: cut as asked, or told what is in the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from dure.wire.ids import new_id
from dure_hub.backends.base import Inventory, MigDevice, MigRefused
from dure_hub.operations import Operations
from dure_hub.store.models import Event, Lease
from tests.unit.services.conftest import bearer
from tests.unit.services.stub_hub import StubHub
from tests.unit.services.test_gpu import client as client
from tests.unit.services.test_gpu import hold
from tests.unit.services.test_gpu import ops as ops


@pytest.fixture
def root(hub: StubHub) -> dict[str, str]:
    """An administrator's header."""
    return bearer(hub.person("root", admin=True))


async def gpu(ops: Operations, word: str) -> str:
    return next(device.uuid for device in (await ops.inventory.look()).devices if word in device.name)


async def cut(client: httpx.AsyncClient, root: dict[str, str], device: str, *profiles: str) -> httpx.Response:
    return await client.post(f"/gpu/devices/{device}/mig", json={"profiles": profiles}, headers=root)


def places(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return sorted(f"{one['profile']}@{one['start']}" for one in answer.json()["migInstances"])


def error(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()["error"]
    assert found["code"] == code
    return found


async def events(ops: Operations) -> list[str]:
    def read(session: Any) -> list[str]:
        query = select(Event.verb).where(Event.verb.startswith("gpu.cut")).order_by(Event.id)
        return list(session.scalars(query).all())

    return await ops.store.read(read)


async def test_a_gpu_is_cut_as_asked_and_asking_twice_changes_nothing_more(
    client: httpx.AsyncClient, ops: Operations, root: dict[str, str]
) -> None:
    device = await gpu(ops, "H100")
    for _ in range(2):
        assert places(await cut(client, root, device, "3g.40gb", "1g.10gb@0")) == ["1g.10gb@0", "3g.40gb@4"]
    assert await events(ops) == ["gpu.cut", "gpu.cut_done"]
    assert places(await cut(client, root, device)) == []
    assert (await client.get("/gpu/overview", headers=root)).json()["totalMigInstances"] == 2


async def test_what_is_held_is_in_nobodys_way_but_cannot_go(
    client: httpx.AsyncClient, ops: Operations, root: dict[str, str]
) -> None:
    lease = await hold(ops, "mig-3g.40gb-a100-sxm-80")
    device = lease.slices[0]["device"]
    said = error(await cut(client, root, device, "7g.80gb"), 409, "mig_held")
    assert (said["facts"]["owner"], said["facts"]["lease"]) == ("bo", lease.id)
    assert "3g.40gb at start 4" in said["message"]
    assert places(await cut(client, root, device, "3g.40gb", "2g.20gb@2")) == ["2g.20gb@2", "3g.40gb@4"]
    assert "1g.10gb@0" not in places(await cut(client, root, device, "3g.40gb"))


async def test_what_does_not_fit_is_told_with_what_is_taken_and_legal(
    client: httpx.AsyncClient, ops: Operations, root: dict[str, str]
) -> None:
    device = await gpu(ops, "A100")
    said = error(await cut(client, root, device, "4g.40gb", "4g.40gb"), 422, "mig_does_not_fit")
    assert "may start at 0, and taken are 4g.40gb@0" in said["message"]
    said = error(await cut(client, root, device, "3g.40gb@2"), 422, "mig_does_not_fit")
    assert said["facts"]["legal"] == "0, 4"
    assert places(await client.get(f"/gpu/devices/{device}", headers=root)) == ["1g.10gb@0", "3g.40gb@4"]


async def test_an_unknown_mig_profile_lists_what_there_is(
    client: httpx.AsyncClient, ops: Operations, root: dict[str, str]
) -> None:
    said = error(await cut(client, root, await gpu(ops, "A100"), "5g.99gb"), 422, "no_such_mig_profile")
    assert "7g.80gb" in said["facts"]["offered"]


async def test_a_gpu_without_mig_says_so(client: httpx.AsyncClient, ops: Operations, root: dict[str, str]) -> None:
    said = error(await cut(client, root, await gpu(ops, "4090"), "1g.10gb"), 409, "no_mig_here")
    assert "This model has no MIG" in said["message"]
    error(await cut(client, root, "GPU-gone", "1g.10gb"), 404, "no_such_gpu")


async def test_it_is_for_administrators(client: httpx.AsyncClient, ops: Operations, hub: StubHub) -> None:
    answer = await cut(client, bearer(hub.person("ana")), await gpu(ops, "A100"))
    error(answer, 403, "not_allowed")


async def test_what_broke_half_way_is_told_and_done_when_asked_again(
    client: httpx.AsyncClient, ops: Operations, root: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await gpu(ops, "H100")
    make = ops.inventory.make

    async def broken(uuid: str, mig: str, start: int) -> Any:
        if mig == "1g.10gb":
            raise MigRefused(device=uuid, why={"en": "The driver says no.", "ko": "드라이버가 거부했습니다."})
        return await make(uuid, mig, start)

    with monkeypatch.context() as patch:
        patch.setattr(ops.inventory, "make", broken)
        error(await cut(client, root, device, "3g.40gb", "1g.10gb"), 409, "mig_refused")
    assert places(await client.get(f"/gpu/devices/{device}", headers=root)) == ["3g.40gb@0"]
    assert len(places(await cut(client, root, device, "3g.40gb", "1g.10gb"))) == 2
    assert await events(ops) == ["gpu.cut", "gpu.cut_failed", "gpu.cut", "gpu.cut_done"]


async def test_what_is_granted_while_it_cuts_is_not_built_over(
    client: httpx.AsyncClient, ops: Operations, root: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await gpu(ops, "H100")
    make = ops.inventory.make

    async def granting(uuid: str, mig: str, start: int) -> Any:
        made = await make(uuid, mig, start)
        with ops.store.transaction() as session:
            piece = {"device": uuid, "cpu_cores": 1, "memory_mb": 1, "mig": "1g.10gb", "start": 1, "visible": None}
            session.add(
                Lease(
                    id=new_id(), owner="bo", purpose="training", subject="j", profile="mig-1g.10gb",
                    slices=[piece], granted_at=ops.clock(), handle={},
                )
            )  # fmt: skip
        return made

    with monkeypatch.context() as patch:
        patch.setattr(ops.inventory, "make", granting)
        said = error(await cut(client, root, device, "3g.40gb@4", "2g.20gb@0"), 409, "mig_held")
    assert (said["facts"]["owner"], said["facts"]["start"]) == ("bo", 1)
    assert places(await client.get(f"/gpu/devices/{device}", headers=root)) == ["3g.40gb@4"]


async def test_what_somebody_cut_by_hand_is_not_built_over(
    client: httpx.AsyncClient, ops: Operations, root: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, look = await gpu(ops, "H100"), ops.inventory.look

    async def foreign() -> Inventory:
        seen = await look()
        theirs = (MigDevice("MIG-theirs", None, 4, 4, number=1),)
        devices = [replace(one, instances=theirs) if one.uuid == device else one for one in seen.devices]
        return replace(seen, devices=tuple(devices))

    monkeypatch.setattr(ops.inventory, "look", foreign)
    said = error(await cut(client, root, device, "3g.40gb@4"), 422, "mig_does_not_fit")
    assert said["facts"]["taken"] == "?@4"
