"""What Envoy is told about requests to MLflow and to served models."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI

from dure_hub.operations import Operations
from dure_hub.services.places import BASE
from dure_hub.services.sessions import Session
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


RENDER = f"{BASE}/check/services/dashboards/voila/render/fleet.ipynb"
SOCKET = f"{BASE}/check/services/dashboards/api/kernels/0b1c2d3e-1111-2222-3333-444455556666/channels"


async def test_an_administrators_token_reaches_the_page_that_is_opened_and_nothing_else(
    anyone: httpx.AsyncClient, hub: StubHub
) -> None:
    token = hub.person("root", admin=True)
    forged = {"x-dure-viewer-token": "forged", "x-dure-viewer-language": "xx", "Accept-Language": "ko"}
    answer = await anyone.get(RENDER, headers={**forged, **bearer(token)})
    assert (answer.status_code, answer.headers["x-dure-user"]) == (200, "root")
    assert answer.headers["x-dure-viewer-token"] == token
    assert answer.headers["x-dure-viewer-language"] == "ko"
    for path in (SOCKET, f"{BASE}/check/services/dashboards/voila/static/voila.js", f"{MLFLOW}/"):
        answer = await anyone.get(path, headers={**forged, **bearer(token)})
        assert answer.status_code == 200
        assert "x-dure-viewer-token" not in answer.headers
    assert "x-dure-viewer-language" not in (await anyone.get(f"{MLFLOW}/", headers=bearer(token))).headers


async def test_a_session_brings_the_hubs_token_in_it(
    anyone: httpx.AsyncClient, app: FastAPI, hub: StubHub
) -> None:
    token = hub.person("root", admin=True, session="session-of-root")
    root = Browser(app, Session.new(token), "session-of-root")
    answer = await anyone.get(RENDER, headers=root.navigate(Cookie=f"{root.cookies}; dure-lang=ko"))
    assert (answer.status_code, answer.headers["x-dure-viewer-token"]) == (200, token)
    assert answer.headers["x-dure-viewer-language"] == "ko"
    assert token not in repr(await app.state.portal.identities.by_token(token))
    # A page of somebody's server shares the origin: what it fetches would be its own.
    assert (await anyone.get(RENDER, headers=root.script())).status_code == 403
    assert (await anyone.get(RENDER, headers=root.navigate(Sec_Fetch_Dest="iframe"))).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_sites_link_starts_no_kernel_but_one_click_does(
    anyone: httpx.AsyncClient, app: FastAPI, hub: StubHub, site: str
) -> None:
    root = Browser(app, Session.new(hub.person("root", admin=True, session="of-root")), "of-root")
    for language, words in (("en", "A page of another site led here"), ("ko", "다른 사이트에서 온 링크입니다")):
        sent = root.navigate(Sec_Fetch_Site=site, Accept_Language=language)
        answer = await anyone.get(f"{RENDER}?x=1", headers=sent)
        assert answer.status_code == 403
        assert "x-dure-viewer-token" not in answer.headers
        assert words in answer.text
        assert 'href="/services/dashboards/voila/render/fleet.ipynb"' in answer.text
    for own in ("none", "same-origin"):
        answer = await anyone.get(RENDER, headers=root.navigate(Sec_Fetch_Site=own))
        assert answer.status_code == 200


async def test_a_kernels_socket_proves_where_it_was_opened(
    anyone: httpx.AsyncClient, app: FastAPI, hub: StubHub
) -> None:
    root = Browser(app, Session.new(hub.person("root", admin=True, session="of-root")), "of-root")

    async def status(**headers: str) -> int:
        sent = {"Cookie": root.cookies, **{name.replace("_", "-"): text for name, text in headers.items()}}
        return (await anyone.get(SOCKET, headers=sent)).status_code

    assert await status(Origin=ORIGIN) == 200
    assert await status(Sec_Fetch_Site="same-origin", Origin=ORIGIN) == 200
    assert await status(Origin="https://evil.example") == 403
    assert await status(Sec_Fetch_Site="same-site", Origin=ORIGIN) == 403
    assert await status() == 403


@pytest.mark.parametrize("path", [RENDER, SOCKET, f"{BASE}/check/services/dashboards/"])
async def test_the_dashboards_are_for_administrators(
    anyone: httpx.AsyncClient, hub: StubHub, ana: Browser, path: str
) -> None:
    for headers in (bearer(hub.person("ben")), ana.script()):
        answer = await anyone.get(path, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "administrators_only"
        assert "x-dure-viewer-token" not in answer.headers
    for language, words in (("en", "are for administrators"), ("ko", "관리자만")):
        page = await anyone.get(path, headers=ana.navigate(Accept_Language=language))
        assert page.status_code == 403
        assert words in page.text
        assert "ana" in page.text
    assert (await anyone.get(path)).status_code == 401
    visit = await anyone.get(path, headers={"Accept": "text/html"})
    assert (visit.status_code, urlsplit(visit.headers["location"]).path) == (302, f"{BASE}/login")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/services/dure/",
        "/services/mlflowx/",
        "/services/dashboardsx/",
        "/hub/",
        "/user/ana/",
        "/services/other",
    ],
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
