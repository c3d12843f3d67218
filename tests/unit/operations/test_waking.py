"""After a gap nothing ends for its time before its owner could be told: leases, idle servers, turns, requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.operations.people import Person
from dure_hub.operations.reconcile import Reconciler
from dure_hub.operations.waking import Waking
from dure_hub.store.models import Environment, Event, Lease, Ticket, Token
from tests.support.world import World

ANA, BEN = Person("ana"), Person("ben")
NOTICE = timedelta(minutes=10)
HOUR = 3600


@dataclass
class Machine:
    """What the kernel counts, moved by hand: time awake, and time suspended."""

    world: World
    awake: float = 0
    suspended: float = 0

    async def lives(self, seconds: int) -> None:
        """Time passes, with a look every half minute."""
        for _ in range(seconds // 30):
            self.world.clock.move(30)
            self.awake += 30
            await self.world.reconciler.look()

    def sleeps(self, seconds: float) -> None:
        """Nobody looks."""
        self.world.clock.move(seconds)
        self.suspended += seconds

    def portal(self) -> None:
        """Another one, as after a restart."""
        world = self.world
        waking = Waking(world.settings, lambda: self.awake, lambda: self.suspended)
        world.reconciler = Reconciler(
            world.settings, world.store, world.clock, world.profiles, [world.runs], waking
        )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Room for two holders of `cpu`."""
    made = World(tmp_path, ticket_timeout_s=2 * HOUR)
    yield made
    await made.close()


@pytest.fixture
async def machine(world: World) -> AsyncIterator[Machine]:
    """A machine whose portal has looked once."""
    made = Machine(world)
    made.portal()
    await world.reconciler.look()
    yield made
    await world.reconciler.close()


async def server(world: World, who: Person = ANA, lifetime_s: int = HOUR, name: str = "default") -> str:
    """A running server; its lease."""
    ask = wire.EnvironmentRequest(id=new_id(), name=name, profile="cpu", lifetime_s=lifetime_s)
    await world.environments.request(who, ask)
    grant = await world.environments.claim(who.name, name, None, None)
    await world.environments.save_handle(world.servers.put(grant.lease))
    world.jupyterhub.put(who.name, "" if name == "default" else name)
    return grant.lease


def lease(world: World, lease_id: str) -> Lease:
    with world.store.reading() as session:
        return session.get_one(Lease, lease_id)


def told(world: World, verb: str) -> list[Event]:
    with world.store.reading() as session:
        return list(session.scalars(select(Event).where(Event.verb == verb).order_by(Event.at)))


async def test_a_lease_that_ended_in_sleep_ends_ten_minutes_after_the_wake(world: World, machine: Machine) -> None:
    held = await server(world)
    await machine.lives(600)
    before = lease(world, held).until
    assert before is not None
    machine.sleeps(5 * HOUR)
    woke = world.clock()
    await world.reconciler.look()
    seen = lease(world, held)
    assert (seen.until, seen.end_reason) == (woke + NOTICE, None)
    await machine.lives(570)
    assert lease(world, held).end_reason is None
    await machine.lives(60)
    assert lease(world, held).end_reason == "expired"
    (event,) = told(world, "environment.put_off")
    assert (event.object, event.on_behalf_of) == ("environment:ana/default", "ana")
    assert event.verdict["code"] == "machine_slept"
    assert event.verdict["facts"] == {
        "away_s": 5 * HOUR,
        "since": (woke - timedelta(hours=5)).isoformat(),
        "before": before.isoformat(),
        "until": (woke + NOTICE).isoformat(),
    }
    assert [one.object for one in told(world, "lease.put_off")] == [f"lease:{held}"], "once"


async def test_its_owner_reads_why_until_the_end_is_moved_again(world: World, machine: Machine) -> None:
    await server(world)
    before = (await world.environments.get(ANA, "default")).lease
    machine.sleeps(5 * HOUR)
    assert (await world.environments.get(ANA, "default")).put_off is None
    await world.reconciler.look()
    seen = await world.environments.get(ANA, "default")
    assert seen.put_off is not None
    assert before is not None
    assert (seen.put_off.code, seen.put_off.before) == ("machine_slept", before.until)
    assert seen.put_off.wake - seen.put_off.since == timedelta(hours=5)
    await world.environments.extend(
        ANA, "default", wire.ExtendRequest(until=world.clock() + timedelta(minutes=40))
    )
    assert (await world.environments.get(ANA, "default")).put_off is None


async def test_an_end_further_away_than_the_notice_stays(world: World, machine: Machine) -> None:
    held = await server(world, lifetime_s=4 * HOUR)
    before = lease(world, held).until
    machine.sleeps(2 * HOUR)
    await world.reconciler.look()
    assert lease(world, held).until == before
    assert told(world, "lease.put_off") == []


async def test_an_end_that_comes_while_somebody_looks_is_an_end(world: World, machine: Machine) -> None:
    held = await server(world)
    await machine.lives(HOUR)
    assert lease(world, held).end_reason == "expired"


async def test_the_same_after_hours_without_a_portal(world: World, machine: Machine) -> None:
    held = await server(world)
    world.clock.move(3 * HOUR)
    machine.awake += 3 * HOUR
    machine.portal()
    woke = world.clock()
    await world.reconciler.look()
    assert lease(world, held).until == woke + NOTICE
    assert told(world, "lease.put_off")[0].verdict["code"] == "portal_away"


async def test_what_its_owner_wanted_to_end_ends(world: World, machine: Machine) -> None:
    held = await server(world)
    await world.environments.stop(ANA, "default")
    machine.sleeps(5 * HOUR)
    await world.reconciler.look()
    assert lease(world, held).end_reason == "asked"
    assert told(world, "lease.put_off") == []


async def test_a_clock_that_is_set_is_no_end_either(world: World, machine: Machine) -> None:
    held = await server(world)
    world.clock.move(300 * HOUR)
    await world.reconciler.look()
    assert lease(world, held).end_reason is None
    assert told(world, "lease.put_off")[0].verdict["code"] == "clock_leapt"


async def test_a_sleep_in_the_middle_of_a_look_is_found_before_anything_ends(
    world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await server(world)
    look = world.servers.seen

    async def slept() -> object:
        found = await look()
        if machine.suspended == 0:
            machine.sleeps(5 * HOUR)
        return found

    monkeypatch.setattr(world.servers, "seen", slept)
    await world.reconciler.look()
    assert lease(world, held).end_reason is None
    assert lease(world, held).until == world.clock() + NOTICE


async def test_a_token_of_what_runs_on_lives_as_long_as_that(world: World, machine: Machine) -> None:
    held = await server(world)
    until = lease(world, held).until
    assert until is not None
    with world.store.transaction() as session:
        given = {"owner": "ana", "purpose": "job", "made_at": world.clock(), "scopes": {}}
        session.add(Token(id="T", digest="d", lease_id=held, expires_at=until + timedelta(seconds=90), **given))
    machine.sleeps(5 * HOUR)
    await world.reconciler.look()
    with world.store.reading() as session:
        assert session.get_one(Token, "T").expires_at == world.clock() + NOTICE + timedelta(seconds=90)


async def test_a_server_that_was_used_before_the_sleep_is_not_idle_at_once(world: World, machine: Machine) -> None:
    held = await server(world, lifetime_s=20 * HOUR)
    await machine.lives(600)
    with world.store.reading() as session:
        assert session.scalars(select(Environment.active_at)).one() is not None
    machine.sleeps(9 * HOUR)
    woke = world.clock()
    await world.reconciler.look()
    with world.store.reading() as session:
        used = session.scalars(select(Environment.active_at)).one()
    assert used == woke + NOTICE - timedelta(seconds=world.settings.idle_timeout_s)
    await machine.lives(600)
    assert lease(world, held).end_reason is None


async def test_a_held_turn_and_a_place_in_the_queue_outlive_the_sleep(tmp_path: Path) -> None:
    world = World(tmp_path, turn="hold", turn_wait_s=900, ticket_timeout_s=2 * HOUR)
    machine = Machine(world)
    machine.portal()
    await world.reconciler.look()
    first, second = await server(world), await server(world, BEN)
    for who in ("cho", "dan"):
        await world.environments.request(
            Person(who), wire.EnvironmentRequest(id=new_id(), name="default", profile="cpu")
        )
    world.servers.there.pop(first)
    await world.environments.stop(ANA, "default")
    await machine.lives(120)

    def phases() -> dict[str, str]:
        with world.store.reading() as session:
            return {row.owner: row.phase for row in session.scalars(select(Environment))}

    assert (phases()["cho"], phases()["dan"]) == ("held", "waiting"), phases()
    with world.store.reading() as session:
        (ticket,) = session.scalars(select(Ticket).where(Ticket.state == "waiting"))
    machine.sleeps(5 * HOUR)
    woke = world.clock()
    await world.reconciler.look()
    assert (phases()["cho"], phases()["dan"]) == ("held", "waiting")
    with world.store.reading() as session:
        after = session.get_one(Ticket, ticket.id)
        cho = session.scalars(select(Environment).where(Environment.owner == "cho")).one()
    assert cho.held_until == woke + NOTICE
    assert after.asked_at == ticket.asked_at, "its place"
    assert after.since is not None
    assert woke - after.since < timedelta(minutes=5)
    assert ticket.promised_at is not None
    assert after.promised_at == ticket.promised_at + timedelta(hours=5) + NOTICE
    assert lease(world, second).end_reason is None, "what it waits for ends later, too"
    await world.reconciler.close()
    await world.close()


async def test_a_notice_of_nothing_moves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, wake_notice_s=0)
    machine = Machine(world)
    machine.portal()
    await world.reconciler.look()
    held = await server(world)
    machine.sleeps(5 * HOUR)
    await world.reconciler.look()
    assert lease(world, held).end_reason == "expired"
    await world.close()


def test_the_kernel_tells_how_long_it_slept() -> None:
    from dure_hub.operations.waking import asleep_s

    assert -1 < asleep_s() < (datetime.now(UTC) - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds()
