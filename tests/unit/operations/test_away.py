"""A place that cannot be looked at just now: it is shown as it was, and nothing of it is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dure import wire
from dure.wire.ids import new_id
from dure_hub.operations.people import Person
from dure_hub.services.why import told
from tests.support.world import World

ANN, BEN = Person("ann"), Person("ben")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Room for two."""
    made = World(tmp_path)
    yield made
    await made.close()


def turn(world: World, *, away: bool) -> None:
    """From now on it can be looked at, or not."""
    world.place.inventory = replace(world.place.inventory, away=away)
    world.profiles.forget()


async def ask(world: World, person: Person) -> wire.Environment:
    return await world.environments.request(
        person, wire.EnvironmentRequest(id=new_id(), name="default", profile="cpu")
    )


async def test_who_asks_while_it_is_away_waits_in_their_place_and_is_told_why(world: World) -> None:
    turn(world, away=True)
    first, second = await ask(world, ANN), told(await ask(world, BEN))
    assert (first.phase, second.phase) == ("waiting", "waiting")
    assert second.ticket is not None
    assert (second.ticket.waits_for, second.ticket.position) == ("away", 2)
    assert second.ticket.why is not None
    assert "does not answer" in second.ticket.why["en"]
    await world.reconciler.look()
    assert (await world.environments.get(ANN, "default")).phase == "waiting"
    assert [one.name for one in await world.profiles.list(ANN)] == ["cpu"]
    turn(world, away=False)
    await world.reconciler.look()
    for person in (ANN, BEN):
        assert (await world.environments.get(person, "default")).lease is not None


async def test_what_was_given_before_stays_with_its_holder(world: World) -> None:
    lease = (await ask(world, ANN)).lease
    turn(world, away=True)
    await world.reconciler.look()
    assert lease is not None
    held = (await world.environments.get(ANN, "default")).lease
    assert held is not None
    assert held.id == lease.id
