"""What one server uses, for its owner."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dure.errors import NotAllowed, NotFound, NotRunning
from dure.wire.usage import OwnDevice
from dure_hub.backends.base import Inventory, Measures, MigDevice, OwnUse, Reading, Usage
from dure_hub.operations.fleet import Fleets
from dure_hub.operations.own_usage import own_usage
from dure_hub.operations.people import Person
from dure_hub.store.models import Lease
from tests.support.world import FixedInventory, World, gpus

ANN, BEN, ROOT = Person("ann"), Person("ben"), Person("root", admin=True)
CPU = {"device": "cpu", "cpu_cores": 2, "memory_mb": 4096}


class Counted(FixedInventory):
    """Counts its looks."""

    times = 0

    async def measure(self) -> Measures:
        self.times += 1
        return self.measures


async def start(world: World, *pieces: dict[str, object]) -> str:
    """Ann's server, which holds these; its lease."""
    grant = await world.environments.claim("ann", "", None, "cpu")
    with world.store.transaction() as session:
        session.get_one(Lease, grant.lease).slices = [CPU, *pieces]
    return grant.lease


def place() -> Counted:
    """Two GPUs, the second cut."""
    whole, cut = gpus(2)
    instances = (MigDevice("MIG-1", "1g.10gb", 0, 1, 9728), MigDevice("MIG-2", "1g.10gb", 1, 1, 9728))
    devices = [whole, replace(cut, mig_mode=True, instances=instances)]
    return Counted(Inventory(cpu_cores=8, memory_mb=65536, devices=devices))


def fleets(world: World, where: FixedInventory) -> Fleets:
    return Fleets(world.store, world.clock, where, world.clock.seconds)


async def test_an_owner_sees_what_is_used_and_nothing_of_others(world: World) -> None:
    where = place()
    whole, cut = (device.uuid for device in where.inventory.devices)
    lease = await start(
        world,
        {"device": whole, "cpu_cores": 4, "memory_mb": 1024, "share": 250},
        {"device": cut, "cpu_cores": 0, "memory_mb": 0, "mig": "1g.10gb", "start": 0, "visible": "MIG-1"},
    )
    where.measures = Measures(
        devices={whole: Reading(1000, 0.5, 40.0, 100.0), cut: Reading(70000, 0.9)},
        leases={lease: Usage(1.5, 700), "somebody's": Usage(9, 9)},
        instances={"MIG-1": Reading(512, 0.25), "MIG-2": Reading(9000, 1.0)},
        own={whole: {lease: OwnUse(300, 0.125, 0.2, 0.2), "somebody's": OwnUse(700, 0.375, 0.5, 0.5)}},
    )
    seen = await own_usage(world.store, world.clock, fleets(world, where), ANN, "default")
    assert (seen.at, seen.cpu_cores, seen.memory_mb) == (world.clock(), 6, 5120)
    assert (seen.cpu_used, seen.memory_used_mb) == (1.5, 700)
    assert seen.devices == [
        OwnDevice(
            uuid=whole, name="NVIDIA H100", share=250, memory_mb=81920, memory_used_mb=300, utilisation=0.125
        ),
        OwnDevice(
            uuid="MIG-1", name="NVIDIA H100", mig="1g.10gb", memory_mb=9728, memory_used_mb=512, utilisation=0.25
        ),
    ]


async def test_the_whole_of_a_shared_gpu_is_never_shown_as_ones_own(world: World) -> None:
    where = place()
    whole = where.inventory.devices[0].uuid
    lease = await start(world, {"device": whole, "cpu_cores": 4, "memory_mb": 1024, "share": 500})
    for own, shown in (
        ({}, (None, None)),
        ({whole: {"somebody's": OwnUse(700, 0.5, 0.5, 0.5)}}, (None, None)),
        ({whole: {lease: OwnUse(None, 0.0, 0.0, 0.5)}}, (None, 0.0)),
        ({whole: {lease: OwnUse(0, None, 0.0, 0.5)}}, (0, None)),
    ):
        where.measures = Measures(devices={whole: Reading(1000, 0.5, 40.0, 100.0)}, own=own)
        (device,) = (await own_usage(world.store, world.clock, fleets(world, where), ANN, "default")).devices
        assert (device.memory_used_mb, device.utilisation) == shown


async def test_what_nobody_can_say_is_null(world: World) -> None:
    where = place()
    cut = where.inventory.devices[1].uuid
    await start(
        world,
        {"device": "GPU-gone", "cpu_cores": 0, "memory_mb": 0},
        {"device": cut, "cpu_cores": 0, "memory_mb": 0, "mig": "1g.10gb", "start": 3},
    )
    where.measures = Measures(instances={"MIG-1": Reading(1, 1.0)})
    seen = await own_usage(world.store, world.clock, fleets(world, where), ANN, "default")
    assert (seen.cpu_used, seen.memory_used_mb) == (None, None)
    for device in seen.devices:
        assert (device.memory_mb, device.memory_used_mb, device.utilisation) == (None, None, None)
    assert [device.uuid for device in seen.devices] == ["GPU-gone", cut]


async def test_many_who_ask_share_one_look(world: World) -> None:
    where = place()
    await start(world)
    looks = fleets(world, where)
    for _ in range(20):
        await own_usage(world.store, world.clock, looks, ANN, "default")
    assert await looks.keep_fresh() is None, "an open JupyterLab does not keep the machine measuring"
    assert where.times == 1


async def test_it_is_the_owners_and_administrators(world: World) -> None:
    where = place()
    looks = fleets(world, where)
    with pytest.raises(NotFound):
        await own_usage(world.store, world.clock, looks, ANN, "default")
    lease = await start(world)
    with pytest.raises(NotAllowed):
        await own_usage(world.store, world.clock, looks, BEN, "default", "ann")
    assert (await own_usage(world.store, world.clock, looks, ROOT, "default", "ann")).memory_mb == 4096
    await world.environments.ended(lease, "stopped")
    times = where.times
    with pytest.raises(NotRunning):
        await own_usage(world.store, world.clock, looks, ANN, "default")
    assert where.times == times, "nothing was looked at for it"
