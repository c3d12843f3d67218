"""A real portal with a host for each person: a server is shared and closed again, a notebook is shown and gone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from dure.wire.ids import new_id
from tests.e2e.conftest import QUIET, chromium_path
from tests.e2e.portal import Portal, make_portal, until
from tests.e2e.test_pages import SHOTS

RESOLVE = "--host-resolver-rules=MAP dure.test 127.0.0.1,MAP *.dure.test 127.0.0.1"
NOTEBOOK = {
    "cells": [{"cell_type": "markdown", "metadata": {}, "source": "# Findings of ana", "id": "a"}],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}
BARE = ["env", "JUPYTER_CONFIG_PATH=/nonexistent", sys.executable, "-P", "-m", "jupyterhub.singleuser"]
"""An image with a JupyterLab and nothing of ours."""
if os.geteuid() == 0:
    BARE.append("--allow-root")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal on dure.test, with ana and ben, and ana's server running."""
    portal = make_portal(tmp_path_factory.mktemp("hosts"))
    portal.environment["DURE_SUBDOMAIN_HOST"] = f"http://dure.test:{portal.port}"
    portal.environment["DURE_IMAGES"] = json.dumps([{"name": "python"}, {"name": "bare", "command": BARE}])
    try:
        portal.up()
        portal.add_user("ana")
        portal.add_user("ben")
        with portal.client("ana") as ana:
            ana.post("/environments", json={"id": new_id(), "profile": "cpu"}).raise_for_status()
            until(
                lambda: ana.get("/environments/default").json()["phase"] == "running", "ana's server to run", 120
            )
        yield portal
    finally:
        portal.down()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A chromium that finds every host of dure.test on this machine."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium_path(), args=[*QUIET, RESOLVE])
        expect.set_options(timeout=30_000)  # JupyterLab opens three times on a busy machine
        yield launched
        expect.set_options(timeout=5_000)
        launched.close()


def at(portal: Portal, person: str = "") -> str:
    """The portal's address, or a person's own."""
    return f"http://{f'user-{person}-lab-1.' if person else ''}dure.test:{portal.port}"


def logged_in(browser: Browser, portal: Portal, name: str, colours: str = "light") -> BrowserContext:
    """A window of this person's own, after a login by the form."""
    context = browser.new_context(locale="en-US", color_scheme="dark" if colours == "dark" else "light")
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.goto(f"{at(portal)}/")
    page.locator("input[name=username]").fill(name)
    page.locator("input[type=password]").fill(portal.passwords[name])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{at(portal)}/services/dure/**")
    return context


@pytest.fixture
def ana(browser: Browser, hosts: Portal) -> Iterator[Page]:
    """Ana's window."""
    context = logged_in(browser, hosts, "ana")
    yield context.pages[0]
    context.close()


@pytest.fixture
def ben(browser: Browser, hosts: Portal) -> Iterator[Page]:
    """Ben's window."""
    context = logged_in(browser, hosts, "ben")
    yield context.pages[0]
    context.close()


def keep(page: Page, name: str) -> None:
    """Pictures of the whole page, light and dark."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    for colours in ("light", "dark"):
        page.emulate_media(color_scheme=colours)
        page.screenshot(path=SHOTS / f"{name}-{colours}.png", full_page=True)


def narrow(page: Page, name: str) -> None:
    """A picture in Korean on a telephone; nothing hangs out of its window."""
    size, here = page.viewport_size, page.url
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("link", name="한국어").click()
    page.goto(here)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=SHOTS / f"{name}-narrow.png", full_page=True)
    page.get_by_role("link", name="English").click()
    page.set_viewport_size(size or {"width": 1280, "height": 720})
    page.goto(here)


ASK = """async ([base, token]) => {
  const answer = await fetch(`${base}api/kernels`, {headers: {Authorization: `token ${token}`}});
  return answer.status;
}"""
KERNEL = """async ([base, token]) => {
  const headers = {Authorization: `token ${token}`};
  headers["Content-Type"] = "application/json";
  const made = await fetch(`${base}api/kernels`, {method: "POST", headers, body: "{}"});
  const kernel = (await made.json()).id;
  const socket = new WebSocket(`${base.replace("http", "ws")}api/kernels/${kernel}/channels?token=${token}`);
  window.lost = null;
  socket.onclose = event => { window.lost = event.code; };
  await new Promise((open, fail) => { socket.onopen = open; socket.onerror = fail; });
  window.socket = socket;
  return made.status;
}"""


def test_ana_shares_ben_opens_and_loses_it(hosts: Portal, ana: Page, ben: Page) -> None:
    server = f"{at(hosts, 'ana')}/user/ana/"
    # Without a share the hub lets ben see nothing of it.
    answer = ben.goto(f"{server}lab")
    assert answer is not None
    assert answer.status == 403

    ana.goto(f"{at(hosts)}/services/dure/shared")
    ana.get_by_role("link", name="Share default").click()
    expect(ana.get_by_text("Nobody but you")).to_be_visible()
    ana.get_by_label("Name of a colleague").fill("nobody")
    ana.get_by_role("button", name="Let in").click()
    expect(ana.get_by_text("Nobody named nobody can log in here.")).to_be_visible()
    ana.go_back()
    ana.get_by_label("Name of a colleague").fill("ben")
    ana.get_by_role("button", name="Let in").click()
    expect(ana.locator("[data-share=ben]")).to_be_visible()
    keep(ana, "share")
    narrow(ana, "share")

    ben.goto(f"{at(hosts)}/services/dure/shared")
    ben.locator("[data-entrance='ana/default']").get_by_role("link", name="Open").click()
    ben.get_by_role("button", name="Allow").click()
    ben.wait_for_url(f"{server}**")
    expect(ben.locator("#jp-main-dock-panel")).to_be_visible()
    keep(ben, "shared-server")
    token = ben.evaluate("() => JSON.parse(document.getElementById('jupyter-config-data').textContent).token")
    assert ben.evaluate(KERNEL, [server, token]) == 201
    ana.context.pages[0].bring_to_front()
    mine = ana.context.new_page()
    mine.goto(f"{server}lab")
    expect(mine.locator("#jp-main-dock-panel")).to_be_visible()
    own = mine.evaluate("() => JSON.parse(document.getElementById('jupyter-config-data').textContent).token")
    assert mine.evaluate(KERNEL, [server, own]) == 201
    assert ben.evaluate("() => window.lost") is None

    ana.get_by_role("button", name="Let ben in no more").click()
    expect(ana.get_by_text("Nobody but you")).to_be_visible()
    until(lambda: ben.evaluate("() => window.lost") == 4403, "ben's websocket to be closed", timeout=10)
    assert ben.evaluate(ASK, [server, token]) == 403
    keep(ben, "shared-server-ended")
    answer = ben.reload()
    assert answer is not None
    assert answer.status == 403
    assert mine.evaluate("() => window.socket.readyState") == 1
    said = [line for line in events(hosts) if line["verb"] in ("environment.share", "environment.unshare")]
    assert [(line["actor"], line["verb"], line["verdict"]["with"]) for line in said] == [
        ("ana", "environment.unshare", "ben"),
        ("ana", "environment.share", "ben"),
    ]


def events(portal: Portal) -> list[dict[str, Any]]:
    """What was done, the newest first."""
    with portal.client("admin") as admin:
        found: list[dict[str, Any]] = admin.get("/events").raise_for_status().json()
        return found


def test_a_persons_host_has_nothing_but_their_servers(hosts: Portal) -> None:
    for path in ("/services/dure/", "/api/v1/about", "/hub/home", "/services/mlflow/", "/user/ben/", "/"):
        for person in ("ana", "ben"):
            host = {"Host": urlsplit(at(hosts, person)).netloc}
            answer = httpx.get(f"{hosts.url}{path}", headers=host)
            assert (answer.status_code, answer.headers["location"]) == (307, f"{at(hosts)}{path}")
    host = {"Host": urlsplit(at(hosts, "ana")).netloc}
    assert httpx.get(f"{hosts.url}/user/ana/api", headers=host).status_code == 200
    assert httpx.get(f"{hosts.url}/user/ana/api").headers["location"].startswith(f"{at(hosts)}/hub/user/ana/api")


def test_a_page_of_ana_reads_nothing_of_the_portal(hosts: Portal, ana: Page) -> None:
    ana.goto(f"{at(hosts, 'ana')}/user/ana/lab")
    expect(ana.locator("#jp-main-dock-panel")).to_be_visible()
    read = """async portal => {
      try { return (await fetch(`${portal}/services/dure/api/v1/me`, {credentials: "include"})).status; }
      catch (error) { return error.name; }
    }"""
    assert ana.evaluate(read, at(hosts)) == "TypeError"
    assert ana.evaluate(read, at(hosts, "ana")) == "TypeError"  # led to the portal, whose answer is not for it


def test_a_notebook_is_shown_and_gone(hosts: Portal, ana: Page, ben: Page) -> None:
    work = hosts.data / "users" / "ana" / "work"
    work.mkdir()
    (work / "report.ipynb").write_text(json.dumps(NOTEBOOK))
    (work / "out.ipynb").symlink_to("/etc/hostname")
    ana.goto(f"{at(hosts)}/services/dure/shared")
    for path, shown in (("work/out.ipynb", False), ("../ben/a.ipynb", False), ("work/report.ipynb", True)):
        ana.get_by_label("Path in your folder").fill(path)
        ana.get_by_label("Name of a colleague").fill("ben")
        ana.get_by_role("button", name="Show", exact=True).click()
        if not shown:
            expect(ana.get_by_text("is no notebook in your folder")).to_be_visible()
            ana.go_back()
    expect(ana.get_by_role("cell", name="ben", exact=True)).to_be_visible()
    keep(ana, "shared-mine")
    narrow(ana, "shared-mine")
    (work / "report.ipynb").write_text("{}")  # what is shared is the copy
    ben.goto(f"{at(hosts)}/services/dure/shared")
    keep(ben, "shared-with-me")
    ben.get_by_role("link", name="Open").click()
    frame = ben.frame_locator("iframe.notebook")
    expect(frame.get_by_role("heading", name="Findings of ana")).to_be_visible()
    assert frame.locator("body").evaluate("() => origin") == "null"
    keep(ben, "shared-notebook")
    copies = list(Path(hosts.data / "shares").glob("*/*"))
    assert sorted(place.name for place in copies) == ["about.json", "notebook.ipynb"]
    assert {place.stat().st_mode & 0o777 for place in copies} == {0o600}
    ana.get_by_role("button", name="Show work/report.ipynb to ben no more").click()
    expect(ana.get_by_role("cell", name="ben", exact=True)).to_have_count(0)
    answer = ben.reload()
    assert answer is not None
    assert answer.status == 404
    assert list(Path(hosts.data / "shares").iterdir()) == []


def test_a_server_without_our_part_loses_its_shares_and_gets_no_new_ones(hosts: Portal, ana: Page) -> None:
    shares, with_ben = "/environments/default/shares", {"with": "ben"}
    with hosts.client("ana") as api:

        def reach(phase: str) -> None:
            until(lambda: api.get("/environments/default").json()["phase"] == phase, f"it to be {phase}", 120)

        api.post(shares, json=with_ben).raise_for_status()
        api.delete("/environments/default").raise_for_status()
        reach("stopped")
        assert [one["with"] for one in api.get(shares).json()] == ["ben"], "a share outlives a stop"
        ask = {"id": new_id(), "profile": "cpu", "image": "bare"}
        api.post("/environments", json=ask).raise_for_status()
        reach("running")
        assert api.get(shares).json() == []
        answer = api.post(shares, json=with_ben)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "share_unguarded")
    ana.goto(f"{at(hosts)}/services/dure/share/default")
    expect(ana.get_by_text("The server default cannot be shared")).to_be_visible()
    expect(ana.get_by_label("Name of a colleague")).to_have_count(0)
    keep(ana, "share-unguarded")
    ended = next(line for line in events(hosts) if line["verb"] == "environment.unshare")
    assert (ended["actor"], ended["verdict"]) == ("dure", {"code": "share_unguarded", "with": "ben"})
