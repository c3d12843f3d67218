"""Before a server is stopped on purpose it saves; what it says of that is kept, and it ends whatever it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dure_hub.backends.base import Handle
from dure_hub.operations.before_stop import receipt_of
from dure_hub.operations.people import Person
from dure_hub.store.models import Environment, Event, Lease
from tests.support.world import MemoryServers, World

ANN, ROOT = Person("ann"), Person("root", admin=True)
SAID: dict[str, Any] = {
    "saved": ["a.txt"],
    "failed": ["b.txt"],
    "pages": 2,
    "silent": 1,
    "hook": {"exit": 0, "seconds": 1.5, "output": "copied"},
}


class Asked(MemoryServers):
    """Servers that answer what they are told to, when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Mapping[str, Any] | Exception | None = SAID
        self.asks: list[tuple[str, str, float]] = []
        self.go = asyncio.Event()
        self.go.set()

    async def before_stop(
        self, handle: Handle, reason: str, ends_at: str, hook_s: float
    ) -> Mapping[str, Any] | None:
        assert handle.lease not in self.stopped
        self.asks.append((reason, ends_at, hook_s))
        await self.go.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A portal whose servers can be asked."""
    made = World(tmp_path, servers=Asked())
    yield made
    servers(made).go.set()
    await made.close()


def servers(world: World) -> Asked:
    assert isinstance(world.servers, Asked)
    return world.servers


async def start(world: World, ready: bool = True) -> Handle:
    """Ann's server; it runs, or only starts."""
    grant = await world.environments.claim("ann", "", None, "cpu")
    handle = world.servers.put(grant.lease)
    world.jupyterhub.put("ann", ready=ready, pending=None if ready else "spawn")
    if ready:
        await looks(world, 5)
        assert (await world.environments.get(ANN, "default")).phase == "running"
    return handle


async def looks(world: World, number: int = 1) -> None:
    for _ in range(number):
        await world.reconciler.look()


async def asked(world: World, times: int = 1) -> None:
    """Wait until its server was asked so often."""
    async with asyncio.timeout(10):
        while len(servers(world).asks) < times:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def gone(world: World) -> None:
    """Wait until the hub was asked to stop it, and let the reconciler see that nothing runs."""
    async with asyncio.timeout(10):
        while world.jupyterhub.users["ann"]:  # noqa: ASYNC110
            await asyncio.sleep(0)
    world.servers.there.clear()
    async with asyncio.timeout(10):
        while (await world.environments.get(ANN, "default")).phase == "stopping":
            await looks(world)


def row(world: World) -> Environment:
    with world.store.reading() as session:
        return session.scalars(select(Environment)).one()


async def test_what_it_saved_is_on_its_row_and_in_an_event(world: World) -> None:
    await start(world)
    await world.environments.stop(ANN, "default")
    await gone(world)
    ((reason, ends_at, hook_s),) = servers(world).asks
    assert (reason, ends_at, hook_s) == ("asked", "2026-01-01T00:00:30+00:00", 19)
    seen = await world.environments.get(ANN, "default")
    assert (seen.phase, seen.receipt is not None) == ("stopped", True)
    assert seen.receipt is not None
    assert seen.receipt.model_dump(include=set(SAID)) == SAID
    with world.store.reading() as session:
        told = session.scalars(select(Event).where(Event.verb == "environment.receipt")).one()
    assert (told.object, told.on_behalf_of, told.verdict["code"]) == ("environment:ann/default", "ann", "asked")
    assert told.verdict["facts"] == {
        "saved": 1,
        "failed": 1,
        "pages": 2,
        "silent": 1,
        "hook": {"exit": 0, "seconds": 1.5},
    }


async def test_an_end_that_was_planned_is_announced_too_and_nothing_waits_for_it(world: World) -> None:
    handle = await start(world)
    servers(world).go.clear()
    with world.store.reading() as session:
        until = session.get_one(Lease, handle.lease).until
    assert until is not None
    world.clock.now = until
    await looks(world)
    await asked(world)
    grant = await world.environments.claim("ben", "", None, "cpu")  # others are served meanwhile
    world.servers.put(grant.lease)
    world.jupyterhub.put("ben")
    await looks(world, 5)
    assert (await world.environments.get(Person("ben"), "default")).phase == "running"
    assert len(servers(world).asks) == 1, "asked once, however often is looked"
    assert world.jupyterhub.users["ann"], "it is not stopped while it saves"
    servers(world).go.set()
    await gone(world)
    assert servers(world).asks[0][0] == "expired"


async def test_stopped_twice_it_saves_once(world: World) -> None:
    await start(world)
    servers(world).go.clear()
    await world.environments.stop(ANN, "default")
    await asked(world)
    await world.environments.stop(ROOT, "default", owner="ann", why="again", at_once=True)
    await looks(world, 2)
    servers(world).go.set()
    await gone(world)
    assert len(servers(world).asks) == 1


@pytest.mark.parametrize("answer", [None, OSError("no route"), ValueError("a bug")])
async def test_without_an_answer_it_ends_all_the_same(world: World, answer: Exception | None) -> None:
    await start(world)
    servers(world).answer = answer
    await world.environments.stop(ANN, "default")
    await gone(world)
    assert (await world.environments.get(ANN, "default")).receipt is None, "nobody knows"


async def test_one_that_says_nothing_ends_when_its_time_is_over(tmp_path: Path) -> None:
    world = World(tmp_path / "short", servers=Asked(), before_stop_s=0.05)
    await start(world)
    servers(world).go.clear()
    await world.environments.stop(ANN, "default")
    await gone(world)
    assert servers(world).asks[0][2] == 0, "no time for a program"
    assert (await world.environments.get(ANN, "default")).receipt is None
    await world.close()


async def test_with_zero_nobody_is_asked(tmp_path: Path) -> None:
    world = World(tmp_path / "zero", servers=Asked(), before_stop_s=0)
    await start(world)
    await world.environments.stop(ANN, "default")
    await gone(world)
    assert servers(world).asks == []
    await world.close()


async def test_one_that_was_never_ready_has_nothing_to_save(world: World) -> None:
    await start(world, ready=False)
    await world.environments.stop(ANN, "default")
    await gone(world)
    assert servers(world).asks == []


async def test_a_portal_killed_meanwhile_waits_for_the_rest_of_the_time_and_asks_no_second_time(
    tmp_path: Path,
) -> None:
    world = World(tmp_path / "short", servers=Asked(), before_stop_s=0.5)
    handle = await start(world)
    servers(world).go.clear()
    await world.environments.stop(ANN, "default")
    await asked(world)
    await world.runs.withdraw(handle.lease)  # as its death would
    again = asyncio.create_task(world.runs.stop(handle, "asked"))
    await asyncio.wait({again}, timeout=0.1)
    assert world.jupyterhub.users["ann"], "what it has begun is not cut off"
    await again
    assert len(servers(world).asks) == 1
    assert not world.jupyterhub.users["ann"]
    await world.close()


async def test_of_the_time_only_what_is_left_is_waited_for(world: World) -> None:
    handle = await start(world)
    servers(world).go.clear()
    await world.environments.stop(ANN, "default")
    await asked(world)
    await world.runs.withdraw(handle.lease)
    world.clock.move(30)
    await world.runs.stop(handle, "asked")
    assert len(servers(world).asks) == 1
    assert not world.jupyterhub.users["ann"]


async def test_a_server_that_ends_meanwhile_is_waited_for_no_longer(world: World) -> None:
    handle = await start(world)
    servers(world).go.clear()
    await world.environments.stop(ANN, "default")
    await asked(world)
    await world.runs.withdraw(handle.lease)
    servers(world).there.clear()
    async with asyncio.timeout(10):
        await world.runs.stop(handle, "asked")


async def test_a_stop_on_the_hubs_own_page_has_it_save_too(world: World) -> None:
    handle = await start(world)
    await world.runs.hub_stops(handle)  # in the hub's process, before its route goes
    assert (await world.environments.get(ANN, "default")).phase == "stopping"
    await world.runs.hub_stops(handle)  # and before its process does
    world.jupyterhub.users["ann"].clear()
    await world.environments.ended(handle.lease, "stopped")
    ((reason, _, hook_s),) = servers(world).asks
    assert (reason, hook_s) == ("stopped_on_hub", 19)
    seen = await world.environments.get(ANN, "default")
    assert seen.phase == "stopped"
    assert seen.reason == "It was stopped on the hub's own page, or by its API."
    assert seen.receipt is not None
    assert seen.receipt.saved == ["a.txt"]
    with world.store.reading() as session:
        told = session.scalars(select(Event).where(Event.verb == "environment.stop")).one()
    assert (told.on_behalf_of, told.verdict) == ("ann", {"code": "stopped_on_hub"})


async def test_what_the_portal_had_save_the_hub_only_stops(world: World) -> None:
    handle = await start(world)
    world.jupyterhub.stops_slowly = True
    await world.environments.stop(ANN, "default")
    async with asyncio.timeout(10):
        while ("DELETE", "/users/ann/server", None) not in world.jupyterhub.asked:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await world.runs.hub_stops(handle)
    await world.environments.ended(handle.lease, "stopped")
    assert [reason for reason, *_ in servers(world).asks] == ["asked"]
    assert (await world.environments.get(ANN, "default")).reason == "It was stopped as asked."


async def test_stopped_by_hub_and_portal_at_once_it_saves_once_and_both_wait(world: World) -> None:
    handle = await start(world)
    servers(world).go.clear()
    hub = asyncio.create_task(world.runs.hub_stops(handle))
    await asked(world)
    await world.environments.stop(ANN, "default")
    await looks(world, 3)
    assert world.jupyterhub.users["ann"], "it is not stopped while it saves"
    servers(world).go.set()
    await hub
    await gone(world)
    assert len(servers(world).asks) == 1


async def test_a_hub_killed_while_it_saves_leaves_its_end_to_the_portal(world: World) -> None:
    handle = await start(world)
    servers(world).go.clear()
    hub = asyncio.create_task(world.runs.hub_stops(handle))
    await asked(world)
    hub.cancel()
    await asyncio.gather(hub, return_exceptions=True)
    world.clock.move(30)
    await looks(world, 2)
    await gone(world)
    assert len(servers(world).asks) == 1
    seen = await world.environments.get(ANN, "default")
    assert (seen.phase, seen.reason) == ("stopped", "It was stopped on the hub's own page, or by its API.")


async def test_one_that_only_starts_is_stopped_by_the_hub_as_it_always_was(world: World) -> None:
    handle = await start(world, ready=False)
    await world.runs.hub_stops(handle)
    await world.environments.ended(handle.lease, "stopped")
    assert servers(world).asks == []
    assert (await world.environments.get(ANN, "default")).reason == "It was stopped."


async def test_the_next_server_has_no_receipt_of_the_last(world: World) -> None:
    await start(world)
    await world.environments.stop(ANN, "default")
    await gone(world)
    assert row(world).receipt is not None
    await start(world)
    assert row(world).receipt is None


def test_of_an_answer_only_what_is_known_is_kept() -> None:
    kept = receipt_of(
        {
            "saved": ["a\0b", 3, "x" * 5000, "\ud800"] + ["y"] * 500,
            "failed": {"not": "a list"},
            "pages": 1.5,
            "silent": -1,
            "hook": {"exit": True, "seconds": float("nan"), "output": "o" * 9000, "more": 1},
            "more": "x" * 9000,
        }
    )
    assert kept["saved"][:4] == ["ab", "", "x" * 300, "?"]
    assert len(kept["saved"]) == 100
    assert (kept["failed"], kept["pages"], kept["silent"]) == ([], None, None)
    assert kept["hook"] == {"exit": None, "seconds": None, "output": "o" * 4096}
    assert set(kept) == {"saved", "failed", "pages", "silent", "hook"}
    assert receipt_of({})["hook"] is None
