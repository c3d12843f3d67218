"""Keys of machines: what they may be, how long they live, and when they were last used."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from dure import wire
from dure.errors import Conflict, NotAllowed, NotFound
from dure_hub.operations.key_errors import KeyMisfit, KeyTooLong
from dure_hub.operations.keys import Keys
from dure_hub.operations.people import ADMIN, USE, Person
from dure_hub.operations.tokens import Tokens
from dure_hub.store.models import Event, Token
from tests.support.world import World

ANN, BEN, ROOT = Person("ann"), Person("ben"), Person("root", admin=True)


@pytest.fixture
def tokens(world: World) -> Tokens:
    return Tokens(world.store, world.clock)


@pytest.fixture
def keys(world: World, tokens: Tokens) -> Keys:
    return Keys(world.settings, world.store, world.clock, tokens)


def ask(*scopes: str, name: str = "ci", **more: object) -> wire.KeyRequest:
    return wire.KeyRequest.model_validate({"name": name, "scopes": list(scopes), **more})


async def test_a_key_is_shown_once_and_kept_as_a_digest(world: World, keys: Keys, tokens: Tokens) -> None:
    made = await keys.create(ANN, ask("predict", endpoints=["digits"]))
    assert made.key.startswith("dure_key_")
    holder = await tokens.find(made.key)
    assert holder is not None
    assert (holder.key, holder.endpoints, holder.person.admin) == ("ci", frozenset({"digits"}), False)
    assert USE not in holder.person.scopes
    (listed,) = await keys.list(ANN)
    assert "key" not in listed.model_dump()
    with world.store.reading() as session:
        kept = [*session.scalars(select(Token)), *session.scalars(select(Event))]
    assert all(made.key not in str(vars(row)) for row in kept)


async def test_of_two_keys_of_a_name_made_at_once_one_is_made(keys: Keys) -> None:
    made = await asyncio.gather(*(keys.create(ANN, ask("read")) for _ in range(4)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in made) == ["Conflict"] * 3 + ["NewKey"]
    await keys.create(BEN, ask("read"))  # another's name is another name


async def test_every_key_ends(world: World, keys: Keys, tokens: Tokens) -> None:
    made = await keys.create(ANN, ask("read"))
    assert made.expires_at == world.clock() + timedelta(seconds=world.settings.key_lifetime_s)
    world.clock.move(world.settings.key_lifetime_s)
    assert await tokens.find(made.key) is None
    await keys.create(ANN, ask("read", lifetime_s=60))  # its name is free again
    short = Keys(world.settings.model_copy(update={"key_lifetime_max_s": 3600}), world.store, world.clock, tokens)
    with pytest.raises(KeyTooLong):
        await short.create(BEN, ask("read", lifetime_s=3601))
    assert (await short.create(BEN, ask("read"))).expires_at == world.clock() + timedelta(hours=1)


async def test_a_key_carries_no_administrator_unless_one_said_so(keys: Keys, tokens: Tokens) -> None:
    usual = await tokens.find((await keys.create(ROOT, ask("full"))).key)
    assert usual is not None
    assert not usual.person.admin
    assert ADMIN not in usual.person.scopes
    with pytest.raises(NotAllowed):
        await keys.create(ANN, ask("full", admin=True))
    with pytest.raises(KeyMisfit):
        await keys.create(ROOT, ask("read", name="b", admin=True))
    said = await tokens.find((await keys.create(ROOT, ask("full", name="b", admin=True))).key)
    assert said is not None
    assert said.person.admin


async def test_parts_that_do_not_fit_are_refused(keys: Keys) -> None:
    for wrong in (ask("read", endpoints=["e"]), ask("predict", "full", endpoints=["e"])):
        with pytest.raises(KeyMisfit):
            await keys.create(ANN, wrong)
    await keys.create(ANN, ask("read"))
    with pytest.raises(Conflict):
        await keys.create(ANN, ask("jobs"))
    await keys.create(BEN, ask("read"))


async def test_its_owner_and_administrators_end_it(keys: Keys, tokens: Tokens) -> None:
    made = await keys.create(ANN, ask("read"))
    with pytest.raises(NotFound):
        await keys.revoke(BEN, made.id)
    with pytest.raises(NotAllowed):
        await keys.list(BEN, "ann")
    assert [key.id for key in await keys.list(ROOT, "ann")] == [made.id]
    await keys.revoke(ROOT, made.id)
    await keys.revoke(ANN, made.id)
    assert await tokens.find(made.key) is None
    assert (await keys.list(ANN))[0].revoked_at is not None


async def test_its_last_use_is_known_to_the_minute_and_written_once(
    world: World, keys: Keys, tokens: Tokens
) -> None:
    made = await keys.create(ANN, ask("read"))
    assert (await keys.list(ANN))[0].used_at is None
    world.clock.move(61.5)
    for _ in range(3):
        await tokens.find(made.key)
    minute = world.clock().replace(second=0, microsecond=0)
    assert (await keys.list(ANN))[0].used_at == minute
    with world.store.reading() as session:
        assert session.get_one(Token, made.id).used_at is None
    await tokens.keep_uses()
    with world.store.reading() as session:
        assert session.get_one(Token, made.id).used_at == minute
    assert (await Keys(world.settings, world.store, world.clock, Tokens(world.store, world.clock)).list(ANN))[
        0
    ].used_at == minute
