"""A turn: it starts, or its place is held until its owner starts it; and what people do while they wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dure import wire
from dure.wire.ids import new_id
from dure_hub.backends.base import Inventory
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.environments import Grant
from dure_hub.operations.errors import NoSuchProfile, QuotaTooSmall
from dure_hub.operations.images import NoSuchImage
from dure_hub.operations.people import NameYourTeam, Person
from dure_hub.operations.turns import NotYourTurn
from dure_hub.settings import Image
from dure_hub.store.models import Event, Lease, Quota, Ticket
from tests.support.world import World, gpus

ANN, BEN, CHO = Person("ann"), Person("ben"), Person("cho")
WAIT_S = 900


def ask(name: str = "default", **more: Any) -> wire.EnvironmentRequest:
    return wire.EnvironmentRequest(**{"id": new_id(), "name": name, "profile": "cpu", **more})


@pytest.fixture
async def holding(tmp_path: Path) -> AsyncIterator[World]:
    """Room for two, and turns that are held."""
    made = World(tmp_path, turn="hold", turn_wait_s=WAIT_S)
    yield made
    await made.close()


async def fill(world: World) -> list[Grant]:
    """Somebody else takes all the room."""
    grants = [await world.environments.claim("dan", name, None, "cpu") for name in ("one", "two")]
    for grant in grants:
        world.servers.put(grant.lease)
        world.jupyterhub.put("dan", "one" if grant is grants[0] else "two")
    return grants


async def free(world: World, lease: str) -> None:
    """One of them ends."""
    world.servers.there.pop(lease)
    await world.environments.ended(lease, "stopped")


async def seen(world: World, person: Person, condition: Callable[[wire.Environment], bool]) -> wire.Environment:
    """The person's server, once it is so; with looks in between."""
    deadline = asyncio.get_running_loop().time() + 20
    while True:
        found = await world.environments.get(person, "default")
        if condition(found):
            return found
        assert asyncio.get_running_loop().time() < deadline, found
        await world.reconciler.look()
        await asyncio.sleep(0.01)


async def held(world: World, person: Person = ANN) -> wire.Environment:
    return await seen(world, person, lambda found: found.phase == "held")


def events(world: World) -> list[str]:
    with world.store.reading() as session:
        return list(session.scalars(select(Event.verb).order_by(Event.id)))


def starts(world: World) -> list[str]:
    """What the hub was asked to start."""
    return [path for method, path, _ in world.jupyterhub.asked if method == "POST"]


async def test_with_room_nobody_is_asked_to_take_a_turn(holding: World) -> None:
    assert (await holding.environments.request(ANN, ask())).phase == "starting"


async def test_a_turn_that_comes_is_held_for_its_owner_and_the_hub_is_not_asked(holding: World) -> None:
    dans = await fill(holding)
    await holding.environments.request(ANN, ask(lifetime_s=3600))
    await free(holding, dans[0].lease)
    mine = await held(holding)
    assert mine.lease is not None
    assert mine.held_until == holding.clock() + timedelta(seconds=WAIT_S)
    assert mine.lease.until == mine.lease.granted_at + timedelta(hours=1), "no promise to others is moved by it"
    assert mine.page == "/services/dure/wait/default"
    for _ in range(3):
        await holding.reconciler.look()
    assert starts(holding) == []
    assert "environment.hold" in events(holding)

    holding.clock.move(WAIT_S - 1)  # longer than an unclaimed lease is waited for
    for _ in range(3):
        await holding.reconciler.look()
    assert (await holding.environments.get(ANN, "default")).phase == "held"
    assert (await holding.turns.start(ANN, "default")).phase == "starting"
    assert (await seen(holding, ANN, lambda found: found.phase == "running")).held_until is None
    assert (await holding.turns.start(ANN, "default")).phase == "running", "twice is once"
    assert set(starts(holding)) == {"/users/ann/server"}


async def test_what_was_taken_up_late_has_its_time_to_start(holding: World) -> None:
    dans = await fill(holding)
    await holding.environments.request(ANN, ask())
    await free(holding, dans[0].lease)
    await held(holding)
    holding.clock.move(WAIT_S - 1)
    holding.jupyterhub.away = True
    await holding.turns.start(ANN, "default")
    for _ in range(4):
        await holding.reconciler.look()
    assert (await holding.environments.get(ANN, "default")).phase == "starting"
    holding.clock.move(121)
    failed = await seen(holding, ANN, lambda found: found.phase == "failed")
    assert failed.lease is None


async def test_a_turn_that_nobody_takes_passes_to_the_next(holding: World) -> None:
    dans = await fill(holding)
    await holding.environments.request(ANN, ask(lifetime_s=7200, project="a-project"))
    holding.clock.move(1)
    await holding.environments.request(BEN, ask())
    await free(holding, dans[0].lease)
    await held(holding)
    assert (await holding.environments.get(BEN, "default")).phase == "waiting"
    holding.clock.move(WAIT_S)
    with pytest.raises(NotYourTurn):
        await holding.turns.start(ANN, "default")
    await held(holding, BEN)
    passed = await holding.environments.get(ANN, "default")
    assert (passed.phase, passed.told) == ("stopped", False)
    assert "its place went to the next" in (passed.reason or "")
    assert passed.model_dump()["reason_text"]["ko"].startswith("차례가 되었지만")
    with holding.store.reading() as session:
        ticket = session.scalars(select(Ticket).where(Ticket.owner == "ann")).one()
        assert (ticket.state, ticket.verdict["code"]) == ("expired", "turn_passed")
        lease = session.scalars(select(Lease).where(Lease.owner == "ann")).one()
        assert (lease.end_reason, lease.claimed_at) == ("turn_passed", None)
    assert sorted(verb for verb in events(holding) if verb in ("environment.pass", "ticket.expired")) == [
        "environment.pass",
        "ticket.expired",
    ]
    with pytest.raises(NotYourTurn):
        await holding.turns.start(ANN, "default")
    again = await holding.turns.again(ANN, "default", new_id())
    assert (again.phase, again.profile, again.project) == ("waiting", "cpu", "a-project")
    with holding.store.reading() as session:
        assert set(session.scalars(select(Ticket.lifetime_s).where(Ticket.owner == "ann"))) == {7200}


async def test_a_start_through_the_hub_takes_the_turn_up(holding: World) -> None:
    dans = await fill(holding)
    await holding.environments.request(ANN, ask())
    await free(holding, dans[0].lease)
    mine = await held(holding)
    assert mine.lease is not None
    grant = await holding.environments.claim("ann", "", None, None)
    assert grant.lease == mine.lease.id
    holding.clock.move(WAIT_S + 1)
    holding.servers.put(grant.lease)
    holding.jupyterhub.put("ann")
    for _ in range(3):
        await holding.reconciler.look()
    assert (await holding.environments.get(ANN, "default")).phase in ("starting", "running")


async def test_who_leaves_gives_the_held_place_back_at_once(holding: World) -> None:
    dans = await fill(holding)
    await holding.environments.request(ANN, ask())
    holding.clock.move(1)
    await holding.environments.request(BEN, ask())
    await free(holding, dans[0].lease)
    await held(holding)
    left = await holding.environments.stop(ANN, "default")
    assert (left.phase, left.told) == ("stopped", True)
    await held(holding, BEN)


async def test_a_turn_is_held_no_longer_than_its_lease_lasts(holding: World) -> None:
    dans = await fill(holding)
    await holding.environments.request(ANN, ask(lifetime_s=300))
    await free(holding, dans[0].lease)
    mine = await held(holding)
    assert mine.lease is not None
    assert mine.held_until == mine.lease.until


async def test_a_portal_that_restarts_keeps_order_and_turn(tmp_path: Path) -> None:
    first = World(tmp_path, turn="hold", turn_wait_s=WAIT_S)
    dans = await fill(first)
    people = [Person(f"p{number}") for number in range(4)]
    for person in people:
        await first.environments.request(person, ask())
        first.clock.move(1)
    await free(first, dans[0].lease)
    await held(first, people[0])
    await first.close()

    second = World(tmp_path, turn="hold", turn_wait_s=WAIT_S)
    second.clock.now = first.clock.now
    second.servers.put(dans[1].lease)
    second.jupyterhub.put("dan", "two")
    for _ in range(3):
        await second.reconciler.look()
    assert (await second.environments.get(people[0], "default")).phase == "held"
    places = []
    for person in people[1:]:
        ticket = (await second.environments.get(person, "default")).ticket
        assert ticket is not None
        places.append(ticket.position)
    assert places == [1, 2, 3]
    second.clock.move(WAIT_S)
    await held(second, people[1])
    await second.close()


async def test_taking_what_is_free_keeps_team_project_image_and_time(tmp_path: Path) -> None:
    images = [Image(name="old"), Image(name="new")]
    world = World(tmp_path, Inventory(cpu_cores=8, memory_mb=64000, devices=tuple(gpus(1))), images=images)
    person = Person("ann", teams=frozenset({"vision", "speech"}))
    await world.environments.request(BEN, ask(profile="gpu-full"))
    more: dict[str, Any] = {"team": "vision", "project": "cells", "image": "new", "lifetime_s": 1800}
    waits = await world.environments.request(person, ask(profile="gpu-full", **more))
    assert waits.ticket is not None
    assert (waits.phase, waits.ticket.next_best) == ("waiting", "cpu")

    with pytest.raises(NoSuchProfile):
        await world.turns.instead(person, "default", new_id(), "gold")
    assert (await world.environments.get(person, "default")).phase == "waiting"

    got = await world.turns.instead(person, "default", new_id(), "cpu")
    assert (got.profile, got.image, got.project) == ("cpu", "new", "cells")
    assert got.lease is not None
    assert got.lease.until is not None
    assert (got.lease.team, got.lease.until - got.lease.granted_at) == ("vision", timedelta(seconds=1800))
    with world.store.reading() as session:
        states = session.scalars(select(Ticket.state).where(Ticket.owner == "ann").order_by(Ticket.id)).all()
        assert sorted(states) == ["cancelled", "granted"]
    await world.close()


async def test_what_refuses_the_other_profile_leaves_the_place_in_line(tmp_path: Path) -> None:
    world = World(tmp_path, Inventory(cpu_cores=8, memory_mb=64000, devices=tuple(gpus(2, "NVIDIA A10"))))
    person = Person("ann", teams=frozenset({"vision"}))
    for _ in range(2):
        await world.environments.request(Person(new_id().lower()), ask(profile="gpu-full"))
    await world.environments.request(person, ask(profile="gpu-full", lifetime_s=1800))
    with world.store.transaction() as session:
        session.add(Quota(kind="user", name="ann", gpus=1, set_by="root", set_at=world.clock()))
    with pytest.raises(QuotaTooSmall):
        await world.turns.instead(person, "default", new_id(), "gpu-full-x2")
    still = await world.environments.get(person, "default")
    assert (still.phase, still.profile) == ("waiting", "gpu-full")
    assert still.ticket is not None
    assert still.ticket.position == 1
    await world.close()


async def test_an_old_form_sent_again_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, Inventory(cpu_cores=8, memory_mb=64000, devices=tuple(gpus(2, "NVIDIA A10"))))
    for _ in range(2):
        await world.environments.request(Person(new_id().lower()), ask(profile="gpu-full"))
    await world.environments.request(ANN, ask(profile="gpu-full"))
    old = new_id()
    for number, profile in ((old, "gpu-full-x2"), (new_id(), "gpu-full"), (old, "gpu-full-x2")):
        got = await world.turns.instead(ANN, "default", number, profile)
    assert (got.phase, got.profile) == ("waiting", "gpu-full")
    assert got.ticket is not None
    assert got.ticket.state == "waiting"
    await world.close()


async def test_an_unknown_image_is_refused_by_name(world: World) -> None:
    with pytest.raises(NoSuchImage) as refused:
        await world.environments.request(ANN, ask(image="gold"))
    assert "This portal offers: python" in refused.value.text()
    assert (await world.environments.request(ANN, ask())).image == "python"


async def test_an_image_has_a_command_of_its_own(tmp_path: Path) -> None:
    images = [Image(name="plain"), Image(name="other", command=["lab", "{port}"]), Image(name="py", python="/p")]
    world = World(tmp_path, images=images)
    await world.environments.request(ANN, ask(image="other"))
    assert (await world.environments.claim("ann", "", None, None)).command == ("lab", "{port}")
    await world.environments.request(BEN, ask(image="plain"))
    assert (await world.environments.claim("ben", "", None, None)).command == ()
    await world.close()


async def test_the_end_is_told_until_it_is_put_away(world: World) -> None:
    grant = await world.environments.claim("ann", "", None, "cpu")
    await world.environments.ended(grant.lease, "expired")
    over = await world.environments.get(ANN, "default")
    assert (over.phase, over.told, over.ended_at) == ("stopped", False, world.clock())
    with world.store.transaction() as session:
        row = rows.find(session, "ann", "default")
        assert row is not None
        row.receipt = {"saved": ["a.ipynb"], "failed": [], "hook": None, "pages": 1}
    await world.turns.dismiss(ANN, "default")
    await world.turns.dismiss(ANN, "default")
    told = await world.environments.get(ANN, "default")
    assert told.told
    assert told.receipt is not None
    assert told.receipt.saved == ["a.ipynb"]
    fresh = await world.turns.again(ANN, "default", new_id())
    assert (fresh.phase, fresh.receipt, fresh.told, fresh.ended_at) == ("starting", None, False, None)


async def test_a_failed_start_is_explained_and_does_not_stick_to_the_next(world: World) -> None:
    world.jupyterhub.failure = "Spawn failed: whatever the hub makes of it"
    asked = await world.environments.request(ANN, ask())
    assert asked.lease is not None
    grant = await world.environments.claim("ann", "", asked.lease.id, None)
    await world.environments.start_failed(grant.lease, "ended_early 3", "<b>no module named x</b>" * 1000)
    failed = await seen(world, ANN, lambda found: found.phase == "failed")
    assert failed.reason == "Its process ended with code 3 before it answered."
    assert failed.log_end is not None
    assert len(failed.log_end) <= 4000
    root = await world.environments.get(Person("root", admin=True), "default", "ann")
    assert root.log_end is None, "a log is its owner's"
    world.jupyterhub.failure = None
    await world.turns.again(ANN, "default", new_id())
    fresh = await seen(world, ANN, lambda found: found.phase == "running")
    assert (fresh.reason, fresh.log_end) == (None, None)


async def test_progress_is_what_the_hub_says_and_no_more_than_is_kept(world: World) -> None:
    grant = await world.environments.claim("ann", "", None, "cpu")
    for number in range(60):
        world.runs.progress.note(grant.lease, {"progress": number, "message": f"step {number}"}, world.clock())
    world.runs.progress.note(grant.lease, {"progress": 60, "code": "process", "message": "?"}, world.clock())
    found = await world.environments.progress(ANN, "default")
    assert (found.phase, found.percent, len(found.steps)) == ("starting", 60, 40)
    assert found.steps[-1].text["ko"] == "프로세스가 시작되었습니다."


async def test_who_is_in_several_teams_is_not_thrown_out_of_the_line(world: World) -> None:
    person = Person("ann", teams=frozenset({"a", "b"}))
    with pytest.raises(NameYourTeam):
        await world.environments.request(person, ask())
    await fill(world)
    await world.environments.request(person, ask(team="a"))
    got = await world.turns.instead(person, "default", new_id(), "cpu")
    assert got.phase == "waiting"


async def test_a_start_that_somebody_else_asked_for_is_followed_too(world: World) -> None:
    await world.environments.claim("ann", "", None, "cpu")
    world.jupyterhub.put("ann", ready=False, pending="spawn")
    await seen(world, ANN, lambda found: found.phase == "running")
    found = await world.environments.progress(ANN, "default")
    assert (found.percent, found.url) == (100, "/user/ann/")
    assert found.steps[-1].text["en"] == "It is ready."
