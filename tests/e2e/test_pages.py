"""The portal's pages in a real browser: sizes, colours, languages, and what keeps them to themselves."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, until

SHOTS = Path(os.environ.get("DURE_SHOTS", "build/shots"))
HOME = "/services/dure/"
PAGES = {
    "home": (HOME, 200),
    "spawn": (f"{HOME}spawn", 200),
    "docs": (f"{HOME}docs", 200),
    "stopped-server": (f"{HOME}wait/shown", 200),
    "unknown-server": (f"{HOME}wait/none", 404),
    "unknown-page": (f"{HOME}none", 404),
}
OF_HUB = {
    "hub-token": ("/hub/token", 200),
    "hub-change-password": ("/hub/change-password", 200),
    "hub-not-running": ("/hub/user/ben/none", 424),
    "hub-unknown-page": ("/hub/nothing", 404),
}
ACCENT = {"light": "rgb(29, 107, 87)", "dark": "rgb(108, 195, 168)"}
"""`--accent` of templates/hub/style.css."""
ERRORS = ("404", "424")
"""Statuses that a browser mentions on its console; that a page is not there is no fault of the page's."""

pytestmark = pytest.mark.timeout(300)


def log_in(page: Page, portal: Portal, name: str) -> None:
    """Through the login page, as a person does."""
    page.goto(f"{portal.url}/")
    page.locator("input[name=username]").fill(name)
    page.locator("input[type=password]").fill(portal.passwords[name])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/services/dure/**")


@pytest.fixture(scope="module")
def login(chromium: Browser, portal: Portal) -> Iterator[Path]:
    """Ben's cookies, after a login by the form."""
    context = chromium.new_context(locale="en-US")
    log_in(context.new_page(), portal, "ben")
    with portal.client("ben") as ben:
        ben.post("/environments", json={"id": new_id(), "name": "shown", "profile": "cpu"}).raise_for_status()
        ben.delete("/environments/shown").raise_for_status()
        until(lambda: ben.get("/environments/shown").json()["phase"] == "stopped", "ben's server to be stopped")
    kept = portal.data.parent / "ben-cookies.json"
    context.storage_state(path=kept)
    yield kept
    context.close()


@pytest.fixture
def context(chromium: Browser, login: Path) -> Iterator[BrowserContext]:
    """A window of ben's own."""
    context = chromium.new_context(locale="en-US", storage_state=login)
    context.set_default_timeout(60_000)
    yield context
    context.close()


@dataclass
class Window:
    """A window whose requests are watched: what would leave the portal is stopped and counted."""

    context: BrowserContext
    origin: str
    said: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    page: Page = field(init=False)

    def __post_init__(self) -> None:
        self.context.set_default_timeout(60_000)
        self.context.route("**/*", self._look)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("console", self._hear)

    def open(self, path: str, status: int) -> None:
        """Go there; it answers with this status."""
        answer = self.page.goto(f"http://{self.origin}{path}", wait_until="load")
        assert answer is not None
        assert answer.status == status, path

    def fits(self, width: int) -> bool:
        """Whether nothing hangs out of the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth")) <= width

    def keep(self, name: str) -> None:
        """A picture of the whole page."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(status in message.text for status in ERRORS):
            self.said.append(message.text)

    def _look(self, route: Route) -> None:
        if urlsplit(route.request.url).netloc == self.origin:
            route.continue_()
        else:
            self.strangers.append(route.request.url)
            route.abort()


@contextmanager
def window(
    chromium: Browser, portal: Portal, login: Path | None, colours: str, width: int, locale: str = "en-US"
) -> Iterator[Window]:
    """Such a window; at its end nothing has gone elsewhere, and no page has complained."""
    context = chromium.new_context(
        locale=locale,
        storage_state=login,
        color_scheme="dark" if colours == "dark" else "light",
        viewport={"width": width, "height": 844},
    )
    watched = Window(context, urlsplit(portal.url).netloc)
    yield watched
    context.close()
    assert watched.strangers == []
    assert watched.said == []


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_pages_fit_and_stay_within_the_portal(
    chromium: Browser, login: Path, portal: Portal, colours: str, width: int, locale: str
) -> None:
    with window(chromium, portal, login, colours, width, locale) as shown:
        for name, (path, status) in PAGES.items():
            shown.open(path, status)
            expect(shown.page.get_by_role("heading", level=1)).to_be_visible()
            assert shown.page.locator("html").get_attribute("lang") == locale[:2]
            assert shown.fits(width), f"{name} is wider than its window"
            assert shown.page.get_by_role("main").count() == 1
            shown.keep(f"{name}-{locale[:2]}-{colours}-{width}")


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_of_the_hub_fit_and_stay_within_the_portal(
    chromium: Browser, login: Path, portal: Portal, colours: str, width: int
) -> None:
    with window(chromium, portal, login, colours, width) as shown:
        for name, (path, status) in OF_HUB.items():
            shown.open(path, status)
            expect(shown.page.get_by_role("heading", level=1)).to_be_visible()
            assert shown.fits(width), f"{name} is wider than its window"
            shown.keep(f"{name}-{colours}-{width}")
        shown.open("/hub/token", 200)
        button = shown.page.get_by_role("button", name="Request new API token")
        assert button.evaluate("node => getComputedStyle(node).backgroundColor") == ACCENT[colours]
        for path, target in (("/hub/spawn", f"{HOME}spawn"), ("/hub/home", HOME)):
            shown.page.goto(portal.url + path, wait_until="commit")
            shown.page.wait_for_url(portal.url + target)


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_what_a_stranger_and_an_administrator_see_fits_and_stays_within_the_portal(
    chromium: Browser, portal: Portal, colours: str, width: int
) -> None:
    with window(chromium, portal, None, colours, width) as shown:
        shown.open("/hub/login", 200)
        expect(shown.page.get_by_role("heading", level=1)).to_be_visible()
        assert shown.fits(width)
        shown.keep(f"hub-login-{colours}-{width}")
        log_in(shown.page, portal, "admin")
        shown.open("/hub/admin", 200)
        expect(shown.page.get_by_test_id("user-row-ben")).to_be_visible()
        assert shown.fits(width)
        shown.keep(f"hub-admin-{colours}-{width}")


@pytest.mark.parametrize("width", [390, 1280])
def test_mlflows_pages_stay_within_the_portal(chromium: Browser, login: Path, portal: Portal, width: int) -> None:
    with window(chromium, portal, login, "light", width) as shown:
        shown.open(HOME, 200)
        shown.page.get_by_role("link", name="Experiments", exact=True).click()
        shown.page.wait_for_url("**/services/mlflow/#/experiments**")
        # It asks on and on and is never idle: what its page is about says that it is there.
        expect(shown.page.get_by_role("heading", name="Experiments")).to_be_visible(timeout=30_000)
        shown.keep(f"mlflow-experiments-{width}")
        shown.open("/services/mlflow/", 200)
        expect(shown.page.get_by_role("link", name="Experiments").first).to_be_visible(timeout=30_000)
        shown.keep(f"mlflow-{width}")


def test_the_language_toggle_is_kept(context: BrowserContext, portal: Portal) -> None:
    page = context.new_page()
    page.goto(f"{portal.url}{HOME}spawn")
    page.get_by_role("link", name="한국어").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("새 서버")
    assert urlsplit(page.url).path == f"{HOME}spawn"
    page.goto(portal.url + HOME)
    expect(page.get_by_role("heading", level=1)).to_have_text("ben 님, 안녕하세요")


def test_a_server_is_asked_for_by_keyboard_alone(context: BrowserContext, portal: Portal) -> None:
    page = context.new_page()
    page.goto(f"{portal.url}{HOME}spawn?name=keys")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("input[type=radio]:checked")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{portal.url}{HOME}wait/keys")
    expect(page.get_by_role("status")).to_contain_text("Your server is starting")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url(portal.url + HOME)
    card = page.locator("[data-server=keys]")
    expect(card).to_have_attribute("data-phase", "stopped", timeout=60_000)
    expect(card).to_contain_text("Start again")


def test_without_scripts_the_forms_still_work(chromium: Browser, login: Path, portal: Portal) -> None:
    context = chromium.new_context(storage_state=login, java_script_enabled=False, locale="en-US")
    page = context.new_page()
    page.goto(f"{portal.url}{HOME}spawn?name=plain")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(f"{portal.url}{HOME}wait/plain")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url(portal.url + HOME)
    context.close()


def test_the_waiting_page_follows_its_place_and_moves_on(context: BrowserContext, portal: Portal) -> None:
    # The portal says `starting` here; what it will say later comes from this test.
    page = context.new_page()
    later: dict[str, object] = {"name": "follow", "phase": "starting", "steps": []}

    def answer(route: Route) -> None:
        route.fulfill(status=200, content_type="application/json", body=json.dumps(later))

    page.route(re.compile(r"/api/v1/environments/follow(/progress)?$"), answer)
    page.goto(f"{portal.url}{HOME}spawn?name=follow")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(f"{portal.url}{HOME}wait/follow")
    later |= {"phase": "running", "url": f"{HOME}docs"}
    page.wait_for_url(f"{portal.url}{HOME}docs")
    page.goto(portal.url + HOME)
    page.get_by_role("button", name="Stop follow").click()


def test_a_page_of_the_same_origin_cannot_read_or_frame_ours(context: BrowserContext, portal: Portal) -> None:
    page = context.new_page()
    page.goto(f"{portal.url}/hub/token")  # stands for a page of somebody's server: same origin, not ours
    status = page.evaluate(f"fetch('{HOME}spawn').then(answer => answer.status)")
    assert status == 403
    with context.expect_page() as opened:
        page.evaluate(f"window.ours = window.open('{HOME}spawn'); null")
    opened.value.wait_for_url(f"{portal.url}{HOME}spawn")
    read = (
        "(() => { try { return ours.document.querySelectorAll('input').length } catch { return 'kept out' } })()"
    )
    assert page.evaluate(read) in ("kept out", 0)
    framed = """path => new Promise(done => {
      const frame = document.createElement('iframe');
      frame.onload = () => { try { done(frame.contentDocument?.querySelectorAll('input').length ?? 'kept out') }
                             catch { done('kept out') } };
      frame.src = path;
      document.body.append(frame);
    })"""
    assert page.evaluate(framed, f"{HOME}spawn") in ("kept out", 0)


def test_a_write_from_such_a_page_needs_the_secret(context: BrowserContext, portal: Portal) -> None:
    page = context.new_page()
    page.goto(f"{portal.url}/hub/token")
    ask = "({{method: '{verb}', headers: {{'Content-Type': 'application/json'}}, body: '{{}}'}})"
    for verb, path in (("POST", "api/v1/tokens"), ("DELETE", "api/v1/environments/x"), ("POST", "spawn")):
        sent = f"fetch('{HOME}{path}', {ask.format(verb=verb)}).then(answer => answer.status)"
        assert page.evaluate(sent) == 403


def test_a_logout_at_the_hub_ends_the_portals_session(chromium: Browser, portal: Portal) -> None:
    context = chromium.new_context(locale="en-US")
    page = context.new_page()
    log_in(page, portal, "ana")
    expect(page.get_by_role("heading", level=1)).to_have_text("Hello, ana")
    page.get_by_role("link", name="Log out").click()
    page.wait_for_url("**/hub/**")
    page.goto(portal.url + HOME)
    page.wait_for_url("**/hub/login**")
    context.close()
