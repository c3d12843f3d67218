"""The tutorial by clicks: ana launches, watches, registers, serves, tries a second version and promotes it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, until
from tests.e2e.test_main_job import log_in

SHOTS = Path(os.environ.get("DURE_SHOTS", "build/shots"))
NOTEBOOK = "tutorials/first-model-widgets.ipynb"
FIRST_PAINT = 200 * 1024

pytestmark = pytest.mark.timeout(900)


@dataclass
class Seen:
    """What went over the wire of one page."""

    origin: str
    strangers: list[str] = field(default_factory=list)
    largest: int = 0

    def request(self, request: Request) -> None:
        """Note a request that leaves the portal's origin."""
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.netloc != self.origin:
            self.strangers.append(request.url)

    def frame(self, data: str | bytes) -> None:
        """Note the largest message that brings a widget: in Lab one each, in Voila one for all."""
        raw = data if isinstance(data, bytes) else data.encode()
        if b'"_esm"' in raw:
            self.largest = max(self.largest, len(raw))


def widget(page: Page, title: str | re.Pattern[str]) -> Locator:
    """A widget by its title."""
    return page.get_by_role("region", name=title)


def launcher(page: Page) -> Locator:
    """The form that launches."""
    return widget(page, "Train train_digits")


def monitor(page: Page) -> Locator:
    """The job that is followed."""
    return widget(page, re.compile(r"^(Job|train-digits-.*)$"))


def registry(page: Page) -> Locator:
    """The versions of one's own model."""
    return widget(page, re.compile("^Model digits-"))


def points(page: Page) -> int:
    """How many points the curve has now; the page's own loop turns before it is looked at."""
    page.wait_for_timeout(100)
    return int(monitor(page).locator(".dure-curve").get_attribute("data-points") or 0)


def every_widget_shows_its_empty_state(page: Page) -> None:
    """Nothing was launched yet, and each says so. A widget looks only while it is on screen."""
    launcher(page).scroll_into_view_if_needed()
    expect(launcher(page).get_by_text(re.compile(r"\d+ of \d+ free")).first).to_be_visible()
    expect(launcher(page).get_by_text("Before you launch")).to_be_visible()
    expect(launcher(page).get_by_label("epochs")).to_have_value("100")
    expect(monitor(page).get_by_text("Nothing to follow yet.")).to_be_visible()
    expect(registry(page).get_by_text("No job to register yet")).to_be_visible()
    expect(serving(page)).to_be_visible()


def a_bad_value_is_refused_in_its_place(page: Page) -> None:
    """With a sentence at the field, and nothing typed is lost."""
    form = launcher(page)
    form.scroll_into_view_if_needed()
    form.get_by_label("epochs").fill("1.5")
    form.get_by_label("lr").fill("0.02")
    form.get_by_role("button", name="Launch").click()
    expect(form.get_by_text("epochs = '1.5' is not accepted: it is a whole number.", exact=False)).to_be_visible()
    expect(form.get_by_label("epochs")).to_have_value("1.5")
    expect(form.get_by_label("lr")).to_have_value("0.02")
    form.get_by_label("lr").fill("0.01")


def train(page: Page, *, epochs: int, hidden: int) -> str:
    """Fill the form, launch, and watch the curve move until the job has succeeded. Its name."""
    form = launcher(page)
    before = monitor(page).get_by_role("heading", level=3).text_content()
    form.get_by_label("epochs").fill(str(epochs))
    form.get_by_label("hidden").fill(str(hidden))
    form.get_by_role("button", name="Launch").click()
    expect(monitor(page).get_by_role("heading", level=3)).not_to_have_text(before or "")
    monitor(page).scroll_into_view_if_needed()
    few = until(lambda: points(page), "the curve's first points", timeout=240)
    until(lambda: points(page) > few, "the curve to move", timeout=120)
    expect(monitor(page).get_by_text("succeeded", exact=True)).to_be_visible(timeout=180_000)
    until(lambda: points(page) == 2 * epochs, f"{2 * epochs} points", timeout=60)
    expect(monitor(page).locator("pre")).to_contain_text("accuracy on 450 digits", timeout=30_000)
    return monitor(page).get_by_role("heading", level=3).text_content() or ""


def register(page: Page, version: int, job: str) -> None:
    """Register the job, and see its version with its lineage."""
    box = registry(page)
    box.scroll_into_view_if_needed()
    expect(box.get_by_text(f"Job {job}: succeeded")).to_be_visible()
    box.get_by_role("button", name="Register", exact=True).click()
    expect(box.get_by_text(f"It is version {version}.")).to_be_visible()
    box.get_by_role("button", name=f"Lineage of version {version}").click()
    expect(box.locator(f"[data-version='{version}']").get_by_text(job)).to_be_visible()


def give_an_alias(page: Page, alias: str, version: int) -> None:
    """Point an alias of one's own at a version."""
    box = registry(page)
    box.get_by_label("Alias").fill(alias)
    box.get_by_label("Version", exact=True).select_option(str(version))
    box.get_by_role("button", name="Set alias").click()
    expect(box.locator(f"[data-version='{version}']").get_by_text(alias, exact=True)).to_be_visible()


def serving(page: Page) -> Locator:
    """The endpoint's widget."""
    return widget(page, re.compile("^Endpoint digits-"))


def replica(page: Page, role: str) -> Locator:
    """Champion or canary."""
    return serving(page).get_by_role("group", name=role)


def deploy(page: Page) -> None:
    """Serve the first version."""
    serving(page).scroll_into_view_if_needed()
    serving(page).get_by_role("button", name="Deploy").click()
    expect(replica(page, "Champion").get_by_text("ready")).to_be_visible(timeout=180_000)


def start_canary(page: Page, version: int) -> None:
    """Ten per cent for the second version, and requests that both answer."""
    box = serving(page)
    box.scroll_into_view_if_needed()
    box.get_by_label("Version", exact=True).select_option(str(version))
    expect(box.get_by_label("Share of the requests")).to_have_value("10")
    box.get_by_role("button", name="Start canary").click()
    canary = replica(page, "Canary")
    expect(canary.get_by_text("ready")).to_be_visible(timeout=180_000)
    expect(canary.get_by_text("10%")).to_be_visible()
    for _ in range(2):
        box.get_by_role("button", name="Send 100 requests").click()
        expect(box.get_by_text("Answered by")).to_be_visible()
        expect(box.get_by_role("button", name="Send 100 requests")).to_be_visible(timeout=60_000)
    expect(box.get_by_text(f"version {version}: ", exact=False)).to_be_visible()
    # Counts come from Envoy, and are unknown until it was asked.
    expect(canary.locator(".dure-fact", has_text="Requests").locator("dd")).to_have_text(re.compile(r"^[1-9]\d*$"))
    for role in ("Champion", "Canary"):
        for latency in ("Latency p50", "Latency p95"):
            value = replica(page, role).locator(".dure-fact", has_text=latency).locator("dd")
            expect(value).to_have_text(re.compile(r"^[\d.,]+ ms$"))


def promote(page: Page, version: int) -> None:
    """The canary becomes the champion."""
    serving(page).get_by_role("button", name="Promote").click()
    champion = replica(page, "Champion")
    expect(champion.get_by_text(f"Version {version}")).to_be_visible(timeout=60_000)
    expect(champion.get_by_text("100%")).to_be_visible()
    expect(replica(page, "Canary").get_by_text("No canary.")).to_be_visible()


def the_whole_story(page: Page, shot: Callable[[str], None]) -> None:
    """Every step by clicks, in Lab and in Voila alike."""
    every_widget_shows_its_empty_state(page)
    shot("empty")
    a_bad_value_is_refused_in_its_place(page)
    shot("refused")
    job = train(page, epochs=200, hidden=32)
    shot("trained")
    register(page, 1, job)
    give_an_alias(page, "first", 1)
    shot("registered")
    deploy(page)
    second = train(page, epochs=200, hidden=128)
    register(page, 2, second)
    start_canary(page, 2)
    shot("canary")
    promote(page, 2)
    shot("promoted")


def a_kernel_that_is_restarted_leaves_widgets_that_say_so(page: Page) -> None:
    """Every control is disabled, and the sentence says what to do."""
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Restart Kernel…")).click()
    page.locator(".jp-Dialog").get_by_text("Restart", exact=True).click()
    for one in (serving(page), launcher(page)):
        one.scroll_into_view_if_needed()
        expect(one.get_by_text("The kernel that made this is gone; run the cell again.")).to_be_visible()
    expect(launcher(page).get_by_role("button", name="Launch")).to_be_disabled()


WHERE = {
    "lab": ("ana", f"lab/tree/{NOTEBOOK}?reset"),
    "voila": ("ben", f"voila/render/{NOTEBOOK}"),
}
"""Who does it by clicks and where: each has models and endpoints of their own, so versions count from one."""


def start_server(portal: Portal, who: str) -> None:
    """This person's server, asked for as the spawn page does, and up."""
    with portal.client(who) as api:
        asked = api.post("/environments", json={"id": new_id(), "profile": "cpu"})
        assert asked.is_success, asked.text
        until(lambda: api.get("/environments").json()[0]["phase"] == "running", f"{who}'s server", timeout=120)


@pytest.fixture
def visit(chromium: Browser, portal: Portal) -> Iterator[tuple[Page, Seen]]:
    """A window whose every request and socket is looked at."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000}, locale="en-US")
    context.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    seen = Seen(urlsplit(portal.url).netloc)
    context.on("request", seen.request)
    page = context.new_page()
    page.on("websocket", lambda socket: socket.on("framereceived", seen.frame))
    yield page, seen
    expect.set_options(timeout=5_000)
    context.close()


def run_all(page: Page) -> None:
    """Run → Run All Cells, once the kernel is up."""
    expect(page.get_by_role("tab", name="first-model-widgets.ipynb", selected=True)).to_be_visible()
    expect(page.get_by_text("| Idle", exact=False)).to_be_visible()
    page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook").click(position={"x": 5, "y": 5})
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


@pytest.mark.parametrize("where", WHERE)
def test_the_first_model_by_clicks(portal: Portal, visit: tuple[Page, Seen], where: str) -> None:
    pytest.importorskip("torch", reason="needs torch (DURE_TORCH=none left it out)")
    page, seen = visit
    who, address = WHERE[where]
    start_server(portal, who)
    log_in(page, portal, who)
    page.goto(f"{portal.url}/user/{who}/{address}")
    if where == "lab":
        run_all(page)
    try:
        the_whole_story(page, lambda name: shot(page, f"widgets-{where}-{name}"))
        if where == "lab":
            a_kernel_that_is_restarted_leaves_widgets_that_say_so(page)
            shot(page, "widgets-lab-gone")
            in_the_dark_theme(page)
        else:
            in_other_shapes(page)
    finally:
        shot(page, f"widgets-{where}-end")  # where it stands, also when a step failed
    assert seen.strangers == []
    assert 0 < seen.largest <= FIRST_PAINT


def in_the_dark_theme(page: Page) -> None:
    """Lab's own dark theme, chosen by clicks; the widgets follow it."""
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text("Theme", exact=True).hover()
    page.locator(".lm-Menu-itemLabel").get_by_text("JupyterLab Dark", exact=True).click()
    expect(page.locator("body[data-jp-theme-light='false']")).to_be_attached()
    serving(page).scroll_into_view_if_needed()
    shot(page, "widgets-lab-dark")


def in_other_shapes(page: Page) -> None:
    """The whole page as people with a dark screen or a telephone see it."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 1000})
            page.screenshot(path=SHOTS / f"widgets-voila-whole-{scheme}-{width}.png", full_page=True)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{scheme}: the page is {wide} wide in a window of {width}"


def shot(page: Page, name: str) -> None:
    """A picture for people to look at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")
