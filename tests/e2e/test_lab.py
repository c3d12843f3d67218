"""JupyterLab of a portal with our extension: time left, warnings, nothing unsaved at the end. Real everything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from dure_lab.hook import PLACE
from tests.e2e.clocked import HOUR, Clocked
from tests.e2e.portal import until
from tests.e2e.test_main_job import log_in
from tests.e2e.test_widgets import Seen, shot

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clocked]:
    """A portal with ana, whose server runs."""
    made = Clocked(tmp_path_factory.mktemp("lab"))
    try:
        made.portal.up()
        made.portal.add_user("ana")
        made.start()
        yield made
    finally:
        made.portal.down()


@pytest.fixture
def lab(chromium: Browser, clocked: Clocked) -> Iterator[tuple[Page, Seen]]:
    """Ana's JupyterLab in a window whose every request is looked at."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    context.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    seen = Seen(urlsplit(clocked.portal.url).netloc)
    context.on("request", seen.request)
    page = context.new_page()
    log_in(page, clocked.portal, "ana")
    page.goto(f"{clocked.portal.url}/user/ana/lab?reset")
    expect(status(page)).to_be_visible()
    yield page, seen
    expect.set_options(timeout=5_000)
    page.unroute_all(behavior="wait")
    context.close()
    assert seen.strangers == []


def later(clocked: Clocked, before: datetime) -> int:
    """By how many seconds the end was moved; a browser knows of times down to the thousandth."""
    return round((clocked.end() - before).total_seconds())


def status(page: Page) -> Locator:
    """The item in the status bar."""
    return page.get_by_role("button", name=re.compile("^Server default on cpu"))


def popup(page: Page) -> Locator:
    """What it opens."""
    return page.get_by_role("dialog", name="This server")


def toasts(page: Page, text: str | re.Pattern[str]) -> Locator:
    """Warnings with these words."""
    return page.locator(".Toastify__toast", has_text=text)


def at_rest(page: Page, toast: Locator) -> None:
    """Wait until it has come to where it stays."""
    expect(toast).to_be_in_viewport(ratio=1)
    places: list[Any] = []

    def still() -> bool:
        page.wait_for_timeout(100)
        places.append(toast.bounding_box())
        return places[-1:] == places[-2:-1]

    until(still, "it to stand still")


def visible(page: Page, shown: bool = True) -> None:
    """The page is hidden, or seen again: then it looks at once."""
    page.evaluate(
        """state => {
            Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => state });
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
        "visible" if shown else "hidden",
    )


def look_until(page: Page, found: Locator) -> None:
    """Leave the page and come back until this is there: the server remembers a look for some seconds."""

    def seen() -> bool:
        visible(page, shown=False)
        visible(page)
        page.wait_for_timeout(500)
        return found.count() > 0

    until(seen, f"{found} to be there", timeout=60, every=1)


def write_unsaved(page: Page, clocked: Clocked, name: str, text: str) -> Path:
    """A file of ana's, open in an editor with text that is not on disk."""
    file = clocked.folder / name
    file.write_text("old\n")
    page.goto(f"{clocked.portal.url}/user/ana/lab/tree/{name}?reset")
    editor = page.locator(".jp-FileEditor:visible .cm-content")
    expect(editor).to_contain_text("old", timeout=60_000)
    editor.click()
    page.keyboard.press("Control+Home")
    page.keyboard.type(text)
    expect(page.locator(".jp-mod-dirty").first).to_be_attached()
    assert text not in file.read_text()
    return file


def test_time_left_is_shown_and_moved_by_a_click(lab: tuple[Page, Seen], clocked: Clocked) -> None:
    page, _ = lab
    item = status(page)
    expect(item).to_contain_text(re.compile(r"^cpu · 1 h \d+ min left"))
    expect(item).to_contain_text(re.compile(r"Memory [\d.,]+ (MiB|GiB)"))
    first = item.text_content()
    shot(page, "lab-launcher")
    item.focus()
    page.keyboard.press("Enter")
    expect(popup(page)).to_be_visible()
    expect(popup(page).get_by_text(re.compile(r"[\d.,]+ (MiB|GiB) of [\d.,]+ GiB"))).to_be_visible()
    shot(page, "lab-popup")

    before = clocked.end()
    popup(page).get_by_role("button", name="+1 h").click()
    expect(popup(page).get_by_text(re.compile("^It now ends "))).to_be_visible()
    assert later(clocked, before) == HOUR
    expect(item).to_contain_text(re.compile(r"^cpu · 2 h \d+ min left"))

    popup(page).get_by_role("button", name="+4 h").click()
    refused = popup(page).get_by_role("alert")
    expect(refused).to_contain_text("The end cannot be moved to")
    shot(page, "lab-refused")
    assert later(clocked, before) == HOUR

    href = popup(page).get_by_role("link", name="Move to another profile").get_attribute("href")
    assert href == "/services/dure/spawn?name=default"
    for _ in range(12):  # nothing behind the popup gets the focus
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    expect(popup(page)).to_be_hidden()
    expect(item).to_be_focused()
    until(lambda: item.text_content() != first, "another text")


def test_a_tutorial_opens_by_its_card(lab: tuple[Page, Seen]) -> None:
    page, _ = lab
    card = page.locator(".jp-LauncherCard", has_text="First model by clicks")
    expect(card).to_be_visible()
    card.click()
    expect(page.locator(".jp-NotebookPanel")).to_be_visible()


def test_what_is_unsaved_is_on_disk_before_the_server_stops(lab: tuple[Page, Seen], clocked: Clocked) -> None:
    page, _ = lab
    file = write_unsaved(page, clocked, "thesis.txt", "what nobody has saved")
    program = clocked.folder / PLACE
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nhead -1 "$HOME/thesis.txt"\necho "$DURE_REASON until $DURE_ENDS_AT"\n')
    program.chmod(0o700)
    body = {"reason": "expired", "ends_at": "2026-01-01T00:00:00Z", "hook_seconds": 30}
    with httpx.Client(base_url=f"{clocked.portal.url}/user/ana/dure", timeout=60) as api:
        owner = {"Authorization": f"token {clocked.portal.token('ana')}"}
        assert api.post("/before-stop", json=body, headers=owner).status_code == 403, "not even its owner's"
        answer = api.post("/before-stop", json=body, headers={"Authorization": f"token {clocked.own_token()}"})
    program.unlink()
    assert answer.is_success, answer.text
    said = answer.json()
    assert "what nobody has saved" in file.read_text()
    assert (said["saved"], said["failed"], said["pages"], said["silent"]) == (["thesis.txt"], [], 1, 0)
    assert said["hook"]["exit"] == 0
    assert said["hook"]["output"].startswith("what nobody has saved")
    assert "expired until 2026-01-01" in said["hook"]["output"]
    expect(toasts(page, "This server is about to stop.")).to_be_visible()


def test_a_server_that_nobody_uses_is_announced(lab: tuple[Page, Seen], clocked: Clocked) -> None:
    page, _ = lab

    def nearly_idle(route: Route) -> None:
        answer = route.fetch()
        seen = answer.json()
        at = datetime.fromisoformat(seen["now"]) + timedelta(minutes=5)
        seen["environment"]["idle_end"] = at.isoformat()
        route.fulfill(response=answer, json=seen)

    page.route("**/dure/environment?*", nearly_idle)
    visible(page, shown=False)
    visible(page)
    expect(toasts(page, "Nobody uses this server; it stops at ")).to_be_visible()
    expect(status(page)).to_contain_text("left if unused")
    at_rest(page, toasts(page, "Nobody uses this server"))
    shot(page, "lab-idle")
    with page.expect_request(
        lambda request: "/dure/environment" in request.url and "no_track_activity" not in request.url
    ):
        page.get_by_role("button", name="I am using it").click()


def test_the_words_are_those_of_the_servers_language_and_a_portal_away_is_a_sentence(
    lab: tuple[Page, Seen], clocked: Clocked
) -> None:
    page, _ = lab

    def korean(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('"dureLanguage": "en"', '"dureLanguage": "ko"'))

    page.route("**/user/ana/lab*", korean)
    page.goto(f"{clocked.portal.url}/user/ana/lab?reset")
    item = page.get_by_role("button", name=re.compile("^서버 default, cpu"))
    expect(item).to_contain_text("남음")
    expect(page.locator(".jp-LauncherCard", has_text="클릭으로 만드는 첫 모델")).to_be_visible()
    item.click()
    expect(page.get_by_role("dialog", name="이 서버").get_by_role("button", name="+1시간")).to_be_visible()
    shot(page, "lab-popup-ko")
    away = {"error": {"code": "portal_unreachable", "message": "", "next_step": "", "facts": {}}}
    page.route("**/dure/environment?*", lambda route: route.fulfill(status=503, json=away))
    visible(page, shown=False)
    visible(page)
    expect(page.get_by_text("포털이 응답하지 않습니다.", exact=False)).to_be_visible()
    expect(item).to_contain_text("남음")
    page.unroute("**/dure/environment?*")
    page.get_by_role("button", name="다시 시도").click()
    expect(page.get_by_text("포털이 응답하지 않습니다.", exact=False)).to_be_hidden()


def test_warnings_come_once_each_and_everything_is_saved_at_the_end(
    lab: tuple[Page, Seen], clocked: Clocked
) -> None:
    page, _ = lab
    clocked.leave(59 * 60)
    look_until(page, toasts(page, re.compile(r"This server ends in 5\d min")))
    clocked.leave(9 * 60 + 50)
    warned = toasts(page, re.compile(r"This server ends in [89] min"))
    look_until(page, warned)
    expect(toasts(page, "This server ends in")).to_have_count(1)
    visible(page, shown=False)
    visible(page)
    at_rest(page, warned)
    expect(toasts(page, "This server ends in")).to_have_count(1)
    shot(page, "lab-warning")
    in_the_dark_theme(page)

    before = clocked.end()
    toasts(page, "This server ends in").get_by_role("button", name="Extend by 1 h").click()
    until(lambda: later(clocked, before) == HOUR, "an hour more")
    expect(toasts(page, "This server ends in")).to_have_count(0)

    file = write_unsaved(page, clocked, "last.txt", "the last words")
    clocked.leave(75)
    look_until(page, toasts(page, "This server ends in"))
    first = status(page).text_content() or ""
    assert re.match(r"cpu · \d+ s left", first), first
    until(lambda: status(page).text_content() != first, "the countdown to move")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/dure/environment" in request.url else None)
    visible(page, shown=False)
    until(lambda: "the last words" in file.read_text(), "the hidden page to save", timeout=60)
    assert asked == [], "a hidden page asks for nothing"
    visible(page)
    last = toasts(page, re.compile(r"This server ends in (60|[1-5]?\d) s"))
    at_rest(page, last)
    expect(toasts(page, "This server ends in")).to_have_count(1)
    shot(page, "lab-last-minute")


def test_an_unused_server_saves_before_it_ends_and_its_owner_is_told(chromium: Browser, tmp_path: Path) -> None:
    made = Clocked(tmp_path, idle_s=HOUR, longest_s=24 * HOUR, DURE_ACTIVITY_INTERVAL_S="2")
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    context.set_default_timeout(60_000)
    try:
        made.portal.up()
        made.portal.add_user("ana")
        made.start(lifetime_s=20 * HOUR)
        page = context.new_page()
        log_in(page, made.portal, "ana")
        file = write_unsaved(page, made, "thesis.txt", "what nobody has saved")
        until(lambda: made.check("pages") == "in_use", "somebody to be seen typing")
        made.unused()  # though its page is open, on screen
        assert "what nobody has saved" in file.read_text()
        ended = made.seen()
        assert ended["reason"] == "Nobody used it for 1 hour."
        assert (ended["receipt"]["saved"], ended["receipt"]["silent"]) == (["thesis.txt"], 0)
        page.goto(f"{made.portal.url}/services/dure/")
        expect(page.locator("[data-receipt=default]")).to_contain_text("Saved: thesis.txt")
        shot(page, "home-receipt")
        made.start()
        page.goto(f"{made.portal.url}/user/ana/lab/tree/thesis.txt?reset")
        expect(page.locator(".jp-FileEditor:visible .cm-content")).to_contain_text("what nobody has saved")
        until(lambda: made.check("pages") == "idle", "the page, in which nobody has typed yet, to be told of")
        page.mouse.wheel(0, 100)
        until(lambda: made.check("pages") == "in_use", "somebody to be seen scrolling")
    finally:
        context.close()
        made.portal.down()


def in_the_dark_theme(page: Page) -> None:
    """Lab's own dark theme; ours follows it."""
    choose_theme(page, "JupyterLab Dark", light="false")
    shot(page, "lab-warning-dark")
    status(page).click()
    expect(popup(page)).to_be_visible()
    shot(page, "lab-popup-dark")
    page.keyboard.press("Escape")
    choose_theme(page, "JupyterLab Light", light="true")


def choose_theme(page: Page, name: str, light: str) -> None:
    """By clicks."""
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text("Theme", exact=True).hover()
    page.locator(".lm-Menu-itemLabel").get_by_text(name, exact=True).click()
    expect(page.locator(f"body[data-jp-theme-light='{light}']")).to_be_attached()
