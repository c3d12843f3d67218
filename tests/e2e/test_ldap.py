"""Login by a real directory: hub, portal and a browser; and what becomes of whom it switches off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.portal import until
from tests.support.hub import xsrf
from tests.support.login_site import NOTICE_S, TEAM, LoginSite, make_site, seen
from tests.support.slapd import GROUPS, PEOPLE, PORTAL, PORTAL_SECRET, Slapd, running

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LoginSite, Slapd]]:
    """A portal, and the directory it asks."""
    folder = tmp_path_factory.mktemp("ldap")
    secret = folder / "bind"
    secret.write_text(PORTAL_SECRET)
    secret.chmod(0o600)
    with running() as slapd:
        for name in ("ana", "ben", "cho"):
            slapd.add_person(name, f"{name}-secret")
        slapd.put_group(TEAM, ["ana", "ben", "cho"])
        slapd.put_group("staff", ["ana"])
        site = make_site(
            folder,
            DURE_AUTH="ldap",
            DURE_LOGIN_TITLE="Our directory",
            DURE_LOGIN_ADMIN_GROUP="staff",
            DURE_LDAP_URL=slapd.url,
            DURE_LDAP_CA_FILE=str(slapd.ca),
            DURE_LDAP_BIND_DN=PORTAL,
            DURE_LDAP_BIND_PASSWORD_FILE=str(secret),
            DURE_LDAP_USER_BASE=PEOPLE,
            DURE_LDAP_GROUPS="search",
            DURE_LDAP_GROUP_BASE=GROUPS,
        )
        try:
            site.up()
            yield site, slapd
        finally:
            site.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A browser of its own, of somebody who reads Korean."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="ko-KR")
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


def log_in(site: LoginSite, name: str, password: str) -> httpx.Response:
    """By the login page's form."""
    with httpx.Client(base_url=site.url, timeout=60) as client:
        form = client.get("/hub/login")
        words = {"username": name, "password": password, "_xsrf": xsrf(form.text)}
        return client.post("/hub/login", data=words)


def test_a_person_logs_in_with_the_directorys_password(world: tuple[LoginSite, Slapd], page: Page) -> None:
    site, _ = world
    page.goto(f"{site.url}/hub/login")
    expect(page.locator("form#login")).to_be_visible()
    expect(page.locator("body")).to_contain_text("Our directory 계정")
    page.locator("#username_input").fill(" ANA ")
    page.locator("#password_input").fill("ana-secret")
    page.locator("#login_submit").click()
    page.wait_for_url(f"{site.url}/services/dure/**")
    known = site.hub_user("ana")
    assert sorted(known["groups"]) == ["staff", TEAM]
    assert "dure-admin" in known["roles"]


@pytest.mark.parametrize(
    ("name", "password"), [("ben", ""), ("ben", "ana-secret"), ("*", "ben-secret"), ("zoe", "x")]
)
def test_nobody_else_does(world: tuple[LoginSite, Slapd], name: str, password: str) -> None:
    site, _ = world
    answer = log_in(site, name, password)
    assert answer.status_code in (400, 403), answer.headers
    assert "jupyterhub-hub-login" not in answer.headers.get("set-cookie", "")


def test_who_is_switched_off_is_warned_and_ended(world: tuple[LoginSite, Slapd]) -> None:
    site, slapd = world
    assert log_in(site, "ben", "ben-secret").status_code == 302
    api, root = site.speak_as("ben"), site.speak_as("root")
    site.start(api)
    slapd.disable("ben")
    until(lambda: api.get("/me").status_code == 401, "his token to be worth nothing")

    def his() -> dict[str, object]:
        return dict(root.get("/environments/default", params={"owner": "ben"}).raise_for_status().json())

    lease = his()["lease"]
    assert isinstance(lease, dict)
    assert datetime.fromisoformat(lease["until"]) <= datetime.now(UTC) + timedelta(seconds=NOTICE_S)
    until(lambda: his()["phase"] == "stopped", lambda: f"its end: {his()}", timeout=NOTICE_S + 60)
    assert log_in(site, "ben", "ben-secret").status_code == 403
    assert "switched off" in site.login("ben")["why"] or "disabled" in site.login("ben")["why"]
    slapd.disable("ben", off=False)
    assert log_in(site, "ben", "ben-secret").status_code == 302
    assert site.login("ben")["gone_at"] is None


def test_teams_follow_and_a_silent_directory_ends_nobody(world: tuple[LoginSite, Slapd]) -> None:
    site, slapd = world
    assert log_in(site, "cho", "cho-secret").status_code == 302
    api = site.speak_as("cho")
    until_before = site.start(api, team=TEAM)["lease"]["until"]
    slapd.stop()
    until(lambda: site.login("cho")["failing_since"], "the failure to be told")
    assert log_in(site, "cho", "cho-secret").status_code == 503
    assert seen(api)["lease"]["until"] == until_before
    slapd.start()
    until(lambda: site.login("cho")["failing_since"] is None, "it to be back")
    slapd.put_group(TEAM, ["ana"])
    until(lambda: site.hub_user("cho")["groups"] == [], "her teams to be changed")
    until(lambda: seen(api)["phase"] == "stopped", lambda: f"its end: {seen(api)}", timeout=NOTICE_S + 60)
    assert "no longer in the team" in seen(api)["reason"]


def test_the_portals_own_secret_is_in_no_log(world: tuple[LoginSite, Slapd]) -> None:
    site, _ = world
    for log in (site.data / "log").glob("*.log"):
        text = log.read_text(errors="replace")
        assert PORTAL_SECRET not in text
        assert "ben-secret" not in text
