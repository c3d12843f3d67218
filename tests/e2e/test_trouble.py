"""Trouble in a whole portal: GPUs with a fault, in maintenance, used by others; a full disk; logs of what is gone.

The workstation's two GPUs are simulated, and so is what is wrong with them. People's servers are small.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from dure.wire.ids import new_id
from dure_hub.backends.embedded.simulatedfaults import FILE
from tests.e2e.portal import Portal, until
from tests.e2e.queue_site import WIDE, Site, made
from tests.e2e.test_pages import HOME

pytestmark = pytest.mark.timeout(400)
HOUR = 3600
SEEN_S = 60
"""Two looks at the GPUs, five seconds apart, on a machine with much else to do."""
FLEET = "/services/dashboards/voila/render/fleet.ipynb"


class Ward:
    """The portal, its GPUs, and who looks after them."""

    def __init__(self, site: Site) -> None:
        self.site, self.moved_s = site, 0
        self.portal = site.portal
        self.faults = site.portal.data / "run" / FILE
        token = site.portal.token("admin")
        environment = {"DURE_LANGUAGE": "en", "DURE_URL": site.portal.url, "DURE_TOKEN": token}
        self.admin: Portal = replace(site.portal, environment=environment)

    def now(self) -> datetime:
        """The portal's time."""
        return datetime.now(UTC) + timedelta(seconds=self.moved_s)

    def move(self, seconds: int) -> None:
        """Let the portal's time leap."""
        self.moved_s += seconds
        self.site.clock.write_text(str(self.moved_s))

    def hurt(self, faults: Mapping[str, Mapping[str, Any]]) -> None:
        """What is wrong with GPUs from now on, by their UUIDs; no word is nothing."""
        new = self.faults.with_suffix(".new")
        new.write_text(json.dumps(faults))
        at = self.now().timestamp()
        os.utime(new, (at, at))  # it is when an XID happened
        new.replace(self.faults)

    def devices(self) -> dict[str, dict[str, Any]]:
        """All GPUs, as administrators see them."""
        found = self.site.api("admin").get("/devices").raise_for_status().json()
        return {one["uuid"]: one for one in found}

    def is_in(self, uuid: str, state: str) -> dict[str, Any]:
        """Until a GPU is in this state; what is said of it."""
        until(lambda: self.devices()[uuid]["state"] == state, lambda: f"{state}: {self.devices()[uuid]}", SEEN_S)
        return self.devices()[uuid]

    def runs(self, owner: str, name: str) -> str:
        """Start a server with a GPU; the GPU's UUID."""
        self.site.ask(owner, name, WIDE, lifetime_s=8 * HOUR)
        self.site.is_in(owner, name, "running")
        return str(self.site.seen(owner, name)["lease"]["slices"][0]["device"])

    def waits(self, owner: str, name: str) -> None:
        """It waits for room, whoever has looked meanwhile, and says why."""
        found = self.site.seen(owner, name)
        assert (found["phase"], found["ticket"]["waits_for"]) == ("waiting", "room"), found
        assert "GPU" in found["ticket"]["why"]["en"]

    def cost(self, owner: str) -> tuple[int, float]:
        """What their servers came to, and the hours that cost nothing; also where a month ends meanwhile."""
        window = {"by": "user", "from": (datetime.now(UTC) - timedelta(days=1)).isoformat()}
        (mine,) = self.site.api(owner).get("/costs", params=window).raise_for_status().json()["lines"]
        return mine["cost"], mine["uncharged_hours"]

    def notice(self, owner: str, code: str, about: str) -> str:
        """Until this person has such a notice; its text."""

        def texts() -> list[str]:
            found = self.site.api(owner).get("/me/notices").raise_for_status().json()
            return [one["text"]["en"] for one in found if one["code"] == code and about in json.dumps(one)]

        return until(texts, f"{owner}'s notice {code} of {about}", SEEN_S)[0]

    def heal(self) -> None:
        """Nothing is wrong, and everything is granted."""
        self.faults.unlink(missing_ok=True)
        for uuid, device in self.devices().items():
            if device["state"] != "healthy":
                self.admin.dure("device", "uncordon", uuid)
        self.site.clear()
        until(lambda: {one["state"] for one in self.devices().values()} == {"healthy"}, "healthy GPUs", SEEN_S)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Ward]:
    """A workstation with two GPUs."""
    for site in made(tmp_path_factory.mktemp("trouble"), chromium, DURE_SIMULATED_FLEET="workstation"):
        yield Ward(site)


@pytest.fixture
def ward(home: Ward) -> Iterator[Ward]:
    """All of it healthy, before and after."""
    assert len(home.devices()) == 2
    yield home
    home.heal()


@pytest.mark.parametrize("fault", [{"lost": True}, {"xid": 79}], ids=["lost", "xid"])
def test_a_fault_closes_a_gpu_is_told_to_who_holds_it_and_costs_nothing(ward: Ward, fault: Any) -> None:
    site, (code,) = ward.site, fault
    sick = ward.runs("ana", "mine")
    well = ward.runs("cho", "other")
    assert sick != well
    ward.hurt({sick: fault})
    told = ward.is_in(sick, "unhealthy")
    assert (told["code"], ward.devices()[well]["state"]) == (code, "healthy")
    (shown,) = [one for one in site.api("admin").get("/fleet").json()["devices"] if one["uuid"] == sick]
    assert (shown["state"], [one["owner"] for one in shown["holders"]]) == ("unhealthy", ["ana"])
    words = "no longer finds this GPU" if code == "lost" else "XID 79"
    assert words in shown["health"]["en"]

    assert words in ward.notice("ana", "device_unhealthy", sick)
    assert site.seen("ana", "mine")["phase"] == "running", "there is unsaved work in it"
    page = site.page("ana")
    page.goto(site.portal.url + HOME)
    expect(page.locator("[data-server=mine] .notice")).to_contain_text(words)
    expect(page.locator("[data-server=mine] .notice")).to_contain_text("not charged")
    page.context.close()

    before = {name: ward.cost(name) for name in ("ana", "cho")}
    assert before["cho"][1] == 0
    ward.move(HOUR)
    after = {name: ward.cost(name) for name in ("ana", "cho")}
    assert after["ana"][0] == before["ana"][0], "nothing is charged after the fault"
    assert after["ana"][1] - before["ana"][1] == pytest.approx(1, abs=0.05)
    assert after["cho"][0] - before["cho"][0] >= 2_000_000, "an hour of the other one is"

    site.ask("ben", "waits", WIDE)
    ward.waits("ben", "waits")
    site.stop("ana", "mine")
    site.is_in("ana", "mine", "stopped")
    ward.waits("ben", "waits")
    ward.faults.unlink()
    assert ward.is_in(sick, "unhealthy"), "that a driver finds it again does not mean that it is well"
    ward.waits("ben", "waits")
    assert "healthy" in ward.admin.dure("device", "uncordon", sick)
    site.is_in("ben", "waits", "running")
    assert site.seen("ben", "waits")["lease"]["slices"][0]["device"] == sick


def test_what_is_in_maintenance_is_granted_to_nobody_and_its_message_is_read_before_a_start(ward: Ward) -> None:
    site = ward.site
    held = ward.runs("ana", "mine")
    (free,) = set(ward.devices()) - {held}
    words = ("--until", "2031-01-31T18:00+09:00", "--message", "new fans")
    for uuid in (held, free):
        assert "cordoned" in ward.admin.dure("device", "cordon", uuid, *words)
    assert "new fans" in ward.admin.dure("device", "list")
    page = site.page("ben", timezone_id="Asia/Seoul")
    page.goto(f"{site.portal.url}{HOME}spawn")
    card = page.locator(f"[data-profile='{WIDE}']")
    expect(card).to_contain_text("2 of 2")
    expect(card).to_contain_text("2 in maintenance until")
    expect(card).to_contain_text("new fans")
    expect(card.locator("time[datetime='2031-01-31T09:00:00Z']")).to_contain_text("6:00")
    page.context.close()
    site.ask("ben", "waits", WIDE)
    ward.waits("ben", "waits")
    assert site.seen("ana", "mine")["phase"] == "running", "who holds it goes on"
    assert "healthy" in ward.admin.dure("device", "uncordon", free)
    site.is_in("ben", "waits", "running")


def test_a_drain_warns_who_holds_the_gpu_and_ends_what_runs_on_it_at_its_time(ward: Ward) -> None:
    site = ward.site
    held = ward.runs("ana", "mine")
    until_before = site.seen("ana", "mine")["lease"]["until"]
    soon = (ward.now() + timedelta(minutes=2)).isoformat()
    assert "less than ten minutes" in ward.admin.dure("device", "drain", held, "--until", soon, check=False)
    assert site.seen("ana", "mine")["lease"]["until"] == until_before
    assert "draining" in ward.admin.dure("device", "drain", held, "--message", "new fans")
    seen = site.seen("ana", "mine")
    end = datetime.fromisoformat(seen["lease"]["until"])
    assert timedelta(minutes=8) < end - ward.now() <= timedelta(minutes=10)
    assert "new fans" in seen["notice"]["en"]
    page = site.page("ana")
    page.goto(site.portal.url + HOME)
    expect(page.locator("[data-server=mine] .notice")).to_contain_text("cleared for maintenance")
    expect(page.locator("[data-server=mine] .notice")).to_contain_text("new fans")
    page.context.close()
    later = {"until": (end + timedelta(hours=1)).isoformat()}
    assert site.api("ana").post("/environments/mine/extend", json=later).status_code == 409
    assert site.seen("ana", "mine")["phase"] == "running"
    ward.move(11 * 60)
    site.is_in("ana", "mine", "stopped")
    assert "maintenance" in site.seen("ana", "mine")["reason"]
    ward.is_in(held, "drained")
    assert "healthy" in ward.admin.dure("device", "uncordon", held)


def test_a_gpu_that_something_else_uses_is_granted_to_nobody_and_the_fleet_page_says_by_what(ward: Ward) -> None:
    site = ward.site
    sick = ward.runs("ana", "mine")
    (used,) = set(ward.devices()) - {sick}
    stranger = {"pid": 4711, "name": "blender", "user": "zoe", "memory_mb": 9216}
    ward.hurt({used: {"outside": [stranger]}, sick: {"xid": 79}})
    told = ward.is_in(used, "used_outside")
    assert [one["name"] for one in told["outsiders"]] == ["blender"]
    ward.is_in(sick, "unhealthy")
    site.ask("ben", "waits", WIDE)
    ward.waits("ben", "waits")
    page = site.page("admin")
    page.goto(site.portal.url + FLEET)
    cards = page.locator(".dure-device")
    expect(cards.filter(has_text="used outside Dure")).to_contain_text("blender (zoe, PID 4711", timeout=90_000)
    expect(cards.filter(has_text="unhealthy")).to_contain_text("XID 79")
    page.context.close()
    ward.hurt({sick: {"xid": 79}})  # what used it has ended
    site.is_in("ben", "waits", "running")
    assert site.seen("ben", "waits")["lease"]["slices"][0]["device"] == used


def test_the_log_of_a_lease_is_read_after_its_server_is_gone(ward: Ward) -> None:
    site = ward.site
    broken = Path(f"{site.gate}.broken")
    broken.write_text("this is why it broke\n")
    try:
        site.ask("ana", "mine", "cpu")
        site.is_in("ana", "mine", "failed")
    finally:
        broken.unlink()
    happened = site.api("admin").get("/events").raise_for_status().json()
    lease = next(one["object"] for one in happened if one["verb"] == "lease.grant").removeprefix("lease:")
    record = site.portal.data / "run" / "server" / lease
    until(lambda: not record.exists(), "its folder to be gone")
    own = {**ward.admin.environment, "DURE_TOKEN": site.portal.token("ana")}
    assert "this is why it broke" in replace(site.portal, environment=own).dure("logs", "--lease", lease)
    others = {**own, "DURE_TOKEN": site.portal.token("ben")}
    said = replace(site.portal, environment=others).dure("logs", "--lease", lease, check=False)
    assert "broke" not in said
    assert lease in said


def test_with_a_disk_that_is_too_full_nothing_starts_and_stops_and_the_ledger_work(ward: Ward) -> None:
    """The limit is moved, not the disk: the portal is restarted under its people with a higher one."""
    if shutil.disk_usage(ward.portal.data).free >= 0.9 * shutil.disk_usage(ward.portal.data).total:
        pytest.skip("this disk is emptier than any limit can ask for")
    site = ward.site
    ward.runs("ana", "mine")
    with (ward.portal.data / "users" / "ana" / "large").open("wb") as large:
        os.posix_fallocate(large.fileno(), 0, 200 << 20)
    restart(ward, DURE_DISK_MINIMUM_PERCENT="90")
    try:
        refused = ask(ward)
        assert (refused.status_code, refused.json()["error"]["code"]) == (507, "disk_low"), refused.text
        until(lambda: "Largest: users/ 200 MiB" in ask(ward).text, lambda: f"folders in {ask(ward).text}")
        shown = ward.admin.dure("disk")
        assert "Nothing new starts now." in shown
        assert "users/ana" in shown
        page = site.page("ben")
        page.goto(f"{site.portal.url}{HOME}spawn")
        expect(page.get_by_role("status").first).to_contain_text("Nothing new starts until there is room")
        page.context.close()
        assert site.seen("ana", "mine")["phase"] == "running"
        ward.move(HOUR)
        before = ward.cost("ana")
        site.stop("ana", "mine")
        site.is_in("ana", "mine", "stopped")
        assert ward.cost("ana")[0] >= before[0] > 2_000_000
    finally:
        restart(ward)
    ward.runs("ben", "default")


def ask(ward: Ward) -> httpx.Response:
    """Ben asks for a small server."""
    body = {"id": new_id(), "name": "small", "profile": "cpu"}
    return ward.site.api("ben").post("/environments", json=body)


def restart(ward: Ward, **environment: str) -> None:
    """As a service manager does: people's work runs on."""
    supervisor = ward.portal.service("supervisor")
    supervisor.send_signal(signal.SIGUSR1)
    until(lambda: not supervisor.is_running() or supervisor.status() == "zombie", "the supervisor's end")
    replace(ward.portal, environment={**ward.portal.environment, **environment}).up()
