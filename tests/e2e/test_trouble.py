"""GPUs in trouble, in a portal with real hub and processes: faults, maintenance, strangers, logs of leases."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from dure.wire.ids import new_id
from tests.e2e.portal import Portal, free_port, until
from tests.e2e.test_pages import SHOTS, log_in
from tests.support.short_portal import ShortPortal

pytestmark = pytest.mark.timeout(400)
STUB = Path(__file__).parents[1] / "support" / "stub_server.py"
WHOLE = "gpu-full"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A simulated DGX with small servers."""
    made = ShortPortal(
        tmp_path_factory.mktemp("trouble") / "data",
        free_port(),
        {
            "DURE_LANGUAGE": "en",
            "DURE_SIMULATED_FLEET": "dgx-h100",
            "DURE_LOOK_INTERVAL_S": "0.3",
            "DURE_SERVER_COMMAND": json.dumps([sys.executable, "-I", "-S", str(STUB)]),
        },
    )
    try:
        made.up()
        made.add_user("ana")
        made.add_user("root", "--admin")
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def ana(site: Portal) -> Iterator[httpx.Client]:
    with site.client("ana") as client:
        yield client


@pytest.fixture(scope="module")
def root(site: Portal) -> Portal:
    """The command line as an administrator's."""
    return replace_environment(site, DURE_URL=site.url, DURE_TOKEN=site.token("root"))


def replace_environment(site: Portal, **more: str) -> Portal:
    return replace(Portal(site.data, site.port), environment={**site.environment, **more})


@pytest.fixture(scope="module")
def cookies(chromium: Browser, site: Portal) -> Path:
    context = chromium.new_context(locale="en-US")
    log_in(context.new_page(), site, "ana")
    kept = site.data.parent / "ana-cookies.json"
    context.storage_state(path=kept)
    context.close()
    return kept


def window(chromium: Browser, cookies: Path, **more: Any) -> BrowserContext:
    context = chromium.new_context(**{"locale": "en-US", "storage_state": cookies, **more})
    context.set_default_timeout(30_000)
    return context


def break_gpus(site: Portal, what: dict[str, Any]) -> None:
    """What is wrong with the simulated fleet from now on, by UUID."""
    faults = site.data / "run" / "simulated-faults.json"
    faults.with_suffix(".new").write_text(json.dumps(what))
    faults.with_suffix(".new").replace(faults)


def states(root: Portal) -> dict[str, Any]:
    token, url = root.environment["DURE_TOKEN"], root.environment["DURE_URL"]
    answer = httpx.get(f"{url}/api/v1/devices", headers={"Authorization": f"Bearer {token}"}, timeout=60)
    return {one["uuid"]: one for one in answer.raise_for_status().json()}


def test_a_fault_maintenance_and_strangers_from_end_to_end(
    site: Portal, ana: httpx.Client, root: Portal, chromium: Browser, cookies: Path
) -> None:
    profiles = ana.get("/profiles").raise_for_status().json()
    whole = next(one["name"] for one in profiles if one["gpus"] == 1)
    asked = {"id": new_id(), "name": "mine", "profile": whole, "lifetime_s": 7200}
    ana.post("/environments", json=asked).raise_for_status()
    until(lambda: ana.get("/environments/mine").json()["phase"] == "running", "the server to run", timeout=120)
    lease = ana.get("/environments/mine").json()["lease"]
    held = lease["slices"][0]["device"]
    others = [uuid for uuid in states(root) if uuid != held]
    stranger = {"pid": 4711, "name": "python", "user": "ben", "memory_mb": 9000}
    break_gpus(site, {held: {"xid": 79}, others[0]: {"outside": [stranger]}})
    until(lambda: states(root)[held]["state"] == "unhealthy", "the fault to be seen", timeout=60)
    until(lambda: states(root)[others[0]]["state"] == "used_outside", "the stranger to be seen", timeout=60)
    server = ana.get("/environments/mine").json()
    assert "XID 79" in server["notice"]["en"]
    assert server["phase"] == "running", "there may be unsaved work in it"

    said = root.dure("device", "cordon", others[1], "--until", "2031-01-31T18:00+00:00", "--message", "new fans")
    assert "cordoned" in said
    assert "ten minutes" in root.dure(
        "device", "drain", others[2], "--until", "2026-01-01T00:00+00:00", check=False
    )
    assert "unhealthy" in root.dure("device", "list")
    offer = next(one for one in ana.get("/profiles").json() if one["name"] == whole)
    assert (offer["free"], offer["total"], offer["closed"], offer["closed_of"]) == (5, 8, 3, 8)

    pictures(site, chromium, cookies)
    ana.delete("/environments/mine").raise_for_status()
    until(lambda: ana.get("/environments/mine").json()["phase"] == "stopped", "the end of the server")
    costs = ana.get("/costs").json()
    (row,) = costs["uncharged"]
    assert (row["lease"], row["device"], row["code"]) == (lease["id"], held, "xid")
    assert 0 < costs["total"]["uncharged_hours"] < costs["total"]["hours"]

    own = replace_environment(site, DURE_URL=site.url, DURE_TOKEN=site.token("ana"))
    kept = site.data / "log" / "leases" / f"{lease['id']}.log"
    until(lambda: not (site.data / "run" / "server" / lease["id"]).exists(), "its folder to be gone")
    if kept.exists():
        assert own.dure("logs", "--lease", lease["id"]) == kept.read_text()
    assert own.dure("logs", "--lease", lease["id"]) == root.dure("logs", "--lease", lease["id"])

    break_gpus(site, {})
    root.dure("device", "uncordon", held)
    root.dure("device", "uncordon", others[1])
    until(lambda: {one["state"] for one in states(root).values()} == {"healthy"}, "all to be well", timeout=60)


def pictures(site: Portal, chromium: Browser, cookies: Path) -> None:
    """What people see, in both colours, narrow and wide; nothing hangs out of the window."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    for name, path, text in (
        ("spawn", "/services/dure/spawn", "3 of 8 in maintenance"),
        ("home", "/services/dure/", "A GPU of this has a fault."),
    ):
        for colours in ("light", "dark"):
            for width in (390, 1280):
                size = {"width": width, "height": 844}
                context = window(chromium, cookies, color_scheme=colours, viewport=size)
                page = context.new_page()
                page.goto(site.url + path, wait_until="load")
                expect(page.get_by_text(text).first).to_be_visible()
                assert int(page.evaluate("document.documentElement.scrollWidth")) <= width, (name, width)
                page.screenshot(path=SHOTS / f"trouble-{name}-{colours}-{width}.png", full_page=True)
                context.close()
