"""Devices, holders and what they use, for administrators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dure.errors import NotAllowed
from dure.wire.ids import new_id
from dure_hub.backends.base import Inventory, Measures, Reading, Usage
from dure_hub.operations import admission
from dure_hub.operations.fleet import KEEP_S, Fleets
from dure_hub.operations.people import Person
from dure_hub.store.models import Endpoint, Environment, Execution, Job, Lease, Replica, Schedule
from tests.support.world import FixedInventory, World, gpus

ANN, ROOT = Person("ann"), Person("root", admin=True)
NO_GPU = {"en": "None.", "ko": "없음."}


class Counted(FixedInventory):
    """Takes its time, and counts how often it was asked to."""

    times = 0
    broken = False

    async def measure(self) -> Measures:
        self.times += 1
        await asyncio.sleep(0.01)
        if self.broken:
            raise OSError("cannot look")
        return self.measures


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Two GPUs."""
    made = World(tmp_path, Inventory(cpu_cores=8, memory_mb=65536, devices=gpus(2)))
    yield made
    await made.close()


def fleets(world: World, place: FixedInventory | None = None) -> Fleets:
    return Fleets(world.store, world.clock, place or world.place, world.clock.seconds)


async def take(world: World, purpose: str, subject: str, profile: str = "cpu") -> str:
    """A lease of ann's."""
    fleet = await world.profiles.fleet()
    with world.store.transaction() as session:
        got = admission.admit(
            session,
            ticket_id=new_id(),
            owner="ann",
            purpose=purpose,
            subject=subject,
            profile=profile,
            lifetime_s=None if purpose == "serving" else 3600,
            now=world.clock(),
            fleet=fleet,
        )
    assert isinstance(got, Lease)
    world.clock.move(1)
    return got.id


def lay(world: World) -> None:
    """One of each that can hold a lease."""
    now = world.clock()
    with world.store.transaction() as session:
        session.add(Environment(id="e", owner="ann", name="lab", profile="cpu", phase="running", asked_at=now))
        session.add(
            Job(id="j", owner="ann", name="fit", profile="cpu", state="running", snapshot="s", entry="a.py",
                experiment="x", created_at=now)
        )  # fmt: skip
        session.add(
            Endpoint(id="p", name="digits", owner="ann", model="m", profile="cpu", state="ready", created_at=now)
        )
        session.add(
            Schedule(id="s", owner="ann", name="nightly", snapshot="s", notebook="a.ipynb", cron="* * * * *",
                timezone="UTC", profile="cpu", limit_s=60, created_at=now)
        )  # fmt: skip
        session.flush()
        session.add(
            Replica(
                id="r", endpoint_id="p", version=1, role="champion", percent=100, phase="ready", created_at=now
            )
        )
        session.add(Execution(id="x", schedule_id="s", owner="ann", number=1, state="running", created_at=now))


async def test_holders_are_named_and_shown_with_their_devices(world: World) -> None:
    lay(world)
    leases = [
        await take(world, "notebook", "e", "gpu-full"),
        await take(world, "training", "j"),
        await take(world, "serving", "r"),
        await take(world, "schedule", "x"),
        await take(world, "training", "of a row that is gone"),
    ]
    gpu = world.place.inventory.devices[0].uuid
    world.place.measures = Measures(
        {gpu: Reading(1024, 0.5, 41.0, 71.25)}, {leases[0]: Usage(0.5, 700)}, Usage(1.5, 9000)
    )
    seen = await fleets(world).look(ROOT)
    assert [holder.subject for holder in seen.holders] == [
        "ann/lab",
        "ann/fit",
        "digits",
        "ann/nightly",
        "of a row that is gone",
    ]
    first, second = seen.devices
    assert (first.utilisation, first.memory_used_mb, first.temperature_c, first.power_w) == (0.5, 1024, 41, 71.25)
    assert [holder.lease for holder in first.holders] == [leases[0]]
    assert (first.holders[0].cpu_used, first.holders[0].memory_used_mb) == (0.5, 700)
    assert first.holders[0].cpu_cores > 0
    assert (second.utilisation, second.holders) == (None, [])
    assert (seen.holders[1].cpu_used, seen.holders[2].until) == (None, None)
    assert (seen.cpu_used, seen.memory_used_mb, seen.cpu_cores) == (1.5, 9000, 8)


async def test_a_sick_gpu_says_what_is_wrong(world: World) -> None:
    sick, well = world.place.inventory.devices
    why = {"en": "Rows wait.", "ko": "대기 중."}
    place = FixedInventory(Inventory(8, 65536, [replace(sick, health=why), well]))
    assert [one.health for one in (await fleets(world, place).look(ROOT)).devices] == [why, None]


async def test_what_has_ended_holds_nothing(world: World) -> None:
    lease = await take(world, "training", "j")
    with world.store.transaction() as session:
        admission.end_lease(session, lease, "asked", world.clock())
    assert (await fleets(world).look(ROOT)).holders == []


async def test_why_there_is_no_gpu_is_told(world: World) -> None:
    place = FixedInventory(Inventory(cpu_cores=2, memory_mb=4096, why_no_gpu=NO_GPU))
    seen = await fleets(world, place).look(ROOT)
    assert (seen.devices, seen.why_no_gpu, seen.cpu_used) == ([], NO_GPU, None)


async def test_it_is_for_administrators(world: World) -> None:
    place = Counted(world.place.inventory)
    with pytest.raises(NotAllowed):
        await fleets(world, place).look(ANN)
    assert place.times == 0


async def test_many_viewers_share_one_measure_for_two_seconds(world: World) -> None:
    place = Counted(world.place.inventory)
    ours = fleets(world, place)
    await asyncio.gather(*(ours.look(ROOT) for _ in range(5)))
    assert place.times == 1
    world.clock.move(2)
    await ours.look(ROOT)
    assert place.times == 2


async def test_a_look_that_fails_is_not_kept(world: World) -> None:
    place = Counted(world.place.inventory)
    ours, place.broken = fleets(world, place), True
    with pytest.raises(OSError, match="cannot look"):
        await ours.look(ROOT)
    place.broken = False
    assert (await ours.look(ROOT)).cpu_cores == 8


async def test_while_somebody_looks_on_the_next_look_is_made_ahead(world: World) -> None:
    place = Counted(world.place.inventory)
    ours = fleets(world, place)
    assert await ours.keep_fresh() is None
    await ours.look(ROOT)
    world.clock.move(1.5)
    ahead = await ours.keep_fresh()
    world.clock.move(1.5)
    assert await ours.seen() is ahead
    assert place.times == 2
    world.clock.move(11)
    assert await ours.keep_fresh() is None


async def test_after_a_change_no_older_look_is_shown(world: World) -> None:
    place = Counted(world.place.inventory)
    ours = fleets(world, place)
    before = await ours.seen()
    world.clock.move(0.5)
    ours.forget()
    assert await ours.seen() is not before
    assert place.times == 2


async def test_servers_that_ask_for_their_own_use_share_a_look_and_have_none_made_ahead(world: World) -> None:
    place = Counted(world.place.inventory)
    ours = fleets(world, place)
    for _ in range(20):  # ten seconds, in which many servers ask and the tick comes as often as it can
        await asyncio.gather(*(ours.seen(watching=False) for _ in range(5)), ours.keep_fresh())
        world.clock.move(0.5)
    assert place.times == 5


async def test_what_was_looked_at_just_now_is_not_looked_at_again(world: World) -> None:
    place = Counted(world.place.inventory)
    ours = fleets(world, place)
    seen = await ours.seen()
    world.clock.move(KEEP_S / 2)
    assert await ours.keep_fresh() is seen
    ours.forget()
    assert await ours.keep_fresh() is not seen
    await asyncio.gather(*(ours.keep_fresh() for _ in range(5)))
    assert place.times == 2
