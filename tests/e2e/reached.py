"""How people come to a portal: through a forwarder on another port, in a browser that must stay at one origin."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

import dure
from dure.wire import ModelVersion
from tests.e2e.portal import Portal
from tests.e2e.test_main_job import WHOLE_LAB_MS

_SOCKETS = {"http": "ws", "https": "wss"}


@contextmanager
def forwarded(port: int) -> Iterator[int]:
    """Another local port that leads to this one byte by byte, as `ssh -L` does; it is the answer."""
    loop, begun = asyncio.new_event_loop(), threading.Event()
    bound: list[int] = []
    ending, open_ones = asyncio.Event(), set[asyncio.StreamWriter]()

    async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        open_ones.add(back)
        await asyncio.gather(one_way(reader, back), one_way(there, writer))
        open_ones.difference_update((writer, back))

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        bound.append(server.sockets[0].getsockname()[1])
        begun.set()
        await ending.wait()
        server.close()
        for writer in open_ones:
            writer.transport.abort()
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert begun.wait(10)
    try:
        yield bound[0]
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(10)
        loop.close()


@dataclass
class Visit:
    """A browser window, every request of which is looked at; `strangers` are those to any other origin."""

    context: BrowserContext
    url: str
    strangers: list[str] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.set_default_timeout(60_000)
        self.context.on("request", self._look)

    def page(self) -> Page:
        """A new page, with its sockets looked at too."""
        page = self.context.new_page()
        page.on("websocket", lambda socket: self._connect(socket.url))
        return page

    def _look(self, request: Request) -> None:
        address, own = urlsplit(request.url), urlsplit(self.url)
        if address.scheme in _SOCKETS and (address.scheme, address.netloc) != (own.scheme, own.netloc):
            self.strangers.append(request.url)

    def _connect(self, url: str) -> None:
        self.sockets.append(url)
        address, own = urlsplit(url), urlsplit(self.url)
        if (address.scheme, address.netloc) != (_SOCKETS[own.scheme], own.netloc):
            self.strangers.append(url)


@contextmanager
def visit(chromium: Browser, url: str) -> Iterator[Visit]:
    """Such a window of somebody who is not logged in; at its end nothing has gone elsewhere."""
    context = chromium.new_context(
        viewport={"width": 1280, "height": 900}, locale="en-US", ignore_https_errors=True
    )
    expect.set_options(timeout=60_000)
    made = Visit(context, url)
    try:
        yield made
    finally:
        expect.set_options(timeout=5_000)
        context.close()
    assert made.strangers == []


def start_server(page: Page, portal: Portal, owner: str) -> None:
    """Through the spawn page, as a person does, until JupyterLab is there."""
    page.goto(f"{portal.url}/services/dure/spawn")
    page.locator("input[type=radio][value=cpu]").check(force=True)
    page.get_by_role("button", name="Start", exact=False).click()
    page.wait_for_url(f"{portal.url}/user/{owner}/**", timeout=120_000)


def compute_in_lab(page: Page, portal: Portal, owner: str, code: str, printed: re.Pattern[str]) -> str:
    """Open a new notebook in Lab, run this in its kernel, and wait until it has printed so; what it printed."""
    page.goto(f"{portal.url}/user/{owner}/lab?reset")
    page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click(timeout=WHOLE_LAB_MS)
    cell = page.locator(".jp-NotebookPanel:visible .jp-CodeCell").first
    expect(page.get_by_text("| Idle", exact=False)).to_be_visible(timeout=WHOLE_LAB_MS)
    cell.locator(".cm-content").click()
    page.keyboard.insert_text(code)
    page.keyboard.press("Control+Enter")
    output = cell.locator(".jp-OutputArea-output")
    expect(output.first).to_contain_text(printed, timeout=120_000)
    return output.first.text_content() or ""


def trained(name: str) -> ModelVersion:
    """A small model of whoever the SDK speaks for, with `train.py` in the working folder."""
    job = dure.train("train.py:train", name=name, parameters={"epochs": 1})
    job.wait(timeout=300)
    return dure.models.register(name, job)
