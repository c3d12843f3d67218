"""What is somebody's is nobody else's, and not even seen to exist."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Any

import httpx

from dure.wire.ids import new_id
from dure_hub.operations import Operations
from dure_hub.operations.people import USE
from dure_hub.services.places import API, BASE
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub


def packed() -> bytes:
    """A snapshot with one file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("train.py", "print('hello')")
    return made.getvalue()


async def ask(client: httpx.AsyncClient, token: str, verb: str, path: str, body: Any = None) -> httpx.Response:
    """One call of a person."""
    return await client.request(verb, API + path, json=body, headers=bearer(token))


async def test_a_server_is_its_owners(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    ana, ben, root = hub.person("ana"), hub.person("ben"), hub.person("root", admin=True)
    made = await ask(anyone, ana, "POST", "/environments", {"id": new_id(), "name": "mine", "profile": "cpu"})
    assert made.status_code == 202, made.text
    assert made.json()["owner"] == "ana"

    assert (await ask(anyone, ana, "GET", "/environments/mine")).status_code == 200
    for other in (ben, root):
        assert (await ask(anyone, other, "GET", "/environments")).json() == []
        assert (await ask(anyone, other, "GET", "/environments/mine")).status_code == 404
        assert (await ask(anyone, other, "DELETE", "/environments/mine")).status_code == 404
    assert (await ask(anyone, ben, "GET", "/environments?everyone=true")).status_code == 403
    everyone = (await ask(anyone, root, "GET", "/environments?everyone=true")).json()
    assert [server["owner"] for server in everyone] == ["ana"]
    assert (await ask(anyone, ana, "DELETE", "/environments/mine")).status_code == 204


async def test_a_request_sent_twice_is_one(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    ana, body = hub.person("ana"), {"id": new_id(), "profile": "cpu"}
    first = await ask(anyone, ana, "POST", "/environments", body)
    again = await ask(anyone, ana, "POST", "/environments", body)
    assert (first.status_code, again.status_code) == (202, 202)
    assert len((await ask(anyone, ana, "GET", "/environments")).json()) == 1


async def test_a_job_is_its_owners(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    ana, ben = hub.person("ana"), hub.person("ben")
    data = packed()
    digest = hashlib.sha256(data).hexdigest()
    put = await anyone.put(f"{API}/snapshots/{digest}", content=data, headers=bearer(ana))
    assert put.status_code == 204, put.text
    assert (await anyone.head(f"{API}/snapshots/{digest}", headers=bearer(ana))).status_code == 204
    wanted = {"id": new_id(), "name": "first", "snapshot": digest, "entry": "train.py"}
    made = await ask(anyone, ana, "POST", "/training/jobs", wanted)
    assert made.status_code == 202, made.text

    assert [job["name"] for job in (await ask(anyone, ana, "GET", "/training/jobs")).json()] == ["first"]
    assert (await ask(anyone, ben, "GET", "/training/jobs")).json() == []
    for verb, path in (("GET", ""), ("GET", "/logs"), ("DELETE", "")):
        assert (await ask(anyone, ben, verb, f"/training/jobs/first{path}")).status_code == 404
    assert (await ask(anyone, ana, "GET", "/training/jobs/first")).status_code == 200


async def test_a_minted_token_is_its_owner_without_rights_to_make_more(
    anyone: httpx.AsyncClient, hub: StubHub
) -> None:
    root, ben = hub.person("root", admin=True), hub.person("ben")
    made = (await ask(anyone, root, "POST", "/tokens", {"purpose": "my laptop", "lifetime_s": 3600})).json()
    assert made["token"].startswith("dure_")

    assert (await ask(anyone, made["token"], "GET", "/me")).json()["name"] == "root"
    assert (await ask(anyone, made["token"], "GET", "/events")).status_code == 403
    another = await ask(anyone, made["token"], "POST", "/tokens", {})
    assert (another.status_code, another.json()["error"]["code"]) == (403, "no_token_from_token")
    assert (await ask(anyone, ben, "DELETE", f"/tokens/{made['id']}")).status_code == 404
    assert (await ask(anyone, made["token"], "GET", "/me")).status_code == 200
    assert (await ask(anyone, root, "DELETE", f"/tokens/{made['id']}")).status_code == 204
    assert (await ask(anyone, made["token"], "GET", "/me")).status_code == 401


async def test_a_jobs_token_starts_nothing_that_outlives_the_job(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser
) -> None:
    _, token = await ops.tokens.mint(
        "ana", admin=False, scopes=[USE], purpose="job", lifetime_s=600, lease=new_id(), actor="portal"
    )
    job = {"id": new_id(), "name": "more", "snapshot": "0" * 64, "entry": "train.py"}
    for path, body in (
        ("/training/jobs", job),
        ("/environments", {"id": new_id(), "profile": "cpu"}),
        ("/endpoints", {"id": new_id(), "name": "digits", "model": "digits", "version": 1}),
        ("/endpoints/digits/canary", {"id": new_id(), "version": 2}),
        ("/tokens", {}),
    ):
        answer = await ask(anyone, token, "POST", path, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_for_jobs"), path
        korean = await anyone.post(API + path, json=body, headers={**bearer(token), "Accept-Language": "ko"})
        assert "작업보다 오래" in korean.json()["error"]["message"]
    form = await anyone.post(f"{BASE}/spawn", data={"id": new_id(), "profile": "cpu"}, headers=bearer(token))
    assert form.status_code == 403

    assert (await ask(anyone, token, "GET", "/me")).json()["name"] == "ana"
    assert (await ask(anyone, token, "GET", "/training/jobs")).status_code == 200
    registered = await ask(anyone, token, "POST", "/models", {"name": "digits", "job": "first"})
    assert registered.json()["error"]["code"] == "not_found", "let in; there is no such job"
    for behind in ("services/mlflow/api", "serve/digits/invocations"):
        passed = await anyone.post(f"{BASE}/check/{behind}", headers=bearer(token))
        assert (passed.status_code, passed.headers["x-dure-user"]) == (200, "ana")


async def test_a_token_is_made_only_for_whom_the_hub_knows_now(
    anyone: httpx.AsyncClient, hub: StubHub, ana: Browser
) -> None:
    ben = hub.person("ben")
    assert (await ask(anyone, ben, "POST", "/tokens", {})).status_code == 201
    assert (await anyone.get(f"{API}/me", headers=ana.script())).status_code == 200
    hub.away = True
    assert (await ask(anyone, ben, "GET", "/me")).status_code == 200, "still remembered"
    assert (await ask(anyone, ben, "POST", "/tokens", {})).status_code == 503
    hub.away = False
    hub.tokens.clear()
    assert (await ask(anyone, ben, "GET", "/me")).status_code == 200, "still remembered"
    assert (await ask(anyone, ben, "POST", "/tokens", {})).status_code == 401
    by_cookie = await anyone.post(f"{API}/tokens", json={}, headers=ana.script(x_dure_csrf=ana.csrf))
    assert by_cookie.status_code == 401


async def test_where_a_version_comes_from_is_not_for_people_to_write(
    anyone: httpx.AsyncClient, hub: StubHub
) -> None:
    body = {"name": "digits", "job": "first", "tags": {"note": "mine", "dure.git_commit": "0123abc"}}
    answer = await ask(anyone, hub.person("ana"), "POST", "/models", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "reserved_tag")
    assert answer.json()["error"]["facts"]["tag"] == "dure.git_commit"


async def test_an_administrator_reads_what_happened(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    ana, root = hub.person("ana"), hub.person("root", admin=True)
    await ask(anyone, ana, "POST", "/tokens", {"purpose": "x"})
    events = (await ask(anyone, root, "GET", "/events")).json()
    assert [(event["actor"], event["verb"]) for event in events] == [("ana", "token.mint")]
    assert "dure_" not in str(events)
