"""GPUs in trouble: what is granted, who is told, and what is charged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import NotAllowed
from dure.wire.ids import new_id
from dure_hub.backends.base import Fault, Health, Inventory, NodeInventory, Outsider
from dure_hub.operations import standing
from dure_hub.operations.device_errors import DeviceDrains, SayWhy, TooLittleNotice
from dure_hub.operations.devices import Devices
from dure_hub.operations.fleet import Fleets
from dure_hub.operations.gpu_errors import NoSuchGpu
from dure_hub.operations.ledger import Ledger
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Fleet
from dure_hub.store.models import Closure, Event, Lease, Ticket
from tests.support.world import FixedInventory, World, gpus

ANN, ROOT = Person("ann"), Person("root", admin=True)
FIRST, SECOND = "GPU-NVIDIA H100-0", "GPU-NVIDIA H100-1"


class SickInventory(FixedInventory):
    """A place whose health is what a test says."""

    answers = True

    def __init__(self, inventory: Inventory) -> None:
        super().__init__(inventory)
        self.sick = Health()

    async def health(self) -> Health:
        return replace(self.sick, present=self.inventory.devices) if self.answers else Health()

    def lose(self, *uuids: str) -> None:
        """These are not there any more."""
        left = [device for device in self.inventory.devices if device.uuid not in uuids]
        self.inventory = replace(self.inventory, devices=left)


class Sickbay(World):
    """A world with two GPUs, and what looks after them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.sick = SickInventory(Inventory(cpu_cores=16, memory_mb=65536, devices=gpus(2)))
        self.profiles._inventory = self.sick
        self.devices = self.looker()
        self.ledger = Ledger(self.store, self.clock)

    def looker(self) -> Devices:
        """What a portal that was just started looks by."""
        made = Devices(self.store, self.clock, self.sick)
        made.changed = self.profiles.forget
        return made

    async def look(self, times: int = 2) -> None:
        """So many looks, five seconds apart."""
        for _ in range(times):
            await self.devices.look()
            self.clock.move(5)

    async def server(self, name: str = "default", person: Person = ANN) -> Lease | None:
        """Ask for a GPU; the lease, None where it waits."""
        profile = next(one for one in (await self.profiles.fleet()).profiles.values() if one.gpus == 1)
        ask = wire.EnvironmentRequest(id=new_id(), name=name, profile=profile.name)
        found = await self.environments.request(person, ask)
        if found.lease is None:
            return None
        grant = await self.environments.claim(person.name, name, None, None)
        await self.environments.save_handle(self.servers.put(grant.lease))
        with self.store.reading() as session:
            return session.get_one(Lease, grant.lease)

    def rows(self) -> Sequence[Closure]:
        with self.store.reading() as session:
            return session.scalars(select(Closure)).all()

    def events(self, verb: str) -> Sequence[Event]:
        with self.store.reading() as session:
            return session.scalars(select(Event).where(Event.verb == verb)).all()

    async def states(self) -> dict[str, str]:
        return {one.uuid: one.state for one in await self.devices.list(ROOT)}

    async def free(self) -> tuple[int | None, int | None]:
        """Free and total of whole GPUs."""
        found = next(one for one in await self.profiles.list(ANN) if one.gpus == 1)
        return found.free, found.total


@pytest.fixture
async def bay(tmp_path: Path) -> AsyncIterator[Sickbay]:
    made = Sickbay(tmp_path)
    yield made
    await made.close()


def device_of(lease: Lease | None) -> str:
    assert lease is not None
    return str(lease.slices[0]["device"])


async def test_a_gpu_that_falls_off_the_bus_is_missed_at_the_second_look_and_stays_part_of_the_place(
    bay: Sickbay,
) -> None:
    await bay.look()
    assert await bay.free() == (2, 2)
    bay.sick.lose(FIRST)
    await bay.look(1)
    assert bay.rows() == []
    await bay.look(1)
    assert [(row.device, row.code) for row in bay.rows()] == [(FIRST, "lost")]
    assert await bay.free() == (1, 2)
    assert await bay.states() == {FIRST: "unhealthy", SECOND: "healthy"}
    assert device_of(await bay.server()) == SECOND
    assert await bay.server("other") is None, "it waits for the one that is lost"


async def test_one_look_without_it_is_no_fault(bay: Sickbay) -> None:
    await bay.look()
    there = bay.sick.inventory
    bay.sick.lose(FIRST)
    await bay.look(1)
    bay.sick.inventory = there
    await bay.look(1)
    bay.sick.lose(FIRST)
    await bay.look(1)
    assert bay.rows() == []


async def test_of_a_driver_that_does_not_answer_nothing_is_said(bay: Sickbay) -> None:
    await bay.look()
    bay.sick.lose(FIRST)
    await bay.look(1)
    bay.sick.answers = False
    await bay.look(1)
    bay.sick.answers = True
    await bay.look(1)
    assert bay.rows() == [], "the two looks were not in a row"


async def test_a_fault_outlives_the_portal_and_a_gpu_that_comes_back_stays_closed(bay: Sickbay) -> None:
    await bay.look()
    there = bay.sick.inventory
    bay.sick.lose(FIRST)
    await bay.look()
    bay.devices, bay.sick.inventory = bay.looker(), there
    await bay.look(3)
    assert await bay.states() == {FIRST: "unhealthy", SECOND: "healthy"}
    await bay.devices.uncordon(ROOT, FIRST)
    await bay.look(3)
    assert await bay.states() == {FIRST: "healthy", SECOND: "healthy"}
    assert await bay.free() == (2, 2)


def xid(number: int, at: datetime) -> Fault:
    return Fault(FIRST, "xid", {"xid": number}, at)


async def test_a_fatal_xid_counts_at_once_and_an_applications_own_never(bay: Sickbay) -> None:
    bay.sick.sick = Health(events=[xid(31, bay.clock())])
    await bay.look(3)
    assert bay.rows() == []
    bay.sick.sick = Health(events=[xid(31, bay.clock()), xid(79, bay.clock())])
    await bay.look(1)
    (row,) = bay.rows()
    assert (row.code, row.facts) == ("xid", {"xid": 79})
    shown = next(one for one in await bay.devices.list(ROOT) if one.uuid == FIRST)
    assert shown.why is not None
    assert "79" in shown.why["en"]
    assert "fallen off the bus" in shown.why["en"]


async def test_an_xid_from_before_the_gpu_was_taken_back_is_over(bay: Sickbay) -> None:
    bay.sick.sick = Health(events=[xid(79, bay.clock())])
    await bay.look(1)
    await bay.devices.uncordon(ROOT, FIRST)
    await bay.look(3)
    assert bay.rows() == []
    bay.sick.sick = Health(events=[xid(79, bay.clock())])
    await bay.look(1)
    assert [row.code for row in bay.rows()] == ["xid"]


async def test_who_holds_it_is_told_and_not_charged_from_the_fault_on(bay: Sickbay) -> None:
    await bay.look()
    lease = await bay.server()
    uuid = device_of(lease)
    assert lease is not None
    bay.clock.move(3600)
    broke = bay.clock()
    bay.sick.sick = Health(events=[Fault(uuid, "xid", {"xid": 79}, broke)])
    bay.clock.move(4)
    await bay.devices.look()
    shown = await bay.environments.get(ANN, "default")
    assert shown.phase != "stopped"
    assert shown.notice is not None
    assert "79" in shown.notice["en"]
    bay.clock.move(7200)
    costs = await bay.ledger.costs(ANN, start=lease.granted_at, end=bay.clock())
    held_s = (bay.clock() - lease.granted_at).total_seconds()
    paid_s = (broke - lease.granted_at).total_seconds()
    assert costs.total.hours == pytest.approx(held_s / 3600, abs=1e-6)
    assert costs.total.uncharged_hours == pytest.approx((held_s - paid_s) / 3600, abs=1e-6)
    assert costs.total.gpu_hours == pytest.approx(paid_s / 3600, abs=1e-6)
    (row,) = costs.uncharged
    assert (row.lease, row.device, row.since, row.until) == (lease.id, uuid, broke, None)
    with bay.store.reading() as session:
        use = standing.standing(session, bay.clock(), borrowing=True).use["user", "ann"]
    assert use.gpu_us == round(paid_s * 1e6), "nor does it count against a quota of GPU-hours"
    assert [event.on_behalf_of for event in bay.events("lease.uncharged")] == ["ann"]


async def test_charging_goes_on_where_the_gpu_is_taken_back_with_its_holder(bay: Sickbay) -> None:
    await bay.look()
    lease = await bay.server()
    assert lease is not None
    bay.sick.sick = Health(events=[Fault(device_of(lease), "xid", {"xid": 79}, bay.clock())])
    await bay.look(1)
    bay.clock.move(3595)
    await bay.devices.uncordon(ROOT, device_of(lease))
    bay.clock.move(1800)
    costs = await bay.ledger.costs(ANN, start=lease.granted_at, end=bay.clock())
    assert costs.total.uncharged_hours == pytest.approx(1, abs=1e-6)
    assert (await bay.environments.get(ANN, "default")).notice is None


async def test_a_fault_that_is_still_there_closes_it_again(bay: Sickbay) -> None:
    bay.sick.sick = Health(faults=[Fault(FIRST, "rows")])
    await bay.look()
    await bay.devices.uncordon(ROOT, FIRST)
    assert bay.rows() == []
    await bay.look(1)
    assert bay.rows() == []
    await bay.look(1)
    assert [row.code for row in bay.rows()] == ["rows"]


async def test_one_that_is_gone_for_good_is_forgotten(bay: Sickbay) -> None:
    await bay.look()
    bay.sick.lose(FIRST)
    await bay.look()
    assert await bay.devices.uncordon(ROOT, FIRST) is None
    await bay.look(3)
    assert await bay.states() == {SECOND: "healthy"}
    with pytest.raises(NoSuchGpu):
        await bay.devices.uncordon(ROOT, FIRST)


async def test_a_cordoned_gpu_is_granted_to_nobody_by_any_look_and_its_holder_goes_on(bay: Sickbay) -> None:
    lease = await bay.server()
    other = {FIRST, SECOND} - {device_of(lease)}
    fleet = await bay.profiles.fleet()  # a look from before
    until = bay.clock() + timedelta(days=2)
    for uuid in (device_of(lease), *other):
        await bay.devices.cordon(ROOT, uuid, wire.CordonRequest(until=until, message="new fans"))

    async def as_before(*_owners: str) -> Fleet:
        return fleet

    bay.profiles.fleet = as_before  # type: ignore[method-assign]
    assert await bay.server("other") is None
    assert lease is not None
    with bay.store.reading() as session:
        assert session.get_one(Lease, lease.id).until == lease.until
        ticket = session.scalars(select(Ticket).where(Ticket.state == "waiting")).one()
        assert (ticket.verdict["code"], ticket.verdict["facts"]["closed"]) == ("no_gpu_free", 2)
    assert {event.actor for event in bay.events("device.cordon")} == {"root"}
    shown = next(one for one in await bay.profiles.list(ANN) if one.gpus == 1)
    assert (shown.closed, shown.closed_until, shown.closed_message) == (2, until, "new fans")


async def test_who_waits_starts_once_it_is_taken_back(bay: Sickbay) -> None:
    for uuid in (FIRST, SECOND):
        await bay.devices.cordon(ROOT, uuid, wire.CordonRequest())
    assert await bay.server() is None
    await bay.reconciler.look()
    assert (await bay.environments.get(ANN, "default")).phase == "waiting"
    await bay.devices.uncordon(ROOT, SECOND)
    await bay.reconciler.look()
    found = await bay.environments.get(ANN, "default")
    assert found.lease is not None
    assert found.lease.slices[0].device == SECOND


async def test_a_drain_moves_the_end_and_nobody_puts_it_off(bay: Sickbay) -> None:
    lease = await bay.server()
    assert lease is not None
    assert lease.until is not None
    soon = bay.clock() + timedelta(minutes=9)
    with pytest.raises(TooLittleNotice):
        await bay.devices.drain(ROOT, device_of(lease), wire.DrainRequest(until=soon))
    with pytest.raises(SayWhy):
        await bay.devices.drain(ROOT, device_of(lease), wire.DrainRequest(now=True))
    assert bay.rows() == []
    shown = await bay.devices.drain(ROOT, device_of(lease), wire.DrainRequest(message="new fans"))
    by = bay.clock() + timedelta(minutes=10)
    assert (shown.state, shown.until) == ("draining", by)
    server = await bay.environments.get(ANN, "default")
    assert server.lease is not None
    assert server.lease.until == by
    assert server.notice is not None
    assert server.notice["en"].endswith("new fans")
    with pytest.raises(DeviceDrains):
        await bay.environments.extend(ANN, "default", wire.ExtendRequest(until=by + timedelta(minutes=1)))
    bay.clock.move(601)
    for _ in range(3):
        await bay.reconciler.look()
        bay.servers.there.clear()
    ended = await bay.environments.get(ANN, "default")
    assert (ended.phase, ended.reason) == ("stopped", "Its GPU was cleared for maintenance.")
    assert (await bay.states())[device_of(lease)] == "drained"


async def test_use_from_outside_closes_it_after_two_looks_and_opens_it_after_two(bay: Sickbay) -> None:
    stranger = Outsider(4711, "python", "ben", 9000)
    bay.sick.sick = Health(outsiders={FIRST: (stranger,)})
    await bay.look(1)
    assert bay.rows() == []
    await bay.look(1)
    assert await bay.states() == {FIRST: "used_outside", SECOND: "healthy"}
    shown = next(one for one in await bay.devices.list(ROOT) if one.uuid == FIRST)
    assert [(one.pid, one.name, one.user) for one in shown.outsiders] == [(4711, "python", "ben")]
    assert await bay.free() == (1, 2)
    bay.sick.sick = Health()
    await bay.look(1)
    assert len(bay.rows()) == 1
    await bay.look(1)
    assert bay.rows() == []


async def test_what_a_stranger_takes_of_it_is_no_news_but_another_stranger_is(bay: Sickbay) -> None:
    told: list[None] = []
    bay.devices.changed = lambda: told.append(None)
    for memory in range(9000, 9006):
        bay.sick.sick = Health(outsiders={FIRST: (Outsider(4711, "python", "ben", memory),)})
        await bay.look(1)
    assert (len(bay.events("device.outside")), len(told)) == (1, 1)
    shown = next(one for one in await bay.devices.list(ROOT) if one.uuid == FIRST)
    assert [one.memory_mb for one in shown.outsiders] == [9005], "as of the last look"
    bay.sick.sick = Health(outsiders={FIRST: (Outsider(4712, "python", "ben", 9005),)})
    await bay.look(2)
    assert (len(bay.events("device.outside")), len(told)) == (2, 2)


async def test_promises_are_reckoned_anew(bay: Sickbay) -> None:
    assert await bay.server("a")
    assert await bay.server("b")
    assert await bay.server("c") is None
    with bay.store.reading() as session:
        first = session.scalars(select(Ticket).where(Ticket.state == "waiting")).one().promised_at
    assert first is not None
    for uuid in (FIRST, SECOND):
        await bay.devices.cordon(ROOT, uuid, wire.CordonRequest())
    await bay.reconciler.look()
    with bay.store.reading() as session:
        assert session.scalars(select(Ticket).where(Ticket.state == "waiting")).one().promised_at is None


async def test_the_fleet_view_shows_the_lost_one_with_its_reason(bay: Sickbay) -> None:
    await bay.look()
    bay.sick.lose(FIRST)
    await bay.look()
    fleet = await Fleets(bay.store, bay.clock, bay.sick).look(ROOT)
    shown = {one.uuid: (one.state, one.health) for one in fleet.devices}
    assert shown[FIRST][0] == "unhealthy"
    assert shown[FIRST][1] is not None
    assert shown[SECOND] == ("healthy", None)


async def test_another_fleet_has_lost_nothing_of_the_one_before(bay: Sickbay) -> None:
    await bay.look()
    bay.sick.lose(FIRST)
    await bay.look()
    assert len(bay.rows()) == 1
    there = tuple(replace(one, uuid=f"GPU-{number}", node="n") for number, one in enumerate(gpus(2)))
    bay.sick.inventory = Inventory.of([NodeInventory("n", 16, 65536, there)])
    bay.devices = bay.looker()
    await bay.look(3)
    bay.profiles.forget()
    assert bay.rows() == []
    assert await bay.states() == {"GPU-0": "healthy", "GPU-1": "healthy"}
    assert await bay.free() == (2, 2)


@pytest.mark.parametrize("verb", ["list", "cordon", "drain", "uncordon"])
async def test_all_of_it_is_for_administrators(bay: Sickbay, verb: str) -> None:
    more = {"cordon": (FIRST, wire.CordonRequest()), "drain": (FIRST, wire.DrainRequest()), "uncordon": (FIRST,)}
    with pytest.raises(NotAllowed):
        await getattr(bay.devices, verb)(ANN, *more.get(verb, ()))
