"""The main job as a person does it: log in, choose, run the tutorial in Lab, see the model, ask its endpoint."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from tests.e2e.portal import Portal, until

SHOTS = Path(os.environ.get("DURE_SHOTS", "build/shots"))

WHOLE_LAB_MS = 60_000
"""A new server's first page, on a machine that is busy with other tests."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def strangers() -> list[str]:
    """Requests that left the portal's origin. Must stay empty."""
    return []


@pytest.fixture(scope="module")
def visit(chromium: Browser, portal: Portal, strangers: list[str]) -> BrowserContext:
    """A browser window of ana's, with every request looked at."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    context.set_default_timeout(60_000)
    origin = urlsplit(portal.url).netloc

    def look(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.netloc != origin:
            strangers.append(request.url)

    context.on("request", look)
    return context


def log_in(page: Page, portal: Portal, name: str) -> None:
    """Through the login page, as a person does."""
    page.goto(f"{portal.url}/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password", exact=True).fill(portal.passwords[name])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/services/dure/**")


def shot(page: Page, name: str) -> None:
    """A picture for people to look at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


def test_from_login_to_an_endpoint_that_answers(
    visit: BrowserContext, portal: Portal, strangers: list[str]
) -> None:
    page = visit.new_page()
    log_in(page, portal, "ana")
    shot(page, "home")

    page.goto(f"{portal.url}/services/dure/spawn")
    page.locator("input[type=radio][value=cpu]").check(force=True)
    shot(page, "spawn")
    page.get_by_role("button", name="Start", exact=False).click()
    page.wait_for_url("**/user/ana/**", timeout=120_000)
    page.goto(f"{portal.url}/user/ana/lab/tree/tutorials/first-model.ipynb?reset")
    expect(page.get_by_role("heading", name="A first model: train, register, serve")).to_be_visible(
        timeout=WHOLE_LAB_MS
    )
    expect(page.get_by_text("| Idle", exact=False)).to_be_visible(timeout=WHOLE_LAB_MS)  # the kernel is up
    shot(page, "lab")

    (folder,) = (portal.data / "users").glob("ana*")
    cells = run_all(page, folder / "tutorials" / "first-model.ipynb")
    shot(page, "lab-done")
    assert [errors(cell) for cell in cells if errors(cell)] == []

    with portal.client("ana") as api:
        endpoints = api.get("/endpoints").json()
        assert endpoints
        assert endpoints[0]["state"] == "ready"
        answer = httpx.post(
            f"{portal.url}{endpoints[0]['url']}invocations",
            json={"inputs": [[0.0] * 64]},
            headers=dict(api.headers),
        )
        assert answer.status_code == 200
        assert len(answer.json()["predictions"]) == 1
        model = endpoints[0]["model"]

    page.goto(f"{portal.url}/services/mlflow/#/models/{model}")
    expect(page.get_by_text(model).first).to_be_visible()
    expect(page.get_by_text("Version 1").first).to_be_visible()
    shot(page, "mlflow")
    assert strangers == []


def run_all(page: Page, saved: Path) -> list[dict[str, Any]]:
    """Run → Run All Cells; then save until every code cell has run or one has failed. The cells as saved."""
    page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook").click(position={"x": 5, "y": 5})
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    cells: list[dict[str, Any]] = []

    def over() -> bool:
        page.keyboard.press("Control+s")
        page.wait_for_timeout(500)  # Playwright's loop must turn for the save to happen
        try:
            notebook = json.loads(saved.read_text())
        except json.JSONDecodeError:
            return False  # it is being written
        cells[:] = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        return any(errors(cell) for cell in cells) or all(cell["execution_count"] for cell in cells)

    until(over, "the tutorial to run to its end", timeout=300)
    return cells


def errors(cell: dict[str, Any]) -> list[str]:
    """The errors a cell ended with, in words."""
    return [f"{o['ename']}: {o['evalue']}" for o in cell["outputs"] if o["output_type"] == "error"]
