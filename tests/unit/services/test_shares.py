"""Sharing of servers and of notebooks: who may, what is said, what is kept and what is gone."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from fastapi import FastAPI

from dure.errors import NotReady
from dure.wire.ids import new_id
from dure_hub.app import operations
from dure_hub.backends.base import Handle, ServerWork
from dure_hub.operations import Operations, notebook_shares, shares
from dure_hub.policies.naming import slug
from dure_hub.services import application
from dure_hub.services.pages.rendering import page_headers
from dure_hub.services.places import API, BASE
from dure_hub.services.refusals import VERB
from dure_hub.services.sessions import Session
from dure_hub.settings import Settings
from dure_hub.spawners.waiting import until_answers
from dure_hub.store.events import record
from dure_hub.store.models import Environment, Event
from tests.unit.services.conftest import ORIGIN, Browser, bearer
from tests.unit.services.stub_hub import StubHub

SHARES = f"{API}/environments/default/shares"
NOTEBOOKS = f"{API}/shares/notebooks"
WITH_BEN = {"with": "ben"}
STUB = Path(__file__).parents[2] / "support" / "stub_server.py"


@pytest.fixture
async def ops(template: Path, hub: StubHub, tmp_path: Path) -> AsyncIterator[Operations]:
    """The same portal, with a host for each person."""
    root = tmp_path / "data"
    shutil.copytree(template, root)
    Settings(
        data=root,
        hub_port=hub.port,
        instance="0123456789ab",
        memory_reserved_mb=0,
        disk_minimum_mb=0,
        subdomain_host="http://dure.test:8000",
    ).save()
    made = operations(root)
    yield made
    await made.close()


@pytest.fixture
async def server(ops: Operations, tmp_path: Path) -> AsyncIterator[Handle]:
    """A process that says that it watches guests, as ana's server does."""
    gate, lease = tmp_path / "gate", new_id()
    gate.with_name("gate.guests").write_text('200\n{"watching": true}')
    environment = {
        "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:{port}/user/ana/",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/ana/",
    }
    command = [sys.executable, "-I", "-S", str(STUB), str(gate)]
    work = ServerWork(lease, "ana", tmp_path, environment, command=command, api_token="token-of-anas-server")
    handle = [one async for one in ops.servers.start(work)][-1]
    host, port = ops.servers.address(handle)
    await until_answers(host, port, "/", look=nothing, timeout_s=60)
    yield handle
    await ops.servers.stop(handle, 0)


async def nothing() -> None:
    """To be looked at meanwhile."""


@pytest.fixture
async def running(ops: Operations, server: Handle) -> None:
    """Ana's server runs."""
    await run_server(ops, lease=server.lease)


async def run_server(
    ops: Operations, phase: str = "running", owner: str = "ana", lease: str | None = None
) -> None:
    row = {"id": new_id(), "owner": owner, "lease_id": lease, "name": "default", "profile": "cpu", "phase": phase}
    await ops.store.run(lambda session: session.add(Environment(**row, asked_at=ops.clock())))


async def told(ops: Operations) -> list[tuple[str, str, str | None, dict[str, Any]]]:
    """Actor, verb, on whose behalf and facts of what was done; what was refused is told, too, and is not of it."""
    rows = await ops.store.read(lambda s: s.query(Event).where(Event.verb != VERB).order_by(Event.seq).all())
    return [(row.actor, row.verb, row.on_behalf_of, dict(row.verdict)) for row in rows]


@pytest.mark.usefixtures("running")
async def test_a_server_is_shared_once_and_closed_again(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub
) -> None:
    ana = bearer(hub.person("ana"))
    first = await anyone.post(SHARES, json=WITH_BEN, headers=ana)
    assert (first.status_code, first.json()["with"]) == (200, "ben")
    assert (await anyone.post(SHARES, json=WITH_BEN, headers=ana)).json() == first.json()
    assert list(hub.shares[("ana", "")]) == ["ben"]
    assert (await anyone.get(SHARES, headers=ana)).json() == [first.json()]
    for _ in range(2):
        assert (await anyone.delete(SHARES, params=WITH_BEN, headers=ana)).status_code == 204
    assert (await anyone.get(SHARES, headers=ana)).json() == []
    assert await told(ops) == [
        ("ana", "environment.share", None, {"code": "share", "with": "ben"}),
        ("ana", "environment.unshare", None, {"code": "unshare", "with": "ben"}),
    ]


@pytest.mark.usefixtures("running")
async def test_only_the_owner_and_administrators_share(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub
) -> None:
    ben, root = bearer(hub.person("ben")), bearer(hub.person("root", admin=True))
    whose = {"owner": "ana"}
    for verb in ("GET", "DELETE"):
        query = whose | (WITH_BEN if verb == "DELETE" else {})
        assert (await anyone.request(verb, SHARES, params=query, headers=ben)).status_code == 403
    assert (await anyone.post(SHARES, params=whose, json=WITH_BEN, headers=ben)).status_code == 403
    assert hub.shares == {}
    assert (await anyone.post(SHARES, params=whose, json=WITH_BEN, headers=root)).status_code == 200
    assert (await told(ops))[0][:3] == ("root", "environment.share", "ana")


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("colleague", "code"), [("ana", "bad_request"), ("nobody", "no_such_person"), ("", "bad_request")]
)
async def test_a_colleague_is_somebody_else_who_can_log_in(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, colleague: str, code: str
) -> None:
    async def why_not(name: str) -> str | None:
        return "owner_unknown" if name == "nobody" else None

    ops.shares.why_not = why_not
    answer = await anyone.post(SHARES, json={"with": colleague}, headers=bearer(hub.person("ana")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    assert not hub.shares.get(("ana", ""))


async def test_only_a_running_server_is_shared(anyone: httpx.AsyncClient, ops: Operations, hub: StubHub) -> None:
    await run_server(ops, "stopped")
    answer = await anyone.post(SHARES, json=WITH_BEN, headers=bearer(hub.person("ana")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "share_not_running")


@pytest.mark.usefixtures("running")
async def test_a_server_that_watches_no_guests_is_not_shared(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, ana: Browser, tmp_path: Path
) -> None:
    (tmp_path / "gate.guests").write_text("404\n")  # as one with another image
    answer = await anyone.post(SHARES, json=WITH_BEN, headers=bearer(hub.person("ana")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "share_unguarded")
    page = (await anyone.get(f"{BASE}/share/default", headers=ana.navigate())).text
    assert "The server default cannot be shared" in page
    assert "/share/default/add" not in page
    assert not hub.shares.get(("ana", ""))
    assert await told(ops) == []


@pytest.mark.usefixtures("running")
async def test_shares_end_where_a_server_starts_that_watches_no_guests(
    anyone: httpx.AsyncClient,
    ops: Operations,
    hub: StubHub,
    tmp_path: Path,
    server: Handle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ana = bearer(hub.person("ana"))
    for colleague in ("ben", "eve"):
        assert (await anyone.post(SHARES, json={"with": colleague}, headers=ana)).status_code == 200
    await ops.shares.started("ana", "default", server)
    assert sorted(hub.shares[("ana", "")]) == ["ben", "eve"]
    with monkeypatch.context() as patched:
        patched.setattr(ops.servers, "watches_guests", AsyncMock(side_effect=[False, True]))  # the first is late
        await ops.shares.started("ana", "default", server)
    assert sorted(hub.shares[("ana", "")]) == ["ben", "eve"]
    (tmp_path / "gate.guests").write_text("404\n")
    await ops.shares.started("ana", "default", server)
    assert hub.shares[("ana", "")] == {}
    facts = [{"code": "share_unguarded", "with": colleague} for colleague in ("ben", "eve")]
    assert (await told(ops))[2:] == [("dure", "environment.unshare", "ana", one) for one in facts]


@pytest.mark.usefixtures("running")
async def test_nobody_is_let_in_without_a_trace(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise NotReady(part="the store")

    monkeypatch.setattr(shares, record.__name__, away)
    answer = await anyone.post(SHARES, json=WITH_BEN, headers=bearer(hub.person("ana")))
    assert answer.status_code == 503
    assert hub.shares[("ana", "")] == {}


@pytest.mark.usefixtures("running")
async def test_a_server_is_at_its_owners_own_host(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    answer = await anyone.get(f"{API}/environments/default", headers=bearer(hub.person("ana")))
    assert answer.json()["url"] == "http://user-ana-lab-1.dure.test:8000/user/ana/"


@pytest.mark.usefixtures("running")
async def test_the_page_lets_in_and_out_by_forms(
    anyone: httpx.AsyncClient, app: FastAPI, hub: StubHub, ana: Browser
) -> None:
    place = f"{BASE}/share/default"
    page = await anyone.get(place, headers=ana.navigate())
    assert "Nobody but you" in page.text
    assert "form-action 'self' http://*.dure.test:8000;" in page.headers["content-security-policy"]
    unproven = await anyone.post(f"{place}/add", data=WITH_BEN, headers=ana.navigate())
    assert unproven.status_code == 403
    sent = WITH_BEN | {"csrf": ana.csrf}
    answer = await anyone.post(f"{place}/add", data=sent, headers=ana.navigate())
    assert (answer.status_code, answer.headers["location"]) == (303, place)
    assert 'data-share="ben"' in (await anyone.get(place, headers=ana.navigate())).text
    ben = Browser(app, Session.new(hub.person("ben", session="of-ben")), "of-ben")
    overview = (await anyone.get(f"{BASE}/shared", headers=ben.navigate())).text
    assert 'href="http://user-ana-lab-1.dure.test:8000/user/ana/"' in overview
    await anyone.post(f"{place}/remove", data=sent, headers=ana.navigate())
    assert hub.shares[("ana", "")] == {}


async def test_without_hosts_of_their_own_it_says_why(template: Path, hub: StubHub, tmp_path: Path) -> None:
    root = tmp_path / "one"
    shutil.copytree(template, root)
    Settings(data=root, hub_port=hub.port, instance="0123456789ab", memory_reserved_mb=0).save()
    ops = operations(root)
    await run_server(ops)
    app = application(ops)
    ana = Browser(app, Session.new(hub.person("ana", session="s")), "s")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
        for verb, body in (("GET", None), ("POST", WITH_BEN)):
            answer = await client.request(verb, SHARES, json=body, headers=bearer(hub.person("ana")))
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "sharing_off")
        page = await client.get(f"{BASE}/share/default", headers=ana.navigate())
        assert page.status_code == 200
        assert "all of them have one address" in page.text
        assert "<form" not in page.text
        server = await client.get(f"{API}/environments/default", headers=bearer(hub.person("ana")))
        assert server.json()["url"] == "/user/ana/"
    await ops.close()
    assert hub.shares == {}
    assert "form-action 'self';" in page_headers("n")["Content-Security-Policy"]


def write(ops: Operations, path: str, text: str = "{}", owner: str = "ana") -> Path:
    """A file in somebody's folder."""
    file = ops.settings.folder.users / slug(owner) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.usefixtures("running")
async def test_a_notebook_is_shown_as_it_was_until_the_share_ends(
    anyone: httpx.AsyncClient, app: FastAPI, ops: Operations, hub: StubHub, ana: Browser
) -> None:
    file = write(
        ops, "work/a.ipynb", json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    told_ana = bearer(hub.person("ana"))
    made = await anyone.post(NOTEBOOKS, json={"path": "work/a.ipynb", "with": "ben"}, headers=told_ana)
    assert made.status_code == 201
    share = made.json()
    assert (share["owner"], share["with"], share["environment"]) == ("ana", "ben", "default")
    file.write_text("changed")
    ben = Browser(app, Session.new(hub.person("ben", session="of-ben")), "of-ben")
    overview = (await anyone.get(f"{BASE}/shared", headers=ben.navigate())).text
    assert share["page"] in overview
    assert "sandbox" in (await anyone.get(share["page"], headers=ben.navigate())).text
    frame = ben.navigate() | {"Sec-Fetch-Dest": "iframe"}
    shown = await anyone.get(f"{share['page']}/notebook", headers=frame)
    assert shown.status_code == 200
    assert shown.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    copy = await anyone.get(f"{share['page']}/download", headers=ben.navigate())
    assert "nbformat" in copy.text
    folder = ops.settings.folder.shares / share["id"]
    assert {place.name: place.stat().st_mode & 0o777 for place in folder.iterdir()} == {
        "about.json": 0o600,
        "notebook.ipynb": 0o600,
    }
    # Neither the colleague nor anybody else ends it, and to anybody else it is not there.
    where = f"{NOTEBOOKS}/{share['id']}"
    assert (await anyone.delete(where, headers=bearer(hub.person("ben")))).status_code == 403
    assert (await anyone.delete(where, headers=bearer(hub.person("eve")))).status_code == 404
    eve = Browser(app, Session.new(hub.person("eve", session="of-eve")), "of-eve")
    for page in ("", "/download"):
        assert (await anyone.get(share["page"] + page, headers=eve.navigate())).status_code == 404
    assert (await anyone.get(NOTEBOOKS, headers=bearer(hub.person("eve")))).json() == []
    sent = {"csrf": ana.csrf}
    assert (await anyone.post(f"{share['page']}/remove", data=sent, headers=ana.navigate())).status_code == 303
    assert not folder.exists()
    assert (await anyone.get(f"{share['page']}/notebook", headers=frame)).status_code == 404
    assert (await anyone.delete(where, headers=told_ana)).status_code == 404
    facts = {"with": "ben", "path": "work/a.ipynb"}
    assert await told(ops) == [
        ("ana", "notebook.share", None, {"code": "share", **facts}),
        ("ana", "notebook.unshare", None, {"code": "unshare", **facts}),
    ]


@pytest.mark.usefixtures("running")
async def test_nothing_is_shown_of_an_owner_whose_account_is_disabled(
    anyone: httpx.AsyncClient, app: FastAPI, ops: Operations, hub: StubHub
) -> None:
    disabled = set[str]()

    async def why_not(name: str) -> str | None:
        return "owner_disabled" if name in disabled else None

    ops.shares.why_not = why_not
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    for owner in ("ana", "eve"):
        if owner == "eve":
            await run_server(ops, owner=owner)
        write(ops, "a.ipynb", json.dumps(notebook), owner)
        ask = {"path": "a.ipynb", "with": "ben"}
        assert (await anyone.post(NOTEBOOKS, json=ask, headers=bearer(hub.person(owner)))).status_code == 201
    ben = Browser(app, Session.new(hub.person("ben", session="of-ben")), "of-ben")
    root = Browser(app, Session.new(hub.person("root", session="of-root", admin=True)), "of-root")

    async def seen(by: Browser, share: dict[str, Any]) -> set[int]:
        pages = [("", "document"), ("/download", "document"), ("/notebook", "iframe")]
        headers = [(page, by.navigate() | {"Sec-Fetch-Dest": dest}) for page, dest in pages]
        return {(await anyone.get(share["page"] + page, headers=sent)).status_code for page, sent in headers}

    told_ben = bearer(hub.person("ben"))
    eves, anas = (await anyone.get(NOTEBOOKS, headers=told_ben)).json()
    assert (eves["owner"], anas["owner"]) == ("eve", "ana")
    disabled.add("ana")
    assert (await anyone.get(NOTEBOOKS, headers=told_ben)).json() == [eves]
    assert (await seen(ben, anas), await seen(ben, eves), await seen(root, anas)) == ({404}, {200}, {200})
    disabled.clear()
    assert (await anyone.get(NOTEBOOKS, headers=told_ben)).json() == [eves, anas]
    assert await seen(ben, anas) == {200}
    disabled.add("ana")
    where = f"{NOTEBOOKS}/{anas['id']}"
    assert (await anyone.delete(where, headers=bearer(hub.person("root", admin=True)))).status_code == 204


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    "path",
    [
        "../ben/secret.ipynb",
        "work/../../ben/secret.ipynb",
        "/etc/passwd",
        "work",
        "none.ipynb",
        "note.txt",
        "link.ipynb",
        "out/secret.ipynb",
        "folder.ipynb",
        "pipe.ipynb",
        "large.ipynb",
        "a\0b.ipynb",
    ],
)
async def test_no_path_leads_out_of_the_folder(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook_shares, "LIMIT", 100)
    secret = write(ops, "secret.ipynb", owner="ben")
    write(ops, "note.txt")
    write(ops, "large.ipynb", "x" * 101)
    mine = write(ops, "work/a.ipynb").parent.parent
    (mine / "link.ipynb").symlink_to(secret)
    (mine / "out").symlink_to(secret.parent)
    (mine / "folder.ipynb").mkdir()
    os.mkfifo(mine / "pipe.ipynb")
    answer = await anyone.post(NOTEBOOKS, json={"path": path, "with": "ben"}, headers=bearer(hub.person("ana")))
    assert answer.json()["error"]["code"] == ("bad_request" if "\0" in path else "notebook_not_there")
    assert list(ops.settings.folder.shares.iterdir()) == []
    assert await told(ops) == []


@pytest.mark.usefixtures("running")
async def test_a_person_shares_so_many_and_no_more(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook_shares, "MOST", 1)
    write(ops, "a.ipynb")
    ask = {"path": "a.ipynb", "with": "ben"}
    ana = bearer(hub.person("ana"))
    assert (await anyone.post(NOTEBOOKS, json=ask, headers=ana)).status_code == 201
    answer = await anyone.post(NOTEBOOKS, json=ask, headers=ana)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "too_many_shares")
