"""The first page says what is nearly used up, to whom it concerns."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import httpx
import pytest

from dure.wire.ids import new_id
from dure_hub.operations import Operations
from dure_hub.services.places import HOME
from dure_hub.services.sessions import Session
from dure_hub.store.models import Budget, Lease, Quota
from tests.unit.services.conftest import Browser
from tests.unit.services.stub_hub import StubHub


def spend(ops: Operations, amount: int, team: str, project: str | None = None) -> None:
    """So many units of money, in the first second of this month."""
    start = ops.clock().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    row = {"owner": "eve", "purpose": "training", "subject": "s", "profile": "gpu-full", "granted_at": start}
    row |= {"ended_at": start + timedelta(seconds=1), "rate": amount * 3600 * 10**6}
    with ops.store.transaction() as session:
        session.add(Lease(id=new_id(), team=team, project=project, gpus=0, **row))


def budget(ops: Operations, name: str, amount: int, kind: str = "team") -> None:
    with ops.store.transaction() as session:
        session.add(Budget(kind=kind, name=name, amount=amount * 10**6, set_by="root", set_at=ops.clock()))


def visitor(app: object, hub: StubHub, name: str, *teams: str, admin: bool = False) -> Browser:
    token = hub.person(name, session=f"session-of-{name}", admin=admin)
    hub.tokens[token]["groups"] = list(teams)
    return Browser(app, Session.new(token), f"session-of-{name}")  # type: ignore[arg-type]


async def said(anyone: httpx.AsyncClient, who: Browser, language: str = "en") -> list[str]:
    page = await anyone.get(HOME, headers={**who.navigate(), "Accept-Language": language})
    assert page.status_code == 200
    notice = re.search(r'<div class="notice" role="status">(.*?)</div>', page.text, re.DOTALL)
    return [] if notice is None else [unescape(text) for text in re.findall(r"<p[^>]*>(.*?)</p>", notice[1])]


@pytest.fixture
def spent(ops: Operations) -> Operations:
    """Team red has spent 60 of 100, its project digits 45 of 50; blue 10 of 100; ana has both of two GPUs."""
    for team, project, amount in (("red", None, 15), ("red", "digits", 45), ("blue", None, 10)):
        spend(ops, amount, team, project)
    budget(ops, "red", 100)
    budget(ops, "blue", 100)
    budget(ops, "red/digits", 50, "project")
    budget(ops, "digits", 1, "project")
    with ops.store.transaction() as session:
        session.add(Quota(kind="user", name="*", gpus=2, set_by="root", set_at=ops.clock()))
        held = {"owner": "ana", "purpose": "notebook", "subject": "s", "profile": "gpu-full"}
        session.add(Lease(id=new_id(), gpus=2000, granted_at=ops.clock(), **held))
    return ops


async def test_people_are_warned_of_their_own_and_their_teams(
    anyone: httpx.AsyncClient, spent: Operations, app: object, hub: StubHub
) -> None:
    own = "The user ana holds 2 of 2 GPUs."
    assert await said(anyone, visitor(app, hub, "ana", "red")) == [
        own,
        "The project red/digits has spent 45.00 of its 50.00 this month (90 %).",
        "The team red has spent 60.00 of its 100.00 this month (60 %).",
    ]
    assert await said(anyone, visitor(app, hub, "ana", "blue")) == [own]
    assert await said(anyone, visitor(app, hub, "ben")) == []
    assert await said(anyone, visitor(app, hub, "eve", "blue"), "ko") == []
    korean = await said(anyone, visitor(app, hub, "eve", "red"), "ko")
    assert korean[1] == "red(팀)이(가) 이번 달 예산 100.00 중 60.00을 썼습니다(60 %)."


async def test_administrators_are_warned_of_every_team_and_of_at_most_ten(
    anyone: httpx.AsyncClient, spent: Operations, app: object, hub: StubHub
) -> None:
    root = visitor(app, hub, "root", admin=True)
    assert [line.split(" has ")[0] for line in await said(anyone, root)] == [
        "The project red/digits",
        "The team red",
    ]
    for number in range(12):
        spend(spent, 70, f"t{number:02}")
        budget(spent, f"t{number:02}", 100)
    found = await said(anyone, root)
    assert len(found) == 11
    assert found[0].startswith("The project red/digits")
    assert found[-1] == "and 4 more"
    assert (await said(anyone, root, "ko"))[-1] == "외 4건"
