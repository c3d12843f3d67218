"""A cell goes on while its page is closed: what it put out is there on return. A real JupyterLab of a portal."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, WebSocketRoute, expect

from dure.wire.ids import new_id
from tests.e2e.clocked import Clocked
from tests.e2e.portal import until
from tests.e2e.test_main_job import log_in
from tests.e2e.test_widgets import shot

pytestmark = pytest.mark.timeout(600)
LAST = 300
COUNTS = f"""
import pathlib, time
import ipywidgets
import matplotlib.pyplot as plt
from IPython.display import HTML, display

display(HTML("<b>bold words</b>"))
slider = ipywidgets.IntSlider(value=3, description="steps")
display(slider)
plt.figure(figsize=(1, 1))
plt.plot([1, 2])
plt.show()
state = display("none yet", display_id=True)
number = 0
while number < {LAST}:
    if number < int(pathlib.Path("allowed").read_text()):
        number += 1
        print(f"<{{number}}>", flush=True)
        state.update(f"so far {{number}}")
        pathlib.Path("printed").write_text(str(number))
    time.sleep(0.05)
""".strip()


@dataclass
class Counting:
    """A notebook of ana's on disk that counts as far as it may."""

    clocked: Clocked
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "counting.ipynb"

    def allow(self, number: int) -> None:
        """Let it count so far; nothing of a number is ever seen half."""
        (self.folder / "new").write_text(str(number))
        (self.folder / "new").replace(self.folder / "allowed")

    def printed(self) -> int:
        """How far it has come."""
        file = self.folder / "printed"
        return int(file.read_text() or 0) if file.exists() else 0

    def until_printed(self, number: int) -> None:
        until(lambda: self.printed() == number, f"it to count to {number}")

    def until_beyond(self, number: int) -> None:
        until(lambda: self.printed() > number, f"it to count beyond {number}")

    def cell(self) -> dict[str, Any]:
        """The one that counts, as it is on disk once nobody is writing there."""
        for _ in range(50):
            if text := self.file.read_text():
                with contextlib.suppress(json.JSONDecodeError):
                    return dict(json.loads(text)["cells"][0])
            time.sleep(0.02)
        pytest.fail(f"No notebook: {self.file.read_text()[:200]}")

    def open(self, context: BrowserContext) -> Page:
        """A page with this notebook, whose kernel it shows."""
        page = context.new_page()
        page.on("dialog", lambda dialog: dialog.accept())
        place = f"{self.folder.name}/{self.file.name}"
        page.goto(f"{self.clocked.portal.url}/user/ana/lab/tree/{place}?reset")
        expect(cells(page)).to_have_count(2)
        return page


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clocked]:
    made = Clocked(tmp_path_factory.mktemp("outputs"))
    try:
        made.portal.up()
        made.portal.add_user("ana")
        made.start()
        yield made
    finally:
        made.portal.down()


@pytest.fixture
def context(chromium: Browser, clocked: Clocked) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1280, "height": 1400}, locale="en-US")
    made.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    page = made.new_page()
    log_in(page, clocked.portal, "ana")
    page.close()
    yield made
    expect.set_options(timeout=5_000)
    made.close()


@pytest.fixture
def counting(clocked: Clocked) -> Counting:
    return make(clocked)


def make(clocked: Clocked, minor: int = 5) -> Counting:
    """A notebook whose file is of this version; before the fifth it has no ids of cells."""
    folder = clocked.folder / new_id().lower()
    folder.mkdir()
    cell: dict[str, Any] = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    cells = [{**cell, "id": "counts", "source": COUNTS}, {**cell, "id": "moves", "source": "slider.value = 7"}]
    if minor < 5:
        cells = [{name: value for name, value in one.items() if name != "id"} for one in cells]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    made = Counting(clocked, folder)
    made.file.write_text(json.dumps({"cells": cells, "metadata": spec, "nbformat": 4, "nbformat_minor": minor}))
    made.allow(0)
    for path in (folder, *folder.iterdir()):
        os.chown(path, clocked.folder.stat().st_uid, clocked.folder.stat().st_gid)
    return made


def cells(page: Page) -> Locator:
    return page.locator(".jp-NotebookPanel:visible .jp-CodeCell")


def run(page: Page, number: int) -> None:
    """Have a cell executed, as a person does, once the kernel waits for it."""
    expect(page.get_by_text("| Idle", exact=False)).to_be_visible()
    cells(page).nth(number).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")


def save(page: Page) -> bool:
    page.keyboard.press("Control+s")
    page.wait_for_timeout(500)  # Playwright's loop must turn for the save to happen
    return True


def prompt(page: Page, number: int, text: str) -> None:
    expect(cells(page).nth(number).locator(".jp-InputPrompt")).to_have_text(re.compile(text))


def counted(page: Page) -> list[int]:
    """The numbers that the page shows, in their order."""
    text = " ".join(cells(page).first.locator(".jp-OutputArea-output").all_text_contents())
    return [int(found) for found in re.findall(r"<(\d+)>", text)]


def until_counted(page: Page, last: int) -> None:
    """Each number once, in order, up to this one. Lab draws long text in pieces, so it is waited for."""
    until(lambda: counted(page) == [*range(1, last + 1)], lambda: f"{last} to be shown: {counted(page)}")


def everything_is_shown(page: Page) -> None:
    """The displays beside the numbers, and the widget, which the kernel moves."""
    cell = cells(page).first.locator(".jp-OutputArea").first
    expect(cell.get_by_text("bold words")).to_have_count(1)
    expect(cell.locator(".jp-RenderedImage img")).to_have_count(1)
    expect(cell.get_by_text(f"so far {LAST}")).to_have_count(1)
    expect(cell.locator(".widget-slider")).to_have_count(1)
    expect(cell.locator(".widget-readout")).to_have_text("3")
    run(page, 1)
    expect(cell.locator(".widget-readout")).to_have_text("7")


def test_a_page_that_comes_back_shows_all_of_it_and_what_is_still_to_come(
    context: BrowserContext, counting: Counting
) -> None:
    page = counting.open(context)
    counting.allow(5)
    run(page, 0)
    until_counted(page, 5)
    page.close()
    counting.allow(15)
    counting.until_printed(15)

    page = counting.open(context)
    until_counted(page, 15)
    prompt(page, 0, r"^\[\*\]:$")
    expect(cells(page).first.get_by_text("so far 15")).to_have_count(1)
    counting.allow(25)
    until_counted(page, 25)
    shot(page, "lab-outputs")

    page.reload()
    counting.allow(30)
    until_counted(page, 30)
    counting.allow(LAST)
    counting.until_beyond(50)
    page.reload()  # while it counts
    prompt(page, 0, r"^\[\*\]:$")
    assert counting.printed() < LAST, "it went on while the page was taking over"
    until_counted(page, LAST)
    prompt(page, 0, r"^\[1\]:$")
    everything_is_shown(page)
    page.keyboard.press("Control+s")
    until(lambda: counting.cell()["execution_count"] == 1, "it to be saved")
    assert page.locator(".jp-Dialog").count() == 0, "nobody but the page has written the file"
    page.close()


def test_a_page_that_read_the_file_just_before_it_was_written_reads_it_again(
    context: BrowserContext, counting: Counting
) -> None:
    asked: list[str] = []

    def written_meanwhile(route: Route) -> None:
        """The server's answer to a page that was not yet connected when the file was written."""
        answer = route.fetch()
        if not asked:
            notebook = json.loads(counting.file.read_text())
            notebook["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "<1>"}]
            counting.file.write_text(json.dumps(notebook))
        asked.append(route.request.url)
        at = datetime.fromtimestamp(counting.file.stat().st_mtime, UTC).isoformat()
        route.fulfill(response=answer, json={**answer.json(), "written_at": at})

    page = counting.open(context)
    expect(page.get_by_text("| Idle", exact=False)).to_be_visible()
    until(lambda: save(page) and "language_info" in counting.file.read_text(), "Lab to have noted its kernel")
    page.close()
    context.route("**/dure/outputs?*", written_meanwhile)
    page = counting.open(context)
    until_counted(page, 1)
    context.unroute_all(behavior="wait")
    page.close()


def test_what_ends_with_no_page_open_is_in_the_notebook_file(context: BrowserContext, counting: Counting) -> None:
    page = counting.open(context)
    counting.allow(5)
    run(page, 0)
    until_counted(page, 5)
    page.close()
    counting.allow(LAST)
    counting.until_printed(LAST)
    until(lambda: counting.cell()["execution_count"] == 1, "the file to be written")
    outputs = counting.cell()["outputs"]
    text = "".join("".join(one["text"]) for one in outputs if one["output_type"] == "stream")
    assert text.split() == [f"<{number}>" for number in range(1, LAST + 1)]
    kinds = {kind for one in outputs for kind in one.get("data", {})}
    assert {"text/html", "image/png", "application/vnd.jupyter.widget-view+json"} <= kinds

    page = counting.open(context)
    until_counted(page, LAST)
    prompt(page, 0, r"^\[1\]:$")
    everything_is_shown(page)
    page.close()


def test_an_older_notebook_whose_cells_have_no_ids_gets_its_output_too(
    context: BrowserContext, clocked: Clocked
) -> None:
    counting = make(clocked, minor=4)
    page = counting.open(context)
    counting.allow(5)
    run(page, 0)
    until_counted(page, 5)
    page.close()
    counting.allow(15)
    counting.until_printed(15)

    page = counting.open(context)
    until_counted(page, 15)
    prompt(page, 0, r"^\[\*\]:$")
    page.close()
    counting.allow(LAST)
    counting.until_printed(LAST)
    until(lambda: counting.cell()["execution_count"] == 1, "the file to be written")
    assert "id" not in counting.cell()
    page = counting.open(context)
    until_counted(page, LAST)
    prompt(page, 0, r"^\[1\]:$")
    page.close()


@dataclass
class Line:
    """A page's sockets to kernels, which break when the test says so."""

    cut: bool = False
    sockets: list[tuple[WebSocketRoute, WebSocketRoute]] = field(default_factory=list)

    def open(self, socket: WebSocketRoute) -> None:
        if self.cut:
            socket.close()
        else:
            self.sockets.append((socket, socket.connect_to_server()))

    def break_off(self) -> None:
        self.cut = True
        for page, server in self.sockets:
            server.close()
            page.close()


ASK = """async path => {
  const [, token] = document.cookie.match(/_xsrf=([^;]*)/);
  return (await fetch('/user/ana/api/' + path, { headers: { 'X-XSRFToken': token } })).json();
}"""
CONSOLE = """kernel => new Promise(opened => {
  const address = `/user/ana/api/kernels/${kernel}/channels?session_id=console`;
  window.console_of_test = new WebSocket(location.origin.replace('http', 'ws') + address);
  window.console_of_test.onopen = () => opened();
})"""


def test_a_page_whose_line_broke_beside_a_console_shows_all_of_what_ended_meanwhile(
    context: BrowserContext, counting: Counting
) -> None:
    line = Line()
    context.route_web_socket(re.compile(r"/channels\?session_id=(?!console)"), line.open)
    page = counting.open(context)
    counting.allow(5)
    run(page, 0)
    until_counted(page, 5)
    kernel = next(
        one["kernel"]["id"] for one in page.evaluate(ASK, "sessions") if counting.folder.name in one["path"]
    )
    page.evaluate(CONSOLE, kernel)
    line.break_off()
    counting.allow(LAST)
    counting.until_printed(LAST)
    until(lambda: page.evaluate(ASK, f"kernels/{kernel}")["execution_state"] == "idle", "the cell to end")
    assert counted(page) == [1, 2, 3, 4, 5]
    line.cut = False
    until_counted(page, LAST)
    prompt(page, 0, r"^\[1\]:$")
    page.close()
