"""Refusals and logins are told, and bounded; exports are whole and in order; no secret is in any of it."""

from __future__ import annotations

import asyncio
import csv
import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

import dure.client
from dure import audit_commands
from dure.client import Client
from dure_hub import accounts, login_audit
from dure_hub.authenticator import DureAuthenticator
from dure_hub.operations import Operations
from dure_hub.operations import audit as audit_module
from dure_hub.operations import events as events_module
from dure_hub.operations.audit import DETAILED, NAMES, Audit
from dure_hub.services.places import API, BASE
from dure_hub.store.events import record
from dure_hub.store.models import Event
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub

EXPORT = f"{API}/events/export"
PASSWORD, OTHER, TYPED = "marker-of-a-password", "marker-of-another-one", "marker-typed-as-a-name"


async def told(ops: Operations, *verbs: str) -> list[Event]:
    query = select(Event).where(Event.verb.in_(verbs)).order_by(Event.seq)
    return list(await ops.store.read(lambda session: session.scalars(query).all()))


@pytest.fixture
def root(hub: StubHub) -> dict[str, str]:
    return bearer(hub.person("root", admin=True))


async def test_who_is_refused_is_told_with_route_and_whose(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub
) -> None:
    ben = bearer(hub.person("ben"))
    assert (await anyone.delete(f"{API}/environments/lab?owner=ana", headers=ben)).status_code == 403
    assert (await anyone.get(f"{API}/events", headers=ben)).status_code == 403
    assert (await anyone.get(f"{BASE}/check/services/dashboards/x", headers=ben)).status_code == 403
    assert (await anyone.get(f"{API}/events")).status_code == 401
    first, second, third = await told(ops, "access.refuse")
    assert (first.actor, first.on_behalf_of, first.object) == ("ben", "ana", f"route:{API}/environments/{{name}}")
    assert first.verdict == {"code": "not_allowed", "facts": {"method": "DELETE", "via": "hub", "name": "lab"}}
    assert (second.object, third.object) == (f"route:{API}/events", f"route:{BASE}/check/{{path}}")


async def test_what_anybody_may_cause_is_counted_and_bounded(ops: Operations) -> None:
    audit = Audit(ops.store, ops.clock)
    for number in range(40):
        await audit.note("ben", "access.refuse", f"route:{number}", {"code": "not_allowed"})
    for number in range(3 * NAMES):
        for _ in range(3):
            await audit.note(f"p{number}", "access.refuse", "route:x", {"code": "not_allowed"})
    await audit.close()
    rows = await told(ops, "access.refuse")
    bens = [row for row in rows if row.actor == "ben"]
    assert [row.object for row in bens] == [f"route:{n}" for n in range(DETAILED)] + ["route:39"]
    facts = {"more": 40 - DETAILED, "within_s": 60, "last": "not_allowed"}
    assert bens[-1].verdict == {"code": "repeated", "facts": facts}
    assert rows[-1].object == "(others)"
    assert rows[-1].verdict["facts"]["more"] == 3 * (2 * NAMES + 1) - DETAILED
    assert len(rows) <= (NAMES + 1) * (DETAILED + 1)


async def test_a_minute_later_the_number_is_written_by_itself(
    ops: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "WINDOW_S", 0.01)
    audit = Audit(ops.store, ops.clock)
    for _ in range(DETAILED + 2):
        await audit.note("ben", "login.ok", "user:ben", {"code": "logged_in"})
    await audit.close()
    assert sum(row.verdict.get("facts", {}).get("more", 1) for row in await told(ops, "login.ok")) == DETAILED + 2


async def many(ops: Operations, number: int) -> None:
    def write(session: Any) -> None:
        for one in range(number):
            actor, at = ("ana", "=ben")[one % 2], ops.clock() - timedelta(days=number - one)
            record(session, at, actor, "test", f"thing:{one}", {"n": one, "text": 'a, "b"\nc'})

    await ops.store.run(write)


async def test_an_export_is_whole_in_order_and_can_go_on(
    anyone: httpx.AsyncClient, ops: Operations, root: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "PAGE", 3)
    await many(ops, 10)
    whole = await anyone.get(EXPORT, headers=root)
    assert whole.headers["content-type"].startswith("application/x-ndjson")
    rows = [json.loads(line) for line in whole.text.splitlines()]
    assert [row["object"] for row in rows] == [f"thing:{one}" for one in range(10)]
    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
    query = {"after": rows[3]["seq"], "limit": 4, "verb": "test"}
    part = await anyone.get(EXPORT, params=query, headers=root)
    assert [json.loads(line) for line in part.text.splitlines()] == rows[4:8]
    since, until = rows[2]["at"], rows[6]["at"]
    span = await anyone.get(EXPORT, params={"since": since, "until": until, "actor": "ana"}, headers=root)
    assert [json.loads(line) for line in span.text.splitlines()] == [rows[2], rows[4]]
    assert [row.actor for row in await told(ops, "events.export")] == ["root"] * 3
    for wrong in (
        {"since": "yesterday"},
        {"since": "2026-01-01T00:00:00"},
        {"until": "0001-01-01T00:00:00+14:00"},
    ):
        assert (await anyone.get(EXPORT, params=wrong, headers=root)).status_code == 422


@pytest.mark.parametrize("odd", ["a\0b", "a\nb", "a\u202eb"])
async def test_text_that_a_database_cannot_hold_is_refused_at_the_door(
    anyone: httpx.AsyncClient, hub: StubHub, root: dict[str, str], odd: str
) -> None:
    assert (await anyone.get(f"{API}/events", params={"object": odd}, headers=root)).status_code == 422
    for name in ("actor", "verb"):
        assert (await anyone.get(EXPORT, params={name: odd}, headers=root)).status_code == 422
    ana = bearer(hub.person("ana"))
    assert (await anyone.post(f"{API}/tokens", json={"purpose": odd}, headers=ana)).status_code == 422


async def test_csv_says_the_same_and_no_cell_is_a_formula(
    anyone: httpx.AsyncClient, ops: Operations, root: dict[str, str]
) -> None:
    await many(ops, 3)
    text = (await anyone.get(EXPORT, params={"format": "csv"}, headers=root)).text
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert [row["actor"] for row in rows] == ["ana", "'=ben", "ana"]
    assert json.loads(rows[1]["verdict"]) == {"n": 1, "text": 'a, "b"\nc'}


@pytest.fixture
async def commanded(
    ops: Operations, app: FastAPI, hub: StubHub, anyone: httpx.AsyncClient
) -> AsyncIterator[list[str]]:
    """The export as the SDK's client asks for it; the addresses that it asked for."""
    token, asked, loop = hub.person("root", admin=True), list[str](), asyncio.get_running_loop()

    class Bridge(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(str(request.url))
            path = f"/services/dure{request.url.raw_path.decode()}"

            async def ask() -> httpx.Response:
                transport = httpx.ASGITransport(app)
                async with httpx.AsyncClient(transport=transport, base_url="http://portal.test") as inner:
                    return await inner.get(path, headers=bearer(token))

            answer = asyncio.run_coroutine_threadsafe(ask(), loop).result(60)
            return httpx.Response(answer.status_code, content=answer.content)

    dure.client.use(Client("http://portal.test", "t", transport=Bridge()))
    yield asked
    dure.client.use(None)


async def test_the_command_goes_on_page_by_page(ops: Operations, commanded: list[str]) -> None:
    await many(ops, 7)
    whole = {
        form: await asyncio.to_thread(list, audit_commands.pieces(form, 0, {"verb": "test"}, 3))
        for form in ("jsonl", "csv")
    }
    assert len(whole["jsonl"]) == len(whole["csv"]) == 3
    lines = "".join(whole["jsonl"]).splitlines()
    assert [json.loads(line)["object"] for line in lines] == [f"thing:{one}" for one in range(7)]
    rows = list(csv.DictReader("".join(whole["csv"]).splitlines(keepends=True)))
    assert [row["object"] for row in rows] == [f"thing:{one}" for one in range(7)]


def handler(name: str = "") -> Any:
    return SimpleNamespace(request=SimpleNamespace(remote_ip="10.0.0.7", headers={}), find_user=lambda _name: None)


async def test_no_secret_is_in_events_exports_and_logs(
    anyone: httpx.AsyncClient,
    ops: Operations,
    hub: StubHub,
    root: dict[str, str],
    ana: Browser,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    settings, door = ops.settings, DureAuthenticator(data=str(ops.settings.folder.root))
    door.audit = ops.audit
    accounts.add_user(settings, "ana", PASSWORD, actor="machine:root")
    for name, password in (("ana", OTHER), (TYPED, PASSWORD), ("marker-is-a-name-too", OTHER)):
        assert await door.authenticate(handler(), {"username": name, "password": password}) is None
    model = await door.authenticate(handler(), {"username": "ana", "password": PASSWORD})
    assert model == {"name": "ana", "admin": False}
    await login_audit.hook(ops.audit)(door, handler(), model)
    accounts.set_password(settings, "ana", OTHER)
    accounts.reset_password(settings, "ana", PASSWORD, "machine:root")
    made = (await anyone.post(f"{API}/tokens", json={}, headers=bearer(hub.person("ana")))).json()
    key = bearer(made["token"])
    assert (await anyone.post(f"{API}/tokens", json={}, headers=key)).status_code == 403
    assert (await anyone.delete(f"{API}/environments/a?owner=ben", headers=key)).status_code == 403
    forged = {**ana.script(), "x-dure-csrf": "marker-of-a-secret"}
    assert (await anyone.post(f"{API}/tokens", json={}, headers=forged)).status_code == 403
    await ops.audit.close()

    rows = await told(ops, "login.ok", "login.fail", "account.add", "account.password", "account.reset")
    assert [(row.actor, row.verb, row.object, row.verdict.get("code")) for row in rows] == [
        ("machine:root", "account.add", "user:ana", "add"),
        ("(unknown)", "login.fail", "user:ana", "wrong_password"),
        ("(unknown)", "login.fail", "user:(unknown)", "no_account"),
        ("(unknown)", "login.fail", "user:(unknown)", "no_account"),
        ("ana", "login.ok", "user:ana", "logged_in"),
        ("ana", "account.password", "user:ana", "password"),
        ("machine:root", "account.reset", "user:ana", None),
    ]
    assert rows[1].verdict["facts"] == {"address": "10.0.0.7"}
    exports = [(await anyone.get(EXPORT, params={"format": form}, headers=root)).text for form in ("jsonl", "csv")]
    assert "login.fail" in exports[0]
    assert "access.refuse" in exports[1]
    whole = "\n".join([*exports, caplog.text, *(f.read_text() for f in settings.folder.log.iterdir())])
    session = ana.cookies.split("=", 1)[1].split(";")[0]
    for secret in ("marker", made["token"], session, ana.csrf, *hub.tokens):
        assert secret not in whole
