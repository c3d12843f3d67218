"""Saving at any time: its server is asked as before its end, and nothing ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import NotAllowed, NotFound
from dure_hub.operations import checkpoints
from dure_hub.operations.errors import NothingToSave, SaidNothing
from dure_hub.operations.people import USE, Person
from dure_hub.store.models import Event
from tests.support.world import World
from tests.unit.operations.test_before_stop import ANN, ROOT, SAID, Asked, servers, start

BEN = Person("ben", scopes=frozenset({USE}))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A portal whose servers can be asked."""
    made = World(tmp_path, servers=Asked())
    yield made
    servers(made).go.set()
    await made.close()


async def save(world: World, person: Person, owner: str | None = None) -> wire.Receipt:
    parts = world.settings, world.store, world.clock, world.servers
    return await checkpoints.checkpoint(*parts, person, "default", owner)


async def test_what_it_saved_is_answered_and_it_goes_on(world: World) -> None:
    await start(world)
    kept = await save(world, ANN)
    assert (kept.saved, kept.failed, kept.pages, kept.silent) == (["a.txt"], ["b.txt"], 2, 1)
    assert kept.hook == SAID["hook"]
    ((reason, ends_at, hook_s),) = servers(world).asks
    assert (reason, ends_at) == ("checkpoint", "")
    assert hook_s > 30, "nothing waits for a stop, so it has more time than before one"
    seen = await world.environments.get(ANN, "default")
    assert (seen.phase, seen.receipt) == ("running", None)
    with world.store.reading() as session:
        event = session.scalars(select(Event).where(Event.verb == "environment.checkpoint")).one()
        assert (event.actor, event.verdict["facts"]["saved"]) == ("ann", 1)


async def test_an_administrator_may_and_others_may_not(world: World) -> None:
    await start(world)
    assert (await save(world, ROOT, "ann")).saved == ["a.txt"]
    with pytest.raises(NotAllowed):
        await save(world, BEN, "ann")
    with pytest.raises(NotFound):
        await save(world, BEN)
    assert len(servers(world).asks) == 1


async def test_one_that_only_starts_has_nothing_to_save(world: World) -> None:
    await start(world, ready=False)
    with pytest.raises(NothingToSave) as caught:
        await save(world, ANN)
    assert caught.value.facts == {"name": "default", "phase": "starting"}
    assert servers(world).asks == []


async def test_one_that_does_not_say_what_it_saved_is_no_success(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(world)
    servers(world).answer = None
    with pytest.raises(SaidNothing):
        await save(world, ANN)
    monkeypatch.setattr(checkpoints, "_LEAST_S", 0.0)
    world.settings = world.settings.model_copy(update={"before_stop_s": 0.01})
    servers(world).go = asyncio.Event()
    with pytest.raises(SaidNothing):
        await save(world, ANN)
    assert (await world.environments.get(ANN, "default")).phase == "running"
