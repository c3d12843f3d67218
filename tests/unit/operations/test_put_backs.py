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
from dure_hub.backends.base import Handle, HeldBack, Inventory, Kind, NodeInventory
from dure_hub.backends.kubernetes.errors import NoNode, OverClusterQuota
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


FULL = "requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=1, limited: requests.nvidia.com/gpu=1"
OVER = OverClusterQuota(quota="dure", namespace="dev", why=FULL)
UNPLACED = "0/2 nodes are available: 1 Too many pods."
RETRY_S = 90


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


async def put_back(world: World, who: Person, held: HeldBack = HELD) -> str:
    """It was begun, and not let in: its lease, which has ended."""
    lease = await begun(world, who)
    await not_let_in(world, lease, held)
    return lease


async def not_let_in(world: World, lease: str, held: HeldBack = HELD) -> None:
    await world.environments.put_back(lease, held)
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
    assert (found.phase, found.reason) == ("stopped", "The cluster did not let it in.")


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


@pytest.fixture
async def two_nodes(tmp_path: Path) -> AsyncIterator[World]:
    """A GPU on each of two nodes."""
    nodes = [
        NodeInventory(name, 16, 1 << 17, [replace(one, uuid=f"GPU-{name}", node=name) for one in gpus(1)])
        for name in ("n1", "n2")
    ]
    made = World(tmp_path, Inventory.of(nodes), retry_pause_s=RETRY_S)
    yield made
    await made.close()


def node_of(world: World, lease: str) -> str:
    return str(row(world, lease).slices[0]["node"])


async def look(world: World) -> None:
    world.profiles.forget()
    await world.reconciler.look()


async def test_a_quota_of_the_cluster_that_is_used_up_is_waited_for_in_its_own_words(tmp_path: Path) -> None:
    world = World(tmp_path, PLACE, retry_pause_s=RETRY_S, kueue_pause_s=1)
    lease = await put_back(world, ANN, OVER)
    found = await seen(world, ANN)
    assert found.ticket is not None
    assert (found.phase, found.ticket.waits_for, found.ticket.position) == ("waiting", "cluster_quota", 1)
    assert found.ticket.why is not None
    assert all(FULL in said and "dure" in said for said in found.ticket.why.values())
    assert row(world, lease).ended_at == row(world, lease).granted_at, "nobody pays for that"
    world.clock.move(1)
    assert (await ask(world, CHO)).phase == "waiting", "it is every team's quota"
    assert (await ask(world, replace(CHO, name="eve"), "cpu")).phase == "starting", "of what it has room for"
    for seconds, phase in ((RETRY_S - 2, "waiting"), (1, "starting")):
        world.clock.move(seconds)
        await look(world)
        assert (await seen(world, ANN)).phase == phase
    await world.close()


async def test_what_one_node_does_not_take_goes_to_another_at_once_and_so_does_its_like(two_nodes: World) -> None:
    world = two_nodes
    lease = await begun(world, ANN)
    first = node_of(world, lease)
    await not_let_in(world, lease, NoNode(node=first, seconds=60, why=UNPLACED))
    await look(world)
    again = (await seen(world, ANN)).lease
    assert again is not None
    assert node_of(world, again.id) != first
    ben = await ask(world, BEN)
    assert ben.phase == "waiting", "nobody is sent there meanwhile, though it seems to have room"
    ticket = told(ben).ticket
    assert ticket is not None
    assert (ticket.waits_for, ticket.position) == ("no_node", 1)
    assert ticket.why is not None
    assert all(UNPLACED in said and first in said for said in ticket.why.values())
    world.clock.move(RETRY_S)
    await look(world)
    ben = await seen(world, BEN)
    assert ben.lease is not None
    assert node_of(world, ben.lease.id) == first, "after the pause it is tried again"


async def test_what_finds_no_node_keeps_its_place_and_is_not_tried_in_a_loop(two_nodes: World) -> None:
    world = two_nodes
    asked = await begun(world, ANN), await begun(world, BEN)
    for lease in asked:
        world.clock.move(1)
        await not_let_in(world, lease, NoNode(node=node_of(world, lease), seconds=60, why=UNPLACED))
    await look(world)
    tickets = [(await seen(world, who)).ticket for who in (ANN, BEN)]
    assert [(one.waits_for, one.position) for one in tickets if one] == [("no_node", 1), ("no_node", 2)]
    assert all(row(world, lease).ended_at == row(world, lease).granted_at for lease in asked)
    for seconds in (RETRY_S - 2, 2):
        world.clock.move(seconds)
        await look(world)
    assert [(await seen(world, who)).phase for who in (ANN, BEN)] == ["starting", "starting"]


async def test_a_pod_that_any_node_might_have_taken_pauses_its_like(world: World) -> None:
    await put_back(world, ANN, NoNode(node="", seconds=60, why=UNPLACED))
    ben = await ask(world, BEN)
    assert told(ben).ticket is not None
    assert told(ben).ticket.waits_for == "no_node"  # type: ignore[union-attr]


@pytest.mark.parametrize("held", [HELD, OVER, NoNode(node="n1", seconds=60, why=UNPLACED)])
async def test_what_was_not_let_in_costs_nothing_whoever_ends_it_meanwhile(world: World, held: HeldBack) -> None:
    lease = await begun(world, ANN)
    world.clock.move(60)
    await world.environments.put_back(lease, held)
    await world.environments.stop(ANN, "default")
    await world.environments.ended(lease, "exited")
    over = row(world, lease)
    assert (over.end_reason, over.ended_at) == ("asked", over.granted_at)
