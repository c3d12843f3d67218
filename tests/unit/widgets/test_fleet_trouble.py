"""The fleet view of GPUs that are kept from people."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from dure_widgets import FleetView
from tests.e2e.test_pages import SHOTS
from tests.unit.widgets.pages import change, paint

HOLDER = {
    "lease": "l",
    "owner": "ana",
    "purpose": "notebook",
    "subject": "ana/default",
    "profile": "gpu-full",
    "since": "2026-03-02T08:00:00Z",
    "until": "2026-03-02T19:00:00Z",
    "cpu_cores": 4,
    "memory_mb": 8192,
}
STRANGER = {"pid": 4711, "name": "python", "user": "ben", "memory_mb": 9216}


def device(number: int, state: str, **more: Any) -> dict[str, Any]:
    row = {"uuid": f"GPU-{number}", "name": "NVIDIA H100 80GB HBM3", "memory_mb": 81559, "holders": []}
    return {**row, "state": state, "since": None if state == "healthy" else "2026-03-02T08:30:00Z", **more}


DEVICES = [
    device(0, "healthy", memory_used_mb=2048, utilisation=0.4, temperature_c=41, power_w=120),
    device(
        1,
        "unhealthy",
        holders=[HOLDER],
        health={"en": "The driver reported XID 79: the GPU has fallen off the bus.", "ko": "XID 79"},
    ),
    device(2, "cordoned", until="2026-03-03T09:00:00Z", message="new fans"),
    device(3, "draining", until="2026-03-02T18:00:00Z", message="new fans", holders=[HOLDER]),
    device(4, "used_outside", outsiders=[STRANGER], health={"en": "Used outside Dure, by one.", "ko": "외부"}),
]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_gpu_that_is_kept_back_says_why_since_when_and_until_when(page: Page, colours: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.set_content(
        f"<!doctype html><body data-jp-theme-light={'true' if colours == 'light' else 'false'} "
        f"style='background:{'#fff' if colours == 'light' else '#111'}'></body>"
    )
    panel = FleetView(bind=False, language="en")
    fleet = {"at": "2026-03-02T09:00:00Z", "cpu_cores": 8, "memory_mb": 16384, "holders": []}
    panel.show(fleet={**fleet, "devices": DEVICES})
    paint(page, panel)
    cards = page.locator(".dure-device")
    expect(cards.nth(0).get_by_text("free", exact=True)).to_be_visible()
    expect(cards.nth(1).get_by_text("unhealthy")).to_be_visible()
    expect(cards.nth(1).get_by_text("XID 79")).to_be_visible()
    expect(cards.nth(2).get_by_text("in maintenance")).to_be_visible()
    expect(cards.nth(2).get_by_text("back by")).to_be_visible()
    expect(cards.nth(2).get_by_text("new fans")).to_be_visible()
    expect(cards.nth(3).get_by_text("being cleared")).to_be_visible()
    expect(cards.nth(4).get_by_text("used outside Dure", exact=True)).to_be_visible()
    expect(cards.nth(4).get_by_text("python (ben, PID 4711, 9 GiB)")).to_be_visible()
    assert int(page.evaluate("document.documentElement.scrollWidth")) <= width
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"trouble-fleet-{colours}-{width}.png", full_page=True)
    change(page, fleet={**fleet, "devices": [device(1, "healthy"), *DEVICES[2:]]})
    expect(page.get_by_text("XID 79")).to_have_count(0)
    expect(page.get_by_text("unhealthy")).to_have_count(0)
