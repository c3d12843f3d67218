"""Servers that nobody uses end; everybody else's do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import event, select

from dure.wire.environments import ExtendRequest
from dure.wire.ids import new_id
from dure_hub.operations import admission, reasons
from dure_hub.operations.idleness import Watching, longest_gap_s
from dure_hub.operations.people import Person
from dure_hub.settings import Settings
from dure_hub.store.models import Event, Lease
from tests.support.world import HandClock, World

ANN = Person("ann")
REPORTS_S = 120
"""Two reports: for so long after a gap, and after the last moment in which use would count, nobody ends."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A portal in which an hour without use ends a server."""
    made = World(tmp_path, idle_timeout_s=3600)
    yield made
    await made.close()


async def start(world: World, activity: str | None = "2020-01-01T00:00:00.000000Z") -> str:
    """Ann's server, running since now; its lease."""
    grant = await world.environments.claim("ann", "", None, "cpu")
    world.servers.put(grant.lease)
    world.jupyterhub.put("ann", last_activity=activity)
    await hub_looks(world)
    assert (await world.environments.get(ANN, "default")).phase == "running"
    return grant.lease


async def hub_looks(world: World, number: int = 1) -> None:
    """So many looks at the hub's servers: it is not asked in every pass."""
    for _ in range(5 * number):
        await world.reconciler.look()


async def unused(world: World, seconds: int) -> None:
    """Time passes with the hub being looked at all the while."""
    for _ in range(seconds // 60):
        world.clock.move(60)
        await hub_looks(world)
    world.clock.move(seconds % 60)
    await hub_looks(world)


def used(world: World, at: str) -> None:
    """The hub tells of use, by whatever clock it has."""
    world.jupyterhub.put("ann", last_activity=at)


async def test_a_server_counts_as_used_from_its_readiness_on(world: World) -> None:
    await start(world)
    seen = await world.environments.get(ANN, "default")
    assert seen.idle_since == world.clock()
    assert seen.idle_end == world.clock() + timedelta(hours=1)


async def test_an_hour_without_use_and_two_reports_ends_it_and_says_so(world: World) -> None:
    lease = await start(world)
    await unused(world, 3600 + REPORTS_S - 1)
    assert (await world.environments.get(ANN, "default")).phase == "running"
    world.clock.move(1)
    await hub_looks(world)
    await hub_looks(world)
    assert world.jupyterhub.users["ann"] == {}, "the hub was asked to stop it"
    world.servers.there.clear()  # which the real one would have done
    await hub_looks(world)
    seen = await world.environments.get(ANN, "default")
    assert (seen.phase, seen.reason) == ("stopped", "Nobody used it for 1 hour.")
    with world.store.reading() as session:
        assert session.get_one(Lease, lease).end_reason == "idle"
        ended = session.scalars(select(Event).where(Event.verb == "environment.stop")).one()
    assert (ended.actor, ended.on_behalf_of, ended.verdict["code"]) == ("dure", "ann", "idle")
    assert ended.verdict["facts"]["idle_s"] >= 3600


async def test_who_comes_back_just_before_the_end_is_not_stopped_at_work(world: World) -> None:
    """Their use is known only with the server's next report, a minute later."""
    await start(world)
    await unused(world, 3599)
    end = (await world.environments.get(ANN, "default")).idle_end
    assert end == world.clock() + timedelta(seconds=1), "what is promised is shown"
    await unused(world, 65)
    used(world, "2020-01-01T01:00:00Z")
    await hub_looks(world)
    seen = await world.environments.get(ANN, "default")
    assert (seen.phase, seen.idle_since) == ("running", world.clock())


async def test_extending_is_use(world: World) -> None:
    await start(world)
    await unused(world, 3000)
    seen = await world.environments.get(ANN, "default")
    assert seen.lease is not None
    assert seen.lease.until is not None
    ask = ExtendRequest(until=seen.lease.until + timedelta(hours=1))
    assert (await world.environments.extend(ANN, "default", ask)).idle_since == world.clock()
    world.clock.move(30)
    await world.environments.extend(ANN, "default", ask)
    assert (await world.environments.get(ANN, "default")).idle_since != world.clock(), "the same changes nothing"


async def test_use_keeps_it_whatever_the_hubs_clock_says(world: World) -> None:
    await start(world)
    for at in ("2030-01-01T00:00:00Z", "2010-01-01T00:00:00Z", "2010-01-01T00:00:01+00:00", "2010-01-01T00:00:02"):
        world.clock.move(3000)
        used(world, at)
        await hub_looks(world)
        seen = await world.environments.get(ANN, "default")
        assert (seen.phase, seen.idle_since) == ("running", world.clock())


async def test_a_timeout_of_zero_ends_nothing(tmp_path: Path) -> None:
    world = World(tmp_path / "zero", idle_timeout_s=0)
    await start(world)
    world.clock.move(7 * 3600)
    await hub_looks(world)
    seen = await world.environments.get(ANN, "default")
    assert (seen.phase, seen.idle_end) == ("running", None)
    await world.close()


async def test_what_the_hub_cannot_tell_is_no_idleness(world: World) -> None:
    await start(world, activity=None)
    world.clock.move(7 * 3600)
    await hub_looks(world)
    assert (await world.environments.get(ANN, "default")).phase == "running"


async def test_after_the_hub_was_away_nobody_ends_before_two_reports_may_have_come(world: World) -> None:
    await start(world)
    world.jupyterhub.away = True
    world.clock.move(3600)
    await hub_looks(world)
    world.jupyterhub.away = False
    await hub_looks(world)
    assert (await world.environments.get(ANN, "default")).phase == "running"
    await unused(world, REPORTS_S - 1)
    assert (await world.environments.get(ANN, "default")).phase == "running"
    world.clock.move(1)
    await hub_looks(world)
    assert (await world.environments.get(ANN, "default")).phase in ("stopping", "stopped")


async def test_a_portal_that_was_frozen_ends_nobody_before_two_reports_may_have_come(world: World) -> None:
    """Stopped by a signal or with its container: both clocks go on and nothing is missed but the looks."""
    await start(world)
    world.clock.move(2 * 3600)
    await hub_looks(world)
    assert (await world.environments.get(ANN, "default")).phase == "running"
    await unused(world, REPORTS_S - 1)
    assert (await world.environments.get(ANN, "default")).phase == "running"
    world.clock.move(1)
    await hub_looks(world)
    assert (await world.environments.get(ANN, "default")).phase in ("stopping", "stopped")


async def test_a_look_that_failed_has_seen_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await start(world)
    await unused(world, 3600 + REPORTS_S - 1)

    async def broken() -> NoReturn:
        raise ValueError("the hub answers what nobody understands")

    with monkeypatch.context() as patch:
        patch.setattr(world.hub, "servers", broken)
        failed = [await asyncio.gather(world.runs.act({}), return_exceptions=True) for _ in range(5)]
        assert [one for (one,) in failed if isinstance(one, ValueError)], "it is not asked in every pass"
    world.clock.move(1)
    await hub_looks(world)
    assert (await world.environments.get(ANN, "default")).phase == "running"


async def test_a_portal_that_was_down_sees_use_before_it_ends_anybody(world: World) -> None:
    """A new process on the same store, hours later: what was used meanwhile is in the hub's first answer."""
    await start(world)
    world.clock.move(3 * 3600)
    used(world, "2020-01-01T02:00:00Z")
    await hub_looks(world)
    assert (await world.environments.get(ANN, "default")).idle_since == world.clock()


async def test_nothing_is_written_where_nothing_changed(world: World) -> None:
    await start(world)
    written: list[str] = []

    def see(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith(("UPDATE environments", "INSERT INTO events", "UPDATE leases")):
            written.append(statement)

    event.listen(world.store.engine, "before_cursor_execute", see)
    world.clock.move(60)
    await hub_looks(world, 3)
    assert written == []
    used(world, "2020-01-01T00:01:00Z")
    await hub_looks(world, 3)
    assert len(written) == 1


async def test_the_next_server_does_not_inherit_the_last_ones_idleness(world: World) -> None:
    lease = await start(world)
    await world.environments.stop(ANN, "default")
    await world.environments.runs.withdraw(lease)  # else it may ask the hub to stop what is started next
    world.servers.there.clear()
    await world.environments.ended(lease, "stopped")
    world.clock.move(3 * 3600)
    await start(world)
    assert (await world.environments.get(ANN, "default")).idle_since == world.clock()


def test_what_counts_as_a_gap(tmp_path: Path) -> None:
    def gap_s(every_s: float, **settings: int) -> float:
        return longest_gap_s(Settings(data=tmp_path, **settings), every_s)

    assert gap_s(10) == 60
    assert gap_s(10, activity_interval_s=600) == 600
    assert gap_s(300) == 600, "where looks are rare, one that is missed is none"


def test_a_machine_that_slept_begins_to_watch_anew() -> None:
    clock, awake = HandClock(), [0.0]
    watching = Watching(clock, 60, lambda: awake[0])
    assert watching.answered() == 0
    for _ in range(2):
        clock.move(60)
        awake[0] += 60
        seen_s = watching.answered()
    assert seen_s == 120
    clock.move(8 * 3600)  # asleep: only the wall clock went on
    awake[0] += 10
    assert watching.answered() == 0
    clock.move(10)
    awake[0] += 10
    assert watching.answered() == 10
    watching.silent()
    assert watching.answered() == 0


@pytest.mark.parametrize(
    ("reason", "en", "ko"),
    [
        ("idle", "Nobody used it for too long.", "오랫동안 사용하지 않아 종료했습니다."),
        (reasons.idle_for(14400), "Nobody used it for 4 hours.", "4시간 동안 사용하지 않아 종료했습니다."),
        (reasons.idle_for(5400), "Nobody used it for 90 minutes.", "90분 동안 사용하지 않아 종료했습니다."),
        (reasons.idle_for(86400), "Nobody used it for 1 day.", "1일 동안 사용하지 않아 종료했습니다."),
        (reasons.idle_for(61), "Nobody used it for 61 seconds.", "61초 동안 사용하지 않아 종료했습니다."),
        ("idle hands: a hub's own sentence", "idle hands: a hub's own sentence", None),
        ("A sentence of the hub.", "A sentence of the hub.", "A sentence of the hub."),
    ],
)
def test_reasons_are_sentences_in_both_languages(reason: str, en: str, ko: str | None) -> None:
    assert reasons.sentence(reason) == en
    assert ko is None or reasons.sentence(reason, "ko") == ko


async def test_work_on_its_own_slice_is_use_until_it_ends(world: World) -> None:
    server = await start(world)
    fleet = await world.profiles.fleet()
    with world.store.transaction() as session:
        job = admission.admit(
            session,
            ticket_id=new_id(),
            owner="ann",
            purpose=admission.TRAINING,
            subject=new_id(),
            profile="mine",
            lifetime_s=3600,
            now=world.clock(),
            fleet=fleet,
        )
        assert isinstance(job, Lease)
        assert job.parent == server
    await unused(world, 3 * 3600)
    seen = await world.environments.get(ANN, "default")
    assert (seen.phase, seen.idle_since) == ("running", world.clock())
    with world.store.transaction() as session:
        admission.end_lease(session, job.id, "exited", world.clock())
    await unused(world, 3600 + REPORTS_S - 1)
    assert (await world.environments.get(ANN, "default")).phase == "running"
    world.clock.move(1)
    await hub_looks(world)
    with world.store.reading() as session:
        assert session.get_one(Lease, server).end_reason == "idle"
