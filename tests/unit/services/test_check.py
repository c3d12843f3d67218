"""What Envoy is told about requests to MLflow and to served models."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from dure_hub.operations import Operations
from dure_hub.services.places import BASE
from tests.unit.services.conftest import ORIGIN, Browser, bearer
from tests.unit.services.stub_hub import StubHub

MLFLOW = f"{BASE}/check/services/mlflow"
SERVE = f"{BASE}/check/serve/digits"


@pytest.mark.parametrize("verb", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_holders_of_a_token_pass_with_their_name(anyone: httpx.AsyncClient, hub: StubHub, verb: str) -> None:
    forged = {"x-dure-user": "root", "x-dure-admin": "1"}
    for path in (f"{MLFLOW}/api/2.0/mlflow/runs/create", f"{SERVE}/invocations"):
        answer = await anyone.request(verb, path, headers={**forged, **bearer(hub.person("ana"))})
        assert answer.status_code == 200
        assert (answer.headers["x-dure-user"], answer.headers["x-dure-admin"]) == ("ana", "0")
    answer = await anyone.request(verb, f"{MLFLOW}/", headers=bearer(hub.person("root", admin=True)))
    assert (answer.headers["x-dure-user"], answer.headers["x-dure-admin"]) == ("root", "1")


async def test_strangers_are_refused(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    for path in (f"{MLFLOW}/", f"{SERVE}/invocations"):
        for headers in ({}, bearer("wrong"), bearer("dure_wrong"), {"x-dure-user": "root"}):
            answer = await anyone.post(path, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "not_logged_in"
            assert "x-dure-user" not in answer.headers
        assert (await anyone.get(path, headers=bearer(hub.person("guest", use=False)))).status_code == 403


async def test_a_visitor_of_mlflow_goes_to_the_login_and_comes_back(anyone: httpx.AsyncClient) -> None:
    answer = await anyone.get(f"{MLFLOW}/?x=1", headers={"Accept": "text/html"})
    assert answer.status_code == 302
    target = urlsplit(answer.headers["location"])
    assert (target.path, parse_qs(target.query)) == (f"{BASE}/login", {"next": ["/services/mlflow/?x=1"]})


async def test_a_model_takes_tokens_only(anyone: httpx.AsyncClient, ana: Browser) -> None:
    for headers in (ana.script(), ana.navigate(), {"Accept": "text/html"}):
        answer = await anyone.get(f"{SERVE}/invocations", headers=headers)
        assert answer.status_code == 401
        assert (await anyone.post(f"{SERVE}/invocations", headers=headers)).status_code == 401


async def test_mlflow_takes_writes_by_cookie_from_its_own_origin(anyone: httpx.AsyncClient, ana: Browser) -> None:
    where = f"{MLFLOW}/ajax-api/2.0/mlflow/runs/create"

    async def status(**headers: str) -> int:
        sent = {"Cookie": ana.cookies, **{name.replace("_", "-"): text for name, text in headers.items()}}
        return (await anyone.post(where, headers=sent)).status_code

    assert await status(Sec_Fetch_Site="same-origin", Origin=ORIGIN) == 200
    assert await status(Sec_Fetch_Site="same-origin") == 200
    assert await status(Origin=ORIGIN) == 200
    assert await status(Sec_Fetch_Site="cross-site", Origin="https://evil.example") == 403
    assert await status(Sec_Fetch_Site="same-site", Origin=ORIGIN) == 403
    assert await status(Sec_Fetch_Site="none") == 403
    assert await status(Origin="null") == 403
    for broken in ("http://[::1", "http://[x]/", "http://", "//"):
        assert await status(Origin=broken) == 403
    assert await status() == 403
    assert (await anyone.get(where, headers={"Cookie": ana.cookies})).status_code == 200


@pytest.mark.parametrize(
    "path", ["", "/", "/services/dure/", "/services/mlflowx/", "/hub/", "/user/ana/", "/services/other"]
)
async def test_nothing_else_passes(anyone: httpx.AsyncClient, hub: StubHub, path: str) -> None:
    answer = await anyone.get(f"{BASE}/check{path}", headers=bearer(hub.person("root", admin=True)))
    assert answer.status_code == 404


async def test_a_name_of_any_letters_fits_in_a_header(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    answer = await anyone.get(f"{MLFLOW}/", headers=bearer(hub.person("아나")))
    assert answer.headers["x-dure-user"] == "%EC%95%84%EB%82%98"


@pytest.mark.parametrize("name", ["ana", "아나", "o'brien", "a@b.example", "50% & more"])
async def test_mlflow_knows_a_person_by_one_name(
    anyone: httpx.AsyncClient, hub: StubHub, ops: Operations, name: str
) -> None:
    answer = await anyone.get(f"{MLFLOW}/", headers=bearer(hub.person(name)))
    assert answer.headers["x-dure-user"] == ops.mlflow.acting(name)._headers["x-dure-user"]
