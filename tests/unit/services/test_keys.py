"""Every route against every kind of key: what a key may is decided by its scopes, and by nothing else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from dure_hub.operations import Operations
from dure_hub.policies.keys import SCOPES
from dure_hub.services.application import PUBLIC
from dure_hub.services.places import API
from tests.unit.services.conftest import bearer
from tests.unit.services.stub_hub import StubHub
from tests.unit.services.test_routes import ROUTES, routes

READS = {
    ("GET", "/environments"), ("GET", "/environments/{name}"), ("GET", "/environments/{name}/usage"),
    ("GET", "/environments/{name}/progress"), ("GET", "/environments/{name}/shares"), ("GET", "/shares/notebooks"),
    ("GET", "/models"), ("GET", "/models/{name}/versions"), ("GET", "/endpoints"), ("GET", "/endpoints/{name}"),
    ("GET", "/schedules"), ("GET", "/schedules/{name}"), ("GET", "/schedules/{name}/executions"),
    ("GET", "/schedules/{name}/executions/{number}"), ("GET", "/schedules/{name}/executions/{number}/logs"),
    ("GET", "/schedules/{name}/executions/{number}/notebook"), ("GET", "/costs"), ("GET", "/forecast"),
    ("GET", "/recommendations"), ("GET", "/gpu/overview"), ("GET", "/gpu/devices"),
    ("GET", "/gpu/devices/{device}"),
    ("GET", "/gpu/allocations"), ("GET", "/gpu/allocations/{allocation_id}"), ("GET", "/queue"),
    ("GET", "/budgets"), ("GET", "/quotas"),
}  # fmt: skip
JOB_READS = {
    ("GET", "/me"), ("GET", "/profiles"), ("GET", "/profiles/offers"), ("GET", "/profiles/{name}/plan"),
    ("GET", "/training/jobs"), ("GET", "/training/jobs/{name}"), ("GET", "/training/jobs/{name}/logs"),
    ("HEAD", "/snapshots/{digest}"),
}  # fmt: skip
JOB_WRITES = {("POST", "/training/jobs"), ("DELETE", "/training/jobs/{name}"), ("PUT", "/snapshots/{digest}")}
OPEN = {"read": READS | JOB_READS, "jobs": JOB_READS | JOB_WRITES, "predict": set[tuple[str, str]]()}
CLOSED_TO_ALL = {("POST", "/tokens"), ("POST", "/keys")}
ADMINISTRATORS = {
    ("GET", "/events/export"), ("GET", "/fleet"), ("GET", "/logins"), ("GET", "/metrics"),
    ("POST", "/gpu/devices/{device}/mig"), ("GET", "/devices"), ("POST", "/devices/{device}/cordon"),
    ("POST", "/devices/{device}/drain"), ("POST", "/devices/{device}/uncordon"), ("GET", "/notices/failures"),
    ("GET", "/organisation"), ("PUT", "/organisation"), ("PUT", "/teams/{team}"), ("DELETE", "/teams/{team}"),
}  # fmt: skip


async def key(anyone: httpx.AsyncClient, owner: str, **ask: Any) -> str:
    """A new key of whose token this is."""
    answer = await anyone.post(f"{API}/keys", json={"name": "k", **ask}, headers=bearer(owner))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


def template(app: FastAPI, verb: str, path: str) -> str:
    """The route that answers this."""
    asked = API + path.partition("?")[0]
    found = [
        known for known, route in routes(app) if verb in (route.methods or ()) and route.path_regex.match(asked)
    ]
    literal = [known for known in found if known == asked]
    return (literal or found)[0].removeprefix(API)


@pytest.mark.parametrize("scope", SCOPES)
async def test_every_route_by_every_scope(
    app: FastAPI, anyone: httpx.AsyncClient, hub: StubHub, scope: str
) -> None:
    text = await key(anyone, hub.person("ana"), scopes=[scope])
    tried = set()
    for verb, path, body, _ in ROUTES:
        where = verb, template(app, verb, path)
        tried.add(where)
        answer = await anyone.request(verb, API + path, json=body, headers=bearer(text))
        refused = answer.status_code == 403 and (
            verb == "HEAD"
            or answer.json()["error"]["code"] in ("key_not_enough", "no_key_from_token", "no_token_from_token")
        )
        allowed = where not in CLOSED_TO_ALL | ADMINISTRATORS if scope == "full" else where in OPEN[scope]
        assert refused is not allowed, (scope, where, answer.status_code, answer.text[:200])
    every = {
        (verb, path.removeprefix(API))
        for path, route in routes(app)
        if path.startswith(API) and path not in PUBLIC
        for verb in route.methods or ()
    }
    assert tried == every, "each route is tried"


async def test_an_administrators_key_is_one_only_where_that_was_said(
    anyone: httpx.AsyncClient, hub: StubHub
) -> None:
    root = hub.person("root", admin=True)
    usual = await key(anyone, root, scopes=["full"])
    said = await key(anyone, root, name="b", scopes=["full"], admin=True)
    statuses = [(await anyone.get(f"{API}/events", headers=bearer(text))).status_code for text in (usual, said)]
    assert statuses == [403, 200]
    answer = await anyone.post(
        f"{API}/keys", json={"name": "c", "scopes": ["full"], "admin": True}, headers=bearer(hub.person("ana"))
    )
    assert answer.status_code == 403


async def test_a_token_makes_no_key(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    answer = await anyone.post(f"{API}/tokens", json={}, headers=bearer(hub.person("ana")))
    token = answer.json()["token"]
    refused = await anyone.post(f"{API}/keys", json={"name": "k", "scopes": ["read"]}, headers=bearer(token))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "no_key_from_token")


@pytest.mark.parametrize(
    ("ask", "path", "status"),
    [
        ({"scopes": ["predict"], "endpoints": ["digits"]}, "serve/digits/predict", 200),
        ({"scopes": ["predict"], "endpoints": ["digits"]}, "serve/digits2/predict", 403),
        ({"scopes": ["predict"]}, "serve/any/predict", 200),
        ({"scopes": ["predict"]}, "services/mlflow/", 403),
        ({"scopes": ["read", "jobs"]}, "serve/digits/predict", 403),
        ({"scopes": ["full"]}, "serve/digits/predict", 200),
        ({"scopes": ["full"]}, "services/mlflow/", 200),
    ],
)
async def test_what_lies_behind_envoy(
    anyone: httpx.AsyncClient, hub: StubHub, ask: dict[str, Any], path: str, status: int
) -> None:
    text = await key(anyone, hub.person("ana"), **ask)
    answer = await anyone.get(f"/services/dure/check/{path}", headers=bearer(text))
    assert answer.status_code == status, answer.text


async def test_an_ended_key_is_nobody(anyone: httpx.AsyncClient, hub: StubHub, ops: Operations) -> None:
    ana = hub.person("ana")
    text = await key(anyone, ana, scopes=["read"])
    (listed,) = (await anyone.get(f"{API}/keys", headers=bearer(ana))).json()
    assert (await anyone.get(f"{API}/me", headers=bearer(text))).status_code == 200
    (used,) = (await anyone.get(f"{API}/keys", headers=bearer(ana))).json()
    assert (listed["used_at"], used["used_at"] is None) == (None, False)
    assert (
        await anyone.delete(f"{API}/keys/{listed['id']}", headers=bearer(hub.person("ben")))
    ).status_code == 404
    assert (await anyone.delete(f"{API}/keys/{listed['id']}", headers=bearer(ana))).status_code == 204
    assert (await anyone.get(f"{API}/me", headers=bearer(text))).status_code == 401
