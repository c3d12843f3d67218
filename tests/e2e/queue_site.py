"""A portal with simulated GPUs, small servers, and a clock that is moved by hand, for the tests of its queue."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, expect

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, make_portal, until
from tests.e2e.test_pages import SHOTS, log_in

STUB = Path(__file__).parents[1] / "support" / "stub_server.py"
PEOPLE = ("ana", "ben", "cho")
HOLD_S = 900
WIDE = "gpu-full"
TIMEOUT_MS = 30_000


@dataclass
class Site:
    """A portal whose clock is moved by hand, whose servers wait as long as `gate` exists, with browsers in it."""

    portal: Portal
    clock: Path
    gate: Path
    chromium: Browser
    logins: dict[str, Path] = field(default_factory=dict)
    clients: dict[str, httpx.Client] = field(default_factory=dict)

    def api(self, name: str) -> httpx.Client:
        if name not in self.clients:
            self.clients[name] = self.portal.client(name)
        return self.clients[name]

    def ask(self, owner: str, name: str, profile: str, **more: Any) -> dict[str, Any]:
        body = {"id": new_id(), "name": name, "profile": profile, "lifetime_s": 3600, **more}
        answer = self.api(owner).post("/environments", json=body)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def seen(self, owner: str, name: str) -> dict[str, Any]:
        answer = self.api(owner).get(f"/environments/{name}")
        return dict(answer.raise_for_status().json())

    def is_in(self, owner: str, name: str, phase: str) -> None:
        until(lambda: self.seen(owner, name)["phase"] == phase, lambda: f"{phase}: {self.seen(owner, name)}")

    def stop(self, owner: str, name: str) -> None:
        self.api(owner).delete(f"/environments/{name}").raise_for_status()

    def clear(self) -> None:
        """Nothing runs or waits any more."""
        self.gate.unlink(missing_ok=True)
        for owner in PEOPLE:
            for one in self.held(owner):
                self.stop(owner, one["name"])
        until(lambda: not any(self.held(owner) for owner in PEOPLE), "nobody to hold anything")

    def held(self, owner: str) -> list[Any]:
        found: list[Any] = self.api(owner).get("/environments", params={"active": True}).json()
        return found

    def window(self, name: str, **more: Any) -> BrowserContext:
        """A window of this person's, logged in."""
        if name not in self.logins:
            context = self.chromium.new_context(locale="en-US")
            log_in(context.new_page(), self.portal, name)
            self.logins[name] = self.portal.data.parent / f"{name}-cookies.json"
            context.storage_state(path=self.logins[name])
            context.close()
        context = self.chromium.new_context(**{"locale": "en-US", "storage_state": self.logins[name], **more})
        context.set_default_timeout(TIMEOUT_MS)
        return context

    def page(self, name: str, **more: Any) -> Page:
        return self.window(name, **more).new_page()

    def hub_log(self) -> str:
        return (self.portal.data / "log" / "hub.log").read_text()

    def picture(self, name: str, owner: str, path: str) -> None:
        """The page in both colours, narrow and wide; nothing hangs out of the window."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        for colours in ("light", "dark"):
            for width in (390, 1280):
                size = {"width": width, "height": 844}
                page = self.page(owner, color_scheme=colours, viewport=size)
                page.goto(self.portal.url + path, wait_until="load")
                expect(page.get_by_role("heading", level=1)).to_be_visible()
                assert int(page.evaluate("document.documentElement.scrollWidth")) <= width, (name, width)
                page.screenshot(path=SHOTS / f"queue-{name}-{colours}-{width}.png", full_page=True)
                page.context.close()


def made(folder: Path, chromium: Browser, **environment: str) -> Iterator[Site]:
    """Such a portal, from up to down."""
    clock, gate = folder / "clock", folder / "gate"
    clock.write_text("0")
    command = json.dumps([sys.executable, "-I", "-S", str(STUB), str(gate)])
    portal = make_portal(
        folder,
        DURE_CLOCK_FILE=str(clock),
        DURE_LOOK_INTERVAL_S="0.3",
        DURE_SERVER_COMMAND=command,
        **environment,
    )
    site = Site(portal, clock, gate, chromium)
    try:
        portal.up()
        for name in PEOPLE:
            portal.add_user(name)
        yield site
    finally:
        for client in site.clients.values():
            client.close()
        portal.down()
