"""What a budget does not pay for does not start, and is told what would."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from dure.wire.ids import new_id
from dure_hub.backends.base import Device, Inventory
from dure_hub.operations import admission
from dure_hub.operations.errors import OverBudget
from dure_hub.operations.money_errors import NoGpuHours
from dure_hub.operations.profiles import Fleet
from dure_hub.store.models import Budget, Lease, Quota, Ticket
from tests.support.world import World

HOUR, MICRO = 3600, 1_000_000


@pytest.fixture
async def fleet(world: World) -> Fleet:
    """An H100 at 8 an hour and an RTX 4090 at 2; team red has 20 a month."""
    devices = [
        Device("GPU-h", "H100", 81920, pci_device=0x2330, key="h100-sxm-80"),
        Device("GPU-r", "RTX 4090", 24564, pci_device=0x2684, key="rtx-4090"),
    ]
    world.place.inventory = Inventory(cpu_cores=32, memory_mb=131072, devices=devices)
    with world.store.transaction() as session:
        budget = Budget(kind="team", name="red", amount=20 * MICRO, set_by="admin", set_at=world.clock())
        session.add(budget)
    return await world.profiles.fleet()


def ask(world: World, fleet: Fleet, profile: str, hours: int, team: str = "red") -> Lease | Ticket:
    with world.store.transaction() as session:
        return admission.admit(
            session,
            ticket_id=new_id(),
            owner="ann",
            team=team,
            purpose=admission.NOTEBOOK,
            subject=new_id(),
            profile=profile,
            lifetime_s=hours * HOUR,
            now=world.clock(),
            fleet=fleet,
        )


def test_a_launch_that_breaks_the_budget_is_refused_and_a_cheaper_profile_named(
    world: World, fleet: Fleet
) -> None:
    with pytest.raises(OverBudget) as caught:
        ask(world, fleet, "gpu-full-h100-sxm-80", 3)
    assert (caught.value.facts["left"], caught.value.facts["comes_to"]) == ("20.00", "24.00")
    assert "gpu-full-rtx-4090" in caught.value.text("en") + str(caught.value.facts)
    with world.store.reading() as session:
        assert session.scalars(select(Ticket)).all() == []
    lease = ask(world, fleet, "gpu-full-h100-sxm-80", 2)
    assert isinstance(lease, Lease)
    assert lease.rate == 8 * MICRO


def test_what_runs_is_counted_to_its_end(world: World, fleet: Fleet) -> None:
    assert isinstance(ask(world, fleet, "gpu-full-h100-sxm-80", 2), Lease)
    with pytest.raises(OverBudget):
        ask(world, fleet, "gpu-full-rtx-4090", 3)
    assert isinstance(ask(world, fleet, "gpu-full-rtx-4090", 2), Lease)


def test_other_teams_are_not_asked_for_it(world: World, fleet: Fleet) -> None:
    assert isinstance(ask(world, fleet, "gpu-full-h100-sxm-80", 3, team="blue"), Lease)


def test_who_waits_is_asked_again_when_its_turn_comes(world: World, fleet: Fleet) -> None:
    first = ask(world, fleet, "gpu-full-h100-sxm-80", 2, team="blue")
    waits = ask(world, fleet, "gpu-full-h100-sxm-80", 2)
    assert isinstance(waits, Ticket)
    assert isinstance(ask(world, fleet, "gpu-full-rtx-4090", 4), Lease)
    with world.store.transaction() as session:
        admission.end_lease(session, first.id, "asked", world.clock())
        assert admission.grant_waiting(session, fleet, world.clock()) == []
        assert session.get_one(Ticket, waits.id).verdict["code"] == "over_budget_cheaper"
        session.get_one(Budget, ("team", "red")).amount = 100 * MICRO
        assert [ticket.id for ticket, _ in admission.grant_waiting(session, fleet, world.clock())] == [waits.id]


def test_who_has_no_gpu_hours_is_told_so_and_does_not_wait_for_ever(world: World, fleet: Fleet) -> None:
    with world.store.transaction() as session:
        session.add(Quota(kind="team", name="blue", gpu_hours_month=0, set_by="root", set_at=world.clock()))
    with pytest.raises(NoGpuHours) as caught:
        ask(world, fleet, "gpu-full-rtx-4090", 1, team="blue")
    assert (caught.value.status, caught.value.facts["name"]) == (422, "blue")
    for language in ("en", "ko"):
        assert "{" not in caught.value.text(language) + caught.value.advice(language)
        assert "blue" in caught.value.text(language)
    assert isinstance(ask(world, fleet, "cpu", 1, team="blue"), Lease)
