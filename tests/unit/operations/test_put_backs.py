"""Servers that a queue beside the portal's has not let in: they cost nothing and wait in their place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, HeldBack, Inventory, Kind
from dure_hub.operations import leaving
from dure_hub.operations.errors import MustWait
from dure_hub.operations.people import Person
from dure_hub.services.why import told
from dure_hub.store.models import Counter, Event, Lease, Login, Ticket
from tests.support.world import World, gpus

PAUSE_S = 120
WHY = "insufficient unused quota for nvidia.com/gpu, 1 more needed"
HELD = HeldBack(queue="dure-vision", why=WHY)
PLACE = Inventory(cpu_cores=64, memory_mb=1 << 19, devices=gpus(2))


def person(name: str, team: str = "vision") -> Person:
    return Person(name, teams=frozenset({team}), team=team)


ROOT = Person("root", admin=True)
ANN, BEN, CHO = person("ann"), person("ben"), person("cho", "speech")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Two GPUs."""
    made = World(tmp_path, PLACE, kueue_pause_s=PAUSE_S)
    yield made
    await made.close()


async def ask(world: World, who: Person, profile: str = "gpu-full") -> wire.Environment:
    """A server; the hub is away, so that nothing but the test starts it."""
    world.jupyterhub.away = True
    wanted = wire.EnvironmentRequest(id=new_id(), name="default", profile=profile, team=who.team)
    return await world.environments.request(who, wanted)


async def begun(world: World, who: Person) -> str:
    """Its lease, claimed and with something of it there, as a pod that is held back is."""
    lease = (await ask(world, who)).lease
    assert lease is not None
    await take(world, who, lease.id)
    return lease.id


async def take(world: World, who: Person, lease: str) -> None:
    await world.environments.claim(who.name, "", lease, "gpu-full", who.teams)
    await world.environments.save_handle(world.servers.put(lease))


async def put_back(world: World, who: Person) -> str:
    """It was begun, and not let in: its lease, which has ended."""
    lease = await begun(world, who)
    await not_let_in(world, lease)
    return lease


async def not_let_in(world: World, lease: str) -> None:
    await world.environments.put_back(lease, HELD)
    await world.servers.stop(Handle(lease, Kind.SERVER), 0)
    await world.environments.ended(lease, "exited")


async def seen(world: World, who: Person) -> wire.Environment:
    return told(await world.environments.get(who, "default"))


def row(world: World, lease: str) -> Lease:
    with world.store.reading() as session:
        return session.get_one(Lease, lease)


def asked_at(world: World, who: Person) -> set[datetime]:
    with world.store.reading() as session:
        return set(session.scalars(select(Ticket.asked_at).where(Ticket.owner == who.name)))


async def test_it_waits_in_its_place_with_a_reason_and_nobody_pays(world: World) -> None:
    lease = await begun(world, ANN)
    world.clock.move(60)
    await world.environments.put_back(lease, HELD)
    assert row(world, lease).ended_at is None, "as long as something of it is there"
    await world.servers.stop(Handle(lease, Kind.SERVER), 0)
    await world.environments.ended(lease, "exited")
    found = await seen(world, ANN)
    assert (found.phase, found.lease, found.reason) == ("waiting", None, None)
    assert found.ticket is not None
    assert (found.ticket.waits_for, found.ticket.position) == ("cluster_queue", 1)
    assert found.ticket.why is not None
    assert all(WHY in found.ticket.why[language] for language in ("en", "ko"))
    assert len(asked_at(world, ANN)) == 1, "the second request has asked when the first did"
    over = row(world, lease)
    assert (over.end_reason, over.ended_at, over.uncertain_s) == ("not_admitted", over.granted_at, 0)
    with world.store.reading() as session:
        assert set(session.scalars(select(Counter.value))) <= {0}
        verbs = list(session.scalars(select(Event.verb)))
    assert "environment.put_back" in verbs
    assert not {"environment.end", "environment.fail"} & set(verbs)


async def test_it_is_tried_again_after_the_pause_and_a_restart_does_not_shorten_that(
    world: World, tmp_path: Path
) -> None:
    await put_back(world, ANN)
    again = World(tmp_path, PLACE, kueue_pause_s=PAUSE_S)
    again.clock.now = world.clock.now
    again.jupyterhub.away = True
    for seconds, phase in ((0, "waiting"), (PAUSE_S - 1, "waiting"), (1, "starting")):
        again.clock.move(seconds)
        again.profiles.forget()
        await again.reconciler.look()
        found = await seen(again, ANN)
        assert (found.phase, found.lease is not None) == (phase, phase == "starting")
    await again.close()


async def test_its_like_wait_behind_it_and_others_go_first_without_its_place(world: World) -> None:
    await put_back(world, ANN)
    world.clock.move(1)
    ben, cho = await ask(world, BEN), await ask(world, CHO)
    assert (ben.phase, cho.phase) == ("waiting", "starting")
    assert ben.ticket is not None
    assert (ben.ticket.position, told(ben).ticket.waits_for) == (2, "cluster_queue")  # type: ignore[union-attr]
    assert (await ask(world, replace(BEN, name="eve"), "cpu")).phase == "starting", "for that its queue has room"
    world.clock.move(PAUSE_S)  # one of two GPUs is cho's
    world.profiles.forget()
    await world.reconciler.look()
    assert [(await seen(world, who)).phase for who in (ANN, BEN)] == ["starting", "waiting"]


async def test_what_is_asked_for_through_the_hub_meanwhile_waits_too(world: World) -> None:
    await put_back(world, ANN)
    with pytest.raises(MustWait) as refused:
        await world.environments.claim("ben", "", None, "gpu-full", BEN.teams)
    assert refused.value.facts["position"] == 2


async def test_a_kill_after_it_was_written_down_and_before_its_end_loses_no_place(world: World) -> None:
    lease = await begun(world, ANN)
    await world.environments.put_back(lease, HELD)
    deadline = asyncio.get_running_loop().time() + 20
    while row(world, lease).ended_at is None:  # the spawner is gone: the reconciler ends what is there still
        assert asyncio.get_running_loop().time() < deadline, world.servers.there
        await world.reconciler.look()
        await asyncio.sleep(0.01)
    assert lease in world.servers.stopped
    found = await seen(world, ANN)
    assert (found.phase, row(world, lease).ended_at) == ("waiting", row(world, lease).granted_at)


async def test_what_the_hub_makes_of_it_is_no_failure(world: World) -> None:
    lease = await begun(world, ANN)
    await world.environments.put_back(lease, HELD)
    await world.runs._failed(lease, "Kueue did not admit the pod")
    assert (await seen(world, ANN)).phase == "starting"
    await world.environments.ended(lease, "exited")
    await world.runs._failed(lease, "Kueue did not admit the pod")
    assert (await seen(world, ANN)).phase == "waiting"


async def test_who_cancels_it_meanwhile_does_not_wait_again(world: World) -> None:
    lease = await begun(world, ANN)
    await world.environments.put_back(lease, HELD)
    await world.environments.stop(ANN, "default")
    await world.environments.ended(lease, "exited")
    assert (await seen(world, ANN)).phase == "stopped"
    later = await begun(world, BEN)
    await world.environments.stop(BEN, "default")
    await world.environments.put_back(later, HELD)
    await world.environments.ended(later, "exited")
    assert (await seen(world, BEN)).phase == "stopped"


async def test_a_stop_that_an_administrator_has_set_stays(world: World) -> None:
    lease = await begun(world, ANN)
    await world.environments.stop(ROOT, "default", owner="ann", why="maintenance")
    await not_let_in(world, lease)
    found = await seen(world, ANN)
    assert found.phase == "stopped"
    assert found.reason is not None
    assert "maintenance" in found.reason
    later = await begun(world, BEN)
    world.clock.move(60)
    await world.environments.put_back(later, HELD)
    await world.environments.stop(ROOT, "default", owner="ben", why="maintenance")
    await world.environments.ended(later, "exited")
    assert (await seen(world, BEN)).phase == "stopped"
    over = row(world, later)
    assert over.ended_at == over.granted_at, "what was not let in costs nothing, whoever ends it"


async def test_whose_account_ends_meanwhile_does_not_wait_again(world: World) -> None:
    lease = await begun(world, ANN)
    await world.environments.put_back(lease, HELD)
    with world.store.transaction() as session:
        leaving.end_leases(session, "ann", world.clock(), "stopped")
    await world.environments.ended(lease, "exited")
    assert (await seen(world, ANN)).phase == "stopped"


async def test_who_may_begin_nothing_any_more_does_not_wait_again(world: World) -> None:
    lease = await begun(world, ANN)
    with world.store.transaction() as session:
        session.add(Login(name="ann", notes={}, gone_at=world.clock()))
    await not_let_in(world, lease)
    found = await seen(world, ANN)
    assert (found.phase, found.reason) == ("stopped", "The cluster's own queue did not let it in.")


async def test_a_place_that_is_away_makes_no_end_of_the_pause(world: World) -> None:
    await put_back(world, ANN)
    for away in (True, False):
        world.place.inventory = replace(PLACE, away=away)
        world.profiles.forget()
        await world.reconciler.look()
        found = await seen(world, ANN)
        assert found.ticket is not None
        assert found.ticket.waits_for == "cluster_queue"


async def test_who_has_taken_their_turn_need_not_take_it_again(tmp_path: Path) -> None:
    world = World(tmp_path, PLACE, turn="hold", kueue_pause_s=PAUSE_S)
    await put_back(world, ANN)
    others = [await begun(world, person(name, "speech")) for name in ("dan", "eve")]
    assert (await ask(world, CHO)).phase == "waiting"
    for lease in others:
        await world.environments.ended(lease, "stopped")
    world.clock.move(PAUSE_S)
    world.profiles.forget()
    await world.reconciler.look()
    assert [(await seen(world, who)).phase for who in (ANN, CHO)] == ["starting", "held"]
    await world.close()


async def test_what_is_never_let_in_does_not_wait_for_ever(tmp_path: Path) -> None:
    world = World(tmp_path, PLACE, kueue_pause_s=PAUSE_S, ticket_timeout_s=3600)
    await put_back(world, ANN)
    for _ in range(3600 // PAUSE_S - 1):
        world.clock.move(PAUSE_S)
        world.profiles.forget()
        await world.reconciler.look()
        lease = (await seen(world, ANN)).lease
        assert lease is not None
        await take(world, ANN, lease.id)
        await not_let_in(world, lease.id)
    world.clock.move(PAUSE_S)
    await world.reconciler.look()
    found = await seen(world, ANN)
    assert (found.phase, found.reason) == (
        "failed",
        "There was no room for it within the time a request may wait.",
    )
    await world.close()
