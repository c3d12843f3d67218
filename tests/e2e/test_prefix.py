"""A whole portal below a path of somebody's host: a real nginx in front gives it `/dure/`, and nothing else."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

import dure
from dure.wire.ids import new_id
from tests.contract.digits import held_out
from tests.e2e.portal import Portal, free_port, make_portal, until
from tests.e2e.test_main_job import WHOLE_LAB_MS, errors, log_in, run_all
from tests.e2e.test_pages import OF_HUB, PAGES, Window, window

BASE = "/dure"
HOME = f"{BASE}/services/dure/"
MORE_PAGES = ("schedules", "shared", "notices", "share/shown")
MISSING = {BASE + path for path, status in {**PAGES, **OF_HUB}.values() if status == 404}
"""Pages that the tests ask for though they are not there; what is said of that is a page of its own kind."""

NGINX = """
user {user} {group};
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format told '$status $request_method $request_uri';
  access_log {folder}/access.log told;
  client_max_body_size 0;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  server {{
    listen 127.0.0.1:{port};
    location /dure/ {{
      proxy_pass http://127.0.0.1:{front};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 1d;
    }}
  }}
}}
"""
"""As docs/under-a-path.md has it, but for where it listens and writes."""

pytestmark = pytest.mark.timeout(900)


@dataclass
class Below(Portal):
    """A portal that is reached through nginx alone."""

    outside: int = 0

    @property
    def url(self) -> str:
        """Where people find it."""
        return f"http://127.0.0.1:{self.outside}{BASE}"

    @property
    def folder(self) -> Path:
        """What is nginx's."""
        return self.data.parent

    def bad(self) -> list[str]:
        """What nginx was asked for that is not below the path, or was not there, or failed."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return [line for line in lines if _is_bad(*line.split(" ", 2))]


def _is_bad(status: str, _verb: str, address: str) -> bool:
    path = address.partition("?")[0]
    missing = status == "404" and path not in MISSING
    return not path.startswith(f"{BASE}/") or missing or status.startswith("5") or status == "400"


@contextmanager
def nginx(folder: Path, port: int, front: int) -> Iterator[None]:
    """Debian's, in front of the portal."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.fail("No nginx on this machine:  sudo apt-get install -y nginx-light")
    config = folder / "nginx.conf"
    names = {"user": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}
    config.write_text(NGINX.format(folder=folder, port=port, front=front, **names))
    process = subprocess.Popen([program, "-c", str(config), "-e", str(folder / "error.log")])

    def up() -> bool:
        if process.poll() is not None:
            pytest.fail(f"nginx ended: {(folder / 'error.log').read_text()[-2000:]}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(up, "nginx to listen", timeout=30)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Below]:
    """It is up, with ana and ben, and nginx before it."""
    folder, outside = tmp_path_factory.mktemp("below"), free_port()
    address = f"http://127.0.0.1:{outside}{BASE}"
    made = make_portal(folder, DURE_BASE_URL=f"{BASE}/", DURE_PUBLIC_URL=address)
    below = Below(made.data, made.port, made.environment, outside=outside)
    try:
        said = below.up()
        assert address in said
        with nginx(folder, outside, below.port):
            below.add_user("ana")
            below.add_user("ben")
            yield below
    finally:
        below.down()


@pytest.fixture(autouse=True)
def all_below(portal: Below) -> Iterator[None]:
    """Whatever a browser or program asks for in a test is below the path, is there, and does not fail."""
    expect.set_options(timeout=45_000)
    (portal.folder / "access.log").write_text("")
    yield
    expect.set_options(timeout=5_000)
    last = new_id()  # nginx tells of a request when it is over: what came before this one is told then
    httpx.get(f"{portal.url}/api/v1/about", params={"last": last}).raise_for_status()
    until(lambda: last in (portal.folder / "access.log").read_text(), "the log to have the last request")
    assert portal.bad() == []


def addresses(page: Page) -> list[str]:
    """Where a page leads to or takes things from, as the browser reads it."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('[href], [src], [action], [data-api]')].flatMap(node =>
            [node.href, node.src, node.action, node.dataset?.api && new URL(node.dataset.api, location)?.href])
            .filter(one => typeof one === 'string' && /^(http|ws)/.test(one))"""
    )
    return found


def cell(source: str) -> dict[str, Any]:
    """A cell that has not run."""
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": "a",
        "metadata": {},
        "outputs": [],
        "source": source,
    }


def notebook(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """A notebook of these."""
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def leads_nowhere_else(shown: Window, portal: Below) -> None:
    """Every link, form, script and picture of the page is below the path; the hub's go to its manual, too."""
    found = [one for one in addresses(shown.page) if not one.startswith("https://jupyterhub.readthedocs.io/")]
    assert [one for one in found if not one.startswith(f"{portal.url}/")] == []
    assert found


def cookie_places(shown: Window) -> set[str]:
    """The first part of the path of each cookie that the browser was given."""
    return {one.get("path", "").split("/")[1] for one in shown.context.cookies()}


def test_from_login_to_an_endpoint_that_answers(
    chromium: Browser, portal: Below, monkeypatch: pytest.MonkeyPatch
) -> None:
    with window(chromium, portal, None, "light", 1280) as shown:
        page = shown.page
        log_in(page, portal, "ana")
        assert urlsplit(page.url).path == HOME
        page.get_by_role("link", name="New server").first.click()
        page.wait_for_url(f"**{HOME}spawn")
        page.locator("input[type=radio][value=cpu]").check(force=True)
        page.get_by_role("button", name="Start", exact=False).click()
        page.wait_for_url(f"**{BASE}/user/ana/**", timeout=120_000)
        page.goto(f"{portal.url}/user/ana/lab/tree/tutorials/first-model.ipynb?reset")
        expect(page.get_by_text("| Idle", exact=False)).to_be_visible(timeout=WHOLE_LAB_MS)  # the kernel is up
        (folder,) = (portal.data / "users").glob("ana*")
        cells = run_all(page, folder / "tutorials" / "first-model.ipynb")
        assert [errors(cell) for cell in cells if errors(cell)] == []
        shown.said.clear()  # what JupyterLab tells its console is not ours

        monkeypatch.setenv("DURE_URL", portal.url)
        monkeypatch.setenv("DURE_TOKEN", portal.token("ana"))
        endpoint = dure.endpoints.list()[0]
        assert endpoint.address == f"{portal.url}/serve/{endpoint.name}/invocations"
        rows, _ = held_out()
        assert len(endpoint.predict(rows[:2])) == 2
        assert httpx.post(endpoint.address, json={"inputs": rows[:1]}).status_code == 401

        own = notebook([cell("import dure\nprint(dure.whoami().name)")])
        (folder / "own.ipynb").write_text(json.dumps(own))
        shown.open(f"{BASE}/user/ana/voila/render/own.ipynb", 200)
        expect(page.locator("#rendered_cells pre", has_text="ana")).to_be_visible()
        leads_nowhere_else(shown, portal)

        page.goto(f"{portal.url}/services/mlflow/#/models/{endpoint.model}")
        expect(page.get_by_text("Version 1").first).to_be_visible()
        shown.said.clear()
        sockets = f"101 GET {BASE}/user/ana/api/kernels/"  # told when they close, as they do with their page
        until(
            lambda: sockets in (portal.folder / "access.log").read_text(), "a kernel's socket to have gone through"
        )


def test_a_page_of_each_kind_leads_nowhere_else(chromium: Browser, portal: Below) -> None:
    with window(chromium, portal, None, "light", 1280) as shown:
        log_in(shown.page, portal, "ben")
        shown.page.goto(f"{portal.url}/services/dure/spawn?name=shown")
        shown.page.get_by_role("button", name="Start", exact=False).click()
        # a start may be over before the waiting page is
        shown.page.wait_for_url(re.compile(rf"{HOME}wait/shown|{BASE}/user/ben/shown"), wait_until="commit")
        shown.page.goto("about:blank")  # what was opened may go on to another page by itself
        with portal.client("ben") as ben:
            ben.delete("/environments/shown").raise_for_status()
            until(lambda: ben.get("/environments/shown").json()["phase"] == "stopped", "the server to end")
        for path, status in (*PAGES.values(), *OF_HUB.values()):
            shown.open(BASE + path, status)
            expect(shown.page.get_by_role("heading", level=1)).to_be_visible()
            leads_nowhere_else(shown, portal)
        for name in MORE_PAGES:
            shown.open(HOME + name, 200)
            leads_nowhere_else(shown, portal)
        shown.page.get_by_role("link", name="한국어").click()
        expect(shown.page.locator("html")).to_have_attribute("lang", "ko")
        assert urlsplit(shown.page.url).path == HOME + MORE_PAGES[-1]
        assert cookie_places(shown) == {BASE[1:]}


def test_dashboards_are_live(chromium: Browser, portal: Below) -> None:
    with window(chromium, portal, None, "light", 1280) as shown:
        log_in(shown.page, portal, "admin")
        for name in ("Fleet", "Servers"):
            shown.page.get_by_role("link", name=name, exact=True).click()
            expect(shown.page).to_have_title(f"{name} · Dure", timeout=60_000)
            expect(shown.page.get_by_role("heading", level=1, name=name)).to_be_visible(timeout=60_000)
        # The dashboard's kernel asks the portal with its viewer's token, below the path, too.
        with portal.client("ben") as ben:
            ben.post("/environments", json={"id": new_id(), "name": "told", "profile": "cpu"}).raise_for_status()
            expect(shown.page.get_by_text("ben/told").first).to_be_attached(timeout=60_000)
            ben.delete("/environments/told").raise_for_status()
        leads_nowhere_else(shown, portal)
        shown.open(f"{BASE}/services/dashboards/", 200)
        expect(shown.page.get_by_role("heading", level=1, name="Fleet")).to_be_visible()
        shown.open(f"{BASE}/hub/admin", 200)
        expect(shown.page.get_by_test_id("user-row-ben")).to_be_visible()
        leads_nowhere_else(shown, portal)
        # Jupyter's widgets say so of a page that is being left, whose kernel ends with it
        shown.said[:] = [one for one in shown.said if one != "Cannot send"]


def test_a_login_goes_on_where_it_was_asked_for_and_a_logout_ends_it(chromium: Browser, portal: Below) -> None:
    with window(chromium, portal, None, "light", 1280) as shown:
        page = shown.page
        page.goto(f"{portal.url}/services/mlflow/")
        page.wait_for_url("**/hub/login**")
        page.get_by_label("Username").fill("ben")
        page.get_by_label("Password", exact=True).fill(portal.passwords["ben"])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"**{BASE}/services/mlflow/**")
        shown.open(HOME, 200)
        page.get_by_role("link", name="Log out").click()
        page.wait_for_url(f"**{BASE}/hub/**")
        page.goto(portal.url + "/services/dure/")
        page.wait_for_url(f"**{BASE}/hub/login**")
        shown.open(f"{BASE}/hub/login?lang=ko", 200)
        assert cookie_places(shown) == {BASE[1:]}
        shown.said.clear()


def test_there_is_nothing_beside_the_path(portal: Below) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{portal.port}") as front:
        for path in (
            "/",
            "/hub/login",
            "/services/dure/",
            "/api/v1/about",
            "/services/mlflow/",
            "/durex/hub/login",
        ):
            assert front.get(path).status_code == 404, path
        assert front.get(BASE).headers["location"].endswith(f"{BASE}/")
    assert httpx.get(f"{portal.url}/api/v1/about").status_code == 200
