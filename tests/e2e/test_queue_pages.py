"""The queue in a browser: choosing, waiting, one's turn, the start, what is said of the end.

Real hub, small servers. The workstation's GPUs are simulated. Pictures of every page are kept in build/shots.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.portal import until
from tests.e2e.queue_site import HOLD_S, TIMEOUT_MS, WIDE, Site, made
from tests.e2e.test_pages import HOME, SHOTS

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def workstation(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Site]:
    """Few GPUs; whose turn comes, starts."""
    yield from made(tmp_path_factory.mktemp("queue"), chromium, DURE_SIMULATED_FLEET="workstation")


@pytest.fixture(scope="module")
def holding(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Site]:
    """The same, where a turn is held."""
    yield from made(
        tmp_path_factory.mktemp("hold"),
        chromium,
        DURE_SIMULATED_FLEET="workstation",
        DURE_TURN="hold",
        DURE_TURN_WAIT_S=str(HOLD_S),
    )


@pytest.fixture
def site(workstation: Site) -> Iterator[Site]:
    yield workstation
    workstation.clear()


def fill(site: Site, owner: str = "cho") -> list[str]:
    """Somebody takes every whole GPU; the names of the servers."""
    total = next(one["total"] for one in site.api(owner).get("/profiles").json() if one["name"] == WIDE)
    names = [f"g{number}" for number in range(total)]
    for name in names:
        site.ask(owner, name, WIDE)
    for name in names:
        site.is_in(owner, name, "running")
    return names


def goes_to(page: Page, path: str) -> None:
    page.wait_for_url(lambda url: re.sub(r"^https?://[^/]+", "", url).split("?")[0] == path, timeout=TIMEOUT_MS)


def wait_page(name: str) -> str:
    return f"{HOME}wait/{name}"


def card(page: Page, profile: str) -> Any:
    return page.locator(f"[data-profile='{profile}']")


def test_a_full_fleet_is_waited_for_in_line_and_then_opened(site: Site) -> None:
    names = fill(site)
    site.ask("ben", "before", WIDE)
    page = site.page("ana")
    page.goto(f"{site.portal.url}{HOME}spawn?name=mine&profile={WIDE}")
    expect(card(page, WIDE).locator("[data-free-now]")).to_have_text(f"0 of {len(names)}")
    expect(card(page, WIDE).locator("[data-start]")).to_contain_text("at the latest")
    expect(page.get_by_role("status")).to_contain_text("place 2 in line")
    page.get_by_role("button", name="Start").click()
    goes_to(page, wait_page("mine"))
    expect(page.locator("[data-position]")).to_have_text("2")
    expect(page.locator("[data-expected] time")).to_be_visible()
    expect(page.locator("#why")).to_contain_text("No room")
    site.picture("waiting", "ana", wait_page("mine"))

    site.stop("ben", "before")  # somebody before leaves: the page that is open says so by itself
    expect(page.locator("[data-position]")).to_have_text("1", timeout=TIMEOUT_MS)
    site.gate.touch()  # the server takes a while to answer, so that its start can be looked at
    site.stop("cho", names[0])
    expect(page.get_by_role("heading", level=1)).to_have_text("Your server is starting", timeout=TIMEOUT_MS)
    steps = page.locator("#steps li")
    expect(steps.filter(has_text="Its process has started.")).to_be_visible(timeout=TIMEOUT_MS)
    assert 0 < float(page.locator("#bar").get_attribute("value") or 0) < 100
    site.picture("starting", "ana", wait_page("mine"))
    site.gate.unlink()
    goes_to(page, "/user/ana/mine/")
    assert page.inner_text("body").strip() == "stub"
    page.context.close()


def test_a_place_in_line_is_given_up_by_one_click(site: Site) -> None:
    fill(site)
    site.ask("ana", "mine", WIDE)
    page = site.page("ana")
    page.goto(site.portal.url + wait_page("mine"))
    page.get_by_role("button", name="Cancel").click()
    goes_to(page, HOME)
    expect(page.locator("[data-server=mine]")).to_have_attribute("data-phase", "stopped")
    expect(page.locator("[data-receipt=mine]")).to_have_count(0)
    assert site.seen("ana", "mine")["phase"] == "stopped"
    page.context.close()


def test_what_is_free_instead_is_one_click_away(site: Site) -> None:
    names = fill(site)
    site.ask("ana", "mine", WIDE, project="cells")
    page = site.page("ana")
    page.goto(site.portal.url + wait_page("mine"))
    take = page.locator("#instead button")
    expect(take).to_be_visible(timeout=TIMEOUT_MS)
    site.picture("instead", "ana", wait_page("mine"))
    profile = site.seen("ana", "mine")["ticket"]["next_best"]
    expect(take).to_have_text(f"Start with {profile}")
    take.click()
    goes_to(page, "/user/ana/mine/")
    mine = site.seen("ana", "mine")
    assert (mine["profile"], mine["project"], mine["phase"]) == (profile, "cells", "running")
    assert site.seen("cho", names[0])["phase"] == "running"
    page.context.close()


def test_the_form_works_without_scripts_and_remembers_what_was_used(site: Site) -> None:
    page = site.page("ana", java_script_enabled=False)
    page.goto(f"{site.portal.url}{HOME}spawn?name=kept")
    card(page, WIDE).locator("label").click()
    page.get_by_label("Project").fill("cells")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(f"{site.portal.url}{wait_page('kept')}")
    site.is_in("ana", "kept", "running")
    site.stop("ana", "kept")
    site.is_in("ana", "kept", "stopped")
    page.goto(f"{site.portal.url}{HOME}spawn?name=kept")
    expect(page.locator("input[name=profile]:checked")).to_have_value(WIDE)
    expect(page.get_by_label("Project")).to_have_value("cells")
    expect(card(page, WIDE).locator("[data-start]")).to_have_text("now")
    expect(card(page, WIDE).locator("[data-left]")).to_have_text("no limit")
    expect(page.get_by_text("of this machine", exact=False).first).to_be_visible()
    page.context.close()


def test_the_cards_tell_the_quota_that_would_be_left(site: Site) -> None:
    with site.portal.client("admin") as root:
        limit = {"kind": "user", "name": "ana", "gpu_hours_month": 40}
        root.put("/quotas", json=limit).raise_for_status()
        page = site.page("ana")
        page.goto(f"{site.portal.url}{HOME}spawn")
        left = card(page, WIDE).locator("[data-left]")
        expect(left).to_contain_text(re.compile(r"you: 3\d(\.\d)? of 40 GPU-hours left"))
        site.picture("spawn", "ana", f"{HOME}spawn")
        root.put("/quotas", json={**limit, "gpu_hours_month": 4}).raise_for_status()
        expect(left).to_contain_text("GPU-hours over 4", timeout=TIMEOUT_MS)
        root.put("/quotas", json={**limit, "gpu_hours_month": 0}).raise_for_status()
        expect(card(page, WIDE).locator("[data-refusal]")).to_contain_text("no GPU-hours", timeout=TIMEOUT_MS)
        root.put("/quotas", json={"kind": "user", "name": "ana"}).raise_for_status()
        page.context.close()


@pytest.mark.parametrize("way", ["link", "button", "api"])
def test_a_start_through_the_hub_without_room_ends_on_the_sentence(site: Site, way: str) -> None:
    fill(site)
    page = site.page("ana")
    page.goto(f"{site.portal.url}{HOME}")  # the hub's own cookies are there from the login
    before = len(site.hub_log())
    if way == "api":
        page.goto(f"{site.portal.url}/hub/token")
        call = f"""fetch('/hub/api/users/ana/server', {{method: 'POST',
            headers: {{'X-XSRFToken': window.jhdata.xsrf_token, 'Content-Type': 'application/json'}},
            body: JSON.stringify({{user_options: {{profile: '{WIDE}'}}}})}})
            .then(async answer => [answer.status, await answer.text()])"""
        status, text = page.evaluate(call)
        assert status == 409, text
        said = json.loads(text)["message"]
    else:
        if way == "link":
            page.goto(f"{site.portal.url}/hub/spawn/ana?opt-profile={WIDE}", wait_until="commit")
        else:
            page.goto(f"{site.portal.url}/hub/token")
            token = page.evaluate("window.jhdata.xsrf_token")
            page.evaluate(
                f"""() => {{ const form = document.createElement('form'); form.method = 'post';
                form.action = '/hub/spawn/ana?_xsrf={token}'; const field = document.createElement('input');
                field.name = 'profile'; field.value = '{WIDE}'; form.append(field); document.body.append(form);
                form.submit(); }}"""
            )
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text(f"There is no {WIDE} free right now. You are number 1 in the queue.")
        said = alert.inner_text()
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"queue-hub-refusal-{way}.png", full_page=True)
        alert.get_by_role("link").click()
        goes_to(page, wait_page("default"))
        expect(page.locator("[data-position]")).to_have_text("1")
    assert said.startswith(f"There is no {WIDE} free right now."), said
    assert wait_page("default") in said
    assert site.seen("ana", "default")["phase"] == "waiting"
    log = site.hub_log()[before:]
    assert "Traceback" not in log, log[-4000:]
    assert "SpawnException" not in log, log[-4000:]
    page.context.close()


def test_a_start_that_fails_says_why_and_does_not_stick(site: Site, tmp_path: Path) -> None:
    with broken(site):
        site.ask("ana", "mine", "cpu")
        site.is_in("ana", "mine", "failed")
    page = site.page("ana")
    page.goto(site.portal.url + wait_page("mine"))
    expect(page.get_by_role("heading", level=1)).to_have_text("The server did not start")
    expect(page.locator(".notice.bad")).to_contain_text(re.compile("ended (with code 1 before|by itself)"))
    expect(page.locator("pre.log")).to_contain_text("No module named <nothing>")
    assert "Spawn" not in page.inner_text("main")
    site.picture("failed", "ana", wait_page("mine"))
    page.goto(f"{site.portal.url}/user/ana/mine/lab")  # the hub's own page about it
    expect(page.locator(".dure-bad")).to_contain_text("The server ended with code 1 before it answered.")
    page.screenshot(path=SHOTS / "queue-hub-failed.png", full_page=True)
    page.get_by_role("link", name="See why, and try again").click()
    goes_to(page, wait_page("mine"))
    page.goto(site.portal.url + HOME)
    expect(page.locator("[data-receipt=mine]")).to_contain_text("ended with code 1")
    site.picture("receipts", "ana", HOME)
    page.goto(site.portal.url + wait_page("mine"))
    page.get_by_role("button", name="Try again").click()
    goes_to(page, "/user/ana/mine/")
    assert site.seen("ana", "mine")["log_end"] is None
    page.context.close()


def broken(site: Site) -> Any:
    """For as long as this lasts, servers end at once with a sentence in their log."""
    return Broken(site)


class Broken:
    """A file beside the gate says so, and what the log is to say."""

    def __init__(self, site: Site) -> None:
        self.mark = site.gate.with_name(site.gate.name + ".broken")

    def __enter__(self) -> None:
        self.mark.write_text("No module named <nothing>")

    def __exit__(self, *_: object) -> None:
        self.mark.unlink()


def test_the_end_is_told_on_the_home_page_until_it_is_put_away(site: Site) -> None:
    site.ask("ana", "mine", "cpu")
    site.is_in("ana", "mine", "running")
    with site.portal.client("admin") as root:
        root.delete("/environments/mine?owner=ana&now=true&reason=the disk is full").raise_for_status()
    site.is_in("ana", "mine", "stopped")
    page = site.page("ana")
    page.goto(site.portal.url + HOME)
    receipt = page.locator("[data-receipt=mine]")
    expect(receipt).to_contain_text("An administrator stopped it (admin: the disk is full)")
    receipt.get_by_role("button", name="Start it again").click()
    goes_to(page, "/user/ana/mine/")
    site.stop("ana", "mine")
    site.is_in("ana", "mine", "stopped")
    page.goto(site.portal.url + HOME)
    page.locator("[data-receipt=mine]").get_by_role("button", name="Dismiss").click()
    goes_to(page, HOME)
    expect(page.locator("[data-server=mine]")).to_be_visible()
    expect(page.locator("[data-receipt=mine]")).to_have_count(0)
    page.context.close()


def test_all_of_it_is_said_in_korean(site: Site) -> None:
    fill(site)
    page = site.page("ana", locale="ko-KR")
    page.goto(f"{site.portal.url}{HOME}spawn?profile={WIDE}")
    expect(card(page, WIDE).locator("[data-start]")).to_contain_text("늦어도")
    page.screenshot(path=SHOTS / "queue-spawn-ko.png", full_page=True)
    page.get_by_role("button", name="시작").click()
    goes_to(page, wait_page("default"))
    expect(page.locator("#why")).to_contain_text("자리 없음")
    expect(page.get_by_role("button", name="취소")).to_be_visible()
    english = [word for word in ("Waiting", "Place", "Cancel", "free now") if word in page.inner_text("main")]
    assert english == []
    page.screenshot(path=SHOTS / "queue-waiting-ko.png", full_page=True)
    page.context.close()


def test_who_closes_the_browser_keeps_the_place_through_restarts(site: Site) -> None:
    names = fill(site)
    for owner in ("ana", "ben"):
        site.ask(owner, "mine", WIDE)

    def places() -> dict[int, str]:
        return {site.seen(owner, "mine")["ticket"]["position"]: owner for owner in ("ana", "ben")}

    line = places()  # whoever has had less lately is first
    assert sorted(line) == [1, 2]
    for service in ("hub", "portal"):
        process = site.portal.service(service)
        process.kill()
        until(lambda s=service, p=process.pid: site.portal.pid(s) != p, f"a new {service}", every=0.2)  # type: ignore[misc]
        until(lambda: answers(site, places), f"{service} to answer", every=0.3)
        assert places() == line
    site.stop("cho", names[0])
    site.is_in(line[1], "mine", "running")
    assert site.seen(line[2], "mine")["ticket"]["position"] == 1


def answers(site: Site, look: Callable[[], Any]) -> bool:
    try:
        look()
    except (httpx.HTTPError, KeyError, TypeError):
        return False
    return True


def test_a_turn_is_held_taken_and_passed_on(holding: Site) -> None:
    names = fill(holding)
    holding.ask("ana", "mine", WIDE)
    holding.ask("ben", "mine", WIDE)
    page, bens = holding.page("ana"), holding.page("ben")
    page.goto(holding.portal.url + wait_page("mine"))
    expect(page.get_by_role("status")).to_contain_text("a place is held for you for 15 minutes")
    bens.goto(holding.portal.url + wait_page("mine"))
    holding.stop("cho", names[0])
    expect(page.get_by_role("heading", level=1)).to_have_text("It is your turn", timeout=TIMEOUT_MS)
    expect(bens.get_by_role("heading", level=1)).to_contain_text("Waiting for a free")
    holding.picture("held", "ana", wait_page("mine"))
    with_home = holding.page("ana")
    with_home.goto(holding.portal.url + HOME)
    expect(with_home.locator("[data-server=mine]").get_by_role("button", name="Start now")).to_be_visible()
    with_home.context.close()
    assert "/hub/api/users/ana/server" not in holding.hub_log(), "no start of the hub's is held by who waits"

    holding.clock.write_text(str(HOLD_S + 5))
    expect(page.get_by_role("heading", level=1)).to_have_text("This server is stopped", timeout=TIMEOUT_MS)
    expect(page.locator(".notice")).to_contain_text("its place went to the next")
    holding.picture("passed", "ana", wait_page("mine"))
    expect(bens.get_by_role("heading", level=1)).to_have_text("It is your turn", timeout=TIMEOUT_MS)
    bens.get_by_role("button", name="Start now").click()
    goes_to(bens, "/user/ben/mine/")
    assert "/hub/api/users/ben/servers/mine" in holding.hub_log()
    page.get_by_role("button", name="Ask again").click()
    goes_to(page, wait_page("mine"))
    expect(page.locator("[data-position]")).to_have_text("1")
    holding.clear()
    for one in (page, bens):
        one.context.close()


def test_the_time_follows_the_profile_until_somebody_chooses_it(site: Site) -> None:
    page = site.page("ana")
    page.goto(f"{site.portal.url}{HOME}spawn?name=timed&profile=cpu")
    time = page.get_by_label("Time", exact=True)
    expect(time).to_have_value(str(8 * 3600))
    card(page, WIDE).locator("label").click()
    expect(time).to_have_value(str(4 * 3600))
    expect(time.locator("option:not([hidden])").last).to_have_attribute("value", str(12 * 3600))
    card(page, "cpu").locator("label").click()
    expect(time).to_have_value(str(8 * 3600))
    time.select_option(str(24 * 3600))
    card(page, WIDE).locator("label").click()
    expect(time).to_have_value(str(12 * 3600))
    page.context.close()


def test_a_stop_at_the_hub_itself_has_the_server_save_once_and_says_where_it_came_from(site: Site) -> None:
    says, asked = site.gate.with_name("gate.before-stop"), site.gate.with_name("gate.asked")
    said = {"saved": ["thesis.ipynb"], "failed": [], "pages": 1, "silent": 0, "hook": None}
    says.write_text(f"200\n{json.dumps(said)}")
    try:
        for name in ("mine", "other"):
            site.ask("ana", name, "cpu")
            site.is_in("ana", name, "running")
        secret = (site.portal.data / "secrets" / "portal-token").read_text().strip()
        address = f"{site.portal.url}/hub/api/users/ana/servers/mine"
        httpx.delete(address, headers={"Authorization": f"token {secret}"}, timeout=60).raise_for_status()
        site.is_in("ana", "mine", "stopped")
        assert asked.read_text().replace(" ", "").count('"reason":"stopped_on_hub"') == 1
        site.stop("ana", "other")  # the portal's own stop goes through the hub, too
        site.is_in("ana", "other", "stopped")
        _, line = asked.read_text().splitlines()
        assert '"reason":"asked"' in line.replace(" ", "")
    finally:
        says.unlink()
    page = site.page("ana")
    page.goto(site.portal.url + HOME)
    receipt = page.locator("[data-receipt=mine]")
    expect(receipt).to_contain_text("It was stopped on the hub's own page, or by its API.")
    expect(receipt).to_contain_text("thesis.ipynb")
    site.picture("stopped-on-hub", "ana", HOME)
    receipt.get_by_role("button", name="Dismiss").click()
    page.context.close()
