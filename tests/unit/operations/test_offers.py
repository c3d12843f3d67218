"""What is offered to who is about to start a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.backends.base import Inventory
from dure_hub.operations.offers import Last
from dure_hub.operations.people import NotYourTeam, Person
from dure_hub.store.models import Budget, Event, Lease, Quota, Ticket
from tests.support.world import World, gpus

ANN = Person("ann", teams=frozenset({"vision"}))
BEN = Person("ben")


def ask(name: str = "default", **more: Any) -> wire.EnvironmentRequest:
    return wire.EnvironmentRequest(**{"id": new_id(), "name": name, "profile": "gpu-full", **more})


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[World]:
    """One GPU."""
    made = World(tmp_path, Inventory(cpu_cores=8, memory_mb=64000, devices=tuple(gpus(1))))
    yield made
    await made.close()


async def offer(world: World, name: str, person: Person = ANN, **more: Any) -> wire.Offer:
    return {one.name: one for one in await world.offers.list(person, **more)}[name]


async def test_an_offer_is_what_the_request_then_comes_to(place: World) -> None:
    before = await offer(place, "gpu-full")
    assert (before.starts_now, before.free, before.total, before.hours_left) == (True, 1, 1, [])
    first = await place.environments.request(BEN, ask(lifetime_s=3600))
    assert first.lease is not None
    place.clock.move(60)
    full = await offer(place, "gpu-full")
    assert (full.starts_now, full.free, full.position) == (False, 0, 1)
    assert full.expected_start is not None
    assert first.lease.until is not None
    assert full.expected_start >= first.lease.until
    assert (await offer(place, "cpu")).starts_now
    waits = await place.environments.request(ANN, ask())
    assert waits.ticket is not None
    assert (waits.ticket.position, waits.ticket.expected_start) == (full.position, full.expected_start)


async def test_looking_writes_nothing_and_offers_are_not_behind_each_other(place: World) -> None:
    found = await place.offers.list(ANN)
    assert [one.starts_now for one in found] == [True, True]
    with place.store.reading() as session:
        for table in (Ticket, Lease, Event):
            assert session.scalar(select(func.count()).select_from(table)) == 0


async def test_gpu_hours_are_told_of_the_person_and_the_team_that_pays(place: World) -> None:
    with place.store.transaction() as session:
        for kind, name, hours in (("user", "ann", 40), ("team", "vision", 4), ("team", "speech", 1)):
            session.add(Quota(kind=kind, name=name, gpu_hours_month=hours, set_by="root", set_at=place.clock()))
    left = {one.kind: one for one in (await offer(place, "gpu-full")).hours_left}
    assert (left["user"].limit, left["user"].used, left["user"].left_after) == (40, 0, 32)
    assert left["team"].left_after == -4
    assert [one.left_after for one in (await offer(place, "cpu")).hours_left] == [40, 4]
    await place.environments.request(ANN, ask())
    place.clock.move(3600)
    left = {one.kind: one for one in (await offer(place, "gpu-full", hours=2)).hours_left}
    assert (left["user"].used, left["user"].left_after) == (1, 37)


async def test_what_can_never_be_had_says_so_in_words(place: World) -> None:
    with place.store.transaction() as session:
        session.add(Quota(kind="user", name="ann", gpu_hours_month=0, set_by="root", set_at=place.clock()))
    refused = await offer(place, "gpu-full")
    assert refused.refusal is not None
    assert "no GPU-hours" in refused.refusal["en"]
    assert "쓸 수 없습니다" in refused.refusal["ko"]
    assert (await offer(place, "cpu")).refusal is None


async def test_somebody_elses_team_is_refused_and_several_are_no_mistake_yet(place: World) -> None:
    with pytest.raises(NotYourTeam):
        await place.offers.list(ANN, team="speech")
    both = Person("ann", teams=frozenset({"vision", "speech"}))
    assert (await offer(place, "gpu-full", both)).starts_now


async def test_the_last_server_of_a_name_is_remembered(place: World) -> None:
    assert await place.offers.last(ANN, "default") == Last()
    await place.environments.request(ANN, ask(project="cells", lifetime_s=7200))
    assert await place.offers.last(ANN, "default") == Last("gpu-full", "python", "vision", "cells", 7200)
    assert await place.offers.last(ANN, "another") == Last("gpu-full"), "of another name only the profile"
    assert await place.offers.last(BEN, "default") == Last()


async def test_projects_are_ones_own_and_those_of_ones_teams(place: World) -> None:
    for name, project in (("a", "old"), ("b", "new"), ("c", "old")):
        await place.environments.request(ANN, ask(name, profile="cpu", project=project))
        place.clock.move(1)
    await place.environments.request(BEN, ask(profile="cpu", project="secret"))
    with place.store.transaction() as session:
        for name in ("vision/paid", "speech/theirs"):
            session.add(Budget(kind="project", name=name, amount=1, set_by="root", set_at=place.clock()))
    assert await place.offers.projects(ANN) == ["old", "new", "paid"]


async def test_a_longer_time_is_asked_no_longer_than_a_profile_allows(place: World) -> None:
    await place.environments.request(BEN, ask(lifetime_s=3600))
    longest = await offer(place, "gpu-full", lifetime_s=place.settings.max_lifetime_s)
    assert longest.expected_start is not None
    assert await offer(place, "gpu-full", lifetime_s=30 * 86400) == longest
