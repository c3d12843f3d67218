"""An administrator's stop: it gives its owner time, which its owner cannot move, or a reason."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import NotAllowed
from dure.wire.ids import new_id
from dure_hub.operations.errors import EndTooEarly
from dure_hub.operations.people import Person
from dure_hub.operations.stopping import ReasonMissing, StopIsSet
from dure_hub.store.models import Lease, Ticket
from tests.support.noticing import ANN, BEN, ROOT, Site, lease_of


async def test_an_administrators_stop_gives_ten_minutes_that_the_owner_cannot_move(site: Site) -> None:
    lease = await site.runs_for(ANN)
    seen = await site.environments.stop(ROOT, "default", owner="ann", why="a repair")
    at = site.clock() + timedelta(seconds=600)
    assert (seen.phase, seen.stop_at, lease_of(site, lease).until) == ("running", at, at)
    assert seen.stop_text is not None
    assert seen.stop_text["en"] == "An administrator ends this server (root: a repair)."
    mine = await site.environments.get(ANN, "default")
    assert (mine.extendable_until, mine.stop_at) == (None, at)
    with pytest.raises(StopIsSet):
        await site.environments.extend(ANN, "default", wire.ExtendRequest(until=at + timedelta(minutes=1)))
    assert lease_of(site, lease).until == at
    await site.environments.stop(ROOT, "default", owner="ann", why="another")  # asked twice is one
    end = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    told = f"root ends default at {end}. Why: a repair. Save your work until then."
    assert await site.told() == [told]
    site.clock.move(540)
    assert (await site.told())[1:] == [f"default ends at {end}, in less than 1 min. Save your work, or extend it."]
    site.clock.move(60)
    async with asyncio.timeout(20):
        while (await site.environments.get(ANN, "default")).phase != "stopped":
            await site.reconciler.look()
            await asyncio.sleep(0.01)
    assert (await site.environments.get(ANN, "default")).reason == "An administrator stopped it (root: a repair)."
    assert (await site.told())[-1] == "default has ended. An administrator stopped it (root: a repair)."


async def test_an_administrator_calls_a_stop_off_by_extending(site: Site) -> None:
    lease = await site.runs_for(ANN)
    await site.environments.stop(ROOT, "default", owner="ann")
    later = site.clock() + timedelta(hours=2)
    seen = await site.environments.extend(ROOT, "default", wire.ExtendRequest(until=later), owner="ann")
    assert (seen.stop_at, lease_of(site, lease).until) == (None, later)
    await site.environments.extend(ANN, "default", wire.ExtendRequest(until=later + timedelta(hours=1)))
    with pytest.raises(EndTooEarly):
        await site.environments.extend(ANN, "default", wire.ExtendRequest(until=later))


async def test_at_once_needs_a_reason_but_ones_own_stop_needs_none(site: Site) -> None:
    lease = await site.runs_for(ANN)
    for empty in (None, ""):
        with pytest.raises(ReasonMissing):
            await site.environments.stop(ROOT, "default", owner="ann", why=empty, at_once=True)
    with pytest.raises(NotAllowed):
        await site.environments.stop(BEN, "default", owner="ann", why="mine", at_once=True)
    assert lease_of(site, lease).end_reason is None
    await site.environments.stop(ROOT, "default", owner="ann", why="later")
    assert (await site.environments.stop(ANN, "default")).phase == "stopping"


async def test_a_stop_never_gives_more_time_than_there_was(site: Site) -> None:
    lease = await site.runs_for(ANN)
    until = lease_of(site, lease).until
    assert until is not None
    site.clock.now = until - timedelta(minutes=3)
    seen = await site.environments.stop(ROOT, "default", owner="ann", why="soon")
    assert (seen.stop_at, lease_of(site, lease).until) == (until, until)


async def test_a_stop_is_when_its_lease_ends_whatever_moved_that(site: Site) -> None:
    lease = await site.runs_for(ANN)
    await site.environments.stop(ROOT, "default", owner="ann", why="a repair")
    for minutes in (40, 5):  # put off after a gap; cut short by a drain
        at = site.clock() + timedelta(minutes=minutes)
        with site.store.transaction() as session:
            session.get_one(Lease, lease).until = at
        assert (await site.environments.get(ANN, "default")).stop_at == at
        with pytest.raises(StopIsSet) as caught:
            await site.environments.extend(ANN, "default", wire.ExtendRequest(until=at + timedelta(minutes=1)))
        assert at.strftime("%Y-%m-%dT%H:%M:%SZ") in caught.value.text("en")


async def test_a_new_request_knows_nothing_of_the_last_ones_stop(site: Site) -> None:
    lease = await site.runs_for(ANN)
    await site.environments.stop(ROOT, "default", owner="ann", why="a repair")
    await site.environments.ended(lease, "asked")
    for n in range(2):
        await site.runs_for(BEN, f"b{n}")
    seen = await site.environments.request(ANN, wire.EnvironmentRequest(id=new_id(), profile="cpu"))
    assert (seen.phase, seen.stop_at, seen.stop_text) == ("waiting", None, None)


async def test_who_set_a_stop_is_told_by_what_they_are(site: Site) -> None:
    lead = Person("lea", teams=frozenset({"vision"}), leads=frozenset({"vision"}))
    lease = await site.runs_for(ANN)
    with site.store.transaction() as session:
        session.scalars(select(Ticket)).one().team = "vision"
    seen = await site.environments.stop(lead, "default", owner="ann", why="a repair")
    assert seen.stop_text == {
        "en": "A lead of its team ends this server (lea: a repair).",
        "ko": "팀 리드가 이 서버를 종료합니다(lea: a repair).",
    }
    until = lease_of(site, lease).until
    assert until is not None
    with pytest.raises(StopIsSet) as caught:
        await site.environments.extend(ANN, "default", wire.ExtendRequest(until=until + timedelta(minutes=1)))
    assert "A lead of its team" in caught.value.text("en")
    assert "팀 리드" in caught.value.text("ko")
    for told in (caught.value.text("en"), *await site.told()):
        assert "dministrator" not in told
    for notice in await site.notices.list(ANN):
        assert "관리자" not in notice.text["ko"]
