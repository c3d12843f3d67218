"""What a request would come to is what it then comes to."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.backends.base import Device, Inventory
from dure_hub.operations import admission
from dure_hub.operations.errors import BadLifetime, NeverFits, NoSuchProfile, OverBudget
from dure_hub.operations.people import NameYourTeam, Person
from dure_hub.operations.plans import Plans
from dure_hub.policies import promises
from dure_hub.store.models import Budget, Event, Lease, Ticket
from tests.support.world import World, gpus

ANN = Person("ann")


def plans(world: World) -> Plans:
    return Plans(world.settings, world.store, world.clock, world.profiles)


async def take(
    world: World, lifetime_s: int | None, profile: str = "cpu", purpose: str = "notebook"
) -> Lease | Ticket:
    """Somebody else's request."""
    fleet = await world.profiles.fleet()
    with world.store.transaction() as session:
        return admission.admit(
            session,
            ticket_id=new_id(),
            owner="ben",
            purpose=purpose,
            subject="s",
            profile=profile,
            lifetime_s=lifetime_s,
            now=world.clock(),
            fleet=fleet,
        )


async def test_with_room_it_starts_now_and_nothing_is_written(world: World) -> None:
    plan = await plans(world).get(ANN, "cpu")
    assert plan == wire.Plan(
        profile="cpu", cpu_cores=0.5, memory_mb=2048, max_lifetime_s=86400, free=2, total=2, starts_now=True
    )
    with world.store.reading() as session:
        for table in (Ticket, Lease, Event):
            assert session.scalar(select(func.count()).select_from(table)) == 0


async def test_without_room_it_starts_at_the_latest_when_those_before_it_have_ended(world: World) -> None:
    for hours in (1, 2):
        assert isinstance(await take(world, hours * 3600), Lease)
    plan = await plans(world).get(ANN, "cpu", "notebook")
    assert (plan.starts_now, plan.free, plan.position) == (False, 0, 1)
    now = world.clock()
    assert plan.expected_start == promises.latest(now + timedelta(hours=1), now)
    waits = await take(world, 600)  # gets the first hour's place, and gives it back after ten minutes
    plan = await plans(world).get(ANN, "cpu", "notebook")
    assert plan.position == 2
    assert plan.expected_start == promises.latest(now + timedelta(hours=1, minutes=10), now)
    world.clock.move(1)
    same = await world.environments.request(ANN, wire.EnvironmentRequest(id=new_id(), profile="cpu"))
    assert same.ticket is not None
    assert (same.ticket.position, same.ticket.expected_start) == (plan.position, plan.expected_start)
    assert isinstance(waits, Ticket)


async def test_room_that_somebody_waits_for_is_not_promised(world: World) -> None:
    held = [await take(world, 3600) for _ in range(2)]
    await take(world, 3600)
    with world.store.transaction() as session:
        admission.end_lease(session, held[0].id, "asked", world.clock())
    plan = await plans(world).get(ANN, "cpu")
    assert (plan.free, plan.starts_now, plan.position) == (1, False, 2)


async def test_behind_leases_without_an_end_the_start_is_unknown(world: World) -> None:
    for _ in range(2):
        await take(world, None, purpose="serving")
    plan = await plans(world).get(ANN, "cpu", "notebook")
    assert (plan.starts_now, plan.expected_start, plan.rate) == (False, None, None)


async def test_what_is_free_instead_is_named(tmp_path: Path) -> None:
    world = World(tmp_path, Inventory(cpu_cores=8, memory_mb=65536, devices=gpus(1)))
    try:
        await take(world, 3600, "gpu-full")
        plan = await plans(world).get(ANN, "gpu-full")
        assert (plan.gpus, plan.gpu_model, plan.starts_now, plan.next_best) == (1, "NVIDIA H100", False, "cpu")
    finally:
        await world.close()


async def test_what_is_not_offered_or_never_fits_is_a_sentence(world: World, tmp_path: Path) -> None:
    with pytest.raises(NoSuchProfile, match="cpu"):
        await plans(world).get(ANN, "gpu-huge")
    small = World(tmp_path / "small", Inventory(cpu_cores=2, memory_mb=1024))
    try:
        with pytest.raises(NeverFits):
            await plans(small).get(ANN, "cpu")
    finally:
        await small.close()


@pytest.fixture
async def paid(world: World) -> World:
    """An H100 at 8 an hour; team red has 90 a month, its project digits 20."""
    devices = [Device("GPU-h", "H100", 81920, pci_device=0x2330, key="h100-sxm-80")]
    world.place.inventory = Inventory(cpu_cores=32, memory_mb=131072, devices=devices)
    with world.store.transaction() as session:
        for kind, name, amount in (("team", "red", 90), ("project", "red/digits", 20)):
            row = Budget(kind=kind, name=name, amount=amount * 10**6, set_by="root", set_at=world.clock())
            session.add(row)
    return world


async def test_it_is_judged_for_as_long_as_the_launch_would_hold_it_and_by_its_project(paid: World) -> None:
    red, look = Person("ann", teams=frozenset({"red"})), plans(paid).get
    assert (await look(red, "gpu-full", "notebook")).starts_now, "four hours come to 32"
    for purpose in ("training", "serving"):  # a day, and the rest of the month
        with pytest.raises(OverBudget) as caught:
            await look(red, "gpu-full", purpose)
        assert caught.value.facts["kind"] == "team"
    assert (await look(red, "gpu-full", "schedule")).starts_now, "an execution may take an hour"
    assert (await look(red, "gpu-full", "notebook", lifetime_s=11 * 3600)).starts_now
    with pytest.raises(OverBudget) as caught:
        await look(red, "gpu-full", "notebook", lifetime_s=12 * 3600)
    assert caught.value.facts["comes_to"] == "96.00"
    with pytest.raises(OverBudget) as caught:
        await look(red, "gpu-full", "notebook", project="digits")
    assert (caught.value.facts["kind"], caught.value.facts["name"]) == ("project", "red/digits")
    assert (await look(red, "gpu-full", "notebook", project="words")).starts_now
    with pytest.raises(BadLifetime):
        await look(red, "gpu-full", "notebook", lifetime_s=10**7)


async def test_it_is_the_teams_that_would_pay(paid: World) -> None:
    both, look = Person("ann", teams=frozenset({"red", "blue"})), plans(paid).get
    with pytest.raises(NameYourTeam):
        await look(both, "gpu-full")
    assert (await look(both, "gpu-full", team="blue")).starts_now
    with pytest.raises(OverBudget):
        await look(both, "gpu-full", team="red")
