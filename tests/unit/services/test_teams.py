"""Teams over the API and on the pages: who names none, and what a token of a server says of it."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from dure.wire.environments import EnvironmentRequest
from dure.wire.ids import new_id
from dure_hub.operations import Operations, Person
from dure_hub.operations.people import USE, charged
from dure_hub.operations.tokens import EXECUTION
from dure_hub.services.identity import Identities
from dure_hub.services.places import API, BASE
from dure_hub.store.models import Lease
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub
from tests.unit.services.test_forms import fields
from tests.unit.services.test_owners import DIGEST, PACKED

TEAMS = ["red", "blue"]


def person(hub: StubHub, name: str, *teams: str, scopes: tuple[str, ...] = ()) -> dict[str, str]:
    token = hub.person(name)
    hub.tokens[token]["groups"] = list(teams)
    hub.tokens[token]["scopes"] += scopes
    return bearer(token)


def server(name: str = "") -> dict[str, Any]:
    return {"id": new_id(), "profile": "cpu", **({"name": name} if name else {})}


async def test_who_is_in_several_teams_names_one(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    headers = person(hub, "ana", *TEAMS)
    refused = await anyone.post(f"{API}/environments", json=server(), headers=headers)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["facts"]["teams"]) == (422, "name_your_team", "blue, red")
    korean = await anyone.post(f"{API}/environments", json=server(), headers={**headers, "Accept-Language": "ko"})
    assert "팀" in korean.json()["error"]["message"]
    assert (await anyone.get(f"{API}/environments", headers=headers)).json() == []
    made = await anyone.post(f"{API}/environments", json={**server(), "team": "blue"}, headers=headers)
    assert made.json()["lease"]["team"] == "blue"
    alone = await anyone.post(f"{API}/environments", json=server(), headers=person(hub, "ben", "red"))
    assert alone.json()["lease"]["team"] == "red"
    me = (await anyone.get(f"{API}/me", headers=headers)).json()
    assert (me["teams"], me["team"]) == (["blue", "red"], None)


@pytest.mark.parametrize("name", ["default", "second"])
async def test_a_servers_own_token_stands_for_its_team(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, name: str
) -> None:
    ana = Person("ana", scopes=frozenset({USE}), teams=frozenset(TEAMS))
    await ops.environments.request(ana, EnvironmentRequest(id=new_id(), name=name, profile="cpu", team="red"))
    scope = f"access:servers!server=ana/{'' if name == 'default' else name}"
    inside = person(hub, "ana", *TEAMS, scopes=(scope,))
    assert (await anyone.get(f"{API}/me", headers=inside)).json()["team"] == "red"
    made = await anyone.post(f"{API}/environments", json=server("other"), headers=inside)
    assert made.json()["lease"]["team"] == "red"
    for scopes in (
        ("access:servers!server=ben/",),
        ("access:servers!user=ana",),
        ("access:servers!server=ana/nothing",),
        (scope, "access:servers!server=ana/more"),
    ):
        elsewhere = person(hub, "ana", *TEAMS, scopes=scopes)
        refused = await anyone.post(f"{API}/environments", json=server("third"), headers=elsewhere)
        assert refused.json()["error"]["code"] == "name_your_team"


async def test_on_ones_own_server_it_is_the_servers_team_that_pays_whoever_asks(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub
) -> None:
    ana = Person("ana", scopes=frozenset({USE}), teams=frozenset(TEAMS))
    await ops.environments.request(ana, EnvironmentRequest(id=new_id(), profile="cpu", team="red"))
    headers = person(hub, "ana", *TEAMS)
    await anyone.put(f"{API}/snapshots/{DIGEST}", content=PACKED, headers=headers)
    job = {"id": new_id(), "name": "first", "snapshot": DIGEST, "entry": "train.py"}
    refused = await anyone.post(f"{API}/training/jobs", json={**job, "profile": "cpu"}, headers=headers)
    assert refused.json()["error"]["code"] == "name_your_team"
    made = await anyone.post(f"{API}/training/jobs", json={**job, "profile": "mine"}, headers=headers)
    assert made.status_code == 202, made.text
    with ops.store.reading() as session:
        child = session.scalars(select(Lease).where(Lease.parent.is_not(None))).one()
    assert (child.purpose, child.team) == ("training", "red")


async def test_a_token_of_work_stands_for_the_team_of_its_lease(ops: Operations, hub: StubHub) -> None:
    now = ops.clock()
    row = {"owner": "ana", "team": "red", "purpose": "schedule", "subject": "s", "profile": "cpu"}
    with ops.store.transaction() as session:
        session.add(Lease(id="l", granted_at=now, **row))
    _, text = await ops.tokens.mint("ana", admin=False, scopes=[USE], purpose=EXECUTION, lifetime_s=60, lease="l")
    found = await Identities(ops.hub, ops.tokens).by_token(text)
    assert found is not None
    assert (found.via, found.person.team, found.person.teams) == ("execution", "red", frozenset())
    hub.away = True
    met_before = Identities(ops.hub, ops.tokens)
    for _ in range(2):
        unknown = await met_before.by_token(text)
        assert unknown is not None
        assert charged(unknown.person, None) == "red", "while nobody can be asked it is charged to no other"


async def test_the_form_of_a_new_server_asks_for_no_team_where_there_is_no_choice(
    anyone: httpx.AsyncClient, hub: StubHub, ana: Browser
) -> None:
    for one in hub.tokens.values():
        one["groups"] = ["red"]
    assert 'name="team"' not in (await anyone.get(f"{BASE}/spawn", headers=ana.navigate())).text


async def test_the_choice_of_a_team_is_sent_and_comes_back(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, ana: Browser
) -> None:
    for one in hub.tokens.values():
        one["groups"] = [*TEAMS, "a<b"]
    form = (await anyone.get(f"{BASE}/spawn", headers=ana.navigate())).text
    assert re.search(r'<label for="team">[^<]+</label>\s*<select id="team" name="team" required', form)
    assert re.findall(r'<option value="([^"]*)"[^>]*>[^<]*</option>', form.split('id="team"')[1])[:4] == [
        "",
        "a&lt;b",
        "blue",
        "red",
    ]
    sent = fields(form)
    refused = await anyone.post(f"{BASE}/spawn", data=sent, headers=ana.navigate())
    assert refused.status_code == 422
    assert "a&lt;b, blue, red" in refused.text
    again = await anyone.post(
        f"{BASE}/spawn", data={**sent, "team": "red", "profile": "gold"}, headers=ana.navigate()
    )
    assert '<option value="red" selected>' in again.text
    assert (
        await anyone.post(f"{BASE}/spawn", data={**sent, "team": "red"}, headers=ana.navigate())
    ).status_code == 303
    with ops.store.reading() as session:
        assert session.scalars(select(Lease)).one().team == "red"
