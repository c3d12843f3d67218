"""Instances for leases: made before anything starts, over a simulated campus and a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from dure.wire.ids import new_id
from dure_hub.backends.base import Device, MigRefused
from dure_hub.backends.embedded import SimulatedInventory
from dure_hub.operations import admission
from dure_hub.operations.carving import Carver
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
    yield Campus(store, clock, place, Carver(settings, store, clock, place))
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


async def test_whole_gpus_and_ended_leases_are_left_alone(campus: Campus) -> None:
    gpu = (await campus.gpu()).uuid
    assert await campus.carver.ready(campus.lease(("GPU-whole", None, None))) is None
    ended = campus.lease((gpu, "3g.40gb", 4))
    with campus.store.transaction() as session:
        session.get_one(Lease, ended).ended_at = campus.clock()
    assert await campus.carver.ready(ended) is None
    assert await campus.carver.ready("no such lease") is None
    assert (await campus.gpu(gpu)).instances == ()
