"""The ledger has the end that a lease had, not the look that found it; and says where nobody knows it exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import NotReady
from dure.wire.ids import new_id
from dure_hub.backends.base import Handle, Phase, Seen
from dure_hub.operations.errors import EndsUnseen, StillEnding
from dure_hub.operations.people import USE, Person
from dure_hub.operations.reconcile import Reconciler
from dure_hub.store.models import Event, Lease
from tests.support.world import MemoryServers, World

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)
ANN = Person("ann", scopes=frozenset({USE}))


async def running(world: World) -> str:
    """A server that ran for an hour, and was seen to run just now."""
    await world.environments.request(ANN, wire.EnvironmentRequest(id=new_id(), profile="cpu", lifetime_s=8 * 3600))
    grant = await world.environments.claim("ann", "default", None, None)
    await world.environments.save_handle(world.servers.put(grant.lease))
    await world.reconciler.look()
    world.clock.move(3600)
    await world.reconciler.look()
    return grant.lease


def exited(world: World, lease: str, ago_s: float | None, *, exact: bool = True) -> Seen:
    world.servers.put(lease, Phase.EXITED, exit_code=0, reason="finished")
    seen = replace(world.servers.there[lease], ended_ago_s=ago_s, exact=exact)
    world.servers.there[lease] = seen
    return seen


async def end(world: World, lease: str, reconciler: Reconciler | None = None) -> tuple[datetime, int]:
    """What the ledger says after the looks that it takes, without any time in between."""
    for _ in range(3):
        await (reconciler or world.reconciler).look()
    with world.store.reading() as session:
        row = session.get_one(Lease, lease)
        assert row.ended_at is not None
        (event,) = session.query(Event).filter_by(verb="lease.end")
        assert event.verdict["uncertain_s"] == row.uncertain_s
        return row.ended_at, row.uncertain_s


async def test_an_end_that_was_recorded_is_exact_however_late_it_is_found(world: World) -> None:
    lease, before = await running(world), world.clock()
    world.clock.move(1800)  # the portal was away
    exited(world, lease, 1700)
    assert await end(world, lease) == (before + timedelta(seconds=100), 0)


async def test_an_end_that_nobody_saw_is_the_last_time_it_was_seen_to_run(world: World) -> None:
    lease, before = await running(world), world.clock()
    world.clock.move(60)
    exited(world, lease, None, exact=False)
    assert await end(world, lease) == (before, 60)
    shown = await world.environments.get(ANN, "default")
    assert (shown.ended_at, shown.ended_by) == (before, before + timedelta(seconds=60))


async def test_what_is_gone_without_a_trace_ended_when_it_was_last_seen_or_later(world: World) -> None:
    lease, before = await running(world), world.clock()
    world.clock.move(60)
    del world.servers.there[lease]
    assert await end(world, lease) == (before, 60)


async def test_after_a_restart_of_the_machine_it_ended_between_the_last_look_and_that(world: World) -> None:
    lease, before = await running(world), world.clock()
    world.clock.move(7200)
    exited(world, lease, 60, exact=False)  # booted a minute ago
    again = Reconciler(world.settings, world.store, world.clock, world.profiles, [world.runs])
    at, uncertain_s = await end(world, lease, again)
    # what the portal before this one was sure of is a look or two older
    assert before - timedelta(hours=1) <= at <= before
    assert at + timedelta(seconds=uncertain_s) == world.clock() - timedelta(seconds=60)


async def test_a_hub_that_tells_of_it_before_the_new_portal_is_sure_changes_nothing(world: World) -> None:
    lease, before = await running(world), world.clock()
    world.clock.move(36_000)
    seen = exited(world, lease, 60, exact=False)
    again = Reconciler(world.settings, world.store, world.clock, world.profiles, [world.runs])
    await again.look()  # one look is no verdict, so it does not count as one
    world.clock.move(1)
    await world.environments.ended(lease, "exited", seen)
    at, uncertain_s = await end(world, lease, again)
    assert at <= before
    assert at + timedelta(seconds=uncertain_s) == world.clock() - timedelta(seconds=60)


async def test_what_the_hub_saw_while_the_portal_was_away_counts(world: World) -> None:
    lease = await running(world)
    world.clock.move(3600)
    by_hub = world.clock()
    world.clock.move(10)
    await world.environments.ended(lease, "exited", exited(world, lease, None, exact=False), by_hub)
    assert await end(world, lease) == (by_hub, 10)


async def test_a_server_is_charged_for_as_long_as_work_on_its_slice_went_on(world: World) -> None:
    lease, before = await running(world), world.clock()
    with world.store.transaction() as session:
        row = session.get_one(Lease, lease)
        job = {"subject": "job", "profile": "mine", "parent": lease, "slices": row.slices, "claimed_at": before}
        session.add(Lease(id=new_id(), owner="ann", purpose="training", granted_at=before, **job))
    exited(world, lease, 0)
    world.clock.move(2400)
    exited(world, lease, 2400)
    await world.reconciler.look()
    with world.store.transaction() as session:
        child = session.scalars(select(Lease).where(Lease.parent == lease)).one()
        child.ended_at = world.clock() - timedelta(seconds=5)
    assert await end(world, lease) == (world.clock() - timedelta(seconds=5), 0)


async def test_the_hub_that_sees_an_end_first_tells_the_same(world: World) -> None:
    lease, before = await running(world), world.clock()
    world.clock.move(30)
    await world.environments.ended(lease, "exited", exited(world, lease, 20))
    assert await end(world, lease) == (before + timedelta(seconds=10), 0)


async def test_what_was_never_claimed_was_held_until_now(world: World) -> None:
    asked = await world.environments.request(ANN, wire.EnvironmentRequest(id=new_id(), profile="cpu"))
    assert asked.lease is not None
    world.clock.move(300)
    assert await end(world, asked.lease.id) == (world.clock(), 0)


class Silent(MemoryServers):
    """Servers of a node that does not answer, or of a place that does not either."""

    away = False

    async def lingers(self, handle: Handle) -> Mapping[str, str] | None:
        """Of what is there."""
        if self.away:
            raise NotReady(part="The cluster")
        return {"en": "Its node n1 is silent.", "ko": "n1 노드가 응답하지 않습니다."} if self.there else None


async def test_who_starts_anew_what_has_not_ended_is_told_why_where_somebody_knows(tmp_path: Path) -> None:
    servers = Silent()
    servers.stubborn = True
    world = World(tmp_path, servers=servers)
    world.jupyterhub.away = True
    await running(world)
    await world.environments.stop(ANN, "default")
    again = wire.EnvironmentRequest(id=new_id(), profile="cpu")
    with pytest.raises(EndsUnseen, match="Its node n1 is silent") as refused:
        await world.environments.request(ANN, again)
    assert "n1 노드가" in refused.value.text("ko")
    servers.away = True
    with pytest.raises(StillEnding, match="Try again in a few seconds"):
        await world.environments.request(ANN, again)
    await world.close()


async def test_what_the_cluster_ended_is_told_in_its_words(world: World) -> None:
    lease = await running(world)
    world.servers.put(lease, Phase.EXITED, reason="killed", said="Evicted: The node was\nlow on resource: memory.")
    await end(world, lease)
    found = (await world.environments.get(ANN, "default")).model_dump()
    assert found["phase"] == "failed"
    texts = found["reason_text"]
    assert all("Evicted: The node was low on resource: memory." in texts[language] for language in ("en", "ko"))
    assert texts["ko"] != texts["en"]


async def test_the_hub_that_looks_first_tells_the_same(world: World) -> None:
    lease = await running(world)
    handle = world.servers.there[lease].handle
    seen = Seen(handle, Phase.EXITED, reason="killed", said="Evicted: no disk")
    await world.environments.ended(lease, "exited", seen)
    found = await world.environments.get(ANN, "default")
    assert (found.phase, "Evicted: no disk" in (found.reason or "")) == ("failed", True)
