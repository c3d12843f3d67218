"""A team moves: a stock JupyterHub goes on beside the portal, in one browser, and its people come over."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.portal import Portal, make_portal
from tests.support.oldhub import running_old_hub

pytestmark = pytest.mark.timeout(900)
OLD_PASSWORD, WRONG = "the-old-password", "marker-of-a-wrong-password"


@dataclass
class Both:
    """The old hub's address, the portal, and the homes of the old hub."""

    old: str
    portal: Portal
    homes: Path
    secret: Path

    def bring(self, *words: str) -> str:
        """`dure import jupyterhub`."""
        homes = f"{self.homes}/{{username}}"
        words = ("import", "jupyterhub", self.old, "--secret-file", str(self.secret), "--homes", homes, *words)
        return self.portal.dure(*words, check=False)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Ana and ben are brought over from the old hub, which runs all the while; only ana had a home."""
    folder = tmp_path_factory.mktemp("move")
    secret, homes = folder / "token", folder / "home"
    secret.write_text(secrets.token_hex(16))
    secret.chmod(0o600)
    (homes / "ana").mkdir(parents=True)
    (homes / "ana" / "thesis.ipynb").write_text("{}")
    portal = make_portal(folder)
    with running_old_hub(folder / "old", secret.read_text()) as old:
        made = Both(old, portal, homes, secret)
        try:
            portal.up()
            portal.add_user("cho")
            yield made
        finally:
            portal.down()


def open_login(context: BrowserContext, address: str) -> Page:
    """A login page, not yet filled in."""
    page = context.new_page()
    page.goto(address)
    expect(page.locator("input[name=username]")).to_be_visible()
    return page


def send_login(page: Page, name: str, password: str) -> None:
    """Fill in and send."""
    page.locator("input[name=username]").fill(name)
    page.locator("input[type=password]").fill(password)
    page.locator("#login_submit").click()


def is_in(context: BrowserContext, both: Both) -> tuple[bool, bool]:
    """Whether this browser is logged in at the old hub, and here."""
    page = context.new_page()
    page.goto(f"{both.old}/hub/home")
    there = "/hub/home" in page.url
    page.goto(f"{both.portal.url}/services/dure/")
    here = page.url.startswith(f"{both.portal.url}/services/dure/")
    page.close()
    return there, here


def test_the_plan_is_told_while_both_run(both: Both) -> None:
    said = both.bring("--dry-run", "--json")
    found = {one["old"]: one for one in json.loads(said)}
    assert (found["ana"]["teams"], found["ana"]["home"], found["ana"]["outcome"]) == (
        ["speech", "vision"],
        "found",
        "bring",
    )
    assert found["ben"]["outcome"] == "no_home"
    assert found["root"]["admin"] is True
    assert "The portal is up" in both.bring("--copy")
    assert both.secret.read_text() not in said


def test_they_come_over_and_are_at_home(both: Both) -> None:
    portal = both.portal
    portal.down()
    said = both.bring("--copy", "--allow-empty", "ben")
    assert "ana: 1 files" in said
    assert "no home was found" in said, "root had none"
    portal.passwords["ana"] = f"anas-new-password-{portal.port}"
    portal.dure("user", "reset", "ana", "--password-stdin", feed=portal.passwords["ana"] + "\n")
    portal.up()
    assert (portal.data / "users" / "ana" / "thesis.ipynb").read_text() == "{}"
    with portal.client("ana") as ana:
        assert ana.get("/me").raise_for_status().json()["teams"] == ["speech", "vision"]


def test_two_hubs_in_one_browser_leave_each_other_alone(both: Both, chromium: Browser) -> None:
    portal = both.portal
    context = chromium.new_context(locale="en-US")
    context.set_default_timeout(60_000)
    # Both forms are open before either is sent: each keeps its own proof of where it came from.
    there = open_login(context, f"{both.old}/hub/login?next=/hub/home")
    here = open_login(context, f"{portal.url}/")
    send_login(there, "ana", OLD_PASSWORD)
    there.wait_for_url("**/hub/home")
    send_login(here, "ana", WRONG)
    expect(here.locator(".dure-bad")).to_be_visible()
    send_login(here, "ana", portal.passwords["ana"])
    here.wait_for_url("**/services/dure/**")
    for _ in range(2):
        assert is_in(context, both) == (True, True)

    context.new_page().goto(f"{both.old}/hub/logout")
    assert is_in(context, both) == (False, True)
    there = open_login(context, f"{both.old}/hub/login?next=/hub/home")
    send_login(there, "ana", OLD_PASSWORD)
    there.wait_for_url("**/hub/home")
    context.new_page().goto(f"{portal.url}/hub/logout")
    assert is_in(context, both) == (True, False)
    context.close()


def test_all_of_it_is_in_the_audit_and_no_secret_is(both: Both) -> None:
    portal = both.portal
    token = portal.token("admin")
    environment = {"DURE_URL": portal.url, "DURE_TOKEN": token}
    told = Portal(portal.data, portal.port, {**portal.environment, **environment})
    rows = [json.loads(line) for line in told.dure("audit", "--since", "1d").splitlines()]
    found = {(row["actor"], row["verb"], row["object"]) for row in rows}
    machine = next(row["actor"] for row in rows if row["verb"] == "import.person")
    assert machine.startswith("machine:")
    assert {
        (machine, "account.add", "user:cho"),
        (machine, "import.person", "user:ana"),
        (machine, "account.reset", "user:ana"),
        ("(unknown)", "login.fail", "user:ana"),
        ("ana", "login.ok", "user:ana"),
    } <= found
    assert [row for row in rows if row["verb"] == "token.mint"][-1]["actor"] == machine
    sheet = told.dure("audit", "--verb", "login.ok", "--actor", "ana", "--format", "csv").splitlines()
    assert sheet[0] == "seq,at,actor,on_behalf_of,verb,object,verdict,id"
    assert len(sheet) >= 2
    kept = b"".join(path.read_bytes() for path in sorted((portal.data / "db").glob("dure.sqlite*")))
    kept += b"".join(path.read_bytes() for path in sorted((portal.data / "log").rglob("*")) if path.is_file())
    for secret in (WRONG, token, *portal.passwords.values(), both.secret.read_text()):
        assert secret.encode() not in kept
