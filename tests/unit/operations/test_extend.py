"""A server's end moved, and a server stopped by somebody else with a reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import NotAllowed, NotFound, NotRunning
from dure.wire.ids import new_id
from dure_hub.operations.errors import EndTooEarly, EndTooLate, OthersWait
from dure_hub.operations.people import Person
from dure_hub.operations.reconcile import Reconciler
from dure_hub.policies import promises
from dure_hub.store import Store, database_url
from dure_hub.store.models import Event, Lease
from tests.support.world import World

ANN, BEN, ROOT = Person("ann"), Person("ben"), Person("root", admin=True)


async def start(world: World) -> str:
    """Ann's server of eight hours, as the spawner starts it; its lease."""
    grant = await world.environments.claim("ann", "", None, "cpu")
    world.servers.put(grant.lease)
    world.jupyterhub.put("ann")
    return grant.lease


def at(world: World, hours: float) -> wire.ExtendRequest:
    return wire.ExtendRequest(until=world.clock() + timedelta(hours=hours))


def lease_of(world: World, lease: str) -> Lease:
    with world.store.reading() as session:
        return session.get_one(Lease, lease)


def events(world: World, verb: str) -> list[Event]:
    with world.store.reading() as session:
        return list(session.scalars(select(Event).where(Event.verb == verb).order_by(Event.id)).all())


async def test_an_owner_moves_the_end_and_asking_again_changes_nothing(world: World) -> None:
    lease, ask = await start(world), at(world, 10)
    before = await world.environments.get(ANN, "default")
    assert before.extendable_until == world.clock() + timedelta(hours=24)
    for _ in range(2):
        seen = await world.environments.extend(ANN, "default", ask)
        assert seen.lease is not None
        assert seen.lease.until == ask.until
    assert lease_of(world, lease).renewals == 1
    (event,) = events(world, "environment.extend")
    assert (event.actor, event.on_behalf_of, event.object) == ("ann", None, "environment:ann/default")
    assert event.verdict["facts"] == {"before": "2026-01-01T08:00:00Z", "until": "2026-01-01T10:00:00Z"}


async def test_it_may_be_extended_again_and_again_but_each_time_only_so_far(world: World) -> None:
    await start(world)
    with pytest.raises(EndTooLate, match=r"2026-01-02T01:00:00Z.*2026-01-02T00:00:00Z.*extend again"):
        await world.environments.extend(ANN, "default", at(world, 25))
    for _ in range(3):
        await world.environments.extend(ANN, "default", at(world, 24))
        world.clock.move(12 * 3600)
    with pytest.raises(EndTooEarly, match="stop the server"):
        await world.environments.extend(ANN, "default", at(world, 11))


async def test_an_administrator_extends_for_somebody_and_the_event_says_so(world: World) -> None:
    await start(world)
    with pytest.raises(NotAllowed):
        await world.environments.extend(BEN, "default", at(world, 10), owner="ann")
    with pytest.raises(NotFound):
        await world.environments.extend(ROOT, "default", at(world, 10))
    await world.environments.extend(ROOT, "default", at(world, 10), owner="ann")
    (event,) = events(world, "environment.extend")
    assert (event.actor, event.on_behalf_of) == ("root", "ann")


async def test_what_has_stopped_or_is_ending_has_no_end_to_move(world: World) -> None:
    await start(world)
    await world.environments.stop(ANN, "default")
    seen = await world.environments.get(ANN, "default")
    assert seen.extendable_until is None
    with pytest.raises(NotRunning, match=r"stopping|stopped"):
        await world.environments.extend(ANN, "default", at(world, 10))


class Meddling(Store):
    """Lets something happen before its next changes: what is at the end of the list, before the first of them."""

    before: ClassVar[list[Callable[[], Awaitable[Any]] | None]] = []

    async def run(self, work: Callable[[Session], Any]) -> Any:
        happens = self.before.pop() if self.before else None
        if happens is not None:
            await happens()
        return await super().run(work)


async def test_an_end_moved_at_the_last_moment_holds(world: World) -> None:
    """The reconciler has looked and found it expired; before it writes that, its owner extends."""
    lease = await start(world)
    world.clock.move(8 * 3600)
    late = at(world, 1)
    store = Meddling(database_url(world.settings))
    reconciler = Reconciler(world.settings, store, world.clock, world.profiles, [world.runs])
    # its first change is to stay the leader, the second is what it found
    store.before[:] = [lambda: world.environments.extend(ANN, "default", late), None]
    for _ in range(2):
        await reconciler.look()
    await reconciler.close()
    store.close()
    assert store.before == []
    assert (lease_of(world, lease).end_reason, lease_of(world, lease).until) == (None, late.until)
    assert world.servers.stopped == []
    assert lease in world.servers.there


async def test_the_owner_reads_who_stopped_it_and_why(world: World) -> None:
    lease = await start(world)
    with pytest.raises(NotAllowed):
        await world.environments.stop(BEN, "default", owner="ann", why="mine now")
    for _ in range(2):
        await world.environments.stop(
            ROOT, "default", owner="ann", why="the GPU needs a repair {soon}", at_once=True
        )
    await world.environments.ended(lease, "stopped")
    seen = await world.environments.get(ANN, "default")
    assert seen.phase == "stopped"
    assert seen.reason == "An administrator stopped it (root: the GPU needs a repair {soon})."
    assert seen.model_extra is not None
    assert "관리자" in seen.model_extra["reason_text"]["ko"]
    (event,) = events(world, "environment.stop")
    assert (event.actor, event.on_behalf_of) == ("root", "ann")
    assert event.verdict == {"code": "asked", "why": "the GPU needs a repair {soon}"}


async def test_a_waiting_request_is_cancelled_with_the_reason_too(world: World) -> None:
    for name in ("one", "two"):
        await world.environments.claim("ben", name, None, "cpu")
    await world.environments.request(ANN, wire.EnvironmentRequest(id=new_id(), profile="cpu"))
    await world.environments.stop(ROOT, "default", owner="ann", why="x" * 200, at_once=True)
    seen = await world.environments.get(ANN, "default")
    assert (seen.phase, seen.reason) == ("stopped", f"An administrator stopped it (root: {'x' * 200}).")


async def test_the_owners_own_stop_reads_as_before(world: World) -> None:
    lease = await start(world)
    await world.environments.stop(ANN, "default")
    await world.environments.ended(lease, "stopped")
    assert (await world.environments.get(ANN, "default")).reason == "It was stopped as asked."


async def test_a_later_end_puts_off_nobody_who_was_promised_a_start(world: World) -> None:
    """There are two places. One of the servers may stay; of the other's end somebody was told."""
    now = world.clock()
    for name in ("one", "two"):
        await world.environments.claim("ann", name, None, "cpu")
    waits = await world.environments.request(BEN, wire.EnvironmentRequest(id=new_id(), profile="cpu"))
    assert waits.ticket is not None
    promised = waits.ticket.expected_start
    assert promised is not None
    assert promised == promises.latest(now + timedelta(hours=8), now)
    first = await world.environments.get(ANN, "one")
    assert first.extendable_until == now + timedelta(hours=24)
    await world.environments.extend(ANN, "one", at(world, 24))
    second = await world.environments.get(ANN, "two")
    latest = second.extendable_until
    assert latest is not None
    assert promised - timedelta(minutes=5) < latest <= promised
    with pytest.raises(OthersWait) as refused:
        await world.environments.extend(ANN, "two", at(world, 20))
    assert refused.value.facts == {
        "asked": "2026-01-01T20:00:00Z",
        "waiting": 1,
        "first": promised.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "latest": latest.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    seen = await world.environments.extend(ANN, "two", wire.ExtendRequest(until=latest))
    assert seen.lease is not None
    assert seen.lease.until == latest
    # an administrator decides about it for somebody, and is told no bound but the profile's
    (of_root, *_) = [one for one in await world.environments.list(ROOT, everyone=True) if one.name == "two"]
    assert of_root.extendable_until == now + timedelta(hours=24)
    await world.environments.extend(ROOT, "two", at(world, 20), owner="ann")
    assert [one.actor for one in events(world, "environment.extend")] == ["ann", "ann", "root"]


async def test_who_waits_without_a_promise_is_put_off_by_nothing(world: World) -> None:
    await world.environments.claim("ann", "one", None, "cpu")
    with world.store.transaction() as session:  # the other place is held for good: nobody knows of a start
        session.scalars(select(Lease)).one().until = None
    await start(world)
    with world.store.transaction() as session:
        session.scalars(select(Lease).where(Lease.until.is_not(None))).one().until = None
    waits = await world.environments.request(BEN, wire.EnvironmentRequest(id=new_id(), profile="cpu"))
    assert waits.ticket is not None
    assert waits.ticket.expected_start is None
    with world.store.transaction() as session:
        for lease in session.scalars(select(Lease)):
            lease.until = world.clock() + timedelta(hours=1)
    # told nothing so far, and so nothing is broken
    await world.environments.extend(ANN, "default", at(world, 20))
