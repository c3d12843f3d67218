"""Login by the hub's OAuth, and what ends it."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI

from dure_hub.operations import Operations
from dure_hub.services.places import API, BASE, HOME, safe_next
from dure_hub.services.sessions import HUB_SESSION_COOKIE, SESSION_COOKIE, Jar
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub

NAVIGATE = {"Accept": "text/html", "Sec-Fetch-Dest": "document"}


def cookie_of(answer: httpx.Response, name: str) -> SimpleCookie:
    """The one cookie whose name begins so."""
    (line,) = [line for line in answer.headers.get_list("set-cookie") if line.startswith(name)]
    return SimpleCookie(line)


async def begin(client: httpx.AsyncClient, where: str) -> tuple[dict[str, list[str]], str]:
    """Open a page as a stranger: what the hub is asked, and the cookie of the login."""
    sent = await client.get(where, headers=NAVIGATE)
    answer = await client.get(sent.headers["location"], headers=NAVIGATE)
    assert answer.status_code == 302
    target = urlsplit(answer.headers["location"])
    assert target.path == "/hub/api/oauth2/authorize"
    ((name, morsel),) = cookie_of(answer, "dure-login-").items()
    return parse_qs(target.query), f"{name}={morsel.value}"


async def test_a_login_ends_where_it_began(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    query, kept = await begin(anyone, f"{BASE}/spawn?name=mine")
    assert query["client_id"] == ["service-dure"]
    assert query["code_challenge_method"] == ["S256"]
    code = hub.code(hub.person("ana", session="s1"), query["code_challenge"][0])

    callback = f"{BASE}/oauth_callback?code={code}&state={query['state'][0]}"
    answer = await anyone.get(callback, headers={**NAVIGATE, "Cookie": kept})
    assert answer.status_code == 302
    assert answer.headers["location"] == f"{BASE}/spawn?name=mine"
    morsel = cookie_of(answer, SESSION_COOKIE)[SESSION_COOKIE]
    assert (morsel["path"], morsel["httponly"], morsel["samesite"].lower()) == ("/services/", True, "lax")
    assert "hubtoken" not in answer.headers["set-cookie"]

    cookies = f"{SESSION_COOKIE}={morsel.value}; {HUB_SESSION_COOKIE}=s1"
    home = await anyone.get(HOME, headers={**NAVIGATE, "Cookie": cookies})
    assert home.status_code == 200
    assert "Hello, ana" in home.text


async def test_a_code_is_worth_nothing_in_another_browser(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    query, _ = await begin(anyone, HOME)
    _, other = await begin(anyone, HOME)
    code = hub.code(hub.person("ana"), query["code_challenge"][0])
    callback = f"{BASE}/oauth_callback?code={code}&state={query['state'][0]}"
    for cookie in ("", other, "dure-login-x=y"):
        answer = await anyone.get(callback, headers={**NAVIGATE, "Cookie": cookie})
        assert answer.status_code == 400
        assert "set-cookie" not in answer.headers


async def test_a_code_without_its_verifier_is_refused(anyone: httpx.AsyncClient, hub: StubHub) -> None:
    query, kept = await begin(anyone, HOME)
    code = hub.code(hub.person("ana"), "the challenge of somebody else")
    callback = f"{BASE}/oauth_callback?code={code}&state={query['state'][0]}"
    answer = await anyone.get(callback, headers={**NAVIGATE, "Cookie": kept})
    assert answer.status_code == 400
    assert "login_failed" in answer.text
    korean = await anyone.get(callback, headers={**NAVIGATE, "Cookie": kept, "Accept-Language": "ko"})
    assert "로그인을 마치지 못했습니다: 코드를 쓸 수 없습니다." in korean.text


async def test_a_logout_at_the_hub_ends_the_session_at_once(
    anyone: httpx.AsyncClient, app: FastAPI, hub: StubHub, ana: Browser
) -> None:
    assert (await anyone.get(HOME, headers=ana.navigate())).status_code == 200
    # The hub's logout takes its cookie away; nothing of ours needs to run out first.
    gone = ana.navigate(Cookie=ana.cookies.partition(";")[0])
    assert (await anyone.get(HOME, headers=gone)).status_code == 303
    # Somebody else logs in with the same browser: the old session does not follow.
    swapped = ana.navigate(Cookie=ana.cookies.replace("session-of-ana", "session-of-ben"))
    assert (await anyone.get(HOME, headers=swapped)).status_code == 303
    # And the hub ends the token itself, which counts after the few seconds that an answer is kept.
    hub.tokens.clear()
    app.state.portal.identities._seen.clear()
    assert (await anyone.get(HOME, headers=ana.navigate())).status_code == 303


async def test_a_cookie_that_was_changed_is_no_session(anyone: httpx.AsyncClient, ana: Browser) -> None:
    for spoiled in (ana.cookies.replace("=gAAA", "=gAAB", 1), "dure-session=x", "dure-session=ä", "dure-session="):
        headers = {name.encode(): text.encode() for name, text in ana.navigate(Cookie=spoiled).items()}
        assert (await anyone.get(HOME, headers=headers)).status_code == 303


async def test_writes_by_cookie_show_the_secret_of_the_session(anyone: httpx.AsyncClient, ana: Browser) -> None:
    where = f"{API}/tokens"
    assert (await anyone.post(where, json={}, headers=ana.script())).status_code == 403
    assert (await anyone.post(where, json={}, headers=ana.script(x_dure_csrf="guess"))).status_code == 403
    good = await anyone.post(where, json={}, headers=ana.script(x_dure_csrf=ana.csrf))
    assert good.status_code == 201
    assert (await anyone.get(f"{API}/me", headers=ana.script())).json()["name"] == "ana"


async def test_a_token_decides_where_a_cookie_is_sent_too(
    anyone: httpx.AsyncClient, hub: StubHub, ana: Browser
) -> None:
    headers = {**ana.script(), **bearer(hub.person("ben"))}
    assert (await anyone.get(f"{API}/me", headers=headers)).json()["name"] == "ben"
    headers = {**ana.script(), **bearer("wrong")}
    assert (await anyone.get(f"{API}/me", headers=headers)).status_code == 401


async def test_pages_answer_only_navigations(anyone: httpx.AsyncClient, ana: Browser) -> None:
    for destination in ("empty", "iframe", "frame", "embed", "object", "script"):
        headers = ana.navigate(Sec_Fetch_Dest=destination)
        answer = await anyone.get(HOME, headers=headers)
        assert answer.status_code == 403
        assert ana.csrf not in answer.text


async def test_pages_let_nobody_frame_or_reach_them(anyone: httpx.AsyncClient, ana: Browser) -> None:
    answer = await anyone.get(HOME, headers=ana.navigate())
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert answer.headers["cross-origin-opener-policy"] == "noopener-allow-popups"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "https://evil.example/",
        "//evil.example/services/",
        "/\\evil.example",
        "/services/\\evil",
        "/services//evil.example",
        "/services/a\r\nSet-Cookie: x=y",
        "/services/a\tb",
        "javascript:alert(1)",
        "services/dure/",
        "/user/ben/",
        "/hub/logout",
        "/services/" + "x" * 3000,
        "/services/../user/ben/",
        "/services/dure/%2E%2e/..",
    ],
)
def test_nobody_is_sent_elsewhere(text: str | None) -> None:
    assert safe_next(text) == HOME


def test_one_comes_back_to_pages_behind_the_login() -> None:
    for text in ("/services/mlflow/?a=//b#/models", "/services/dure/spawn?name=a&profile=b%20c"):
        assert safe_next(text) == text


async def test_the_language_is_chosen_once(anyone: httpx.AsyncClient, ana: Browser) -> None:
    answer = await anyone.get(f"{BASE}/language?to=ko&next={HOME}", headers=NAVIGATE)
    assert answer.headers["location"] == HOME
    headers = ana.navigate()
    headers["Cookie"] += "; dure-lang=" + cookie_of(answer, "dure-lang")["dure-lang"].value
    page = await anyone.get(HOME, headers=headers)
    assert '<html lang="ko">' in page.text
    assert "ana 님, 안녕하세요" in page.text
    strange = await anyone.get(f"{BASE}/language?to=xx&next=https://evil.example", headers=NAVIGATE)
    assert strange.headers["location"] == HOME
    assert "set-cookie" not in strange.headers


def test_where_people_have_hosts_and_https_no_other_host_can_set_our_cookies() -> None:
    assert (Jar(secure=True, alone=True).name("a"), Jar(secure=True, alone=True).path) == ("__Host-a", "/")
    assert (Jar(secure=True).name("a"), Jar(secure=True).path) == ("a", "/services/")


@pytest.mark.parametrize(
    ("address", "alone"), [("https://dure.example", True), ("http://dure.test:8000", False), ("", False)]
)
async def test_the_login_keeps_its_cookie_by_the_address(
    app: FastAPI, anyone: httpx.AsyncClient, ops: Operations, address: str, alone: bool
) -> None:
    public = address if alone else ""
    changed = ops.settings.model_copy(update={"subdomain_host": address, "public_url": public})
    ops.settings = changed
    answer = await anyone.get(f"{BASE}/login")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-dure-login-") is alone
    assert (re.search(r"Path=([^;]*)", cookie) or [""])[1] == ("/" if alone else "/services/")
    assert ("Secure" in cookie) is alone
