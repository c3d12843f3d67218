"""The service where all of the portal is below `/dure/`: Envoy takes that off, and what goes out has it again."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI

from dure_hub.operations import Operations
from dure_hub.services.places import BASE, HOME, safe_next
from dure_hub.services.sessions import HUB_SESSION_COOKIE, SESSION_COOKIE
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub
from tests.unit.services.test_login import NAVIGATE, cookie_of

ROOT = "/dure"
CHECK = f"{BASE}/check"


@pytest.fixture
def app(app: FastAPI, ops: Operations, hub: StubHub) -> FastAPI:
    """The application of a portal below a path."""
    hub.callback = f"{ROOT}{BASE}/oauth_callback"
    ops.settings = ops.settings.model_copy(update={"base_url": f"{ROOT}/"})
    return app


async def test_a_login_goes_by_the_path_and_ends_where_it_began(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    sent = await anyone.get(f"{BASE}/spawn?name=mine", headers=NAVIGATE)
    target = urlsplit(sent.headers["location"])
    assert target.path == f"{ROOT}{BASE}/login"
    asked = await anyone.get(f"{BASE}/login?{target.query}", headers=NAVIGATE)
    target = urlsplit(asked.headers["location"])
    query = parse_qs(target.query)
    assert target.path == f"{ROOT}/hub/api/oauth2/authorize"
    assert query["redirect_uri"] == [f"{ROOT}{BASE}/oauth_callback"]
    ((name, morsel),) = cookie_of(asked, "dure-login-").items()
    assert morsel["path"] == f"{ROOT}/services/"

    code = hub.code(hub.person("ana", session="s1"), query["code_challenge"][0])
    callback = f"{BASE}/oauth_callback?code={code}&state={query['state'][0]}"
    answer = await anyone.get(callback, headers={**NAVIGATE, "Cookie": f"{name}={morsel.value}"})
    assert answer.headers["location"] == f"{ROOT}{BASE}/spawn?name=mine"
    session = cookie_of(answer, SESSION_COOKIE)[SESSION_COOKIE]
    assert session["path"] == f"{ROOT}/services/"
    cookies = f"{SESSION_COOKIE}={session.value}; {HUB_SESSION_COOKIE}=s1"
    assert (await anyone.get(HOME, headers={**NAVIGATE, "Cookie": cookies})).status_code == 200


async def test_pages_lead_below_the_path_alone(anyone: httpx.AsyncClient, ana: Browser) -> None:
    for place in ("", "spawn", "docs", "schedules", "shared", "notices", "none"):
        page = await anyone.get(HOME + place, headers=ana.navigate())
        found = re.findall(r'(?:href|src|action|data-api)="([^"#][^"]*)"', page.text)
        assert found
        assert [one for one in found if not one.startswith(f"{ROOT}/")] == [], place
    page = await anyone.get(HOME, headers=ana.navigate())
    assert f"http://portal.test{ROOT}" in page.text  # what DURE_URL is outside


async def test_forms_end_below_the_path(anyone: httpx.AsyncClient, ana: Browser) -> None:
    for form, place in (("notices/test", "notices"), ("notices/seen", "notices")):
        sent = {"csrf": ana.csrf, "through": "0" * 26}
        answer = await anyone.post(HOME + form, data=sent, headers=ana.navigate())
        assert (answer.status_code, answer.headers["location"]) == (303, f"{ROOT}{HOME}{place}")


async def test_the_language_is_kept_below_the_path(anyone: httpx.AsyncClient) -> None:
    answer = await anyone.get(f"{BASE}/language?to=ko&next={ROOT}{HOME}docs", headers=NAVIGATE)
    assert answer.headers["location"] == f"{ROOT}{HOME}docs"
    assert cookie_of(answer, "dure-lang")["dure-lang"]["path"] == f"{ROOT}/"


@pytest.mark.parametrize(
    "text",
    [
        HOME,
        "/services/mlflow/",
        "/durex/services/dure/",
        "/dure/hub/logout",
        "//dure/services/dure/",
        "/dure//services/dure/",
        "/dure/services//evil.example",
        "/dure/services/../hub/logout",
        "/dure/services/dure/%2e%2E/%2e./../else",
        "/dure/services/../../else",
        "/dure/services/..%2f..%2felse",
        "/dure/services/..%5C..%5Celse",
        "/dure/services/%252e%252e/%252e%252e/else",
        "https://evil.example/dure/services/dure/",
    ],
)
def test_nobody_is_sent_out_of_the_path(text: str) -> None:
    assert safe_next(text, ROOT) == ROOT + HOME


def test_one_comes_back_to_pages_below_the_path() -> None:
    for text in ("/dure/services/mlflow/?a=//b/../c#/models", "/dure/services/dure/wait/a.b..c"):
        assert safe_next(text, ROOT) == text


async def test_the_check_is_asked_with_the_whole_path(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    ana = bearer(hub.person("ana"))
    for path in ("services/mlflow/", "services/mlflow/ajax-api/x", "serve/digits/invocations"):
        answer = await anyone.get(f"{CHECK}{ROOT}/{path}", headers=ana)
        assert (answer.status_code, answer.headers["x-dure-user"]) == (200, "ana"), path
        assert (await anyone.get(f"{CHECK}{ROOT}/{path}")).status_code == 401
        for elsewhere in (f"{CHECK}/{path}", f"{CHECK}/durex/{path}", f"{CHECK}/else{ROOT}/{path}"):
            assert (await anyone.get(elsewhere, headers=ana)).status_code == 404
    dashboards = f"{CHECK}{ROOT}/services/dashboards/voila/render/fleet.ipynb"
    assert (await anyone.get(dashboards, headers=ana)).status_code == 403
    visit = await anyone.get(f"{CHECK}{ROOT}/services/mlflow/?x=1", headers={"Accept": "text/html"})
    target = urlsplit(visit.headers["location"])
    assert target.path == f"{ROOT}{BASE}/login"
    assert parse_qs(target.query) == {"next": [f"{ROOT}/services/mlflow/?x=1"]}


async def test_what_is_not_there_is_said_with_its_whole_path(anyone: httpx.AsyncClient) -> None:
    answer = await anyone.get(f"{BASE}/none")
    assert answer.json()["error"]["facts"]["path"] == f"{ROOT}{BASE}/none"
