"""Login by a real OIDC provider: hub, portal and a browser; and what becomes of whom it confirms no more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.portal import until
from tests.support.login_site import NOTICE_S, TEAM, LoginSite, make_site, seen
from tests.support.provider import CLIENT, SECRET, OidcProvider, running

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LoginSite, OidcProvider]]:
    """A portal, and the provider it asks."""
    folder = tmp_path_factory.mktemp("oidc")
    secret = folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    site = make_site(
        folder, DURE_AUTH="oidc", DURE_OIDC_CLIENT_ID=CLIENT, DURE_OIDC_CLIENT_SECRET_FILE=str(secret)
    )
    site.environment |= {"DURE_OIDC_GROUPS_CLAIM": "groups", "DURE_LOGIN_ADMIN_GROUP": "staff"}
    site.environment |= {"DURE_LOGIN_TEAMS": '["ml people=nlp"]', "DURE_LOGIN_TITLE": "Our house"}
    with running(f"{site.url}/hub/oauth_callback", folder) as provider:
        site.environment["DURE_OIDC_ISSUER"] = provider.issuer
        try:
            site.up()
            yield site, provider
        finally:
            site.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A browser of its own."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


def log_in(page: Page, site: LoginSite, provider: OidcProvider, name: str) -> None:
    """Through both login pages, to the portal's home."""
    page.goto(f"{site.url}/hub/login")
    page.get_by_role("link", name="Sign in with Our house").click()
    page.wait_for_url(f"{provider.issuer}/interaction/**")
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill("anything")
    page.locator("button[type=submit]").click()
    page.wait_for_url(f"{site.url}/**")


def test_groups_become_teams_and_an_administrator_is_one(
    world: tuple[LoginSite, OidcProvider], page: Page
) -> None:
    site, provider = world
    provider.set("ana", groups=[TEAM, "ml people", "영상 팀", "/", "staff"])
    log_in(page, site, provider, "ana")
    page.goto(f"{site.url}/services/dure/")
    expect(page.locator("body")).to_contain_text("ana")
    known = site.hub_user("ana")
    assert sorted(known["groups"])[:3] == ["nlp", "staff", "vision"]
    assert "dure-admin" in known["roles"]
    left = site.login("ana")
    assert left["left_out"] == [["/", "empty"]]
    assert left["checked_at"] is not None
    provider.set("ana", groups=[TEAM])
    until(lambda: site.hub_user("ana")["groups"] == [TEAM], "her teams to be changed")
    assert "dure-admin" not in site.hub_user("ana")["roles"]


def test_who_leaves_the_team_that_pays_is_warned_and_then_the_server_ends(
    world: tuple[LoginSite, OidcProvider], page: Page
) -> None:
    site, provider = world
    provider.set("ben", groups=[TEAM])
    log_in(page, site, provider, "ben")
    api = site.speak_as("ben")
    begun = site.start(api, team=TEAM)
    assert until_of(begun) > datetime.now(UTC) + timedelta(hours=1)
    provider.set("ben", groups=[])
    until(lambda: seen(api)["reason_text"], "a warning")
    warned = seen(api)
    assert warned["phase"] == "running"
    assert until_of(warned) <= datetime.now(UTC) + timedelta(seconds=NOTICE_S)
    wanted = {"until": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    refused = api.post("/environments/default/extend", json=wanted)
    assert refused.json()["error"]["code"] == "team_left"
    until(lambda: seen(api)["phase"] == "stopped", lambda: f"its end: {seen(api)}", timeout=NOTICE_S + 60)
    assert "no longer in the team" in seen(api)["reason"]
    assert api.get("/me").status_code == 200, "the person is still welcome"


def test_who_is_disabled_loses_everything_after_a_warning(
    world: tuple[LoginSite, OidcProvider], page: Page
) -> None:
    site, provider = world
    provider.set("cho", groups=[TEAM])
    log_in(page, site, provider, "cho")
    api, root = site.speak_as("cho"), site.speak_as("root")
    site.start(api)
    provider.set("cho", disabled=True)
    until(lambda: api.get("/me").status_code == 401, "her token to be worth nothing")

    def hers() -> dict[str, object]:
        return dict(root.get("/environments/default", params={"owner": "cho"}).raise_for_status().json())

    assert hers()["phase"] == "running"
    assert until_of(hers()) <= datetime.now(UTC) + timedelta(seconds=NOTICE_S)
    shown = page.goto(f"{site.url}/services/dure/")
    assert shown is not None
    assert (shown.status, "/hub/login" in page.url) == (200, False), "she may still save"
    expect(page.locator("[data-server=default]")).to_contain_text("does not confirm its owner")
    until(lambda: hers()["phase"] == "stopped", lambda: f"its end: {hers()}", timeout=NOTICE_S + 60)
    until(lambda: site.login("cho")["ended_at"], "her logins to end")
    page.goto(f"{site.url}/services/dure/")
    expect(page.get_by_role("link", name="Sign in with Our house")).to_be_visible()


def test_who_is_back_within_the_notice_goes_on_as_before(
    world: tuple[LoginSite, OidcProvider], page: Page
) -> None:
    site, provider = world
    provider.set("dan", groups=[TEAM])
    log_in(page, site, provider, "dan")
    api, root = site.speak_as("dan"), site.speak_as("root")
    before = until_of(site.start(api))
    provider.set("dan", disabled=True)
    until(lambda: api.get("/me").status_code == 401, "his token to be worth nothing")
    provider.set("dan", disabled=False)
    page.goto(f"{site.url}/hub/oauth_login")
    page.wait_for_url(f"{site.url}/**")
    found = root.get("/environments/default", params={"owner": "dan"}).raise_for_status().json()
    assert (until_of(found), found["reason"]) == (before, None)


def test_a_provider_that_is_down_ends_nobody(world: tuple[LoginSite, OidcProvider], page: Page) -> None:
    site, provider = world
    provider.set("eun", groups=[TEAM])
    log_in(page, site, provider, "eun")
    api = site.speak_as("eun")
    until_before = until_of(site.start(api, team=TEAM))
    provider.tell(down=True)
    try:
        until(lambda: site.login("eun")["failing_since"], "the failure to be told")
        assert until_of(seen(api)) == until_before
        assert site.hub_user("eun")["groups"] == [TEAM]
        stranger = httpx.get(f"{site.url}/hub/oauth_login", timeout=60)
        assert (stranger.status_code, "does not answer right now" in stranger.text) in ((503, True), (302, False))
    finally:
        provider.tell()
    until(lambda: site.login("eun")["failing_since"] is None, "it to be back")
    assert seen(api)["phase"] == "running"


def test_a_name_that_was_somebody_elses_is_not_given_on(world: tuple[LoginSite, OidcProvider], page: Page) -> None:
    site, provider = world
    provider.set("fay", groups=[])
    log_in(page, site, provider, "fay")
    provider.set("mallory", preferred="fay", groups=[])
    page.context.clear_cookies()
    log_in(page, site, provider, "mallory")
    expect(page.locator("body")).to_contain_text("belongs to another account")


def test_a_login_that_this_browser_did_not_begin_is_refused(world: tuple[LoginSite, OidcProvider]) -> None:
    site, _ = world
    address = f"{site.url}/hub/oauth_callback?code=stolen&state=eyJzdGF0ZV9pZCI6ICJ4In0="
    assert httpx.get(address, timeout=60).status_code == 400


def test_secrets_stay_where_they_belong(world: tuple[LoginSite, OidcProvider]) -> None:
    site, _ = world
    assert SECRET not in site.logs()
    for log in (site.data / "log").glob("*.log"):
        assert SECRET not in log.read_text(errors="replace")
    key: Path = site.data / "secrets" / "auth-state-key"
    assert key.stat().st_mode & 0o777 == 0o600


def until_of(server: dict[str, object]) -> datetime:
    """When a server ends."""
    lease = server["lease"]
    assert isinstance(lease, dict)
    return datetime.fromisoformat(lease["until"])
