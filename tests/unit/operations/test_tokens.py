"""Tokens: shown once, kept as a digest, dead when they should be."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from dure.errors import Conflict, NotAllowed, NotFound
from dure.wire.ids import new_id
from dure_hub.operations import admission
from dure_hub.operations.events import Events
from dure_hub.operations.people import USE, Person
from dure_hub.operations.tokens import Holder, Tokens
from dure_hub.store.models import Lease, Token
from tests.support.world import World


@pytest.fixture
def tokens(world: World) -> Tokens:
    return Tokens(world.store, world.clock)


async def mint(tokens: Tokens, owner: str = "ann", lease: str | None = None) -> tuple[str, str]:
    return await tokens.mint(owner, admin=False, scopes=[USE], purpose="cli", lifetime_s=3600, lease=lease)


async def test_a_token_is_its_owner(world: World, tokens: Tokens) -> None:
    _, text = await mint(tokens)
    assert text.startswith("dure_")
    assert len(text) == len("dure_") + 43
    assert await tokens.find(text) == Holder(Person("ann", False, frozenset({USE})), None, "cli")
    assert await tokens.find(text[:-1] + ("a" if text[-1] != "a" else "b")) is None
    assert await tokens.find("something else") is None
    with world.store.reading() as session:
        row = session.scalars(select(Token)).one()
    assert text not in str(vars(row))


async def test_it_ends_exactly_at_its_time(world: World, tokens: Tokens) -> None:
    _, text = await mint(tokens)
    world.clock.move(3599)
    assert await tokens.find(text) is not None
    world.clock.move(1)
    assert await tokens.find(text) is None


async def test_revoking(world: World, tokens: Tokens) -> None:
    key, text = await mint(tokens)
    with pytest.raises(NotFound):
        await tokens.revoke(key, Person("ben"))
    await tokens.revoke(key, Person("ann"))
    await tokens.revoke(key)
    assert await tokens.find(text) is None
    with pytest.raises(NotFound):
        await tokens.revoke(new_id())


async def test_no_token_is_made_for_a_lease_that_has_ended(world: World, tokens: Tokens) -> None:
    held = {"purpose": "schedule", "profile": "cpu", "granted_at": world.clock()}
    with world.store.transaction() as session:
        session.add(Lease(id="runs", owner="ann", subject="a", **held))
        session.add(Lease(id="over", owner="ann", subject="b", ended_at=world.clock(), **held))
    _, text = await mint(tokens, lease="runs")
    found = await tokens.find(text)
    assert found is not None
    assert found.lease == "runs"
    with pytest.raises(Conflict):
        await mint(tokens, lease="over")
    with world.store.transaction() as session:
        assert len(session.scalars(select(Token)).all()) == 1
        assert admission.end_lease(session, "runs", "exited", world.clock()) is not None
    assert await tokens.find(text) is None


async def test_minting_and_revoking_are_in_the_audit(world: World, tokens: Tokens) -> None:
    key, text = await mint(tokens)
    await tokens.revoke(key)
    events = await Events(world.store, world.clock).list(Person("root", admin=True), thing=f"token:{key}")
    assert {event.verb for event in events} == {"token.mint", "token.revoke"}
    assert text not in str(events)
    assert len(await Events(world.store, world.clock).list(Person("root", admin=True), limit=1)) == 1
    with pytest.raises(NotAllowed):
        await Events(world.store, world.clock).list(Person("ann"))
