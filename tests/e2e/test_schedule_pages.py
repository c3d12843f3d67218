"""A schedule's pages in a real browser while its notebook really runs; a hostile notebook can do nothing."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

import dure
from dure.client import Client, use
from tests.e2e.portal import Portal, until
from tests.e2e.test_pages import Window, log_in, window

v4: Any = import_module("nbformat.v4")
PLACE = "/services/dure/schedules"
HOSTILE = (
    "<b id='shown'>shown</b><script>document.body.dataset.ran = 'yes'; fetch('/hub/api/user')</script>"
    "<img src='EVIL/x.png' onerror=\"document.body.dataset.ran = 'yes'\"><link rel=preconnect href='EVIL'>"
    "<link rel=stylesheet href='EVIL/a.css'><meta http-equiv=refresh content='0;url=EVIL/'>"
    "<iframe src='EVIL/'></iframe><object data='EVIL/'></object><embed src='EVIL/'>"
    "<style>@import url('EVIL/b.css'); b { background: url('EVIL/c.png') }</style>"
)
"""`EVIL` is an address that hears of every connection."""
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def login(chromium: Browser, portal: Portal) -> Iterator[Path]:
    """Ben's cookies, after a login by the form; the SDK speaks as ben meanwhile."""
    context = chromium.new_context(locale="en-US")
    log_in(context.new_page(), portal, "ben")
    kept = portal.data.parent / "ben-of-schedules.json"
    context.storage_state(path=kept)
    use(Client(portal.url, portal.token("ben")))
    expect.set_options(timeout=30_000)  # a kernel starts, and the portal looks every few seconds
    yield kept
    expect.set_options(timeout=5_000)
    use(None)
    context.close()


class Listener:
    """A place on another origin that counts who comes."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.heard = 0
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        while True:
            try:
                self.socket.accept()[0].close()
            except OSError:  # closed below
                return
            self.heard += 1

    def close(self) -> None:
        """Hear no more."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)


@pytest.fixture(scope="module")
def evil() -> Iterator[Listener]:
    """Where a hostile notebook wants to send things."""
    listener = Listener()
    yield listener
    listener.close()


def scheduled(name: str, desk: Path, *cells: Any) -> Any:
    """A schedule of ben's that is due once a year, of these cells."""
    declared = v4.new_code_cell("x: int = 1")
    declared.metadata.tags = ["parameters"]
    file = desk / f"{name}.ipynb"
    file.write_text(json.dumps(v4.new_notebook(cells=[declared, *cells])))
    return dure.schedules.create(file, cron="0 0 1 1 *", timezone="Asia/Seoul", parameters={"x": 7})


def open_page(shown: Window, path: str) -> None:
    """Go to a page of schedules."""
    shown.open(f"{PLACE}{path}", 200)


def test_an_execution_is_followed_from_the_click_to_its_failing_cell(
    chromium: Browser, portal: Portal, login: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    wait = (
        f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)\nprint('gone through')"
    )
    scheduled(
        "followed",
        tmp_path,
        v4.new_code_cell("print('x is', x)"),
        v4.new_code_cell(wait),
        v4.new_code_cell("raise ValueError('no <b>luck</b>')"),
    )
    with window(chromium, portal, login, "light", 1280) as shown:
        page = shown.page
        open_page(shown, "")
        page.get_by_role("button", name="Run followed now").click()
        page.wait_for_url("**/schedules/followed/1")
        expect(page.locator(".state").first).to_have_text("Running")
        # What has run so far is there while the rest still runs.
        frame = page.frame_locator("iframe.notebook")
        expect(page.locator("pre.log")).to_contain_text("x is 7")
        expect(frame.locator("body")).to_contain_text("x is 7")
        shown.keep("execution-running")
        gate.touch()
        expect(page.get_by_text("Cell 4 failed with ValueError")).to_be_visible()
        expect(page.get_by_text("no <b>luck</b>").first).to_be_visible()
        expect(frame.locator("body")).to_contain_text("gone through")
        shown.keep("execution-failed")
        page.get_by_role("link", name="followed", exact=True).click()
        expect(page.get_by_role("cell", name="cell 4: ValueError")).to_be_visible()
    execution = dure.schedules.get("followed").executions()[0]
    assert execution.failure.cell == 4
    assert execution.page == f"{portal.url}{PLACE}/followed/1"
    with pytest.raises(dure.DureError, match=r"cell 4 .* raised ValueError: no <b>luck"):
        execution.wait()


def test_a_running_execution_is_stopped_by_a_click(
    chromium: Browser, portal: Portal, login: Path, tmp_path: Path
) -> None:
    made = scheduled("stopped", tmp_path, v4.new_code_cell("import time\ntime.sleep(600)"))
    run = made.run_now()
    until(lambda: "[2/2]" in run.logs(), "the cell to run")
    with window(chromium, portal, login, "light", 1280) as shown:
        open_page(shown, "/stopped/1")
        shown.page.get_by_role("button", name="Stop").click()
        expect(shown.page.locator(".state").first).to_have_text("Stopped")
    assert run.state == "stopped"


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize(("width", "locale"), [(1280, "en-US"), (390, "ko-KR")])
def test_a_hostile_notebook_runs_nothing_and_fetches_nothing(
    chromium: Browser,
    portal: Portal,
    login: Path,
    tmp_path: Path,
    evil: Listener,
    colours: str,
    width: int,
    locale: str,
) -> None:
    hostile = HOSTILE.replace("EVIL", evil.address)
    if "hostile" not in [one.name for one in dure.schedules.list()]:
        code = f"from IPython.display import HTML, Javascript\ndisplay(HTML({hostile!r}), Javascript('alert(1)'))"
        scheduled("hostile", tmp_path, v4.new_markdown_cell("# A title\n\n" + hostile), v4.new_code_cell(code))
        dure.schedules.run_now("hostile").wait(timeout=120)
    with window(chromium, portal, login, colours, width, locale) as shown:
        answered: list[str] = []
        shown.page.on("response", lambda response: answered.append(response.url))
        shown.page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        open_page(shown, "/hostile/1")
        frame = shown.page.frame_locator("iframe.notebook")
        expect(frame.locator("#shown").last).to_be_visible()
        expect(frame.get_by_role("heading", name="A title")).to_be_visible()
        assert frame.locator("body").get_attribute("data-ran") is None
        assert frame.locator("body").evaluate("() => origin") == "null"
        assert not any("hub/api" in url for url in answered)
        assert shown.fits(width)
        shown.keep(f"execution-{locale[:2]}-{colours}-{width}")
        open_page(shown, "/hostile/1/notebook")  # also in a window of its own
        expect(shown.page.locator("#shown").last).to_be_visible()
        assert shown.page.locator("body").get_attribute("data-ran") is None
        assert shown.page.url.endswith("/notebook")
        # The browser tells of what it blocked; it is all that may be said.
        blocked = re.compile("Content Security Policy|sandboxed|Blocked script|Refused|violates", re.IGNORECASE)
        shown.said[:] = [text for text in shown.said if not blocked.search(text)]
        for path in ("", "/hostile"):
            open_page(shown, path)
            assert shown.fits(width)
            shown.keep(f"schedules{path.replace('/', '-')}-{locale[:2]}-{colours}-{width}")
    assert evil.heard == 0
