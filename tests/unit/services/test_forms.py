"""The pages' forms work without any script."""

from __future__ import annotations

import re
from html import unescape

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.wire.environments import EnvironmentRequest
from dure.wire.ids import new_id
from dure.wire.money import QuotaRequest
from dure_hub.operations import Operations, Person, environment_rows
from dure_hub.operations.people import USE
from dure_hub.services.places import API, BASE, HOME
from dure_hub.store.models import Environment, Lease
from tests.unit.services.conftest import Browser, bearer
from tests.unit.services.stub_hub import StubHub

ANA = Person("ana", False, frozenset({USE}))


def fields(page: str) -> dict[str, str]:
    """What the form on a page would send: its fields as they were filled in by us."""
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    found |= dict(re.findall(r'<input id="\w+" name="(\w+)" value="([^"]*)"', page))
    checked = re.search(r'name="(\w+)" id="[\w-]+" value="([^"]+)"[^>]* checked', page)
    selected = re.search(r'<option value="(\d+)" selected', page)
    found |= {checked[1]: checked[2]} if checked else {}
    found |= {"lifetime_s": selected[1]} if selected else {}
    return {name: unescape(value) for name, value in found.items()}


async def test_from_the_form_to_the_waiting_page_to_stop(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser
) -> None:
    form = await anyone.get(f"{BASE}/spawn", headers=ana.navigate())
    sent = fields(form.text)
    assert sent["profile"] == "cpu"
    assert sent["lifetime_s"] == str(ops.settings.default_lifetime_s)
    answer = await anyone.post(f"{BASE}/spawn", data=sent, headers=ana.navigate())
    assert (answer.status_code, answer.headers["location"]) == (303, f"{BASE}/wait/default")
    assert (await anyone.post(f"{BASE}/spawn", data=sent, headers=ana.navigate())).status_code == 303
    assert len(await ops.environments.list(ANA)) == 1

    page = await anyone.get(f"{BASE}/wait/default", headers=ana.navigate())
    assert "Your server is starting" in page.text
    assert 'aria-live="polite"' in page.text
    stopped = await anyone.post(f"{BASE}/wait/default/stop", data=fields(page.text), headers=ana.navigate())
    assert (stopped.status_code, stopped.headers["location"]) == (303, HOME)
    server = await ops.environments.get(ANA, "default")
    assert server.phase in ("stopping", "stopped")
    page = await anyone.get(f"{BASE}/wait/default", headers=ana.navigate())
    assert re.search(r"<title>(Stopping default|default is stopped) · Dure</title>", page.text)


async def test_a_server_that_runs_is_gone_straight_on_to(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser
) -> None:
    form = await anyone.get(f"{BASE}/spawn?name=mine", headers=ana.navigate())
    await anyone.post(f"{BASE}/spawn", data=fields(form.text), headers=ana.navigate())

    def runs(session: object) -> None:
        for row in session.query(Environment):  # type: ignore[attr-defined]
            row.phase = "running"

    await ops.store.run(runs)
    answer = await anyone.get(f"{BASE}/wait/mine", headers=ana.navigate())
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/user/ana/mine/")


async def test_a_mistake_comes_back_with_the_form_as_it_was(anyone: httpx.AsyncClient, ana: Browser) -> None:
    sent = fields((await anyone.get(f"{BASE}/spawn", headers=ana.navigate())).text)
    for change, words in (
        ({"name": "My Server"}, "must match"),
        ({"profile": "gold"}, "no profile named gold"),
        ({"image": "gold"}, "There is no image named gold. This portal offers: python."),
        ({"project": "My Project"}, "must match"),
        ({"lifetime_s": "999999"}, "999999 s is not possible"),
        ({"lifetime_s": "9" * 5000}, "too many digits"),
    ):
        answer = await anyone.post(f"{BASE}/spawn", data={**sent, **change}, headers=ana.navigate())
        assert answer.status_code == 422
        assert words in answer.text
        assert fields(answer.text)["csrf"] == ana.csrf
    assert (
        'value="My Server"'
        in (await anyone.post(f"{BASE}/spawn", data={**sent, "name": "My Server"}, headers=ana.navigate())).text
    )


def member(hub: StubHub, name: str, *teams: str) -> dict[str, str]:
    """Headers of somebody in these teams, who opens pages."""
    token = hub.person(name)
    hub.tokens[token]["groups"] = list(teams)
    return {**bearer(token), "Accept": "text/html"}


async def test_the_form_offers_no_more_time_than_the_team_may_have_and_says_so(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub
) -> None:
    root, ana = Person("root", admin=True), member(hub, "ana", "vision")
    await ops.quotas.put(root, QuotaRequest(kind="team", name="vision", max_lifetime_s=5400))
    page = (await anyone.get(f"{BASE}/spawn", headers=ana)).text
    assert re.findall(r'<option value="(\d+)"', page) == ["1800", "3600", "5400"]
    assert fields(page)["lifetime_s"] == "5400"
    assert 'data-longest="5400"' in page
    assert re.search(r'id="lifetime-note"[^>]*>Servers of the team vision run for 90 minutes at most\.<', page)
    refused = await anyone.post(f"{BASE}/spawn", data={**fields(page), "lifetime_s": "7200"}, headers=ana)
    assert refused.status_code == 422
    assert "servers of the team vision run for 5400 s at most" in refused.text
    both = member(hub, "ben", "vision", "speech")
    page = (await anyone.get(f"{BASE}/spawn", headers=both)).text
    assert re.search(r'id="lifetime-note"[^>]* hidden', page), "it is not known yet who pays"
    assert re.findall(r'<option value="(\d+)"', page)[-1] == str(ops.settings.max_lifetime_s)


async def test_a_form_without_the_secret_changes_nothing(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser
) -> None:
    sent = fields((await anyone.get(f"{BASE}/spawn", headers=ana.navigate())).text)
    for secret in ("", "guess", ana.csrf[:-1], ana.csrf + "é"):
        answer = await anyone.post(f"{BASE}/spawn", data={**sent, "csrf": secret}, headers=ana.navigate())
        assert answer.status_code == 403
    assert await ops.environments.list(ANA) == []


async def test_a_full_machine_leaves_a_ticket_and_shows_its_place(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, ana: Browser
) -> None:
    free = (await ops.profiles.list(ANA))[-1].free
    assert free is not None
    ben = bearer(hub.person("ben"))
    for number in range(free + 1):
        form = await anyone.get(f"{BASE}/spawn?name=n{number}", headers=ben)
        sent = {**fields(form.text), "profile": "cpu"}
        assert (await anyone.post(f"{BASE}/spawn", data=sent, headers=ben)).status_code == 303
    page = await anyone.get(f"{BASE}/wait/n{free}", headers={**ben, "Accept": "text/html"})
    assert "Waiting for a free cpu" in page.text
    assert re.search(r"<dd data-position>1</dd>", page.text)
    assert re.search(r"data-expected><time datetime=", page.text)
    shown = (await anyone.get(f"{BASE}/spawn", headers=ana.navigate())).text
    assert f"0 of {free}" in shown
    cancelled = await anyone.post(f"{BASE}/wait/n{free}/stop", data=fields(page.text), headers=ben)
    assert cancelled.status_code == 303
    assert (await anyone.get(f"{API}/environments/n{free}", headers=ben)).json()["phase"] == "stopped"


@pytest.fixture
async def waits(ops: Operations) -> str:
    """The name of a server of ana's that waits, on a machine whose only profile is full."""
    free = (await ops.profiles.get("cpu")).free
    assert free is not None
    for number in range(free + 1):
        await ops.environments.request(ANA, EnvironmentRequest(id=new_id(), name=f"n{number}", profile="cpu"))
    assert (await ops.environments.get(ANA, f"n{free}")).phase == "waiting"
    return f"n{free}"


async def test_another_profile_is_looked_at_before_the_place_in_line_is_given_up(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, waits: str
) -> None:
    sent = {"csrf": ana.csrf, "id": new_id(), "profile": "gold"}
    answer = await anyone.post(f"{BASE}/wait/{waits}/instead", data=sent, headers=ana.navigate())
    assert (answer.status_code, "no profile named gold" in answer.text) == (422, True)
    server = await ops.environments.get(ANA, waits)
    assert server.ticket is not None
    assert server.ticket.position == 1


async def test_another_profile_takes_the_place_of_the_ticket_once(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, waits: str
) -> None:
    sent = {"csrf": ana.csrf, "id": new_id(), "profile": "cpu"}
    for _ in range(2):
        answer = await anyone.post(f"{BASE}/wait/{waits}/instead", data=sent, headers=ana.navigate())
        assert (answer.status_code, answer.headers["location"]) == (303, f"{BASE}/wait/{waits}")
        server = await ops.environments.get(ANA, waits)
        assert server.ticket is not None
        assert (server.phase, server.ticket.id) == ("waiting", sent["id"])


async def test_another_profile_does_not_stop_what_was_granted_meanwhile(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser, waits: str
) -> None:
    def grant(session: Session) -> None:
        first = session.scalars(select(Lease).where(Lease.ended_at.is_(None))).first()
        row = environment_rows.find(session, "ana", waits)
        assert first is not None
        assert row is not None
        environment_rows.grant(row, first)

    await ops.store.run(grant)
    sent = {"csrf": ana.csrf, "id": new_id(), "profile": "cpu"}
    answer = await anyone.post(f"{BASE}/wait/{waits}/instead", data=sent, headers=ana.navigate())
    assert (answer.status_code, answer.headers["location"]) == (303, f"{BASE}/wait/{waits}")
    server = await ops.environments.get(ANA, waits)
    assert server.phase == "starting"
    assert server.lease is not None
    assert server.lease.end_reason is None


async def test_why_it_waits_is_said_in_each_language_and_as_one_word(
    anyone: httpx.AsyncClient, hub: StubHub, waits: str
) -> None:
    ana = bearer(hub.person("ana"))
    ticket = (await anyone.get(f"{API}/environments/{waits}", headers=ana)).json()["ticket"]
    # the machine is full of ana's own servers, and of nobody else's
    assert ticket["waits_for"] == "own_server"
    assert "only for your own server" in ticket["why"]["en"]
    assert "내 서버" in ticket["why"]["ko"]


async def test_a_server_that_failed_shows_its_log_to_its_owner_as_text(
    anyone: httpx.AsyncClient, ops: Operations, hub: StubHub, ana: Browser
) -> None:
    await ops.environments.request(ANA, EnvironmentRequest(id=new_id(), profile="cpu", lifetime_s=1800))

    def fail(session: Session) -> None:
        row = environment_rows.find(session, "ana", "default")
        assert row is not None
        row.phase, row.reason, row.log_end = "failed", "ended_early 3", "<script>alert(1)</script>"

    await ops.store.run(fail)
    page = await anyone.get(f"{BASE}/wait/default", headers=ana.navigate())
    assert "ended with code 3 before it answered" in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script>alert" not in page.text
    home = await anyone.get(HOME, headers=ana.navigate())
    assert 'data-receipt="default"' in home.text
    root = bearer(hub.person("root", admin=True))
    theirs = await anyone.get(f"{API}/environments/default?owner=ana", headers=root)
    assert theirs.json()["log_end"] is None

    put_away = await anyone.post(f"{BASE}/wait/default/dismiss", data={"csrf": ana.csrf}, headers=ana.navigate())
    assert (put_away.status_code, put_away.headers["location"]) == (303, HOME)
    assert 'data-receipt="default"' not in (await anyone.get(HOME, headers=ana.navigate())).text


async def test_a_receipt_says_what_was_saved_and_what_was_not(
    anyone: httpx.AsyncClient, ops: Operations, ana: Browser
) -> None:
    await ops.environments.request(ANA, EnvironmentRequest(id=new_id(), profile="cpu"))
    saved = ["a.ipynb", *(f"n{number}.ipynb" for number in range(9))]

    def end(session: Session) -> None:
        row = environment_rows.find(session, "ana", "default")
        lease = session.scalars(select(Lease)).one()
        assert row is not None
        lease.ended_at, row.phase, row.reason, row.active_at = ops.clock(), "stopped", "idle 3600", ops.clock()
        hook = {"exit": 2, "seconds": 0.5, "output": "no"}
        row.receipt = {"saved": saved, "failed": ["<b>.ipynb"], "hook": hook, "pages": 2, "silent": 0}

    await ops.store.run(end)
    home = (await anyone.get(HOME, headers=ana.navigate())).text
    for words in (
        "Nobody used it for 1 hour.",
        "Saved: a.ipynb, n0.ipynb",
        "and 4 more",
        "Not saved: &lt;b&gt;.ipynb",
        "2 open pages were asked to save.",
        "did not succeed (exit code 2)",
    ):
        assert words in home, words
    assert "Open pages were not asked" not in home


async def test_one_click_asks_for_the_same_again(anyone: httpx.AsyncClient, ops: Operations, ana: Browser) -> None:
    await ops.environments.request(
        ANA, EnvironmentRequest(id=new_id(), profile="cpu", lifetime_s=1800, project="cells")
    )
    await ops.environments.stop(ANA, "default")

    def end(session: Session) -> None:
        row = environment_rows.find(session, "ana", "default")
        lease = session.scalars(select(Lease)).one()
        assert row is not None
        lease.ended_at, row.phase = ops.clock(), "stopped"

    await ops.store.run(end)
    assert (
        await anyone.post(f"{BASE}/wait/default/again", data={"csrf": ana.csrf}, headers=ana.navigate())
    ).status_code == 422
    sent = {"csrf": ana.csrf, "id": new_id()}
    for _ in range(2):
        answer = await anyone.post(f"{BASE}/wait/default/again", data=sent, headers=ana.navigate())
        assert (answer.status_code, answer.headers["location"]) == (303, f"{BASE}/wait/default")
    server = await ops.environments.get(ANA, "default")
    assert (server.phase, server.project, server.image) == ("starting", "cells", "python")
    assert server.lease is not None
    assert server.lease.until is not None
    assert (server.lease.until - server.lease.granted_at).total_seconds() == 1800


async def test_there_is_no_turn_to_take_while_it_waits(
    anyone: httpx.AsyncClient, ana: Browser, waits: str
) -> None:
    answer = await anyone.post(f"{BASE}/wait/{waits}/start", data={"csrf": ana.csrf}, headers=ana.navigate())
    assert answer.status_code == 409
    assert f"No place is held for {waits}: it is waiting." in answer.text


async def test_an_unknown_server_is_a_page_that_says_so(anyone: httpx.AsyncClient, ana: Browser) -> None:
    answer = await anyone.get(f"{BASE}/wait/none", headers=ana.navigate())
    assert answer.status_code == 404
    assert "Back to home" in answer.text


async def test_home_shows_what_it_can_while_a_part_is_away(anyone: httpx.AsyncClient, ana: Browser) -> None:
    answer = await anyone.get(HOME, headers=ana.navigate())
    assert answer.status_code == 200
    assert "No server yet" in answer.text
    assert "MLflow does not answer right now." in answer.text
    assert "Nothing is served yet" in answer.text
    assert "pip install dure" not in answer.text, "nobody's package on PyPI"


async def test_what_is_static_may_be_kept(anyone: httpx.AsyncClient, ana: Browser) -> None:
    page = await anyone.get(HOME, headers=ana.navigate())
    addresses = re.findall(r'(?:href|src)="(/services/dure/static/[^"]+)"', page.text)
    assert len(addresses) >= 4
    for address in addresses:
        answer = await anyone.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert (await anyone.get(f"{BASE}/static/../application.py")).status_code == 404
