"""Notices of a whole portal: sent once it is killed in the middle, read on their page and in JupyterLab."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from dure.wire.ids import new_id
from tests.e2e.clocked import Clocked
from tests.e2e.portal import until
from tests.e2e.test_pages import log_in, window
from tests.support.receivers import LOOPBACK, Mails, mail_server, webhook

PAGE = "/services/dure/notices"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def mails() -> Iterator[Mails]:
    with mail_server() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, mails: Mails) -> Iterator[Clocked]:
    """A portal with ana and her server, and the time in the hand."""
    folder = tmp_path_factory.mktemp("notices")
    file = folder / "mail-url"
    file.write_text(mails.url)
    file.chmod(0o600)
    made = Clocked(
        folder,
        DURE_NOTICE_NETWORKS=json.dumps(LOOPBACK),
        DURE_MAIL_URL_FILE=str(file),
        DURE_MAIL_ADDRESS="{name}@example.org",
    )
    try:
        made.portal.up()
        made.portal.add_user("ana")
        yield made
    finally:
        made.portal.down()


@pytest.fixture(scope="module")
def login(chromium: Browser, site: Clocked) -> Iterator[Path]:
    """Ana's cookies."""
    context = chromium.new_context(locale="en-US")
    log_in(context.new_page(), site.portal, "ana")
    kept = site.portal.data.parent / "ana-cookies.json"
    context.storage_state(path=kept)
    yield kept
    context.close()


@pytest.fixture
def ana(site: Clocked) -> Iterator[httpx.Client]:
    with site.portal.client("ana") as client:
        yield client


def newest(ana: httpx.Client) -> dict[str, Any]:
    found: list[dict[str, Any]] = ana.get("/me/notices", params={"limit": 1}).raise_for_status().json()
    return found[0]


def states(ana: httpx.Client) -> dict[str, str]:
    return {one["channel"]: one["state"] for one in newest(ana)["deliveries"]}


def test_a_portal_that_is_killed_while_it_sends_loses_nothing(
    site: Clocked, ana: httpx.Client, mails: Mails
) -> None:
    with webhook() as hook:
        channel = new_id()
        ana.post("/me/notices/channels", json={"id": channel, "url": hook.url}).raise_for_status()
        hook.hold.set()
        ana.post("/me/notices/test").raise_for_status()
        until(lambda: hook.got, "the first try")
        before = site.portal.service("portal")
        before.kill()
        hook.hold.clear()
        hook.let_go.set()
        until(lambda: site.portal.pid("portal") != before.pid, "another portal")
        until(lambda: _answers(ana), "its answers")
        site.moved_s += 91  # whoever had claimed it would have ended by now
        site.clock.write_text(str(site.moved_s))
        until(lambda: set(states(ana).values()) == {"sent"}, "both to be sent")
        assert len(hook.got) == 2, "once by each portal, and no more"
        assert {one["message"] for one in hook.got} == {hook.got[0]["message"]}
        assert next(to for to, _ in mails.got) == ["ana@example.org"]
        ana.delete(f"/me/notices/channels/{channel}").raise_for_status()


def _answers(ana: httpx.Client) -> bool:
    try:
        return ana.get("/me").is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_the_page_fits(
    chromium: Browser, site: Clocked, login: Path, ana: httpx.Client, colours: str, width: int, locale: str
) -> None:
    ana.post("/me/notices/test").raise_for_status()
    with window(chromium, site.portal, login, colours, width, locale) as shown:
        shown.open(PAGE, 200)
        expect(shown.page.get_by_role("heading", level=1)).to_have_text("알림" if locale == "ko-KR" else "Notices")
        expect(shown.page.locator("[data-notice]").first).to_be_visible()
        assert shown.fits(width)
        shown.keep(f"notices-{locale[:2]}-{colours}-{width}")


def test_notices_are_read_by_keyboard_and_the_bell_counts(
    chromium: Browser, site: Clocked, login: Path, ana: httpx.Client
) -> None:
    site.moved_s += 60
    site.clock.write_text(str(site.moved_s))
    ana.post("/me/notices/test").raise_for_status()
    with window(chromium, site.portal, login, "light", 1280) as shown:
        shown.open("/services/dure/", 200)
        bell = shown.page.get_by_role("link", name="Notices")
        expect(bell).to_contain_text("unread")
        bell.focus()
        shown.page.keyboard.press("Enter")
        shown.page.wait_for_url(f"**{PAGE}")
        everything = shown.page.get_by_role("button", name="Mark all as read")
        everything.focus()
        shown.page.keyboard.press("Enter")
        expect(shown.page.locator("[data-unread]")).to_have_count(0)
        expect(shown.page.locator(".bell")).not_to_contain_text("unread")
        secret = shown.page.get_by_label("Address", exact=True)
        secret.fill("jsons://ana:pw@example.org/s3cret")
        secret.press("Enter")
        expect(shown.page.locator("[data-channel]")).to_contain_text("jsons://example.org")
        assert "s3cret" not in shown.page.content()
        shown.page.get_by_role("button", name="Send no more to jsons://example.org").click()
        expect(shown.page.locator("[data-channel]")).to_have_count(0)


def test_an_administrators_stop_is_read_in_lab_with_its_reason(
    chromium: Browser, site: Clocked, login: Path, ana: httpx.Client
) -> None:
    site.start()
    with site.portal.client("admin") as root:
        refused = root.delete("/environments/default", params={"owner": "ana", "now": "true"})
        assert refused.status_code == 422
        root.delete("/environments/default", params={"owner": "ana", "reason": "a new driver"}).raise_for_status()
    until(lambda: newest(ana)["code"] == "stop_set", "the notice")
    context = chromium.new_context(locale="en-US", storage_state=login)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(f"{site.portal.url}/user/ana/lab")
    toast = page.locator(".jp-toastContainer, .Toastify").get_by_text("An administrator ends this server")
    expect(toast).to_contain_text("admin: a new driver")
    expect(page.get_by_text("Extend by 1 h")).to_have_count(0)
    site.leave(0)
    until(lambda: site.seen()["phase"] == "stopped", "its end", timeout=120)
    assert site.seen()["reason"] == "An administrator stopped it (admin: a new driver)."
    until(lambda: newest(ana)["code"] == "stopped", "the notice of its end")
    context.close()
