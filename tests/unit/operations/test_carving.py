"""Instances for leases: made before anything starts, over a simulated campus and a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from dure.errors import NotReady
from dure.wire.ids import new_id
from dure_hub.backends.base import Device, Inventory, MigRefused
from dure_hub.backends.embedded import SimulatedInventory
from dure_hub.catalogue.machine import MigInstance
from dure_hub.operations import admission
from dure_hub.operations.carving import Carver
from dure_hub.operations.gpu_errors import GpuGone
from dure_hub.operations.profiles import Profiles
from dure_hub.operations.refusals import Refusals
from dure_hub.settings import Settings
from dure_hub.store import Store, database_url
from dure_hub.store.migrate import migrate
from dure_hub.store.models import Event, Lease
from tests.support.world import HandClock


@dataclass
class Campus:
    """What the tests touch."""

    store: Store
    clock: HandClock
    place: SimulatedInventory
    carver: Carver
    settings: Settings

    async def gpu(self, uuid: str = "") -> Device:
        """An H100 with MIG on: the one with this UUID, or one that is not cut yet."""
        devices = (await self.place.look()).devices
        empty = (one for one in devices if one.mig_mode and not one.instances and "H100" in one.name)
        return next(one for one in devices if one.uuid == uuid) if uuid else next(empty)

    def lease(self, *pieces: tuple[str, str | None, int | None], visible: str | None = None) -> str:
        """A lease on these (GPU, MIG profile, start)."""
        rows = [
            {"device": gpu, "cpu_cores": 1.0, "memory_mb": 1024}
            | ({"mig": mig, "start": start, "visible": visible} if mig else {})
            for gpu, mig, start in pieces
        ]
        lease_id = new_id()
        with self.store.transaction() as session:
            lease = Lease(
                id=lease_id, owner="ann", purpose="training", subject="j", profile="mig", slices=rows,
                granted_at=self.clock(), handle={},
            )  # fmt: skip
            session.add(lease)
        return lease_id

    async def shown(self, lease_id: str) -> tuple[str, ...]:
        """What a process under this lease would be shown."""
        return await self.store.read(lambda session: admission.visible(session.get_one(Lease, lease_id)))

    async def events(self, verb: str) -> int:
        """How often this was written."""
        query = select(Event).where(Event.verb == verb)
        return len(await self.store.read(lambda session: session.scalars(query).all()))


@pytest.fixture
async def campus(tmp_path: Path) -> AsyncIterator[Campus]:
    settings = Settings(data=tmp_path, simulated_fleet="campus", instance="0123456789ab")
    settings.folder.create()
    migrate(settings)
    store, clock = Store(database_url(settings)), HandClock()
    place = SimulatedInventory(settings, clock)
    yield Campus(store, clock, place, Carver(settings, store, clock, place), settings)
    store.close()


async def test_what_a_lease_holds_is_made_and_noted(campus: Campus) -> None:
    gpu = (await campus.gpu()).uuid
    lease = campus.lease((gpu, "3g.40gb", 4))
    assert await campus.shown(lease) == (), "a part of a GPU is never shown as the whole"
    pieces = await campus.carver.ready(lease)
    (made,) = (await campus.gpu(gpu)).instances
    assert (made.profile, made.start) == ("3g.40gb", 4)
    assert pieces is not None
    assert await campus.shown(lease) == (made.uuid,) == (pieces[0]["visible"],)
    assert await campus.events("lease.carve") == 1


async def test_asking_again_changes_nothing(campus: Campus) -> None:
    lease = campus.lease(((await campus.gpu()).uuid, "3g.40gb", 4))
    assert await campus.carver.ready(lease)
    assert await campus.carver.ready(lease) is None
    assert await campus.events("lease.carve") == 1


async def test_what_a_restart_of_the_machine_forgot_is_made_again(campus: Campus) -> None:
    gpu = (await campus.gpu()).uuid
    lease = campus.lease((gpu, "3g.40gb", 4), visible="MIG-of-before")
    await campus.carver.ready(lease)
    assert await campus.shown(lease) == ((await campus.gpu(gpu)).instances[0].uuid,)


async def test_what_nobody_holds_makes_way(campus: Campus) -> None:
    gpu = (await campus.gpu()).uuid
    await campus.place.make(gpu, "1g.10gb", 5)
    await campus.place.make(gpu, "1g.10gb", 0)
    await campus.carver.ready(campus.lease((gpu, "3g.40gb", 4)))
    assert {(one.profile, one.start) for one in (await campus.gpu(gpu)).instances} == {
        ("1g.10gb", 0),
        ("3g.40gb", 4),
    }


async def test_what_somebody_holds_stays(campus: Campus) -> None:
    gpu = (await campus.gpu()).uuid
    await campus.carver.ready(campus.lease((gpu, "1g.10gb", 5)))
    wrong = campus.lease((gpu, "3g.40gb", 4))
    with pytest.raises(MigRefused):
        await campus.carver.ready(wrong)
    assert [(one.profile, one.start) for one in (await campus.gpu(gpu)).instances] == [("1g.10gb", 5)]
    assert await campus.shown(wrong) == ()


async def test_what_is_in_the_way_of_what_cannot_be_made_stays(campus: Campus) -> None:
    gpu = (await campus.gpu()).uuid
    await campus.carver.ready(campus.lease((gpu, "1g.10gb", 5)))
    await campus.place.make(gpu, "1g.10gb", 6)
    with pytest.raises(MigRefused):
        await campus.carver.ready(campus.lease((gpu, "3g.40gb", 4)))
    assert {one.start for one in (await campus.gpu(gpu)).instances} == {5, 6}


async def test_a_held_instance_is_known_by_its_uuid_wherever_its_lease_thought_it_lies(campus: Campus) -> None:
    """It was granted while the driver hid the places."""
    gpu = (await campus.gpu()).uuid
    made = await campus.place.make(gpu, "1g.10gb", 5)
    campus.lease((gpu, "1g.10gb", 0), visible=made.uuid)
    with pytest.raises(MigRefused):
        await campus.carver.ready(campus.lease((gpu, "3g.40gb", 4)))
    assert [one.uuid for one in (await campus.gpu(gpu)).instances] == [made.uuid]


async def test_a_place_that_could_not_be_had_is_not_chosen_again_while_nothing_changes(
    campus: Campus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody computes by hand on an instance that nobody holds: removing it fails, as often as it is tried."""
    gpu = (await campus.gpu()).uuid
    idle = await campus.place.make(gpu, "1g.10gb", 5)
    profiles = Profiles(campus.settings, campus.store, campus.clock, campus.place)

    async def blocked() -> frozenset[int]:
        fleet = await profiles.fleet()
        return next(one.blocked for node in fleet.machines for one in node.gpus if one.uuid == gpu)

    async def busy(device: str, instance: MigInstance) -> None:
        raise MigRefused(device=device, why={"en": "In use.", "ko": "사용 중입니다."})

    assert await blocked() == frozenset()
    with monkeypatch.context() as patch:
        patch.setattr(campus.place, "remove", busy)
        with pytest.raises(MigRefused):
            await campus.carver.ready(campus.lease((gpu, "3g.40gb", 4)))
    assert await blocked() == {5}
    campus.clock.move(570)
    assert await blocked() == {5}
    await campus.place.remove(gpu, idle)
    campus.clock.move(20)  # as old as a look may be, and not as old as a refusal is kept
    assert await blocked() == frozenset()


async def test_a_refusal_is_forgotten_after_a_while(campus: Campus) -> None:
    device = await campus.gpu()
    refusals = Refusals(campus.settings, campus.clock)
    refusals.note(device, range(4, 8))
    assert refusals.units([device]) == {device.uuid: {4, 5, 6, 7}}
    campus.clock.move(600)
    assert refusals.units([device]) == {}


async def test_what_another_process_cut_meanwhile_is_looked_at_anew(
    campus: Campus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portal cuts between the hub's look and its making."""
    gpu = (await campus.gpu()).uuid
    lease, look, looks = campus.lease((gpu, "3g.40gb", 4)), campus.place.look, 0

    async def late() -> Inventory:
        nonlocal looks
        seen, looks = await look(), looks + 1
        if looks == 1:
            await campus.place.make(gpu, "1g.10gb", 5)
        return seen

    monkeypatch.setattr(campus.place, "look", late)
    assert await campus.carver.ready(lease)
    assert looks == 2
    assert [(one.profile, one.start) for one in (await campus.gpu(gpu)).instances] == [("3g.40gb", 4)]


@pytest.mark.parametrize("mig", [("3g.40gb", 4), (None, None)])
async def test_nothing_starts_on_a_gpu_that_is_not_there(
    campus: Campus, mig: tuple[str | None, int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would see no GPU at all, and pay for one."""
    lease = campus.lease(("GPU-gone", *mig))
    with pytest.raises(GpuGone, match="GPU-gone"):
        await campus.carver.ready(lease)

    async def nothing() -> Inventory:
        return Inventory(1, 1, why_no_gpu={"en": "No driver.", "ko": "드라이버가 없습니다."})

    monkeypatch.setattr(campus.place, "look", nothing)
    with pytest.raises(NotReady, match="GPU-gone"):
        await campus.carver.ready(lease)


async def test_whole_gpus_and_ended_leases_are_left_alone(campus: Campus) -> None:
    gpu = (await campus.gpu()).uuid
    assert await campus.carver.ready(campus.lease((gpu, None, None))) is None
    assert await campus.carver.ready(campus.lease(("cpu", None, None))) is None
    ended = campus.lease((gpu, "3g.40gb", 4))
    with campus.store.transaction() as session:
        session.get_one(Lease, ended).ended_at = campus.clock()
    assert await campus.carver.ready(ended) is None
    assert await campus.carver.ready("no such lease") is None
    assert (await campus.gpu(gpu)).instances == ()
