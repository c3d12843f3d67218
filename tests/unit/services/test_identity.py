"""How long an identity stands, and what is remembered of it."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from dure.errors import NotReady
from dure_hub.operations import Operations
from dure_hub.services import identity
from dure_hub.services.identity import SESSION_FRESH_S, STALE_S, TOKEN_FRESH_S, Identities
from dure_hub.services.places import API
from dure_hub.services.sessions import Session
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub

ASK = "/hub/api/user"


class Hands:
    """A monotonic clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hands() -> Hands:
    """The clock."""
    return Hands()


@pytest.fixture
def identities(ops: Operations, hands: Hands) -> Identities:
    """Identities under that clock."""
    return Identities(ops.hub, ops.tokens, hands)


async def test_the_hub_is_asked_again_only_after_a_while(
    identities: Identities, hub: StubHub, hands: Hands
) -> None:
    token = hub.person("ana")
    for _ in range(5):
        assert await identities.by_token(token) is not None
    assert hub.asked[ASK] == 1
    hands.now += TOKEN_FRESH_S
    hub.tokens.clear()
    assert await identities.by_token(token) is None
    assert hub.asked[ASK] == 2


async def test_a_session_is_looked_at_more_often(identities: Identities, hub: StubHub, hands: Hands) -> None:
    session = Session.new(hub.person("ana", session="s1"))
    assert await identities.by_session(session, "s1") is not None
    hub.tokens.clear()
    hands.now += SESSION_FRESH_S
    assert await identities.by_session(session, "s1") is None
    assert await identities.by_session(session, "") is None


async def test_who_was_known_stays_known_while_the_hub_restarts(
    identities: Identities, hub: StubHub, hands: Hands
) -> None:
    token, new = hub.person("ana"), hub.person("ben")
    assert await identities.by_token(token) is not None
    hub.away = True
    hands.now += STALE_S - 1
    found = await identities.by_token(token)
    assert found is not None
    assert found.person.name == "ana"
    with pytest.raises(NotReady):
        await identities.by_token(new)
    hands.now += 1
    with pytest.raises(NotReady):
        await identities.by_token(token)


async def test_what_nobody_knows_is_not_remembered(
    identities: Identities, hub: StubHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "LIMIT", 3)
    for number in range(20):
        assert await identities.by_token(f"guess-{number}") is None
    assert len(identities._seen) == 0
    assert len(identities._asking) == 0
    for number in range(20):
        assert await identities.by_token(hub.person(f"user{number}")) is not None
    assert len(identities._seen) == 3


async def test_a_service_of_the_hub_is_nobody(identities: Identities, hub: StubHub) -> None:
    token = hub.person("dure")
    hub.tokens[token]["kind"] = "service"
    assert await identities.by_token(token) is None


async def test_only_the_scope_makes_an_administrator(identities: Identities, hub: StubHub) -> None:
    token = hub.person("root")
    hub.tokens[token]["admin"] = True
    found = await identities.by_token(token)
    assert found is not None
    assert not found.person.admin


async def test_a_hub_that_is_away_is_said_to_be(
    anyone: httpx.AsyncClient, app: FastAPI, hub: StubHub, ana: Browser
) -> None:
    hub.away = True
    answer = await anyone.get(f"{API}/me", headers=bearer(hub.person("ben")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    page = await anyone.get("/services/dure/", headers=ana.navigate())
    assert page.status_code == 503
    assert "JupyterHub does not answer right now." in page.text
