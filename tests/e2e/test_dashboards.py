"""The administrator's dashboards, and Voila in a person's own server: a whole portal, a real browser."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, is_lab, make_portal, mark_of, until
from tests.e2e.test_pages import Window, log_in, window

pytestmark = pytest.mark.timeout(300)
DASHBOARDS = "/services/dashboards/"
FLEET = f"{DASHBOARDS}voila/render/fleet.ipynb"
SERVERS = f"{DASHBOARDS}voila/render/environments.ipynb"
IDLE_S = 10
NOBODYS = "0b1c2d3e-1111-2222-3333-444455556666"


@pytest.fixture(autouse=True, scope="module")
def patience() -> Iterator[None]:
    """A page may take long where everything else runs too."""
    expect.set_options(timeout=45_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal of its own, where a kernel that nobody looks at ends soon."""
    started = make_portal(tmp_path_factory.mktemp("p"), DURE_DASHBOARD_IDLE_S=str(IDLE_S))
    try:
        started.up()
        started.add_user("ana")
        started.add_user("ben")
        yield started
    finally:
        started.down()


def cookies(chromium: Browser, portal: Portal, name: str) -> Path:
    """A login through the form, kept."""
    kept = portal.data.parent / f"{name}-cookies.json"
    context = chromium.new_context(locale="en-US")
    log_in(context.new_page(), portal, name)
    context.storage_state(path=kept)
    context.close()
    return kept


@pytest.fixture(scope="module")
def admin(chromium: Browser, portal: Portal) -> Path:
    """The administrator's cookies."""
    return cookies(chromium, portal, "admin")


@pytest.fixture(scope="module")
def ana(chromium: Browser, portal: Portal) -> Path:
    """The cookies of an engineer."""
    return cookies(chromium, portal, "ana")


@pytest.fixture(scope="module")
def as_admin(portal: Portal) -> Iterator[httpx.Client]:
    """The API as the administrator."""
    with portal.client("admin") as client:
        yield client


def kernels(portal: Portal) -> list[psutil.Process]:
    """Kernels of the dashboards."""
    found = []
    for process in portal.processes():
        try:
            if "ipykernel_launcher" in process.cmdline() and process.environ().get("DURE_SERVICE") == "voila":
                found.append(process)
        except psutil.Error:
            continue
    return found


def kernel_id(page: Page) -> str:
    """The kernel behind a page."""
    found: str = page.evaluate("JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId")
    return found


def start(portal: Portal, name: str, owner: str = "ana") -> None:
    """A server of this person, running."""
    with portal.client(owner) as client:
        ask = {"id": new_id(), "name": name, "profile": "cpu", "lifetime_s": 3600}
        client.post("/environments", json=ask).raise_for_status()
        until(lambda: client.get(f"/environments/{name}").json()["phase"] == "running", f"{name} to run", 90)


def server_of(portal: Portal, name: str) -> list[psutil.Process]:
    """The process of ana's server of this name."""
    path = f"/user/ana/{name}/"
    found = []
    for process in portal.processes():
        try:
            mark = mark_of(process)
            if mark is None or mark[1] != "server" or not is_lab(process):
                continue
            record = json.loads((portal.data / "run" / "server" / mark[2] / "spec.json").read_text())
            if record["base_path"] == path:
                found.append(process)
        except psutil.Error:
            continue
    return found


def own_kernels(portal: Portal) -> list[psutil.Process]:
    """Kernels of ana's default server."""
    found = []
    for process in portal.processes():
        try:
            place = process.environ().get("JUPYTERHUB_SERVICE_PREFIX")
            if place == "/user/ana/" and "ipykernel_launcher" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def leave(shown: Window) -> None:
    """Go elsewhere, so that the page says it is left."""
    shown.page.goto("about:blank")


def test_the_fleet_is_live(chromium: Browser, portal: Portal, admin: Path) -> None:
    with window(chromium, portal, admin, "light", 1280) as shown:
        shown.open("/services/dure/", 200)
        shown.page.get_by_role("link", name="Fleet").click()
        expect(shown.page.get_by_role("heading", level=1, name="Fleet")).to_be_visible()
        expect(shown.page).to_have_title("Fleet · Dure")
        expect(shown.page.get_by_text("No GPU")).to_be_visible()
        expect(shown.page.get_by_text("Nobody holds anything.")).to_be_visible()
        start(portal, "seen")
        row = shown.page.locator(".dure-person", has_text="ana")
        expect(row).to_contain_text("server seen · cpu")
        expect(row).to_contain_text("0.5 cores promised")
        expect(row).to_contain_text("2 GiB promised")
        leave(shown)


def test_extending_moves_the_end(chromium: Browser, portal: Portal, admin: Path, as_admin: httpx.Client) -> None:
    start(portal, "longer")
    before = _environment(as_admin, "longer")["lease"]["until"]
    with window(chromium, portal, admin, "light", 1280) as shown:
        shown.open(SERVERS, 200)
        row = shown.page.locator(".dure-env", has_text="longer")
        row.get_by_role("button", name="Extend ana's longer by 1 hours").click()
        expect(row.locator(".dure-note")).to_contain_text("Its end is now")
        after = _environment(as_admin, "longer")["lease"]["until"]
        assert (datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds() == 3600
        leave(shown)
    happened = as_admin.get("/events", params={"object": "environment:ana/longer"}).json()
    assert [(one["actor"], one["on_behalf_of"]) for one in happened if one["verb"] == "environment.extend"] == [
        ("admin", "ana")
    ]


def test_stopping_with_a_reason_stops_the_process(
    chromium: Browser, portal: Portal, admin: Path, as_admin: httpx.Client
) -> None:
    with window(chromium, portal, admin, "light", 1280) as shown:
        shown.open(SERVERS, 200)
        expect(shown.page.locator(".dure-env, .dure-empty").filter(visible=True).first).to_be_visible()
        start(portal, "ended")
        row = shown.page.locator(".dure-env", has_text="ended")
        expect(row).to_contain_text("running")
        (process,) = server_of(portal, "ended")
        row.get_by_role("button", name="Stop ana's ended").click()
        row.get_by_role("button", name="Stop now").click()
        expect(row).to_contain_text("Say why")
        row.get_by_role("textbox").fill("The room is needed for a demo")
        row.get_by_role("textbox").press("Enter")
        expect(row).to_contain_text("An administrator ends this server (admin: The room is needed for a demo).")
        assert process.is_running(), "its owner has time to save"
        row.get_by_role("button", name="Stop ana's ended").click()
        row.get_by_role("textbox").fill("The room is needed for a demo")
        row.get_by_role("button", name="Stop now").click()
        until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "the server's end")
        expect(row.locator(".dure-cell", has_text="stopped")).to_contain_text("The room is needed for a demo")
        leave(shown)
    happened = as_admin.get("/events", params={"object": "environment:ana/ended"}).json()
    (stop,) = [one for one in happened if one["verb"] == "environment.stop"]
    assert (stop["actor"], stop["verdict"]["why"]) == ("admin", "The room is needed for a demo")


def _environment(client: httpx.Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/environments/{name}", params={"owner": "ana"}).raise_for_status().json()
    return found


def test_an_engineer_is_refused_with_a_page_that_says_so(chromium: Browser, portal: Portal, ana: Path) -> None:
    for locale, words in (("en-US", "for administrators"), ("ko-KR", "관리자만")):
        context = chromium.new_context(locale=locale, storage_state=ana)
        page = context.new_page()
        for path in (FLEET, SERVERS, DASHBOARDS):
            answer = page.goto(f"{portal.url}{path}")
            assert answer is not None
            assert answer.status == 403
            expect(page.get_by_role("heading", level=1)).to_contain_text(words)
        page.goto(f"{portal.url}/services/dure/")
        assert page.get_by_role("link", name="Fleet").count() == 0
        context.close()
    token = portal.token("ana")
    said = httpx.get(f"{portal.url}{FLEET}", headers={"Authorization": f"Bearer {token}"})
    assert (said.status_code, said.json()["error"]["code"]) == (403, "administrators_only")
    assert _socket(portal, {"Authorization": f"Bearer {token}"}) == 403
    assert kernels(portal) == [] or all(one.environ().get("DURE_TOKEN") != token for one in kernels(portal))


def _socket(portal: Portal, headers: dict[str, str], kernel: str = NOBODYS) -> int:
    """Status of the answer to a kernel's socket."""
    address = portal.url.replace("http", "ws") + f"{DASHBOARDS}api/kernels/{kernel}/channels"
    try:
        with connect(address, additional_headers=headers, proxy=None):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def test_who_is_not_logged_in_goes_to_the_login(portal: Portal) -> None:
    answer = httpx.get(f"{portal.url}{FLEET}", headers={"Accept": "text/html"})
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/services/dure/login?next=%2Fservices%2Fdashboards%2F")
    assert httpx.get(f"{portal.url}{FLEET}").status_code == 401
    assert _socket(portal, {}) == 401


def test_a_kernel_has_its_viewers_token_and_is_that_viewers_alone(portal: Portal) -> None:
    token = portal.token("admin")
    portal.add_user("root", "--admin")
    other = {"Authorization": f"Bearer {portal.token('root')}"}
    before = {one.pid for one in kernels(portal)}
    forged = {"x-dure-viewer-token": "forged", "x-dure-user": "ana", "x-dure-viewer-language": "ko"}
    mine = {"Authorization": f"Bearer {token}", "Accept-Language": "en"}
    page = httpx.get(f"{portal.url}{FLEET}", headers={**mine, **forged}, timeout=60)
    assert page.status_code == 200
    assert "cdn" not in page.text
    assert page.headers["x-frame-options"] == "DENY"
    (kernel,) = [one for one in kernels(portal) if one.pid not in before]
    seen = kernel.environ()
    assert (seen["DURE_TOKEN"], seen["DURE_LANGUAGE"], seen["DURE_URL"]) == (token, "en", portal.url)
    assert "forged" not in seen.values()
    assert token not in portal.service("voila").environ().values()
    assert token not in page.text
    number = page.text.split('"kernelId": "')[1].split('"')[0]
    place = f"{portal.url}{DASHBOARDS}api/kernels/{number}"
    assert httpx.get(place, headers=mine).status_code == 200
    for headers in (other, {**other, "x-dure-user": "admin"}):
        assert httpx.get(place, headers=headers).status_code == 403
        assert httpx.delete(place, headers=headers).status_code == 403
        assert _socket(portal, headers, number) == 403
        httpx.post(f"{portal.url}{DASHBOARDS}voila/api/shutdown/{number}", headers=headers).raise_for_status()
    assert _socket(portal, mine, number) == 101
    # Nobody's script ran, so nobody says that the page was left.
    until(lambda: not kernel.is_running(), "the kernel nobody looks at to end", IDLE_S * 3 + 20)


def test_a_kernel_ends_with_its_page(chromium: Browser, portal: Portal, admin: Path) -> None:
    with window(chromium, portal, admin, "light", 1280) as shown:
        shown.open(FLEET, 200)
        expect(shown.page.get_by_text("In all", exact=True)).to_be_visible()
        assert len(kernels(portal)) >= 1
        leave(shown)
        until(lambda: not kernels(portal), "the kernel of a page that was left to end", IDLE_S * 3 + 20)


def test_what_is_no_dashboard_is_not_there(portal: Portal) -> None:
    headers = {"Authorization": f"Bearer {portal.token('admin')}"}
    paths = ["voila/render/none.ipynb", "voila/tree", "voila/files/fleet.ipynb", "voila/api/contents/", "login"]
    for path in [*paths, f"voila/query/{NOBODYS}", "api/kernels", "voila/render/%2e%2e/tutorials/x.ipynb"]:
        assert httpx.get(f"{portal.url}{DASHBOARDS}{path}", headers=headers).status_code == 404, path
    page = httpx.get(f"{portal.url}{DASHBOARDS}{paths[0]}", headers=headers).text
    assert "There is no such dashboard" in page
    assert "그런 대시보드가 없습니다" in page


def test_a_killed_voila_comes_back_without_its_kernels(chromium: Browser, portal: Portal, admin: Path) -> None:
    context = chromium.new_context(locale="en-US", storage_state=admin)
    page = context.new_page()
    page.goto(f"{portal.url}{FLEET}")
    expect(page.get_by_text("In all", exact=True)).to_be_visible()
    old, service = {one.pid for one in kernels(portal)}, portal.pid("voila")
    assert old
    os.kill(service, signal.SIGKILL)
    until(lambda: portal.pid("voila") != service, "another Voila")
    until(lambda: not old & {one.pid for one in kernels(portal)}, "the old kernels to be gone")
    # The page finds out and begins anew by itself.
    page.evaluate("window.before = true")
    page.wait_for_function("window.before === undefined", timeout=60_000)
    expect(page.get_by_text("In all", exact=True)).to_be_visible(timeout=60_000)
    page.goto("about:blank")
    context.close()


@pytest.mark.parametrize(
    ("locale", "looks"),
    [
        ("en-US", [("light", 1280), ("light", 390), ("dark", 390), ("dark", 1280)]),
        ("ko-KR", [("dark", 390), ("dark", 1280), ("light", 1280), ("light", 390)]),
    ],
)
def test_dashboards_fit(
    chromium: Browser, portal: Portal, admin: Path, locale: str, looks: list[tuple[str, int]]
) -> None:
    """Each page is loaded once; then its window changes, as a person's does."""
    pages = ("fleet", FLEET, ".dure-meter"), ("servers", SERVERS, ".dure-env, .dure-empty")
    with window(chromium, portal, admin, *looks[0], locale) as shown:
        for name, path, thing in pages:
            shown.open(path, 200)
            expect(shown.page.locator(thing).filter(visible=True).first).to_be_visible()
            assert shown.page.locator("html").get_attribute("lang") == locale[:2]
            assert shown.page.get_by_role("main").count() == 1
            assert shown.page.get_by_role("heading", level=1).count() == 1
            look_over(shown, f"dashboard-{name}", looks, locale)
            body = shown.page.locator("body")
            expect(body).to_have_attribute("data-jp-theme-light", str(looks[-1][0] == "light").lower())
        shown.open("/services/dure/", 200)
        look_over(shown, "home-admin", looks, locale)
        leave(shown)


def look_over(shown: Window, name: str, looks: list[tuple[str, int]], locale: str) -> None:
    """Nothing hangs out of the window in any colours and width; a picture of each is kept."""
    for colours, width in looks:
        shown.page.emulate_media(color_scheme="dark" if colours == "dark" else "light")
        shown.page.set_viewport_size({"width": width, "height": 844})
        until(lambda width=width: shown.fits(width), f"{name} to be no wider than {width}", 10)  # type: ignore[misc]
        shown.keep(f"{name}-{colours}-{width}-{locale[:2]}")


def test_voila_in_ones_own_server(chromium: Browser, portal: Portal, ana: Path) -> None:
    start(portal, "default")
    code = [
        "import ipywidgets, dure\nprint(dure.whoami().name)\nipywidgets.IntSlider(7)",
        "from IPython.display import Math\nMath('y^2')",
        "1 / 0",
    ]
    cell: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    title = {"cell_type": "markdown", "id": "t", "metadata": {}, "source": "# Mine"}
    cells = [title, *({**cell, "id": str(number), "source": text} for number, text in enumerate(code))]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (portal.data / "users" / "ana" / "mine.ipynb").write_text(json.dumps(notebook))
    with window(chromium, portal, ana, "light", 1280) as shown:
        shown.open("/user/ana/voila/render/mine.ipynb", 200)
        expect(shown.page.locator("#rendered_cells pre", has_text="ana")).to_be_visible()
        expect(shown.page.locator(".widget-slider")).to_be_visible()
        expect(shown.page.locator("mjx-container").first).to_be_visible()
        expect(shown.page.get_by_role("alert").filter(has_text="A step of this page failed")).to_be_visible()
        expect(shown.page.locator(".page-mark")).to_have_attribute("href", "/services/dure/")
        assert shown.fits(1280)
        shown.keep("voila-own-light-1280")
        # The page looks whether its kernel lives, and this server tells it so; else it would load again and again.
        with shown.page.expect_response(f"**/api/kernels/{kernel_id(shown.page)}") as told:
            shown.page.evaluate(
                "const now = Date.now; Date.now = () => now() + 11_000;"
                "document.dispatchEvent(new Event('visibilitychange'))"
            )
        assert told.value.status == 200
        leave(shown)
        # Who leaves while the cells still run leaves no kernel behind either.
        until(lambda: not own_kernels(portal), "the kernel of the page that was left to end", 30)
        slow = {**cell, "id": "slow", "source": "import time\ntime.sleep(600)"}
        (portal.data / "users" / "ana" / "slow.ipynb").write_text(json.dumps({**notebook, "cells": [title, slow]}))
        shown.page.goto(f"{portal.url}/user/ana/voila/render/slow.ipynb", wait_until="commit")
        expect(shown.page.locator("#jupyter-config-data")).to_be_attached()
        assert len(own_kernels(portal)) == 1
        leave(shown)
        until(lambda: not own_kernels(portal), "the kernel that was left at work to end", 30)
    picture = f"{portal.url}/user/ana/voila/files/mine.png"
    (portal.data / "users" / "ana" / "mine.png").write_bytes(b"a picture of mine")
    assert httpx.get(picture).status_code in (302, 403), "nobody is logged in"
    ben = {"Authorization": f"Bearer {portal.token('ben')}", "Accept": "text/html"}
    assert httpx.get(picture, headers=ben).status_code in (302, 403)
    answer = httpx.get(f"{portal.url}/user/ana/voila/render/mine.ipynb", headers=ben)
    assert "Mine" not in answer.text
    assert answer.status_code in (302, 403)
    context = chromium.new_context(locale="en-US", storage_state=cookies(chromium, portal, "ben"))
    page = context.new_page()
    refused = page.goto(f"{portal.url}/user/ana/voila/render/mine.ipynb")
    assert refused is not None
    assert refused.status == 403
    context.close()
